//! The connections of a session to its providers: the one that speaks, and one that is to take over from it.
//!
//! ```text
//! new ─▶ speaking ──────────────── open_successor ─▶ both ── successor ready ─▶ the successor speaks, the other is closed
//!            └─ lost, no successor ─▶ Lost            └─ successor lost ─▶ as before
//! ```
//!
//! Audio and commands go to the one that speaks, and its events come from here; of a successor nothing is heard before it is
//! ready, of a predecessor nothing after. If the one that speaks is lost while a successor is on its way, the loss is told
//! only if the successor is lost as well.
//!
//! Knows no caller. What events mean, and when to open a successor, is for others.

mod connection;

use voicebridge_audio::Time;

use crate::{
    agent::Agent,
    ports::{ConnectionId, ConnectionInput, Ports, Watch},
    provider::{AudioFormat, Capabilities, Failure, Provider, ProviderCommand, ProviderEvent},
};
use connection::Connection;

/// See the module.
#[derive(Debug)]
pub(crate) struct Connections {
    speaking: Connection,
    successor: Option<Connection>,
    /// Why the one that speaks is gone, while a successor may still save the call.
    lost: Option<Failure>,
    /// One has been ready.
    has_been_ready: bool,
    next_id: u32,
    ready_within_ms: u64,
}

/// What happened on the connections.
#[derive(Debug)]
pub(crate) enum ConnectionEvent {
    /// The one that speaks reported this.
    Reported(ProviderEvent),
    /// A successor speaks from now on.
    TookOver {
        /// The provider's own session id, may be empty.
        session_id: String,
        /// Model in force.
        model: String,
    },
    /// The successor is of no use; who spoke goes on.
    SuccessorLost(Failure),
}

/// Why a successor was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SuccessorError {
    /// One is on its way already.
    #[error("a successor is being opened already")]
    Pending,
    /// It cannot take and give audio as the call does.
    #[error("the provider does not speak the format of the call")]
    Format,
    /// The call is over, or about to be.
    #[error("the call is over")]
    Ended,
}

impl Connections {
    /// Of a session whose audio is in `format`.
    pub(crate) fn new(now: Time, provider: Box<dyn Provider>, format: AudioFormat, ready_within_ms: u64) -> Self {
        let speaking = Connection::new(now, ConnectionId(0), provider, format, ready_within_ms);
        Self { speaking, successor: None, lost: None, has_been_ready: false, next_id: 1, ready_within_ms }
    }

    /// Dials the first one.
    pub(crate) fn dial(&mut self, now: Time, agent: &Agent, ports: &mut dyn Ports) {
        self.speaking.dial(now, agent, ports);
    }

    /// Opens one that takes over as soon as it is ready.
    pub(crate) fn open_successor(
        &mut self,
        now: Time,
        provider: Box<dyn Provider>,
        agent: &Agent,
        ports: &mut dyn Ports,
    ) -> Result<ConnectionId, SuccessorError> {
        if self.is_gone() {
            return Err(SuccessorError::Ended);
        }
        if self.successor.is_some() {
            return Err(SuccessorError::Pending);
        }
        let format = self.speaking.format();
        if format != AudioFormat::Pcm && !provider.capabilities().speaks_g711 {
            return Err(SuccessorError::Format);
        }
        let id = ConnectionId(self.next_id);
        self.next_id += 1;
        let successor = self.successor.insert(Connection::new(now, id, provider, format, self.ready_within_ms));
        successor.dial(now, agent, ports);
        Ok(id)
    }

    /// Takes what came from a connection; of one that is not known, or no more, nothing is taken.
    pub(crate) fn input(
        &mut self,
        now: Time,
        id: ConnectionId,
        input: ConnectionInput<'_>,
        agent: &Agent,
        ports: &mut dyn Ports,
    ) {
        let known = [Some(&mut self.speaking), self.successor.as_mut()].into_iter().flatten();
        if let Some(connection) = known.into_iter().find(|connection| connection.id() == id) {
            connection.input(now, input, agent, ports);
        }
    }

    /// The next thing that happened, if something did.
    pub(crate) fn next(&mut self, ports: &mut dyn Ports) -> Option<ConnectionEvent> {
        while let Some(event) = self.successor.as_mut().and_then(Connection::next_event) {
            match event {
                ProviderEvent::Ready { session_id, model } => {
                    self.speaking.close(ports);
                    self.speaking = self.successor.take()?;
                    self.lost = None;
                    self.has_been_ready = true;
                    return Some(ConnectionEvent::TookOver { session_id, model });
                }
                ProviderEvent::Failed(failure) => {
                    self.drop_successor(ports);
                    return Some(match self.lost.take() {
                        Some(lost) => ConnectionEvent::Reported(ProviderEvent::Failed(lost)),
                        None => ConnectionEvent::SuccessorLost(failure),
                    });
                }
                // It does not speak yet.
                _ => {}
            }
        }
        let event = self.speaking.next_event()?;
        self.has_been_ready |= self.speaking.is_ready();
        match event {
            ProviderEvent::Failed(failure) if self.successor.is_some() => {
                self.speaking.close(ports);
                self.lost = Some(failure);
                None
            }
            event => Some(ConnectionEvent::Reported(event)),
        }
    }

    /// Gives it the next piece of the caller's voice.
    pub(crate) fn audio(&mut self, now: Time, pcm: &[i16], ports: &mut dyn Ports) {
        self.speaking.audio(now, pcm, ports);
    }

    /// When the caller's voice at this offset of what the one that speaks was given was heard.
    pub(crate) fn given_at(&self, audio_ms: u64) -> Time {
        self.speaking.given_at(audio_ms)
    }

    pub(crate) fn command(&mut self, now: Time, command: ProviderCommand<'_>, ports: &mut dyn Ports) {
        self.speaking.command(now, command, ports);
    }

    /// How closely the one that speaks is to be watched for signs of life.
    pub(crate) fn watch(&mut self, watch: Watch, ports: &mut dyn Ports) {
        self.speaking.watch(watch, ports);
    }

    pub(crate) fn tick(&mut self, now: Time, ports: &mut dyn Ports) {
        self.speaking.tick(now, ports);
        self.successor.iter_mut().for_each(|successor| successor.tick(now, ports));
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        let successor = self.successor.as_ref().and_then(Connection::deadline);
        [self.speaking.deadline(), successor].into_iter().flatten().min()
    }

    pub(crate) const fn is_ready(&self) -> bool {
        self.speaking.is_ready()
    }

    /// Whether an AI was there at any time.
    pub(crate) const fn have_been_ready(&self) -> bool {
        self.has_been_ready
    }

    const fn is_gone(&self) -> bool {
        self.speaking.is_gone() && self.successor.is_none()
    }

    /// Of the one that speaks.
    pub(crate) fn name(&self) -> &'static str {
        self.speaking.name()
    }

    /// Of the one that speaks.
    pub(crate) fn transcription_model(&self) -> &str {
        self.speaking.transcription_model()
    }

    /// Of the one that speaks.
    pub(crate) fn capabilities(&self) -> Capabilities {
        self.speaking.capabilities()
    }

    pub(crate) const fn format(&self) -> AudioFormat {
        self.speaking.format()
    }

    /// Closes all; what they still report is dropped.
    pub(crate) fn close(&mut self, ports: &mut dyn Ports) {
        self.speaking.close(ports);
        self.drop_successor(ports);
        self.lost = None;
    }

    fn drop_successor(&mut self, ports: &mut dyn Ports) {
        if let Some(mut successor) = self.successor.take() {
            successor.close(ports);
        }
    }
}
