//! What a leg plays to its person: items of audio, and keys.

use voicebridge_audio::{Time, playout::EndedItem};

use super::Leg;
use crate::ports::RtpOut;

impl Leg {
    /// Sends what is due.
    pub(crate) fn send(&mut self, now: Time, out: &mut dyn FnMut(RtpOut<'_>)) {
        self.downlink.run(now, out);
    }

    /// Queues audio of an item. False when there is no room; nothing of it is taken then.
    pub(crate) fn play(&mut self, now: Time, item: &str, pcm: &[i16]) -> bool {
        self.downlink.push(now, item, pcm)
    }

    /// Queues a whole item of ours, at 24 kHz whatever the leg's format is.
    pub(crate) fn play_notice(&mut self, now: Time, item: &str, pcm: &[i16]) {
        self.downlink.push_notice(now, item, pcm);
    }

    /// No more audio will come of this item.
    pub(crate) fn finish(&mut self, item: &str) {
        self.downlink.finish(item);
    }

    /// Silences at once; how far each item got.
    pub(crate) fn flush(&mut self) -> Vec<EndedItem> {
        let cuts = self.downlink.flush();
        self.ended.extend_from_slice(&cuts);
        cuts
    }

    /// Holds back what is being played.
    pub(crate) fn pause(&mut self) {
        self.downlink.pause();
    }

    /// Goes on with it.
    pub(crate) fn resume(&mut self) {
        self.downlink.resume();
    }

    /// The item being played or waiting to be, and how many samples of it were sent.
    pub(crate) fn playing(&self) -> Option<(String, u64)> {
        self.downlink.playing()
    }

    /// The item that is being played, and how many samples of it were sent; none before the first of them.
    pub(crate) fn sounding(&self) -> Option<(&str, u64)> {
        self.downlink.sounding()
    }

    /// Items played to their end since the last call.
    pub(crate) fn take_completed(&mut self) -> Vec<EndedItem> {
        let completed = self.downlink.take_completed();
        self.ended.extend_from_slice(&completed);
        completed
    }

    /// Items that are over since the last call, whether played to their end or not.
    pub(crate) fn take_ended(&mut self) -> std::vec::Drain<'_, EndedItem> {
        self.ended.drain(..)
    }

    /// Whether any audio of this item ever came.
    pub(crate) fn knows(&self, item: &str) -> bool {
        self.downlink.knows(item)
    }

    /// Whether nothing is queued or being played.
    pub(crate) fn is_silent(&self) -> bool {
        self.downlink.is_idle()
    }

    /// Audio waiting to be sent, milliseconds.
    pub(crate) const fn queued_ms(&self) -> u64 {
        self.downlink.queued_ms()
    }

    /// When a voice was first sent.
    pub(crate) const fn first_voice(&self) -> Option<Time> {
        self.downlink.first_voice()
    }

    /// Since when a voice is being sent without a pause.
    pub(crate) const fn voice_since(&self) -> Option<Time> {
        self.downlink.voice_since()
    }

    /// Sends keys.
    pub(crate) fn send_keys(&mut self, digits: &str) -> Result<(), String> {
        match self.stages.active_since() {
            Some(_) => self.downlink.send_dtmf(digits),
            None => Err("audio does not flow yet".to_owned()),
        }
    }

    pub(crate) fn set_complexity(&mut self, complexity: u8) {
        self.downlink.set_complexity(complexity);
    }
}
