//! The caller interrupts: silence at once, then tell the provider what was heard.
//!
//! Done on every start of speech, also when no response is active: generation usually ends seconds before playout. A
//! noise can start it too; what was flushed is not brought back. See `hold` for interruptions that can be.

use voicebridge_audio::{SAMPLE_RATE_HZ, Time, playout::Cut};

use super::{super::Session, closing::OUR_ITEMS};
use crate::{event::EventKind, ports::Ports, provider::ProviderCommand};

impl Session {
    /// Silences playout, cancels what is being generated, and cuts the provider's conversation and our transcript to what
    /// was handed to RTP.
    pub(in crate::session) fn barge_in(&mut self, now: Time, ports: &mut dyn Ports) {
        self.stop_cue();
        let cuts = self.silence();
        self.overflowing = None;
        let of_the_ai: Vec<Cut> = cuts.iter().filter(|cut| !OUR_ITEMS.contains(&&*cut.item)).cloned().collect();
        self.link.command(now, ProviderCommand::Interrupt(&of_the_ai), ports);
        if let Some(cut) = cuts.first() {
            let millis = |samples: u64| samples * 1_000 / u64::from(SAMPLE_RATE_HZ);
            let barged_in = EventKind::BargedIn {
                item_id: cut.item.clone(),
                heard_ms: millis(cut.heard_samples),
                received_ms: millis(cut.received_samples),
            };
            self.emit(now, barged_in, ports);
        }
        self.report_cuts(now, &cuts, ports);
    }

    /// Drops what is being played, held back or not.
    pub(in crate::session) fn silence(&mut self) -> Vec<Cut> {
        if let Some(hold) = &mut self.hold {
            hold.reset();
        }
        self.downlink.flush()
    }

    /// Reports the words of items that were cut, as far as they were heard.
    pub(in crate::session) fn report_cuts(&mut self, now: Time, cuts: &[Cut], ports: &mut dyn Ports) {
        for cut in cuts {
            let said = self.transcripts.cut(cut);
            self.report_said(now, said, ports);
        }
    }
}
