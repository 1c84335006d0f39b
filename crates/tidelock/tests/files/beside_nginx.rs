//! The same requests to both.

use std::os::unix::net::UnixStream;
use std::process::Stdio;

use testkit::message::Message;
use testkit::process::Process;
use tokio::process::Command;

use super::{ask, converse, get, nginx_is_there, serve, tree, until};

/// What is compared of an answer.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    lines: Vec<(&'static str, Option<String>)>,
    body: Vec<u8>,
}

const COMPARED: [&str; 8] = [
    "content-length",
    "content-range",
    "content-encoding",
    "last-modified",
    "etag",
    "accept-ranges",
    "location",
    "vary",
];

fn compared(answer: &Message) -> Answer {
    let status = answer.status();
    let is_page = status >= 300 && status != 304;
    let line = |name: &'static str| {
        let value = answer.header(name).map(|value| {
            // nginx names itself in a redirect, by a name and port that are not ours.
            let path = value.strip_prefix("http://example.com").unwrap_or(value);
            path.to_owned()
        });
        // The pages of errors are of each one's own, and what nginx says of ranges in a 416 of a page.
        let is_ours =
            is_page && matches!(name, "content-length" | "accept-ranges" | "etag" | "last-modified");
        (name, value.filter(|_| !is_ours))
    };
    let is_many = answer.header("content-type").is_some_and(|kind| kind.starts_with("multipart/"));
    let body = if is_page || is_many { Vec::new() } else { answer.body.clone() };
    let lines = COMPARED.into_iter().filter(|name| !(is_many && *name == "content-length")).map(line);
    Answer { status, lines: lines.collect(), body }
}

/// The requests: each path, and for some each condition and range.
fn requests() -> Vec<String> {
    let paths = [
        "/",
        "/index.html",
        "/hello.txt",
        "/hello.txt?v=1",
        "/hello.txt/",
        "/empty.txt",
        "/a%20b.txt",
        "/caf%C3%A9.txt",
        "/100%25.txt",
        "/long.txt",
        "/pixel.png",
        "/data.json",
        "/assets/app.3f2a9c1b.js",
        "/assets",
        "/assets/",
        "/docs",
        "/docs?a=b",
        "/docs/",
        "/docs/index.html",
        "/empty/",
        "/missing",
        "/missing/",
        "/in.txt",
        "/docs/../hello.txt",
        "//hello.txt",
        "/%68ello.txt",
        "/HELLO.txt",
        "/.well-known/acme",
    ];
    let lines = [
        "If-None-Match: *\r\n",
        "If-None-Match: \"2ebc98a1-5\"\r\n",
        "If-None-Match: W/\"2ebc98a1-5\"\r\n",
        "If-None-Match: \"x\", \"2ebc98a1-5\"\r\n",
        "If-None-Match: \"x\"\r\n",
        "If-Match: *\r\n",
        "If-Match: \"2ebc98a1-5\"\r\n",
        "If-Match: W/\"2ebc98a1-5\"\r\n",
        "If-Match: \"x\"\r\n",
        "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
        "If-Modified-Since: Sun, 06 Nov 1994 08:49:36 GMT\r\n",
        "If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT\r\n",
        "If-Modified-Since: nonsense\r\n",
        "If-Unmodified-Since: Sun, 06 Nov 1994 08:49:36 GMT\r\n",
        "If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
        "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\nIf-None-Match: \"x\"\r\n",
        "Range: bytes=0-0\r\n",
        "Range: bytes=1-3\r\n",
        "Range: bytes=2-\r\n",
        "Range: bytes=-2\r\n",
        "Range: bytes=-1000000000\r\n",
        "Range: bytes=0-1000000000\r\n",
        "Range: bytes=1000000000-\r\n",
        "Range: bytes=3-1\r\n",
        "Range: bytes=x\r\n",
        "Range: bytes=0-1,3-4\r\n",
        "Range: bytes=0-0,1000000000-\r\n",
        "Range: lines=1-2\r\n",
        "Range: bytes=1-3\r\nIf-Range: \"2ebc98a1-5\"\r\n",
        "Range: bytes=1-3\r\nIf-Range: \"x\"\r\n",
        "Range: bytes=1-3\r\nIf-Range: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
        "Range: bytes=1-3\r\nIf-Range: Sun, 06 Nov 1994 08:49:38 GMT\r\n",
        "Accept-Encoding: gzip\r\n",
        "Accept-Encoding: gzip;q=0\r\n",
        "Accept-Encoding: identity\r\n",
    ];
    let mut requests: Vec<String> = paths.iter().map(|path| get(path, "")).collect();
    requests.extend(paths.iter().map(|path| get(path, "").replacen("GET", "HEAD", 1)));
    for path in ["/hello.txt", "/long.txt", "/assets/app.3f2a9c1b.js", "/docs/", "/missing", "/empty.txt"] {
        requests.extend(lines.iter().map(|lines| get(path, lines)));
        requests.extend(lines.iter().map(|lines| get(path, lines).replacen("GET", "HEAD", 1)));
    }
    for path in ["/hello.txt", "/missing", "/missing/", "/docs", "/docs/"] {
        let by = |method| get(path, "Content-Length: 0\r\n").replacen("GET", method, 1);
        requests.extend(["POST", "PUT", "DELETE", "OPTIONS", "PATCH"].map(by));
    }
    requests
}

/// Where we differ on purpose: what the request line and a header line begin with, and why.
const DIFFERENCES: [(&str, &str, &str); 5] = [
    ("/empty.txt ", "Range: bytes=0", "a range of an empty file is 416; nginx sends the empty whole"),
    ("/empty.txt ", "Range: bytes=-", "the same"),
    ("/empty/ ", "", "403 tells that a folder is there; without a page of its own it is 404"),
    ("/assets/ ", "", "the same"),
    ("/assets ", "", "the same, and nowhere to be sent to"),
];

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs nginx: `cargo xtask test`")]
async fn files_are_answered_as_nginx_answers_them() {
    assert!(nginx_is_there(), "apt-get install nginx-light");
    let root = tree();
    let (folder, socket) = (root.path().to_owned(), root.path().join("nginx.sock"));
    let path = folder.display();
    let conf = format!(
        "daemon off; master_process off; pid {path}/pid; error_log stderr;\nevents {{}}\nhttp {{\n\
         access_log off; client_body_temp_path {path}/t1; proxy_temp_path {path}/t2; fastcgi_temp_path {path}/t3;\n\
         uwsgi_temp_path {path}/t4; scgi_temp_path {path}/t5;\n\
         types {{ text/html html; text/javascript js; text/plain txt; image/png png; application/json json; }}\n\
         gzip_static on; gzip_vary on; absolute_redirect off;\n\
         server {{ listen unix:{}; root {path}/dist; }} }}\n",
        socket.display()
    );
    std::fs::write(folder.join("nginx.conf"), conf).expect("a file of the test's own");
    let mut command = Command::new("/usr/sbin/nginx");
    command.args(["-e", "stderr", "-c"]).arg(folder.join("nginx.conf")).stdin(Stdio::null());
    let _nginx = Process::spawn("nginx", command);
    let proxy = serve(root, "").await;
    let address = proxy.address();
    // It makes its socket when it starts.
    until("nginx listens", || UnixStream::connect(&socket).is_ok());
    let ask_nginx = move |request: &str| {
        let mut stream = UnixStream::connect(&socket).expect("it listens");
        converse(&mut stream, request)
    };
    let asking = tokio::task::spawn_blocking(move || {
        let requests = requests();
        assert!(requests.len() >= 300, "{}", requests.len());
        let (mut different, mut stale) = (Vec::new(), Vec::new());
        for request in requests {
            let is_known =
                DIFFERENCES.iter().any(|(path, line, _)| request.contains(path) && request.contains(line));
            let (ours, theirs) = (compared(&ask(address, &request)), compared(&ask_nginx(&request)));
            match ours == theirs {
                true if is_known => stale.push(request),
                false if !is_known => {
                    different.push(format!("{request}ours   {}\nnginx  {}\n", shown(&ours), shown(&theirs)));
                }
                _ => {}
            }
        }
        assert!(different.is_empty(), "{} differ:\n{}", different.len(), different.join("\n"));
        assert!(stale.is_empty(), "listed as different, and equal:\n{}", stale.join("\n"));
    });
    asking.await.expect("all are asked");
}

fn shown(answer: &Answer) -> String {
    let lines = answer.lines.iter().filter_map(|(name, value)| Some(format!("{name}: {}", value.as_ref()?)));
    format!("{} {:?} ({} bytes)", answer.status, lines.collect::<Vec<_>>(), answer.body.len())
}
