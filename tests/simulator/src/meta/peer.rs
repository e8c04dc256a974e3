//! A caller's WebRTC connection: the `webrtc` engine as an ICE-lite, controlled relay that offers one audio stream, or answers
//! the business's offer of one.
//!
//! The engine's own text stays inside: the business gets a text of the live shape (see `offer`) with the engine's port,
//! credentials and fingerprint in it. Knows nothing of calls, scripts or time limits.

use std::{
    net::Ipv4Addr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use rand::RngExt as _;
use rtc::{
    media_stream::MediaStreamTrack,
    peer_connection::{
        configuration::media_engine::{MIME_TYPE_OPUS, MIME_TYPE_PCMA, MIME_TYPE_PCMU, MIME_TYPE_TELEPHONE_EVENT},
        transport::RTCDtlsRole,
    },
    rtp,
    rtp_transceiver::rtp_sender::{
        RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters, RtpCodecKind,
    },
};
use tokio::sync::{mpsc, watch};
use voicebridge_audio::{codec::Codec, g711::Law};
use webrtc::{
    media_stream::{
        track_local::{TrackLocal, static_rtp::TrackLocalStaticRTP},
        track_remote::TrackRemote,
    },
    peer_connection::{
        MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCConfigurationBuilder,
        RTCIceGatheringState, RTCPeerConnectionState, RTCSessionDescription, Registry, SettingEngineBuilder,
        configure_rtcp_reports,
    },
};

use super::{
    answer::Answer,
    network::{Network, Wires},
    offer::{self, Offer},
    relay::{Relay, RelayRuntime},
    stun::Responder,
};

/// Events of one engine that wait for the caller; there are five at most in a call.
const EVENT_QUEUE: usize = 16;
/// Gathering is local: one host candidate on loopback.
const GATHERING_LIMIT: Duration = Duration::from_secs(5);
/// The caller's own time limits are shorter than any of the engine's.
const ENGINE_PATIENCE: Duration = Duration::from_secs(3_600);
/// As in live offers.
const UFRAG_LENGTH: usize = 16;

/// Why a caller has no connection.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// The engine refused something.
    #[error("the WebRTC engine failed to {step}")]
    Engine {
        /// What it was asked to do.
        step: &'static str,
        /// Its error.
        source: webrtc::error::Error,
    },
    /// The engine's own offer lacks something the live shape needs.
    #[error("the WebRTC engine's offer has no {0}")]
    Incomplete(&'static str),
    /// No network is as the settings say.
    #[error("the network of the settings cannot be")]
    Network(#[from] voicebridge_netem::ProfileError),
    /// The engine has no cryptography.
    #[error("no crypto provider")]
    Crypto,
}

impl PeerError {
    /// Display and the engine's own words.
    pub(crate) fn with_cause(&self) -> String {
        match self {
            Self::Engine { source, .. } => format!("{self}: {source}"),
            Self::Network(source) => format!("{self}: {source}"),
            Self::Incomplete(_) | Self::Crypto => self.to_string(),
        }
    }
}

fn failed(step: &'static str) -> impl FnOnce(webrtc::error::Error) -> PeerError {
    move |source| PeerError::Engine { step, source }
}

/// What the engine reports.
pub(crate) enum PeerEvent {
    Connected(Instant),
    Failed,
    Track(Arc<dyn TrackRemote>),
}

/// The DTLS role of somebody who is called (RFC 5763, section 5). Meta's sample answer is active; passive is seen as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnsweredRole {
    /// They say hello.
    Active,
    /// The business does.
    Passive,
}

pub(crate) struct Peer {
    connection: Arc<dyn PeerConnection>,
    track: Arc<TrackLocalStaticRTP>,
    pub(crate) relay: Arc<Relay>,
    pub(crate) events: mpsc::Receiver<PeerEvent>,
    /// Of its side: its offer, or its answer to the business's.
    pub(crate) offer: String,
    /// The engine's own name for what the offer calls [`offer::MID`].
    mid: String,
    ssrc: u32,
    payload_type: u8,
    answered: bool,
}

impl Peer {
    /// Binds a socket on loopback and writes the offer, of this one codec.
    pub(crate) async fn new(codec: Codec, network: Option<Network>) -> Result<Self, PeerError> {
        let mut engine = Engine::start(codec, network, RTCDtlsRole::Auto).await?;
        let description = engine.connection.create_offer(None).await.map_err(failed("write an offer"))?;
        engine.apply(description).await?;
        engine.into_peer(codec, "actpass").await
    }

    /// Binds a socket on loopback and answers an offer of the business's, in this one codec.
    pub(crate) async fn answering(
        codec: Codec,
        network: Option<Network>,
        offer: &str,
        checked: Answer,
        role: AnsweredRole,
    ) -> Result<Self, PeerError> {
        let (engine_role, setup) = match role {
            AnsweredRole::Active => (RTCDtlsRole::Client, "active"),
            AnsweredRole::Passive => (RTCDtlsRole::Server, "passive"),
        };
        let mut engine = Engine::start(codec, network, engine_role).await?;
        let offer = RTCSessionDescription::offer(offer.to_owned()).map_err(failed("read the offer"))?;
        engine.connection.set_remote_description(offer).await.map_err(failed("apply the offer"))?;
        let description = engine.connection.create_answer(None).await.map_err(failed("write an answer"))?;
        engine.apply(description).await?;
        let mut peer = engine.into_peer(codec, setup).await?;
        peer.relay.deliver_answer(checked.ice_password);
        peer.answered = true;
        Ok(peer)
    }

    /// Gives the engine the business's answer; from then on DTLS passes. A second time it does nothing.
    pub(crate) async fn deliver_answer(&mut self, sdp: &str, answer: Answer) -> Result<(), PeerError> {
        if self.answered {
            return Ok(());
        }
        let description =
            RTCSessionDescription::answer(rename_mid(sdp, &self.mid)).map_err(failed("read the answer"))?;
        self.connection.set_remote_description(description).await.map_err(failed("apply the answer"))?;
        self.relay.deliver_answer(answer.ice_password);
        self.answered = true;
        Ok(())
    }

    /// Sends one packet. False once the engine is gone.
    pub(crate) async fn send(&self, sequence: u16, timestamp: u32, marker: Marker, payload: Bytes) -> bool {
        let header = rtp::Header {
            version: 2,
            marker: marker == Marker::TalkSpurt,
            payload_type: self.payload_type,
            sequence_number: sequence,
            timestamp,
            ssrc: self.ssrc,
            ..Default::default()
        };
        self.track.write_rtp(rtp::Packet { header, payload }).await.is_ok()
    }

    /// Closes the socket.
    pub(crate) async fn close(&self) {
        if let Err(error) = self.connection.close().await {
            tracing::debug!(%error, "the WebRTC engine did not close cleanly");
        }
    }
}

/// An engine that has not said anything yet.
struct Engine {
    connection: Arc<dyn PeerConnection>,
    track: Arc<TrackLocalStaticRTP>,
    relay: Arc<Relay>,
    events: mpsc::Receiver<PeerEvent>,
    gathered: watch::Receiver<bool>,
    ufrag: String,
    password: String,
    stream_id: String,
    ssrc: u32,
}

impl Engine {
    async fn start(codec: Codec, network: Option<Network>, role: RTCDtlsRole) -> Result<Self, PeerError> {
        let crypto = rtc::crypto::default_provider().map_err(|_| PeerError::Crypto)?;
        let (ufrag, password) = credentials();
        let wires = network.map(Wires::new).transpose()?;
        let relay = Relay::new(Responder::new(ufrag.clone(), password.clone(), Arc::clone(&crypto)), wires);
        let (events_in, events) = mpsc::channel(EVENT_QUEUE);
        let (gathered_in, gathered) = watch::channel(false);

        let settings = SettingEngineBuilder::new()
            .with_crypto_provider(crypto)
            .with_lite(true)
            .with_answering_dtls_role(role)
            .with_ice_credentials(ufrag.clone(), password.clone())
            .with_include_loopback_candidate(true)
            .with_ice_timeouts(Some(ENGINE_PATIENCE), Some(ENGINE_PATIENCE), None)
            .build();
        let connection = PeerConnectionBuilder::new()
            .with_configuration(RTCConfigurationBuilder::default().build())
            .with_setting_engine(settings)
            .with_media_engine(media_engine(codec)?)
            .with_interceptor_registry(configure_rtcp_reports(Registry::new()))
            .with_runtime(Arc::new(RelayRuntime(Arc::clone(&relay))))
            .with_handler(Arc::new(Handler { events: events_in, gathered: gathered_in }))
            .with_udp_addrs(vec!["127.0.0.1:0".to_owned()])
            .build()
            .await
            .map_err(failed("start"))?;
        let connection: Arc<dyn PeerConnection> = Arc::new(connection);

        let ssrc = rand::rng().random();
        let stream_id = uuid::Uuid::new_v4().to_string();
        let track = Arc::new(TrackLocalStaticRTP::new(track(&stream_id, ssrc, codec)));
        let local: Arc<dyn TrackLocal> = Arc::clone(&track) as _;
        connection.add_track(local).await.map_err(failed("add the audio track"))?;
        Ok(Self { connection, track, relay, events, gathered, ufrag, password, stream_id, ssrc })
    }

    /// Applies what the engine wrote, and waits for its candidate.
    async fn apply(&mut self, description: RTCSessionDescription) -> Result<(), PeerError> {
        self.connection.set_local_description(description).await.map_err(failed("apply its own description"))?;
        let gathered = tokio::time::timeout(GATHERING_LIMIT, self.gathered.wait_for(|done| *done)).await;
        if gathered.is_ok_and(|gathered| gathered.is_ok()) { Ok(()) } else { Err(PeerError::Incomplete("candidate")) }
    }

    /// The peer, with the text the business gets.
    async fn into_peer(self, codec: Codec, setup: &str) -> Result<Peer, PeerError> {
        let Self { connection, track, relay, events, ufrag, password, stream_id, ssrc, .. } = self;
        let description = connection.local_description().await.ok_or(PeerError::Incomplete("text"))?;
        let Facts { port, fingerprint, mid } = Facts::of(&description.sdp)?;
        let text = Offer {
            session_id: rand::rng().random_range(1_790_000_000_000..1_800_000_000_000),
            stream_id: &stream_id,
            address: Ipv4Addr::LOCALHOST,
            port,
            ice_ufrag: &ufrag,
            ice_password: &password,
            fingerprint,
            ssrc,
            codec,
            setup,
        }
        .text();
        let (mid, payload_type) = (mid.to_owned(), offer::payload_type(codec));
        Ok(Peer { connection, track, relay, events, offer: text, mid, ssrc, payload_type, answered: false })
    }
}

/// RTP marker bit (RFC 7587, section 4.1): set on the first packet of a talk spurt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Marker {
    TalkSpurt,
    None,
}

struct Handler {
    events: mpsc::Sender<PeerEvent>,
    gathered: watch::Sender<bool>,
}

impl Handler {
    fn tell(&self, event: PeerEvent) {
        if self.events.try_send(event).is_err() {
            tracing::debug!("an event of the WebRTC engine found no caller");
        }
    }
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.gathered.send_replace(true);
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        match state {
            RTCPeerConnectionState::Connected => self.tell(PeerEvent::Connected(Instant::now())),
            RTCPeerConnectionState::Failed => self.tell(PeerEvent::Failed),
            _ => {}
        }
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        self.tell(PeerEvent::Track(track));
    }
}

/// 16 characters, and 16 bytes as base64 with its padding: `=` is no ice-char, but live passwords end in two.
fn credentials() -> (String, String) {
    let mut random = [0; UFRAG_LENGTH + 16];
    rand::rng().fill(&mut random);
    let ufrag = base64_simd::STANDARD_NO_PAD.encode_to_string(&random[..UFRAG_LENGTH]);
    (ufrag[..UFRAG_LENGTH].to_owned(), base64_simd::STANDARD.encode_to_string(&random[UFRAG_LENGTH..]))
}

fn media_engine(codec: Codec) -> Result<MediaEngine, PeerError> {
    let mut engine = MediaEngine::default();
    // Empty parameters match whatever the answer says of Opus.
    for (rtp_codec, payload_type) in [
        (rtp_codec(codec), offer::payload_type(codec)),
        (named(MIME_TYPE_TELEPHONE_EVENT, 8_000, 1), offer::TELEPHONE_EVENT),
    ] {
        let parameters = RTCRtpCodecParameters { rtp_codec, payload_type };
        engine.register_codec(parameters, RtpCodecKind::Audio).map_err(failed("register a codec"))?;
    }
    Ok(engine)
}

fn rtp_codec(codec: Codec) -> RTCRtpCodec {
    match codec {
        Codec::Opus => named(MIME_TYPE_OPUS, 48_000, 2),
        Codec::G711(Law::Mu) => named(MIME_TYPE_PCMU, 8_000, 1),
        Codec::G711(Law::A) => named(MIME_TYPE_PCMA, 8_000, 1),
    }
}

fn named(mime_type: &str, clock_rate: u32, channels: u16) -> RTCRtpCodec {
    RTCRtpCodec {
        mime_type: mime_type.to_owned(),
        clock_rate,
        channels,
        sdp_fmtp_line: String::new(),
        rtcp_feedback: vec![],
    }
}

fn track(stream_id: &str, ssrc: u32, codec: Codec) -> MediaStreamTrack {
    MediaStreamTrack::new(
        stream_id.to_owned(),
        "WhatsAppTrack1".to_owned(),
        "WhatsAppTrack1".to_owned(),
        RtpCodecKind::Audio,
        vec![RTCRtpEncodingParameters {
            rtp_coding_parameters: RTCRtpCodingParameters { ssrc: Some(ssrc), ..Default::default() },
            codec: rtp_codec(codec),
            ..Default::default()
        }],
    )
}

/// What the engine's own offer says.
struct Facts<'a> {
    /// Of the host candidate.
    port: u16,
    /// SHA-256.
    fingerprint: &'a str,
    mid: &'a str,
}

impl<'a> Facts<'a> {
    fn of(sdp: &'a str) -> Result<Self, PeerError> {
        let value = |prefix: &str, name: &'static str| {
            sdp.lines().find_map(|line| line.strip_prefix(prefix)).map(str::trim_end).ok_or(PeerError::Incomplete(name))
        };
        let candidate = value("a=candidate:", "candidate")?;
        let port = candidate.split(' ').nth(5).and_then(|port| port.parse().ok());
        Ok(Self {
            port: port.ok_or(PeerError::Incomplete("port"))?,
            fingerprint: value("a=fingerprint:sha-256 ", "fingerprint")?,
            mid: value("a=mid:", "mid")?,
        })
    }
}

/// The answer with the engine's name for the media section: the engine does not let its offer choose one.
fn rename_mid(sdp: &str, mid: &str) -> String {
    let rename = |line: &str| match line.strip_prefix("a=group:BUNDLE ") {
        Some(_) => format!("a=group:BUNDLE {mid}\r\n"),
        None if line.starts_with("a=mid:") => format!("a=mid:{mid}\r\n"),
        None => format!("{line}\r\n"),
    };
    sdp.lines().map(rename).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_mid_is_renamed() {
        let sdp = "v=0\r\na=group:BUNDLE audio\r\nm=audio 9 X 111\r\na=mid:audio\r\na=msid:audio audio\r\n";
        assert_eq!(
            rename_mid(sdp, "0"),
            "v=0\r\na=group:BUNDLE 0\r\nm=audio 9 X 111\r\na=mid:0\r\na=msid:audio audio\r\n"
        );
    }

    #[test]
    fn credentials_look_like_live_ones() {
        let (ufrag, password) = credentials();
        assert_eq!((ufrag.len(), password.len()), (16, 24));
        assert!(password.ends_with("==") && !ufrag.contains('='));
        assert_ne!(credentials(), credentials());
    }
}
