//! Everything the demo's calls need: the simulated ends in this process, the real programs as processes beside it.
//!
//! ```text
//!   simulated Meta ◀── Graph, webhooks ──▶ voicebridge-control ◀── gRPC ──▶ voicebridge-media "sa", "eu"
//!        └─ callers ◀═══════════════ SRTP over UDP ══════════════════════════▶ ┘      │
//!   simulated Realtime AI ◀───────────────── WebSocket ───────────────────────────────┘
//! ```

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tempfile::TempDir;
use voicebridge_simulator::{
    ai::{AiSettings, Mode, RealtimeServer, Replies},
    meta::{Meta, MetaSettings},
};
use voicebridge_telemetry::local::STATE_DIR;

use super::{
    cast::PLACEMENT,
    processes::{Ports, Process},
};
use crate::args::Access;

/// From the start of a process until it must be ready.
const READY_WITHIN: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// One look at the control plane's health.
const LOOK_TIMEOUT: Duration = Duration::from_secs(2);
/// Known to both ends; nobody else speaks to the simulated AI.
const AI_KEY: &str = "demo-ai-key";

/// The running house.
pub(crate) struct World {
    pub(crate) meta: Meta,
    pub(crate) ai: RealtimeServer,
    control: Process,
    media: Vec<Process>,
    control_address: SocketAddr,
    /// Keeps the local key and the local node token: both planes and this program are of one machine and user.
    state: TempDir,
    logs: PathBuf,
    http: reqwest::Client,
}

/// One node: its region, and the UDP ports it takes for callers. Nodes of one machine must not share any.
struct Node {
    name: &'static str,
    region: &'static str,
    udp_ports: &'static str,
    log: &'static str,
}

const NODES: [Node; 2] = [
    Node { name: "the media node in sa", region: "sa", udp_ports: "20000-23999", log: "media-sa.log" },
    Node { name: "the media node in eu", region: "eu", udp_ports: "24000-27999", log: "media-eu.log" },
];
const ECHO_NODE: Node =
    Node { name: "the media node that echoes", region: "echo", udp_ports: "28000-28999", log: "media-echo.log" };

impl World {
    /// Starts everything and waits until calls can be made. `folder` takes the logs and the database.
    pub(crate) async fn start(folder: &Path) -> anyhow::Result<Self> {
        let logs = folder.join("logs");
        std::fs::create_dir_all(&logs).with_context(|| format!("{} cannot be made", logs.display()))?;
        let meta = Meta::start(MetaSettings::default()).await.context("the simulated Meta does not start")?;
        let ai = ai_server(Mode::Converse).await?;
        let (ports, [control_address]) = Ports::hold().context("no free port on 127.0.0.1")?;
        meta.set_webhook_url(format!("http://{control_address}/webhooks/whatsapp"));
        let state = tempfile::tempdir().context("no folder for temporary files")?;

        let database = folder.join("voicebridge.db");
        remove_database(&database)?;
        let numbers = meta.settings();
        let variables = [
            ("VOICEBRIDGE_LISTEN", control_address.to_string()),
            ("WHATSAPP_GRAPH_URL", meta.graph_url()),
            ("WHATSAPP_ACCESS_TOKEN", numbers.access_token.clone()),
            ("WHATSAPP_PHONE_NUMBER_ID", numbers.phone_number_id.clone()),
            ("WHATSAPP_APP_SECRET", numbers.app_secret.clone()),
            ("WHATSAPP_VERIFY_TOKEN", numbers.verify_token.clone()),
            ("DATABASE_URL", format!("sqlite://{}", database.display())),
            (STATE_DIR, state.path().display().to_string()),
            ("VOICEBRIDGE_PLACEMENT", PLACEMENT.to_owned()),
        ];
        ports.release();
        let control = Process::start("the control plane", "voicebridge-control", &variables, logs.join("control.log"))?;
        let http = reqwest::Client::builder().timeout(LOOK_TIMEOUT).no_proxy().build()?;
        let mut world = Self { meta, ai, control, media: Vec::new(), control_address, state, logs, http };
        world.until_nodes(0).await?;
        for node in &NODES {
            let process = world.start_node(node, &world.ai)?;
            world.media.push(process);
        }
        world.until_nodes(NODES.len()).await?;
        Ok(world)
    }

    /// Where and as whom the CLI's own client reaches the control plane.
    pub(crate) fn access(&self) -> Access {
        Access {
            url: format!("http://{}", self.control_address),
            api_key: None,
            state_dir: Some(self.state.path().to_owned()),
        }
    }

    /// Fails if one of the processes has ended.
    pub(crate) fn check_alive(&mut self) -> anyhow::Result<()> {
        self.control.check_alive()?;
        self.media.iter_mut().try_for_each(Process::check_alive)
    }

    /// Ends the two nodes, each draining, and starts one whose AI sends every sound straight back.
    pub(crate) async fn switch_to_echo(&mut self) -> anyhow::Result<RealtimeServer> {
        for node in self.media.drain(..) {
            node.stop().await?;
        }
        let echo = ai_server(Mode::Echo).await?;
        self.until_nodes(0).await?;
        let node = self.start_node(&ECHO_NODE, &echo)?;
        self.media.push(node);
        self.until_nodes(1).await?;
        Ok(echo)
    }

    /// Ends all processes, nodes first.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        for node in self.media {
            node.stop().await?;
        }
        self.control.stop().await
    }

    fn start_node(&self, node: &Node, ai: &RealtimeServer) -> anyhow::Result<Process> {
        let variables = [
            // A free port; the node tells the control plane which.
            ("VOICEBRIDGE_MEDIA_LISTEN", "127.0.0.1:0".to_owned()),
            ("VOICEBRIDGE_CONTROL_URL", format!("http://{}", self.control_address)),
            (STATE_DIR, self.state.path().display().to_string()),
            ("VOICEBRIDGE_REGION", node.region.to_owned()),
            ("VOICEBRIDGE_PUBLIC_IP", "127.0.0.1".to_owned()),
            ("VOICEBRIDGE_UDP_PORTS", node.udp_ports.to_owned()),
            ("VOICEBRIDGE_PROVIDER", "openai".to_owned()),
            ("OPENAI_REALTIME_URL", ai.url()),
            ("OPENAI_API_KEY", AI_KEY.to_owned()),
        ];
        Process::start(node.name, "voicebridge-media", &variables, self.logs.join(node.log))
    }

    /// Waits until the control plane answers and knows this many nodes.
    async fn until_nodes(&mut self, wanted: usize) -> anyhow::Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            self.check_alive()?;
            let seen = self.nodes().await;
            match seen {
                Ok(nodes) if nodes == wanted => return Ok(()),
                _ if Instant::now() < deadline => tokio::time::sleep(LOOK_EVERY).await,
                Ok(nodes) => anyhow::bail!(
                    "the control plane knows {nodes} media nodes instead of {wanted}; see {}",
                    self.logs.display()
                ),
                Err(error) => {
                    return Err(
                        error.context(format!("the control plane does not answer; see {}", self.logs.display()))
                    );
                }
            }
        }
    }

    async fn nodes(&self) -> anyhow::Result<usize> {
        let url = format!("http://{}/health", self.control_address);
        let health: serde_json::Value = self.http.get(url).send().await?.error_for_status()?.json().await?;
        let nodes =
            health["nodes"].as_u64().with_context(|| format!("its health says no number of nodes: {health}"))?;
        Ok(usize::try_from(nodes)?)
    }
}

async fn ai_server(mode: Mode) -> anyhow::Result<RealtimeServer> {
    let settings =
        AiSettings { mode, api_key: Some(AI_KEY.to_owned()), replies: Replies::fitting(), ..AiSettings::default() };
    RealtimeServer::start(settings).await.context("the simulated AI does not start")
}

/// A run leaves its database beside its logs to look at; the next one in the same folder begins with none.
fn remove_database(path: &Path) -> anyhow::Result<()> {
    for suffix in ["", "-wal", "-shm"] {
        let file = PathBuf::from(format!("{}{suffix}", path.display()));
        match std::fs::remove_file(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("{} cannot be removed", file.display()));
            }
            _ => {}
        }
    }
    Ok(())
}
