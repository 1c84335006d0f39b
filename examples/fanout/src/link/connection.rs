//! One connection to Redis or to a Redis Cluster, on redis-rs. It is never repaired, only replaced: the
//! task that keeps it then knows exactly when it was up.

use futures_util::future::join_all;
use redis::{
    RedisError, RedisResult, Value,
    aio::MultiplexedConnection,
    cluster_async::ClusterConnection,
    cluster_routing::{MultipleNodeRoutingInfo, Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr},
};

use super::{
    address::invalid,
    replies::{answered, masters, refused, strings, sum},
    resp2,
};
use crate::{
    dialect::{Kind as Wanted, Subscription},
    message::{Entry, Outgoing},
    options::{Credentials, Mode},
};

const ALL_MASTERS: RoutingInfo = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
const ALL_NODES: RoutingInfo = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllNodes, None));

#[derive(Clone)]
pub(crate) enum Connection {
    One(MultiplexedConnection),
    /// Receives from a server without RESP3.
    Resp2(resp2::Receiver),
    Cluster(ClusterConnection),
}

impl Connection {
    pub(crate) async fn subscribe(&mut self, subscription: &Subscription) -> RedisResult<()> {
        let name = &subscription.name;
        match (self, subscription.kind) {
            (Self::One(one), Wanted::Channel) => one.subscribe(name).await,
            (Self::One(one), Wanted::Pattern) => one.psubscribe(name).await,
            // redis-rs offers this for clusters only; a single Redis 7 has it as well.
            (Self::One(one), Wanted::Shard) => redis::cmd("SSUBSCRIBE").arg(name).query_async(one).await,
            (Self::Resp2(old), Wanted::Channel) => old.sink.subscribe(name).await,
            (Self::Resp2(old), Wanted::Pattern) => old.sink.psubscribe(name).await,
            (Self::Resp2(_), Wanted::Shard) => Err(invalid(SHARDED_RESP2)),
            (Self::Cluster(cluster), Wanted::Channel) => cluster.subscribe(name).await,
            (Self::Cluster(cluster), Wanted::Pattern) => cluster.psubscribe(name).await,
            (Self::Cluster(cluster), Wanted::Shard) => cluster.ssubscribe(name).await,
        }
    }

    pub(crate) async fn unsubscribe(&mut self, subscription: &Subscription) -> RedisResult<()> {
        let name = &subscription.name;
        match (self, subscription.kind) {
            (Self::One(one), Wanted::Channel) => one.unsubscribe(name).await,
            (Self::One(one), Wanted::Pattern) => one.punsubscribe(name).await,
            (Self::One(one), Wanted::Shard) => redis::cmd("SUNSUBSCRIBE").arg(name).query_async(one).await,
            (Self::Resp2(old), Wanted::Channel) => old.sink.unsubscribe(name).await,
            (Self::Resp2(old), Wanted::Pattern) => old.sink.punsubscribe(name).await,
            (Self::Resp2(_), Wanted::Shard) => Err(invalid(SHARDED_RESP2)),
            (Self::Cluster(cluster), Wanted::Channel) => cluster.unsubscribe(name).await,
            (Self::Cluster(cluster), Wanted::Pattern) => cluster.punsubscribe(name).await,
            (Self::Cluster(cluster), Wanted::Shard) => cluster.sunsubscribe(name).await,
        }
    }

    /// Publishes all. Order is kept, but for the sharded mode on a cluster, where it is kept per channel.
    pub(crate) async fn publish<'a>(
        &mut self,
        mode: Mode,
        batch: impl ExactSizeIterator<Item = &'a Outgoing>,
    ) -> Published {
        let count = batch.len();
        let replies = match (self, mode) {
            (Self::Resp2(_), _) => Err(only_receives()),
            (Self::One(one), mode) => pipeline(mode, batch).query_async(one).await,
            (Self::Cluster(cluster), Mode::Classic) => {
                // Every node passes such messages on to all others; only through the same one do they keep their order.
                let any_one = SingleNodeRoutingInfo::SpecificNode(Route::new(0, SlotAddr::Master));
                cluster.route_pipeline(pipeline(mode, batch), 0, count, any_one).await
            }
            (Self::Cluster(cluster), Mode::Sharded | Mode::Streams) => {
                // A pipeline goes to one node of the cluster, so there is one for each channel.
                let mut by_channel: Vec<Vec<(usize, &Outgoing)>> = Vec::new();
                for (at, outgoing) in batch.enumerate() {
                    match by_channel.iter_mut().find(|group| group[0].1.channel == outgoing.channel) {
                        Some(group) => group.push((at, outgoing)),
                        None => by_channel.push(vec![(at, outgoing)]),
                    }
                }
                let all = by_channel.into_iter().map(|group| {
                    let mut cluster = cluster.clone();
                    async move {
                        let pipeline = pipeline(mode, group.iter().map(|(_, outgoing)| *outgoing));
                        let replies = pipeline.query_async(&mut cluster).await;
                        Published::of(replies, group.into_iter().map(|(at, _)| at))
                    }
                });
                return join_all(all).await.into_iter().fold(Published::default(), Published::and);
            }
        };
        Published::of(replies, 0..count)
    }

    /// Logs in anew, with what the server knows by now.
    pub(crate) async fn log_in(&mut self, credentials: &Credentials) -> RedisResult<()> {
        let mut auth = redis::cmd("AUTH");
        auth.arg(credentials.username.as_deref()).arg(&credentials.password);
        match self {
            Self::One(one) => auth.query_async(one).await,
            // Subscribed, it may not say AUTH.
            Self::Resp2(_) => {
                Err(invalid("the password has changed: connecting anew, since RESP2 cannot log in again"))
            }
            Self::Cluster(cluster) => cluster.route_command(auth, ALL_NODES).await.map(drop),
        }
    }

    /// Fails unless everything is there that messages may have to pass.
    pub(crate) async fn ping(&mut self) -> RedisResult<()> {
        let ping = redis::cmd("PING");
        match self {
            Self::One(one) => ping.query_async(one).await,
            Self::Resp2(old) => old.sink.ping().await,
            Self::Cluster(cluster) => {
                // redis-rs asks the masters that it has a connection to, and is silent about one that was down
                // when it connected. The channels of that one would be lost, so that its absence is an error.
                let answers = cluster.route_command(ping, ALL_MASTERS).await?;
                let slots: Value = redis::cmd("CLUSTER").arg("SLOTS").query_async(cluster).await?;
                let (answered, masters) = (answered(&answers), masters(&slots));
                if answered < masters {
                    let detail = format!("{answered} of {masters}");
                    return Err(
                        (redis::ErrorKind::ClusterConnectionNotFound, "masters answer", detail).into()
                    );
                }
                Ok(())
            }
        }
    }

    /// The sharded channels of that pattern that have subscribers.
    pub(crate) async fn shard_channels(&mut self, pattern: &str) -> RedisResult<Vec<String>> {
        let mut channels = redis::cmd("PUBSUB");
        channels.arg("SHARDCHANNELS").arg(pattern);
        let reply: Value = match self {
            Self::One(one) => channels.query_async(one).await?,
            Self::Resp2(_) => return Err(only_receives()),
            Self::Cluster(cluster) => cluster.route_command(channels, ALL_MASTERS).await?,
        };
        Ok(strings(&reply))
    }

    /// Anything that the subscriber's connection is never asked.
    pub(crate) async fn query(&mut self, question: &redis::Cmd) -> RedisResult<Value> {
        match self {
            Self::One(one) => question.query_async(one).await,
            Self::Resp2(_) => Err(only_receives()),
            Self::Cluster(cluster) => question.query_async(cluster).await,
        }
    }

    pub(crate) async fn count(&mut self, sharded: bool, channel: &str) -> RedisResult<usize> {
        let mut numsub = redis::cmd("PUBSUB");
        numsub.arg(if sharded { "SHARDNUMSUB" } else { "NUMSUB" }).arg(channel);
        let reply: Value = match self {
            Self::One(one) => numsub.query_async(one).await?,
            Self::Resp2(_) => return Err(only_receives()),
            Self::Cluster(cluster) => cluster.route_command(numsub, ALL_MASTERS).await?,
        };
        Ok(sum(&reply))
    }
}

/// What became of messages that were written.
#[derive(Default)]
pub(crate) struct Published {
    pub(crate) refused: usize,
    /// Those without an answer, which may or may not have been published, by their places.
    pub(crate) unanswered: Vec<usize>,
    /// Why there was none.
    pub(crate) error: Option<RedisError>,
}

impl Published {
    fn of(replies: RedisResult<Vec<Value>>, places: impl Iterator<Item = usize>) -> Self {
        match replies {
            Ok(replies) => Self { refused: refused(&replies), ..Self::default() },
            Err(error) => Self { refused: 0, unanswered: places.collect(), error: Some(error) },
        }
    }

    fn and(mut self, other: Self) -> Self {
        self.unanswered.extend(other.unanswered);
        Self {
            refused: self.refused + other.refused,
            unanswered: self.unanswered,
            error: self.error.or(other.error),
        }
    }
}

/// Never asked for: what receives is not what publishes.
fn only_receives() -> redis::RedisError {
    invalid("a connection with subscriptions can do nothing else in RESP2")
}

const SHARDED_RESP2: &str = "Mode::Sharded needs a server with RESP3";

fn pipeline<'a>(mode: Mode, batch: impl IntoIterator<Item = &'a Outgoing>) -> redis::Pipeline {
    let command = if mode == Mode::Sharded { "SPUBLISH" } else { "PUBLISH" };
    let mut pipeline = redis::pipe();
    // One refused message must not hide what happened to the others.
    pipeline.ignore_errors();
    for outgoing in batch {
        match &outgoing.entry {
            None => pipeline.cmd(command).arg(&outgoing.channel),
            Some(Entry { sender, kind }) => pipeline
                .cmd("XADD")
                .arg(&outgoing.channel)
                .arg("MAXLEN")
                .arg("~")
                .arg(sender.length_max)
                .arg("*")
                .arg("uid")
                .arg(&sender.uid)
                .arg("nsp")
                .arg(&sender.namespace)
                .arg("type")
                .arg(*kind)
                .arg("data"),
        }
        .arg(&outgoing.body);
    }
    pipeline
}
