//! What Graph is asked of the call: one thing after another, in the order the life asked for them. Where we have no number to
//! speak of it, whoever holds the signalling is told instead.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;
use voicebridge_core::{
    call_life::{DeadlineKind, GraphAction, Sdp, Signalling},
    identity::Wacid,
};

use super::{deadlines::Deadlines, life::Life};
use crate::{callback::Notice, clock::now_ms, store::CallRow};

/// Until when Graph may be asked.
pub(super) enum Until {
    At(Instant),
    /// So long from when this process may act: of an end Meta is told however late.
    Within(Duration),
}

pub(super) struct GraphRequest {
    /// None: there is nobody to ask.
    pub(super) number: Option<String>,
    pub(super) wacid: Wacid,
    pub(super) action: GraphAction,
    pub(super) answer: Option<Sdp>,
    pub(super) until: Until,
}

/// Who is asked.
pub(super) enum Ask {
    Graph(GraphRequest),
    Holder(Notice),
}

/// See the module.
pub(super) struct GraphRequests {
    waiting: VecDeque<(GraphAction, Option<Sdp>)>,
    is_busy: bool,
    /// What Graph gets to hear of an end.
    ending: Duration,
}

impl GraphRequests {
    pub(super) const fn new(ending: Duration) -> Self {
        Self { waiting: VecDeque::new(), is_busy: false, ending }
    }

    pub(super) fn push(&mut self, action: GraphAction, answer: Option<Sdp>) {
        self.waiting.push_back((action, answer));
    }

    /// What is to be asked now, under which number of ours, if nothing is under way. It is then, until
    /// [`GraphRequests::answered`].
    pub(super) fn next(
        &mut self,
        number: Option<String>,
        life: &Life,
        deadlines: &Deadlines,
        call: &CallRow,
    ) -> Option<Ask> {
        if self.is_busy {
            return None;
        }
        let (action, answer) = self.waiting.pop_front()?;
        let ask = if number.is_none() && life.signalling() == Signalling::SelfHeld {
            Ask::Holder(Notice {
                call_id: call.call_id.clone(),
                wacid: call.wacid.clone(),
                phone_number_id: call.phone_number_id.clone(),
                action,
                // Of a self-held call nothing but the hang-up is asked for.
                termination: life.phase().termination().cloned()?,
                at_ms: now_ms(),
            })
        } else {
            let until = match action {
                GraphAction::PreAccept | GraphAction::Accept => Until::At(deadlines.at(DeadlineKind::Ring)),
                GraphAction::Reject | GraphAction::Terminate => Until::Within(self.ending),
            };
            Ask::Graph(GraphRequest { number, wacid: call.wacid.clone(), action, answer, until })
        };
        self.is_busy = true;
        Some(ask)
    }

    pub(super) const fn answered(&mut self) {
        self.is_busy = false;
    }
}
