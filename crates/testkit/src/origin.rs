//! Origins in the test's hands. [`Origin`] gives each connection to the test, to drive it line by line;
//! [`ScriptedOrigin`] answers by itself, by a script, and records every request that it got whole.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::TIMEOUT;
use crate::message::Message;
use crate::raw::RawConnection;

/// A listening socket on a free port of 127.0.0.1.
#[derive(Debug)]
pub struct Origin {
    listener: TcpListener,
}

impl Origin {
    /// Starts to listen, where it can listen again later.
    pub async fn bind() -> Self {
        loop {
            // A process that another thread starts in this moment has the socket that has tried the port, until it is another program.
            if let Ok(listener) = TcpListener::bind(crate::port::free_address()).await {
                return Self { listener };
            }
        }
    }

    /// Listens where another one did, which has ended.
    ///
    /// # Panics
    /// If somebody else has the address now.
    pub async fn bind_at(address: SocketAddr) -> Self {
        Self { listener: TcpListener::bind(address).await.expect("the address is free again") }
    }

    /// Starts to listen on a free port of ::1 that is free on 127.0.0.1 too, and stays so for as long as the other half
    /// lives: a connection to it there is refused.
    ///
    /// # Panics
    /// If no port is free on both.
    pub async fn bind_v6() -> (Self, Absent) {
        for _ in 0..100 {
            let absent = Absent::bind();
            let address = (std::net::Ipv6Addr::LOCALHOST, absent.address().port());
            if let Ok(listener) = TcpListener::bind(address).await {
                return (Self { listener }, absent);
            }
        }
        panic!("no port is free on 127.0.0.1 and ::1")
    }

    /// Starts to listen on the same free port of each of these addresses, as the nodes of one name do.
    ///
    /// # Panics
    /// If no port is free on all of them.
    pub async fn bind_alike<const N: usize>(addresses: [[u8; 4]; N]) -> [Self; N] {
        for _ in 0..100 {
            let mut listeners = Vec::new();
            for address in addresses {
                let port =
                    listeners.first().map_or_else(crate::port::free, |first: &Self| first.address().port());
                match TcpListener::bind(SocketAddr::from((address, port))).await {
                    Ok(listener) => listeners.push(Self { listener }),
                    // Somebody else has it there.
                    Err(_) => break,
                }
            }
            if let Ok(listeners) = listeners.try_into() {
                return listeners;
            }
        }
        panic!("no port is free on all of {addresses:?}")
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().expect("a bound socket has an address")
    }

    /// The next connection, whenever it comes.
    ///
    /// # Panics
    /// If the kernel gives none.
    pub async fn next(&self) -> RawConnection {
        RawConnection::over(self.listener.accept().await.expect("accept works").0)
    }

    /// The next connection that tidelock opens.
    ///
    /// # Panics
    /// If none comes within [`TIMEOUT`].
    pub async fn accept(&self) -> RawConnection {
        let (stream, _) = timeout(TIMEOUT, self.listener.accept())
            .await
            .expect("no connection came")
            .expect("accept works");
        RawConnection::over(stream)
    }
}

/// A port of 127.0.0.1 that is taken, and where nothing listens yet: a connection to it is refused.
#[derive(Debug)]
pub struct Absent {
    socket: TcpSocket,
}

impl Absent {
    /// Takes a free port.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn bind() -> Self {
        let socket = TcpSocket::new_v4().expect("there are files left");
        socket.bind(([127, 0, 0, 1], 0).into()).expect("127.0.0.1 has a free port");
        Self { socket }
    }

    /// Where it is not listening.
    ///
    /// # Panics
    /// If the kernel has forgotten it.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.socket.local_addr().expect("a bound socket has an address")
    }

    /// Starts to listen, with room for so many connections that nobody has accepted. The kernel makes it one more,
    /// and leaves those beyond that without any answer.
    ///
    /// # Panics
    /// If the kernel does not let it.
    #[must_use]
    pub fn appear(self, backlog: u32) -> Origin {
        Origin { listener: self.socket.listen(backlog).expect("a bound socket can listen") }
    }
}

/// A port that is the test's own for as long as this lives. Whoever listens there can end and come back; in between, a
/// connection to it is refused.
#[derive(Debug)]
pub struct Reserved {
    socket: TcpSocket,
}

impl Reserved {
    /// Takes one free port on each of these addresses.
    ///
    /// # Panics
    /// If no port is free on all of them.
    #[must_use]
    pub fn bind_alike<const N: usize>(addresses: [[u8; 4]; N]) -> [Self; N] {
        for _ in 0..100 {
            let mut taken = Vec::new();
            for address in addresses {
                let port =
                    taken.first().map_or_else(crate::port::free, |first: &Self| first.address().port());
                taken.extend(Self::bind((address, port).into()));
            }
            if let Ok(taken) = taken.try_into() {
                return taken;
            }
        }
        panic!("no port is free on all of {addresses:?}")
    }

    fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        // What listens there later does so beside this one, which never listens.
        socket.set_reuseport(true)?;
        socket.bind(address)?;
        Ok(Self { socket })
    }

    /// Where it is.
    ///
    /// # Panics
    /// If the kernel has forgotten it.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.socket.local_addr().expect("a bound socket has an address")
    }

    /// Starts to listen there.
    ///
    /// # Panics
    /// If somebody does so already.
    #[must_use]
    pub fn appear(&self) -> Origin {
        let again = Self::bind(self.address()).expect("the port is the test's own");
        Origin { listener: again.socket.listen(1024).expect("a bound socket can listen") }
    }
}

/// One thing that a [`ScriptedOrigin`] does after it has read a request.
#[derive(Clone, Debug)]
pub enum Step {
    /// Sends the bytes in one write.
    Send(Vec<u8>),
    /// Sends each piece in a write of its own.
    Pieces(Vec<Vec<u8>>),
    /// Waits for one [`ScriptedOrigin::release`].
    Hold,
    /// Sends FIN, and reads on.
    HalfClose,
    /// Closes the connection.
    Close,
    /// Resets the connection (RST).
    Reset,
    /// Sends back every byte that comes from now on, until the end: an upgraded connection.
    Echo,
}

impl Step {
    /// [`Step::Send`] of a text.
    #[must_use]
    pub fn send(text: &str) -> Self {
        Self::Send(text.as_bytes().to_vec())
    }

    /// [`Step::Pieces`] of one byte each.
    #[must_use]
    pub fn byte_by_byte(text: &str) -> Self {
        Self::Pieces(text.bytes().map(|byte| vec![byte]).collect())
    }
}

/// Answers every request by its script, on any number of connections, until it is dropped.
#[derive(Debug)]
pub struct ScriptedOrigin {
    address: SocketAddr,
    seen: watch::Receiver<Seen>,
    held: Arc<Semaphore>,
    _accepting: JoinSet<()>,
}

#[derive(Clone, Debug, Default)]
struct Seen {
    requests: Vec<Message>,
    connections: usize,
    ended: usize,
}

impl ScriptedOrigin {
    /// Starts an origin that does for each request what `script` says: the request is there to be looked at.
    pub async fn start(script: impl FnMut(&Message) -> Vec<Step> + Send + 'static) -> Self {
        Self::start_on(Origin::bind().await, script)
    }

    /// The same where `origin` listens.
    pub fn start_on(origin: Origin, script: impl FnMut(&Message) -> Vec<Step> + Send + 'static) -> Self {
        let address = origin.address();
        let held = Arc::new(Semaphore::new(0));
        let (said, seen) = watch::channel(Seen::default());
        let play = Play { script: Arc::new(Mutex::new(script)), held: Arc::clone(&held), said };
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = origin.listener.accept().await {
                connections.spawn(play.clone().connection(stream));
            }
        });
        Self { address, seen, held, _accepting: accepting }
    }

    /// Starts an origin that answers every request with `answer`.
    pub async fn answering(answer: &str) -> Self {
        let step = Step::send(answer);
        Self::start(move |_| vec![step.clone()]).await
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The requests that came whole until now, in the order of their last bytes.
    #[must_use]
    pub fn requests(&self) -> Vec<Message> {
        self.seen.borrow().requests.clone()
    }

    /// How many connections were opened until now, the closed ones included.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.seen.borrow().connections
    }

    /// Waits until `count` requests have come whole, and gives them all.
    pub async fn until_requests(&self, count: usize) -> Vec<Message> {
        self.until(&format!("{count} requests"), |seen| seen.requests.len() >= count).await.requests
    }

    /// Waits until `count` connections have ended, whichever end closed them.
    pub async fn until_ended(&self, count: usize) {
        self.until(&format!("the end of {count} connections"), |seen| seen.ended >= count).await;
    }

    /// Lets one [`Step::Hold`] go on, the next one to come if none is waiting.
    pub fn release(&self) {
        self.held.add_permits(1);
    }

    async fn until(&self, wanted: &str, reached: impl Fn(&Seen) -> bool) -> Seen {
        let mut seen = self.seen.clone();
        match timeout(TIMEOUT, seen.wait_for(|seen| reached(seen))).await {
            Ok(Ok(seen)) => seen.clone(),
            _ => panic!("{wanted} did not come; the origin saw {:#?}", self.seen.borrow()),
        }
    }
}

struct Play<S> {
    script: Arc<Mutex<S>>,
    held: Arc<Semaphore>,
    said: watch::Sender<Seen>,
}

impl<S> Clone for Play<S> {
    fn clone(&self) -> Self {
        Self { script: Arc::clone(&self.script), held: Arc::clone(&self.held), said: self.said.clone() }
    }
}

impl<S: FnMut(&Message) -> Vec<Step>> Play<S> {
    async fn connection(self, stream: tokio::net::TcpStream) {
        self.said.send_modify(|seen| seen.connections += 1);
        // A pooled connection may be idle for the rest of the test, and it may end in the middle of a request:
        // both are the proxy's affair, not a failure of the origin.
        let _ = self.exchanges(stream).await;
        self.said.send_modify(|seen| seen.ended += 1);
    }

    async fn exchanges(&self, stream: tokio::net::TcpStream) -> io::Result<()> {
        let mut connection = RawConnection::over(stream);
        loop {
            let Some(request) = connection.next_request().await? else { return Ok(()) };
            let steps = {
                let mut script = self.script.lock().unwrap_or_else(PoisonError::into_inner);
                script(&request)
            };
            self.said.send_modify(|seen| seen.requests.push(request));
            for step in steps {
                match step {
                    Step::Send(bytes) => connection.try_send(bytes).await?,
                    // The proxy may have had enough before the last piece.
                    Step::Pieces(pieces) => connection.try_send_pieces(pieces).await?,
                    Step::Hold => {
                        // The proxy may give up in the meantime, and that must be seen as an end of the connection.
                        tokio::select! {
                            permit = self.held.acquire() => permit.map_err(io::Error::other)?.forget(),
                            end = connection.ended() => return end,
                        }
                    }
                    Step::HalfClose => connection.half_close().await,
                    Step::Close => return Ok(()),
                    Step::Reset => {
                        connection.reset();
                        return Ok(());
                    }
                    Step::Echo => return connection.echo().await,
                }
            }
        }
    }
}
