//! Goal: a pool keeps somebody who serves, and says of each node how it is. Method: what exchanges and probes see of the
//! nodes of a small pool, by a clock that only the tests move.

use std::time::Duration;

use config::plan::Upstream;
use fastrand::Rng;
use tokio::time::advance;

use super::*;

/// A pool as the file would have it, with `more` in its upstream.
fn pool(count: usize, more: &str) -> (Vec<Arc<Node>>, Arc<PoolGuard>) {
    let addresses: Vec<_> = (0..count).map(|at| format!("127.0.0.1:{}", 3000 + at)).collect();
    let file = format!(
        "[[listen]]\naddress = \":80\"\n[[route]]\nupstream = \"n\"\n[upstream.n]\nnodes = {addresses:?}\n{more}"
    );
    let plan = config::parse(&file, "test.toml".as_ref()).expect("a file without mistakes").plan;
    let upstream: &Arc<Upstream> = &plan.upstreams[0];
    let pool_guard = Arc::default();
    let node = |written: &String| {
        let address = NodeAddress::Tcp(written.parse().expect("an address"));
        let entry = RosterNode {
            written: written.clone(),
            address,
            tls_name: None,
            instance: None,
            weight: 1,
            backup: false,
            bounds: Default::default(),
        };
        let node = Node::new("n", &entry);
        node.put_under(upstream, &pool_guard, written);
        Arc::new(node)
    };
    let nodes: Vec<_> = addresses.iter().map(node).collect();
    pool_guard.admit(nodes.iter().map(|node| (node, false)));
    (nodes, pool_guard)
}

fn up(nodes: &[Arc<Node>]) -> usize {
    nodes.iter().filter(|node| node.is_up()).count()
}

#[tokio::test(start_paused = true)]
async fn an_ejection_never_empties_a_pool() {
    for seed in 0..100 {
        let mut dice = Rng::with_seed(seed);
        let count = dice.usize(1..8);
        let (nodes, _ward) = pool(count, "[upstream.n.outliers]\nerrors = 2\nfailures = 2\n");
        for _ in 0..500 {
            advance(Duration::from_millis(dice.u64(0..2_000))).await;
            let observed = match dice.u32(0..10) {
                0..4 => Observed::Failed("x"),
                4..8 => Observed::AnsweredBadly,
                8 => Observed::Outlier("z"),
                _ => Observed::Reached,
            };
            nodes[dice.usize(0..count)].observe(observed);
            assert!(up(&nodes) > 0, "seed {seed}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn half_of_a_pool_may_be_out_for_its_answers() {
    for (count, left) in [(1, 1), (2, 1), (3, 2), (4, 2), (7, 4)] {
        let (nodes, _ward) = pool(count, "");
        for node in &nodes {
            node.observe(Observed::Outlier("z"));
        }
        assert_eq!(up(&nodes), left, "of {count}");
    }
    // Those that do not answer at all may all go but one.
    let (nodes, _ward) = pool(4, "");
    for node in nodes.iter().flat_map(|node| [node; 3]) {
        node.observe(Observed::Failed("x"));
    }
    assert_eq!(up(&nodes), 1);
    // Nobody listens there: that is no opinion.
    for node in &nodes {
        node.observe(Observed::Refused);
    }
    assert_eq!(up(&nodes), 0);
}

#[tokio::test(start_paused = true)]
async fn people_are_told_how_long_and_how_far() {
    let (nodes, _ward) = pool(2, "");
    nodes[0].observe(Observed::Outlier("it is late"));
    advance(Duration::from_secs(4)).await;
    assert_eq!(nodes[0].cause(Instant::now()).0, "it is late; out for 7 s more");
    advance(Duration::from_secs(7)).await;
    nodes[0].observe(Observed::Reached);
    advance(Duration::from_secs(4)).await;
    nodes[0].step_share(Instant::now());
    assert_eq!(nodes[0].cause(Instant::now()).0, "it answers probes; slow start, 40 %");
    advance(Duration::from_secs(6)).await;
    assert!(!nodes[0].step_share(Instant::now()));
    assert_eq!(nodes[0].cause(Instant::now()).0, "it answers probes");
}
