//! One scenario's whole system.

use std::{collections::BTreeMap, net::SocketAddrV4, path::PathBuf, process::ExitStatus, time::Duration};

use anyhow::Context as _;
use secrecy::{ExposeSecret as _, SecretString};
use tempfile::TempDir;
use voicebridge_proto::control::v1::Call;
use voicebridge_simulator::{
    ai::{AiSettings, RealtimeServer},
    meta::{Meta, MetaSettings},
};
use voicebridge_telemetry::local::{LocalSecret, STATE_DIR, StateDir};

use crate::{
    calls::Calls,
    http::Http,
    ports::{ReservedPort, udp_range},
    process::Process,
    wait::{SOON, eventually},
};

const ACCESS_TOKEN: &str = "EAAgraph7f31access";
const APP_SECRET: &str = "app7f32secret";
const VERIFY_TOKEN: &str = "verify7f33token";
const PHONE_NUMBER_ID: &str = "106000000000001";
const NODE_TOKEN: &str = "node7f34token";
const PROVIDER_KEY: &str = "sk-7f35provider";

/// What must never be found in a log, an answer or a database file.
const SECRETS: [&str; 5] = [ACCESS_TOKEN, APP_SECRET, VERIFY_TOKEN, NODE_TOKEN, PROVIDER_KEY];

/// How long a process without calls may take to end once asked.
const STOP: Duration = Duration::from_secs(15);

/// What a scenario needs. The default: one node, a Realtime server that converses, no faults.
#[derive(Debug)]
pub struct Setup {
    /// Media nodes, in regions `region-0`, `region-1`, ...
    pub nodes: usize,
    /// The Realtime server; none has the nodes use the embedded AI.
    pub ai: Option<AiSettings>,
    /// Meta's behaviour. Address and secrets are filled in.
    pub meta: MetaSettings,
    /// More variables for the control plane.
    pub control: BTreeMap<String, String>,
    /// More variables for every node.
    pub node: BTreeMap<String, String>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            nodes: 1,
            ai: Some(AiSettings::default()),
            meta: MetaSettings::default(),
            control: BTreeMap::new(),
            node: BTreeMap::new(),
        }
    }
}

impl Setup {
    /// Starts all of it and waits until every node is registered.
    ///
    /// # Panics
    ///
    /// When something does not start.
    pub async fn start(self) -> World {
        World::start(self).await.expect("the whole system starts")
    }
}

/// A media node of a [`World`].
#[derive(Debug)]
pub struct Node {
    /// Its region, unique in a world.
    pub region: String,
    /// The running binary.
    pub process: Process,
    port: ReservedPort,
}

impl Node {
    /// Where its gRPC, health and metrics are.
    #[must_use]
    pub const fn address(&self) -> SocketAddrV4 {
        self.port.address()
    }
}

/// A whole system: two simulators, one control plane, its database, media nodes.
#[derive(Debug)]
pub struct World {
    /// Meta's side.
    pub meta: Meta,
    /// The AI's side; none with the embedded AI.
    pub ai: Option<RealtimeServer>,
    /// gRPC to the control plane.
    pub calls: Calls,
    /// HTTP to the control plane.
    pub http: Http,
    /// The control plane.
    pub control: Process,
    /// The media nodes.
    pub nodes: Vec<Node>,
    control_variables: BTreeMap<String, String>,
    control_port: ReservedPort,
    folder: TempDir,
    state: TempDir,
    local_key: SecretString,
}

impl World {
    async fn start(setup: Setup) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("voicebridge-").tempdir()?;
        let state = tempfile::Builder::new().prefix("voicebridge-").tempdir()?;
        // Made before the control plane starts, which is to find it.
        let local_key = StateDir::at(state_dir(&state)).read_or_make(LocalSecret::ApiKey)?;
        let control_port = ReservedPort::new()?;
        let url = format!("http://{}", control_port.address());
        let meta = Meta::start(MetaSettings {
            webhook_url: Some(format!("{url}/webhooks/whatsapp")),
            app_secret: APP_SECRET.to_owned(),
            verify_token: VERIFY_TOKEN.to_owned(),
            access_token: ACCESS_TOKEN.to_owned(),
            phone_number_id: PHONE_NUMBER_ID.to_owned(),
            ..setup.meta
        })
        .await?;
        let ai = match setup.ai {
            Some(settings) => {
                let settings = AiSettings { api_key: Some(PROVIDER_KEY.to_owned()), ..settings };
                Some(RealtimeServer::start(settings).await?)
            }
            None => None,
        };

        let mut control_variables = variables([
            ("VOICEBRIDGE_LISTEN", control_port.address().to_string()),
            ("DATABASE_URL", format!("sqlite://{}", folder.path().join("calls.db").display())),
            ("WHATSAPP_ACCESS_TOKEN", ACCESS_TOKEN.to_owned()),
            ("WHATSAPP_PHONE_NUMBER_ID", PHONE_NUMBER_ID.to_owned()),
            ("WHATSAPP_APP_SECRET", APP_SECRET.to_owned()),
            ("WHATSAPP_VERIFY_TOKEN", VERIFY_TOKEN.to_owned()),
            ("WHATSAPP_GRAPH_URL", meta.graph_url()),
            ("VOICEBRIDGE_NODE_TOKEN", NODE_TOKEN.to_owned()),
            (STATE_DIR, state_dir(&state).display().to_string()),
        ]);
        control_variables.extend(setup.control);
        let control = Process::start("voicebridge-control", "control", &control_variables, folder.path())?;

        let mut world = Self {
            calls: Calls::new(&url, &local_key)?,
            http: Http::new(&url, &local_key)?,
            meta,
            ai,
            control,
            nodes: Vec::new(),
            control_variables,
            control_port,
            folder,
            state,
            local_key,
        };
        world.answering().await;
        for index in 0..setup.nodes {
            world.add_node(&format!("region-{index}"), &setup.node)?;
        }
        world.registered(setup.nodes).await;
        Ok(world)
    }

    /// Where the control plane listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddrV4 {
        self.control_port.address()
    }

    /// Starts one more node, with these variables besides the usual ones. Does not wait for its registration.
    ///
    /// # Errors
    ///
    /// It could not be started.
    pub fn add_node(&mut self, region: &str, more: &BTreeMap<String, String>) -> anyhow::Result<()> {
        let port = ReservedPort::new()?;
        let mut node = variables([
            ("VOICEBRIDGE_MEDIA_LISTEN", port.address().to_string()),
            ("VOICEBRIDGE_CONTROL_URL", format!("http://{}", self.address())),
            ("VOICEBRIDGE_REGION", region.to_owned()),
            ("VOICEBRIDGE_PUBLIC_IP", "127.0.0.1".to_owned()),
            ("VOICEBRIDGE_UDP_PORTS", udp_range()),
            ("VOICEBRIDGE_NODE_TOKEN", NODE_TOKEN.to_owned()),
            (STATE_DIR, self.state_dir().display().to_string()),
        ]);
        match &self.ai {
            Some(ai) => {
                node.extend(variables([("OPENAI_API_KEY", PROVIDER_KEY.to_owned()), ("OPENAI_REALTIME_URL", ai.url())]))
            }
            None => node.extend(variables([("VOICEBRIDGE_PROVIDER", "embedded".to_owned())])),
        }
        node.extend(more.clone());
        let process = Process::start("voicebridge-media", &format!("media-{region}"), &node, self.folder.path())
            .with_context(|| format!("the node of {region}"))?;
        self.nodes.push(Node { region: region.to_owned(), process, port });
        Ok(())
    }

    async fn answering(&mut self) {
        let (http, control) = (&self.http, &mut self.control);
        eventually("the control plane's health", SOON, || {
            assert!(control.exited().is_none(), "the control plane ended at its start");
            async move { http.get("/health").await.ok().filter(|answer| answer.status == 200) }
        })
        .await;
    }

    /// Waits until the control plane knows so many nodes.
    ///
    /// # Panics
    ///
    /// When it does not in time.
    pub async fn registered(&self, nodes: usize) {
        eventually("the nodes' registration", SOON, || async move {
            let health = self.http.get("/health").await.ok()?;
            (health.body["nodes"] == nodes).then_some(())
        })
        .await;
    }

    /// Starts the control plane again after it ended, on the same port with the same database.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn restart_control(&mut self) {
        self.control = Process::start("voicebridge-control", "control", &self.control_variables, self.folder.path())
            .expect("it started before");
        self.answering().await;
        self.registered(self.nodes.len()).await;
    }

    /// The key of a control plane that was given no other.
    #[must_use]
    pub const fn local_key(&self) -> &SecretString {
        &self.local_key
    }

    /// What the nodes are asked with.
    #[must_use]
    pub fn node_token(&self) -> SecretString {
        NODE_TOKEN.into()
    }

    /// Where that is kept.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        state_dir(&self.state)
    }

    /// Position of the node that has the call.
    ///
    /// # Panics
    ///
    /// When none does.
    #[must_use]
    pub fn node_of(&self, call: &Call) -> usize {
        self.nodes.iter().position(|node| node.region == call.region).expect("the call is on one of the nodes")
    }

    /// The simulated AI.
    ///
    /// # Panics
    ///
    /// When the nodes use the embedded one.
    #[must_use]
    pub fn ai(&self) -> &RealtimeServer {
        self.ai.as_ref().expect("this world has a Realtime server")
    }

    /// Ends every process in order and checks what must be true of every scenario: each exits with 0, and no secret is
    /// in a log or in the database.
    ///
    /// # Panics
    ///
    /// When something of that is not so.
    pub async fn stop(mut self) {
        for node in &mut self.nodes {
            end(&mut node.process).await;
        }
        end(&mut self.control).await;
        for entry in std::fs::read_dir(self.folder.path()).expect("the folder is ours") {
            let path = entry.expect("the folder is ours").path();
            let bytes = std::fs::read(&path).expect("a file of ours");
            for secret in SECRETS.into_iter().chain([self.local_key.expose_secret()]) {
                let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
                assert!(!found, "{secret} is in {}", path.display());
            }
        }
    }
}

/// The planes make it themselves.
fn state_dir(folder: &TempDir) -> PathBuf {
    folder.path().join("state")
}

async fn end(process: &mut Process) {
    if process.exited().is_none() {
        process.terminate();
        let status: ExitStatus = process.end(STOP).await;
        assert!(status.success(), "ended with {status}");
    }
}

fn variables<const N: usize>(pairs: [(&str, String); N]) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
