//! Speech whose words are known, and how to tell which of it was heard.
//!
//! [`fixtures`] are the recordings under `fixtures/`, compiled in. Callers say those of [`Role::Caller`], the
//! simulated AI those of [`Role::Agent`]. [`recognise`] says which fixture a recording contains, by the energy
//! envelopes of four bands ([`envelope`]) compared at every lag with every fixture; [`recognise_all`] first
//! cuts a long recording where it is silent ([`segment`]).
//!
//! This is not speech recognition: words that are no fixture are not recognised, and a recording played at
//! another speed is not either. That is the point: what a codec and a packet network do to speech keeps its
//! envelope, what a broken bridge does to it (missing, repeated, reordered or stretched frames) does not.

mod correlate;
mod envelope;
mod fixture;
mod recognise;
mod segment;
mod wav;

pub use fixture::{Fixture, Role, fixture, fixtures};
pub use recognise::{Recognised, rank, recognise, recognise_all, recognise_among};
pub use segment::{Segment, segments};
pub use wav::{WavError, read_wav, write_wav};

/// Sample rate of every recording here, Hz.
pub const SAMPLE_RATE_HZ: u32 = 24_000;

/// Samples in a millisecond.
pub(crate) const SAMPLES_PER_MS: usize = 24;
