//! nginx's directives, and what becomes of each. The one table that the translator and `docs/from-nginx.md` share.

/// What becomes of a directive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// The translator reads it where it means something; what it becomes.
    Read(&'static str),
    /// Nothing is lost without it; why.
    Passed(&'static str),
    /// It is told as not translated: why, and what to do.
    Left(&'static str, &'static str),
    /// The same, and a location that has it answers 403 until somebody has looked at it: without it, more people would get
    /// in than nginx let in.
    Closed(&'static str, &'static str),
    /// The same for one whose answer comes from something that we do not speak: it answers 501.
    Elsewhere(&'static str, &'static str),
}

use Fate::{Closed, Elsewhere, Left, Passed, Read};

/// What becomes of the directive of this name, if it is one that people use.
pub(super) fn fate(name: &str) -> Option<Fate> {
    TABLE.iter().find(|(names, _)| names.split(' ').any(|one| one == name)).map(|(_, fate)| *fate)
}

/// Names, divided by blanks, and what becomes of them; in the order of the documentation.
pub(super) const TABLE: &[(&str, Fate)] = &[
    // The frame.
    ("http server", Read("the file itself; its `[[route]]`s")),
    (
        "include",
        Read("what is in the files, where it stands; those that Debian and certbot ship are known by name"),
    ),
    (
        "listen",
        Read(
            "`[[listen]]` `address`; the first server of an address, or its `default_server`, has the routes without `host`; `proxy_protocol` of those in `set_real_ip_from`",
        ),
    ),
    (
        "server_name",
        Read(
            "`host` of its routes; `.example.com` is two of them; of expressions only `~^(.+)\\.example\\.com$` is translated",
        ),
    ),
    (
        "location",
        Read(
            "a `[[route]]` with `path`, `exact` (`=`) or `regex` (`~`, `~*`, and `^~`, which comes before those)",
        ),
    ),
    ("upstream", Read("`[upstream.NAME]`")),
    ("events", Read("nothing of it is needed")),
    (
        "user",
        Passed(
            "`User=` of the service (configs/tidelock.service); or `user = \"www-data\"` at the top, where tidelock is started as root as nginx is",
        ),
    ),
    ("worker_processes", Read("`workers`; `auto` is the default")),
    (
        "pid daemon master_process worker_priority worker_cpu_affinity working_directory lock_file",
        Passed("the service manager's"),
    ),
    (
        "worker_connections multi_accept use accept_mutex worker_rlimit_nofile worker_shutdown_timeout worker_aio_requests",
        Passed("`[limits]` `connections_max` is as many as the open-file limit allows"),
    ),
    ("error_log", Passed("tidelock's log goes to standard error; TIDELOCK_LOG=debug says more")),
    ("load_module env pcre_jit thread_pool", Passed("there are no modules")),
    (
        "split_clients",
        Read(
            "`upstream` with several names and weights, where its variable stands in `proxy_pass`; it is told where its variable is used otherwise, or is made of other things than one address, cookie, header or argument",
        ),
    ),
    (
        "map map_hash_max_size map_hash_bucket_size",
        Read(
            "one over `$host` is routes of each host, one over `$uri` that is returned a `redirect` of each path; that of `$connection_upgrade` is not needed, others are told where their variable is used",
        ),
    ),
    ("set", Read("its value, where the variable is used, if it is a constant")),
    ("default_type", Read("`content_type` of a `respond`")),
    (
        "types types_hash_max_size types_hash_bucket_size charset charset_types override_charset",
        Passed("MIME types are known"),
    ),
    // Nodes.
    (
        "proxy_pass",
        Read(
            "`upstream = \"NAME\"`; with a path behind the name also `strip = true` or `rewrite = { prefix = … }`",
        ),
    ),
    ("least_conn", Read("`balance = \"least-requests\"`")),
    (
        "ip_hash",
        Read(
            "`sticky = \"ip\"`; Socket.IO needs nothing: without it sessions stay on their nodes by themselves",
        ),
    ),
    (
        "hash",
        Read("`sticky = \"ip\"`, `\"header:NAME\"` or `\"query:NAME\"`, `balance = \"hash:cookie:NAME\"`"),
    ),
    ("random", Read("`balance = \"random-two\"`")),
    ("sticky", Read("`sticky = \"cookie:NAME\"`")),
    ("keepalive keepalive_time", Passed("connections to nodes are kept: `[limits]` `origin_idle_max`")),
    ("zone", Passed("all workers share what is known of nodes")),
    ("proxy_connect_timeout", Read("`[upstream.NAME.timeouts]` `connect`")),
    ("proxy_read_timeout", Read("`[upstream.NAME.timeouts]` `answer` and `tunnel`")),
    ("proxy_send_timeout", Read("`[upstream.NAME.timeouts]` `body`")),
    (
        "proxy_set_header",
        Read(
            "`request_headers`; Upgrade, Connection, X-Real-IP and X-Forwarded-For, -Proto, -Host and -Port need nothing",
        ),
    ),
    ("proxy_hide_header", Read("`response_headers = { remove = [\"NAME\"] }`")),
    (
        "proxy_pass_header proxy_headers_hash_max_size proxy_headers_hash_bucket_size",
        Passed("headers of nodes pass"),
    ),
    ("proxy_http_version", Passed("HTTP/1.1, always")),
    (
        "proxy_buffering proxy_buffers proxy_buffer_size proxy_busy_buffers_size proxy_max_temp_file_size proxy_temp_path proxy_temp_file_write_size proxy_limit_rate proxy_request_buffering proxy_socket_keepalive proxy_send_lowat postpone_output",
        Passed("bodies stream both ways, and none is held on disk"),
    ),
    (
        "proxy_redirect",
        Read(
            "nothing for `off` and `default`: where a path is stripped, Location gets it back; one with two arguments is told",
        ),
    ),
    (
        "proxy_next_upstream",
        Read(
            "nothing for `error`, `timeout` and `invalid_header`: that is what is tried again, and no POST that may have arrived; others are told",
        ),
    ),
    (
        "proxy_next_upstream_tries proxy_next_upstream_timeout",
        Passed("`[limits]` `attempts_max` and `retry_percent` of an upstream"),
    ),
    ("proxy_ignore_client_abort proxy_ignore_headers", Passed("requests whose client has left are ended")),
    ("proxy_intercept_errors", Read("`intercept_errors`, where `error_pages` has a page")),
    (
        "proxy_cookie_path proxy_cookie_domain proxy_cookie_flags",
        Left("cookies are not changed, but for their Path where a path is stripped", "set it in the app"),
    ),
    (
        "proxy_ssl_verify proxy_ssl_trusted_certificate",
        Read(
            "`[upstream.NAME.tls]` `ca`, or `verify = false` where nginx does not verify, which is its default",
        ),
    ),
    (
        "proxy_ssl_name proxy_ssl_server_name",
        Read("`[upstream.NAME.tls]` `server_name`; a name is asked for always"),
    ),
    (
        "proxy_ssl_certificate proxy_ssl_certificate_key",
        Read("`[upstream.NAME.tls]` `certificate` and `key`"),
    ),
    (
        "proxy_ssl_protocols proxy_ssl_ciphers proxy_ssl_conf_command proxy_ssl_session_reuse proxy_ssl_verify_depth",
        Passed("TLS 1.2 and 1.3 with today's ciphers, and sessions are resumed"),
    ),
    (
        "proxy_ssl_crl proxy_ssl_password_file",
        Left(
            "certificates of nodes are not looked up in lists, nor are keys with a passphrase read",
            "trust the node's own certificate with `ca`, and write the key without a passphrase",
        ),
    ),
    (
        "proxy_method proxy_set_body proxy_pass_request_body proxy_pass_request_headers proxy_bind proxy_store",
        Left("requests pass with their method and body", "do it in the app"),
    ),
    (
        "proxy_cache proxy_cache_path proxy_cache_valid proxy_cache_key proxy_cache_use_stale proxy_cache_lock proxy_cache_methods proxy_cache_min_uses proxy_cache_revalidate proxy_cache_background_update proxy_cache_purge",
        Read("nothing is cached: told once for each `proxy_cache` that is not `off`"),
    ),
    ("proxy_cache_bypass proxy_no_cache", Passed("nothing is cached")),
    ("resolver", Read("`[resolver]` `nameservers`, and `ttl_max` for `valid=`")),
    ("resolver_timeout", Passed("names are asked for beside requests, never in their way")),
    // Answers of our own.
    ("return", Read("`redirect` or `respond`")),
    ("rewrite", Read("`redirect` (`permanent`, `redirect`), `strip` or `rewrite` (`break`)")),
    ("if", Read("a route of its own where it asks for the host, the scheme or the method")),
    ("break rewrite_log uninitialized_variable_warn", Passed("nothing follows it here")),
    (
        "add_header",
        Read(
            "`response_headers = { add = { … } }`; without `always` nginx leaves errors and 101 alone, and we do not",
        ),
    ),
    ("expires", Read("`response_headers = { set = { Cache-Control = \"max-age=…\" } }`")),
    ("more_set_headers", Read("`response_headers = { set = { … } }`")),
    ("more_clear_headers", Read("`response_headers = { remove = [ … ] }`")),
    (
        "error_page",
        Read(
            "`error_pages`: a file, the `path` of another location, or the `upstream` of a named one; `404 =200 /index.html` is the `fallback` of a folder, and `404 = @app` its `upstream`; URLs of other hosts and variables are told",
        ),
    ),
    ("root alias", Read("`files = \"FOLDER\"` where something is served from it")),
    ("index", Read("`index` beside `files`")),
    (
        "try_files",
        Read("`files`, with `fallback = \"index.html\"` for a page and `upstream` for a named location"),
    ),
    (
        "autoindex autoindex_exact_size autoindex_localtime autoindex_format",
        Read("folders are not listed: told for `on`"),
    ),
    ("gzip brotli", Read("`compress`, in whichever coding the client likes best")),
    ("gzip_types brotli_types", Read("`types` of `compress`")),
    ("gzip_min_length brotli_min_length", Read("`bytes_min` of `compress`")),
    (
        "gzip_comp_level gzip_vary gzip_proxied gzip_disable gzip_buffers gzip_http_version brotli_comp_level brotli_buffers",
        Passed("Vary is said always, and levels are those that cost what they bring"),
    ),
    ("gzip_static brotli_static", Passed("a file beside another in `.gz`, `.br` or `.zst` is sent for it")),
    ("gunzip", Passed("what a node has compressed it has compressed for its client")),
    ("internal", Read("such a location answers 404")),
    (
        "absolute_redirect server_name_in_redirect port_in_redirect",
        Passed("Location has the client's own host and port"),
    ),
    // Bounds and waits.
    ("client_max_body_size", Read("`body_bytes_max`; nginx's 1m where nothing says another")),
    ("client_body_timeout send_timeout", Read("`[timeouts]` `body`")),
    ("client_header_timeout", Read("`[timeouts]` `head`")),
    ("keepalive_timeout", Read("`[timeouts]` `idle`")),
    ("keepalive_requests", Read("`[limits]` `keepalive_requests`")),
    ("large_client_header_buffers", Read("`[limits]` `head_bytes_max`")),
    (
        "client_body_buffer_size client_header_buffer_size client_body_temp_path client_body_in_file_only client_body_in_single_buffer",
        Passed("no body is held"),
    ),
    (
        "sendfile sendfile_max_chunk tcp_nopush tcp_nodelay aio aio_write directio output_buffers reset_timedout_connection lingering_close lingering_time lingering_timeout connection_pool_size request_pool_size send_lowat read_ahead",
        Passed("the kernel is used as well as it can be"),
    ),
    (
        "open_file_cache open_file_cache_valid open_file_cache_min_uses open_file_cache_errors etag if_modified_since disable_symlinks max_ranges",
        Passed("files are cached and validated by themselves"),
    ),
    (
        "chunked_transfer_encoding ignore_invalid_headers underscores_in_headers msie_padding msie_refresh keepalive_disable",
        Passed("HTTP/1.1 as it is today"),
    ),
    (
        "merge_slashes",
        Left("slashes are merged to find the route, and the node gets what was sent", "leave it out"),
    ),
    ("server_tokens more_clear_input_headers", Passed("tidelock does not say what it is")),
    (
        "server_names_hash_bucket_size server_names_hash_max_size variables_hash_max_size variables_hash_bucket_size",
        Passed("tables grow by themselves"),
    ),
    ("limit_rate limit_rate_after", Left("the speed of an answer is not bounded", "bound it in the app")),
    // Who may.
    (
        "limit_req limit_conn",
        Read(
            "`limit` with the name, the rate and the key of its zone; sessions of Engine.IO that have begun pass, handshakes are counted apart, and an IPv6 client is its /64",
        ),
    ),
    (
        "limit_req_zone limit_conn_zone limit_req_status limit_conn_status limit_req_dry_run limit_conn_dry_run",
        Read("`rate`, `by`, `name`, `status` and `dry_run` of `limit`"),
    ),
    ("limit_req_log_level limit_conn_log_level", Passed("the access log has it as `limit`")),
    ("auth_basic auth_basic_user_file", Read("`auth`, with `users` and `realm`")),
    ("auth_delay", Passed("wrong passwords wait for each other, see docs/routes.md")),
    (
        "auth_request_set",
        Read(
            "`copy` of `auth`, where a node gets a line of the answer by its own name; cookies pass to the client",
        ),
    ),
    (
        "auth_request",
        Read(
            "`auth` with `ask`: the node of that location, and its path; told, and the location is closed, where it has none",
        ),
    ),
    ("auth_jwt", Closed("tokens are not verified", "let the app verify them")),
    (
        "allow deny",
        Read(
            "`allow` and `deny`; `respond = 403` for `deny all` alone; told, and the location is closed, where an address is allowed before its network is denied",
        ),
    ),
    ("satisfy", Read("`satisfy`")),
    (
        "limit_except",
        Read(
            "`methods`, with `respond = 403` for the others, where it denies all; else it is told, and the location closed",
        ),
    ),
    (
        "secure_link secure_link_md5 secure_link_secret valid_referers",
        Closed("links are not signed", "let the app verify them"),
    ),
    ("set_real_ip_from", Read("`trusted_proxies`")),
    (
        "real_ip_header",
        Read("nothing for X-Forwarded-For and X-Real-IP, which are believed of `trusted_proxies`"),
    ),
    ("real_ip_recursive", Passed("always")),
    ("proxy_protocol", Left("nodes are not told by it", "they get X-Forwarded-For")),
    // TLS.
    ("ssl", Read("`tls` on the `[[listen]]`s of the server")),
    (
        "ssl_certificate ssl_certificate_key",
        Read("`tls = [{ certificate = …, key = … }]` on the `[[listen]]`, that of the default server first"),
    ),
    (
        "ssl_password_file",
        Left("keys with a passphrase are not read", "write the key without one, readable for tidelock alone"),
    ),
    (
        "ssl_protocols",
        Read("`tls_profile = \"modern\"` on the `[[listen]]` for TLSv1.3 alone; else TLS 1.2 and 1.3"),
    ),
    ("ssl_client_certificate", Read("`ca` in `client_certificates` of the `[[listen]]`s of the server")),
    (
        "ssl_crl ssl_verify_depth",
        Passed("told with `ssl_verify_client`, where there is a list of what was revoked"),
    ),
    (
        "ssl_verify_client",
        Read(
            "`mode` in `client_certificates` of the `[[listen]]`s of the server, where all servers of these ask for the same; told, and the server is closed, where they do not, for `optional_no_ca`, and with `ssl_crl`",
        ),
    ),
    (
        "ssl_ciphers ssl_prefer_server_ciphers ssl_ecdh_curve ssl_dhparam ssl_conf_command ssl_session_cache ssl_session_timeout ssl_session_tickets ssl_session_ticket_key ssl_buffer_size ssl_early_data",
        Passed("TLS 1.2 and 1.3 with today's ciphers, and sessions are resumed"),
    ),
    (
        "ssl_stapling ssl_stapling_verify ssl_trusted_certificate ssl_stapling_file ssl_stapling_responder",
        Passed("authorities have given up OCSP, and browsers do not need it"),
    ),
    (
        "ssl_reject_handshake",
        Left("a client without a known name gets the first certificate", "leave it out"),
    ),
    (
        "http2",
        Read(
            "`http2 = true` of the listen, as `http2` at a `listen` is; all servers of one address speak it then",
        ),
    ),
    (
        "http2_max_concurrent_streams http2_push http2_push_preload http2_recv_timeout http2_max_field_size http2_body_preread_size",
        Passed(
            "128 streams at once, `[limits]` and `[timeouts]` hold for HTTP/2; browsers take no pushes any more",
        ),
    ),
    ("http3 quic_retry ssl_quic", Passed("clients are spoken to in HTTP/1.1, which they all know")),
    // Logs.
    ("access_log", Read("`[log]` `access`; `off` is `access_log = false` on the route")),
    (
        "log_format",
        Read("`[log]` `format`, and `escape`; variables that are not known here are told, and stand as `-`"),
    ),
    ("log_not_found log_subrequest open_log_file_cache", Passed("such lines are not written")),
    (
        "stub_status status",
        Elsewhere("numbers are not served to clients", "`[admin] listen`, docs/metrics.md"),
    ),
    // What we do not speak.
    (
        "fastcgi_pass fastcgi_split_path_info",
        Elsewhere(
            "FastCGI is not spoken",
            "keep nginx for it, on a port of its own behind tidelock, and write that port as a node",
        ),
    ),
    (
        "uwsgi_pass",
        Elsewhere("uwsgi is not spoken", "let uWSGI speak HTTP by `http-socket = 127.0.0.1:8000`"),
    ),
    (
        "scgi_pass memcached_pass",
        Elsewhere("it is not spoken", "keep nginx for it, on a port of its own behind tidelock"),
    ),
    (
        "grpc_pass",
        Elsewhere(
            "gRPC needs HTTP/2, which nodes are not spoken to yet",
            "keep nginx for it, beside tidelock",
        ),
    ),
    (
        "fastcgi_param fastcgi_index fastcgi_buffers fastcgi_buffer_size fastcgi_read_timeout fastcgi_send_timeout fastcgi_connect_timeout fastcgi_intercept_errors fastcgi_busy_buffers_size fastcgi_hide_header fastcgi_ignore_client_abort fastcgi_keep_conn fastcgi_temp_file_write_size fastcgi_request_buffering fastcgi_cache fastcgi_cache_path fastcgi_cache_valid fastcgi_cache_key fastcgi_cache_bypass fastcgi_no_cache fastcgi_buffering",
        Passed("told with `fastcgi_pass`"),
    ),
    ("uwsgi_param uwsgi_read_timeout uwsgi_send_timeout uwsgi_buffering", Passed("told with `uwsgi_pass`")),
    ("grpc_set_header grpc_read_timeout grpc_send_timeout grpc_ssl_verify", Passed("told with `grpc_pass`")),
    (
        "sub_filter sub_filter_once sub_filter_types sub_filter_last_modified add_before_body add_after_body",
        Left("bodies are not changed", "change them in the app"),
    ),
    (
        "mirror mirror_request_body",
        Read(
            "`mirror`: the node of that location, where it is asked for `$request_uri`; told where it is not, or where bodies are not sent",
        ),
    ),
    (
        "geo",
        Read(
            "`allow` and `deny`, where an `if` on its variable returns 403; it is told where its variable is used otherwise, or its networks do not stand in it",
        ),
    ),
    ("geoip_country geoip2", Left("its variable is not known", "tell clients apart in the app")),
    (
        "dav_methods mp4 flv image_filter random_index perl js_content slice",
        Elsewhere("it is not done here", "keep nginx for it, on a port of its own behind tidelock"),
    ),
    ("stream mail", Left("only HTTP is proxied", "keep nginx, or HAProxy, for it")),
];

#[cfg(test)]
mod tests;
