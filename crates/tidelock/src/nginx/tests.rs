//! What is translated of nginx.conf, and what is told of the rest.

use std::rc::Rc;

use proptest::prelude::{Strategy, prop, proptest};

use super::*;

fn translated(text: &str) -> Translated {
    let directives = parse::parse(text, &Rc::from("nginx.conf")).expect("it is nginx's");
    translate(Whole { directives, ..Whole::default() }, Path::new("nginx.conf"))
}

fn server(inside: &str) -> Translated {
    translated(&format!("server {{ listen 80; location / {{ proxy_pass http://a:1; }} {inside} }}"))
}

#[test]
fn a_listen_asks_for_the_certificates_that_all_its_servers_ask_for() {
    let server = |name: &str, asks: &str| {
        format!(
            "server {{ listen 443 ssl; listen 80; server_name {name}; ssl_certificate c.pem; ssl_certificate_key c.key; {asks} \
             location / {{ proxy_pass http://a:1; }} }}"
        )
    };
    let (on, optional) = (
        "ssl_verify_client on; ssl_client_certificate /etc/ca.pem;",
        "ssl_verify_client optional; ssl_client_certificate /etc/ca.pem;",
    );
    for (servers, mode, is_told) in [
        (vec![on], Some("required"), false),
        (vec![optional, optional], Some("optional"), false),
        (vec![on, optional], None, true),
        (vec![on, ""], None, true),
        (vec!["ssl_verify_client optional_no_ca;"], None, true),
        (vec!["ssl_verify_client on; ssl_client_certificate /a.pem; ssl_crl /b.pem;"], None, true),
        (vec!["ssl_verify_client off; ssl_protocols TLSv1.2 TLSv1.3;"], None, false),
    ] {
        let text: String =
            servers.iter().enumerate().map(|(at, asks)| server(&format!("a{at}.example"), asks)).collect();
        let Translated { text, left, .. } = translated(&text);
        let want =
            mode.map(|mode| format!("client_certificates = {{ ca = \"/etc/ca.pem\", mode = \"{mode}\" }}\n"));
        let said: Vec<&str> = text.split_inclusive('\n').filter(|line| line.starts_with("client_")).collect();
        assert_eq!(said, want.as_deref().into_iter().collect::<Vec<_>>(), "{servers:?}\n{text}");
        assert_eq!(text.contains("respond = 403"), is_told, "{servers:?}\n{text}");
        assert_eq!(!left.is_empty(), is_told, "{left:?}");
        assert!(!text.contains("tls_profile"), "{text}");
    }
    let modern = translated(&server("a.example", "ssl_protocols TLSv1.3;"));
    assert!(
        modern.text.contains("\ntls_profile = \"modern\"\n") && modern.left.is_empty(),
        "{}",
        modern.text
    );
}

#[test]
fn a_listen_speaks_http2_where_a_server_of_it_does() {
    for (servers, want) in [
        (vec!["listen 80;"], 0),
        (vec!["listen 80 http2;"], 1),
        (vec!["listen 443 ssl http2; listen [::]:443 ssl http2; listen 80;"], 1),
        (vec!["listen 443 ssl; listen 80; http2 on;"], 2),
        (vec!["listen 443 ssl; http2 off;", "listen 443 ssl; http2 on;"], 1),
        (vec!["http2 on;"], 1),
        (vec!["listen 80; http2 off;"], 0),
    ] {
        let all = servers.iter().enumerate().map(|(at, server)| {
            format!(
                "server {{ {server} server_name a{at}.example; ssl_certificate c.pem; ssl_certificate_key c.key; \
                 location / {{ proxy_pass http://a:1; }} }}"
            )
        });
        let Translated { text, left, .. } = translated(&all.collect::<String>());
        assert_eq!(text.matches("\nhttp2 = true\n").count(), want, "{servers:?}\n{text}");
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn what_nobody_may_see_is_closed_and_told() {
    for (inside, status, is_told) in [
        ("location /x { auth_basic \"x\"; proxy_pass http://a:1; }", "403", true),
        ("location /x { auth_basic \"x\"; auth_basic_user_file /u; proxy_pass http://a:1; }", "", false),
        (
            "auth_basic \"x\"; auth_basic_user_file /$host; location /x { proxy_pass http://a:1; }",
            "403",
            true,
        ),
        ("location /x { allow 10.0.0.0/8; deny all; proxy_pass http://a:1; }", "", false),
        ("location /x { allow 10.0.0.1; deny 10.0.0.0/8; proxy_pass http://a:1; }", "403", true),
        ("location /x { allow 10.0.0.x; deny all; proxy_pass http://a:1; }", "403", true),
        (
            "root /w; location @n { allow 10.0.0.0/8; deny all; proxy_pass http://a:1; } location /x { try_files $uri @n; }",
            "501",
            true,
        ),
        (
            "root /w; location = /p.html { auth_basic \"x\"; } location /x { try_files $uri /p.html; }",
            "501",
            true,
        ),
        ("location /x { deny all; proxy_pass http://a:1; }", "403", false),
        ("deny all; location /x { allow all; proxy_pass http://a:1; }", "", false),
        (
            "auth_basic \"x\"; auth_basic_user_file /u; location /x { auth_basic off; proxy_pass http://a:1; }",
            "",
            false,
        ),
        (
            "location /x { satisfy any; deny all; auth_basic \"x\"; auth_basic_user_file /u; proxy_pass http://a:1; }",
            "",
            false,
        ),
        ("location /x { auth_request /ask; proxy_pass http://a:1; }", "", false),
        (
            "location = /ask { return 200; } location /x { auth_request /ask; proxy_pass http://a:1; }",
            "403",
            true,
        ),
        (
            "location = /ask { proxy_pass http://b:2/v; } location /x { auth_request /ask; auth_request_set $u $upstream_http_x_user;              proxy_set_header X-User $u; proxy_pass http://a:1; }",
            "",
            false,
        ),
        (
            "location = /ask { proxy_pass http://b:2; } location /x { auth_request /ask; auth_request_set $u $upstream_http_x_user;              proxy_set_header X-Who $u; proxy_pass http://a:1; }",
            "403",
            true,
        ),
        ("ssl_verify_client on; location /x { proxy_pass http://a:1; }", "403", true),
        (
            "location /x { limit_except GET { allow 10.0.0.1; deny all; } proxy_pass http://a:1; }",
            "403",
            true,
        ),
        ("location /x { internal; proxy_pass http://a:1; }", "404", false),
        ("location /x { fastcgi_pass 127.0.0.1:9000; }", "501", true),
        ("location /x { content_by_lua_block { ngx.say(1) } }", "501", true),
        ("location /x { proxy_pass http://$somewhere; }", "501", true),
    ] {
        let Translated { text, left } = server(inside);
        let route = text.split("[[route]]").find(|route| route.contains("\npath = \"/x\"")).expect(inside);
        match status {
            "" => assert!(route.contains("\nupstream ="), "{inside}: {text}"),
            status => {
                assert!(route.contains(&format!("\nrespond = {status}")), "{inside}: {text}");
                assert!(!route.contains("\nupstream ="), "{inside}: {text}");
            }
        }
        assert_eq!(!left.is_empty(), is_told, "{inside}: {left:?}");
    }
}

#[test]
fn addresses_are_told_apart_as_the_first_rule_does() {
    for (rules, written) in [
        ("allow 10.0.0.0/8; allow 127.0.0.1; deny all;", "allow = [\"10.0.0.0/8\", \"127.0.0.1\"]\n"),
        ("deny 10.0.0.1; allow 10.0.0.0/8; deny all;", "allow = [\"10.0.0.0/8\"]\ndeny = [\"10.0.0.1\"]\n"),
        ("deny 10.0.0.1; deny fd00::/8;", "deny = [\"10.0.0.1\", \"fd00::/8\"]\n"),
        ("allow 192.0.2.1; deny 10.0.0.1; allow all; deny all;", "deny = [\"10.0.0.1\"]\n"),
        ("allow unix:; allow 10.0.0.1;", ""),
    ] {
        let Translated { text, left } = server(&format!("location /x {{ {rules} proxy_pass http://a:1; }}"));
        assert!(left.is_empty(), "{rules}: {left:?}");
        let route = text.split("[[route]]").find(|route| route.contains("\npath = \"/x\"")).expect(rules);
        let said: String = route
            .split_inclusive('\n')
            .filter(|line| line.starts_with("allow") || line.starts_with("deny"))
            .collect();
        assert_eq!(said, written, "{rules}: {text}");
        config::parse(&text, Path::new("/import.toml")).expect("a good file");
    }
}

#[test]
fn limits_have_the_rate_and_the_key_of_their_zone() {
    let zones = "limit_req_zone $binary_remote_addr zone=ip:10m rate=10r/s; limit_req_zone $http_x_key zone=key:1m rate=30r/m; \
                 limit_req_zone $request_uri zone=odd:1m rate=1r/s; limit_conn_zone $server_name zone=all:1m;";
    for (rules, written) in [
        ("limit_req zone=ip;", "limit = { rate = \"10/s\", by = \"ip\", name = \"ip\", status = 503 }\n"),
        (
            "limit_req zone=ip burst=20 nodelay; limit_req_status 429;",
            "limit = { rate = \"10/s\", burst = 20, by = \"ip\", name = \"ip\" }\n",
        ),
        (
            "limit_req zone=ip burst=20; limit_req_dry_run on; limit_req_status 429;",
            "limit = { rate = \"10/s\", burst = 20, delay = 0, by = \"ip\", name = \"ip\", dry_run = true }\n",
        ),
        (
            "limit_req zone=key burst=20 delay=8; limit_conn all 5; limit_conn_status 429;",
            "limit = [{ rate = \"30/m\", burst = 20, delay = 8, by = \"header:x-key\", name = \"key\", status = 503 }, \
             { connections = 5, by = \"all\", name = \"all of \" }]\n",
        ),
        ("limit_req zone=odd;", ""),
        ("limit_req zone=none;", ""),
        ("limit_conn all 0;", ""),
    ] {
        let server = format!("server {{ listen 80; location /x {{ {rules} proxy_pass http://a:1; }} }}");
        let Translated { text, left } = translated(&format!("{zones} {server}"));
        assert_eq!(left.len(), usize::from(written.is_empty()), "{rules}: {left:?}");
        let route = text.split("[[route]]").find(|route| route.contains("\npath = \"/x\"")).expect(rules);
        let said: String = route.split_inclusive('\n').filter(|line| line.starts_with("limit =")).collect();
        assert_eq!(said, written, "{rules}: {text}");
        config::parse(&text, Path::new("/import.toml")).expect("a good file");
    }
}

#[test]
fn a_balancers_word_is_taken_where_it_is_said_whose() {
    let server = "server { listen 80 proxy_protocol; location / { proxy_pass http://a:1; } }";
    let Translated { text, left } = translated(server);
    assert!(!text.contains("\nproxy_protocol = true") && left.len() == 1, "{left:?}\n{text}");
    let Translated { text, left } =
        translated(&format!("set_real_ip_from 10.0.0.5; real_ip_header proxy_protocol; {server}"));
    assert!(text.contains("\nproxy_protocol = true") && left.is_empty(), "{left:?}\n{text}");
    config::parse(&text, Path::new("/import.toml")).expect("a good file");
}

/// Whatever keeps a browser on its node there is kept, and not needed by most.
#[test]
fn what_auto_does_better_is_said() {
    for (keeps, line) in [
        ("ip_hash;", "sticky = \"ip\""),
        ("hash $remote_addr consistent;", "sticky = \"ip\""),
        ("hash $cookie_user;", "balance = \"hash:cookie:user\""),
        ("sticky cookie route;", "sticky = \"cookie:route\""),
    ] {
        let servers = "server a:1; server b:1;";
        let of = format!("upstream n {{ {keeps} {servers} }}");
        let Translated { text, .. } =
            translated(&format!("{of} server {{ listen 80; location / {{ proxy_pass http://n; }} }}"));
        let (before, _) = text.split_once(line).unwrap_or_else(|| panic!("{keeps}: {text}"));
        assert!(
            before.trim_end().lines().last().is_some_and(|line| line.contains("\"auto\" is better")),
            "{text}"
        );
    }
}

#[test]
fn what_is_lost_is_told() {
    for (inside, is_told) in [
        ("location /x { proxy_redirect off; proxy_pass http://a:1; }", false),
        ("location /x { proxy_redirect http://a:1/ https://b/; proxy_pass http://a:1; }", true),
        ("location /x { proxy_next_upstream error timeout; proxy_pass http://a:1; }", false),
        ("location /x { proxy_next_upstream error http_502; proxy_pass http://a:1; }", true),
        ("root /w; location /x { try_files $uri /index.html; }", false),
        ("root /w; location /x { try_files $uri /index.html; } location = /index.html { expires -1; }", true),
        ("root /w; location /x { try_files $uri /index.html; } location = /index.html { }", false),
        ("root /w; location /x { try_files $uri /$host.html; }", true),
        ("error_page 404 =200 /index.html; root /w; location /x { }", false),
        ("error_page 404 = /index.html; root /w; location /x { }", false),
        ("error_page 404 =200 /index.html; location /x { proxy_pass http://a:1; }", false),
        (
            "error_page 404 =200 /index.html; location /x { proxy_intercept_errors on; proxy_pass http://a:1; }",
            false,
        ),
        ("root /w; location /x { try_files /up.html $uri =404; }", true),
        ("root /w; location /x { try_files $uri =410; }", true),
        ("location /x { root /w/$host; }", true),
        ("location ~ ^/x/(.*)$ { alias /w/$1; }", true),
        ("location ~ ^/x/ { alias /w/; }", true),
        ("location /x/ { alias /w/; try_files $uri /x/index.html; }", false),
        ("location /x/ { alias /w/; try_files $uri /index.html; }", true),
        (
            "root /w; location /x/ { add_header A b; try_files $uri @n; } location @n { proxy_pass http://a:1; }",
            true,
        ),
        (
            "root /w; location /x/ { expires 1d; try_files $uri @n; } location @n { proxy_pass http://a:1; }",
            false,
        ),
    ] {
        let Translated { text, left } = server(inside);
        assert_eq!(!left.is_empty(), is_told, "{inside}: {left:?}\n{text}");
    }
}

#[test]
fn pages_for_errors_are_files() {
    for (inside, written) in [
        (
            "error_page 404 /404.html; location = /404.html { root /w; }",
            Some("error_pages = { 404 = \"/w/404.html\" }"),
        ),
        (
            "error_page 500 502 /e/50x.html; location /e/ { alias /w/; }",
            Some("error_pages = { 500 = \"/w/50x.html\", 502 = \"/w/50x.html\", 503 = \"/w/50x.html\" }"),
        ),
        (
            "error_page 502 /x.html; error_page 503 /y.html; location ~ \\.html$ { root /w; }",
            Some("error_pages = { 502 = \"/w/x.html\", 503 = \"/w/y.html\" }"),
        ),
        ("error_page 404 /404.html;", Some("error_pages = { 404 = { path = \"/404.html\" } }")),
        (
            "error_page 404 =200 /x.html; location /x { return 404; }",
            Some("error_pages = { 404 = { path = \"/x.html\", status = 200 } }"),
        ),
        (
            "error_page 404 =200 /x.html; location /x { root /w; } location = /x.html { root /v; }",
            Some("error_pages = { 404 = { path = \"/x.html\", status = 200 } }"),
        ),
        (
            "error_page 404 = /x.php?a=b; location /x { root /w; }",
            Some("error_pages = { 404 = { path = \"/x.php?a=b\", status = \"own\" } }"),
        ),
        (
            "error_page 404 =410 /404.html; location = /404.html { root /w; }",
            Some("error_pages = { 404 = { path = \"/404.html\", status = 410 } }"),
        ),
        (
            "error_page 404 /404.html; location = /404.html { return 200 x; }",
            Some("error_pages = { 404 = { path = \"/404.html\" } }"),
        ),
        (
            "error_page 502 = @b; location @b { proxy_pass http://b:1; }",
            Some("error_pages = { 502 = { upstream = \"b-1\" }, 503 = { upstream = \"b-1\" } }"),
        ),
        (
            "error_page 502 504 @b; location @b { proxy_pass http://b:1; }",
            Some(
                "error_pages = { 502 = { upstream = \"b-1\", status = 502 }, 503 = { upstream = \"b-1\", status = 502 }, 504 = { upstream = \"b-1\", status = 504 } }",
            ),
        ),
        (
            "error_page 503 @m; location @m { root /w; rewrite ^(.*)$ /m.html break; }",
            Some("error_pages = { 503 = \"/w/m.html\" }"),
        ),
        (
            "error_page 503 @m; location @m { root /w; try_files /m.html =503; }",
            Some("error_pages = { 503 = \"/w/m.html\" }"),
        ),
        (
            "error_page 503 = @m; location @m { default_type text/html; return 503 '<p>soon'; }",
            Some("error_pages = { 503 = { text = \"<p>soon\", content_type = \"text/html\" } }"),
        ),
        // As with `try_files`.
        (
            "location /x { root /w; error_page 404 = @b; } location @b { proxy_pass http://b:1; }",
            Some("files = \"/w\"\nupstream = \"b-1\""),
        ),
        ("error_page 404 @app;", None),
        ("error_page 502 @b; location @b { proxy_pass http://b:1; allow 10.0.0.1; deny all; }", None),
        ("error_page 502 @b; location @b { proxy_pass http://b:1/x; }", None),
        ("error_page 502 @b; location @b { proxy_pass http://b:1; add_header A b; }", None),
        ("error_page 502 = @m; location @m { root /w; rewrite ^ /m.html break; }", None),
        ("error_page 502 @m; location @m { return 302 /x; }", None),
        ("error_page 404 https://example.com/;", None),
        ("error_page 404 /x$uri;", None),
        ("error_page 404 =204 /x;", None),
        ("error_page 404 /i; location = /i { internal; proxy_pass http://a:1; }", None),
        ("error_page 301 /404.html; location = /404.html { root /w; }", None),
        ("error_page 404 /404.html; location = /404.html { root /w/$host; }", None),
    ] {
        let Translated { text, left } = server(inside);
        match written {
            Some(written) => {
                assert!(text.contains(&format!("\n{written}\n")), "{inside}: {text}");
                assert!(left.is_empty(), "{inside}: {left:?}");
            }
            None => {
                assert!(!text.contains("\nerror_pages"), "{inside}: {text}");
                assert!(left.iter().any(|left| left.what.starts_with("error_page")), "{inside}: {left:?}");
            }
        }
    }
    // A page that is not there is none in nginx either.
    let folder = tempfile::tempdir().expect("a folder");
    let inside =
        format!("error_page 404 /404.html; location = /404.html {{ root {}; }}", folder.path().display());
    let Translated { text, left } = server(&inside);
    assert!(!text.contains("\nerror_pages") && text.contains("# There is no "), "{text}");
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn gzip_is_compression() {
    for (inside, written) in [
        ("gzip on; gzip_vary on; gzip_comp_level 6;", "compress = true"),
        (
            "gzip on; gzip_types text/css text/html; gzip_min_length 1k;",
            "compress = { types = [\"text/html\", \"text/css\"], bytes_min = \"1024B\" }",
        ),
        ("brotli on;", "compress = true"),
        ("gzip off; gzip_types text/css;", ""),
    ] {
        let Translated { text, left } = server(inside);
        assert!(left.is_empty(), "{inside}: {left:?}");
        match written {
            "" => assert!(!text.contains("\ncompress"), "{inside}: {text}"),
            written => assert!(text.contains(&format!("\n{written}\n")), "{inside}: {text}"),
        }
    }
}

#[test]
fn what_is_written_is_what_tidelock_has() {
    let schema = config::schema::schema();
    for (key, has_landed) in ours::LANDED {
        let is_there = schema.contains(&format!("\"{key}\""));
        assert!(!has_landed || is_there || *key == ours::HOST_LISTS, "{key}");
    }
}

/// Lines that people write, some of them broken.
const LINES: [&str; 26] = [
    "listen 80;",
    "listen 443 ssl;",
    "listen [::]:80;",
    "listen x;",
    "server_name a.example *.b.example;",
    "server_name ~^(.+)\\.c$;",
    "return 301 https://$host$request_uri;",
    "return 200 'a{b}';",
    "return 999;",
    "location / { proxy_pass http://n/; }",
    "location /a/ { proxy_pass http://n/b; }",
    "location /a { proxy_pass http://1.2.3.4; }",
    "location = /a/ { return 204; }",
    "location ~ \\.(js|css)$ { deny all; }",
    "location ~ (?!a)(b { return 404; }",
    "location ^~ /s { proxy_pass http://x:99999; proxy_set_header X \"{$foo\"; }",
    "rewrite ^/(.*)$ /x/$1 permanent;",
    "rewrite ^/o/(.*) /$2 redirect;",
    "if ($host = a.example) { return 302 /x; }",
    "add_header X-Y \"a b\" always;",
    "client_max_body_size 99999999999999g;",
    "proxy_read_timeout 400d;",
    "location /é { root /var; }",
    "resolver 1.1.1.1 [::1]:53 x;",
    "set $a b;",
    "proxy_set_header \"Bad Name\" x;",
];

proptest! {
    #[test]
    fn whatever_is_in_it_the_result_is_a_file(lines in prop::collection::vec((0..LINES.len()).prop_map(|line| LINES[line]), 0..12)) {
        let text = format!("upstream n {{ server a:1 weight=0 max_conns=x; server b:2 backup; }} server {{ {} }} server {{ listen 80; {} }}", lines.concat(), lines.iter().rev().copied().collect::<String>());
        let Translated { text: ours, .. } = translated(&text);
        if let Err(report) = config::parse(&ours, Path::new("/x.toml")) {
            panic!("{report}\n{ours}\n{text}");
        }
    }
}
