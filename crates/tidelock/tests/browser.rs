//! Goal: people can chat through tidelock with a browser as it is, and a single-page app is at home.
//! Method: two tabs of headless Chromium on the chat page of one Rust node. `fleet` does the same with several. And tabs of a
//! page from disk, with its API and its sockets on three nodes of Node.js, by a file of ours and by one of nginx.

use std::path::Path;
use std::process::Stdio;

use testkit::certificates::Authority;
use testkit::node::{Node, NodePlan, three};
use testkit::page::{PagePlan, SinglePageTab, meet, visit};
use testkit::tidelock::{FilePlan, Tidelock, directory};
use tokio::process::Command;

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js and Chromium: `cargo xtask test`")]
async fn a_message_of_one_tab_is_seen_in_both() {
    let node = Node::start(NodePlan::chat("node-1", TIDELOCK)).await;
    let tidelock = Tidelock::start(TIDELOCK, &FilePlan::to([&node]).text()).await;
    assert_they_meet(&PagePlan::at(tidelock.url()), &node).await;
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js and Chromium: `cargo xtask test`")]
async fn a_message_of_one_tab_is_seen_in_both_over_tls() {
    let node = Node::start(NodePlan::chat("node-1", TIDELOCK)).await;
    let directory = directory();
    let files = Authority::new("browser").issue(&["localhost"]).write(directory.path(), "leaf");
    let file = FilePlan::to([&node]).tls(&files).text();
    let tidelock = Tidelock::start_in(directory, TIDELOCK, &file).await;
    let url = format!("https://localhost:{}", tidelock.address().port());
    assert_they_meet(&PagePlan { insecure: true, ..PagePlan::at(url) }, &node).await;
}

async fn assert_they_meet(plan: &PagePlan, node: &Node) {
    let meeting = meet(plan).await;
    assert_eq!(meeting.errors, [""; 0]);
    assert_eq!(meeting.tabs.len(), 2);
    for tab in meeting.tabs {
        assert_eq!(tab.texts, [plan.text.as_str()]);
        assert_eq!(tab.message_nodes, ["node-1"]);
        assert_eq!(tab.node, "node-1");
        assert_eq!(tab.members, ["Ada", "Grace"]);
        // Both transports were in use, one after the other, and the page says so.
        assert_eq!(tab.transports, ["–", "polling", "polling → websocket…", "polling → websocket"]);
    }
    // Closed tabs leave no sessions behind.
    node.until_sessions(0).await;
}

/// The page of an app, whose script draws what the browser and the node say.
const PAGE: &str = r#"<!doctype html><title>app</title><link rel="icon" href="data:,">
<p id="path"></p><p id="api"></p><p id="node"></p><p id="transport"></p>
<script type="module" src="/assets/app.3f2a9c1b.js"></script>"#;
const SCRIPT: &str = r#"import { io } from "/socket.io/socket.io.esm.min.js";
const show = (id, text) => { document.getElementById(id).textContent = text; };
const draw = () => show("path", location.pathname);
window.move = (path) => { history.pushState(null, "", path); draw(); };
addEventListener("popstate", draw);
draw();
const seen = await (await fetch("/api/headers?a=b")).json();
show("api", seen.url);
const socket = io();
socket.on("connect", () => {
  socket.emit("who", (who) => show("node", who.node));
  const engine = socket.io.engine;
  const settled = () => show("transport", engine.transport.name);
  engine.transport.name === "websocket" ? settled() : engine.once("upgrade", settled);
});
"#;

/// The app on disk, below `folder`.
fn app(folder: &Path) {
    std::fs::create_dir_all(folder.join("dist/assets")).expect("the folder is the test's");
    std::fs::write(folder.join("dist/index.html"), PAGE).expect("it can be written");
    std::fs::write(folder.join("dist/assets/app.3f2a9c1b.js"), SCRIPT).expect("it can be written");
}

async fn assert_it_is_at_home(tidelock: &Tidelock) {
    let url = format!("https://localhost:{}", tidelock.address().port());
    let seen = visit(&url, 3).await;
    // The browser tells of the missing script, which is asked for apart from any page.
    assert_eq!((seen.errors, seen.missing), (Vec::<String>::new(), 404));
    let mut nodes = Vec::new();
    for tab in seen.tabs {
        let SinglePageTab { path, api, node, moved, reloaded, back } = tab;
        assert_eq!([&*path, &*moved, &*reloaded, &*back], ["/rooms/7", "/rooms/8", "/rooms/8", "/rooms/7"]);
        assert_eq!(api, "/headers?a=b", "the node does not see `/api`");
        nodes.push(node);
    }
    nodes.sort();
    assert!(nodes.iter().all(|node| ["a", "b", "c"].contains(&&**node)), "{nodes:?}");
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js and Chromium: `cargo xtask test`")]
async fn a_single_page_app_is_at_home() {
    let nodes = three(NodePlan::js).await;
    let folder = directory();
    app(folder.path());
    let files = Authority::new("browser").issue(&["localhost"]).write(folder.path(), "leaf");
    let addresses = nodes.each_ref().map(|node| node.address().to_string());
    let file = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\ntls = {{ certificate = {:?}, key = {:?} }}\n\
         [[route]]\nfiles = \"dist\"\nfallback = \"index.html\"\ncache = \"hashed\"\n\
         [[route]]\npath = \"/api\"\nstrip = true\nupstream = \"nodes\"\n\
         [[route]]\npath = \"/socket.io\"\nupstream = \"nodes\"\n\
         [upstream.nodes]\nnodes = {addresses:?}\n",
        files.certificate, files.key
    );
    let tidelock = Tidelock::start_in(folder, TIDELOCK, &file).await;
    assert_it_is_at_home(&tidelock).await;
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js and Chromium: `cargo xtask test`")]
async fn a_single_page_app_of_an_nginx_conf_is_at_home() {
    let nodes = three(NodePlan::js).await;
    let folder = directory();
    app(folder.path());
    let files = Authority::new("browser").issue(&["localhost"]).write(folder.path(), "leaf");
    let servers: String = nodes.iter().map(|node| format!("server {}; ", node.address())).collect();
    let conf = NGINX_CONF
        .replace("SERVERS", &servers)
        .replace("CERTIFICATE", &files.certificate.display().to_string())
        .replace("KEY", &files.key.display().to_string())
        .replace("DIST", &folder.path().join("dist").display().to_string());
    let path = folder.path().join("nginx.conf");
    std::fs::write(&path, conf).expect("the folder is the test's");
    let mut import = Command::new(TIDELOCK);
    import.arg("import").arg(&path).stdin(Stdio::null()).kill_on_drop(true);
    let output = import.output().await.expect("tidelock runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("it prints text");
    let tidelock = Tidelock::start_in(folder, TIDELOCK, &text).await;
    assert_it_is_at_home(&tidelock).await;
}

/// As the guides have it for React and Vue.
const NGINX_CONF: &str = r#"events {}
http {
    map $http_upgrade $connection_upgrade { default upgrade; '' close; }
    upstream app { SERVERS }
    server {
        listen 127.0.0.1:0 ssl;
        server_name localhost;
        ssl_certificate CERTIFICATE;
        ssl_certificate_key KEY;
        root DIST;
        index index.html;
        gzip on;
        gzip_types text/css application/javascript application/json;
        location / {
            try_files $uri $uri/ /index.html;
        }
        location ~* \.(js|css)$ {
            expires 1y;
            add_header Cache-Control "public, immutable";
        }
        location /api/ {
            proxy_pass http://app/;
            proxy_set_header Host $host;
        }
        location ^~ /socket.io/ {
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_set_header Host $host;
        }
    }
}
"#;

const TIDELOCK: &str = env!("CARGO_BIN_EXE_tidelock");
