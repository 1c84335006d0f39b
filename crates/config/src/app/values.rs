//! What a single key of an app may say, where that is more than a number.

use std::num::NonZeroU32;
use std::time::Duration;

/// How many processes of an app run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instances {
    /// One for each core this process may use.
    Max,
    /// So many, 1 to 1,024.
    Count(NonZeroU32),
}

impl Instances {
    /// What an app has that says nothing.
    pub const ONE: Self = Self::Count(NonZeroU32::MIN);
}

/// How a process learns where to listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    /// By PORT, and a Node.js app that listens on a port of its own is redirected: the listen on this port, or else its
    /// first.
    Redirect(Option<u16>),
    /// By PORT alone.
    Env,
}

/// What an instance listens on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Socket {
    /// A loopback port of its own.
    Tcp,
    /// A Unix socket; `remoteAddress` is undefined there, and apps notice.
    Unix,
}

/// How a line of an app's output looks in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// As the app wrote it.
    #[default]
    Text,
    /// A JSON object a line: time, app, instance, stream, line.
    Json,
}

/// When an instance counts as ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    /// What it must have done.
    pub when: ReadyWhen,
    /// So long after its start it must have done it (default 30 s, 100 ms to 1 h).
    pub deadline: Duration,
}

/// What an instance must have done to be ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadyWhen {
    /// Its port is open.
    Port,
    /// A GET of this path is answered with this status; `None` is any from 200 to 399.
    Http {
        /// Path and query.
        path: String,
        /// 100 to 599.
        status: Option<u16>,
    },
    /// An Engine.IO handshake on this path is answered with an open packet; it is closed again.
    EngineIo {
        /// Usually `/socket.io/`.
        path: String,
    },
    /// It has said `process.send('ready')` over NODE_CHANNEL_FD, as under PM2.
    Message,
    /// Its process runs: for an app that listens nowhere, and that no upstream uses.
    Running,
}

/// Exit codes of processes, which are 0 to 255.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExitCodes([u64; 4]);

impl ExitCodes {
    /// None of them.
    pub const NONE: Self = Self([0; 4]);

    /// Codes are 0 to 255; a process that a signal has killed has none.
    #[must_use]
    pub fn contains(&self, code: i32) -> bool {
        u8::try_from(code).is_ok_and(|code| self.0[usize::from(code / 64)] & (1 << (code % 64)) != 0)
    }

    /// From the lowest to the highest.
    pub fn iter(&self) -> impl Iterator<Item = u8> {
        let codes = *self;
        (0..=u8::MAX).filter(move |code| codes.contains(i32::from(*code)))
    }
}

impl FromIterator<u8> for ExitCodes {
    fn from_iter<I: IntoIterator<Item = u8>>(codes: I) -> Self {
        let mut all = Self::NONE;
        for code in codes {
            all.0[usize::from(code / 64)] |= 1 << (code % 64);
        }
        all
    }
}
