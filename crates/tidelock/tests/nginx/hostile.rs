//! Files that are no configuration, or would take for ever: an error, or a list of what was not translated, and never more.

use std::path::Path;

use crate::stand::import;

/// Imports `text`, beside the other files. 0, 1 or 2, and what was said.
async fn imported(text: &[u8], others: &[(&str, &[u8])]) -> (i32, String) {
    let folder = testkit::tidelock::directory();
    let write = |name: &str, text: &[u8]| {
        std::fs::write(folder.path().join(name), text).expect("files can be written");
    };
    others.iter().for_each(|(name, text)| write(name, text));
    write("nginx.conf", text);
    std::fs::create_dir(folder.path().join("folder")).expect("folders can be made");
    let fifo = folder.path().join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).expect("a FIFO");
    let (code, _, said) = import(&folder.path().join("nginx.conf")).await;
    (code, said)
}

async fn check(text: &[u8], others: &[(&str, &[u8])], code: i32, says: &str) {
    let (got, said) = imported(text, others).await;
    let shown = String::from_utf8_lossy(&text[..text.len().min(100)]).into_owned();
    assert_eq!(got, code, "{shown}: {said}");
    assert!(said.contains(says), "{shown}: {}", said.chars().take(2000).collect::<String>());
}

#[tokio::test]
async fn includes_end() {
    check(b"include nginx.conf;", &[], 1, "include each other").await;
    check(b"include a;", &[("a", b"include b;"), ("b", b"include a;")], 1, "include each other").await;
    // Twice as many with each floor.
    let names: Vec<String> = (0..15).map(|floor| format!("f{floor}")).collect();
    let texts: Vec<String> = (1..16).map(|floor| format!("include f{floor}; include f{floor};")).collect();
    let others: Vec<(&str, &[u8])> =
        names.iter().zip(&texts).map(|(name, text)| (name.as_str(), text.as_bytes())).collect();
    check(b"include f0;", &others, 1, "more than 4096").await;
    check(b"include folder;", &[], 2, "there is no such file here").await;
    check(b"include fifo;", &[], 2, "there is no such file here").await;
    check(b"include /dev/zero;", &[], 2, "there is no such file here").await;
    check(b"include a*a*a*a*a*a*a*a*a*a*a*a*a*a*b;", &[(&"a".repeat(200), b"")], 2, "").await;
    let long = b"# a comment\n".repeat(1 << 20);
    check(b"include a; include a; include a;", &[("a", &long)], 1, "MiB").await;
}

#[tokio::test]
async fn a_pipe_and_a_folder_are_no_files() {
    let folder = testkit::tidelock::directory();
    let fifo = folder.path().join("fifo.conf");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).expect("a FIFO");
    for (path, says) in [
        (fifo.as_path(), "a FIFO"),
        (Path::new("/usr/share"), "a folder"),
        (Path::new("/dev/zero"), "a device"),
    ] {
        let (code, _, said) = import(path).await;
        assert!(code == 1 && said.contains(says), "{code} {said}");
    }
}

#[tokio::test]
async fn what_is_broken_is_told_with_its_place() {
    check(b"server {\n location / {", &[], 1, "nginx.conf:2: the block of `location` has no end").await;
    check(b"server {}\n}", &[], 1, "nginx.conf:2: a `}` without a `{`").await;
    check(&b"a{".repeat(5_000_000), &[], 1, "nested more than 64 deep").await;
    check(&[b'x'; 10 << 20], &[], 1, "no `;` at its end").await;
    check(&[b'"'; 10 << 20], &[], 1, "").await;
    check(&b"a ".repeat(5_000_000), &[], 1, "no `;` at its end").await;
    check(b"server { listen 80; server_name a\0b; location /\0 { proxy_pass http://a\0:1; } }", &[], 2, "")
        .await;
    check(
        b"server { listen 80; location /\xff\xfe { proxy_pass http://a:1; } location / { return 200; } }",
        &[],
        2,
        "",
    )
    .await;
    let numbers = b"worker_processes 99999999999999999999999; server { listen 99999999999; listen 80; client_max_body_size 99999999999999999999g; \
          keepalive_timeout 99999999999999999999y; location / { proxy_read_timeout 9999999999999y; return 99999999999; } }";
    check(numbers, &[], 2, "").await;
}

#[tokio::test]
async fn a_long_file_is_no_reason_to_hang() {
    let locations: String =
        (0..10_000).map(|n| format!("location /l{n}/ {{ proxy_pass http://127.0.0.1:3000; }}\n")).collect();
    check(format!("server {{ listen 80; {locations} }}").as_bytes(), &[], 0, "").await;
    let expressions: String =
        (0..2_000).map(|n| format!("location ~ ^/l{n}/(a+)+$ {{ return 404; }}\n")).collect();
    check(format!("server {{ listen 80; {expressions} }}").as_bytes(), &[], 0, "").await;
    let unknown = "what_is_this 1;\n".repeat(100_000);
    check(unknown.as_bytes(), &[], 2, "does not know this directive").await;
}
