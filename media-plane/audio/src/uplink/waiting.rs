//! Packets kept behind a gap, by sequence number. Of fixed size; buffers are used again.
//!
//! Does not decide how long they wait.

use crate::{
    Time,
    codec::{Codec, Packet},
};

/// Packets kept at a time; the caller gives a gap up when there is no room.
const SLOTS: usize = 16;

/// What a sequence number stands for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Body<'a> {
    /// Audio beginning at this RTP time.
    Audio { timestamp: u32, packet: Packet<'a> },
    /// No audio, and none is missing.
    Nothing,
    /// Audio that cannot be used: as if lost.
    Spoilt,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Audio { timestamp: u32 },
    Nothing,
    Spoilt,
}

#[derive(Debug)]
pub(super) struct Slot {
    extended: u64,
    arrived: Time,
    kind: Kind,
    payload: Vec<u8>,
}

impl Slot {
    pub(super) fn body(&self, codec: Codec) -> Body<'_> {
        match self.kind {
            Kind::Audio { timestamp } => match Packet::parse(codec, &self.payload) {
                Ok(packet) => Body::Audio { timestamp, packet },
                Err(_) => Body::Spoilt,
            },
            Kind::Nothing => Body::Nothing,
            Kind::Spoilt => Body::Spoilt,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Waiting {
    slots: Vec<Slot>,
    spare: Vec<Vec<u8>>,
}

impl Waiting {
    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.slots.len() == SLOTS
    }

    /// Keeps a packet. There is room: see [`Self::is_full`].
    pub(super) fn insert(&mut self, extended: u64, arrived: Time, body: Body<'_>) {
        debug_assert!(!self.is_full(), "the caller makes room first");
        let mut payload = self.spare.pop().unwrap_or_default();
        let kind = match body {
            Body::Audio { timestamp, packet } => {
                payload.extend_from_slice(packet.payload());
                Kind::Audio { timestamp }
            }
            Body::Nothing => Kind::Nothing,
            Body::Spoilt => Kind::Spoilt,
        };
        self.slots.push(Slot { extended, arrived, kind, payload });
    }

    /// Takes out the packet of this number, if it is here.
    pub(super) fn take(&mut self, extended: u64) -> Option<Slot> {
        let index = self.slots.iter().position(|slot| slot.extended == extended)?;
        Some(self.slots.swap_remove(index))
    }

    /// Gives a slot taken out back for its buffer.
    pub(super) fn put_back(&mut self, mut slot: Slot) {
        slot.payload.clear();
        self.spare.push(slot.payload);
    }

    /// The lowest number here.
    pub(super) fn first(&self) -> Option<u64> {
        self.slots.iter().map(|slot| slot.extended).min()
    }

    /// When the one that waits longest came.
    pub(super) fn oldest_arrival(&self) -> Option<Time> {
        self.slots.iter().map(|slot| slot.arrived).min()
    }
}
