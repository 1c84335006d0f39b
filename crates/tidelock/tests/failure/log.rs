//! The access log: every exchange in a line that nobody but us has written.

use serde_json::Value;
use testkit::origin::{ScriptedOrigin, Step};
use testkit::process::Signal;
use testkit::raw::RawConnection;
use testkit::tidelock::Tidelock;
use testkit::until_file;

use crate::lines::names;
use crate::{GET, HANDSHAKE, OK, WEBSOCKET, answering, ask, opened, sid_of, start, switched};

/// Waits until the log has `count` lines and gives them.
pub(crate) async fn lines(proxy: &mut Tidelock, count: usize) -> Vec<String> {
    // Ours begin with neither of these.
    let is_access = |line: &str| line.starts_with('{') || line.contains(" - - [");
    proxy.process().wait_for_lines_since(Default::default(), count, is_access).await
}

#[tokio::test]
async fn json_tells_what_happened() {
    let origin = answering().await;
    let mut proxy = start(&[origin.address()], "").await;
    ask(&proxy, "POST /a?b=c HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc").await;
    ask(&proxy, "GET / HTTP/1.1\r\n\r\n").await;
    let lines = lines(&mut proxy, 2).await;
    let line: Value = serde_json::from_str(&lines[0]).unwrap();
    let origin = origin.address().to_string();
    for (field, want) in [
        ("client", "127.0.0.1".into()),
        ("method", "POST".into()),
        ("host", "a".into()),
        ("target", "/a?b=c".into()),
        ("status", 200.into()),
        ("bytes_in", 3.into()),
        ("bytes_out", OK.len().into()),
        ("upstream", "nodes".into()),
        ("node", origin.clone().into()),
        ("address", origin.into()),
        ("attempts", 1.into()),
    ] {
        let want: Value = want;
        assert_eq!(line[field], want, "{field} in {line}");
    }
    let refused: Value = serde_json::from_str(&lines[1]).unwrap();
    assert_eq!((&refused["status"], &refused["fault"]), (&400.into(), &"Host is missing".into()));
}

/// CVE-2009-4487: what a client sends may be shown to a terminal, or be read as a line of its own.
#[tokio::test]
async fn a_client_writes_no_line_and_moves_no_cursor() {
    let evil =
        "GET /\"\\}{\u{9b}2J HTTP/1.1\r\nHost: a\r\nReferer: \"x\" \\ \u{9b}\r\nUser-Agent: a\"b\tc\r\n\r\n";
    for format in ["json", "combined"] {
        let origin = answering().await;
        let mut proxy = start(&[origin.address()], &format!("[log]\nformat = \"{format}\"\n")).await;
        ask(&proxy, evil).await;
        let line = lines(&mut proxy, 1).await.remove(0);
        if format == "json" {
            assert!(serde_json::from_str::<Value>(&line).is_ok(), "{line}");
        } else {
            assert!(line.starts_with("127.0.0.1 - - ["), "{line}");
            let end = "] \"GET /\\x22\\x5C}{\\xC2\\x9B2J HTTP/1.1\" 200 2 \"\\x22x\\x22 \\x5C \\xC2\\x9B\" \"a\\x22b\\x09c\"";
            assert!(line.ends_with(end), "{line}\n{end}");
        }
        // U+009B begins a terminal's command just as an escape does.
        assert!(!line.contains(char::is_control), "{}", line.as_bytes().escape_ascii());
    }
}

/// Whoever has a session's id has the session.
#[tokio::test]
async fn a_session_id_is_never_written_whole() {
    for format in ["json", "combined"] {
        let origin = ScriptedOrigin::start(|request| match request.start.as_str() {
            start if start.contains("transport=websocket") => vec![switched(), Step::Echo],
            start if start.contains("sid=") => vec![Step::send(OK)],
            _ => vec![opened("abcdefghijklmnopqrst")],
        })
        .await;
        let mut proxy = start(&[origin.address()], &format!("[log]\nformat = \"{format}\"\n")).await;
        let sid = sid_of(&ask(&proxy, HANDSHAKE).await);
        ask(&proxy, HANDSHAKE.replace("polling ", &format!("polling&sid={sid} "))).await;
        for odd in [format!("sid={sid}&sid={sid}"), format!("s%69d={sid}"), format!("sid=%61{}", &sid[1..])] {
            ask(&proxy, HANDSHAKE.replace("polling ", &format!("polling&{odd} "))).await;
        }
        let mut tunnel = RawConnection::connect(proxy.address()).await;
        tunnel
            .send(WEBSOCKET.replace("/ws", &format!("/socket.io/?EIO=4&transport=websocket&sid={sid}")))
            .await;
        assert_eq!(tunnel.read_head().await.status(), 101);
        drop(tunnel);
        origin.until_ended(1).await;
        let count = if format == "json" { 7 } else { 6 };
        let lines = lines(&mut proxy, count).await;
        assert!(!lines.concat().contains("bcdefghijklmnopqrst"), "{lines:#?}");
        assert!(!proxy.process().output().contains("bcdefghijklmnopqrst"));
    }
}

/// A token in a query is as good as a session's id, and whoever comes from a page says its query, too.
#[tokio::test]
async fn secrets_in_queries_are_cut_in_every_format() {
    let texts = "$request|$request_uri|$args|$arg_token|$arg_key|$http_referer|$http_x_url";
    for (format, cut) in [("json", ""), ("combined", ""), (texts, ""), (texts, "cut = [\"key\"]\n")] {
        let origin = answering().await;
        let log = format!("[log]\nformat = '{format}'\n{cut}");
        let mut proxy = start(&[origin.address()], &log).await;
        let query = "a=1&TOKEN=secret1&access_token=secret2&token=secret3&sid=secret4&key=secret5";
        let lines_of = format!("Referer: http://a/?{query}\r\nX-Url: /?{query}");
        ask(&proxy, &format!("GET /?{query} HTTP/1.1\r\nHost: a\r\n{lines_of}\r\n\r\n")).await;
        let is_line = |line: &str| line.contains("a=1");
        let line = proxy.process().wait_for_line(is_line).await;
        let shown: &[&str] = if cut.is_empty() { &["secret5"] } else { &["secret1", "secret2", "secret3"] };
        for secret in ["secret1", "secret2", "secret3", "secret4", "secret5"] {
            assert_eq!(line.contains(secret), shown.contains(&secret), "{secret} in {line}");
        }
        assert!(line.contains("sid=..."), "{line}");
    }
}

/// Each line is a message to the machine's syslog, which may come later than we do, and go; what it misses is counted.
#[tokio::test]
async fn lines_go_to_syslog() {
    let origin = answering().await;
    let folder = testkit::tidelock::directory();
    let socket = folder.path().join("log");
    let file = format!("[log]\naccess = \"syslog:{}\"\n[admin]\nsocket = \"admin.sock\"\n", socket.display());
    let mut proxy = start(&[origin.address()], &file).await;
    ask(&proxy, GET.replace("/ ", "/lost ")).await;
    proxy.process().wait_for_line(|line| line.contains("access_log_failed")).await;
    let listening = tokio::net::UnixDatagram::bind(&socket).unwrap();
    ask(&proxy, GET.replace("/ ", "/kept ")).await;
    let mut buffer = [0; 2048];
    let length = listening.recv(&mut buffer).await.unwrap();
    let message = std::str::from_utf8(&buffer[..length]).unwrap();
    let (head, line) = message.split_once(" - ").unwrap();
    assert!(head.starts_with("<190>1 ") && head.ends_with(" access"), "{message}");
    assert_eq!(names(line).0["target"], "/kept");
    proxy
        .process()
        .wait_for_line(|line| line.contains("access_log_back") && line.contains("lines_lost=1"))
        .await;
}

#[tokio::test]
async fn a_file_of_its_size_is_followed_by_another() {
    let origin = answering().await;
    let file = "[log]\naccess = \"access.log\"\nfile_bytes_max = \"1MiB\"\nfiles_max = 2\n";
    let mut proxy = start(&[origin.address()], file).await;
    let log = proxy.directory().join("access.log");
    let long = "x".repeat(8000);
    for number in 0..150 {
        ask(&proxy, GET.replace("/ ", &format!("/{number}/{long} "))).await;
    }
    proxy.process().signal(Signal::TERM);
    assert_eq!(proxy.process().exit().await.code(), Some(0));
    let [now, before] =
        [log.clone(), log.with_extension("log.1")].map(|path| std::fs::read_to_string(path).unwrap());
    assert!(
        now.contains("/149/") && (900 << 10..=1 << 20).contains(&before.len()),
        "{} {}",
        now.len(),
        before.len()
    );
    assert!(now.lines().chain(before.lines()).all(|line| names(line).1.contains(&"status".to_owned())));
}

/// A route whose requests nobody wants to read leaves them out, its tunnels too, or has a share of them and all that went wrong;
/// and a status has a share of its own.
#[tokio::test]
async fn what_nobody_wants_to_read_has_no_line() {
    let origin = ScriptedOrigin::start(|request| match request.start.as_str() {
        start if start.contains("/ws") => vec![switched(), Step::Echo],
        start if start.contains("/bad") => vec![Step::send("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n")],
        start if start.contains("/made") => {
            vec![Step::send("HTTP/1.1 201 Made\r\nContent-Length: 0\r\n\r\n")]
        }
        _ => vec![Step::send(OK)],
    })
    .await;
    let route = |path: &str, log: &str| {
        format!("[[route]]\npath = \"{path}\"\nupstream = \"nodes\"\naccess_log = {log}\n")
    };
    let file = format!(
        "workers = 1\n[[listen]]\naddress = \"127.0.0.1:0\"\n{}{}{}[upstream.nodes]\nnodes = [\"{}\"]\n\
         [log]\nsample = {{ 2xx = \"0%\", 200 = \"100%\" }}\n",
        route("/off", "false"),
        route("/some", "\"0.01%\""),
        route("/", "true"),
        origin.address()
    );
    let mut proxy = Tidelock::start(env!("CARGO_BIN_EXE_tidelock"), &file).await;
    for target in ["/off", "/off/bad", "/some/bad", "/made", "/bad", "/some/made"] {
        ask(&proxy, GET.replace("/ ", &format!("{target} "))).await;
    }
    for target in ["/off/ws", "/ws"] {
        let mut tunnel = RawConnection::connect(proxy.address()).await;
        tunnel.send(WEBSOCKET.replace("/ws", target)).await;
        assert_eq!(tunnel.read_head().await.status(), 101);
        drop(tunnel);
    }
    origin.until_ended(2).await;
    ask(&proxy, GET.replace("/ ", "/last ")).await;
    let said = proxy.process().wait_for_line(|line| line.contains("/last")).await;
    assert!(said.contains("\"status\":200"), "{said}");
    proxy.process().wait_for_line(|line| line.contains("\"tunnel\"")).await;
    let output = proxy.process().output();
    let objects = output.lines().map(|line| line.trim_start_matches([' ', '|']));
    let lines: Vec<Value> = objects.filter(|line| line.starts_with('{')).map(|line| names(line).0).collect();
    let told: Vec<String> =
        lines.iter().map(|line| line["target"].as_str().unwrap_or("tunnel").to_owned()).collect();
    assert_eq!(told, ["/some/bad", "/bad", "/ws", "tunnel", "/last"], "{output}");
}

#[tokio::test]
async fn sigusr1_opens_the_file_again() {
    let origin = answering().await;
    let mut proxy = start(&[origin.address()], "[log]\naccess = \"access.log\"\n").await;
    let log = proxy.directory().join("access.log");
    let rotated = proxy.directory().join("access.log.1");
    ask(&proxy, GET.replace("/ ", "/before ")).await;
    until_file(&log, |text| text.contains("/before")).await;
    std::fs::rename(&log, &rotated).unwrap();
    ask(&proxy, GET.replace("/ ", "/between ")).await;
    until_file(&rotated, |text| text.contains("/between")).await;
    proxy.process().signal(Signal::USR1);
    until_file(&log, |_| true).await;
    ask(&proxy, GET.replace("/ ", "/after ")).await;
    let text = until_file(&log, |text| text.contains("/after")).await;
    assert!(!text.contains("/before") && !text.contains("/between"), "{text}");
    assert_eq!(std::fs::read_to_string(&rotated).unwrap().lines().count(), 2);
}

/// What was answered last is in the log, too.
#[tokio::test]
async fn the_end_loses_no_line() {
    let origin = answering().await;
    let mut proxy = start(&[origin.address()], "[log]\naccess = \"access.log\"\n").await;
    let log = proxy.directory().join("access.log");
    for _ in 0..10 {
        ask(&proxy, GET).await;
    }
    proxy.process().signal(Signal::TERM);
    assert_eq!(proxy.process().exit().await.code(), Some(0));
    assert_eq!(std::fs::read_to_string(&log).unwrap().lines().count(), 10);
}
