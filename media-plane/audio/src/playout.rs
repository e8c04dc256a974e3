//! The AI's audio on its way to the caller: one queue for each item of the provider, one 20 ms frame a tick, and a ledger
//! of what was really handed out.
//!
//! Flow: [`Playout::push`] as fast as the provider delivers, [`Playout::next_frame`] once a tick of the send clock. A
//! reply starts once a little of it is there (how much is learned from how the provider delivers), plays in order, and never shares a frame with another item. When the
//! caller interrupts, [`Playout::flush`] ends everything at once and says how much of each item was heard, which is what
//! the provider's conversation is to be cut to.
//!
//! **One measure.** Audio is queued as it comes, at 24 kHz or as G.711's 8 kHz ([`PlayoutSettings::sample_rate_hz`]); what
//! is counted is counted at 24 kHz in both cases, as everywhere.
//!
//! Audio is never dropped to catch up. Not here: encoding, RTP, the clock, and which replies are still wanted.

mod blocks;
mod item;
mod ledger;
mod pace;

use crate::{FRAME_MS, FRAME_SAMPLES, SAMPLE_RATE_HZ, Time, ramp};
use blocks::{BLOCK_SAMPLES, Pool};
use item::{PlayoutItem, Readiness};
use ledger::Ledger;
use pace::ProviderPace;
use std::collections::VecDeque;

/// Items that may wait at a time. A response has one or two.
pub const MAX_ITEMS: usize = 64;

/// How playout behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlayoutSettings {
    /// Audio to have before an item's first frame, so that bursts of the network are not heard. Until the provider's
    /// pace is known.
    pub prefill_ms: u32,
    /// Longest an item waits for its prefill once some of it is there.
    pub prefill_patience_ms: u32,
    /// Longest an item is held back once the provider's pace is known; with 0 it is never learned, and the prefill stays.
    pub max_hold_ms: u32,
    /// Rate of what is pushed and handed out, Hz: 24 000, or a whole part of it.
    pub sample_rate_hz: u32,
    /// Most audio waiting over all items, bytes of 16-bit samples. A push beyond is refused.
    pub max_bytes: usize,
}

impl Default for PlayoutSettings {
    /// 60 ms, at most 200 ms, later held back for up to 300 ms; 16 MiB is more than five minutes of 24 kHz audio, longer than any single reply.
    fn default() -> Self {
        Self {
            prefill_ms: 60,
            prefill_patience_ms: 200,
            max_hold_ms: 300,
            sample_rate_hz: SAMPLE_RATE_HZ,
            max_bytes: 16 * 1024 * 1024,
        }
    }
}

/// A push was refused; nothing of it was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueueFull {
    /// More than [`PlayoutSettings::max_bytes`].
    #[error("playout holds {queued} bytes; {offered} more exceed {limit}")]
    Bytes {
        /// Waiting already.
        queued: usize,
        /// In this push.
        offered: usize,
        /// The bound.
        limit: usize,
    },
    /// More than [`MAX_ITEMS`].
    #[error("playout holds {MAX_ITEMS} items already")]
    Items,
}

/// What a tick of the send clock got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlayoutSlot {
    /// Audio to encode and send.
    Frame,
    /// Nothing to play; the frame is silence.
    Idle,
    /// A reply that has begun and not ended has nothing ready; the frame is silence.
    Underrun,
}

/// An item that is over, and how far it got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedItem {
    /// The provider's id.
    pub item: String,
    /// Samples handed out, padding excluded. Never more than received.
    pub heard_samples: u64,
    /// Samples pushed.
    pub received_samples: u64,
}

/// How far an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Samples handed out, padding excluded. Never more than received.
    pub heard_samples: u64,
    /// Samples pushed.
    pub received_samples: u64,
    /// No more audio will come for it.
    pub finished: bool,
}

/// Counters since the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlayoutStatistics {
    /// Samples of items handed out, padding and fades excluded.
    pub played_samples: u64,
    /// Times a reply ran dry before its end.
    pub underruns: u64,
    /// Silence sent within replies because of it, milliseconds.
    pub underrun_ms: u64,
    /// For how long a reply is held back at present, milliseconds; `None` until the provider's pace is known.
    pub hold_ms: Option<u32>,
    /// Pushes refused.
    pub refused: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Playout {
    settings: PlayoutSettings,
    /// Samples at 24 kHz for each of its own.
    ratio: usize,
    items: VecDeque<PlayoutItem>,
    pool: Pool,
    pace: ProviderPace,
    queued_samples: usize,
    ledger: Ledger,
    statistics: PlayoutStatistics,
    /// The last sample handed out, where a fade starts from.
    last_sample: i16,
    /// A fade that is still to be sent.
    tail: Option<Tail>,
    /// Playing stopped short: fade in again.
    fade_in: bool,
    /// Nothing is handed out until [`Playout::resume`].
    paused: bool,
}

impl Playout {
    /// Nothing queued.
    #[must_use]
    pub fn new(settings: PlayoutSettings) -> Self {
        Self {
            settings,
            ratio: (SAMPLE_RATE_HZ / settings.sample_rate_hz) as usize,
            items: VecDeque::new(),
            pool: Pool::default(),
            pace: ProviderPace::default(),
            queued_samples: 0,
            ledger: Ledger::default(),
            statistics: PlayoutStatistics::default(),
            last_sample: 0,
            tail: None,
            fade_in: false,
            paused: false,
        }
    }

    /// Appends audio to an item; the first push creates it, behind all others. Items play in order of creation.
    ///
    /// Whoever pushes keeps audio of interrupted items away: after [`Self::flush`] the same id is a new item.
    ///
    /// # Errors
    /// [`QueueFull`]; the queue is unchanged then.
    pub fn push(&mut self, now: Time, item: &str, pcm: &[i16]) -> Result<(), QueueFull> {
        if pcm.is_empty() {
            return Ok(());
        }
        let result = self.try_push(now, item, pcm);
        self.statistics.refused += u64::from(result.is_err());
        result
    }

    fn try_push(&mut self, now: Time, id: &str, pcm: &[i16]) -> Result<(), QueueFull> {
        let (queued, offered) = (self.queued_samples * 2, pcm.len() * 2);
        if queued + offered > self.settings.max_bytes {
            return Err(QueueFull::Bytes { queued, offered, limit: self.settings.max_bytes });
        }
        let position = self.items.iter().position(|item| item.id == id && !item.finished);
        let item = match position {
            Some(index) => &mut self.items[index],
            None if self.items.len() == MAX_ITEMS => return Err(QueueFull::Items),
            None => {
                self.items.push_back(PlayoutItem::new(id, self.ratio));
                self.items.back_mut().expect("an item was pushed just now")
            }
        };
        item.append(now, pcm, &mut self.pool);
        self.queued_samples += pcm.len();
        Ok(())
    }

    /// No more audio for this item: it starts without waiting for its prefill, and its last frame is padded. Unknown
    /// items are ignored: a reply without audio is none.
    pub fn finish(&mut self, item: &str) {
        for queued in self.items.iter_mut().filter(|queued| queued.id == item) {
            queued.finished = true;
        }
        self.settle();
    }

    /// The next 20 ms, once a tick. `out` has room for exactly that; it is filled in every case, with silence unless the
    /// slot is a frame.
    pub fn next_frame(&mut self, now: Time, out: &mut [i16]) -> PlayoutSlot {
        debug_assert_eq!(out.len() * self.ratio, FRAME_SAMPLES);
        out.fill(0);
        if let Some(tail) = self.tail.take() {
            out[..tail.length].copy_from_slice(tail.samples());
            self.last_sample = 0;
            return PlayoutSlot::Frame;
        }
        if self.paused {
            return PlayoutSlot::Idle;
        }
        self.settle();
        let followed = self.items.len() > 1;
        let Some(item) = self.items.front_mut() else {
            self.last_sample = 0;
            return PlayoutSlot::Idle;
        };
        match item.readiness(now, &self.settings, &self.pace, followed) {
            Readiness::Waiting => PlayoutSlot::Idle,
            Readiness::Ready => {
                let taken = item.take(out, &mut self.pool);
                self.hand_out(out, taken);
                self.settle();
                PlayoutSlot::Frame
            }
            Readiness::RanDry => {
                item.starved = true;
                self.statistics.underruns += 1;
                self.statistics.underrun_ms += FRAME_MS;
                self.fade_in = true;
                let tail = Tail::new(self.ratio, self.last_sample, std::iter::empty());
                out[..tail.length].copy_from_slice(tail.samples());
                self.last_sample = 0;
                PlayoutSlot::Frame
            }
            Readiness::Starved => {
                self.statistics.underrun_ms += FRAME_MS;
                PlayoutSlot::Underrun
            }
        }
    }

    fn hand_out(&mut self, out: &mut [i16], taken: usize) {
        self.queued_samples -= taken;
        self.statistics.played_samples += (taken * self.ratio) as u64;
        if std::mem::take(&mut self.fade_in) {
            ramp::rise_within(out, ramp::RAMP_SAMPLES / self.ratio, 0.0);
        }
        self.last_sample = out.last().copied().unwrap_or_default();
    }

    /// Stops handing out, as while it is not clear whether the caller interrupts. Audio can still be pushed. What was
    /// playing fades out within 5 ms of the next frame without taking anything from the queue.
    pub fn pause(&mut self) {
        if self.paused {
            return;
        }
        self.paused = true;
        if self.last_sample != 0 && self.tail.is_none() {
            self.tail = Some(Tail::new(self.ratio, self.last_sample, std::iter::empty()));
            self.fade_in = true;
        }
    }

    /// Goes on after [`Self::pause`], with the very next sample of what was playing, faded in within 5 ms.
    pub fn resume(&mut self) {
        self.paused = false;
    }

    /// Drops everything at once, as when the caller interrupts. Returns what was queued, in order: an item with
    /// `heard_samples` of 0 was never heard. What was playing fades out within 5 ms of the next frame, which counts as
    /// not heard.
    pub fn flush(&mut self) -> Vec<EndedItem> {
        if self.last_sample != 0 && self.tail.is_none() {
            let upcoming = self.items.front().into_iter().filter(|item| item.started).flat_map(PlayoutItem::upcoming);
            self.tail = Some(Tail::new(self.ratio, self.last_sample, upcoming));
        }
        self.queued_samples = 0;
        self.fade_in = false;
        self.paused = false;
        let Self { items, pool, pace, ledger, settings, .. } = self;
        let end = |item: PlayoutItem| {
            pace.learn(&item.delivery, settings);
            let ended = item.into_ended(pool);
            ledger.remember(ended.clone());
            ended
        };
        items.drain(..).map(end).collect()
    }

    /// How far an item is; `None` for one never pushed, or over so long ago that it is forgotten.
    #[must_use]
    pub fn heard(&self, item: &str) -> Option<Heard> {
        let queued = self.items.iter().rev().find(|queued| queued.id == item);
        queued.map(PlayoutItem::heard).or_else(|| self.ledger.heard(item))
    }

    /// The item playing, or about to.
    #[must_use]
    pub fn current(&self) -> Option<&str> {
        self.items.front().map(|item| item.id.as_str())
    }

    /// Whether nothing is queued, playing, awaited or fading.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.items.is_empty() && self.tail.is_none()
    }

    /// Audio waiting to be handed out, milliseconds.
    #[must_use]
    pub const fn queued_ms(&self) -> u64 {
        self.queued_samples as u64 * 1_000 / self.settings.sample_rate_hz as u64
    }

    /// Items played to their end since the last call, oldest first.
    pub fn take_completed(&mut self) -> Vec<EndedItem> {
        self.ledger.take_completed()
    }

    /// Counters so far.
    #[must_use]
    pub fn statistics(&self) -> PlayoutStatistics {
        PlayoutStatistics { hold_ms: self.pace.hold().map(|hold| hold.as_millis() as u32), ..self.statistics }
    }

    /// Memory held for audio, bytes: what is queued, less than 20 kB more for each item, and up to 300 kB kept for use.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let blocks = self.items.iter().map(PlayoutItem::blocks).sum::<usize>() + self.pool.spare();
        blocks * BLOCK_SAMPLES * 2
    }

    /// Retires items that are played to their end. One that waits for more while the next is there already is over:
    /// the provider has gone on.
    fn settle(&mut self) {
        let followed = |items: &VecDeque<PlayoutItem>| items.len() > 1;
        while let Some(item) = self.items.front()
            && item.is_drained()
            && (item.finished || followed(&self.items))
        {
            let item = self.items.pop_front().expect("the queue has a front");
            self.pace.learn(&item.delivery, &self.settings);
            self.ledger.complete(item.into_ended(&mut self.pool));
        }
    }
}

/// A fade to silence of 5 ms.
#[derive(Clone, Copy, Debug)]
struct Tail {
    pcm: [i16; ramp::RAMP_SAMPLES],
    length: usize,
}

impl Tail {
    fn new(ratio: usize, last: i16, upcoming: impl Iterator<Item = i16>) -> Self {
        let mut tail = Self { pcm: [0; ramp::RAMP_SAMPLES], length: ramp::RAMP_SAMPLES / ratio };
        ramp::tail(&mut tail.pcm[..tail.length], last, upcoming);
        tail
    }

    fn samples(&self) -> &[i16] {
        &self.pcm[..self.length]
    }
}
