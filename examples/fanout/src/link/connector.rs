//! How Redis is reached: by one address, by those of a cluster, or by what Sentinels say.

use std::{sync::Arc, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, ProtocolVersion, PushInfo, RedisResult, TlsCertificates,
    cluster::ClusterClient,
};
use tokio::time::timeout;

use super::{
    address::{address, certificates, invalid, is_tls, late, no_address, tcp},
    connection::Connection,
    resp2,
    sentinel::Sentinels,
};
use crate::{
    options::{Credentials, Mode, OnCredentials, Options},
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

pub(crate) type Receive = Box<dyn Fn(PushInfo) -> Result<(), ()> + Send + Sync>;

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
        if options.mode == Mode::Streams && options.stream_count == 0 {
            return Err(invalid("Options::stream_count must be at least 1"));
        }
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
        side: Side,
        credentials: Option<&Credentials>,
        receive: Option<Receive>,
    ) -> RedisResult<Connection> {
        if self.cluster {
            let client = self.cluster_client(credentials.cloned(), receive)?;
            let mut connection = Connection::Cluster(client.get_async_connection().await?);
            connection.ping().await?;
            return Ok(connection);
        }
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

/// Whether it was the greeting that was refused, and not who was greeting.
fn is_without_resp3(error: &redis::RedisError) -> bool {
    if error.kind() == redis::ErrorKind::RESP3NotSupported || error.code() == Some("NOPROTO") {
        return true;
    }
    let names_hello = error.to_string().to_ascii_lowercase().contains("hello");
    names_hello && matches!(error.code(), Some("ERR" | "NOPERM"))
}
