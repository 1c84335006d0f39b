//! One connection to Redis or to a Redis Cluster, on redis-rs. It is never repaired, only replaced: the
//! task that keeps it then knows exactly when it was up.

use std::{sync::Arc, time::Duration};

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

use tokio::time::timeout;

use super::{resp2, sentinel::Sentinels};
use crate::{
    dialect::{Kind as Wanted, Subscription},
    message::Outgoing,
    options::{ClientCertificate, Credentials, Mode, OnCredentials, Options},
    stats::Side,
};

/// What the addresses are those of.
#[derive(Clone, Copy)]
pub(crate) enum Kind<'a> {
    One,
    Cluster,
    /// Sentinels, and the name of what they watch.
    Sentinel(&'a str),
}

/// Where Redis is. Checked, but not yet reached.
#[derive(Clone)]
pub(crate) struct Connector {
    addresses: Vec<ConnectionInfo>,
    cluster: bool,
    sentinels: Option<Sentinels>,
    tls: Option<TlsCertificates>,
    credentials: Option<OnCredentials>,
    mode: Mode,
    command_timeout: Duration,
    stall_max: Duration,
}

const ALL_MASTERS: RoutingInfo = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
const ALL_NODES: RoutingInfo = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllNodes, None));

#[derive(Clone)]
pub(crate) enum Connection {
    One(MultiplexedConnection),
    /// Receives from a server without RESP3.
    Resp2(resp2::Receiver),
    Cluster(ClusterConnection),
}

impl Connector {
    pub(crate) fn new(urls: &[&str], kind: Kind<'_>, options: &Options) -> RedisResult<Self> {
        let addresses =
            urls.iter().map(|url| address(url, options.stall_max)).collect::<RedisResult<Vec<_>>>()?;
        let tls = certificates(urls, options)?;
        if urls.iter().any(|url| is_tls(url)) {
            // redis-rs asks rustls for the process' provider, which panics if an app enables two and chooses none.
            let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        }
        let sentinels = match kind {
            Kind::Sentinel("") => {
                return Err(invalid("Sentinels need the name of the master that they watch"));
            }
            Kind::Sentinel(service) => {
                Some(Sentinels::new(addresses.clone(), service, tls.clone(), options.stall_max))
            }
            _ => None,
        };
        let connector = Self {
            addresses,
            cluster: matches!(kind, Kind::Cluster),
            sentinels,
            tls,
            credentials: options.credentials.clone(),
            mode: options.mode,
            command_timeout: options.command_timeout,
            stall_max: options.stall_max,
        };
        // Bad addresses and certificates are an error now, not a line in the log every second.
        let first = connector.addresses.first().cloned().ok_or_else(no_address)?;
        match &connector.sentinels {
            Some(sentinels) => sentinels.client(None).map(drop)?,
            None if connector.cluster => connector.cluster_client(None, None).map(drop)?,
            None => connector.client(first).map(drop)?,
        }
        Ok(connector)
    }

    /// An error if what answers can never be what is wanted.
    pub(crate) async fn check(&self) -> RedisResult<()> {
        match &self.sentinels {
            Some(sentinels) => sentinels.know_it(self.command_timeout).await,
            None => Ok(()),
        }
    }

    /// What to log in with at this moment, if not with what the address says.
    pub(crate) fn credentials(&self) -> Option<Credentials> {
        self.credentials.as_ref().map(|ask| ask())
    }

    fn client(&self, address: ConnectionInfo) -> RedisResult<Client> {
        match &self.tls {
            Some(tls) => Client::build_with_tls(address, tls.clone()),
            None => Client::open(address),
        }
    }

    fn cluster_client(
        &self,
        credentials: Option<Credentials>,
        receive: Option<Receive>,
    ) -> RedisResult<ClusterClient> {
        let mut builder = ClusterClient::builder(self.addresses.clone())
            .use_protocol(ProtocolVersion::RESP3)
            .connection_timeout(self.command_timeout)
            .response_timeout(self.stall_max)
            .tcp_settings(tcp(self.stall_max))
            // A retried publish could be delivered twice.
            .retries(0);
        if let Some(Credentials { username, password }) = credentials {
            builder = builder.username(username.unwrap_or_else(|| "default".to_owned())).password(password);
        }
        if let Some(tls) = &self.tls {
            builder = builder.certs(tls.clone());
        }
        if let Some(receive) = receive {
            builder = builder.push_sender(receive);
        }
        builder.build()
    }

    /// `receive` is called on the connection's task for every push, and once more when the connection ends.
    pub(crate) async fn connect(
        &self,
        credentials: Option<&Credentials>,
        receive: Option<Receive>,
    ) -> RedisResult<Connection> {
        if self.cluster {
            let client = self.cluster_client(credentials.cloned(), receive)?;
            let mut connection = Connection::Cluster(client.get_async_connection().await?);
            connection.ping().await?;
            return Ok(connection);
        }
        let side = if receive.is_some() { Side::Subscriber } else { Side::Publisher };
        let address = self.address(side, credentials).await?;
        // It is needed twice if the server does not know RESP3.
        let receive = receive.map(Arc::new);
        match self.connect_to(address.clone(), receive.clone()).await {
            Err(error) if is_without_resp3(&error) => self.connect_resp2(address, receive, error).await,
            outcome => outcome,
        }
    }

    async fn connect_to(
        &self,
        address: ConnectionInfo,
        receive: Option<Arc<Receive>>,
    ) -> RedisResult<Connection> {
        let mut config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.command_timeout))
            // Its keeper decides how long to wait.
            .set_response_timeout(None);
        if let Some(receive) = receive {
            config = config.set_push_sender(move |push| receive(push));
        }
        let connecting = self.client(address)?;
        Ok(Connection::One(connecting.get_multiplexed_async_connection_with_config(&config).await?))
    }

    async fn connect_resp2(
        &self,
        address: ConnectionInfo,
        receive: Option<Arc<Receive>>,
        refusal: redis::RedisError,
    ) -> RedisResult<Connection> {
        if self.mode == Mode::Sharded {
            return Err(refusal);
        }
        let settings = address.redis_settings().clone().set_protocol(ProtocolVersion::RESP2);
        let address = address.set_redis_settings(settings);
        let Some(receive) = receive else { return self.connect_to(address, None).await };
        let receive: Receive = Box::new(move |push| receive(push));
        let connecting = timeout(self.command_timeout, resp2::connect(&address, receive));
        Ok(Connection::Resp2(connecting.await.map_err(|_| late("Redis"))??))
    }

    /// What to connect to, and with what to log in there.
    async fn address(&self, side: Side, credentials: Option<&Credentials>) -> RedisResult<ConnectionInfo> {
        let mut address = self.addresses.first().cloned().ok_or_else(no_address)?;
        let mut settings = address.redis_settings().clone();
        if let Some(sentinels) = &self.sentinels {
            address = address.set_addr(sentinels.master(side, credentials, self.command_timeout).await?);
            // What is there is the Sentinels' own.
            settings = redis::RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3);
        }
        if let Some(Credentials { username, password }) = credentials {
            settings = settings.set_username(username.as_deref().unwrap_or("default")).set_password(password);
        }
        Ok(address.set_redis_settings(settings))
    }

    /// Whether a server that is silent is no longer the one to speak to.
    pub(crate) async fn has_moved(&self, side: Side) -> bool {
        match &self.sentinels {
            Some(sentinels) => {
                sentinels.have_moved(side, self.credentials().as_ref(), self.command_timeout).await
            }
            None => false,
        }
    }
}

pub(crate) type Receive = Box<dyn Fn(PushInfo) -> Result<(), ()> + Send + Sync>;

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

    /// Publishes all and says how many Redis refused. An error means that any of them may or may not have
    /// been published. Order is kept, but for the sharded mode on a cluster, where it is kept per channel.
    pub(crate) async fn publish<'a>(
        &mut self,
        mode: Mode,
        batch: impl ExactSizeIterator<Item = &'a Outgoing>,
    ) -> RedisResult<usize> {
        match (self, mode) {
            (Self::Resp2(_), _) => Err(only_receives()),
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

    /// How many sharded channels of that pattern have subscribers.
    pub(crate) async fn shard_channels(&mut self, pattern: &str) -> RedisResult<usize> {
        let mut channels = redis::cmd("PUBSUB");
        channels.arg("SHARDCHANNELS").arg(pattern);
        let reply: Value = match self {
            Self::One(one) => channels.query_async(one).await?,
            Self::Resp2(_) => return Err(only_receives()),
            Self::Cluster(cluster) => cluster.route_command(channels, ALL_MASTERS).await?,
        };
        Ok(strings(&reply))
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

pub(super) fn invalid(what: &'static str) -> redis::RedisError {
    (redis::ErrorKind::InvalidClientConfig, what).into()
}

pub(super) fn late(who: &'static str) -> redis::RedisError {
    (redis::ErrorKind::Io, "no answer in time", who.to_owned()).into()
}

/// Never asked for: what receives is not what publishes.
fn only_receives() -> redis::RedisError {
    invalid("a connection with subscriptions can do nothing else in RESP2")
}

const SHARDED_RESP2: &str = "Mode::Sharded needs a server with RESP3";

/// Whether it was the greeting that was refused, and not who was greeting.
fn is_without_resp3(error: &redis::RedisError) -> bool {
    if error.kind() == redis::ErrorKind::RESP3NotSupported || error.code() == Some("NOPROTO") {
        return true;
    }
    let names_hello = error.to_string().to_ascii_lowercase().contains("hello");
    names_hello && matches!(error.code(), Some("ERR" | "NOPERM"))
}

fn is_tls(url: &str) -> bool {
    url.starts_with("rediss:") || url.starts_with("valkeys:")
}

fn certificates(urls: &[&str], options: &Options) -> RedisResult<Option<TlsCertificates>> {
    let Options { tls_roots_pem: roots, tls_client: client, .. } = options;
    if roots.as_ref().is_some_and(|roots| !contains(roots, b"-----BEGIN CERTIFICATE-----")) {
        return Err(invalid("Options::tls_roots_pem holds no certificate in PEM"));
    }
    if let Some(ClientCertificate { certificate_pem, key_pem }) = client
        && !(contains(certificate_pem, b"-----BEGIN CERTIFICATE-----")
            && contains(key_pem, b"PRIVATE KEY-----"))
    {
        return Err(invalid("Options::tls_client needs a certificate and a private key, both in PEM"));
    }
    if roots.is_none() && client.is_none() {
        return Ok(None);
    }
    if !urls.iter().all(|url| is_tls(url)) {
        return Err(invalid(
            "Options::tls_roots_pem and tls_client are of no use without TLS: write rediss://",
        ));
    }
    let client_tls = client.clone().map(|client| redis::ClientTlsConfig {
        client_cert: client.certificate_pem,
        client_key: client.key_pem,
    });
    Ok(Some(TlsCertificates { client_tls, root_cert: roots.clone() }))
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
pub(super) fn tcp(silence_max: Duration) -> TcpSettings {
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
