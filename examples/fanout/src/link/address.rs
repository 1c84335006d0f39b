//! What an app says of the way to Redis: addresses and certificates, checked before anything is connected.

use std::time::Duration;

use redis::{
    ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, RedisResult, TlsCertificates,
    io::tcp::{TcpSettings, socket2::TcpKeepalive},
};

use crate::options::{ClientCertificate, Options};

pub(super) fn address(url: &str, silence_max: Duration) -> RedisResult<ConnectionInfo> {
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

/// How a peer is noticed that is gone without a word. One that is only slow acknowledges what TCP sends.
pub(super) fn tcp(silence_max: Duration) -> TcpSettings {
    // The kernel counts keepalive in whole seconds and refuses none.
    let silence_max = silence_max.max(Duration::from_secs(6));
    let keepalive =
        TcpKeepalive::new().with_time(silence_max / 3).with_interval(silence_max / 6).with_retries(3);
    TcpSettings::default().set_nodelay(true).set_keepalive(keepalive).set_user_timeout(silence_max)
}

pub(super) fn is_tls(url: &str) -> bool {
    url.starts_with("rediss:") || url.starts_with("valkeys:")
}

pub(super) fn certificates(urls: &[&str], options: &Options) -> RedisResult<Option<TlsCertificates>> {
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

fn contains(text: &[u8], wanted: &[u8]) -> bool {
    memchr::memmem::find(text, wanted).is_some()
}

pub(super) fn invalid(what: &'static str) -> redis::RedisError {
    (redis::ErrorKind::InvalidClientConfig, what).into()
}

pub(super) fn late(who: &'static str) -> redis::RedisError {
    (redis::ErrorKind::Io, "no answer in time", who.to_owned()).into()
}

pub(super) fn no_address() -> redis::RedisError {
    (redis::ErrorKind::InvalidClientConfig, "no address given").into()
}
