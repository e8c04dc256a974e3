//! What the control plane adds to the start of a session: the same request made of a node directly, and of the control plane,
//! which has one more hop, a record and the choice of a node. By turns, so that whatever else the machine does meets both.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tonic::transport::Channel;
use voicebridge_load::{
    caller::{Caller, Kind},
    table::{Beside, Table, Target},
};
use voicebridge_proto::{
    control::v1::{EndCallRequest, StartSessionRequest},
    media::v1::{
        EndSessionRequest, StartSessionRequest as NodeRequest, media_plane_service_client::MediaPlaneServiceClient,
    },
    types::v1::{SignallingMode, Termination, TerminationResult},
};
use voicebridge_system_tests::World;
use voicebridge_telemetry::auth::Bearer;

use crate::percentile_ms;

const SESSIONS: usize = 400;
/// First ones, which open connections.
const WARM_UP: usize = 20;
/// Between two, so that what ends of one is over before the next begins.
const PAUSE: Duration = Duration::from_millis(10);

pub(crate) async fn measure(table: &mut Table, world: &World, target_ms: f64) -> anyhow::Result<()> {
    let (_caller, offer) = Caller::new(Instant::now(), SocketAddr::from(([127, 0, 0, 1], 9)), Kind::Relay);
    let channel = Channel::from_shared(format!("http://{}", world.nodes[0].address()))?.connect().await?;
    let bearer = Bearer::new(Some(&world.node_token()))?;
    let mut node = MediaPlaneServiceClient::with_interceptor(channel, bearer);
    let mut control = world.calls.client();
    let (mut direct, mut through) = (Vec::new(), Vec::new());
    for index in 0..WARM_UP + SESSIONS {
        let session_id = format!("bench-{index}");
        let start = NodeRequest {
            session_id: session_id.clone(),
            call_id: session_id.clone(),
            sdp_offer: offer.clone(),
            signalling_mode: SignallingMode::Staged.into(),
            ..NodeRequest::default()
        };
        let began = Instant::now();
        node.start_session(start).await.context("a session at the node")?;
        direct.push(began.elapsed());
        let termination = Termination {
            result: TerminationResult::Completed.into(),
            reason: "BENCH".to_owned(),
            ..Default::default()
        };
        node.end_session(EndSessionRequest { session_id, termination: Some(termination) }).await?;
        tokio::time::sleep(PAUSE).await;

        let call_id = format!("wacid.bench-{index}");
        let start = StartSessionRequest {
            call_id: call_id.clone(),
            sdp_offer: offer.clone(),
            signalling_mode: SignallingMode::Staged.into(),
            ..StartSessionRequest::default()
        };
        let began = Instant::now();
        control.start_session(start).await.context("a session through the control plane")?;
        through.push(began.elapsed());
        control.end_call(EndCallRequest { call_id, ..EndCallRequest::default() }).await?;
        tokio::time::sleep(PAUSE).await;
    }
    for took in [&mut direct, &mut through] {
        took.drain(..WARM_UP);
        took.sort_unstable();
    }
    let median = percentile_ms(&direct, 50);
    for (percentile, target) in [(50, Target::None), (99, Target::AtMost(target_ms))] {
        let (ours, floor) = (percentile_ms(&through, percentile), percentile_ms(&direct, percentile));
        let words = format!("a node alone; through the control plane {ours:.1} ms, {SESSIONS} of each by turns");
        table.row(
            &format!("StartSession, the control plane's share: p{percentile}"),
            ours - median,
            target,
            (1, " ms"),
            Beside { floor: Some(floor), words },
        );
    }
    Ok(())
}
