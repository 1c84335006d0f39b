//! A single-page app: its page for every address in it, caches, precompressed files, and the app behind it.

use std::fs;

use testkit::origin::ScriptedOrigin;
use testkit::process::tells;
use testkit::tidelock::Tidelock;

use super::{ask, get, serve, tree, until};

const NAVIGATES: &str = "Sec-Fetch-Mode: navigate\r\nAccept: text/html,*/*;q=0.8\r\n";

#[tokio::test]
async fn the_page_of_an_app_is_answered_for_its_addresses_and_for_nothing_else() {
    let proxy = serve(tree(), "fallback = \"index.html\"\ncache = \"hashed\"\n").await;
    let address = proxy.address();
    let asking = tokio::task::spawn_blocking(move || {
        for (path, lines, status, cache) in [
            ("/", NAVIGATES, 200, Some("no-cache")),
            ("/rooms/7", NAVIGATES, 200, Some("no-cache")),
            ("/rooms/7.5", NAVIGATES, 200, Some("no-cache")),
            ("/rooms/7", "", 200, Some("no-cache")),
            ("/empty/", NAVIGATES, 200, Some("no-cache")),
            ("/missing.js", "Sec-Fetch-Mode: no-cors\r\nAccept: */*\r\n", 404, None),
            ("/missing.js", "", 404, None),
            ("/rooms/7", "Sec-Fetch-Mode: cors\r\nAccept: */*\r\n", 404, None),
            ("/rooms/7", "Accept: application/json\r\n", 404, None),
            ("/assets/app.3f2a9c1b.js", "", 200, Some("public, max-age=31536000, immutable")),
            ("/hello.txt", "", 200, Some("no-cache")),
        ] {
            let answer = ask(address, &get(path, lines));
            assert_eq!((answer.status(), answer.header("cache-control")), (status, cache), "{path} {lines}");
            if path.starts_with("/rooms") && status == 200 {
                assert_eq!(answer.text(), "<p>index");
                assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
            }
        }
        for (accept, coding, body) in [
            ("gzip, deflate, br, zstd", Some("br"), "br"),
            ("gzip", Some("gzip"), "gz"),
            ("", None, "let a = 1;"),
        ] {
            let answer =
                ask(address, &get("/assets/app.3f2a9c1b.js", &format!("Accept-Encoding: {accept}\r\n")));
            assert_eq!((answer.header("content-encoding"), &*answer.text()), (coding, body), "{accept}");
            assert_eq!(answer.header("vary"), Some("Accept-Encoding"));
            assert_eq!(answer.header("content-type"), Some("text/javascript; charset=utf-8"));
        }
        let parts = ask(address, &get("/hello.txt", "Range: bytes=0-0,4-4\r\n"));
        let boundary =
            parts.header("content-type").and_then(|kind| kind.split_once("boundary=")).expect("one").1;
        let part = |first: u8, byte: &str| {
            format!(
                "\r\n--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Range: bytes {first}-{first}/5\r\n\r\n{byte}"
            )
        };
        assert_eq!(parts.text(), format!("{}{}\r\n--{boundary}--\r\n", part(0, "h"), part(4, "o")));
    });
    asking.await.expect("all are asked");
}

#[tokio::test]
async fn a_file_that_changes_is_noticed() {
    let root = tree();
    let file = root.path().join("dist/hello.txt");
    let proxy = serve(root, "").await;
    let address = proxy.address();
    let asking = tokio::task::spawn_blocking(move || {
        assert_eq!(ask(address, &get("/hello.txt", "")).text(), "hello");
        // What is open is read as it is; another file in its place is opened within a second.
        fs::remove_file(&file).expect("it can be removed");
        fs::write(&file, "a new one").expect("it can be written");
        until("the new file is seen", || ask(address, &get("/hello.txt", "")).text() == "a new one");
        fs::remove_file(&file).expect("it can be removed");
        until("its end is seen", || ask(address, &get("/hello.txt", "")).status() == 404);
    });
    asking.await.expect("all are asked");
}

/// It may come yet, as a deployment moves folders.
#[tokio::test]
async fn a_folder_that_is_not_there_is_said_and_is_404() {
    let root = tree();
    let folder = root.path().join("later");
    let file = "[[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\nfiles = \"later\"\n";
    let mut proxy = Tidelock::start_in(root, env!("CARGO_BIN_EXE_tidelock"), file).await;
    let address = proxy.address();
    let (asked, there) = tokio::task::spawn_blocking(move || {
        let asked = ask(address, &get("/index.html", "")).status();
        fs::create_dir(&folder).expect("it can be made");
        fs::write(folder.join("index.html"), "here").expect("it can be written");
        (asked, ask(address, &get("/", "")).text())
    })
    .await
    .expect("all are asked");
    assert_eq!((asked, &*there), (404, "here"));
    let line = proxy.process().wait_for_line(|line| tells(line, "folder_missing")).await;
    assert!(line.contains("later"), "{line}");
}

#[tokio::test]
async fn what_is_no_file_is_the_apps() {
    let origin = ScriptedOrigin::answering("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\napp").await;
    let root = tree();
    let file = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\npath = \"/static\"\nstrip = true\nfiles = \"dist\"\n\
         [[route]]\nfiles = \"dist\"\nindex = []\nupstream = \"nodes\"\n[upstream.nodes]\nnodes = [\"{}\"]\n",
        origin.address()
    );
    let proxy = Tidelock::start_in(root, env!("CARGO_BIN_EXE_tidelock"), &file).await;
    let address = proxy.address();
    let asking = tokio::task::spawn_blocking(move || {
        for (path, want) in [
            ("/hello.txt", "hello"),
            ("/", "app"),
            ("/docs/", "app"),
            ("/docs", "app"),
            ("/api/users", "app"),
            ("/socket.io/?EIO=4&transport=polling", "app"),
            ("/.env", "app"),
            ("/static/hello.txt", "hello"),
            ("/static/docs/", "<p>docs"),
        ] {
            assert_eq!(ask(address, &get(path, "")).text(), want, "{path}");
        }
        let post = get("/hello.txt", "Content-Length: 0\r\n").replacen("GET", "POST", 1);
        assert_eq!(ask(address, &post).text(), "app");
        let post = get("/static/hello.txt", "Content-Length: 0\r\n").replacen("GET", "POST", 1);
        let refused = ask(address, &post);
        assert_eq!((refused.status(), refused.header("allow")), (405, Some("GET, HEAD")));
        let folder = ask(address, &get("/static/docs?x=1", ""));
        assert_eq!((folder.status(), folder.header("location")), (301, Some("/static/docs/?x=1")));
        // The folder of the prefix itself is one, too: its page says `./app.js`.
        let folder = ask(address, &get("/static?x=1", ""));
        assert_eq!((folder.status(), folder.header("location")), (301, Some("/static/?x=1")));
        assert!(ask(address, &get("/static/", "")).text().starts_with("<p>"));
    });
    asking.await.expect("all are asked");
}
