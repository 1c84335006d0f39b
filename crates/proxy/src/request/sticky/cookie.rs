//! The cookie that pins a client to a node: the node's pin and nothing else, so that it tells no address, and nobody
//! without the secret can make one. A pin that names no node of now is none at all. A node that sets a cookie of the same
//! name gets its own value back: the pin stands behind that on its way, as a tag does behind a session's id.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use config::plan::Sticky;
use wire::answer::AnswerHead;
use wire::cookie::{Lifetime, SameSite, SetCookie};
use wire::forward::{self, ClientEnd, LineEdits};
use wire::pin_names::PinNames;
use wire::request::RequestHead;
use wire::tag::Pin;

use crate::request::sticky::SentPin;
use crate::upstream::Upstream;
use crate::upstream::node::Node;

/// What an answer is, as far as a pin goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answered<'a> {
    pub(crate) asked: &'a RequestHead,
    /// The pin that the request came with.
    pub(crate) sent_pin: SentPin,
    pub(crate) answer: &'a AnswerHead,
    pub(crate) client: &'a ClientEnd,
    pub(crate) node: &'a Node,
    /// Whether the client's pin has chosen that node.
    pub(crate) was_pinned: bool,
    /// The session that it opens, as the node calls it; empty if it opens none.
    pub(crate) sid: &'a [u8],
    /// What the route changes on its way to the client.
    pub(crate) edits: Option<&'a LineEdits>,
}

/// What comes into an answer's head for the pin's sake.
#[derive(Debug)]
pub(crate) struct Pinning<'a> {
    names: &'a PinNames,
    pin: &'a Pin,
    /// The pin goes behind the values of the node's own cookies of our name, for it sets some.
    wraps: bool,
    /// For whom a cookie of ours is set, if one is, and the node's own value that it keeps.
    cookie: Option<(Scope<'a>, &'a [u8])>,
}

impl<'a> Answered<'a> {
    /// `None` where the client needs nothing, or where there is nothing to be had. Nearly all answers end here, by a look at
    /// two flags.
    pub(crate) fn pinning(&self, upstream: &'a Upstream) -> Option<Pinning<'a>> {
        let names = upstream.pin_names.as_deref()?;
        let is_auto = matches!(upstream.plan.sticky, Sticky::Auto(_));
        let sets_cookies = self.sets_cookies();
        match is_auto {
            true if !sets_cookies && !self.is_moved_along(upstream) => return None,
            false if self.answer.may_be_shared() => return None,
            true | false => {}
        }
        let set = if sets_cookies { self.read_set_cookies(names) } else { SetByNode::default() };
        let takes_pin_away = set.own == Own::TakenAway && self.is_pinned_here(upstream);
        let scope = match is_auto {
            true => self.scope_of_the_apps_own(&set, takes_pin_away, upstream),
            false if self.is_pinned_here(upstream) && !takes_pin_away => None,
            false => Some(self.scope_by_itself()),
        };
        let wraps = set.wraps && (!is_auto || upstream.has_several());
        let cookie = scope.and_then(|scope| match set.own {
            Own::Set { domain, is_for_all_paths: true } if domain == scope.domain => None,
            Own::Set { .. } | Own::TakenAway => Some((scope, &b""[..])),
            // Ours would else take its place.
            Own::Untouched => Some((scope, self.own_value(names, upstream))),
        });
        if !wraps && cookie.is_none() {
            return None;
        }
        let pin = upstream.member_of(self.node)?.seal.pin();
        Some(Pinning { names, pin, wraps, cookie })
    }

    /// What the node's Set-Cookie lines say, each read once.
    fn read_set_cookies(&self, names: &PinNames) -> SetByNode<'a> {
        let mut set = SetByNode::default();
        for line in self.answer.set_cookies() {
            let Some(cookie) = SetCookie::read(line) else { continue };
            let left = lifetime(&cookie, SystemTime::now);
            let is_deleted = is_deleted(&cookie, left);
            if names.has(cookie.name) {
                set.own = if is_deleted { Own::TakenAway } else { self.own_set_by(&cookie) };
                set.wraps |= !is_deleted;
            }
            if !is_deleted && self.is_the_apps(&cookie) {
                let scope = Scope::of(&cookie, left, || self.asked.host_name());
                set.widest = Some(scope.widened(set.widest));
                if cookie.is_http_only {
                    set.widest_hidden = Some(scope.widened(set.widest_hidden));
                }
            }
        }
        set
    }

    /// The node's own cookie of our name.
    fn own_set_by(&self, own: &SetCookie<'a>) -> Own<'a> {
        let asked = self.asked.path_bytes();
        // Without a path it is for the folder of the page (RFC 6265 section 5.1.4).
        let is_at_top = || memchr::memrchr(b'/', asked) == Some(0);
        let is_mounted = self.edits.is_some_and(LineEdits::is_mounting);
        let is_for_all_paths = !is_mounted && own.path.map_or_else(is_at_top, |path| path == b"/");
        Own::Set { domain: own.domain, is_for_all_paths }
    }

    /// In `"auto"` the pin lives as long as what the app keeps, for the same hosts.
    fn scope_of_the_apps_own(
        &self,
        set: &SetByNode<'a>,
        takes_pin_away: bool,
        upstream: &Upstream,
    ) -> Option<Scope<'a>> {
        let Some(scope) = set.widest_hidden.or(set.widest) else {
            let is_needed = takes_pin_away || self.is_moved_along(upstream);
            return is_needed.then(|| self.scope_by_itself());
        };
        if !upstream.has_several() {
            return None;
        }
        upstream.oddities.sets_cookies(&upstream.plan.name);
        // A rolling session must not outlive its pin.
        let is_needed = scope.lifetime.is_some() || takes_pin_away || !self.is_pinned_here(upstream);
        is_needed.then_some(scope)
    }

    /// Whether the answer sets any cookie that the route lets through.
    fn sets_cookies(&self) -> bool {
        self.answer.sets_cookies() && !self.edits.is_some_and(|edits| edits.drops(b"set-cookie"))
    }

    /// Whether it is a cookie of the app, and not Engine.IO's own, whose value is the session's id.
    fn is_the_apps(&self, cookie: &SetCookie<'_>) -> bool {
        let opens = self.asked.engine_io().is_some() && cookie.name == b"io";
        !opens && (self.sid.is_empty() || cookie.value != self.sid)
    }

    fn is_pinned_here(&self, upstream: &Upstream) -> bool {
        self.was_pinned || self.sent_pin.index().is_some_and(|index| self.is_here(upstream, index))
    }

    /// Whether the node that the client is pinned to leaves, so that another one has answered: then the pin goes
    /// along. One that is down for a moment keeps its clients.
    fn is_moved_along(&self, upstream: &Upstream) -> bool {
        !self.was_pinned
            && self.sent_pin.index().is_some_and(|index| {
                !self.is_here(upstream, index) && upstream.members[index].node.is_draining()
            })
    }

    fn is_here(&self, upstream: &Upstream, index: usize) -> bool {
        std::ptr::eq(Arc::as_ptr(&upstream.members[index].node), self.node)
    }

    /// A page of another site may be a client too, which SameSite=None allows, but browsers take that only with Secure.
    fn scope_by_itself(&self) -> Scope<'a> {
        let is_secure = self.client.is_https(self.asked);
        let same_site = if is_secure { SameSite::None } else { SameSite::Lax };
        Scope { lifetime: None, domain: None, is_secure, is_partitioned: false, same_site }
    }

    /// The node's own value in the cookie of our name that the request came with; empty if there is none. Without a pin it can
    /// be one where the file gives the name: it was set before there were several nodes, or with an answer that anybody may
    /// keep.
    fn own_value(&self, names: &'a PinNames, upstream: &Upstream) -> &'a [u8] {
        if !self.sent_pin.is_named() {
            return b"";
        }
        let is_given = matches!(upstream.plan.sticky, Sticky::Auto(Some(_)) | Sticky::Cookie(Some(_)));
        let cookies = names.of_request(self.asked).filter(|cookie| cookie.key == Some(0));
        let mut own = cookies.filter_map(|cookie| match cookie.split() {
            Some((own, _)) => Some(own),
            None => is_given.then_some(cookie.value),
        });
        own.find(|own| !own.is_empty()).unwrap_or_default()
    }
}

impl Pinning<'_> {
    /// The pin that goes behind the values of the node's own cookies of our name.
    pub(crate) fn wrapped(&self) -> Option<&Pin> {
        self.wraps.then_some(self.pin)
    }

    /// Whether the pin goes behind the value of the cookie that this Set-Cookie line sets. One that deletes the
    /// cookie deletes the pin with it.
    pub(crate) fn wraps(&self, line: &[u8]) -> bool {
        SetCookie::read(line).is_some_and(|cookie| {
            self.names.has(cookie.name) && !is_deleted(&cookie, lifetime(&cookie, SystemTime::now))
        })
    }

    /// Adds our own Set-Cookie line to a head that has been printed. Whether there is one.
    pub(crate) fn add_cookie(&self, out: &mut Vec<u8>) -> bool {
        let Some((scope, own)) = &self.cookie else { return false };
        forward::add_line(out, "Set-Cookie", |out| scope.print(self.names.first(), own, self.pin, out));
        true
    }
}

/// What the node's own Set-Cookie lines come to.
#[derive(Debug, Default)]
struct SetByNode<'a> {
    own: Own<'a>,
    /// It sets one of our name, and does not take it away.
    wraps: bool,
    /// Wherever and whenever one of the app's cookies is sent.
    widest: Option<Scope<'a>>,
    /// The same for those that scripts do not see, among which the login is.
    widest_hidden: Option<Scope<'a>>,
}

/// What an answer makes of the node's own cookie of our name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Own<'a> {
    /// Nothing.
    #[default]
    Untouched,
    TakenAway,
    /// For these hosts; to a browser those for other paths are other cookies.
    Set {
        domain: Option<&'a [u8]>,
        is_for_all_paths: bool,
    },
}

/// For how long a pin is set, and for whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Scope<'a> {
    /// `None` is as long as the browser lives.
    lifetime: Option<Duration>,
    domain: Option<&'a [u8]>,
    is_secure: bool,
    is_partitioned: bool,
    same_site: SameSite,
}

impl<'a> Scope<'a> {
    /// That of a cookie with so much time left. A domain that is not one of the host's is none to a browser.
    fn of<'h>(cookie: &SetCookie<'a>, left: Option<Duration>, host: impl Fn() -> Option<&'h [u8]>) -> Self {
        let covers = |domain: &&[u8]| {
            let host = host().unwrap_or_default();
            let at = host.len().checked_sub(domain.len());
            at.is_some_and(|at| host[at..].eq_ignore_ascii_case(domain) && (at == 0 || host[at - 1] == b'.'))
        };
        Self {
            lifetime: left,
            domain: cookie.domain.filter(covers),
            is_secure: cookie.is_secure,
            is_partitioned: cookie.is_partitioned,
            same_site: cookie.same_site,
        }
    }

    /// Wherever and whenever a cookie of either is sent.
    fn widened(self, other: Option<Self>) -> Self {
        let Some(other) = other else { return self };
        let domains = [self.domain, other.domain].into_iter().flatten();
        Self {
            lifetime: self.lifetime.max(other.lifetime),
            domain: domains.min_by_key(|domain| domain.len()),
            is_secure: self.is_secure && other.is_secure,
            is_partitioned: self.is_partitioned && other.is_partitioned,
            same_site: self.same_site.max(other.same_site),
        }
    }

    /// `own` is the node's own value, which the cookie keeps.
    fn print(&self, name: [&[u8]; 2], own: &[u8], pin: &Pin, out: &mut Vec<u8>) {
        out.extend_from_slice(name[0]);
        out.extend_from_slice(name[1]);
        out.push(b'=');
        if !own.is_empty() {
            out.extend_from_slice(own);
            out.push(Pin::MARK);
        }
        out.extend_from_slice(pin.as_bytes());
        out.extend_from_slice(b"; Path=/; HttpOnly");
        if let Some(lifetime) = self.lifetime {
            out.extend_from_slice(b"; Max-Age=");
            out.extend_from_slice(itoa::Buffer::new().format(lifetime.as_secs()).as_bytes());
        }
        if let Some(domain) = self.domain {
            out.extend_from_slice(b"; Domain=");
            out.extend_from_slice(domain);
        }
        if self.is_secure {
            out.extend_from_slice(b"; Secure");
        }
        // Browsers take None only with Secure.
        let same_site = if self.is_secure { self.same_site } else { self.same_site.min(SameSite::Lax) };
        out.extend_from_slice(match same_site {
            SameSite::Strict => b"; SameSite=Strict",
            SameSite::Lax => b"; SameSite=Lax".as_slice(),
            SameSite::None => b"; SameSite=None",
        });
        if self.is_partitioned {
            out.extend_from_slice(b"; Partitioned");
        }
    }
}

/// How long a cookie lives from now on; `None` if as long as the browser does, which a date that cannot be read
/// means as well.
fn lifetime(cookie: &SetCookie<'_>, now: impl Fn() -> SystemTime) -> Option<Duration> {
    match cookie.lifetime {
        Lifetime::Session => None,
        Lifetime::Seconds(seconds) => Some(Duration::from_secs(seconds.max(0).unsigned_abs())),
        Lifetime::Until(date) => {
            let date = httpdate::parse_http_date(std::str::from_utf8(date).ok()?).ok()?;
            Some(date.duration_since(now()).unwrap_or_default())
        }
    }
}

/// `Max-Age=0`, or a date that is past: a cookie that is taken away needs no pin.
fn is_deleted(cookie: &SetCookie<'_>, left: Option<Duration>) -> bool {
    match (cookie.lifetime, left) {
        _ if cookie.value.is_empty() => true,
        (_, Some(left)) => left.is_zero(),
        // Some write dates of 1970 in forms that nobody else reads.
        (Lifetime::Until(date), None) => date.windows(4).any(|year| year == b"1970"),
        (Lifetime::Session | Lifetime::Seconds(_), None) => false,
    }
}

#[cfg(test)]
mod tests {
    use wire::tag::Key;

    use super::*;

    /// The attributes of the pin beside cookies that the app sets, for chat.example.com.
    fn check(cookies: &[&'static str], want: &str) {
        let read: Vec<_> = cookies.iter().filter_map(|line| SetCookie::read(line.as_bytes())).collect();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000);
        let scope_of = |cookie: &SetCookie<'static>| {
            Scope::of(cookie, lifetime(cookie, || now), || Some(b"chat.example.com"))
        };
        let scope = read.iter().map(scope_of).fold(None, |widest, scope| Some(scope.widened(widest)));
        let pin = *Key::new(b"x").seal("y").pin();
        let mut printed = Vec::new();
        scope.expect("a cookie").print([b"n", b""], b"", &pin, &mut printed);
        let printed = String::from_utf8(printed).expect("text");
        let (_, attributes) = printed.split_once("; Path=/; HttpOnly").expect("always");
        assert_eq!(attributes, want, "{cookies:?}");
    }

    #[test]
    fn a_pin_is_sent_wherever_the_apps_cookie_is() {
        check(&["connect.sid=x; Path=/; HttpOnly"], "; SameSite=Lax");
        check(&["a=x; Max-Age=60", "b=x; Max-Age=3600"], "; Max-Age=3600; SameSite=Lax");
        check(&["a=x; Expires=Mon, 21 Sep 2026 15:13:20 GMT"], "; Max-Age=3600; SameSite=Lax");
        check(
            &["a=x; Domain=chat.example.com", "b=x; Domain=.example.com"],
            "; Domain=example.com; SameSite=Lax",
        );
        check(&["a=x; Domain=other.com", "b=x; Domain=ample.com"], "; SameSite=Lax");
        check(&["a=x; Secure; SameSite=None", "b=x; Secure; SameSite=Strict"], "; Secure; SameSite=None");
        check(&["a=x; Secure; SameSite=None", "b=x"], "; SameSite=Lax");
        check(&["a=x; SameSite=Strict"], "; SameSite=Strict");
        check(&["a=x; Secure; Partitioned; SameSite=None"], "; Secure; SameSite=None; Partitioned");
    }

    #[test]
    fn what_takes_a_cookie_away_sets_none() {
        let now = || SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000);
        let is_gone = |line: &str| {
            let cookie = SetCookie::read(line.as_bytes()).expect("a cookie");
            is_deleted(&cookie, lifetime(&cookie, now))
        };
        for gone in [
            "a=; Path=/",
            "a=x; Max-Age=0",
            "a=x; Max-Age=-1",
            "a=x; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
            "a=x; Expires=Thu, 01-Jan-1970 00:00:00 GMT",
            "a=x; Expires=Wed, 21 Oct 2015 07:28:00 GMT",
        ] {
            assert!(is_gone(gone), "{gone}");
        }
        for set in ["a=x", "a=x; Max-Age=1", "a=x; Expires=Wed, 21 Oct 2099 07:28:00 GMT"] {
            assert!(!is_gone(set), "{set}");
        }
    }
}
