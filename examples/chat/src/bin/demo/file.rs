//! The file that the demo's tidelock serves.

use std::path::Path;

/// What stands in it.
pub(crate) struct Plan<'a> {
    pub(crate) port: u16,
    pub(crate) nodes: u16,
    pub(crate) demo: &'a Path,
    pub(crate) page: &'a Path,
    pub(crate) admin: &'a Path,
}

impl Plan<'_> {
    pub(crate) fn text(&self) -> String {
        let Self { port, nodes, demo, page, admin } = self;
        let quoted = |path: &Path| format!("{:?}", path.display().to_string());
        let (demo, admin) = (quoted(demo), quoted(admin));
        let page = format!("{:?}", format!("unix:{}", page.display()));
        format!(
            r#"# What `cargo demo` serves. The chat needs what stands before `[drain]`.

[[listen]]
address = "127.0.0.1:{port}"

# No host and no path: this route takes every request.
[[route]]
upstream = "chat"

[upstream.chat]
app = "chat"

[app.chat]
command = [{demo}, "node"]
instances = {nodes}
port = "env"
ready = "engineio"
logs = {{ folder = "off" }}

# Sessions leave within three seconds, so that there is something to see.
[drain]
window = "3s"
deadline = "10s"

# The page that shows all this, from the program that has started tidelock.
[[route]]
exact = "/"
upstream = "page"

[[route]]
path = "/fleet"
upstream = "page"

[upstream.page]
nodes = [{page}]
sticky = "none"

[admin]
socket = {admin}

[log]
access = "off"
"#
        )
    }
}
