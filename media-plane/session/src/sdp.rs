//! The SDP texts of a call, read with a lint and written by us line by line.
//!
//! Flow: a leg begins with the far side's offer or with an offer of ours. [`lint`] turns an offer's text into an [`Offer`] or
//! names the rule it breaks, and [`answer`] turns that and our [`Local`] side into the text Meta gets in `pre_accept` and,
//! unchanged, in `accept`. The other way round [`offer`] writes ours, and [`read_answer`] judges what comes back. Both end in
//! a [`Negotiated`], which is all that the rest of the node needs. Ordinary WebRTC peers (a browser, aiortc) go the same way.
//!
//! One codec is agreed to: Opus if it is there, else the first of PCMU and PCMA.
//!
//! What this does not do: re-negotiation, trickled candidates, SDES.

mod answer;
mod finding;
mod lint;
mod media;
mod negotiated;
mod offer;
mod our_offer;
mod text;
mod write;

pub use answer::answer;
pub use finding::SdpError;
pub use lint::lint;
pub use negotiated::{AudioCodec, DtlsRole, DtlsSetup, IceRole, Negotiated, OpusParameters, TelephoneEvent};
pub use offer::{Offer, RejectedMedia};
pub use our_offer::{OurOffer, offer, read_answer};
pub use write::Local;

/// Longest offer or answer looked at, bytes. Live offers have about 1.5 KiB, a browser's with video some 8 KiB.
pub const MAX_SDP_BYTES: usize = 64 * 1024;

/// Most media lines looked at; a browser with every feature on offers a handful.
pub const MAX_MEDIA_LINES: usize = 32;

/// Most candidates read of one offer. Meta offers two, a browser rarely more than a dozen.
pub const MAX_CANDIDATES: usize = 64;

/// Most sha-256 fingerprints taken from one offer; a far side with two certificates has two.
pub const MAX_FINGERPRINTS: usize = 8;

#[cfg(test)]
mod tests;
