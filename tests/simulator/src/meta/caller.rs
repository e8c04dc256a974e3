//! One caller: a task that owns its call from the first ring to the last webhook.
//!
//! ```text
//!  Graph requests ─▶ ┌────────┐ ─▶ verdicts                    webhook connect, terminate ─▶ business
//!  the test's wishes │ caller │
//!  20 ms ticks ────▶ └────────┘ ─▶ RTP, one packet per tick ─▶ peer (webrtc engine behind the relay socket)
//! ```
//!
//! Follows the WhatsApp client: silent until the business's first packet, then 20 ms packets without a pause; ends the
//! call when no media came for 20 s after accept or nothing at all for 30 s. What it says and when is `script`.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use rand::RngExt as _;
use serde_json::Value;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::sleep_until,
};
use voicebridge_audio::{FRAME_MS, codec::Codec};
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};

use super::{
    CallerSettings, Limits,
    answer::{self, Offered},
    delivery::{Delivery, Signing, WebhookReport},
    ear::Ear,
    graph_error::{CLIENT_SETUP_FAILED, GraphError, NO_MEDIA_RECEIVED, SDP_VALIDATION},
    observe::Departure,
    offer,
    order::{self, Action, Phase},
    peer::{AnsweredRole, Marker, Peer, PeerEvent},
    record::{CallRecord, EndedBy, GraphExchange, Moment, SentPacket, Spoken, Timeline},
    script::{Script, Slot},
    utterance,
    violations::violations,
    webhook::{self, Business, Ending, Parties},
};

/// Length of a slot.
const FRAME: Duration = Duration::from_millis(FRAME_MS);
/// Slots made up for after the machine stalled; beyond that the clock starts anew.
const MAX_CATCH_UP: u32 = 50;
/// Requests of the same call that may wait.
pub(crate) const COMMAND_QUEUE: usize = 32;

/// What others ask of a caller.
pub(crate) enum Command {
    /// A request to the Graph API.
    Graph { request: GraphRequest, reply: oneshot::Sender<Result<(), GraphError>> },
    /// The connect webhook left, or was answered.
    Webhook(Moment, Instant),
    /// Hang up now.
    HangUp,
}

/// A request about this call whose form was checked.
#[derive(Clone, Debug)]
pub(crate) struct GraphRequest {
    pub(crate) action: Action,
    /// When it arrived.
    pub(crate) at: Instant,
    pub(crate) sdp: Option<String>,
    pub(crate) biz_opaque_callback_data: Option<String>,
}

/// How a call hears from others, and they of it.
pub(crate) struct Channels {
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) progress: watch::Sender<Timeline>,
}

/// Somebody the business calls.
#[derive(Clone, Debug)]
pub struct Called {
    /// The business's offer.
    pub offer: String,
    /// They pick up so long after it rings.
    pub picks_up_after: Duration,
    /// What their relay answers.
    pub role: AnsweredRole,
}

pub(crate) struct Caller {
    parties: Parties,
    business: Business,
    limits: Limits,
    settings: CallerSettings,
    /// The business called them; none if they call.
    picks_up_after: Option<Duration>,
    delivery: Arc<Delivery>,
    peer: Peer,
    commands: mpsc::Receiver<Command>,
    progress: watch::Sender<Timeline>,

    phase: Phase,
    sdp_pre_accept: Option<String>,
    sdp_accept: Option<String>,
    answer_ssrc: Option<u32>,
    accepted_unix: Option<u64>,
    biz_opaque_callback_data: Option<String>,
    graph: Vec<GraphExchange>,

    ear: Arc<Mutex<Ear>>,
    listening: Option<JoinHandle<()>>,
    script: Script,
    silence: Bytes,
    connected: bool,
    mouth: Option<Mouth>,
    sent: Vec<SentPacket>,
    spoken: Vec<Spoken>,
    worst_own_delay: Duration,
}

/// The caller's own stream, once it runs.
#[derive(Debug)]
struct Mouth {
    sequence: u16,
    timestamp: u32,
    silent: bool,
}

impl Caller {
    pub(crate) async fn new(
        parties: Parties,
        business: Business,
        limits: Limits,
        settings: CallerSettings,
        called: Option<Called>,
        delivery: Arc<Delivery>,
        Channels { commands, progress }: Channels,
    ) -> Result<Self, super::CallError> {
        let codec = settings.codec;
        let picks_up_after = called.as_ref().map(|called| called.picks_up_after);
        let (peer, business_ssrc) = match called {
            None => (Peer::new(codec, settings.network).await?, None),
            Some(Called { offer, role, .. }) => {
                let checked = answer::check_offer(&offer, spoken(codec))?;
                let ssrc = checked.ssrc;
                (Peer::answering(codec, settings.network, &offer, checked, role).await?, Some(ssrc))
            }
        };
        Ok(Self {
            peer,
            ear: Arc::new(Mutex::new(Ear::new(codec)?)),
            silence: utterance::silence(codec)?,
            script: Script::new(settings.script.clone(), codec, settings.patience),
            parties,
            business,
            limits,
            settings,
            picks_up_after,
            delivery,
            commands,
            progress,
            phase: Phase::Ringing,
            sdp_pre_accept: None,
            sdp_accept: None,
            answer_ssrc: business_ssrc,
            accepted_unix: None,
            biz_opaque_callback_data: None,
            graph: Vec::new(),
            listening: None,
            connected: false,
            mouth: None,
            sent: Vec::new(),
            spoken: Vec::new(),
            worst_own_delay: Duration::ZERO,
        })
    }

    /// Its own text: the offer, or the answer to the business's.
    pub(crate) fn sdp(&self) -> &str {
        &self.peer.offer
    }

    /// The `value` of this call's connect webhook, stamped `timestamp`.
    pub(crate) fn connect(&self, timestamp: u64) -> Value {
        webhook::connect(&self.business, &self.parties, &self.peer.offer, timestamp)
    }

    /// Lives the call.
    pub(crate) async fn run(mut self) -> CallRecord {
        let begun = Instant::now();
        let mut due = begun + self.settings.phase + FRAME;
        let ended_by = loop {
            tokio::select! {
                biased;
                command = self.commands.recv() => {
                    // The Meta that could send more commands is gone: so is the call.
                    let Some(command) = command else { break EndedBy::CallerAbandoned };
                    if let Some(ended_by) = self.obey(command).await { break ended_by }
                }
                event = self.peer.events.recv() => {
                    if let Some(ended_by) = event.and_then(|event| self.notice(event)) { break ended_by }
                }
                () = sleep_until(due.into()) => {
                    let now = Instant::now();
                    let late = now.duration_since(due);
                    if let Some(ended_by) = self.tick(now, begun, late).await { break ended_by }
                    due += FRAME;
                    if late > FRAME * MAX_CATCH_UP { due = now + FRAME; }
                }
            }
        };
        self.finish(ended_by).await
    }

    fn mark(&self, moment: Moment, at: Instant) {
        self.progress.send_modify(|timeline| timeline.mark(moment, at));
    }

    fn moment(&self, moment: Moment) -> Option<Instant> {
        self.progress.borrow().at(moment)
    }

    async fn obey(&mut self, command: Command) -> Option<EndedBy> {
        match command {
            Command::Webhook(moment, at) => {
                self.mark(moment, at);
                None
            }
            Command::HangUp => Some(self.hang_up()),
            Command::Graph { request, reply } => {
                let action = request.action;
                let result = self.decide(request).await;
                let (at, success) = (Instant::now(), result.is_ok());
                self.graph.push(GraphExchange { action, at, result: result.clone() });
                let ended_by = match action {
                    Action::PreAccept if success => {
                        self.mark(Moment::PreAcceptAnswered, at);
                        None
                    }
                    Action::Accept if success => {
                        self.mark(Moment::AcceptAnswered, at);
                        None
                    }
                    Action::Reject if success => {
                        self.mark(Moment::Rejected, at);
                        Some(EndedBy::BusinessRejected)
                    }
                    Action::Terminate if success => {
                        self.mark(Moment::Terminated, at);
                        Some(EndedBy::BusinessTerminated)
                    }
                    _ => None,
                };
                if reply.send(result).is_err() {
                    tracing::debug!(action = action.name(), "the business did not wait for the answer");
                }
                ended_by
            }
        }
    }

    /// Settles a Graph request; on success its effect is there before the answer leaves.
    async fn decide(&mut self, request: GraphRequest) -> Result<(), GraphError> {
        match request.action {
            Action::PreAccept => self.mark(Moment::PreAcceptReceived, request.at),
            Action::Accept => self.mark(Moment::AcceptReceived, request.at),
            _ => {}
        }
        order::check(self.phase, request.action)?;
        match request.action {
            Action::PreAccept => {
                self.sdp_pre_accept = Some(self.take_answer(request.sdp).await?);
                self.phase = Phase::PreAccepted;
            }
            Action::Accept => {
                self.sdp_accept = Some(self.take_answer(request.sdp).await?);
                self.biz_opaque_callback_data = request.biz_opaque_callback_data;
                self.accepted_unix = Some(super::unix_seconds());
                self.phase = Phase::InProgress;
                self.peer.relay.accept();
            }
            Action::Reject | Action::Terminate => self.phase = Phase::Ended,
            Action::Connect => return Err(GraphError::invalid("a call that exists cannot be connected")),
        }
        Ok(())
    }

    async fn take_answer(&mut self, sdp: Option<String>) -> Result<String, GraphError> {
        let sdp = sdp.ok_or_else(|| GraphError::invalid("The parameter session is required."))?;
        if self.sdp_pre_accept.as_ref().is_some_and(|earlier| *earlier != sdp) {
            return Err(GraphError::invalid("session.sdp differs from the one given in pre_accept"));
        }
        let answer = answer::check(&sdp, spoken(self.settings.codec))?;
        self.answer_ssrc = Some(answer.ssrc);
        self.peer.deliver_answer(&sdp, answer).await.map_err(|error| {
            tracing::debug!(%error, "the relay cannot use the answer");
            GraphError::new(SDP_VALIDATION, error.with_cause())
        })?;
        Ok(sdp)
    }

    fn notice(&mut self, event: PeerEvent) -> Option<EndedBy> {
        match event {
            PeerEvent::Connected(at) => {
                self.connected = true;
                self.mark(Moment::TransportConnected, at);
                None
            }
            PeerEvent::Failed => Some(EndedBy::TransportFailed),
            PeerEvent::Track(track) => {
                let listening =
                    tokio::spawn(listen(track, offer::payload_type(self.settings.codec), Arc::clone(&self.ear)));
                if let Some(earlier) = self.listening.replace(listening) {
                    earlier.abort();
                }
                None
            }
        }
    }

    /// Answers a call of the business's.
    fn pick_up(&mut self, now: Instant) {
        self.phase = Phase::InProgress;
        self.peer.relay.accept();
        self.mark(Moment::AcceptAnswered, now);
    }

    fn hang_up(&self) -> EndedBy {
        self.mark(Moment::CallerHungUp, Instant::now());
        if self.phase == Phase::InProgress { EndedBy::Caller } else { EndedBy::CallerAbandoned }
    }

    async fn tick(&mut self, now: Instant, begun: Instant, late: Duration) -> Option<EndedBy> {
        if let Some(ended_by) = self.overdue(now, begun) {
            return Some(ended_by);
        }
        if self.phase == Phase::Ringing && self.picks_up_after.is_some_and(|after| now.duration_since(begun) >= after) {
            self.pick_up(now);
        }
        let spoken_to = self.peer.relay.observed(|seen| seen.packets.first().map(|packet| packet.at));
        let (Some(first), true, Phase::InProgress) = (spoken_to, self.connected, self.phase) else {
            return None;
        };
        if self.mouth.is_none() {
            self.mark(Moment::FirstRtp, first);
            self.mark(Moment::MediaStarted, now);
            self.mouth = Some(Mouth::new());
        } else {
            self.worst_own_delay = self.worst_own_delay.max(late);
        }
        let hearing = self.ear().hearing();
        if let Some(first) = hearing.last_speech
            && self.moment(Moment::FirstSpeech).is_none()
        {
            self.mark(Moment::FirstSpeech, first);
        }
        match self.script.tick(now, hearing) {
            Slot::HangUp => Some(self.hang_up()),
            Slot::Stalled(step) => {
                self.mark(Moment::CallerHungUp, now);
                Some(EndedBy::ScriptStalled(step))
            }
            Slot::Silence => self.speak(None).await,
            Slot::Speech { packet, begins } => {
                if let Some(utterance) = begins {
                    self.spoken.push(Spoken { utterance, first_packet: self.sent.len() });
                }
                self.speak(Some(packet)).await
            }
        }
    }

    /// The limits nobody has to ask for.
    fn overdue(&mut self, now: Instant, begun: Instant) -> Option<EndedBy> {
        let passed =
            |since: Option<Instant>, limit: Duration| since.is_some_and(|since| now.duration_since(since) >= limit);
        if passed(Some(begun), self.settings.max_duration) {
            self.mark(Moment::CallerHungUp, now);
            return Some(EndedBy::DurationLimit);
        }
        if self.phase != Phase::InProgress {
            let rung = self.moment(Moment::ConnectSent);
            if self.settings.hang_up_while_ringing.is_some_and(|limit| passed(rung, limit)) {
                return Some(self.hang_up());
            }
            return passed(rung, self.limits.ring).then_some(EndedBy::NotAnswered);
        }
        let (spoken_to, last) = self.peer.relay.observed(|seen| (!seen.packets.is_empty(), seen.last_media));
        let silent = if spoken_to {
            passed(last, self.limits.media_silence)
        } else {
            passed(self.moment(Moment::AcceptAnswered), self.limits.first_media)
        };
        silent.then_some(EndedBy::NoMedia)
    }

    /// Puts one packet into the slot, silence if there is none.
    async fn speak(&mut self, speech: Option<Bytes>) -> Option<EndedBy> {
        let mouth = self.mouth.as_mut().expect("speaking starts with opening the mouth");
        let marker = if speech.is_some() && mouth.silent { Marker::TalkSpurt } else { Marker::None };
        mouth.silent = speech.is_none();
        let (sequence, timestamp) = (mouth.sequence, mouth.timestamp);
        mouth.sequence = sequence.wrapping_add(1);
        mouth.timestamp = timestamp.wrapping_add(self.settings.codec.frame_rtp_units());
        let payload = speech.unwrap_or_else(|| self.silence.clone());
        self.sent.push(SentPacket { at: Instant::now(), left: None, sequence, timestamp });
        let sent = self.peer.send(sequence, timestamp, marker, payload).await;
        (!sent).then_some(EndedBy::TransportFailed)
    }

    fn ear(&self) -> MutexGuard<'_, Ear> {
        self.ear.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the socket, tells the business, writes the record.
    async fn finish(mut self, ended_by: EndedBy) -> CallRecord {
        self.phase = Phase::Ended;
        self.commands.close();
        while let Ok(command) = self.commands.try_recv() {
            if let Command::Graph { request, reply } = command {
                // Nobody waits for it: nothing is lost.
                drop(reply.send(order::check(Phase::Ended, request.action)));
            }
        }
        self.peer.relay.end();
        self.peer.close().await;
        if let Some(listening) = self.listening.take() {
            listening.abort();
        }
        // Calls of the business's have no webhooks here.
        let told = self.picks_up_after.is_none() && !self.settings.terminate_withheld;
        let terminate = if told { Some(self.tell_ending(ended_by).await) } else { None };
        self.record(ended_by, terminate)
    }

    async fn tell_ending(&self, ended_by: EndedBy) -> WebhookReport {
        let failure = match ended_by {
            EndedBy::NoMedia => Some((NO_MEDIA_RECEIVED, "The client did not receive any media for a long time")),
            EndedBy::TransportFailed => Some((CLIENT_SETUP_FAILED, "The client failed to set up the call")),
            _ => None,
        };
        let ending = Ending {
            failure,
            start_time: self.accepted_unix,
            biz_opaque_callback_data: self.biz_opaque_callback_data.clone(),
        };
        let value = webhook::terminate(&self.business, &self.parties, &ending, super::unix_seconds());
        self.mark(Moment::TerminateSent, Instant::now());
        let report = self.delivery.send(&webhook::envelope(&self.business, &[value]), Signing::Valid).await;
        if report.accepted() {
            self.mark(Moment::TerminateAnswered, Instant::now());
        }
        report
    }

    fn record(self, ended_by: EndedBy, terminate: Option<WebhookReport>) -> CallRecord {
        let seen = self.peer.relay.observed(Clone::clone);
        for (moment, at) in [
            (Moment::FirstCheck, seen.first_check),
            (Moment::FirstDtls, seen.first_dtls),
            (Moment::FirstRtp, seen.packets.first().map(|packet| packet.at)),
        ] {
            if let Some(at) = at {
                self.mark(moment, at);
            }
        }
        let network = self.peer.relay.network_report();
        let (hearing, faults, pcm_heard) = {
            let mut ear = self.ear();
            let first = seen.packets.first().map_or(0, |packet| packet.timestamp);
            (ear.hearing(), ear.faults, ear.take_pcm(first))
        };
        let violations = violations(&seen, faults, offer::payload_type(self.settings.codec), self.answer_ssrc);
        let mut sent = self.sent;
        note_departures(&mut sent, &seen.departures);
        CallRecord {
            call_id: self.parties.call_id,
            from: self.parties.from,
            codec: self.settings.codec,
            timeline: self.progress.borrow().clone(),
            sdp_offer: self.peer.offer,
            sdp_pre_accept: self.sdp_pre_accept,
            sdp_accept: self.sdp_accept,
            graph: self.graph,
            pcm_heard,
            speech_heard: hearing.speech,
            packets: seen.packets,
            ssrcs: seen.ssrcs,
            sender_reports: seen.sender_reports,
            receiver_reports: seen.receiver_reports,
            checks_before_answer: seen.checks_before_answer,
            dtls_before_answer: seen.dtls_before_answer,
            sent,
            spoken: self.spoken,
            worst_own_delay: self.worst_own_delay,
            ended_by,
            biz_opaque_callback_data: self.biz_opaque_callback_data,
            terminate,
            network,
            violations,
        }
    }
}

/// Both are in the order of sending.
fn note_departures(sent: &mut [SentPacket], departures: &[Departure]) {
    let mut departures = departures.iter().peekable();
    for packet in sent {
        packet.left =
            departures.next_if(|departure| departure.sequence == packet.sequence).map(|departure| departure.at);
    }
}

/// What the relay of a caller with this codec speaks.
const fn spoken(codec: Codec) -> Offered<'static> {
    Offered {
        mid: offer::MID,
        codec: offer::payload_type(codec),
        encoding: offer::encoding(codec),
        telephone_event: offer::TELEPHONE_EVENT,
    }
}

impl Mouth {
    fn new() -> Self {
        let mut rng = rand::rng();
        Self { sequence: rng.random(), timestamp: rng.random(), silent: true }
    }
}

/// Feeds a track into the ear until either is gone.
async fn listen(track: Arc<dyn TrackRemote>, payload_type: u8, ear: Arc<Mutex<Ear>>) {
    while let Some(event) = track.poll().await {
        match event {
            TrackRemoteEvent::OnRtpPacket(packet) if packet.header.payload_type == payload_type => {
                let mut ear = ear.lock().unwrap_or_else(PoisonError::into_inner);
                ear.hear(Instant::now(), packet.header.timestamp, &packet.payload);
            }
            TrackRemoteEvent::OnEnded => break,
            _ => {}
        }
    }
}
