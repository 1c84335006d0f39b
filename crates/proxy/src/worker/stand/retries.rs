//! What becomes of a request whose first node fails it: every failure, before every answer of a second node, for requests
//! that may be sent twice and that may not, with and without a budget.
//!
//! Planted to see it fail: a budget that `dispatch` does not ask for makes 16 of its rows red.

use super::{Stand, by_paused_clock};

/// What the client gets, and how many requests each node does.
fn expected(first: &str, second: &str, is_safe: bool, has_budget: bool) -> (String, [usize; 2]) {
    let heard = |script: &str| usize::from(script != "refuse");
    let moves_on = match first {
        // Nothing was sent.
        "refuse" => true,
        "close" | "stall" => is_safe && has_budget,
        _ => false,
    };
    match (first, second) {
        _ if !moves_on => (told(first, "a"), [heard(first), 0]),
        // Nobody else can be reached, so it waits until somebody can, and asks the first one again: the second try, which the
        // budget has allowed, has reached nobody yet.
        ("close", "refuse") => ("200 a".into(), [2, 0]),
        _ => (told(second, "b"), [heard(first), heard(second)]),
    }
}

/// What the client gets if nobody else is asked.
fn told(script: &str, name: &str) -> String {
    match script {
        "200" | "503" => format!("{script} {name}"),
        "slow" => format!("200 {name}"),
        "stall" => "504".into(),
        "half" => "cut".into(),
        "refuse" => "503".into(),
        _ => "502".into(),
    }
}

const SCRIPTS: [&str; 8] = ["200", "503", "slow", "close", "half", "garbage", "refuse", "stall"];
const GET: &[u8] = b"GET /page HTTP/1.1\r\nHost: example.com\r\n\r\n";
const POST: &[u8] = b"POST /page HTTP/1.1\r\nHost: example.com\r\nContent-Length: 2\r\n\r\nhi";

#[test]
fn a_second_node_is_asked_where_nothing_can_happen_twice() {
    let mut wrong = Vec::new();
    for first in SCRIPTS {
        for second in SCRIPTS {
            for (request, is_safe) in [(GET, true), (POST, false)] {
                for has_budget in [false, true] {
                    let want = expected(first, second, is_safe, has_budget);
                    let got = ask(first, second, request, has_budget);
                    if got != want {
                        let method = if is_safe { "GET" } else { "POST" };
                        let budget = if has_budget { "budget" } else { "no budget" };
                        wrong.push(format!("{method}, {budget}, {first}, {second}: {got:?}, not {want:?}"));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n"));
}

/// What the client gets, and how many requests each node did.
fn ask(first: &str, second: &str, request: &'static [u8], has_budget: bool) -> (String, [usize; 2]) {
    let mut got = None;
    by_paused_clock(async {
        let stand = Stand::new("balance = \"round-robin\"\nretry_percent = 0", &[first, second]);
        // Beside its share an upstream has ten second tries, which others have had.
        let budget = stand.upstream().budget;
        while !has_budget && budget.allows(0) {}
        let mut client = stand.dial();
        let answer = stand.run(async move { client.ask(request).await }).await;
        let told = match answer {
            None => "cut".to_owned(),
            Some(answer) if answer.status == 200 || answer.body.len() == 1 => {
                format!("{} {}", answer.status, answer.body)
            }
            Some(answer) => answer.status.to_string(),
        };
        let heard = [0, 1].map(|node: usize| stand.nodes[node].heard.borrow().len());
        stand.check_is_clean().await;
        got = Some((told, heard));
    });
    got.unwrap()
}
