//! What the data plane decides: route, place, node, session; and what a reload compares.

use std::fmt::Write as _;
use std::hint::black_box;
use std::path::Path;

use config::plan::Plan;
use proxy::bench::{Passing, Site};
use tokio::time::Instant;

use crate::wire_cases::{poll, read};
use crate::{Case, Size, Step};

pub(crate) const CASES: &[Case] = &[
    case("route/1 route", |_| route(1)),
    case("route/1000 routes", |_| route(1000)),
    case("place/by tag, 1000 nodes", place_by_tag),
    case("pick/for a session, 3 nodes", |_| pick("least-sessions", 3, WEBSOCKET)),
    case("pick/for a session, 1000 nodes", |_| pick("least-sessions", 1000, WEBSOCKET)),
    case("pick/least-sessions, 3 nodes", |_| pick("least-sessions", 3, GET)),
    case("pick/least-sessions, 1000 nodes", |_| pick("least-sessions", 1000, GET)),
    case("pick/round-robin, 3 nodes", |_| pick("round-robin", 3, GET)),
    case("pick/round-robin, 1000 nodes", |_| pick("round-robin", 1000, GET)),
    case("pick/least-requests, 3 nodes", |_| pick("least-requests", 3, GET)),
    case("pick/least-requests, 1000 nodes", |_| pick("least-requests", 1000, GET)),
    case("pick/random-two, 3 nodes", |_| pick("random-two", 3, GET)),
    case("pick/random-two, 1000 nodes", |_| pick("random-two", 1000, GET)),
    case("pick/peak-ewma, 3 nodes", |_| pick("peak-ewma", 3, GET)),
    case("pick/hash:ip, 3 nodes", |_| pick("hash:ip", 3, GET)),
    case("pick/hash:ip, 1000 nodes", |_| pick("hash:ip", 1000, GET)),
    case("registry/a poll", use_sessions),
    case("tunnel/pass a frame of 64 B", |_| pass(64)),
    case("tunnel/pass a frame of 16 KiB", |_| pass(16384)),
    Case { times: 20, ..case("config/read 1000 nodes", read_file) },
    Case { times: 20, ..case("config/compare 1000 nodes", compare_plans) },
];

const fn case(name: &'static str, prepare: fn(Size) -> Step) -> Case {
    Case { name, times: 100, prepare }
}

/// A file of so many nodes and routes. All routes but one are other hosts, or other paths of the host that is asked for.
fn file(nodes: usize, routes: usize, upstream_keys: &str) -> String {
    let mut text = format!("sticky_secret = \"{SECRET}\"\n[[listen]]\naddress = \"127.0.0.1:80\"\n");
    for number in 1..routes {
        let what = match number % 2 {
            0 => format!("host = \"host{number}.example.com\""),
            _ => format!("host = \"api.example.com\"\npath = \"/other{number}\""),
        };
        let _ = write!(text, "[[route]]\n{what}\nupstream = \"nodes\"\n");
    }
    let _ = write!(text, "[[route]]\nupstream = \"nodes\"\n[upstream.nodes]\n{upstream_keys}nodes = [\n");
    for number in 0..nodes {
        let _ = writeln!(text, "\"10.0.{}.{}:3000\",", number / 250, number % 250);
    }
    text + "]\n"
}

/// How many nodes share a hint depends on it, and with it how long the search for a tag takes.
const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn plan(text: &str) -> Plan {
    match config::parse(text, Path::new("bench.toml")) {
        Ok(loaded) => loaded.plan,
        Err(report) => panic!("a bench has a bad file: {report}"),
    }
}

fn route(routes: usize) -> Step {
    let site = Site::new(plan(&file(3, routes, "")));
    let head = read(&poll("lv_VI97HAXpY6yYWAAAC"));
    Box::new(move || assert!(site.route(black_box(&head)), "the last route is for all"))
}

fn place_by_tag(_: Size) -> Step {
    let site = Site::new(plan(&file(1000, 1, "")));
    let sid = String::from_utf8(site.tagged_sid(700)).expect("base64url");
    let head = read(&poll(&sid));
    let now = Instant::now();
    Box::new(move || assert!(site.place(black_box(&head), now), "the tag is that of a node"))
}

fn pick(balance: &str, nodes: usize, request: &str) -> Step {
    let site = Site::new(plan(&file(nodes, 1, &format!("balance = \"{balance}\"\n"))));
    let head = read(request.as_bytes());
    let now = Instant::now();
    Box::new(move || assert!(site.place(black_box(&head), now), "there is a node"))
}

fn use_sessions(size: Size) -> Step {
    let site = Site::new(plan(&file(3, 1, "")));
    let count = match size {
        Size::Large => 1_000_000,
        Size::Counted => 10_000,
    };
    site.open_sessions(0..count);
    let now = Instant::now();
    let mut number = 0;
    Box::new(move || {
        // Far from the one before, so that it is in no cache.
        number = (number + 7_919) % count;
        assert!(black_box(&site).use_session(number, now), "it was opened");
    })
}

fn pass(bytes: u16) -> Step {
    let mut frame = match bytes {
        0..126 => vec![0x82, 0x80 | bytes as u8],
        _ => [&[0x82, 0x80 | 126][..], &bytes.to_be_bytes()].concat(),
    };
    frame.resize(frame.len() + 4 + usize::from(bytes), b'x');
    let mut passing = Passing::new().expect("the system has sockets");
    Box::new(move || passing.pass(black_box(&frame)).expect("nobody closes it"))
}

fn read_file(_: Size) -> Step {
    let text = file(1000, 1, "");
    Box::new(move || {
        black_box(plan(black_box(&text)));
    })
}

fn compare_plans(_: Size) -> Step {
    let (old, new) = (plan(&file(1000, 1, "")), plan(&file(999, 1, "")));
    Box::new(move || assert!(!config::diff::diff(black_box(&old), &new).is_empty(), "a node is missing"))
}

const GET: &str = "GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n";
const WEBSOCKET: &str = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: api.example.com\r\n\
    Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
