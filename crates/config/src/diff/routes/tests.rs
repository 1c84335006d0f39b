//! Each key of `[[route]]` has a row here, so that none is left out of what a reload says.

use std::collections::BTreeSet;
use std::path::Path;

use crate::diff::diff;
use crate::file::sections::route::ROUTE;
use crate::parse;
use crate::plan::Plan;

/// What the second route has before and after, and what is said both ways.
type Row = (&'static str, &'static str, &'static str, &'static str, &'static str);

const TAKES: &[Row] = &[
    (
        "host",
        "respond = 404",
        "respond = 404\nhost = \"a.example.com\"",
        "route + 2 (host a.example.com, path /)\nroute - 2 (path /)",
        "route + 2 (path /)\nroute - 2 (host a.example.com, path /)",
    ),
    (
        "path",
        "respond = 404\npath = \"/a\"",
        "respond = 404\npath = \"/b\"",
        "route + 2 (path /b)\nroute - 2 (path /a)",
        "route + 2 (path /a)\nroute - 2 (path /b)",
    ),
    (
        "exact",
        "respond = 404\nexact = \"/a\"",
        "respond = 404\npath = \"/a\"",
        "route + 2 (path /a)\nroute - 2 (exact /a)",
        "route + 2 (exact /a)\nroute - 2 (path /a)",
    ),
    (
        "regex",
        "respond = 404\nregex = '/a\\d'",
        "respond = 404\nregex = '/a.'",
        "route + 2 (regex /a.)\nroute - 2 (regex /a\\d)",
        "route + 2 (regex /a\\d)\nroute - 2 (regex /a.)",
    ),
    ("methods", "respond = 404", "respond = 404\nmethods = [\"GET\"]", "+ methods", "- methods"),
    (
        "methods",
        "respond = 404\nmethods = [\"PUT\"]",
        "respond = 404\nmethods = [\"GET\"]",
        "other methods",
        "other methods",
    ),
    ("listen", "respond = 404", "respond = 404\nlisten = [\"[::1]:80\"]", "+ listen", "- listen"),
    ("headers", "respond = 404", "respond = 404\nheaders = { X-A = \"1\" }", "+ headers", "- headers"),
    (
        "headers",
        "respond = 404\nheaders = { X-A = \"1\" }",
        "respond = 404\nheaders = { X-A = true }",
        "other headers",
        "other headers",
    ),
    ("query", "respond = 404", "respond = 404\nquery = { a = \"1\" }", "+ query", "- query"),
    (
        "paths",
        "respond = 404",
        "respond = 404\npaths = \"strict\"",
        "paths lenient to strict",
        "paths strict to lenient",
    ),
];
const ANSWERS: &[Row] = &[
    (
        "upstream",
        "upstream = \"nodes\"",
        "upstream = \"others\"",
        "upstream nodes to others",
        "upstream others to nodes",
    ),
    (
        "redirect",
        "upstream = \"nodes\"",
        "redirect = \"https://example.com\"",
        "upstream nodes to left out, + redirect",
        "upstream left out to nodes, - redirect",
    ),
    ("redirect", "redirect = \"/a\"", "redirect = \"/b\"", "other redirect", "other redirect"),
    ("respond", "respond = 404", "respond = 410", "other respond", "other respond"),
    ("respond", "respond = 404", "files = \"public\"", "- respond, + files", "+ respond, - files"),
    ("files", "files = \"public\"", "files = \"static\"", "other files", "other files"),
    (
        "index",
        "files = \"public\"",
        "files = \"public\"\nindex = \"a.html\"",
        "index left out to [\"a.html\"]",
        "index [\"a.html\"] to left out",
    ),
    (
        "fallback",
        "files = \"public\"",
        "files = \"public\"\nfallback = \"a.html\"",
        "+ fallback",
        "- fallback",
    ),
    ("cache", "files = \"public\"", "files = \"public\"\ncache = \"1h\"", "+ cache", "- cache"),
    (
        "cache",
        "files = \"public\"\ncache = \"2h\"",
        "files = \"public\"\ncache = \"1h\"",
        "other cache",
        "other cache",
    ),
];
const EDITS: &[Row] = &[
    ("strip", NODES, "upstream = \"nodes\"\nstrip = true", "strip false to true", "strip true to false"),
    ("rewrite", NODES, "upstream = \"nodes\"\nrewrite = \"/b{path}\"", "+ rewrite", "- rewrite"),
    (
        "rewrite",
        "upstream = \"nodes\"\nstrip = true",
        "upstream = \"nodes\"\nrewrite = { prefix = \"/v2\" }",
        "strip true to false, + rewrite",
        "strip false to true, - rewrite",
    ),
    (
        "request_headers",
        NODES,
        "upstream = \"nodes\"\nrequest_headers = { set = { Host = \"a.internal\" } }",
        "+ request_headers",
        "- request_headers",
    ),
    (
        "response_headers",
        "upstream = \"nodes\"\nresponse_headers = { remove = [\"Server\"] }",
        "upstream = \"nodes\"\nresponse_headers = { add = { A = \"{request_id}\" } }",
        "other response_headers",
        "other response_headers",
    ),
    (
        "body_bytes_max",
        "upstream = \"nodes\"\nbody_bytes_max = \"1MiB\"",
        "upstream = \"nodes\"\nbody_bytes_max = \"2MiB\"\nrewrite = \"/b\"",
        "+ rewrite, body_bytes_max 1MiB to 2MiB",
        "- rewrite, body_bytes_max 2MiB to 1MiB",
    ),
    (
        "body_bytes_max",
        NODES,
        "upstream = \"nodes\"\nbody_bytes_max = \"none\"",
        "body_bytes_max left out to none",
        "body_bytes_max none to left out",
    ),
    ("compress", NODES, "upstream = \"nodes\"\ncompress = true", "+ compress", "- compress"),
    (
        "timeouts",
        NODES,
        "upstream = \"nodes\"\ntimeouts = { body = \"1s\" }",
        "timeouts (body left out to 1s)",
        "timeouts (body 1s to left out)",
    ),
    (
        "timeouts",
        "upstream = \"nodes\"\ntimeouts = { body = \"2s\" }",
        "upstream = \"nodes\"\ntimeouts = { body = \"1s\", tunnel = \"1m\" }",
        "timeouts (body 2s to 1s, tunnel left out to 1m)",
        "timeouts (body 1s to 2s, tunnel 1m to left out)",
    ),
    (
        "access_log",
        NODES,
        "upstream = \"nodes\"\naccess_log = \"0.5%\"",
        "access_log true to 0.5%",
        "access_log 0.5% to true",
    ),
    ("request_id", NODES, "upstream = \"nodes\"\nrequest_id = true", "+ request_id", "- request_id"),
    (
        "secure_headers",
        NODES,
        "upstream = \"nodes\"\nsecure_headers = true",
        "secure_headers false to true",
        "secure_headers true to false",
    ),
    ("hsts", NODES, "upstream = \"nodes\"\nhsts = \"1y\"", "+ hsts", "- hsts"),
    ("cors", NODES, "upstream = \"nodes\"\ncors = { origins = [\"*\"] }", "+ cors", "- cors"),
    (
        "allow",
        NODES,
        "upstream = \"nodes\"\nallow = [\"10.0.0.0/8\"]",
        "allow left out to [\"10.0.0.0/8\"]",
        "allow [\"10.0.0.0/8\"] to left out",
    ),
    (
        "deny",
        NODES,
        "upstream = \"nodes\"\ndeny = [\"10.0.0.0/8\"]",
        "deny left out to [\"10.0.0.0/8\"]",
        "deny [\"10.0.0.0/8\"] to left out",
    ),
    (
        "split",
        "upstream = [{ name = \"nodes\" }, { name = \"others\" }]",
        "upstream = [{ name = \"nodes\" }, { name = \"others\" }]\nsplit = { cookie = \"c\" }",
        "+ split",
        "- split",
    ),
    ("mirror", NODES, "upstream = \"nodes\"\nmirror = \"others\"", "+ mirror", "- mirror"),
    (
        "upstream",
        "upstream = [{ name = \"nodes\" }, { name = \"others\" }]",
        NODES,
        "upstream nodes 1, others 1 to nodes",
        "upstream nodes to nodes 1, others 1",
    ),
    ("auth", NODES, "upstream = \"nodes\"\nauth = { users = \"u\" }", "+ auth", "- auth"),
    (
        "satisfy",
        "upstream = \"nodes\"\ndeny = [\"10.0.0.1\"]\nauth = { users = \"u\" }",
        "upstream = \"nodes\"\ndeny = [\"10.0.0.1\"]\nauth = { users = \"u\" }\nsatisfy = \"any\"",
        "satisfy all to any",
        "satisfy any to all",
    ),
    ("limit", NODES, "upstream = \"nodes\"\nlimit = { rate = \"1/s\" }", "+ limit", "- limit"),
    (
        "maintenance",
        NODES,
        "upstream = \"nodes\"\nmaintenance = true",
        "maintenance left out to true",
        "maintenance true to left out",
    ),
    (
        "error_pages",
        NODES,
        "upstream = \"nodes\"\nerror_pages = { 404 = { text = \"a\" } }",
        "+ error_pages",
        "- error_pages",
    ),
    (
        "intercept_errors",
        NODES,
        "upstream = \"nodes\"\nintercept_errors = true",
        "intercept_errors false to true",
        "intercept_errors true to false",
    ),
];
const NODES: &str = "upstream = \"nodes\"";

#[test]
fn each_key_that_differs_is_named() {
    let mut named = BTreeSet::new();
    for (key, old, new, there, back) in [TAKES, ANSWERS, EDITS].concat() {
        named.insert(key);
        let where_it_is = if key == "host" || old.contains("regex") || old.contains("exact") {
            ""
        } else {
            "path = \"/a\"\n"
        };
        let where_it_is = if key == "path" || key == "exact" { "" } else { where_it_is };
        let (old, new) = (plan_of(where_it_is, old), plan_of(where_it_is, new));
        for (from, to, said) in [(&old, &new, there), (&new, &old, back)] {
            let want = match said.contains("route") {
                true => said.to_owned(),
                false => format!("route 2 (path /a): {said}"),
            };
            assert_eq!(diff(from, to).to_string(), want, "{key}");
        }
    }
    assert_eq!(named, ROUTE.section.names().collect::<BTreeSet<_>>(), "each key has a row");
}

#[test]
fn what_is_said_of_many_routes_is_said_once() {
    let routes = |keys: &str| {
        let hosts = "host = [\"e.example\", \"d.example\", \"c.example\", \"b.example\", \"a.example\"]";
        format!("respond = 404\n{hosts}\n{keys}[[route]]\nrespond = 404\npath = \"/b\"\n{keys}")
    };
    let (old, new) = (plan_of("", &routes("")), plan_of("", &routes("access_log = false\n")));
    let said = "routes 2 (host a.example, b.example, c.example, d.example and 1 more, path /), 3 (path /b): access_log true to false";
    assert_eq!(diff(&old, &new).to_string(), said);
    let none = plan_of("", "respond = 404\npath = \"/b\"");
    let said = "route + 2 (host a.example, b.example, c.example, d.example and 1 more, path /)";
    assert_eq!(diff(&none, &old).to_string(), said);
}

#[test]
fn only_patterns_of_one_host_have_an_order() {
    let route = |host: &str, regex: &str| format!("respond = 404\nhost = \"{host}\"\nregex = '{regex}'\n");
    let plan = |one: &str, two: &str| plan_of("", &format!("{one}[[route]]\n{two}"));
    let (one, two) = (route("a.example", "/a.*"), route("a.example", "/.*"));
    let turned = "routes: those with `regex` are tried in another order";
    assert_eq!(diff(&plan(&one, &two), &plan(&two, &one)).to_string(), turned);
    let two = route("b.example", "/.*");
    assert_eq!(diff(&plan(&one, &two), &plan(&two, &one)).to_string(), "nothing changed");
}

#[test]
fn what_the_file_says_for_all_routes_is_said_of_the_file() {
    let file = |top: &str| plan(top, NODES);
    let closed = "maintenance = true\nmaintenance_allow = [\"10.0.0.0/8\"]";
    let said = "changed: maintenance false to true, maintenance_allow [] to [\"10.0.0.0/8\"]";
    assert_eq!(diff(&file(""), &file(closed)).to_string(), said);
}

#[test]
fn what_is_off_by_itself_may_be_said_to_be() {
    let said = "upstream = \"nodes\"\ncompress = false\nrequest_id = false\nstrip = false";
    assert_eq!(diff(&plan_of("", NODES), &plan_of("", said)).to_string(), "nothing changed");
}

fn plan_of(where_it_is: &str, keys: &str) -> Plan {
    plan("", &format!("{where_it_is}{keys}"))
}

fn plan(top: &str, route: &str) -> Plan {
    let file = format!(
        "{top}
        [[listen]]\naddress = \"[::1]:80\"
        [[listen]]\naddress = \"[::1]:81\"
        [[route]]\nhost = \"first.example\"\nupstream = \"nodes\"
        [[route]]\n{route}
        [upstream.nodes]\nnodes = [\"10.0.0.1:3000\"]
        [upstream.others]\nnodes = [\"10.0.0.2:3000\"]
        [error_pages]\n502 = {{ text = \"a\" }}"
    );
    parse(&file, Path::new("test.toml")).expect("a file without mistakes").plan
}
