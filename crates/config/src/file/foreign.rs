//! The words of nginx, PM2, Caddy, Traefik, HAProxy and Docker Compose, with ours beside them: who writes one of them is
//! told what to write here. One table; nothing here reads.

/// A word of another program.
#[derive(Debug)]
pub(crate) struct Word {
    /// How they spell it, in lower case.
    names: &'static [&'static str],
    /// Whose it is.
    of: &'static str,
    ours: Ours,
}

/// What there is in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ours {
    /// A key: its section, its name, and lines to write.
    Key(&'static str, &'static str, &'static str),
    /// No key, but something to do.
    Instead(&'static str),
}

/// The word of that name, whatever its case.
pub(crate) fn word(name: &str) -> Option<&'static Word> {
    let name = name.to_lowercase();
    WORDS.iter().find(|word| word.names.contains(&&*name))
}

impl Word {
    /// What is wrong with it; `name` is how the file has it.
    pub(crate) fn message(&self, name: &str) -> String {
        match self.ours {
            Ours::Key("", key, _) => format!("`{name}` is a word of {}; here it is `{key}`", self.of),
            Ours::Key(section, key, _) => {
                format!("`{name}` is a word of {}; here it is `{key}` in `{}`", self.of, header(section))
            }
            Ours::Instead(_) => format!("`{name}` is a word of {}, and no key here", self.of),
        }
    }

    /// What to do about it.
    pub(crate) fn hint(&self) -> String {
        match self.ours {
            Ours::Key("", _, lines) => format!("write above the first `[`:\n{lines}"),
            Ours::Key(section, _, lines) => format!("write under `{}`:\n{lines}", header(section)),
            Ours::Instead(what) => what.to_owned(),
        }
    }
}

/// The way to get what a value of another program means, under one of our keys: `balance = "least_conn"`.
pub(crate) fn value(key: &str, text: &str) -> Option<&'static str> {
    let text = text.to_lowercase().replace(['_', '-', ' '], "");
    let values = match key {
        "balance" => BALANCES,
        "sticky" => STICKIES,
        _ => return None,
    };
    values.iter().find(|(names, _)| names.contains(&&*text)).map(|(_, ours)| *ours)
}

/// As the file has it.
fn header(section: &str) -> String {
    match section {
        "listen" | "route" => format!("[[{section}]]"),
        section => format!("[{}]", section.replacen(".nodes", ".NAME", 1).replacen(".chat", ".NAME", 1)),
    }
}

use Ours::{Instead, Key};

const fn row(names: &'static [&'static str], of: &'static str, ours: Ours) -> Word {
    Word { names, of, ours }
}

const NGINX: &str = "nginx";
const PM2: &str = "PM2";
const CADDY: &str = "Caddy";
const TRAEFIK: &str = "Traefik";
const HAPROXY: &str = "HAProxy";
const COMPOSE: &str = "Docker Compose";

const NODES: &str = "nodes = [\"127.0.0.1:3000\"]";
const TLS: &str = "tls = { certificate = \"certs/example.com.pem\", key = \"certs/example.com.key\" }";
const COMMAND: &str = "command = [\"node\", \"index.js\"]";
const LISTENS: &str = "address = \"0.0.0.0:80\"";
const IMPORT: &str = "write `[app.NAME]` and its keys on the lines under it, once for each; `tidelock import FILE` translates \
                      PM2's own file";

static WORDS: &[Word] = &[
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
    row(&["http2", "http3", "quic"], NGINX, Instead("leave it out: clients are served HTTP/1.1")),
    row(&["reuseport"], NGINX, Key("listen", "reuse_port", "reuse_port = true")),
    row(&["return"], NGINX, Key("route", "redirect", "redirect = { host = \"example.com\", status = 301 }")),
    row(&["error_page"], NGINX, Instead("leave it out: an answer passes with its page as the node gives it")),
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
    row(
        &["gzip", "gzip_types", "gzip_min_length", "gzip_proxied", "gzip_vary", "brotli"],
        NGINX,
        Instead("leave it out: answers are not compressed here yet; the app may do it"),
    ),
    row(&["include"], NGINX, Instead("all of it is in one file: write the lines here")),
    row(
        &["auth_basic", "auth_basic_user_file", "auth_request", "allow", "deny", "satisfy"],
        NGINX,
        Instead("access is not decided here yet: let the app do it"),
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
    // PM2, and the keys of its file.
    row(&["apps"], PM2, Instead(IMPORT)),
    row(
        &["script", "cmd", "exec_interpreter", "interpreter", "interpreter_args", "node_args", "exec"],
        PM2,
        Key("app.chat", "command", COMMAND),
    ),
    row(&["name"], PM2, Instead("the name stands in the header: `[app.NAME]`, `[upstream.NAME]`")),
    row(&["exec_mode", "instances"], PM2, Key("app.chat", "instances", "instances = \"max\"")),
    row(&["max_memory_restart", "max_memory"], PM2, Key("app.chat", "memory_max", "memory_max = \"300MiB\"")),
    row(
        &[
            "error_file",
            "out_file",
            "log_file",
            "error",
            "output",
            "out",
            "pm_err_log_path",
            "pm_out_log_path",
        ],
        PM2,
        Key("app.chat.logs", "folder", "folder = \"./logs\""),
    ),
    row(
        &["merge_logs", "combine_logs"],
        PM2,
        Instead(
            "leave it out: each process has a file of its own, and `tidelock logs APP` shows them together",
        ),
    ),
    row(&["log_date_format", "time"], PM2, Key("app.chat.logs", "time", "time = true")),
    row(&["log_type"], PM2, Key("app.chat.logs", "format", "format = \"json\"")),
    row(&["ignore_watch"], PM2, Key("app.chat.watch", "ignore", "ignore = [\"logs\"]")),
    row(&["watch_delay", "watch_options"], PM2, Instead("leave it out: a burst of changes is one")),
    row(&["autorestart"], PM2, Key("app.chat.restart", "max", "max = 0")),
    row(&["max_restarts"], PM2, Key("app.chat.restart", "max", "max = 10")),
    row(&["min_uptime"], PM2, Key("app.chat.restart", "stable", "stable = \"30s\"")),
    row(
        &["restart_delay", "exp_backoff_restart_delay"],
        PM2,
        Key("app.chat.restart", "pause_min", "pause_min = \"100ms\""),
    ),
    row(&["kill_timeout", "stop_grace_period"], PM2, Key("app.chat.stop", "timeout", "timeout = \"1600ms\"")),
    row(&["wait_ready"], PM2, Key("app.chat", "ready", "ready = \"told\"")),
    row(&["listen_timeout"], PM2, Key("app.chat", "ready", "ready = { deadline = \"30s\" }")),
    row(&["shutdown_with_message"], PM2, Key("app.chat.stop", "tell", "tell = true")),
    row(&["cron_restart"], PM2, Key("app.chat", "cron", "cron = \"0 4 * * *\"")),
    row(
        &["env_production", "env_development", "env_staging"],
        PM2,
        Key("app.chat", "env", "env = { NODE_ENV = \"production\" }"),
    ),
    row(&["uid"], PM2, Key("app.chat", "user", "user = \"www-data\"")),
    row(&["gid"], PM2, Key("app.chat", "group", "group = \"www-data\"")),
    row(
        &["increment_var", "instance_var"],
        PM2,
        Instead(
            "leave it out: NODE_APP_INSTANCE counts the processes from 0, and each has a port of its own in PORT",
        ),
    ),
    row(
        &[
            "stop_exit_codes",
            "filter_env",
            "namespace",
            "source_map_support",
            "pmx",
            "vizion",
            "treekill",
            "automation",
            "deploy",
            "force",
        ],
        PM2,
        Instead("leave it out: nothing here is like it"),
    ),
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
    row(
        &["encode", "templates", "php_fastcgi"],
        CADDY,
        Instead("answers pass as the node gives them: let the app do it"),
    ),
    row(
        &["email", "acme", "auto_https", "on_demand_tls"],
        CADDY,
        Instead(
            "certificates are not fetched here yet: certbot can, and `tls = { certificate = \"…\", key = \"…\" }` in a `[[listen]]` names its files",
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
            "certificates are not fetched here yet: certbot can, and `tls = { certificate = \"…\", key = \"…\" }` in a `[[listen]]` names its files",
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

/// Other words for `balance`, without what is between their parts.
const BALANCES: &[(&[&str], &str)] = &[
    (&["leastconn", "leastrequest", "leasttime"], "balance = \"least-requests\""),
    (&["roundrobin", "wrr", "staticrr", "weightedroundrobin", "rr"], "balance = \"round-robin\""),
    (&["iphash", "source", "clientiphash"], "balance = \"hash:ip\""),
    (&["random", "randomchoose", "p2c", "poweroftwo"], "balance = \"random-two\""),
    (&["ewma", "peakewma"], "balance = \"peak-ewma\""),
    (&["hash", "header", "urlparam", "uri", "urihash", "queryhash"], "balance = \"hash:header:X-User\""),
];
/// And for `sticky`.
const STICKIES: &[(&[&str], &str)] = &[
    (&["iphash", "source", "clientip"], "sticky = \"ip\""),
    (&["true", "yes", "on", "socketio"], "sticky = \"auto\""),
    (&["false", "no", "off"], "sticky = \"none\""),
    (&["learn"], "sticky = \"engineio-learned\""),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::path::Path;

    use super::*;
    use crate::file::declared::Section;
    use crate::file::sections::limits::LIMITS;
    use crate::file::sections::outliers::OUTLIERS;
    use crate::file::sections::timeouts::TIMEOUTS;
    use crate::file::{app_keys, keys, parse};

    /// A file with every section that a row names, each with what it cannot do without.
    const FILE: [(&str, &str, &[&str]); 15] = [
        ("", "", &[]),
        ("listen", "[[listen]]", &["address = \":8080\""]),
        ("route", "[[route]]", &["upstream = \"nodes\""]),
        ("more", "[[route]]", &["path = \"/app\"", "upstream = \"app\""]),
        ("upstream.nodes", "[upstream.nodes]", &["nodes = [\"127.0.0.1:1\"]"]),
        ("upstream.nodes.health", "[upstream.nodes.health]", &[]),
        ("upstream.nodes.outliers", "[upstream.nodes.outliers]", &[]),
        ("app", "[upstream.app]", &["app = \"chat\""]),
        ("limits", "[limits]", &[]),
        ("timeouts", "[timeouts]", &[]),
        ("log", "[log]", &[]),
        ("drain", "[drain]", &[]),
        ("admin", "[admin]", &[]),
        ("resolver", "[resolver]", &[]),
        ("app.chat", "[app.chat]", &["command = \"node\""]),
    ];
    const OF_APPS: [&str; 4] = ["app.chat.stop", "app.chat.restart", "app.chat.watch", "app.chat.logs"];

    fn section(name: &str) -> &'static Section {
        match name {
            "" => &keys::FILE,
            "listen" => keys::LISTEN.section,
            "route" => keys::route::ROUTE.section,
            "upstream.nodes" => keys::UPSTREAM.section,
            "upstream.nodes.health" => keys::care::HEALTH.section,
            "upstream.nodes.outliers" => OUTLIERS.section,
            "limits" => LIMITS.section,
            "timeouts" => TIMEOUTS.section,
            "log" => keys::LOG.section,
            "drain" => keys::DRAIN.section,
            "admin" => keys::ADMIN.section,
            "resolver" => keys::RESOLVER.section,
            "app.chat" => app_keys::APP.section,
            "app.chat.stop" => app_keys::STOP.section,
            "app.chat.restart" => app_keys::RESTART.section,
            "app.chat.watch" => app_keys::WATCH.section,
            "app.chat.logs" => app_keys::LOGS.section,
            other => panic!("no section {other}"),
        }
    }

    /// The file with `lines` in `section`, in the place of what says the same there.
    fn file_with(section: &str, lines: &str) -> String {
        let keys: Vec<&str> =
            lines.lines().filter_map(|line| line.split_once(" = ")).map(|(key, _)| key).collect();
        let mut text = String::new();
        for (name, header, needs) in FILE {
            text += &format!("{header}\n");
            // A route does one thing.
            let in_place = |key: &str| {
                if ["redirect", "respond", "files"].contains(&key) { "upstream" } else { key }.to_owned()
            };
            let is_said =
                |line: &&&str| keys.iter().any(|key| line.starts_with(&format!("{} = ", in_place(key))));
            let is_here = name == section;
            for line in needs.iter().filter(|line| !is_here || !is_said(line)) {
                text += &format!("{line}\n");
            }
            text += if is_here { lines } else { "" };
            text += "\n";
        }
        match OF_APPS.contains(&section) {
            true => text + &format!("[{section}]\n{lines}\n"),
            false => text,
        }
    }

    #[test]
    fn every_row_is_answered_with_what_can_be_written() {
        for Word { names, ours, .. } in WORDS {
            let Key(place, key, lines) = ours else { continue };
            assert!(section(place).has(key), "{names:?}: there is no `{key}` in {place}");
            assert!(lines.contains(&format!("{key} = ")), "{names:?}: {lines}");
            if let Err(report) = parse(&file_with(place, lines), Path::new("test.toml")) {
                panic!("{names:?}: {report}");
            }
        }
    }

    #[test]
    fn every_word_is_told_in_any_section() {
        for row in WORDS {
            for name in row.names {
                assert_eq!(*name, name.to_lowercase());
                for place in ["", "listen", "upstream.nodes", "app.chat", "timeouts"] {
                    if section(place).has(name) {
                        continue;
                    }
                    let text = file_with(place, &format!("\"{name}\" = 1"));
                    let report = parse(&text, Path::new("test.toml")).expect_err(name);
                    let [problem] = report.problems() else { panic!("{name}: {report}") };
                    assert_eq!(problem.message, row.message(name));
                    assert!(problem.message.contains(row.of), "{name}");
                    assert_eq!(problem.hint.as_deref(), Some(&*row.hint()));
                }
            }
        }
    }

    #[test]
    fn no_word_is_in_two_rows() {
        let mut seen = HashSet::new();
        assert!(WORDS.iter().flat_map(|row| row.names).all(|name| seen.insert(*name)), "{seen:?}");
        assert!(seen.len() > 150, "{}", seen.len());
    }

    #[test]
    fn values_of_others_are_told_too() {
        for (names, line) in BALANCES.iter().chain(STICKIES) {
            parse(&file_with("upstream.nodes", line), Path::new("test.toml")).expect(line);
            assert!(
                names
                    .iter()
                    .all(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()))
            );
        }
        assert_eq!(value("balance", "least_conn"), Some("balance = \"least-requests\""));
        assert_eq!(value("balance", "static-rr"), Some("balance = \"round-robin\""));
        assert_eq!(value("sticky", "ip_hash"), Some("sticky = \"ip\""));
        assert_eq!(value("balance", "least-sessions"), None);
    }
}
