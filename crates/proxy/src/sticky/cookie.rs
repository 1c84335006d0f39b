//! The cookie that names a node: the node's pin and nothing else, so that it tells no address, and nobody without the
//! secret can make one. A value that names no node of now is no value at all.

use wire::cookie;
use wire::forward::ClientEnd;
use wire::request::RequestHead;
use wire::tag::Pin;

use crate::upstream::Upstream;
use crate::upstream::node::Node;

/// The index of the node that the request's cookie names.
pub(crate) fn node(head: &RequestHead, upstream: &Upstream) -> Option<usize> {
    let value = cookie::find(head, upstream.cookie.as_deref()?.as_bytes())?;
    upstream.by_pin(&Pin::read(value)?)
}

/// The value of the Set-Cookie line of an answer of `node`; `None` where the client has that cookie already, or where
/// there is none to be had.
pub(crate) fn issue(
    head: &RequestHead,
    client: &ClientEnd,
    upstream: &Upstream,
    node: &Node,
) -> Option<Vec<u8>> {
    let name = upstream.cookie.as_deref()?;
    let pin = upstream.member_of(node)?.seal.pin().as_bytes();
    if cookie::find(head, name.as_bytes()) == Some(pin) {
        return None;
    }
    // A page of another site may be a client too, which SameSite=None allows, but browsers take that only with Secure.
    let scope = if client.is_https(head) { "; Secure; SameSite=None" } else { "; SameSite=Lax" };
    Some([name.as_bytes(), b"=", pin, b"; Path=/; HttpOnly", scope.as_bytes()].concat())
}
