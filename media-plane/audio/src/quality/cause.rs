//! What spoilt a call, in words.

use super::Direction;
use std::fmt;

/// What spoilt a stretch of a call most. Its text is for people.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cause {
    /// Packets did not arrive.
    Loss {
        /// Which way they went.
        direction: Direction,
        /// Percent of packets.
        percent: f32,
    },
    /// Packets came so unevenly that some were too late, or had to be held back for long.
    Jitter {
        /// Which way they went.
        direction: Direction,
        /// Interarrival jitter, milliseconds.
        jitter_ms: u32,
    },
    /// The network is far.
    RoundTrip {
        /// Between us and the relay, milliseconds.
        round_trip_ms: u32,
    },
    /// Audio waited in our own buffers.
    HeldBack {
        /// Which way it went.
        direction: Direction,
        /// For how long, milliseconds.
        buffer_ms: u32,
    },
    /// The AI sent its audio slower than it plays.
    Underrun {
        /// How often playout ran dry.
        times: u32,
        /// For how long, milliseconds.
        silent_ms: u64,
    },
    /// The AI took long to answer.
    ProviderLate {
        /// Longer than it should by, milliseconds.
        late_ms: u32,
    },
    /// Nothing but the codec: telephone band.
    NarrowBand,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = |direction: Direction| match direction {
            Direction::Uplink => "relay to us",
            Direction::Downlink => "us to relay",
        };
        match *self {
            Self::Loss { direction, percent } if percent < 9.95 => write!(f, "{} lost {percent:.1} %", way(direction)),
            Self::Loss { direction, percent } => write!(f, "{} lost {percent:.0} %", way(direction)),
            Self::Jitter { direction, jitter_ms } => {
                write!(f, "{} arrived unevenly, jitter {jitter_ms} ms", way(direction))
            }
            Self::RoundTrip { round_trip_ms } => write!(f, "round trip to the relay took {round_trip_ms} ms"),
            Self::HeldBack { direction: Direction::Uplink, buffer_ms } => {
                write!(f, "caller's audio was held back {buffer_ms} ms")
            }
            Self::HeldBack { direction: Direction::Downlink, buffer_ms } => {
                write!(f, "playout was held back {buffer_ms} ms")
            }
            Self::Underrun { times: 1, silent_ms } => write!(f, "playout underran once, {silent_ms} ms silent"),
            Self::Underrun { times, silent_ms } => write!(f, "playout underran {times} times, {silent_ms} ms silent"),
            Self::ProviderLate { late_ms } => {
                write!(f, "model answered {}.{} s late", late_ms / 1_000, late_ms % 1_000 / 100)
            }
            Self::NarrowBand => write!(f, "codec carries the telephone band only"),
        }
    }
}
