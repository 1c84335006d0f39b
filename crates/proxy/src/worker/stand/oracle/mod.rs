//! Goal: what a node sees is what its client sent, and what the client sees is what the node answered, but for the documented
//! changes. Method: exchanges through a [`Stand`], drawn from bytes: how many there are, how both sides frame their bodies,
//! what they say beside them, and into which pieces it is cut. Both are read again here by rules that share nothing with the
//! proxy's. Where the client's bytes are anything at all, what the node sees has one meaning, however it was cut.
//!
//! What may change is what RFC 9110 section 7.6 and docs/routes.md say: lines that are for one connection go, and those that
//! Connection names; so does whatever a stranger says in the name of a proxy, and ours come instead. A body keeps its bytes, not
//! its chunks. `cargo xtask simulate` plays more of them, and `cargo xtask fuzz` looks for some that are new.
//!
//! Planted to see it fail: a request's lines that Connection names, passed on to nodes (`wire::forward`), make the first test red, and
//! its Keep-Alive both.

mod draw;
mod read;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use config::plan::NodeBounds;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{JoinHandle, yield_now};

use self::draw::{Dice, Frame, Message, draw_answer, draw_request};
use self::read::{Whole, read_answer, read_request};
use super::{Stand, by_paused_clock, plan};

/// Exchanges over one connection, drawn from `data`.
///
/// # Panics
/// If either side sees another thing than the other said, or if something is left behind.
pub(crate) fn exchanges(data: &[u8]) {
    by_paused_clock(async {
        let mut dice = Dice(data);
        let [client_cuts, node_cuts] = [dice.bytes(4), dice.bytes(4)];
        let (count, is_pipelined) = (1 + dice.below(3), dice.below(2) == 1);
        let (mut requests, mut sent) = (Vec::new(), Vec::new());
        let (mut answers, mut said) = (VecDeque::new(), Vec::new());
        for _ in 0..count {
            let (text, request) = draw_request(&mut dice);
            let (answer_text, answer, frame) = draw_answer(&mut dice, request.is_head());
            requests.push(text);
            sent.push(request);
            answers.push_back((answer_text, frame));
            said.push(answer);
        }
        if is_pipelined {
            requests = vec![requests.concat()];
        }
        let heads: Vec<bool> = sent.iter().map(Message::is_head).collect();
        let stand = Stand::new("", &["refuse"]);
        let listening = Node::listen(&stand, answers, node_cuts);
        let mut client = stand.dial().0;
        let got = stand.run(async move { ask(&mut client, requests, &heads, &client_cuts).await }).await;
        // One that ends with the connection is the last.
        sent.truncate(got.len());
        said.truncate(got.len());
        let seen: Vec<_> = listening.node.seen.take().into_iter().map(Whole::passed).collect();
        assert_eq!(seen, sent, "what the node saw is not what was sent");
        assert_eq!(got, said, "what the client saw is not what was answered");
        stand.check_is_clean().await;
        listening.end().await;
    });
}

/// A connection on which a client says whatever it likes.
///
/// # Panics
/// If what a node sees of it can be read in two ways or depends on where it was cut, or if something is left behind.
pub(crate) fn connection(data: &[u8]) {
    let mut dice = Dice(data);
    let cuts = [dice.bytes(8), Vec::new()];
    let [seen, seen_in_one] = cuts.map(|cuts| {
        let mut seen = Vec::new();
        by_paused_clock(async {
            let stand = Stand::new("", &["refuse"]);
            let listening = Node::listen(&stand, VecDeque::new(), Vec::new());
            let mut client = stand.dial().0;
            let text = dice.0.to_vec();
            let heard = stand
                .run(async move {
                    write(&mut client, &text, &cuts).await;
                    let mut heard = Vec::new();
                    // However it ends: the proxy has a time for everything.
                    let _ = client.read_to_end(&mut heard).await;
                    heard
                })
                .await;
            assert!(heard.is_empty() || heard.starts_with(b"HTTP/1.1 "), "{}", heard.escape_ascii());
            seen = listening.node.seen.take().into_iter().map(|whole| (whole.start, whole.body)).collect();
            stand.check_is_clean().await;
            listening.end().await;
        });
        seen
    });
    assert_eq!(seen, seen_in_one, "what the node saw depends on where it was cut");
}

/// Sends `requests`, each when the answer to the one before is here, and reads all answers up to one that ends with the
/// connection.
async fn ask(client: &mut UnixStream, requests: Vec<Vec<u8>>, heads: &[bool], cuts: &[u8]) -> Vec<Message> {
    let (mut got, mut requests) = (Vec::new(), requests.into_iter());
    for &is_to_head in heads {
        if let Some(request) = requests.next() {
            write(client, &request, cuts).await;
        }
        let answer = read_answer(client, is_to_head).await;
        let answer = answer.unwrap_or_else(|| panic!("there is no answer after {got:?}"));
        let is_last = answer.is_last;
        got.push(answer.passed());
        if is_last {
            break;
        }
    }
    got
}

/// Writes in pieces, which others see one by one.
async fn write(stream: &mut UnixStream, text: &[u8], cuts: &[u8]) {
    let mut rest = text;
    for &cut in cuts {
        let (piece, behind) = rest.split_at(usize::from(cut).min(rest.len()));
        if stream.write_all(piece).await.is_err() {
            return;
        }
        rest = behind;
        for _ in 0..3 {
            yield_now().await;
        }
    }
    // Whoever has had enough has said why.
    let _ = stream.write_all(rest).await;
}

/// A node that gives one answer after the other, and keeps what it was asked.
struct Node {
    answers: RefCell<VecDeque<(Vec<u8>, Frame)>>,
    cuts: Vec<u8>,
    seen: RefCell<Vec<Whole>>,
    /// One for each connection.
    tasks: RefCell<Vec<JoinHandle<()>>>,
}

impl Node {
    /// Listens as the first node of `stand`. When there are no `answers` any more it says that all is well.
    fn listen(stand: &Stand, answers: VecDeque<(Vec<u8>, Frame)>, cuts: Vec<u8>) -> Listening {
        let listener = UnixListener::bind(&stand.nodes[0].path).expect("nobody listens there yet");
        stand.put(plan("", 1), &[("nodes", vec![stand.entry(0, NodeBounds::default())])]);
        let node = Rc::new(Self {
            answers: RefCell::new(answers),
            cuts,
            seen: RefCell::default(),
            tasks: RefCell::default(),
        });
        let (pulse, accepting) = (stand.pulse.clone(), node.clone());
        let accepting = stand.pulse.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                let serving = pulse.spawn(accepting.clone().serve(stream));
                accepting.tasks.borrow_mut().push(serving);
            }
        });
        Listening { node, accepting }
    }

    async fn serve(self: Rc<Self>, mut stream: UnixStream) {
        while let Some(request) = read_request(&mut stream).await {
            let is_head = request.start.starts_with("HEAD ");
            self.seen.borrow_mut().push(request);
            let answer = self.answers.borrow_mut().pop_front();
            let (text, frame) = answer.unwrap_or_else(|| (well(is_head), Frame::Length));
            write(&mut stream, &text, &self.cuts).await;
            if frame == Frame::Close {
                return;
            }
        }
    }
}

/// A node, and the task that accepts for it.
struct Listening {
    node: Rc<Node>,
    accepting: JoinHandle<()>,
}

impl Listening {
    /// Ends it; all its connections have ended.
    ///
    /// # Panics
    /// If one of them did: a runtime keeps to itself what becomes of its tasks.
    async fn end(self) {
        self.accepting.abort();
        for task in self.node.tasks.take() {
            task.await.expect("what the proxy said can be read in one way");
        }
    }
}

/// That all is well.
fn well(is_head: bool) -> Vec<u8> {
    let body = if is_head { "" } else { "ok" };
    format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{body}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_see_what_the_other_said() {
        for_seeds(|dice| {
            let data: Vec<u8> = (0..1200).map(|_| dice.u8(..)).collect();
            exchanges(&data);
        });
    }

    /// Good requests with a few bytes of others, so that some of them get as far as a node.
    #[test]
    fn what_a_node_sees_has_one_meaning() {
        for_seeds(|dice| {
            let bytes: Vec<u8> = (0..1200).map(|_| dice.u8(..)).collect();
            let mut drawn = Dice(&bytes);
            let mut text: Vec<u8> = (0..8).map(|_| dice.u8(..)).collect();
            for _ in 0..dice.usize(1..4) {
                text.extend(draw_request(&mut drawn).0);
            }
            for _ in 0..dice.usize(0..4) {
                let at = dice.usize(9..text.len());
                match dice.u8(0..3) {
                    0 => drop(text.remove(at)),
                    1 => text.insert(at, *dice.choice(ODD).expect("there are some")),
                    _ => text[at] = dice.u8(..),
                }
            }
            connection(&text);
        });
    }

    /// Bytes that have a meaning in a head.
    const ODD: &[u8] = b"\r\n\t :,;0aA\0\x7f\xff";

    fn for_seeds(play: impl Fn(&mut fastrand::Rng)) {
        let number =
            |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().expect("a number"));
        let first = number("TIDELOCK_SEED").unwrap_or(0);
        for seed in first..first + number("TIDELOCK_SCENARIOS").unwrap_or(EXCHANGES) {
            let run = || play(&mut fastrand::Rng::with_seed(seed));
            if let Err(panic) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)) {
                eprintln!("repeat it with: cargo xtask simulate --scenarios 1 --seed {seed}");
                std::panic::resume_unwind(panic);
            }
        }
    }

    /// What a test may take is a second.
    const EXCHANGES: u64 = 300;
}
