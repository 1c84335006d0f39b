//! How often: the limits of a route. All of them have to let a request pass, and one that is refused counts for none.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use config::plan::HashKey;
use config::routing::{Limit, LimitKey, Limited, Rate};
use tokio::time::{Instant, sleep};

use crate::fault::{ClientFault, Fault, OurFault};
use crate::net::places::ClientKey;
use crate::net::rates::{Allowance, Held, RateKey, Rates};
use crate::net::shared_rates::{Asked, SharedKey};
use crate::observe::guarded::{Guarded, LimitOutcome};
use crate::observe::record::Record;
use crate::request::downstream::BodySource;
use crate::request::edits::Values;
use crate::request::sticky;
use crate::request::waits::while_wanted;
use crate::state::local::Local;
use crate::upstream::balance::hash;

/// Counts the request, and waits where it came too early.
pub(super) async fn pass(
    values: &Values<'_>,
    body: &mut BodySource<'_>,
    worker: &Local,
    record: &mut Record,
) -> Result<(), Fault> {
    let limits = &values.route.limits;
    if limits.is_empty() || record.guarded.as_ref().is_some_and(|guarded| guarded.is_counted) {
        return Ok(());
    }
    let kind = Asking::of(values);
    let guarded = record.guarded.get_or_insert_default();
    guarded.is_counted = true;
    let mut counted = Counted::of(&worker.shared.rates, worker.clock.now(), kind, values);
    let counting = || limits.iter().filter(|limit| kind.counts_for(limit));
    for limit in counting() {
        counted.ask(limit, guarded)?;
    }
    // Last, because what was counted there is not taken back.
    if counting().any(|limit| limit.is_shared) {
        let shared: Vec<_> = counting().filter(|limit| limit.is_shared && limit.rate.is_some()).collect();
        // Boxed, because few routes have one.
        Box::pin(counted.ask_together(&shared, Ends { body, worker }, guarded)).await?;
    }
    let (held, wait) = counted.pass();
    guarded.held = held;
    if wait.is_zero() {
        return Ok(());
    }
    guarded.note(LimitOutcome::Delayed);
    worker.counters.count_queued(record.route, wait);
    Box::pin(while_wanted(worker, body, sleep(wait))).await
}

/// What a request is for a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asking {
    /// It belongs to a session that somebody here has signed, or knows.
    InSession,
    /// A session begins with it.
    Handshake,
    Other,
}

impl Asking {
    fn of(values: &Values<'_>) -> Self {
        match values.upstream {
            Some(upstream) if sticky::is_in_session(values.head, upstream) => Self::InSession,
            Some(upstream) if sticky::begins_session(values.head, upstream) => Self::Handshake,
            Some(_) | None => Self::Other,
        }
    }

    fn counts_for(self, limit: &Limit) -> bool {
        match self {
            Self::InSession => limit.has_sessions && limit.of != Limited::Handshakes,
            Self::Handshake => limit.of != Limited::Requests,
            Self::Other => limit.of != Limited::Handshakes,
        }
    }
}

/// Who asks, as a limit tells clients apart.
#[derive(Debug, Hash)]
enum Who<'a> {
    Client(ClientKey),
    Said(&'a [u8]),
    Everybody,
}

impl<'a> Who<'a> {
    fn of(limit: &Limit, values: &Values<'a>) -> Self {
        let said = match &limit.by {
            LimitKey::All => return Self::Everybody,
            LimitKey::Of(HashKey::Ip) => None,
            LimitKey::Of(of) => hash::value(of, values.head),
        };
        said.map_or_else(|| Self::Client(ClientKey::of(values.client)), Self::Said)
    }

    /// By which other tidelocks know it, too.
    fn shared_key(&self, limit: &Limit, asking: Asking) -> SharedKey {
        let address;
        let (kind, who): (&[u8], &[u8]) = match self {
            Self::Client(client) => {
                address = client.to_bytes();
                (b"client", &address)
            }
            Self::Said(said) => (b"said", said),
            Self::Everybody => (b"all", &[]),
        };
        let counted: &[u8] = if asking == Asking::Handshake { b"handshakes" } else { b"requests" };
        SharedKey::of(&[limit.name.as_bytes(), counted, kind, who])
    }
}

/// Whom a request that waits is watched for, and where it waits.
struct Ends<'b, 's> {
    body: &'b mut BodySource<'s>,
    worker: &'b Local,
}

/// What was counted of a request so far. Unless it passes it is taken back.
struct Counted<'r, 'v> {
    rates: &'r Arc<Rates>,
    kind: Asking,
    values: &'r Values<'v>,
    now: Instant,
    taken: Vec<(RateKey, Allowance)>,
    held: Vec<Held>,
    wait: Duration,
}

impl<'r, 'v> Counted<'r, 'v> {
    fn of(rates: &'r Arc<Rates>, now: Instant, kind: Asking, values: &'r Values<'v>) -> Self {
        Self { rates, kind, values, now, taken: Vec::new(), held: Vec::new(), wait: Duration::ZERO }
    }

    fn ask(&mut self, limit: &Limit, guarded: &mut Guarded) -> Result<(), Fault> {
        let who = Who::of(limit, self.values);
        if !limit.is_shared {
            self.ask_alone(limit, &who, guarded)?;
        }
        if let Some(most) = limit.connections_max {
            match self.rates.hold(self.rates.key((&limit.name, &who)), most) {
                Some(held) => self.held.push(held),
                None if limit.is_dry_run => guarded.note(LimitOutcome::WouldRefuse),
                None => {
                    guarded.note(LimitOutcome::Refused);
                    guarded.lines = vec![("Retry-After", "1".to_owned())];
                    return Err(OurFault::TooManyAtOnce { status: limit.status }.into());
                }
            }
        }
        Ok(())
    }

    /// Asks those that other tidelocks have, too, in one call; or each alone, where Redis does not say.
    async fn ask_together(
        &mut self,
        limits: &[&Limit],
        Ends { body, worker }: Ends<'_, '_>,
        guarded: &mut Guarded,
    ) -> Result<(), Fault> {
        let asked = |limit: &&Limit| {
            let key = Who::of(limit, self.values).shared_key(limit, self.kind);
            Some(Asked { key, allowance: allowance(limit)?, is_binding: !limit.is_dry_run })
        };
        let asked: Vec<_> = limits.iter().filter_map(asked).collect();
        let taking = worker.shared.shared_rates.take(&worker.redis, &asked);
        // It has a timeout, and needs not hear that the proxy leaves: what comes until then is answered.
        let answers = tokio::select! {
            answers = taking => answers,
            () = poll_fn(|cx| body.poll_client_gone(cx)) => return Err(ClientFault::Gone.into()),
        };
        match answers {
            Some(answers) => {
                limits.iter().zip(answers).try_for_each(|(limit, taken)| self.weigh(limit, taken, guarded))
            }
            None => limits
                .iter()
                .try_for_each(|limit| self.ask_alone(limit, &Who::of(limit, self.values), guarded)),
        }
    }

    /// Counts for this tidelock alone.
    fn ask_alone(&mut self, limit: &Limit, who: &Who<'_>, guarded: &mut Guarded) -> Result<(), Fault> {
        let Some(allowance) = allowance(limit) else { return Ok(()) };
        let key = self.rates.key((&limit.name, self.kind == Asking::Handshake, who));
        let taken = self.rates.take(key, &allowance, self.now);
        if taken.is_ok() {
            self.taken.push((key, allowance));
        }
        self.weigh(limit, taken, guarded)
    }

    /// What follows from how far ahead it is, or after what time it may come again.
    fn weigh(
        &mut self,
        limit: &Limit,
        taken: Result<Duration, Duration>,
        guarded: &mut Guarded,
    ) -> Result<(), Fault> {
        match (taken, limit.rate) {
            (_, None) => Ok(()),
            (Ok(ahead), Some(rate)) => {
                let undelayed = limit.undelayed.unwrap_or(limit.burst);
                let wait = ahead.saturating_sub(interval(rate).saturating_mul(undelayed));
                match limit.is_dry_run {
                    true if wait.is_zero() => {}
                    true => guarded.note(LimitOutcome::WouldDelay),
                    false => self.wait = self.wait.max(wait),
                }
                Ok(())
            }
            (Err(_), Some(_)) if limit.is_dry_run => {
                guarded.note(LimitOutcome::WouldRefuse);
                Ok(())
            }
            (Err(after), Some(rate)) => {
                guarded.note(LimitOutcome::Refused);
                guarded.lines = told(limit, rate, after);
                Err(OurFault::TooManyRequests { status: limit.status }.into())
            }
        }
    }

    /// It passes: what was counted stays so, and what it holds is returned, with how long it has to wait.
    fn pass(mut self) -> (Vec<Held>, Duration) {
        self.taken.clear();
        (std::mem::take(&mut self.held), self.wait)
    }
}

impl Drop for Counted<'_, '_> {
    fn drop(&mut self) {
        for (key, allowance) in &self.taken {
            self.rates.give_back(*key, allowance);
        }
    }
}

fn interval(Rate { count, per }: Rate) -> Duration {
    per.unit().1 / count.get()
}

fn allowance(limit: &Limit) -> Option<Allowance> {
    limit.rate.map(|rate| Allowance { interval: interval(rate), burst: limit.burst })
}

/// What a refused client is told beside the status (RFC 9110 section 10.2.3, draft-ietf-httpapi-ratelimit-headers-10).
fn told(limit: &Limit, Rate { count, per }: Rate, after: Duration) -> Vec<(&'static str, String)> {
    let interval = interval(Rate { count, per });
    let seconds = |time: Duration| time.as_secs() + u64::from(time.subsec_nanos() > 0);
    let quota = u64::from(limit.burst) + 1;
    let window = seconds(interval.saturating_mul(limit.burst.saturating_add(1))).max(1);
    let after = seconds(after).max(1);
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\"\\".contains(&byte);
    // One that the file has not named has a name that says nothing to a client.
    let name = Some(&*limit.name).filter(|name| name.bytes().all(is_plain)).unwrap_or("default");
    vec![
        ("Retry-After", after.to_string()),
        ("RateLimit-Policy", format!("\"{name}\";q={quota};w={window}")),
        ("RateLimit", format!("\"{name}\";r=0;t={after}")),
    ]
}
