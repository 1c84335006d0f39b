//! What holds for all servers: workers, waits, bounds, logs, resolvers and trusted proxies.

use std::fmt::Write as _;

use super::logs;
use super::ours::{Left, comment, list};
use super::parse::Directive;
use super::pools::seconds;

/// Keys that stand above all tables, and the tables that stand below.
#[derive(Debug, Default)]
pub(super) struct Globals {
    pub(super) top: String,
    pub(super) tables: String,
    /// Some proxies are trusted.
    pub(super) trusts: bool,
}

/// Reads every directive of these names, wherever it stands. `body_bytes_max` is for `[limits]`.
pub(super) fn read(all: &[&Directive], body_bytes_max: &str, left: &mut Vec<Left>) -> Globals {
    let named = |name: &'static str| all.iter().copied().filter(move |directive| directive.name == name);
    let mut globals = Globals::default();
    let workers = named("worker_processes")
        .find_map(|directive| Some((directive, directive.arg().parse::<u32>().ok()?)));
    if let Some((directive, count)) = workers {
        let line = comment(&directive.at, &directive.text());
        let _ = write!(globals.top, "\n# {line}\nworkers = {}\n", count.clamp(1, 1024));
    }
    let trusted: Vec<&Directive> = named("set_real_ip_from").collect();
    if let Some(first) = trusted.first() {
        let mut from: Vec<&str> =
            trusted.iter().map(|directive| directive.arg()).filter(|arg| *arg != "unix:").collect();
        from.dedup();
        let line = comment(&first.at, &first.text());
        let _ = write!(globals.top, "\n# {line}\ntrusted_proxies = {}\n", list(&from));
        globals.trusts = !from.is_empty();
    }
    for directive in named("real_ip_header") {
        if !["x-forwarded-for", "x-real-ip", "cf-connecting-ip", "proxy_protocol"]
            .contains(&&*directive.arg().to_ascii_lowercase())
        {
            left.push(Left::of(
                directive,
                "clients are known by X-Forwarded-For",
                "let the proxy in front send it",
            ));
        }
    }
    let mut limits = format!(
        "# nginx's client_max_body_size, which is 1m where nothing says another.\nbody_bytes_max = {body_bytes_max}\n"
    );
    if let Some(count) = named("keepalive_requests").find_map(|one| one.arg().parse::<u64>().ok()) {
        let _ = writeln!(limits, "keepalive_requests = {}", count.clamp(1, 65_535));
    }
    let heads = named("large_client_header_buffers")
        .filter_map(|one| Some(one.arg().parse::<u64>().ok()?.saturating_mul(bytes(one.args.get(1)?)?)));
    if let Some(bytes) = heads.max() {
        let _ = writeln!(limits, "head_bytes_max = \"{}B\"", bytes.clamp(1024, 1 << 20));
    }
    let _ = write!(globals.tables, "\n[limits]\n{limits}");
    let longest = |names: &[&'static str], least: u64, most: u64| {
        let waits = names.iter().flat_map(|name| named(name)).filter_map(|one| seconds(one.arg()));
        waits.max().map(|seconds| seconds.clamp(least, most))
    };
    let waits = [
        ("head", longest(&["client_header_timeout"], 1, 300)),
        ("body", longest(&["client_body_timeout", "send_timeout"], 1, 3600)),
        ("idle", longest(&["keepalive_timeout"], 1, 3600)),
    ];
    if waits.iter().any(|(_, wait)| wait.is_some()) {
        globals.tables += "\n# The longest of all places that say one.\n[timeouts]\n";
    }
    for (key, wait) in waits {
        if let Some(seconds) = wait {
            let _ = writeln!(globals.tables, "{key} = \"{seconds}s\"");
        }
    }
    globals.tables += &resolver(&named("resolver").collect::<Vec<_>>(), left);
    globals.tables +=
        &logs::log(&named("access_log").collect::<Vec<_>>(), &named("log_format").collect::<Vec<_>>(), left);
    globals
}

fn resolver(said: &[&Directive], left: &mut Vec<Left>) -> String {
    let Some(first) = said.first() else { return String::new() };
    let (mut servers, mut ttl) = (Vec::new(), None);
    for arg in &first.args {
        let ip = arg.trim_matches(['[', ']']);
        let is_address =
            ip.parse::<std::net::IpAddr>().is_ok() || arg.parse::<std::net::SocketAddr>().is_ok();
        match arg.split_once('=') {
            Some(("valid", time)) => ttl = seconds(time),
            Some(_) => {}
            None if is_address => servers.push(arg.clone()),
            None => left.push(Left::of(
                first,
                "resolvers are addresses",
                "write the address, or leave it out, and the system's are asked",
            )),
        }
    }
    servers.truncate(8);
    let mut text = format!("\n# {}\n[resolver]\n", comment(&first.at, &first.text()));
    if !servers.is_empty() {
        let _ = writeln!(text, "nameservers = {}", list(&servers));
    }
    if let Some(seconds) = ttl {
        let _ = writeln!(text, "ttl_max = \"{}s\"", seconds.clamp(1, 86_400));
    }
    text
}

/// "10m", "1G", "512k", "100".
pub(super) fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let number: u64 = number.parse().ok()?;
    let shift = match unit {
        "" => 0,
        "k" | "K" => 10,
        "m" | "M" => 20,
        "g" | "G" => 30,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}
