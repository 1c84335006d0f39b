//! When a process of an app is ready: a word, or a table that says more.

use std::time::Duration;

use serde_json::{Map, Value as Json, json};
use toml::de::DeValue;

use super::{Count, Time, Word, quote, schema};
use crate::file::declare::{Field, declare};
use crate::file::declared::{Kind, Unsaid};
use crate::file::given::Given;
use crate::problem::Problem;

/// A word, or a table that says more.
pub(crate) struct ReadyWay;

/// What `ready` says, before it is known whether an upstream uses the app.
#[derive(Debug, Clone, Default)]
pub(crate) struct Readiness {
    pub(crate) when: Option<When>,
    pub(crate) path: Option<String>,
    pub(crate) status: Option<u16>,
    pub(crate) deadline: Option<Duration>,
}

/// A path with a query.
pub(crate) struct Target;

impl Unsaid for Target {}

impl Kind for ReadyWay {
    type Read = Readiness;

    fn read(&self, given: Given<'_>) -> Option<Readiness> {
        if !matches!(given.value.get_ref(), DeValue::Table(_)) {
            let when = READY_WHEN.kind.read(given)?;
            return Some(Readiness { when: Some(when), ..Readiness::default() });
        }
        let fields = given.table(READY_TABLE.section)?;
        let ReadyTable { when: said, path, status, deadline } = ReadyTable::read(&fields);
        let when = said.or_else(|| path.is_some().then_some(When::Http));
        let is_asked = matches!(when, Some(When::Http | When::EngineIo));
        if path.is_some() && !is_asked {
            fields.push(
                Problem::error(fields.span_of(READY_PATH.name), "nothing is asked for `path` here")
                    .hint("write `when = \"http\"` or `when = \"engineio\"`, or leave `path` out"),
            );
        }
        if status.is_some() && when != Some(When::Http) {
            fields.push(
                Problem::error(fields.span_of(READY_STATUS.name), "`status` is only for \"http\"")
                    .hint("write `when = \"http\"`, or leave `status` out"),
            );
        }
        Some(Readiness { when, path, status, deadline: Some(deadline) })
    }

    fn schema(&self) -> Map<String, Json> {
        let word = Json::Object(READY_WHEN.kind.schema());
        schema(json!({ "anyOf": [word, READY_TABLE.section.schema()] }))
    }
}

impl Kind for Target {
    type Read = String;

    fn read(&self, given: Given<'_>) -> Option<String> {
        let text = given.text("a path", || quote("/health"))?;
        if text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic()) && !text.contains('#') {
            return Some(text.to_owned());
        }
        given.refuse(
            format!("\"{text}\" is not a path that can be asked for"),
            Some("a path begins with a slash and has no spaces: \"/health\"".to_owned()),
        )
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "type": "string", "pattern": "^/[^#\\s]*$" }))
    }
}

declare! {
    /// `ready`, where it is more than a word.
    struct ReadyTable in READY_TABLE = "ready", One: "When a process is given requests.";
    keys {
        /// What it must have done.
        READY_WHEN when: Option<When> => "\"http\" beside a `path`, and else as if `ready` were left out", Word<When>(&[
            ("port", When::Port),
            ("http", When::Http),
            ("engineio", When::EngineIo),
            ("told", When::Message),
            ("running", When::Running),
        ]);
        /// The path that is asked for, with its query.
        READY_PATH path: Option<String> => "\"/\" for \"http\", \"/socket.io/\" for \"engineio\"", Target;
        /// The status that "http" waits for.
        READY_STATUS status: Option<u16> => "any from 200 to 399", Count { least: 100, most: 599 };
        /// So long after its start it must have done it; a process that has not is stopped and started again.
        READY_DEADLINE deadline: Duration = Duration::from_secs(30),
            Time { least: Duration::from_millis(100), most: Duration::from_hours(1) };
    }
}

impl Field<Option<When>> for Option<When> {
    fn of(read: Option<When>) -> Self {
        read
    }

    fn back(&self) -> Option<When> {
        *self
    }
}

/// The words of `ready`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    Port,
    Http,
    EngineIo,
    Message,
    Running,
}
