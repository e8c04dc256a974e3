//! What we keep of an offer.

use super::negotiated::{DtlsSetup, Negotiated};

/// An offer that passed the lint: what is agreed on if it is answered, and what the answer must repeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// What our answer agrees to.
    pub negotiated: Negotiated,
    /// Identification of the audio section (RFC 5888); the answer echoes it. Meta says `audio`, browsers `0`.
    pub mid: Option<String>,
    /// Its DTLS role.
    pub setup: DtlsSetup,
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
