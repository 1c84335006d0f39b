//! Goal: whatever a client sends, a node sees either exactly the requests that were meant, or none; and the client
//! is told.
//! Method: one table of raw bytes. Each row is sent by a raw client, whole and cut in several ways, through the real
//! binary to an origin that records every request whole. After each row an innocent client, on a connection of its
//! own, must get its own answer. The origin reads leniently on purpose: a smuggled request would be seen.

mod access;
mod actions;
mod compress;
mod edge;
mod error_pages;
mod pass;
mod refuse;
mod routes;
mod trusted;

use testkit::origin::{ScriptedOrigin, Step};
use testkit::raw::{End, RawConnection, get};
use testkit::tidelock::{Tidelock, config_for};

/// One line of the table.
struct Row {
    sends: Vec<u8>,
    want: Want,
}

/// What must come of it. Requests are written as the origin must see them, byte by byte, but for `{ours}`: the
/// forwarded lines that the proxy adds.
enum Want {
    /// The origin sees them, each is answered, and the client may go on.
    Passes(Vec<String>),
    /// The same, and the answer to the last says that the connection is over, and it is.
    PassesAndCloses(Vec<String>),
    /// The origin sees the requests before, and not one byte's worth of a request more. The client gets the status,
    /// and the end.
    RefusedAfter(Vec<String>, u16),
}

fn passes<const N: usize>(sends: impl AsRef<[u8]>, origin_sees: [&str; N]) -> Row {
    Row { sends: sends.as_ref().to_vec(), want: Want::Passes(origin_sees.map(str::to_owned).into()) }
}

fn passes_and_closes(sends: impl AsRef<[u8]>, origin_sees: &str) -> Row {
    Row { sends: sends.as_ref().to_vec(), want: Want::PassesAndCloses(vec![origin_sees.to_owned()]) }
}

fn refused(status: u16, sends: impl AsRef<[u8]>) -> Row {
    Row { sends: sends.as_ref().to_vec(), want: Want::RefusedAfter(Vec::new(), status) }
}

fn refused_after(origin_sees: &str, status: u16, sends: impl AsRef<[u8]>) -> Row {
    Row { sends: sends.as_ref().to_vec(), want: Want::RefusedAfter(vec![origin_sees.to_owned()], status) }
}

/// The two ends, and a third that must never be spoken to.
struct World {
    proxy: Tidelock,
    origin: ScriptedOrigin,
    decoy: ScriptedOrigin,
}

impl World {
    async fn new() -> Self {
        // The answer says in a header what was asked, so that it fits HEAD as well, and nobody gets another's.
        let echo = |request: &testkit::message::Message| {
            let asked = request.start.strip_suffix(" HTTP/1.1").unwrap_or("no HTTP/1.1");
            vec![Step::send(&format!("HTTP/1.1 200 OK\r\nAsked: {asked}\r\nContent-Length: 0\r\n\r\n"))]
        };
        let origin = ScriptedOrigin::start(echo).await;
        let decoy = ScriptedOrigin::start(echo).await;
        let config = format!("{}[limits]\nbody_bytes_max = \"1KiB\"\n", config_for(&[origin.address()]));
        let proxy = Tidelock::start(env!("CARGO_BIN_EXE_tidelock"), &config).await;
        Self { proxy, origin, decoy }
    }

    /// Sends one row in pieces and looks at everything that came of it.
    async fn check(&self, row: &Row, cut: Cut) {
        let sends = self.fill_in(&row.sends);
        let seen_before = self.origin.requests().len();
        let mut client = RawConnection::connect(self.proxy.address()).await;
        // A refusal may come before the last piece, and what follows it then need not be taken.
        let sent = client.try_send_pieces(cut.pieces(&sends)).await;
        let mut what = format!("{cut:?}: \"{}\"", sends[..sends.len().min(300)].escape_ascii());
        what.push_str(if sent.is_ok() { "" } else { " (not taken to its end)" });
        let (origin_sees, refusal) = match &row.want {
            Want::Passes(requests) | Want::PassesAndCloses(requests) => (requests, None),
            Want::RefusedAfter(requests, status) => (requests, Some(*status)),
        };
        let _named = testkit::Row(what.clone());
        let origin_sees: Vec<String> = origin_sees.iter().map(|request| self.ours(request)).collect();
        let mut says_close = false;
        for request in &origin_sees {
            let answer = client.read_message().await;
            let asked = request.split(" HTTP/1.1\r\n").next();
            assert_eq!((answer.status(), answer.header("asked")), (200, asked), "{what}");
            says_close = answer.header("connection") == Some("close");
        }
        if let Some(status) = refusal {
            let answer = client.read_message().await;
            assert_eq!(answer.status(), status, "{what}: {}", answer.text());
            says_close = answer.header("connection") == Some("close");
        }
        let mut all = origin_sees;
        if let Want::Passes(_) = row.want {
            client.send("GET /next HTTP/1.1\r\nHost: a\r\n\r\n").await;
            assert_eq!(client.read_message().await.header("asked"), Some("GET /next"), "{what}");
            all.push(self.ours("GET /next HTTP/1.1\r\nHost: a\r\n{ours}"));
        } else {
            // An HTTP/1.0 client expects the end without being told.
            assert!(
                says_close || sends.windows(8).any(|eight| eight == b"HTTP/1.0"),
                "{what}: close is not said"
            );
            assert_eq!(client.read_to_end().await, (Vec::new(), End::Closed), "{what}");
        }
        let innocent = get(self.proxy.address(), "/innocent").await;
        assert_eq!(innocent.header("asked"), Some("GET /innocent"), "{what}");
        let host = self.proxy.address();
        all.push(self.ours(&format!("GET /innocent HTTP/1.1\r\nHost: {host}\r\n{{ours}}")));
        let seen: Vec<String> = self.origin.requests()[seen_before..]
            .iter()
            .map(|request| request.raw.escape_ascii().to_string())
            .collect();
        let all: Vec<String> =
            all.iter().map(|request| request.as_bytes().escape_ascii().to_string()).collect();
        assert_eq!(seen, all, "{what}");
    }

    /// The addresses that only this run knows.
    fn fill_in(&self, text: &[u8]) -> Vec<u8> {
        let decoy = self.decoy.address().to_string();
        replace(
            &replace(text, b"{decoy}", decoy.as_bytes()),
            b"{node}",
            self.origin.address().to_string().as_bytes(),
        )
    }

    /// A request as the origin must see it, with the lines that the proxy adds for a client it does not believe.
    fn ours(&self, request: &str) -> String {
        let request = String::from_utf8(self.fill_in(request.as_bytes())).expect("the table is text");
        let host_at =
            request.to_ascii_lowercase().find("\r\nhost: ").expect("a node is always told a Host") + 8;
        let host = &request[host_at..host_at + request[host_at..].find('\r').expect("a line ends")];
        // Host says the port that was asked, unless it is the scheme's own, or the Host is ours.
        let is_ours = host == self.origin.address().to_string();
        let port = host.rsplit_once(':').map(|(_, port)| port).filter(|port| !is_ours && !port.is_empty());
        let port = port.unwrap_or("80");
        let ours = format!(
            "X-Forwarded-For: 127.0.0.1\r\nX-Real-IP: 127.0.0.1\r\nX-Forwarded-Proto: http\r\n\
             X-Forwarded-Port: {port}\r\nX-Forwarded-Host: {host}\r\n\r\n"
        );
        request.replace("{ours}", &ours)
    }
}

fn replace(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    match text.windows(from.len()).position(|window| window == from) {
        Some(at) => [&text[..at], to, &replace(&text[at + from.len()..], from, to)].concat(),
        None => text.to_vec(),
    }
}

/// How a row's bytes are cut into packets.
#[derive(Clone, Copy, Debug)]
enum Cut {
    Whole,
    ByteByByte,
    /// The last piece is what is left.
    Every(usize),
    /// Between CR and LF, where a parser is the most likely to lose its place.
    BehindCr,
}

impl Cut {
    fn pieces(self, bytes: &[u8]) -> Vec<&[u8]> {
        match self {
            Self::Whole => vec![bytes],
            Self::ByteByByte => bytes.chunks(1).collect(),
            Self::Every(count) => bytes.chunks(count).collect(),
            Self::BehindCr => bytes.split_inclusive(|&byte| byte == b'\r').collect(),
        }
    }
}

async fn run_the_table(cut: Cut) {
    let world = World::new().await;
    for row in pass::rows().iter().chain(&refuse::rows()) {
        world.check(row, cut).await;
    }
    let ours = get(world.decoy.address(), "/").await;
    assert_eq!(ours.status(), 200);
    assert_eq!(world.decoy.connections(), 1, "nobody but this test has spoken to the decoy");
}

#[tokio::test]
async fn whole() {
    run_the_table(Cut::Whole).await;
}

#[tokio::test]
async fn byte_by_byte() {
    run_the_table(Cut::ByteByByte).await;
}

#[tokio::test]
async fn in_pieces_of_seven() {
    run_the_table(Cut::Every(7)).await;
}

#[tokio::test]
async fn in_pieces_of_sixty_one() {
    run_the_table(Cut::Every(61)).await;
}

#[tokio::test]
async fn cut_between_cr_and_lf() {
    run_the_table(Cut::BehindCr).await;
}
