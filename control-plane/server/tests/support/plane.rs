//! The control plane under test, in a runtime of its own so that it can be killed like a process.

use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use http::HeaderName;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use sha2::Sha256;
use tempfile::TempDir;
use tokio::{runtime::Runtime, sync::oneshot, task::JoinHandle};
use tonic::{Status, service::interceptor::InterceptedService, transport::Channel};
use voicebridge_proto::{
    control::v1::{self as control, call_service_client::CallServiceClient},
    types::v1::{self as types, event::Kind},
};
use voicebridge_server::{Config, RawConfig, config::Limits, run};
use voicebridge_telemetry::{
    auth::Bearer,
    local::{LocalSecret, StateDir},
};

use super::{
    ACCESS_TOKEN, APP_SECRET, Graph, NODE_TOKEN, NUMBER_ID, PATIENCE, VERIFY_TOKEN, delivery, node::BEAT, until,
};

pub struct Plane {
    pub url: String,
    pub config: Config,
    /// Shows the local key, where no other is configured.
    pub http: reqwest::Client,
    running: Option<Running>,
    directory: TempDir,
    state: TempDir,
}

/// A channel with a key, or without.
pub type Wire = InterceptedService<Channel, Bearer>;

struct Running {
    runtime: Runtime,
    served: JoinHandle<anyhow::Result<()>>,
    shutdown: oneshot::Sender<()>,
}

/// The signature Meta would send.
pub fn sign(body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(APP_SECRET.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

pub fn config(graph_url: &str) -> Config {
    let some = |text: &str| Some(text.to_owned());
    let mut config = Config::resolve(RawConfig {
        whatsapp_access_token: some(ACCESS_TOKEN),
        whatsapp_phone_number_id: some(NUMBER_ID),
        whatsapp_app_secret: some(APP_SECRET),
        whatsapp_verify_token: some(VERIFY_TOKEN),
        graph_url: some(graph_url),
        ..RawConfig::default()
    })
    .unwrap();
    config.node_token = Some(NODE_TOKEN.into());
    config.limits = Limits {
        // A second of silence loses a node; long enough for a busy machine.
        beat: BEAT,
        node_lost_beats: 20,
        node_probe: BEAT * 10,
        graph_timeout: Duration::from_secs(2),
        restore_grace: Duration::from_secs(5),
        ..Limits::default()
    };
    config
}

impl Plane {
    pub async fn start(graph: &Graph) -> Self {
        Self::start_with(config(&graph.url)).await
    }

    pub async fn start_with(config: Config) -> Self {
        Self::start_on(config, None).await
    }

    /// On the database of this URL, or on one of SQLite of its own.
    pub async fn start_on(mut config: Config, database_url: Option<String>) -> Self {
        logs();
        voicebridge_telemetry::install_tls();
        let (directory, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        config.state_dir = Some(StateDir::at(state.path().to_owned()));
        let file = || format!("sqlite://{}", directory.path().join("calls.db").display());
        config.database_url = database_url.unwrap_or_else(file).into();
        let http = reqwest::Client::new();
        let mut plane = Self { url: String::new(), config, http, running: None, directory, state };
        if let Some(key) = plane.local_key() {
            let key = [(HeaderName::from_static("x-api-key"), key.expose_secret().parse().unwrap())];
            plane.http = reqwest::Client::builder().default_headers(key.into_iter().collect()).build().unwrap();
        }
        plane.boot(None).await;
        plane
    }

    /// Serves on any port, or on a known one.
    async fn boot(&mut self, address: Option<std::net::SocketAddr>) {
        let any = "127.0.0.1:0".parse().unwrap();
        let listener = std::net::TcpListener::bind(address.unwrap_or(any)).unwrap();
        listener.set_nonblocking(true).unwrap();
        self.url = format!("http://{}", listener.local_addr().unwrap());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (shutdown, stopped) = oneshot::channel::<()>();
        let config = self.config.clone();
        let served = runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            run(config, listener, async move {
                let _ = stopped.await;
            })
            .await
        });
        self.running = Some(Running { runtime, served, shutdown });
        until("the control plane answers", || async {
            self.http.get(format!("{}/health", self.url)).send().await.ok().map(|_| ())
        })
        .await;
    }

    /// SIGTERM. Returns a task that ends with the process.
    pub fn terminate(&mut self) -> JoinHandle<()> {
        let running = self.running.take().unwrap();
        running.shutdown.send(()).unwrap();
        tokio::spawn(async move {
            tokio::time::timeout(PATIENCE, running.served).await.unwrap().unwrap().unwrap();
            running.runtime.shutdown_background();
        })
    }

    /// Ends without having been told to; why.
    pub async fn end(&mut self) -> anyhow::Error {
        let running = self.running.take().unwrap();
        let ended = tokio::time::timeout(PATIENCE, running.served).await.unwrap().unwrap();
        running.runtime.shutdown_background();
        ended.unwrap_err()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.running.take().unwrap().runtime.shutdown_background();
    }

    /// Another process on the same database, which waits so long for this one to end; it ends at once if it ever serves.
    pub async fn second(&self, wait: Duration) -> anyhow::Result<()> {
        let mut config = self.config.clone();
        config.limits.database_wait = wait;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        run(config, listener, std::future::ready(())).await
    }

    /// Another process on the same port and database.
    pub async fn restart(&mut self) {
        let address = self.url.trim_start_matches("http://").parse().unwrap();
        // The old listener is closed in the background.
        until("the port is free", || async { std::net::TcpListener::bind(address).ok().map(drop) }).await;
        self.boot(Some(address)).await;
    }

    pub async fn nodes(&self, count: u64) {
        until("the nodes are registered", || async {
            let health: Value = self.get("/health").await.1;
            (health["nodes"] == count).then_some(())
        })
        .await;
    }

    pub async fn deliver_raw(&self, body: &str, signature: Option<&str>) -> reqwest::Response {
        let mut request = self.http.post(format!("{}/webhooks/whatsapp", self.url)).body(body.to_owned());
        if let Some(signature) = signature {
            request = request.header("x-hub-signature-256", signature);
        }
        request.send().await.unwrap()
    }

    /// A signed delivery; its status.
    pub async fn deliver(&self, calls: &[Value]) -> u16 {
        let body = delivery(calls);
        self.deliver_raw(&body, Some(&sign(&body))).await.status().as_u16()
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        let response = self.http.get(format!("{}{path}", self.url)).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap_or_default())
    }

    pub async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        let response = self.http.post(format!("{}{path}", self.url)).json(&body).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap_or_default())
    }

    /// The key of this machine and user, unless another is configured. Who asks first has it made.
    pub fn local_key(&self) -> Option<SecretString> {
        let state = StateDir::at(self.state.path().to_owned());
        self.config.api_keys.is_empty().then(|| state.read_or_make(LocalSecret::ApiKey).unwrap())
    }

    /// With the local key, where no other is configured.
    pub async fn wire(&self) -> Wire {
        let channel = channel(&self.url).await.unwrap();
        InterceptedService::new(channel, Bearer::new(self.local_key().as_ref()).unwrap())
    }

    pub async fn client(&self) -> CallServiceClient<Wire> {
        CallServiceClient::new(self.wire().await)
    }

    pub async fn call(&self, call_id: &str) -> Result<control::Call, Status> {
        let request = control::GetCallRequest { call_id: call_id.to_owned() };
        Ok(self.client().await.get_call(request).await?.into_inner().call.unwrap())
    }

    /// All that was said on a call, page by page.
    pub async fn transcripts(&self, call_id: &str) -> Vec<types::Transcript> {
        let mut request = control::ListTranscriptsRequest { call_id: call_id.to_owned(), ..Default::default() };
        let (mut client, mut said) = (self.client().await, Vec::new());
        loop {
            let page = client.list_transcripts(request.clone()).await.unwrap().into_inner();
            said.extend(page.transcripts);
            if page.next_page_token.is_empty() {
                return said;
            }
            request.page_token = page.next_page_token;
        }
    }

    /// Waits until so much was said.
    pub async fn said(&self, call_id: &str, count: usize) -> Vec<types::Transcript> {
        until("it is stored", || async {
            let said = self.transcripts(call_id).await;
            (said.len() >= count).then_some(said)
        })
        .await
    }

    /// Our id of a call of Meta's.
    pub async fn id(&self, wacid: &str) -> String {
        self.call(wacid).await.unwrap().call_id
    }

    /// Waits until the call is in this phase.
    pub async fn phase(&self, call_id: &str, phase: control::CallPhase) -> control::Call {
        until(&format!("{call_id} is {}", phase.as_str_name()), || async {
            self.call(call_id).await.ok().filter(|call| call.phase() == phase)
        })
        .await
    }

    /// Waits for the end of a call; result, reason and upstream code.
    pub async fn ended(&self, call_id: &str) -> (types::TerminationResult, String, String) {
        let call = self.phase(call_id, control::CallPhase::Ended).await;
        let termination = call.termination.unwrap();
        (termination.result(), termination.reason.clone(), termination.upstream_code)
    }

    /// All events of a call from a cursor, or from the first one, to its last one.
    pub async fn events(&self, call_id: &str, cursor: &str) -> Vec<types::Event> {
        let request = control::StreamEventsRequest {
            call_id: call_id.to_owned(),
            cursor: cursor.to_owned(),
            ..Default::default()
        };
        let mut stream = self.client().await.stream_events(request).await.unwrap().into_inner();
        let mut events = Vec::new();
        let reading = async {
            while let Some(response) = stream.message().await.unwrap() {
                events.extend(response.event);
            }
        };
        tokio::time::timeout(PATIENCE, reading).await.unwrap();
        events
    }

    /// The database's files and their permissions.
    #[cfg(unix)]
    pub fn stored_modes(&self) -> Vec<(String, u32)> {
        use std::os::unix::fs::PermissionsExt as _;
        let files = std::fs::read_dir(self.directory.path()).unwrap().map(Result::unwrap);
        files
            .map(|file| {
                let mode = file.metadata().unwrap().permissions().mode() & 0o777;
                (file.file_name().to_string_lossy().into_owned(), mode)
            })
            .collect()
    }

    /// The database's files while nothing serves.
    pub fn back_up(&self) -> Vec<(std::path::PathBuf, Vec<u8>)> {
        let files = std::fs::read_dir(self.directory.path()).unwrap().map(|file| file.unwrap().path());
        files.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
    }

    /// As they were.
    pub fn put_back(&self, files: &[(std::path::PathBuf, Vec<u8>)]) {
        for file in std::fs::read_dir(self.directory.path()).unwrap() {
            std::fs::remove_file(file.unwrap().path()).unwrap();
        }
        files.iter().for_each(|(path, bytes)| std::fs::write(path, bytes).unwrap());
    }

    /// The database, as another process on it sees it.
    pub async fn store(&self) -> voicebridge_server::store::Sqlite {
        voicebridge_server::store::Sqlite::open(&self.config.database_url).await.unwrap()
    }

    /// Bytes of the database and its log, for looking for what must not be there.
    pub fn stored_bytes(&self) -> Vec<u8> {
        let files = std::fs::read_dir(self.directory.path()).unwrap();
        files.flat_map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.runtime.shutdown_background();
        }
    }
}

/// What the server says, when `RUST_LOG` asks for it.
fn logs() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    if std::env::var_os("RUST_LOG").is_some() {
        ONCE.call_once(|| {
            let settings = voicebridge_telemetry::Settings::from_env("test").unwrap();
            std::mem::forget(voicebridge_telemetry::init(settings).unwrap());
        });
    }
}

pub async fn channel(url: &str) -> Result<Channel, tonic::transport::Error> {
    tonic::transport::Endpoint::from_shared(url.to_owned())?.connect().await
}

/// Names of the kinds, for comparing whole stories.
pub fn kind_names(events: &[types::Event]) -> Vec<String> {
    events
        .iter()
        .map(|event| match event.kind.as_ref().unwrap() {
            Kind::StageReached(reached) => reached.stage().as_str_name().trim_start_matches("STAGE_").to_owned(),
            Kind::GraphAnswered(answered) => {
                let action = answered.action().as_str_name().trim_start_matches("GRAPH_ACTION_").to_lowercase();
                format!("graph {action} {}", answered.status)
            }
            Kind::SessionEnded(ended) => format!("session ended {}", ended.termination.as_ref().unwrap().reason),
            Kind::CallEnded(ended) => format!("call ended {}", ended.termination.as_ref().unwrap().reason),
            Kind::TransportConnected(_) => "transport connected".to_owned(),
            Kind::ProviderReady(_) => "provider ready".to_owned(),
            Kind::Transcript(transcript) => format!("transcript {}", transcript.text),
            Kind::PartialTranscript(partial) => format!("partial {}", partial.delta),
            other => format!("{other:?}"),
        })
        .collect()
}
