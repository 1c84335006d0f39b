//! Grants the supervisor's wishes with the data plane. The two of them meet nowhere else.

use proxy::Proxy;
use supervisor::Progress;
use supervisor::wish::Wish;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Grants each wish in its turn, until nobody wishes any more. An instance that is being emptied holds up nothing.
pub(crate) async fn grant(proxy: Proxy, mut wishes: mpsc::Receiver<Wish>) {
    let mut emptying = JoinSet::new();
    loop {
        tokio::select! {
            wish = wishes.recv() => match wish {
                Some(Wish::Publish { app, instances }) => proxy.publish(&app, &instances),
                Some(Wish::Empty { app, instance, window, deadline, emptied }) => {
                    let left = proxy.empty_instance(&app, instance, window, deadline);
                    emptying.spawn_local(async move {
                        if let Some(left) = left.await {
                            // Whoever wished may have given up.
                            let _ = emptied.send(left);
                        }
                    });
                }
                None => return,
            },
            Some(_) = emptying.join_next() => {}
        }
    }
}

/// Follows what nobody else waits for, and says in the log how it ends.
pub(crate) async fn follow(mut progress: mpsc::Receiver<Progress>) {
    while let Some(progress) = progress.recv().await {
        match progress {
            Progress::Step(_) => {}
            Progress::Done(message) => tracing::info!("{message}"),
            Progress::Failed(message) => tracing::error!("{message}"),
        }
    }
}
