//! How sessions spread: evenly for their weights, whoever comes and goes.

use super::*;

#[test]
fn sessions_spread_evenly_and_by_weight() {
    let pool = Pool::weighing(&[1; 3]);
    let held = pool.sessions(60);
    assert_eq!(pool.carried(), [20, 20, 20]);
    drop(held);
    let _held = pool.sessions(61);
    assert_eq!(pool.carried().iter().max(), Some(&21));

    let pool = Pool::weighing(&[1, 2, 1]);
    let _held = pool.sessions(60);
    assert_eq!(pool.carried(), [15, 30, 15]);
}

#[test]
fn sessions_that_come_and_go_stay_spread() {
    let pool = Pool::weighing(&[1, 2, 5]);
    let mut dice = Rng::with_seed(3);
    let mut held = Vec::new();
    for _ in 0..PICKS {
        held.extend(pool.sessions(1));
        if held.len() > 8_000 {
            held.swap_remove(dice.usize(..held.len()));
        }
    }
    let carried = pool.carried();
    for (count, share) in carried.iter().zip([1_000, 2_000, 5_000_usize]) {
        assert!(count.abs_diff(share) <= 1, "{carried:?}");
    }
}

/// Without a slow start a node that is added takes every new session until it has as many as the others: that is what
/// it was added for.
#[test]
fn a_node_that_is_added_takes_new_sessions_until_it_is_even() {
    let mut pool = Pool::weighing(&[1; 3]);
    let _before = pool.sessions(3_000);
    pool.members.push(member(3, 1, false, NodeBounds::default()));
    let pool = Pool::of(pool.members);
    let _after = pool.sessions(900);
    assert_eq!(pool.carried(), [1_000, 1_000, 1_000, 900]);
    let _more = pool.sessions(500);
    assert_eq!(pool.carried(), [1_100; 4]);
}

/// In its ramp it gets from nothing to twice its even share.
#[test]
fn a_newcomer_gets_at_most_twice_its_even_share_of_sessions() {
    let mut pool = Pool::weighing(&[1; 9]);
    let _before = pool.sessions(90_000);
    pool.members.push(member(9, 1, false, NodeBounds::default()));
    let pool = Pool::of(pool.members);
    let newcomer = &pool.members[9].node;
    let mut total = 0;
    for step in 1..=10 {
        newcomer.set_ramp(f64::from(step) / 10.0 - 0.01);
        let before = newcomer.sessions();
        let held = pool.sessions(1_000);
        let got = newcomer.sessions() - before;
        let share = 0.2 * (f64::from(step) / 10.0 - 0.01);
        assert!((got as f64 - 1_000.0 * share).abs() < 45.0, "step {step}: {got} of 1,000");
        total += got;
        std::mem::forget(held);
    }
    assert!((900..1_100).contains(&total), "its even share over the whole ramp: {total} of 10,000");
}

#[test]
fn new_sessions_prefer_what_stays_up_to_its_share() {
    let pool = Pool::weighing(&[1; 4]);
    for Member { node: old, .. } in &pool.members[..3] {
        old.observe(Observed::Published { is_current: false });
    }
    // The one that stays already carries more than any other, but less than its share.
    let held: Vec<InSession> = [(0, 1), (1, 9), (2, 9), (3, 4)]
        .into_iter()
        .flat_map(|(index, count): (usize, usize)| (0..count).map(move |_| index))
        .map(|index| InSession::new(pool.members[index].node.clone()))
        .collect();
    let three = pool.sessions(3);
    assert_eq!(pool.carried(), [1, 9, 9, 7], "(23 + 3) / 4, and an eighth");
    drop(three);
    // Beyond its share the least loaded gets it, whoever that is.
    let ten = pool.sessions(10);
    assert_eq!(pool.carried(), [5, 9, 9, 10]);
    drop(ten);
    // Whatever else spreads them: what goes to an old one has to move again.
    let ask = pool.ask(Begins::Session, &[]);
    for policy in [Policy::InTurn, Policy::RandomTwo, by_latency(0)] {
        assert_eq!(pick(&ask, policy, &pool.cursor), Ok(3), "{policy:?}");
    }
    // Requests that begin no session do not care.
    let mut picks: Vec<_> = (0..4).map(|_| pool.request(Policy::Least(Load::InFlight)).unwrap()).collect();
    picks.sort_unstable();
    assert_eq!(picks, [0, 1, 2, 3]);
    pool.members[3].node.observe(Observed::ToldToDrain);
    let _one = pool.sessions(1);
    assert_eq!(pool.carried(), [2, 9, 9, 4], "if none stays, old ones serve");
    drop(held);
}

#[test]
fn sessions_never_pass_their_bound() {
    let bounds = NodeBounds { connections_max: None, sessions_max: Some(10) };
    let pool = Pool::of(vec![member(0, 1, false, bounds), member(1, 1, false, NodeBounds::default())]);
    let held = pool.sessions(100);
    assert_eq!(pool.carried(), [10, 90]);
    pool.members[1].node.observe(Observed::ToldToDrain);
    assert_eq!(pool.session(), Err(Unpicked::AllFull));
    assert_eq!(pool.request(Policy::Least(Load::InFlight)), Ok(0), "a request is no session");
    drop(held);
    assert_eq!(pool.session(), Ok(0));
}

/// A login is the last of some requests, as many for each client.
#[test]
fn logins_in_any_rhythm_spread_evenly() {
    for (nodes, rhythm) in (2..6).flat_map(|nodes| (1..8).map(move |rhythm| (nodes, rhythm))) {
        let pool = Pool::weighing(&vec![1; nodes]);
        let mut logins = vec![0; nodes];
        for _ in 0..10 * nodes {
            let login = (0..rhythm).map(|_| pool.request(Policy::Least(Load::InFlight)).unwrap()).last();
            logins[login.unwrap()] += 1;
            pool.cursor.pinned();
        }
        assert_eq!(logins, vec![10; nodes], "{nodes} nodes, every {rhythm}");
    }
}
