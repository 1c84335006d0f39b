//! What a head says of its client: who may say it, what is believed, and what a node is told.

use wire::forward::{self, ClientEnd, ForOrigin};
use wire::pin_names::StripPins;
use wire::request::RequestHead;

use crate::requests::{OURS, PEER, check, print_for, print_request, read_request};

#[test]
fn what_a_client_says_about_itself_is_not_believed() {
    check(
        "GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 1.1.1.1\r\nx-real-ip: 1.1.1.1\r\nForwarded: for=1.1.1.1\r\n\
         X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Port: 1\r\nX_Forwarded_For: 1.1.1.1\r\n\
         X-Forwarded_Proto: https\r\nX_REAL_IP: 1.1.1.1\r\nX_Other: stays\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nX_Other: stays\r\n",
    );
}

/// Of what a stranger or a trusted proxy says, what a node sees, our own lines left out.
fn sees(lines: &str, is_trusted: bool, passes: &[&str]) -> String {
    let text = format!("GET / HTTP/1.1\r\nHost: x\r\n{lines}\r\n");
    let head = read_request(text.as_bytes()).expect("a good head");
    let printed = print_for(&head, is_trusted, false, passes);
    let printed = printed.strip_prefix("GET / HTTP/1.1\r\nHost: x\r\n").expect("its first lines");
    printed.split("X-Forwarded-For").next().expect("a first part").to_owned()
}

#[test]
fn only_a_trusted_proxy_may_say_what_front_doors_say() {
    for name in [
        "True-Client-IP",
        "CF-Connecting-IP",
        "X-Client-IP",
        "X-Cluster-Client-IP",
        "Fastly-Client-IP",
        "Front-End-Https",
        "X-Url-Scheme",
        "X-Original-URL",
        "X-Original-Host",
        "X-Original-For",
        "X-Original-Proto",
        "X-Original-Forwarded-For",
        "X-Rewrite-URL",
        "X-Forwarded",
        "X-Forwarded-Prefix",
        "X-Forwarded-Server",
        "X-FORWARDED-SSL",
        "x-forwarded-",
        "X-Forwarded-Something-Of-Somebody's-Own",
    ] {
        let line = format!("{name}: evil\r\n");
        assert_eq!(sees(&line, false, &[]), "", "{name}");
        assert_eq!(sees(&line, true, &[]), line, "{name}");
        assert_eq!(sees(&line, false, &[name]), line, "{name}");
        let twin = line.replacen('-', "_", 1);
        assert_eq!(sees(&twin, true, &[]), "", "{twin}");
    }
    let forwarded = "Forwarded: for=1.2.3.4\r\n";
    assert_eq!(sees(forwarded, false, &[]), "");
    assert_eq!(sees(forwarded, false, &["forwarded"]), forwarded);
}

#[test]
fn names_that_gateways_take_for_ours_are_dropped() {
    for twin in [
        "Transfer_Encoding",
        "Content_Length",
        "CONTENT_TYPE",
        "Accept_Encoding",
        "Keep_Alive",
        "Proxy_Authorization",
        "Sec_WebSocket_Key",
        "Sec-WebSocket_Accept",
        "X_Forwarded_For",
        "X-Forwarded_Proto",
        "X_Forwarded-Host",
        "X_FORWARDED_PREFIX",
        "X-Original-Forwarded_For",
        "X_Forwarded_Something_Of_Somebodys_Own",
        "X_Real-IP",
        "CF_Connecting_IP",
    ] {
        let line = format!("{twin}: 1\r\n");
        assert_eq!(sees(&line, false, &[]), "", "{twin}");
        assert_eq!(sees(&line, false, &["other", &twin.to_lowercase()]), line, "{twin}");
    }
    for other in [
        "X_Other",
        "My_App-Token",
        "User_Agent",
        "a_b",
        "__________________________________________",
        "X_Forwardedness",
        "X-Original-Forwarded_For_Long",
        "X_Real_IPs",
    ] {
        let line = format!("{other}: 1\r\n");
        assert_eq!(sees(&line, false, &[]), line, "{other}");
    }
}

/// The lines that a node gets for `lines` of a trusted proxy that speaks HTTP to us.
fn believes(host: &str, lines: &str, want: &str) {
    let text = format!("GET / HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n");
    let head = read_request(text.as_bytes()).expect("a good head");
    let printed = print_request(&head, true, false);
    let ours: Vec<_> = printed.lines().filter(|line| line.starts_with("X-")).collect();
    assert_eq!(ours.join("\n"), want, "{host} {lines}");
}

#[test]
fn a_trusted_forwarded_is_believed_where_it_is_alone() {
    believes(
        "app.internal:8080",
        "Forwarded: for=6.6.6.6;proto=http;host=evil, for=\"[2001:db8::7]:4711\";proto=https;host=a.example\r\n\
         Forwarded: for=192.0.2.7;proto=http\r\n",
        "X-Forwarded-For: 6.6.6.6, 2001:db8::7, 192.0.2.7, 192.0.2.7\n\
         X-Real-IP: 2001:db8::7\n\
         X-Forwarded-Proto: https\n\
         X-Forwarded-Host: a.example\n\
         X-Forwarded-Port: 443",
    );
    believes(
        "x",
        "Forwarded: for=unknown;proto=https\r\n",
        "X-Forwarded-For: unknown, 192.0.2.7\n\
         X-Real-IP: 192.0.2.7\n\
         X-Forwarded-Proto: http\n\
         X-Forwarded-Host: x\n\
         X-Forwarded-Port: 80",
    );
    // The proxy says X-Forwarded-For, and passes on what its client said.
    believes(
        "x",
        "Forwarded: for=6.6.6.6;proto=https;host=evil\r\nX-Forwarded-For: 1.2.3.4\r\n",
        "X-Forwarded-For: 1.2.3.4, 192.0.2.7\n\
         X-Real-IP: 1.2.3.4\n\
         X-Forwarded-Proto: http\n\
         X-Forwarded-Host: x\n\
         X-Forwarded-Port: 80",
    );
}

/// Each comma would otherwise be a hop of nine bytes, and each line a place for ours.
#[test]
fn what_a_proxy_passes_on_of_forwarded_does_not_grow() {
    let commas = ",".repeat(200);
    let hops = "for=1.2.3.4, ".repeat(100);
    let text = format!(
        "GET / HTTP/1.1\r\nHost: x\r\nForwarded: {commas}\r\nForwarded: {hops}\r\nForwarded: for=192.0.2.7\r\n\r\n"
    );
    let head = read_request(text.as_bytes()).expect("a good head");
    let printed = print_request(&head, true, false);
    assert_eq!(printed.matches("for=192.0.2.7;proto=http").count(), 1, "{printed}");
    let chain = printed.lines().find_map(|line| line.strip_prefix("X-Forwarded-For: ")).expect("a chain");
    assert_eq!(chain.matches(", ").count(), 64, "{chain}");
    assert!(chain.ends_with("1.2.3.4, 192.0.2.7, 192.0.2.7") && !chain.contains("unknown"), "{chain}");
}

#[test]
fn the_port_is_the_one_that_the_client_asked() {
    let rest = |proto: &str, host: &str, port: &str| {
        format!(
            "X-Forwarded-Proto: {proto}\nX-Forwarded-For: 192.0.2.7\nX-Real-IP: 192.0.2.7\n{}X-Forwarded-Port: {port}",
            if host.is_empty() { String::new() } else { format!("X-Forwarded-Host: {host}\n") },
        )
    };
    believes("a.example", "X-Forwarded-Proto: https\r\n", &rest("https", "a.example", "443"));
    believes("a.example:8443", "X-Forwarded-Proto: HTTPS\r\n", &rest("HTTPS", "a.example:8443", "8443"));
    believes("a.example", "X-Forwarded-Proto: https, http\r\n", &rest("https, http", "a.example", "443"));
    believes(
        "app.internal:3000",
        "X-Forwarded-Proto: https\r\nX-Forwarded-Host: a.example:444, b\r\n",
        "X-Forwarded-Proto: https\nX-Forwarded-Host: a.example:444, b\n\
         X-Forwarded-For: 192.0.2.7\nX-Real-IP: 192.0.2.7\nX-Forwarded-Port: 444",
    );
    believes(
        "a.example",
        "X-Forwarded-Port: 81\r\n",
        "X-Forwarded-Port: 81\nX-Forwarded-For: 192.0.2.7\nX-Real-IP: 192.0.2.7\n\
         X-Forwarded-Proto: http\nX-Forwarded-Host: a.example",
    );
    let head = read_request(b"GET / HTTP/1.1\r\nHost: a.example:81\r\n\r\n").expect("a good head");
    assert!(print_request(&head, false, false).contains("\r\nX-Forwarded-Port: 81\r\n"));
}

#[test]
fn a_trusted_proxy_is_believed() {
    let text = "GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 9.9.9.9, 1.2.3.4:5\r\nX-Forwarded-For: 192.0.2.7\r\n\
                X-Forwarded-Proto: https\r\nForwarded: for=1.2.3.4\r\nX_Real_IP: 8.8.8.8\r\n\r\n";
    let head = read_request(text.as_bytes()).unwrap();
    assert_eq!(
        print_request(&head, true, false),
        "GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-Proto: https\r\nForwarded: for=1.2.3.4, for=192.0.2.7;proto=http\r\n\
         X-Forwarded-For: 9.9.9.9, 1.2.3.4:5, 192.0.2.7, 192.0.2.7\r\nX-Real-IP: 1.2.3.4\r\n\
         X-Forwarded-Host: x\r\nX-Forwarded-Port: 443\r\n\r\n",
    );
}

/// What a client says of certificates is no node's to hear, and what we say of one is said first.
#[test]
fn a_certificate_is_told_of_by_us_alone() {
    let text = "GET / HTTP/1.1\r\nHost: x\r\nX-SSL-Client-Verify: SUCCESS\r\nx_ssl_client_cert: a\r\nx-ssl-client-s-dn: b\r\nClient-Cert: c\r\n\
                client-cert-chain: d\r\nX-SSL-Clients: e\r\n\r\n";
    let head = read_request(text.as_bytes()).expect("it is a request");
    let printed = print_request(&head, false, false);
    assert_eq!(
        printed,
        format!("GET / HTTP/1.1\r\nHost: x\r\nX-SSL-Clients: e\r\n{OURS}X-Forwarded-Host: x\r\n\r\n")
    );
    let trusted = print_request(&head, true, false);
    assert!(
        trusted.contains("X-SSL-Client-Verify: SUCCESS\r\n") && trusted.contains("Client-Cert: c\r\n"),
        "{trusted}"
    );
    for is_trusted in [false, true] {
        let end =
            ClientEnd::new(PEER, "https", 443, is_trusted).with_certificate(b"X-SSL-Client-Verify: NONE\r\n");
        let printed = print_to(&head, &end, false);
        assert_eq!(printed.matches("X-SSL-Client-").count(), 1, "{printed}");
        assert!(printed.contains("X-SSL-Client-Verify: NONE\r\n"), "{printed}");
        assert!(printed.contains("X-Forwarded-Port: 443\r\n"), "{printed}");
    }
}

/// RFC 7239 sections 4 and 6.
#[test]
fn forwarded_says_who_asked_where_that_is_wanted() {
    let v6 = "2001:db8::7".parse().expect("an address");
    for (peer, is_trusted, lines, want) in [
        (PEER, false, "Host: a.example\r\n", "for=192.0.2.7;host=a.example;proto=http"),
        (PEER, false, "Host: a.example:80\r\n", "for=192.0.2.7;host=\"a.example:80\";proto=http"),
        (v6, false, "Host: [::1]\r\n", "for=\"[2001:db8::7]\";host=\"[::1]\";proto=http"),
        // A stranger's word is nobody's.
        (
            PEER,
            false,
            "Host: a\r\nForwarded: for=1.2.3.4\r\nX-Forwarded-For: 1.2.3.4\r\n",
            "for=192.0.2.7;host=a;proto=http",
        ),
        (
            PEER,
            true,
            "Host: a\r\nX-Forwarded-For: 2001:db8::1, 1.2.3.4:567, \"x;y\"\r\n",
            "for=\"[2001:db8::1]\", for=1.2.3.4, for=unknown, for=192.0.2.7;host=a;proto=http",
        ),
        (PEER, true, "Host: a\r\nForwarded: for=_hidden\r\n", "for=_hidden, for=192.0.2.7;proto=http"),
    ] {
        let head = read_request(format!("GET / HTTP/1.1\r\n{lines}\r\n").as_bytes()).expect("a request");
        let end = ClientEnd::new(peer, "http", 80, is_trusted);
        let printed = print_to(&head, &end, true);
        let said: Vec<&str> = printed.lines().filter_map(|line| line.strip_prefix("Forwarded: ")).collect();
        assert_eq!(said, [want], "{lines:?}");
        assert!(printed.ends_with("\r\n\r\n") && printed.matches("\r\n\r\n").count() == 1, "{printed:?}");
    }
}

fn print_to(head: &RequestHead, end: &ClientEnd, forwarded: bool) -> String {
    let how = ForOrigin {
        host_override: None,
        host_default: "node:3000",
        client_end: end,
        client_address: PEER,
        strips_tag: false,
        strips_pins: StripPins::None,
        wants_plain: false,
        pass_headers: &[],
        edits: None,
    };
    let mut out = Vec::new();
    forward::print_request(head, &how, &mut out);
    if forwarded {
        forward::add_forwarded(head, &how, &mut out);
    }
    String::from_utf8(out).expect("what was read was text")
}
