//! The caller interrupts: silence at once, then the AI is told what was heard. Or it pauses first, see `hold`.
//!
//! Done on every start of speech, also when no response is active: generation usually ends seconds before playout. A
//! noise can start it too; what was flushed is not brought back.

use voicebridge_audio::{SAMPLE_RATE_HZ, playout::EndedItem};

use super::{
    Conversation, Parts,
    closing::OUR_ITEMS,
    hold::{Hold, HoldOutcome},
};
use crate::{event::EventKind, provider::ProviderCommand};

impl Conversation {
    /// Silences playout, cancels what is being generated, and cuts the AI's conversation and our transcript to what was
    /// handed to RTP.
    pub(super) fn interrupt(&mut self, on: &mut Parts<'_>) {
        self.stop_cue(on);
        let cuts = self.silence(on);
        self.reply.overflowing = false;
        let of_the_ai: Vec<EndedItem> = cuts.iter().filter(|cut| !OUR_ITEMS.contains(&&*cut.item)).cloned().collect();
        on.command(ProviderCommand::Interrupt(&of_the_ai));
        if let Some(cut) = cuts.first() {
            on.emit(EventKind::BargedIn {
                item_id: cut.item.clone(),
                heard_ms: millis(cut.heard_samples),
                received_ms: millis(cut.received_samples),
            });
        }
        self.report_cuts(&cuts, on);
    }

    /// Drops what is being played, held back or not.
    pub(super) fn silence(&mut self, on: &mut Parts<'_>) -> Vec<EndedItem> {
        self.hold.iter_mut().for_each(Hold::reset);
        on.leg.flush()
    }

    /// Reports the words of items that were cut, as far as they were heard.
    pub(super) fn report_cuts(&mut self, cuts: &[EndedItem], on: &mut Parts<'_>) {
        for cut in cuts {
            let said = self.transcripts.cut(cut, on.now());
            self.report_said(said, on);
        }
    }

    /// The caller made a sound that may become an interruption.
    pub(super) fn hold_back(&mut self, on: &mut Parts<'_>) {
        let Some(hold) = &mut self.hold else { return };
        if hold.on_speech_started(on.now(), on.leg.first_voice(), on.leg.voice_since()) {
            on.leg.pause();
        }
        self.judge(on);
    }

    /// Ends the pause as soon as it is clear how.
    pub(super) fn judge(&mut self, on: &mut Parts<'_>) {
        let Some(hold) = &mut self.hold else { return };
        match hold.judge(on.now(), on.leg.first_voice()) {
            None => {}
            Some(HoldOutcome::Interrupt) => self.interrupt(on),
            Some(HoldOutcome::GoOn { held }) => {
                on.leg.resume();
                if let Some((item_id, heard_samples)) = on.leg.playing() {
                    let (heard_ms, held_ms) = (millis(heard_samples), held.as_millis() as u32);
                    on.emit(EventKind::BargeInReverted { item_id, heard_ms, held_ms });
                }
            }
        }
    }
}

const fn millis(samples: u64) -> u64 {
    samples * 1_000 / SAMPLE_RATE_HZ as u64
}
