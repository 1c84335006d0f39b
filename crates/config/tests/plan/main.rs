//! Which plan comes of which file.

mod apps;
mod certificates;
mod files;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tidelock_config::limits::Limits;
use tidelock_config::parse;
use tidelock_config::plan::{
    AccessLog, Admin, AdminSocket, Balance, CertificateFiles, Drain, HashKey, LogFormat, NodeBounds,
    NodeHost, PathRule, Plan, Rebalance, Resolver, Scheme, Sticky, Timeouts,
};
use tidelock_config::routing::{HostPattern, PathPattern};

/// Every key that has a default, with another value.
const NOTHING_BY_DEFAULT: &str = r#"
workers = 3
trusted_proxies = ["10.1.2.3/8", "::1", "loopback"]
sticky_secret = "0123456789abcdef0123456789abcdef"

[[listen]]
address = ":8443"
tls = { certificate = "a.pem", key = "/etc/a.key" }
[[listen]]
address = "[::1]:8080"
redirect = "https"

[[route]]
host = "API.example.com"
path = "/chat/"
paths = "strict"
upstream = "chat"

[upstream.chat]
nodes = [{ address = "Server1.example.com:3000", weight = 2, max_connections = 41, max_sessions = 42 }, { address = "[::1]:3001", backup = true }]
sticky = "engineio-learned"
balance = "least-requests"
rebalance = { every = "43s", settle = "44s" }
host = "app.internal:81"
pass_headers = ["CF-Connecting-IP", "x_client_ip"]
timeouts = { connect = "11ms", body = "12s", answer = "13m", tunnel = "14h" }

[limits]
target_bytes_max = "1KiB"
head_bytes_max = "2KiB"
header_lines_max = 17
body_bytes_max = "3MiB"
buffer_bytes = "4KiB"
connections_max = 5
memory = "64MiB"
connections_per_client_max = 4
client_connections_per_second_max = 3
client_handshakes_per_second_max = 2
sessions_max = 6000
body_bytes_per_second_min = 11
answer_bytes_per_second_min = 12
keepalive_requests = 13
origin_idle_max = 7
attempts_max = 8
message_bytes_max = "9B"
messages_per_second_max = 10
tunnel_age_max = "11d"

[timeouts]
connect = "21ms"
head = "22s"
body = "23s"
answer = "24s"
idle = "25s"
request = "27s"
keepalive_age = "28s"
tunnel = "26s"

[log]
access = "logs/access.log"
format = "combined"

[drain]
window = "31s"
deadline = "32s"

[admin]
socket = "run/admin.sock"
watch = true

[resolver]
nameservers = ["127.0.0.1", "[::1]:5353"]
ttl_max = "33s"
"#;

#[test]
fn every_key_reaches_the_plan() {
    let plan = plan_of(NOTHING_BY_DEFAULT);
    assert_eq!(plan.workers, NonZeroUsize::new(3));
    let networks: Vec<String> = plan.trusted_proxies.iter().map(ToString::to_string).collect();
    assert_eq!(networks, ["10.0.0.0/8", "::1/128", "127.0.0.0/8"]);
    assert_eq!(plan.sticky_secret.iter().collect::<Vec<_>>(), [b"0123456789abcdef0123456789abcdef"]);
    assert_eq!(plan.listens[0].address.to_string(), "[::]:8443");
    let files =
        CertificateFiles { certificate: PathBuf::from("folder/a.pem"), key: PathBuf::from("/etc/a.key") };
    assert_eq!(plan.listens[0].scheme, Scheme::Tls(vec![files]));
    assert_eq!(plan.listens[1].scheme, Scheme::RedirectToHttps { port: Some(8443) });
    assert_eq!(plan.routes[0].host, HostPattern::Exact("api.example.com".to_owned()));
    let prefix = PathPattern::Prefix("/chat".to_owned());
    assert_eq!((&plan.routes[0].path, plan.routes[0].paths), (&prefix, PathRule::Strict));
    assert_eq!(
        plan.limits,
        Limits {
            target_bytes_max: 1 << 10,
            head_bytes_max: 2 << 10,
            header_lines_max: 17,
            body_bytes_max: Some(3 << 20),
            buffer_bytes: 4 << 10,
            memory: Some(64 << 20),
            connections_max: 5,
            connections_per_client_max: 4,
            client_connections_per_second_max: 3,
            client_handshakes_per_second_max: 2,
            sessions_max: 6000,
            body_bytes_per_second_min: 11,
            answer_bytes_per_second_min: 12,
            keepalive_requests: 13,
            origin_idle_max: 7,
            attempts_max: 8,
            message_bytes_max: Some(9),
            messages_per_second_max: 10,
            tunnel_age_max: Some(Duration::from_hours(11 * 24)),
        }
    );
    let timeouts = Timeouts {
        connect: Duration::from_millis(21),
        head: Duration::from_secs(22),
        body: Duration::from_secs(23),
        answer: Duration::from_secs(24),
        idle: Duration::from_secs(25),
        request: Some(Duration::from_secs(27)),
        keepalive_age: Some(Duration::from_secs(28)),
        tunnel: Duration::from_secs(26),
    };
    assert_eq!(plan.timeouts, timeouts);
    assert_eq!(plan.log.access, AccessLog::File(PathBuf::from("folder/logs/access.log")));
    assert_eq!(plan.log.format, LogFormat::Combined);
    assert_eq!(
        plan.drain,
        Drain {
            window: Duration::from_secs(31),
            deadline: Duration::from_secs(32),
            announce: Duration::ZERO
        }
    );
    let socket = AdminSocket::Path(PathBuf::from("folder/run/admin.sock"));
    assert_eq!(plan.admin, Admin { socket, watch: true, ..Admin::default() });
    let nameservers = ["127.0.0.1:53", "[::1]:5353"].map(|address| address.parse().unwrap()).to_vec();
    assert_eq!(plan.resolver, Resolver { nameservers, ttl_max: Duration::from_secs(33) });
}

#[test]
fn every_key_of_an_upstream_reaches_the_plan() {
    let plan = plan_of(NOTHING_BY_DEFAULT);
    let upstream = &plan.upstreams[plan.routes[0].action.upstream().expect("nodes answer").0];
    assert_eq!(upstream.name, "chat");
    assert_eq!(upstream.sticky, Sticky::EngineIoLearned);
    assert_eq!(upstream.balance, Balance::LeastRequests);
    let rebalance = Rebalance { percent: 0, every: Duration::from_secs(43), settle: Duration::from_secs(44) };
    assert_eq!(upstream.rebalance, rebalance);
    assert_eq!(upstream.host.as_deref(), Some("app.internal:81"));
    assert_eq!(upstream.pass_headers, ["cf-connecting-ip", "x_client_ip"]);
    let timeouts = Timeouts {
        connect: Duration::from_millis(11),
        body: Duration::from_secs(12),
        answer: Duration::from_mins(13),
        tunnel: Duration::from_hours(14),
        ..plan.timeouts
    };
    assert_eq!(upstream.timeouts, timeouts);
    let [first, second] = &upstream.nodes[..] else { panic!("two nodes") };
    assert_eq!(first.bounds, NodeBounds { connections_max: Some(41), sessions_max: Some(42) });
    assert_eq!(second.bounds, NodeBounds::default());
    assert_eq!(first.written, "Server1.example.com:3000");
    assert_eq!(first.host, NodeHost::Name("server1.example.com".to_owned()));
    assert_eq!((first.port, first.weight, first.backup), (3000, 2, false));
    assert_eq!(second.host, NodeHost::Address("::1".parse().expect("an address")));
    assert_eq!((second.port, second.weight, second.backup), (3001, 1, true));
}

#[test]
fn what_keeps_and_what_spreads_is_a_word_or_a_word_with_a_name() {
    let upstream = |key: &str, value: &str| {
        let file = format!(
            "[[listen]]\naddress = \":80\"\n[[route]]\nupstream = \"nodes\"\n\
             [upstream.nodes]\nnodes = [\"127.0.0.1:3000\"]\n{key} = \"{value}\"\n"
        );
        plan_of(&file).upstreams[0].clone()
    };
    let user = || "x-user".to_owned();
    let keys = [
        ("ip", HashKey::Ip),
        ("header:X-User", HashKey::Header(user())),
        ("cookie:x-user", HashKey::Cookie(user())),
        ("query:x-user", HashKey::Query(user())),
    ];
    for (word, key) in keys {
        assert_eq!(
            upstream("balance", &format!("hash:{word}")).balance,
            Balance::Hash(key.clone()),
            "{word}"
        );
        let sticky = match key {
            HashKey::Cookie(name) => Sticky::Cookie(Some(name)),
            key => Sticky::Key(key),
        };
        assert_eq!(upstream("sticky", word).sticky, sticky, "{word}");
    }
    assert_eq!(upstream("sticky", "cookie").sticky, Sticky::Cookie(None));
    assert_eq!(upstream("sticky", "none").sticky, Sticky::None);
    let policies = [
        ("least-sessions", Balance::LeastSessions),
        ("round-robin", Balance::RoundRobin),
        ("least-requests", Balance::LeastRequests),
        ("peak-ewma", Balance::PeakEwma),
        ("random-two", Balance::RandomTwo),
    ];
    for (word, balance) in policies {
        assert_eq!(upstream("balance", word).balance, balance, "{word}");
    }
}

#[test]
fn routes_stand_from_the_most_to_the_least_specific() {
    let routes = [
        ("", "/"),
        ("", "/longest/of/all"),
        ("*.example.com", "/"),
        ("*.api.example.com", "/"),
        ("api.example.com", "/"),
        ("*.example.com", "/chat"),
        ("api.example.com", "/chat"),
    ];
    let mut file = LISTEN_AND_UPSTREAM.to_owned();
    for (host, path) in routes {
        let host = if host.is_empty() { String::new() } else { format!("host = \"{host}\"\n") };
        file += &format!("[[route]]\n{host}path = \"{path}\"\nupstream = \"nodes\"\n");
    }
    let sorted: Vec<(String, String)> = plan_of(&file)
        .routes
        .into_iter()
        .map(|route| {
            let PathPattern::Prefix(path) = route.path else { panic!("{:?}", route.path) };
            match route.host {
                HostPattern::Exact(name) => (name, path),
                HostPattern::Wildcard(suffix) => (format!("*{suffix}"), path),
                HostPattern::Any => (String::new(), path),
            }
        })
        .collect();
    let expected = [
        ("api.example.com", "/chat"),
        ("api.example.com", "/"),
        ("*.api.example.com", "/"),
        ("*.example.com", "/chat"),
        ("*.example.com", "/"),
        ("", "/longest/of/all"),
        ("", "/"),
    ];
    assert_eq!(sorted, expected.map(|(host, path)| (host.to_owned(), path.to_owned())));
}

#[test]
fn a_redirect_goes_to_the_only_https_there_is() {
    for (listens, port) in [
        ("", None),
        ("[[listen]]\naddress = \":443\"\ntls = TLS", None),
        ("[[listen]]\naddress = \":8443\"\ntls = TLS", Some(8443)),
        ("[[listen]]\naddress = \":8443\"\ntls = [TLS, TLS]", Some(8443)),
        ("[[listen]]\naddress = \":0\"\ntls = TLS", None),
        ("[[listen]]\naddress = \":8443\"\ntls = TLS\n[[listen]]\naddress = \":9443\"\ntls = TLS", None),
    ] {
        let listens = listens.replace("TLS", "{ certificate = \"a.pem\", key = \"a.key\" }");
        let file = format!(
            "[[listen]]\naddress = \":80\"\nredirect = \"https\"\n{listens}\n\
             [[route]]\nupstream = \"nodes\"\n[upstream.nodes]\nnodes = [\"127.0.0.1:3000\"]\n"
        );
        assert_eq!(plan_of(&file).listens[0].scheme, Scheme::RedirectToHttps { port }, "{file}");
    }
}

#[test]
fn a_window_that_is_left_out_fits_the_deadline() {
    for (drain, window, deadline) in [
        ("", 10, 30),
        ("deadline = \"5s\"", 5, 5),
        ("deadline = \"0s\"", 0, 0),
        ("deadline = \"2m\"", 10, 120),
        ("window = \"30s\"", 30, 30),
        ("window = \"0s\"\ndeadline = \"0s\"", 0, 0),
    ] {
        let file = format!("{LISTEN_AND_UPSTREAM}[[route]]\nupstream = \"nodes\"\n[drain]\n{drain}\n");
        let expected = Drain {
            window: Duration::from_secs(window),
            deadline: Duration::from_secs(deadline),
            announce: Duration::ZERO,
        };
        assert_eq!(plan_of(&file).drain, expected, "{drain}");
    }
}

#[test]
fn the_admin_socket_may_be_off_or_anywhere() {
    for (admin, socket) in [
        ("", AdminSocket::Default),
        ("[admin]", AdminSocket::Default),
        ("[admin]\nsocket = \"off\"", AdminSocket::Off),
        ("[admin]\nsocket = \"/a/b\"", AdminSocket::Path(PathBuf::from("/a/b"))),
        ("[admin]\nsocket = \"./off\"", AdminSocket::Path(PathBuf::from("folder/off"))),
    ] {
        let file = format!("{LISTEN_AND_UPSTREAM}[[route]]\nupstream = \"nodes\"\n{admin}\n");
        assert_eq!(plan_of(&file).admin, Admin { socket, watch: false, ..Admin::default() }, "{admin}");
    }
}

#[test]
fn upstreams_stand_in_the_order_of_the_file() {
    let file = "[[listen]]\naddress = \":0\"\n[[listen]]\naddress = \":0\"\n\
                [[route]]\nupstream = \"b\"\n[[route]]\npath = \"/a\"\nupstream = \"a\"\n\
                [upstream.b]\nnodes = [\"127.0.0.1:1\"]\n[upstream.a]\nnodes = [\"127.0.0.1:2\"]\n";
    let plan = plan_of(file);
    let names: Vec<&str> = plan.upstreams.iter().map(|upstream| &*upstream.name).collect();
    assert_eq!(names, ["b", "a"]);
    assert_eq!(plan.upstreams[plan.routes[0].action.upstream().expect("nodes answer").0].name, "a");
}

#[test]
fn without_a_secret_there_is_none_and_nothing_is_said() {
    let file = format!("{LISTEN_AND_UPSTREAM}[[route]]\nupstream = \"nodes\"\n");
    let loaded = parse(&file, Path::new("test.toml")).expect("no mistakes");
    assert!(loaded.plan.sticky_secret.is_empty());
    assert!(loaded.warnings.problems().is_empty());
}

#[test]
fn secrets_come_in_their_order() {
    let (new, old) = ("n".repeat(32), "o".repeat(32));
    let file = format!(
        "sticky_secret = [\"{new}\", \"{old}\"]\n{LISTEN_AND_UPSTREAM}[[route]]\nupstream = \"nodes\"\n"
    );
    let secrets = plan_of(&file).sticky_secret;
    assert_eq!(secrets.iter().collect::<Vec<_>>(), [new.as_bytes(), old.as_bytes()]);
    assert!(!format!("{secrets:?}").contains(&new));
}

fn plan_of(text: &str) -> Plan {
    parse(text, Path::new("folder/test.toml")).expect("a file without mistakes").plan
}

const LISTEN_AND_UPSTREAM: &str =
    "[[listen]]\naddress = \":80\"\n[upstream.nodes]\nnodes = [\"127.0.0.1:3000\"]\n";

/// A request for `/x/..%2fadmin` takes the route of `/`, and some nodes take it for one for `/admin`.
#[test]
fn where_a_route_refuses_the_others_of_its_host_are_strict() {
    let text = r#"
        [[listen]]
        address = ":80"
        [[route]]
        host = "closed.example"
        upstream = "nodes"
        [[route]]
        host = "closed.example"
        path = "/said"
        paths = "lenient"
        upstream = "nodes"
        [[route]]
        host = ["closed.example", "both.example"]
        path = "/admin"
        respond = { status = 403 }
        [[route]]
        host = "both.example"
        upstream = "nodes"
        [[route]]
        host = "open.example"
        path = "/gone"
        respond = { status = 404 }
        [[route]]
        host = "open.example"
        upstream = "nodes"
        [[route]]
        upstream = "nodes"
        [upstream.nodes]
        nodes = ["127.0.0.1:3000"]
    "#;
    let plan = parse(text, Path::new("test.toml")).unwrap().plan;
    let mut strict: Vec<_> = plan
        .routes
        .iter()
        .filter(|route| route.paths == PathRule::Strict)
        .map(|route| route.number)
        .collect();
    strict.sort_unstable();
    assert_eq!(strict, [1, 3, 3, 4], "{:#?}", plan.routes);
}
