//! The words of nginx, PM2, Caddy, Traefik, HAProxy and Docker Compose, with ours beside them: who writes one of them is
//! told what to write here. Tables; nothing here reads.

mod nginx;
mod others;
mod pm2;
mod row;
#[cfg(test)]
mod tests;

pub(crate) use self::row::Word;

/// The word of that name, whatever its case.
pub(crate) fn word(name: &str) -> Option<&'static Word> {
    let name = name.to_lowercase();
    words().find(|word| word.names.contains(&&*name))
}

/// The way to get what a value of another program means, under one of our keys: `balance = "least_conn"`.
pub(crate) fn value(key: &str, text: &str) -> Option<&'static str> {
    let text = text.to_lowercase().replace(['_', '-', ' '], "");
    let values = match key {
        "balance" => BALANCES,
        "sticky" => STICKIES,
        _ => return None,
    };
    values.iter().find(|(names, _)| names.contains(&&*text)).map(|(_, ours)| *ours)
}

/// The words of all of them.
fn words() -> impl Iterator<Item = &'static Word> {
    [nginx::WORDS, pm2::WORDS, others::WORDS].into_iter().flatten()
}

/// Other words for `balance`, without what is between their parts.
const BALANCES: &[(&[&str], &str)] = &[
    (&["leastconn", "leastrequest", "leasttime"], "balance = \"least-requests\""),
    (&["roundrobin", "wrr", "staticrr", "weightedroundrobin", "rr"], "balance = \"round-robin\""),
    (&["iphash", "source", "clientiphash"], "balance = \"hash:ip\""),
    (&["random", "randomchoose", "p2c", "poweroftwo"], "balance = \"random-two\""),
    (&["ewma", "peakewma"], "balance = \"peak-ewma\""),
    (&["hash", "header", "urlparam", "uri", "urihash", "queryhash"], "balance = \"hash:header:X-User\""),
];
/// And for `sticky`.
const STICKIES: &[(&[&str], &str)] = &[
    (&["iphash", "source", "clientip"], "sticky = \"ip\""),
    (&["true", "yes", "on", "socketio"], "sticky = \"auto\""),
    (&["false", "no", "off"], "sticky = \"none\""),
    (&["learn"], "sticky = \"engineio-learned\""),
];
