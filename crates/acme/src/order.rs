//! One attempt to get one certificate, from the account to the file.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use config::plan::{Acme, Issuer};
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, CertificateIdentifier, ChallengeStatus, ChallengeType,
    ExternalAccountKey, Identifier, NewAccount, NewOrder, Order, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use rustls::client::verify_server_name;
use rustls::crypto::aws_lc_rs;
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::sync::Mutex;

use crate::failure::Failure;
use crate::http::{self, Http};
use crate::proof::{Proof, Wanted};
use crate::state::{self, Held, Lock};

/// One authority, and the account that is had with it.
pub(crate) struct Authority {
    acme: Acme,
    http: Http,
    /// Where the certificates and the account are.
    folder: PathBuf,
    /// Whether there is a listen that speaks HTTP without TLS.
    has_http: bool,
    account: Mutex<Option<Account>>,
}

/// What may be wanted of a certificate.
pub(crate) struct Attempt<'a> {
    pub(crate) host: &'a str,
    /// Each other attempt proves the name in the other way, if there are two.
    pub(crate) number: u32,
    /// What it takes the place of.
    pub(crate) held: Option<&'a Held>,
}

impl Authority {
    pub(crate) fn new(acme: &Acme, has_http: bool) -> Result<Arc<Self>, Failure> {
        let folder = acme.state.clone().unwrap_or_default().join(acme.directory_folder());
        for made in [folder.clone(), acme.http_challenges(), acme.tls_challenges()] {
            state::make_folder(&made)?;
            state::tidy(&made);
        }
        let http = Http::new(acme.ca.as_deref()).map_err(|error| Failure::new(error.to_string()))?;
        Ok(Arc::new(Self { acme: acme.clone(), http, folder, has_http, account: Mutex::default() }))
    }

    pub(crate) fn certificate_file(&self, host: &str) -> PathBuf {
        self.acme.file(Issuer::Acme, host)
    }

    /// Where is remembered what became of the attempts.
    pub(crate) fn record_file(&self, host: &str) -> PathBuf {
        self.certificate_file(host).with_added_extension("json")
    }

    /// The right to ask for this certificate; nothing if another process has it.
    pub(crate) fn lock(&self, host: &str) -> Result<Option<Lock>, Failure> {
        Ok(Lock::try_take(self.certificate_file(host).with_added_extension("lock"))?)
    }

    /// When the authority wants `held` to be renewed (RFC 9773): its window, and how long that is good for.
    pub(crate) async fn renewal_window(&self, held: &Held) -> Result<(i64, i64, Duration), Failure> {
        let account = self.account().await?;
        let id = identifier(held)?;
        let (info, again_in) = heard(account.renewal_info(&id).await)?;
        let window = info.suggested_window;
        Ok((window.start.unix_timestamp(), window.end.unix_timestamp(), again_in))
    }

    /// Gets a certificate and puts it into its file.
    pub(crate) async fn obtain(&self, attempt: &Attempt<'_>) -> Result<(), Failure> {
        let account = self.account().await?;
        let mut order = self.order(&account, attempt).await?;
        let mut proofs = Vec::new();
        let proved = self.prove(&mut order, attempt, &mut proofs).await;
        for proof in &proofs {
            proof.take_down().await;
        }
        proved?;
        let (chain, key) = self.certificate(&mut order, attempt.host).await?;
        let file = self.certificate_file(attempt.host);
        look_at(&chain, &key, attempt.host)?;
        Ok(state::write(&file, (chain + &key).as_bytes())?)
    }

    /// The account that is kept, or a new one.
    async fn account(&self) -> Result<Account, Failure> {
        let mut known = self.account.lock().await;
        if let Some(account) = &*known {
            return Ok(account.clone());
        }
        let file = self.folder.join("account.json");
        let account = match state::read_bounded(&file) {
            Ok(text) => {
                let kept: AccountCredentials = serde_json::from_slice(&text).map_err(|error| {
                    let what = "is no account; if it is moved away, a new one is made";
                    Failure::new(format!("{} {what}: {error}", file.display()))
                })?;
                let builder = Account::builder_with_http(Box::new(self.http.clone()));
                heard(builder.from_credentials(kept).await)?
            }
            Err(_) => self.new_account(&file).await?,
        };
        Ok(known.insert(account).clone())
    }

    async fn new_account(&self, file: &Path) -> Result<Account, Failure> {
        let contact = self.acme.email.as_ref().map(|email| format!("mailto:{email}"));
        let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
        let wanted =
            NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
        let eab = match &self.acme.eab {
            Some(eab) => {
                let key = URL_SAFE_NO_PAD.decode(eab.secret.trim_end_matches('='));
                let key = key.map_err(|_| Failure::new("`[acme] eab_secret` is not base64url"))?;
                Some(ExternalAccountKey::new(eab.key_id.clone(), &key))
            }
            None => None,
        };
        let builder = Account::builder_with_http(Box::new(self.http.clone()));
        let created = builder.create(&wanted, self.acme.directory().to_owned(), eab.as_ref()).await;
        let (account, credentials) = heard(created)?;
        let text = serde_json::to_vec(&credentials).map_err(|error| Failure::new(error.to_string()))?;
        state::write(file, &text)?;
        tracing::info!(
            event = "acme_account",
            directory = self.acme.directory(),
            "made an account with the authority"
        );
        Ok(account)
    }

    async fn order(&self, account: &Account, attempt: &Attempt<'_>) -> Result<Order, Failure> {
        let names = [Identifier::Dns(attempt.host.to_owned())];
        // An authority that knows what is replaced counts it in none of its limits.
        if let Some(replaced) = attempt.held.and_then(|held| identifier(held).ok()) {
            let order = NewOrder::new(&names).replaces(replaced);
            match heard(account.new_order(&order).await) {
                // Not all know it, and those that do may have it replaced already.
                Err(failure) if failure.retry_at.is_none() && !failure.is(NO_ACCOUNT) => {}
                ordered => return self.minding_the_account(ordered).await,
            }
        }
        self.minding_the_account(heard(account.new_order(&NewOrder::new(&names)).await)).await
    }

    /// Forgets the account if the authority has: the next attempt is with a new one.
    async fn minding_the_account(&self, ordered: Result<Order, Failure>) -> Result<Order, Failure> {
        if let Err(failure) = &ordered
            && failure.is(NO_ACCOUNT)
        {
            let file = self.folder.join("account.json");
            std::fs::rename(&file, file.with_extension("json.unknown"))?;
            *self.account.lock().await = None;
        }
        ordered
    }

    /// Shows the authority whose the name is, until it has seen it.
    async fn prove(
        &self,
        order: &mut Order,
        attempt: &Attempt<'_>,
        proofs: &mut Vec<Proof>,
    ) -> Result<(), Failure> {
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = heard(authorization)?;
            if authorization.status == AuthorizationStatus::Valid {
                continue;
            }
            let offered: Vec<ChallengeType> =
                authorization.challenges.iter().map(|challenge| challenge.r#type.clone()).collect();
            let kind = self.way_to_prove(&offered, attempt)?;
            let Some(mut challenge) = authorization.challenge(kind.clone()) else { continue };
            let shown = challenge.key_authorization();
            let name = attempt.host.strip_prefix("*.").unwrap_or(attempt.host);
            let wanted = Wanted { kind, name, token: &challenge.token, authorization: &shown };
            proofs.push(Proof::show(&self.acme, wanted).await?);
            heard(challenge.set_ready().await)?;
        }
        let ready = order.poll_ready(&RetryPolicy::new().timeout(PROVED_WITHIN)).await;
        match heard(ready) {
            Ok(OrderStatus::Ready | OrderStatus::Valid) => Ok(()),
            Ok(_) => Err(self.why_unproved(order).await),
            Err(failure) if failure.kind.is_some() => Err(self.why_unproved(order).await),
            Err(failure) => Err(failure),
        }
    }

    /// How a name is proved: by the DNS if we can, and else by what the world can reach.
    fn way_to_prove(
        &self,
        offered: &[ChallengeType],
        attempt: &Attempt<'_>,
    ) -> Result<ChallengeType, Failure> {
        let mut ways = match (&self.acme.dns_program, self.has_http) {
            (Some(_), _) => vec![ChallengeType::Dns01],
            (None, true) => vec![ChallengeType::Http01, ChallengeType::TlsAlpn01],
            (None, false) => vec![ChallengeType::TlsAlpn01],
        };
        ways.retain(|way| offered.contains(way));
        if ways.is_empty() {
            let what = "the authority wants proof in none of the ways that there are here";
            let hint = "HTTP wants a listen without `tls`; wildcards want `[acme] dns_program`";
            return Err(Failure::new(format!("{what} ({hint})")));
        }
        Ok(ways.swap_remove(attempt.number as usize % ways.len()))
    }

    /// What the authority has found in the place of the proof.
    async fn why_unproved(&self, order: &mut Order) -> Failure {
        let mut authorizations = order.authorizations();
        while let Some(Ok(mut authorization)) = authorizations.next().await {
            let Ok(state) = authorization.refresh().await else { continue };
            let problem = state
                .challenges
                .iter()
                .filter(|challenge| challenge.status == ChallengeStatus::Invalid)
                .find_map(|challenge| challenge.error.as_ref());
            if let Some(problem) = problem {
                return Failure::of(problem);
            }
        }
        Failure::new("the authority has not found the proof, and does not say why")
    }

    async fn certificate(&self, order: &mut Order, host: &str) -> Result<(String, String), Failure> {
        let made = || -> Result<_, rcgen::Error> {
            let mut params = CertificateParams::new(vec![host.to_owned()])?;
            params.distinguished_name = DistinguishedName::new();
            let key = KeyPair::generate()?;
            let request = params.serialize_request(&key)?;
            Ok((request.der().to_vec(), key.serialize_pem()))
        };
        let (request, key) =
            made().map_err(|error| Failure::new(format!("no request can be made: {error}")))?;
        heard(order.finalize_csr(&request).await)?;
        let chain = order.poll_certificate(&RetryPolicy::new().timeout(ISSUED_WITHIN)).await;
        Ok((heard(chain)?, key))
    }
}

/// Adds to what went wrong what the authority has said beside it.
fn heard<T>(result: Result<T, instant_acme::Error>) -> Result<T, Failure> {
    let refusal = http::take_refusal();
    result.map_err(|error| {
        let is_no_acme = matches!(error, instant_acme::Error::Json(_));
        let mut failure = Failure::from(error);
        let Some(refusal) = refusal else { return failure };
        if is_no_acme {
            failure.message = format!("the authority answers {}, and does not say why", refusal.status);
        }
        let is_told = failure.is("rateLimited") || matches!(refusal.status.as_u16(), 429 | 503);
        failure.retry_at = refusal.retry_after.filter(|_| is_told).map(seconds);
        if failure.retry_at.is_none() && failure.is("rateLimited") {
            failure.retry_at = Some(seconds(SystemTime::now() + RATE_LIMITED));
        }
        failure
    })
}

/// What an authority knows a certificate by (RFC 9773 section 4.1).
fn identifier(held: &Held) -> Result<CertificateIdentifier<'static>, Failure> {
    CertificateIdentifier::try_from(&held.leaf).map(CertificateIdentifier::into_owned).map_err(Failure::new)
}

/// Whether a certificate is what was asked for: clients would find out otherwise.
fn look_at(chain: &str, key: &str, host: &str) -> Result<(), Failure> {
    let wrong = |what: String| Failure::new(format!("the authority has given a certificate that {what}"));
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain.as_bytes()).collect();
    let certificates = certificates.map_err(|error| wrong(format!("is not PEM: {error}")))?;
    let Some(leaf) = certificates.first().cloned() else { return Err(wrong("is empty".to_owned())) };
    let parsed = ParsedCertificate::try_from(&leaf).map_err(|error| wrong(format!("is none: {error}")))?;
    // A wildcard is for what stands in its place.
    let name = host.replacen('*', "a", 1);
    let name = ServerName::try_from(name).map_err(|error| wrong(format!("can be for no name: {error}")))?;
    verify_server_name(&parsed, &name).map_err(|_| wrong(format!("is not for {host}")))?;
    let held = Held::of(leaf).ok_or_else(|| wrong("says nothing of its time".to_owned()))?;
    let now = seconds(SystemTime::now());
    if now > held.not_after {
        return Err(wrong("has expired; is the clock of this machine right?".to_owned()));
    }
    let key =
        PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|error| Failure::new(error.to_string()))?;
    CertifiedKey::from_der(certificates, key, &aws_lc_rs::default_provider())
        .map(drop)
        .map_err(|error| wrong(format!("is not for our key: {error}")))
}

/// Seconds since 1970.
pub(crate) fn seconds(at: SystemTime) -> i64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

/// Of an authority that has forgotten us.
const NO_ACCOUNT: &str = "accountDoesNotExist";
/// Authorities look from several places of the world.
const PROVED_WITHIN: Duration = Duration::from_secs(120);
const ISSUED_WITHIN: Duration = Duration::from_secs(120);
/// For an authority that says that it has had enough, and not for how long.
const RATE_LIMITED: Duration = Duration::from_hours(1);
