//! Goal: whatever a node answers, a client gets an answer that is whole and valid, or our own 502, or one that
//! anybody can see is cut; and nobody ever gets what was meant for another.
//! Method: one table of raw bytes that an origin sends, whole and in pieces, and of what a raw client must have got
//! through the real binary. After each row, on one worker with one pool, the same client and an innocent one ask
//! again and must get their own answers. What needs both ends to move in turns is in `turns`, what is longer than a
//! buffer in `long`.

mod broken;
mod long;
mod turns;
mod whole;

use std::sync::{Arc, Mutex};

use testkit::message::Message;
use testkit::origin::{ScriptedOrigin, Step};
use testkit::raw::{End, RawConnection, get};
use testkit::tidelock::{Tidelock, config_for};

/// One line of the table.
struct Row {
    asks: &'static str,
    answers: Vec<u8>,
    /// What the origin sends beyond its answer, in the same packet as the last byte of it: what came later could
    /// honestly be the answer to the next request.
    surplus: &'static str,
    end: Ending,
    want: Want,
}

/// What the origin does behind its answer.
#[derive(Clone, Copy, Debug)]
enum Ending {
    StaysOpen,
    Fin,
    Reset,
}

/// What the client must get.
enum Want {
    /// Every head as it is written here, interim ones first, and the body: with its chunks and trailers where it is
    /// written with them, else without. Then the connection goes on, unless the head says otherwise.
    Whole { heads: Vec<String>, body: Vec<u8> },
    /// Our own 502.
    Refused,
    /// A beginning of the answer that nobody can take for the whole of it; or our own 502, if it was not begun.
    Cut { head: String },
}

const GET: &str = "GET /row HTTP/1.1\r\nHost: a\r\n\r\n";
const HEAD: &str = "HEAD /row HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &str = "POST /row HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
const GET_10: &str = "GET /row HTTP/1.0\r\nHost: a\r\n\r\n";
const GET_10_KEPT: &str = "GET /row HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n";
const GET_LAST: &str = "GET /row HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
const WEBSOCKET: &str = "GET /row HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// The answer reaches the client as `head` and `body`.
fn whole(asks: &'static str, answers: impl AsRef<[u8]>, head: &str, body: &str) -> Row {
    let want = Want::Whole { heads: vec![head.to_owned()], body: body.as_bytes().to_vec() };
    Row { asks, answers: answers.as_ref().to_vec(), surplus: "", end: Ending::StaysOpen, want }
}

fn refused(asks: &'static str, answers: impl AsRef<[u8]>) -> Row {
    Row { asks, answers: answers.as_ref().to_vec(), surplus: "", end: Ending::StaysOpen, want: Want::Refused }
}

/// The answer is cut behind `answers`, or breaks in it.
fn cut(asks: &'static str, answers: impl AsRef<[u8]>, end: Ending, head: &str) -> Row {
    Row {
        asks,
        answers: answers.as_ref().to_vec(),
        surplus: "",
        end,
        want: Want::Cut { head: head.to_owned() },
    }
}

impl Row {
    fn then(self, end: Ending) -> Self {
        Self { end, ..self }
    }

    /// An interim answer comes before it.
    fn behind(mut self, interim: &str) -> Self {
        if let Want::Whole { heads, .. } = &mut self.want {
            heads.insert(0, interim.to_owned());
        }
        self
    }

    fn with_surplus(self, surplus: &'static str) -> Self {
        Self { surplus, ..self }
    }

    fn steps(&self, pieces: usize) -> Vec<Step> {
        let mut pieces: Vec<_> = self.answers.chunks(pieces).map(<[u8]>::to_vec).collect();
        if let Some(last) = pieces.last_mut() {
            last.extend_from_slice(self.surplus.as_bytes());
        }
        let end = match self.end {
            Ending::StaysOpen => None,
            Ending::Fin => Some(Step::Close),
            Ending::Reset => Some(Step::Reset),
        };
        [Step::Pieces(pieces)].into_iter().chain(end).collect()
    }
}

struct World {
    proxy: Tidelock,
    /// What is played for `/row`; everything else is answered with what was asked.
    row: Arc<Mutex<Vec<Step>>>,
    origin: ScriptedOrigin,
    /// Our 502s, in their order, with what the client saw of them. `None` where nothing is asked of one.
    refused: Vec<Option<Refused>>,
}

/// A 502 of ours. The access log knows more of it than the client.
struct Refused {
    what: String,
    is_http_10: bool,
    /// What it said of the connection.
    connection: Option<String>,
}

impl World {
    async fn new() -> Self {
        let row = Arc::new(Mutex::new(Vec::new()));
        let steps = Arc::clone(&row);
        let origin = ScriptedOrigin::start(move |request| {
            if request.start.contains("/row ") {
                return steps.lock().expect("nobody panics with it").clone();
            }
            vec![Step::send(&format!(
                "HTTP/1.1 200 OK\r\nAsked: {}\r\nContent-Length: 0\r\n\r\n",
                request.start
            ))]
        })
        .await;
        // One worker, so that every request meets what the last one left in the pool.
        let config = format!("workers = 1\n{}", config_for(&[origin.address()]));
        let proxy = Tidelock::start(env!("CARGO_BIN_EXE_tidelock"), &config).await;
        Self { proxy, row, origin, refused: Vec::new() }
    }

    async fn check(&mut self, row: &Row, pieces: usize) {
        let what = format!(
            "in pieces of {pieces}: \"{}\" and {:?} then {:?}, for {:?}",
            row.answers[..row.answers.len().min(300)].escape_ascii(),
            row.surplus,
            row.end,
            row.asks.lines().next(),
        );
        let _named = testkit::Row(what.clone());
        *self.row.lock().expect("nobody panics with it") = row.steps(pieces);
        let mut client = RawConnection::connect(self.proxy.address()).await;
        client.send(row.asks).await;
        let goes_on = match &row.want {
            Want::Whole { heads, body } => check_whole(&mut client, row.asks, heads, body, &what).await,
            Want::Refused => {
                let mut answer = client.read_message().await;
                while answer.status() < 200 && answer.status() != 101 {
                    answer = client.read_message().await;
                }
                assert_eq!((answer.status(), &*answer.text()), (502, "502 Bad Gateway\n"), "{what}");
                self.refused.push(Some(Refused {
                    what: what.clone(),
                    is_http_10: row.asks.contains("HTTP/1.0"),
                    connection: answer.header("connection").map(str::to_owned),
                }));
                goes_on_behind(&answer, row.asks)
            }
            Want::Cut { head } => check_cut(&mut client, row, head, &mut self.refused, &what).await,
        };
        if goes_on {
            client.send("GET /next HTTP/1.1\r\nHost: a\r\n\r\n").await;
            assert_eq!(client.read_message().await.header("asked"), Some("GET /next HTTP/1.1"), "{what}");
        } else if !matches!(row.want, Want::Cut { .. }) {
            assert_eq!(client.read_to_end().await, (Vec::new(), End::Closed), "{what}");
        }
        let innocent = get(self.proxy.address(), "/innocent").await;
        assert_eq!(innocent.header("asked"), Some("GET /innocent HTTP/1.1"), "{what}");
    }

    /// A node that broke the rules may have meant to, and the client's connection ends with that; one that closed has only
    /// closed. Which it was is told to the log alone.
    async fn check_connections(mut self) {
        let is_refused = |line: &str| line.contains(r#""target":"/row","status":502"#);
        let mark = testkit::process::Mark::default();
        let lines = self.proxy.process().wait_for_lines_since(mark, self.refused.len(), is_refused).await;
        let mut malformed = 0;
        for (refused, line) in self.refused.iter().zip(&lines) {
            let Some(Refused { what, is_http_10, connection }) = refused else { continue };
            if line.contains(r#""fault":"node sent a malformed answer""#) {
                let says = if *is_http_10 { None } else { Some("close") };
                assert_eq!(connection.as_deref(), says, "{what}");
                malformed += 1;
            }
        }
        assert!(malformed > 0, "the table has such rows");
    }
}

/// Whether the connection goes on.
async fn check_whole(
    client: &mut RawConnection,
    asks: &str,
    heads: &[String],
    body: &[u8],
    what: &str,
) -> bool {
    let (last, interim) = heads.split_last().expect("an answer has a head");
    for head in interim {
        assert_eq!(text(&client.read_head().await.raw), *head, "{what}");
    }
    let has_no_body = asks.starts_with("HEAD") || last.contains(" 204 ") || last.contains(" 304 ");
    let says = |name: &str| last.to_ascii_lowercase().contains(name);
    let is_unframed = !says("content-length:") && !says("transfer-encoding:");
    let (head, got) = if has_no_body {
        (client.read_head().await.raw, Vec::new())
    } else if is_unframed {
        let head = client.read_head().await.raw;
        let (got, end) = client.read_to_end().await;
        assert_eq!(end, End::Closed, "{what}: the end of the body is the connection's");
        (head, got)
    } else {
        let answer = client.read_message().await;
        let head_end = answer.raw.windows(4).position(|four| four == b"\r\n\r\n").expect("a head ends") + 4;
        let got = if body.ends_with(b"\r\n\r\n") { answer.raw[head_end..].to_vec() } else { answer.body };
        (answer.raw[..head_end].to_vec(), got)
    };
    assert_eq!(text(&head), *last, "{what}");
    assert_eq!(text(&got), text(body), "{what}");
    let is_http_10 = asks.contains("HTTP/1.0");
    !last.contains("Connection: close") && (!is_http_10 || last.contains("Connection: keep-alive"))
}

/// What an answer of ours says of the connection.
fn goes_on_behind(answer: &Message, asks: &str) -> bool {
    match answer.header("connection") {
        Some("close") => false,
        Some("keep-alive") => true,
        _ => !asks.contains("HTTP/1.0"),
    }
}

/// Whether the connection goes on, which it cannot behind an answer that was begun.
async fn check_cut(
    client: &mut RawConnection,
    row: &Row,
    head: &str,
    refused: &mut Vec<Option<Refused>>,
    what: &str,
) -> bool {
    let first = client.read_head().await;
    if first.status() == 502 {
        refused.push(None);
        let length = first.header("content-length").and_then(|length| length.parse().ok());
        client.read_exactly(length.expect("ours has a length")).await;
        return goes_on_behind(&first, row.asks);
    }
    assert_eq!(text(&first.raw), head, "{what}");
    let (rest, end) = client.read_to_end().await;
    match (first.header("content-length"), first.header("transfer-encoding")) {
        (Some(length), None) => {
            assert!(rest.len() < length.parse().expect("a number"), "{what}: \"{}\"", rest.escape_ascii());
            // A reset may have eaten some of it on its way to us.
            let body_at =
                row.answers.windows(4).position(|four| four == b"\r\n\r\n").expect("a head ends") + 4;
            assert!(row.answers[body_at..].starts_with(&rest), "{what}: \"{}\"", rest.escape_ascii());
        }
        (None, Some(_)) => {
            let ends = rest.windows(5).any(|five| five == b"0\r\n\r\n");
            assert!(!ends, "{what}: \"{}\" looks complete", rest.escape_ascii());
        }
        (None, None) => assert_eq!(end, End::Reset, "{what}: a FIN would make it look complete"),
        (Some(_), Some(_)) => panic!("{what}: two frames"),
    }
    false
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

async fn run_the_table(pieces: usize) {
    let mut world = World::new().await;
    for row in whole::rows().iter().chain(&broken::rows()) {
        world.check(row, pieces).await;
    }
    assert!(world.origin.connections() > 0);
    world.check_connections().await;
}

#[tokio::test]
async fn in_one_piece() {
    run_the_table(usize::MAX).await;
}

#[tokio::test]
async fn byte_by_byte() {
    run_the_table(1).await;
}

#[tokio::test]
async fn in_pieces_of_seven() {
    run_the_table(7).await;
}
