//! What a process lets out of itself besides its answers, i.e. logs, spans and metrics, does not tell the caller's number,
//! however it is encoded. Meta's ids of calls hold it in base64.

use std::{collections::BTreeMap, time::Duration};

use serde_json::json;
use voicebridge_proto::control::v1::EndCallRequest;
use voicebridge_simulator::meta::{
    Action, CallerSettings, ConnectDelivery, Faults, GraphFault, Meta, MetaSettings, WebhookReport,
};
use voicebridge_system_tests::{
    Calls, Collector, Http, Process, ReservedPort, SOON, Setup, eventually, termination, tokens_with, udp_range,
};
use voicebridge_telemetry::local::{LocalSecret, STATE_DIR, StateDir};

use crate::talk::{assert_ended, hangs_up_at_once, stays};

const NUMBER: &str = "5521987654321";
/// One call of the demo, and its measurement.
const DEMO: Duration = Duration::from_secs(180);
/// All that is ours says.
const OURS: &str =
    "info,voicebridge_server=debug,voicebridge_node=debug,voicebridge_telemetry=debug,voicebridge_core=debug";

fn caller(settings: CallerSettings) -> CallerSettings {
    CallerSettings { from: Some(NUMBER.to_owned()), ..settings }
}

fn telemetry(collector: &Collector) -> BTreeMap<String, String> {
    [("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url()), ("RUST_LOG", OURS.to_owned())]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
}

/// Everything that can be said of calls, by Meta, by callers and by API clients, by Meta's ids wherever one may stand.
async fn traffic(meta: &Meta, calls: &Calls, http: &Http) {
    let record = meta.call(caller(hangs_up_at_once())).await.unwrap().finish().await;
    let call = calls.ended(&record.call_id).await;
    assert_ended(&call, "USER_HANGUP", "");
    assert!(!tokens_with(NUMBER, record.call_id.as_bytes()).is_empty(), "{} is as Meta makes them", record.call_id);
    assert!(tokens_with(NUMBER, call.call_id.as_bytes()).is_empty());
    for name in [record.call_id.clone(), call.call_id.clone()] {
        assert!(!calls.events(&name).await.is_empty());
    }

    // Graph repeats the id in what it says of an error.
    let faults = Faults::none().always(Action::Accept, GraphFault::Refuse(138_008));
    let refused = CallerSettings { faults, hang_up_while_ringing: Some(Duration::from_secs(20)), ..hangs_up_at_once() };
    let record = meta.call(caller(refused)).await.unwrap().finish().await;
    let call = calls.ended(&record.call_id).await;
    assert_ended(&call, "GRAPH_REFUSED", "138008");
    assert_eq!(tokens_with(NUMBER, termination(&call).message.as_bytes()), [""; 0]);

    // Unknown, repeated, late, for nobody.
    let events: WebhookReport = meta.deliver_unknown_event(&record.call_id, "call_recording_available").await;
    assert!(events.accepted());
    let stale = CallerSettings { connect: ConnectDelivery::Stale(Duration::from_secs(300)), ..hangs_up_at_once() };
    meta.call(caller(stale)).await.unwrap().hang_up().await;

    // Who holds the signalling knows Meta's id only, also in paths of the predecessor.
    let held = CallerSettings { connect: ConnectDelivery::Withheld, ..stays() };
    let handle = meta.call(caller(held)).await.unwrap();
    let offer = handle.connect_webhook()["calls"][0]["session"]["sdp"].as_str().unwrap().to_owned();
    let body = json!({"callId": handle.id(), "sdpOffer": offer, "fromNumber": NUMBER});
    assert_eq!(http.post("/sessions/start", body).await.unwrap().status, 200);
    let path = handle.id().replace('/', "%2F").replace('+', "%2B").replace('=', "%3D");
    assert_eq!(http.get(&format!("/sessions/{path}")).await.unwrap().status, 200);
    assert_eq!(http.post(&format!("/sessions/{path}/stop"), json!({})).await.unwrap().status, 200);
    assert_eq!(http.get(&format!("/sessions/{path}x")).await.unwrap().status, 404);
    let end = EndCallRequest { call_id: handle.id().to_owned(), ..Default::default() };
    calls.client().end_call(end).await.unwrap();
    handle.hang_up().await;
}

#[track_caller]
fn assert_silent(what: &str, said: &[u8]) {
    let found = tokens_with(NUMBER, said);
    assert!(found.is_empty(), "{what} tells the number in {} tokens: {found:#?}", found.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_log_span_or_metric_of_the_planes_tells_the_callers_number() {
    let collector = Collector::start().await.unwrap();
    let variables = telemetry(&collector);
    let setup = Setup { ai: None, control: variables.clone(), node: variables, ..Setup::default() };
    let mut world = setup.start().await;
    traffic(&world.meta, &world.calls, &world.http).await;
    let metrics = world.http.get("/metrics").await.unwrap();
    let node = Http::new(&format!("http://{}", world.nodes[0].address()), world.local_key()).unwrap();
    let of_node = node.get("/metrics").await.unwrap();
    for process in [&mut world.nodes[0].process, &mut world.control] {
        process.terminate();
        assert!(process.end(SOON).await.success());
    }
    let logs = [world.control.log(), world.nodes[0].process.log()];
    let spans = collector.spans();
    // There is something to be searched.
    for (log, line) in logs.iter().zip(["WA_CALL_ACCEPTED", "MEDIA_BRIDGE_ACTIVE"]) {
        assert!(log.contains(line), "{log}");
    }
    for name in ["end_session", "session"] {
        assert!(spans.windows(name.len()).any(|window| window == name.as_bytes()), "no span {name}");
    }
    for (text, name) in
        [(&metrics.body, "voicebridge_control_live_calls"), (&of_node.body, "voicebridge_media_sessions")]
    {
        assert!(text.to_string().contains(name), "{text}");
        assert_silent("a metric", text.to_string().as_bytes());
    }
    assert_silent("the control plane's log", logs[0].as_bytes());
    assert_silent("the node's log", logs[1].as_bytes());
    assert_silent("a span", &spans);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_does_serve() {
    let collector = Collector::start().await.unwrap();
    let (folder, port, media) =
        (tempfile::tempdir().unwrap(), ReservedPort::new().unwrap(), ReservedPort::new().unwrap());
    let state = folder.path().join("state");
    let key = StateDir::at(state.clone()).read_or_make(LocalSecret::ApiKey).unwrap();
    let url = format!("http://{}", port.address());
    let webhook_url = Some(format!("{url}/webhooks/whatsapp"));
    let meta = Meta::start(MetaSettings { webhook_url, ..MetaSettings::default() }).await.unwrap();
    let settings = meta.settings();
    let mut variables = telemetry(&collector);
    for (name, value) in [
        ("VOICEBRIDGE_LISTEN", port.address().to_string()),
        ("VOICEBRIDGE_MEDIA_LISTEN", media.address().to_string()),
        ("VOICEBRIDGE_UDP_PORTS", udp_range()),
        ("VOICEBRIDGE_PUBLIC_IP", "127.0.0.1".to_owned()),
        ("VOICEBRIDGE_PROVIDER", "embedded".to_owned()),
        ("DATABASE_URL", format!("sqlite://{}", folder.path().join("calls.db").display())),
        ("WHATSAPP_ACCESS_TOKEN", settings.access_token.clone()),
        ("WHATSAPP_PHONE_NUMBER_ID", settings.phone_number_id.clone()),
        ("WHATSAPP_APP_SECRET", settings.app_secret.clone()),
        ("WHATSAPP_VERIFY_TOKEN", settings.verify_token.clone()),
        ("WHATSAPP_GRAPH_URL", meta.graph_url()),
        (STATE_DIR, state.display().to_string()),
    ] {
        variables.insert(name.to_owned(), value);
    }
    let mut serve = Process::start_with("voicebridge", &["serve"], "serve", &variables, folder.path()).unwrap();
    let (calls, http) = (Calls::new(&url, &key).unwrap(), Http::new(&url, &key).unwrap());
    eventually("serve has its node", SOON, || async {
        http.get("/health").await.ok().filter(|health| health.body["nodes"] == 1)
    })
    .await;
    traffic(&meta, &calls, &http).await;
    let metrics = http.get("/metrics").await.unwrap().body.to_string();
    serve.terminate();
    assert!(serve.end(SOON).await.success());
    assert!(serve.log().contains("WA_CALL_ACCEPTED"));
    assert_silent("the log of serve", serve.log().as_bytes());
    assert_silent("a span of serve", &collector.spans());
    assert_silent("a metric of serve", metrics.as_bytes());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_do_the_logs_of_the_demo() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let variables = [("RUST_LOG".to_owned(), OURS.to_owned())].into();
    let arguments = ["demo", "--calls", "1", "--out", out.to_str().unwrap()];
    let mut demo = Process::start_with("voicebridge", &arguments, "demo", &variables, folder.path()).unwrap();
    assert!(demo.end(DEMO).await.success(), "{}", demo.tail());
    // Who is called what is its own invention, and told to whoever runs it.
    let told = demo.log();
    let number: String = told.split_once(" +").unwrap().1.chars().take_while(char::is_ascii_digit).collect();
    let logs: Vec<_> = std::fs::read_dir(out.join("logs")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(logs.len() >= 3, "{logs:?}");
    for log in logs.iter().filter(|path| path.extension().is_some_and(|extension| extension == "log")) {
        let found = tokens_with(&number, &std::fs::read(log).unwrap());
        assert!(found.is_empty(), "{} tells the number: {found:#?}", log.display());
    }
}
