//! How clients of a route say who they are.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value as Json, json};

use super::headers::HeaderNames;
use super::node_address::{NodeAddress, NodePlace};
use super::paths::FilePath;
use super::route::{LineText, Text};
use super::{Time, quote, schema};
use crate::file::declare::declare;
use crate::file::declared::{Kind, Unsaid};
use crate::file::given::Given;
use crate::plan::values::{NodeBounds, NodeSpec};
use crate::routing::{Ask, Auth, Users};

/// A table.
pub(crate) struct AuthTable;

impl Unsaid for AuthTable {}

declare! {
    /// `auth`, a table.
    struct AuthKeys in TABLE = "auth", One: "How clients say who they are.";
    keys {
        /// A file of htpasswd, with a name and a stored password on each line: bcrypt (`htpasswd -B`), argon2, apr1, SHA-crypt or
        /// {SHA}. Relative to the folder of this file; read at the start and at each reload.
        USERS users: Option<PathBuf> => "`ask` says who", FilePath;
        /// What browsers show beside the fields for name and password.
        REALM realm: Option<String> => "\"Restricted\"", LineText;
        /// The URL that is asked before each request, "http://auth:4180/verify", or "http://NAME/verify" for a node of
        /// `[upstream.NAME]`. It gets the client's header lines and no body, X-Original-URI and -Method, and X-Forwarded-Uri and
        /// -Method. 2xx lets the request pass; other answers up to 499 are the client's, redirects to a login among them; and
        /// without an answer nobody passes.
        ASK ask: Option<String> => "`users` has passwords", Text;
        /// Header lines of that answer that nodes get: ["X-User"]. What clients say under these names goes no further.
        COPY copy: Vec<String> = Vec::new(), HeaderNames;
        /// How long the answer is waited for.
        TIMEOUT timeout: Duration = Duration::from_secs(5), Time { least: Duration::from_millis(10), most: Duration::from_mins(1) };
    }
}

impl Kind for AuthTable {
    type Read = Auth;

    fn read(&self, given: Given<'_>) -> Option<Auth> {
        let example = "{ users = \"/etc/tidelock/users\" }";
        let Some(fields) = given.table(TABLE.section) else {
            return given.wrong_type("a table", example.to_owned());
        };
        let AuthKeys { users: _, realm, ask: _, copy, timeout } =
            fields.reading.sound(|| AuthKeys::read(&fields))?;
        let (users, ask) = (fields.given(USERS.name), fields.given(ASK.name));
        let of_others = match (&users, &ask) {
            (Some(_), None) => [COPY.name, TIMEOUT.name],
            (None, Some(_)) => [REALM.name, REALM.name],
            (Some(_), Some(both)) => {
                return both.refuse("`users` says who may already", Some("keep one of them".to_owned()));
            }
            (None, None) => {
                return given.refuse("nobody says who may", Some(format!("write `auth = {example}`")));
            }
        };
        if let Some(other) = of_others.into_iter().find_map(|name| fields.given(name)) {
            let goes_with = if users.is_some() { ASK.name } else { USERS.name };
            return other.refuse(
                format!("`{}` goes with `{goes_with}`", other.name),
                Some("leave it out".to_owned()),
            );
        }
        let users = match (users, ask) {
            (Some(users), _) => users,
            (None, Some(ask)) => return asked(ask, copy, timeout).map(Arc::new).map(Auth::Ask),
            (None, None) => return None,
        };
        if let Some(realm) = fields
            .given(REALM.name)
            .filter(|_| realm.as_ref().is_some_and(|realm| realm.contains(['"', '\\'])))
        {
            return realm.refuse("a realm has no quotes in it", Some("leave them out".to_owned()));
        }
        let text = users.text_in(users.text("the path of a file", || quote("/etc/tidelock/users"))?)?;
        match Users::read(&text, realm.unwrap_or_else(|| "Restricted".to_owned())) {
            Ok(read) => Some(Auth::Users(Arc::new(read))),
            Err(wrong) => users.refuse(wrong.message, Some(wrong.hint.to_owned())),
        }
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!(TABLE.section.schema()))
    }
}

/// Who is asked at a URL.
fn asked(given: Given<'_>, copy: Vec<String>, timeout: Duration) -> Option<Ask> {
    let url = given.text("a URL", || quote(EXAMPLE))?;
    let hint = || Some(format!("write {}", quote(EXAMPLE)));
    let parts =
        ["http://", "https://"].into_iter().find_map(|scheme| Some((scheme, url.strip_prefix(scheme)?)));
    let Some((scheme, rest)) = parts else { return given.refuse(format!("\"{url}\" is not a URL"), hint()) };
    let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    let is_path_byte = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
    if authority.is_empty() || authority.contains(['@', '?', '#']) || !path.bytes().all(is_path_byte) {
        return given.refuse(format!("\"{url}\" is not a URL that can be asked"), hint());
    }
    let has_port =
        authority.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    // Without a port it is the name of an upstream, or the host of HTTPS.
    let node = if has_port || scheme == "https://" { Some(node(given, scheme, authority)?) } else { None };
    let (authority, origin) = (authority.to_owned(), format!("{scheme}{authority}"));
    let copy = copy.iter().map(|name| name.to_ascii_lowercase()).collect();
    Some(Ask { authority, origin, node, path: path.to_owned(), copy, timeout })
}

/// The node of an upstream that the URL alone makes.
fn node(given: Given<'_>, scheme: &str, authority: &str) -> Option<NodeSpec> {
    let place = NodeAddress::read_text(given, &format!("{scheme}{authority}"))?;
    let NodePlace { written, host, port, tls_name, base } = place;
    Some(NodeSpec {
        written,
        host,
        port,
        tls_name,
        base,
        weight: 1,
        backup: false,
        bounds: NodeBounds::default(),
    })
}

const EXAMPLE: &str = "http://auth:4180/verify";
