//! What others may see of the call.

use tokio::sync::watch;
use voicebridge_proto::types::v1::MediaStatistics;

use super::{life::Life, work::Work};
use crate::{
    calls::{handle::View, offer::OfferAnswer},
    store::CallRow,
};

/// See the module.
pub(super) struct Shown {
    view: watch::Sender<View>,
    answer: Option<OfferAnswer>,
    /// The node's latest report; never stored, the end of the session brings the whole.
    statistics: Option<MediaStatistics>,
}

impl Shown {
    pub(super) const fn new(view: watch::Sender<View>) -> Self {
        Self { view, answer: None, statistics: None }
    }

    pub(super) fn set_answer(&mut self, answer: OfferAnswer) {
        self.answer = Some(answer);
    }

    pub(super) const fn set_statistics(&mut self, statistics: MediaStatistics) {
        self.statistics = Some(statistics);
    }

    /// As it is now.
    pub(super) fn update(&self, life: &Life, call: &CallRow, work: &Work) {
        self.view.send_replace(View {
            claimed: true,
            phase: life.phase().word(),
            received_at_ms: call.received_at_ms,
            session: call.session.clone().filter(|_| !life.is_placing()),
            answer: self.answer.clone(),
            termination: call.termination.clone(),
            statistics: self.statistics,
            // A node that is not told of ACCEPTED sends nothing.
            is_busy: work.is_advancing() || !life.is_idle(),
            closed: false,
        });
    }

    /// The record is closed.
    pub(super) fn close(&self, call: &CallRow) {
        self.view.send_modify(|view| {
            *view = View { is_busy: false, closed: true, termination: call.termination.clone(), ..view.clone() };
        });
    }
}
