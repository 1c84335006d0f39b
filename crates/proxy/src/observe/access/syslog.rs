//! Lines for the machine's syslog (RFC 5424), over its Unix socket.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use time::OffsetDateTime;
use time::macros::format_description;

pub(super) struct Syslog {
    socket: UnixDatagram,
    /// Looked up for each line, so that a syslog that starts again is found.
    path: PathBuf,
    /// Who we are, behind the time.
    who: String,
}

impl Syslog {
    pub(super) fn new(path: PathBuf) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        // Whoever takes nothing loses lines, and does not hold up the end.
        socket.set_write_timeout(Some(PATIENCE))?;
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let who = format!("{} tidelock {} access -", name(host.trim()), std::process::id());
        Ok(Self { socket, path, who })
    }

    /// Sends each line in a message of its own. An error comes with how many lines are lost.
    pub(super) fn send(&self, lines: &[u8]) -> Result<(), (u64, io::Error)> {
        let begin = format!("<{PRIORITY}>1 {} {} ", now(), self.who);
        let mut message = Vec::new();
        let (mut lost, mut reason) = (0, None);
        for line in lines.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            // Who has not taken one in its time is not asked about each of the others.
            let is_stuck =
                reason.as_ref().is_some_and(|error: &io::Error| error.kind() == io::ErrorKind::WouldBlock);
            message.clear();
            message.extend_from_slice(begin.as_bytes());
            message.extend_from_slice(line);
            match if is_stuck { None } else { Some(self.socket.send_to(&message, &self.path)) } {
                Some(Ok(_)) => {}
                Some(Err(error)) => (lost, reason) = (lost + 1, Some(error)),
                None => lost += 1,
            }
        }
        reason.map_or(Ok(()), |error| Err((lost, error)))
    }
}

/// As the format has it.
fn now() -> String {
    let form = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    OffsetDateTime::from(SystemTime::now()).format(form).unwrap_or_else(|_| "-".to_owned())
}

/// A name that can stand in the head of a message (RFC 5424 section 6).
fn name(host: &str) -> &str {
    let is_name = (1..=255).contains(&host.len()) && host.bytes().all(|byte| byte.is_ascii_graphic());
    if is_name { host } else { "-" }
}

/// Of facility local7 and severity info, as nginx's.
const PRIORITY: u8 = 23 * 8 + 6;
const PATIENCE: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_a_message() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let syslog = Syslog::new(path.clone()).unwrap();
        assert_eq!(syslog.send(b"one\ntwo\n").unwrap_err().0, 2, "nobody is there");
        let listening = UnixDatagram::bind(&path).unwrap();
        syslog.send(b"{\"a\":1}\ntwo words\n").unwrap();
        let heard = [(); 2].map(|()| {
            let mut buffer = [0; 1024];
            let length = listening.recv(&mut buffer).unwrap();
            String::from_utf8(buffer[..length].to_vec()).unwrap()
        });
        for (message, line) in heard.iter().zip(["{\"a\":1}", "two words"]) {
            let words: Vec<&str> = message.splitn(7, ' ').collect();
            let pid = std::process::id().to_string();
            assert_eq!((words[0], words[3], words[4]), ("<190>1", "tidelock", &*pid), "{message}");
            assert!(words[1].len() == 24 && words[1].ends_with('Z'), "{message}");
            assert_eq!(words[6].strip_prefix("- "), Some(line), "{message}");
        }
    }

    #[test]
    fn who_takes_nothing_is_asked_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let _listening = UnixDatagram::bind(&path).unwrap();
        let syslog = Syslog::new(path).unwrap();
        // Far more than the kernel keeps for who reads nothing.
        let lines = "x\n".repeat(5000);
        let (lost, error) = syslog.send(lines.as_bytes()).unwrap_err();
        assert!(lost > 0 && lost < 5000, "{lost} {error}");
    }
}
