//! What becomes of a client when memory is short, or there is none: wherever its connection is at that moment. What rests goes,
//! what is under way goes on, and what begins is refused while there is none.
//!
//! Planted to see it fail: silent connections that stay when there is no memory make 2 of its rows red.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use super::{Client, Stand, UPGRADE, by_paused_clock};

/// Where the connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// It has not said anything for two seconds.
    Silent,
    /// It has just come.
    JustCame,
    /// It has been answered two seconds ago.
    Resting,
    /// It has just been answered.
    JustRested,
    /// It has sent half a head.
    InHead,
    /// It has sent a request that its node takes two seconds to answer.
    UnderWay,
    /// It has sent a head, and half of the body.
    InBody,
    /// It has a tunnel.
    Tunnel,
}

const ALL: [At; 8] =
    [At::Silent, At::JustCame, At::Resting, At::JustRested, At::InHead, At::UnderWay, At::InBody, At::Tunnel];
/// Percent of the budget that are taken: enough is left, it is short, there is none.
const TAKEN: [u64; 3] = [0, 80, 95];
const GET: &[u8] = b"GET /page HTTP/1.1\r\nHost: example.com\r\n\r\n";
const POST: &[u8] = b"POST /page HTTP/1.1\r\nHost: example.com\r\nContent-Length: 4\r\n\r\nfo";

/// What the client gets when it goes on at once, and when it goes on a second later.
fn expected(at: At, taken: u64) -> (&'static str, &'static str) {
    let is_out = taken == 95;
    match at {
        _ if taken == 0 => ("200", "200"),
        // What is under way goes on.
        At::UnderWay | At::InBody | At::Tunnel => ("200", "200"),
        At::InHead => {
            if is_out {
                ("503", "503")
            } else {
                ("200", "200")
            }
        }
        // Half a second after it came, or after its answer, somebody who waits can be told to go.
        At::Silent if is_out => ("closed", "closed"),
        At::JustCame if is_out => ("503", "closed"),
        At::Silent | At::JustCame => ("200", "200"),
        At::Resting => ("closed", "closed"),
        At::JustRested if is_out => ("503", "closed"),
        At::JustRested => ("200", "closed"),
    }
}

#[test]
fn what_rests_goes_and_what_is_under_way_goes_on() {
    let mut wrong = Vec::new();
    for at in ALL {
        for taken in TAKEN {
            let want = expected(at, taken);
            let got = [false, true].map(|is_late| play(at, taken, is_late));
            if (got[0].as_str(), got[1].as_str()) != want {
                wrong.push(format!("{at:?}, {taken} % are taken: {got:?}, not {want:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n"));
}

fn play(at: At, taken: u64, is_late: bool) -> String {
    let mut got = String::new();
    by_paused_clock(async {
        let stand = Stand::new("", &[if at == At::UnderWay { "slow" } else { "" }]);
        let client = stand.dial();
        let mut client = stand.run(begin(client, at)).await;
        stand.worker.local.shared.memory.set_taken(taken);
        if is_late {
            stand.run(sleep(Duration::from_secs(1))).await;
        }
        let (answer, rest) = stand.run(async move { (go_on(&mut client, at).await, client) }).await;
        got = answer;
        drop(rest);
        stand.worker.local.shared.memory.set_taken(0);
        // Whoever comes now is answered.
        let mut other = stand.dial();
        let answer = stand.run(async move { other.ask(GET).await }).await;
        assert_eq!(answer.map(|answer| answer.status), Some(200));
        stand.check_is_clean().await;
    });
    got
}

/// Brings the connection there.
async fn begin(mut client: Client, at: At) -> Client {
    match at {
        At::Silent => sleep(Duration::from_secs(2)).await,
        At::JustCame => {}
        At::Resting | At::JustRested => {
            assert_eq!(client.ask(GET).await.map(|answer| answer.status), Some(200));
            sleep(Duration::from_millis(if at == At::Resting { 2000 } else { 1 })).await;
        }
        At::InHead => client.0.write_all(&GET[..GET.len() / 2]).await.unwrap(),
        At::UnderWay => client.0.write_all(GET).await.unwrap(),
        At::InBody => client.0.write_all(POST).await.unwrap(),
        At::Tunnel => assert_eq!(client.ask(UPGRADE).await.map(|answer| answer.status), Some(101)),
    }
    sleep(Duration::from_millis(1)).await;
    client
}

/// Says what is left to say, and what comes of it: a status, "closed", or 200 for an echo through the tunnel.
async fn go_on(client: &mut Client, at: At) -> String {
    let rest: &[u8] = match at {
        At::InHead => &GET[GET.len() / 2..],
        At::UnderWay => b"",
        At::InBody => b"rm",
        At::Tunnel => {
            let mut echo = [0; 4];
            client.0.write_all(b"\x81\x82\0\0\0\0yo").await.unwrap();
            let read = timeout(Duration::from_secs(10), client.0.read_exact(&mut echo)).await;
            return if read.is_ok_and(|read| read.is_ok()) { "200".into() } else { "closed".into() };
        }
        At::Silent | At::JustCame | At::Resting | At::JustRested => GET,
    };
    match client.ask(rest).await {
        Some(answer) => answer.status.to_string(),
        None => "closed".into(),
    }
}
