//! What libopus alone makes of the packets that arrived: order and timing perfect, no clock to keep. The yardstick.

use voicebridge_audio::{
    FRAME_SAMPLES,
    opus::{Decoder, OpusError},
};

/// What is done about a missing packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fec {
    /// The FEC of the next one is used where that arrived.
    Used,
    /// libopus conceals.
    Ignored,
}

/// Decodes; packets for which `arrived` is false are missing.
pub(crate) fn decode(packets: &[Vec<u8>], arrived: &[bool], fec: Fec) -> Result<Vec<i16>, OpusError> {
    let mut decoder = Decoder::new()?;
    let mut pcm = vec![0; packets.len() * FRAME_SAMPLES];
    for (index, frame) in pcm.chunks_exact_mut(FRAME_SAMPLES).enumerate() {
        let next = packets.get(index + 1).filter(|_| arrived.get(index + 1) == Some(&true));
        match next {
            _ if arrived[index] => {
                decoder.decode(&packets[index], frame)?;
            }
            Some(next) if fec == Fec::Used => decoder.recover(next, frame)?,
            _ => decoder.conceal(frame),
        }
    }
    Ok(pcm)
}
