//! What socketioxide knows of a socket, in the shape that Node.js nodes have of theirs.

use serde_json::{Map, Value as Json, json};
use socketioxide::{SocketIo, adapter::Emitter, extract::SocketRef};

use crate::{adapter::RedisAdapter, hooks::Description};

/// What only the app knows of a socket, for [`Fanout::describe_with`](crate::Fanout::describe_with): put it into the
/// socket's `extensions`, and again when it changes.
///
/// ```
/// # use socketioxide::extract::{SocketRef, TryData};
/// # type Adapter = fanout::RedisAdapter<socketioxide::adapter::Emitter>;
/// # async fn connected(socket: SocketRef<Adapter>, TryData(auth): TryData<serde_json::Value>) {
/// let data = serde_json::json!({ "name": "Ada" });
/// socket.extensions.insert(fanout::Details { auth: auth.unwrap_or_default(), data });
/// # }
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Details {
    /// `socket.handshake.auth` in Node.js. socketioxide shows it to the connect handler alone.
    pub auth: Json,
    /// `socket.data` in Node.js.
    pub data: Json,
}

type Adapter = RedisAdapter<Emitter>;

pub(crate) fn describe(io: &SocketIo<Adapter>, namespace: &str, sid: socketioxide_core::Sid) -> Description {
    let socket = io.of(namespace).and_then(|namespace| namespace.get_socket(sid));
    socket.map_or_else(Description::default, |socket| of(&socket))
}

fn of(socket: &SocketRef<Adapter>) -> Description {
    let Details { auth, data } = socket.extensions.get().unwrap_or_default();
    let parts = socket.req_parts();
    let mut about = Description::default();
    let mut headers = Map::new();
    for (name, value) in &parts.headers {
        // As Node.js joins those that come twice.
        let between = if name.as_str() == "cookie" { "; " } else { ", " };
        let value = String::from_utf8_lossy(value.as_bytes());
        match headers.get_mut(name.as_str()) {
            Some(Json::String(before)) => *before = format!("{before}{between}{value}"),
            _ => {
                headers.insert(name.as_str().to_owned(), value.into());
            }
        }
    }
    about.handshake["xdomain"] = json!(headers.contains_key("origin"));
    about.handshake["headers"] = Json::Object(headers);
    about.handshake["url"] = json!(parts.uri.path_and_query().map_or("/", |url| url.as_str()));
    about.handshake["query"] = query(parts.uri.query().unwrap_or_default());
    if !auth.is_null() {
        about.handshake["auth"] = auth;
    }
    if !data.is_null() {
        about.data = data;
    }
    about
}

/// As `querystring.parse`: a name that comes twice has an array.
fn query(text: &str) -> Json {
    let mut fields = Map::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = Json::String(unescape(value));
        match fields.get_mut(&unescape(name)) {
            Some(Json::Array(values)) => values.push(value),
            Some(before) => *before = json!([before.take(), value]),
            None => {
                fields.insert(unescape(name), value);
            }
        }
    }
    Json::Object(fields)
}

fn unescape(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let [first, after @ ..] = rest {
        rest = after;
        match (*first, after) {
            (b'+', _) => bytes.push(b' '),
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                let digit = |digit: u8| char::from(digit).to_digit(16).unwrap_or(0) as u8;
                bytes.push(digit(*high) << 4 | digit(*low));
                rest = after;
            }
            (byte, _) => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::query;
    use serde_json::json;

    // Expected values are what `require("querystring").parse` in Node.js says.
    #[test]
    fn queries_read_as_in_node() {
        for (text, expected) in [
            ("", json!({})),
            ("EIO=4&transport=polling", json!({ "EIO": "4", "transport": "polling" })),
            ("a=1&a=2&a=3&b", json!({ "a": ["1", "2", "3"], "b": "" })),
            ("x=%C3%A4+b%2", json!({ "x": "ä b%2" })),
            ("a=b=c&&=d", json!({ "a": "b=c", "": "d" })),
            ("%zz=%41", json!({ "%zz": "A" })),
        ] {
            assert_eq!(query(text), expected, "{text}");
        }
    }
}
