//! How a client introduces itself, and how it begins anew.

use bytes::Bytes;

use super::Session;
use crate::{
    hub::Kind,
    resp::{Reply, Version},
};

impl Session {
    pub(super) fn hello(&mut self, arguments: &[Bytes]) {
        let version = match arguments.first().map(|version| &**version) {
            None => self.client.version(),
            Some(b"2") => Version::Resp2,
            Some(b"3") => Version::Resp3,
            Some(_) => return self.say(Reply::error("NOPROTO unsupported protocol version")),
        };
        let mut rest = arguments.get(1..).unwrap_or_default();
        while let Some((option, more)) = rest.split_first() {
            rest = match (&*option.to_ascii_uppercase(), more) {
                (b"AUTH", [user, password, rest @ ..]) => match self.admit(user, password) {
                    Ok(()) => rest,
                    Err(refusal) => return self.say(Reply::error(refusal)),
                },
                (b"SETNAME", [name, rest @ ..]) => match self.call(name) {
                    Ok(()) => rest,
                    Err(refusal) => return self.say(Reply::error(refusal)),
                },
                _ => return self.say(Reply::error("ERR Syntax error in HELLO")),
            };
        }
        if !self.may_enter {
            return self
                .say(Reply::error("NOAUTH HELLO needs the password here: HELLO 3 AUTH default PASSWORD"));
        }
        self.client.set_version(version);
        let mut reply = Reply::new();
        reply.map(version, 7);
        for (key, value) in
            [("server", "redis"), ("version", "7.0.0"), ("mode", "standalone"), ("role", "master")]
        {
            reply.bulk(key.as_bytes()).bulk(value.as_bytes());
        }
        reply.bulk(b"proto").integer(if version == Version::Resp3 { 3 } else { 2 });
        reply.bulk(b"id").integer(self.client.id as usize);
        reply.bulk(b"modules").array(0);
        self.say(reply.done());
    }

    pub(super) fn auth(&mut self, user: Option<&Bytes>, password: &[u8]) {
        let answer = match self.admit(user.map_or(DEFAULT_USER, |user| user), password) {
            Ok(()) => Reply::simple("OK"),
            Err(refusal) => Reply::error(refusal),
        };
        self.say(answer);
    }

    fn admit(&mut self, user: &[u8], password: &[u8]) -> Result<(), &'static str> {
        let Some(wanted) = &self.hub.password else {
            return Err("ERR AUTH called without any password configured for this broker");
        };
        if user != DEFAULT_USER || !is_same(wanted.as_bytes(), password) {
            return Err("WRONGPASS invalid username-password pair or user is disabled.");
        }
        self.may_enter = true;
        Ok(())
    }

    /// Clients introduce themselves with it. Only the name is kept.
    pub(super) fn client(&mut self, what: &[u8], rest: &[Bytes]) {
        match (what, rest) {
            (b"SETNAME", [name]) => {
                let answer = match self.call(name) {
                    Ok(()) => Reply::simple("OK"),
                    Err(refusal) => Reply::error(refusal),
                };
                self.say(answer);
            }
            (b"SETINFO" | b"NO-EVICT" | b"NO-TOUCH", _) => self.say(Reply::simple("OK")),
            (b"ID", []) => self.say_count(self.client.id as usize),
            (b"GETNAME", []) => match self.called.clone() {
                Some(name) => self.say_bulk(&name),
                None => {
                    let mut reply = Reply::new();
                    reply.null(self.client.version());
                    self.say(reply.done());
                }
            },
            _ => self.say(Reply::error("ERR unknown CLIENT subcommand or wrong number of arguments")),
        }
    }

    fn call(&mut self, name: &[u8]) -> Result<(), &'static str> {
        if name.len() > CALLED_MAX {
            return Err("ERR a client's name has at most 1024 bytes");
        }
        self.called = (!name.is_empty()).then(|| Bytes::copy_from_slice(name));
        Ok(())
    }

    pub(super) fn reset(&mut self) {
        for kind in [Kind::Channel, Kind::Pattern, Kind::Shard] {
            for name in self.names[kind as usize].drain() {
                self.hub.unsubscribe(kind, &name, &self.client);
            }
        }
        self.name_bytes = 0;
        self.client.set_version(Version::Resp2);
        self.called = None;
        self.may_enter = self.hub.password.is_none();
        self.say(Reply::simple("RESET"));
    }
}

/// Takes as long wherever the first difference is.
fn is_same(wanted: &[u8], given: &[u8]) -> bool {
    let differences = wanted.iter().zip(given).fold(0, |all, (one, other)| all | (one ^ other));
    wanted.len() == given.len() && differences == 0
}

const DEFAULT_USER: &[u8] = b"default";

/// Bytes of what a client calls itself.
const CALLED_MAX: usize = 1024;
