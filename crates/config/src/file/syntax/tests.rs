use std::path::Path;

use crate::file::parse;

/// `said` and `meant` are parts of the message and the hint of the only problem.
fn check(text: &str, said: &str, meant: &str) {
    let report = parse(text, Path::new("test.toml")).expect_err(text);
    let [problem] = report.problems() else { panic!("{text}\n{report}") };
    assert!(problem.message.contains(said), "{text}\n{report}");
    assert!(problem.hint.as_deref().unwrap_or_default().contains(meant), "{text}\n{report}");
}

#[test]
fn mistakes_in_a_line_are_answered_with_the_line() {
    check("[timeouts]\nconnect = 30s", "is in quotes", "write `connect = \"30s\"`");
    check("[[listen]]\naddress = 0.0.0.0:80", "is in quotes", "write `address = \"0.0.0.0:80\"`");
    check("[[route]]\nhost = example.com # ours", "is in quotes", "write `host = \"example.com\"`");
    check("[[route]]\nhost = example.com;", "is in quotes", "write `host = \"example.com\"`");
    check("[app.a]\ncommand = node index.js", "is in quotes", "write `command = \"node index.js\"`");
    check("workers 4", "no `=`", "write `workers = 4`");
    check("[[route]]\nhost \"example.com\"", "no `=`", "write `host = \"example.com\"`");
    check("[[route]]\nhost: example.com", "no `=`", "write `host = \"example.com\"`");
    check("[[route]]\nhost: \"example.com\",", "no `=`", "write `host = \"example.com\"`");
    check("[[route]]\nhost = \"example.com", "the quote at the end", "write `host = \"example.com\"`");
    check("[[route]]\nhost = 'example.com", "the quote at the end", "write `host = 'example.com'`");
    check("[[route]]\nhost = example.com\"", "the quote at the beginning", "write `host = \"example.com\"`");
    check("[admin]\nwatch = True", "`true` or `false`", "write `watch = true`");
    check("[admin]\nwatch = yes", "`true` or `false`", "write `watch = true`");
    check("[admin]\nwatch = OFF", "`true` or `false`", "write `watch = false`");
    check("[limits", "not closed", "write `[limits]`");
    check("[[listen]", "not closed", "write `[[listen]]`");
    check("[listen", "not closed", "write `[[listen]]`");
    check("workers =", "no value", "write `workers = \"…\"`");
    check("// workers\nworkers = 2", "a comment begins with `#`", "# …");
    check("[[route]]\nhost = \u{201c}example.com\u{201d}", "straight", "write `host = \"example.com\"`");
    check("[[route]]\nhost = \u{2018}example.com\u{2019}", "straight", "write `host = \"example.com\"`");
    check("workers\u{a0}= 4", "U+00A0", "type the line again");
    check("[app.a]\ncwd = \"C:\\apps\"", "a backslash", "write `cwd = 'C:\\apps'`");
    check("workers = 1\nworkers = 2", "`workers` is here twice", "keep one");
    check("[log]\naccess = \"off\"\n[log]\nformat = \"json\"", "`[log]` is here twice", "under the first");
    check("[listen]\naddress = \":80\"\n[listen]\naddress = \":81\"", "twice", "`[[listen]]`");
    check("[upstream.a]\nnodes = [\"a:1\" \"b:1\"]", "", "commas between");
    check("[upstream.a]\nnodes = [{ address = \"a:1\" weight = 2 }]", "", "commas between");
}

#[test]
fn each_line_that_is_wrong_is_told_once() {
    let text = "[[listen]]\naddress = 0.0.0.0:80\n[[route]]\nhost: \"example.com\"\n\
                proxy_pass http://127.0.0.1:3000;\n[upstream.nodes]\nsticky = ip_hash\n[admin]\nwatch = True\n";
    let report = parse(text, Path::new("test.toml")).expect_err("five lines are wrong");
    let wrong: Vec<_> = report
        .problems()
        .iter()
        .map(|problem| text[..problem.span.clone().expect("a place").start].matches('\n').count() + 1)
        .collect();
    assert_eq!(wrong, [2, 4, 5, 7, 9], "{report}");
}

#[test]
fn lines_of_other_programs_are_told_by_their_words() {
    check("[timeouts]\ntimeout client 30s", "a word of HAProxy", "idle = \"75s\"");
    check("[[route]]\nserver_name example.com;", "a word of nginx", "host = \"example.com\"");
    check("[[route]]\nproxy_pass http://127.0.0.1:3000;", "a word of nginx", "upstream = \"nodes\"");
    check("[[route]]\nset $x 1;", "looks like nginx.conf", "[[listen]]");
}

#[test]
fn files_of_other_programs_are_known() {
    let nginx = "upstream chat {\n  server 127.0.0.1:3000;\n}\nserver {\n  listen 80;\n}\n";
    check(nginx, "looks like nginx.conf", "tidelock import");
    check("example.com {\n  reverse_proxy :3000\n}\n", "a Caddyfile", "[[listen]]");
    check("frontend web\n  bind :80\n  default_backend app\n", "haproxy.cfg", "[[listen]]");
    check("services:\n  chat:\n    image: chat\n    ports:\n      - 3000:3000\n", "YAML", "[[listen]]");
    check("{\n  \"listen\": [{ \"address\": \":80\" }]\n}\n", "JSON", "[[listen]]");
    check("module.exports = {\n  apps: [{ script: 'index.js' }],\n}\n", "PM2", "tidelock import");
    check("{ \"apps\": [{ \"script\": \"index.js\" }] }", "PM2", "tidelock import");
}
