//! The certificates of one listen, chosen by name at each handshake, and exchanged when their files say something else.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use config::plan::{Acme, CertificateFiles, Issuer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::net::tls::certificate::{self, Certificate, LISTEN, Leaf, MUST_STAPLE, TlsProblem, Unusable};

/// Chooses by the name that the client asks for (RFC 6066 section 3).
#[derive(Debug)]
pub(crate) struct Store {
    by_name: ArcSwap<ByName>,
    /// In the order of the plan. Handshakes do not look here.
    entries: Mutex<Vec<Entry>>,
    /// Where the certificates are by which an authority sees whose a name is, if one is asked for certificates.
    challenges: Option<PathBuf>,
}

/// One certificate of the plan.
#[derive(Debug)]
struct Entry {
    files: CertificateFiles,
    /// By whom and for which name tidelock gets it by itself; until then there is none.
    awaited: Option<(Issuer, String)>,
    /// The files as they were when they were last read.
    seen: [Option<Stamp>; 2],
    /// What is served. `None` if it has never been whole.
    certificate: Option<Certificate>,
    /// What is wrong with the files, if they are not what is served.
    fault: Option<Fault>,
}

/// What is wrong with files that were changed.
#[derive(Debug)]
struct Fault {
    problem: TlsProblem,
    /// Two files are written one after the other, so that the first look may have come between them.
    is_told: bool,
}

/// By what a file that was written anew, or another one behind a link, is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// A certificate as `status` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateNow {
    /// Its file.
    pub file: PathBuf,
    /// By whom and for which host tidelock gets it by itself, if it does.
    pub awaited: Option<(Issuer, String)>,
    /// The host names that it is for.
    pub names: Vec<String>,
    /// Who has signed it.
    pub issuer: String,
    /// Until when clients accept it, in seconds since 1970.
    pub not_after: i64,
    /// How many whole days that is from now; negative once it has expired.
    pub days_left: i64,
    /// Why it is not served, or why what its files say now is not.
    pub fault: Option<String>,
}

impl Store {
    /// Reads all of them, and warns of what clients will not accept. Also gives the files that cannot be read. `served` are those
    /// that are served until now.
    pub(super) fn read(files: &[CertificateFiles], served: &[Arc<Self>]) -> (Self, Vec<TlsProblem>) {
        let mut unreadable = Vec::new();
        let entries: Vec<Entry> = files
            .iter()
            .map(|files| {
                let known = || served.iter().find_map(|store| store.certificate_of(files));
                let (entry, problem) = Entry::read(files, known);
                unreadable.extend(problem);
                entry
            })
            .collect();
        (Self::of(entries, None), unreadable)
    }

    /// Those that tidelock gets by itself, one for each of `hosts`, as far as they are there.
    pub(super) fn awaiting(acme: &Acme, issuer: Issuer, hosts: &[String], served: &[Arc<Self>]) -> Self {
        let entries = hosts.iter().map(|host| {
            let file = acme.file(issuer, host);
            let files = CertificateFiles { key: file.clone(), certificate: file };
            let known = || served.iter().find_map(|store| store.certificate_of(&files));
            let (entry, unreadable) = Entry::read(&files, known);
            let is_there = entry.seen.iter().any(Option::is_some);
            // What is wrong with what tidelock has itself put there stops nothing: it gets another one.
            let fault = unreadable
                .filter(|_| is_there)
                .map(|problem| Fault { problem, is_told: false })
                .or(entry.fault);
            let certificate = entry.certificate.or_else(known);
            Entry { awaited: Some((issuer, host.clone())), certificate, fault, ..entry }
        });
        Self::of(entries.collect(), (issuer == Issuer::Acme).then(|| acme.tls_challenges()))
    }

    fn of(entries: Vec<Entry>, challenges: Option<PathBuf>) -> Self {
        Self {
            by_name: ArcSwap::from_pointee(ByName::new(&entries)),
            entries: Mutex::new(entries),
            challenges,
        }
    }

    /// Whether an authority may come to see whose a name is.
    pub(super) fn proves_names(&self) -> bool {
        self.challenges.is_some()
    }

    /// The certificate by which an authority sees that a name is ours (RFC 8737), if it has just been asked to look.
    /// Nobody else says such a hello.
    fn challenge(&self, hello: &ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let (folder, name) = (self.challenges.as_ref()?, hello.server_name()?.to_ascii_lowercase());
        // What is no name of ours is not looked for on the disk.
        if !self.by_name.load().awaited.contains(&name) {
            return None;
        }
        certificate::read_challenge(&folder.join(format!("{name}.pem"))).map(Arc::new)
    }

    fn certificate_of(&self, files: &CertificateFiles) -> Option<Certificate> {
        let entries = self.entries();
        entries.iter().find(|entry| entry.files == *files).and_then(|entry| entry.certificate.clone())
    }

    /// Takes what the files say now, where they say something else. What cannot be used changes nothing. Reads the disk.
    pub(crate) fn look_again(&self) {
        let mut entries = self.entries();
        let mut is_news = false;
        for entry in entries.iter_mut() {
            is_news |= entry.look_again();
        }
        if is_news {
            self.by_name.store(Arc::new(ByName::new(&entries)));
        }
    }

    /// Warns of those that clients soon will not accept, or do not.
    pub(crate) fn warn(&self) {
        let now = certificate::now();
        for entry in self.entries().iter() {
            entry.warn(now);
        }
    }

    pub(crate) fn now(&self) -> Vec<CertificateNow> {
        let now = certificate::now();
        self.entries().iter().map(|entry| entry.now(now)).collect()
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ResolvesServerCert for Store {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if self.challenges.is_some()
            && hello.alpn().is_some_and(|mut offered| offered.all(|one| one == ACME_TLS))
        {
            return self.challenge(&hello);
        }
        self.by_name.load().find(hello.server_name())
    }
}

impl Entry {
    /// What is `known` of the files goes on where they do not go together now, as in the middle of a renewal, or where clients
    /// would refuse what they say.
    fn read(files: &CertificateFiles, known: impl Fn() -> Option<Certificate>) -> (Self, Option<TlsProblem>) {
        // The stamps first: what is written after them is then found to be new.
        let seen = stamps(files);
        let (certificate, fault, unreadable) = match certificate::read(files) {
            Ok(certificate) => match no_better(&certificate, known().as_ref(), files) {
                None => (Some(certificate), None, None),
                Some(problem) => (known(), Some(Fault { problem, is_told: true }), None),
            },
            // Root has read it, which tidelock is no more.
            Err(Unusable::Unreadable(problem)) if is_forbidden(&problem.file) => match known() {
                Some(known) => (Some(known), Some(Fault { problem, is_told: true }), None),
                None => (None, None, Some(problem)),
            },
            Err(Unusable::Unreadable(problem)) => (None, None, Some(problem)),
            Err(Unusable::Mismatched(problem)) => (known(), Some(Fault { problem, is_told: true }), None),
        };
        let entry = Self { files: files.clone(), awaited: None, seen, certificate, fault };
        entry.warn(certificate::now());
        (entry, unreadable)
    }

    /// Reads the files again if they look different. Whether there is another certificate now.
    fn look_again(&mut self) -> bool {
        let stamps = stamps(&self.files);
        // What could not be used may have been half written, and the clock of some disks stands still for a while.
        if stamps == self.seen && self.fault.is_none() {
            return false;
        }
        self.seen = stamps;
        match certificate::read(&self.files) {
            Ok(new) => self.take(new),
            Err(unusable) => {
                self.note(unusable.into_problem());
                false
            }
        }
    }

    fn take(&mut self, new: Certificate) -> bool {
        let file = self.files.certificate.display().to_string();
        let is_other = |old: &Certificate| old.key.cert != new.key.cert;
        if self.certificate.as_ref().is_some_and(|old| !is_other(old)) {
            self.fault = None;
            return false;
        }
        if let Some(problem) = no_better(&new, self.certificate.as_ref(), &self.files) {
            self.note(problem);
            return false;
        }
        let Leaf { names, issuer, .. } = &new.leaf;
        let days_left = new.leaf.days_left(certificate::now());
        tracing::info!(
            event = "certificate_exchanged",
            file,
            ?names,
            issuer,
            days_left,
            "certificate exchanged"
        );
        (self.certificate, self.fault) = (Some(new), None);
        true
    }

    /// Tells what is wrong, once, when it is there at the second look.
    fn note(&mut self, problem: TlsProblem) {
        let known = self.fault.take().filter(|fault| fault.problem == problem);
        let is_told = known.as_ref().is_some_and(|fault| fault.is_told);
        if known.is_some() && !is_told {
            tracing::warn!(
                event = "certificate_kept",
                file = %problem.file.display(),
                reason = problem.reason,
                "certificate not exchanged; what was read before is still served"
            );
        }
        self.fault = Some(Fault { problem, is_told: is_told || known.is_some() });
    }

    fn warn(&self, now: i64) {
        let file = self.files.certificate.display();
        if let Some(Fault { problem, .. }) = &self.fault {
            let reason = &problem.reason;
            let served = match self.certificate {
                Some(_) => "what was read before is still served",
                None => "its hosts get another one, or none",
            };
            tracing::error!(file = %problem.file.display(), reason, "certificate not served: {served}");
        }
        let Some(Certificate { leaf, .. }) = &self.certificate else { return };
        if let Some(reason) = leaf.refused_for(now) {
            tracing::error!(%file, names = ?leaf.names, reason, "clients will not accept this certificate");
        } else if let Some(days_left) = leaf.ends_soon(now) {
            tracing::warn!(%file, names = ?leaf.names, days_left, "this certificate expires soon: is it renewed?");
        }
        if leaf.must_staple {
            tracing::warn!(event = "certificate_must_staple", %file, names = ?leaf.names, "this certificate {MUST_STAPLE}");
        }
    }

    fn now(&self, now: i64) -> CertificateNow {
        let leaf = self.certificate.as_ref().map(|certificate| &certificate.leaf);
        let fault = self.fault.as_ref().map(|fault| fault.problem.to_string());
        let awaited = || self.awaited.iter().map(|(_, host)| host.clone()).collect();
        CertificateNow {
            file: self.files.certificate.clone(),
            awaited: self.awaited.clone(),
            names: leaf.map_or_else(awaited, |leaf| leaf.names.clone()),
            issuer: leaf.map(|leaf| leaf.issuer.clone()).unwrap_or_default(),
            not_after: leaf.map_or(0, |leaf| leaf.not_after),
            days_left: leaf.map_or(0, |leaf| leaf.days_left(now)),
            fault: fault.or_else(|| match leaf {
                Some(leaf) => leaf.refused_for(now),
                None => Some("there is none yet".to_owned()),
            }),
        }
    }
}

/// Why `new`, which `files` say now, does not take the place of `old`: clients would refuse it, and they accept the
/// old one.
fn no_better(new: &Certificate, old: Option<&Certificate>, files: &CertificateFiles) -> Option<TlsProblem> {
    let now = certificate::now();
    let is_old_good = old.is_some_and(|old| old.leaf.refused_for(now).is_none());
    let reason = new.leaf.refused_for(now).filter(|_| is_old_good)?;
    Some(TlsProblem { section: LISTEN, file: files.certificate.clone(), reason })
}

fn is_forbidden(file: &Path) -> bool {
    File::open(file).is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
}

fn stamps(files: &CertificateFiles) -> [Option<Stamp>; 2] {
    [&files.certificate, &files.key].map(|file| Stamp::of(file))
}

impl Stamp {
    /// Of what is behind all links.
    fn of(file: &Path) -> Option<Self> {
        let found = fs::metadata(file).ok()?;
        Some(Self {
            device: found.dev(),
            inode: found.ino(),
            bytes: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }
}

/// The certificates by the names that they are for.
#[derive(Debug)]
struct ByName {
    exact: HashMap<String, Arc<CertifiedKey>>,
    /// By what follows the `*.`, which stands for one label (RFC 9525 section 6.3).
    wildcard: HashMap<String, Arc<CertifiedKey>>,
    /// `None` if there is no certificate at all: handshakes end with an alert then.
    default: Option<Arc<CertifiedKey>>,
    /// The names that tidelock gets certificates for by itself. Whoever asks for one that has none yet gets an alert, and not the
    /// certificate of another one.
    awaited: HashSet<String>,
}

impl ByName {
    /// The first is the default; the first with a name wins it.
    fn new(entries: &[Entry]) -> Self {
        let certificates = || entries.iter().filter_map(|entry| entry.certificate.as_ref());
        let default = certificates().next().map(|certificate| certificate.key.clone());
        let awaited = entries.iter().filter_map(|entry| entry.awaited.as_ref().map(|(_, host)| host.clone()));
        let awaited = awaited.collect();
        let mut by_name = Self { exact: HashMap::new(), wildcard: HashMap::new(), default, awaited };
        for certificate in certificates() {
            for name in &certificate.leaf.names {
                let (names, name) = match name.strip_prefix("*.") {
                    Some(suffix) => (&mut by_name.wildcard, suffix),
                    None => (&mut by_name.exact, name.as_str()),
                };
                names.entry(name.to_owned()).or_insert_with(|| certificate.key.clone());
            }
        }
        by_name
    }

    fn find(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let Some(name) = name else { return self.default.clone() };
        let name = name.to_ascii_lowercase();
        let above = name.split_once('.').map(|(_, above)| above);
        let by_wildcard = || self.wildcard.get(above?);
        let is_awaited = || {
            self.awaited.contains(&name)
                || above.is_some_and(|above| self.awaited.contains(&format!("*.{above}")))
        };
        let default = || self.default.as_ref().filter(|_| self.awaited.is_empty() || !is_awaited());
        self.exact.get(&name).or_else(by_wildcard).or_else(default).cloned()
    }
}

/// What an authority that looks whose a name is speaks behind its hello: nothing (RFC 8737 section 3).
pub(crate) const ACME_TLS: &[u8] = b"acme-tls/1";
