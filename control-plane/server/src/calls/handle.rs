//! The cheap end of a call's task: a bounded mailbox in, the latest state out.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};
use voicebridge_core::{
    call_life::{Event, SignallingStage},
    termination::Termination,
};
use voicebridge_proto::types::v1 as types;

use super::{CallError, offer::OfferAnswer, start_arguments::StartArguments};
use crate::store::SessionPlace;

/// Messages a call may be behind. Full: the sender waits; the task itself never does for long.
const MAILBOX: usize = 32;

pub(super) enum Message {
    Life(Event),
    Advance { stage: SignallingStage, reply: oneshot::Sender<Result<types::SignallingStage, CallError>> },
}

/// A call's state as others may see it.
#[derive(Clone, Debug)]
pub(crate) struct View {
    /// The call is in the store.
    pub(crate) claimed: bool,
    pub(crate) phase: &'static str,
    pub(crate) received_at_ms: i64,
    pub(crate) session: Option<SessionPlace>,
    pub(crate) answer: Option<OfferAnswer>,
    pub(crate) termination: Option<Termination>,
    /// The node's latest report while the call runs; none before the first.
    pub(crate) statistics: Option<types::MediaStatistics>,
    /// Something is under way that a shutdown should wait for.
    pub(crate) is_busy: bool,
    /// The record is closed.
    pub(crate) closed: bool,
}

impl Default for View {
    fn default() -> Self {
        Self {
            claimed: false,
            phase: "PLACING",
            received_at_ms: 0,
            session: None,
            answer: None,
            termination: None,
            statistics: None,
            is_busy: true,
            closed: false,
        }
    }
}

/// The task's end.
pub(super) struct Mailbox {
    pub(super) messages: mpsc::Receiver<Message>,
    pub(super) view: watch::Sender<View>,
}

impl Mailbox {
    /// The call is in the store.
    pub(super) fn set_claimed(&self) {
        self.view.send_modify(|view| view.claimed = true);
    }
}

#[derive(Clone)]
pub(super) struct Handle {
    messages: mpsc::Sender<Message>,
    view: watch::Receiver<View>,
    arguments: Option<Arc<StartArguments>>,
}

pub(super) fn channel(arguments: Option<Arc<StartArguments>>) -> (Handle, Mailbox) {
    let (sender, messages) = mpsc::channel(MAILBOX);
    let (view, watched) = watch::channel(View::default());
    (Handle { messages: sender, view: watched, arguments }, Mailbox { messages, view })
}

impl Handle {
    pub(super) async fn send(&self, message: Message) {
        // Err: the call has ended in the meantime. Whoever waits for a reply sees its sender dropped.
        let _ = self.messages.send(message).await;
    }

    /// What it was started with; of a self-held call that was started in this process.
    pub(super) fn arguments(&self) -> Option<&StartArguments> {
        self.arguments.as_deref()
    }

    pub(super) fn view(&self) -> View {
        self.view.borrow().clone()
    }

    /// The first state that fits, or the last one when the task is gone.
    pub(super) async fn wait(&self, mut fits: impl FnMut(&View) -> bool) -> View {
        let mut view = self.view.clone();
        match view.wait_for(|view| fits(view)).await {
            Ok(found) => found.clone(),
            Err(_) => View { is_busy: false, ..self.view() },
        }
    }
}
