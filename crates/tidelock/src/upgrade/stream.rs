//! Messages with files over a Unix socket. Each is its length and the number of its files, four bytes each, the highest first,
//! and then JSON; the files come with its first byte (SCM_RIGHTS). Blocks.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

use super::message::Message;

/// One end.
#[derive(Debug)]
pub(super) struct Stream {
    socket: UnixStream,
    /// That have come, and whose message has not been read.
    files: VecDeque<OwnedFd>,
}

impl Stream {
    pub(super) fn new(socket: UnixStream) -> Self {
        Self { socket, files: VecDeque::new() }
    }

    /// How long the other may be silent, or read nothing.
    pub(super) fn set_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        // None at all would mean for ever.
        let timeout = timeout.map(|timeout| timeout.max(Duration::from_millis(1)));
        self.socket.set_read_timeout(timeout)?;
        self.socket.set_write_timeout(timeout)
    }

    pub(super) fn send(&self, message: &Message, files: &[OwnedFd]) -> io::Result<()> {
        debug_assert!(files.len() <= FILES_MAX, "whoever has more says more messages");
        let body = serde_json::to_vec(message)?;
        let length = u32::try_from(body.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let count = u32::try_from(files.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let bytes = [&length.to_be_bytes(), &count.to_be_bytes(), &body[..]].concat();
        let mut space = [MaybeUninit::uninit(); SPACE];
        let mut beside = SendAncillaryBuffer::new(&mut space);
        let files: Vec<_> = files.iter().map(AsFd::as_fd).collect();
        if !files.is_empty() && !beside.push(SendAncillaryMessage::ScmRights(&files)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let sent = loop {
            match sendmsg(&self.socket, &[IoSlice::new(&bytes)], &mut beside, SendFlags::NOSIGNAL) {
                Err(Errno::INTR) => {}
                sent => break sent?,
            }
        };
        (&self.socket).write_all(&bytes[sent..])
    }

    /// The next one; `None` if the other is gone.
    pub(super) fn receive(&mut self) -> io::Result<Option<(Message, Vec<OwnedFd>)>> {
        let mut head = [0; 8];
        if !self.fill(&mut head)? {
            return Ok(None);
        }
        let [a, b, c, d, e, f, g, h] = head;
        let (length, count) = (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]));
        if length > MESSAGE_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut body = vec![0; length as usize];
        if !self.fill(&mut body)? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let message = serde_json::from_slice(&body)?;
        if self.files.len() < count as usize {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "files are missing"));
        }
        Ok(Some((message, self.files.drain(..count as usize).collect())))
    }

    /// `false` if there was nothing any more.
    fn fill(&mut self, into: &mut [u8]) -> io::Result<bool> {
        let mut filled = 0;
        while filled < into.len() {
            let mut space = [MaybeUninit::uninit(); SPACE];
            let mut beside = RecvAncillaryBuffer::new(&mut space);
            let read = recvmsg(
                &self.socket,
                &mut [IoSliceMut::new(&mut into[filled..])],
                &mut beside,
                RecvFlags::CMSG_CLOEXEC,
            );
            let read = match read {
                Err(Errno::INTR) => continue,
                read => read?.bytes,
            };
            for message in beside.drain() {
                if let RecvAncillaryMessage::ScmRights(files) = message {
                    self.files.extend(files);
                }
            }
            match read {
                0 if filled == 0 => return Ok(false),
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => filled += read,
            }
        }
        Ok(true)
    }
}

/// With one message. The kernel takes 253.
pub(super) const FILES_MAX: usize = 128;
const SPACE: usize = rustix::cmsg_space!(ScmRights(FILES_MAX));
/// A file of that length would be no `upstreams.toml`.
const MESSAGE_BYTES_MAX: u32 = 64 << 20;

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;

    use super::*;

    #[test]
    fn files_come_with_their_message() {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        let (ours, mut theirs) = (Stream::new(ours), Stream::new(theirs));
        let pipe = || {
            let (read, mut write) = io::pipe().expect("a pipe");
            write.write_all(b"from here").expect("written");
            OwnedFd::from(read)
        };
        let drained = |node: &str| Message::Drained { node: node.to_owned() };
        ours.send(&drained("none"), &[]).expect("sent");
        ours.send(&drained("two"), &[pipe(), pipe()]).expect("sent");
        ours.send(&drained("one"), &[pipe()]).expect("sent");
        drop(ours);
        for (node, count) in [("none", 0), ("two", 2), ("one", 1)] {
            let (message, files) = theirs.receive().expect("read").expect("there is one");
            assert!(matches!(message, Message::Drained { node: read } if read == node));
            assert_eq!(files.len(), count);
            for file in files {
                let mut text = String::new();
                File::from(file).read_to_string(&mut text).expect("text");
                assert_eq!(text, "from here");
            }
        }
        assert!(theirs.receive().expect("an end").is_none());
    }

    #[test]
    fn a_message_that_is_long_comes_whole() {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        let (ours, mut theirs) = (Stream::new(ours), Stream::new(theirs));
        let long = "x".repeat(1 << 20);
        let said = Message::Failed { why: long.clone() };
        let sending = std::thread::spawn(move || ours.send(&said, &[]));
        let (message, _) = theirs.receive().expect("read").expect("there is one");
        sending.join().expect("it ends").expect("sent");
        assert!(matches!(message, Message::Failed { why } if why == long));
    }
}
