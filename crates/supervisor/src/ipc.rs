//! What an app and PM2 say to each other: `process.send('ready')` one way, `shutdown` the other. Node.js finds the
//! socket by NODE_CHANNEL_FD, and speaks JSON a line at a time over it (NODE_CHANNEL_SERIALIZATION_MODE=json).

use std::io::{self, Write};
use std::os::unix::net::UnixStream as StdStream;

use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::sync::watch;

/// Tidelock's end.
#[derive(Debug)]
pub(crate) struct Channel {
    speak: StdStream,
    is_ready: watch::Receiver<bool>,
}

impl Channel {
    /// Reads it until its end from now on, whatever is said: an app that talks to PM2 must not be stopped by a full
    /// socket.
    pub(crate) fn open(socket: StdStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let speak = socket.try_clone()?;
        let listen = UnixStream::from_std(socket)?;
        let (says, is_ready) = watch::channel(false);
        tokio::spawn(listen_to(listen, says));
        Ok(Self { speak, is_ready })
    }

    /// Waits until the app has said `process.send('ready')`; for ever if it has closed the channel.
    ///
    /// # Cancel safety
    /// Cancel-safe: a message that has come stays known.
    pub(crate) async fn told_ready(&self) {
        if self.is_ready.clone().wait_for(|&is_ready| is_ready).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Says `shutdown`.
    pub(crate) fn tell_shutdown(&self) {
        // A few bytes into an empty socket; if it is full or closed nobody reads.
        let _ = (&self.speak).write(b"\"shutdown\"\n");
    }
}

async fn listen_to(mut socket: UnixStream, says: watch::Sender<bool>) {
    let mut line = Vec::new();
    let mut part = [0; 4096];
    loop {
        let read = match socket.read(&mut part).await {
            Ok(0) | Err(_) => break,
            Ok(read) => read,
        };
        for &byte in &part[..read] {
            if byte == b'\n' {
                if is_ready(&line) {
                    says.send_replace(true);
                }
                line.clear();
            } else if line.len() <= MESSAGE_BYTES_MAX {
                line.push(byte);
            }
        }
    }
}

/// PM2 takes the string; `{ "type": "ready" }` is not for it.
fn is_ready(message: &[u8]) -> bool {
    serde_json::from_slice::<&str>(message).is_ok_and(|message| message == "ready")
}

/// Of a message that is kept; what is longer is no `"ready"`.
const MESSAGE_BYTES_MAX: usize = 64;
