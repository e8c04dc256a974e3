//! The deadlines of a leg: each is a limit with a name, and ends the call with a reason.

use std::time::Duration;

use voicebridge_audio::Time;

use super::stages::Stages;
use crate::{event::Termination, limits::Limits, reason};

/// Signs of life of the person's side, and since when its deadlines count.
#[derive(Debug)]
pub(crate) struct Timeouts {
    limits: Limits,
    /// The call has to be answered by then.
    accept_by: Time,
    last_media: Option<Time>,
    /// A sign of life other than audio.
    last_life: Option<Time>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Timeout {
    Transport,
    Accept,
    /// Nothing tells that the person's side is there.
    Life,
    /// No audio, though it is there.
    Media,
}

impl Timeouts {
    /// Of a call whose webhook came `elapsed_ms` ago.
    pub(crate) fn new(now: Time, elapsed_ms: u64, limits: Limits) -> Self {
        let accept_by = now + Duration::from_millis(limits.accept_ms.saturating_sub(elapsed_ms));
        Self { limits, accept_by, last_media: None, last_life: None }
    }

    pub(crate) const fn on_media(&mut self, now: Time) {
        self.last_media = Some(now);
    }

    pub(crate) const fn on_life(&mut self, now: Time) {
        self.last_life = Some(now);
    }

    pub(crate) fn deadline(&self, stages: &Stages) -> Option<Time> {
        self.all(stages).into_iter().flatten().map(|(due, _)| due).min()
    }

    /// Why the call ends now, if it does.
    pub(crate) fn expired(&self, now: Time, stages: &Stages) -> Option<Termination> {
        let (_, timeout) = self.all(stages).into_iter().flatten().find(|(due, _)| *due <= now)?;
        Some(self.termination(timeout))
    }

    fn all(&self, stages: &Stages) -> [Option<(Time, Timeout)>; 4] {
        let limits = &self.limits;
        let after = |since: Time, millis: u64, timeout| Some((since + Duration::from_millis(millis), timeout));
        let active = stages.active_since();
        let transport = match stages.connecting_since() {
            Some(since) if !stages.connected() => after(since, limits.transport_ms, Timeout::Transport),
            _ => None,
        };
        let accept = (!stages.accepted()).then_some((self.accept_by, Timeout::Accept));
        let life = match (active, self.last_media.max(self.last_life)) {
            (Some(active), Some(last)) => after(last.max(active), limits.media_gap_ms, Timeout::Life),
            (Some(active), None) => after(active, limits.first_media_ms, Timeout::Life),
            (None, _) => None,
        };
        let media = match active {
            Some(active) if limits.silent_caller_ms > 0 => {
                after(self.last_media.unwrap_or(active), limits.silent_caller_ms, Timeout::Media)
            }
            _ => None,
        };
        [transport, accept, life, media]
    }

    fn termination(&self, timeout: Timeout) -> Termination {
        let limits = &self.limits;
        let (reason, message) = match timeout {
            Timeout::Transport => (
                reason::MEDIA_CONNECTION_TIMEOUT,
                format!(
                    "ICE and DTLS were not up within {} ms; check that UDP can leave and return on the media ports",
                    limits.transport_ms
                ),
            ),
            Timeout::Accept => (
                reason::RING_TIMEOUT,
                format!("the call was not answered within {} ms of its webhook", limits.accept_ms),
            ),
            Timeout::Life => {
                let heard = self.last_media.is_some() || self.last_life.is_some();
                let waited = if heard { limits.media_gap_ms } else { limits.first_media_ms };
                (reason::MEDIA_TIMEOUT, format!("nothing came from the caller's side for {waited} ms"))
            }
            Timeout::Media => {
                let waited = limits.silent_caller_ms;
                let message = format!("no audio came from the caller for {waited} ms, though its transport is alive");
                (reason::MEDIA_TIMEOUT, message)
            }
        };
        Termination::failed(reason, &message, "")
    }
}
