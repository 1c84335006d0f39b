//! Routes that answer with the files of a folder. Which file is in `name`, how it is opened and kept in `open`, what its
//! answer is by the conditions and ranges of a request in `conditions`.

mod body;
mod conditions;
mod name;

use std::rc::Rc;
use std::time::Duration;

use config::routing::{Action, Cache, Files};
use wire::forward::LineEdits;
use wire::path;
use wire::request::{Method, RequestHead};

use crate::fault::{Fault, OurFault};
use crate::observe::record::Record;
use crate::request::downstream::{BodySource, ReplySink};
use crate::request::edits::{self, Values};
use crate::request::exchange::{Exchanged, Outcome};
use crate::request::reply::{self, Own};
use crate::state::local::Local;
use crate::state::media;
use crate::state::open_files::{NotOpen, Opened};
use conditions::{Asked, Decision};
use name::Name;

/// A file that answers, or what is answered instead.
enum Found {
    File(Rc<Opened>, Role),
    /// A folder without the slash that its pages need in front of their relative links.
    Folder,
    NotHere,
    /// It is there and must not be read.
    Forbidden,
}

/// Why a file is the answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Itself,
    /// It stands for a page that is no file.
    Fallback,
}

/// Answers with a file, if there is one.
pub(crate) async fn answer(
    values: &Values<'_>,
    body: &BodySource<'_>,
    reply: &ReplySink<'_>,
    worker: &Local,
    record: &mut Record,
) -> Result<Outcome, Fault> {
    let Action::Files(files) = &values.route.action else { return Ok(Outcome::NotHere) };
    let head = values.head;
    let is_read = matches!(head.method(), Method::Get | Method::Head);
    if !is_read && files.upstream.is_some() {
        return Ok(Outcome::NotHere);
    }
    let mut lines = LineEdits::default();
    let mut path_edit = None;
    if let Some(edits) = &values.route.edits {
        values.edit(&edits.response, &mut lines);
        path_edit = edits.path.as_ref();
    }
    let answer = Answer { files, head, reply, keep_alive: reply.keep_alive && body.is_done(), lines, worker };
    if !is_read {
        return answer.short(405, vec![("Allow", b"GET, HEAD".to_vec())], record).await;
    }
    let asked = values.path(path_edit);
    let asked = path::normal(asked.as_deref().unwrap_or(head.path_bytes())).into_owned();
    match answer.find(&asked).await? {
        Found::File(file, role) => answer.file(&file, role, record).await,
        Found::NotHere if files.upstream.is_some() => Ok(Outcome::NotHere),
        Found::NotHere => answer.short(404, Vec::new(), record).await,
        Found::Forbidden => answer.short(403, Vec::new(), record).await,
        Found::Folder => {
            // The normal form, escaped: browsers take two slashes at the front for a host, and a backslash for a slash.
            let mut location = edits::escaped_path(&path::normal(head.path_bytes()));
            location.push(b'/');
            if let Some(query) = head.query_bytes() {
                location.extend_from_slice(&[b"?", query].concat());
            }
            answer.short(301, vec![("Location", location)], record).await
        }
    }
}

/// What an answer is made of.
struct Answer<'a> {
    files: &'a Files,
    head: &'a RequestHead,
    reply: &'a ReplySink<'a>,
    keep_alive: bool,
    lines: LineEdits,
    worker: &'a Local,
}

impl Answer<'_> {
    async fn find(&self, asked: &[u8]) -> Result<Found, Fault> {
        let fallback = || async {
            let Some(fallback) = self.files.fallback.as_deref().filter(|_| is_navigation(self.head, asked))
            else {
                return Ok(Found::NotHere);
            };
            Ok(match self.open(fallback).await? {
                Ok(file) => Found::File(file, Role::Fallback),
                Err(_) => Found::NotHere,
            })
        };
        match name::of(asked) {
            Name::None => Ok(Found::NotHere),
            Name::File(name) => match self.open(&name).await? {
                Ok(file) => Ok(Found::File(file, Role::Itself)),
                Err(NotOpen::Folder) => match self.index(&name).await? {
                    Some(_) => Ok(Found::Folder),
                    None => fallback().await,
                },
                Err(NotOpen::Forbidden) => Ok(Found::Forbidden),
                Err(_) => fallback().await,
            },
            Name::Folder(name) => match self.index(&name).await? {
                Some(file) => Ok(Found::File(file, Role::Itself)),
                None => fallback().await,
            },
        }
    }

    /// The file that answers for a folder.
    async fn index(&self, folder: &str) -> Result<Option<Rc<Opened>>, Fault> {
        for index in &self.files.index {
            let name = if folder.is_empty() { index.clone() } else { format!("{folder}/{index}") };
            if let Ok(file) = self.open(&name).await? {
                return Ok(Some(file));
            }
        }
        Ok(None)
    }

    /// The file of this name, in the best coding that is there beside it and that the client takes.
    async fn open(&self, name: &str) -> Result<Result<Rc<Opened>, NotOpen>, Fault> {
        let open_files = &self.worker.files;
        let now = self.reply.alarm.now();
        let plain = match open_files.open(&self.files.folder, name, None, now).await {
            Ok(file) => file,
            Err(NotOpen::Failed) => return Err(OurFault::FileUnreadable.into()),
            Err(why) => return Ok(Err(why)),
        };
        if plain.codings.is_empty() {
            return Ok(Ok(plain));
        }
        for coding in media::accepted(self.head).filter(|coding| plain.codings.contains(coding)) {
            if let Ok(file) = open_files.open(&self.files.folder, name, Some(coding), now).await {
                return Ok(Ok(file));
            }
        }
        Ok(Ok(plain))
    }

    /// An answer without a body of its own.
    async fn short(
        &self,
        status: u16,
        lines: Vec<(&'static str, Vec<u8>)>,
        record: &mut Record,
    ) -> Result<Outcome, Fault> {
        record.status = status;
        let body = match status {
            304 => Vec::new(),
            _ => format!("{status} {}\n", reply::reason_phrase(status)).into_bytes(),
        };
        let mut lines = lines;
        if status != 304 {
            lines.push(("Content-Type", b"text/plain; charset=utf-8".to_vec()));
        }
        let own = Own { status, lines, body };
        let bytes = reply::own(&own, self.head, &self.lines, self.keep_alive);
        self.reply.send_whole(&bytes, self.patience()).await?;
        Ok(Outcome::Answered(self.goes_on()))
    }

    /// Answers with a file, as far as the client does not have it.
    async fn file(&self, file: &Opened, role: Role, record: &mut Record) -> Result<Outcome, Fault> {
        let asked = Asked::of(self.head);
        let mut lines = self.about(file, role);
        match conditions::decide(&asked, file.bytes, file.modified_s, &file.etag) {
            Decision::NotModified => self.short(304, lines, record).await,
            Decision::PreconditionFailed => self.short(412, varies(file).into_iter().collect(), record).await,
            Decision::Unsatisfiable => {
                let range = ("Content-Range", format!("bytes */{}", file.bytes).into_bytes());
                self.short(416, varies(file).into_iter().chain([range]).collect(), record).await
            }
            Decision::Whole => {
                if file.coding.is_none() {
                    lines.push(("Accept-Ranges", b"bytes".to_vec()));
                }
                lines.push(("Content-Type", file.media.content_type.clone().into_bytes()));
                let whole = std::iter::once(0..file.bytes).collect();
                self.send((200, whole), lines, file, record).await
            }
            Decision::Parts(parts) => match &parts[..] {
                [part] => {
                    let range = format!("bytes {}-{}/{}", part.start, part.end - 1, file.bytes).into_bytes();
                    lines.push(("Content-Type", file.media.content_type.clone().into_bytes()));
                    lines.push(("Content-Range", range));
                    self.send((206, parts), lines, file, record).await
                }
                _ => self.send((206, parts), lines, file, record).await,
            },
        }
    }

    /// What is said of a file, whichever part of it is sent.
    fn about(&self, file: &Opened, role: Role) -> Vec<(&'static str, Vec<u8>)> {
        let mut lines = vec![
            ("Last-Modified", file.last_modified.clone().into_bytes()),
            ("ETag", file.etag.clone().into_bytes()),
        ];
        if let Some(coding) = file.coding {
            lines.push(("Content-Encoding", coding.as_str().as_bytes().to_vec()));
        }
        lines.extend(varies(file));
        let cache = match (role, self.files.cache) {
            (_, Cache::Unsaid) => None,
            (Role::Fallback, _) => Some("no-cache".to_owned()),
            (Role::Itself, Cache::For(Duration::ZERO)) => Some("no-cache".to_owned()),
            (Role::Itself, Cache::For(time)) => Some(format!("public, max-age={}", time.as_secs())),
            (Role::Itself, Cache::Hashed) if name::holds_hash(&file.name) => {
                Some("public, max-age=31536000, immutable".to_owned())
            }
            (Role::Itself, Cache::Hashed) => Some("no-cache".to_owned()),
        };
        lines.extend(cache.map(|cache| ("Cache-Control", cache.into_bytes())));
        lines
    }

    fn goes_on(&self) -> Exchanged {
        if self.keep_alive { Exchanged::KeepAlive } else { Exchanged::Close }
    }

    fn patience(&self) -> Duration {
        self.worker.body_patience()
    }
}

/// Says that another client may get the file in another coding, if it may.
fn varies(file: &Opened) -> Option<(&'static str, Vec<u8>)> {
    let is_one_of_several = file.coding.is_some() || !file.codings.is_empty();
    is_one_of_several.then(|| ("Vary", b"Accept-Encoding".to_vec()))
}

/// Whether a browser goes to a page, and not for a part of one. Browsers say so; of others those do that would read HTML, or
/// ask for something whose name has no ending.
fn is_navigation(head: &RequestHead, path: &[u8]) -> bool {
    if let Some(mode) = head.header("sec-fetch-mode") {
        return mode == b"navigate";
    }
    let accept = head.header("accept").unwrap_or(b"*/*").to_ascii_lowercase();
    let has = |media: &[u8]| accept.windows(media.len()).any(|part| part == media);
    let last = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    has(b"text/html") || (has(b"*/*") && !last.contains(&b'.'))
}
