//! What a Socket.IO client says on a WebSocket (protocol 5 in Engine.IO 4): enough to join rooms, speak and listen.

use anyhow::{Context as _, Result, bail};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio_tungstenite::tungstenite::Message;

use crate::destination::Destination;
use crate::websocket::{self, Socket};

/// Opens a WebSocket and connects to the main namespace.
///
/// # Errors
/// If it is not accepted.
pub async fn open(destination: &Destination) -> Result<Socket> {
    let mut socket = websocket::open(destination, "/socket.io/?EIO=4&transport=websocket").await?;
    expect(&mut socket, "0{").await.context("the open packet")?;
    socket.send(Message::text("40")).await?;
    expect(&mut socket, "40{").await.context("the answer to connect")?;
    Ok(socket)
}

/// An event with texts as its arguments, none of which needs an escape in JSON.
#[must_use]
pub fn event(name: &str, arguments: &[&str]) -> Message {
    let mut text = format!("42[\"{name}\"");
    for argument in arguments {
        text.push_str(",\"");
        text.push_str(argument);
        text.push('"');
    }
    text.push(']');
    Message::text(text)
}

/// Says `echo` and waits for it.
///
/// # Errors
/// If something else comes.
pub async fn echo(socket: &mut Socket) -> Result<()> {
    socket.send(event("echo", &["?"])).await?;
    expect(socket, "42[\"echo\"").await
}

/// What was said in `room`, if `text` is that.
#[must_use]
pub fn heard<'t>(text: &'t str, room: &str) -> Option<&'t str> {
    let text = text.strip_prefix("42[\"say\",\"")?.strip_prefix(room)?;
    text.strip_prefix("\",\"")?.strip_suffix("\"]")
}

/// Answers `text` if it is Engine.IO's ping, which keeps the session alive.
///
/// # Errors
/// If the answer is not taken.
pub async fn answer_ping(socket: &mut Socket, text: &str) -> Result<()> {
    if text == "2" {
        socket.send(Message::text("3")).await?;
    }
    Ok(())
}

async fn expect(socket: &mut Socket, begin: &str) -> Result<()> {
    match socket.next().await {
        Some(Ok(Message::Text(text))) if text.starts_with(begin) => Ok(()),
        Some(Ok(other)) => bail!("{other:?} instead of {begin}…"),
        Some(Err(error)) => Err(error.into()),
        None => bail!("closed instead of {begin}…"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_in_a_room_is_heard_in_that_room() {
        let Message::Text(text) = event("say", &["lobby", "17  "]) else { panic!("a text") };
        assert_eq!(text.as_str(), r#"42["say","lobby","17  "]"#);
        assert_eq!(heard(&text, "lobby"), Some("17  "));
        assert_eq!(heard(&text, "lob"), None);
        assert_eq!(heard("2", "lobby"), None);
    }
}
