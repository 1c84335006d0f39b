//! One client of the broker, from its first command to its end.

mod greeting;
mod subscriptions;

use std::{collections::HashSet, io, sync::Arc};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::{
    hub::{Client, Hub, Kind, Wakes},
    resp::{ProtocolError, Reply, Version, shrink, take_command},
};

/// What is read in one go.
const CHUNK: usize = 64 << 10;

pub(crate) async fn run(stream: impl AsyncRead + AsyncWrite + Send + 'static, hub: Arc<Hub>) {
    let (reader, mut writer) = tokio::io::split(stream);
    let Some(client) = hub.enter() else {
        let _ = writer.write_all(&Reply::error("ERR max number of clients reached")).await;
        return;
    };
    let mut session = Session {
        may_enter: hub.password.is_none(),
        hub: hub.clone(),
        client: client.clone(),
        names: Default::default(),
        name_bytes: 0,
        called: None,
        wakes: Wakes::default(),
    };
    tokio::select! {
        // Replies still waiting when the client has said goodbye are written before the end.
        _ = async { tokio::join!(session.read(reader), write(&hub, &client, writer)) } => {}
        () = client.cut.notified() => {}
    }
}

/// Until the session says that nothing follows, or the client is gone.
async fn write(hub: &Hub, client: &Client, mut writer: impl AsyncWrite + Unpin) -> io::Result<()> {
    let mut memory = BytesMut::new();
    loop {
        let outbox = client.next(&mut memory).await;
        let is_last = outbox.is_last;
        match outbox.write(&mut writer, |written| client.settle(written, &hub.limits)).await {
            Ok(empty) => memory = empty,
            Err(error) => {
                // The reading half may wait for ever on a socket that cannot be written to.
                client.cut.notify_one();
                return Err(error);
            }
        }
        if is_last {
            return writer.shutdown().await;
        }
    }
}

struct Session {
    hub: Arc<Hub>,
    client: Arc<Client>,
    /// This client's channels, patterns and shard channels.
    names: [HashSet<Bytes>; 3],
    /// The bytes of all of them.
    name_bytes: usize,
    /// What it calls itself.
    called: Option<Bytes>,
    /// Whether it has said the password, if there is one.
    may_enter: bool,
    wakes: Wakes,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.forget_names();
        self.hub.leave();
    }
}

/// Whether the client stays.
#[derive(PartialEq)]
enum Next {
    Go,
    Close,
}

impl Session {
    async fn read(&mut self, mut reader: impl AsyncRead + Unpin) {
        let mut buffer = BytesMut::new();
        'connection: loop {
            buffer.reserve(CHUNK);
            match reader.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
            loop {
                let limits = match self.may_enter {
                    true => self.hub.limits,
                    false => self.hub.limits.of_strangers(),
                };
                match take_command(&mut buffer, &limits) {
                    Ok(Some(command)) => {
                        if self.obey(&command) == Next::Close {
                            break 'connection;
                        }
                        if self.wakes.is_anyone_behind() {
                            self.wakes.wake();
                            self.hub.let_catch_up(&mut self.wakes).await;
                        }
                    }
                    Ok(None) => break,
                    Err(ProtocolError(what)) => {
                        self.say(Reply::error(&format!("ERR Protocol error: {what}")));
                        break 'connection;
                    }
                }
            }
            self.wakes.wake();
            shrink(&mut buffer);
        }
        self.wakes.wake();
        // Whoever sees the connection end must not find it counted.
        self.forget_names();
        self.client.close();
    }

    fn forget_names(&mut self) {
        for kind in [Kind::Channel, Kind::Pattern, Kind::Shard] {
            for name in self.names[kind as usize].drain() {
                self.hub.unsubscribe(kind, &name, &self.client);
            }
        }
    }

    fn obey(&mut self, command: &[Bytes]) -> Next {
        let Some((name, arguments)) = command.split_first() else { return Next::Go };
        let mut upper = [0; NAME_MAX];
        let upper = &mut upper[..name.len().min(NAME_MAX)];
        upper.copy_from_slice(&name[..upper.len()]);
        upper.make_ascii_uppercase();
        let name = &*upper;
        if !self.may_enter && !matches!(name, b"AUTH" | b"HELLO" | b"QUIT" | b"RESET") {
            self.say(Reply::error("NOAUTH Authentication required."));
            return Next::Go;
        }
        if self.may_only_subscribe() && !ALLOWED_TO_SUBSCRIBERS.contains(&name) {
            let name = String::from_utf8_lossy(name).to_lowercase();
            self.say(Reply::error(&format!(
                "ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"
            )));
            return Next::Go;
        }
        match (name, arguments) {
            (b"SUBSCRIBE", [_, ..]) => self.subscribe(Kind::Channel, arguments),
            (b"PSUBSCRIBE", [_, ..]) => self.subscribe(Kind::Pattern, arguments),
            (b"SSUBSCRIBE", [_, ..]) => self.subscribe(Kind::Shard, arguments),
            (b"UNSUBSCRIBE", _) => self.unsubscribe(Kind::Channel, arguments),
            (b"PUNSUBSCRIBE", _) => self.unsubscribe(Kind::Pattern, arguments),
            (b"SUNSUBSCRIBE", _) => self.unsubscribe(Kind::Shard, arguments),
            (b"PUBLISH", [channel, message]) => {
                let reached = self.hub.publish(channel, message, &mut self.wakes);
                self.say_count(reached);
            }
            (b"SPUBLISH", [channel, message]) => {
                let reached = self.hub.publish_shard(channel, message, &mut self.wakes);
                self.say_count(reached);
            }
            (b"PUBSUB", [what, rest @ ..]) => self.pubsub(&what.to_ascii_uppercase(), rest),
            (b"PING", [] | [_]) => self.ping(arguments.first()),
            (b"ECHO", [text]) => self.say_bulk(text),
            (b"HELLO", _) => self.hello(arguments),
            (b"CLIENT", [what, rest @ ..]) => self.client(&what.to_ascii_uppercase(), rest),
            (b"SELECT", [database]) if &**database == b"0" => self.say(Reply::simple("OK")),
            (b"SELECT", [_]) => self.say(Reply::error("ERR DB index is out of range")),
            (b"AUTH", [password]) => self.auth(None, password),
            (b"AUTH", [user, password]) => self.auth(Some(user), password),
            // ioredis asks whether a server is still loading before it uses it.
            (b"INFO", _) => {
                self.say_bulk(b"# Server\r\nredis_version:7.0.0\r\nredis_mode:standalone\r\nloading:0\r\n");
            }
            (b"RESET", []) => self.reset(),
            (b"QUIT", _) => {
                self.say(Reply::simple("OK"));
                return Next::Close;
            }
            _ => self.refuse(name, arguments),
        }
        Next::Go
    }

    fn refuse(&mut self, name: &[u8], arguments: &[Bytes]) {
        let name = String::from_utf8_lossy(name).into_owned();
        self.say(Reply::error(&match KNOWN.contains(&name.as_bytes()) {
            true => format!("ERR wrong number of arguments for '{}' command", name.to_lowercase()),
            false => format!(
                "ERR unknown command '{name}' with {} arguments: this is tidelock's embedded pub/sub broker",
                arguments.len()
            ),
        }));
    }

    /// RESP2 has no way to tell a message from an answer, so a subscriber must not ask anything.
    fn may_only_subscribe(&self) -> bool {
        self.client.version() == Version::Resp2 && self.names.iter().any(|names| !names.is_empty())
    }

    fn ping(&mut self, text: Option<&Bytes>) {
        match (text, self.may_only_subscribe()) {
            (text, true) => {
                let mut reply = Reply::new();
                reply.array(2).bulk(b"pong").bulk(text.map_or(b"", |text| text));
                self.say(reply.done());
            }
            (Some(text), false) => self.say_bulk(text),
            (None, false) => self.say(Reply::simple("PONG")),
        }
    }

    fn say_count(&mut self, count: usize) {
        let mut reply = Reply::new();
        reply.integer(count);
        self.say(reply.done());
    }

    fn say_bulk(&mut self, bytes: &[u8]) {
        let mut reply = Reply::new();
        reply.bulk(bytes);
        self.say(reply.done());
    }

    fn say(&mut self, bytes: Bytes) {
        self.hub.hand(&self.client, &bytes, &mut self.wakes);
    }
}

/// Longer than any command's name.
const NAME_MAX: usize = 16;

const ALLOWED_TO_SUBSCRIBERS: &[&[u8]] = &[
    b"SUBSCRIBE",
    b"PSUBSCRIBE",
    b"SSUBSCRIBE",
    b"UNSUBSCRIBE",
    b"PUNSUBSCRIBE",
    b"SUNSUBSCRIBE",
    b"PING",
    b"QUIT",
    b"RESET",
];

const KNOWN: &[&[u8]] = &[
    b"SUBSCRIBE",
    b"PSUBSCRIBE",
    b"SSUBSCRIBE",
    b"PUBLISH",
    b"SPUBLISH",
    b"PUBSUB",
    b"PING",
    b"ECHO",
    b"CLIENT",
    b"SELECT",
    b"RESET",
];
