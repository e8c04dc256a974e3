//! Deliveries of Meta's at a steady rate, whether or not the ones before were answered: a call's beginning, then its end.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::ensure;
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};
use voicebridge_load::table::{Beside, Table, Target};
use voicebridge_simulator::meta::Signing;
use voicebridge_system_tests::World;

use crate::percentile_ms;

/// What is delivered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Deliveries a second.
    pub(crate) rate: u32,
    pub(crate) lasts: Duration,
}

pub(crate) async fn measure(
    table: &mut Table,
    world: &World,
    load: Load,
    target_ms: f64,
    floor: &[Duration],
) -> anyhow::Result<()> {
    let Load { rate, lasts } = load;
    let deliveries = rate * lasts.as_secs() as u32;
    let number = &world.meta.settings().phone_number_id;
    let began = Instant::now() + Duration::from_millis(100);
    let mut waiting = FuturesUnordered::new();
    let mut reports = Vec::new();
    for index in 0..deliveries {
        let due = began + Duration::from_secs(1) * index / rate;
        loop {
            tokio::select! {
                () = sleep_until(due) => break,
                Some(report) = waiting.next() => reports.push(report),
            }
        }
        // Calls that no node takes: claimed, turned down at Graph, closed.
        let value = value(number, index / 2, if index % 2 == 0 { "connect" } else { "terminate" });
        waiting.push(world.meta.deliver(vec![value], Signing::Valid));
    }
    while let Some(report) = waiting.next().await {
        reports.push(report);
    }
    let refused = reports.iter().filter(|report| !report.accepted()).count();
    let mut elapsed: Vec<Duration> = reports.iter().map(|report| report.elapsed).collect();
    elapsed.sort_unstable();
    ensure!(elapsed.len() == deliveries as usize, "every delivery has its answer");
    let what = |percentile: &str| format!("webhook acknowledged, {rate}/s: {percentile}");
    let words = format!("append 1 KiB and sync it; {deliveries} deliveries, a beginning and an end of each call");
    table.row(
        &what("p50"),
        percentile_ms(&elapsed, 50),
        Target::None,
        (1, " ms"),
        Beside { floor: Some(percentile_ms(floor, 50)), words },
    );
    let words = format!("longest {:.1} ms", percentile_ms(&elapsed, 100));
    table.row(
        &what("p99"),
        percentile_ms(&elapsed, 99),
        Target::AtMost(target_ms),
        (1, " ms"),
        Beside { floor: Some(percentile_ms(floor, 99)), words },
    );
    table.row("webhooks not answered with 200", refused as f64, Target::AtMost(0.0), (0, ""), String::new());
    Ok(())
}

/// What Meta sends of a call, without a number in it.
fn value(number: &str, call: u32, event: &str) -> Value {
    let timestamp = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    json!({
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "15550100", "phone_number_id": number},
        "calls": [{
            "id": format!("wacid.bench-webhook-{call}"),
            "to": "15550100",
            "event": event,
            "timestamp": timestamp.to_string(),
            "direction": "USER_INITIATED",
            "session": {"sdp_type": "offer", "sdp": "v=0\r\n"},
        }],
    })
}
