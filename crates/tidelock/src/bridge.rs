//! Carries the supervisor's requests to the data plane. The two of them meet nowhere else.

use proxy::Proxy;
use supervisor::Progress;
use supervisor::requests::DataPlaneRequest;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Carries out each request in its turn, until the supervisor is gone. An instance that is being emptied delays none of them.
pub(crate) async fn bridge(proxy: Proxy, mut requests: mpsc::Receiver<DataPlaneRequest>) {
    let mut emptying = JoinSet::new();
    loop {
        tokio::select! {
            request = requests.recv() => match request {
                Some(DataPlaneRequest::Publish { app, instances, is_stopped }) => {
                    proxy.publish(&app, &instances, is_stopped);
                }
                Some(DataPlaneRequest::Empty { app, instance, window, deadline, emptied }) => {
                    let left = proxy.empty_instance(&app, instance, window, deadline);
                    emptying.spawn_local(async move {
                        if let Some(left) = left.await {
                            // The supervisor may have given up.
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
