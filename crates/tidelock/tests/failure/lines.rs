//! What a line of the access log may tell: the fields of an object, and the variables of a text.

use serde_json::Value;
use testkit::origin::{ScriptedOrigin, Step};
use testkit::raw::RawConnection;
use testkit::tidelock::Tidelock;

use crate::log::lines;
use crate::{GET, OK, WEBSOCKET, answering, ask, start, switched};

/// A line as the file has it, with nginx's variables.
#[tokio::test]
async fn a_format_of_ones_own_tells_what_nginx_would() {
    let origin = answering().await;
    let format = "$remote_addr|$realip_remote_addr|$remote_user|$request|$request_method|$request_uri|$uri|$args|$is_args|$arg_b\
                  |$server_protocol|$scheme|$https|$host|$http_x_some_thing|$http_none|$status|$body_bytes_sent|$bytes_sent\
                  |$request_length|$upstream_addr|$upstream_status|$request_id|$ssl_protocol|$connection_requests$${status}s|";
    let times = "$time_local|$time_iso8601|$msec|$request_time|$upstream_connect_time|$upstream_header_time\
                 |$upstream_response_time";
    let log = format!("[log]\nformat = '{{ {format}{times}'\n");
    let mut proxy = start(&[origin.address()], &log).await;
    let request = "POST /%61/../b?b=%22c HTTP/1.1\r\nHost: A.example:80\r\nX-Some-Thing: 1 \"2\"\r\nContent-Length: 3\r\n\r\nabc";
    ask(&proxy, request).await;
    let line = lines(&mut proxy, 1).await.remove(0);
    let (port, fields) = (proxy.address().port(), line.split('|').collect::<Vec<_>>());
    let (sent, got) = (OK.len().to_string(), request.len().to_string());
    let node = origin.address().to_string();
    let want = [
        "{ 127.0.0.1",
        "127.0.0.1",
        "-",
        "POST /%61/../b?b=%22c HTTP/1.1",
        "POST",
        "/%61/../b?b=%22c",
        "/b",
        "b=%22c",
        "?",
        "%22c",
        "HTTP/1.1",
        "http",
        "",
        "a.example",
        r"1 \x222\x22",
        "-",
        "200",
        "2",
        &sent,
        &got,
        &node,
        "200",
        "-",
        "-",
        "1200s",
    ];
    assert_eq!(&fields[..want.len()], &want, "{line} {port}");
    let [local, iso, msec, times @ ..] = &fields[want.len()..] else { panic!("{line}") };
    assert!(local.len() == 26 && local.ends_with(" +0000"), "{local}");
    assert!(iso.len() == 25 && iso.ends_with("+00:00"), "{iso}");
    assert_eq!(times.len(), 4);
    for time in times.iter().chain([msec]) {
        let (whole, part) = time.split_once('.').expect("seconds");
        assert!(whole.parse::<u64>().is_ok() && part.len() == 3 && part.parse::<u32>().is_ok(), "{time}");
    }
}

/// What was refused has little to tell, and what a node never took has no node's times.
#[tokio::test]
async fn a_format_says_what_is_missing() {
    let gone = ScriptedOrigin::start(|_| vec![]).await;
    let address = gone.address();
    drop(gone);
    for (escape, missing) in [("default", "-"), ("json", "")] {
        let format = "{\"a\":\"$request\",\"b\":\"$http_referer\",\"c\":\"$upstream_header_time\",\"d\":$status,\"e\":\"$request_uri\"}";
        let log = format!("[log]\nformat = '{format}'\nescape = \"{escape}\"\n");
        let mut proxy = start(&[address], &log).await;
        ask(&proxy, "GET / HTTP/1.1\r\n\r\n").await;
        ask(&proxy, "GET /\"\\ HTTP/1.1\r\nHost: a\r\nReferer: \u{9b}\"\r\n\r\n").await;
        let lines = lines(&mut proxy, 2).await;
        assert_eq!(
            lines[0],
            format!(
                "{{\"a\":\"{missing}\",\"b\":\"{missing}\",\"c\":\"{missing}\",\"d\":400,\"e\":\"{missing}\"}}"
            )
        );
        assert!(lines[1].contains(&format!("\"c\":\"{missing}\",\"d\":50")), "{}", lines[1]);
        if escape == "json" {
            let line: Value = serde_json::from_str(&lines[1]).unwrap();
            assert_eq!((&line["b"], &line["e"]), (&"\u{fffd}\"".into(), &"/\"\\".into()));
        }
    }
}

/// nginx's `$body_bytes_sent` counts no head, whoever gives the answer.
#[tokio::test]
async fn combined_counts_bodies_and_no_heads() {
    let origin = ScriptedOrigin::start(|request| match request.start.as_str() {
        start if start.contains("/chunks") => vec![
            Step::send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
            Step::send("3\r\nabc\r\n"),
            Step::send("0\r\n\r\n"),
        ],
        _ => vec![Step::send("HTTP/1.1 100 Continue\r\n\r\n"), Step::send(OK)],
    })
    .await;
    let file = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\npath = \"/own\"\nrespond = {{ text = \"12345\" }}\n\
         [[route]]\npath = \"/none\"\nrespond = 404\n[[route]]\nupstream = \"nodes\"\n\
         [upstream.nodes]\nnodes = [\"{}\"]\n[log]\nformat = \"combined\"\n",
        origin.address()
    );
    let mut proxy = Tidelock::start(env!("CARGO_BIN_EXE_tidelock"), &file).await;
    let rows = [
        ("GET /node", "200 2 "),
        // As nginx counts them, with the frames of their chunks.
        ("GET /chunks", "200 13 "),
        ("GET /own", "200 5 "),
        ("GET /none", "404 0 "),
    ];
    for (number, (request, want)) in rows.into_iter().enumerate() {
        ask(&proxy, &format!("{request} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        let line = lines(&mut proxy, number + 1).await.remove(number);
        assert!(line.contains(&format!("\"{request} HTTP/1.1\" {want}")), "{line}");
    }
    let answer = ask(&proxy, "GET / HTTP/1.1\r\n\r\n").await;
    let line = lines(&mut proxy, rows.len() + 1).await.remove(rows.len());
    assert!(line.contains(&format!("\"-\" 400 {} ", answer.body.len())), "{line}");
}

pub(crate) fn names(line: &str) -> (Value, Vec<String>) {
    let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let names = line.as_object().expect("an object").keys().cloned().collect();
    (line, names)
}

#[tokio::test]
async fn json_has_the_fields_that_the_file_wants() {
    let origin = answering().await;
    let wanted = [
        "body_bytes_out",
        "client",
        "connect_ms",
        "first_byte_ms",
        "node",
        "peer",
        "protocol",
        "queue_ms",
        "referer",
        "request",
        "scheme",
        "status",
        "user_agent",
    ];
    let log = format!("[log]\nfields = {wanted:?}\n");
    let mut proxy = start(&[origin.address()], &log).await;
    let request = "GET / HTTP/1.0\r\nHost: a\r\nReferer: /?token=x\r\nUser-Agent: \"a\"\r\n\r\n";
    ask(&proxy, request).await;
    let (line, names) = names(&lines(&mut proxy, 1).await[0]);
    assert_eq!(names, wanted);
    for (field, want) in [
        ("body_bytes_out", 2.into()),
        ("client", "127.0.0.1".into()),
        ("peer", "127.0.0.1".into()),
        ("protocol", "HTTP/1.0".into()),
        ("referer", "/?token=...".into()),
        ("request", 1.into()),
        ("scheme", "http".into()),
        ("user_agent", "\"a\"".into()),
        ("node", origin.address().to_string().into()),
    ] {
        let want: Value = want;
        assert_eq!(line[field], want, "{field} in {line}");
    }
    for time in ["queue_ms", "connect_ms", "first_byte_ms"] {
        assert!(line[time].is_f64(), "{time} in {line}");
    }
}

/// What has waited for a node, and for its connection, says so; and what got none has no times of one.
#[tokio::test]
async fn fields_of_a_node_that_was_not_reached_are_missing() {
    let gone = answering().await;
    let address = gone.address();
    drop(gone);
    let log = "[log]\nfields = [\"fault\", \"connect_ms\", \"first_byte_ms\", \"queue_ms\", \"status\", \"tls\", \"user\"]\n";
    let mut proxy = start(&[address], log).await;
    ask(&proxy, GET).await;
    ask(&proxy, "GET / HTTP/1.1\r\n\r\n").await;
    let lines = lines(&mut proxy, 2).await;
    assert_eq!(names(&lines[0]).1, ["fault", "queue_ms", "status"]);
    assert_eq!(names(&lines[1]).1, ["fault", "status"]);
}

#[tokio::test]
async fn a_tunnel_tells_its_messages() {
    let origin = ScriptedOrigin::start(|_| vec![switched(), Step::Echo]).await;
    let log = "[log]\nfields = [\"usual\", \"messages_in\", \"messages_out\", \"user_agent\"]\n";
    let mut proxy = start(&[origin.address()], log).await;
    let mut tunnel = RawConnection::connect(proxy.address()).await;
    tunnel.send(WEBSOCKET).await;
    assert_eq!(tunnel.read_head().await.status(), 101);
    // A message in two frames, and a Close; the node says the same.
    let frames: &[u8] = b"\x01\x81\0\0\0\0a\x80\x81\0\0\0\0b\x88\x82\0\0\0\0\x03\xe8";
    tunnel.send(frames).await;
    tunnel.read_exactly(frames.len()).await;
    drop(tunnel);
    let is_end = |line: &str| line.contains("\"tunnel\"");
    let (line, names) = names(&proxy.process().wait_for_line(is_end).await);
    assert_eq!(
        (&line["messages_in"], &line["frames_in"], &line["close"]),
        (&1.into(), &3.into(), &1000.into())
    );
    assert!(!names.contains(&"user_agent".to_owned()), "{line}");
}

/// By these a request is found in the logs of all that it has passed, and a tunnel is where its request went on.
#[tokio::test]
async fn lines_have_the_ids_of_request_and_trace() {
    let origin = ScriptedOrigin::start(|_| vec![switched(), Step::Echo]).await;
    let route = format!(
        "workers = 1\n[[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\nupstream = \"nodes\"\nrequest_id = \"client\"\n\
         [upstream.nodes]\nnodes = [\"{}\"]\n",
        origin.address()
    );
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    for text in ["", "[log]\nformat = '$otel_trace_id $request_id done'\n"] {
        let mut proxy = Tidelock::start(env!("CARGO_BIN_EXE_tidelock"), &format!("{route}{text}")).await;
        let ids = format!("X-Request-Id: some-id\r\nTraceparent: 00-{trace}-00f067aa0ba902b7-01\r\n\r\n");
        let mut tunnel = RawConnection::connect(proxy.address()).await;
        tunnel.send(WEBSOCKET.replacen("\r\n\r\n", &format!("\r\n{ids}"), 1)).await;
        assert_eq!(tunnel.read_head().await.status(), 101);
        drop(tunnel);
        let process = proxy.process();
        if !text.is_empty() {
            process.wait_for_line(|line| line == format!("{trace} some-id done")).await;
            continue;
        }
        let exchange = process.wait_for_line(|line| line.contains("\"status\"")).await;
        let tunnel = process.wait_for_line(|line| line.contains("\"tunnel\"")).await;
        assert_eq!(names(&exchange).0["trace_id"], trace);
        for line in [exchange, tunnel] {
            assert_eq!(names(&line).0["request_id"], "some-id", "{line}");
        }
    }
}
