//! Evens out the sessions of a pool, gently and only if the plan says so: the oldest sessions of nodes that have too
//! many are moved by the drain's own means, a few at a time. Runs on the control thread. [`Pacer::step`] decides and is
//! pure; the rest looks and tells.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use config::plan::Rebalance;
use fastrand::Rng;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::control::drain::node::POLL_ENDS_WITHIN;
use crate::control::drain::polling::{Closed, Closer, TALKS_WITHIN};
use crate::state::shared::Shared;
use crate::upstream::Upstream;
use crate::upstream::close_signal::{CloseOrder, CloseReason};
use crate::upstream::member::Member;
use crate::upstream::node::Node;

/// What a node carries, as far as the decision goes.
#[derive(Debug, Clone, Copy)]
struct Carried {
    /// Its share; 0 for a backup, which should have nothing while others are up.
    weight: u32,
    sessions: usize,
    /// Those among them that were told to go, and will be somewhere else in a moment.
    told: usize,
    /// The most it may carry.
    max: usize,
}

/// How far a pool is.
#[derive(Debug, Default)]
struct Pacer {
    /// Sessions that each node could have moved and has not, in the order of the nodes; less than one but for large
    /// nodes.
    credit: Vec<f64>,
    /// From the moment that a node has far too many, until none has too many.
    is_moving: bool,
    /// What was moved lately.
    moved: VecDeque<Moved>,
}

/// Sessions that were told to go in one step.
#[derive(Debug, Clone, Copy)]
struct Moved {
    age: Duration,
    count: usize,
    /// How many sessions the pool had then.
    of: usize,
}

impl Pacer {
    /// How many sessions each node of `pool` moves now, `passed` after the last time. What a pace of a percentage
    /// leaves of a whole session is kept for the next step.
    fn step(&mut self, pool: &[Carried], pace: &Rebalance, passed: Duration) -> Vec<usize> {
        for moved in &mut self.moved {
            moved.age += passed;
        }
        self.moved.retain(|moved| moved.age <= IN_THE_AIR);
        let in_the_air = self.in_the_air(pool);
        let surplus = surplus(pool, in_the_air, self.is_moving);
        self.is_moving = in_the_air > 0 || surplus.iter().any(|&surplus| surplus > 0);
        self.credit.resize(pool.len(), 0.0);
        let share = f64::from(pace.percent) / 100.0 * passed.as_secs_f64() / pace.every.as_secs_f64();
        let mut moves = Vec::with_capacity(pool.len());
        for ((credit, node), surplus) in self.credit.iter_mut().zip(pool).zip(surplus) {
            if surplus == 0 {
                *credit = 0.0;
                moves.push(0);
                continue;
            }
            *credit += share.min(1.0) * node.sessions as f64;
            let count = surplus.min(*credit as usize);
            *credit -= count as f64;
            moves.push(count);
        }
        let count = moves.iter().sum();
        if count > 0 {
            self.moved.push_back(Moved { age: Duration::ZERO, count, of: sessions_of(pool) });
        }
        moves
    }

    /// Sessions that have gone and are not back yet: those that were moved lately, as far as the pool misses them.
    fn in_the_air(&self, pool: &[Carried]) -> usize {
        let moved: usize = self.moved.iter().map(|moved| moved.count).sum();
        let before = self.moved.iter().map(|moved| moved.of).max().unwrap_or(0);
        moved.saturating_sub(told_of(pool)).min(before.saturating_sub(sessions_of(pool)))
    }
}

/// How many sessions each node has too many. Those of a whole pool have room on the others, so that moving them
/// never makes another node overfull.
fn surplus(pool: &[Carried], in_the_air: usize, is_moving: bool) -> Vec<usize> {
    let nothing = vec![0; pool.len()];
    let all = sessions_of(pool) + in_the_air;
    let weights: u64 = pool.iter().map(|node| u64::from(node.weight)).sum();
    if weights == 0 {
        return nothing;
    }
    let even = |node: &Carried| all as f64 * f64::from(node.weight) / weights as f64;
    let staying = |node: &Carried| node.sessions.saturating_sub(node.told);
    let room_of = |node: &Carried| (even(node) as usize).min(node.max).saturating_sub(staying(node));
    // Those that were told to go already need their room.
    let mut room = pool.iter().map(room_of).sum::<usize>().saturating_sub(told_of(pool) + in_the_air);
    let mut surplus = nothing;
    for (surplus, node) in surplus.iter_mut().zip(pool) {
        let even = even(node);
        // Sessions come and go by themselves; what is near enough is left alone.
        let enough = if is_moving { even } else { even * (1.0 + SLACK) + 1.0 };
        if staying(node) > enough.ceil() as usize {
            *surplus = (staying(node) - even.ceil() as usize).min(room);
            room -= *surplus;
        }
    }
    surplus
}

fn sessions_of(pool: &[Carried]) -> usize {
    pool.iter().map(|node| node.sessions).sum()
}

fn told_of(pool: &[Carried]) -> usize {
    pool.iter().map(|node| node.told).sum()
}

/// Evens out every upstream whose plan wants it, for as long as the proxy serves.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut tick = interval(LOOK_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut pools: HashMap<String, Pool> = HashMap::new();
    loop {
        let now = tick.tick().await;
        if shared.drain.is_leaving() {
            return;
        }
        let snapshot = shared.snapshot.load_full();
        let wanted = |upstream: &&Upstream| upstream.plan.rebalance.percent > 0;
        pools.retain(|name, pool| {
            // What has begun to close a session finishes, or the client would be told and the node not.
            snapshot.upstreams.iter().filter(wanted).any(|kept| kept.plan.name == *name) || pool.is_closing()
        });
        for upstream in snapshot.upstreams.iter().filter(wanted) {
            let pool = pools.entry(upstream.plan.name.clone()).or_default();
            let until = now + snapshot.plan.drain.deadline;
            pool.look(upstream, now, until);
        }
    }
}

/// An upstream that is evened out.
#[derive(Debug, Default)]
struct Pool {
    pacer: Pacer,
    /// Its nodes when it was last looked at, by address.
    nodes: Vec<*const Node>,
    /// Polling sessions that are being closed, by the address of their node.
    closing: JoinSet<*const Node>,
    closing_at: HashMap<*const Node, usize>,
    dice: Rng,
}

impl Pool {
    fn look(&mut self, upstream: &Upstream, now: Instant, until: Instant) {
        self.is_closing();
        let nodes: Vec<*const Node> =
            upstream.members.iter().map(|member| Arc::as_ptr(&member.node)).collect();
        if self.nodes != nodes {
            self.pacer = Pacer::default();
            self.closing_at.retain(|node, _| nodes.contains(node));
            self.nodes = nodes;
        }
        let pace = &upstream.plan.rebalance;
        if !is_calm(upstream, pace.settle, now) {
            self.pacer = Pacer::default();
            return;
        }
        let carried: Vec<Carried> = upstream.members.iter().map(|member| self.carried(member)).collect();
        let moves = self.pacer.step(&carried, pace, LOOK_EVERY);
        for (member, count) in upstream.members.iter().zip(moves).filter(|(_, count)| *count > 0) {
            self.move_oldest(
                upstream,
                &member.node,
                count,
                CloseOrder { at: now, until, reason: CloseReason::Moved },
            );
        }
    }

    fn is_closing(&mut self) -> bool {
        while let Some(closed) = self.closing.try_join_next() {
            if let Some(count) = closed.ok().and_then(|node| self.closing_at.get_mut(&node)) {
                *count = count.saturating_sub(1);
            }
        }
        !self.closing.is_empty()
    }

    fn carried(&self, Member { node, entry, .. }: &Member) -> Carried {
        let closing = self.closing_at.get(&Arc::as_ptr(node)).copied().unwrap_or(0);
        Carried {
            weight: if entry.backup { 0 } else { entry.weight },
            sessions: node.sessions(),
            told: closing + node.tunnels.going(),
            max: entry.bounds.sessions_max.unwrap_or(usize::MAX),
        }
    }

    /// Tells so many of a node's sessions to go, tunnels and polling ones in the proportion in which there are.
    fn move_oldest(&mut self, upstream: &Upstream, node: &Arc<Node>, count: usize, order: CloseOrder) {
        let tunnels = node.tunnels.count().saturating_sub(node.tunnels.going());
        let all = node.sessions().max(1);
        let polling = (count * all.saturating_sub(tunnels)).div_ceil(all);
        let closed = upstream.session_table.schedule_oldest_polling(node, polling.min(CLOSING_MAX));
        let polling = closed.len();
        for sid in closed {
            let (node, session_table) = (node.clone(), upstream.session_table.clone());
            *self.closing_at.entry(Arc::as_ptr(&node)).or_default() += 1;
            self.closing.spawn_local(async move {
                let closer = Closer::new(node.clone(), session_table.clone(), order.until);
                let waits_for = if closer.talks(&sid) { TALKS_WITHIN } else { Duration::ZERO };
                let (sid, closed) = closer.close(sid, Instant::now() + waits_for).await;
                if matches!(closed, Closed::Politely | Closed::Failed) {
                    sleep(POLL_ENDS_WITHIN).await;
                    session_table.poll_is_overdue(&sid);
                }
                Arc::as_ptr(&node)
            });
        }
        let signalled = node.tunnels.signal_oldest(count - polling.min(count), || CloseOrder {
            at: order.at + LOOK_EVERY.mul_f64(self.dice.f64()),
            ..order
        });
        let (upstream, node) = (&upstream.plan.name, node.written());
        tracing::info!(
            event = "rebalancing",
            upstream,
            node,
            sessions = signalled + polling,
            "moving sessions to nodes that have fewer"
        );
    }
}

/// Whether nothing but the number of their sessions is different about the nodes, and that for `settle`.
pub(crate) fn is_calm(upstream: &Upstream, settle: Duration, now: Instant) -> bool {
    let is_settled = |Member { node, .. }: &Member| {
        let is_plain = node.is_up() && !node.is_draining() && !node.is_outdated() && node.ramp() >= 1.0;
        is_plain && now.saturating_duration_since(node.since()) >= settle
    };
    upstream.has_none_removed() && upstream.members.iter().all(is_settled)
}

/// Sessions are counted and moved so often; often enough that few go in one moment.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A client that was told to go is back after so long, or it is not taken into account any more; most come back within
/// two seconds.
const IN_THE_AIR: Duration = Duration::from_secs(15);
/// A node that has so much more than its even share, and one session more than that, has too many.
const SLACK: f64 = 0.05;
/// Polling sessions of one node that are closed in one look.
const CLOSING_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(spec: &[(u32, usize, usize)]) -> Vec<Carried> {
        let node = |&(weight, sessions, told)| Carried { weight, sessions, told, max: usize::MAX };
        spec.iter().map(node).collect()
    }

    #[test]
    fn only_what_makes_a_pool_even_is_moved() {
        let cases = [
            (&[(1, 100, 0), (1, 100, 0), (1, 100, 0)][..], &[0, 0, 0][..]),
            (&[(1, 100, 0), (1, 100, 0), (1, 100, 0), (1, 0, 0)], &[25, 25, 25, 0]),
            (&[(1, 100, 0), (3, 100, 0)], &[50, 0]),
            // Near enough.
            (&[(1, 104, 0), (1, 96, 0)], &[0, 0]),
            (&[(1, 2, 0), (1, 0, 0)], &[0, 0]),
            // Those on their way need their room.
            (&[(1, 100, 25), (1, 100, 19), (1, 100, 0), (1, 0, 0)], &[0, 6, 25, 0]),
            // A backup has nothing to do while others are up.
            (&[(0, 10, 0), (1, 0, 0), (1, 0, 0)], &[10, 0, 0]),
            (&[(0, 10, 0)], &[0]),
            (&[(1, 10, 0)], &[0]),
            (&[], &[]),
        ];
        for (spec, want) in cases {
            assert_eq!(surplus(&pool(spec), 0, false), want, "{spec:?}");
        }
        // What has begun is not left half done.
        assert_eq!(surplus(&pool(&[(1, 104, 0), (1, 96, 0)]), 0, true), [4, 0]);
        assert_eq!(surplus(&pool(&[(1, 101, 0), (1, 100, 0)]), 0, true), [0, 0]);
    }

    #[test]
    fn a_node_that_is_full_is_no_room() {
        let mut pool = pool(&[(1, 100, 0), (1, 100, 0), (1, 0, 0)]);
        pool[2].max = 10;
        assert_eq!(surplus(&pool, 0, false).iter().sum::<usize>(), 10);
    }

    /// A pool of three with 3,000 sessions gets a fourth node, and those that are moved come back where there are the
    /// fewest.
    #[test]
    fn a_pool_is_evened_out_at_its_pace_and_then_left_alone() {
        let pace = Rebalance { percent: 6, every: Duration::from_mins(1), settle: Duration::ZERO };
        let mut sessions = [1_000, 1_000, 1_000, 0];
        let mut pacer = Pacer::default();
        let mut moved_in_minute = [[0; 4]; 10];
        for second in 0..600 {
            let carried = sessions.map(|sessions| Carried { weight: 1, sessions, told: 0, max: usize::MAX });
            for (node, count) in pacer.step(&carried, &pace, LOOK_EVERY).into_iter().enumerate() {
                moved_in_minute[second / 60][node] += count;
                for _ in 0..count {
                    sessions[node] -= 1;
                    let fewest = (0..4).min_by_key(|&node| sessions[node]).unwrap();
                    sessions[fewest] += 1;
                }
            }
        }
        // Six percent of a thousand, a little less of what is left; never more.
        let first = moved_in_minute[0];
        assert!(first[..3].iter().all(|moved| (55..=60).contains(moved)) && first[3] == 0, "{first:?}");
        assert!(moved_in_minute.iter().flatten().all(|&moved| moved <= 60));
        assert_eq!(moved_in_minute[9], [0; 4]);
        let total: usize = moved_in_minute.iter().flatten().sum();
        assert_eq!((total, sessions), (750, [750; 4]), "no more than it takes");
    }

    /// Clients take their time to come back, and the pool seems to shrink meanwhile.
    #[test]
    fn who_has_gone_and_is_not_back_is_not_moved_again_in_another_form() {
        let pace = Rebalance { percent: 100, every: Duration::from_secs(1), settle: Duration::ZERO };
        let mut sessions = [12, 12, 0];
        let mut pacer = Pacer::default();
        let mut in_the_air = VecDeque::new();
        let mut total = 0;
        for second in 0..60 {
            let carried = sessions.map(|sessions| Carried { weight: 1, sessions, told: 0, max: usize::MAX });
            for (node, count) in pacer.step(&carried, &pace, LOOK_EVERY).into_iter().enumerate() {
                total += count;
                sessions[node] -= count;
                in_the_air.extend((0..count).map(|number| second + 3 + number));
            }
            while in_the_air.front().is_some_and(|back| *back <= second) {
                in_the_air.pop_front();
                let fewest = (0..3).min_by_key(|&node| sessions[node]).unwrap();
                sessions[fewest] += 1;
            }
        }
        assert_eq!((total, sessions), (8, [8; 3]));
    }

    #[test]
    fn credit_is_not_saved_up_while_there_is_nothing_to_move() {
        let pace = Rebalance { percent: 1, every: Duration::from_mins(1), settle: Duration::ZERO };
        let mut pacer = Pacer::default();
        for _ in 0..3_600 {
            assert_eq!(pacer.step(&pool(&[(1, 100, 0), (1, 100, 0)]), &pace, LOOK_EVERY), [0, 0]);
        }
        assert_eq!(pacer.step(&pool(&[(1, 100, 0), (1, 0, 0)]), &pace, LOOK_EVERY), [0, 0]);
    }
}
