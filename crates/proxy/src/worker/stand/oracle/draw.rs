//! Requests and answers drawn from bytes: as they are written, and as they are meant.

/// Bytes that decide everything; zeros when they are over.
pub(super) struct Dice<'d>(pub(super) &'d [u8]);

impl Dice<'_> {
    pub(super) fn below(&mut self, bound: usize) -> usize {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        usize::from(first) % bound
    }

    fn one_of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }

    /// Up to so many bytes of whatever there is.
    pub(super) fn bytes(&mut self, most: usize) -> Vec<u8> {
        let length = self.below(most + 1).min(self.0.len());
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        taken.to_vec()
    }
}

/// A message as it was meant, and as it is written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Message {
    /// Of a request, its method and target; of an answer, its status.
    pub(super) start: String,
    /// Those of which a proxy knows nothing, in their order.
    pub(super) lines: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Message {
    /// Whether it is a request whose answer has no body.
    pub(super) fn is_head(&self) -> bool {
        self.start.starts_with("HEAD ")
    }
}

/// How a body is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Frame {
    None,
    Length,
    Chunks,
    /// It ends where the connection does.
    Close,
}

/// What concerns one connection alone, or is said in another's name. None of it may pass.
const STAYS: [&str; 10] = [
    "Connection: X-Stays",
    "Connection: keep-alive, x-stays",
    "Keep-Alive: timeout=7",
    "Proxy-Connection: keep-alive",
    "TE: trailers",
    "Forwarded: for=192.0.2.1",
    "X-Forwarded-For: 192.0.2.1",
    "X-Real-IP: 192.0.2.1",
    "X_Forwarded_For: 192.0.2.1",
    "Proxy-Authorization: Basic eA==",
];
/// What has a meaning for those at the ends alone.
pub(super) const PASSES: [&str; 8] =
    ["Accept", "Cookie", "User-Agent", "X-Own", "If-None-Match", "Authorization", "X-Stays-Not", "Range"];
const VALUES: [&str; 6] =
    ["", "x", "a=b; c=d", "text/html, */*;q=0.1", "caf\u{e9}, \"q\\\"uoted\"", "X-Stays"];

/// Lines of both kinds, mixed: as they are written, and those that pass.
fn lines(dice: &mut Dice<'_>, stays: &[&str], text: &mut Vec<u8>) -> Vec<(String, String)> {
    let mut passing = Vec::new();
    for _ in 0..dice.below(6) {
        if dice.below(3) == 0 {
            text.extend_from_slice(format!("{}\r\n", dice.one_of(stays)).as_bytes());
            // Connection names it in two of these, and it must be told from others in all.
            if text.ends_with(b"tays\r\n") {
                text.extend_from_slice(b"X-Stays: here\r\n");
            }
        } else {
            let (name, value) = (dice.one_of(&PASSES), dice.one_of(&VALUES));
            let blank = dice.one_of(&[" ", "", "  \t"]);
            text.extend_from_slice(format!("{name}:{blank}{value}{blank}\r\n").as_bytes());
            passing.push((name.to_owned(), value.to_owned()));
        }
    }
    passing
}

/// The end of the head, and the body in its frame.
fn frame(dice: &mut Dice<'_>, frame: Frame, text: &mut Vec<u8>) -> Vec<u8> {
    match frame {
        Frame::None => {
            text.extend_from_slice(b"\r\n");
            Vec::new()
        }
        Frame::Length | Frame::Close => {
            let body = dice.bytes(200);
            if frame == Frame::Length {
                text.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
            }
            text.extend_from_slice(b"\r\n");
            text.extend_from_slice(&body);
            body
        }
        Frame::Chunks => {
            text.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
            let mut body = Vec::new();
            for _ in 0..dice.below(5) {
                let chunk = dice.bytes(40);
                if !chunk.is_empty() {
                    let extension = dice.one_of(&["", ";a", ";a=\"b;c\""]);
                    text.extend_from_slice(format!("{:x}{extension}\r\n", chunk.len()).as_bytes());
                    text.extend_from_slice(&chunk);
                    text.extend_from_slice(b"\r\n");
                    body.extend_from_slice(&chunk);
                }
            }
            text.extend_from_slice(
                dice.one_of(&["0\r\n\r\n", "00;x\r\n\r\n", "0\r\nX-Sum: 1\r\n\r\n"]).as_bytes(),
            );
            body
        }
    }
}

pub(super) fn draw_request(dice: &mut Dice<'_>) -> (Vec<u8>, Message) {
    let method = dice.one_of(&["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "OWN"]);
    let target = dice.one_of(&["/", "/page", "/a/b;c?d=e&f", "/%41%2e?x", "/a?sid=", "/~-._!$&'()*+,;=:@"]);
    let mut text = format!("{method} {target} HTTP/1.1\r\nHost: example.com\r\n").into_bytes();
    let lines = lines(dice, &STAYS, &mut text);
    let how = [Frame::None, Frame::Length, Frame::Chunks][dice.below(3)];
    let body = frame(dice, how, &mut text);
    (text, Message { start: format!("{method} {target}"), lines, body })
}

pub(super) fn draw_answer(dice: &mut Dice<'_>, is_head: bool) -> (Vec<u8>, Message, Frame) {
    let status =
        dice.one_of(&["200 OK", "404 Not Here", "500 Oh", "204 No Content", "304 Not Modified", "301 There"]);
    let mut text = format!("HTTP/1.1 {status}\r\n").into_bytes();
    let lines = lines(dice, &STAYS[..4], &mut text);
    let has_none = is_head || status.starts_with("204") || status.starts_with("304");
    let how = match dice.below(3) {
        _ if has_none => Frame::None,
        0 => Frame::Length,
        1 => Frame::Chunks,
        _ => Frame::Close,
    };
    let body = frame(dice, how, &mut text);
    (text, Message { start: status[..3].to_owned(), lines, body }, how)
}
