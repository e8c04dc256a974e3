//! Events on their way to subscribers.
//!
//! ```text
//! call's task ── append ─▶ store ── history ─▶ tail ─▶ ring ─▶ subscribers at the head      (each event read once)
//!                            └───────────────── history ─────▶ subscribers further behind
//! call's task ── transient ─────────────────────▶ inbox of each subscriber that wants it    (bounded, oldest dropped)
//! ```
//!
//! Durable events come from the store alone, by position, so nothing is lost and nothing comes twice, whatever a
//! subscriber or this process does. A subscriber is a pull: nobody reads for one that does not take what it has. Knows
//! nothing of gRPC or HTTP.

mod cursor;
mod entry;
mod filter;
mod hub;
mod ring;
mod subscriber;
mod tail;
#[cfg(test)]
mod tests;

pub(crate) use cursor::{CURSOR_KEY, Cursors, MAX_CURSOR_BYTES};
pub(crate) use entry::Entry;
pub(crate) use filter::{Filter, Kinds};
pub(crate) use hub::Hub;
pub(crate) use subscriber::{Begin, Delivery, End, Source, Subscriber};
pub(crate) use tail::tail;
