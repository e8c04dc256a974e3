//! What is known of calls: of a live one by its task, of one that has ended by its record. Changes nothing.

use std::sync::Arc;

use voicebridge_core::identity::{CallId, CallName, Wacid};
use voicebridge_proto::types::v1::MediaStatistics;

use super::{CallError, handle::View, live::Live};
use crate::store::{SessionPlace, Store};

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(super) struct Lookup {
    store: Arc<dyn Store>,
    live: Arc<Live>,
}

impl Lookup {
    pub(super) fn new(store: Arc<dyn Store>, live: Arc<Live>) -> Self {
        Self { store, live }
    }

    /// The states of live calls, by call id.
    pub(super) fn views(&self) -> Vec<(CallId, Wacid, View)> {
        let mut all = self.live.all();
        all.sort_by(|(a, ..), (b, ..)| a.cmp(b));
        all.into_iter().map(|(call_id, wacid, handle)| (call_id, wacid, handle.view())).collect()
    }

    /// The call somebody means, live or ended.
    pub(super) async fn find(&self, name: &CallName) -> Result<CallId, CallError> {
        if let Some((call_id, handle)) = self.live.find(name)
            && handle.wait(|view| view.claimed).await.claimed
        {
            return Ok(call_id);
        }
        if let Some(call_id) = &name.call_id
            && self.store.call(call_id).await?.is_some()
        {
            return Ok(call_id.clone());
        }
        let row = self.store.call_by_wacid(&name.wacid).await?;
        row.map(|row| row.call_id).ok_or(CallError::NotFound)
    }

    /// Where the session of a live call is.
    pub(super) async fn session(&self, call_id: &CallId) -> Result<SessionPlace, CallError> {
        match self.live.get(call_id).map(|handle| handle.view()) {
            Some(View { termination: Some(termination), .. }) => Err(CallError::Ended(termination)),
            Some(View { session: Some(session), .. }) => Ok(session),
            Some(_) => Err(CallError::NotPlaced),
            None => Err(self.ended(call_id).await?),
        }
    }

    /// The latest statistics of a live call.
    pub(super) fn statistics(&self, call_id: &CallId) -> Option<MediaStatistics> {
        self.live.get(call_id).and_then(|handle| handle.view().statistics)
    }

    /// Why there is no task: the call has ended, or never was; or it is between two tasks, for a moment.
    pub(super) async fn ended(&self, call_id: &CallId) -> Result<CallError, CallError> {
        let row = self.store.call(call_id).await?.ok_or(CallError::NotFound)?;
        Ok(row.termination.map_or(CallError::Held, CallError::Ended))
    }
}
