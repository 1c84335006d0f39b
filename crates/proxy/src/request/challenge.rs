//! Answers an ACME authority that looks whose a name is, over HTTP (RFC 8555 section 8.3). What is to be said lies in a folder,
//! where whoever asks for the certificate has put it: maybe another tidelock.

use rustix::io::pread;
use wire::request::RequestHead;

use crate::fault::{Fault, OurFault};
use crate::observe::record::Record;
use crate::request::downstream::RequestEnds;
use crate::request::exchange::{Exchanged, Outcome};
use crate::request::reply;
use crate::state::local::Local;

/// The token that is asked for, if the request is one of an authority.
pub(crate) fn token(head: &RequestHead) -> Option<&str> {
    let token = head.path_bytes().strip_prefix(PREFIX)?;
    let is_base64url = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let is_token = (1..=TOKEN_BYTES_MAX).contains(&token.len()) && token.iter().all(is_base64url);
    std::str::from_utf8(token).ok().filter(|_| is_token)
}

/// Says what is to be said for a token; nothing if nobody has asked an authority to come, so that an app may do so by itself.
pub(crate) async fn answer(
    token: &str,
    head: &RequestHead,
    ends: RequestEnds<'_, '_>,
    worker: &Local,
    record: &mut Record,
) -> Result<Outcome, Fault> {
    let snapshot = worker.snapshot();
    let Some(folder) = &snapshot.challenges else { return Ok(Outcome::NotHere) };
    let Ok(file) = worker.files.open(folder, token, None, ends.reply.now()).await else {
        return Ok(Outcome::NotHere);
    };
    let mut said = [0; ANSWER_BYTES_MAX];
    let bytes = pread(&file.file, &mut said, 0).map_err(|_| OurFault::FileUnreadable)?;
    let own = reply::Own {
        status: 200,
        lines: vec![("Content-Type", b"application/octet-stream".to_vec())],
        body: said[..bytes].to_vec(),
    };
    record.status = own.status;
    let keep_alive = ends.keep_alive();
    let bytes = reply::own(&own, head, &Default::default(), keep_alive);
    ends.reply.send_whole(&bytes, worker.body_timeout()).await?;
    tracing::info!(event = "challenge_answered", client = %record.client, "an authority has looked whose a name is, over HTTP");
    Ok(Outcome::Answered(if keep_alive { Exchanged::KeepAlive } else { Exchanged::Close }))
}

const PREFIX: &[u8] = b"/.well-known/acme-challenge/";
/// Authorities use 43 or so.
const TOKEN_BYTES_MAX: usize = 200;
/// A token, and the thumbprint of a key behind it.
const ANSWER_BYTES_MAX: usize = 512;
