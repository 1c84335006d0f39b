//! What a client listens to, and what it may ask about the subscriptions of all.

use std::collections::HashSet;

use bytes::Bytes;

use super::Session;
use crate::{hub::Kind, resp::Reply};

impl Session {
    pub(super) fn subscribe(&mut self, kind: Kind, names: &[Bytes]) {
        for name in names {
            if let Err(refusal) = self.remember(kind, name) {
                self.say(Reply::error(refusal));
                continue;
            }
            // Confirmed before the first message can come.
            self.confirm(SUBSCRIBED[kind as usize], Some(name), kind);
            self.hub.subscribe(kind, name, &self.client);
        }
    }

    fn remember(&mut self, kind: Kind, name: &Bytes) -> Result<(), &'static str> {
        if self.names[kind as usize].contains(name) {
            return Ok(());
        }
        let total: usize = self.names.iter().map(HashSet::len).sum();
        if total >= self.hub.limits.subscriptions_max {
            return Err("ERR too many subscriptions on this connection");
        }
        if self.name_bytes + name.len() > self.hub.limits.subscription_bytes_max {
            return Err("ERR too many bytes of subscriptions on this connection");
        }
        self.name_bytes += name.len();
        self.names[kind as usize].insert(Bytes::copy_from_slice(name));
        Ok(())
    }

    pub(super) fn unsubscribe(&mut self, kind: Kind, names: &[Bytes]) {
        let names = match names {
            [] => self.names[kind as usize].iter().cloned().collect(),
            names => names.to_vec(),
        };
        if names.is_empty() {
            self.confirm(UNSUBSCRIBED[kind as usize], None, kind);
        }
        for name in &names {
            if self.names[kind as usize].remove(name) {
                self.name_bytes -= name.len();
            }
            self.hub.unsubscribe(kind, name, &self.client);
            self.confirm(UNSUBSCRIBED[kind as usize], Some(name), kind);
        }
    }

    fn confirm(&mut self, what: &str, name: Option<&Bytes>, kind: Kind) {
        let left = match kind {
            Kind::Channel | Kind::Pattern => self.names[0].len() + self.names[1].len(),
            Kind::Shard => self.names[2].len(),
        };
        let version = self.client.version();
        let mut reply = Reply::new();
        reply.push(version, 3).bulk(what.as_bytes());
        match name {
            Some(name) => reply.bulk(name),
            None => reply.null(version),
        };
        reply.integer(left);
        self.say(reply.done());
    }

    pub(super) fn pubsub(&mut self, what: &[u8], rest: &[Bytes]) {
        let mut reply = Reply::new();
        match (what, rest) {
            (b"NUMSUB" | b"SHARDNUMSUB", names) => {
                let kind = if what == b"NUMSUB" { Kind::Channel } else { Kind::Shard };
                reply.array(names.len() * 2);
                for name in names {
                    reply.bulk(name).integer(self.hub.count(kind, name));
                }
            }
            (b"CHANNELS" | b"SHARDCHANNELS", [] | [_]) => {
                let kind = if what == b"CHANNELS" { Kind::Channel } else { Kind::Shard };
                let names = self.hub.names(kind, rest.first());
                reply.array(names.len());
                names.iter().for_each(|name| {
                    reply.bulk(name);
                });
            }
            (b"NUMPAT", []) => {
                reply.integer(self.hub.patterns());
            }
            _ => return self.say(Reply::error("ERR unknown PUBSUB subcommand or wrong number of arguments")),
        }
        self.say(reply.done());
    }
}

const SUBSCRIBED: [&str; 3] = ["subscribe", "psubscribe", "ssubscribe"];
const UNSUBSCRIBED: [&str; 3] = ["unsubscribe", "punsubscribe", "sunsubscribe"];
