//! A caller made of `rtc`, sans IO: either like Meta's relay (ICE-lite, never speaks first) or like a browser
//! (full ICE, controlling). Used over memory in virtual time and over real sockets.

#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU32, Ordering},
    },
    time::Instant,
};

use bytes::{Bytes, BytesMut};
use rtc::{
    ice::mdns::MulticastDnsMode,
    interceptor::{Attribute, Interceptor, Packet, Registry, Slot, StreamInfo, TaggedPacket},
    media_stream::MediaStreamTrack,
    peer_connection::{
        RTCPeerConnection, RTCPeerConnectionBuilder,
        configuration::{
            interceptor_registry::configure_rtcp_reports,
            media_engine::{MIME_TYPE_OPUS, MIME_TYPE_PCMA, MIME_TYPE_PCMU, MediaEngine},
            setting_engine::SettingEngineBuilder,
        },
        event::RTCPeerConnectionEvent,
        message::{RTCMessage, TaggedRTCMessage},
        sdp::RTCSessionDescription,
        state::RTCPeerConnectionState,
        transport::{CandidateConfig, CandidateHostConfig, RTCIceCandidate},
    },
    rtcp, rtp,
    rtp_transceiver::{
        RTCRtpSenderId,
        rtp_sender::{
            RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters, RtpCodecKind,
        },
    },
    sansio::Protocol,
    shared::{TaggedBytesMut, TransportContext, TransportProtocol, error::Error},
};

pub const CALLER_SSRC: u32 = 0x0ca1_1e40;
/// What the caller speaks under after its side restarted.
pub const OTHER_SSRC: u32 = 0x0ca1_1e41;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// ICE-lite, as Meta's relay.
    Relay,
    /// Full ICE.
    Browser,
}

#[derive(Debug)]
pub enum Heard {
    Connected,
    Closed,
    Rtp(rtp::Packet),
    /// One compound packet.
    Rtcp(Vec<Box<dyn rtcp::Packet>>),
}

/// Has `rtc` give out the reports it gets, and send under another SSRC or payload type than it knows of.
struct Ears {
    voice: Arc<AtomicU32>,
    payload_type: Arc<AtomicU8>,
    reads: VecDeque<TaggedPacket>,
    writes: VecDeque<TaggedPacket>,
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for Ears {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, mut packet: TaggedPacket) -> Result<(), Error> {
        if matches!(packet.message.packet, Packet::Rtcp(_)) {
            packet.message.add(Attribute::DeliverToApplication);
        }
        self.reads.push_back(packet);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.reads.pop_front()
    }

    fn handle_write(&mut self, mut packet: TaggedPacket) -> Result<(), Error> {
        if let Packet::Rtp(rtp) = &mut packet.message.packet {
            rtp.header.ssrc = self.voice.load(Ordering::Relaxed);
            rtp.header.payload_type = self.payload_type.load(Ordering::Relaxed);
        }
        self.writes.push_back(packet);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.writes.pop_front()
    }
}

impl Interceptor for Ears {
    fn bind_local_stream(&mut self, _info: &StreamInfo) {}
    fn unbind_local_stream(&mut self, _info: &StreamInfo) {}
    fn bind_remote_stream(&mut self, _info: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _info: &StreamInfo) {}
}

pub struct Caller {
    connection: RTCPeerConnection,
    sender: RTCRtpSenderId,
    address: SocketAddr,
    transmits: VecDeque<(SocketAddr, Bytes)>,
    voice: Arc<AtomicU32>,
    sent_type: Arc<AtomicU8>,
    /// Of the codec it sends.
    pub payload_type: u8,
    pub heard: VecDeque<Heard>,
    pub connected: bool,
}

impl Caller {
    pub fn new(now: Instant, address: SocketAddr, kind: Kind) -> (Self, String) {
        Self::with_codec(now, address, kind, 111)
    }

    /// A caller of one codec, by its payload type: 111 Opus, 0 PCMU, 8 PCMA.
    pub fn with_codec(now: Instant, address: SocketAddr, kind: Kind, payload_type: u8) -> (Self, String) {
        Self::begin(now, address, kind, payload_type, None)
    }

    /// Somebody who is called in Opus, and the answer.
    pub fn called(now: Instant, address: SocketAddr, kind: Kind, offer: &str) -> (Self, String) {
        Self::begin(now, address, kind, 111, Some(offer))
    }

    fn begin(now: Instant, address: SocketAddr, kind: Kind, payload_type: u8, offer: Option<&str>) -> (Self, String) {
        let (mime_type, clock_rate, channels) = match payload_type {
            0 => (MIME_TYPE_PCMU, 8_000, 1),
            8 => (MIME_TYPE_PCMA, 8_000, 1),
            _ => (MIME_TYPE_OPUS, 48_000, 2),
        };
        let codec = RTCRtpCodec { mime_type: mime_type.to_owned(), clock_rate, channels, ..Default::default() };
        let mut media = MediaEngine::default();
        media
            .register_codec(RTCRtpCodecParameters { rtp_codec: codec.clone(), payload_type }, RtpCodecKind::Audio)
            .unwrap();
        let voice = Arc::new(AtomicU32::new(CALLER_SSRC));
        let sent_type = Arc::new(AtomicU8::new(payload_type));
        let ears = Ears {
            voice: voice.clone(),
            payload_type: sent_type.clone(),
            reads: VecDeque::new(),
            writes: VecDeque::new(),
        };
        let settings = SettingEngineBuilder::new()
            .with_lite(kind == Kind::Relay)
            .with_multicast_dns_mode(MulticastDnsMode::Disabled)
            .build();
        let mut connection = RTCPeerConnectionBuilder::new()
            .with_setting_engine(settings)
            .with_media_engine(media)
            .with_interceptor_registry(configure_rtcp_reports(Registry::new()).with(Slot::Custom(1), ears))
            .build(now)
            .unwrap();
        let sender = connection
            .add_track(MediaStreamTrack::new(
                "caller".into(),
                "audio".into(),
                "audio".into(),
                RtpCodecKind::Audio,
                vec![RTCRtpEncodingParameters {
                    rtp_coding_parameters: RTCRtpCodingParameters { ssrc: Some(CALLER_SSRC), ..Default::default() },
                    codec,
                    ..Default::default()
                }],
            ))
            .unwrap();
        let candidate = CandidateHostConfig {
            base_config: CandidateConfig {
                network: "udp".into(),
                address: address.ip().to_string(),
                port: address.port(),
                component: 1,
                ..Default::default()
            },
            ..Default::default()
        }
        .new_candidate_host()
        .unwrap();
        connection.add_local_candidate(RTCIceCandidate::from(&candidate).to_json().unwrap()).unwrap();
        let ours = match offer {
            None => connection.create_offer(None).unwrap(),
            Some(offer) => {
                let offer = RTCSessionDescription::offer(offer.to_owned()).unwrap();
                connection.set_remote_description(now, offer).unwrap();
                connection.create_answer(None).unwrap()
            }
        };
        connection.set_local_description(now, ours).unwrap();
        let sdp = connection.local_description().unwrap().sdp;
        let caller = Self {
            connection,
            sender,
            address,
            transmits: VecDeque::new(),
            voice,
            sent_type,
            payload_type,
            heard: VecDeque::new(),
            connected: false,
        };
        (caller, sdp)
    }

    pub fn answer(&mut self, now: Instant, sdp: &str) {
        let answer = RTCSessionDescription::answer(sdp.to_owned()).unwrap();
        self.connection.set_remote_description(now, answer).unwrap();
    }

    pub fn datagram(&mut self, now: Instant, bytes: &[u8], from: SocketAddr) {
        let transport = TransportContext {
            local_addr: self.address,
            peer_addr: from,
            transport_protocol: TransportProtocol::UDP,
            ecn: None,
        };
        let _ = self.connection.handle_read(TaggedBytesMut { now, transport, message: BytesMut::from(bytes) });
        self.run(now);
    }

    pub fn run(&mut self, now: Instant) {
        for _ in 0..4 {
            let _ = self.connection.handle_timeout(now);
            let mut again = false;
            while let Some(event) = self.connection.poll_event() {
                again = true;
                if let RTCPeerConnectionEvent::OnConnectionStateChangeEvent(state) = event {
                    match state {
                        RTCPeerConnectionState::Connected => {
                            self.connected = true;
                            self.heard.push_back(Heard::Connected);
                        }
                        RTCPeerConnectionState::Failed | RTCPeerConnectionState::Closed => {
                            self.heard.push_back(Heard::Closed);
                        }
                        _ => {}
                    }
                }
            }
            while let Some(TaggedRTCMessage { message, .. }) = self.connection.poll_read() {
                match message {
                    RTCMessage::RtpPacket(_, packet) => self.heard.push_back(Heard::Rtp(packet)),
                    RTCMessage::RtcpPacket(_, compound) => self.heard.push_back(Heard::Rtcp(compound)),
                    _ => {}
                }
            }
            while let Some(out) = self.connection.poll_write() {
                self.transmits.push_back((out.transport.peer_addr, out.message.freeze()));
            }
            if !again {
                break;
            }
        }
    }

    pub fn transmit(&mut self) -> Option<(SocketAddr, Bytes)> {
        self.transmits.pop_front()
    }

    pub fn speak(&mut self, now: Instant, sequence: u16, timestamp: u32, payload: &[u8]) {
        self.speak_as(CALLER_SSRC, now, sequence, timestamp, payload);
    }

    pub fn speak_as(&mut self, ssrc: u32, now: Instant, sequence: u16, timestamp: u32, payload: &[u8]) {
        let packet = rtp::Packet {
            header: rtp::Header {
                version: 2,
                payload_type: self.payload_type,
                sequence_number: sequence,
                timestamp,
                ssrc: CALLER_SSRC,
                ..Default::default()
            },
            payload: Bytes::copy_from_slice(payload),
        };
        self.voice.store(ssrc, Ordering::Relaxed);
        self.connection.rtp_sender(self.sender).unwrap().write_rtp(now, packet).unwrap();
        self.run(now);
    }

    /// Sends a packet of another payload type, as part of the same stream.
    pub fn send_of_type(&mut self, payload_type: u8, now: Instant, sequence: u16, timestamp: u32, payload: &[u8]) {
        self.sent_type.store(payload_type, Ordering::Relaxed);
        self.speak(now, sequence, timestamp, payload);
        self.sent_type.store(self.payload_type, Ordering::Relaxed);
    }

    pub fn hang_up(&mut self, now: Instant) {
        let _ = self.connection.close();
        self.run(now);
    }
}

/// A value of the first `a=<name>:` line.
pub fn attribute<'a>(sdp: &'a str, name: &str) -> Option<&'a str> {
    sdp.lines().find_map(|line| line.trim_end().strip_prefix("a=")?.strip_prefix(name)?.strip_prefix(':'))
}
