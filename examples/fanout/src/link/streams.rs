//! Reads the streams of [`Mode::Streams`](crate::Mode), each over a connection of its own, since it waits there. A
//! connection that is lost costs nothing: the next one reads on after the last entry, as long as Redis still has what follows.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use redis::{RedisResult, Value};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::{
    Shared, backoff::Backoff, connection::Connection, connector::Connector, keep_logged_in, patiently,
};
use crate::{
    dialect::Kind,
    options::Credentials,
    stats::{Event, Side},
    streams::Read,
};

/// Entries in one answer, as in Node.js. What a busy fleet says in between waits in Redis.
const COUNT: usize = 100;

/// A stream, and whether it is known where to begin.
pub(crate) struct Reading {
    name: String,
    ready: watch::Sender<bool>,
}

impl Reading {
    pub(super) fn new(name: String) -> Self {
        Self { name, ready: watch::Sender::new(false) }
    }
}

/// An entry's place: milliseconds, and a number within them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Id(u64, u64);

impl Id {
    fn parse(text: &[u8]) -> Option<Self> {
        let (ms, number) = std::str::from_utf8(text).ok()?.split_once('-')?;
        Some(Self(ms.parse().ok()?, number.parse().ok()?))
    }

    fn text(self) -> String {
        format!("{}-{}", self.0, self.1)
    }
}

/// Before a node is counted it must hear everything, from that moment on.
pub(super) async fn ready(shared: &Shared) -> RedisResult<()> {
    for reading in &shared.streams {
        // The sender lives as long as `shared`.
        let _ = reading.ready.subscribe().wait_for(|ready| *ready).await;
    }
    Ok(())
}

pub(super) async fn keep(shared: Arc<Shared>, connector: Connector, reading: Arc<Reading>) {
    let mut backoff = Backoff::new(shared.options.retry_max);
    let mut last_error = String::new();
    // The last entry that was read. Unknown until Redis has been asked once.
    let mut last: Option<Id> = None;
    loop {
        shared.counters.connects.fetch_add(1, Relaxed);
        let credentials = connector.credentials();
        let error = match connector.connect(Side::Reader, credentials.as_ref(), None).await {
            Err(error) => error.to_string(),
            Ok(mut connection) => match begin(&shared, &mut connection, &reading.name, &mut last).await {
                Err(error) => error,
                Ok(at) => {
                    backoff.reset();
                    last_error.clear();
                    shared.counters.tell(&Event::Connected(Side::Reader));
                    reading.ready.send_replace(true);
                    let at = (&*reading.name, last.insert(at));
                    read_until_lost(&shared, connection, credentials, at).await
                }
            },
        };
        if error != last_error {
            shared.counters.tell(&Event::Disconnected { side: Side::Reader, error: error.clone() });
            last_error = error;
        }
        sleep(backoff.pause(Instant::now())).await;
    }
}

/// Where to read on. A node that starts begins after the last entry that there is.
async fn begin(
    shared: &Shared,
    connection: &mut Connection,
    stream: &str,
    last: &mut Option<Id>,
) -> Result<Id, String> {
    let mut newest = redis::cmd("XREVRANGE");
    newest.arg(stream).arg("+").arg("-").arg("COUNT").arg(1);
    let newest = patiently(shared, Side::Reader, connection.query(&newest)).await?;
    let newest = entries(newest).first().map_or(Id::default(), |(id, _)| *id);
    let Some(at) = *last else { return Ok(newest) };
    let mut ours = redis::cmd("XRANGE");
    ours.arg(stream).arg(at.text()).arg(at.text());
    let ours = patiently(shared, Side::Reader, connection.query(&ours)).await?;
    if at == Id::default() || !entries(ours).is_empty() {
        return Ok(at);
    }
    // Redis has forgotten it, and what was said after it may be gone as well. A stream that ends before it is another one:
    // a Redis that came back empty, or a replica that had not got as far.
    shared.counters.close_gap_of(shared.life.last(), Instant::now());
    Ok(at.min(newest))
}

/// Says why it ended. `last` is moved on with every entry.
async fn read_until_lost(
    shared: &Shared,
    mut connection: Connection,
    mut credentials: Option<Credentials>,
    (stream, last): (&str, &mut Id),
) -> String {
    let mut asked = Instant::now();
    // Answers before the next probe would be due, so that silence means the same as on the other connections.
    let block = (shared.options.probe_interval / 2).as_millis().max(1) as u64;
    loop {
        if asked.elapsed() >= shared.options.probe_interval {
            asked = Instant::now();
            let logged_in = keep_logged_in(shared, Side::Reader, &mut connection, &mut credentials);
            if let Err(error) = logged_in.await {
                return error;
            }
        }
        let mut read = redis::cmd("XREAD");
        read.arg("COUNT").arg(COUNT).arg("BLOCK").arg(block).arg("STREAMS").arg(stream).arg(last.text());
        let answer = match patiently(shared, Side::Reader, connection.query(&read)).await {
            Ok(answer) => answer,
            Err(error) => return error,
        };
        let all = first_stream(answer).map(entries).unwrap_or_default();
        // Who is that far behind may be overtaken by the end that Redis cuts off.
        let behind = all.len() >= COUNT;
        let before = *last;
        for (id, fields) in all {
            *last = id;
            deliver(shared, fields);
        }
        if behind {
            match is_cut_off(shared, &mut connection, stream, before).await {
                Ok(true) => shared.counters.close_gap_of(shared.life.last(), Instant::now()),
                Ok(false) => {}
                Err(error) => return error,
            }
        }
    }
}

/// Whether entries after `at` may be gone.
async fn is_cut_off(
    shared: &Shared,
    connection: &mut Connection,
    stream: &str,
    at: Id,
) -> Result<bool, String> {
    let mut oldest = redis::cmd("XRANGE");
    oldest.arg(stream).arg("-").arg("+").arg("COUNT").arg(1);
    let oldest = patiently(shared, Side::Reader, connection.query(&oldest)).await?;
    Ok(at != Id::default() && entries(oldest).first().is_some_and(|(id, _)| *id > at))
}

/// An entry's fields and values, one after the other.
type Fields = Vec<Value>;

fn deliver(shared: &Shared, fields: Fields) {
    let mut fields = fields.into_iter();
    let (mut uid, mut namespace, mut kind, mut data) = (String::new(), String::new(), 0, Vec::new());
    while let (Some(Value::BulkString(name)), Some(Value::BulkString(value))) = (fields.next(), fields.next())
    {
        match &*name {
            b"uid" => uid = String::from_utf8_lossy(&value).into_owned(),
            b"nsp" => namespace = String::from_utf8_lossy(&value).into_owned(),
            // What is no number is a type that nobody knows.
            b"type" => {
                kind = std::str::from_utf8(&value).ok().and_then(|kind| kind.parse().ok()).unwrap_or(0);
            }
            b"data" => data = value,
            _ => {}
        }
    }
    let roll_call = format!("{}#{namespace}#", shared.options.prefix);
    if let Some(node) = shared.node_of(Kind::Channel, &roll_call) {
        node.receive_entry(Read { uid, namespace, kind, data: data.into() });
    }
}

/// The entries of the one stream in an answer to XREAD, which is a map in RESP3 and an array of pairs in RESP2.
fn first_stream(answer: Value) -> Option<Value> {
    match answer {
        Value::Map(pairs) => pairs.into_iter().next().map(|(_, entries)| entries),
        Value::Array(pairs) => match pairs.into_iter().next() {
            Some(Value::Array(mut pair)) => pair.pop(),
            _ => None,
        },
        _ => None,
    }
}

/// An entry is an array of its id and its fields.
fn entries(answer: Value) -> Vec<(Id, Fields)> {
    let Value::Array(entries) = answer else { return Vec::new() };
    let entry = |entry| match entry {
        Value::Array(mut pair) => match (pair.pop(), pair.pop()) {
            (Some(Value::Array(fields)), Some(Value::BulkString(id))) => Some((Id::parse(&id)?, fields)),
            _ => None,
        },
        _ => None,
    };
    entries.into_iter().filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::{Id, entries, first_stream};
    use redis::Value;

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn answers_read_the_same_in_both_versions_of_the_protocol() {
        let entry = Value::Array(vec![text("5-1"), Value::Array(vec![text("nsp"), text("/")])]);
        let deleted = Value::Array(vec![text("5-2"), Value::Nil]);
        let list = Value::Array(vec![entry, deleted]);
        let three = Value::Map(vec![(text("socket.io"), list.clone())]);
        let two = Value::Array(vec![Value::Array(vec![text("socket.io"), list])]);
        for answer in [two, three] {
            let read = entries(first_stream(answer).unwrap());
            assert_eq!(read, [(Id(5, 1), vec![text("nsp"), text("/")])]);
        }
        assert!(first_stream(Value::Nil).is_none());
    }

    #[test]
    fn ids_are_ordered_as_numbers() {
        let ids = ["9-10", "10-2", "10-10"].map(|id| Id::parse(id.as_bytes()).unwrap());
        assert!(ids.is_sorted());
        assert_eq!(ids[2].text(), "10-10");
        assert_eq!(Id::parse(b"10"), None);
    }
}
