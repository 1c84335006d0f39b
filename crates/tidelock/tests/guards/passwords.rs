//! Who may, by a name and a password.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use testkit::origin::ScriptedOrigin;
use testkit::process::{Signal, tells};
use testkit::tidelock::{Tidelock, directory};

use super::{TIDELOCK, UPGRADE, ask, counted};

/// A password in each way that it may be stored: each user's is `secret`.
pub(crate) const USERS: &str = "# who may\n\
    bcrypt:$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW\n\
    apr:$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ/\n\
    md5:$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1:a comment\n\
    sha:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n";

pub(crate) fn basic(name: &str, password: &str) -> String {
    format!("Authorization: Basic {}\r\n", STANDARD.encode(format!("{name}:{password}")))
}

async fn start(users: &str, route: &str) -> (Tidelock, ScriptedOrigin) {
    let origin = ScriptedOrigin::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let folder = directory();
    std::fs::write(folder.path().join("users"), users).expect("a writable folder");
    let file = format!(
        "trusted_proxies = [\"127.0.0.1\"]\n[[listen]]\naddress = \"127.0.0.1:0\"\n\
         [[route]]\nupstream = \"nodes\"\n[[route]]\npath = \"/in\"\nauth = {{ users = \"users\", realm = \"Staging\" }}\n\
         {route}\nupstream = \"nodes\"\n[upstream.nodes]\nnodes = [\"{}\"]\n",
        origin.address()
    );
    (Tidelock::start_in(folder, TIDELOCK, &file).await, origin)
}

#[tokio::test]
async fn who_has_a_password_may() {
    let (mut proxy, origin) = start(USERS, "request_headers = { set = { X-User = \"{user}\" } }").await;
    for name in ["bcrypt", "apr", "md5", "sha"] {
        for _ in 0..3 {
            let answer = ask(&proxy, "GET /in", &basic(name, "secret")).await;
            assert_eq!(answer.status(), 200, "{name}");
            let seen = origin.requests().pop().expect("it has asked");
            assert_eq!(seen.header("x-user"), Some(name));
            assert!(seen.header("authorization").is_some(), "nodes hear of it, as behind nginx");
        }
        for wrong in ["", "Secret", "secret ", "secret\0"] {
            let refused = ask(&proxy, "GET /in", &basic(name, wrong)).await;
            assert_eq!(refused.status(), 401, "{name} {wrong:?}");
            assert_eq!(refused.header("www-authenticate"), Some("Basic realm=\"Staging\""));
        }
    }
    let count = origin.requests().len();
    let forms = [
        ("GET /in", String::new()),
        ("GET /in", basic("nobody", "secret")),
        ("GET /in", "Authorization: Basic\r\n".to_owned()),
        ("GET /in", "Authorization: Basic %%%\r\n".to_owned()),
        ("GET /in", "Authorization: Bearer YXByOnNlY3JldA==\r\n".to_owned()),
        ("GET /%69n", String::new()),
        ("GET //x/..//in", String::new()),
        ("GET /in/x?y", String::new()),
        ("HEAD /in", String::new()),
        ("POST /in", "Content-Length: 0\r\n".to_owned()),
        ("GET /in/?EIO=4&transport=polling", String::new()),
        ("GET /in/?EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAAAAAAAAAAAAAA", String::new()),
        ("GET /in", UPGRADE.to_owned()),
    ];
    for (start, lines) in &forms {
        let refused = ask(&proxy, start, lines).await;
        assert_eq!(refused.status(), 401, "{start} {lines}");
        assert_eq!(refused.header("www-authenticate"), Some("Basic realm=\"Staging\""), "{start}");
    }
    for start in ["GET /x/..%2fin", "GET /in%2fx", "GET /%2e%2e%2fin"] {
        assert_eq!(ask(&proxy, start, "").await.status(), 400, "{start}: nodes may take it for another");
    }
    assert_eq!(origin.requests().len(), count);
    assert_eq!(ask(&proxy, "GET /", "").await.status(), 200);
    let wrong = 4 * 4 + forms.len() as u64;
    assert_eq!(counted(&proxy, "faults", "no password, or a wrong one").await, wrong);
    // The log has the name, and nothing of a password.
    let named = |line: &str| line.contains("\"user\":\"bcrypt\"");
    proxy.process().wait_for_line(named).await;
    let log: String = proxy.process().output().lines().filter(|line| line.contains("\"target\"")).collect();
    assert!(!log.contains("secret") && !log.contains(&STANDARD.encode("bcrypt:secret")), "{log}");
}

#[tokio::test]
async fn a_reload_reads_the_file_again() {
    let (mut proxy, _origin) = start(USERS, "").await;
    assert_eq!(ask(&proxy, "GET /in", &basic("bcrypt", "secret")).await.status(), 200);
    assert_eq!(ask(&proxy, "GET /in", &basic("apr", "secret")).await.status(), 200);
    let less: String =
        USERS.lines().filter(|line| !line.starts_with("bcrypt")).map(|line| format!("{line}\n")).collect();
    let users = proxy.directory().join("users");
    std::fs::write(&users, less).expect("a writable folder");
    let mark = proxy.process().mark();
    proxy.process().signal(Signal::HUP);
    proxy.process().wait_for_lines_since(mark, 1, |line| tells(line, "reloaded")).await;
    assert_eq!(ask(&proxy, "GET /in", &basic("bcrypt", "secret")).await.status(), 401, "known no longer");
    assert_eq!(ask(&proxy, "GET /in", &basic("apr", "secret")).await.status(), 200);
    std::fs::write(&users, "apr:plain\n").expect("a writable folder");
    let mark = proxy.process().mark();
    proxy.process().signal(Signal::HUP);
    let said =
        proxy.process().wait_for_lines_since(mark, 1, |line| line.contains("is stored in a way")).await;
    assert!(!said.concat().contains("plain"), "{said:?}");
    assert_eq!(
        ask(&proxy, "GET /in", &basic("apr", "secret")).await.status(),
        200,
        "what was in force stays so"
    );
}

#[tokio::test]
async fn an_address_is_enough_where_it_is_said() {
    let (proxy, _origin) = start(USERS, "allow = [\"10.0.0.0/8\"]\nsatisfy = \"any\"").await;
    let (both, _both) = start(USERS, "allow = [\"10.0.0.0/8\"]").await;
    let right = basic("apr", "secret");
    for (client, lines, any, all) in [
        ("10.1.1.1", "", 200, 401),
        ("10.1.1.1", "Authorization: Basic x\r\n", 200, 401),
        ("10.1.1.1", &*right, 200, 200),
        ("192.0.2.1", "", 401, 403),
        ("192.0.2.1", &*right, 200, 403),
    ] {
        let lines = format!("X-Forwarded-For: {client}\r\n{lines}");
        assert_eq!(ask(&proxy, "GET /in", &lines).await.status(), any, "any: {lines}");
        assert_eq!(ask(&both, "GET /in", &lines).await.status(), all, "all: {lines}");
    }
}

/// Browsers ask beforehand without a password.
#[tokio::test]
async fn preflights_need_none() {
    let (proxy, _origin) =
        start(USERS, "cors = { origins = [\"https://app.example\"], credentials = true }").await;
    let preflight = "Origin: https://app.example\r\nAccess-Control-Request-Method: GET\r\n";
    assert_eq!(ask(&proxy, "OPTIONS /in", preflight).await.status(), 204);
    let refused = ask(&proxy, "GET /in", "Origin: https://app.example\r\n").await;
    assert_eq!(refused.status(), 401);
    assert_eq!(refused.header("access-control-allow-origin"), Some("https://app.example"));
}

/// One address sends wrong passwords as fast as it can, each of which takes a tenth of a second to verify.
#[tokio::test]
async fn a_flood_of_wrong_ones_stops_nobody() {
    let dear = "dear:$2b$10$abcdefghijklmnopqrstuu1VS0P7v3ZJmd2gzBFIzgfN7OOl6Rl52\n";
    let (proxy, _origin) = start(&format!("{dear}{USERS}"), "").await;
    let known = basic("apr", "secret");
    assert_eq!(ask(&proxy, "GET /in", &known).await.status(), 200);
    let proxy = std::sync::Arc::new(proxy);
    let mut flood = tokio::task::JoinSet::new();
    for number in 0..100 {
        let proxy = proxy.clone();
        flood.spawn(async move {
            let lines =
                format!("X-Forwarded-For: 192.0.2.66\r\n{}", basic("dear", &format!("wrong{number}")));
            ask(&proxy, "GET /in", &lines).await.status()
        });
    }
    // Who is known goes on, and who is not waits for the one that is being verified, not for the flood.
    for number in 0..20 {
        assert_eq!(ask(&proxy, "GET /in", &known).await.status(), 200, "{number}");
    }
    let new = format!("X-Forwarded-For: 192.0.2.1\r\n{}", basic("sha", "secret"));
    assert_eq!(ask(&proxy, "GET /in", &new).await.status(), 200);
    let left = flood.len() - std::iter::from_fn(|| flood.try_join_next()).count();
    assert!(left > 0, "the flood was over before");
    // Those that waited for too long were told to come again.
    while let Some(status) = flood.join_next().await {
        let status = status.expect("it does not panic");
        assert!([401, 503].contains(&status), "{status}");
    }
}
