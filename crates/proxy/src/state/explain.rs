//! Which route takes a request, for whoever asks beforehand: the same look-up as that of a request.

use config::plan::{PathRule, Plan};
use config::routing::Route;
use wire::HeadBounds;
use wire::path;
use wire::request::RequestHead;

use crate::state::route::{Asks, Routes};

/// A request that nobody has sent.
#[derive(Debug)]
pub struct Imagined<'a> {
    /// Without its port; empty for none.
    pub host: &'a str,
    /// As it would be sent, without the query.
    pub path: &'a str,
    /// In upper case, as methods are.
    pub method: &'a str,
    /// Of the listen that it comes in on.
    pub port: u16,
    /// What else it says.
    pub says: Says,
}

/// The header lines and the query of a request that nobody has sent.
#[derive(Debug)]
pub struct Says(RequestHead);

impl Says {
    /// Of `Name: value` each, and a query without its question mark; `None` if no request can say so.
    pub fn new(query: &str, lines: &[String]) -> Option<Self> {
        let query = query.bytes().map(|byte| match byte {
            b'!'..=b'~' => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        });
        let mut head = format!("GET /?{} HTTP/1.1\r\nHost: a\r\n", query.collect::<String>());
        for line in lines {
            let (name, value) = line.split_once(':')?;
            head += &format!("{}: {}\r\n", name.trim(), value.trim());
        }
        if lines.iter().any(|line| line.contains(['\r', '\n'])) {
            return None;
        }
        head += "\r\n";
        let bounds = HeadBounds {
            head_bytes_max: head.len(),
            target_bytes_max: head.len(),
            lines_max: HeadBounds::LINES_MAX,
        };
        RequestHead::parse(head.as_bytes(), &bounds).ok().map(Self)
    }
}

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// This place in [`Plan::routes`].
    By(usize),
    /// The route there takes no path that could mean several things, and answers 400.
    RefusedBy(usize),
    /// No route takes it: 404.
    ByNone,
}

impl Imagined<'_> {
    /// Which route a plan takes the request by, as the proxy would decide it.
    pub fn taken(&self, plan: &Plan) -> Taken {
        match Routes::new(&plan.routes).find(self.asks()) {
            Some(found) if plan.routes[found].paths == PathRule::Strict && self.is_ambiguous() => {
                Taken::RefusedBy(found)
            }
            Some(found) => Taken::By(found),
            None => Taken::ByNone,
        }
    }

    /// It would be the one, if there were no other route.
    pub fn fits(&self, route: &Route) -> bool {
        Routes::new(std::slice::from_ref(route)).find(self.asks()).is_some()
    }

    /// The path by which it is decided.
    pub fn normal_path(&self) -> String {
        String::from_utf8_lossy(&path::normal(self.path.as_bytes())).into_owned()
    }

    fn is_ambiguous(&self) -> bool {
        path::is_ambiguous(self.path.as_bytes())
    }

    fn asks(&self) -> Asks<'_> {
        let host = Some(self.host.as_bytes()).filter(|host| !host.is_empty());
        Asks {
            host,
            path: self.path.as_bytes(),
            method: self.method.as_bytes(),
            port: self.port,
            head: Some(&self.says.0),
        }
    }
}
