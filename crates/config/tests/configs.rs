//! The files in `configs/`: each loads, `full.toml` says every key and every default, and the schema is current.

use std::path::{Path, PathBuf};

use serde_json::Value as Json;
use tidelock_config::app::{App, Instances, ReadyWhen};
use tidelock_config::plan::{NodeHost, Plan, Scheme};
use tidelock_config::routing::HostPattern;
use tidelock_config::{parse, schema};

#[test]
fn every_file_loads() {
    let mut files = 0;
    for entry in std::fs::read_dir(folder()).expect("the folder is in the repository") {
        let path = entry.expect("a readable folder").path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            plan_of(&text_of(&path));
            files += 1;
        }
    }
    assert!(files >= 5, "{files}");
}

#[test]
fn upstreams_is_the_article() {
    let plan = plan_of(&text_of(&folder().join("upstreams.toml")));
    assert_eq!(plan.listens[0].address.to_string(), "[::]:80");
    assert_eq!(plan.listens[0].scheme, Scheme::Plain);
    assert_eq!(plan.routes[0].host, HostPattern::Exact("api.example.com".to_owned()));
    let upstream = &plan.upstreams[plan.routes[0].action.upstream().expect("nodes answer").0];
    assert_eq!(upstream.name, "nodes");
    let hosts: Vec<&NodeHost> = upstream.nodes.iter().map(|node| &node.host).collect();
    let name = |n: u8| NodeHost::Name(format!("server{n}.example.com"));
    assert_eq!(hosts, [&name(1), &name(2), &name(3)]);
}

#[test]
fn full_says_the_defaults() {
    let least = r#"
        [[listen]]
        address = ":443"
        [[listen]]
        address = ":80"
        [[route]]
        upstream = "nodes"
        [upstream.nodes]
        nodes = ["server1.example.com:3000", "server2.example.com:3000", "https://server3.example.com"]
    "#;
    let mut plan = plan_of(&full());
    // The others show what a route can say, and the other upstream is one of theirs.
    plan.routes.retain(|route| route.number == 1);
    plan.upstreams.truncate(1);
    plan.route_tables.truncate(1);
    assert_eq!(plan, plan_of(least));
}

#[test]
fn full_says_the_defaults_of_an_app() {
    let least = r#"
        [[listen]]
        address = ":80"
        [[route]]
        upstream = "nodes"
        [upstream.nodes]
        app = "chat"
        [app.chat]
        command = "node index.js"
    "#;
    let App { env_file, user, group, ports, ready, memory_max, cron, watch, .. } = app_of(least);
    // What has no default is there, with another value.
    let full = app_of(&uncommented());
    assert!([&full.user, &full.group, &full.cron].iter().all(|said| said.is_some()), "{full:?}");
    assert!(
        full.env_file.is_some() && full.ports.is_some() && full.memory_max.is_some() && full.watch.is_some()
    );
    assert_ne!(full.ready.when, ready.when);
    let defaults =
        App { env_file, user, group, ports, memory_max, cron, watch, ready: ready.clone(), ..full.clone() };
    assert_eq!(defaults, app_of(least));
    assert_eq!(full.ready.deadline, ready.deadline);
}

#[test]
fn apps_is_the_article_without_pm2() {
    let plan = plan_of(&text_of(&folder().join("apps.toml")));
    let app = &plan.apps[0];
    assert_eq!(
        plan.upstreams[plan.routes[0].action.upstream().expect("nodes answer").0].app.as_ref(),
        Some(&app.name)
    );
    assert_eq!(app.argv(), ["node", "index.js"]);
    assert_eq!(app.instances, Instances::Max);
    assert_eq!(app.ready.when, ReadyWhen::Port);
    let worker = &plan.apps[1];
    assert_eq!(worker.ready.when, ReadyWhen::Running, "no upstream uses it");
}

#[test]
fn full_says_every_key() {
    let schema: Json = serde_json::from_str(&schema::schema()).expect("JSON");
    let file: toml::Table = toml::from_str(&uncommented()).expect("TOML");
    let file = serde_json::to_value(file).expect("no dates in it");
    assert_eq!(unsaid(&schema, &[&file], "full.toml"), [""; 0]);
}

#[test]
fn what_full_leaves_in_comments_loads_too() {
    let plan = plan_of(&uncommented());
    assert_eq!(plan.workers.map(Into::into), Some(4));
    assert_eq!(plan.listens[1].scheme, Scheme::RedirectToHttps { port: None });
}

#[test]
fn the_schema_is_current() {
    let path = folder().join("schema.json");
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(&path, schema::schema()).expect("a writable folder");
    }
    // The order of its members depends on who else uses serde_json in the same build.
    let current: Json = serde_json::from_str(&text_of(&path)).expect("JSON");
    let generated: Json = serde_json::from_str(&schema::schema()).expect("JSON");
    assert!(current == generated, "run this test again with UPDATE_SCHEMA=1");
}

/// The keys of `schema` that none of `values` has, with the path to each.
fn unsaid(schema: &Json, values: &[&Json], path: &str) -> Vec<String> {
    if let Some(items) = schema.get("items") {
        let elements: Vec<&Json> = values.iter().filter_map(|value| value.as_array()).flatten().collect();
        return unsaid(items, &elements, path);
    }
    if let Some(any) = schema.get("additionalProperties").filter(|any| any.is_object()) {
        let members: Vec<&Json> = values
            .iter()
            .filter_map(|value| value.as_object())
            .flat_map(|members| members.values())
            .collect();
        return unsaid(any, &members, path);
    }
    if let Some(ways) = schema.get("oneOf").or_else(|| schema.get("anyOf")).and_then(Json::as_array) {
        // One of the ways to write it is enough.
        return ways.iter().map(|way| unsaid(way, values, path)).min_by_key(Vec::len).unwrap_or_default();
    }
    let Some(properties) = schema.get("properties").and_then(Json::as_object) else { return Vec::new() };
    properties
        .iter()
        .flat_map(|(name, schema)| {
            let values: Vec<&Json> = values.iter().filter_map(|value| value.get(name)).collect();
            let path = format!("{path}: {name}");
            if values.is_empty() { vec![path] } else { unsaid(schema, &values, &path) }
        })
        .collect()
}

/// `full.toml` with the keys that it leaves in comments, which have no space after the `#`.
fn uncommented() -> String {
    let lines: Vec<String> = full()
        .lines()
        // Without an "http" probe there is no status to speak of.
        .map(|line| if line == "probe = \"none\"" { "probe = \"http\"" } else { line })
        .map(|line| match line.strip_prefix('#') {
            Some(key) if key.starts_with(|first: char| first.is_ascii_lowercase() || first == '[') => {
                key.to_owned()
            }
            _ => line.to_owned(),
        })
        .collect();
    lines.join("\n")
}

fn app_of(text: &str) -> App {
    App::clone(&plan_of(text).apps[0])
}

fn full() -> String {
    text_of(&folder().join("full.toml"))
}

fn plan_of(text: &str) -> Plan {
    parse(text, Path::new("test.toml")).expect("a file without mistakes").plan
}

fn text_of(path: &Path) -> String {
    std::fs::read_to_string(path).expect("a readable file")
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs")
}
