//! ICE towards one far end, on the agent of `rtc`: which address its media goes to, and whether the far end still wants it.
//!
//! Flow: [`Ice::new`], then [`Ice::start`]; STUN messages into [`Ice::read`], and after that and at every
//! [`Ice::deadline`] [`Ice::advance`], [`Ice::poll_event`] and [`Ice::poll_transmit`] until they have nothing more. What
//! strangers get of our checks is bounded by [`Checks`].

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use rtc::{
    crypto::RTCCryptoProvider,
    ice::{
        Agent, AgentConfig, Event,
        candidate::{Candidate, CandidateConfig, candidate_host::CandidateHostConfig},
        mdns::MulticastDnsMode,
        state::ConnectionState,
    },
    sansio::Protocol as _,
    shared::{TaggedBytesMut, TransportContext, TransportProtocol, error::Error},
    stun::{integrity::MessageIntegrity, message::Message},
};

use voicebridge_session::sdp::IceRole;

use super::{checks::Checks, refused};
use crate::peer::PeerError;

/// Time between two checks of one pair while connecting.
const CHECK_EVERY: Duration = Duration::from_millis(20);
/// Checks of one pair until it is given up: 30 s of them, by then ICE as a whole has failed.
const MAX_CHECKS: u16 = 1_500;
/// Without an answer to a consent check for this long ICE calls itself disconnected (and goes on).
const DISCONNECTED_AFTER: Duration = Duration::from_secs(5);
/// From there to failed: 30 s in all, the expiry of consent (RFC 7675, section 5.1).
const FAILED_AFTER: Duration = Duration::from_secs(25);
/// Time between two consent checks on the selected pair.
const CONSENT_EVERY: Duration = Duration::from_secs(2);

/// Checks whose answers are awaited; one not answered after so many others is late by more than a second.
const MAX_ASKED: usize = 64;
/// The agent takes whatever comes from here for multicast DNS, which we do not use.
const MDNS_PORT: u16 = 5_353;

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IceEvent {
    /// Media goes to this address from now on.
    Selected(SocketAddr),
    /// The far end does not answer, or has ceased to consent.
    Failed,
}

/// See the module.
pub(super) struct Ice {
    agent: Agent,
    checks: Checks,
    local: SocketAddr,
    crypto: Arc<dyn RTCCryptoProvider>,
    local_password: String,
    /// Once started.
    remote_password: String,
    /// Checks that left last: to whom, in which transaction.
    asked: VecDeque<(SocketAddr, Transaction)>,
}

/// Of a STUN message (RFC 8489, section 5).
type Transaction = [u8; 12];

impl Ice {
    /// An agent that waits, reachable at `local` under these credentials.
    pub(super) fn new(
        now: Instant,
        crypto: &Arc<dyn RTCCryptoProvider>,
        local: SocketAddr,
        ufrag: &str,
        password: &str,
    ) -> Result<Self, PeerError> {
        let config = AgentConfig {
            local_ufrag: ufrag.to_owned(),
            local_pwd: password.to_owned(),
            multicast_dns_mode: MulticastDnsMode::Disabled,
            disconnected_timeout: Some(DISCONNECTED_AFTER),
            failed_timeout: Some(FAILED_AFTER),
            keepalive_interval: Some(CONSENT_EVERY),
            check_interval: CHECK_EVERY,
            max_binding_requests: Some(MAX_CHECKS),
            ..AgentConfig::default()
        };
        let mut agent = Agent::new(now, Arc::new(config), crypto.clone()).map_err(refused("ICE settings"))?;
        let candidate = host(local).map_err(refused("announced address"))?;
        agent.add_local_candidate(candidate).map_err(refused("announced address"))?;
        Ok(Self {
            agent,
            checks: Checks::default(),
            local,
            crypto: crypto.clone(),
            local_password: password.to_owned(),
            remote_password: String::new(),
            asked: VecDeque::new(),
        })
    }

    /// Another attempt, which has the checks of this one counted: a call has so many, however often it tries.
    pub(super) fn succeeded_by(&mut self, mut next: Self) -> Self {
        next.checks = std::mem::take(&mut self.checks).renewed();
        next
    }

    /// Checks may leave from here on.
    pub(super) fn start(
        &mut self,
        now: Instant,
        role: IceRole,
        (ufrag, password): (&str, &str),
        candidates: &[SocketAddr],
    ) -> Result<(), PeerError> {
        let controlling = role == IceRole::Controlling;
        password.clone_into(&mut self.remote_password);
        self.agent
            .start_connectivity_checks(now, controlling, ufrag.to_owned(), password.to_owned())
            .map_err(refused("ICE credentials"))?;
        for candidate in candidates {
            self.checks.add(*candidate);
            let candidate = host(*candidate).map_err(refused("candidate"))?;
            self.agent.add_remote_candidate(candidate).map_err(refused("candidate"))?;
        }
        Ok(())
    }

    /// Takes a STUN message; whether it was genuine.
    ///
    /// The agent acts on some of a message before it has looked at who wrote it (a conflict of roles, RFC 8445, section
    /// 7.3.1.1), and on some kinds without looking. So it is given only what is authentic and, of answers, what we asked for.
    pub(super) fn read(&mut self, now: Instant, bytes: &[u8], from: SocketAddr) -> bool {
        if from.port() == MDNS_PORT || !self.is_authentic(bytes) {
            return false;
        }
        if is_success_response(bytes) {
            let asked = transaction(bytes).map(|transaction| (from, transaction));
            if !asked.is_some_and(|asked| self.asked.contains(&asked)) {
                return false;
            }
            self.checks.answered(from);
        }
        let message = TaggedBytesMut {
            now,
            transport: TransportContext {
                local_addr: self.local,
                peer_addr: from,
                transport_protocol: TransportProtocol::UDP,
                ecn: None,
            },
            message: BytesMut::from(bytes),
        };
        match self.agent.handle_read(message) {
            Ok(()) => true,
            Err(error) => {
                tracing::debug!(%error, "STUN message not usable");
                false
            }
        }
    }

    /// A request under our password, or an answer under theirs (RFC 8445, section 7).
    fn is_authentic(&self, bytes: &[u8]) -> bool {
        let password = match bytes {
            [0, 1, ..] => &self.local_password,
            [1, 1, ..] => &self.remote_password,
            _ => return false,
        };
        let mut message = Message { raw: bytes.to_vec(), ..Message::default() };
        message.decode().is_ok()
            && MessageIntegrity::check(&mut message, password.as_bytes(), self.crypto.crypto()).is_ok()
    }

    /// Whether this address has answered a check.
    pub(super) fn has_answered(&self, from: SocketAddr) -> bool {
        self.checks.has_answered(from)
    }

    /// Does what is due.
    pub(super) fn advance(&mut self, now: Instant) {
        if let Err(error) = self.agent.handle_timeout(now) {
            tracing::debug!(%error, "ICE");
        }
    }

    pub(super) fn poll_event(&mut self) -> Option<IceEvent> {
        loop {
            match self.agent.poll_event()?.event {
                Event::SelectedCandidatePairChange(_, remote) => return Some(IceEvent::Selected(remote.addr())),
                Event::ConnectionStateChange(ConnectionState::Failed) => return Some(IceEvent::Failed),
                _ => {}
            }
        }
    }

    /// The next message to send, and where to.
    pub(super) fn poll_transmit(&mut self, now: Instant) -> Option<(SocketAddr, Bytes)> {
        loop {
            let message = self.agent.poll_write()?;
            let to = message.transport.peer_addr;
            if is_request(&message.message) {
                if !self.checks.take(now, to) {
                    continue;
                }
                self.asked.truncate(MAX_ASKED - 1);
                if let Some(transaction) = transaction(&message.message) {
                    self.asked.push_front((to, transaction));
                }
            }
            return Some((to, message.message.freeze()));
        }
    }

    pub(super) fn deadline(&mut self) -> Option<Instant> {
        self.agent.poll_timeout()
    }
}

fn host(address: SocketAddr) -> Result<Candidate, Error> {
    let base_config = CandidateConfig {
        network: "udp".to_owned(),
        address: address.ip().to_string(),
        port: address.port(),
        component: 1,
        ..CandidateConfig::default()
    };
    CandidateHostConfig { base_config, ..CandidateHostConfig::default() }.new_candidate_host()
}

/// A binding success response (RFC 8489, section 5). It names our check's transaction, so that its sender has had it; a
/// request may claim to come from anywhere.
fn is_success_response(message: &[u8]) -> bool {
    message.starts_with(&[1, 1])
}

fn transaction(message: &[u8]) -> Option<Transaction> {
    message.get(8..20)?.try_into().ok()
}

/// A binding request (RFC 8489, section 5): what checks are.
fn is_request(message: &[u8]) -> bool {
    message.starts_with(&[0, 1])
}
