//! One connection to Redis or to a Redis Cluster, on redis-rs. It is never repaired, only replaced: the
//! task that keeps it then knows exactly when it was up.

use std::time::Duration;

use futures_util::future::join_all;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion,
    PushInfo, RedisResult, TlsCertificates, Value,
    aio::MultiplexedConnection,
    cluster::ClusterClient,
    cluster_async::ClusterConnection,
    cluster_routing::{MultipleNodeRoutingInfo, Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr},
    io::tcp::{TcpSettings, socket2::TcpKeepalive},
};

use crate::{
    dialect::{Kind, Subscription},
    message::Outgoing,
    options::{Mode, Options},
};

/// Where Redis is. Checked, but not yet reached.
#[derive(Clone)]
pub(crate) struct Connector {
    addresses: Vec<ConnectionInfo>,
    cluster: bool,
    tls: Option<TlsCertificates>,
    command_timeout: Duration,
    stall_max: Duration,
}

const ALL_MASTERS: RoutingInfo = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));

#[derive(Clone)]
pub(crate) enum Connection {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Connector {
    pub(crate) fn new(urls: &[&str], cluster: bool, options: &Options) -> RedisResult<Self> {
        let addresses =
            urls.iter().map(|url| address(url, options.stall_max)).collect::<RedisResult<Vec<_>>>()?;
        let tls = options
            .tls_roots_pem
            .clone()
            .map(|roots| TlsCertificates { client_tls: None, root_cert: Some(roots) });
        if let Some(roots) = &options.tls_roots_pem
            && !contains(roots, b"-----BEGIN CERTIFICATE-----")
        {
            return Err(invalid("Options::tls_roots_pem holds no certificate in PEM"));
        }
        if tls.is_some() && !urls.iter().all(|url| url.starts_with("rediss:") || url.starts_with("valkeys:"))
        {
            return Err(invalid("Options::tls_roots_pem is of no use without TLS: write rediss://"));
        }
        if urls.iter().any(|url| url.starts_with("rediss:")) {
            // redis-rs asks rustls for the process' provider, which panics if an app enables two and chooses none.
            let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        }
        let connector = Self {
            addresses,
            cluster,
            tls,
            command_timeout: options.command_timeout,
            stall_max: options.stall_max,
        };
        // Bad addresses and certificates are an error now, not a line in the log every second.
        if cluster {
            connector.cluster_client(None).map(drop)?;
        } else {
            connector.client().map(drop)?;
        }
        Ok(connector)
    }

    fn client(&self) -> RedisResult<Client> {
        let address = self.addresses.first().cloned().ok_or_else(no_address)?;
        match &self.tls {
            Some(tls) => Client::build_with_tls(address, tls.clone()),
            None => Client::open(address),
        }
    }

    fn cluster_client(&self, receive: Option<Receive>) -> RedisResult<ClusterClient> {
        let mut builder = ClusterClient::builder(self.addresses.clone())
            .use_protocol(ProtocolVersion::RESP3)
            .connection_timeout(self.command_timeout)
            .response_timeout(self.stall_max)
            .tcp_settings(tcp(self.stall_max))
            // A retried publish could be delivered twice.
            .retries(0);
        if let Some(tls) = &self.tls {
            builder = builder.certs(tls.clone());
        }
        if let Some(receive) = receive {
            builder = builder.push_sender(receive);
        }
        builder.build()
    }

    /// `receive` is called on the connection's task for every push, and once more when the connection ends.
    pub(crate) async fn connect(&self, receive: Option<Receive>) -> RedisResult<Connection> {
        if self.cluster {
            let client = self.cluster_client(receive)?;
            let mut connection = Connection::Cluster(client.get_async_connection().await?);
            connection.ping().await?;
            return Ok(connection);
        }
        let mut config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.command_timeout))
            // Its keeper decides how long to wait.
            .set_response_timeout(None);
        if let Some(receive) = receive {
            config = config.set_push_sender(receive);
        }
        Ok(Connection::One(self.client()?.get_multiplexed_async_connection_with_config(&config).await?))
    }
}

pub(crate) type Receive = Box<dyn Fn(PushInfo) -> Result<(), ()> + Send + Sync>;

impl Connection {
    pub(crate) async fn subscribe(&mut self, subscription: &Subscription) -> RedisResult<()> {
        let name = &subscription.name;
        match (self, subscription.kind) {
            (Self::One(one), Kind::Channel) => one.subscribe(name).await,
            (Self::One(one), Kind::Pattern) => one.psubscribe(name).await,
            // redis-rs offers this for clusters only; a single Redis 7 has it as well.
            (Self::One(one), Kind::Shard) => redis::cmd("SSUBSCRIBE").arg(name).query_async(one).await,
            (Self::Cluster(cluster), Kind::Channel) => cluster.subscribe(name).await,
            (Self::Cluster(cluster), Kind::Pattern) => cluster.psubscribe(name).await,
            (Self::Cluster(cluster), Kind::Shard) => cluster.ssubscribe(name).await,
        }
    }

    pub(crate) async fn unsubscribe(&mut self, subscription: &Subscription) -> RedisResult<()> {
        let name = &subscription.name;
        match (self, subscription.kind) {
            (Self::One(one), Kind::Channel) => one.unsubscribe(name).await,
            (Self::One(one), Kind::Pattern) => one.punsubscribe(name).await,
            (Self::One(one), Kind::Shard) => redis::cmd("SUNSUBSCRIBE").arg(name).query_async(one).await,
            (Self::Cluster(cluster), Kind::Channel) => cluster.unsubscribe(name).await,
            (Self::Cluster(cluster), Kind::Pattern) => cluster.punsubscribe(name).await,
            (Self::Cluster(cluster), Kind::Shard) => cluster.sunsubscribe(name).await,
        }
    }

    /// Publishes all and says how many Redis refused. An error means that any of them may or may not have
    /// been published. Order is kept, but for the sharded mode on a cluster, where it is kept per channel.
    pub(crate) async fn publish<'a>(
        &mut self,
        mode: Mode,
        batch: impl ExactSizeIterator<Item = &'a Outgoing>,
    ) -> RedisResult<usize> {
        match (self, mode) {
            (Self::One(one), mode) => {
                let replies: Vec<Value> = pipeline(mode, batch).query_async(one).await?;
                Ok(refused(&replies))
            }
            (Self::Cluster(cluster), Mode::Classic) => {
                // Every node passes such messages on to all others; only through the same one do they keep their order.
                let any_one = SingleNodeRoutingInfo::SpecificNode(Route::new(0, SlotAddr::Master));
                let count = batch.len();
                let replies = cluster.route_pipeline(pipeline(mode, batch), 0, count, any_one).await?;
                Ok(refused(&replies))
            }
            (Self::Cluster(cluster), Mode::Sharded) => {
                // A pipeline goes to one node of the cluster, so there is one for each channel.
                let mut by_channel: Vec<Vec<&Outgoing>> = Vec::new();
                for outgoing in batch {
                    match by_channel.iter_mut().find(|group| group[0].channel == outgoing.channel) {
                        Some(group) => group.push(outgoing),
                        None => by_channel.push(vec![outgoing]),
                    }
                }
                let all = by_channel.into_iter().map(|group| {
                    let mut cluster = cluster.clone();
                    async move {
                        let replies: Vec<Value> = pipeline(mode, group).query_async(&mut cluster).await?;
                        Ok(refused(&replies))
                    }
                });
                join_all(all).await.into_iter().sum()
            }
        }
    }

    /// Fails unless everything is there that messages may have to pass.
    pub(crate) async fn ping(&mut self) -> RedisResult<()> {
        let ping = redis::cmd("PING");
        match self {
            Self::One(one) => ping.query_async(one).await,
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

    /// How many sharded channels of that pattern have subscribers.
    pub(crate) async fn shard_channels(&mut self, pattern: &str) -> RedisResult<usize> {
        let mut channels = redis::cmd("PUBSUB");
        channels.arg("SHARDCHANNELS").arg(pattern);
        let reply: Value = match self {
            Self::One(one) => channels.query_async(one).await?,
            Self::Cluster(cluster) => cluster.route_command(channels, ALL_MASTERS).await?,
        };
        Ok(strings(&reply))
    }

    pub(crate) async fn count(&mut self, sharded: bool, channel: &str) -> RedisResult<usize> {
        let mut numsub = redis::cmd("PUBSUB");
        numsub.arg(if sharded { "SHARDNUMSUB" } else { "NUMSUB" }).arg(channel);
        let reply: Value = match self {
            Self::One(one) => numsub.query_async(one).await?,
            Self::Cluster(cluster) => cluster.route_command(numsub, ALL_MASTERS).await?,
        };
        Ok(sum(&reply))
    }
}

fn invalid(what: &'static str) -> redis::RedisError {
    (redis::ErrorKind::InvalidClientConfig, what).into()
}

fn pipeline<'a>(mode: Mode, batch: impl IntoIterator<Item = &'a Outgoing>) -> redis::Pipeline {
    let command = if mode == Mode::Sharded { "SPUBLISH" } else { "PUBLISH" };
    let mut pipeline = redis::pipe();
    // One refused message must not hide what happened to the others.
    pipeline.ignore_errors();
    for outgoing in batch {
        pipeline.cmd(command).arg(&outgoing.channel).arg(&outgoing.body);
    }
    pipeline
}

/// Redis answers with the number of receivers, or with an error.
fn refused(replies: &[Value]) -> usize {
    replies.iter().filter(|reply| !matches!(reply, Value::Int(_))).count()
}

/// The numbers in a reply, which is a channel's count, one by node, or both nested.
fn sum(reply: &Value) -> usize {
    match reply {
        Value::Int(count) => usize::try_from(*count).unwrap_or(0),
        Value::Array(items) => items.iter().map(sum).sum(),
        Value::Map(pairs) => pairs.iter().map(|(_, value)| sum(value)).sum(),
        _ => 0,
    }
}

/// The strings in a reply, which is an array, one by node, or both nested.
fn strings(reply: &Value) -> usize {
    match reply {
        Value::BulkString(_) | Value::SimpleString(_) => 1,
        Value::Array(items) => items.iter().map(strings).sum(),
        Value::Map(pairs) => pairs.iter().map(|(_, value)| strings(value)).sum(),
        _ => 0,
    }
}

/// Of a reply by node, those that are no error.
fn answered(reply: &Value) -> usize {
    match reply {
        Value::Map(by_node) => {
            by_node.iter().filter(|(_, answer)| !matches!(answer, Value::ServerError(_))).count()
        }
        _ => 0,
    }
}

/// The masters in the reply to `CLUSTER SLOTS`: ranges, each with its first and last slot, its master, its replicas.
fn masters(slots: &Value) -> usize {
    let Value::Array(ranges) = slots else { return 0 };
    let mut masters: Vec<&Value> = Vec::new();
    for range in ranges {
        if let Value::Array(range) = range
            && let Some(master) = range.get(2)
            && !masters.contains(&master)
        {
            masters.push(master);
        }
    }
    masters.len()
}

/// How a peer is noticed that is gone without a word. One that is only slow acknowledges what TCP sends.
fn tcp(silence_max: Duration) -> TcpSettings {
    // The kernel counts keepalive in whole seconds and refuses none.
    let silence_max = silence_max.max(Duration::from_secs(6));
    let keepalive =
        TcpKeepalive::new().with_time(silence_max / 3).with_interval(silence_max / 6).with_retries(3);
    TcpSettings::default().set_nodelay(true).set_keepalive(keepalive).set_user_timeout(silence_max)
}

fn address(url: &str, silence_max: Duration) -> RedisResult<ConnectionInfo> {
    let address = url.into_connection_info()?;
    match address.addr() {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. }
            if host.is_empty() || *port == 0 =>
        {
            return Err(invalid("an address needs a host and a port other than 0"));
        }
        ConnectionAddr::Unix(path) if path.as_os_str().is_empty() => {
            return Err(invalid("unix:// needs the path of a socket"));
        }
        _ => {}
    }
    // Redis 6 and later. Only there are messages and replies told apart on one connection.
    let settings = address.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    Ok(address.set_redis_settings(settings).set_tcp_settings(tcp(silence_max)))
}

fn contains(text: &[u8], wanted: &[u8]) -> bool {
    memchr::memmem::find(text, wanted).is_some()
}

fn no_address() -> redis::RedisError {
    (redis::ErrorKind::InvalidClientConfig, "no address given").into()
}
