//! The same requests to nginx, and to tidelock with what `tidelock import` makes of nginx's file: they are let pass and refused
//! alike. nginx listens on 127.0.0.2 and tidelock on 127.0.0.3, and both believe the test about the address of its client.

use std::net::{Ipv4Addr, SocketAddr};

use testkit::message::Message;
use testkit::origin::{ScriptedOrigin, Step};
use testkit::process::Process;
use testkit::raw::RawConnection;
use testkit::tidelock::{Tidelock, directory};
use tokio::process::Command;

use super::asked::asked;
use super::passwords::{USERS, basic};
use super::{TIDELOCK, UPGRADE, UPGRADED};

/// Both, and what they have in common.
struct Both {
    addresses: [SocketAddr; 2],
    _nginx: Process,
    _proxy: Tidelock,
    _origins: [ScriptedOrigin; 2],
    _folder: tempfile::TempDir,
}

/// A request, as often as it is sent.
struct Row {
    start: String,
    lines: String,
    times: usize,
}

fn row(start: &str, lines: &[&str], times: usize) -> Row {
    let lines = lines.iter().map(|line| format!("{line}\r\n")).collect();
    Row { start: start.to_owned(), lines, times }
}

impl Both {
    /// `http` and `server` stand in nginx's file; NODE in them is a node, and ASKED who says who may.
    async fn with(http: &str, server: &str) -> Self {
        let node = ScriptedOrigin::start(|request| match request.header("upgrade") {
            Some(_) => vec![Step::send(UPGRADED), Step::Close],
            None => {
                let seen =
                    COMPARED_AT_NODE.map(|name| format!("{name}={}\n", request.header(name).unwrap_or("-")));
                let seen = seen.concat();
                let length = seen.len();
                vec![Step::send(&format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{seen}"))]
            }
        })
        .await;
        let folder = directory();
        let port = testkit::port::free();
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path temp_{kind};\n"))
            .concat();
        let conf = format!(
            "events {{}}\nhttp {{\naccess_log off;\n{temporary}set_real_ip_from 127.0.0.1;\n\
             real_ip_header X-Forwarded-For;\n{http}\nserver {{\nlisten 127.0.0.2:{port};\nserver_name h;\n{server}\n}}\n}}\n"
        );
        let asked = asked().await;
        let conf =
            conf.replace("NODE", &node.address().to_string()).replace("ASKED", &asked.address().to_string());
        let conf = conf.replace("FOLDER", &folder.path().display().to_string());
        std::fs::write(folder.path().join("nginx.conf"), &conf).expect("a writable folder");
        std::fs::write(folder.path().join("users"), USERS).expect("a writable folder");
        let mut command = Command::new("/usr/sbin/nginx");
        let globals = "daemon off; master_process off; pid nginx.pid; error_log stderr notice;";
        command.arg("-p").arg(folder.path()).args(["-c", "nginx.conf", "-e", "stderr", "-g", globals]);
        let nginx = Process::spawn("nginx", command);
        nginx.wait_for_line(|line| line.contains("OS: Linux") || line.contains("[emerg]")).await;
        assert!(!nginx.output().contains("[emerg]"), "{}\n{conf}", nginx.output());
        let ours = folder.path().join("ours.conf");
        std::fs::write(&ours, conf.replace("127.0.0.2", "127.0.0.3").replace(&temporary, ""))
            .expect("a writable folder");
        let mut import = Command::new(TIDELOCK);
        let imported = import.arg("import").arg(&ours).output().await.expect("tidelock runs");
        let said = String::from_utf8_lossy(&imported.stderr);
        assert!(imported.status.success(), "{said}");
        let text = String::from_utf8_lossy(&imported.stdout);
        let proxy = Tidelock::start(TIDELOCK, &text).await;
        let at = |last| SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), port));
        Self {
            addresses: [at(2), at(3)],
            _nginx: nginx,
            _proxy: proxy,
            _origins: [node, asked],
            _folder: folder,
        }
    }

    /// Sends each row to both as often as it says, and returns how many requests that were.
    async fn compare(&self, rows: &[Row]) -> usize {
        let mut differences = Vec::new();
        for Row { start, lines, times } in rows {
            for time in 0..*times {
                let [theirs, ours] =
                    [self.addresses[0], self.addresses[1]].map(|address| ask(address, start, lines));
                let (theirs, ours) = (compared(&theirs.await), compared(&ours.await));
                if theirs != ours {
                    differences
                        .push(format!("{start} {lines:?}, {time}:\n  nginx    {theirs}\n  tidelock {ours}"));
                }
            }
        }
        assert!(differences.is_empty(), "{}", differences.join("\n"));
        rows.iter().map(|row| row.times).sum()
    }
}

async fn ask(address: SocketAddr, start: &str, lines: &str) -> Message {
    let mut client = RawConnection::connect(address).await;
    client.send(format!("{start} HTTP/1.1\r\nHost: h\r\n{lines}\r\n")).await;
    if start.starts_with("HEAD ") || lines.contains("websocket") {
        client.read_head().await
    } else {
        client.read_message().await
    }
}

/// The status, what says why, and what the node saw.
fn compared(answer: &Message) -> String {
    let lines = COMPARED.map(|name| format!("{name}={}", answer.header(name).unwrap_or("-"))).join(" ");
    let seen = if answer.status() == 200 { answer.text() } else { String::new() };
    // Ours passes every WebSocket, where nginx has to be told.
    let status = if answer.status() == 101 { 200 } else { answer.status() };
    format!("{status} {lines} {seen:?}")
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs nginx: `cargo xtask test`")]
async fn limits_let_pass_as_many() {
    let both = Both::with(
        "limit_req_zone $binary_remote_addr zone=one:1m rate=1r/m;\n\
         limit_req_zone $http_x_key zone=keyed:1m rate=1r/m;\n\
         limit_req_zone $cookie_k zone=cookie:1m rate=1r/m;\n\
         limit_req_zone $arg_k zone=query:1m rate=1r/m;\n\
         limit_req_zone $server_name zone=all:1m rate=1r/m;\n\
         limit_req_zone $binary_remote_addr zone=tried:1m rate=1r/m;\n\
         limit_conn_zone $binary_remote_addr zone=conns:1m;\n",
        "location / { proxy_pass http://NODE; }\n\
         location /a { limit_req zone=one burst=3 nodelay; proxy_pass http://NODE; }\n\
         location /b { limit_req zone=one burst=5 nodelay; limit_req_status 429; proxy_pass http://NODE; }\n\
         location = /strict { limit_req zone=one; proxy_pass http://NODE; }\n\
         location /keyed { limit_req zone=keyed burst=2 nodelay; proxy_pass http://NODE; }\n\
         location /cookie { limit_req zone=cookie burst=1 nodelay; proxy_pass http://NODE; }\n\
         location /query { limit_req zone=query burst=1 nodelay; proxy_pass http://NODE; }\n\
         location /all { limit_req zone=all burst=4 nodelay; proxy_pass http://NODE; }\n\
         location /two { limit_req zone=all burst=9 nodelay; limit_req zone=one burst=2 nodelay; proxy_pass http://NODE; }\n\
         location /tried { limit_req zone=tried; limit_req_dry_run on; proxy_pass http://NODE; }\n\
         location /conns { limit_conn conns 1; proxy_pass http://NODE; }\n\
         location /said { limit_req zone=one; return 204; }\n\
         location /denied { limit_req zone=one burst=1 nodelay; deny all; proxy_pass http://NODE; }\n",
    )
    .await;
    let by = |number: u8| format!("X-Forwarded-For: 192.0.2.{number}");
    let rows = [
        row("GET /a", &[&by(1)], 6),
        row("GET /a/x?y", &[&by(1)], 1),
        row("GET //a", &[&by(1)], 1),
        row("GET /%61", &[&by(1)], 1),
        row("GET /x/../a", &[&by(1)], 1),
        row("HEAD /a", &[&by(1)], 1),
        row("POST /a", &[&by(1), "Content-Length: 0"], 1),
        row("GET /", &[&by(1)], 5),
        // The zone is the same, and the burst a larger one.
        row("GET /b", &[&by(1)], 4),
        row("GET /b", &[&by(2)], 8),
        row("GET /a", &[&by(2)], 1),
        row("GET /strict", &[&by(3)], 3),
        row("GET /strict/x", &[&by(3)], 2),
        row("GET /keyed", &[&by(4), "X-Key: a"], 5),
        row("GET /keyed", &[&by(5), "x-key: a"], 1),
        row("GET /keyed", &[&by(4), "X-Key: b"], 5),
        row("GET /cookie", &[&by(6), "Cookie: a=b; k=1"], 3),
        row("GET /cookie", &[&by(6), "Cookie: k=2"], 3),
        row("GET /query?k=1", &[&by(6)], 3),
        row("GET /query?a=b&k=2", &[&by(6)], 3),
        row("GET /all", &[&by(7)], 4),
        row("GET /all", &[&by(8)], 4),
        row("GET /two", &[&by(9)], 5),
        row("GET /two", &[&by(10)], 5),
        row("GET /two", &[&by(11)], 5),
        row("GET /tried", &[&by(12)], 4),
        row("GET /conns", &[&by(13)], 4),
        row("GET /said", &[&by(14)], 3),
        row("GET /a", &[&by(15), UPGRADE.trim_end()], 2),
    ];
    assert!(both.compare(&rows).await >= 80);
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs nginx: `cargo xtask test`")]
async fn passwords_and_addresses_let_the_same_pass() {
    let both = Both::with(
        "",
        "auth_basic Staging; auth_basic_user_file FOLDER/users;\n\
         location / { auth_basic off; proxy_pass http://NODE; }\n\
         location /in { proxy_pass http://NODE; }\n\
         location /in/own { auth_basic \"Own place\"; proxy_pass http://NODE; }\n\
         location /in/open { auth_basic off; proxy_pass http://NODE; }\n\
         location = /exact { proxy_pass http://NODE; }\n\
         location ~ \\.secret$ { proxy_pass http://NODE; }\n\
         location /both { allow 10.0.0.0/8; deny all; proxy_pass http://NODE; }\n\
         location /any { satisfy any; allow 10.0.0.0/8; deny all; proxy_pass http://NODE; }\n\
         location /any-unclosed { satisfy any; allow 10.0.0.0/8; proxy_pass http://NODE; }\n\
         location /any-denied { satisfy any; deny 10.0.0.0/8; proxy_pass http://NODE; }\n\
         location /any-nobody { satisfy any; deny all; proxy_pass http://NODE; }\n\
         location /any-all { satisfy any; allow all; proxy_pass http://NODE; }\n\
         location /any-but { satisfy any; deny 10.0.0.1; allow all; proxy_pass http://NODE; }\n\
         location /any-unruled { satisfy any; proxy_pass http://NODE; }\n\
         location /said { return 204; }\n\
         location /who { proxy_set_header X-User $remote_user; proxy_pass http://NODE; }\n",
    )
    .await;
    let (right, wrong) = (basic("bcrypt", "secret"), basic("bcrypt", "Secret"));
    let (right, wrong) = (right.trim_end(), wrong.trim_end());
    let mut rows = Vec::new();
    for path in [
        "/",
        "/in",
        "/in/x",
        "/in/own/x",
        "/in/open/x",
        "/exact",
        "/exact/x",
        "/a.secret",
        "/a.secret/x",
        "/said",
        "/who",
        "/%69n",
        "//in",
        "/x/../in",
        "/in/../in/x",
        "/in/./x?y=z",
        "/in/open/../x",
    ] {
        for lines in [&[][..], &[right], &[wrong]] {
            rows.push(row(&format!("GET {path}"), lines, 1));
        }
    }
    for name in ["apr", "md5", "sha", "nobody", ""] {
        rows.push(row("GET /in", &[basic(name, "secret").trim_end()], 1));
        rows.push(row("GET /in", &[basic(name, "x").trim_end()], 1));
    }
    for (start, lines) in [
        ("HEAD /in", ""),
        ("POST /in", "Content-Length: 0"),
        ("DELETE /in", ""),
        ("GET /in", "Authorization: Basic"),
        ("GET /in", "Authorization: Basic x"),
        ("GET /in", "Authorization: Bearer YXByOnNlY3JldA=="),
        ("GET /in", "authorization: bAsIc YXByOnNlY3JldA=="),
        ("GET /in", UPGRADE.trim_end()),
    ] {
        rows.push(row(start, &[lines][..usize::from(!lines.is_empty())], 1));
    }
    for path in [
        "/both",
        "/any",
        "/any-unclosed",
        "/any-denied",
        "/any-nobody",
        "/any-all",
        "/any-but",
        "/any-unruled",
    ] {
        for client in ["10.0.0.1", "10.0.0.2", "192.0.2.1"] {
            let client = format!("X-Forwarded-For: {client}");
            for lines in [&[&*client][..], &[&*client, right], &[&*client, wrong]] {
                rows.push(row(&format!("GET {path}"), lines, 1));
            }
        }
    }
    assert!(both.compare(&rows).await >= 140);
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs nginx: `cargo xtask test`")]
async fn somebody_elses_word_lets_the_same_pass() {
    let both = Both::with(
        "",
        "location = /ask { internal; proxy_pass http://ASKED/verify; proxy_pass_request_body off;\n\
         proxy_set_header Content-Length \"\"; proxy_set_header X-Original-URI $request_uri; }\n\
         location / { proxy_pass http://NODE; }\n\
         location /asked { auth_request /ask; proxy_pass http://NODE; }\n\
         location /asked/open { auth_request off; proxy_pass http://NODE; }\n\
         location /copied { auth_request /ask; auth_request_set $user $upstream_http_x_user;\n\
         proxy_set_header X-User $user; proxy_pass http://NODE; }\n\
         location /both { allow 10.0.0.0/8; deny all; auth_request /ask; proxy_pass http://NODE; }\n\
         location /any { satisfy any; allow 10.0.0.0/8; deny all; auth_request /ask; proxy_pass http://NODE; }\n",
    )
    .await;
    let (inside, outside) = ("X-Forwarded-For: 10.0.0.1", "X-Forwarded-For: 192.0.2.1");
    let mut rows = Vec::new();
    for path in [
        "/",
        "/ask",
        "/asked",
        "/asked/x?y",
        "//asked",
        "/%61sked",
        "/asked/open",
        "/copied",
        "/both",
        "/any",
    ] {
        for cookie in ["Cookie: a=b", "Cookie: who=ann", "Cookie: who=forbidden", "Cookie: who=quiet"] {
            for client in [inside, outside] {
                rows.push(row(&format!("GET {path}"), &[cookie, client], 1));
            }
        }
    }
    for start in ["HEAD /asked", "DELETE /asked", "OPTIONS /asked"] {
        rows.push(row(start, &["Cookie: who=ann"], 1));
        rows.push(row(start, &["Cookie: who=nobody"], 1));
    }
    rows.push(row("GET /asked", &["Cookie: who=ann", UPGRADE.trim_end()], 1));
    rows.push(row("GET /asked", &[UPGRADE.trim_end()], 1));
    rows.push(row("GET /copied", &["Cookie: who=ann", "X-User: root"], 1));
    rows.push(row("GET /copied", &["Cookie: who=quiet", "X-User: root"], 1));
    assert!(both.compare(&rows).await >= 90);
}

/// Lines of the answer that are compared.
const COMPARED: [&str; 2] = ["www-authenticate", "location"];
/// Lines of the request as the node sees it.
const COMPARED_AT_NODE: [&str; 4] = ["authorization", "x-user", "x-key", "cookie"];

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs nginx: `cargo xtask test`")]
async fn the_networks_of_a_geo_let_the_same_pass() {
    let both = Both::with(
        "geo $bad { default 0; 10.0.0.0/8 1; 10.0.0.7 1; 192.0.2.0/24 2; 2001:db8::/32 1; }\n\
         geo $office { 10.0.0.0/8 yes; 10.66.0.0/16 no; 2001:db8:1::/48 yes; }\n",
        "location / { proxy_pass http://NODE; }\n\
         location /bad { if ($bad) { return 403; } proxy_pass http://NODE; }\n\
         location /two { if ($bad = 2) { return 403; } proxy_pass http://NODE; }\n\
         location /office { if ($office != yes) { return 403; } proxy_pass http://NODE; }\n\
         location /denied { deny 198.51.100.0/24; if ($bad) { return 403; } proxy_pass http://NODE; }\n",
    )
    .await;
    let addresses = [
        "10.0.0.7",
        "10.1.2.3",
        "10.66.0.1",
        "10.67.0.1",
        "192.0.2.1",
        "192.0.3.1",
        "198.51.100.9",
        "2001:db8::1",
        "2001:db8:1::1",
        "2001:db9::1",
        "9.255.255.255",
        "11.0.0.0",
    ];
    let mut rows = Vec::new();
    for path in ["/", "/bad", "/bad/x", "/two", "/office", "/x/../office", "/denied"] {
        for address in addresses {
            rows.push(row(&format!("GET {path}"), &[&format!("X-Forwarded-For: {address}")], 1));
        }
    }
    assert!(both.compare(&rows).await >= 80);
}
