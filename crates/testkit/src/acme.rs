//! An ACME authority that does as it is told: it believes everybody, says when to renew (RFC 9773), lies, and has outages. What a
//! real one checks, `pebble` checks.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::certificates::Authority;

/// What the authority does from now on.
#[derive(Clone, Debug)]
pub struct Mood {
    /// Answers every order with this status, these header lines and this body.
    pub refuses: Option<(u16, String, String)>,
    /// When certificates are to be renewed: between these two, from now.
    pub window: Option<(Duration, Duration)>,
    /// The name that certificates are for, whatever was asked for.
    pub instead: Option<String>,
    /// How long certificates are valid.
    pub valid: Duration,
}

/// A running authority. Ends with the test.
#[derive(Debug)]
pub struct AcmeServer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    authority: Arc<Authority>,
}

#[derive(Debug)]
struct State {
    mood: Mood,
    orders: Vec<Order>,
}

#[derive(Clone, Debug)]
struct Order {
    names: Value,
    replaces: Option<String>,
    is_proved: bool,
    certificate: Option<String>,
}

impl AcmeServer {
    /// Starts one that gives certificates for 90 days.
    ///
    /// # Panics
    /// If there is no free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let authority = Arc::new(Authority::new("of the test"));
        let mood = Mood { refuses: None, window: None, instead: None, valid: Duration::days(90) };
        let state = Arc::new(Mutex::new(State { mood, orders: Vec::new() }));
        let server =
            Server { base: format!("https://{address}"), state: state.clone(), authority: authority.clone() };
        let acceptor = TlsAcceptor::from(Arc::new(tls(&authority)));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, server) = (acceptor.clone(), server.clone());
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        server.converse(stream).await;
                    }
                });
            }
        });
        Self { address, state, authority }
    }

    /// Changes its mood.
    pub fn set(&self, change: impl FnOnce(&mut Mood)) {
        change(&mut self.state().mood);
    }

    /// For whom it has been asked, and in the place of which certificate.
    #[must_use]
    pub fn orders(&self) -> Vec<(String, Option<String>)> {
        let name = |order: &Order| order.names[0]["value"].as_str().unwrap_or_default().to_owned();
        self.state().orders.iter().map(|order| (name(order), order.replaces.clone())).collect()
    }

    /// Who signs its certificates, and that of the directory.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// `[acme]` for it, with `more` lines under it; `directory` is where the certificate of its authority is put.
    #[must_use]
    pub fn section(&self, directory: &std::path::Path, more: &str) -> String {
        let ca = self.authority.write(directory);
        format!("[acme]\ndirectory = \"https://{}/dir\"\nca = {ca:?}\n{more}\n", self.address)
    }

    /// The folder that tidelock keeps its certificates in, in the one of its state.
    #[must_use]
    pub fn folder(&self) -> String {
        format!("127.0.0.1_{}_dir", self.address.port())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tls(authority: &Authority) -> ServerConfig {
    let own = authority.issue(&["127.0.0.1"]);
    let chain = vec![CertificateDer::from_pem_slice(own.certificate.as_bytes()).expect("PEM")];
    let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).expect("PEM");
    ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has both")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("they go together")
}

#[derive(Clone)]
struct Server {
    base: String,
    state: Arc<Mutex<State>>,
    authority: Arc<Authority>,
}

/// Status, more header lines, body.
type Answer = (u16, String, String);

impl Server {
    async fn converse(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        let mut said = Vec::new();
        while let Some((path, body)) = next_request(&mut stream, &mut said).await {
            let (status, lines, body) = self.answer(&path, &body);
            let nonce = OffsetDateTime::now_utc().unix_timestamp_nanos();
            let head = format!(
                "HTTP/1.1 {status} x\r\nReplay-Nonce: n{nonce}\r\n{lines}Content-Length: {}\r\n\r\n",
                body.len()
            );
            if stream.write_all((head + &body).as_bytes()).await.is_err() {
                return;
            }
        }
    }

    fn answer(&self, path: &str, body: &[u8]) -> Answer {
        let url = |rest: &str| format!("{}/{rest}", self.base);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (verb, rest) =
            path.trim_start_matches('/').split_once('/').unwrap_or((path.trim_start_matches('/'), ""));
        let payload = payload(body);
        let number: usize = rest.parse().unwrap_or(0);
        let found = state.orders.get(number).cloned();
        match (verb, found) {
            ("dir", _) => {
                let mut directory = json!({
                    "newNonce": url("nonce"), "newAccount": url("account"), "newOrder": url("order-new"),
                    "revokeCert": url("revoke"), "keyChange": url("key"), "meta": {},
                });
                if state.mood.window.is_some() {
                    directory["renewalInfo"] = url("renewal").into();
                }
                ok(directory)
            }
            ("account", _) => (
                201,
                format!("Location: {}\r\n", url("accounts/1")),
                json!({ "status": "valid" }).to_string(),
            ),
            ("order-new", _) => {
                let replaces = payload["replaces"].as_str().map(str::to_owned);
                let names = payload["identifiers"].clone();
                state.orders.push(Order { names, replaces, is_proved: false, certificate: None });
                if let Some(refused) = state.mood.refuses.clone() {
                    return refused;
                }
                let number = state.orders.len() - 1;
                let location = format!("Location: {}\r\n", url(&format!("order/{number}")));
                (201, location, self.order(number, &state.orders[number]).to_string())
            }
            ("order", Some(order)) => ok(self.order(number, &order)),
            ("authz", Some(order)) => {
                let (name, status) = (&order.names[0], status(&order));
                ok(
                    json!({ "identifier": name, "status": status, "challenges": [self.challenge(number, &order)] }),
                )
            }
            ("challenge", Some(_)) => {
                let order = &mut state.orders[number];
                order.is_proved = true;
                ok(self.challenge(number, order))
            }
            ("finalize", Some(_)) => {
                let request = payload["csr"].as_str().and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
                let Mood { instead, valid, .. } = state.mood.clone();
                let request = request.unwrap_or_default();
                state.orders[number].certificate =
                    Some(self.authority.sign_request(&request, instead.as_deref(), valid));
                ok(self.order(number, &state.orders[number]))
            }
            ("certificate", Some(Order { certificate: Some(certificate), .. })) => {
                (200, String::new(), certificate + self.authority.pem())
            }
            ("renewal", _) => {
                let (start, end) = state.mood.window.unwrap_or_default();
                let at = |from_now: Duration| {
                    let at = (OffsetDateTime::now_utc() + from_now).replace_nanosecond(0).expect("0 is one");
                    at.format(&time::format_description::well_known::Rfc3339).expect("a year of four digits")
                };
                let window = json!({ "suggestedWindow": { "start": at(start), "end": at(end) } });
                (200, "Retry-After: 21600\r\n".to_owned(), window.to_string())
            }
            ("nonce", _) => (200, String::new(), String::new()),
            _ => (404, String::new(), json!({ "detail": "not here" }).to_string()),
        }
    }

    fn order(&self, number: usize, order: &Order) -> Value {
        let url = |verb: &str| format!("{}/{verb}/{number}", self.base);
        let status = match (&order.certificate, order.is_proved) {
            (Some(_), _) => "valid",
            (None, true) => "ready",
            (None, false) => "pending",
        };
        let mut said = json!({
            "status": status, "identifiers": order.names, "authorizations": [url("authz")], "finalize": url("finalize"),
        });
        if order.certificate.is_some() {
            said["certificate"] = url("certificate").into();
        }
        if let Some(replaces) = &order.replaces {
            said["replaces"] = replaces.clone().into();
        }
        said
    }

    fn challenge(&self, number: usize, order: &Order) -> Value {
        let url = format!("{}/challenge/{number}", self.base);
        json!({ "type": "http-01", "url": url, "token": format!("token-{number}"), "status": status(order) })
    }
}

fn status(order: &Order) -> &'static str {
    if order.is_proved { "valid" } else { "pending" }
}

fn ok(body: Value) -> Answer {
    (200, String::new(), body.to_string())
}

/// What is signed; who has signed it is not looked at.
fn payload(body: &[u8]) -> Value {
    let signed: Value = serde_json::from_slice(body).unwrap_or_default();
    let decoded = signed["payload"].as_str().and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
    decoded.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

/// The path and body of the next request; what is behind it stays in `said`.
async fn next_request(
    stream: &mut (impl AsyncRead + Unpin),
    said: &mut Vec<u8>,
) -> Option<(String, Vec<u8>)> {
    loop {
        if let Some(end) = said.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&said[..end]).to_lowercase();
            let length =
                head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
            let whole = end + 4 + length.unwrap_or(0);
            if said.len() >= whole {
                let path = String::from_utf8_lossy(said).split(' ').nth(1).unwrap_or_default().to_owned();
                let body = said[end + 4..whole].to_vec();
                said.drain(..whole);
                return Some((path, body));
            }
        }
        if stream.read_buf(said).await.ok()? == 0 {
            return None;
        }
    }
}
