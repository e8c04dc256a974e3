//! The deadlines of a session. Each is a limit with a name, and each ends the call with a reason.

use std::time::Duration;

use voicebridge_audio::Time;

use super::{Session, connections::link, conversation::closing::failed};
use crate::{event::EventKind, ports::Ports, reason};

/// Which deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Timer {
    Transport,
    Accept,
    ProviderReady,
    /// Nothing tells that the caller's side is there.
    Life,
    /// No audio, though it is there.
    Media,
    Duration,
    Statistics,
}

impl Session {
    /// The next deadline of this file, and of the last words.
    pub(super) fn timer(&self) -> Option<Time> {
        let next = self.timers().into_iter().flatten().map(|(due, _)| due).min();
        [next, self.closing_due()].into_iter().flatten().min()
    }

    fn timers(&self) -> [Option<(Time, Timer)>; 7] {
        let limits = &self.limits;
        let after = |since: Time, millis: u64, timer: Timer| Some((since + Duration::from_millis(millis), timer));
        let active = self.stages.active_since();
        let transport = match self.stages.connecting_since() {
            Some(since) if !self.stages.connected() => after(since, limits.transport_ms, Timer::Transport),
            _ => None,
        };
        let accept = if self.stages.accepted() {
            None
        } else {
            after(self.started, limits.accept_ms.saturating_sub(self.elapsed_ms), Timer::Accept)
        };
        let provider = if self.link.is_ready() || self.link.is_gone() {
            None
        } else {
            after(self.started, limits.provider_ready_ms, Timer::ProviderReady)
        };
        let life = match (active, self.last_media.max(self.last_life)) {
            (Some(active), Some(last)) => after(last.max(active), limits.media_gap_ms, Timer::Life),
            (Some(active), None) => after(active, limits.first_media_ms, Timer::Life),
            (None, _) => None,
        };
        let media = match active {
            Some(active) if limits.silent_caller_ms > 0 => {
                after(self.last_media.unwrap_or(active), limits.silent_caller_ms, Timer::Media)
            }
            _ => None,
        };
        let duration = match active {
            Some(active) if self.is_open() => {
                after(active, u64::from(self.agent.max_duration_s) * 1_000, Timer::Duration)
            }
            _ => None,
        };
        [transport, accept, provider, life, media, duration, self.next_statistics.map(|due| (due, Timer::Statistics))]
    }

    pub(super) fn run_timers(&mut self, now: Time, ports: &mut dyn Ports) {
        for (_, timer) in self.timers().into_iter().flatten().filter(|(due, _)| *due <= now) {
            if self.is_ended() {
                return;
            }
            self.on_timer(now, timer, ports);
        }
    }

    fn on_timer(&mut self, now: Time, timer: Timer, ports: &mut dyn Ports) {
        let limits = self.limits;
        match timer {
            Timer::Transport => {
                let message = format!(
                    "ICE and DTLS were not up within {} ms; check that UDP can leave and return on the media ports",
                    limits.transport_ms
                );
                self.end(now, failed(reason::MEDIA_CONNECTION_TIMEOUT, &message, ""), ports);
            }
            Timer::Accept => {
                let message = format!("the call was not answered within {} ms of its webhook", limits.accept_ms);
                self.end(now, failed(reason::RING_TIMEOUT, &message, ""), ports);
            }
            Timer::ProviderReady => {
                let failure = link::not_ready(self.link.provider.name(), limits.provider_ready_ms);
                self.on_provider_failed(now, failure, ports);
            }
            Timer::Life => {
                let heard = self.last_media.is_some() || self.last_life.is_some();
                let waited = if heard { limits.media_gap_ms } else { limits.first_media_ms };
                let message = format!("nothing came from the caller's side for {waited} ms");
                self.end(now, failed(reason::MEDIA_TIMEOUT, &message, ""), ports);
            }
            Timer::Media => {
                let waited = limits.silent_caller_ms;
                let message = format!("no audio came from the caller for {waited} ms, though its transport is alive");
                self.end(now, failed(reason::MEDIA_TIMEOUT, &message, ""), ports);
            }
            Timer::Duration => self.time_up(now, ports),
            Timer::Statistics => {
                self.next_statistics = Some(now + Duration::from_millis(limits.statistics_ms.max(1)));
                let statistics = self.statistics();
                self.emit(now, EventKind::Statistics(statistics), ports);
                self.report_quality(now, ports);
            }
        }
    }
}
