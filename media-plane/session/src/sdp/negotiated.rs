//! What the two sides of a call agreed on, whoever made the offer: all that transport, audio and log need to know.

use std::net::SocketAddr;

use voicebridge_audio::{codec::Codec, g711::Law};

use super::{finding::Warnings, media::Facts};

/// What both sides agreed on: by an offer of the far side's and our answer to it ([`super::Offer::negotiated`]), or by an
/// offer of ours and the far side's answer ([`super::read_answer`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// ICE user fragment of the far side.
    pub ice_ufrag: String,
    /// ICE password of the far side. A secret of the call. Meta's end in `==`, which RFC 8839 does not allow.
    pub ice_pwd: String,
    /// sha-256 fingerprints, upper-case hex pairs with colons, at least one: the far side's certificate has one of them
    /// (RFC 8122, section 5).
    pub fingerprints: Vec<String>,
    /// Our part in ICE.
    pub ice_role: IceRole,
    /// Our part in the handshake.
    pub dtls_role: DtlsRole,
    /// Where the far side says it can be reached: UDP addresses, each once, in its order. It may have named anybody's.
    pub candidates: Vec<SocketAddr>,
    /// The codec.
    pub audio: AudioCodec,
    /// DTMF, if its durations count as ours do.
    pub telephone_event: Option<TelephoneEvent>,
    /// Packet length the far side wants, milliseconds.
    pub ptime: Option<u32>,
    /// Longest packet it takes, milliseconds.
    pub maxptime: Option<u32>,
    /// Findings that do not stop the call, each once, in the order found.
    pub warnings: Vec<&'static str>,
}

impl Negotiated {
    pub(super) fn new(facts: Facts, ice_role: IceRole, dtls_role: DtlsRole, warnings: Warnings) -> Self {
        let Facts { ice_ufrag, ice_pwd, fingerprints, candidates, audio, telephone_event, ptime, maxptime, .. } = facts;
        Self {
            ice_ufrag,
            ice_pwd,
            fingerprints,
            ice_role,
            dtls_role,
            candidates,
            audio,
            telephone_event,
            ptime,
            maxptime,
            warnings: warnings.0,
        }
    }
}

/// Who nominates the pair that media takes (RFC 8445, section 6.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IceRole {
    /// We do: the far side is lite, or answered our offer.
    Controlling,
    /// The far side does.
    Controlled,
}

/// Who says hello (RFC 5763, section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DtlsRole {
    /// We do.
    Client,
    /// The far side does.
    Server,
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

    /// Our part, if this is what we write.
    #[must_use]
    pub const fn role(self) -> DtlsRole {
        match self {
            Self::Active | Self::Actpass => DtlsRole::Client,
            Self::Passive => DtlsRole::Server,
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

/// The codec of a call, by the far side's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AudioCodec {
    /// RFC 7587.
    Opus(OpusParameters),
    /// PCMU or PCMA (RFC 3551, sections 4.5.14 and 6).
    G711 {
        /// Which of the two.
        law: Law,
        /// 0 or 8, or a dynamic one of theirs.
        payload_type: u8,
    },
}

impl AudioCodec {
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

/// Opus, as the far side wants it. The limits bind what we send (RFC 7587, section 6.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpusParameters {
    /// Its payload type, theirs.
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

/// DTMF: `telephone-event/8000` (RFC 4733).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TelephoneEvent {
    /// Its payload type, theirs.
    pub payload_type: u8,
}
