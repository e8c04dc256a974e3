//! Samples of an item in blocks of a fixed size: what was played is given back at once, and a long reply never has to be
//! moved to grow. Blocks are used again, so that a warm queue allocates nothing.
//!
//! Does not bound the whole: playout does.

use std::collections::VecDeque;

/// 200 ms.
pub(super) const BLOCK_SAMPLES: usize = 4_800;
/// Blocks kept for use: six seconds of audio.
const MAX_SPARE: usize = 32;

type Block = Box<[i16]>;

#[derive(Debug)]
pub(super) struct Pool {
    spare: Vec<Block>,
}

impl Default for Pool {
    fn default() -> Self {
        Self { spare: Vec::with_capacity(MAX_SPARE) }
    }
}

impl Pool {
    fn get(&mut self) -> Block {
        self.spare.pop().unwrap_or_else(|| vec![0; BLOCK_SAMPLES].into_boxed_slice())
    }

    fn put(&mut self, block: Block) {
        if self.spare.len() < MAX_SPARE {
            self.spare.push(block);
        }
    }

    /// Blocks kept for use.
    pub(super) fn spare(&self) -> usize {
        self.spare.len()
    }
}

#[derive(Debug, Default)]
pub(super) struct Blocks {
    blocks: VecDeque<Block>,
    /// Samples of the first block that are gone.
    taken: usize,
    samples: usize,
}

impl Blocks {
    pub(super) fn len(&self) -> usize {
        self.samples
    }

    pub(super) fn blocks(&self) -> usize {
        self.blocks.len()
    }

    pub(super) fn append(&mut self, pcm: &[i16], pool: &mut Pool) {
        let mut rest = pcm;
        while !rest.is_empty() {
            let filled = (self.taken + self.samples) % BLOCK_SAMPLES;
            if self.taken + self.samples == self.blocks.len() * BLOCK_SAMPLES {
                self.blocks.push_back(pool.get());
            }
            let block = self.blocks.back_mut().expect("a block with room was added if there was none");
            let (now, later) = rest.split_at(rest.len().min(BLOCK_SAMPLES - filled));
            block[filled..filled + now.len()].copy_from_slice(now);
            self.samples += now.len();
            rest = later;
        }
    }

    /// Moves samples from the front into `out` as far as both reach. Returns how many.
    pub(super) fn take(&mut self, out: &mut [i16], pool: &mut Pool) -> usize {
        let wanted = out.len().min(self.samples);
        let mut done = 0;
        while done < wanted {
            let block = self.blocks.front().expect("samples lie in blocks");
            let piece = (wanted - done).min(BLOCK_SAMPLES - self.taken);
            out[done..done + piece].copy_from_slice(&block[self.taken..self.taken + piece]);
            done += piece;
            self.taken += piece;
            self.samples -= piece;
            if self.taken == BLOCK_SAMPLES || self.samples == 0 {
                self.taken = 0;
                self.blocks.pop_front().into_iter().for_each(|block| pool.put(block));
            }
        }
        done
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = i16> + '_ {
        self.blocks.iter().flat_map(|block| block.iter().copied()).skip(self.taken).take(self.samples)
    }

    pub(super) fn clear(&mut self, pool: &mut Pool) {
        self.blocks.drain(..).for_each(|block| pool.put(block));
        (self.taken, self.samples) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_a_queue() {
        let (mut pool, mut blocks) = (Pool::default(), Blocks::default());
        let (mut next_in, mut next_out) = (0u16, 0u16);
        for round in 0..300usize {
            let pushed: Vec<i16> =
                (0..round * 37 % 6_000).map(|offset| next_in.wrapping_add(offset as u16) as i16).collect();
            next_in = next_in.wrapping_add(pushed.len() as u16);
            blocks.append(&pushed, &mut pool);
            assert!(blocks.iter().eq((0..blocks.len()).map(|offset| next_out.wrapping_add(offset as u16) as i16)));
            let mut out = vec![0; round * 53 % 7_000];
            let taken = blocks.take(&mut out, &mut pool);
            assert!(taken == out.len() || blocks.len() == 0);
            for &sample in &out[..taken] {
                assert_eq!(sample, next_out as i16);
                next_out = next_out.wrapping_add(1);
            }
            assert!(blocks.blocks() <= blocks.len().div_ceil(BLOCK_SAMPLES) + 1, "at most one block more than needed");
            assert!(pool.spare() <= MAX_SPARE);
        }
        blocks.append(&[1; 1_000_000], &mut pool);
        blocks.clear(&mut pool);
        assert_eq!((blocks.len(), blocks.blocks(), pool.spare()), (0, 0, MAX_SPARE));
    }
}
