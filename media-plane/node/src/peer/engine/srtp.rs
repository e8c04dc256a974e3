//! SRTP and SRTCP of one call (RFC 3711), on the contexts of `rtc`: RTP packets and RTCP compounds in the clear on one side,
//! datagrams on the other.
//!
//! A context keeps something for every source it is asked about, before it knows whether the packet is genuine. So a
//! packet of a source not heard of before is tried on a context of its own first: what strangers send leaves nothing behind.
//! At the bound of [`MAX_SOURCES`] genuine sources further ones are not taken.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use rtc::{
    crypto::RTCCryptoProvider,
    rtcp, rtp,
    shared::{
        error::Error,
        marshal::{Marshal as _, Unmarshal as _},
    },
    srtp::{
        config::Config,
        context::Context,
        option::{srtcp_replay_protection, srtp_replay_protection},
    },
};
use voicebridge_session::RtpOut;

/// Packets behind the newest that are still told from replays (RFC 3711, section 3.3.2: at least 64).
const REPLAY_WINDOW: usize = 64;
/// Sources of the far end within a call: one, and each time its side starts again another one.
const MAX_SOURCES: usize = 64;
/// Of a packet without extensions and contributing sources (RFC 3550, section 5.1).
const RTP_HEADER_BYTES: usize = 12;

/// See the module.
pub(super) struct Srtp {
    crypto: Arc<dyn RTCCryptoProvider>,
    config: Config,
    ours: Context,
    theirs: Context,
    /// Of packets that were genuine.
    sources: Vec<u32>,
    /// A packet in the clear, on its way out.
    clear: Vec<u8>,
}

impl Srtp {
    pub(super) fn new(crypto: Arc<dyn RTCCryptoProvider>, config: Config) -> Result<Self, Error> {
        let keys = &config.keys;
        let ours =
            Context::new(&keys.local_master_key, &keys.local_master_salt, config.profile, None, None, crypto.crypto())?;
        let theirs = receiving(&crypto, &config)?;
        Ok(Self { crypto, config, ours, theirs, sources: Vec::new(), clear: Vec::new() })
    }

    /// The packet of a datagram.
    pub(super) fn read_rtp(&mut self, datagram: &[u8]) -> Result<rtp::Packet, Error> {
        let header = rtp::Header::unmarshal(&mut &datagram[..])?;
        let mut clear = self.authentic(header.ssrc, |context| context.decrypt_rtp_with_header(datagram, &header))?;
        rtp::Packet::unmarshal(&mut clear)
    }

    /// The compound packet of a datagram.
    pub(super) fn read_rtcp(&mut self, datagram: &[u8]) -> Result<Vec<Box<dyn rtcp::Packet>>, Error> {
        let ssrc = datagram.get(4..8).ok_or(Error::ErrTooShortRtcp)?;
        let ssrc = u32::from_be_bytes([ssrc[0], ssrc[1], ssrc[2], ssrc[3]]);
        let mut clear = self.authentic(ssrc, |context| context.decrypt_rtcp(datagram))?;
        rtcp::packet::unmarshal(&mut clear)
    }

    /// The datagram of a packet.
    pub(super) fn write_rtp(&mut self, ssrc: u32, packet: RtpOut<'_>) -> Result<Bytes, Error> {
        let header = rtp::Header {
            version: 2,
            marker: packet.marker,
            payload_type: packet.payload_type,
            sequence_number: packet.sequence,
            timestamp: packet.timestamp,
            ssrc,
            ..rtp::Header::default()
        };
        self.clear.resize(RTP_HEADER_BYTES, 0);
        header.marshal_to(&mut self.clear)?;
        self.clear.extend_from_slice(packet.payload);
        Ok(self.ours.encrypt_rtp_with_header(&self.clear, &header)?.freeze())
    }

    /// The datagram of a compound packet.
    pub(super) fn write_rtcp(&mut self, compound: &[Box<dyn rtcp::Packet>]) -> Result<Bytes, Error> {
        let clear = rtcp::packet::marshal(compound)?;
        Ok(self.ours.encrypt_rtcp(&clear)?.freeze())
    }

    fn authentic(
        &mut self,
        ssrc: u32,
        decrypt: impl Fn(&mut Context) -> Result<BytesMut, Error>,
    ) -> Result<BytesMut, Error> {
        if !self.sources.contains(&ssrc) {
            if self.sources.len() >= MAX_SOURCES {
                return Err(Error::SsrcMissingFromSrtp(ssrc));
            }
            decrypt(&mut receiving(&self.crypto, &self.config)?)?;
            self.sources.push(ssrc);
        }
        decrypt(&mut self.theirs)
    }
}

fn receiving(crypto: &Arc<dyn RTCCryptoProvider>, config: &Config) -> Result<Context, Error> {
    Context::new(
        &config.keys.remote_master_key,
        &config.keys.remote_master_salt,
        config.profile,
        Some(srtp_replay_protection(REPLAY_WINDOW)),
        Some(srtcp_replay_protection(REPLAY_WINDOW)),
        crypto.crypto(),
    )
}
