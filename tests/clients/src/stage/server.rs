//! The requests that move a stage.

use std::{
    collections::{BTreeMap, HashMap},
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use axum::{
    Json, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::post,
};
use http::StatusCode;
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::{Mutex, oneshot},
    task::JoinHandle,
    time::timeout,
};
use tower_http::cors::{AllowHeaders, Any, CorsLayer, ExposeHeaders};
use voicebridge_simulator::{
    ai::{AiSettings, Replies},
    meta::{CallHandle, CallerSettings, ConnectDelivery, Step, Utterance},
    speech::{self, Recognised},
};
use voicebridge_system_tests::{Setup, World};

use super::{calls::Calls, proxy::Proxy};

/// How long a control plane that was asked to end may take.
const STOP: Duration = Duration::from_secs(15);
/// The AI has finished when it was silent for this long.
const FINISHED: Duration = Duration::from_millis(700);

/// More variables for the planes.
#[derive(Debug, Default)]
pub struct Settings {
    /// For the control plane.
    pub control: BTreeMap<String, String>,
    /// For the media node.
    pub node: BTreeMap<String, String>,
}

/// A running stage.
#[derive(Debug)]
pub struct Stage {
    ready: Ready,
    inner: Arc<Inner>,
    /// Dropped to have it take no more requests.
    open: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

/// What a test has to know of a stage.
#[derive(Clone, Debug, Serialize)]
struct Ready {
    /// Where the stage itself takes requests.
    url: String,
    /// The control plane, behind the proxy whose connections can be cut.
    control_url: String,
    /// The control plane itself.
    direct_url: String,
    /// The local key: may do everything.
    api_key: String,
    /// Where it is kept.
    state_dir: String,
}

#[derive(Debug)]
struct Inner {
    world: Mutex<World>,
    proxy: Proxy,
    calls: Calls,
    live: Mutex<HashMap<String, Live>>,
}

/// A caller on the line.
#[derive(Debug)]
struct Live {
    handle: CallHandle,
    /// Which of the AI's sessions will be its, if calls are made one after another.
    session: usize,
}

#[derive(Deserialize)]
struct About {
    call_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum End {
    Kill,
    Terminate,
}

#[derive(Deserialize)]
struct Restart {
    by: End,
}

/// What went wrong, in words.
struct Problem(anyhow::Error);

impl<E: Into<anyhow::Error>> From<E> for Problem {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (StatusCode::INTERNAL_SERVER_ERROR, format!("{:#}\n", self.0)).into_response()
    }
}

type Answered = Result<Json<Value>, Problem>;

impl Stage {
    /// Starts the planes, the simulators and the proxy, and takes requests.
    ///
    /// # Errors
    ///
    /// There are no ports, or no client can be made.
    ///
    /// # Panics
    ///
    /// When a plane does not start.
    pub async fn start(settings: Settings) -> anyhow::Result<Self> {
        let ai = AiSettings { replies: Replies::fitting(), ..AiSettings::default() };
        let setup = Setup { ai: Some(ai), control: settings.control, node: settings.node, ..Setup::default() };
        let world = setup.start().await;
        let proxy = Proxy::start(world.address()).await.context("no port for the proxy")?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("no port")?;
        let direct_url = format!("http://{}", world.address());
        let ready = Ready {
            url: http(listener.local_addr()?),
            control_url: http(proxy.address()),
            direct_url: direct_url.clone(),
            api_key: world.local_key().expose_secret().to_owned(),
            state_dir: world.state_dir().display().to_string(),
        };
        let calls = Calls::new(&direct_url, &ready.api_key)?;
        let inner = Arc::new(Inner { world: Mutex::new(world), proxy, calls, live: Mutex::default() });
        let app = router(Arc::clone(&inner));
        let (open, closed) = oneshot::channel();
        let serving = tokio::spawn(async move {
            // Browsers and others keep connections open for a next request: those are closed in order.
            let closed = async { drop(closed.await) };
            if let Err(error) = axum::serve(listener, app).with_graceful_shutdown(closed).await {
                tracing::error!(%error, "the stage takes no more requests");
            }
        });
        Ok(Self { ready, inner, open, serving })
    }

    /// One line of JSON: where everything is.
    ///
    /// # Panics
    ///
    /// Never: it is all text.
    #[must_use]
    pub fn ready(&self) -> String {
        serde_json::to_string(&self.ready).expect("text is JSON")
    }

    /// Ends the planes in order.
    ///
    /// # Errors
    ///
    /// A request is still going on.
    ///
    /// # Panics
    ///
    /// When a plane does not end in order, or left a secret in a log or in the database.
    pub async fn stop(self) -> anyhow::Result<()> {
        drop(self.open);
        timeout(STOP, self.serving).await.context("a request to the stage is still going on")??;
        // The server says that its connections have ended a moment before their tasks let go of what they had.
        let released = async {
            let mut inner = self.inner;
            loop {
                match Arc::try_unwrap(inner) {
                    Ok(inner) => return inner,
                    Err(held) => inner = held,
                }
                tokio::task::yield_now().await;
            }
        };
        let inner = timeout(STOP, released).await.context("a request to the stage is still going on")?;
        for (_, live) in inner.live.into_inner() {
            live.handle.hang_up().await;
            drop(live.handle.finish().await);
        }
        inner.world.into_inner().stop().await;
        Ok(())
    }
}

fn http(address: SocketAddr) -> String {
    format!("http://{address}")
}

fn router(inner: Arc<Inner>) -> Router {
    // Pages of any origin may ask: browsers test clients too.
    let anybody = CorsLayer::new()
        .allow_origin(Any)
        .allow_methods(Any)
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(ExposeHeaders::any());
    Router::new()
        .route("/call", post(call))
        .route("/offer", post(offer))
        .route("/hang-up", post(hang_up))
        .route("/record", post(record))
        .route("/events", post(events))
        .route("/connections", post(connections))
        .route("/cut", post(cut))
        .route("/restart", post(restart))
        .layer(anybody)
        .with_state(inner)
}

/// Listens to the greeting, asks a question, listens to the answer, stays.
fn script() -> anyhow::Result<Vec<Step>> {
    let heard = || Step::WaitHeard { quiet: FINISHED };
    let question = speech::fixture("opening-hours").context("no recording of the question")?;
    Ok(vec![heard(), Step::Say(Utterance::new("opening-hours", &question.pcm)?), heard(), Step::Listen])
}

impl Inner {
    async fn dial(&self, connect: ConnectDelivery) -> anyhow::Result<(String, Option<String>)> {
        let settings = CallerSettings { script: script()?, connect, ..CallerSettings::default() };
        let world = self.world.lock().await;
        let session = world.ai().inspect(<[_]>::len);
        let handle = world.meta.call(settings).await?;
        let offer = handle.connect_webhook()["calls"][0]["session"]["sdp"].as_str().map(str::to_owned);
        let call_id = handle.id().to_owned();
        self.live.lock().await.insert(call_id.clone(), Live { handle, session });
        Ok((call_id, offer))
    }
}

/// Somebody calls; the control plane answers.
async fn call(State(stage): State<Arc<Inner>>) -> Answered {
    let (wacid, _) = stage.dial(ConnectDelivery::Once).await?;
    // Whoever asked may follow it at once, and sees the id it has in its events.
    let call_id = stage.calls.known(&wacid).await?;
    let mut live = stage.live.lock().await;
    let entry = live.remove(&wacid).context("the call was just begun")?;
    live.insert(call_id.clone(), entry);
    Ok(Json(json!({ "call_id": call_id })))
}

/// Somebody calls; whoever asked holds the signalling.
async fn offer(State(stage): State<Arc<Inner>>) -> Answered {
    let (call_id, sdp_offer) = stage.dial(ConnectDelivery::Withheld).await?;
    let sdp_offer = sdp_offer.context("a webhook without an offer")?;
    let world = stage.world.lock().await;
    let meta = world.meta.settings();
    Ok(Json(json!({
        "call_id": call_id,
        "sdp_offer": sdp_offer,
        "graph_url": world.meta.graph_url(),
        "phone_number_id": meta.phone_number_id,
        "access_token": meta.access_token,
    })))
}

/// The caller hangs up now.
async fn hang_up(State(stage): State<Arc<Inner>>, Json(about): Json<About>) -> Answered {
    let live = stage.live.lock().await;
    live.get(&about.call_id).context("no such call on the line")?.handle.hang_up().await;
    Ok(Json(json!({})))
}

/// Waits for the end of the call: what each side heard, what rules were broken, how it ended.
async fn record(State(stage): State<Arc<Inner>>, Json(about): Json<About>) -> Answered {
    let live = stage.live.lock().await.remove(&about.call_id).context("no such call on the line")?;
    let record = live.handle.finish().await;
    let call = stage.calls.ended(&about.call_id).await?;
    let session = stage.world.lock().await.ai().sessions().into_iter().nth(live.session);
    let understood: Vec<Recognised> = session
        .iter()
        .flat_map(|session| &session.utterances)
        .filter_map(|utterance| utterance.recognised.clone())
        .collect();
    let termination = call.termination.unwrap_or_default();
    let violations: Vec<String> = record.violations.iter().map(|violation| format!("{violation:?}")).collect();
    Ok(Json(json!({
        "heard": names(&speech::recognise_all(&record.pcm_heard)),
        "understood": names(&understood),
        "violations": violations,
        "reason": termination.reason,
    })))
}

fn names(found: &[Recognised]) -> Vec<&str> {
    found.iter().map(|one| one.name.as_str()).collect()
}

/// What is stored of a call that has ended, event by event: protobuf in base64.
async fn events(State(stage): State<Arc<Inner>>, Json(about): Json<About>) -> Answered {
    let events = stage.calls.events(&about.call_id).await?;
    let encoded: Vec<String> = events.iter().map(|event| base64_simd::STANDARD.encode_to_string(event)).collect();
    Ok(Json(json!({ "events": encoded })))
}

/// How many connections through the proxy are open.
async fn connections(State(stage): State<Arc<Inner>>) -> Answered {
    Ok(Json(json!({ "connections": stage.proxy.open() })))
}

/// Resets every connection through the proxy.
async fn cut(State(stage): State<Arc<Inner>>) -> Answered {
    Ok(Json(json!({ "connections": stage.proxy.cut() })))
}

/// Ends the control plane and starts it again, on the same port with the same database. Answers once it does.
async fn restart(State(stage): State<Arc<Inner>>, Json(restart): Json<Restart>) -> Answered {
    let mut world = stage.world.lock().await;
    match restart.by {
        End::Kill => world.control.kill(),
        End::Terminate => world.control.terminate(),
    }
    world.control.end(STOP).await;
    world.restart_control().await;
    Ok(Json(json!({})))
}
