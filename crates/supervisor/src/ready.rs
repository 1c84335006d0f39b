//! When an instance counts as ready. It is asked again and again, each time on a connection of its own, until it
//! answers as wanted or the deadline passes; then what stood in the way is said, with where the app listens instead.

mod question;

use std::cmp::Ordering;
use std::time::Duration;

use config::app::{Instances, ReadyWhen};
use config::roster::InstanceAddress;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::candidates::{self, Answered, Candidate, Standing};
use crate::listen_diagnosis::{self, Shown};
use crate::process::Process;
use question::{QUESTION, ask, attempt, connect, get, is_tls};

/// Why an instance is not ready at its deadline. Says a whole sentence, that begins with what it is about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{said}")]
pub struct NotReady {
    said: String,
}

/// Where a ready instance is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Where it listens, which need not be where it was told to.
    pub address: InstanceAddress,
    standing: Standing,
    /// Among so many.
    candidates: usize,
}

impl Found {
    fn at(address: &InstanceAddress, standing: Standing) -> Self {
        Self { address: address.clone(), standing, candidates: 0 }
    }
}

/// Waits until the process is ready. Does not notice that it ends; the caller races this with [`Process::ended`].
///
/// # Errors
/// If it is not ready at the deadline, or if it is plain before that it will not be.
///
/// # Cancel safety
/// Cancel-safe: a question that was asked is closed, and the next call asks anew.
pub async fn until_ready(process: &Process, when: &ReadyWhen, deadline: Instant) -> Result<Found, NotReady> {
    let began = Instant::now();
    let told = Found::at(process.address(), Standing::App);
    let found = match when {
        // It was started, or there would be no process.
        ReadyWhen::Running => return Ok(told),
        ReadyWhen::Message => {
            let is_told = timeout_at(deadline, process.told_ready()).await.is_ok();
            // It has opened what it opens.
            match (
                is_told,
                asking(process, &ReadyWhen::Port, Instant::now() + TOLD_TIMEOUT, Duration::ZERO).await,
            ) {
                (true, found) => Ok(found.unwrap_or(told)),
                (false, Ok(found)) => {
                    tracing::warn!(app = %process.launch(), "{UNTOLD}");
                    Ok(found)
                }
                (false, Err(_)) => Err(UNSAID.to_owned()),
            }
        }
        _ => asking(process, when, deadline, SETTLED).await,
    };
    match found {
        Ok(found) => {
            tell(process, &found, false).await;
            Ok(found)
        }
        Err(mut last) => {
            if let Some(explained) = listen_diagnosis::explain(process).await {
                last = format!("{last}; {explained}");
            }
            let took = began.elapsed().min(deadline.duration_since(began));
            Err(NotReady { said: format!("{} is not ready after {took:.1?}: {last}", process.launch()) })
        }
    }
}

/// Waits until the app turns out to be elsewhere than was found: it has opened a port that has more to be said for it.
/// That is not looked for after `until`: `None`.
///
/// # Cancel safety
/// Cancel-safe.
pub async fn until_better(
    process: &Process,
    when: &ReadyWhen,
    found: &Found,
    until: Instant,
) -> Option<Found> {
    if found.standing == Standing::App {
        return None;
    }
    let better = timeout_at(until, better(process, when, found)).await.ok();
    tell(process, better.as_ref().unwrap_or(found), better.is_none()).await;
    better
}

async fn better(process: &Process, when: &ReadyWhen, found: &Found) -> Found {
    let mut seen = found.candidates;
    let mut pause = PAUSE_MAX;
    loop {
        sleep(pause).await;
        let candidates = noted(process).await;
        if candidates.len() == seen {
            continue;
        }
        match timeout(ATTEMPT, best_of(&candidates, when)).await {
            Ok(Ok(better)) if better.standing > found.standing && better.address != found.address => {
                return Found { candidates: candidates.len(), ..better };
            }
            // Nobody is asked twice that has answered.
            Ok(Ok(_) | Err(Miss::Never(_))) => (seen, pause) = (candidates.len(), PAUSE_MAX),
            Ok(Err(Miss::NotYet(_))) | Err(_) => pause = (pause * 2).min(ATTEMPT),
        }
    }
}

/// The others of its ports can go to where they belong.
async fn tell(process: &Process, found: &Found, is_over: bool) {
    let (folder, address) = (process.folder().to_owned(), found.address.clone());
    let is_final = is_over || found.standing == Standing::App;
    // Without the folder there is nobody to be told.
    let _ = spawn_blocking(move || candidates::decide(&folder, &address, is_final)).await;
}

async fn noted(process: &Process) -> Vec<Candidate> {
    let folder = process.folder().to_owned();
    spawn_blocking(move || candidates::noted(&folder)).await.unwrap_or_default()
}

/// Asks until there is an answer. What is found by evidence alone counts when nothing was opened for a while: `settled`
/// if nothing is better, and longer if much is. `Err` is what the last attempt said.
async fn asking(
    process: &Process,
    when: &ReadyWhen,
    deadline: Instant,
    settled: Duration,
) -> Result<Found, String> {
    let address = process.address();
    let mut last = "it was not asked yet".to_owned();
    let mut pause = PAUSE_MIN;
    let began = Instant::now();
    let mut newest = (0, began);
    let mut held: Option<Found> = None;
    loop {
        let candidates = noted(process).await;
        if candidates.len() != newest.0 {
            newest = (candidates.len(), Instant::now());
            held = None;
        }
        let attempt = timeout(ATTEMPT, async {
            match held.take() {
                // Nobody is asked twice.
                Some(found) => Ok(found),
                None if candidates.is_empty() => nowhere_noted(process, when, began).await,
                None => best_of(&candidates, when).await,
            }
        });
        match timeout_at(deadline, attempt).await {
            Ok(Ok(Ok(found))) => {
                let found = Found { candidates: candidates.len(), ..found };
                let waits = match found.standing {
                    Standing::App => Duration::ZERO,
                    Standing::Public(Answered::Well | Answered::Refused) => settled,
                    _ => settled * 5,
                };
                if newest.1.elapsed() >= waits {
                    return Ok(found);
                }
                held = Some(found);
            }
            Ok(Ok(Err(Miss::NotYet(error)))) => last = error,
            Ok(Ok(Err(Miss::Never(error)))) if newest.1.elapsed() >= settled * 5 => return Err(error),
            Ok(Ok(Err(Miss::Never(error)))) => last = error,
            Ok(Err(_)) => last = format!("{} does not answer within {ATTEMPT:?}", Shown(address)),
            Err(_) => return Err(last),
        }
        if timeout_at(deadline, sleep(pause)).await.is_err() {
            return Err(last);
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Why nothing is found.
enum Miss {
    NotYet(String),
    /// Waiting does not help.
    Never(String),
}

/// The candidate for which most is to be said.
async fn best_of(candidates: &[Candidate], when: &ReadyWhen) -> Result<Found, Miss> {
    if let Some(app) = candidates.iter().rev().find(|candidate| candidate.is_app) {
        if app.is_tls {
            return Err(Miss::Never(speaks_tls(&app.address)));
        }
        let answer = attempt(&app.address, when).await;
        return answer.map(|_| Found::at(&app.address, Standing::App)).map_err(Miss::NotYet);
    }
    let mut best: Vec<(Standing, &Candidate)> = Vec::new();
    let mut last = String::new();
    for candidate in candidates {
        match standing(candidate, when).await {
            Ok(standing) => match best.first().map_or(Ordering::Greater, |(best, _)| standing.cmp(best)) {
                Ordering::Greater => best = vec![(standing, candidate)],
                Ordering::Equal => best.push((standing, candidate)),
                Ordering::Less => {}
            },
            Err(why) => last = why,
        }
    }
    if best.len() > 1 {
        let mut kept = Vec::new();
        for &(standing, candidate) in &best {
            let metrics = ask(&candidate.address, "/metrics").await;
            if !metrics.is_ok_and(|answer| candidates::is_metrics(&answer)) {
                kept.push((standing, candidate));
            }
        }
        if !kept.is_empty() {
            best = kept;
        }
    }
    match best[..] {
        [] if candidates.iter().all(|candidate| candidate.is_tls) && !candidates.is_empty() => {
            Err(Miss::Never(last))
        }
        [] => Err(Miss::NotYet(last)),
        [(standing, one)] => Ok(Found::at(&one.address, standing)),
        _ => Err(Miss::Never(undecided(&best))),
    }
}

fn undecided(best: &[(Standing, &Candidate)]) -> String {
    let ports: Vec<String> =
        best.iter().filter_map(|(_, candidate)| candidate.asked).map(|port| port.to_string()).collect();
    format!(
        "it listens on the ports {}, and nothing says which is the app's: let it listen there on the port in PORT, or say which with `port = {}` (`--port` of `tidelock start`)",
        ports.join(" and "),
        ports.first().map_or("…", |port| port)
    )
}

fn speaks_tls(address: &InstanceAddress) -> String {
    format!(
        "it speaks TLS at {}, and tidelock plain HTTP to its apps: let the app listen without TLS; `tls` of a `[[listen]]` is towards clients",
        Shown(address)
    )
}

async fn standing(candidate: &Candidate, when: &ReadyWhen) -> Result<Standing, String> {
    let address = &candidate.address;
    if candidate.is_tls {
        return Err(speaks_tls(address));
    }
    let answer = match when {
        ReadyWhen::Http { .. } | ReadyWhen::EngineIo { .. } => attempt(address, when).await?,
        ReadyWhen::Port | ReadyWhen::Message | ReadyWhen::Running => {
            let stream = connect(address).await?;
            match timeout(QUESTION, get(stream, "/")).await {
                Ok(answer) => answer.ok(),
                Err(_) => {
                    return Ok(candidate.standing(Err(Answered::NotYet)).unwrap_or(Standing::Redirects));
                }
            }
        }
    };
    let standing = candidate.standing(answer.as_ref().ok_or(Answered::NotInHttp));
    standing.ok_or_else(|| {
        let port = candidate.asked.map_or_else(|| Shown(address).to_string(), |port| format!("port {port}"));
        format!(
            "{port} serves metrics alone, and nothing else is open; if that is the app, say so with `port`"
        )
    })
}

/// Nothing was noted: the app is no Node.js app, or has opened nothing yet. Where it was told to, or, after a while, where
/// the kernel says.
async fn nowhere_noted(process: &Process, when: &ReadyWhen, began: Instant) -> Result<Found, Miss> {
    let told = process.address();
    let refused = match attempt(told, when).await {
        Ok(_) if *when == ReadyWhen::Port && is_tls(told).await => {
            return Err(Miss::NotYet(speaks_tls(told)));
        }
        Ok(_) if is_awaited(process).await => return awaited(process, told).await,
        Ok(_) => return Ok(Found::at(told, Standing::App)),
        Err(refused) => refused,
    };
    if began.elapsed() < ELSEWHERE || connect(told).await.is_ok() {
        return Err(Miss::NotYet(refused));
    }
    let keeper = process.keeper();
    let listens = spawn_blocking(move || listen_diagnosis::listens(keeper)).await.unwrap_or_default();
    let candidates: Vec<Candidate> = listens.into_iter().map(|at| candidates::listening(at, told)).collect();
    let found = match best_of(&candidates, when).await {
        Ok(found) => found,
        Err(Miss::NotYet(why)) if why.is_empty() => return Err(Miss::NotYet(refused)),
        Err(Miss::NotYet(why) | Miss::Never(why)) => return Err(Miss::NotYet(format!("{refused}; {why}"))),
    };
    match found.standing {
        // On PORT, at another address of this machine.
        Standing::App => Ok(found),
        // An inspector or the like.
        Standing::Redirects
        | Standing::Loopback(Answered::NotInHttp | Answered::NotYet | Answered::Refused) => {
            Err(Miss::NotYet(refused))
        }
        Standing::Loopback(_) | Standing::Public(_) if process.launch().app.instances == Instances::ONE => {
            tracing::warn!(app = %process.launch(), at = %Shown(&found.address), "{HARD_CODED}");
            Ok(Found { standing: Standing::App, ..found })
        }
        Standing::Loopback(_) | Standing::Public(_) => Err(Miss::Never(refused)),
    }
}

async fn is_awaited(process: &Process) -> bool {
    let folder = process.folder().to_owned();
    spawn_blocking(move || candidates::is_awaited(&folder)).await.unwrap_or_default()
}

/// What listens there will be noted when the app, which may have much to do first, comes to it: before it answers anything.
/// Only if it has answered, and is not noted, nothing can be.
async fn awaited(process: &Process, told: &InstanceAddress) -> Result<Found, Miss> {
    let stream = connect(told).await.map_err(Miss::NotYet)?;
    if timeout(QUESTION, get(stream, "/")).await.is_ok() && noted(process).await.is_empty() {
        return Ok(Found::at(told, Standing::App));
    }
    Err(Miss::NotYet(format!("it listens on {}, and does not answer there", Shown(told))))
}

/// An attempt that takes longer is given up; one that is late for a moment is asked again.
const ATTEMPT: Duration = Duration::from_secs(5);
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(200);
/// Nothing was opened for so long: what is found is all there is. What has little to be said for it waits for five times
/// as long.
const SETTLED: Duration = Duration::from_millis(300);
/// An app that has said that it is ready has opened its port.
const TOLD_TIMEOUT: Duration = Duration::from_secs(2);
/// One that listens elsewhere than it was told is looked for after so long.
const ELSEWHERE: Duration = Duration::from_secs(2);
const UNSAID: &str = "it has not said process.send('ready')";
const UNTOLD: &str = "it has not said process.send('ready') in time, and serves: it counts as ready, as under PM2; what npm or another program runs has no channel to say it";
const HARD_CODED: &str =
    "it does not listen on the port in PORT; it is the only instance, and is served where it listens";
