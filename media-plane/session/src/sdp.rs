//! The two SDP texts of a call: the caller's offer, linted, and our answer, written by us line by line.
//!
//! Flow: [`lint`] turns the offer's text into an [`Offer`] or names the rule it breaks; [`answer`] turns that and our
//! [`Local`] side into the text Meta gets in `pre_accept` and, unchanged, in `accept`. Ordinary WebRTC offers (a
//! browser's, aiortc's) go the same way.
//!
//! One codec is agreed to: Opus if it is offered, else the first of PCMU and PCMA.
//!
//! What this does not do: offers of our own, re-negotiation, trickled candidates, SDES.

mod answer;
mod lint;
mod offer;

pub use answer::{Local, answer};
pub use lint::{OfferError, lint};
pub use offer::{AudioOffer, DtlsSetup, Offer, OpusOffer, RejectedMedia, TelephoneEvent};

/// Longest offer looked at, bytes. Live offers have about 1.5 KiB, a browser's with video some 8 KiB.
pub const MAX_OFFER_BYTES: usize = 64 * 1024;

/// Most media lines looked at; a browser with every feature on offers a handful.
pub const MAX_MEDIA_LINES: usize = 32;

/// Most candidates read of one offer. Meta offers two, a browser rarely more than a dozen.
pub const MAX_CANDIDATES: usize = 64;

/// Most sha-256 fingerprints taken from one offer; a far side with two certificates has two.
pub const MAX_FINGERPRINTS: usize = 8;

#[cfg(test)]
mod tests;
