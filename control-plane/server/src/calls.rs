//! Calls: one task each, found by our id or by Meta's.
//!
//! What can happen to a call comes in here and goes to the part that knows what to do: `admission` begins one (`self_held` for
//! those whose signalling somebody else holds), `hang_ups` ends it, `lookup` answers, `recovery` takes up those of before,
//! `reconcile` compares with what a node has, `draining` brings them to rest. `tasks` gives a call the task that owns it (`actor`),
//! `live` says which calls have one, `ports` is all that is asked of nodes, Graph and holders of signalling.

mod actor;
mod admission;
mod draining;
mod environment;
mod error;
mod handle;
mod hang_ups;
mod journal;
mod live;
mod lookup;
mod offer;
mod ports;
mod real_ports;
mod reconcile;
mod recovery;
mod self_held;
mod start_arguments;
mod taken;
mod tasks;
mod unhandled;

use std::sync::Arc;

use tokio::sync::mpsc;
use voicebridge_core::{
    call_life::{EndReason, SignallingStage},
    identity::{CallId, CallName, Wacid},
    labels::{LabelChange, Labels},
    payloads::Payloads,
    termination::Termination,
    webhook::{Connect, Terminate},
};
use voicebridge_proto::types::v1 as types;

use admission::Admission;
use environment::Environment;
pub(crate) use error::CallError;
pub(crate) use handle::View;
use hang_ups::HangUps;
use live::Live;
use lookup::Lookup;
use ports::Ports;
pub(crate) use real_ports::RealPorts;
use recovery::Recovery;
use self_held::SelfHeld;
pub(crate) use self_held::{SelfHeldStart, Started};
pub(crate) use taken::{Outcome, Taken};
use tasks::Tasks;

use crate::{
    config::Limits,
    events::Hub,
    lifetime::Lifetime,
    store::{Labelled, SessionPlace, Store, StoreError},
};

/// The calls of this process. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Calls {
    environment: Environment,
    live: Arc<Live>,
    admission: Admission,
    self_held: SelfHeld,
    hang_ups: HangUps,
    lookup: Lookup,
    recovery: Recovery,
}

impl Calls {
    pub(crate) fn new(store: Arc<dyn Store>, hub: Arc<Hub>, ports: RealPorts, lifetime: Lifetime) -> Self {
        let limits = ports.limits;
        Self::with_ports(store, hub, Arc::new(ports), limits, lifetime)
    }

    fn with_ports(
        store: Arc<dyn Store>,
        hub: Arc<Hub>,
        ports: Arc<dyn Ports>,
        limits: Limits,
        lifetime: Lifetime,
    ) -> Self {
        let live = Arc::new(Live::new());
        let environment = Environment { store: Arc::clone(&store), hub, ports, limits, lifetime: lifetime.clone() };
        let tasks = Tasks::new(environment.clone(), Arc::clone(&live));
        let lookup = Lookup::new(Arc::clone(&store), Arc::clone(&live));
        let recovery = Recovery::new(Arc::clone(&store), tasks.clone());
        let admission = Admission::new(Arc::clone(&store), Arc::clone(&live), tasks, limits, lifetime.clone());
        Self {
            self_held: SelfHeld::new(environment.clone(), Arc::clone(&live), admission.clone(), lookup.clone()),
            hang_ups: HangUps::new(store, Arc::clone(&live), recovery.clone(), lookup.clone(), lifetime),
            environment,
            live,
            admission,
            lookup,
            recovery,
        }
    }

    /// Calls that have not ended.
    pub(crate) fn count(&self) -> usize {
        self.live.count()
    }

    /// Their states, by call id.
    pub(crate) fn views(&self) -> Vec<(CallId, Wacid, View)> {
        self.lookup.views()
    }

    /// The call somebody means, live or ended.
    pub(crate) async fn find(&self, name: &CallName) -> Result<CallId, CallError> {
        self.lookup.find(name).await
    }

    /// Changes what is noted on a call, live or ended; all of it afterwards.
    pub(crate) async fn label(&self, call_id: &CallId, change: &LabelChange) -> Result<Labels, CallError> {
        match self.environment.store.label(call_id, change).await? {
            Labelled::Changed(labels) => Ok(labels),
            Labelled::TooMany => Err(CallError::TooManyLabels),
            Labelled::Unknown => Err(CallError::NotFound),
        }
    }

    /// Keeps what Meta sent along with the end of a call.
    pub(crate) async fn add_payloads(&self, call_id: &CallId, payloads: &Payloads) -> Result<(), StoreError> {
        if payloads.is_empty() { Ok(()) } else { self.environment.store.add_payloads(call_id, payloads).await }
    }

    /// Where the session of a live call is.
    pub(crate) async fn session(&self, call_id: &CallId) -> Result<SessionPlace, CallError> {
        self.lookup.session(call_id).await
    }

    /// The latest statistics of a live call.
    pub(crate) fn statistics(&self, call_id: &CallId) -> Option<types::MediaStatistics> {
        self.lookup.statistics(call_id)
    }

    /// A user-initiated call from a webhook. When this returns, the claim is committed.
    pub(crate) async fn connect(
        &self,
        connect: Connect,
        agent: Option<types::Agent>,
        labels: Labels,
    ) -> Result<Taken, StoreError> {
        self.admission.connect(connect, agent, labels).await
    }

    /// Meta's word that a call is over. When this returns, it is committed.
    pub(crate) async fn terminate(&self, terminate: Terminate) -> Result<Taken, StoreError> {
        self.hang_ups.by_meta(terminate).await
    }

    /// A call of somebody who holds the signalling: placed, and the answer returned. The same id again: the same answer.
    pub(crate) async fn start(&self, start: SelfHeldStart) -> Result<Started, CallError> {
        self.self_held.start(start).await
    }

    /// Whoever holds the signalling reports a stage. Returns the stage the session is at.
    pub(crate) async fn advance(
        &self,
        call_id: &CallId,
        stage: SignallingStage,
    ) -> Result<types::SignallingStage, CallError> {
        self.self_held.advance(call_id, stage).await
    }

    /// Ends a call and returns the termination that stands.
    pub(crate) async fn end(&self, name: &CallName, reason: EndReason) -> Result<Termination, CallError> {
        self.hang_ups.by_api(name, reason).await
    }

    /// Takes up the calls of before, to be done before anything is served. Returns how many are known again.
    pub(crate) async fn recover(&self) -> Result<usize, StoreError> {
        self.recovery.all().await
    }

    /// Compares the sessions of nodes that arrive, by id and address, with our calls, until the process ends.
    pub(crate) async fn reconcile(self, arrivals: mpsc::Receiver<(String, String)>) {
        reconcile::reconcile(self.environment, arrivals).await;
    }

    /// Waits until nothing is being set up or ended, then leaves the rest to the nodes.
    pub(crate) async fn drain(&self) {
        draining::drain(&self.live, &self.environment.limits, &self.environment.lifetime).await;
    }
}

#[cfg(test)]
mod tests;
