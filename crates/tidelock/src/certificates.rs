//! The certificates as a person reads of them in `tidelock status`. Pure.

use std::fmt::Write;

use admin::api::Certificate;

/// A line for each of them; nothing if there are none. `now_s` is the time in seconds since 1970.
pub(crate) fn of(certificates: &[Certificate], now_s: i64) -> String {
    let mut text = String::new();
    for certificate in certificates {
        if text.is_empty() {
            text.push('\n');
        }
        let names = match certificate.names.as_slice() {
            [] => certificate.file.display().to_string(),
            [first, second, third, rest @ ..] if !rest.is_empty() => {
                format!("{first}, {second}, {third} and {} more", rest.len())
            }
            names => names.join(", "),
        };
        // Writing to a string cannot fail.
        let _ = match &certificate.fault {
            Some(fault) => write!(text, "certificate {names}: FAULT: {fault}"),
            None => {
                let (left, issuer) = (certificate.days_left, &certificate.issuer);
                let days = if left == 1 { "day" } else { "days" };
                write!(text, "certificate {names}: {left} {days} left, from {issuer}")
            }
        };
        if let Some(next) = certificate.next_attempt {
            let _ = write!(text, ", next attempt {}", when(next - now_s));
        }
        if let Some(error) = &certificate.last_error {
            let _ = write!(text, "; the last one failed: {error}");
        }
        text.push('\n');
    }
    text
}

/// In so many seconds, for people.
fn when(in_s: i64) -> String {
    let (count, unit) = match in_s {
        ..=0 => return "now".to_owned(),
        1..120 => (in_s, "s"),
        120..7200 => (in_s / 60, "min"),
        7200..172_800 => (in_s / 3600, "h"),
        _ => (in_s / 86_400, "days"),
    };
    format!("in {count} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_line() {
        let certificate = |names: &[&str], days_left, fault: Option<&str>| Certificate {
            names: names.iter().map(|&name| name.to_owned()).collect(),
            issuer: "Let's Encrypt".to_owned(),
            file: "/etc/a.pem".into(),
            not_after: 0,
            days_left,
            fault: fault.map(str::to_owned),
            next_attempt: None,
            last_error: None,
        };
        let all = [
            certificate(&["a.example", "*.a.example"], 61, None),
            certificate(&["b", "c", "d", "e", "f"], 1, None),
            certificate(&["g"], -3, Some("expired 3 days ago; renew it")),
            certificate(&[], 0, Some("/etc/a.key: is not the key of /etc/a.pem")),
            Certificate { next_attempt: Some(1000 + 30 * 86_400), ..certificate(&["h"], 60, None) },
            Certificate {
                next_attempt: Some(1300),
                last_error: Some("the authority refuses: no such name".to_owned()),
                ..certificate(&["i"], 0, Some("there is none yet"))
            },
        ];
        let want = "
certificate a.example, *.a.example: 61 days left, from Let's Encrypt
certificate b, c, d and 2 more: 1 day left, from Let's Encrypt
certificate g: FAULT: expired 3 days ago; renew it
certificate /etc/a.pem: FAULT: /etc/a.key: is not the key of /etc/a.pem
certificate h: 60 days left, from Let's Encrypt, next attempt in 30 days
certificate i: FAULT: there is none yet, next attempt in 5 min; the last one failed: the authority refuses: no such name
";
        assert_eq!(of(&all, 1000), want);
        assert_eq!(of(&[], 1000), "");
    }
}
