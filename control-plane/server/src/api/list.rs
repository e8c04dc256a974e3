//! Lists of calls: what is asked for, checked; and the pages. How calls are found is the store's, see
//! [`crate::store::Search`].

use prost::Message;
use voicebridge_core::identity::{PhoneNumber, UserId};
use voicebridge_proto::{control::v1 as control, types::v1 as types};

use super::{
    Api, Fault,
    arguments::{self, MAX_NUMBER_ID_BYTES},
    page_token::Scope,
};
use crate::{
    convert,
    store::{CallFilter, CallOrder, CallPlace, CallState, CallerKey, Search},
};

/// Calls on a page that names no size, and on the largest.
const DEFAULT_PAGE: u32 = 100;
pub(super) const MAX_PAGE: u32 = 1_000;
/// On the largest with all that is known of each, for which each call's events are read.
const MAX_FULL_PAGE: u32 = 100;
/// Values of each field of a filter; by contract.
const MAX_FILTER_VALUES: usize = 16;
/// Longest reason of a termination, bytes.
const MAX_REASON_BYTES: usize = 64;
/// Longest value of one that has no bound elsewhere.
const MAX_FILTER_VALUE_BYTES: usize = 512;
/// Of a page, about: clients of gRPC take messages of 4 MiB unless told otherwise.
const MAX_PAGE_BYTES: usize = 1024 * 1024;

impl Api {
    pub(super) async fn list(&self, request: control::ListCallsRequest) -> Result<control::ListCallsResponse, Fault> {
        let (order, is_full) = (order(&request)?, is_full(&request)?);
        let size = page_size(request.page_size, if is_full { MAX_FULL_PAGE } else { MAX_PAGE })?;
        let filter = filter(request.filter.unwrap_or_default())?;
        let scope = scope(&filter, order);
        let after = self.pages.read(&scope, &request.page_token)?;
        let after = after.map(|(received_at_ms, ordinal)| CallPlace { received_at_ms, ordinal });
        // One more tells whether there is another page.
        let rows = self.store.calls(&Search { filter, order, after, size: size + 1 }).await?;
        let mut page = Page::new(size);
        for row in &rows {
            let call = if is_full { self.with_events(row).await? } else { convert::call_to_wire(row) };
            let place = CallPlace::of(row);
            if !page.takes((place.received_at_ms, place.ordinal), call) {
                break;
            }
        }
        let next_page_token = page.next().map_or_else(String::new, |place| self.pages.write(&scope, place));
        Ok(control::ListCallsResponse { calls: page.items, next_page_token })
    }
}

/// A page that is filled.
#[derive(Debug)]
pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    size: usize,
    bytes: usize,
    last: Option<(i64, i64)>,
    is_full: bool,
}

impl<T: Message> Page<T> {
    /// For so many.
    pub(super) fn new(size: u32) -> Self {
        Self { items: Vec::new(), size: size as usize, bytes: 0, last: None, is_full: false }
    }

    /// Adds what stands at this place of the list; false: it does not fit, and the page ends before it. One always fits.
    pub(super) fn takes(&mut self, place: (i64, i64), item: T) -> bool {
        let bytes = self.bytes + item.encoded_len();
        self.is_full = !self.items.is_empty() && (self.items.len() == self.size || bytes > MAX_PAGE_BYTES);
        if !self.is_full {
            (self.bytes, self.last) = (bytes, Some(place));
            self.items.push(item);
        }
        !self.is_full
    }

    /// Where the next page goes on, if there is one.
    pub(super) fn next(&self) -> Option<(i64, i64)> {
        self.last.filter(|_| self.is_full)
    }
}

/// The size of a page, of at most so many.
pub(super) fn page_size(asked: u32, most: u32) -> Result<u32, Fault> {
    match asked {
        0 => Ok(DEFAULT_PAGE.min(most)),
        size if size <= most => Ok(size),
        _ => Err(Fault::invalid("page_size", &format!("must be at most {most}"))),
    }
}

fn order(request: &control::ListCallsRequest) -> Result<CallOrder, Fault> {
    match control::CallOrder::try_from(request.order) {
        Ok(control::CallOrder::Unspecified | control::CallOrder::NewestFirst) => Ok(CallOrder::NewestFirst),
        Ok(control::CallOrder::OldestFirst) => Ok(CallOrder::OldestFirst),
        Err(_) => Err(Fault::invalid("order", "must be NEWEST_FIRST, OLDEST_FIRST or unset")),
    }
}

fn is_full(request: &control::ListCallsRequest) -> Result<bool, Fault> {
    match control::CallView::try_from(request.view) {
        Ok(control::CallView::Unspecified | control::CallView::Basic) => Ok(false),
        Ok(control::CallView::Full) => Ok(true),
        Err(_) => Err(Fault::invalid("view", "must be BASIC, FULL or unset")),
    }
}

fn filter(asked: control::CallFilter) -> Result<CallFilter, Fault> {
    let control::CallFilter {
        received_from,
        received_before,
        phone_number_ids,
        caller_phone_numbers,
        caller_user_ids,
        results,
        reasons,
        node_ids,
        labels,
        state,
    } = asked;
    let instant = |field, at: Option<prost_types::Timestamp>| match at {
        None => Ok(None),
        Some(at) => convert::instant_ms(&at).map(Some).ok_or_else(|| Fault::invalid(field, "must be an instant")),
    };
    let phones = texts("filter.caller_phone_numbers", caller_phone_numbers, MAX_FILTER_VALUE_BYTES)?;
    let phones = phones.iter().map(|number| PhoneNumber::parse(number).map(CallerKey::Phone));
    let phones = phones.collect::<Option<Vec<_>>>();
    let phones = phones.ok_or_else(|| Fault::invalid("filter.caller_phone_numbers", "must be international digits"))?;
    let users = texts("filter.caller_user_ids", caller_user_ids, MAX_FILTER_VALUE_BYTES)?;
    let users = users.iter().map(|id| UserId::parse(id).map(CallerKey::User)).collect::<Option<Vec<_>>>();
    let users = users.ok_or_else(|| Fault::invalid("filter.caller_user_ids", "must be ids"))?;
    few("filter.results", results.len())?;
    let results = results.into_iter().map(|number| {
        let known = types::TerminationResult::try_from(number).ok().and_then(convert::result_from_wire);
        known.ok_or_else(|| Fault::invalid("filter.results", "must be COMPLETED, ABANDONED, REJECTED or FAILED"))
    });
    let state = match control::CallState::try_from(state) {
        Ok(control::CallState::Unspecified) => None,
        Ok(control::CallState::Live) => Some(CallState::Live),
        Ok(control::CallState::Ended) => Some(CallState::Ended),
        Err(_) => return Err(Fault::invalid("filter.state", "must be LIVE, ENDED or unset")),
    };
    Ok(CallFilter {
        from_ms: instant("filter.received_from", received_from)?,
        before_ms: instant("filter.received_before", received_before)?,
        phone_number_ids: texts("filter.phone_number_ids", phone_number_ids, MAX_NUMBER_ID_BYTES)?,
        callers: phones.into_iter().chain(users).collect(),
        node_ids: texts("filter.node_ids", node_ids, MAX_FILTER_VALUE_BYTES)?,
        results: results.collect::<Result<_, _>>()?,
        reasons: texts("filter.reasons", reasons, MAX_REASON_BYTES)?,
        labels: arguments::labels("filter.labels", labels)?,
        state,
    })
}

fn few(field: &str, count: usize) -> Result<(), Fault> {
    match count {
        0..=MAX_FILTER_VALUES => Ok(()),
        _ => Err(Fault::invalid(field, "must be at most 16")),
    }
}

/// Each once: every value is looked for by itself.
fn texts(field: &str, mut texts: Vec<String>, longest: usize) -> Result<Vec<String>, Fault> {
    few(field, texts.len())?;
    let is_good = |text: &String| (1..=longest).contains(&text.len()) && !text.chars().any(char::is_control);
    if !texts.iter().all(is_good) {
        return Err(Fault::invalid(field, &format!("must be 1 to {longest} bytes each, without control characters")));
    }
    texts.sort_unstable();
    texts.dedup();
    Ok(texts)
}

/// The list that a page token is good for.
fn scope(filter: &CallFilter, order: CallOrder) -> Scope {
    fn all(texts: &[String]) -> impl Iterator<Item = &str> {
        texts.iter().map(String::as_str)
    }
    let CallFilter { from_ms, before_ms, phone_number_ids, callers, node_ids, results, reasons, labels, state } =
        filter;
    let time = |at: Option<i64>| at.map_or_else(String::new, |ms| ms.to_string());
    let (phones, users): (Vec<_>, Vec<_>) = callers.iter().partition(|key| matches!(key, CallerKey::Phone(_)));
    let text = |key: &'_ CallerKey| match key {
        CallerKey::Phone(number) => number.digits().to_owned(),
        CallerKey::User(id) => id.as_str().to_owned(),
    };
    let (phones, users): (Vec<_>, Vec<_>) =
        (phones.into_iter().map(text).collect(), users.into_iter().map(text).collect());
    Scope::new("calls")
        .with(match order {
            CallOrder::NewestFirst => "newest",
            CallOrder::OldestFirst => "oldest",
        })
        .with(&time(*from_ms))
        .with(&time(*before_ms))
        .with(match state {
            None => "",
            Some(CallState::Live) => "live",
            Some(CallState::Ended) => "ended",
        })
        .with_all(all(phone_number_ids))
        .with_all(all(&phones))
        .with_all(all(&users))
        .with_all(all(node_ids))
        .with_all(results.iter().map(|result| result.word()))
        .with_all(all(reasons))
        .with_all(all(&labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()))
}
