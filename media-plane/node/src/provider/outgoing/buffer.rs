//! Memory for outgoing messages that is used again once they are sent.

use bytes::{Bytes, BytesMut};

/// Memory taken at a time: a quarter of a second of 24 kHz audio, so that a socket that lags by less still finds all of it
/// unused when it is needed again. Larger messages get their own.
const CHUNK_BYTES: usize = 16 * 1024;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    chunk: BytesMut,
}

impl Buffer {
    /// A copy that lives in the chunk. Allocates only while earlier ones are still in use.
    pub(super) fn copy(&mut self, bytes: &[u8]) -> Bytes {
        if bytes.len() > CHUNK_BYTES {
            return Bytes::copy_from_slice(bytes);
        }
        if !self.chunk.try_reclaim(bytes.len()) {
            self.chunk = BytesMut::with_capacity(CHUNK_BYTES);
        }
        self.chunk.extend_from_slice(bytes);
        self.chunk.split().freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_let_go_is_used_again() {
        let mut buffer = Buffer::default();
        drop(buffer.copy(&[0; 1_300]));
        let counted = allocation_counter::measure(|| (0..100).for_each(|_| drop(buffer.copy(&[7; 1_300]))));
        assert_eq!(counted.count_total, 0);
    }

    #[test]
    fn what_is_in_use_is_not_touched() {
        let mut buffer = Buffer::default();
        let kept: Vec<Bytes> = (0..100_u8).map(|value| buffer.copy(&[value; 1_300])).collect();
        assert_eq!(buffer.copy(&[1; CHUNK_BYTES + 1]).len(), CHUNK_BYTES + 1);
        for (value, bytes) in (0_u8..).zip(kept) {
            assert_eq!(bytes, [value; 1_300].as_slice());
        }
    }
}
