//! One connection to a provider: how far it is, what may still be sent, and what it reported.

use std::{collections::VecDeque, time::Duration};

use voicebridge_audio::Time;

use crate::{
    agent::Agent,
    ports::{ConnectionId, ConnectionInput, Frame, Ports, Watch},
    provider::{AudioFormat, Capabilities, Failure, Outbox, Provider, ProviderCommand, ProviderEvent, Wire},
};

/// See the module.
pub(crate) struct Connection {
    id: ConnectionId,
    provider: Box<dyn Provider>,
    format: AudioFormat,
    phase: ConnectionPhase,
    /// It has to be ready by then, in so many milliseconds.
    ready_by: (Time, u64),
    events: VecDeque<ProviderEvent>,
    /// Samples of the caller's voice it was given, and when the last of them.
    given: (u64, Time),
    watch: Watch,
    /// The provider's deadline: asked for more often than it changes.
    due: Option<Time>,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ConnectionPhase {
    /// Dialling.
    Unopened,
    /// Open, not yet confirmed.
    Opened,
    /// Confirmed.
    Ready,
    /// Gone, by itself or because the session ended.
    Gone,
}

impl Connection {
    /// Not dialled yet. Audio is in `format` both ways.
    pub(crate) fn new(
        now: Time,
        id: ConnectionId,
        provider: Box<dyn Provider>,
        format: AudioFormat,
        ready_within_ms: u64,
    ) -> Self {
        let ready_by = (now + Duration::from_millis(ready_within_ms), ready_within_ms);
        let (phase, events, watch) = (ConnectionPhase::Unopened, VecDeque::new(), Watch::default());
        Self { id, format, phase, ready_by, events, given: (0, now), watch, due: provider.deadline(), provider }
    }

    /// Has the driver open the socket, or opens a provider in process.
    pub(crate) fn dial(&mut self, now: Time, agent: &Agent, ports: &mut dyn Ports) {
        if self.provider.capabilities().needs_socket {
            ports.open_connection(self.id);
        } else {
            self.opened(now, agent, ports);
        }
    }

    pub(crate) const fn id(&self) -> ConnectionId {
        self.id
    }

    pub(crate) fn name(&self) -> &'static str {
        self.provider.name()
    }

    pub(crate) fn transcription_model(&self) -> &str {
        self.provider.transcription_model()
    }

    pub(crate) fn capabilities(&self) -> Capabilities {
        self.provider.capabilities()
    }

    pub(crate) const fn format(&self) -> AudioFormat {
        self.format
    }

    pub(crate) const fn is_ready(&self) -> bool {
        matches!(self.phase, ConnectionPhase::Ready)
    }

    pub(crate) const fn is_gone(&self) -> bool {
        matches!(self.phase, ConnectionPhase::Gone)
    }

    fn opened(&mut self, now: Time, agent: &Agent, ports: &mut dyn Ports) {
        if self.phase == ConnectionPhase::Unopened {
            self.phase = ConnectionPhase::Opened;
            let format = self.format;
            self.with(ports, |provider, out| provider.open(now, agent, format, out));
        }
    }

    /// Takes what came from its socket.
    pub(crate) fn input(&mut self, now: Time, input: ConnectionInput<'_>, agent: &Agent, ports: &mut dyn Ports) {
        if self.is_gone() {
            return;
        }
        match input {
            ConnectionInput::Opened => self.opened(now, agent, ports),
            ConnectionInput::Message(frame) => self.with(ports, |provider, out| provider.message(now, frame, out)),
            ConnectionInput::Audio(delta) => self.with(ports, |provider, out| provider.audio_delta(now, delta, out)),
            ConnectionInput::Oversized(bytes) => self.events.push_back(ProviderEvent::Error {
                code: "message_too_large".to_owned(),
                message: format!("a message of {bytes} bytes was dropped unread"),
            }),
            ConnectionInput::Closed(closed) => {
                let failure = self.provider.closed(closed);
                self.events.push_back(ProviderEvent::Failed(failure));
            }
        }
    }

    pub(crate) fn audio(&mut self, now: Time, pcm: &[i16], ports: &mut dyn Ports) {
        if self.is_ready() {
            self.given = (self.given.0 + pcm.len() as u64, now);
            self.with(ports, |provider, out| provider.audio(now, pcm, out));
        }
    }

    /// When the audio at this offset was given to it: what it was given is the caller's clock without a gap.
    pub(crate) fn given_at(&self, audio_ms: u64) -> Time {
        let (samples, at) = self.given;
        let given_ms = samples * 1_000 / u64::from(self.format.sample_rate_hz());
        at.earlier(Duration::from_millis(given_ms.saturating_sub(audio_ms)))
    }

    pub(crate) fn command(&mut self, now: Time, command: ProviderCommand<'_>, ports: &mut dyn Ports) {
        if self.is_ready() {
            self.with(ports, |provider, out| provider.command(now, command, out));
        }
    }

    /// How closely the socket is to be watched.
    pub(crate) fn watch(&mut self, watch: Watch, ports: &mut dyn Ports) {
        if self.watch != watch && !self.is_gone() {
            self.watch = watch;
            ports.watch_connection(self.id, watch);
        }
    }

    pub(crate) fn tick(&mut self, now: Time, ports: &mut dyn Ports) {
        if self.is_gone() {
            return;
        }
        if self.due.is_some_and(|due| due <= now) {
            self.with(ports, |provider, out| provider.tick(now, out));
        }
        let (ready_by, waited_ms) = self.ready_by;
        if !self.is_ready() && ready_by <= now && self.events.is_empty() {
            let message = format!("{} did not confirm the session within {waited_ms} ms", self.provider.name());
            self.events.push_back(ProviderEvent::Failed(Failure { code: "timeout".to_owned(), message }));
        }
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        if self.is_gone() {
            return None;
        }
        let ready_by = (!self.is_ready()).then_some(self.ready_by.0);
        [self.due, ready_by].into_iter().flatten().min()
    }

    pub(crate) fn next_event(&mut self) -> Option<ProviderEvent> {
        let event = self.events.pop_front()?;
        if matches!(event, ProviderEvent::Ready { .. }) && self.phase == ConnectionPhase::Opened {
            self.phase = ConnectionPhase::Ready;
        }
        Some(event)
    }

    /// Closes it; what it still reports is dropped.
    pub(crate) fn close(&mut self, ports: &mut dyn Ports) {
        if self.phase != ConnectionPhase::Gone {
            self.phase = ConnectionPhase::Gone;
            self.events.clear();
            ports.close_connection(self.id);
        }
    }

    fn with(&mut self, ports: &mut dyn Ports, act: impl FnOnce(&mut dyn Provider, &mut Outbox<'_>)) {
        let mut wire = ConnectionWire { connection: self.id, ports };
        act(&mut *self.provider, &mut Outbox::new(&mut wire, &mut self.events));
        self.due = self.provider.deadline();
    }
}

/// A connection's socket, as its provider writes to it.
struct ConnectionWire<'a> {
    connection: ConnectionId,
    ports: &'a mut dyn Ports,
}

impl Wire for ConnectionWire<'_> {
    fn send_control(&mut self, frame: Frame<'_>) {
        self.ports.send_control(self.connection, frame);
    }

    fn send_audio(&mut self, frame: Frame<'_>) {
        self.ports.send_audio(self.connection, frame);
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut connection = formatter.debug_struct("Connection");
        connection.field("id", &self.id).field("provider", &self.provider.name()).field("phase", &self.phase).finish()
    }
}
