//! The cookie that pins a client to a node: the node's pin and nothing else, so that it tells no address, and nobody
//! without the secret can make one. A pin that names no node of now is none at all. A node that sets a cookie of the same
//! name gets its own value back: the pin stands behind that on its way, as a tag does behind a session's id.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use config::plan::Sticky;
use wire::answer::AnswerHead;
use wire::cookie::{self, Lifetime, SameSite, SetCookie};
use wire::forward::{ClientEnd, LineEdits};
use wire::request::RequestHead;
use wire::tag::Pin;

use crate::upstream::Upstream;
use crate::upstream::node::Node;

/// The index of the member that the request's cookie names. Of several cookies the first that proves something counts.
pub(crate) fn pinned(head: &RequestHead, upstream: &Upstream) -> Option<usize> {
    if !head.has_cookies() {
        return None;
    }
    upstream.cookies.iter().find_map(|name| {
        let pins = cookie::all(head, name.as_bytes()).filter(|(rest, _)| rest.is_empty());
        pins.filter_map(|(_, value)| Pin::split(value)).find_map(|(_, pin)| upstream.by_pin(&pin))
    })
}

/// The same for a request that comes with cookies. A pin that proves nothing is counted.
pub(crate) fn pinned_or_counted(head: &RequestHead, upstream: &Upstream) -> Option<usize> {
    let found = pinned(head, upstream);
    if found.is_none() {
        count_unproven(head, upstream);
    }
    found
}

/// A pin in a cookie whose name tells another key than ours is of another secret. One under a key of ours is of a node that
/// is gone, such as a process that was replaced, or forged; where the file gives the name it tells no key.
fn count_unproven(head: &RequestHead, upstream: &Upstream) {
    let Some(own) = upstream.cookies.first().map(|name| name.as_bytes()) else { return };
    let tells_key = matches!(upstream.plan.sticky, Sticky::Auto(None) | Sticky::Cookie(None));
    let key_bytes = if tells_key { KEY_NAME_BYTES } else { 0 };
    let Some(prefix) = own.len().checked_sub(key_bytes).map(|end| &own[..end]) else { return };
    let mut pins = cookie::all(head, prefix)
        .filter(|(rest, value)| rest.len() == key_bytes && Pin::split(value).is_some());
    let Some((key, _)) = pins.next() else { return };
    let is_own_key = tells_key && upstream.cookies.iter().any(|name| name.as_bytes().ends_with(key));
    if is_own_key {
        upstream.oddities.outlived();
    } else {
        upstream.oddities.unverifiable(&upstream.plan.name);
    }
}

/// What an answer is, as far as a pin goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answered<'a> {
    pub(crate) asked: &'a RequestHead,
    pub(crate) answer: &'a AnswerHead,
    pub(crate) client: &'a ClientEnd,
    pub(crate) node: &'a Node,
    /// The session that it opens, as the node calls it; empty if it opens none.
    pub(crate) sid: &'a [u8],
    /// What the route changes on its way to the client.
    pub(crate) edits: Option<&'a LineEdits>,
}

impl Answered<'_> {
    /// The value of the Set-Cookie line that is added to it; `None` where the client needs none, or where there is none to be
    /// had.
    pub(crate) fn pin(&self, upstream: &Upstream) -> Option<Vec<u8>> {
        let name = upstream.cookies.first()?;
        let scope = match &upstream.plan.sticky {
            Sticky::Auto(_) if !self.sets_cookies() && !self.asked.has_cookies() => return None,
            Sticky::Auto(_) => self.scope_of_the_apps_own(upstream)?,
            _ if self.answer.may_be_shared() => return None,
            _ if self.is_pinned_here(upstream) && !self.takes_pin_away(upstream) => return None,
            _ => self.scope_by_itself(),
        };
        let own = if self.sets_cookies() { self.own_of_our_name(upstream) } else { Own::Untouched };
        let pin = upstream.member_of(self.node)?.seal.pin();
        match own {
            Own::Set { domain, is_for_all_paths: true } if domain == scope.domain.as_deref() => None,
            Own::Set { .. } | Own::TakenAway => Some(scope.print(name, b"", pin)),
            // Ours would else take its place.
            Own::Untouched => Some(scope.print(name, own_value(self.asked, upstream), pin)),
        }
    }

    /// The pin that goes behind the values of the node's own cookies of our name, if this answer sets any cookies.
    pub(crate) fn wrapping<'u>(&self, upstream: &'u Upstream) -> Option<&'u Pin> {
        if !self.sets_cookies() || upstream.cookies.is_empty() {
            return None;
        }
        let is_wanted = match &upstream.plan.sticky {
            Sticky::Auto(_) => upstream.has_several(),
            _ => !self.answer.may_be_shared(),
        };
        upstream.member_of(self.node).filter(|_| is_wanted).map(|member| member.seal.pin())
    }

    /// What the answer makes of the node's own cookie of our name.
    fn own_of_our_name<'s>(&'s self, upstream: &Upstream) -> Own<'s> {
        let cookies = self.answer.set_cookies().filter_map(SetCookie::read);
        let Some(own) = cookies.filter(|cookie| is_ours_by_name(cookie, upstream)).last() else {
            return Own::Untouched;
        };
        if is_deleted(&own, SystemTime::now) {
            return Own::TakenAway;
        }
        let asked = self.asked.path_bytes();
        // Without a path it is for the folder of the page (RFC 6265 section 5.1.4).
        let is_at_top = || memchr::memrchr(b'/', asked) == Some(0);
        let is_mounted = self.edits.is_some_and(LineEdits::is_mounting);
        let is_for_all_paths = !is_mounted && own.path.map_or_else(is_at_top, |path| path == b"/");
        Own::Set { domain: own.domain, is_for_all_paths }
    }

    /// In `"auto"` the pin lives as long as what the app keeps, for the same hosts.
    fn scope_of_the_apps_own(&self, upstream: &Upstream) -> Option<Scope> {
        let now = SystemTime::now;
        let sets_cookies = self.sets_cookies();
        let own = self.answer.set_cookies().take_while(|_| sets_cookies).filter_map(SetCookie::read);
        let own = own.filter(|own| self.is_the_apps(own));
        let mut own = own.filter(|own| !is_deleted(own, now)).peekable();
        if own.peek().is_none() {
            let is_needed = self.is_moved_along(upstream) || self.takes_pin_away(upstream);
            return is_needed.then(|| self.scope_by_itself());
        }
        if !upstream.has_several() {
            return None;
        }
        let own: Vec<SetCookie<'_>> = own.collect();
        let hidden: Vec<_> = own.iter().filter(|own| own.is_http_only).copied().collect();
        let scope =
            Scope::over(if hidden.is_empty() { &own } else { &hidden }, self.asked.host_name(), now());
        upstream.oddities.sets_cookies(&upstream.plan.name);
        // A rolling session must not outlive its pin.
        let is_needed =
            scope.lifetime.is_some() || !self.is_pinned_here(upstream) || self.takes_pin_away(upstream);
        is_needed.then_some(scope)
    }

    /// Whether the node takes a cookie of our name away, and our pin with it.
    fn takes_pin_away(&self, upstream: &Upstream) -> bool {
        self.sets_cookies()
            && self.own_of_our_name(upstream) == Own::TakenAway
            && self.is_pinned_here(upstream)
    }

    /// Whether it sets any cookie that the route lets through.
    fn sets_cookies(&self) -> bool {
        self.answer.sets_cookies() && !self.edits.is_some_and(|edits| edits.drops(b"set-cookie"))
    }

    /// Whether it is a cookie of the app, and not Engine.IO's own, whose value is the session's id.
    fn is_the_apps(&self, cookie: &SetCookie<'_>) -> bool {
        let opens = self.asked.engine_io().is_some() && cookie.name == b"io";
        !opens && (self.sid.is_empty() || cookie.value != self.sid)
    }

    fn is_pinned_here(&self, upstream: &Upstream) -> bool {
        pinned(self.asked, upstream).is_some_and(|index| self.is_here(upstream, index))
    }

    /// Whether the node that the client is pinned to leaves, so that another one has answered: then the pin goes along. One
    /// that is down for a moment keeps its clients.
    fn is_moved_along(&self, upstream: &Upstream) -> bool {
        pinned(self.asked, upstream)
            .is_some_and(|index| !self.is_here(upstream, index) && upstream.members[index].node.is_draining())
    }

    fn is_here(&self, upstream: &Upstream, index: usize) -> bool {
        std::ptr::eq(Arc::as_ptr(&upstream.members[index].node), self.node)
    }

    /// A page of another site may be a client too, which SameSite=None allows, but browsers take that only with Secure.
    fn scope_by_itself(&self) -> Scope {
        let is_secure = self.client.is_https(self.asked);
        let same_site = if is_secure { SameSite::None } else { SameSite::Lax };
        Scope { lifetime: None, domain: None, is_secure, is_partitioned: false, same_site }
    }
}

/// Whether the node's cookie has the name of the pin, so that it carries it.
pub(crate) fn is_wrapped(cookie: &SetCookie<'_>, upstream: &Upstream) -> bool {
    is_ours_by_name(cookie, upstream) && !is_deleted(cookie, SystemTime::now)
}

fn is_ours_by_name(cookie: &SetCookie<'_>, upstream: &Upstream) -> bool {
    upstream.cookies.iter().any(|name| name.as_bytes() == cookie.name)
}

/// The node's own value in the cookie of our name; empty if there is none. Without a pin it can be one where the file gives
/// the name: it was set before there were several nodes, or with an answer that anybody may keep.
fn own_value<'a>(asked: &'a RequestHead, upstream: &'a Upstream) -> &'a [u8] {
    let Some(name) = upstream.cookies.first() else { return b"" };
    let is_given = matches!(upstream.plan.sticky, Sticky::Auto(Some(_)) | Sticky::Cookie(Some(_)));
    let values = cookie::all(asked, name.as_bytes()).filter(|(rest, _)| rest.is_empty());
    let mut own = values.filter_map(|(_, value)| match Pin::split(value) {
        Some((own, _)) => Some(own),
        None => is_given.then_some(value),
    });
    own.find(|own| !own.is_empty()).unwrap_or_default()
}

/// What an answer makes of the node's own cookie of our name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Own<'a> {
    /// Nothing.
    Untouched,
    TakenAway,
    /// For these hosts; to a browser those for other paths are other cookies.
    Set {
        domain: Option<&'a [u8]>,
        is_for_all_paths: bool,
    },
}

/// For how long a pin is set, and for whom.
#[derive(Debug, PartialEq, Eq)]
struct Scope {
    /// `None` is as long as the browser lives.
    lifetime: Option<Duration>,
    domain: Option<Vec<u8>>,
    is_secure: bool,
    is_partitioned: bool,
    same_site: SameSite,
}

impl Scope {
    /// Wherever and whenever one of these cookies is sent, and `host` is asked, so is this one.
    fn over(cookies: &[SetCookie<'_>], host: Option<&[u8]>, now: SystemTime) -> Self {
        let host = host.unwrap_or_default();
        let covers = |domain: &&[u8]| {
            let at = host.len().checked_sub(domain.len());
            at.is_some_and(|at| host[at..].eq_ignore_ascii_case(domain) && (at == 0 || host[at - 1] == b'.'))
        };
        let domain = cookies
            .iter()
            .filter_map(|cookie| cookie.domain)
            .filter(covers)
            .min_by_key(|domain| domain.len());
        let is_secure = cookies.iter().all(|cookie| cookie.is_secure);
        let same_site = cookies.iter().map(|cookie| cookie.same_site).max().unwrap_or(SameSite::Lax);
        Self {
            lifetime: cookies.iter().filter_map(|cookie| lifetime(cookie, now)).max(),
            domain: domain.map(<[u8]>::to_vec),
            is_secure,
            is_partitioned: cookies.iter().all(|cookie| cookie.is_partitioned),
            // Browsers take None only with Secure.
            same_site: if is_secure { same_site } else { same_site.min(SameSite::Lax) },
        }
    }

    /// `own` is the node's own value, which the cookie keeps.
    fn print(&self, name: &str, own: &[u8], pin: &Pin) -> Vec<u8> {
        let mark = if own.is_empty() { &[][..] } else { &[Pin::MARK] };
        let mut out = [name.as_bytes(), b"=", own, mark, pin.as_bytes(), b"; Path=/; HttpOnly"].concat();
        if let Some(lifetime) = self.lifetime {
            out.extend_from_slice(b"; Max-Age=");
            out.extend_from_slice(itoa::Buffer::new().format(lifetime.as_secs()).as_bytes());
        }
        if let Some(domain) = &self.domain {
            out.extend_from_slice(b"; Domain=");
            out.extend_from_slice(domain);
        }
        if self.is_secure {
            out.extend_from_slice(b"; Secure");
        }
        out.extend_from_slice(match self.same_site {
            SameSite::Strict => b"; SameSite=Strict",
            SameSite::Lax => b"; SameSite=Lax".as_slice(),
            SameSite::None => b"; SameSite=None",
        });
        if self.is_partitioned {
            out.extend_from_slice(b"; Partitioned");
        }
        out
    }
}

/// How long a cookie lives from now on; `None` if as long as the browser does.
fn lifetime(cookie: &SetCookie<'_>, now: SystemTime) -> Option<Duration> {
    match cookie.lifetime {
        Lifetime::Session => None,
        Lifetime::Seconds(seconds) => Some(Duration::from_secs(seconds.max(0).unsigned_abs())),
        Lifetime::Until(date) => {
            let date = httpdate::parse_http_date(std::str::from_utf8(date).ok()?).ok()?;
            Some(date.duration_since(now).unwrap_or_default())
        }
    }
}

/// Whether a cookie is taken away, and not set.
fn is_deleted(cookie: &SetCookie<'_>, now: impl Fn() -> SystemTime) -> bool {
    match cookie.lifetime {
        Lifetime::Session => cookie.value.is_empty(),
        // Some write dates of 1970 in forms that nobody else reads.
        Lifetime::Until(date) if memchr::memmem::find(date, b"1970").is_some() => true,
        Lifetime::Seconds(_) | Lifetime::Until(_) => {
            cookie.value.is_empty() || lifetime(cookie, now()).is_some_and(|left| left.is_zero())
        }
    }
}

/// Of what stands behind the upstream in a name: see [`Key::name`].
const KEY_NAME_BYTES: usize = 4;

#[cfg(test)]
mod tests {
    use wire::tag::Key;

    use super::*;

    /// The attributes of the pin beside cookies that the app sets, for chat.example.com.
    fn check(cookies: &[&str], want: &str) {
        let read: Vec<_> = cookies.iter().filter_map(|line| SetCookie::read(line.as_bytes())).collect();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000);
        let scope = Scope::over(&read, Some(b"chat.example.com"), now);
        let pin = *Key::new(b"x").seal("y").pin();
        let printed = String::from_utf8(scope.print("n", b"", &pin)).expect("text");
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
        let is_gone = |line: &str| is_deleted(&SetCookie::read(line.as_bytes()).expect("a cookie"), now);
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
