//! Notices nodes that share our prefix and do not speak as we do. They and we hear nothing of each other, and without this
//! nobody would say so: each side is a fleet of its own that works.

use std::sync::atomic::Ordering::Relaxed;

use redis::RedisResult;
use tokio::time::timeout;

use super::{Shared, connection::Connection};
use crate::{
    dialect::Dialect,
    node::Node,
    sharded::Sharded,
    stats::{Event, OtherMode},
};

/// Namespaces that are looked at in one go. Nodes that differ do so in all of them.
const NAMESPACES_MAX: usize = 8;

/// Bytes of a node's id: hexadecimal in Node.js, base64 here.
const UID: usize = 16;

/// What is seen twice in a row is told, since a node that comes or goes subscribes to one channel after the other.
pub(super) async fn look(shared: &Shared) {
    let Some(mut connection) = shared.current() else { return };
    for node in shared.nodes().into_iter().take(NAMESPACES_MAX) {
        // No answer, or one that Redis before 7 or its rights forbid, tells nothing.
        let asked = timeout(shared.options.command_timeout, seen(shared, &mut connection, &node)).await;
        let Ok(Ok(seen)) = asked else { return };
        let code = seen.map_or(0, |mode| mode as u8 + 1);
        let before = node.other_mode.swap(code, Relaxed);
        let namespace = node.local.namespace().to_owned();
        if let Some(mode) = seen
            && before == code
            && node.other_mode_told.swap(code, Relaxed) != code
        {
            shared.counters.tell(&Event::ModesDiffer { namespace, mode });
        } else if code == 0 {
            node.other_mode_told.store(0, Relaxed);
        }
    }
}

async fn seen(shared: &Shared, connection: &mut Connection, node: &Node) -> RedisResult<Option<OtherMode>> {
    match &node.dialect {
        Dialect::Classic(classic) => {
            // Classic nodes have this channel in a pattern only.
            if connection.count(false, &classic.broadcasts).await? > 0 {
                return Ok(Some(OtherMode::Streams));
            }
            let sharded = connection.count(true, &classic.broadcasts).await?;
            Ok((sharded > 0).then_some(OtherMode::Sharded))
        }
        Dialect::Sharded(sharded) => {
            if connection.count(false, &requests(shared, sharded)).await? > 0 {
                return Ok(Some(OtherMode::Classic));
            }
            if connection.count(false, &sharded.channel).await? > 0 {
                return Ok(Some(OtherMode::Streams));
            }
            // Static nodes have the common channel and one each; dynamic ones have more, one for each room.
            let nodes = connection.count(true, &sharded.channel).await?;
            let channels = connection.shard_channels(&sharded.pattern()).await?;
            let channels = without_other_namespaces(&sharded.channel, channels);
            Ok((nodes > 0 && channels.len() > nodes + 1).then_some(OtherMode::Dynamic))
        }
        Dialect::Streams(streams) => {
            if connection.count(false, &requests(shared, &streams.envelope)).await? > 0 {
                return Ok(Some(OtherMode::Classic));
            }
            let sharded = connection.count(true, &streams.envelope.channel).await?;
            Ok((sharded > 0).then_some(OtherMode::Sharded))
        }
    }
}

/// What only classic nodes subscribe to.
fn requests(shared: &Shared, names: &Sharded) -> String {
    format!("{}-request#{}#", shared.options.prefix, names.namespace)
}

/// The channels of the namespace whose common channel is `common`, out of all those that begin as it does: those of a namespace
/// "/#x" begin as those of "/" do. Such a namespace is known by the channels of its nodes, which a room does not have.
fn without_other_namespaces(common: &str, channels: Vec<String>) -> Vec<String> {
    let mut others: Vec<String> =
        channels.iter().filter_map(|channel| namespace_of_node(channel)).map(Into::into).collect();
    others.retain(|other| other != common && channels.contains(other));
    let is_of_another = |channel: &String| {
        others.iter().any(|other| channel == other || namespace_of_node(channel) == Some(other))
    };
    channels.into_iter().filter(|channel| !is_of_another(channel)).collect()
}

/// The common channel beside which a node has `channel`, if it is a node's: `P#N#` of `P#N#uid#`.
fn namespace_of_node(channel: &str) -> Option<&str> {
    let above = channel.strip_suffix('#')?;
    let (uid, is_of_id) =
        (&above[above.rfind('#')? + 1..], |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    (uid.len() == UID && uid.bytes().all(is_of_id)).then(|| &above[..above.len() - UID])
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMON: &str = "socket.io#/#";

    fn kept(channels: &[&str]) -> Vec<String> {
        let channels = channels.iter().map(|rest| format!("{COMMON}{rest}")).collect();
        let kept = without_other_namespaces(COMMON, channels);
        kept.iter().map(|channel| channel[COMMON.len()..].to_owned()).collect()
    }

    #[test]
    fn channels_of_nodes_and_of_rooms_stay() {
        let own = ["", "0c2146360a3cfdaf#", "HuDKHnYfq3eyCVj-#", "a room#", "a#b#"];
        assert_eq!(kept(&own), own);
    }

    #[test]
    fn those_of_a_namespace_that_begins_as_ours_do_not() {
        let all = ["", "0c2146360a3cfdaf#", "x#", "x#HuDKHnYfq3eyCVj6#", "x#y#", "x#y#0c2146360a3cfda0#"];
        assert_eq!(kept(&all), all[..2]);
    }
}
