//! What only the app can do for other nodes: hear their server-side events, describe its sockets.

use std::sync::{Arc, PoisonError, RwLock, Weak};

use serde_json::{Value as Json, json};
use socketioxide_core::Sid;

use crate::{
    message::{Answer, Ask},
    node::Node,
};

/// What another node sent with `io.serverSideEmit(event, …arguments)`.
#[derive(Debug)]
#[non_exhaustive]
pub struct ServerSideEmit {
    /// The namespace it was sent in.
    pub namespace: String,
    /// The event's name.
    pub event: String,
    /// The rest of the arguments, an acknowledgement callback not included. Bytes look as in
    /// Node.js' JSON: `{"type":"Buffer","data":[…]}`.
    pub arguments: Vec<Json>,
    /// There if the sender waits for an answer. Dropping it answers `null`.
    pub responder: Option<Responder>,
}

/// Answers one server-side event of another node, at once or later.
#[derive(Debug)]
pub struct Responder {
    node: Weak<Node>,
    ask: Ask,
    answer: Json,
}

impl Responder {
    pub(crate) fn new(node: Weak<Node>, ask: Ask) -> Self {
        Self { node, ask, answer: Json::Null }
    }

    /// Sends the answer to the asking node.
    pub fn answer(mut self, answer: impl Into<Json>) {
        self.answer = answer.into();
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        if let Some(node) = self.node.upgrade() {
            node.answer(&self.ask, &Answer::ServerSideEmit(self.answer.take()));
        }
    }
}

/// What other nodes are told about a socket of this one. See [`Fanout::describe_sockets`](crate::Fanout::describe_sockets).
#[derive(Debug, Clone, PartialEq)]
pub struct Description {
    /// `socket.handshake` in Node.js. The default has its fields, all of them empty, so that Node.js code
    /// which reads `socket.handshake.auth.token` finds `undefined` instead of failing.
    pub handshake: Json,
    /// `socket.data` in Node.js (default `{}`).
    pub data: Json,
}

impl Default for Description {
    fn default() -> Self {
        let handshake = json!({
            "headers": {}, "time": "", "address": "", "xdomain": false, "secure": false,
            "issued": 0, "url": "", "query": {}, "auth": {},
        });
        Self { handshake, data: json!({}) }
    }
}

type OnServerSideEmit = dyn Fn(ServerSideEmit) + Send + Sync;
type Describe = dyn Fn(&str, Sid) -> Description + Send + Sync;

/// Set after the app is built, since what they do mostly needs the app.
#[derive(Default)]
pub(crate) struct Hooks {
    on_server_side_emit: RwLock<Option<Arc<OnServerSideEmit>>>,
    describe: RwLock<Option<Arc<Describe>>>,
}

impl Hooks {
    pub(crate) fn set_on_server_side_emit(&self, hook: Arc<OnServerSideEmit>) {
        *self.on_server_side_emit.write().unwrap_or_else(PoisonError::into_inner) = Some(hook);
    }

    /// What describes mostly holds the app, which holds us.
    pub(crate) fn let_go(&self) {
        *self.describe.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(crate) fn describes(&self) -> bool {
        self.describe.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    pub(crate) fn set_describe(&self, hook: Arc<Describe>) {
        *self.describe.write().unwrap_or_else(PoisonError::into_inner) = Some(hook);
    }

    pub(crate) fn server_side_emit(&self, event: ServerSideEmit) {
        // Cloned, so that the app's code never runs under our lock.
        let hook = self.on_server_side_emit.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(hook) = hook {
            hook(event);
        }
    }

    pub(crate) fn describe(&self, namespace: &str, sid: Sid) -> Description {
        let hook = self.describe.read().unwrap_or_else(PoisonError::into_inner).clone();
        hook.map_or_else(Description::default, |hook| hook(namespace, sid))
    }
}
