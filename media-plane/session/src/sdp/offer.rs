//! What we keep of an offer.

use std::net::SocketAddr;

use voicebridge_audio::{codec::Codec, g711::Law};

/// An offer that passed the lint: only what the answer, the codec and the log need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Identification of the audio section (RFC 5888); the answer echoes it. Meta says `audio`, browsers `0`.
    pub mid: Option<String>,
    /// ICE user fragment of the far side.
    pub ice_ufrag: String,
    /// ICE password of the far side. A secret of the call. Meta's end in `==`, which RFC 8839 does not allow.
    pub ice_pwd: String,
    /// sha-256 fingerprints, upper-case hex pairs with colons, at least one: the certificate has one of them (RFC 8122,
    /// section 5).
    pub fingerprints: Vec<String>,
    /// The far side is ICE-lite: we must be controlling (RFC 8445, section 6.1.1).
    pub ice_lite: bool,
    /// Its DTLS role.
    pub setup: DtlsSetup,
    /// Where it says it can be reached: UDP addresses, each once, in its order. It may have named anybody's.
    pub candidates: Vec<SocketAddr>,
    /// The codec we agree to.
    pub audio: AudioOffer,
    /// Its DTMF, if it has any whose durations count as ours do.
    pub telephone_event: Option<TelephoneEvent>,
    /// Packet length it wants, milliseconds.
    pub ptime: Option<u32>,
    /// Longest packet it takes, milliseconds.
    pub maxptime: Option<u32>,
    /// RTP and RTCP on one port.
    pub rtcp_mux: bool,
    /// It offers to bundle the audio section.
    pub bundle: bool,
    /// Transport profile of the audio line, echoed.
    pub profile: String,
    /// Media lines before and after the audio line that the answer turns down, in order.
    pub rejected: Vec<RejectedMedia>,
    /// Place of the audio line among all media lines.
    pub audio_index: usize,
    /// Findings that do not stop the call, each once, in the order found.
    pub warnings: Vec<&'static str>,
}

/// DTLS role of a side (RFC 5763, section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DtlsSetup {
    /// Either role; what Meta and browsers offer.
    Actpass,
    /// It is the DTLS client.
    Active,
    /// It is the DTLS server.
    Passive,
}

impl DtlsSetup {
    /// The role we answer with: client unless the offerer insists on being it. Meta never starts DTLS.
    #[must_use]
    pub const fn answered(self) -> Self {
        match self {
            Self::Active => Self::Passive,
            Self::Actpass | Self::Passive => Self::Active,
        }
    }

    /// As in `a=setup`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Actpass => "actpass",
            Self::Active => "active",
            Self::Passive => "passive",
        }
    }
}

/// The codec of a call, as offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AudioOffer {
    /// RFC 7587.
    Opus(OpusOffer),
    /// PCMU or PCMA (RFC 3551, sections 4.5.14 and 6).
    G711 {
        /// Which of the two.
        law: Law,
        /// 0 or 8, or a dynamic one of theirs.
        payload_type: u8,
    },
}

impl AudioOffer {
    /// Its payload type, theirs.
    #[must_use]
    pub const fn payload_type(&self) -> u8 {
        match self {
            Self::Opus(opus) => opus.payload_type,
            Self::G711 { payload_type, .. } => *payload_type,
        }
    }

    /// What it is to the audio path.
    #[must_use]
    pub const fn codec(&self) -> Codec {
        match self {
            Self::Opus(_) => Codec::Opus,
            Self::G711 { law, .. } => Codec::G711(*law),
        }
    }

    /// As in `a=rtpmap`.
    #[must_use]
    pub const fn encoding(&self) -> &'static str {
        match self {
            Self::Opus(_) => "opus/48000/2",
            Self::G711 { law: Law::Mu, .. } => "PCMU/8000",
            Self::G711 { law: Law::A, .. } => "PCMA/8000",
        }
    }
}

/// Opus as offered. The limits bind what we send (RFC 7587, section 6.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpusOffer {
    /// Dynamic payload type, theirs.
    pub payload_type: u8,
    /// The format parameters, verbatim.
    pub fmtp: Option<String>,
    /// Highest average bit rate it wants to receive, bit/s.
    pub max_average_bitrate: Option<u32>,
    /// Highest sampling rate it can play, Hz; 16000 means wideband.
    pub max_playback_rate: Option<u32>,
    /// It can use in-band forward error correction.
    pub in_band_fec: bool,
}

/// DTMF as offered: `telephone-event/8000` (RFC 4733).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TelephoneEvent {
    /// Dynamic payload type, theirs.
    pub payload_type: u8,
}

/// A media line we turn down with port 0 (RFC 3264, section 6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedMedia {
    /// `video`, `application`, a second `audio`.
    pub kind: String,
    /// Transport profile, echoed.
    pub profile: String,
    /// Formats, echoed.
    pub formats: String,
    /// Its mid, echoed.
    pub mid: Option<String>,
}
