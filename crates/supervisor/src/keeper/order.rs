//! What tidelock and a keeper say to each other over their socket: one order, then commands one way and reports the
//! other. The order is for the same binary, so that it may change with any version. What is said once
//! the process runs may not: another version may have taken over by then (docs/upgrade.md).

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// What a keeper has to start.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Order {
    /// Never empty.
    pub(crate) command: Vec<OsString>,
    /// The whole environment.
    pub(crate) environment: Vec<(OsString, OsString)>,
    pub(crate) cwd: PathBuf,
    /// Whom to become, if tidelock is root: user and group.
    pub(crate) account: Option<(u32, u32)>,
    /// Whether a socket comes with the order that becomes the app's NODE_CHANNEL_FD.
    pub(crate) has_channel: bool,
    /// Whether nothing that it starts may gain rights by what it executes.
    pub(crate) no_new_privs: bool,
}

/// What tidelock may ask of a keeper later; the end of the socket means the same as [`Command::Kill`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command {
    /// Send this signal to the app's process group.
    Signal(i32),
    /// SIGKILL to all there is.
    Kill,
}

/// What a keeper tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Report {
    /// The process runs.
    Started(i32),
    /// The system refused to start it; errno.
    Failed(i32),
    /// It ended, and nothing of it is left: with a code, or by a signal.
    Code(i32),
    Signal(i32),
}

impl Order {
    /// No argument of a process can hold a NUL, so that NUL ends each part; the length comes first.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let (user, group) = self.account.unzip();
        let number = |number: Option<u32>| number.map_or_else(String::new, |number| number.to_string());
        let mut parts: Vec<Vec<u8>> = vec![
            number(user).into_bytes(),
            number(group).into_bytes(),
            vec![if self.has_channel { b'c' } else { b'-' }],
            vec![if self.no_new_privs { b'n' } else { b'-' }],
            self.cwd.as_os_str().as_bytes().to_vec(),
            self.command.len().to_string().into_bytes(),
        ];
        parts.extend(self.command.iter().map(|part| part.as_bytes().to_vec()));
        parts.extend(
            self.environment.iter().map(|(name, value)| [name.as_bytes(), b"=", value.as_bytes()].concat()),
        );
        let body = parts.join(&0);
        let length =
            u32::try_from(body.len()).expect("the system bounds what a process is given far below 4 GiB");
        [&length.to_be_bytes(), body.as_slice()].concat()
    }

    /// Reads what [`Self::encode`] wrote.
    pub(crate) fn read(from: &mut impl Read) -> io::Result<Self> {
        let mut length = [0; 4];
        from.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length);
        if length > ORDER_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut body = Vec::new();
        from.take(u64::from(length)).read_to_end(&mut body)?;
        if body.len() != length as usize {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Self::decode(&body).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    fn decode(body: &[u8]) -> Option<Self> {
        let mut parts = body.split(|&byte| byte == 0).map(<[u8]>::to_vec);
        let mut number = || std::str::from_utf8(&parts.next()?).ok().map(|text| text.parse::<u32>().ok());
        let account = number()?.zip(number()?);
        let has_channel = parts.next()? == b"c";
        let no_new_privs = parts.next()? == b"n";
        let cwd = PathBuf::from(OsString::from_vec(parts.next()?));
        let count: usize = std::str::from_utf8(&parts.next()?).ok()?.parse().ok()?;
        let command: Vec<_> = parts.by_ref().take(count).map(OsString::from_vec).collect();
        let environment = parts.map(|mut part| {
            // A name may begin with `=` on no Unix that sets it; an empty name would be refused later.
            let at = part.iter().position(|&byte| byte == b'=')?;
            let value = part.split_off(at + 1);
            part.pop();
            Some((OsString::from_vec(part), OsString::from_vec(value)))
        });
        let environment = environment.collect::<Option<_>>()?;
        (!command.is_empty()).then_some(Self {
            command,
            environment,
            cwd,
            account,
            has_channel,
            no_new_privs,
        })
    }
}

impl Command {
    pub(crate) fn encode(self) -> [u8; 2] {
        match self {
            Self::Signal(signal) => [b's', u8::try_from(signal).unwrap_or(0)],
            Self::Kill => [b'k', 0],
        }
    }

    pub(crate) fn decode(bytes: [u8; 2]) -> Self {
        match bytes {
            [b's', signal] => Self::Signal(i32::from(signal)),
            _ => Self::Kill,
        }
    }
}

impl Report {
    pub(crate) fn encode(self) -> String {
        match self {
            Self::Started(pid) => format!("started {pid}\n"),
            Self::Failed(errno) => format!("failed {errno}\n"),
            Self::Code(code) => format!("code {code}\n"),
            Self::Signal(signal) => format!("signal {signal}\n"),
        }
    }

    pub(crate) fn decode(line: &str) -> Option<Self> {
        let (word, number) = line.trim_end().split_once(' ')?;
        let number = number.parse().ok()?;
        match word {
            "started" => Some(Self::Started(number)),
            "failed" => Some(Self::Failed(number)),
            "code" => Some(Self::Code(number)),
            "signal" => Some(Self::Signal(number)),
            _ => None,
        }
    }
}

/// More than any system takes for arguments and environment (ARG_MAX is 2 MiB where the stack may have 8 MiB).
const ORDER_BYTES_MAX: u32 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_arrives_as_it_was_given() {
        let order = Order {
            command: vec!["node".into(), "".into(), "a b=c\n".into(), OsString::from_vec(vec![0xff, b'x'])],
            environment: vec![("A".into(), "".into()), ("B".into(), "x=y=z".into())],
            cwd: "/srv/chat app".into(),
            account: Some((1000, 0)),
            has_channel: true,
            no_new_privs: true,
        };
        assert_eq!(Order::read(&mut order.encode().as_slice()).ok(), Some(order));
        let smallest = Order { command: vec!["x".into()], cwd: "/".into(), ..Order::default() };
        assert_eq!(Order::read(&mut smallest.encode().as_slice()).ok(), Some(smallest));
    }

    #[test]
    fn a_torn_order_is_no_order() {
        let order = Order { command: vec!["x".into(), "y".into()], cwd: "/".into(), ..Order::default() };
        assert!(Order::read(&mut &order.encode()[..3]).is_err());
        assert!(Order::read(&mut [0xff; 8].as_slice()).is_err());
    }

    #[test]
    fn commands_and_reports_arrive() {
        for command in [Command::Signal(15), Command::Kill] {
            assert_eq!(Command::decode(command.encode()), command);
        }
        for report in [Report::Started(7), Report::Failed(2), Report::Code(0), Report::Signal(9)] {
            assert_eq!(Report::decode(&report.encode()), Some(report));
        }
        assert_eq!(Report::decode("what\n"), None);
    }
}
