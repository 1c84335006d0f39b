//! The words of Caddy, Traefik, HAProxy and Docker Compose.

use super::row::Ours::{Instead, Key};
use super::row::{COMMAND, NODES, TLS, Word, row};

pub(super) static WORDS: &[Word] = &[
    // Caddy.
    row(&["reverse_proxy", "to"], CADDY, Key("upstream.nodes", "nodes", NODES)),
    row(&["lb_policy"], CADDY, Key("upstream.nodes", "balance", "balance = \"least-requests\"")),
    row(
        &["lb_try_duration", "lb_try_interval"],
        CADDY,
        Key("upstream.nodes", "down_wait", "down_wait = \"2s\""),
    ),
    row(&["lb_retries"], CADDY, Key("limits", "attempts_max", "attempts_max = 3")),
    row(
        &["health_uri", "health_path"],
        CADDY,
        Key("upstream.nodes.health", "path", "probe = \"http\"\npath = \"/health\""),
    ),
    row(&["health_interval"], CADDY, Key("upstream.nodes.health", "interval", "interval = \"2s\"")),
    row(&["health_timeout"], CADDY, Key("upstream.nodes.health", "timeout", "timeout = \"1s\"")),
    row(
        &["health_status"],
        CADDY,
        Key("upstream.nodes.health", "status", "probe = \"http\"\nstatus = \"200-399\""),
    ),
    row(&["fail_duration"], CADDY, Key("upstream.nodes.outliers", "ejection", "ejection = \"10s\"")),
    row(
        &["unhealthy_latency"],
        CADDY,
        Key("upstream.nodes.outliers", "latency_factor", "latency_factor = 5"),
    ),
    row(&["handle", "handle_path"], CADDY, Key("route", "path", "path = \"/chat\"")),
    row(
        &["header_up"],
        CADDY,
        Key("route", "request_headers", "request_headers = { set = { X-Name = \"value\" } }"),
    ),
    row(
        &["header_down", "header", "headers"],
        CADDY,
        Key("route", "response_headers", "response_headers = { set = { \"Cache-Control\" = \"no-store\" } }"),
    ),
    row(&["redir"], CADDY, Key("route", "redirect", "redirect = { host = \"example.com\", status = 301 }")),
    row(&["respond"], CADDY, Key("route", "respond", "respond = { status = 200, text = \"ok\" }")),
    row(&["uri", "strip_prefix"], CADDY, Key("route", "strip", "path = \"/api\"\nstrip = true")),
    row(&["rewrite"], CADDY, Key("route", "rewrite", "path = \"/api\"\nrewrite = { prefix = \"/v2\" }")),
    row(&["file_server"], CADDY, Key("route", "files", "files = \"dist\"")),
    row(&["encode"], CADDY, Key("route", "compress", "compress = true")),
    row(
        &["handle_errors"],
        CADDY,
        Key("route", "error_pages", "error_pages = { 404 = { text = \"Nothing here.\" } }"),
    ),
    row(
        &["templates", "php_fastcgi"],
        CADDY,
        Instead("answers pass as the node gives them: let the app do it"),
    ),
    row(
        &["email", "acme", "auto_https", "on_demand_tls"],
        CADDY,
        Instead(
            "`tls = \"auto\"` in a `[[listen]]` gets certificates for the hosts of its routes; `[acme]` says from whom: `email`, `directory`",
        ),
    ),
    row(&["bind"], CADDY, Key("listen", "address", LISTENS)),
    // Traefik.
    row(&["entrypoints", "entrypoint"], TRAEFIK, Key("listen", "address", LISTENS)),
    row(&["routers", "rule"], TRAEFIK, Key("route", "host", "host = \"example.com\"\npath = \"/chat\"")),
    row(&["loadbalancer", "service"], TRAEFIK, Key("upstream.nodes", "nodes", NODES)),
    row(
        &["services"],
        TRAEFIK,
        Instead(
            "what runs elsewhere is `[upstream.NAME]` with `nodes`; what tidelock is to run is `[app.NAME]` with `command`",
        ),
    ),
    row(
        &["middlewares", "providers", "plugins", "tracing", "metrics"],
        TRAEFIK,
        Instead("leave it out: nothing here is like it yet"),
    ),
    row(
        &["certificatesresolvers", "certresolver"],
        TRAEFIK,
        Instead(
            "`tls = \"auto\"` in a `[[listen]]` gets certificates for the hosts of its routes; `[acme]` says from whom: `email`, `directory`",
        ),
    ),
    row(&["certfile", "keyfile", "certificates"], TRAEFIK, Key("listen", "tls", TLS)),
    row(
        &["passhostheader"],
        TRAEFIK,
        Instead("leave it out: Host passes as it came; another one is `host` in `[upstream.NAME]`"),
    ),
    row(
        &["forwardedheaders", "trustedips"],
        TRAEFIK,
        Key("", "trusted_proxies", "trusted_proxies = [\"10.0.0.0/8\"]"),
    ),
    // HAProxy.
    row(&["frontend", "frontends"], HAPROXY, Key("listen", "address", LISTENS)),
    row(&["backend", "backends"], HAPROXY, Key("upstream.nodes", "nodes", NODES)),
    row(&["default_backend", "use_backend"], HAPROXY, Key("route", "upstream", "upstream = \"nodes\"")),
    row(&["acl"], HAPROXY, Key("route", "host", "host = \"example.com\"\npath = \"/chat\"")),
    row(
        &["global", "defaults"],
        HAPROXY,
        Instead("leave the section out; `[limits]` and `[timeouts]` hold for all"),
    ),
    row(&["maxconn"], HAPROXY, Key("limits", "connections_max", "connections_max = 10000")),
    row(&["timeout client", "timeout http-keep-alive"], HAPROXY, Key("timeouts", "idle", "idle = \"75s\"")),
    row(&["timeout server"], HAPROXY, Key("timeouts", "answer", "answer = \"75s\"")),
    row(&["timeout connect"], HAPROXY, Key("timeouts", "connect", "connect = \"1s\"")),
    row(&["timeout tunnel"], HAPROXY, Key("timeouts", "tunnel", "tunnel = \"1h\"")),
    row(&["timeout http-request"], HAPROXY, Key("timeouts", "head", "head = \"10s\"")),
    row(&["timeout queue"], HAPROXY, Key("upstream.nodes", "full_wait", "full_wait = \"1s\"")),
    row(&["timeout check"], HAPROXY, Key("upstream.nodes.health", "timeout", "timeout = \"1s\"")),
    row(&["hard-stop-after"], HAPROXY, Key("drain", "deadline", "deadline = \"30s\"")),
    row(
        &["option httpchk", "httpchk", "http-check"],
        HAPROXY,
        Key("upstream.nodes.health", "probe", "probe = \"http\""),
    ),
    row(&["inter"], HAPROXY, Key("upstream.nodes.health", "interval", "interval = \"2s\"")),
    row(&["rise"], HAPROXY, Key("upstream.nodes.health", "rise", "rise = 2")),
    row(&["fall"], HAPROXY, Key("upstream.nodes.health", "fall", "fall = 3")),
    row(&["nbthread", "nbproc"], HAPROXY, Key("", "workers", "workers = 4")),
    row(&["leastconn"], HAPROXY, Key("upstream.nodes", "balance", "balance = \"least-requests\"")),
    row(&["roundrobin"], HAPROXY, Key("upstream.nodes", "balance", "balance = \"round-robin\"")),
    row(
        &["stick-table", "stick", "appsession"],
        HAPROXY,
        Key("upstream.nodes", "sticky", "sticky = \"auto\""),
    ),
    row(&["cookie"], HAPROXY, Key("upstream.nodes", "sticky", "sticky = \"cookie\"")),
    row(&["retries", "option redispatch"], HAPROXY, Key("limits", "attempts_max", "attempts_max = 3")),
    row(&["stats", "stats socket"], HAPROXY, Key("admin", "socket", "socket = \"/run/tidelock/admin.sock\"")),
    row(
        &["mode", "option", "option forwardfor", "option http-server-close", "hash-type", "default-server"],
        HAPROXY,
        Instead("leave it out: all is HTTP here, and X-Forwarded-For is set"),
    ),
    // Docker Compose.
    row(
        &["image", "build", "container_name", "volumes", "networks", "depends_on", "expose"],
        COMPOSE,
        Instead(
            "tidelock runs programs, no containers: `command` in `[app.NAME]` is one, and what runs in a container is a node, `nodes = [\"chat:3000\"]` in `[upstream.NAME]`",
        ),
    ),
    row(&["environment"], COMPOSE, Key("app.chat", "env", "env = { NODE_ENV = \"production\" }")),
    row(&["working_dir"], COMPOSE, Key("app.chat", "cwd", "cwd = \"/srv/chat\"")),
    row(&["entrypoint_command"], COMPOSE, Key("app.chat", "command", COMMAND)),
    row(&["replicas", "scale"], COMPOSE, Key("app.chat", "instances", "instances = 4")),
    row(&["healthcheck"], COMPOSE, Key("app.chat", "ready", "ready = { path = \"/health\" }")),
    row(&["stop_signal"], COMPOSE, Key("app.chat.stop", "signal", "signal = \"SIGTERM\"")),
    row(&["mem_limit"], COMPOSE, Key("app.chat", "memory_max", "memory_max = \"300MiB\"")),
    row(&["logging"], COMPOSE, Key("app.chat.logs", "folder", "folder = \"./logs\"")),
];

const CADDY: &str = "Caddy";
const TRAEFIK: &str = "Traefik";
const HAPROXY: &str = "HAProxy";
const COMPOSE: &str = "Docker Compose";

const LISTENS: &str = "address = \":80\"";
