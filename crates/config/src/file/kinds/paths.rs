//! Where things are on the disk. What a path is relative to is known here, so that nobody joins it again.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value as Json, json};

use super::{quote, schema, text};
use crate::file::declared::{Kind, Unsaid, Written};
use crate::file::given::Given;
use crate::plan::values::{AccessLog, AdminSocket};

/// A path, not yet joined to the file's folder.
pub(crate) struct FilePath;

impl Unsaid for FilePath {}

/// The path of a file that must be there.
pub(crate) struct ExistingFile;

/// `"stdout"`, `"syslog"`, `"syslog:` and the path of its socket, `"off"`, or a path.
pub(crate) struct LogPlace;

/// `"off"` or the path of a Unix socket.
pub(crate) struct SocketPlace;

/// The path of a folder. Absolute: a process of an app runs in another folder than tidelock.
pub(crate) struct Folder;

/// The same, or `"off"`.
pub(crate) struct FolderOrOff;

impl Kind for FilePath {
    type Read = PathBuf;

    fn read(&self, given: Given<'_>) -> Option<PathBuf> {
        file_path(given)
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "type": "string", "minLength": 1 }))
    }
}

impl Kind for ExistingFile {
    type Read = PathBuf;

    fn read(&self, given: Given<'_>) -> Option<PathBuf> {
        let path = file_path(given)?;
        Some(given.reading.demand(&path, Some(given.value.span())))
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "type": "string", "minLength": 1 }))
    }
}

impl Written for ExistingFile {
    fn written(&self, value: &PathBuf) -> Json {
        json!(value)
    }
}

impl Kind for LogPlace {
    type Read = AccessLog;

    fn read(&self, given: Given<'_>) -> Option<AccessLog> {
        let wanted = "\"stdout\", \"syslog\", \"off\" or the path of a file";
        match given.text(wanted, || quote(STDOUT))? {
            STDOUT => Some(AccessLog::Stdout),
            OFF => Some(AccessLog::Off),
            SYSLOG => Some(AccessLog::Syslog(PathBuf::from(DEV_LOG))),
            text => match text.strip_prefix("syslog:") {
                Some(socket) => {
                    path(given, socket, "the path of a socket behind \"syslog:\"").map(AccessLog::Syslog)
                }
                None => path(given, text, wanted).map(AccessLog::File),
            },
        }
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "type": "string", "minLength": 1 }))
    }
}

impl Written for LogPlace {
    fn written(&self, value: &AccessLog) -> Json {
        match value {
            AccessLog::Stdout => json!(STDOUT),
            AccessLog::Off => json!(OFF),
            AccessLog::File(path) => json!(path),
            AccessLog::Syslog(path) if path == Path::new(DEV_LOG) => json!(SYSLOG),
            AccessLog::Syslog(path) => json!(format!("syslog:{}", path.display())),
        }
    }
}

impl Kind for SocketPlace {
    type Read = AdminSocket;

    fn read(&self, given: Given<'_>) -> Option<AdminSocket> {
        let wanted = "the path of a socket or \"off\"";
        match given.text(wanted, || quote("./admin.sock"))? {
            OFF => Some(AdminSocket::Off),
            text => path(given, text, wanted).map(AdminSocket::Path),
        }
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "type": "string", "minLength": 1 }))
    }
}

impl Written for SocketPlace {
    fn written(&self, value: &AdminSocket) -> Json {
        match value {
            AdminSocket::Default => Json::Null,
            AdminSocket::Off => json!(OFF),
            AdminSocket::Path(path) => json!(path),
        }
    }
}

impl Kind for Folder {
    type Read = PathBuf;

    fn read(&self, given: Given<'_>) -> Option<PathBuf> {
        text(given, "the path of a folder", "./app").map(|path| given.reading.absolute(&path))
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "type": "string", "minLength": 1 }))
    }
}

impl Written for Folder {
    fn written(&self, value: &PathBuf) -> Json {
        json!(value)
    }
}

impl Kind for FolderOrOff {
    type Read = Option<PathBuf>;

    fn read(&self, given: Given<'_>) -> Option<Option<PathBuf>> {
        let text = text(given, "the path of a folder or \"off\"", "./logs")?;
        Some((text != OFF).then(|| given.reading.absolute(&text)))
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "type": "string", "minLength": 1 }))
    }
}

fn file_path(given: Given<'_>) -> Option<PathBuf> {
    let text = given.text("the path of a file", || quote(&format!("{}.pem", given.name)))?;
    if text.is_empty() {
        return given.refuse(format!("`{}` is empty", given.name), None);
    }
    Some(PathBuf::from(text))
}

/// A path where a word might have stood.
fn path(given: Given<'_>, text: &str, wanted: &str) -> Option<PathBuf> {
    // A bare word is somebody's guess at a keyword; a file of that name would be a surprise.
    if text.contains(['/', '.']) {
        return Some(given.reading.folder().join(text));
    }
    given.refuse(
        format!("`{}` wants {wanted}", given.name),
        Some(format!("a file in this folder is written `{} = \"./{text}\"`", given.name)),
    )
}

const SYSLOG: &str = "syslog";
const DEV_LOG: &str = "/dev/log";
const STDOUT: &str = "stdout";
const OFF: &str = "off";

/// The media type of a text, by the ending of its file.
pub(crate) fn media_type(path: &str) -> &'static str {
    let ending = path.rsplit_once('.').map_or("", |(_, ending)| ending);
    match &*ending.to_ascii_lowercase() {
        "html" | "htm" => "text/html; charset=utf-8",
        "json" => "application/json",
        "xml" => "application/xml",
        "svg" => "image/svg+xml",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        _ => PLAIN,
    }
}

pub(super) const PLAIN: &str = "text/plain; charset=utf-8";
