//! Carries the supervisor's requests to the data plane. The two of them meet nowhere else.

use std::collections::BTreeSet;

use proxy::Proxy;
use supervisor::Progress;
use supervisor::requests::DataPlaneRequest;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Carries out each request in its turn. An instance that is being emptied delays none of them.
#[derive(Debug)]
pub(crate) struct Bridge {
    proxy: Proxy,
    requests: mpsc::Receiver<DataPlaneRequest>,
    emptying: JoinSet<()>,
}

impl Bridge {
    pub(crate) fn new(proxy: Proxy, requests: mpsc::Receiver<DataPlaneRequest>) -> Self {
        Self { proxy, requests, emptying: JoinSet::new() }
    }

    /// Until the supervisor is gone.
    pub(crate) async fn run(mut self) {
        while self.one().await.is_some() {}
    }

    /// Until the instances of all these apps are known.
    pub(crate) async fn until_known(&mut self, mut apps: BTreeSet<String>) {
        while !apps.is_empty()
            && let Some(published) = self.one().await
        {
            apps.remove(&published);
        }
    }

    /// Carries out the next. Gives back the app whose instances are known by it, and nothing after the last.
    async fn one(&mut self) -> Option<String> {
        let Self { proxy, requests, emptying } = self;
        loop {
            tokio::select! {
                request = requests.recv() => match request {
                    Some(DataPlaneRequest::Publish { app, instances, is_stopped }) => {
                        proxy.publish(&app, &instances, is_stopped);
                        return Some(app);
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
                    None => return None,
                },
                Some(_) = emptying.join_next() => {}
            }
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
