//! Where received packets leave `rtc`.
//!
//! `rtc` gives an application the packets of the first source only and keeps reports to itself; an interceptor sees
//! everything that was authenticated. This one puts it all aside for the engine and lets nothing pass.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use rtc::{
    interceptor::{Interceptor, Packet, StreamInfo, TaggedPacket},
    rtcp, rtp,
    sansio::Protocol,
    shared::error::Error,
};

/// Packets put aside. The engine takes them after every datagram, so there is one; at the limit further ones are lost.
const MAX_PACKETS: usize = 64;

/// What came.
#[derive(Debug)]
pub(super) enum Tapped {
    /// A packet of any source.
    Rtp(Instant, rtp::Packet),
    /// A compound packet.
    Rtcp(Instant, Vec<Box<dyn rtcp::Packet>>),
}

/// The engine's end.
#[derive(Clone, Debug, Default)]
pub(super) struct Basin(Arc<Mutex<VecDeque<Tapped>>>);

impl Basin {
    pub(super) fn take(&self) -> Option<Tapped> {
        // One thread uses both ends: the lock is never waited for.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    fn put(&self, tapped: Tapped) {
        let mut packets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if packets.len() < MAX_PACKETS {
            packets.push_back(tapped);
        }
    }
}

/// `rtc`'s end.
pub(super) struct Tap {
    basin: Basin,
    /// On their way out; nothing is done to them.
    writes: VecDeque<TaggedPacket>,
}

impl Tap {
    pub(super) fn new(basin: Basin) -> Self {
        Self { basin, writes: VecDeque::new() }
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for Tap {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        match packet.message.packet {
            Packet::Rtp(rtp) => self.basin.put(Tapped::Rtp(packet.now, rtp)),
            Packet::Rtcp(rtcp) => self.basin.put(Tapped::Rtcp(packet.now, rtcp)),
            _ => {}
        }
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        None
    }

    fn handle_write(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        self.writes.push_back(packet);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.writes.pop_front()
    }
}

impl Interceptor for Tap {
    fn bind_local_stream(&mut self, _info: &StreamInfo) {}
    fn unbind_local_stream(&mut self, _info: &StreamInfo) {}
    fn bind_remote_stream(&mut self, _info: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _info: &StreamInfo) {}
}
