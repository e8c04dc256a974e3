//! Keys the person presses, as their packets come: each is given once.

use voicebridge_audio::{
    Time,
    dtmf::{Pressed, Receiver},
};

/// See the module.
#[derive(Debug)]
pub(crate) struct Keys {
    receiver: Receiver,
    /// Pressed and not taken yet: one packet can complete two, and a step of the driver brings so many packets.
    pressed: Vec<Pressed>,
}

impl Keys {
    pub(crate) fn new(rtp_clock_hz: u32) -> Self {
        Self { receiver: Receiver::new(rtp_clock_hz), pressed: Vec::new() }
    }

    /// Takes a telephone-event packet.
    pub(crate) fn receive(&mut self, now: Time, timestamp: u32, payload: &[u8]) {
        let pressed = &mut self.pressed;
        // What is no report on a key is counted by the receiver.
        let _counted = self.receiver.receive(now, timestamp, payload, &mut |key| pressed.push(key));
    }

    /// Those pressed by now.
    pub(crate) fn take(&mut self, now: Time) -> Vec<Pressed> {
        let pressed = &mut self.pressed;
        self.receiver.poll(now, &mut |key| pressed.push(key));
        std::mem::take(pressed)
    }

    /// Payloads that were no report on a key.
    pub(crate) const fn bad_packets(&self) -> u64 {
        self.receiver.statistics().bad
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        self.receiver.deadline()
    }
}
