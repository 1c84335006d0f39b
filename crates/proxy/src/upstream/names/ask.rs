//! Asks DNS, once. Knows the resolver; remembers no answer.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use config::plan::Resolver;
use config::roster::why_no_node;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use tokio::time::timeout;

use crate::upstream::names::answer::{
    LOOPBACKS, Question, Record, Target, places_of_host, places_of_service,
};

/// What DNS said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Never empty.
    pub(crate) places: Vec<Target>,
    /// What it named besides, and where no node can be.
    pub(crate) skipped: Vec<IpAddr>,
    /// Of the record that has the shortest.
    pub(crate) ttl: Duration,
}

impl Answer {
    /// An answer without the places that no node can be at.
    fn of(mut places: Vec<Target>, ttl: Duration) -> Self {
        let mut skipped: Vec<IpAddr> =
            places.extract_if(.., |place| why_no_node(place.ip).is_some()).map(|place| place.ip).collect();
        skipped.dedup();
        Self { places, skipped, ttl }
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoAnswer {
    #[error("{0}")]
    Dns(#[from] NetError),
    #[error("{0}")]
    System(#[from] io::Error),
    #[error("no address has that name")]
    Empty,
    #[error("it names nothing but {ip}, which {why}", why = why_no_node(*.ip).unwrap_or_default(), ip = .ip)]
    NoPlace { ip: IpAddr },
    #[error("no answer in {ASK_MAX:?}")]
    TooLate,
}

/// Whom is asked.
#[derive(Debug)]
pub(crate) struct Asker {
    plan: Resolver,
    /// Made when it is first needed, and again when what the system says about it has changed.
    made: RefCell<Option<(Stamp, Rc<TokioResolver>)>>,
}

/// When the system's files were last written.
type Stamp = [Option<SystemTime>; 2];

impl Asker {
    pub(crate) fn new(plan: Resolver) -> Self {
        Self { plan, made: RefCell::default() }
    }

    pub(crate) fn plan(&self) -> &Resolver {
        &self.plan
    }

    /// Asks once, for at most 5 s. Cancel-safe.
    pub(crate) async fn ask(&self, question: &Question) -> Result<Answer, NoAnswer> {
        let asked = async {
            match question {
                Question::Host(name) => self.host(name).await,
                Question::Service(name) => self.service(name).await,
            }
        };
        let answer = timeout(ASK_MAX, asked).await.unwrap_or(Err(NoAnswer::TooLate))?;
        match (&*answer.places, &*answer.skipped) {
            ([], [ip, ..]) => Err(NoAnswer::NoPlace { ip: *ip }),
            ([], []) => Err(NoAnswer::Empty),
            _ => Ok(answer),
        }
    }

    async fn host(&self, name: &str) -> Result<Answer, NoAnswer> {
        if is_localhost(name) {
            return Ok(Answer::of(places_of_host(LOOPBACKS), Duration::MAX));
        }
        let (addresses, ttl) = match self.addresses(name).await {
            Err(error) if self.plan.nameservers.is_empty() => system_addresses(name).await.ok_or(error)?,
            asked => asked?,
        };
        Ok(Answer::of(places_of_host(addresses), ttl))
    }

    async fn service(&self, name: &str) -> Result<Answer, NoAnswer> {
        let lookup = self.look_up(name, RecordType::SRV).await?;
        let mut ttl = shortest_ttl(&lookup);
        let mut records = Vec::new();
        let services = lookup.answers().iter().filter_map(|record| match &record.data {
            // "." says that there is no such service here (RFC 2782).
            RData::SRV(service) if !service.target.is_root() => Some(service),
            _ => None,
        });
        for service in services.take(RECORDS_MAX) {
            let addresses = match self.addresses(&service.target.to_ascii()).await {
                Ok((addresses, its_ttl)) => {
                    ttl = ttl.min(its_ttl);
                    addresses
                }
                // A record for a host that is not there yet; the others are.
                Err(NoAnswer::Empty) => Vec::new(),
                Err(error) => return Err(error),
            };
            let (priority, weight, port) = (service.priority, service.weight, service.port);
            records.push(Record { priority, weight, port, addresses });
        }
        Ok(Answer::of(places_of_service(&records), ttl))
    }

    /// The IPv4 addresses of a host, or, of one that has none, its IPv6 addresses: a machine that has both is one
    /// node, not two. If it is this machine, ::1 too, for an app listens on one of both. [`NoAnswer::Empty`] is whoever was asked saying that there are none.
    async fn addresses(&self, host: &str) -> Result<(Vec<IpAddr>, Duration), NoAnswer> {
        if let Ok(address) = host.parse() {
            return Ok((vec![address], Duration::MAX));
        }
        for kind in [RecordType::A, RecordType::AAAA] {
            match self.look_up(host, kind).await {
                Ok(lookup) => {
                    let mut addresses = addresses_in(&lookup);
                    if addresses == [LOOPBACKS[0]] {
                        let other = self.look_up(host, RecordType::AAAA).await;
                        let other = other.as_ref().map(addresses_in).unwrap_or_default();
                        addresses.extend(other.into_iter().filter(|address| *address == LOOPBACKS[1]));
                    }
                    if !addresses.is_empty() {
                        return Ok((addresses, shortest_ttl(&lookup)));
                    }
                }
                // Only whoever says that there are none has been heard.
                Err(NoAnswer::Dns(error)) if error.is_no_records_found() => {}
                Err(error) => return Err(error),
            }
        }
        Err(NoAnswer::Empty)
    }

    async fn look_up(&self, name: &str, kind: RecordType) -> Result<Lookup, NoAnswer> {
        // Names of the file are ASCII, and Docker's may have underscores, which the stricter reading refuses.
        let name = Name::from_ascii(name).map_err(NetError::from)?;
        let resolver = self.resolver()?;
        Ok(resolver.lookup(name, kind).await?)
    }

    /// A laptop changes networks, and a container's files are written while it starts.
    fn resolver(&self) -> Result<Rc<TokioResolver>, NoAnswer> {
        let stamp = SYSTEM_FILES.map(|file| std::fs::metadata(file).and_then(|file| file.modified()).ok());
        let mut made = self.made.borrow_mut();
        if let Some((then, resolver)) = &*made
            && *then == stamp
        {
            return Ok(resolver.clone());
        }
        let resolver = Rc::new(make(&self.plan.nameservers)?);
        *made = Some((stamp, resolver.clone()));
        Ok(resolver)
    }
}

fn make(nameservers: &[SocketAddr]) -> Result<TokioResolver, NetError> {
    let mut builder = if nameservers.is_empty() {
        TokioResolver::builder_tokio()?
    } else {
        let servers = nameservers.iter().map(|nameserver| {
            let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()]
                .map(|connection| with_port(connection, nameserver.port()));
            NameServerConfig::new(nameserver.ip(), true, connections.to_vec())
        });
        let config = ResolverConfig::from_name_servers(servers.collect());
        TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
    };
    let options = builder.options_mut();
    options.use_hosts_file = ResolveHosts::Always;
    // Who asks when is decided here, and once: a second memory would only make answers older.
    options.cache_size = 0;
    options.timeout = options.timeout.min(TRY_MAX);
    options.attempts = options.attempts.min(RETRIES_MAX);
    builder.build()
}

fn with_port(mut connection: ConnectionConfig, port: u16) -> ConnectionConfig {
    connection.port = port;
    connection
}

/// The system's library knows what DNS does not: the machine's own name, mDNS, whatever `nsswitch.conf` names. It
/// tells no TTL.
async fn system_addresses(name: &str) -> Option<(Vec<IpAddr>, Duration)> {
    let found: Vec<_> = tokio::net::lookup_host((name, 0)).await.ok()?.map(|address| address.ip()).collect();
    let v4: Vec<_> = found.iter().copied().filter(IpAddr::is_ipv4).collect();
    let is_this_machine = found.iter().all(|address| LOOPBACKS.contains(address));
    let addresses = if v4.is_empty() || is_this_machine { found } else { v4 };
    (!addresses.is_empty()).then_some((addresses, Duration::ZERO))
}

/// Names that no resolver may answer otherwise (RFC 6761 section 6.3), and some have no answer for.
fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name == "localhost" || name.ends_with(".localhost")
}

fn addresses_in(lookup: &Lookup) -> Vec<IpAddr> {
    lookup.answers().iter().filter_map(|record| record.data.ip_addr()).collect()
}

fn shortest_ttl(lookup: &Lookup) -> Duration {
    let ttls = lookup.answers().iter().map(|record| record.ttl);
    Duration::from_secs(ttls.min().unwrap_or(0).into())
}

const SYSTEM_FILES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];
/// One try of several.
const TRY_MAX: Duration = Duration::from_secs(2);
const RETRIES_MAX: usize = 1;
/// A resolver that is gone says nothing at all, and one that is back must not be kept waiting.
const ASK_MAX: Duration = Duration::from_secs(5);
/// Of one service; an answer that holds more is broken or hostile.
const RECORDS_MAX: usize = 256;
