//! The names of nodes: what they resolve to now. Every name is asked for by a task of its own, on the control thread,
//! again and again, and what it resolved to last stays for as long as nobody says otherwise. Publishes nothing:
//! `run` does.

mod answer;
mod ask;

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use config::plan::{Plan, Resolver, Upstream};
use config::roster::{NodeAddress, Roster, why_no_node};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::upstream::names::answer::{Question, Target, pause, roster};
use crate::upstream::names::ask::{Answer, Asker, NoAnswer};

/// What every name of the plan resolves to.
#[derive(Debug)]
pub(crate) struct Names {
    table: Rc<Table>,
    asker: RefCell<Rc<Asker>>,
    /// One task for each, which ends with its set.
    asking: RefCell<HashMap<Question, JoinSet<()>>>,
}

#[derive(Debug)]
struct Table {
    /// The last answer for each name. A name that was asked for in vain has none; one that is asked for the first time
    /// is missing.
    known: RefCell<HashMap<Question, Vec<Target>>>,
    /// What it named before, until one of the places that it names now has proved to be a node.
    kept: RefCell<HashMap<Question, Vec<Target>>>,
    /// Counts what is news to anyone: another answer, or the end of a first question.
    news: watch::Sender<u64>,
    /// So that a plan of a thousand names is no storm.
    turns: Semaphore,
}

impl Names {
    pub(crate) fn new(resolver: Resolver) -> Self {
        let table = Table {
            known: RefCell::default(),
            kept: RefCell::default(),
            news: watch::Sender::new(0),
            turns: Semaphore::new(ASKING_MAX),
        };
        Self {
            table: Rc::new(table),
            asker: RefCell::new(Rc::new(Asker::new(resolver))),
            asking: RefCell::default(),
        }
    }

    /// Begins to ask for the names of `plan`, and gives those that are new a moment to be answered. Those that are not
    /// answered by then are asked for all the same. Cancel-safe.
    pub(crate) async fn learn(&self, plan: &Plan) {
        let questions = questions(plan);
        if *self.asker.borrow().plan() != plan.resolver {
            self.asker.replace(Rc::new(Asker::new(plan.resolver.clone())));
            // Their tasks ask the old one. What it said stays until the new one says otherwise.
            self.asking.borrow_mut().clear();
        }
        for question in &questions {
            let mut asking = self.asking.borrow_mut();
            let tasks = asking.entry(question.clone()).or_default();
            if tasks.is_empty() {
                let asker = self.asker.borrow().clone();
                tasks.spawn_local(ask_again_and_again(question.clone(), asker, self.table.clone()));
            }
        }
        let mut news = self.table.news.subscribe();
        let are_known = || {
            let known = self.table.known.borrow();
            questions.iter().all(|question| known.contains_key(question))
        };
        // It fails only when time is up: the sender lives as long as this.
        let _ = timeout(FIRST_ANSWER_MAX, news.wait_for(|_| are_known())).await;
    }

    /// Asks no more for names that are not in `plan`.
    pub(crate) fn forget_all_but(&self, plan: &Plan) {
        let questions = questions(plan);
        self.asking.borrow_mut().retain(|question, _| questions.contains(question));
        self.table.known.borrow_mut().retain(|question, _| questions.contains(question));
        self.table.kept.borrow_mut().retain(|question, _| questions.contains(question));
    }

    /// The nodes of each upstream, as far as their names are known.
    pub(crate) fn rosters(&self, upstreams: &[Arc<Upstream>]) -> Vec<Roster> {
        let mut known = self.table.known.borrow().clone();
        for (question, places) in &*self.table.kept.borrow() {
            known.entry(question.clone()).or_default().extend(places);
        }
        upstreams.iter().map(|upstream| roster(&upstream.nodes, &known)).collect()
    }

    /// Whether some name's last answer is kept beside the present one, which no node has proven yet.
    pub(crate) fn keeps_some(&self) -> bool {
        !self.table.kept.borrow().is_empty()
    }

    /// For each name whose answer has not been trusted yet: where the nodes are that it names now.
    pub(crate) fn unproven(&self, upstreams: &[Arc<Upstream>]) -> Vec<(Question, Vec<NodeAddress>)> {
        let (known, kept) = (self.table.known.borrow(), self.table.kept.borrow());
        let nodes = |question: &Question| {
            let only = HashMap::from([(question.clone(), known.get(question).cloned().unwrap_or_default())]);
            let specs = upstreams.iter().flat_map(|upstream| &upstream.nodes);
            let specs: Vec<_> =
                specs.filter(|spec| Question::of(spec).as_ref() == Some(question)).cloned().collect();
            roster(&specs, &only).nodes.into_iter().map(|node| node.address).collect()
        };
        kept.keys().map(|question| (question.clone(), nodes(question))).collect()
    }

    /// What a name meant before is kept no longer, for one of the nodes that it names now has answered.
    pub(crate) fn trust(&self, question: &Question) {
        if let Some(gone) = self.table.kept.borrow_mut().remove(question) {
            tracing::info!(event = "name_trusted", name = question.name(), gone = %listed(&gone), "a node that a name means now has answered; those that it meant before go");
        }
    }

    /// Tells when a name resolves to something else.
    pub(crate) fn news(&self) -> watch::Receiver<u64> {
        self.table.news.subscribe()
    }
}

fn questions(plan: &Plan) -> Vec<Question> {
    let mut questions = Vec::new();
    for question in plan.upstreams.iter().flat_map(|upstream| &upstream.nodes).filter_map(Question::of) {
        if !questions.contains(&question) {
            questions.push(question);
        }
    }
    questions
}

async fn ask_again_and_again(question: Question, asker: Rc<Asker>, table: Rc<Table>) {
    let mut told = Reported::default();
    loop {
        let asked = {
            // Never closed.
            let _turn = table.turns.acquire().await;
            asker.ask(&question).await
        };
        table.take(&question, &asked, &mut told);
        sleep(asked.map_or(AGAIN, |answer| pause(answer.ttl, asker.plan().ttl_max))).await;
    }
}

/// What was said of a name last, so that it is not said each time.
#[derive(Debug, Default)]
struct Reported {
    is_failing: bool,
    skipped: Vec<IpAddr>,
}

impl Reported {
    /// Says what is new about an answer, besides its places. `places` are those that the name means now.
    fn tell(&mut self, name: &str, asked: &Result<Answer, NoAnswer>, places: &[Target]) {
        match asked {
            Ok(_) if self.is_failing => {
                tracing::info!(event = "name_back", name, addresses = %listed(places), "name resolves again");
            }
            Err(error) if !self.is_failing => {
                tracing::warn!(event = "name_failed", name, %error, keeping = %listed(places), "name does not resolve; asking again in {AGAIN:?}");
            }
            Ok(_) | Err(_) => {}
        }
        self.is_failing = asked.is_err();
        let Ok(answer) = asked else { return };
        for &address in answer.skipped.iter().filter(|address| !self.skipped.contains(address)) {
            let why = why_no_node(address).unwrap_or_default();
            tracing::warn!(event = "address_skipped", name, %address, "skipped an address that {why}");
        }
        self.skipped.clone_from(&answer.skipped);
    }
}

impl Table {
    /// An answer replaces the last one, which is kept beside it until it has proved true ([`Names::trust`]): addresses may
    /// come to DNS before there is a node, or by mistake, and a pool that works must not be emptied for them. None keeps it, and so does one without an address: a resolver that just
    /// started says that, or a zone that was cut short, and an upstream without nodes would help nobody. Nodes that
    /// are really gone are found out by what asks them.
    fn take(&self, question: &Question, asked: &Result<Answer, NoAnswer>, told: &mut Reported) {
        let name = question.name();
        let mut known = self.known.borrow_mut();
        let is_first = !known.contains_key(question);
        let last = known.entry(question.clone()).or_default();
        let is_other = match asked {
            Ok(answer) if *last == answer.places => false,
            Ok(answer) => {
                tracing::info!(event = "name_resolved", name, addresses = %listed(&answer.places), before = %listed(last), "name resolved");
                let mut kept = self.kept.borrow_mut();
                let mut before = kept.remove(question).unwrap_or_default();
                before.append(last);
                before.retain(|place| !answer.places.contains(place));
                before.truncate(KEPT_MAX);
                if !before.is_empty() {
                    kept.insert(question.clone(), before);
                }
                last.clone_from(&answer.places);
                true
            }
            Err(_) => false,
        };
        told.tell(name, asked, last);
        drop(known);
        if is_first || is_other {
            self.news.send_modify(|news| *news += 1);
        }
    }
}

fn listed(places: &[Target]) -> String {
    let place = |place: &Target| match place.port {
        Some(port) => std::net::SocketAddr::new(place.ip, port).to_string(),
        None => place.ip.to_string(),
    };
    if places.is_empty() { "none".to_owned() } else { places.iter().map(place).collect::<Vec<_>>().join(",") }
}

/// After a question that was not answered.
const AGAIN: Duration = Duration::from_secs(1);
/// A start, and a reload, wait so long for names that were never asked for.
const FIRST_ANSWER_MAX: Duration = Duration::from_secs(3);
/// Questions under way at once.
const ASKING_MAX: usize = 32;
/// Places of one name, for as long as no node of its answer has answered.
const KEPT_MAX: usize = 1024;
