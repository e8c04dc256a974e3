//! A session in the middle of a call, driven in virtual time.

use anyhow::Context as _;
use std::time::Duration;
use voicebridge_audio::{FRAME_RTP_UNITS, Time};
use voicebridge_session::{
    Agent, AudioDelta, ConnectionId, ConnectionInput, Event, Frame, Input, Limits, Ports, RtpIn, RtpOut, Session,
    Setup, SignallingMode, Stage, Watch,
    provider::{
        Decode, Decoded, Provider as _,
        openai::{OpenAi, OpenAiSettings},
    },
    sdp,
};

const OFFER: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE audio\r\na=ice-lite\r\n\
    m=audio 3480 UDP/TLS/RTP/SAVPF 111 126\r\nc=IN IP4 192.0.2.10\r\n\
    a=candidate:1 1 udp 2122260223 192.0.2.10 3480 typ host\r\na=ice-ufrag:AbCdEfGhIjKlMnOp\r\n\
    a=ice-pwd:AAAAAAAAAAAAAAAAAAAAAA==\r\n\
    a=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r\n\
    a=setup:actpass\r\na=mid:audio\r\na=sendrecv\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\n\
    a=fmtp:111 maxaveragebitrate=20000;maxplaybackrate=16000;minptime=20;useinbandfec=1\r\n\
    a=rtpmap:126 telephone-event/8000\r\na=ptime:20\r\n";
const OPUS: u8 = 111;
const CONNECTION: ConnectionId = ConnectionId(0);
const FRAME: Duration = Duration::from_millis(20);
const HOUR_MS: u64 = 3_600_000;

/// To whom a session talks.
pub trait Listener {
    /// A packet to the caller.
    fn rtp(&mut self, packet: RtpOut<'_>);

    /// A message to the provider.
    fn provider(&mut self, message: &str);

    /// What happened.
    fn event(&mut self, _event: Event) {}
}

/// The ports of a session as they are today.
struct Acting<'a, L>(&'a mut L);

impl<L: Listener> Ports for Acting<'_, L> {
    fn send_rtp(&mut self, packet: RtpOut<'_>) {
        self.0.rtp(packet);
    }

    fn open_connection(&mut self, _: ConnectionId) {}

    fn send_control(&mut self, _: ConnectionId, frame: Frame<'_>) {
        self.0.provider(text(frame));
    }

    fn send_audio(&mut self, _: ConnectionId, frame: Frame<'_>) {
        self.0.provider(text(frame));
    }

    fn watch_connection(&mut self, _: ConnectionId, _: Watch) {}

    fn close_connection(&mut self, _: ConnectionId) {}

    fn emit(&mut self, event: Event) {
        self.0.event(event);
    }
}

/// This provider's messages are text.
fn text(frame: Frame<'_>) -> &str {
    match frame {
        Frame::Text(text) => text,
        Frame::Binary(_) => "",
    }
}

/// Counts what a session does.
#[derive(Debug, Default)]
pub struct Counted {
    pub rtp: usize,
    pub provider: usize,
}

impl Listener for Counted {
    fn rtp(&mut self, _: RtpOut<'_>) {
        self.rtp += 1;
    }

    fn provider(&mut self, _: &str) {
        self.provider += 1;
    }
}

/// A call whose audio flows both ways.
pub struct Talk<L> {
    session: Session,
    decode: Decode,
    pub listener: L,
    now: Time,
    sequence: u16,
    timestamp: u32,
}

impl<L: Listener> Talk<L> {
    /// A call at time 0, accepted and with the provider ready. There is no greeting.
    pub fn begin(agent: Agent, mut listener: L) -> anyhow::Result<Self> {
        let negotiated = sdp::lint(OFFER).context("the offer is fine")?.negotiated;
        let provider = OpenAi::new(OpenAiSettings::default());
        let decode = provider.decode();
        let setup = Setup {
            agent: Agent { greeting: String::new(), ..agent },
            provider: Box::new(provider),
            mode: SignallingMode::Staged,
            negotiated: &negotiated,
            // Statistics are of the call, not of a packet.
            limits: Limits {
                statistics_ms: HOUR_MS,
                first_media_ms: HOUR_MS,
                media_gap_ms: HOUR_MS,
                silent_caller_ms: 0,
                ..Limits::default()
            },
            seed: 1,
            elapsed_ms: 0,
            answer_ms: 0,
        };
        let session = Session::new(Time::ZERO, setup, &mut Acting(&mut listener))?;
        let mut talk = Self { session, decode, listener, now: Time::ZERO, sequence: 0, timestamp: 0 };
        talk.input(Input::Connection(CONNECTION, ConnectionInput::Opened));
        talk.server(r#"{"type":"session.created","event_id":"e1","session":{"id":"s1","type":"realtime","model":"gpt-realtime-2.1"}}"#);
        talk.server(
            r#"{"type":"session.updated","event_id":"e2","session":{"id":"s1","type":"realtime","model":"gpt-realtime-2.1","expires_at":1790003600,"audio":{"input":{"format":{"type":"audio/pcm","rate":24000},"turn_detection":{"type":"server_vad"}},"output":{"format":{"type":"audio/pcm","rate":24000},"voice":"marin"}}}}"#,
        );
        talk.input(Input::Advance(Stage::AnswerDelivered));
        talk.input(Input::TransportConnected);
        talk.input(Input::Advance(Stage::Accepted));
        Ok(talk)
    }

    /// The AI says this, all of it generated at once.
    pub fn reply(&mut self, pcm: &[i16]) {
        self.server(r#"{"type":"response.created","event_id":"e","response":{"id":"r1","status":"in_progress","metadata":null}}"#);
        for chunk in pcm.chunks(9_600) {
            let bytes: Vec<u8> = chunk.iter().flat_map(|sample| sample.to_le_bytes()).collect();
            let audio = base64_simd::STANDARD.encode_to_string(bytes);
            self.server(&format!(
                r#"{{"type":"response.output_audio.delta","event_id":"e","response_id":"r1","item_id":"i1","output_index":0,"content_index":0,"delta":"{audio}"}}"#
            ));
        }
        self.server(r#"{"type":"response.output_audio.done","event_id":"e","response_id":"r1","item_id":"i1"}"#);
        self.server(
            r#"{"type":"response.done","event_id":"e","response":{"id":"r1","status":"completed","output":[]}}"#,
        );
    }

    /// The caller's next packet, and the 20 ms until the one after it.
    pub fn packet(&mut self, payload: &[u8]) {
        let (sequence, timestamp) = (self.sequence, self.timestamp);
        self.sequence = sequence.wrapping_add(1);
        self.timestamp = timestamp.wrapping_add(FRAME_RTP_UNITS);
        self.rtp(self.now, RtpIn { payload_type: OPUS, sequence, timestamp, ssrc: 7, marker: false, payload });
        self.pass();
    }

    /// 20 ms in which the caller sends nothing.
    pub fn pass(&mut self) {
        let until = self.now + FRAME;
        while let Some(due) = self.due().filter(|due| *due <= until) {
            self.tick(due);
        }
        self.now = until;
    }

    /// A packet of the caller.
    pub fn rtp(&mut self, now: Time, packet: RtpIn<'_>) {
        self.now = now;
        self.input(Input::Rtp(packet));
    }

    /// A message of the provider.
    pub fn message(&mut self, now: Time, message: &str) {
        self.now = now;
        self.server(message);
    }

    /// Something is due.
    pub fn tick(&mut self, now: Time) {
        self.now = now;
        self.input(Input::Tick);
    }

    /// When.
    pub fn due(&self) -> Option<Time> {
        self.session.deadline()
    }

    fn server(&mut self, message: &str) {
        let frame = Frame::Text(message);
        let input = match (self.decode)(frame) {
            Decoded::Audio { response_id, item_id, bytes } => {
                let delta = AudioDelta { response_id: &response_id, item_id: &item_id, bytes: &bytes };
                return self.input(Input::Connection(CONNECTION, ConnectionInput::Audio(delta)));
            }
            Decoded::Other => ConnectionInput::Message(frame),
        };
        self.input(Input::Connection(CONNECTION, input));
    }

    fn input(&mut self, input: Input<'_>) {
        self.session.handle(self.now, input, &mut Acting(&mut self.listener));
    }
}
