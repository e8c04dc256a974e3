//! The codecs as `rtc` is told of them: the one agreed to, telephone-event if offered, and nothing else.

use rtc::{
    media_stream::MediaStreamTrack,
    peer_connection::configuration::media_engine::{
        MIME_TYPE_OPUS, MIME_TYPE_PCMA, MIME_TYPE_PCMU, MIME_TYPE_TELEPHONE_EVENT, MediaEngine,
    },
    rtp_transceiver::rtp_sender::{
        RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters, RtpCodecKind,
    },
};
use voicebridge_audio::{codec::Codec, dtmf::EVENT_CLOCK_HZ, g711::Law};

use super::{PeerError, Remote, refused};

/// The codec and telephone-event at the payload types of the offer, and nothing else.
pub(super) fn media_engine(remote: &Remote) -> Result<MediaEngine, PeerError> {
    let mut engine = MediaEngine::default();
    engine
        .register_codec(
            RTCRtpCodecParameters { rtp_codec: rtp_codec(remote.codec), payload_type: remote.payload_type },
            RtpCodecKind::Audio,
        )
        .map_err(refused("codec"))?;
    if let Some(payload_type) = remote.telephone_event {
        let rtp_codec = RTCRtpCodec {
            mime_type: MIME_TYPE_TELEPHONE_EVENT.to_owned(),
            clock_rate: EVENT_CLOCK_HZ,
            channels: 1,
            ..Default::default()
        };
        engine
            .register_codec(RTCRtpCodecParameters { rtp_codec, payload_type }, RtpCodecKind::Audio)
            .map_err(refused("codec"))?;
    }
    Ok(engine)
}

/// With its usual fmtp `rtc` would drop Opus from the answer to an offer like Meta's.
fn rtp_codec(codec: Codec) -> RTCRtpCodec {
    let (mime_type, channels) = match codec {
        Codec::Opus => (MIME_TYPE_OPUS, 2),
        Codec::G711(Law::Mu) => (MIME_TYPE_PCMU, 1),
        Codec::G711(Law::A) => (MIME_TYPE_PCMA, 1),
    };
    let (mime_type, clock_rate) = (mime_type.to_owned(), codec.rtp_clock_hz());
    RTCRtpCodec { mime_type, clock_rate, channels, ..Default::default() }
}

pub(super) fn track(ssrc: u32, codec: Codec) -> MediaStreamTrack {
    MediaStreamTrack::new(
        "voicebridge".to_owned(),
        "audio".to_owned(),
        "audio".to_owned(),
        RtpCodecKind::Audio,
        vec![RTCRtpEncodingParameters {
            rtp_coding_parameters: RTCRtpCodingParameters { ssrc: Some(ssrc), ..Default::default() },
            codec: rtp_codec(codec),
            ..Default::default()
        }],
    )
}
