//! The least of a media plane: answers an offer with full ICE as the controlling side and DTLS as the client.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use rtc::{
    media_stream::MediaStreamTrack,
    peer_connection::{
        configuration::media_engine::{MIME_TYPE_OPUS, MIME_TYPE_TELEPHONE_EVENT},
        transport::RTCDtlsRole,
    },
    rtp,
    rtp_transceiver::rtp_sender::{
        RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters, RtpCodecKind,
    },
};
use tokio::sync::{mpsc, watch};
use webrtc::{
    media_stream::{
        track_local::{TrackLocal, static_rtp::TrackLocalStaticRTP},
        track_remote::{TrackRemote, TrackRemoteEvent},
    },
    peer_connection::{
        MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCIceGatheringState,
        RTCPeerConnectionState, RTCSessionDescription, Registry, SettingEngineBuilder, configure_rtcp_reports,
    },
};

pub(crate) const SSRC: u32 = 330_000_001;

pub(crate) struct Answerer {
    connection: Arc<dyn PeerConnection>,
    track: Arc<TrackLocalStaticRTP>,
    pub(crate) sdp: String,
    pub(crate) heard: mpsc::UnboundedReceiver<rtp::Packet>,
    connected: watch::Receiver<bool>,
    sequence: u16,
}

struct Handler {
    heard: mpsc::UnboundedSender<rtp::Packet>,
    connected: watch::Sender<bool>,
    gathered: watch::Sender<bool>,
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        if state == RTCPeerConnectionState::Connected {
            self.connected.send_replace(true);
        }
    }

    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.gathered.send_replace(true);
        }
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        let heard = self.heard.clone();
        tokio::spawn(async move {
            while let Some(event) = track.poll().await {
                if let TrackRemoteEvent::OnRtpPacket(packet) = event {
                    // The test may have seen enough.
                    drop(heard.send(packet));
                }
            }
        });
    }
}

impl Answerer {
    /// ICE and DTLS start at once; a caller that wants them later keeps the offer until then.
    pub(crate) async fn new(offer: &str) -> Self {
        let (heard_in, heard) = mpsc::unbounded_channel();
        let (connected_in, connected) = watch::channel(false);
        let (gathered_in, mut gathered) = watch::channel(false);
        let mut engine = MediaEngine::default();
        for (mime_type, clock_rate, channels, payload_type) in
            [(MIME_TYPE_OPUS, 48_000, 2, 111), (MIME_TYPE_TELEPHONE_EVENT, 8_000, 1, 126)]
        {
            let rtp_codec = codec(mime_type, clock_rate, channels);
            let parameters = RTCRtpCodecParameters { rtp_codec, payload_type };
            engine.register_codec(parameters, RtpCodecKind::Audio).unwrap();
        }
        let connection = PeerConnectionBuilder::new()
            .with_setting_engine(
                SettingEngineBuilder::new()
                    .with_answering_dtls_role(RTCDtlsRole::Client)
                    .with_include_loopback_candidate(true)
                    .with_ice_connection_attempts(Some(Duration::from_millis(20)), None)
                    .build(),
            )
            .with_media_engine(engine)
            .with_interceptor_registry(configure_rtcp_reports(Registry::new()))
            .with_handler(Arc::new(Handler { heard: heard_in, connected: connected_in, gathered: gathered_in }))
            .with_udp_addrs(vec!["127.0.0.1:0".to_owned()])
            .build()
            .await
            .unwrap();
        let connection: Arc<dyn PeerConnection> = Arc::new(connection);
        let track = Arc::new(TrackLocalStaticRTP::new(MediaStreamTrack::new(
            "bridge".to_owned(),
            "bridge-audio".to_owned(),
            "bridge-audio".to_owned(),
            RtpCodecKind::Audio,
            vec![RTCRtpEncodingParameters {
                rtp_coding_parameters: RTCRtpCodingParameters { ssrc: Some(SSRC), ..Default::default() },
                codec: codec(MIME_TYPE_OPUS, 48_000, 2),
                ..Default::default()
            }],
        )));
        let local: Arc<dyn TrackLocal> = Arc::clone(&track) as _;
        connection.add_track(local).await.unwrap();
        connection.set_remote_description(RTCSessionDescription::offer(offer.to_owned()).unwrap()).await.unwrap();
        let answer = connection.create_answer(None).await.unwrap();
        connection.set_local_description(answer).await.unwrap();
        assert!(gathered.wait_for(|done| *done).await.is_ok());
        let sdp = connection.local_description().await.unwrap().sdp;
        Self { connection, track, sdp, heard, connected, sequence: 0 }
    }

    pub(crate) async fn connected(&mut self) {
        assert!(self.connected.wait_for(|connected| *connected).await.is_ok());
    }

    pub(crate) async fn send(&mut self, payload: &Bytes) {
        self.sequence = self.sequence.wrapping_add(1);
        let header = rtp::Header {
            version: 2,
            payload_type: 111,
            sequence_number: self.sequence,
            timestamp: u32::from(self.sequence) * 960,
            ssrc: SSRC,
            ..Default::default()
        };
        self.track.write_rtp(rtp::Packet { header, payload: payload.clone() }).await.unwrap();
    }

    pub(crate) async fn close(self) {
        self.connection.close().await.unwrap();
    }
}

fn codec(mime_type: &str, clock_rate: u32, channels: u16) -> RTCRtpCodec {
    RTCRtpCodec {
        mime_type: mime_type.to_owned(),
        clock_rate,
        channels,
        sdp_fmtp_line: String::new(),
        rtcp_feedback: vec![],
    }
}
