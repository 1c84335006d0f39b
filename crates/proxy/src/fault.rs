//! What can go wrong with an exchange, whose fault it is, and what follows. Whether a request may be sent again is
//! a property of the fault, not of the place that notices it.

use wire::Malformed;

/// Why an exchange failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The client broke the rules, or left.
    Client(ClientFault),
    /// The node broke the rules, or left.
    Origin(OriginFault),
    /// Nothing is wrong with either; we cannot serve it.
    Ours(OurFault),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientFault {
    Malformed(Malformed),
    /// The head did not come in time.
    HeadTimedOut,
    /// The body made no progress.
    BodyTimedOut,
    /// It took nothing of its answer for too long.
    AnswerUntaken,
    /// Its request is for another host than its TLS handshake was.
    Misdirected,
    /// It closed, or its connection broke.
    Gone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OriginFault {
    /// The wire said no: nobody listens there.
    Refused,
    /// No connection came about otherwise; nothing was sent.
    Unreachable,
    ConnectTimedOut,
    /// It does not speak TLS as it should, or is not who it should be; no request was sent.
    NoTls,
    /// It took the connection, and did not end the TLS handshake in time.
    TlsTimedOut,
    /// The connection ended before a byte of the answer.
    ClosedUnanswered {
        reused: bool,
    },
    /// The head of the answer did not come in time.
    AnswerTimedOut,
    Malformed(Malformed),
    /// The answer was cut after its head had come.
    CutShort,
    /// The body of the answer made no progress.
    BodyTimedOut,
    /// It took nothing of the request for too long.
    RequestUntaken,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OurFault {
    NoRoute,
    /// Its route does not answer this client.
    Denied,
    /// Its route wants a password, which was not sent, or a wrong one.
    Unauthorized,
    /// Whoever is asked about its requests has not answered.
    AuthUnanswered,
    /// More passwords are to be verified than can be.
    TooManyPasswords,
    /// A limit of its route has it come again later.
    TooManyRequests {
        status: u16,
    },
    /// A limit of its route lets no more be under way at once.
    TooManyAtOnce {
        status: u16,
    },
    /// Its route is in maintenance.
    Maintenance,
    /// The upstream has no node: no name has resolved yet.
    NoNode,
    /// Its app is stopped or given up.
    AppStopped,
    /// Every node of the upstream that is up carries as much as it may.
    AllFull,
    /// More sessions begin than the nodes take, so that this one would wait for too long.
    Overrun,
    /// It waited for its turn, and the proxy began to leave.
    Leaving,
    /// The open-file limit is reached.
    NoFiles,
    /// A file that is an answer could not be read, or was cut while it was sent.
    FileUnreadable,
    /// An encoder has failed.
    NotCompressed,
    /// The route has a page of its own in the place of what the node has answered.
    Replaced {
        status: u16,
    },
    /// The route has no more to say than this status, and the file has somebody who answers in its place.
    Bare {
        status: u16,
    },
    /// The budget of memory is used up.
    NoMemory,
    /// The stream of an EventSource has had its turn in a drain, between two events.
    StreamMoved,
    /// The node is stopped, and the answer had not come to its end by then.
    AnswerCut,
    /// The session's node is not in the pool, or no tidelock has heard of the session.
    SessionUnknown,
}

/// When a request may be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retry {
    Never,
    /// Nothing was sent: any request may.
    NothingSent,
    /// Something may have been done: only a request that changes nothing may.
    IfSafe,
}

impl Fault {
    pub(crate) fn retry(self) -> Retry {
        match self {
            Self::Origin(
                OriginFault::Refused
                | OriginFault::Unreachable
                | OriginFault::ConnectTimedOut
                | OriginFault::TlsTimedOut
                | OriginFault::NoTls,
            ) => Retry::NothingSent,
            // What was cut may not have begun towards the client; the head may be all that came, or half of it.
            Self::Origin(
                OriginFault::ClosedUnanswered { .. } | OriginFault::AnswerTimedOut | OriginFault::CutShort,
            ) => Retry::IfSafe,
            Self::Origin(
                OriginFault::Malformed(_) | OriginFault::BodyTimedOut | OriginFault::RequestUntaken,
            )
            | Self::Client(_)
            | Self::Ours(_) => Retry::Never,
        }
    }

    /// Whether the process that was asked may have died of the request: the connection ended under it. Whether it
    /// has died, a look at where it listens tells.
    pub(crate) fn may_be_a_death(self) -> bool {
        matches!(self, Self::Origin(OriginFault::ClosedUnanswered { .. } | OriginFault::CutShort))
    }

    /// Whether there was just nobody to send the request to: none was found, or none could be reached. That soon
    /// passes, which a certificate that is not trusted does not.
    pub(crate) fn is_want_of_a_node(self) -> bool {
        let is_for_now = self.retry() == Retry::NothingSent && self != Self::Origin(OriginFault::NoTls);
        matches!(self, Self::Ours(OurFault::NoNode | OurFault::AllFull)) || is_for_now
    }

    /// Whether nobody can have done anything of the request, so that even a POST may be sent again.
    pub(crate) fn is_undone(self) -> bool {
        let is_before = matches!(
            self,
            Self::Ours(
                OurFault::NoNode
                    | OurFault::AppStopped
                    | OurFault::AllFull
                    | OurFault::Overrun
                    | OurFault::Maintenance
                    | OurFault::FileUnreadable
                    | OurFault::Bare { .. }
            )
        );
        is_before || self.retry() == Retry::NothingSent
    }

    /// The status that tells the client, where it can still be told; `None` where there is nobody to tell.
    pub(crate) fn status(self) -> Option<u16> {
        match self {
            Self::Client(ClientFault::Malformed(malformed)) => Some(malformed.status()),
            Self::Client(ClientFault::HeadTimedOut | ClientFault::BodyTimedOut) => Some(408),
            Self::Client(ClientFault::Misdirected) => Some(421),
            Self::Client(ClientFault::Gone | ClientFault::AnswerUntaken) => None,
            Self::Origin(
                OriginFault::ConnectTimedOut
                | OriginFault::TlsTimedOut
                | OriginFault::AnswerTimedOut
                | OriginFault::RequestUntaken,
            ) => Some(504),
            // No node can be reached: that is soon over, and nothing was done.
            Self::Origin(OriginFault::Refused | OriginFault::Unreachable) => Some(503),
            Self::Origin(
                OriginFault::NoTls
                | OriginFault::ClosedUnanswered { .. }
                | OriginFault::Malformed(_)
                | OriginFault::CutShort
                | OriginFault::BodyTimedOut,
            ) => Some(502),
            Self::Ours(OurFault::Unauthorized) => Some(401),
            Self::Ours(OurFault::Denied) => Some(403),
            Self::Ours(OurFault::TooManyRequests { status } | OurFault::TooManyAtOnce { status }) => {
                Some(status)
            }
            Self::Ours(OurFault::NoRoute) => Some(404),
            Self::Ours(
                OurFault::Maintenance
                | OurFault::TooManyPasswords
                | OurFault::AuthUnanswered
                | OurFault::NoNode
                | OurFault::AppStopped
                | OurFault::AllFull
                | OurFault::Overrun
                | OurFault::Leaving
                | OurFault::StreamMoved
                | OurFault::AnswerCut
                | OurFault::NoFiles
                | OurFault::NoMemory,
            ) => Some(503),
            Self::Ours(OurFault::FileUnreadable | OurFault::NotCompressed) => Some(500),
            Self::Ours(OurFault::SessionUnknown) => Some(400),
            Self::Ours(OurFault::Replaced { status } | OurFault::Bare { status }) => Some(status),
        }
    }

    /// What the client is told of the fault, beside the status: what its own request has to do with it. What goes
    /// on behind us is nobody's business.
    pub(crate) fn reason_told(self) -> Option<&'static str> {
        match self {
            Self::Client(_) | Self::Ours(OurFault::NoRoute | OurFault::SessionUnknown) => Some(self.reason()),
            Self::Origin(_) | Self::Ours(_) => None,
        }
    }

    /// In words for the log; a client is told [`Fault::reason_told`].
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Client(ClientFault::Malformed(malformed)) => malformed.reason(),
            Self::Client(ClientFault::HeadTimedOut) => "request head timed out",
            Self::Client(ClientFault::BodyTimedOut) => "request body timed out",
            Self::Client(ClientFault::AnswerUntaken) => "client did not take the answer",
            Self::Client(ClientFault::Misdirected) => "the TLS handshake was for another host",
            Self::Client(ClientFault::Gone) => "client closed",
            Self::Origin(OriginFault::Refused) => "node refused the connection",
            Self::Origin(OriginFault::Unreachable) => "node unreachable",
            Self::Origin(OriginFault::ConnectTimedOut) => "connect to node timed out",
            Self::Origin(OriginFault::NoTls) => "TLS handshake with node failed",
            Self::Origin(OriginFault::TlsTimedOut) => "TLS handshake with node timed out",
            Self::Origin(OriginFault::ClosedUnanswered { .. }) => "node closed without an answer",
            Self::Origin(OriginFault::AnswerTimedOut) => "node did not answer in time",
            Self::Origin(OriginFault::Malformed(_)) => "node sent a malformed answer",
            Self::Origin(OriginFault::CutShort) => "node cut its answer short",
            Self::Origin(OriginFault::BodyTimedOut) => "node stopped in its answer",
            Self::Origin(OriginFault::RequestUntaken) => "node did not take the request",
            Self::Ours(OurFault::NoRoute) => "no route for this host and path",
            Self::Ours(OurFault::Denied) => "client not allowed",
            Self::Ours(OurFault::Unauthorized) => "no password, or a wrong one",
            Self::Ours(OurFault::AuthUnanswered) => "nobody has said whether the client may",
            Self::Ours(OurFault::TooManyPasswords) => "too many passwords to verify",
            Self::Ours(OurFault::TooManyRequests { .. }) => "too many requests",
            Self::Ours(OurFault::TooManyAtOnce { .. }) => "too many requests at once",
            Self::Ours(OurFault::Maintenance) => "in maintenance",
            Self::Ours(OurFault::NoNode) => "no node is known yet",
            Self::Ours(OurFault::AppStopped) => "its app is stopped or given up",
            Self::Ours(OurFault::AllFull) => "every node is full",
            Self::Ours(OurFault::Overrun) => "too many sessions begin at once",
            Self::Ours(OurFault::Leaving) => "tidelock is leaving",
            Self::Ours(OurFault::StreamMoved) => "event stream ended between two events, to go on elsewhere",
            Self::Ours(OurFault::AnswerCut) => "answer cut, its node is stopped",
            Self::Ours(OurFault::NoFiles) => "out of open files",
            Self::Ours(OurFault::FileUnreadable) => "file cannot be read",
            Self::Ours(OurFault::NotCompressed) => "answer cannot be compressed",
            Self::Ours(OurFault::Replaced { .. }) => "answer of the node replaced by a page",
            Self::Ours(OurFault::Bare { .. }) => "answered as `error_pages` says",
            Self::Ours(OurFault::NoMemory) => "out of memory (`limits.memory`)",
            Self::Ours(OurFault::SessionUnknown) => "Session ID unknown",
        }
    }

    /// The detail behind the reason, where there is one.
    pub(crate) fn detail(self) -> Option<&'static str> {
        match self {
            Self::Origin(OriginFault::Malformed(malformed)) => Some(malformed.reason()),
            Self::Client(_) | Self::Origin(_) | Self::Ours(_) => None,
        }
    }
}

impl From<Malformed> for ClientFault {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl From<ClientFault> for Fault {
    fn from(fault: ClientFault) -> Self {
        Self::Client(fault)
    }
}

impl From<OriginFault> for Fault {
    fn from(fault: OriginFault) -> Self {
        Self::Origin(fault)
    }
}

impl From<OurFault> for Fault {
    fn from(fault: OurFault) -> Self {
        Self::Ours(fault)
    }
}
