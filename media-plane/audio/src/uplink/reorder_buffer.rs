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
pub(super) enum PacketBody<'a> {
    /// Audio beginning at this RTP time.
    Audio { timestamp: u32, packet: Packet<'a> },
    /// No audio, and none is missing.
    Nothing,
    /// Audio that cannot be used: as if lost.
    Unusable,
}

#[derive(Clone, Copy, Debug)]
enum HeldKind {
    Audio { timestamp: u32 },
    Nothing,
    Unusable,
}

#[derive(Debug)]
pub(super) struct HeldPacket {
    extended: u64,
    arrived: Time,
    kind: HeldKind,
    payload: Vec<u8>,
}

impl HeldPacket {
    pub(super) fn body(&self, codec: Codec) -> PacketBody<'_> {
        match self.kind {
            HeldKind::Audio { timestamp } => match Packet::parse(codec, &self.payload) {
                Ok(packet) => PacketBody::Audio { timestamp, packet },
                Err(_) => PacketBody::Unusable,
            },
            HeldKind::Nothing => PacketBody::Nothing,
            HeldKind::Unusable => PacketBody::Unusable,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct ReorderBuffer {
    slots: Vec<HeldPacket>,
    spare: Vec<Vec<u8>>,
}

impl ReorderBuffer {
    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.slots.len() == SLOTS
    }

    /// Keeps a packet. There is room: see [`Self::is_full`].
    pub(super) fn insert(&mut self, extended: u64, arrived: Time, body: PacketBody<'_>) {
        debug_assert!(!self.is_full(), "the caller makes room first");
        let mut payload = self.spare.pop().unwrap_or_default();
        let kind = match body {
            PacketBody::Audio { timestamp, packet } => {
                payload.extend_from_slice(packet.payload());
                HeldKind::Audio { timestamp }
            }
            PacketBody::Nothing => HeldKind::Nothing,
            PacketBody::Unusable => HeldKind::Unusable,
        };
        self.slots.push(HeldPacket { extended, arrived, kind, payload });
    }

    /// Takes out the packet of this number, if it is here.
    pub(super) fn take(&mut self, extended: u64) -> Option<HeldPacket> {
        let index = self.slots.iter().position(|slot| slot.extended == extended)?;
        Some(self.slots.swap_remove(index))
    }

    /// Gives a slot taken out back for its buffer.
    pub(super) fn put_back(&mut self, mut slot: HeldPacket) {
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
