//! Which calls a list wants, and in which order. How a database is asked for them: see [`super::search_sql`].

use voicebridge_core::{
    identity::{PhoneNumber, UserId},
    labels::Labels,
    termination::TerminationResult,
};

use super::CallRow;

/// Which calls are wanted. Everything given must be true of a call; of several values of one field one must.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallFilter {
    /// Received at this time or later.
    pub from_ms: Option<i64>,
    /// Received before this time.
    pub before_ms: Option<i64>,
    /// Of these business numbers, by their ids.
    pub phone_number_ids: Vec<String>,
    /// With these callers, by number or by user id.
    pub callers: Vec<CallerKey>,
    /// On these nodes.
    pub node_ids: Vec<String>,
    /// Ended so.
    pub results: Vec<TerminationResult>,
    /// Ended for these reasons.
    pub reasons: Vec<String>,
    /// With all of these labels.
    pub labels: Labels,
    /// Going on, or over.
    pub state: Option<CallState>,
}

/// A caller as somebody looks for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallerKey {
    /// By phone number.
    Phone(PhoneNumber),
    /// By Meta's business-scoped id.
    User(UserId),
}

/// Whether a call's record is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallState {
    /// It is not.
    Live,
    /// It is.
    Ended,
}

/// By the time a call was received; of calls of one millisecond by the order of claiming.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CallOrder {
    /// From now back.
    #[default]
    NewestFirst,
    /// From the first on.
    OldestFirst,
}

/// Where a call stands in the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallPlace {
    /// When it was received.
    pub received_at_ms: i64,
    /// Order of claiming.
    pub ordinal: i64,
}

impl CallPlace {
    /// That of a call.
    #[must_use]
    pub const fn of(row: &CallRow) -> Self {
        Self { received_at_ms: row.received_at_ms, ordinal: row.ordinal }
    }
}

/// Which calls a list wants.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// Only these.
    pub filter: CallFilter,
    /// In this order.
    pub order: CallOrder,
    /// Only those that come after this one.
    pub after: Option<CallPlace>,
    /// At most this many.
    pub size: u32,
}

impl Search {
    /// All live calls, newest first.
    #[must_use]
    pub fn live(after: Option<CallPlace>, size: u32) -> Self {
        let filter = CallFilter { state: Some(CallState::Live), ..CallFilter::default() };
        Self { filter, after, size, ..Self::default() }
    }

    /// Whether the call is on this page or on one after it.
    #[cfg(test)]
    pub(super) fn wants(&self, row: &CallRow) -> bool {
        let place = CallPlace::of(row);
        let follows = |after| match self.order {
            CallOrder::NewestFirst => place < after,
            CallOrder::OldestFirst => place > after,
        };
        self.after.is_none_or(follows) && self.filter.fits(row)
    }
}

impl CallFilter {
    #[cfg(test)]
    fn fits(&self, row: &CallRow) -> bool {
        fn any<T: PartialEq>(wanted: &[T], is: impl Fn(&T) -> bool) -> bool {
            wanted.is_empty() || wanted.iter().any(is)
        }
        let is_ended = row.ended_at_ms.is_some();
        let ending = row.termination.as_ref().filter(|_| is_ended);
        let node = row.session.as_ref().map_or("", |session| session.node_id.as_str());
        self.from_ms.is_none_or(|from| row.received_at_ms >= from)
            && self.before_ms.is_none_or(|before| row.received_at_ms < before)
            && any(&self.phone_number_ids, |id| *id == row.phone_number_id)
            && any(&self.callers, |caller| match caller {
                CallerKey::Phone(number) => row.caller.phone_number.as_ref() == Some(number),
                CallerKey::User(id) => row.caller.user_id.as_ref() == Some(id),
            })
            && any(&self.node_ids, |id| id == node)
            && any(&self.results, |result| ending.is_some_and(|ending| ending.result == *result))
            && any(&self.reasons, |reason| ending.is_some_and(|ending| ending.reason == *reason))
            && row.labels.include(&self.labels)
            && match self.state {
                None => true,
                Some(CallState::Live) => !is_ended,
                Some(CallState::Ended) => is_ended,
            }
    }
}
