//! `[upstream.NAME.health]`: what nodes are asked, which is said by four keys together, and what follows from their answers.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::file::declare::{Field, declare};
use crate::file::declared::Flat;
use crate::file::fields::Fields;
use crate::file::kinds::probe::{RequestPath, Statuses, Text};
use crate::file::kinds::{Count, Time, Word};
use crate::problem::Problem;

declare! {
    /// How an upstream sees that its nodes are well.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Health in HEALTH = "health", One: "How it is seen that nodes are well.";
    given HealthParts {
        /// What every node is asked, all the time; `None` (the default) asks only nodes that have failed.
        probe: Option<Probe>;
    }
    keys {
        /// Between two probes of a node. One that is down is probed at least twice a second. A node's state changes at most once
        /// in two intervals, unless its machine refuses connections.
        INTERVAL interval: Duration = Duration::from_secs(2),
            Time { least: Duration::from_millis(100), most: Duration::from_hours(1) };
        /// A probe that takes longer has failed.
        TIMEOUT timeout: Duration = Duration::from_secs(1),
            Time { least: Duration::from_millis(10), most: Duration::from_secs(60) };
        /// So many good probes in a row bring a node back.
        RISE rise: u32 = 2, Count { least: 1, most: 100 };
        /// So many failed probes in a row take a node out.
        FALL fall: u32 = 3, Count { least: 1, most: 100 };
        /// Each interval is longer or shorter by up to so many percent, so that nodes are not probed in step.
        JITTER jitter_percent: u32 = 20, Count { least: 0, most: 100 };
        /// A node that came back, or is new beside others, has its full share after so long. Until then it gets at most twice its
        /// even share of new sessions.
        SLOW_START slow_start: Duration = Duration::from_secs(10),
            Time { least: Duration::ZERO, most: Duration::from_hours(1) };
    }
    also { ASKED }
}

/// What a node is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// Whether it takes a connection.
    Tcp,
    /// Whether it answers a GET as it should.
    Http {
        /// Path and query.
        path: String,
        /// The statuses of a node that is well; never empty.
        statuses: Vec<RangeInclusive<u16>>,
        /// What the body of its answer must have in its first 64 KiB.
        body: Option<String>,
    },
    /// Whether it opens an Engine.IO session, which is closed again.
    EngineIo {
        /// The path that Engine.IO is served at.
        path: String,
    },
}

/// The kinds of probes, by their words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProbeWord {
    None,
    Tcp,
    Http,
    EngineIo,
}

declare! {
    /// What nodes are asked, as the file has it: a [`Probe`] is made of it.
    struct ProbeKeys in PROBE_KEYS = "", One: "What nodes are asked.";
    keys {
        /// What every node is asked all the time: "tcp", whether it takes a connection; "http", whether it answers a GET;
        /// "engineio", whether it opens a session, which is closed again. With "none" only nodes that failed are asked, for any
        /// answer at all.
        PROBE probe: ProbeWord = ProbeWord::None, Word<ProbeWord>(&[
            ("none", ProbeWord::None),
            ("tcp", ProbeWord::Tcp),
            ("http", ProbeWord::Http),
            ("engineio", ProbeWord::EngineIo),
        ]);
        /// Path, with a query if need be, of the probes "http" and "engineio".
        PATH path: Option<String> => "\"/\", or \"/socket.io/\" for \"engineio\"", RequestPath;
        /// Statuses of a node that is well, for the probe "http": "204", or "200-299, 304".
        STATUS status: Option<Vec<RangeInclusive<u16>>> => "\"200-399\"", Statuses;
        /// What the first 64 KiB of the answer's body must hold. For the probe "http".
        BODY body: Option<String> => "any body", Text { bytes_max: 1024 };
    }
}

/// They stand in the same table.
static ASKED: Flat = Flat(&PROBE_KEYS);

impl Field<ProbeWord> for ProbeWord {
    fn of(read: ProbeWord) -> Self {
        read
    }

    fn back(&self) -> ProbeWord {
        *self
    }
}

impl Health {
    /// Reads the table, with a probe that has what it needs and nothing else.
    pub(crate) fn checked(fields: &Fields<'_>) -> Self {
        Self::read(fields, HealthParts { probe: probe(fields) })
    }
}

fn probe(fields: &Fields<'_>) -> Option<Probe> {
    let ProbeKeys { probe, path, status: statuses, body } = ProbeKeys::read(fields);
    let word = fields.is_readable(&PROBE).then_some(probe);
    let useless: &[&str] = match word {
        None | Some(ProbeWord::Http) => &[],
        Some(ProbeWord::EngineIo) => &[STATUS.name, BODY.name],
        Some(ProbeWord::None | ProbeWord::Tcp) => &[PATH.name, STATUS.name, BODY.name],
    };
    for name in useless.iter().filter(|name| fields.has(name)) {
        let message = format!("`{name}` says nothing to this probe");
        fields.push(
            Problem::error(fields.span_of(name), message)
                .hint("write `probe = \"http\"`, or leave it out".to_owned()),
        );
    }
    match word? {
        ProbeWord::None => None,
        ProbeWord::Tcp => Some(Probe::Tcp),
        ProbeWord::Http => Some(Probe::Http {
            path: path.unwrap_or_else(|| "/".to_owned()),
            statuses: statuses.unwrap_or_else(|| vec![200..=399]),
            body,
        }),
        ProbeWord::EngineIo => {
            Some(Probe::EngineIo { path: path.unwrap_or_else(|| "/socket.io/".to_owned()) })
        }
    }
}
