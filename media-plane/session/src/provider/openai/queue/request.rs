//! A response to ask for, and what is known of one that is being generated.

use std::{collections::VecDeque, fmt, sync::Arc};

use voicebridge_audio::Time;

use super::super::request::Create;
use crate::provider::Purpose;

/// Ends of responses remembered, so that what comes late or twice of them changes nothing. Late messages come within a
/// round trip; the oldest ids are long past.
const REMEMBERED: usize = 16;

/// One attempt at a request. Its text is the event id of the `response.create`, and the tag in its metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in super::super) struct EventId {
    pub(super) request: u32,
    pub(super) attempt: u8,
}

impl fmt::Display for EventId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "vb_response_{}_{}", self.request, self.attempt)
    }
}

impl EventId {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (request, attempt) = text.strip_prefix("vb_response_")?.split_once('_')?;
        Some(Self { request: request.parse().ok()?, attempt: attempt.parse().ok()? })
    }
}

/// A response to ask for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Request {
    pub(super) number: u32,
    pub(super) create: Create,
    /// How often it was asked for.
    pub(super) attempts: u8,
    /// Attempts so far when it was last interrupted: of those none is to be heard any more.
    pub(super) interrupted: u8,
}

/// A `response.create` that was sent and not answered yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Open {
    pub(super) id: EventId,
    /// `None` when it is not wanted any more, because it was dropped or an earlier attempt began after all.
    pub(super) request: Option<Request>,
    /// It is to be cancelled when it begins.
    pub(super) cancel: bool,
    pub(super) due: Time,
}

/// A response that is being generated.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Active {
    /// `None` for one that is known only from a refusal.
    pub(super) id: Option<Arc<str>>,
    /// Our request that it answers.
    pub(super) request: Option<Request>,
    /// That it answers our request is a guess: the server repeats no metadata, as far as is known.
    pub(super) guessed: bool,
    pub(super) cancelled: bool,
    /// Something came of it that must not come twice.
    pub(super) heard: bool,
    pub(super) due: Time,
}

impl Active {
    /// One that is known only from a refusal.
    pub(super) const fn unseen(due: Time) -> Self {
        Self { id: None, request: None, guessed: true, cancelled: false, heard: false, due }
    }

    pub(super) fn is(&self, id: &str) -> bool {
        self.id.as_deref() == Some(id)
    }
}

/// Ids of responses that are over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Finished(pub(super) VecDeque<Arc<str>>);

impl Finished {
    pub(super) fn push(&mut self, id: Arc<str>) {
        if self.contains(&id) {
            return;
        }
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(id);
    }

    pub(super) fn contains(&self, id: &str) -> bool {
        self.0.iter().any(|known| **known == *id)
    }
}

/// Whose response it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The open request's.
    Open,
    /// The request's to which another response was attributed by a guess.
    Guess,
    /// An earlier attempt's at a request that waits or is open again.
    Earlier(u32),
    /// Of a request that has ended.
    Past,
    /// The server's own.
    Server,
}

/// A response began.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct Started {
    pub(in super::super) purpose: Purpose,
    /// It was interrupted before it began: cancel it now.
    pub(in super::super) cancel: bool,
}

/// How a response ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Outcome {
    /// With nothing left to do.
    Over,
    /// It failed.
    Failed(Retry),
}

/// Whether something that failed may be asked for again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Retry {
    /// After this pause; `None`: after one that doubles from attempt to attempt.
    After(Option<std::time::Duration>),
    /// Not at all.
    Never,
}

/// What follows the end of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Ended {
    /// Nothing.
    Over,
    /// It failed and is asked for again.
    Again,
    /// It failed after a part of it was heard, which stands.
    Broken,
    /// It failed, and the caller speaks again and will be answered then.
    Overtaken,
    /// It failed and will not come.
    Refused(Purpose),
}

/// What a refusal says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Refusal {
    /// Another response is active.
    Collision,
    /// Anything else.
    Failed(Retry),
}

/// What follows a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Refused {
    /// It was not about a request of ours.
    NotOurs,
    /// Nothing: the request has ended, or waits.
    Settled,
    /// It is asked for again.
    Again,
    /// It will not come.
    GivenUp(Purpose),
}

/// Something that did not happen in time.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) enum Lapse {
    /// Our request was not answered, and is asked for again.
    NotTakenUp,
    /// Our request was not answered and is given up.
    NeverTakenUp(Purpose),
    /// Nothing more was heard of a response: it is to be cancelled.
    NotEnded {
        cancel: Cancel,
        /// A part of it was heard, and the rest is owed to the caller.
        owed: bool,
    },
    /// The end of the caller's speech was not reported: it counts as over.
    SpeechNotEnded,
    /// What the caller said did not become part of the conversation, so that nobody was asked to answer it.
    TurnNotTaken,
    /// A response goes on after it was cancelled: it counts as over.
    NotCancelled { response_id: Option<Arc<str>> },
}

/// A response to cancel; without an id the one that is active, whichever that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Cancel {
    pub(in super::super) response_id: Option<Arc<str>>,
}
