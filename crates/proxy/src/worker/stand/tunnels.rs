//! How tunnels end: whoever ends one, by whatever means, at whatever place of a message, before ends that answer as they
//! should and before ends that do nothing. What each end sees, and when, and when nothing is left of the tunnel.
//!
//! Planted to see it fail: any frame as an edge for a Close (`Direction::admit`) makes 4 of its rows red.

mod ends;

use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep};

use self::ends::{End, TOLERANCE, said_before};
use super::{Stand, UPGRADE, by_paused_clock};
use crate::upstream::close_signal::{CloseOrder, CloseReason};
use crate::upstream::node::Observed;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Client,
    Node,
}

/// What each of both has said when it happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Point {
    /// Nothing.
    Rest,
    /// The first frame of a message.
    InMessage,
    /// Half of a frame.
    InFrame,
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    /// An end says that it says no more, and listens on.
    Fin(Side),
    /// It closes.
    Gone(Side),
    /// It closes, with something unread.
    Reset(Side),
    /// The node closes, and nobody listens there any more.
    Lost,
    Close(Side),
    Silence,
    /// The node is emptied: this tunnel's turn is after 10 s, and the drain's deadline after 20 s.
    Drain,
    /// The same, and the node ends what it was saying after 15 s.
    DrainAwaited,
    /// The same, and at 12 s it has said another fragment, and a ping, neither of which ends the message.
    DrainInPieces,
    /// The same, and it is called off after 5 s.
    DrainCalledOff,
    /// A message is longer than it may be.
    Big(Side),
    /// The client says more than it may in a second.
    Fast,
    /// The tunnel is as old as it may be, which is 10 s.
    Age,
}

/// Whether an end does what a WebSocket's should: answers a Close, and closes when the other end has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Polite {
    client: bool,
    node: bool,
}

const DEEDS: [Deed; 17] = [
    Deed::Fin(Side::Client),
    Deed::Fin(Side::Node),
    Deed::Gone(Side::Client),
    Deed::Gone(Side::Node),
    Deed::Reset(Side::Client),
    Deed::Reset(Side::Node),
    Deed::Lost,
    Deed::Close(Side::Client),
    Deed::Close(Side::Node),
    Deed::Silence,
    Deed::Drain,
    Deed::DrainAwaited,
    Deed::DrainInPieces,
    Deed::DrainCalledOff,
    Deed::Big(Side::Client),
    Deed::Big(Side::Node),
    Deed::Fast,
];
const PLACES: [Point; 3] = [Point::Rest, Point::InMessage, Point::InFrame];
const SETTINGS: &str = "[timeouts]\ntunnel = \"100s\"\n[limits]\nmessage_bytes_max = \"1000B\"";
/// How long a bound that was broken, or a node that was lost, is answered for.
const CLOSE_TIMEOUT: u64 = 5;
const HALF_CLOSED: u64 = 30;
const IDLE: u64 = 100;

/// What both ends see, and when the tunnel is over, in seconds.
fn expected(deed: Deed, place: Point, polite: Polite) -> String {
    let row = |client: &str, node: &str, over: u64| format!("client: {client}; node: {node}; over {over}");
    let within = |is_polite: bool, timeout: u64| if is_polite { 0 } else { timeout };
    // A node that answers a Close leaves.
    let node_told = |code: u16, at: u64, end: u64| match polite.node {
        true => format!("close {code} {at}"),
        false => format!("close {code} {at}, end {end}"),
    };
    let both = polite.client && polite.node;
    match deed {
        Deed::Fin(Side::Client) => {
            let over = within(polite.node, HALF_CLOSED);
            row(&format!("end {over}"), "end 0", over)
        }
        Deed::Fin(Side::Node) => {
            let over = within(polite.client, HALF_CLOSED);
            row("end 0", &format!("end {over}"), over)
        }
        Deed::Gone(Side::Client) => row("left", "end 0", within(polite.node, HALF_CLOSED)),
        Deed::Gone(Side::Node) | Deed::Reset(Side::Node) => {
            row("end 0", "left", within(polite.client, HALF_CLOSED))
        }
        // There is nobody left to pass anything on to.
        Deed::Reset(Side::Client) => row("left", "end 0", 0),
        Deed::Lost => {
            // Inside a frame there is no way to tell.
            let told = if place == Point::InFrame { "end 0" } else { "close 1012 0, end 0" };
            row(told, "left", within(polite.client, CLOSE_TIMEOUT))
        }
        Deed::Close(Side::Client) => match polite.node {
            true => row("close 1000 0, end 0", "close 1000 0", within(polite.client, HALF_CLOSED)),
            false => row(&format!("end {IDLE}"), &format!("close 1000 0, end {IDLE}"), IDLE),
        },
        Deed::Close(Side::Node) => match (polite.client, polite.node) {
            (true, true) => row("close 1000 0, end 0", "close 1000 0", 0),
            (true, false) => {
                row(&format!("close 1000 0, end {IDLE}"), &format!("close 1000 0, end {IDLE}"), IDLE)
            }
            (false, _) => row(&format!("close 1000 0, end {IDLE}"), &format!("end {IDLE}"), IDLE),
        },
        Deed::Silence | Deed::DrainCalledOff => row(&format!("end {IDLE}"), &format!("end {IDLE}"), IDLE),
        Deed::Drain => told_to_go(place, polite, 10, 20),
        Deed::Age => told_to_go(place, polite, 10, 15),
        Deed::DrainAwaited | Deed::DrainInPieces => {
            let answer = if place == Point::InFrame { "data, " } else { "" };
            match polite.client {
                true => row(
                    "data, close 1012 15, end 15",
                    &format!("{answer}{}", node_told(1012, 15, 15)),
                    if polite.node { 15 } else { 20 },
                ),
                false if place == Point::InFrame => row("data, close 1012 15, end 20", "end 20", 20),
                false => row("data, close 1012 15, end 20", &node_told(1012, 20, 20), 20),
            }
        }
        Deed::Big(side) => {
            let (client, node) = match (place, side) {
                // Who is too long has ended its frame before; the other one has not.
                (Point::InFrame, Side::Client) => {
                    ("end 0".to_owned(), format!("data, {}", node_told(1009, 0, 0)))
                }
                (Point::InFrame, Side::Node) => ("data, close 1009 0, end 0".to_owned(), "end 0".to_owned()),
                (Point::Rest | Point::InMessage, _) => {
                    ("close 1009 0, end 0".to_owned(), node_told(1009, 0, 0))
                }
            };
            row(&client, &node, within(both, CLOSE_TIMEOUT))
        }
        Deed::Fast => row(
            "close 1008 0, end 0",
            &format!("data, {}", node_told(1008, 0, 0)),
            within(both, CLOSE_TIMEOUT),
        ),
    }
}

/// The tunnel is told to say Close at `at`, and is over at `until`, whoever answers.
fn told_to_go(place: Point, polite: Polite, at: u64, until: u64) -> String {
    let end = |end: u64| if polite.node { String::new() } else { format!(", end {end}") };
    match (place, polite.client) {
        (Point::Rest, true) => {
            let over = if polite.node { at } else { until };
            format!("client: close 1012 {at}, end {at}; node: close 1012 {at}{}; over {over}", end(at))
        }
        (Point::Rest, false) => {
            format!(
                "client: close 1012 {at}, end {until}; node: close 1012 {until}{}; over {until}",
                end(until)
            )
        }
        // A message that does not end is waited for, up to the deadline.
        (Point::InMessage, _) => {
            format!(
                "client: close 1012 {until}, end {until}; node: close 1012 {until}{}; over {until}",
                end(until)
            )
        }
        (Point::InFrame, _) => format!("client: end {until}; node: end {until}; over {until}"),
    }
}

#[test]
fn a_tunnel_ends_as_it_should_in_the_reactor() {
    check(true);
}

#[test]
fn a_tunnel_ends_as_it_should_in_the_runtime() {
    check(false);
}

fn check(is_attended: bool) {
    let mut wrong = Vec::new();
    for deed in DEEDS.into_iter().chain([Deed::Age]) {
        for place in PLACES.into_iter().filter(|place| is_possible(deed, *place)) {
            for (client, node) in [(true, true), (true, false), (false, true), (false, false)] {
                let polite = Polite { client, node };
                let want = expected(deed, place, polite);
                let got = play(deed, place, polite, is_attended);
                if got != want {
                    wrong.push(format!("{deed:?}, {place:?}, {polite:?}:\n  is  {got}\n  not {want}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n"));
}

/// Nobody can say a frame inside another one.
fn is_possible(deed: Deed, place: Point) -> bool {
    match deed {
        Deed::Close(_) | Deed::Reset(_) => place != Point::InFrame,
        Deed::Fast => place == Point::Rest,
        Deed::DrainAwaited => place != Point::Rest,
        // The rest of a frame would end its message.
        Deed::DrainInPieces => place == Point::InMessage,
        _ => true,
    }
}

fn play(deed: Deed, place: Point, polite: Polite, is_attended: bool) -> String {
    let mut got = String::new();
    // How much earlier than its age a tunnel ends is drawn.
    fastrand::seed(0);
    by_paused_clock(async {
        let more = match deed {
            Deed::Fast => "\nmessages_per_second_max = 2",
            Deed::Age => "\ntunnel_age_max = \"10s\"",
            _ => "",
        };
        let stand = Rc::new(Stand::attended(&format!("{SETTINGS}{more}"), &["keep"], is_attended));
        let mut client = stand.dial();
        let (answer, client) = stand.run(async move { (client.ask(UPGRADE).await, client.0) }).await;
        assert_eq!(answer.unwrap().status, 101, "{deed:?}, {place:?}, {polite:?}");
        let node = stand.nodes[0].kept.borrow_mut().pop().unwrap();
        let mut ends = [End::new(client, Side::Client, place), End::new(node, Side::Node, place)];
        ends = stand
            .run(async move {
                let said = ends.each_ref().map(|end| said_before(place, end.side));
                for (end, said) in ends.iter_mut().zip(&said) {
                    end.stream.write_all(said).await.unwrap();
                }
                for (end, said) in ends.iter_mut().zip(said.iter().rev()) {
                    let mut heard = vec![0; said.len()];
                    end.stream.read_exact(&mut heard).await.unwrap();
                }
                ends
            })
            .await;
        let begun = Instant::now();
        let playing = ends.map(|end| {
            let is_polite = if end.side == Side::Client { polite.client } else { polite.node };
            stand.pulse.spawn(end.play(deed, is_polite, begun))
        });
        act(deed, &stand, begun);
        let counters = stand.counters.clone();
        let over = stand
            .run(async move {
                sleep(TOLERANCE).await;
                while counters.read().live > 0 {
                    sleep(Duration::from_secs(1)).await;
                }
                begun.elapsed().as_secs()
            })
            .await;
        let [client, node] = stand
            .run(async move {
                let [client, node] = playing;
                [client.await.unwrap(), node.await.unwrap()].map(|(seen, _kept)| seen.join(", "))
            })
            .await;
        got = format!("client: {client}; node: {node}; over {over}");
        stand.check_is_clean().await;
    });
    got
}

/// What an operator does, or becomes of the node.
fn act(deed: Deed, stand: &Rc<Stand>, begun: Instant) {
    let node = stand.members()[0].clone();
    match deed {
        Deed::Lost => std::fs::remove_file(&stand.nodes[0].path).unwrap(),
        Deed::Drain | Deed::DrainAwaited | Deed::DrainInPieces | Deed::DrainCalledOff => {
            node.observe(Observed::ToldToDrain);
            node.tunnels.signal_from(0, || CloseOrder {
                at: begun + Duration::from_secs(10),
                until: begun + Duration::from_secs(20),
                reason: CloseReason::Restart,
            });
            if deed == Deed::DrainCalledOff {
                stand.pulse.spawn(async move {
                    sleep(Duration::from_secs(5)).await;
                    node.observe(Observed::ToldToStay);
                });
            }
        }
        _ => {}
    }
}
