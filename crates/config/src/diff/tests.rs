//! Plans are made of files, so that no test compares what a file cannot say.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::{Strategy, any, prop, proptest};

use super::{Changed, Diff, Listens, Nodes, UpstreamChange, Upstreams, diff};
use crate::parse;
use crate::plan::{NodeSpec, Plan, Upstream, UpstreamId};

#[test]
fn what_changes_is_said_both_ways() {
    for (part, instead, there, back) in [
        ("", "# a comment\n", "nothing changed", "nothing changed"),
        (
            "[[listen]]\n",
            "[[listen]]\naddress = \":443\"\ntls = TLS\n[[listen]]\n",
            "listen + [::]:443 (https)",
            "listen - [::]:443 (https)",
        ),
        (
            "[[listen]]\n",
            "[[listen]]\naddress = \":9\"\n[[listen]]\naddress = \":7\"\n[[listen]]\naddress = \":8\"\n[[listen]]\n",
            "listen + [::]:9 (http)\nlisten + [::]:7 (http)\nlisten + [::]:8 (http)",
            "listen - [::]:9 (http)\nlisten - [::]:7 (http)\nlisten - [::]:8 (http)",
        ),
        (
            "\"[::1]:80\"",
            "\"[::1]:81\"",
            "listen + [::1]:81 (http)\nlisten - [::1]:80 (http)",
            "listen + [::1]:80 (http)\nlisten - [::1]:81 (http)",
        ),
        (
            "\"[::1]:80\"\n",
            "\"[::1]:80\"\nreuse_port = true\n",
            "listen [::1]:80: reuse_port counts when it is opened next",
            "listen [::1]:80: reuse_port counts when it is opened next",
        ),
        (
            "\"[::1]:80\"\n",
            "\"[::1]:80\"\ntls = TLS\n",
            "listen [::1]:80: http to https",
            "listen [::1]:80: https to http",
        ),
        (
            "\"[::1]:80\"\n",
            "\"[::1]:80\"\nredirect = \"https\"\nredirect_port = 8443\n",
            "listen [::1]:80: http to redirect to https on port 8443",
            "listen [::1]:80: redirect to https on port 8443 to http",
        ),
        (
            "{ certificate = \"a.pem\", key = \"a.key\" }",
            "[TLS, TLS]",
            "listen 127.0.0.1:443: other certificates",
            "listen 127.0.0.1:443: other certificates",
        ),
        (
            "\"10.0.0.1:3000\"",
            "\"10.0.0.4:3000\"",
            "upstream nodes: + 10.0.0.4:3000, - 10.0.0.1:3000",
            "upstream nodes: + 10.0.0.1:3000, - 10.0.0.4:3000",
        ),
        (
            "\"10.0.0.1:3000\"",
            "{ address = \"10.0.0.1:3000\", weight = 2, backup = true }",
            "upstream nodes: ~ 10.0.0.1:3000 (weight 1 to 2, now a backup)",
            "upstream nodes: ~ 10.0.0.1:3000 (weight 2 to 1, no backup any more)",
        ),
        (
            "\"10.0.0.1:3000\"",
            "{ address = \"10.0.0.1:3000\", max_connections = 10, max_sessions = 7 }",
            "upstream nodes: ~ 10.0.0.1:3000 (max_connections none to 10, max_sessions none to 7)",
            "upstream nodes: ~ 10.0.0.1:3000 (max_connections 10 to none, max_sessions 7 to none)",
        ),
        (
            "nodes = [",
            "sticky = \"none\"\nhost = \"a.internal\"\npass_headers = [\"Forwarded\"]\ntimeouts = { body = \"1s\" }\nnodes = [",
            "upstream nodes: timeouts (body 1m to 1s), sticky auto to none, host left out to a.internal, \
             pass_headers [] to [\"forwarded\"]",
            "upstream nodes: timeouts (body 1s to 1m), sticky none to auto, host a.internal to left out, \
             pass_headers [\"forwarded\"] to []",
        ),
        (
            "[upstream.other]",
            "[upstream.more]\nnodes = [\"a.example:1\", \"b.example:2\"]\n[upstream.other]",
            "upstream + more (a.example:1, b.example:2)",
            "upstream - more (a.example:1, b.example:2)",
        ),
        (
            "path = \"/other\"",
            "path = \"/others\"",
            "route + 2 (path /others)\nroute - 2 (path /other)",
            "route + 2 (path /other)\nroute - 2 (path /others)",
        ),
        (
            "[[route]]\npath = \"/other\"\nupstream = \"other\"\n",
            "",
            "route - 2 (path /other)",
            "route + 2 (path /other)",
        ),
        (
            "upstream = \"other\"",
            "upstream = \"nodes\"",
            "route 2 (path /other): upstream other to nodes",
            "route 2 (path /other): upstream nodes to other",
        ),
        (
            "[[listen]]\n",
            "trusted_proxies = [\"::1\"]\nsticky_secret = \"0123456789abcdef0123456789abcdef\"\n\
             limits = { attempts_max = 4 }\nlog = { format = \"combined\" }\ndrain = { window = \"0s\" }\n\
             admin = { watch = true }\n[[listen]]\n",
            "changed: trusted_proxies, sticky_secret, limits (attempts_max 3 to 4), log (format json to combined), \
             drain (window 10s to 0s), admin (watch false to true)",
            "changed: trusted_proxies, sticky_secret, limits (attempts_max 4 to 3), log (format combined to json), \
             drain (window 0s to 10s), admin (watch true to false)",
        ),
        (
            "[[listen]]\n",
            "log = { access = \"syslog\", file_bytes_max = \"1MiB\", files_max = 2, sample = { 2xx = \"1%\" }, fields = [\"tls\", \"usual\"], escape = \"json\", cut = [\"key\", \"k\"] }\n[[listen]]\n",
            "changed: log (access stdout to syslog, file_bytes_max left out to 1MiB, files_max 5 to 2, sample left out to 2xx 1%, fields left out to usual, tls, escape default to json, cut left out to key, k)",
            "changed: log (access syslog to stdout, file_bytes_max 1MiB to left out, files_max 2 to 5, sample 2xx 1% to left out, fields usual, tls to left out, escape json to default, cut key, k to left out)",
        ),
        (
            "[[listen]]\n",
            "timeouts = { body = \"1s\" }\n[[listen]]\n",
            "upstream nodes: timeouts (body 1m to 1s)\nupstream other: timeouts (body 1m to 1s)\n\
             changed: timeouts (body 1m to 1s)",
            "upstream nodes: timeouts (body 1s to 1m)\nupstream other: timeouts (body 1s to 1m)\n\
             changed: timeouts (body 1s to 1m)",
        ),
        (
            "[[listen]]\n",
            "limits = { body_bytes_max = \"1MiB\", tunnel_age_max = \"1d\" }\n[[listen]]\n",
            "changed: limits (body_bytes_max none to 1MiB, tunnel_age_max none to 1d)",
            "changed: limits (body_bytes_max 1MiB to none, tunnel_age_max 1d to none)",
        ),
        (
            "nodes = [",
            "health = { probe = \"http\", path = \"/?key=1\", interval = \"5s\" }\nhandshake_rate = \"5/s\"\nnodes = [",
            "upstream nodes: handshake_rate none to 5/s, health (other probe, interval 2s to 5s)",
            "upstream nodes: handshake_rate 5/s to none, health (other probe, interval 5s to 2s)",
        ),
        (
            "nodes = [",
            "outliers = { failures = 5, ejection = \"30s\" }\nrebalance = { percent = 10 }\nnodes = [",
            "upstream nodes: rebalance (percent 0 to 10), outliers (failures 3 to 5, ejection 10s to 30s)",
            "upstream nodes: rebalance (percent 10 to 0), outliers (failures 5 to 3, ejection 30s to 10s)",
        ),
        (
            "[[listen]]\n",
            "workers = 2\nadmin = { socket = \"off\" }\n[[listen]]\n",
            "needs a restart: workers, admin.socket",
            "needs a restart: workers, admin.socket",
        ),
        (
            "[[listen]]\n",
            "workers = 2\nlog = { access = \"off\" }\n[[listen]]\naddress = \":0\"\n[[listen]]\n",
            "listen + [::]:0 (http)\nchanged: log (access stdout to off)\nneeds a restart: workers",
            "listen - [::]:0 (http)\nchanged: log (access off to stdout)\nneeds a restart: workers",
        ),
    ] {
        let (old, new) = (plan_of(BASE), plan_of(&BASE.replacen(part, instead, 1)));
        check(&old, &new, there);
        check(&new, &old, back);
    }
}

#[test]
fn apps_come_and_go_and_change() {
    let app = |keys: &str| format!("{BASE}\n[app.chat]\ncommand = \"node a.js\"\n{keys}");
    let used = app("").replacen("nodes = [\"10.0.0.3:3000\"]", "app = \"chat\"", 1);
    for (old, new, there, back) in [
        (BASE, &*app(""), "app + chat (node a.js)", "app - chat (node a.js)"),
        (
            &*app("instances = 2"),
            &*app("instances = \"max\""),
            "app chat: instances 2 to max",
            "app chat: instances max to 2",
        ),
        (
            &*app(""),
            &*app("args = [\"-v\"]\nstop = { timeout = \"1s\" }"),
            "app chat: other args, stop (timeout 30s to 1s)",
            "app chat: other args, stop (timeout 1s to 30s)",
        ),
        // What may hold a secret is not said.
        (
            &*app("env = { TOKEN = \"a\" }"),
            &*app("env = { TOKEN = \"b\" }\nuser = \"www\""),
            "app chat: other env, user left out to www",
            "app chat: other env, user www to left out",
        ),
        (
            &*app(""),
            &*app("logs = { files_max = 9, folder = \"off\" }\nrestart = { max = 3 }"),
            "app chat: restart (max none to 3), logs (other folder, files_max 5 to 9)",
            "app chat: restart (max 3 to none), logs (other folder, files_max 9 to 5)",
        ),
        (
            &*app("ready = \"port\""),
            &*used,
            "upstream other: - 10.0.0.3:3000, other app",
            "upstream other: + 10.0.0.3:3000, other app",
        ),
    ] {
        let (old, new) = (plan_of(old), plan_of(new));
        check(&old, &new, there);
        check(&new, &old, back);
    }
}

#[test]
fn order_alone_is_no_change() {
    let turned = "
        [[listen]]\naddress = \"[::1]:80\"
        [[listen]]\naddress = \"127.0.0.1:443\"\ntls = TLS
        [[route]]\nupstream = \"other\"\npath = \"/other\"
        [[route]]\nupstream = \"nodes\"\npath = \"/nodes\"
        [upstream.other]\nnodes = [\"10.0.0.3:3000\"]
        [upstream.nodes]\nnodes = [\"10.0.0.2:3000\", \"10.0.0.1:3000\"]
    ";
    let (old, new) = (plan_of(BASE), plan_of(turned));
    assert_ne!(old, new);
    check(&old, &new, "nothing changed");
    assert_eq!(diff(&old, &new).listens.open, [Some(1), Some(0)]);
}

#[test]
fn listens_at_port_0_are_matched_by_order() {
    let (any, tls) =
        ("[[listen]]\naddress = \"[::1]:0\"\n", "[[listen]]\naddress = \"[::1]:0\"\ntls = TLS\n");
    let elsewhere = "[[listen]]\naddress = \":0\"\n";
    for (old, new, said, open) in [
        ([any, any], vec![any], "listen - [::1]:0 (http)", vec![Some(0)]),
        ([any, tls], vec![any], "listen - [::1]:0 (https)", vec![Some(0)]),
        ([any, tls], vec![tls], "listen - [::1]:0 (https)\nlisten [::1]:0: http to https", vec![Some(0)]),
        ([any, any], vec![any, tls], "listen [::1]:0: http to https", vec![Some(0), Some(1)]),
        ([any, any], vec![any, any, any], "listen + [::1]:0 (http)", vec![Some(0), Some(1), None]),
        (
            [elsewhere, any],
            vec![any, any],
            "listen + [::1]:0 (http)\nlisten - [::]:0 (http)",
            vec![Some(1), None],
        ),
    ] {
        let rest = BASE.split_once("[[route]]").expect("the base has one").1;
        let plan = |listens: &[&str]| plan_of(&format!("{}[[route]]{rest}", listens.concat()));
        let (old, new) = (plan(&old), plan(&new));
        check(&old, &new, said);
        assert_eq!(diff(&old, &new).listens.open, open, "{said}");
    }
}

proptest! {
    #[test]
    fn nothing_is_between_a_plan_and_itself(file in file()) {
        check(&plan_of(&file), &plan_of(&file), "nothing changed");
    }

    #[test]
    fn what_was_with_the_difference_is_what_is_to_be(old in file(), new in file()) {
        let (old, new) = (plan_of(&old), plan_of(&new));
        let diff = diff(&old, &new);
        listens_add_up(&old, &new, &diff);
        upstreams_add_up(&old, &new, &diff);
        assert_eq!(diff.routes.is_empty(), answered(&old) == answered(&new));
        let Plan { workers, trusted_proxies, limits, timeouts, drain, admin, .. } = old;
        assert_eq!(diff.trusted_proxies, trusted_proxies != new.trusted_proxies);
        assert_eq!(diff.limits, limits != new.limits);
        assert_eq!(diff.timeouts, timeouts != new.timeouts);
        assert_eq!(diff.drain, drain != new.drain);
        assert_eq!(diff.watch, admin.watch != new.admin.watch);
        assert_eq!(diff.needs_restart.iter().any(|key| key == "workers"), workers != new.workers);
        assert_eq!(diff.needs_restart.iter().any(|key| key == "admin.socket"), admin.socket != new.admin.socket);
        assert_eq!(diff.is_empty(), diff.to_string() == "nothing changed");
    }
}

/// Who answers on which path.
fn answered(plan: &Plan) -> BTreeSet<(String, Option<String>)> {
    let name = |id: UpstreamId| plan.upstreams[id.0].name.to_string();
    plan.routes.iter().map(|route| (route.path.written(), route.action.upstream().map(name))).collect()
}

fn listens_add_up(old: &Plan, new: &Plan, diff: &Diff) {
    let (Listens { added, removed, changed, open }, said) = (&diff.listens, diff.to_string());
    assert_eq!(patch(&old.listens, added, removed, changed), sorted(&new.listens));
    for Changed { old, new } in changed {
        assert_eq!(old.address, new.address);
        assert!(said.contains(&format!("listen {}: ", new.address)), "{said}");
    }
    for (listens, sign) in [(added, '+'), (removed, '-')] {
        for listen in listens {
            assert!(said.contains(&format!("listen {sign} {} (", listen.address)), "{said}");
        }
    }
    let comes = |address| added.iter().any(|listen| listen.address == address);
    assert!(!removed.iter().any(|listen| comes(listen.address)), "closed only to be opened: {said}");
    let once: BTreeSet<usize> = open.iter().copied().flatten().collect();
    assert_eq!(once.len(), open.iter().flatten().count(), "{open:?}");
    assert_eq!(open.len(), new.listens.len());
    for (listen, open) in new.listens.iter().zip(open) {
        assert!(open.is_none_or(|open| old.listens[open].address == listen.address));
    }
}

fn upstreams_add_up(old: &Plan, new: &Plan, diff: &Diff) {
    let (Upstreams { added, removed, changed }, said) = (&diff.upstreams, diff.to_string());
    let whole: Vec<Changed<Arc<Upstream>>> = changed.iter().map(|change| change.upstream.clone()).collect();
    assert_eq!(patch(&old.upstreams, added, removed, &whole), sorted(&new.upstreams));
    for (upstreams, sign) in [(added, '+'), (removed, '-')] {
        for upstream in upstreams {
            assert!(said.contains(&format!("upstream {sign} {} (", upstream.name)), "{said}");
        }
    }
    let comes = |name| added.iter().any(|upstream| upstream.name == name);
    assert!(!removed.iter().any(|upstream| comes(&*upstream.name)), "gone only to come: {said}");
    for UpstreamChange { upstream: Changed { old, new }, nodes: Nodes { added, removed, changed } } in changed
    {
        assert_eq!(old.name, new.name);
        assert_eq!(patch(&old.nodes, added, removed, changed), sorted(&new.nodes));
        let head = format!("upstream {}: ", new.name);
        let line = said.lines().find(|line| line.starts_with(&head)).expect("a line for the upstream");
        let changed: Vec<NodeSpec> = changed.iter().map(|change| change.new.clone()).collect();
        for (nodes, sign) in [(added, '+'), (removed, '-'), (&changed, '~')] {
            for node in nodes {
                assert!(line.contains(&format!("{sign} {}", node.written)), "{line}");
            }
        }
    }
}

/// A file of few addresses, names and nodes, so that two of them have much in common.
fn file() -> impl Strategy<Value = String> {
    let port = prop::sample::select(vec![0, 0, 81, 82]);
    let scheme = prop::sample::select(vec!["", "redirect = \"https\"", "tls = TLS", "tls = [TLS, TLS]"]);
    let listens = prop::collection::vec((port, scheme), 1..5);
    let weights = prop::collection::vec(0..4_u8, NODES)
        .prop_filter("an upstream needs a node", |weights| weights.iter().any(|&weight| weight > 0));
    let sticky = prop::sample::select(vec!["engineio", "none"]);
    let upstreams = prop::collection::vec((weights, sticky, any::<bool>()), UPSTREAMS);
    let routes = prop::collection::vec(0..=UPSTREAMS, 2);
    let rest = prop::sample::subsequence(
        vec![
            "workers = 2",
            "trusted_proxies = [\"::1\"]",
            "admin.watch = true",
            "admin.socket = \"off\"",
            "limits.attempts_max = 5",
            "timeouts.idle = \"5s\"",
            "drain.deadline = \"5s\"",
        ],
        0..=7,
    );
    (listens, upstreams, routes, rest).prop_map(|(listens, upstreams, routes, rest)| {
        let mut file = rest.join("\n") + "\n";
        let mut ports = BTreeSet::new();
        for (port, scheme) in listens {
            if port == 0 || ports.insert(port) {
                file += &format!("[[listen]]\naddress = \"127.0.0.1:{port}\"\n{scheme}\n");
            }
        }
        // The first upstream is always there.
        let is_there = |index: usize| index == 0 || upstreams[index].2;
        file += "[[route]]\nupstream = \"u0\"\n";
        for (path, upstream) in routes.into_iter().enumerate() {
            if upstream < UPSTREAMS && is_there(upstream) {
                file += &format!("[[route]]\npath = \"/{path}\"\nupstream = \"u{upstream}\"\n");
            }
        }
        for (index, (weights, sticky, _)) in upstreams.iter().enumerate() {
            if is_there(index) {
                let nodes: Vec<String> = (1..)
                    .zip(weights)
                    .filter(|(_, weight)| **weight > 0)
                    .map(|(node, weight)| {
                        format!("{{ address = \"10.0.0.{node}:3000\", weight = {weight} }}")
                    })
                    .collect();
                let nodes = nodes.join(", ");
                file += &format!("[upstream.u{index}]\nnodes = [{nodes}]\nsticky = \"{sticky}\"\n");
            }
        }
        file
    })
}

/// What `old` is with a difference, in no particular order.
fn patch<T: Debug + Clone>(old: &[T], added: &[T], removed: &[T], changed: &[Changed<T>]) -> Vec<String> {
    let mut left = sorted(old);
    for gone in removed.iter().chain(changed.iter().map(|change| &change.old)) {
        let at = left.iter().position(|one| *one == format!("{gone:?}")).expect("what goes was there");
        left.remove(at);
    }
    left.extend(added.iter().chain(changed.iter().map(|change| &change.new)).map(|come| format!("{come:?}")));
    left.sort();
    left
}

fn sorted<T: Debug>(all: &[T]) -> Vec<String> {
    let mut all: Vec<String> = all.iter().map(|one| format!("{one:?}")).collect();
    all.sort();
    all
}

#[test]
fn a_listen_behind_a_load_balancer_is_said() {
    let plain = format!("trusted_proxies = [\"::1\"]\n{BASE}");
    let proxied = plan_of(&plain.replace("\"[::1]:80\"\n", "\"[::1]:80\"\nproxy_protocol = true\n"));
    let plain = plan_of(&plain);
    check(&plain, &proxied, "listen [::1]:80: new connections begin with a PROXY header");
    check(&proxied, &plain, "listen [::1]:80: new connections begin without a PROXY header");
}

fn check(old: &Plan, new: &Plan, said: &str) {
    let diff = diff(old, new);
    assert_eq!(diff.to_string(), said);
    assert_eq!(diff.is_empty(), said == "nothing changed");
}

fn plan_of(text: &str) -> Plan {
    let text = text.replace("TLS", "{ certificate = \"a.pem\", key = \"a.key\" }");
    parse(&text, Path::new("test.toml")).expect("a file without mistakes").plan
}

const BASE: &str = r#"
[[listen]]
address = "127.0.0.1:443"
tls = { certificate = "a.pem", key = "a.key" }
[[listen]]
address = "[::1]:80"
[[route]]
path = "/nodes"
upstream = "nodes"
[[route]]
path = "/other"
upstream = "other"
[upstream.nodes]
nodes = ["10.0.0.1:3000", "10.0.0.2:3000"]
[upstream.other]
nodes = ["10.0.0.3:3000"]
"#;
const NODES: usize = 4;
const UPSTREAMS: usize = 3;
