//! What was said, for those who were away: a session that moves misses what is said meanwhile, on every Socket.IO server, and an
//! app that may lose nothing keeps it somewhere. In others that is a database; here it is the memory of this program, which
//! hears what the nodes tell each other.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, anyhow};
use fanout::{Fanout, Options, RedisAdapter};
use serde_json::Value as Json;
use socketioxide::SocketIo;
use socketioxide::adapter::Emitter;
use tidelock_chat::events::SAID;

/// The last messages that had an id. All clones are one.
#[derive(Clone)]
pub(crate) struct History {
    said: Arc<Mutex<VecDeque<Json>>>,
    /// A member of the fleet without clients of its own.
    _member: SocketIo<RedisAdapter<Emitter>>,
    _fleet: Fanout,
}

impl History {
    /// Listens from when it comes back.
    pub(crate) async fn listen(url: &str) -> Result<Self> {
        let fleet = fanout::connect(url, Options::default()).await.map_err(|error| {
            // The address itself may have a password in it.
            anyhow!("REDIS_URL: {error}")
        })?;
        let said = Arc::new(Mutex::new(VecDeque::new()));
        let hearing = said.clone();
        fleet.on_server_side_emit(move |mut emit| {
            if emit.event == SAID && !emit.arguments.is_empty() {
                let mut said = hearing.lock().unwrap_or_else(PoisonError::into_inner);
                if said.len() == KEPT_MAX {
                    said.pop_front();
                }
                said.push_back(emit.arguments.swap_remove(0));
            }
        });
        let (_, member) =
            SocketIo::builder().with_adapter::<RedisAdapter<Emitter>>(fleet.clone()).build_layer();
        member.ns("/", async || {}).await;
        Ok(Self { said, _member: member, _fleet: fleet })
    }

    /// What was said in a room from then on, in milliseconds since 1970.
    pub(crate) fn since(&self, room: &str, since_ms: u64) -> Vec<Json> {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let is_missed = |message: &&Json| {
            message["room"] == *room && message["at"].as_u64().is_some_and(|at| at >= since_ms)
        };
        said.iter().filter(is_missed).cloned().collect()
    }
}

/// Some minutes of a lively room.
const KEPT_MAX: usize = 2_000;
