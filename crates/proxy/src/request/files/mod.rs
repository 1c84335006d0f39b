//! Routes that answer with the files of a folder. Which file is in `name`, how it is opened and kept in `open`, what its
//! answer is by the conditions and ranges of a request in `conditions`.

mod body;
mod compressed;
mod conditions;
mod name;

use std::borrow::Cow;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use config::routing::{Action, Cache, Compress, ErrorPages, Files, PathEdit};
use wire::forward::LineEdits;
use wire::path;
use wire::request::{Method, RequestHead};

use crate::fault::{Fault, OurFault};
use crate::observe::record::Record;
use crate::request::downstream::{BodySource, ReplySink};
use crate::request::edits::{self, Values};
use crate::request::exchange::{Exchanged, Outcome};
use crate::request::pages;
use crate::request::reply::{self, Framing, Own};
use crate::state::local::Local;
use crate::state::media;
use crate::state::open_files::{NotOpen, Opened};
use conditions::{Decision, Preconditions};
use name::Name;

/// A file that answers, or what is answered instead.
enum Found {
    File(Rc<Opened>, Role),
    /// A folder without the slash that its pages need in front of their relative links.
    Folder,
    NotHere,
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
    let path_edit = values.route.edits.as_ref().and_then(|edits| edits.path.as_ref());
    let answer = Answer {
        files,
        head,
        reply,
        keep_alive: reply.keep_alive() && body.is_done(),
        lines: values.answer_lines(),
        pages: values.route.error_pages.as_deref(),
        compress: values.route.edits.as_ref().and_then(|edits| edits.compress.as_deref()),
        is_instead: values.instead.is_some(),
        worker,
    };
    // As with nginx, a POST learns first whether there is anything.
    if !is_read && head.method() != Method::Post {
        return answer.refuse_method(record).await;
    }
    let asked = values.path(path_edit);
    let asked = path::normal(asked.as_deref().unwrap_or(head.path_bytes())).into_owned();
    // The folder that stands for a prefix is a folder like the others: its relative links want the slash.
    let is_without_slash = matches!(path_edit, Some(PathEdit::Prefix(_)))
        && asked.ends_with(b"/")
        && !path::normal(head.path_bytes()).ends_with(b"/");
    let found = answer.find(&asked).await?;
    match found {
        Found::File(_, Role::Itself) if is_without_slash && is_read => answer.to_slash(record).await,
        Found::File(..) if !is_read => answer.refuse_method(record).await,
        Found::File(file, role) => answer.file(&file, role, record).await,
        Found::NotHere if files.upstream.is_some() => Ok(Outcome::NotHere),
        Found::NotHere => answer.short(404, Vec::new(), record).await,
        Found::Folder => answer.to_slash(record).await,
    }
}

/// What an answer is made of.
struct Answer<'a> {
    files: &'a Files,
    head: &'a RequestHead,
    reply: &'a ReplySink<'a>,
    keep_alive: bool,
    lines: LineEdits,
    /// Those of the route.
    pages: Option<&'a ErrorPages>,
    /// What is compressed that is not so beside the file.
    compress: Option<&'a Compress>,
    /// Whether the answer comes in the place of a fault.
    is_instead: bool,
    worker: &'a Local,
}

/// A line of an answer, whose value is the file's mostly.
type Line<'f> = (&'static str, Cow<'f, [u8]>);

/// What is sent of a file.
#[derive(Debug)]
struct Content {
    status: u16,
    parts: Vec<Range<u64>>,
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
        let now = self.reply.now();
        let plain = match open_files.kept(&self.files.folder, name, None, now) {
            Some(file) => file,
            // Boxed, for it is longer than the others and takes more time than that.
            None => match Box::pin(open_files.open(&self.files.folder, name, None, now)).await {
                Ok(file) => file,
                Err(NotOpen::Failed) => return Err(OurFault::FileUnreadable.into()),
                Err(why) => return Ok(Err(why)),
            },
        };
        if plain.codings.is_empty() {
            return Ok(Ok(plain));
        }
        for coding in media::accepted(self.head).filter(|coding| plain.codings.contains(coding)) {
            if let Some(file) = open_files.kept(&self.files.folder, name, Some(coding), now) {
                return Ok(Ok(file));
            }
            let opening = open_files.open(&self.files.folder, name, Some(coding), now);
            if let Ok(file) = Box::pin(opening).await {
                return Ok(Ok(file));
            }
        }
        Ok(Ok(plain))
    }

    /// Sends the client to the same path with a slash at its end.
    async fn to_slash(&self, record: &mut Record) -> Result<Outcome, Fault> {
        // The normal form, escaped: browsers take two slashes at the front for a host, and a backslash for a slash.
        let mut location = edits::escaped_path(&path::normal(self.head.path_bytes()));
        location.push(b'/');
        if let Some(query) = self.head.query_bytes() {
            location.extend_from_slice(&[b"?", query].concat());
        }
        self.short(301, vec![("Location", location.into())], record).await
    }

    /// Files are read, and nothing else.
    async fn refuse_method(&self, record: &mut Record) -> Result<Outcome, Fault> {
        self.short(405, vec![("Allow", b"GET, HEAD".into())], record).await
    }

    /// An answer without a body of its own.
    async fn short(&self, status: u16, lines: Vec<Line<'_>>, record: &mut Record) -> Result<Outcome, Fault> {
        record.status = status;
        let lines = lines.into_iter().map(|(name, value)| (name, value.into_owned())).collect();
        let mut own = Own { status, lines, body: Vec::new() };
        if status != 304 {
            let snapshot = self.worker.snapshot();
            let pages = self.pages.unwrap_or(&snapshot.plan.error_pages);
            let is_fault = status >= 400;
            // A page that is not there is none; and what has one that somebody else answers is not told here.
            if is_fault && (self.is_instead || pages::answer_for(pages, status, self.head).is_some()) {
                return Err(OurFault::Bare { status }.into());
            }
            let content = pages::of(status, None, Some(self.head), Some(pages), record);
            own.lines.push(("Content-Type", content.content_type.into_bytes()));
            own.body = content.body;
        }
        let bytes = reply::own(&own, self.head, &self.lines, self.keep_alive);
        self.reply.send_whole(&bytes, self.timeout()).await?;
        Ok(Outcome::Answered(self.goes_on()))
    }

    /// Answers with a file, as far as the client does not have it.
    async fn file(&self, file: &Opened, role: Role, record: &mut Record) -> Result<Outcome, Fault> {
        let asked = Preconditions::of(self.head);
        let coding = self.coding(file);
        let mut lines = self.about(file, role);
        let decision = conditions::decide(&asked, file.bytes, file.modified_s, &file.etag);
        // Compressed it has other bytes and means the same (RFC 9110 section 8.8.3); parts are of the plain one.
        if coding.is_some() && !matches!(decision, Decision::Parts(_)) {
            lines.retain(|(name, _)| *name != "ETag");
            lines.push(("ETag", format!("W/{}", file.etag).into_bytes().into()));
        }
        match decision {
            Decision::NotModified => self.short(304, lines, record).await,
            Decision::PreconditionFailed => {
                self.short(412, self.varies(file).into_iter().collect(), record).await
            }
            Decision::Unsatisfiable => {
                let range = ("Content-Range", format!("bytes */{}", file.bytes).into_bytes().into());
                self.short(416, self.varies(file).into_iter().chain([range]).collect(), record).await
            }
            Decision::Whole => {
                if let Some(coding) = coding {
                    lines.push(("Content-Type", file.media.content_type.as_bytes().into()));
                    // Boxed, for it is longer than the others and takes more time than that.
                    return Box::pin(self.send_compressed(coding, lines, file, record)).await;
                }
                if file.coding.is_none() {
                    lines.push(("Accept-Ranges", b"bytes".into()));
                }
                lines.push(("Content-Type", file.media.content_type.as_bytes().into()));
                let whole = std::iter::once(0..file.bytes).collect();
                self.send(Content { status: 200, parts: whole }, lines, file, record).await
            }
            Decision::Parts(parts) => match &parts[..] {
                [part] => {
                    let range = format!("bytes {}-{}/{}", part.start, part.end - 1, file.bytes).into_bytes();
                    lines.push(("Content-Type", file.media.content_type.as_bytes().into()));
                    lines.push(("Content-Range", range.into()));
                    self.send(Content { status: 206, parts }, lines, file, record).await
                }
                _ => self.send(Content { status: 206, parts }, lines, file, record).await,
            },
        }
    }

    /// The header lines of a file, whichever part of it is sent.
    fn about<'f>(&self, file: &'f Opened, role: Role) -> Vec<Line<'f>> {
        let mut lines = Vec::with_capacity(LINES);
        lines.push(("Last-Modified", file.last_modified.as_bytes().into()));
        lines.push(("ETag", file.etag.as_bytes().into()));
        if let Some(coding) = file.coding {
            lines.push(("Content-Encoding", coding.as_str().as_bytes().into()));
        }
        lines.extend(self.varies(file));
        let cache: Option<Cow<'_, [u8]>> = match (role, self.files.cache) {
            (_, Cache::Unsaid) => None,
            (Role::Fallback, _) => Some(b"no-cache".into()),
            (Role::Itself, Cache::For(Duration::ZERO)) => Some(b"no-cache".into()),
            (Role::Itself, Cache::For(time)) => {
                Some(format!("public, max-age={}", time.as_secs()).into_bytes().into())
            }
            (Role::Itself, Cache::Hashed) if name::holds_hash(&file.name) => {
                Some(b"public, max-age=31536000, immutable".into())
            }
            (Role::Itself, Cache::Hashed) => Some(b"no-cache".into()),
        };
        lines.extend(cache.map(|cache| ("Cache-Control", cache)));
        lines
    }

    /// Says that another client may get the file in another coding, if it may.
    fn varies(&self, file: &Opened) -> Option<Line<'static>> {
        let is_one_of_several = file.coding.is_some() || !file.codings.is_empty() || self.may_compress(file);
        is_one_of_several.then(|| ("Vary", b"Accept-Encoding".into()))
    }

    /// Prints the head of an answer, with as much of its content as is given.
    fn head(&self, status: u16, lines: &[Line<'_>], length: Option<u64>) -> Vec<u8> {
        let framing = Framing { status, keep_alive: self.keep_alive, length };
        let mut head = self.worker.buffers.take_for_head();
        reply::head(lines, self.head, &self.lines, framing, &mut head);
        head
    }

    fn goes_on(&self) -> Exchanged {
        if self.keep_alive { Exchanged::KeepAlive } else { Exchanged::Close }
    }

    fn timeout(&self) -> Duration {
        self.worker.body_timeout()
    }
}

/// As many as there may be of an answer.
const LINES: usize = 8;

/// Whether a browser goes to a page, and not for a part of one. Browsers say so; of others those do that would read
/// HTML, or ask for something whose name has no ending.
fn is_navigation(head: &RequestHead, path: &[u8]) -> bool {
    if let Some(mode) = head.header("sec-fetch-mode") {
        return mode == b"navigate";
    }
    let accept = head.header("accept").unwrap_or(b"*/*").to_ascii_lowercase();
    let has = |media: &[u8]| accept.windows(media.len()).any(|part| part == media);
    let last = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    has(b"text/html") || (has(b"*/*") && !last.contains(&b'.'))
}
