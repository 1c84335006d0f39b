//! Where WebSocket frames and messages begin and end in one direction of a tunnel (RFC 6455 section 5.2). Headers are
//! read, payloads are only counted: nothing is unmasked, copied or understood.

/// Follows one direction, byte by byte or in any pieces.
#[derive(Debug)]
pub struct FrameEdges {
    state: State,
    message_bytes_max: u64,
    /// A data frame without FIN has gone by, and its last fragment has not.
    in_message: bool,
    /// Payload of the message under way, all of its fragments.
    message_bytes: u64,
    /// Frames that have ended.
    frames: u64,
    /// Of these, those that ended a message, and those of control. They wrap around.
    messages: u32,
    controls: u32,
    close: CloseCode,
}

/// What has gone by, by kind. The numbers wrap around: differences count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kinds {
    /// Messages that have ended, however many frames they had.
    pub messages: u32,
    /// Frames of messages but the last of each.
    pub fragments: u32,
    /// Pings, pongs and Closes.
    pub controls: u32,
}

/// The code in a Close frame, while its two bytes go by.
#[derive(Debug, Default, Clone, Copy)]
struct CloseCode {
    mask: [u8; 2],
    bytes: [u8; 2],
    length: u8,
}

impl CloseCode {
    fn feed(&mut self, payload: &[u8]) {
        for &byte in payload {
            let at = usize::from(self.length);
            let Some(slot) = self.bytes.get_mut(at) else { return };
            *slot = byte ^ self.mask[at];
            self.length += 1;
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// In a header, of which so many bytes have come.
    Header { bytes: [u8; HEADER_BYTES_MAX], length: u8 },
    /// In a payload, of which so many bytes are to come.
    Payload { left: u64, frame: Frame },
}

#[derive(Debug, Clone, Copy)]
struct Frame {
    is_final: bool,
    opcode: u8,
}

/// What ended where a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edge {
    /// Nothing: the bytes are used up inside a frame, or there were none.
    Inside,
    /// A frame, but not its message; or a control frame between the fragments of one.
    Frame,
    /// A message, or a control frame between two: nothing is half said.
    Message,
    /// A Close frame: nothing may follow it (section 5.5.1).
    Close,
    /// None: a header has announced more than a message may have. What follows is not followed any more.
    TooBig,
}

/// One step over the bytes: so many were used, up to an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Bytes up to and with the edge; all of them if there is none.
    pub taken: usize,
    /// What ended there.
    pub edge: Edge,
}

impl FrameEdges {
    /// At the first byte of a direction whose messages have at most so many bytes of payload, all fragments together.
    pub fn bounded(message_bytes_max: u64) -> Self {
        Self {
            state: State::default(),
            message_bytes_max,
            in_message: false,
            message_bytes: 0,
            frames: 0,
            messages: 0,
            controls: 0,
            close: CloseCode::default(),
        }
    }

    /// Follows all of `bytes`. Returns whether a Close frame ended in them.
    pub fn feed(&mut self, mut bytes: &[u8]) -> bool {
        let mut has_closed = false;
        while !bytes.is_empty() {
            let step = self.step(bytes);
            has_closed |= step.edge == Edge::Close;
            bytes = &bytes[step.taken..];
        }
        has_closed
    }

    /// Follows `bytes` up to the next end of a frame.
    pub fn step(&mut self, bytes: &[u8]) -> Step {
        let mut taken = 0;
        loop {
            match &mut self.state {
                State::Header { bytes: header, length } => {
                    // Nearly every header is here in one piece.
                    let whole = if *length == 0 { read_header(&bytes[taken..]) } else { None };
                    let read = match whole {
                        Some(read) => {
                            taken += read.bytes;
                            Some(read)
                        }
                        None => {
                            let Some(&byte) = bytes.get(taken) else {
                                return Step { taken, edge: Edge::Inside };
                            };
                            taken += 1;
                            header[usize::from(*length)] = byte;
                            *length += 1;
                            read_header(&header[..usize::from(*length)])
                        }
                    };
                    if let Some(Header { frame, payload: left, mask, .. }) = read {
                        self.close.mask = mask;
                        if !frame.is_control() {
                            self.message_bytes = self.message_bytes.saturating_add(left);
                        }
                        self.state = State::Payload { left, frame };
                        if self.message_bytes > self.message_bytes_max {
                            return Step { taken, edge: Edge::TooBig };
                        }
                    }
                }
                State::Payload { left, frame } => {
                    let here = (*left).min((bytes.len() - taken) as u64);
                    *left -= here;
                    if frame.opcode == OPCODE_CLOSE {
                        self.close.feed(&bytes[taken..taken + here as usize]);
                    }
                    taken += here as usize;
                    if *left > 0 {
                        return Step { taken, edge: Edge::Inside };
                    }
                    let frame = *frame;
                    return Step { taken, edge: self.end(frame) };
                }
            }
        }
    }

    fn end(&mut self, frame: Frame) -> Edge {
        self.state = State::default();
        self.frames += 1;
        if frame.is_control() {
            self.controls = self.controls.wrapping_add(1);
        } else {
            self.in_message = !frame.is_final;
            if frame.is_final {
                self.message_bytes = 0;
                self.messages = self.messages.wrapping_add(1);
            }
        }
        match (frame.opcode, self.in_message) {
            (OPCODE_CLOSE, _) => Edge::Close,
            (_, false) => Edge::Message,
            (_, true) => Edge::Frame,
        }
    }

    /// True if the next byte begins a frame, so that another frame may be put in here.
    pub fn is_at_frame_edge(&self) -> bool {
        matches!(self.state, State::Header { length: 0, .. })
    }

    /// Whether the next byte begins a message: no frame is half sent, and no message.
    pub fn is_at_message_edge(&self) -> bool {
        self.is_at_frame_edge() && !self.in_message
    }

    /// Payload bytes that the message under way has announced so far; 0 between two.
    pub fn message_bytes(&self) -> u64 {
        self.message_bytes
    }

    /// The code of the Close frame that went by, if it had one (section 7.4).
    pub fn close_code(&self) -> Option<u16> {
        (self.close.length == 2).then(|| u16::from_be_bytes(self.close.bytes))
    }

    /// How many frames have ended, control frames included.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// The frames that have ended, by kind. Each count wraps around: only differences mean something.
    pub fn kinds(&self) -> Kinds {
        let Self { messages, controls, .. } = *self;
        // What is cut off here wraps around as the others do.
        let fragments = (self.frames as u32).wrapping_sub(messages).wrapping_sub(controls);
        Kinds { messages, fragments, controls }
    }
}

impl Default for FrameEdges {
    fn default() -> Self {
        Self::bounded(u64::MAX)
    }
}

impl Default for State {
    fn default() -> Self {
        Self::Header { bytes: [0; HEADER_BYTES_MAX], length: 0 }
    }
}

impl Frame {
    fn is_control(self) -> bool {
        self.opcode & 0x8 != 0
    }
}

/// What a header says.
struct Header {
    frame: Frame,
    /// The length of the payload.
    payload: u64,
    /// The begin of the masking key.
    mask: [u8; 2],
    /// Its own length.
    bytes: usize,
}

/// The header that `bytes` begin with (RFC 6455 section 5.2); `None` if it is not whole yet. Whether it is allowed
/// is not looked at.
fn read_header(bytes: &[u8]) -> Option<Header> {
    let [first, second, rest @ ..] = bytes else { return None };
    let frame = Frame { is_final: first & 0x80 != 0, opcode: first & 0x0f };
    let mask_bytes = if second & 0x80 != 0 { 4 } else { 0 };
    let (length, length_bytes): (_, usize) = match second & 0x7f {
        126 => (u64::from(u16::from_be_bytes(*rest.first_chunk()?)), 2),
        127 => (u64::from_be_bytes(*rest.first_chunk()?), 8),
        short => (u64::from(short), 0),
    };
    let key = rest.get(length_bytes..length_bytes + mask_bytes)?;
    let mask = key.first_chunk().copied().unwrap_or_default();
    Some(Header { frame, payload: length, mask, bytes: 2 + length_bytes + mask_bytes })
}

/// A Close frame as an origin sends it: unmasked. `reason` is cut to what fits (section 5.5).
pub fn close_to_client(code: u16, reason: &str) -> Vec<u8> {
    let payload = close_payload(code, reason);
    [&[0x80 | OPCODE_CLOSE, payload.len() as u8], payload.as_slice()].concat()
}

/// A Close frame as a client sends it: masked with `key`, which hides nothing here (section 10.3 is about scripts).
pub fn close_to_origin(code: u16, reason: &str, key: [u8; 4]) -> Vec<u8> {
    let mut payload = close_payload(code, reason);
    for (byte, mask) in payload.iter_mut().zip(key.iter().cycle()) {
        *byte ^= mask;
    }
    [&[0x80 | OPCODE_CLOSE, 0x80 | payload.len() as u8], key.as_slice(), payload.as_slice()].concat()
}

fn close_payload(code: u16, reason: &str) -> Vec<u8> {
    let fits = reason.char_indices().map(|(at, character)| at + character.len_utf8());
    let end = fits.take_while(|&end| end <= CLOSE_REASON_BYTES_MAX).last().unwrap_or(0);
    [&code.to_be_bytes(), &reason.as_bytes()[..end]].concat()
}

const OPCODE_CLOSE: u8 = 0x8;
/// Two bytes, a 64-bit length and a masking key.
const HEADER_BYTES_MAX: usize = 14;
/// A control frame's payload has at most 125 bytes, two of them the code.
const CLOSE_REASON_BYTES_MAX: usize = 123;

#[cfg(test)]
mod tests;
