//! How a stretch of a call sounded, in words.

use voicebridge_proto::types::v1::{DirectionQuality, Quality};

use crate::print::{GOOD, WARN, clean};

/// A score below is one people complain about (ITU-T G.107, annex B: "some users dissatisfied").
const GOOD_MOS: f32 = 3.6;

/// Both directions and the cause, in one line.
pub(crate) fn in_a_line(quality: &Quality) -> String {
    let direction = |name: &str, direction: Option<&DirectionQuality>| match direction {
        Some(direction) => format!("{name} {}", direction_words(direction)),
        None => format!("{name} unknown"),
    };
    let cause = if quality.cause.is_empty() { String::new() } else { format!("; {}", clean(&quality.cause)) };
    format!(
        "{}, {}{cause}",
        direction("caller", quality.uplink.as_ref()),
        direction("agent", quality.downlink.as_ref())
    )
}

fn direction_words(direction: &DirectionQuality) -> String {
    let style = if direction.mos < GOOD_MOS { WARN } else { GOOD };
    let mut words = format!("{style}{:.1}{style:#}", direction.mos);
    let mut details = Vec::new();
    if direction.loss_percent >= 0.05 {
        details.push(format!("lost {:.1} %", direction.loss_percent));
    }
    if direction.missing_ms > 0 {
        details.push(format!("{} ms missing", direction.missing_ms));
    }
    details.push(format!("jitter {} ms", direction.jitter_ms));
    if let Some(round_trip_ms) = direction.round_trip_ms {
        details.push(format!("round trip {round_trip_ms} ms"));
    }
    words.push_str(&format!(" ({})", details.join(", ")));
    words
}
