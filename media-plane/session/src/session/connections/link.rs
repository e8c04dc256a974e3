//! The session's hold on its provider: what may still be sent, and what it reported.

use std::collections::VecDeque;

use voicebridge_audio::Time;

use crate::{
    agent::Agent,
    ports::{ConnectionId, ConnectionInput, Frame, Ports, ProviderClosed, Watch},
    provider::{AudioFormat, Failure, Outbox, Provider, ProviderCommand, ProviderEvent, Wire},
};

/// See the module.
pub(in crate::session) struct Link {
    id: ConnectionId,
    pub(in crate::session) provider: Box<dyn Provider>,
    format: AudioFormat,
    phase: Phase,
    events: VecDeque<ProviderEvent>,
    watch: Watch,
}

/// How far the provider is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Dialling.
    Unopened,
    /// Open, not yet confirmed.
    Opened,
    /// Confirmed.
    Ready,
    /// Gone, by itself or because the session ended.
    Gone,
}

impl Link {
    /// Audio is in `format` both ways.
    pub(in crate::session) fn new(provider: Box<dyn Provider>, format: AudioFormat) -> Self {
        Self {
            id: ConnectionId::default(),
            provider,
            format,
            phase: Phase::Unopened,
            events: VecDeque::new(),
            watch: Watch::default(),
        }
    }

    pub(in crate::session) const fn format(&self) -> AudioFormat {
        self.format
    }

    pub(in crate::session) const fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Ready)
    }

    pub(in crate::session) const fn is_gone(&self) -> bool {
        matches!(self.phase, Phase::Gone)
    }

    pub(in crate::session) fn owes_answer(&self) -> bool {
        self.provider.capabilities().owes_answer
    }

    /// How closely the socket is to be watched.
    pub(in crate::session) fn watch(&mut self, watch: Watch, ports: &mut dyn Ports) {
        if self.watch != watch && !self.is_gone() {
            self.watch = watch;
            ports.watch_connection(self.id, watch);
        }
    }

    pub(in crate::session) fn open(&mut self, now: Time, agent: &Agent, ports: &mut dyn Ports) {
        if self.phase == Phase::Unopened {
            self.phase = Phase::Opened;
            let format = self.format;
            self.with(ports, |provider, out| provider.open(now, agent, format, out));
        }
    }

    /// Has the driver open the socket.
    pub(in crate::session) fn dial(&self, ports: &mut dyn Ports) {
        ports.open_connection(self.id);
    }

    /// Takes what came from a connection; whether it was ours is looked at here.
    pub(in crate::session) fn input(
        &mut self,
        now: Time,
        connection: ConnectionId,
        input: ConnectionInput<'_>,
        agent: &Agent,
        ports: &mut dyn Ports,
    ) {
        if connection != self.id || self.is_gone() {
            return;
        }
        match input {
            ConnectionInput::Opened => self.open(now, agent, ports),
            ConnectionInput::Message(frame) => self.with(ports, |provider, out| provider.message(now, frame, out)),
            ConnectionInput::Audio(delta) => self.with(ports, |provider, out| provider.audio_delta(now, delta, out)),
            ConnectionInput::Closed(closed) => self.closed(closed),
        }
    }

    fn closed(&mut self, closed: ProviderClosed<'_>) {
        let failure = self.provider.closed(closed);
        self.events.push_back(ProviderEvent::Failed(failure));
    }

    pub(in crate::session) fn audio(&mut self, now: Time, pcm: &[i16], ports: &mut dyn Ports) {
        if self.is_ready() {
            self.with(ports, |provider, out| provider.audio(now, pcm, out));
        }
    }

    pub(in crate::session) fn command(&mut self, now: Time, command: ProviderCommand<'_>, ports: &mut dyn Ports) {
        if self.is_ready() {
            self.with(ports, |provider, out| provider.command(now, command, out));
        }
    }

    pub(in crate::session) fn tick(&mut self, now: Time, ports: &mut dyn Ports) {
        if self.deadline().is_some_and(|due| due <= now) {
            self.with(ports, |provider, out| provider.tick(now, out));
        }
    }

    pub(in crate::session) fn deadline(&self) -> Option<Time> {
        if self.is_gone() { None } else { self.provider.deadline() }
    }

    pub(in crate::session) fn next_event(&mut self) -> Option<ProviderEvent> {
        let event = self.events.pop_front()?;
        if matches!(event, ProviderEvent::Ready { .. }) && self.phase == Phase::Opened {
            self.phase = Phase::Ready;
        }
        Some(event)
    }

    /// Lets go of the provider; what it still reports is dropped.
    pub(in crate::session) fn let_go(&mut self, ports: &mut dyn Ports) {
        if self.phase != Phase::Gone {
            self.phase = Phase::Gone;
            self.events.clear();
            ports.close_connection(self.id);
        }
    }

    fn with(&mut self, ports: &mut dyn Ports, act: impl FnOnce(&mut dyn Provider, &mut Outbox<'_>)) {
        let mut wire = ConnectionWire { connection: self.id, ports };
        act(&mut *self.provider, &mut Outbox::new(&mut wire, &mut self.events));
    }
}

/// One connection's socket.
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

impl std::fmt::Debug for Link {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Link").field("provider", &self.provider.name()).field("phase", &self.phase).finish()
    }
}

/// A provider that does not become ready in time.
pub(in crate::session) fn not_ready(provider: &str, waited_ms: u64) -> Failure {
    Failure {
        code: "timeout".to_owned(),
        message: format!("{provider} did not confirm the session within {waited_ms} ms"),
    }
}
