//! Which of an instance's ports is the app's, where it has several and none of them is PORT: by what is found there. The
//! script in a Node.js app notes each listen in the file `ports` of the instance's folder; of other programs the
//! kernel's tables say it. Asks nothing itself: `ready` does, and gives the answers here.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use client::Answer;
use config::roster::InstanceAddress;
use rustix::fs::OFlags;
use serde::Deserialize;

use crate::listen_diagnosis::Shown;

/// A place where something of the instance listens, that may be the app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) address: InstanceAddress,
    /// The port in the app's code, where the script has moved it.
    pub(crate) asked: Option<u16>,
    /// It listens on PORT, or on the port that `port` names.
    pub(crate) is_app: bool,
    /// The app itself wants it reached from this machine alone.
    pub(crate) is_loopback: bool,
    pub(crate) is_tls: bool,
}

/// What speaks for a candidate. The greater one is the app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    /// It sends everybody to another port or scheme.
    Redirects,
    /// The app opened it for this machine alone.
    Loopback(Answered),
    Public(Answered),
    /// It is where the app was told to listen.
    App,
}

/// What became of a request there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Answered {
    NotInHttp,
    /// A server may wait for WebSockets alone.
    NotYet,
    Refused,
    Well,
}

/// A line of the file.
#[derive(Debug, Deserialize)]
struct Noted {
    port: serde_json::Value,
    at: String,
    is_app: bool,
    is_loopback: bool,
    is_tls: bool,
}

/// Reads what the script has noted. Blocks. What cannot be true is left out: the app may write there what it likes.
pub(crate) fn noted(folder: &Path) -> Vec<Candidate> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let opened = File::options().read(true).custom_flags(flags).open(folder.join("ports"));
    let mut text = String::new();
    let read = opened.and_then(|file| file.take(NOTES_BYTES_MAX).read_to_string(&mut text));
    if read.is_err() {
        return Vec::new();
    }
    let mut all: Vec<Candidate> = Vec::new();
    for noted in text.lines().filter_map(|line| serde_json::from_str::<Noted>(line).ok()) {
        let Some(address) = place(&noted.at, folder) else { continue };
        let asked = noted.port.as_u64().and_then(|port| u16::try_from(port).ok());
        let Noted { is_app, is_loopback, is_tls, .. } = noted;
        // What listened there before is gone.
        all.retain(|other| other.address != address);
        all.push(Candidate { address, asked, is_app, is_loopback, is_tls });
    }
    all
}

fn place(at: &str, folder: &Path) -> Option<InstanceAddress> {
    if at.starts_with('/') {
        let path = PathBuf::from(at);
        return (path.parent() == Some(folder)).then_some(InstanceAddress::Unix(path));
    }
    let (ip, port) = at.rsplit_once(':')?;
    let ip: IpAddr = ip.trim_matches(['[', ']']).parse().ok()?;
    ip.is_loopback().then_some(InstanceAddress::Tcp(SocketAddr::new(ip, port.parse().ok()?)))
}

/// What the kernel says that an instance listens on which was told `told`.
pub(crate) fn listening(at: SocketAddr, told: &InstanceAddress) -> Candidate {
    let ip = match at.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    Candidate {
        address: InstanceAddress::Tcp(SocketAddr::new(ip, at.port())),
        asked: None,
        is_app: matches!(told, InstanceAddress::Tcp(told) if told.port() == at.port()),
        is_loopback: at.ip().is_loopback(),
        is_tls: false,
    }
}

/// Whether the script has let a process listen where PORT says, and so will note it: it says so before that. Blocks.
pub(crate) fn is_awaited(folder: &Path) -> bool {
    folder.join("listens").symlink_metadata().is_ok()
}

/// Tells the script which one it is, so that the others get back to where they belong; and whether that may change. Blocks.
pub(crate) fn decide(folder: &Path, address: &InstanceAddress, is_final: bool) -> io::Result<()> {
    let new = folder.join("app.new");
    let _ = fs::remove_file(&new);
    // Exclusive: what somebody else has put there is not followed.
    let mut file = File::options().write(true).create_new(true).mode(0o644).open(&new)?;
    let told = serde_json::json!({ "at": Shown(address).to_string(), "is_final": is_final });
    write!(file, "{told}")?;
    fs::rename(new, folder.join("app"))
}

impl Candidate {
    /// What it is worth by what it answered. `None`: it is not the app, whatever else there is.
    pub(crate) fn standing(&self, answer: Result<&Answer, Answered>) -> Option<Standing> {
        let of = |answered| {
            if self.is_loopback { Standing::Loopback(answered) } else { Standing::Public(answered) }
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(answered) => return Some(of(answered)),
        };
        if is_metrics(answer) {
            return None;
        }
        if is_elsewhere(answer) {
            return Some(Standing::Redirects);
        }
        Some(of(if answer.status < 400 { Answered::Well } else { Answered::Refused }))
    }
}

/// In the formats that Prometheus reads.
pub(crate) fn is_metrics(answer: &Answer) -> bool {
    answer.head.lines_of("content-type").any(|kind| {
        let kind = String::from_utf8_lossy(kind).to_ascii_lowercase();
        kind.starts_with("application/openmetrics-text")
            || (kind.starts_with("text/plain") && kind.contains("version=0.0.4"))
    })
}

/// Whether it sends whoever comes to another scheme or port. An app that wants TLS in front of it sees from
/// X-Forwarded-Proto, which the question has, that it is there.
fn is_elsewhere(answer: &Answer) -> bool {
    (300..400).contains(&answer.status)
        && answer
            .head
            .lines_of("location")
            .any(|to| to.starts_with(b"http://") || to.starts_with(b"https://"))
}

/// They are bounded, for the app writes them.
const NOTES_BYTES_MAX: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_app_notes_is_its_own_folder_or_loopback() {
        let folder = Path::new("/run/x/chat-0-1");
        for (at, expected) in [
            ("127.0.0.1:4000", Some("127.0.0.1:4000")),
            ("::1:4000", Some("[::1]:4000")),
            ("10.0.0.1:80", None),
            ("/run/x/chat-0-1/socket", Some("/run/x/chat-0-1/socket")),
            ("/run/x/chat-0-1/../../docker.sock", None),
            ("/run/docker.sock", None),
            ("127.0.0.1", None),
        ] {
            let found = place(at, folder).map(|address| Shown(&address).to_string());
            assert_eq!(found.as_deref(), expected, "{at}");
        }
    }
}
