//! The one place for a response: a second `response.create` while one is active is an error, and the server creates
//! responses of its own. So ours wait here until `response.done`, are known by their event id, and time out.
//!
//! ```text
//! Free --create--> CreateRequested --response.created--> Active --cancel--> CancelRequested
//!   ^------------- error of ours, time-out ------|--------- response.done, time-out -----|
//! ```

use std::{collections::VecDeque, time::Duration};

use voicebridge_audio::Time;

use super::request::{Create, Ids};
use crate::provider::Purpose;

/// Replies that may wait. Commands beyond it are refused.
const MAX_WAITING: usize = 16;
/// From `response.create` to `response.created`, and from `response.cancel` to `response.done`.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// An active response of which nothing was heard for so long is not coming.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Slot {
    state: State,
    waiting: VecDeque<Create>,
    /// Nothing is released before: back-off after a refusal.
    not_before: Option<Time>,
    /// The server repeats our metadata in its responses, so that one without is not ours.
    echoes_metadata: bool,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Free,
    CreateRequested {
        ours: Ours,
        since: Time,
        cancel: bool,
    },
    /// `ours` stays until the end: the server may yet say that it refused ours for the sake of this one. An empty id
    /// stands for a response known only from such a refusal.
    Active {
        response_id: String,
        ours: Option<Ours>,
        heard_of: Time,
    },
    CancelRequested {
        response_id: String,
        since: Time,
    },
}

/// A request of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Ours {
    event_id: String,
    create: Create,
}

/// A response that began.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Started {
    pub(super) purpose: Purpose,
    /// The caller interrupted before it began: cancel it now.
    pub(super) cancel: bool,
}

/// Something that did not happen in time.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stuck {
    /// Our request was not answered.
    NeverStarted(Create),
    /// A response did not end.
    NeverEnded,
}

impl Slot {
    /// Queues a request. False when too many wait already.
    pub(super) fn enqueue(&mut self, create: Create) -> bool {
        let fits = self.waiting.len() < MAX_WAITING;
        if fits {
            self.waiting.push_back(create);
        }
        fits
    }

    /// Queues a request before all others, not to be sent before the given time.
    pub(super) fn retry(&mut self, create: Create, not_before: Option<Time>) {
        self.waiting.push_front(create);
        self.not_before = not_before;
    }

    /// The next request to send, if the slot is free; from here on it is requested.
    pub(super) fn take_due(&mut self, now: Time, ids: &mut Ids) -> Option<(&str, &Create)> {
        if !matches!(self.state, State::Free) || self.not_before.is_some_and(|time| now < time) {
            return None;
        }
        let create = self.waiting.pop_front()?;
        self.not_before = None;
        let ours = Ours { event_id: ids.next("response"), create };
        self.state = State::CreateRequested { ours, since: now, cancel: false };
        match &self.state {
            State::CreateRequested { ours, .. } => Some((&ours.event_id, &ours.create)),
            _ => None,
        }
    }

    /// Whether the server is generating, as far as we know.
    pub(super) const fn is_active(&self) -> bool {
        matches!(self.state, State::Active { .. } | State::CancelRequested { .. })
    }

    /// The response to cancel. One that was only requested is marked, and one already cancelled is left alone.
    pub(super) fn cancel(&mut self, now: Time) -> Option<String> {
        match &mut self.state {
            State::Free | State::CancelRequested { .. } => None,
            State::CreateRequested { cancel, .. } => {
                *cancel = true;
                None
            }
            State::Active { response_id, .. } => {
                let response_id = std::mem::take(response_id);
                self.state = State::CancelRequested { response_id: response_id.clone(), since: now };
                (!response_id.is_empty()).then_some(response_id)
            }
        }
    }

    /// `response.created`; `tag` is the event id in its metadata.
    pub(super) fn started(&mut self, now: Time, response_id: &str, tag: Option<&str>) -> Started {
        self.echoes_metadata |= tag.is_some();
        let (ours, cancel) = match std::mem::take(&mut self.state) {
            State::CreateRequested { ours, cancel, .. } => (Some(ours), cancel),
            State::Active { ours, .. } => (ours, false),
            State::Free | State::CancelRequested { .. } => (None, false),
        };
        let is_ours = ours.as_ref().is_some_and(|ours| match tag {
            Some(tag) => tag == ours.event_id,
            None => !self.echoes_metadata,
        });
        let purpose = match &ours {
            Some(ours) if is_ours => ours.create.purpose(),
            _ => Purpose::Reply,
        };
        let cancel = cancel && is_ours;
        let response_id = response_id.to_owned();
        self.state = if cancel {
            State::CancelRequested { response_id, since: now }
        } else {
            State::Active { response_id, ours, heard_of: now }
        };
        Started { purpose, cancel }
    }

    /// Anything that shows the response to be alive.
    pub(super) fn touch(&mut self, now: Time, id: &str) {
        if let State::Active { response_id, heard_of, .. } = &mut self.state
            && response_id == id
        {
            *heard_of = now;
        }
    }

    /// `response.done`: frees the slot if it was this one's. Returns our request it may have come from.
    pub(super) fn finished(&mut self, id: &str, tag: Option<&str>) -> Option<Create> {
        self.echoes_metadata |= tag.is_some();
        match &self.state {
            State::Active { response_id, .. } | State::CancelRequested { response_id, .. }
                if response_id == id || response_id.is_empty() => {}
            // There is a race in which `response.created` is never seen.
            State::CreateRequested { ours, .. }
                if tag == Some(ours.event_id.as_str()) || (tag.is_none() && !self.echoes_metadata) => {}
            _ => return None,
        }
        match std::mem::take(&mut self.state) {
            State::Active { ours, .. } => ours.map(|ours| ours.create),
            State::CreateRequested { ours, .. } => Some(ours.create),
            State::Free | State::CancelRequested { .. } => None,
        }
    }

    /// Ours was refused because another response is active: it waits for that one's end. False when it is not ours.
    pub(super) fn collided(&mut self, now: Time, event_id: &str) -> bool {
        match &mut self.state {
            State::CreateRequested { ours, .. } if ours.event_id == event_id => {
                self.waiting.push_front(ours.create.clone());
                self.state = State::Active { response_id: String::new(), ours: None, heard_of: now };
                true
            }
            State::Active { ours, .. } if ours.as_ref().is_some_and(|ours| ours.event_id == event_id) => {
                self.waiting.extend(ours.take().map(|ours| ours.create));
                self.waiting.rotate_right(1);
                true
            }
            _ => false,
        }
    }

    /// Ours was refused for good. False when it is not ours.
    pub(super) fn refused(&mut self, event_id: &str) -> bool {
        let is_ours = matches!(&self.state, State::CreateRequested { ours, .. } if ours.event_id == event_id);
        if is_ours {
            self.state = State::Free;
        }
        is_ours
    }

    /// Gives up what did not happen in time.
    pub(super) fn expire(&mut self, now: Time) -> Option<Stuck> {
        if self.answer_due().is_none_or(|due| now < due) {
            return None;
        }
        match std::mem::take(&mut self.state) {
            State::CreateRequested { ours, .. } => Some(Stuck::NeverStarted(ours.create)),
            _ => Some(Stuck::NeverEnded),
        }
    }

    /// When to call [`Self::expire`] or [`Self::take_due`] again.
    pub(super) fn deadline(&self) -> Option<Time> {
        let release = if matches!(self.state, State::Free) && !self.waiting.is_empty() {
            Some(self.not_before.unwrap_or(Time::ZERO))
        } else {
            None
        };
        self.answer_due().or(release)
    }

    fn answer_due(&self) -> Option<Time> {
        match self.state {
            State::Free => None,
            State::CreateRequested { since, .. } | State::CancelRequested { since, .. } => Some(since + ANSWER_TIMEOUT),
            State::Active { heard_of, .. } => Some(heard_of + SILENCE_TIMEOUT),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const AT: Time = Time::from_millis(1_000);

    fn requested() -> (Slot, Ids, String) {
        let (mut slot, mut ids) = (Slot::default(), Ids::default());
        assert!(slot.enqueue(Create::Say("one".into())));
        let event_id = slot.take_due(AT, &mut ids).unwrap().0.to_owned();
        (slot, ids, event_id)
    }

    #[test]
    fn one_at_a_time() {
        let (mut slot, mut ids, event_id) = requested();
        assert!(slot.enqueue(Create::Farewell));
        assert_eq!(slot.take_due(AT, &mut ids), None);
        assert_eq!(slot.started(AT, "R1", Some(&event_id)), Started { purpose: Purpose::Say, cancel: false });
        assert_eq!(slot.take_due(AT, &mut ids), None);
        assert_eq!(slot.finished("R1", Some(&event_id)), Some(Create::Say("one".into())));
        assert_eq!(slot.take_due(AT, &mut ids).unwrap().1, &Create::Farewell);
    }

    #[test]
    fn the_servers_own_response_comes_first_and_ours_is_refused() {
        let (mut slot, mut ids, event_id) = requested();
        slot.echoes_metadata = true;
        assert_eq!(slot.started(AT, "V1", None).purpose, Purpose::Reply);
        assert!(slot.collided(AT, &event_id));
        assert_eq!(slot.take_due(AT, &mut ids), None);
        slot.finished("V1", None);
        assert_eq!(slot.take_due(AT, &mut ids).unwrap().1, &Create::Say("one".into()));
    }

    #[test]
    fn a_refusal_for_a_response_never_seen_waits_for_any_end() {
        let (mut slot, mut ids, event_id) = requested();
        assert!(slot.collided(AT, &event_id));
        assert!(slot.is_active());
        assert_eq!(slot.cancel(AT), None, "an unknown id cannot be named");
        slot.finished("V7", None);
        assert!(slot.take_due(AT, &mut ids).is_some());
        assert!(!slot.collided(AT, "other"));
    }

    #[test]
    fn an_interruption_before_the_start_cancels_at_the_start() {
        let (mut slot, _, event_id) = requested();
        assert_eq!(slot.cancel(AT), None);
        assert!(slot.started(AT, "R1", Some(&event_id)).cancel);
        assert_eq!(slot.cancel(AT), None, "cancelled already");
        assert!(slot.is_active(), "the slot is free only when the response is done");
        slot.finished("R1", Some(&event_id));
        assert!(!slot.is_active());
    }

    #[test]
    fn what_never_comes_times_out() {
        let (mut slot, ..) = requested();
        assert_eq!(slot.deadline(), Some(Time::from_millis(11_000)));
        assert_eq!(slot.expire(Time::from_millis(10_999)), None);
        assert_eq!(slot.expire(Time::from_millis(11_000)), Some(Stuck::NeverStarted(Create::Say("one".into()))));
        slot.started(AT, "R1", None);
        slot.touch(Time::from_millis(20_000), "R1");
        assert_eq!(slot.deadline(), Some(Time::from_millis(50_000)));
        assert_eq!(slot.cancel(Time::from_millis(20_000)), Some("R1".into()));
        assert_eq!(slot.expire(Time::from_millis(30_000)), Some(Stuck::NeverEnded));
        assert_eq!(slot.deadline(), None);
    }

    #[test]
    fn the_queue_is_bounded_and_backs_off() {
        let (mut slot, mut ids) = (Slot::default(), Ids::default());
        for _ in 0..MAX_WAITING {
            assert!(slot.enqueue(Create::Reply));
        }
        assert!(!slot.enqueue(Create::Reply));
        slot.retry(Create::Farewell, Some(Time::from_millis(5_000)));
        assert_eq!(slot.take_due(Time::from_millis(4_999), &mut ids), None);
        assert_eq!(slot.deadline(), Some(Time::from_millis(5_000)));
        assert_eq!(slot.take_due(Time::from_millis(5_000), &mut ids).unwrap().1, &Create::Farewell);
    }

    #[test]
    fn a_stranger_frees_nothing() {
        let (mut slot, _, event_id) = requested();
        slot.started(AT, "R1", Some(&event_id));
        assert_eq!(slot.finished("R0", None), None);
        assert!(slot.is_active());
        assert!(!slot.refused("other"));
    }
}
