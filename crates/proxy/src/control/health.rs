//! Looks after the nodes, on the control thread: probes those that fell until they are back, probes all of them where
//! the plan says so, judges who is worse than the others, and moves slow starts on. What it finds is told to
//! [`Node::observe`], which alone changes a node's state.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Weak};
use std::time::Duration;

use config::plan;
use fastrand::Rng;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};

use crate::state::shared::{Shared, Snapshot};
use crate::upstream::Upstream;
use crate::upstream::health::outlier::{OutcomeSum, judge};
use crate::upstream::health::probe::probe;
use crate::upstream::health::state::{Change, Observed, PASSIVE_INTERVAL};
use crate::upstream::member::Member;
use crate::upstream::node::Node;

/// Looks after all nodes until the data plane is gone.
pub(crate) async fn run_health(shared: Arc<Shared>, mut queue: mpsc::Receiver<Arc<Node>>) {
    let mut tending = JoinSet::new();
    let mut round = Round::default();
    let mut next_round = Instant::now();
    loop {
        tokio::select! {
            node = queue.recv() => match node {
                Some(node) => drop(tending.spawn_local(probe_until_up(Arc::downgrade(&node)))),
                None => return,
            },
            Some(_) = tending.join_next() => {}
            () = sleep_until(next_round) => {
                let now = Instant::now();
                let is_ramping = round.go(&shared, now);
                next_round = now + if is_ramping { RAMP_STEP } else { ROUND_EVERY };
            }
        }
    }
}

/// Settles a suspicion with one probe, and probes a node that fell until it is back: more and more rarely, but at least
/// twice a second.
async fn probe_until_up(node: Weak<Node>) {
    settle(&node).await;
    let mut pause = PAUSE_MIN;
    loop {
        // A reload may have taken it out for good; nobody else holds it then.
        let Some(fallen) = node.upgrade() else { return };
        if fallen.is_gone() {
            return;
        }
        if fallen.is_up() {
            fallen.release_probe();
            // It may have fallen, or come under suspicion, between the two, when nobody could tell.
            if (fallen.is_up() && !fallen.is_suspected()) || !fallen.claim_probe() {
                return;
            }
            settle(&node).await;
        }
        let worth_it = fallen.worth_probing_at();
        drop(fallen);
        let next = Instant::now() + pause;
        sleep_until(worth_it.map_or(next, |at| at.max(next))).await;
        pause = (pause * 2).min(PASSIVE_INTERVAL);
        // A request may have brought it back: when none of a pool is up, its nodes are asked all the same.
        if let Some(fallen) = node.upgrade().filter(|node| !node.is_up()) {
            ask(&fallen).await;
        }
    }
}

/// Asks a node that is up once whether it is there. Whatever comes of it, even if nothing can be said, is the end of the
/// suspicion.
async fn settle(node: &Weak<Node>) {
    if let Some(suspected) = node.upgrade().filter(|node| node.is_up()) {
        ask(&suspected).await;
        suspected.observe(Observed::Settled);
    }
}

/// Asks each of `nodes` once, at the same time, whether it is there.
pub(crate) async fn ask_all(nodes: impl Iterator<Item = &Arc<Node>>, shared: &Arc<Shared>) {
    let mut asking = JoinSet::new();
    for node in nodes {
        let (node, shared) = (node.clone(), shared.clone());
        asking.spawn_local(async move {
            if let Some(observed) = probe(&node, TIMEOUT_MIN).await
                && node.observe(observed) == Change::Fell
            {
                shared.probe_queue.push(&node);
            }
        });
    }
    while asking.join_next().await.is_some() {}
}

async fn ask(node: &Node) {
    if let Some(observed) = probe(node, probe_timeout(node, Instant::now())).await {
        node.observe(observed);
    }
}

/// How long a probe's answer is waited for. A node that has just fallen is back only once it is quick; one whose
/// answers always take their time is given more of it the longer it is out.
fn probe_timeout(node: &Node, now: Instant) -> Duration {
    match node.plan().filter(|plan| plan.health.probe.is_some()) {
        Some(plan) => plan.health.timeout,
        None if node.is_up() => TIMEOUT_MIN,
        None => (now.duration_since(node.since()) / 8).clamp(TIMEOUT_MIN, TIMEOUT_MAX),
    }
}

/// What is done once in a while with every node.
#[derive(Default)]
struct Round {
    /// The probes that run all the time, by their nodes.
    watches: HashMap<*const Node, Watch>,
    tasks: JoinSet<()>,
    /// The counts of each node that is judged, a second apart.
    histories: HashMap<*const Node, VecDeque<(Instant, OutcomeSum)>>,
}

struct Watch {
    node: Weak<Node>,
    plan: Arc<plan::Upstream>,
    task: AbortHandle,
}

impl Round {
    /// `true` if a node is starting slowly, so that the next round is due soon.
    fn go(&mut self, shared: &Arc<Shared>, now: Instant) -> bool {
        let snapshot = shared.snapshot.load_full();
        self.watch(&snapshot, shared);
        let mut is_ramping = false;
        for upstream in &snapshot.upstreams {
            for node in upstream.nodes().filter(|node| node.is_starting_slowly()) {
                is_ramping |= node.step_share(now);
            }
            self.judge(upstream, shared, now);
            upstream.budget.mark(now);
        }
        self.histories.retain(|&node, _| {
            snapshot.upstreams.iter().flat_map(Upstream::nodes).any(|known| Arc::as_ptr(known) == node)
        });
        is_ramping
    }

    /// Sees to it that every node that should be is probed all the time, by the plan in force.
    fn watch(&mut self, snapshot: &Snapshot, shared: &Arc<Shared>) {
        while self.tasks.try_join_next().is_some() {}
        self.watches.retain(|_, watch| {
            let wanted = snapshot.upstreams.iter().any(|upstream| {
                Arc::ptr_eq(&upstream.plan, &watch.plan)
                    && upstream.members.iter().any(|member| Arc::as_ptr(&member.node) == watch.node.as_ptr())
            });
            if !wanted {
                watch.task.abort();
            }
            wanted
        });
        for upstream in snapshot.upstreams.iter().filter(|upstream| upstream.plan.health.probe.is_some()) {
            for Member { node, .. } in &upstream.members {
                self.watches.entry(Arc::as_ptr(node)).or_insert_with(|| {
                    let (node, plan) = (Arc::downgrade(node), upstream.plan.clone());
                    let task =
                        self.tasks.spawn_local(probe_on_and_on(node.clone(), plan.clone(), shared.clone()));
                    Watch { node, plan, task }
                });
            }
        }
    }

    /// Finds the nodes that are worse than the others by far.
    fn judge(&mut self, upstream: &Upstream, shared: &Shared, now: Instant) {
        let rules = &upstream.plan.outliers;
        if rules.error_percent == 0 && rules.latency_factor == 0 {
            return;
        }
        let nodes: Vec<_> =
            upstream.members.iter().map(|member| &member.node).filter(|node| node.is_up()).collect();
        let lately = |node: &&Arc<Node>| {
            let history = self.histories.entry(Arc::as_ptr(node)).or_default();
            let counts = node.outcomes.sum();
            // What was counted before it came back is the past.
            let oldest = now.checked_sub(rules.period).unwrap_or(now).max(node.since());
            while history.len() > 1 && history.get(1).is_some_and(|(at, _)| *at <= oldest) {
                history.pop_front();
            }
            if history.back().is_none_or(|(at, _)| now.duration_since(*at) >= ROUND_EVERY) {
                history.push_back((now, counts));
            }
            history.front().map_or_else(OutcomeSum::default, |(_, earlier)| counts.since(earlier))
        };
        let counts: Vec<_> = nodes.iter().map(lately).collect();
        for (node, verdict) in nodes.iter().zip(judge(&counts, rules)) {
            if let Some(cause) = verdict
                && node.observe(Observed::Outlier(cause)) == Change::Fell
            {
                self.histories.remove(&Arc::as_ptr(node));
                shared.probe_queue.push(node);
            }
        }
    }
}

/// Probes one node for as long as it is in the pool. While it is down, that is the business of [`probe_until_up`].
async fn probe_on_and_on(node: Weak<Node>, plan: Arc<plan::Upstream>, shared: Arc<Shared>) {
    let mut dice = Rng::new();
    let health = &plan.health;
    // Nodes that appear together are not probed together.
    sleep(health.interval.mul_f64(dice.f64())).await;
    loop {
        let Some(probed) = node.upgrade() else { return };
        if probed.is_up()
            && let Some(observed) = probe(&probed, health.timeout).await
            && probed.observe(observed) == Change::Fell
        {
            shared.probe_queue.push(&probed);
        }
        drop(probed);
        let jitter = f64::from(health.jitter_percent) / 100.0 * (2.0 * dice.f64() - 1.0);
        sleep(health.interval.mul_f64(1.0 + jitter).max(INTERVAL_MIN)).await;
    }
}

const PAUSE_MIN: Duration = Duration::from_millis(50);
const TIMEOUT_MIN: Duration = Duration::from_millis(500);
const TIMEOUT_MAX: Duration = Duration::from_secs(5);
const ROUND_EVERY: Duration = Duration::from_secs(1);
/// A slow start rises in steps of that length.
const RAMP_STEP: Duration = Duration::from_millis(100);
/// Whatever the jitter.
const INTERVAL_MIN: Duration = Duration::from_millis(10);
