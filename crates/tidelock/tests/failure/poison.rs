//! Goal: a request that kills processes costs two of them at most, and its repetitions one each. Method: nodes that end at
//! the sight of one path; a process that is gone is a port that refuses.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use testkit::message::Message;
use testkit::origin::Origin;
use testkit::raw::{RawConnection, get};
use testkit::tidelock::{Tidelock, config_for};
use tokio::task::JoinHandle;

/// A node that ends when it is asked for `/poison`.
fn mortal(origin: Origin, deaths: Arc<AtomicUsize>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut serving = tokio::task::JoinSet::new();
        let (died, mut death) = tokio::sync::mpsc::channel::<()>(1);
        loop {
            tokio::select! {
                mut connection = origin.accept() => {
                    let died = died.clone();
                    serving.spawn(async move {
                        while let Some(request) = next(&mut connection).await {
                            if request.start.contains("/poison") {
                                // The whole process goes, and with it what it listens on.
                                let _ = died.send(()).await;
                                std::future::pending::<()>().await;
                            }
                            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
                        }
                    });
                }
                _ = death.recv() => {
                    deaths.fetch_add(1, Ordering::SeqCst);
                    drop(origin);
                    serving.shutdown().await;
                    return;
                }
            }
        }
    })
}

async fn next(connection: &mut RawConnection) -> Option<Message> {
    connection.try_next_request().await
}

#[tokio::test]
async fn one_poisonous_request_costs_two_processes_and_its_repetitions_one() {
    let deaths = Arc::new(AtomicUsize::new(0));
    let mut origins = Vec::new();
    for _ in 0..6 {
        origins.push(Origin::bind().await);
    }
    let addresses: Vec<_> = origins.iter().map(Origin::address).collect();
    let _nodes: Vec<_> = origins.into_iter().map(|origin| mortal(origin, deaths.clone())).collect();
    let proxy = Tidelock::start(env!("CARGO_BIN_EXE_tidelock"), &config_for(&addresses)).await;
    for _ in 0..12 {
        assert_eq!(get(proxy.address(), "/").await.status(), 200);
    }
    assert_eq!(get(proxy.address(), "/poison").await.status(), 502);
    assert_eq!(deaths.load(Ordering::SeqCst), 2);
    for more in 1..=2 {
        assert_eq!(get(proxy.address(), "/poison?again").await.status(), 502);
        assert_eq!(deaths.load(Ordering::SeqCst), 2 + more);
    }
    // What kills nobody is answered by whoever is left.
    assert_eq!(get(proxy.address(), "/").await.status(), 200);
}
