//! Where runners get the scenarios, begin a run and hear how it was.

use std::{
    collections::{BTreeMap, HashMap},
    net::Ipv4Addr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Json, Router,
    extract::{Path, State},
    routing::{get, post},
};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tokio::{
    net::{TcpListener, TcpSocket},
    task::JoinHandle,
};
use tower_http::cors::{AllowHeaders, Any, CorsLayer, ExposeHeaders};

use super::{
    link::{Link, Links},
    play,
    run::{API_KEY, Report, Run},
    script::Scenario,
};

struct Server {
    scenarios: BTreeMap<String, Scenario>,
    runs: Mutex<HashMap<u64, Running>>,
}

struct Running {
    run: Arc<Run>,
    at: At,
}

/// What a run has at its address.
enum At {
    Listening(JoinHandle<()>),
    /// Bound and not listening: the port stays ours, and connections to it are refused.
    Away(#[expect(dead_code, reason = "held, not used")] TcpSocket),
}

impl Drop for At {
    fn drop(&mut self) {
        if let Self::Listening(task) = self {
            task.abort();
        }
    }
}

#[derive(Deserialize)]
struct Wish {
    scenario: String,
    /// The runner will tell how many responses its client has taken.
    #[serde(default)]
    tells_taken: bool,
}

#[derive(Deserialize)]
struct Taken {
    responses: u64,
}

#[derive(Serialize)]
struct Begun {
    run: u64,
    url: String,
    api_key: &'static str,
}

type Refusal = (StatusCode, String);

/// Serves the scenarios on this listener until dropped.
///
/// # Errors
///
/// The listener fails.
pub async fn serve(listener: TcpListener, scenarios: BTreeMap<String, Scenario>) -> std::io::Result<()> {
    let server = Arc::new(Server { scenarios, runs: Mutex::default() });
    let app = Router::new()
        .route("/scenarios", get(list))
        .route("/runs", post(begin))
        .route("/runs/{run}/taken", post(taken))
        .route("/runs/{run}/end", post(end))
        .layer(anybody())
        .with_state(server);
    axum::serve(listener, app).await
}

/// Pages of any origin may ask: browsers run the scenarios too.
fn anybody() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods(Any)
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(ExposeHeaders::any())
}

async fn list(State(server): State<Arc<Server>>) -> Json<BTreeMap<String, Scenario>> {
    Json(server.scenarios.clone())
}

async fn begin(State(server): State<Arc<Server>>, Json(wish): Json<Wish>) -> Result<Json<Begun>, Refusal> {
    let scenario = server.scenarios.get(&wish.scenario);
    let scenario = scenario.ok_or((StatusCode::NOT_FOUND, format!("no scenario {}", wish.scenario)))?;
    let run = Arc::new(Run::new(scenario.clone(), wish.tells_taken));
    let (at, port) = open(&run).await.map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    let mut runs = server.runs();
    let id = u64::from(port);
    runs.insert(id, Running { run, at });
    Ok(Json(Begun { run: id, url: format!("http://127.0.0.1:{port}"), api_key: API_KEY }))
}

async fn open(run: &Arc<Run>) -> std::io::Result<(At, u16)> {
    if run.scenario.away {
        let socket = TcpSocket::new_v4()?;
        socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let port = socket.local_addr()?.port();
        return Ok((At::Away(socket), port));
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let port = listener.local_addr()?.port();
    let app = Router::new()
        .route("/voicebridge.control.v1.CallService/StreamEvents", post(play::stream_events))
        .layer(anybody())
        .with_state(Arc::clone(run))
        .into_make_service_with_connect_info::<Link>();
    let task = tokio::spawn(async move {
        // Ends by being aborted only.
        let _ = axum::serve(Links(listener), app).await;
    });
    Ok((At::Listening(task), port))
}

async fn taken(
    State(server): State<Arc<Server>>,
    Path(id): Path<u64>,
    Json(taken): Json<Taken>,
) -> Result<Json<()>, Refusal> {
    let run = server.runs().get(&id).map(|running| Arc::clone(&running.run));
    let run = run.ok_or((StatusCode::NOT_FOUND, format!("no run {id}")))?;
    if run.took(taken.responses) {
        Ok(Json(()))
    } else {
        Err((StatusCode::CONFLICT, "not told at the beginning, or fewer than before".to_owned()))
    }
}

async fn end(State(server): State<Arc<Server>>, Path(id): Path<u64>) -> Result<Json<Report>, Refusal> {
    let running = server.runs().remove(&id).ok_or((StatusCode::NOT_FOUND, format!("no run {id}")))?;
    let report = running.run.end().await;
    drop(running.at);
    Ok(Json(report))
}

impl Server {
    fn runs(&self) -> MutexGuard<'_, HashMap<u64, Running>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
