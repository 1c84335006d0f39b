//! Which server the Sentinels call the master, asked before every attempt to connect and while one is silent.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use redis::{
    ConnectionAddr, ConnectionInfo, RedisResult, TlsCertificates, TlsMode,
    sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType},
};
use tokio::{sync::Mutex, time::timeout};

use super::address::{late, tcp};
use crate::{options::Credentials, stats::Side};

#[derive(Clone)]
pub(super) struct Sentinels {
    addresses: Vec<ConnectionInfo>,
    service: String,
    tls: Option<TlsCertificates>,
    stall_max: Duration,
    /// What each side is connected to.
    used: Arc<[Mutex<Option<ConnectionAddr>>; 3]>,
}

impl Sentinels {
    pub(super) fn new(
        addresses: Vec<ConnectionInfo>,
        service: &str,
        tls: Option<TlsCertificates>,
        stall_max: Duration,
    ) -> Self {
        Self { addresses, service: service.to_owned(), tls, stall_max, used: Arc::default() }
    }

    /// Asks all of them at once; redis-rs takes the first answer whose server says itself that it is the master.
    pub(super) async fn master(
        &self,
        side: Side,
        credentials: Option<&Credentials>,
        wait_max: Duration,
    ) -> RedisResult<ConnectionAddr> {
        let address = self.ask(credentials, wait_max).await?;
        *self.used[side as usize].lock().await = Some(address.clone());
        Ok(address)
    }

    /// Whether another server is the master now than the one that this side is connected to.
    pub(super) async fn have_moved(
        &self,
        side: Side,
        credentials: Option<&Credentials>,
        wait_max: Duration,
    ) -> bool {
        let used = self.used[side as usize].lock().await.clone();
        match (self.ask(credentials, wait_max).await, used) {
            (Ok(now), Some(used)) => place(&now) != place(&used),
            _ => false,
        }
    }

    /// An error if Sentinels answer and none of them knows the name, which no waiting will change.
    pub(super) async fn know_it(&self, wait_max: Duration) -> RedisResult<()> {
        let all = self.addresses.iter().map(|address| timeout(wait_max, self.knows_it(address)));
        let answers: Vec<bool> =
            join_all(all).await.into_iter().filter_map(|answer| answer.ok()?.ok()).collect();
        if answers.is_empty() || answers.contains(&true) {
            return Ok(());
        }
        let what = "no Sentinel watches a master of this name (see `sentinel monitor` in their settings)";
        Err((redis::ErrorKind::MasterNameNotFoundBySentinel, what, self.service.clone()).into())
    }

    async fn knows_it(&self, address: &ConnectionInfo) -> RedisResult<bool> {
        let client = match &self.tls {
            Some(tls) => redis::Client::build_with_tls(address.clone(), tls.clone())?,
            None => redis::Client::open(address.clone())?,
        };
        let mut connection = client.get_multiplexed_async_connection().await?;
        let mut question = redis::cmd("SENTINEL");
        question.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.service);
        Ok(question.query_async::<redis::Value>(&mut connection).await? != redis::Value::Nil)
    }

    async fn ask(
        &self,
        credentials: Option<&Credentials>,
        wait_max: Duration,
    ) -> RedisResult<ConnectionAddr> {
        // A new client each time: redis-rs keeps connections to the Sentinels, which are as mortal as any.
        let mut client = self.client(credentials)?;
        let found = timeout(wait_max, client.async_get_client()).await.map_err(|_| late("Sentinel"))??;
        Ok(found.get_connection_info().addr().clone())
    }

    pub(super) fn client(&self, credentials: Option<&Credentials>) -> RedisResult<SentinelClient> {
        let addresses = self.addresses.iter().map(|address| address.addr().clone());
        let mut builder = SentinelClientBuilder::new(addresses, &self.service, SentinelServerType::Master)?
            .set_client_to_redis_tcp_settings(tcp(self.stall_max))
            .set_client_to_sentinel_tcp_settings(tcp(self.stall_max));
        if let Some(settings) = self.addresses.first().map(ConnectionInfo::redis_settings) {
            if let Some(username) = settings.username() {
                builder = builder.set_client_to_sentinel_username(username);
            }
            if let Some(password) = settings.password() {
                builder = builder.set_client_to_sentinel_password(password);
            }
        }
        if let Some(Credentials { username, password }) = credentials {
            if let Some(username) = username {
                builder = builder.set_client_to_redis_username(username);
            }
            builder = builder.set_client_to_redis_password(password);
        }
        let is_tls = |address: &ConnectionInfo| matches!(address.addr(), ConnectionAddr::TcpTls { .. });
        if self.addresses.iter().all(is_tls) {
            builder = builder.set_client_to_redis_tls_mode(TlsMode::Secure);
            if let Some(tls) = &self.tls {
                builder = builder
                    .set_client_to_redis_certificates(tls.clone())
                    .set_client_to_sentinel_certificates(tls.clone());
            }
        }
        builder.build()
    }
}

fn place(address: &ConnectionAddr) -> String {
    // Without what TLS was set up with, which has no equality.
    match address {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
            format!("{host}:{port}")
        }
        other => other.to_string(),
    }
}
