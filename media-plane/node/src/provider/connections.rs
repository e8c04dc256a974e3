//! The connections of one session to its provider, by id: opened, written to, read and closed.
//!
//! At the bound: [`MAX_CONNECTIONS`] are open at a time, one that speaks and one that takes over from it, with one to spare
//! for a predecessor that is still closing; a further one is told to the session as unreachable.

use std::sync::Arc;

use tokio::runtime::Handle;
use voicebridge_session::{
    ConnectionId, Frame, Watch,
    provider::{Decode, Endpoint, PingPolicy},
};

use super::{Arrival, Closed, incoming::Incoming, outgoing::Outgoing, socket};
use crate::waker::{CallWaker, ThreadWaker};

/// Sockets of a session that are open at a time.
const MAX_CONNECTIONS: usize = 3;

/// Where connections go, and how they are to be treated.
#[derive(Clone, Debug)]
pub struct Target {
    /// Address and headers.
    pub endpoint: Endpoint,
    /// Tells audio from the rest.
    pub decode: Decode,
    /// How it is asked for signs of life.
    pub ping: Option<PingPolicy>,
}

/// See the module.
#[derive(Debug)]
pub struct ProviderSockets {
    /// None for a provider in process.
    target: Option<(Target, Handle)>,
    open: Vec<ProviderSocket>,
    /// Connections that could not be tried.
    refused: Vec<ConnectionId>,
    /// Audio messages that connections which are gone had dropped.
    dropped_before: u64,
    waker: CallWaker,
}

#[derive(Debug)]
struct ProviderSocket {
    id: ConnectionId,
    outgoing: Outgoing,
    incoming: Incoming,
    /// The session is through with it; what is queued is still sent.
    closing: bool,
}

impl ProviderSockets {
    /// For a provider in process.
    #[must_use]
    pub fn none() -> Self {
        Self { target: None, open: Vec::new(), refused: Vec::new(), dropped_before: 0, waker: CallWaker::default() }
    }

    /// Towards `target`; sockets live on the current async runtime.
    ///
    /// # Panics
    /// Outside of an async runtime.
    #[must_use]
    pub fn to(target: Target) -> Self {
        Self { target: Some((target, Handle::current())), ..Self::none() }
    }

    /// Opens one; what comes of it arrives.
    pub fn open(&mut self, id: ConnectionId) {
        let dropped_before = &mut self.dropped_before;
        self.open.retain(|connection| {
            let over = connection.is_over();
            if over {
                *dropped_before += connection.outgoing.dropped();
            }
            !over
        });
        match &self.target {
            Some((target, runtime)) if self.open.len() < MAX_CONNECTIONS => {
                let _inside = runtime.enter();
                let (outgoing, incoming) = socket::open(target.clone(), self.waker.clone());
                self.open.push(ProviderSocket { id, outgoing, incoming, closing: false });
            }
            _ => {
                self.refused.push(id);
                self.waker.wake();
            }
        }
    }

    /// Sends a message that must arrive.
    pub fn send_control(&mut self, id: ConnectionId, frame: Frame<'_>) {
        self.with(id, |outgoing| outgoing.send_control(frame));
    }

    /// Sends a piece of the caller's voice.
    pub fn send_audio(&mut self, id: ConnectionId, frame: Frame<'_>) {
        self.with(id, |outgoing| outgoing.send_audio(frame));
    }

    /// Asks for signs of life as closely as said.
    pub fn watch(&mut self, id: ConnectionId, watch: Watch) {
        self.with(id, |outgoing| outgoing.watch(watch));
    }

    /// Closes one once everything queued is sent; nothing of it arrives any more.
    pub fn close(&mut self, id: ConnectionId) {
        for connection in self.open.iter_mut().filter(|connection| connection.id == id) {
            connection.closing = true;
            connection.outgoing.close();
        }
    }

    /// What came next, of any connection.
    pub fn take(&mut self) -> Option<(ConnectionId, Arrival)> {
        if let Some(id) = self.refused.pop() {
            let why = format!("{MAX_CONNECTIONS} connections are open");
            return Some((id, Arrival::Closed(Closed::Unreachable(why))));
        }
        let live = self.open.iter_mut().filter(|connection| !connection.closing);
        live.filter_map(|connection| Some((connection.id, connection.incoming.take()?))).next()
    }

    /// Whether nothing waits to be taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.refused.is_empty()
            && self.open.iter().all(|connection| connection.closing || connection.incoming.is_empty())
    }

    /// Audio messages dropped because a socket was too slow.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped_before + self.open.iter().map(|connection| connection.outgoing.dropped()).sum::<u64>()
    }

    /// Has the thread woken for its call of this index whenever something came.
    pub(crate) fn wake_by(&self, thread: &Arc<ThreadWaker>, call: usize) {
        self.waker.connect(thread, call);
    }

    fn with(&mut self, id: ConnectionId, act: impl FnOnce(&mut Outgoing)) {
        if let Some(connection) = self.open.iter_mut().find(|connection| connection.id == id) {
            act(&mut connection.outgoing);
        }
    }
}

impl ProviderSocket {
    fn is_over(&self) -> bool {
        self.closing && self.incoming.is_abandoned()
    }
}
