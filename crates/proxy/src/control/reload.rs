//! Puts another plan in the place of the one that runs: whole or not at all, and without touching what it does not
//! change.

use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

use config::diff::{Diff, diff};
use config::plan::{Listen, Plan};
use socket2::SockRef;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::control::certificates::load_all;
use crate::control::instances;
use crate::control::proxy::{Listening, Proxy, StartProblem};
use crate::control::run::connections_max;
use crate::net::listen_socket::overlap;
use crate::net::tls::ServerTls;
use crate::observe::access;
use crate::state::shared::{ListenId, ListenNow, Sides, Snapshot};
use crate::upstream::member::Member;
use crate::worker::listener::{self, Bound};

impl Proxy {
    /// Applies `plan`: whole, or, if it cannot be, not at all. Returns what changed. What needs a restart is said in
    /// the difference and otherwise ignored.
    ///
    /// # Errors
    /// If a certificate, the access log or an address cannot be had: what was in force before stays so.
    ///
    /// # Cancel safety
    /// Not cancel-safe: where it is dropped while old listeners close, the plan is in force and nobody has been told.
    pub async fn apply(&self, plan: Arc<Plan>) -> Result<Diff, StartProblem> {
        let before = self.inner.shared.snapshot.load_full();
        let change = diff(&before.plan, &plan);
        // Everything that can fail, first.
        let served: Vec<_> = before.certificates().cloned().collect();
        let tls = load_all(&plan, &served).map_err(StartProblem::Tls)?;
        let log = if change.log {
            Some(
                access::Writer::start(&plan.log, &self.inner.shared.log_unwritten)
                    .map_err(StartProblem::Log)?,
            )
        } else {
            None
        };
        let bound = self.bind_new(&plan, &change)?;
        self.inner.names.learn(&plan).await;
        // From here on nothing fails, and nothing is waited for before all of it is done.
        // Apps and names may have got other nodes meanwhile.
        let before = self.inner.shared.snapshot.load_full();
        let mut rosters = self.inner.names.rosters(&plan.upstreams);
        instances::fill_in(&mut rosters, &plan.upstreams, &self.inner.shared.instances());
        let listens = self.listens_now(&plan, &change, tls.listens);
        self.adjust_connections(&before.plan, &plan);
        let closing = self.and_those_that_close(&before, &listens);
        let next = before.replanned(plan.clone(), Sides { listens: closing, nodes: tls.nodes }, &rosters);
        let before = self.inner.shared.publish(next);
        self.inner.shared.share_rates(&plan, tls.redis);
        if let Some(log) = log {
            self.inner.shared.log.store(Arc::new(log.sink()));
            // The old writer ends by itself when the last worker has let go of it.
            drop(self.inner.log.replace(Some(log)));
        }
        let closing = self.relisten(&listens, bound);
        self.inner.names.forget_all_but(&plan);
        self.drain_removed(&before);
        if !closing.is_empty() {
            sleep(HANDSHAKE_TAKES).await;
        }
        for Listening { stop, .. } in &closing {
            stop.send_replace(true);
        }
        // Workers close their sockets when they come to it; who is told that a listen is gone may rely on it.
        for Listening { stop, .. } in closing {
            let _ = timeout(CLOSES_WITHIN, stop.closed()).await;
        }
        Ok(change)
    }

    /// Those that stay keep their identity, and with it their connections; all get their certificates read again.
    fn listens_now(&self, plan: &Plan, change: &Diff, tls: Vec<Option<ServerTls>>) -> Vec<ListenNow> {
        let open = self.inner.listening.borrow();
        let ids =
            change.listens.open.iter().map(|old| old.map_or_else(|| self.next_listen(), |old| open[old].id));
        let listens = plan.listens.iter().zip(ids).zip(tls);
        listens.map(|((listen, id), tls)| ListenNow::new(id, listen, tls)).collect()
    }

    /// What is closed now has connections on their way: in the kernel's queue, and from one worker to another. They are
    /// answered as before, so that it is known until the next reload.
    fn and_those_that_close(&self, before: &Snapshot, listens: &[ListenNow]) -> Vec<ListenNow> {
        let open = self.inner.listening.borrow();
        let stays = |id: ListenId| listens.iter().any(|listen| listen.id == id);
        let closing = open.iter().filter(|open| !stays(open.id)).filter_map(|open| before.listen(open.id));
        listens.iter().chain(closing).cloned().collect()
    }

    pub(crate) fn next_listen(&self) -> ListenId {
        let next = self.inner.next_listen.get();
        self.inner.next_listen.set(next + 1);
        ListenId(next)
    }

    /// Binds what the old plan has not open. Nothing listens there before all of it is bound, so that a plan that is refused has
    /// let nobody in.
    fn bind_new(&self, plan: &Plan, change: &Diff) -> Result<Vec<Option<Bound>>, StartProblem> {
        let at = |listen: &Listen| {
            let address = listen.address;
            move |error| StartProblem::Listen { address, error }
        };
        let mut bound = Vec::new();
        for (listen, open) in plan.listens.iter().zip(&change.listens.open) {
            bound.push(match open {
                Some(_) => None,
                None => Some(self.bind(listen, plan, change).map_err(at(listen))?),
            });
        }
        for (listen, bound) in plan.listens.iter().zip(&bound) {
            bound.as_ref().map_or(Ok(()), Bound::listen).map_err(at(listen))?;
        }
        Ok(bound)
    }

    /// An address that holds one that is closed now, or lies in it, is shared with that for a moment: the new sockets listen before
    /// the old ones are closed, and nobody is refused. What overlaps within the plan is an error, as it is at the start.
    fn bind(&self, listen: &Listen, plan: &Plan, change: &Diff) -> io::Result<Bound> {
        let workers = self.inner.shared.counters.len();
        let alone = listener::bind(listen, listen.reuse_port, workers);
        let is_taken = alone.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse);
        let overlapping = plan.listens.iter().filter(|other| overlap(other.address, listen.address));
        if !is_taken || overlapping.count() > 1 {
            return alone;
        }
        let open = self.inner.listening.borrow();
        let closing = open.iter().enumerate().filter(|(old, _)| !change.listens.open.contains(&Some(*old)));
        let mut is_ours = false;
        for socket in closing.flat_map(|(_, closing)| &closing.sockets).filter_map(Weak::upgrade) {
            let socket = SockRef::from(&*socket);
            if socket.local_addr()?.as_socket().is_some_and(|old| overlap(old, listen.address)) {
                // The kernel looks at this when the next one is bound.
                socket.set_reuse_port(true)?;
                is_ours = true;
            }
        }
        if is_ours { listener::bind(listen, true, workers) } else { alone }
    }

    /// Accepts on what is new. Returns what is to be closed, where the kernel lets nobody in any more.
    fn relisten(&self, listens: &[ListenNow], bound: Vec<Option<Bound>>) -> Vec<Listening> {
        let mut old = self.inner.listening.take();
        let mut listening = Vec::new();
        for (listen, bound) in listens.iter().zip(bound) {
            match bound {
                Some(bound) => listening.push(self.accept_on(bound, listen.id)),
                None => listening
                    .extend(old.iter().position(|old| old.id == listen.id).map(|at| old.swap_remove(at))),
            }
        }
        old.iter().for_each(Listening::let_nobody_in);
        self.inner.listening.replace(listening);
        old
    }

    /// Has the workers accept.
    pub(crate) fn accept_on(&self, bound: Bound, id: ListenId) -> Listening {
        let (stop, sockets, is_ours) = (watch::Sender::new(false), bound.sockets(), bound.is_ours());
        if let Some(workers) = &*self.inner.workers.borrow() {
            let mut handing_over = self.inner.handing_over.borrow_mut();
            // Those that have ended are forgotten whenever one begins.
            while handing_over.try_join_next().is_some() {}
            handing_over.spawn_local(workers.clone().accept(bound, id, stop.subscribe()));
        }
        Listening { id, stop, sockets, is_ours }
    }

    fn adjust_connections(&self, before: &Plan, plan: &Plan) {
        let (before, now) = (before.limits.connections_max, plan.limits.connections_max);
        if before != now {
            let all = connections_max(now, self.inner.shared.counters.len());
            self.spawn_housekeeping(self.inner.places.clone().resize(all));
        }
    }

    /// A node that no member uses any more is emptied; one that is back is not.
    pub(crate) fn drain_removed(&self, before: &Snapshot) {
        self.call_off_drains();
        let snapshot = self.inner.shared.snapshot.load_full();
        for upstream in &before.upstreams {
            let now = snapshot.upstream(&upstream.plan.name);
            for Member { node, .. } in &upstream.members {
                if now.is_none_or(|now| now.member_of(node).is_none()) {
                    self.empty(node, &upstream.session_table);
                }
            }
        }
    }
}

/// Clients whose SYN has come before the listen was taken away answer ours within their round trip.
const HANDSHAKE_TAKES: Duration = Duration::from_millis(250);
/// A worker that takes longer has more to do than to close a socket.
const CLOSES_WITHIN: Duration = Duration::from_secs(2);
