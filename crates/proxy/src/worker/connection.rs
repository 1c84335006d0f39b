//! One client connection, first byte to last. Read [`serve_requests`] and then [`answer`] to know the proxy; everything that
//! they call is a leaf.

use std::future::poll_fn;
use std::io::IoSlice;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use tokio::net::TcpStream;
use tokio::sync::futures::Notified;
use tokio::time::Instant;
use wire::forward::{ClientEnd, LineEdits};
use wire::request::RequestHead;
use wire::scan::{HeadScan, Side};

use crate::fault::{ClientFault, Fault, OurFault};
use crate::net::buffers::consume;
use crate::net::clock::Alarm;
use crate::net::pace::Age;
use crate::net::seats::Seated;
use crate::net::stream::{ClientStream, Io, Stream};
use crate::observe::lifecycle::{Live, Lives};
use crate::observe::record::{Came, Record};
use crate::request::downstream::{Arrival, BodySource, ReplySink, RequestEnds};
use crate::request::exchange::Exchanged;
use crate::request::reply::{self, Redirect};
use crate::request::upgrade::OriginEnd;
use crate::request::{front_door, pages};
use crate::state::local::Local;
use crate::state::shared::head_bounds;
use crate::worker::answer::{Instead, LAST_WORD_TIMEOUT, OpenEnds, answer, instead_of, tell};
use crate::worker::idle::{IDLE_WHILE_LEAVING, IdleConnection, PARKS_AFTER, PARKS_AGAIN_AFTER};

/// A client's connection with all that outlives one of its requests.
#[derive(Debug)]
pub(crate) struct ClientConnection {
    pub(crate) stream: ClientStream,
    /// What was read and is not understood yet.
    pub(crate) inbound: BytesMut,
    end: ClientEnd,
    redirects: Option<Redirect>,
    /// The instant at which the request that is being read began, or the wait for it; `None` between an answer and that wait.
    begun: Option<Instant>,
    /// The deadline of the wait for its next request.
    idle_until: Instant,
    age: Age,
    parked: Parked,
    /// Set once its task is registered to be woken when the proxy begins to leave, which is done once and not at each wait.
    hears_leaving: bool,
    /// It is a stream of HTTP/2, which asks once.
    pub(super) is_stream: bool,
    /// Its place among all connections. It is the last field, so that the place is free only once the socket is closed.
    pub(crate) live: Lives,
}

/// The history of a connection as far as parking goes, which decides when it is parked next.
#[derive(Debug, Clone, Copy)]
enum Parked {
    /// Nor has it said anything.
    Silent,
    Never,
    /// In the midst of the wait that goes on now.
    JustNow,
    Earlier,
}

impl Parked {
    fn is_parked(self) -> bool {
        matches!(self, Self::JustNow)
    }

    /// After so long it is parked, if it is.
    fn parks_after(self) -> Option<Duration> {
        match self {
            Self::Silent | Self::Never => Some(PARKS_AFTER),
            // Once a wait is enough. Who was woken without a word may well be so again.
            Self::JustNow => None,
            Self::Earlier => Some(PARKS_AGAIN_AFTER),
        }
    }

    /// The class in which it is displaced when places or memory are wanted.
    fn seated(self) -> Seated {
        match self {
            Self::Silent => Seated::Silent,
            Self::Never | Self::JustNow | Self::Earlier => Seated::Resting,
        }
    }
}

/// How a connection ended, which decides what is still done to its socket.
#[derive(Debug)]
pub(crate) enum Ended {
    /// Between two requests, or after an answer that said it was the last; the client is still owed the end.
    Lingering,
    /// After the client's own end, or the answer to what it has said was its last request. Nothing of it is unread and
    /// nothing more comes, so that the close cannot be a reset.
    Immediate,
    /// The client left, or was told nothing more.
    Reset,
    /// It became a tunnel.
    Upgraded(Box<OriginEnd>),
    /// It has not: nothing has come for a while, and the wait for a request can go on elsewhere.
    Rests,
}

/// Talks to one client until one of both has had enough.
pub(crate) async fn serve_requests(client: &mut ClientConnection, worker: &Local) -> Ended {
    let mut leaving = pin!(worker.leaving());
    loop {
        if client.inbound.is_empty()
            && let Some(ended) = client.wait_for_request(worker, leaving.as_mut()).await
        {
            return ended;
        }
        // Boxed, because a connection lives for hours and this for milliseconds: its size is the exchange's alone.
        if let Some(ended) = boxed(|| one_request(client, worker)).await {
            return ended;
        }
    }
}

/// As `Box::pin`, but the future is made where it stays. Made on the stack first it would be copied whole, bytes included
/// that nothing has been written to: for a request's four kibibytes that is 400 instructions.
#[inline]
fn boxed<F: Future>(future: impl FnOnce() -> F) -> Pin<Box<F>> {
    Box::into_pin(Box::write(Box::new_uninit(), future()))
}

/// Reads one request, answers it and logs it. Returns how the connection ended, or `None` if another request may follow.
pub(crate) async fn one_request(client: &mut ClientConnection, worker: &Local) -> Option<Ended> {
    let mut head = match client.next_head(worker).await {
        Ok(Some(head)) => head,
        Ok(None) => return Some(client.ended_by_client()),
        Err(fault) => return Some(client.refuse(fault, worker).await),
    };
    if head.tells_of_client() && !client.end.is_trusted() {
        front_door::hint(&head, client.end.peer());
    }
    let mut record = Record::new(client.client_address(&head, worker), client.begun());
    let (mut body, mut reply) = client.exchange_ends(&head, worker);
    let mut instead: Option<Box<Instead>> = None;
    // Whether a part of the body was not read.
    let mut is_left = false;
    let exchanged = loop {
        let asked = instead.as_mut().and_then(|instead| instead.get.as_mut()).unwrap_or(&mut head);
        // There is one place where it is called, so that it is part of this future.
        let fault = match answer(asked, &mut body, &reply, worker, &mut record).await {
            Ok(exchanged) => {
                if let Some(instead) = &instead {
                    instead.is_answered(&mut record);
                }
                break exchanged;
            }
            Err(fault) => fault,
        };
        // Whoever fails in the place of a fault leaves it as it was.
        let fault = match instead.take() {
            Some(instead) => instead.into_fault(&mut record),
            None => {
                let was_done = body.is_done();
                let ends = OpenEnds { body: &mut body, reply: &mut reply };
                instead = instead_of(fault, &head, ends, worker, &mut record);
                is_left = !was_done && body.is_done();
                if instead.is_some() {
                    continue;
                }
                fault
            }
        };
        let ends = RequestEnds { body: &body, reply: &reply };
        // Boxed, because it is rare.
        break Box::pin(tell(fault, &head, ends, worker, &mut record)).await;
    };
    record.bytes_in = body.bytes();
    record.bytes_out = reply.bytes();
    record.body_bytes_out = reply.body_bytes();
    drop(reply);
    let is_read = body.is_done() && !is_left;
    worker.lines.exchange(&record, &head, client.came());
    match exchanged {
        Exchanged::KeepAlive => {
            client.rest(worker);
            None
        }
        Exchanged::Close if !head.keep_alive() && is_read && client.stream.io.is_quiet() => {
            Some(client.ended_by_client())
        }
        Exchanged::Close => Some(Ended::Lingering),
        Exchanged::Cut => Some(Ended::Reset),
        Exchanged::Upgraded(mut origin) => {
            if let Some(id) = record.request_id.take() {
                record.guarded.get_or_insert_default().request_id = Some(id);
            }
            origin.guarded = record.guarded;
            Some(Ended::Upgraded(origin))
        }
    }
}

impl ClientConnection {
    /// Wraps a connection that has just been accepted; it has half a second to speak before it may be parked.
    pub(crate) fn new(
        io: Io,
        end: ClientEnd,
        redirects: Option<Redirect>,
        live: Live,
        worker: &Local,
    ) -> Self {
        Self::wrapping(io, end, redirects, Lives::Alone(live), worker)
    }

    /// A stream of HTTP/2 that has just been opened, as a connection. The caller puts its header section into `inbound`, in
    /// the words of HTTP/1.
    pub(super) fn of_stream(
        io: Io,
        end: ClientEnd,
        redirects: Option<Redirect>,
        live: Lives,
        worker: &Local,
    ) -> Self {
        let client = Self::wrapping(io, end, redirects, live, worker);
        Self { parked: Parked::Never, is_stream: true, ..client }
    }

    #[inline]
    fn wrapping(io: Io, end: ClientEnd, redirects: Option<Redirect>, live: Lives, worker: &Local) -> Self {
        let stream = ClientStream { io, alarm: Alarm::new(worker.clock.clone()) };
        let idle_until = stream.now();
        Self {
            stream,
            inbound: BytesMut::new(),
            end,
            redirects,
            begun: None,
            idle_until,
            age: Age::new(worker.lived.seconds(idle_until)),
            parked: Parked::Silent,
            hears_leaving: false,
            is_stream: false,
            live,
        }
    }

    /// Makes a parked connection a task again, whose wait goes on until `until`. `None` if the runtime cannot have its socket.
    pub(crate) fn back(resting: IdleConnection, until: Instant, worker: &Local) -> Option<Self> {
        let IdleConnection { tcp, peer, is_trusted, port, redirects, born_s, requests, live } = resting;
        let redirects = redirects.map(Redirect::to);
        let age = Age { born_s, requests };
        let io = Io::new(Stream::Plain(TcpStream::from_std(tcp).ok()?));
        let end = ClientEnd::new(peer, PLAIN_SCHEME, port, is_trusted);
        let client = Self::new(io, end, redirects, live, worker);
        Some(Self { idle_until: until, parked: Parked::JustNow, age, ..client })
    }

    /// Reduces a plain connection to what is parked, and says until when it waits. `None` if its socket has broken.
    pub(crate) fn into_idle(self) -> Option<(IdleConnection, Instant)> {
        let Self { stream, end, redirects, idle_until, age, live: Lives::Alone(live), .. } = self else {
            return None;
        };
        let (peer, is_trusted, port) = (end.peer(), end.is_trusted(), end.port());
        let tcp = stream.io.into_tcp()?;
        let Age { born_s, requests } = age;
        let redirects = redirects.map(Redirect::whole_port);
        Some((IdleConnection { tcp, peer, is_trusted, port, redirects, born_s, requests, live }, idle_until))
    }

    /// The next request's head; `None` when the client has closed.
    async fn next_head(&mut self, worker: &Local) -> Result<Option<RequestHead>, Fault> {
        let snapshot = worker.snapshot();
        let bounds = head_bounds(&snapshot.plan.limits);
        let mut scan = HeadScan::new(Side::Request);
        self.begun = Some(self.stream.now());
        let Self { stream: ClientStream { io, alarm }, inbound, .. } = self;
        let reading = alarm.within(snapshot.plan.timeouts.head, |cx| {
            loop {
                if let Some(length) = scan.advance(inbound, &bounds).map_err(ClientFault::from)? {
                    return Poll::Ready(Ok::<_, Fault>(length));
                }
                let Poll::Ready(read) = io.poll_read(cx, inbound, &worker.buffers) else {
                    // Who sends its head in pieces while there is no memory is not waited for.
                    if worker.shared.memory.is_out() {
                        return Poll::Ready(Err(OurFault::NoMemory.into()));
                    }
                    worker.buffers.shrink(inbound);
                    return Poll::Pending;
                };
                match read {
                    Ok(0) | Err(_) => return Poll::Ready(Err(ClientFault::Gone.into())),
                    Ok(_) => {}
                }
            }
        });
        match reading.await {
            Some(Ok(length)) => {
                let head = RequestHead::parse(&inbound[..length], &bounds);
                consume(inbound, length);
                worker.buffers.give_back_if_empty(inbound);
                let head = head.map_err(ClientFault::from)?;
                Ok(Some(if self.is_stream { head.over_http2() } else { head }))
            }
            Some(Err(Fault::Client(ClientFault::Gone))) if scan.is_at_start() => Ok(None),
            Some(Err(fault)) => Err(fault),
            None => Err(ClientFault::HeadTimedOut.into()),
        }
    }

    /// Waits for the first bytes of a request. Says how it ended if the client leaves instead, has been idle for too long,
    /// or rests. While the proxy leaves, too long is soon; but not at once, for a request may be on its way. Small, for
    /// many connections are here most of the time; and no snapshot is held meanwhile, so that a plan that was replaced
    /// can go.
    fn wait_for_request<'w>(
        &'w mut self,
        worker: &'w Local,
        mut leaving: Pin<&'w mut Notified<'_>>,
    ) -> impl Future<Output = Option<Ended>> {
        let begun = self.stream.now();
        self.begun = Some(begun);
        let was = self.parked;
        if was.is_parked() {
            self.parked = Parked::Earlier;
        } else {
            let timeouts = &worker.snapshot().plan.timeouts;
            self.idle_until = begun
                + match was.seated() {
                    Seated::Silent => timeouts.head,
                    Seated::Resting => timeouts.idle,
                };
        }
        let mut may_park = self.stream.io.is_plain_tcp();
        let mut seat = None;
        poll_fn(move |cx| {
            match self.stream.io.poll_read(cx, &mut self.inbound, &worker.buffers) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Some(self.ended_by_client())),
                Poll::Ready(Ok(_)) => return Poll::Ready(None),
                Poll::Pending => {}
            }
            if !self.hears_leaving {
                self.hears_leaving = true;
                let _ = leaving.as_mut().poll(cx);
            }
            if worker.is_leaving() {
                self.idle_until = self.idle_until.min(self.stream.now() + IDLE_WHILE_LEAVING);
                may_park = false;
            }
            let begun = self.begun();
            let parks_at = was.parks_after().filter(|_| may_park).map(|after| begun + after);
            let parks_at = parks_at.filter(|parks_at| *parks_at < self.idle_until);
            let until = parks_at.unwrap_or(self.idle_until);
            // Who waits for longer than a moment could go if its place is wanted.
            let seated_at = begun + PARKS_AFTER;
            if seat.is_none() && seated_at < until {
                ready!(self.stream.alarm.poll_until(cx, seated_at));
                seat = Some(Box::new(worker.seats.take(was.seated())));
            }
            if seat.as_ref().is_some_and(|seat| seat.poll_wanted(cx).is_ready()) {
                return Poll::Ready(Some(Ended::Reset));
            }
            let ended = if parks_at.is_some() { Ended::Rests } else { Ended::Lingering };
            ready!(self.stream.alarm.poll_until(cx, until));
            Poll::Ready(Some(ended))
        })
    }

    /// Holds nothing while idle.
    fn rest(&mut self, worker: &Local) {
        self.begun = None;
        if let Parked::Silent = self.parked {
            self.parked = Parked::Never;
        }
        worker.buffers.give_back_if_empty(&mut self.inbound);
    }

    /// How it ends when the client has said that it is done. TLS has an end of its own to say, and what is unread
    /// would be answered by a reset.
    fn ended_by_client(&self) -> Ended {
        match self.inbound.is_empty() && self.stream.io.is_plain() {
            true => Ended::Immediate,
            false => Ended::Lingering,
        }
    }

    fn begun(&self) -> Instant {
        self.begun.unwrap_or_else(|| self.stream.now())
    }

    /// How its last request came.
    fn came(&self) -> Came<'_> {
        Came { end: &self.end, io: &self.stream.io, number: self.age.requests }
    }

    fn client_address(&self, head: &RequestHead, worker: &Local) -> IpAddr {
        self.end.client_address(head, |address| worker.snapshot().is_trusted(address))
    }

    /// The two ends of an exchange with this client: where its body comes from and where the answer goes. Inlined, or
    /// both are made elsewhere and moved for each request.
    #[inline(always)]
    fn exchange_ends<'c>(
        &'c mut self,
        head: &RequestHead,
        worker: &'c Local,
    ) -> (BodySource<'c>, ReplySink<'c>) {
        let is_last = self.age.is_last(&worker.pace.get(), worker.lived.seconds(self.stream.now()));
        let keep_alive = head.keep_alive() && !is_last && !worker.is_leaving();
        let begun = self.begun();
        let arrival = Arrival { end: &self.end, redirects: self.redirects };
        let reply = ReplySink::new(&self.stream, head, keep_alive, arrival, &worker.pace);
        let body = BodySource::new(&self.stream, &mut self.inbound, head, worker, begun);
        (body, reply)
    }

    /// Answers what never became a request.
    pub(super) async fn refuse(&mut self, fault: Fault, worker: &Local) -> Ended {
        let mut record = Record::new(self.end.peer(), self.begun());
        record.fault = Some(fault);
        let mut ended = Ended::Reset;
        let snapshot = worker.snapshot();
        let pages = Some(&*snapshot.plan.error_pages);
        let content = |status| pages::of(status, fault.reason_told(), None, pages, &mut record);
        let answer = reply::fault(fault, None, content, &LineEdits::default(), false);
        if let Some((status, bytes)) = answer {
            record.status = status;
            record.bytes_out = bytes.len() as u64;
            record.body_bytes_out = reply::body_bytes(&bytes);
            // The page may be long, and nothing is owed to who reads it slowly.
            let most = || LAST_WORD_TIMEOUT;
            let pieces = &mut [IoSlice::new(&bytes)];
            let ClientStream { io, alarm } = &self.stream;
            if io.write_pieces(pieces, alarm, LAST_WORD_TIMEOUT, most).await.is_ok() {
                ended = Ended::Lingering;
            }
        }
        worker.lines.refusal(&record, self.came());
        ended
    }
}

/// The scheme of a connection without TLS, for X-Forwarded-Proto.
pub(crate) const PLAIN_SCHEME: &str = "http";
