//! What is answered to a value that is wrong: the exact thing to write. Each answer is tried.

use std::path::Path;

use crate::file::parse;

/// Puts `line` under `header`; the only problem must hint at `want`. What is in backticks there must load in its place.
fn check(header: &str, line: &str, want: &str) {
    let app = "[app.chat]\ncommand = \"node\"";
    let with = |line: &str| match header {
        "[upstream.nodes]" => format!("{BEFORE}{line}\n{app}\n"),
        "[app.chat]" => format!("{BEFORE}{app}\n{line}\n"),
        header => format!("{BEFORE}{app}\n{header}\n{line}\n"),
    };
    let report = parse(&with(line), Path::new("test.toml")).expect_err(line);
    let [problem] = report.problems() else { panic!("{line}\n{report}") };
    let hint = problem.hint.as_deref().unwrap_or_default();
    assert!(hint.contains(want), "{line}\n{report}");
    let Some(line) = hint.strip_prefix("write `").and_then(|rest| rest.split('`').next()) else { return };
    if line.contains(" = ") {
        parse(&with(line), Path::new("test.toml")).unwrap_or_else(|report| panic!("{line}\n{report}"));
    }
}

const BEFORE: &str = r#"
[[listen]]
address = ":80"
[[route]]
upstream = "nodes"
[upstream.nodes]
nodes = ["127.0.0.1:3000"]
"#;

#[test]
fn amounts_are_answered_with_the_value_to_write() {
    for (header, line, want) in [
        // The same letter is a size here and a time there.
        ("[limits]", "body_bytes_max = \"10m\"", "write `body_bytes_max = \"10MiB\"`"),
        ("[timeouts]", "answer = \"10M\"", "write `answer = \"10m\"`"),
        ("[app.chat]", "memory_max = \"300M\"", "write `memory_max = \"300MiB\"`"),
        ("[app.chat]", "memory_max = \"1.5G\"", "write `memory_max = \"1536MiB\"`"),
        ("[app.chat]", "memory_max = \"300 megabytes\"", "write `memory_max = \"300MiB\"`"),
        ("[app.chat]", "memory_max = 300", "write `memory_max = \"300MiB\"`"),
        ("[app.chat]", "memory_max = \"300\"", "write `memory_max = \"300MiB\"`"),
        ("[limits]", "head_bytes_max = \"32k\"", "write `head_bytes_max = \"32KiB\"`"),
        ("[limits]", "buffer_bytes = \"64 kb\"", "write `buffer_bytes = \"64KiB\"`"),
        ("[limits]", "buffer_bytes = 65536", "write `buffer_bytes = \"65536B\"`"),
        ("[limits]", "head_bytes_max = \"300M\"", "that is \"300MiB\", and it may be 1KiB to 1MiB"),
        ("[limits]", "body_bytes_max = \"10 parsecs\"", "units are B, KB, MB"),
        ("[timeouts]", "connect = \"5 seconds\"", "write `connect = \"5s\"`"),
        ("[timeouts]", "connect = \"1.5s\"", "write `connect = \"1500ms\"`"),
        ("[timeouts]", "connect = 1.5", "write `connect = \"1500ms\"`"),
        ("[timeouts]", "tunnel = \"1.5h\"", "write `tunnel = \"90m\"`"),
        ("[timeouts]", "tunnel = \"1h 30min\"", "write `tunnel = \"90m\"`"),
        ("[timeouts]", "tunnel = \"1 week\"", "write `tunnel = \"7d\"`"),
        ("[timeouts]", "tunnel = 3600", "write `tunnel = \"3600s\"`"),
        ("[timeouts]", "tunnel = 512", "write `tunnel = \"512s\"`"),
        ("[timeouts]", "head = 512", "write `head = \"512ms\"`"),
        ("[timeouts]", "answer = \"60\"", "write `answer = \"60s\"`"),
        ("[timeouts]", "connect = 5000", "write `connect = \"5000ms\"`"),
        ("[app.chat.stop]", "timeout = 1600", "write `timeout = \"1600ms\"`, or \"1600s\" if that is meant"),
        ("[upstream.nodes]", "handshake_rate = \"10r/s\"", "write `handshake_rate = \"10/s\"`"),
        ("[upstream.nodes]", "handshake_rate = \"600r/m\"", "write `handshake_rate = \"10/s\"`"),
        ("[upstream.nodes]", "handshake_rate = \"20 per second\"", "write `handshake_rate = \"20/s\"`"),
    ] {
        check(header, line, want);
    }
}

#[test]
fn no_bound_is_answered_with_our_word_for_it() {
    for (header, line, want) in [
        ("[app.chat.restart]", "max = \"infinity\"", "write `max = \"none\"`"),
        ("[app.chat.restart]", "max = -1", "write `max = \"none\"`"),
        ("[app.chat.restart]", "max = inf", "write `max = \"none\"`"),
        ("[app.chat.restart]", "max = \"10\"", "write `max = 10`"),
        ("[limits]", "body_bytes_max = 0", "write `body_bytes_max = \"none\"`"),
        ("[limits]", "body_bytes_max = \"0\"", "write `body_bytes_max = \"none\"`"),
        ("[limits]", "tunnel_age_max = \"unlimited\"", "write `tunnel_age_max = \"none\"`"),
        ("[limits]", "tunnel_age_max = false", "write `tunnel_age_max = \"none\"`"),
        ("[timeouts]", "request = \"off\"", "write `request = \"none\"`"),
    ] {
        check(header, line, want);
    }
}

#[test]
fn counts_and_switches_are_answered_with_what_was_meant() {
    for (header, line, want) in [
        ("[limits]", "connections_max = \"10k\"", "write `connections_max = 10000`"),
        ("[limits]", "connections_max = \"10,000\"", "write `connections_max = 10000`"),
        ("[limits]", "attempts_max = \"many\"", "it may be 1 to 16, without quotes"),
        ("[limits]", "attempts_max = \"100\"", "it may be 1 to 16"),
        ("[admin]", "watch = \"yes\"", "write `watch = true`"),
        ("[admin]", "watch = \"off\"", "write `watch = false`"),
        ("[admin]", "watch = 0", "write `watch = false`"),
        ("[app.chat]", "instances = \"4\"", "write `instances = 4`"),
        ("[app.chat]", "instances = \"0\"", "\"max\", which is one for each core"),
        ("[app.chat]", "instances = 0", "\"max\", which is one for each core"),
        ("[app.chat]", "instances = -1", "\"max\", which is one for each core"),
        ("[app.chat]", "instances = \"auto\"", "write `instances = \"max\"`"),
        ("[app.chat]", "port = \"3000\"", "write `port = 3000`"),
        ("[app.chat]", "watch = true", "write `[app.chat.watch]` on a line of its own"),
        ("[app.chat]", "watch = false", "leave `watch` out"),
        ("[app.chat]", "restart = \"always\"", "write `[app.chat.restart]` and its keys"),
    ] {
        check(header, line, want);
    }
}

/// To look for what was meant costs as much as there are names, and to list them too: of a file that is wrong a thousand
/// times only the first mistakes are answered so.
#[test]
fn a_thousand_mistakes_are_not_looked_up_among_a_thousand_names() {
    let names = 1_000;
    for (what, of) in [("upstream", "app"), ("route", "upstream")] {
        let mut text = String::from("[[listen]]\naddress = \":80\"\n");
        for number in 0..names {
            let (near, far) = (format!("shop-number-{number}"), format!("{number}-x"));
            let wanted = if number % 2 == 0 { format!("{near}x") } else { far };
            text += &match what {
                "route" => format!(
                    "[[route]]\npath = \"/{number}\"\nupstream = \"{wanted}\"\n\
                     [upstream.{near}]\nnodes = [\"127.0.0.1:3000\"]\n"
                ),
                _ => format!(
                    "[[route]]\npath = \"/{number}\"\nupstream = \"u{number}\"\n\
                     [upstream.u{number}]\napp = \"{wanted}\"\n[app.{near}]\ncommand = \"node\"\n"
                ),
            };
        }
        let report = parse(&text, Path::new("test.toml")).expect_err(what);
        let missing = |message: &str| message.starts_with(&format!("there is no {of} "));
        let hints: Vec<_> = report
            .problems()
            .iter()
            .filter(|problem| missing(&problem.message))
            .map(|problem| problem.hint.as_deref())
            .collect();
        assert_eq!(hints.len(), names);
        assert_eq!(hints[0], Some("did you mean \"shop-number-0\"?"));
        let listed = hints[1].expect("a list");
        assert!(
            listed.starts_with("there is \"shop-number-0\", ") && listed.ends_with(" and 980 more"),
            "{listed}"
        );
        let meant =
            hints.iter().filter(|hint| hint.is_some_and(|hint| hint.starts_with("did you mean"))).count();
        assert_eq!(meant, 50, "half of the first hundred");
    }
}
