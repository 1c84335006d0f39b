//! The twenty requests of a file.

use crate::mapped::Found;

/// One of the twenty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) port: u16,
    pub(crate) host: String,
    /// Method and target.
    pub(crate) start: String,
    pub(crate) more: String,
    pub(crate) body: usize,
    /// Whether an end without an answer can be what is right.
    pub(crate) may_be_closed: bool,
}

/// Twenty requests for what a file has: its hosts, its listens, its locations and what is beside them.
pub(crate) fn asks(found: &Found) -> Vec<Ask> {
    let names =
        found.hosts.iter().filter(|host| !host.starts_with('~') && *host != "_" && *host != "localhost");
    let mut hosts: Vec<String> = names
        .map(|host| {
            host.strip_prefix('.').map_or_else(|| host.replace('*', "some"), |host| format!("some.{host}"))
        })
        .collect();
    hosts.push("unknown.example".to_owned());
    let mut paths: Vec<String> = vec!["/".to_owned()];
    for path in &found.paths {
        if path.starts_with('/') && !path.contains(['\\', '(', '[']) {
            let base = path.trim_end_matches('/');
            paths.extend([
                path.clone(),
                format!("{base}/a/b.js?x=1&y=%20"),
                base.to_owned(),
                format!("{base}x"),
            ]);
        }
    }
    let fixed = [
        "/socket.io/?EIO=4&transport=polling",
        "/index.html",
        "/api/v1/users",
        "/wiki/a%20b?c=d",
        "/.git/config",
        "/a/../b",
        "//c",
        "/missing.png",
        "/_matrix/x",
        "/help",
        "/api/v4/websocket",
        "/%61pi/x",
        "/x?y",
    ];
    paths.extend(fixed.map(str::to_owned));
    paths.retain(|path| !path.is_empty());
    paths.dedup();
    let plain = |start: String, port: u16, host: &str| Ask {
        port,
        host: host.to_owned(),
        start,
        more: String::new(),
        body: 0,
        may_be_closed: found.closes && host == "unknown.example",
    };
    let mut asks = Vec::new();
    for port in &found.ports {
        asks.extend(
            hosts.iter().take(3).chain(hosts.last()).map(|host| plain("GET /".to_owned(), *port, host)),
        );
    }
    asks.dedup();
    let turns = found.ports.iter().rev().flat_map(|port| hosts.iter().map(move |host| (*port, host)));
    let mut turns = turns.cycle();
    let mut special: Vec<Ask> = Vec::new();
    let (port, host) = (*found.ports.last().expect("it listens"), &hosts[0]);
    let last = found
        .paths
        .iter()
        .rev()
        .find(|path| path.starts_with('/') && path.len() > 1 && !path.contains(['\\', '(', '[']))
        .cloned();
    for (method, body) in [("HEAD", 0), ("OPTIONS", 0), ("POST", 10), ("POST", 1_600_000), ("DELETE", 0)] {
        let more = if body > 0 { format!("Content-Length: {body}\r\n") } else { String::new() };
        let path = last.clone().filter(|_| body == 10).unwrap_or_else(|| "/".to_owned());
        special.push(Ask { more, body, ..plain(format!("{method} {path}"), port, host) });
    }
    special.push(Ask {
        more: "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n".to_owned(),
        ..plain("GET /socket.io/?EIO=4&transport=websocket".to_owned(), port, host)
    });
    asks.truncate(6);
    let room = 20 - asks.len() - special.len();
    let of_paths = paths.iter().skip(1).take(room).map(|path| {
        let (port, host) = turns.next().expect("it goes round");
        plain(format!("GET {path}"), port, host)
    });
    asks.extend(of_paths);
    asks.extend(special);
    assert_eq!(asks.len(), 20);
    asks
}
