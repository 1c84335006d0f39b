//! Session tickets (RFC 8446 section 4.6.1, RFC 5077) under keys that follow from the secret of the file and the time. So a
//! reload keeps the sessions of clients, and several tidelocks with one secret resume what another one has begun. Whoever
//! learns the secret can read what TLS 1.2 clients that resumed have said; those of TLS 1.3 agree on new keys each time.

use std::fmt;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use config::plan::Secrets;
use rustls::server::ProducesTickets;

use crate::net::secret_key;

/// Makes tickets and reads them.
pub(super) struct Tickets {
    /// What the secrets give; never empty. The first one makes tickets, and all are believed.
    secrets: Vec<Prk>,
    /// What clients are asked for where they are made, as far as it is not the same for all: a session is resumed only where it
    /// could have begun.
    rules: Vec<u8>,
    /// The keys of the period in which they were needed last.
    keys: RwLock<Option<Arc<Keys>>>,
}

/// All keys that are good in one period. The first one makes tickets.
struct Keys {
    period: u64,
    keys: Vec<TicketKey>,
}

/// The key that one secret gives for one period.
struct TicketKey {
    /// Stands in front of its tickets.
    name: [u8; NAME_BYTES],
    key: RandomizedNonceKey,
}

impl Tickets {
    /// Under these secrets; without any, under one that is this process's own. For listens that have these `rules` alone.
    pub(super) fn new(secrets: &Secrets, rules: &[u8]) -> Self {
        static OWN: LazyLock<[u8; 32]> = LazyLock::new(secret_key::draw);
        let salt = Salt::new(HKDF_SHA256, b"tidelock: session tickets");
        let mut secrets: Vec<_> = secrets.iter().map(|secret| salt.extract(secret)).collect();
        if secrets.is_empty() {
            secrets.push(salt.extract(&*OWN));
        }
        Self { secrets, rules: rules.to_vec(), keys: RwLock::default() }
    }

    fn seal(&self, plain: &[u8], period: u64) -> Option<Vec<u8>> {
        let keys = self.keys(period)?;
        let TicketKey { name, key } = keys.keys.first()?;
        let mut sealed = plain.to_vec();
        let nonce = key.seal_in_place_append_tag(Aad::from(name), &mut sealed).ok()?;
        Some([name, nonce.as_ref().as_slice(), &sealed].concat())
    }

    fn open(&self, ticket: &[u8], period: u64) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_first_chunk::<NAME_BYTES>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let keys = self.keys(period)?;
        let TicketKey { name, key } = keys.keys.iter().find(|key| key.name == *name)?;
        let mut plain = sealed.to_vec();
        let bytes = key.open_in_place(Nonce::from(nonce), Aad::from(name), &mut plain).ok()?.len();
        plain.truncate(bytes);
        Some(plain)
    }

    fn keys(&self, period: u64) -> Option<Arc<Keys>> {
        let known = self.keys.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(keys) = known.filter(|keys| keys.period == period) {
            return Some(keys);
        }
        // Those of the next one too, in which another tidelock may be already.
        let periods = [period].into_iter().chain(period.saturating_sub(PERIODS_OF_A_TICKET)..period);
        let pairs =
            periods.chain([period + 1]).flat_map(|period| self.secrets.iter().map(move |of| (of, period)));
        let keys = pairs
            .map(|(secret, period)| TicketKey::derive(secret, period, &self.rules))
            .collect::<Result<_, _>>();
        let keys = Arc::new(Keys { period, keys: keys.ok()? });
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Some(keys.clone());
        Some(keys)
    }
}

impl TicketKey {
    fn derive(secret: &Prk, period: u64, rules: &[u8]) -> Result<Self, Unspecified> {
        let mut bytes = [0; NAME_BYTES + KEY_BYTES];
        secret.expand(&[&period.to_be_bytes(), rules], Bytes(NAME_BYTES + KEY_BYTES))?.fill(&mut bytes)?;
        let (&name, key) = bytes.split_first_chunk().ok_or(Unspecified)?;
        Ok(Self { name, key: RandomizedNonceKey::new(&AES_256_GCM, key)? })
    }
}

/// So many bytes are derived.
struct Bytes(usize);

impl KeyType for Bytes {
    fn len(&self) -> usize {
        self.0
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        (PERIOD_S * PERIODS_OF_A_TICKET) as u32
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.seal(plain, period_now())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.open(ticket, period_now())
    }
}

/// Says nothing of the keys.
impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets(..)")
    }
}

fn period_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / PERIOD_S
}

/// A key makes tickets for so long, and is forgotten with the last of them. As nginx and rustls do it by themselves.
const PERIOD_S: u64 = 6 * 3600;
const PERIODS_OF_A_TICKET: u64 = 2;
const NAME_BYTES: usize = 16;
const KEY_BYTES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn tickets(secrets: &[&str]) -> Tickets {
        Tickets::new(&Secrets::new(secrets.iter().map(|secret| secret.as_bytes().to_vec()).collect()), &[])
    }

    #[test]
    fn a_ticket_is_good_for_two_periods_wherever_its_secret_is() {
        let (here, there) = (tickets(&["one"]), tickets(&["one"]));
        let ticket = here.seal(b"what was agreed", 100).expect("it can be sealed");
        for (period, is_good) in
            [(98, false), (99, true), (100, true), (101, true), (102, true), (103, false)]
        {
            let opened = there.open(&ticket, period);
            assert_eq!(opened.as_deref(), is_good.then_some(&b"what was agreed"[..]), "in period {period}");
        }
        assert_ne!(here.seal(b"what was agreed", 100), Some(ticket), "no two are alike");
    }

    #[test]
    fn a_secret_is_exchanged_without_losing_a_session() {
        let ticket = tickets(&["old"]).seal(b"x", 7).expect("it can be sealed");
        assert!(tickets(&["new", "old"]).open(&ticket, 7).is_some());
        assert!(tickets(&["new"]).open(&ticket, 7).is_none());
        assert!(Tickets::new(&Secrets::default(), &[]).open(&ticket, 7).is_none());
    }

    #[test]
    fn a_ticket_is_good_where_clients_are_asked_for_the_same() {
        let secrets = Secrets::new(vec![b"one".to_vec()]);
        let [none, some, others] = [&b""[..], b"some", b"others"].map(|rules| Tickets::new(&secrets, rules));
        let ticket = some.seal(b"what was agreed", 7).expect("it can be sealed");
        assert!(Tickets::new(&secrets, b"some").open(&ticket, 7).is_some());
        assert!(none.open(&ticket, 7).is_none() && others.open(&ticket, 7).is_none());
    }

    #[test]
    fn what_was_not_made_here_opens_nothing() {
        let tickets = tickets(&["one"]);
        let ticket = tickets.seal(b"what was agreed", 7).expect("it can be sealed");
        for at in 0..ticket.len() {
            let mut forged = ticket.clone();
            forged[at] ^= 1;
            assert_eq!(tickets.open(&forged, 7), None, "a bit of byte {at}");
            assert_eq!(tickets.open(&ticket[..at], 7), None, "{at} bytes of it");
        }
    }
}
