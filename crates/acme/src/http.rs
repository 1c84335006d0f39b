//! How authorities are spoken with: over HTTPS alone, within bounds of time and length, whatever they answer.

use std::cell::Cell;
use std::error::Error as StdError;
use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::RETRY_AFTER;
use hyper::{Request, Response, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokio::time::timeout;

/// A client of one authority. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Http {
    client: Client<HttpsConnector<HttpConnector>, BodyWrapper<Bytes>>,
}

tokio::task_local! {
    /// The client of the library keeps what an authority says beside its answers to itself.
    static LAST_REFUSAL: Cell<Option<Refusal>>;
}

/// Does `attempt`, within which [`take_refusal`] knows what the authority has refused.
pub(crate) async fn noting_refusals<T>(attempt: impl Future<Output = T>) -> T {
    LAST_REFUSAL.scope(Cell::default(), attempt).await
}

/// What the last answer was that refused something, since this was last asked.
pub(crate) fn take_refusal() -> Option<Refusal> {
    LAST_REFUSAL.try_with(Cell::take).ok().flatten()
}

/// What an authority has said beside what its answer is about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    /// Until when it wants to be left alone.
    pub(crate) retry_after: Option<SystemTime>,
}

impl Http {
    /// A client that trusts the authorities in the PEM file `ca`, or those that the system trusts.
    ///
    /// # Errors
    /// If the file cannot be read or holds none.
    pub(crate) fn new(ca: Option<&Path>) -> io::Result<Self> {
        let mut roots = RootCertStore::empty();
        match ca {
            Some(file) => {
                let named = |reason: String| io::Error::other(format!("{}: {reason}", file.display()));
                let certificates =
                    CertificateDer::pem_file_iter(file).map_err(|error| named(error.to_string()))?;
                let (taken, _) = roots.add_parsable_certificates(certificates.filter_map(Result::ok));
                if taken == 0 {
                    return Err(named("holds no certificate".to_owned()));
                }
            }
            None => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_http1().build();
        Ok(Self { client: Client::builder(TokioExecutor::new()).build(connector) })
    }

    async fn exchange(self, mut request: Request<BodyWrapper<Bytes>>) -> Result<BytesResponse, Error> {
        if let Ok(agent) = USER_AGENT.parse() {
            request.headers_mut().insert(hyper::header::USER_AGENT, agent);
        }
        let asked = request.uri().authority().map(ToString::to_string).unwrap_or_default();
        let exchange = async {
            let answer =
                self.client.request(request).await.map_err(|error| boxed(without(&asked, &error)))?;
            let (parts, body) = answer.into_parts();
            let body = Limited::new(body, BODY_BYTES_MAX).collect().await.map_err(Error::Other)?;
            if parts.status.is_client_error() || parts.status.is_server_error() {
                let retry_after = parts.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
                let refusal = Refusal { status: parts.status, retry_after: retry_after.and_then(read_time) };
                let _ = LAST_REFUSAL.try_with(|last| last.set(Some(refusal)));
            }
            Ok(BytesResponse::from(Response::from_parts(parts, Full::new(body.to_bytes()))))
        };
        let late = || boxed(format!("{asked} has not answered within {} s", ANSWERS_WITHIN.as_secs()));
        timeout(ANSWERS_WITHIN, exchange).await.unwrap_or_else(|_| Err(late()))
    }
}

impl HttpClient for Http {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        Box::pin(self.clone().exchange(request))
    }
}

fn boxed(words: String) -> Error {
    Error::Other(words.into())
}

/// Whom nobody could speak with, and the innermost reason: those around it say nothing more.
fn without(asked: &str, error: &dyn StdError) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    format!("{asked} cannot be asked: {innermost}")
}

/// Seconds, or a date (RFC 9110 section 10.2.3).
fn read_time(value: &str) -> Option<SystemTime> {
    match value.trim().parse::<u32>() {
        Ok(seconds) => SystemTime::now().checked_add(Duration::from_secs(seconds.into())),
        Err(_) => {
            let format = time::macros::format_description!(
                "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
            );
            time::PrimitiveDateTime::parse(value.trim(), format).ok().map(|at| at.assume_utc().into())
        }
    }
}

/// As they ask of clients (RFC 8555 section 6.1).
const USER_AGENT: &str = concat!("tidelock/", env!("CARGO_PKG_VERSION"));
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);
/// The longest of them is a chain of certificates.
const BODY_BYTES_MAX: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// The clock goes on by itself when nobody has anything to do.
    #[tokio::test(start_paused = true)]
    async fn an_authority_that_never_answers_is_waited_for_so_long() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let http = Http::new(None).expect("a client");
        let request = Request::get(format!("https://{address}/dir")).body(BodyWrapper::default());
        let asked = http.exchange(request.expect("a request")).await;
        let error = asked.err().expect("nobody answers").to_string();
        assert_eq!(error, format!("{address} has not answered within 30 s"));
    }

    #[test]
    fn a_time_is_seconds_or_a_date() {
        let date = read_time("Sun, 06 Nov 1994 08:49:37 GMT").expect("a date");
        assert_eq!(date.duration_since(SystemTime::UNIX_EPOCH).expect("later").as_secs(), 784_111_777);
        let soon = read_time("120").expect("seconds").duration_since(SystemTime::now()).expect("later");
        assert!((110..=120).contains(&soon.as_secs()), "{soon:?}");
        for none in ["", "soon", "-1", "99999999999999999999"] {
            assert_eq!(read_time(none), None, "{none}");
        }
    }
}
