//! The validated, immutable plan: what the data plane reads. Made by `file`, never edited afterwards.
//! Nothing here is serialisable; a `Plan` that exists is a plan that holds together.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::IpNet;

use crate::app::App;
use crate::file::declare::declare;
use crate::file::kinds::app::Person;
use crate::file::kinds::pages::Pages;
use crate::file::kinds::paths::ExistingFile;
use crate::file::kinds::policy::Networks;
use crate::file::kinds::proxies::Trusted;
use crate::file::kinds::secrets::SecretTexts;
use crate::file::kinds::{Count, Flag};
use crate::file::sections::acme::ACME;
use crate::file::sections::admin::ADMIN;
use crate::file::sections::app::APP;
use crate::file::sections::drain::DRAIN;
use crate::file::sections::limits::LIMITS;
use crate::file::sections::listen::LISTEN;
use crate::file::sections::log::LOG;
use crate::file::sections::redis::REDIS;
use crate::file::sections::resolver::RESOLVER;
use crate::file::sections::route::ROUTE;
use crate::file::sections::timeouts::TIMEOUTS;
use crate::file::sections::upstream::UPSTREAM;
use crate::limits::Limits;
use crate::routing::{ErrorPages, Route};
pub use crate::routing::{PathRule, UpstreamId};

pub(crate) mod values;

pub use values::fields::{LogField, LogFields};
pub use values::line::{LineEscape, LineFormat, LinePiece, LineVariable};
pub use values::{
    AccessLog, AdminSocket, Balance, ClientCertificateMode, HashKey, Issuer, LogFormat, NodeBounds, NodeHost,
    NodeSpec, RedisPlace, RedisUrl, Secrets, Sticky, TlsProfile,
};

pub use crate::file::sections::acme::{Acme, Eab};
pub use crate::file::sections::admin::Admin;
pub use crate::file::sections::admission::Admission;
pub use crate::file::sections::client_certificates::ClientCertificates;
pub use crate::file::sections::drain::Drain;
pub use crate::file::sections::health::{Health, Probe};
pub use crate::file::sections::listen::{CertificateFiles, Listen, Scheme};
pub use crate::file::sections::log::Log;
pub use crate::file::sections::node_tls::NodeTls;
pub use crate::file::sections::outliers::Outliers;
pub use crate::file::sections::rebalance::Rebalance;
pub use crate::file::sections::redis::Redis;
pub use crate::file::sections::resolver::Resolver;
pub use crate::file::sections::route::RouteTable;
pub use crate::file::sections::timeouts::{OwnTimeouts, Timeouts};
pub use crate::file::sections::upstream::Upstream;

declare! {
    /// Everything `upstreams.toml` says, checked as a whole.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Plan in FILE = "", One: "What tidelock listens on, where it sends what, and how.";
    given PlanParts {
        /// Where clients connect, in the file's order; never empty, no address twice.
        listens: Vec<Listen>;
        /// Which upstream answers, ordered from the most to the least specific: the first that matches wins.
        routes: Vec<Route>;
        /// The tables that they are made of, as the file has them: `Route::number` counts these from 1.
        route_tables: Vec<RouteTable>;
        /// The pools of nodes; `UpstreamId` indexes this list.
        upstreams: Vec<Arc<Upstream>>;
        /// What the supervisor runs, by the names that upstreams use; an app that none uses is a worker process.
        apps: Vec<Arc<App>>;
        /// How long each wait may last, where an upstream does not say otherwise.
        timeouts: Timeouts;
        /// Where certificates come from that nobody brings.
        acme: Acme;
    }
    handed {
        /// Addresses, networks and names of lists, "cloudflare", "fastly", "private" or "loopback", whose X-Forwarded-For,
        /// Forwarded and their kin are believed. See docs/proxies.md.
        TRUSTED_PROXIES trusted_proxies: Vec<IpNet> = Vec::new(), Trusted;
        /// TOML file of the lists that `trusted_proxies` names. Relative to the folder of this file.
        PROXY_LISTS proxy_lists: Option<PathBuf> => "the lists in configs/lists/proxies.toml, which are part of the binary",
            ExistingFile;
        /// Keys the tags behind Engine.IO session ids, and the cookies that name a node. Every tidelock in front of the same
        /// nodes needs the same. At least 32 bytes. A list changes it without losing a session: the first signs, all are
        /// believed. First add the new one at the end everywhere, then move it to the front, and take the old one out a day
        /// later. "file:PATH" is read from a file, relative to the folder of this one, at each reload anew; newlines at its end
        /// do not count.
        STICKY_SECRET sticky_secret: Secrets
            => "a random one, made once and kept (mode 0600) as `sticky_secret` in $STATE_DIRECTORY, or else in tidelock/ under $XDG_STATE_HOME or ~/.local/state; a container without a volume there loses its polling sessions at a restart",
            SecretTexts { bytes_min: 32, count_max: 8 };
        /// Pages in the place of tidelock's own for what it answers 400 to 599 itself, by status, or "4xx" and "5xx": the path
        /// of a file, up to 1 MiB, or { text = "…", content_type = "text/html" }. {status}, {reason} and {request_id} are put
        /// in. What nodes answer passes as it is. Files are read at the start and at each reload. { path = "/404.html" } is what
        /// the route of that path answers, and { upstream = "spare" } asks other nodes.
        ERROR_PAGES error_pages: Arc<ErrorPages> => "a line of text, or JSON for clients that ask for it", Pages;
    }
    keys {
        /// Whether every request is answered 503, but for those from `maintenance_allow`. WebSockets that are open stay.
        MAINTENANCE maintenance: bool = false, Flag;
        /// Addresses and networks of clients that are answered all the same: "10.0.0.0/8".
        MAINTENANCE_ALLOW maintenance_allow: Vec<IpNet> = Vec::new(), Networks;
        /// Worker threads.
        WORKERS workers: Option<NonZeroUsize> => "one for each core this process may use", Count { least: 1, most: 1024 }, restart;
        /// Whom a tidelock that is started as root becomes, before it serves anybody; without root it changes nothing. Ports below
        /// 1024 can be listened on all the same, at a reload too; files are then read with this user's rights. See "As root, and
        /// then not" in docs/operating.md.
        USER user: Option<String> => "root stays root", Person, restart;
        /// The group that it has then, beside those that the user is a member of.
        GROUP group: Option<String> => "the user's own", Person, restart;
    }
    order {
        WORKERS,
        USER,
        GROUP,
        TRUSTED_PROXIES,
        PROXY_LISTS,
        STICKY_SECRET,
        MAINTENANCE,
        MAINTENANCE_ALLOW,
        ERROR_PAGES,
        LISTEN,
        ROUTE,
        UPSTREAM,
        APP,
        LIMITS,
        TIMEOUTS,
        LOG,
        DRAIN,
        ADMIN,
        RESOLVER,
        REDIS,
        ACME,
    }
    tables {
        /// Bounds of buffers, queues and maps.
        LIMITS limits: Limits;
        /// How sessions leave.
        DRAIN drain: Drain, checked;
        /// The access log.
        LOG log: Log, checked;
        /// How the running tidelock is talked to, and whether it follows its file.
        ADMIN admin: Admin;
        /// Who is asked for the addresses of nodes.
        RESOLVER resolver: Resolver;
        /// Where limits are counted that several tidelocks share.
        REDIS redis: Redis, checked;
    }
}

impl Plan {
    /// The table of the file that a route is made of.
    pub(crate) fn table_of(&self, route: &Route) -> &RouteTable {
        // Both are made together: `Route::number` is never 0, and never more than there are tables.
        &self.route_tables[route.number - 1]
    }

    /// A listen has `tls = "auto"`, so that an ACME authority is asked for certificates.
    pub fn uses_acme(&self) -> bool {
        self.listens
            .iter()
            .any(|listen| matches!(listen.scheme, Scheme::Automatic { issuer: Issuer::Acme, .. }))
    }
}
