//! Which calls have a task in this process, found by our id or by Meta's.
//!
//! Both ids lead to a call from before it is claimed until its task is gone. Knows nothing of the store.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use voicebridge_core::identity::{CallId, CallName, Wacid};

use super::{
    handle::{self, Handle, Mailbox},
    start_arguments::StartArguments,
};

#[derive(Default)]
struct Entries {
    by_id: HashMap<CallId, (Wacid, Handle)>,
    by_wacid: HashMap<Wacid, CallId>,
}

/// See the module.
pub(super) struct Live(Mutex<Entries>);

impl Live {
    pub(super) fn new() -> Self {
        let live = Self(Mutex::default());
        show(&live.lock());
        live
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A mailbox for a call that has none; `None` when one of its ids leads to a call already.
    /// `arguments`: of a self-held call that is being started.
    pub(super) fn reserve(
        &self,
        call_id: &CallId,
        wacid: &Wacid,
        arguments: Option<Arc<StartArguments>>,
    ) -> Option<Mailbox> {
        let mut entries = self.lock();
        if entries.by_id.contains_key(call_id) || entries.by_wacid.contains_key(wacid) {
            return None;
        }
        let (handle, mailbox) = handle::channel(arguments);
        entries.by_id.insert(call_id.clone(), (wacid.clone(), handle));
        entries.by_wacid.insert(wacid.clone(), call_id.clone());
        show(&entries);
        Some(mailbox)
    }

    /// It has no task, or no longer.
    pub(super) fn release(&self, call_id: &CallId) {
        let mut entries = self.lock();
        if let Some((wacid, _)) = entries.by_id.remove(call_id) {
            entries.by_wacid.remove(&wacid);
        }
        show(&entries);
    }

    pub(super) fn get(&self, call_id: &CallId) -> Option<Handle> {
        self.lock().by_id.get(call_id).map(|(_, handle)| handle.clone())
    }

    pub(super) fn by_wacid(&self, wacid: &Wacid) -> Option<(CallId, Handle)> {
        let entries = self.lock();
        let call_id = entries.by_wacid.get(wacid)?;
        Some((call_id.clone(), entries.by_id.get(call_id)?.1.clone()))
    }

    /// By whichever id it is called.
    pub(super) fn find(&self, name: &CallName) -> Option<(CallId, Handle)> {
        let by_id = name.call_id.as_ref().and_then(|call_id| Some((call_id.clone(), self.get(call_id)?)));
        by_id.or_else(|| self.by_wacid(&name.wacid))
    }

    pub(super) fn count(&self) -> usize {
        self.lock().by_id.len()
    }

    /// All of them, in no order.
    pub(super) fn all(&self) -> Vec<(CallId, Wacid, Handle)> {
        let entries = self.lock();
        entries.by_id.iter().map(|(id, (wacid, handle))| (id.clone(), wacid.clone(), handle.clone())).collect()
    }
}

/// Under the lock, at every change: the gauge never shows what was.
fn show(entries: &Entries) {
    metrics::gauge!("voicebridge_control_live_calls").set(entries.by_id.len() as f64);
}
