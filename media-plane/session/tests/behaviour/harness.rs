//! The world around a session: a clock that jumps from deadline to deadline, ports that remember, a caller who encodes
//! with the codec of the call, and the server events of a Realtime session as JSON.

mod server;

use serde_json::Value;
use voicebridge_audio::{
    FRAME_SAMPLES, Time,
    codec::{Codec, Encoder},
    g711,
    opus::{Decoder, EncoderSettings},
};
use voicebridge_session::{
    Agent, AudioDelta, Command, CommandIdReused, ConnectionId, ConnectionInput, Event, EventKind, Frame, Input, Limits,
    Ports, ProviderClosed, RtpIn, RtpOut, Session, Setup, SignallingMode, Speaker, Stage, Termination,
    TerminationResult, Watch,
    provider::{Decode, Decoded, Provider, openai::OpenAi, openai::OpenAiSettings},
    sdp,
};

pub(crate) use server::*;

pub(crate) const OPUS: u8 = 111;
pub(crate) const DTMF: u8 = 126;

/// A packet the session sent.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) at_ms: u64,
    pub(crate) payload_type: u8,
    pub(crate) sequence: u16,
    pub(crate) timestamp: u32,
    pub(crate) marker: bool,
    pub(crate) payload: Vec<u8>,
}

/// Ports that remember.
#[derive(Default)]
pub(crate) struct Recorder {
    pub(crate) now_ms: u64,
    pub(crate) rtp: Vec<Sent>,
    /// Messages to the provider, except appends.
    pub(crate) requests: Vec<Value>,
    /// When each append went out, and how many samples of 16 bits it held.
    pub(crate) appends: Vec<(u64, usize)>,
    /// What they held, one after the other.
    pub(crate) appended: Vec<u8>,
    /// Connections that were to be opened, and to be closed.
    pub(crate) opened: Vec<ConnectionId>,
    pub(crate) closed: Vec<ConnectionId>,
    /// Which connection each request and each append went to.
    pub(crate) requested_of: Vec<ConnectionId>,
    pub(crate) appended_to: Vec<ConnectionId>,
    /// How closely the connection was to be watched, and since when.
    pub(crate) watched: Vec<(u64, Watch)>,
    pub(crate) events: Vec<Event>,
}

impl Recorder {
    fn sent(&self, connection: ConnectionId, frame: Frame<'_>) -> Value {
        let Frame::Text(message) = frame else { panic!("the protocol is text") };
        assert!(!self.closed.contains(&connection), "nothing is sent after {connection:?} was closed: {message}");
        serde_json::from_str(message).unwrap()
    }
}

impl Ports for Recorder {
    fn send_rtp(&mut self, packet: RtpOut<'_>) {
        self.rtp.push(Sent {
            at_ms: self.now_ms,
            payload_type: packet.payload_type,
            sequence: packet.sequence,
            timestamp: packet.timestamp,
            marker: packet.marker,
            payload: packet.payload.to_vec(),
        });
    }

    fn open_connection(&mut self, connection: ConnectionId) {
        self.opened.push(connection);
    }

    fn send_control(&mut self, connection: ConnectionId, frame: Frame<'_>) {
        let message = self.sent(connection, frame);
        self.requested_of.push(connection);
        self.requests.push(message);
    }

    fn send_audio(&mut self, connection: ConnectionId, frame: Frame<'_>) {
        let message = self.sent(connection, frame);
        self.appended_to.push(connection);
        assert_eq!(message["type"], "input_audio_buffer.append");
        let bytes = base64_simd::STANDARD.decode_to_vec(message["audio"].as_str().unwrap()).unwrap();
        self.appends.push((self.now_ms, bytes.len() / 2));
        self.appended.extend(bytes);
    }

    fn watch_connection(&mut self, _connection: ConnectionId, watch: Watch) {
        self.watched.push((self.now_ms, watch));
    }

    fn close_connection(&mut self, connection: ConnectionId) {
        self.closed.push(connection);
    }

    fn emit(&mut self, event: Event) {
        self.events.push(event);
    }
}

/// A call.
pub(crate) struct World {
    pub(crate) session: Session,
    pub(crate) ports: Recorder,
    decode: Decode,
    /// Of the call, and its payload type.
    codec: Codec,
    payload_type: u8,
    caller: Encoder,
    caller_sequence: u16,
    caller_timestamp: u32,
    /// Given so far.
    commands: u32,
}

/// What a call begins with.
pub(crate) struct Start {
    pub(crate) agent: Agent,
    pub(crate) mode: SignallingMode,
    pub(crate) limits: Limits,
    pub(crate) provider: Box<dyn Provider>,
    pub(crate) elapsed_ms: u64,
    pub(crate) offer: String,
}

impl Default for Start {
    fn default() -> Self {
        Self {
            agent: Agent::default(),
            mode: SignallingMode::Staged,
            limits: Limits::default(),
            provider: Box::new(OpenAi::new(OpenAiSettings::default())),
            elapsed_ms: 0,
            offer: OFFER.to_owned(),
        }
    }
}

pub(crate) const OFFER: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE audio\r\na=ice-lite\r\n\
    m=audio 3480 UDP/TLS/RTP/SAVPF 111 126\r\nc=IN IP4 192.0.2.10\r\n\
    a=candidate:1 1 udp 2122260223 192.0.2.10 3480 typ host\r\na=ice-ufrag:AbCdEfGhIjKlMnOp\r\n\
    a=ice-pwd:AAAAAAAAAAAAAAAAAAAAAA==\r\n\
    a=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r\n\
    a=setup:actpass\r\na=mid:audio\r\na=sendrecv\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\n\
    a=fmtp:111 maxaveragebitrate=20000;maxplaybackrate=16000;minptime=20;useinbandfec=1\r\n\
    a=rtpmap:126 telephone-event/8000\r\na=ptime:20\r\n";

impl World {
    pub(crate) fn new(start: Start) -> Self {
        let mut ports = Recorder::default();
        let negotiated = sdp::lint(&start.offer).unwrap().negotiated;
        let codec = negotiated.audio.codec();
        let decode = start.provider.decode();
        let setup = Setup {
            agent: start.agent,
            provider: start.provider,
            mode: start.mode,
            negotiated: &negotiated,
            limits: start.limits,
            seed: 0x1234_5678_9abc_def0,
            elapsed_ms: start.elapsed_ms,
            answer_ms: 3,
        };
        let session = Session::new(Time::ZERO, setup, &mut ports).unwrap();
        let caller = Encoder::new(codec, EncoderSettings::default()).unwrap();
        let payload_type = negotiated.audio.payload_type();
        let (caller_sequence, caller_timestamp) = (65_530, 4_294_960_000);
        Self { session, ports, decode, codec, payload_type, caller, caller_sequence, caller_timestamp, commands: 0 }
    }

    /// A call with the defaults.
    pub(crate) fn call() -> Self {
        Self::new(Start::default())
    }

    /// A call whose AI is ready, before anything was signalled.
    pub(crate) fn ready() -> Self {
        Self::ready_with(Start::default())
    }

    pub(crate) fn ready_with(start: Start) -> Self {
        let mut world = Self::new(start);
        world.opened();
        world.server(&session_created());
        let asked = world.requests("session.update").last().map(|update| update["session"]["audio"].clone());
        if let Some(audio) = asked {
            world.server(&session_updated_with(&audio["input"]["format"], &audio["output"]["format"]));
        }
        world
    }

    /// A call in which audio flows both ways, with no greeting.
    pub(crate) fn active() -> Self {
        Self::active_with(Start::default())
    }

    pub(crate) fn active_with(mut start: Start) -> Self {
        start.agent.greeting = String::new();
        let mut world = Self::ready_with(start);
        world.accept();
        world
    }

    /// Signalling and transport to the end: audio flows.
    pub(crate) fn accept(&mut self) {
        self.input(Input::Advance(Stage::AnswerDelivered));
        self.input(Input::TransportConnected);
        self.input(Input::Advance(Stage::Accepted));
    }

    pub(crate) fn now(&self) -> Time {
        Time::from_millis(self.ports.now_ms)
    }

    pub(crate) fn input(&mut self, input: Input<'_>) {
        let now = self.now();
        self.session.handle(now, input, &mut self.ports);
        assert!(self.session.deadline().is_none_or(|due| due > now), "nothing due is left undone");
    }

    /// An operator's command under an id of its own.
    pub(crate) fn command(&mut self, command: Command) {
        self.commands += 1;
        let id = format!("command-{}", self.commands);
        self.command_as(&id, command).unwrap();
    }

    pub(crate) fn command_as(&mut self, id: &str, command: Command) -> Result<(), CommandIdReused> {
        let now = self.now();
        let taken = self.session.command(now, id, &command, &mut self.ports);
        self.input(Input::Tick);
        taken
    }

    pub(crate) fn connection(&mut self, input: ConnectionInput<'_>) {
        self.connection_of(ConnectionId::default(), input);
    }

    pub(crate) fn connection_of(&mut self, id: ConnectionId, input: ConnectionInput<'_>) {
        self.input(Input::Connection(id, input));
    }

    /// The socket to the AI is open.
    pub(crate) fn opened(&mut self) {
        self.connection(ConnectionInput::Opened);
    }

    /// The socket to the AI is gone.
    pub(crate) fn closed(&mut self, closed: ProviderClosed<'_>) {
        self.connection(ConnectionInput::Closed(closed));
    }

    /// A message of the Realtime server, decoded as a driver does.
    pub(crate) fn server_text(&mut self, text: &str) {
        self.server_text_of(ConnectionId::default(), text);
    }

    fn server_text_of(&mut self, id: ConnectionId, text: &str) {
        let frame = Frame::Text(text);
        match (self.decode)(frame) {
            Decoded::Audio { response_id, item_id, bytes } => {
                let delta = AudioDelta { response_id: &response_id, item_id: &item_id, bytes: &bytes };
                self.connection_of(id, ConnectionInput::Audio(delta));
            }
            Decoded::Other => self.connection_of(id, ConnectionInput::Message(frame)),
        }
    }

    /// An event of the Realtime server on another connection than the first.
    pub(crate) fn server_of(&mut self, id: ConnectionId, event: &Value) {
        self.server_text_of(id, &event.to_string());
    }

    /// An event of the Realtime server.
    pub(crate) fn server(&mut self, event: &Value) {
        self.server_text(&event.to_string());
    }

    /// Lets time pass, waking the session exactly when it asked for it.
    pub(crate) fn run_ms(&mut self, ms: u64) {
        let target = self.ports.now_ms + ms;
        let mut steps = 0;
        while let Some(due) = self.session.deadline() {
            let due_ms = due.as_micros().div_ceil(1_000);
            if due_ms > target {
                break;
            }
            self.ports.now_ms = due_ms.max(self.ports.now_ms);
            self.input(Input::Tick);
            steps += 1;
            assert!(steps < 1_000_000, "the session asks to be woken for ever");
        }
        self.ports.now_ms = target;
    }

    /// Jumps, as a driver does that was held up.
    pub(crate) fn stall_ms(&mut self, ms: u64) {
        self.ports.now_ms += ms;
        self.input(Input::Tick);
    }

    /// The caller sends so much audio, one packet each 20 ms: a voice-like tone.
    pub(crate) fn caller_speaks_ms(&mut self, ms: u64) {
        for _ in 0..ms / 20 {
            let payload = self.caller_frame();
            self.caller_sends(&payload);
            self.run_ms(20);
        }
    }

    pub(crate) fn caller_frame(&mut self) -> Vec<u8> {
        let start = self.caller_timestamp as usize * FRAME_SAMPLES / self.codec.frame_rtp_units() as usize;
        let pcm: Vec<i16> = (0..FRAME_SAMPLES).map(|index| tone(start + index)).collect();
        let mut packet = [0; 1_500];
        let bytes = self.caller.encode(&pcm, &mut packet).unwrap();
        packet[..bytes].to_vec()
    }

    pub(crate) fn caller_sends(&mut self, payload: &[u8]) {
        self.rtp(self.payload_type, payload);
        self.caller_timestamp = self.caller_timestamp.wrapping_add(self.codec.frame_rtp_units());
    }

    /// A packet of so many milliseconds in a G.711 call, and the time it lasts.
    pub(crate) fn caller_sends_g711_ms(&mut self, ms: u64) {
        let Codec::G711(law) = self.codec else { panic!("not a call in G.711") };
        let units = ms as u32 * 8;
        let began = self.caller_timestamp;
        let payload: Vec<u8> =
            (0..units).map(|index| law.encode(tone(began.wrapping_add(index) as usize * 3))).collect();
        self.rtp(self.payload_type, &payload);
        self.caller_timestamp = began.wrapping_add(units);
        self.run_ms(ms);
    }

    /// The caller's numbers go on elsewhere.
    pub(crate) fn caller_jumps(&mut self, sequence: u16, seconds: i32) {
        self.caller_sequence = self.caller_sequence.wrapping_add(sequence);
        let units = seconds.wrapping_mul(self.codec.rtp_clock_hz() as i32);
        self.caller_timestamp = self.caller_timestamp.wrapping_add(units as u32);
    }

    /// A packet of the caller that does not arrive.
    pub(crate) fn caller_loses_a_packet(&mut self) {
        let _lost = self.caller_frame();
        self.caller_sequence = self.caller_sequence.wrapping_add(1);
        self.caller_timestamp = self.caller_timestamp.wrapping_add(self.codec.frame_rtp_units());
    }

    /// Time passes for the caller without a packet: DTX.
    pub(crate) fn caller_is_quiet_ms(&mut self, ms: u64) {
        self.caller_timestamp = self.caller_timestamp.wrapping_add(ms as u32 * (self.codec.rtp_clock_hz() / 1_000));
        self.run_ms(ms);
    }

    pub(crate) fn rtp(&mut self, payload_type: u8, payload: &[u8]) {
        let (sequence, timestamp) = (self.caller_sequence, self.caller_timestamp);
        self.caller_sequence = sequence.wrapping_add(1);
        self.input(Input::Rtp(RtpIn { payload_type, sequence, timestamp, ssrc: 7, marker: false, payload }));
    }

    /// The caller presses a key for 100 ms: five reports and two more of its end, in place of 100 ms of audio.
    pub(crate) fn caller_presses(&mut self, event: u8) {
        let began = self.caller_timestamp;
        for report in 1..=7_u16 {
            let duration = 160 * report.min(5);
            let end = if report >= 5 { 0x80 } else { 0 };
            let [high, low] = duration.to_be_bytes();
            let sequence = self.caller_sequence;
            self.caller_sequence = sequence.wrapping_add(1);
            let payload = &[event, end | 10, high, low];
            let packet =
                RtpIn { payload_type: DTMF, sequence, timestamp: began, ssrc: 7, marker: report == 1, payload };
            self.input(Input::Rtp(packet));
            self.caller_timestamp = self.caller_timestamp.wrapping_add(self.codec.frame_rtp_units());
            self.run_ms(20);
        }
    }

    /// A whole reply of the server, generated at once: `audio_ms` of voice and its words.
    pub(crate) fn reply(&mut self, response: &str, item: &str, words: &str, audio_ms: usize) {
        self.server(&response_created(response));
        self.server(&audio_delta(response, item, audio_ms));
        self.server(&text_delta(response, item, words));
        self.finish_reply(response, item, words);
    }

    pub(crate) fn finish_reply(&mut self, response: &str, item: &str, words: &str) {
        self.server(&audio_done(response, item));
        self.server(&text_done(response, item, words));
        self.server(&response_done(response, "completed"));
    }

    /// Requests of this type so far.
    pub(crate) fn requests(&self, kind: &str) -> Vec<&Value> {
        self.ports.requests.iter().filter(|request| request["type"] == kind).collect()
    }

    /// Types of the requests after the first so many, in order.
    pub(crate) fn request_kinds(&self, skip: usize) -> Vec<&str> {
        self.ports.requests[skip..].iter().map(|request| request["type"].as_str().unwrap()).collect()
    }

    pub(crate) fn kinds(&self) -> impl Iterator<Item = &EventKind> {
        self.ports.events.iter().map(|event| &event.kind)
    }

    /// Final transcripts so far: whose, words, interrupted.
    pub(crate) fn transcripts(&self) -> Vec<(Speaker, String, bool)> {
        self.kinds()
            .filter_map(|kind| match kind {
                EventKind::Transcript { speaker, text, interrupted, .. } => {
                    Some((*speaker, text.clone(), *interrupted))
                }
                _ => None,
            })
            .collect()
    }

    /// Reasons and provider codes of incidents so far.
    pub(crate) fn incidents(&self) -> Vec<(&'static str, String)> {
        self.kinds()
            .filter_map(|kind| match kind {
                EventKind::Incident { reason, upstream_code, .. } => Some((*reason, upstream_code.clone())),
                _ => None,
            })
            .collect()
    }

    /// `(heard_ms, received_ms)` of each barge-in.
    pub(crate) fn barge_ins(&self) -> Vec<(u64, u64)> {
        self.kinds()
            .filter_map(|kind| match kind {
                EventKind::BargedIn { heard_ms, received_ms, .. } => Some((*heard_ms, *received_ms)),
                _ => None,
            })
            .collect()
    }

    /// The end, which must be the last event and come once; durable events are numbered without a gap.
    pub(crate) fn ending(&self) -> (TerminationResult, String, String) {
        let ends = self.kinds().filter(|kind| matches!(kind, EventKind::Ended { .. })).count();
        assert_eq!(ends, 1, "one end");
        let durable: Vec<u64> =
            self.ports.events.iter().filter(|event| !event.kind.is_transient()).map(|event| event.sequence).collect();
        assert_eq!(durable, (1..=durable.len() as u64).collect::<Vec<_>>(), "gapless");
        let mut closed = self.ports.closed.clone();
        closed.sort();
        closed.dedup();
        assert_eq!(closed.len(), self.ports.closed.len(), "each connection is let go of once");
        assert!(
            closed.contains(&ConnectionId(0)) && self.ports.opened.iter().all(|id| closed.contains(id)),
            "and all are"
        );
        assert_eq!(self.session.deadline(), None);
        match self.kinds().last() {
            Some(EventKind::Ended { termination: Termination { result, reason, upstream_code, .. }, .. }) => {
                (*result, reason.clone(), upstream_code.clone())
            }
            other => panic!("the end is the last event, not {other:?}"),
        }
    }

    /// What the caller hears of the packets after the first so many, at the codec's own rate.
    pub(crate) fn heard(&self, skip: usize) -> Vec<i16> {
        let packets = self.ports.rtp[skip..].iter().filter(|packet| packet.payload_type == self.payload_type);
        if let Codec::G711(law) = self.codec {
            let mut decoder = g711::Decoder::new(law);
            return packets.flat_map(|packet| decode_g711(&mut decoder, &packet.payload)).collect();
        }
        let mut decoder = Decoder::new().unwrap();
        let mut pcm = Vec::new();
        for packet in packets {
            let mut frame = [0; 5_760];
            let samples = decoder.decode(&packet.payload, &mut frame).unwrap();
            pcm.extend_from_slice(&frame[..samples]);
        }
        pcm
    }

    /// Milliseconds of voice among what the caller hears after the first so many packets, by frames above -50 dBFS.
    pub(crate) fn voice_ms(&self, skip: usize) -> u64 {
        let heard = self.heard(skip);
        let frame = self.codec.sample_rate_hz() as usize / 50;
        let loud = heard.chunks(frame).filter(|frame| voicebridge_audio::level::rms_dbfs(frame) > -50.0).count();
        loud as u64 * 20
    }
}

fn decode_g711(decoder: &mut g711::Decoder, payload: &[u8]) -> Vec<i16> {
    let mut pcm = vec![0; payload.len()];
    decoder.decode(payload, &mut pcm);
    pcm
}

/// Something voice-like: a tone with harmonics that swells and fades five times a second.
pub(crate) fn tone(index: usize) -> i16 {
    let seconds = index as f64 / 24_000.0;
    let swell = 0.6 + 0.4 * (seconds * 5.0 * std::f64::consts::TAU).sin();
    let wave: f64 =
        (1..=4).map(|k| (seconds * 180.0 * f64::from(k) * std::f64::consts::TAU).sin() / f64::from(k)).sum();
    (wave * swell * 6_000.0) as i16
}
