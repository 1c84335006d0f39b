//! Goal: each policy spreads as it says, whatever the state of the pool. Method: many picks with seeded dice over nodes
//! that carry what a test puts on them; no clock runs.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use config::plan::NodeBounds;
use config::roster::RosterNode;
use fastrand::Rng;
use wire::tag::Key;

use super::*;
use crate::upstream::balance::ask::Fit;
use crate::upstream::member::Member;
use crate::upstream::node::counted::{InFlight, InSession};
use crate::upstream::node::{Node, Observed};

mod sessions;

const PICKS: usize = 100_000;

fn member(port: usize, weight: u32, backup: bool, bounds: NodeBounds) -> Member {
    let address = SocketAddr::from(([127, 0, 0, 1], port as u16));
    let written = port.to_string();
    let entry = RosterNode {
        written,
        address: address.into(),
        tls_name: None,
        instance: None,
        weight,
        backup,
        bounds,
    };
    Member::new(Arc::new(Node::new("nodes", &entry)), entry, &Key::new(b"x"))
}

pub(super) fn members(weights: &[u32]) -> Vec<Member> {
    let weights = weights.iter().enumerate();
    weights.map(|(port, &weight)| member(port, weight, false, NodeBounds::default())).collect()
}

/// Nodes, their turns and a cursor with seeded dice.
struct Pool {
    members: Vec<Member>,
    turns: Turns,
    cursor: Cursor,
}

impl Pool {
    fn of(members: Vec<Member>) -> Self {
        Self { turns: Turns::new(&members), members, cursor: Cursor::new(Rng::with_seed(1)) }
    }

    fn weighing(weights: &[u32]) -> Self {
        Self::of(members(weights))
    }

    fn ask<'a>(&'a self, begins: Begins, tried: &'a [usize]) -> Ask<'a> {
        Ask { members: &self.members, turns: &self.turns, tried, begins, heeds_bounds: true }
    }

    fn request(&self, policy: Policy) -> Result<usize, Unpicked> {
        pick(&self.ask(Begins::Request, &[]), policy, &self.cursor)
    }

    fn session(&self) -> Result<usize, Unpicked> {
        pick(&self.ask(Begins::Session, &[]), Policy::Least(Load::Sessions), &self.cursor)
    }

    /// Picks for requests that end at once.
    fn idle(&self, policy: impl Fn(u64) -> Policy) -> Vec<usize> {
        let mut spread = vec![0; self.members.len()];
        for turn in 0..PICKS {
            spread[self.request(policy(turn as u64)).unwrap()] += 1;
        }
        spread
    }

    /// Picks for requests of which `held` are always under way, and end in any order.
    fn busy(&self, policy: impl Fn(u64) -> Policy, held: usize) -> Vec<usize> {
        let mut spread = vec![0; self.members.len()];
        let mut dice = Rng::with_seed(2);
        let mut under_way = Vec::new();
        for turn in 0..PICKS {
            let index = self.request(policy(turn as u64)).unwrap();
            spread[index] += 1;
            under_way.push(InFlight::new(self.members[index].node.clone()));
            if under_way.len() > held {
                under_way.swap_remove(dice.usize(..under_way.len()));
            }
        }
        spread
    }

    /// Picks for `count` sessions, which stay.
    fn sessions(&self, count: usize) -> Vec<InSession> {
        (0..count).map(|_| InSession::new(self.members[self.session().unwrap()].node.clone())).collect()
    }

    fn carried(&self) -> Vec<usize> {
        self.members.iter().map(|member| member.node.sessions()).collect()
    }
}

/// Keys that are as even as those of many users.
fn by_key(turn: u64) -> Policy {
    Policy::Hash(wire::rendezvous::key(&turn.to_be_bytes()))
}

fn by_latency(_: u64) -> Policy {
    Policy::PeakEwma(Instant::now())
}

type Chooses = fn(u64) -> Policy;

/// Every policy for requests, and its name.
const POLICIES: [(&str, Chooses); 6] = [
    ("requests under way", |_| Policy::Least(Load::InFlight)),
    ("connections", |_| Policy::Least(Load::Connections)),
    ("in turn", |_| Policy::InTurn),
    ("random two", |_| Policy::RandomTwo),
    ("peak ewma", by_latency),
    ("hash", by_key),
];

#[track_caller]
fn is_near(spread: &[usize], shares: &[f64], tolerance: f64) {
    let of_all = |count: usize| count as f64 / PICKS as f64;
    for (&count, share) in spread.iter().zip(shares) {
        assert!((of_all(count) - share).abs() <= tolerance, "{spread:?} is not {shares:?}");
    }
}

#[test]
fn in_turn_is_exact_and_smooth() {
    let pool = Pool::weighing(&[1, 2, 5]);
    let picks: Vec<_> = (0..8).map(|_| pool.request(Policy::InTurn).unwrap()).collect();
    assert_eq!(picks, [2, 1, 2, 0, 2, 2, 1, 2]);
    assert_eq!(pool.idle(|_| Policy::InTurn), [12_500, 25_000, 62_500]);
}

#[test]
fn fewest_requests_by_weight() {
    for load in [Load::InFlight, Load::Connections] {
        let pool = Pool::weighing(&[1, 2, 5]);
        assert_eq!(pool.idle(|_| Policy::Least(load)), [12_500, 25_000, 62_500]);
        is_near(&pool.busy(|_| Policy::Least(load), 80), &[0.125, 0.25, 0.625], 0.01);
    }
}

/// The definition, in pools in any state: of those that can have it and that stand in for nobody, none carries less for
/// its weight.
#[test]
fn the_least_is_the_least() {
    let mut dice = Rng::with_seed(4);
    for _ in 0..1_000 {
        let bounds = NodeBounds { connections_max: Some(3), sessions_max: Some(3) };
        let members = (0..dice.usize(2..32)).map(|port| {
            let bounds = if dice.u8(..4) == 0 { bounds } else { NodeBounds::default() };
            member(port, dice.u32(1..4), dice.u8(..8) == 0, bounds)
        });
        let pool = Pool::of(members.collect());
        let (mut requests, mut sessions) = (Vec::new(), Vec::new());
        for Member { node, .. } in &pool.members {
            match dice.u8(..8) {
                0 => _ = node.observe(Observed::Refused),
                1 => _ = node.observe(Observed::ToldToDrain),
                _ => {}
            }
            requests.extend((0..dice.usize(..5)).map(|_| InFlight::new(node.clone())));
            sessions.extend((0..dice.usize(..5)).map(|_| InSession::new(node.clone())));
        }
        for (begins, load) in [(Begins::Request, Load::InFlight), (Begins::Session, Load::Sessions)] {
            let ask = pool.ask(begins, &[]);
            let ready = (0..pool.members.len()).filter(|&index| ask.fit(index) == Fit::Ready);
            let carried = |index: usize| {
                let (member, more) = (&pool.members[index], usize::from(begins == Begins::Session));
                (load.of(member) + more) as f64 / member.full_weight() as f64
            };
            let Some(least) = ready.map(carried).min_by(f64::total_cmp) else { continue };
            let picked = pick(&ask, Policy::Least(load), &pool.cursor).unwrap();
            assert_eq!((ask.fit(picked), carried(picked)), (Fit::Ready, least), "{load:?}");
        }
    }
}

/// Where there are too many nodes to look at each, the most busy is still next to the mean.
#[test]
fn requests_stay_even_over_many_nodes() {
    let pool = Pool::weighing(&[1; 1_000]);
    let mut dice = Rng::with_seed(5);
    let mut under_way = Vec::new();
    for _ in 0..PICKS {
        let index = pool.request(Policy::Least(Load::InFlight)).unwrap();
        under_way.push(InFlight::new(pool.members[index].node.clone()));
        if under_way.len() > 20_000 {
            under_way.swap_remove(dice.usize(..under_way.len()));
        }
    }
    let most = pool.members.iter().map(|Member { node, .. }| node.in_flight()).max();
    assert!(most <= Some(20 + 2), "{most:?} of 20 on average");
}

#[test]
fn random_two_draws_by_weight_and_takes_the_less_busy() {
    let pool = Pool::weighing(&[1, 2, 5]);
    is_near(&pool.idle(|_| Policy::RandomTwo), &[0.125, 0.25, 0.625], 0.005);
    is_near(&pool.busy(|_| Policy::RandomTwo, 800), &[0.125, 0.25, 0.625], 0.01);
    // The one of two that is busy is left alone while the other is not.
    let pool = Pool::weighing(&[1, 1]);
    let _held = InFlight::new(pool.members[0].node.clone());
    is_near(&pool.idle(|_| Policy::RandomTwo), &[0.0, 1.0], 0.001);
}

#[test]
fn random_two_keeps_the_most_busy_near_the_mean() {
    let pool = Pool::weighing(&[1; 100]);
    let held: Vec<_> = (0..PICKS)
        .map(|_| InFlight::new(pool.members[pool.request(Policy::RandomTwo).unwrap()].node.clone()))
        .collect();
    let most = pool.members.iter().map(|Member { node, .. }| node.in_flight()).max().unwrap();
    // One choice would be off by about three standard deviations, which are 32; two are off by less than a handful.
    assert!(most <= PICKS / 100 + 6, "{most}");
    drop(held);
}

#[test]
fn peak_ewma_prefers_who_answers_sooner() {
    let pool = Pool::weighing(&[1, 1, 1]);
    let now = Instant::now();
    for (Member { node, .. }, ms) in pool.members.iter().zip([10, 20, 30]) {
        node.latency.observe(Duration::from_millis(ms), now);
    }
    // Each pair is drawn as often as the others; the first is in two of three, and the last never the better one.
    let spread = pool.idle(|_| Policy::PeakEwma(now));
    is_near(&spread, &[2.0 / 3.0, 1.0 / 3.0, 0.0], 0.005);
}

#[test]
fn peak_ewma_leaves_a_slow_node_nearly_alone_and_finds_out_when_it_is_fast_again() {
    let pool = Pool::weighing(&[1, 1, 1]);
    let begun = Instant::now();
    let run = |from: u64, slow_ms: u64| {
        let mut under_way: VecDeque<(Instant, Instant, InFlight)> = VecDeque::new();
        let mut spread = [0; 3];
        for turn in 0..PICKS as u64 {
            // A thousand requests a second.
            let now = begun + Duration::from_millis(from + turn);
            let (ended, left) = under_way.drain(..).partition::<VecDeque<_>, _>(|(_, ends, _)| *ends <= now);
            under_way = left;
            for (sent, ends, in_flight) in ended {
                in_flight.node().latency.observe(ends - sent, ends);
            }
            let index = pool.request(Policy::PeakEwma(now)).unwrap();
            spread[index] += 1;
            let takes = Duration::from_millis(if index == 2 { slow_ms } else { 5 });
            under_way.push_back((now, now + takes, InFlight::new(pool.members[index].node.clone())));
        }
        spread
    };
    let slow = run(0, 200);
    assert!(slow[2] < PICKS / 100 && slow[2] > 0, "{slow:?}");
    let fast_again = run(PICKS as u64, 5);
    assert!(fast_again[2] > PICKS / 6, "{fast_again:?}");
}

#[test]
fn one_request_finds_out_how_fast_a_new_node_is() {
    let pool = Pool::weighing(&[1, 1]);
    let now = Instant::now();
    pool.members[0].node.latency.observe(Duration::from_millis(10), now);
    assert_eq!(pool.request(Policy::PeakEwma(now)), Ok(1));
    let _first = InFlight::new(pool.members[1].node.clone());
    is_near(&pool.idle(|_| Policy::PeakEwma(now)), &[1.0, 0.0], 0.001);
}

#[test]
fn keys_spread_by_weight_and_stay() {
    let pool = Pool::weighing(&[1, 2, 5]);
    is_near(&pool.idle(by_key), &[0.125, 0.25, 0.625], 0.005);
    let before: Vec<_> = (0..1000).map(|turn| pool.request(by_key(turn)).unwrap()).collect();
    let pool = Pool { cursor: Cursor::new(Rng::with_seed(7)), ..pool };
    let after: Vec<_> = (0..1000).map(|turn| pool.request(by_key(turn)).unwrap()).collect();
    assert_eq!(before, after);
}

#[tokio::test(start_paused = true)]
async fn keys_of_a_node_that_is_down_come_back_to_it_and_no_other_moves() {
    let pool = Pool::weighing(&[1, 1, 1, 1]);
    let place = || -> Vec<usize> { (0..1000).map(|turn| pool.request(by_key(turn)).unwrap()).collect() };
    let before = place();
    pool.members[1].node.observe(Observed::Refused);
    let during = place();
    assert!(before.iter().zip(&during).all(|(before, during)| before == during || *before == 1));
    assert!(during.iter().all(|&index| index != 1));
    tokio::time::advance(Duration::from_secs(1)).await;
    pool.members[1].node.observe(Observed::Reached);
    pool.members[1].node.set_ramp(1.0);
    assert_eq!(place(), before);
}

/// Two that can be had, of weights 1 and 2, and one of each kind that cannot.
fn troubled() -> Pool {
    let bounds = NodeBounds { connections_max: Some(1), sessions_max: Some(1) };
    let free = NodeBounds::default();
    let pool = Pool::of(vec![
        member(0, 1, false, free),
        member(1, 3, false, free),
        member(2, 2, false, free),
        member(3, 3, false, free),
        member(4, 3, true, free),
        member(5, 3, false, bounds),
    ]);
    pool.members[1].node.observe(Observed::Refused);
    pool.members[3].node.observe(Observed::ToldToDrain);
    pool
}

#[test]
fn every_policy_respects_health_drains_backups_and_bounds() {
    for (name, policy) in POLICIES {
        let pool = troubled();
        let _full = InFlight::new(pool.members[5].node.clone());
        let now = Instant::now();
        for Member { node, .. } in &pool.members {
            node.latency.observe(Duration::from_millis(10), now);
        }
        let spread = pool.idle(policy);
        assert_eq!([spread[1], spread[3], spread[4], spread[5]], [0; 4], "{name}: {spread:?}");
        // Of two nodes that are always compared with each other, the one that is as fast and weighs more wins.
        let shares = if name == "peak ewma" { [0.0, 0.0, 1.0] } else { [1.0 / 3.0, 0.0, 2.0 / 3.0] };
        is_near(&spread[..3], &shares, 0.005);

        pool.members[0].node.observe(Observed::Refused);
        pool.members[2].node.observe(Observed::ToldToDrain);
        let spread = pool.idle(policy);
        assert_eq!(spread[4], PICKS, "{name}: the backup stands in: {spread:?}");

        pool.members[4].node.observe(Observed::ToldToDrain);
        assert_eq!(pool.request(policy(0)), Err(Unpicked::AllFull), "{name}");

        pool.members[5].node.observe(Observed::ToldToDrain);
        let spread = pool.idle(policy);
        assert_eq!(spread[0] + spread[1], PICKS, "{name}: the last nodes are asked all the same: {spread:?}");
        assert!(spread[0] > 0 && spread[1] > 0 || name == "peak ewma", "{name}: {spread:?}");

        for index in 0..2 {
            pool.members[index].node.observe(Observed::ToldToDrain);
        }
        assert_eq!(pool.request(policy(0)), Err(Unpicked::Nobody), "{name}");
        assert_eq!(Pool::weighing(&[]).request(policy(0)), Err(Unpicked::Nobody), "{name}");
    }
}

#[test]
fn a_node_that_was_tried_is_not_tried_again() {
    for (name, policy) in POLICIES {
        let pool = Pool::weighing(&[1, 1]);
        for turn in 0..100 {
            let ask = pool.ask(Begins::Request, &[0]);
            assert_eq!(pick(&ask, policy(turn), &pool.cursor), Ok(1), "{name}");
        }
        let ask = pool.ask(Begins::Request, &[0, 1]);
        assert_eq!(pick(&ask, policy(0), &pool.cursor), Err(Unpicked::Nobody), "{name}");
    }
}

#[test]
fn a_node_in_its_ramp_gets_less_than_its_share_of_requests() {
    for (name, policy) in POLICIES {
        let pool = Pool::weighing(&[1; 4]);
        for Member { node, .. } in &pool.members {
            node.latency.observe(Duration::from_millis(10), Instant::now());
        }
        pool.members[3].node.set_ramp(0.25);
        let spread = pool.busy(policy, 40);
        assert!(spread[3] < PICKS / 8 && spread[3] > PICKS / 100, "{name}: {spread:?}");
        for Member { node, .. } in &pool.members {
            node.set_ramp(0.01);
        }
        let spread = pool.idle(policy);
        assert!(spread.iter().all(|&count| count > PICKS / 6), "{name}: all have just come back: {spread:?}");
    }
}

#[test]
fn the_last_node_is_never_taken_out() {
    let pool = Pool::weighing(&[1; 2]);
    pool.members[0].node.observe(Observed::Refused);
    let held = pool.sessions(10);
    assert_eq!(pool.carried(), [0, 10]);
    drop(held);
    pool.members[1].node.observe(Observed::Refused);
    let _held = pool.sessions(10);
    assert_eq!(pool.carried(), [5, 5]);
}

#[test]
fn two_upstreams_do_not_disturb_each_others_turns() {
    let (a, b) = (Pool::weighing(&[1; 2]), Pool::weighing(&[1; 2]));
    let cursors = Cursors::default();
    let mut spread = [[0; 2]; 2];
    for _ in 0..100 {
        for (number, pool) in [&a, &b].into_iter().enumerate() {
            let ask = pool.ask(Begins::Request, &[]);
            let index = pick(&ask, Policy::Least(Load::InFlight), cursors.of(number)).unwrap();
            spread[number][index] += 1;
        }
    }
    assert_eq!(spread, [[50, 50]; 2]);
}

#[test]
fn whoever_is_under_suspicion_comes_second() {
    let pool = Pool::weighing(&[1; 2]);
    let suspected = &pool.members[0].node;
    let policies = [
        Policy::Least(Load::InFlight),
        Policy::Least(Load::Sessions),
        Policy::InTurn,
        Policy::RandomTwo,
        Policy::PeakEwma(Instant::now()),
    ];
    let spread = || policies.map(|policy| pool.idle(|_| policy));
    let keys = pool.idle(Policy::Hash);
    suspected.observe(Observed::Failed("no answer in time"));
    for (spread, policy) in spread().iter().zip(policies) {
        assert_eq!(spread[0], 0, "{policy:?}");
    }
    assert_eq!(pool.idle(Policy::Hash), keys, "who belongs there stays until it is out");
    let others_failed = pool.ask(Begins::Request, &[1]);
    assert_eq!(pick(&others_failed, Policy::InTurn, &pool.cursor), Ok(0), "it is better than none");
    suspected.observe(Observed::Settled);
    pool.members[1].node.observe(Observed::Failed("no answer in time"));
    pool.members[1].node.observe(Observed::Answered);
    for (spread, policy) in spread().iter().zip(policies) {
        assert!(spread[0] > 0 && spread[1] > 0, "{policy:?}: {spread:?}");
    }
}
