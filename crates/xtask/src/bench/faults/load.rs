//! The load: ten clients, two hundred requests a second between them, half of them POSTs. Every request has an id, and
//! every answer must hold the body of that id.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use testkit::raw::RawConnection;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use super::origin::Reached;

/// A running load. Dropping it ends it.
pub(crate) struct Load {
    samples: Arc<Mutex<Vec<Sample>>>,
    stop: watch::Sender<bool>,
    clients: JoinSet<()>,
}

/// One request and what became of it.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) id: String,
    pub(crate) is_post: bool,
    pub(crate) begun: Instant,
    pub(crate) took: Duration,
    pub(crate) end: End,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// 200, and the whole body.
    Whole,
    /// Anything else that can be told from that: an error, a reset, no answer.
    Lost(String),
    /// The answer began, and ended before its end.
    Cut(&'static str),
    /// 200 and an end that looks right, but another body.
    Torn,
}

/// What all samples say together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) gets: usize,
    pub(crate) posts: usize,
    pub(crate) lost_gets: usize,
    pub(crate) lost_posts: usize,
    /// Lost GETs whose answer had not begun, and lost POSTs that came after the fault and that no node ever got: they
    /// could have been sent again.
    pub(crate) needlessly: usize,
    pub(crate) slow: usize,
    pub(crate) max: Duration,
    pub(crate) max_get: Duration,
    /// POSTs that more than one node got, or one node twice.
    pub(crate) twice: usize,
    pub(crate) torn: usize,
    pub(crate) why: BTreeMap<String, usize>,
}

impl Load {
    /// Starts to load `address`; with `closing` every request has a connection of its own.
    pub(crate) fn start(address: SocketAddr, closing: bool) -> Self {
        let samples = Arc::<Mutex<Vec<Sample>>>::default();
        let (stop, stopped) = watch::channel(false);
        let mut clients = JoinSet::new();
        for name in 0..CLIENTS {
            let client = Client { name, address, closing, kept: None };
            clients.spawn(client.ask_on_and_on(samples.clone(), stopped.clone()));
        }
        Self { samples, stop, clients }
    }

    /// When the first request ended well after `moment`, if one has.
    pub(crate) fn success_after(&self, moment: Instant) -> Option<Instant> {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let ends = samples.iter().filter(|sample| sample.end == End::Whole).map(|one| one.begun + one.took);
        ends.filter(|end| *end >= moment).min()
    }

    /// Begins nothing more, and waits for what runs.
    pub(crate) async fn stop(mut self) -> Vec<Sample> {
        self.stop.send_replace(true);
        let all = async { while self.clients.join_next().await.is_some() {} };
        // Whoever is still waiting then has a sample that says so.
        let _ = timeout(UNANSWERED, all).await;
        std::mem::take(&mut *self.samples.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Tally {
    /// What was lost before `fault` may have been on its way to a node.
    pub(crate) fn of(samples: &[Sample], reached: &Reached, fault: Instant) -> Self {
        let mut tally =
            Self { twice: reached.posts.values().filter(|&&times| times > 1).count(), ..Self::default() };
        for Sample { id, is_post, begun, took, end } in samples {
            *if *is_post { &mut tally.posts } else { &mut tally.gets } += 1;
            tally.max = tally.max.max(*took);
            tally.slow += usize::from(*took > SLOW);
            if !is_post {
                tally.max_get = tally.max_get.max(*took);
            }
            match end {
                End::Whole => {}
                End::Torn => tally.torn += 1,
                End::Lost(why) => {
                    *if *is_post { &mut tally.lost_posts } else { &mut tally.lost_gets } += 1;
                    let is_unsent = *begun > fault && !reached.posts.contains_key(id);
                    tally.needlessly += usize::from(!is_post || is_unsent);
                    *tally.why.entry(why.clone()).or_default() += 1;
                }
                End::Cut(how) => {
                    *if *is_post { &mut tally.lost_posts } else { &mut tally.lost_gets } += 1;
                    *tally.why.entry(format!("{how} in the middle")).or_default() += 1;
                }
            }
        }
        tally
    }
}

impl Tally {
    /// The worse of two, number by number; the reasons are those of the one that lost more.
    pub(crate) fn worse(self, other: Self) -> Self {
        let lost = |tally: &Self| tally.lost_gets + tally.lost_posts;
        let why = if lost(&other) > lost(&self) { other.why } else { self.why };
        Self {
            gets: self.gets.max(other.gets),
            posts: self.posts.max(other.posts),
            lost_gets: self.lost_gets.max(other.lost_gets),
            lost_posts: self.lost_posts.max(other.lost_posts),
            needlessly: self.needlessly.max(other.needlessly),
            slow: self.slow.max(other.slow),
            max: self.max.max(other.max),
            max_get: self.max_get.max(other.max_get),
            twice: self.twice.max(other.twice),
            torn: self.torn.max(other.torn),
            why,
        }
    }
}

struct Client {
    name: usize,
    address: SocketAddr,
    closing: bool,
    kept: Option<RawConnection>,
}

impl Client {
    async fn ask_on_and_on(mut self, samples: Arc<Mutex<Vec<Sample>>>, stopped: watch::Receiver<bool>) {
        let first = Instant::now() + PACE / CLIENTS as u32 * self.name as u32;
        let mut pace = interval_at(first, PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for number in 0_usize.. {
            pace.tick().await;
            if *stopped.borrow() {
                return;
            }
            let (id, is_post, begun) = (format!("{}-{number}", self.name), number % 2 == 1, Instant::now());
            let asked = timeout(UNANSWERED, self.ask(&id, is_post)).await;
            let end = asked.unwrap_or_else(|_| End::Lost("no answer".to_owned()));
            let sample = Sample { id, is_post, begun, took: begun.elapsed(), end };
            samples.lock().unwrap_or_else(PoisonError::into_inner).push(sample);
        }
    }

    async fn ask(&mut self, id: &str, is_post: bool) -> End {
        // As every client does: a connection that was closed while it rested is not used again.
        let kept = self.kept.take().filter(RawConnection::is_quiet);
        let mut connection = match kept {
            Some(connection) => connection,
            None => match RawConnection::try_connect(self.address).await {
                Ok(connection) => connection,
                Err(error) => return End::Lost(error.kind().to_string()),
            },
        };
        let answer = match connection.try_ask(&self.request(id, is_post)).await {
            Ok(answer) => answer,
            Err(error) => {
                let how = if error.contains("reset") { "reset" } else { "closed" };
                // The end of the head is what came first, or what did not come.
                let is_unbegun =
                    error.starts_with("not taken") || error.contains(r#"before "\r\n\r\n" came"#);
                return if is_unbegun {
                    End::Lost(format!("{how} before the answer"))
                } else {
                    End::Cut(how)
                };
            }
        };
        let says_close = answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        if !self.closing && !says_close {
            self.kept = Some(connection);
        }
        match answer.status() {
            200 if answer.body == body(id).as_bytes() => End::Whole,
            200 => End::Torn,
            status if answer.header("retry-after").is_some() => End::Lost(format!("{status} Retry-After")),
            status => End::Lost(status.to_string()),
        }
    }

    fn request(&self, id: &str, is_post: bool) -> String {
        let close = if self.closing { "Connection: close\r\n" } else { "" };
        let host = self.address;
        if !is_post {
            return format!("GET /{id} HTTP/1.1\r\nHost: {host}\r\n{close}\r\n");
        }
        let body = body(id);
        let length = body.len();
        format!("POST /{id} HTTP/1.1\r\nHost: {host}\r\n{close}Content-Length: {length}\r\n\r\n{body}")
    }
}

/// What a POST of this id holds, and every answer to it.
fn body(id: &str) -> String {
    format!("{id}.").repeat(200)
}

const CLIENTS: usize = 10;
/// Between the requests of one client.
const PACE: Duration = Duration::from_millis(50);
/// Longer than this is slow.
const SLOW: Duration = Duration::from_millis(900);
/// Longer than any fault here lasts.
const UNANSWERED: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_tells_what_was_lost_from_what_was_done_twice() {
        let fault = Instant::now();
        let lost = || End::Lost("502".to_owned());
        let sample = |id: &str, is_post, ms, end| Sample {
            id: id.to_owned(),
            is_post,
            begun: fault + Duration::from_millis(1),
            took: Duration::from_millis(ms),
            end,
        };
        let samples = [
            sample("0-0", false, 5, End::Whole),
            sample("0-1", true, 950, End::Whole),
            sample("0-2", false, 20, lost()),
            sample("0-3", true, 7, lost()),
            sample("0-5", true, 7, lost()),
            Sample { begun: fault, ..sample("0-9", true, 7, lost()) },
            sample("0-4", false, 7, End::Cut("reset")),
            sample("0-7", true, 7, End::Torn),
        ];
        let posts = [("0-1", 2), ("0-3", 1), ("0-7", 1)].map(|(id, times)| (id.to_owned(), times));
        let tally = Tally::of(&samples, &Reached { posts: posts.into(), resets: 0 }, fault);
        let why = BTreeMap::from([("502".to_owned(), 4), ("reset in the middle".to_owned(), 1)]);
        let millis = Duration::from_millis;
        let wanted = Tally {
            gets: 3,
            posts: 5,
            lost_gets: 2,
            lost_posts: 3,
            needlessly: 2,
            slow: 1,
            max: millis(950),
            max_get: millis(20),
            twice: 1,
            torn: 1,
            why,
        };
        assert_eq!(tally, wanted);
    }
}
