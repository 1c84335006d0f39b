//! The client's two ends of an exchange: where the request's body comes from, and where the answer goes. The spine
//! and the exchange know these, never the client's connection. Both speak HTTP/1: a stream of HTTP/2 is translated below them
//! (`net/stream/http2_io`).

mod arrival;
mod body;
mod reply;

pub(crate) use self::arrival::Arrival;
pub(crate) use self::body::BodySource;
pub(crate) use self::reply::ReplySink;

/// Both ends of a request, once nothing more is read of its body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestEnds<'a, 'c> {
    pub(crate) body: &'a BodySource<'c>,
    pub(crate) reply: &'a ReplySink<'c>,
}

impl RequestEnds<'_, '_> {
    /// Whether another request may follow an answer given now: what the client still says of its body is none.
    pub(crate) fn keep_alive(&self) -> bool {
        self.reply.keep_alive() && self.body.is_done()
    }
}
