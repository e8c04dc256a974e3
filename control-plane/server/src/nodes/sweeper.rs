//! Keeps the registry true to time: collects signs of life, looks at all nodes a few times a beat, has probed those that are
//! to be, and says which were lost. What it does not do: decide, which the registry does.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

use super::{
    Clients, Registry,
    probe::{ProbeDue, ProbeOutcome, probe},
    registry::LostNode,
};

/// Looks at the nodes within one beat.
const SWEEPS_PER_BEAT: u32 = 4;

/// Runs until it is dropped. `beat`: between two beats of a node; `deadline`: of one probe.
pub(crate) async fn sweep(registry: Arc<Registry>, clients: Arc<Clients>, beat: Duration, deadline: Duration) {
    let mut ticks = interval(beat / SWEEPS_PER_BEAT);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // At most one per node.
    let mut probes: JoinSet<(ProbeDue, ProbeOutcome)> = JoinSet::new();
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                for (url, at) in clients.heard() {
                    registry.heard(&url, at);
                }
                let sweep = registry.sweep(Instant::now());
                if let Some(gap) = sweep.stalled {
                    let gap_ms = gap.as_millis() as u64;
                    tracing::warn!(gap_ms, "this process stood still: no node is blamed for not being heard meanwhile");
                    metrics::counter!("voicebridge_control_stalls_total").increment(1);
                }
                for due in sweep.probes {
                    let clients = Arc::clone(&clients);
                    probes.spawn(async move {
                        let outcome = probe(&clients, &due, deadline).await;
                        (due, outcome)
                    });
                }
                sweep.lost.iter().for_each(lost);
                for node in sweep.forgotten {
                    tracing::info!(node, "node without registration and calls is known no more");
                }
                clients.keep_only(&registry.urls());
                metrics::gauge!("voicebridge_control_nodes").set(registry.count() as f64);
            }
            Some(Ok((due, outcome))) = probes.join_next() => probed(&registry, &clients, &due, outcome),
        }
    }
}

fn probed(registry: &Registry, clients: &Clients, due: &ProbeDue, outcome: ProbeOutcome) {
    let word = match outcome {
        ProbeOutcome::Answered(_) => "answered",
        ProbeOutcome::Unanswered => "unanswered",
        ProbeOutcome::Gone => "gone",
    };
    metrics::counter!("voicebridge_control_node_probes_total", "outcome" => word).increment(1);
    tracing::debug!(node = due.node_id, outcome = word, "node probed");
    // What came in while the probe was under way outweighs it.
    for (url, at) in clients.heard() {
        registry.heard(&url, at);
    }
    registry.probed(due, outcome, Instant::now()).iter().for_each(lost);
}

fn lost(node: &LostNode) {
    if node.drained {
        tracing::info!(node = node.node_id, "node left after its drain");
        return;
    }
    tracing::warn!(node = node.node_id, why = ?node.why, "node lost");
    metrics::counter!("voicebridge_control_nodes_lost_total").increment(1);
}
