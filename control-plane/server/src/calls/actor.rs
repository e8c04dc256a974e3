//! The task that owns a call: takes what comes, one thing after the other, and holds what has to wait.
//!
//! ```text
//!   messages, results, the node's events, deadlines ─▶ life ─▶ record ─ written ─▶ work ─▶ results
//! ```
//!
//! Nothing moves on that is not written: while the store fails the call is held, and the node keeps its events. An end is
//! the exception. Meta's word, the API's, a limit and the loss of the node act on Graph and node at once, and are written
//! when that can be; what was held is not asked for any more.
//!
//! [`Call`] owns the parts and passes on what comes of each. `steps` has what follows from an event written before it is asked
//! for: `life` says where the call stands, `deadlines` when its time is up, `record` what is stored. `placing` says which node is asked, `graph_requests` what Graph is asked, `work` what is under way,
//! `shown` what others see, `report` what is logged and counted. They know nothing of each other's state.

mod call;
mod deadlines;
mod graph_requests;
mod input;
mod life;
mod placing;
mod record;
mod report;
mod request;
mod results;
mod shown;
mod steps;
mod work;

use std::collections::VecDeque;

use tokio::sync::mpsc;
use tracing::Instrument as _;
use voicebridge_core::call_life::{DeadlineKind, Event, Step};

pub(super) use report::call_ended;

use self::{
    call::Call,
    input::{Done, Input, Next},
};
use super::{
    CallError,
    environment::Environment,
    handle::{Mailbox, Message},
    offer::Offer,
};
use crate::{lifetime::Lifetime, nodes::Following, store::CallRow};

/// What waits while the store fails: results of effects, and stages reported. Further stages are refused as unavailable.
const MAX_HELD_INPUTS: usize = 64;

/// Why a call's task ended.
pub(super) enum Ended {
    /// Its record is closed, or the process ends.
    InTime,
    /// What it wrote is not what is stored.
    RecordDiffers,
}

/// Runs a call until its record is closed or the process ends, or the record turns out to be another than was written here.
pub(super) async fn run(environment: Environment, beginning: Beginning, mailbox: Mailbox) -> Ended {
    let span = tracing::info_span!("call", call_id = %beginning.row.call_id);
    async {
        let Mailbox { messages, view } = mailbox;
        let lifetime = environment.lifetime.clone();
        let Beginning { row, step, offer, events } = beginning;
        let mut call = Call::new(environment, row, offer, view);
        call.begin(step, events);
        Actor { call, held: VecDeque::new(), messages, lifetime }.live().await
    }
    .instrument(span)
    .await
}

/// How a call's task begins.
pub(super) struct Beginning {
    pub(super) row: CallRow,
    pub(super) step: Step,
    /// None: the call was placed before.
    pub(super) offer: Option<Offer>,
    /// Fed to the life right after the step.
    pub(super) events: Vec<Event>,
}

struct Actor {
    call: Call,
    /// Came while something was being written.
    held: VecDeque<Input>,
    messages: mpsc::Receiver<Message>,
    lifetime: Lifetime,
}

impl Actor {
    async fn live(mut self) -> Ended {
        loop {
            if self.call.is_closed() {
                self.call.show_closed();
                return Ended::InTime;
            }
            if let Some(ended) = self.turn().await {
                tracing::info!(phase = self.call.life().phase().word(), "call left to its node");
                return ended;
            }
        }
    }

    /// One thing that happens. Some: the call is left to its node, or to whoever else writes its record.
    async fn turn(&mut self) -> Option<Ended> {
        // An end waits for nothing, nor does what came before it: Graph may be asked of the end once it has answered that.
        if (self.call.life().is_over() || self.call.is_written())
            && let Some(input) = self.held.pop_front()
        {
            self.call.handle(input);
            return None;
        }
        let next = tokio::select! {
            next = self.call.next() => next,
            Some(message) = self.messages.recv() => Next::Input(Input::Message(message)),
            () = self.lifetime.detached() => return Some(Ended::InTime),
        };
        match next {
            Next::Written(written) if !self.call.written(written) => return Some(Ended::RecordDiffers),
            Next::Written(_) => {}
            Next::Input(input) if self.call.is_written() || self.overtakes(&input) => self.call.handle(input),
            Next::Input(input) => self.hold(input),
        }
        None
    }

    /// Whether this does not wait for what is being written.
    fn overtakes(&self, input: &Input) -> bool {
        match input {
            Input::Deadline(DeadlineKind::Ending) => false,
            _ if self.call.life().is_over() => true,
            Input::Message(Message::Life(event)) => {
                matches!(event, Event::WebhookTerminate { .. } | Event::ApiEnd { .. })
            }
            Input::Done(Done::Followed(following)) => *following != Following::Ended,
            Input::Deadline(DeadlineKind::Ring) => true,
            _ => false,
        }
    }

    fn hold(&mut self, input: Input) {
        match input {
            // What is still to be written includes what the node has to say of the end: it gets its time after that.
            Input::Deadline(kind @ DeadlineKind::Ending) => self.call.set_deadline(kind),
            Input::Message(Message::Advance { reply, .. }) if self.held.len() >= MAX_HELD_INPUTS => {
                let _ = reply.send(Err(CallError::Held));
            }
            input => self.held.push_back(input),
        }
    }
}
