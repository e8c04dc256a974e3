//! The relay's UDP socket: what makes a WebRTC engine behave like Meta's ICE-lite relay on the wire.
//!
//! It sits between the socket and the engine (as its `AsyncUdpSocket`) and decides per datagram:
//!
//! - **STUN in.** Before the business's answer is known the relay answers checks by itself, and remembers a nomination
//!   for the engine; afterwards the engine answers.
//! - **STUN out.** A lite agent sends no checks, but the engine confirms a nomination by one (RFC 8445 lets only full
//!   agents do that). Its request never leaves; the socket answers it as the peer would and shows the engine the
//!   nomination again.
//! - **DTLS in** is dropped, and counted, until the answer was delivered.
//! - **RTP and RTCP in** are observed (see `observe`) and passed on; RTP that comes before accept is observed and lost, as
//!   the user would lose it.
//! - **Everything** stops both ways once the call is over: no DTLS alert tells the business, only the webhook does.
//!
//! It drops nothing else and delays nothing, unless the call has a bad network (see `network`). But for what that sends
//! later, everything runs inside the engine's own polls.

use std::{
    collections::VecDeque,
    future::Future,
    io::{self, IoSliceMut},
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use tokio::{
    io::ReadBuf,
    net::UdpSocket,
    time::{Sleep, sleep_until},
};
use webrtc::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, RecvMeta, Runtime, TokioRuntime,
    Transmit,
};

use super::{
    network::{NetworkReport, Sender, Wires},
    observe::{Kind, Observed},
    stun::{self, Responder},
};

/// Datagrams the socket may owe the engine; the oldest goes first. Only STUN is queued, two per nomination.
const MAX_QUEUED: usize = 16;

/// The state of one call's relay, shared by its socket and its caller.
#[derive(Debug)]
pub(crate) struct Relay {
    responder: Responder,
    /// The network between it and the business, if that is a bad one.
    wires: Option<Wires>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The business's ICE password, once its answer was delivered.
    peer_password: Option<String>,
    accepted: bool,
    ended: bool,
    observed: Observed,
    nomination: Option<Nomination>,
    /// For the engine, as if it came from the network.
    queued: VecDeque<(SocketAddr, Vec<u8>)>,
    reader: Option<Waker>,
}

/// The last nominating check, to be shown to the engine again once its pair is valid.
#[derive(Clone, Debug)]
struct Nomination {
    from: SocketAddr,
    check: Vec<u8>,
    /// By the relay, before the engine could: the engine's response stays inside.
    answered: bool,
}

/// What to do with a datagram from the network.
enum Verdict {
    Pass,
    Drop,
    Reply(Vec<u8>),
}

impl Relay {
    pub(crate) fn new(responder: Responder, wires: Option<Wires>) -> Arc<Self> {
        Arc::new(Self { responder, wires, state: Mutex::default() })
    }

    /// The business's answer is known and good: DTLS may pass.
    pub(crate) fn deliver_answer(&self, peer_password: String) {
        let mut state = self.state();
        state.peer_password = Some(peer_password);
        if let Some(Nomination { from, check, .. }) = state.nomination.clone() {
            state.show_engine(from, check);
        }
    }

    /// The call is accepted: media may come.
    pub(crate) fn accept(&self) {
        self.state().accepted = true;
    }

    /// The call is over: nothing comes in or out any more.
    pub(crate) fn end(&self) {
        self.state().ended = true;
    }

    pub(super) fn is_ended(&self) -> bool {
        self.state().ended
    }

    pub(super) const fn wires(&self) -> Option<&Wires> {
        self.wires.as_ref()
    }

    /// What the network did so far, if it is a bad one.
    pub(crate) fn network_report(&self) -> Option<NetworkReport> {
        self.wires.as_ref().map(Wires::report)
    }

    /// Reads what was observed.
    pub(crate) fn observed<T>(&self, read: impl FnOnce(&Observed) -> T) -> T {
        read(&self.state().observed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn arrived(&self, now: Instant, datagram: &[u8], from: SocketAddr) -> Verdict {
        let mut state = self.state();
        let state = &mut *state;
        if state.ended {
            return Verdict::Drop;
        }
        match Kind::of(datagram) {
            Kind::Stun => self.check_arrived(state, now, datagram, from),
            Kind::Dtls if state.peer_password.is_none() => {
                state.observed.dtls_before_answer += 1;
                Verdict::Drop
            }
            Kind::Dtls => {
                state.observed.first_dtls.get_or_insert(now);
                Verdict::Pass
            }
            Kind::Rtp => {
                state.observed.rtp(now, datagram, state.accepted);
                if state.accepted { Verdict::Pass } else { Verdict::Drop }
            }
            Kind::Rtcp => {
                state.observed.rtcp(now, datagram);
                Verdict::Pass
            }
            Kind::Unknown => Verdict::Drop,
        }
    }

    fn check_arrived(&self, state: &mut State, now: Instant, datagram: &[u8], from: SocketAddr) -> Verdict {
        let Some(check) = self.responder.check(datagram) else {
            return Verdict::Drop;
        };
        state.observed.first_check.get_or_insert(now);
        if check.controlled {
            state.observed.checks_as_controlled += 1;
            return self.responder.role_conflict(&check).map_or(Verdict::Drop, Verdict::Reply);
        }
        let early = state.peer_password.is_none();
        if check.nominates {
            state.nomination = Some(Nomination { from, check: datagram.to_vec(), answered: early });
        }
        if early {
            state.observed.checks_before_answer += 1;
            return self.responder.accept(&check, from).map_or(Verdict::Drop, Verdict::Reply);
        }
        Verdict::Pass
    }

    /// Whether a datagram of the engine may leave.
    fn leaving(&self, datagram: &[u8], to: SocketAddr, local: SocketAddr) -> bool {
        {
            let mut state = self.state();
            match Kind::of(datagram) {
                _ if state.ended => return false,
                Kind::Stun => {}
                Kind::Rtp => {
                    state.observed.leaves(Instant::now(), datagram);
                    return true;
                }
                _ => return true,
            }
        }
        match stun::kind(datagram) {
            stun::Kind::Request => {
                self.answer_engine(datagram, to, local);
                false
            }
            stun::Kind::Success => {
                // The engine has taken the nomination: it need not see it again.
                let taken =
                    |nomination: &mut Nomination| stun::transaction(&nomination.check) == stun::transaction(datagram);
                self.state().nomination.take_if(taken).is_none_or(|nomination| !nomination.answered)
            }
            stun::Kind::Other => true,
        }
    }

    fn answer_engine(&self, request: &[u8], peer: SocketAddr, local: SocketAddr) {
        let mut state = self.state();
        let Some(password) = state.peer_password.clone() else {
            return;
        };
        if let Some(answer) = self.responder.answer_for_peer(request, local, &password) {
            state.show_engine(peer, answer);
        }
        if let Some(nomination) = state.nomination.clone().filter(|nomination| nomination.from == peer) {
            state.show_engine(peer, nomination.check);
        }
    }
}

impl State {
    fn show_engine(&mut self, from: SocketAddr, datagram: Vec<u8>) {
        if self.queued.len() == MAX_QUEUED {
            self.queued.pop_front();
        }
        self.queued.push_back((from, datagram));
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

/// The engine's socket.
#[derive(Debug)]
struct RelaySocket {
    io: Arc<UdpSocket>,
    relay: Arc<Relay>,
    /// Wakes the reader for what the network holds back.
    alarm: Mutex<Option<Pin<Box<Sleep>>>>,
    _sender: Option<Sender>,
}

impl AsyncUdpSocket for RelaySocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.local_addr()
    }

    fn poll_send(&self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        let (datagram, to) = (transmit.contents, transmit.destination);
        if !self.relay.leaving(datagram, to, self.io.local_addr()?) {
            return Poll::Ready(Ok(datagram.len()));
        }
        match self.relay.wires() {
            Some(wires) if Wires::concerns(Kind::of(datagram)) => {
                wires.leave(Instant::now(), to, datagram);
                Poll::Ready(Ok(datagram.len()))
            }
            _ => self.io.poll_send_to(cx, datagram, to),
        }
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let (Some(buffer), Some(meta)) = (bufs.first_mut(), meta.first_mut()) else {
            return Poll::Ready(Ok(0));
        };
        *meta = RecvMeta::default();
        {
            let mut state = self.relay.state();
            if let Some((from, datagram)) = state.queued.pop_front() {
                let length = datagram.len().min(buffer.len());
                buffer[..length].copy_from_slice(&datagram[..length]);
                return Poll::Ready(Ok(fill(meta, length, from)));
            }
            state.reader = Some(cx.waker().clone());
        }
        loop {
            if let Some((from, datagram)) = self.come_through() {
                let length = datagram.len().min(buffer.len());
                buffer[..length].copy_from_slice(&datagram[..length]);
                return Poll::Ready(Ok(fill(meta, length, from)));
            }
            let mut read = ReadBuf::new(buffer);
            let from = match self.io.poll_recv_from(cx, &mut read) {
                Poll::Pending if self.is_overdue(cx) => continue,
                Poll::Pending => return Poll::Pending,
                Poll::Ready(result) => result?,
            };
            if let Some(wires) = self.relay.wires().filter(|_| Wires::concerns(Kind::of(read.filled()))) {
                wires.arrive(Instant::now(), from, read.filled());
                continue;
            }
            match self.relay.arrived(Instant::now(), read.filled(), from) {
                Verdict::Pass => return Poll::Ready(Ok(fill(meta, read.filled().len(), from))),
                Verdict::Drop => {}
                // A response that finds the socket full is lost like any datagram; the check is repeated.
                Verdict::Reply(response) => drop(self.io.try_send_to(&response, from)),
            }
        }
    }
}

impl RelaySocket {
    /// The next datagram the bad network lets through and the relay passes.
    fn come_through(&self) -> Option<(SocketAddr, Vec<u8>)> {
        let wires = self.relay.wires()?;
        loop {
            let now = Instant::now();
            let (from, datagram) = wires.arrived(now)?;
            if matches!(self.relay.arrived(now, &datagram, from), Verdict::Pass) {
                return Some((from, datagram));
            }
        }
    }

    /// Whether something has come through by now; if not, the reader is woken when it has.
    fn is_overdue(&self, cx: &mut Context<'_>) -> bool {
        let Some(due) = self.relay.wires().and_then(Wires::next_arrival) else { return false };
        let mut alarm = self.alarm.lock().unwrap_or_else(PoisonError::into_inner);
        let alarm = alarm.get_or_insert_with(|| Box::pin(sleep_until(due.into())));
        alarm.as_mut().reset(due.into());
        alarm.as_mut().poll(cx).is_ready()
    }
}

fn fill(meta: &mut RecvMeta, length: usize, from: SocketAddr) -> usize {
    meta.len = length;
    meta.stride = length.max(1);
    meta.addr = from;
    1
}

/// Tokio, but for the UDP socket.
#[derive(Debug)]
pub(crate) struct RelayRuntime(pub(crate) Arc<Relay>);

impl Runtime for RelayRuntime {
    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) -> Box<dyn JoinHandle> {
        TokioRuntime.spawn(future)
    }

    fn wrap_udp_socket(&self, socket: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        socket.set_nonblocking(true)?;
        let (io, relay) = (Arc::new(UdpSocket::from_std(socket)?), Arc::clone(&self.0));
        let sender = relay.wires().map(|_| Sender::start(&relay, &io));
        Ok(Arc::new(RelaySocket { io, relay, alarm: Mutex::default(), _sender: sender }))
    }

    fn wrap_tcp_listener(&self, listener: std::net::TcpListener) -> io::Result<Arc<dyn AsyncTcpListener>> {
        TokioRuntime.wrap_tcp_listener(listener)
    }

    fn connect_tcp<'a>(
        &'a self,
        remote: SocketAddr,
    ) -> Pin<Box<dyn Future<Output = io::Result<Arc<dyn AsyncTcpStream>>> + Send + 'a>> {
        TokioRuntime.connect_tcp(remote)
    }

    fn resolve_host<'a>(
        &'a self,
        host: &'a str,
    ) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>> {
        TokioRuntime.resolve_host(host)
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>> {
        TokioRuntime.sleep(duration)
    }

    fn interval(&self, period: Duration) -> Box<dyn AsyncInterval> {
        TokioRuntime.interval(period)
    }

    fn block_on(&self, future: Pin<Box<dyn Future<Output = ()> + '_>>) {
        TokioRuntime.block_on(future);
    }

    fn name(&self) -> &'static str {
        "relay"
    }
}
