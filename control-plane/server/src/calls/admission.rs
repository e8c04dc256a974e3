//! How a call begins: it is claimed in the store, once, and gets a task.

use std::sync::Arc;

use voicebridge_core::{
    identity::{CallId, Wacid},
    labels::Labels,
    webhook::Connect,
};
use voicebridge_proto::types::v1::Agent;

use super::{
    live::Live,
    offer::Offer,
    start_arguments::StartArguments,
    taken::{Outcome, Taken},
    tasks::Tasks,
};
use crate::{
    clock::now_ms,
    config::Limits,
    convert, ids,
    lifetime::Lifetime,
    store::{CallRow, Claim, Holder, NewCall, Store, StoreError},
};

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(super) struct Admission {
    store: Arc<dyn Store>,
    live: Arc<Live>,
    tasks: Tasks,
    limits: Limits,
    lifetime: Lifetime,
}

impl Admission {
    pub(super) fn new(
        store: Arc<dyn Store>,
        live: Arc<Live>,
        tasks: Tasks,
        limits: Limits,
        lifetime: Lifetime,
    ) -> Self {
        Self { store, live, tasks, limits, lifetime }
    }

    /// A user-initiated call from a webhook. When this returns, the claim is committed.
    pub(super) async fn connect(
        &self,
        connect: Connect,
        agent: Option<Agent>,
        labels: Labels,
    ) -> Result<Taken, StoreError> {
        let now = now_ms();
        let rang_since_ms =
            connect.timestamp_s.map_or(now, |s| i64::try_from(s).unwrap_or(i64::MAX).saturating_mul(1_000));
        // A timestamp ahead of our clock is a call of now.
        let age_ms = convert::elapsed_ms(rang_since_ms, now);
        if age_ms > convert::duration_ms(self.limits.stale) {
            return Ok(Taken { outcome: Outcome::Stale, call_id: None });
        }
        let call_id = ids::call_id(now, rand::random());
        let new = NewCall {
            call_id: call_id.clone(),
            wacid: connect.wacid,
            holder: Holder::Managed,
            phase: "PLACING",
            phone_number_id: connect.phone_number_id.unwrap_or_default(),
            caller: connect.caller,
            labels,
            payloads: connect.payloads,
            received_at_ms: now,
            ring_until_ms: now - age_ms as i64 + convert::duration_ms(self.limits.ring_budget) as i64,
        };
        let offer = Offer { sdp: connect.sdp_offer, agent };
        Ok(match self.claim(new, offer, None).await? {
            Claim::Claimed => Taken { outcome: Outcome::Claimed, call_id: Some(call_id) },
            Claim::Duplicate(known) => Taken { outcome: Outcome::Duplicate, call_id: Some(known) },
            Claim::Tombstoned => Taken { outcome: Outcome::Tombstoned, call_id: None },
        })
    }

    /// Claims a call and gives it a task. The mailbox exists before the claim, so that a hang-up that comes at the same
    /// moment is not lost between the two.
    ///
    /// Whoever comes second is told so once the first claim is committed; if that fails, theirs is as good.
    /// `arguments`: of a self-held call, for [`Handle::arguments`](super::handle::Handle::arguments).
    pub(super) async fn claim(
        &self,
        new: NewCall,
        offer: Offer,
        arguments: Option<Arc<StartArguments>>,
    ) -> Result<Claim, StoreError> {
        let call_id = new.call_id.clone();
        let mailbox = loop {
            if let Some(mailbox) = self.live.reserve(&call_id, &new.wacid, arguments.clone()) {
                break mailbox;
            }
            let Some((known, handle)) = self.live.by_wacid(&new.wacid) else { continue };
            if handle.wait(|view| view.claimed).await.claimed {
                return Ok(Claim::Duplicate(known));
            }
        };
        let claim = self.store.claim(&new).await;
        if !matches!(claim, Ok(Claim::Claimed)) {
            self.live.release(&call_id);
            if let Ok(Claim::Duplicate(known)) = &claim {
                self.adopt(known, &new.wacid, offer, arguments).await?;
            }
            return claim;
        }
        // Its place among the calls is known to the store alone.
        self.tasks.begin(CallRow::claimed(new, 0), offer, mailbox);
        claim
    }

    /// A call that was claimed by a request which never heard so has no task: it gets one, with this delivery's offer.
    async fn adopt(
        &self,
        call_id: &CallId,
        wacid: &Wacid,
        offer: Offer,
        arguments: Option<Arc<StartArguments>>,
    ) -> Result<(), StoreError> {
        if self.lifetime.is_draining() {
            return Ok(());
        }
        let Some(mailbox) = self.live.reserve(call_id, wacid, arguments) else { return Ok(()) };
        let row = match self.store.call(call_id).await {
            Ok(Some(row)) if is_just_claimed(&row) => row,
            // Between two tasks: this claim may have kept its place from the next one, which then is due now.
            Ok(Some(row)) if row.ended_at_ms.is_none() => {
                self.live.release(call_id);
                return self.tasks.restore(row).await.map(drop);
            }
            other => {
                self.live.release(call_id);
                return other.map(drop);
            }
        };
        tracing::info!(%call_id, "a call claimed by a request that did not hear so is taken up");
        self.tasks.begin(row, offer, mailbox);
        Ok(())
    }
}

/// Nothing was done for it, nor is anything known of it but its beginning.
fn is_just_claimed(row: &CallRow) -> bool {
    let is_open = row.ended_at_ms.is_none() && row.termination.is_none();
    is_open && row.phase == "PLACING" && row.session.is_none() && row.last_sequence == 0
}
