//! `access_log` and `log_format`.

use std::fmt::Write as _;

use config::plan::LineFormat;

use super::ours::{Left, comment};
use super::parse::Directive;
use crate::quote::quoted;

/// `[log]`, from all that is said of logs anywhere.
pub(super) fn log(said: &[&Directive], formats: &[&Directive], left: &mut Vec<Left>) -> String {
    let on: Vec<&Directive> = said.iter().copied().filter(|directive| directive.arg() != "off").collect();
    let Some(first) = on.first() else {
        let is_off = !said.is_empty() && said.iter().all(|one| one.arg() == "off");
        return if is_off { String::new() } else { "\n[log]\nformat = \"combined\"\n".to_owned() };
    };
    let mut text = format!("\n# {}\n[log]\n", comment(&first.at, &first.text()));
    if let Some(said) = first.arg().strip_prefix("syslog:") {
        let socket = said.split(',').find_map(|part| part.strip_prefix("server=unix:"));
        match socket {
            Some("/dev/log") => text += "access = \"syslog\"\n",
            Some(path) => {
                let _ = writeln!(text, "access = {}", quoted(&format!("syslog:{path}")));
            }
            None => left.push(Left::of(
                first,
                "the log goes to standard output, a file or the syslog of this machine",
                "write `access = \"syslog\"`, and let that pass it on",
            )),
        }
    } else if !["/dev/stdout", "/dev/stderr"].contains(&first.arg()) {
        let _ = writeln!(text, "access = {}", quoted(first.arg()));
    }
    if on.iter().any(|one| one.arg() != first.arg()) {
        text +=
            "# One file has the requests of all servers; `host` in each line of \"json\" tells them apart.\n";
    }
    for other in on.iter().filter(|one| format_name(one) != format_name(first)) {
        left.push(Left::of(
            other,
            "all lines of the access log look alike",
            "the format of the first one is taken",
        ));
    }
    let format = formats.iter().find(|format| format.arg() == format_name(first));
    text + &format.map_or_else(|| COMBINED.to_owned(), |format| of_format(format, left))
}

fn format_name(access_log: &Directive) -> &str {
    let name = access_log.args.get(1).filter(|arg| !arg.contains('='));
    name.map_or("combined", String::as_str)
}

/// What nginx's format is as ours. What is not known here stands as nginx writes what is not there.
fn of_format(directive: &Directive, left: &mut Vec<Left>) -> String {
    let mut pieces = &directive.args[1..];
    let mut escape = "default";
    if let [first, rest @ ..] = pieces
        && let Some(said) = first.strip_prefix("escape=")
    {
        (escape, pieces) = (if said == "json" { "json" } else { "default" }, rest);
        if said == "none" {
            left.push(Left::of(
                directive,
                "clients could write lines of their own",
                "what they send is escaped as by `escape=default`",
            ));
        }
    }
    let mut written = pieces.concat();
    while let Err(wrong) = LineFormat::read(&written) {
        let name = written[wrong.at.clone()].to_owned();
        left.push(Left::of(directive, &format!("{name}: {}", wrong.message), &wrong.hint));
        let is_quoted = written[..wrong.at.start].ends_with('"') && written[wrong.at.end..].starts_with('"');
        let nothing = match (escape, is_quoted) {
            ("json", true) => "",
            ("json", false) => "null",
            _ => "-",
        };
        written.replace_range(wrong.at, nothing);
    }
    if escape == "default" && written == LineFormat::combined().written() {
        return COMBINED.to_owned();
    }
    if !written.contains('$') {
        return COMBINED.to_owned();
    }
    let escape = if escape == "json" { "escape = \"json\"\n" } else { "" };
    format!("format = {}\n{escape}", quoted(&written))
}

const COMBINED: &str = "format = \"combined\"\n";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nginx::parse;

    fn check(file: &str, want: &str, want_left: &[&str]) {
        let mut left = Vec::new();
        let read = parse::parse(file, &"f".into()).expect("a file");
        let named = |name: &str| read.iter().filter(|one| one.name == name).collect::<Vec<_>>();
        let text = log(&named("access_log"), &named("log_format"), &mut left);
        let keys: Vec<&str> =
            text.lines().filter(|line| line.contains(" = ") && !line.starts_with('#')).collect();
        assert_eq!(keys.join("\n"), want, "{file}");
        let left: Vec<&str> = left.iter().map(|left| &*left.why).collect();
        assert_eq!(left, want_left, "{file}");
    }

    #[test]
    fn formats_move() {
        check("", "format = \"combined\"", &[]);
        check("access_log /a.log;", "access = \"/a.log\"\nformat = \"combined\"", &[]);
        check(
            "log_format m '$remote_addr - $remote_user [$time_local] \"$request\" ' '$status $body_bytes_sent \"$http_referer\" ' '\"$http_user_agent\"'; access_log /a.log m;",
            "access = \"/a.log\"\nformat = \"combined\"",
            &[],
        );
        check(
            "access_log syslog:server=unix:/dev/log,tag=a;",
            "access = \"syslog\"\nformat = \"combined\"",
            &[],
        );
        check(
            "access_log syslog:server=10.0.0.1:514;",
            "format = \"combined\"",
            &["the log goes to standard output, a file or the syslog of this machine"],
        );
        check(
            "log_format t '$remote_addr \"$request\" ${status}s ' '$request_time'; access_log /dev/stdout t;",
            "format = \"$remote_addr \\\"$request\\\" $${status}s $request_time\"",
            &[],
        );
        check(
            "log_format j escape=json '{\"a\":\"$host\",\"c\":$connection,\"m\":\"$mine\"}'; access_log /a.log j;",
            "access = \"/a.log\"\nformat = \"{\\\"a\\\":\\\"$host\\\",\\\"c\\\":null,\\\"m\\\":\\\"\\\"}\"\nescape = \"json\"",
            &["$connection: `$connection` is not known here", "$mine: `$mine` is not known here"],
        );
        check(
            "log_format n escape=none '$uri $pipe'; access_log /a.log n; access_log /b.log;",
            "access = \"/a.log\"\nformat = \"$uri -\"",
            &[
                "all lines of the access log look alike",
                "clients could write lines of their own",
                "$pipe: `$pipe` is not known here",
            ],
        );
    }
}
