//! Goal: a node at `https://` is who it says it is, or gets no request; and whatever goes through a plain node goes through it.
//! Method: what speaks TLS in front of scripted origins and of real Socket.IO nodes, with certificates that are good or bad in
//! one way each; and the handshakes that it saw.

mod below;
mod refused;
mod through;

use std::path::Path;

use serde_json::Value;
use testkit::TIMEOUT;
use testkit::certificates::{Authority, Certificate};
use testkit::origin::ScriptedOrigin;
use testkit::process::Signal;
use testkit::raw::get;
use testkit::tidelock::{Tidelock, directory};
use testkit::tls_front::TlsFront;
use tokio::time::timeout;

const TIDELOCK: &str = env!("CARGO_BIN_EXE_tidelock");
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A file with these entries of `nodes`, and `more` of their upstream.
fn file(nodes: &[&str], more: &str) -> String {
    format!(
        "workers = 1\nsticky_secret = \"0123456789abcdef0123456789abcdef\"\n\
         [[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\nupstream = \"nodes\"\n\
         [upstream.nodes]\nnodes = {nodes:?}\n{more}"
    )
}

/// The lines that trust `authority`, which is written to `directory`.
fn trusting(authority: &Authority, directory: &Path) -> String {
    format!("[upstream.nodes.tls]\nca = {:?}\n", authority.write(directory))
}

/// One node that speaks TLS, and the proxy in front of it.
struct World {
    authority: Authority,
    origin: ScriptedOrigin,
    node: TlsFront,
    proxy: Tidelock,
}

impl World {
    /// `issue` makes the node's certificate; `host` is how the file calls it; `tls` is more of its table.
    async fn new(issue: impl FnOnce(&Authority) -> Certificate, host: &str, tls: &str) -> Self {
        let authority = Authority::new("test");
        let origin = ScriptedOrigin::answering(OK).await;
        let node = TlsFront::to(origin.address(), &issue(&authority)).await;
        let folder = directory();
        let more = format!("{}{tls}", trusting(&authority, folder.path()));
        let url = format!("https://{host}:{}", node.address().port());
        let proxy = Tidelock::start_in(folder, TIDELOCK, &file(&[&url], &more)).await;
        Self { authority, origin, node, proxy }
    }

    /// The status that a client gets.
    async fn status(&self) -> u16 {
        get(self.proxy.address(), "/").await.status()
    }

    /// Asks until a client gets this status.
    async fn until_status(&self, status: u16) {
        let asking = async { while self.status().await != status {} };
        let came = timeout(TIMEOUT, asking).await;
        assert!(came.is_ok(), "there was no {status}");
    }

    /// Asks until `status` says so of the node, and returns what it says.
    async fn until_node(&self, is_so: impl Fn(&Value) -> bool) -> Value {
        let mut said = Value::Null;
        let asking = async {
            while !is_so(&said) {
                said = self.proxy.status().await["upstreams"][0]["nodes"][0].clone();
            }
        };
        let came = timeout(TIMEOUT, asking).await;
        assert!(came.is_ok(), "status did not come to say so: {said:#}");
        said
    }

    /// Reads the file and all that it names again.
    async fn reload(&mut self) {
        let process = self.proxy.process();
        let mark = process.mark();
        process.signal(Signal::HUP);
        process.wait_for_lines_since(mark, 1, |line| line.contains("reloaded")).await;
    }

    /// All that it has logged.
    fn log(&mut self) -> String {
        self.proxy.process().output()
    }
}
