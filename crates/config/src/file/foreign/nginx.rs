//! The words of nginx.

use super::row::Ours::{Instead, Key};
use super::row::{NODES, TLS, Word, row};

pub(super) static WORDS: &[Word] = &[
    // Where clients come in.
    row(&["server_name", "server_names"], NGINX, Key("route", "host", "host = \"example.com\"")),
    row(&["location", "locations"], NGINX, Key("route", "path", "path = \"/chat\"")),
    row(
        &["proxy_pass", "fastcgi_pass", "uwsgi_pass", "grpc_pass"],
        NGINX,
        Key("route", "upstream", "upstream = \"nodes\""),
    ),
    row(&["server", "servers"], NGINX, Key("upstream.nodes", "nodes", NODES)),
    row(
        &["http", "events", "stream"],
        NGINX,
        Instead("leave the block out; what is in it goes to `[[listen]]`, `[[route]]` and `[upstream.NAME]`"),
    ),
    row(
        &["ssl", "ssl_certificate", "ssl_certificate_key", "ssl_trusted_certificate"],
        NGINX,
        Key("listen", "tls", TLS),
    ),
    row(
        &[
            "ssl_protocols",
            "ssl_ciphers",
            "ssl_prefer_server_ciphers",
            "ssl_session_cache",
            "ssl_session_timeout",
            "ssl_session_tickets",
            "ssl_dhparam",
            "ssl_stapling",
            "ssl_ecdh_curve",
        ],
        NGINX,
        Instead("leave it out: TLS 1.2 and 1.3 with safe ciphers and session tickets are all there is"),
    ),
    row(&["http2"], NGINX, Key("listen", "http2", "http2 = true")),
    row(
        &["http3", "quic"],
        NGINX,
        Instead("leave it out: clients are served HTTP/1.1, and HTTP/2 where `http2 = true`"),
    ),
    row(&["reuseport"], NGINX, Key("listen", "reuse_port", "reuse_port = true")),
    row(&["return"], NGINX, Key("route", "redirect", "redirect = { host = \"example.com\", status = 301 }")),
    row(
        &["error_page"],
        NGINX,
        Key("route", "error_pages", "error_pages = { 404 = { text = \"Nothing here.\" } }"),
    ),
    row(
        &["proxy_intercept_errors"],
        NGINX,
        Key(
            "route",
            "intercept_errors",
            "error_pages = { 5xx = { text = \"Soon back.\" } }\nintercept_errors = true",
        ),
    ),
    row(&["root", "alias"], NGINX, Key("route", "files", "files = \"dist\"")),
    row(&["try_files"], NGINX, Key("route", "fallback", "files = \"dist\"\nfallback = \"index.html\"")),
    row(&["index"], NGINX, Key("route", "index", "files = \"dist\"\nindex = \"index.html\"")),
    row(&["expires"], NGINX, Key("route", "cache", "files = \"dist\"\ncache = \"1d\"")),
    row(&["autoindex"], NGINX, Instead("leave it out: what is in a folder is not listed")),
    row(
        &["add_header", "proxy_hide_header", "more_set_headers"],
        NGINX,
        Key("route", "response_headers", "response_headers = { set = { \"Cache-Control\" = \"no-store\" } }"),
    ),
    row(
        &["proxy_cookie_path", "proxy_redirect"],
        NGINX,
        Instead(
            "leave it out: `strip = true` in a `[[route]]` puts the prefix back into Location and cookies",
        ),
    ),
    // Host, X-Forwarded-For, X-Forwarded-Proto and Upgrade, which most of these are about, are right by themselves.
    row(
        &["proxy_set_header"],
        NGINX,
        Key("route", "request_headers", "request_headers = { set = { X-Name = \"value\" } }"),
    ),
    row(
        &[
            "proxy_http_version",
            "proxy_buffering",
            "proxy_request_buffering",
            "proxy_cache_bypass",
            "proxy_cache",
            "tcp_nodelay",
            "tcp_nopush",
            "sendfile",
            "chunked_transfer_encoding",
            "proxy_ignore_client_abort",
            "server_tokens",
            "zone",
            "map",
            "types",
            "default_type",
        ],
        NGINX,
        Instead("leave it out: nothing is buffered or cached, and upgrades to WebSocket pass by themselves"),
    ),
    row(&["gzip", "brotli", "zstd"], NGINX, Key("route", "compress", "compress = true")),
    row(
        &["gzip_types", "brotli_types"],
        NGINX,
        Key("route", "compress", "compress = { types = [\"text/*\", \"application/json\"] }"),
    ),
    row(
        &["gzip_min_length", "brotli_min_length"],
        NGINX,
        Key("route", "compress", "compress = { bytes_min = \"1KiB\" }"),
    ),
    row(
        &["gzip_proxied", "gzip_vary", "gzip_comp_level", "gzip_static", "gzip_disable", "gzip_http_version"],
        NGINX,
        Instead(
            "leave it out: `compress = true` in a `[[route]]` says Vary, takes a level that is worth its time, and a file beside another in .gz, .br or .zst is sent for it",
        ),
    ),
    row(&["include"], NGINX, Instead("all of it is in one file: write the lines here")),
    row(
        &["auth_basic", "auth_basic_user_file", "auth_request", "satisfy"],
        NGINX,
        Instead("passwords are not asked for yet: let the app do it, or `allow` addresses"),
    ),
    // Nodes.
    row(&["least_conn"], NGINX, Key("upstream.nodes", "balance", "balance = \"least-requests\"")),
    row(&["ip_hash"], NGINX, Key("upstream.nodes", "sticky", "sticky = \"ip\"")),
    row(&["hash"], NGINX, Key("upstream.nodes", "balance", "balance = \"hash:header:X-User\"")),
    row(&["random"], NGINX, Key("upstream.nodes", "balance", "balance = \"random-two\"")),
    row(&["max_fails"], NGINX, Key("upstream.nodes.outliers", "failures", "failures = 3")),
    row(&["fail_timeout"], NGINX, Key("upstream.nodes.outliers", "ejection", "ejection = \"10s\"")),
    row(
        &["max_conns"],
        NGINX,
        Key("upstream.nodes", "nodes", "nodes = [{ address = \"127.0.0.1:3000\", max_connections = 1000 }]"),
    ),
    row(&["down"], NGINX, Instead("take the node out of `nodes`, or empty it with `tidelock drain NODE`")),
    row(
        &["slow_start", "slowstart"],
        NGINX,
        Key("upstream.nodes.health", "slow_start", "slow_start = \"10s\""),
    ),
    row(&["health_check", "check"], NGINX, Key("upstream.nodes.health", "probe", "probe = \"http\"")),
    row(&["keepalive", "keepalive_conns"], NGINX, Key("limits", "origin_idle_max", "origin_idle_max = 128")),
    row(
        &["proxy_next_upstream", "proxy_next_upstream_tries"],
        NGINX,
        Key("limits", "attempts_max", "attempts_max = 3"),
    ),
    row(
        &["proxy_next_upstream_timeout"],
        NGINX,
        Key("upstream.nodes", "try_timeout", "try_timeout = \"5s\""),
    ),
    // Bounds and waits.
    row(&["client_max_body_size"], NGINX, Key("limits", "body_bytes_max", "body_bytes_max = \"10MiB\"")),
    row(
        &["large_client_header_buffers", "client_header_buffer_size"],
        NGINX,
        Key("limits", "head_bytes_max", "head_bytes_max = \"32KiB\""),
    ),
    row(
        &["client_body_buffer_size", "proxy_buffer_size", "proxy_buffers", "proxy_busy_buffers_size"],
        NGINX,
        Key("limits", "buffer_bytes", "buffer_bytes = \"64KiB\""),
    ),
    row(&["worker_connections"], NGINX, Key("limits", "connections_max", "connections_max = 10000")),
    row(
        &["worker_rlimit_nofile"],
        NGINX,
        Instead(
            "leave it out: as many files are opened as the hard limit of this process allows (`ulimit -Hn`, LimitNOFILE= of systemd)",
        ),
    ),
    row(
        &["limit_conn", "limit_conn_zone"],
        NGINX,
        Key("limits", "connections_per_client_max", "connections_per_client_max = 100"),
    ),
    row(
        &["limit_req", "limit_req_zone"],
        NGINX,
        Instead(
            "requests have no rate here yet; new connections of a client have (`client_connections_per_second_max` in `[limits]`), and new sessions (`handshake_rate` in `[upstream.NAME]`)",
        ),
    ),
    row(&["keepalive_requests"], NGINX, Key("limits", "keepalive_requests", "keepalive_requests = 10000")),
    row(&["client_header_timeout"], NGINX, Key("timeouts", "head", "head = \"10s\"")),
    row(
        &["client_body_timeout", "send_timeout", "proxy_send_timeout"],
        NGINX,
        Key("timeouts", "body", "body = \"60s\""),
    ),
    row(&["keepalive_timeout"], NGINX, Key("timeouts", "idle", "idle = \"75s\"")),
    row(&["keepalive_time"], NGINX, Key("timeouts", "keepalive_age", "keepalive_age = \"1h\"")),
    row(&["proxy_connect_timeout"], NGINX, Key("timeouts", "connect", "connect = \"1s\"")),
    // For an answer it is the one, for a WebSocket the other, and nginx has but this for both.
    row(&["proxy_read_timeout"], NGINX, Key("timeouts", "answer", "answer = \"75s\"\ntunnel = \"1h\"")),
    row(&["resolver_timeout"], NGINX, Key("resolver", "ttl_max", "ttl_max = \"5s\"")),
    // The whole of it.
    row(&["worker_processes"], NGINX, Key("", "workers", "workers = 4")),
    row(
        &["set_real_ip_from", "real_ip_header", "real_ip_recursive"],
        NGINX,
        Key("", "trusted_proxies", "trusted_proxies = [\"10.0.0.0/8\"]"),
    ),
    row(&["access_log"], NGINX, Key("log", "access", "access = \"/var/log/tidelock/access.log\"")),
    row(&["log_format"], NGINX, Key("log", "format", "format = \"combined\"")),
    row(
        &["error_log", "log_level", "loglevel"],
        NGINX,
        Instead(
            "leave it out: errors go to standard error; the environment variable TIDELOCK_LOG=debug says more, TIDELOCK_LOG=warn less",
        ),
    ),
    row(
        &["pid", "daemon", "master_process", "worker_cpu_affinity", "load_module"],
        NGINX,
        Instead("leave it out: tidelock runs in the foreground, for systemd or a container to watch"),
    ),
    row(&["user"], NGINX, Key("app.chat", "user", "user = \"www-data\"")),
];

const NGINX: &str = "nginx";
