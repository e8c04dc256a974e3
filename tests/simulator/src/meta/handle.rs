//! A running call as its test sees it.

use std::{sync::Arc, time::Instant};

use serde_json::Value;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use super::{
    RelayThread,
    caller::Command,
    delivery::WebhookReport,
    record::{CallRecord, Moment, Timeline},
};

/// A call in progress. Dropped, the call goes on by itself.
#[derive(Debug)]
pub struct CallHandle {
    pub(super) call_id: String,
    pub(super) connect: Value,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) progress: watch::Receiver<Timeline>,
    pub(super) call: JoinHandle<CallRecord>,
    /// Deliveries of the connect webhook.
    pub(super) deliveries: Vec<JoinHandle<WebhookReport>>,
    /// Keeps the callers' thread alive.
    pub(super) _thread: Arc<RelayThread>,
}

impl CallHandle {
    /// Meta's id of the call.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.call_id
    }

    /// The `value` of the connect webhook, to be delivered by hand with [`super::Meta::deliver`].
    #[must_use]
    pub fn connect_webhook(&self) -> &Value {
        &self.connect
    }

    /// Waits until `moment` was reached; none if the call ended without it.
    pub async fn reached(&self, moment: Moment) -> Option<Instant> {
        let mut progress = self.progress.clone();
        // An error means that the call is over: what is there is all there will be.
        drop(progress.wait_for(|timeline| timeline.at(moment).is_some()).await);
        progress.borrow().at(moment)
    }

    /// The moments so far.
    #[must_use]
    pub fn timeline(&self) -> Timeline {
        self.progress.borrow().clone()
    }

    /// Makes the caller hang up now, whatever the script says. Nothing happens if the call is over.
    pub async fn hang_up(&self) {
        if self.commands.send(Command::HangUp).await.is_err() {
            tracing::debug!("hang-up of a call that is over");
        }
    }

    /// Waits for the end of the call and of all its webhooks.
    ///
    /// # Panics
    ///
    /// If the caller's task panicked: a bug of the simulator.
    pub async fn finish(self) -> CallRecord {
        let record = self.call.await.expect("a caller's task ends by itself");
        for delivery in self.deliveries {
            delivery.await.expect("a delivery's task ends by itself");
        }
        record
    }
}
