//! Keeps the connection that messages arrive on, and knows when it was not there.

use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use bytes::Bytes;
use redis::{PushInfo, PushKind, Value};
use tokio::{
    sync::Notify,
    time::{Instant, MissedTickBehavior, interval, sleep},
};

use super::{
    Shared,
    backoff::Backoff,
    connection::Connection,
    connector::{Connector, Receive},
    keep_logged_in, modes, patiently, streams,
};
use crate::{
    dialect::{Kind, Subscription},
    options::Credentials,
    stats::{Event, Side},
};

pub(super) async fn keep(shared: Arc<Shared>, connector: Connector, tried: Arc<Notify>) {
    let mut backoff = Backoff::new(shared.options.retry_max);
    let mut last_error = String::new();
    loop {
        shared.counters.connects.fetch_add(1, Relaxed);
        let ended = Arc::new(Notify::new());
        let mut confirmed = HashSet::new();
        let credentials = connector.credentials();
        let receive = receive(shared.clone(), ended.clone());
        let error = match connector.connect(Side::Subscriber, credentials.as_ref(), Some(receive)).await {
            Err(error) => error.to_string(),
            Ok(mut connection) => match begin(&shared, &mut connection, &mut confirmed).await {
                Err(error) => error,
                Ok(()) => {
                    backoff.reset();
                    last_error.clear();
                    shared.counters.close_gap(Instant::now());
                    tried.notify_one();
                    attend(&shared, (connection, credentials), &mut confirmed, &ended).await
                }
            },
        };
        shared.counters.open_gap(shared.life.last());
        for node in shared.wanted().values() {
            node.subscribed.send_replace(false);
        }
        if error != last_error {
            shared.counters.tell(&Event::Disconnected { side: Side::Subscriber, error: error.clone() });
            last_error = error;
        }
        tried.notify_one();
        sleep(backoff.pause(Instant::now())).await;
    }
}

async fn begin(
    shared: &Shared,
    connection: &mut Connection,
    confirmed: &mut HashSet<Subscription>,
) -> Result<(), String> {
    patiently(shared, Side::Subscriber, streams::ready(shared)).await?;
    follow(shared, connection, confirmed).await
}

/// Until the connection is lost. Says why.
async fn attend(
    shared: &Shared,
    (mut connection, mut credentials): (Connection, Option<Credentials>),
    confirmed: &mut HashSet<Subscription>,
    ended: &Notify,
) -> String {
    let mut probe = interval(shared.options.probe_interval);
    probe.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut told, mut probes) = (false, 0_u32);
    loop {
        // Before an app has a namespace there is nothing to hear.
        if !told && !confirmed.is_empty() {
            shared.counters.tell(&Event::Connected(Side::Subscriber));
            told = true;
        }
        let work = async {
            tokio::select! {
                () = shared.wanted_changed.notified() => follow(shared, &mut connection, confirmed).await,
                _ = probe.tick() => {
                    keep_logged_in(shared, Side::Subscriber, &mut connection, &mut credentials).await?;
                    patiently(shared, Side::Subscriber, connection.ping()).await?;
                    // Before anything is asked on the other connection, which may not answer any more.
                    shared.life.sign();
                    shared.sweep();
                    // Twice in a row, and again a little later.
                    if probes % 10 < 2 {
                        modes::look(shared).await;
                    }
                    probes = probes.wrapping_add(1);
                    Ok(())
                }
            }
        };
        let outcome = tokio::select! {
            () = ended.notified() => return "the connection ended".to_owned(),
            outcome = work => outcome,
        };
        if let Err(error) = outcome {
            return error;
        }
    }
}

/// Makes the subscriptions of the connection those that are wanted.
async fn follow(
    shared: &Shared,
    connection: &mut Connection,
    confirmed: &mut HashSet<Subscription>,
) -> Result<(), String> {
    let wanted = shared.wanted();
    let gone: Vec<_> =
        confirmed.iter().filter(|subscription| !wanted.contains_key(subscription)).cloned().collect();
    for subscription in gone {
        confirmed.remove(&subscription);
        patiently(shared, Side::Subscriber, connection.unsubscribe(&subscription)).await?;
    }
    let mut missing: Vec<_> =
        wanted.iter().filter(|(subscription, _)| !confirmed.contains(*subscription)).collect();
    // Other nodes count the subscribers of the roll call. One that is counted must hear everything.
    missing.sort_by_key(|(subscription, node)| subscription.name == node.dialect.roll_call());
    for (subscription, _) in missing {
        patiently(shared, Side::Subscriber, connection.subscribe(subscription)).await?;
        confirmed.insert(subscription.clone());
    }
    shared.life.sign();
    for node in wanted.values() {
        node.subscribed.send_replace(true);
    }
    Ok(())
}

fn receive(shared: Arc<Shared>, ended: Arc<Notify>) -> Receive {
    Box::new(move |push: PushInfo| {
        if push.kind != PushKind::Disconnection {
            shared.life.sign();
        }
        match push.kind {
            PushKind::PMessage => deliver(&shared, Kind::Pattern, push.data),
            PushKind::Message => deliver(&shared, Kind::Channel, push.data),
            PushKind::SMessage => deliver(&shared, Kind::Shard, push.data),
            PushKind::Disconnection => ended.notify_one(),
            // Redis itself ends a sharded subscription when the channel's slot moves to another node.
            PushKind::SUnsubscribe if shard_is_wanted(&shared, &push.data) => ended.notify_one(),
            _ => {}
        }
        Ok(())
    })
}

fn shard_is_wanted(shared: &Shared, data: &[Value]) -> bool {
    let Some(Value::BulkString(channel)) = data.first() else { return false };
    std::str::from_utf8(channel).is_ok_and(|name| shared.node_of(Kind::Shard, name).is_some())
}

/// `data` is the channel and the message, after the pattern if there is one.
fn deliver(shared: &Shared, kind: Kind, mut data: Vec<Value>) {
    let Some(Value::BulkString(body)) = data.pop() else { return };
    let (Some(Value::BulkString(subscription)), Some(Value::BulkString(channel))) =
        (data.first(), data.last())
    else {
        return;
    };
    let (Ok(subscription), Ok(channel)) = (std::str::from_utf8(subscription), std::str::from_utf8(channel))
    else {
        return;
    };
    if let Some(node) = shared.node_of(kind, subscription) {
        node.receive(channel, &Bytes::from(body));
    }
}
