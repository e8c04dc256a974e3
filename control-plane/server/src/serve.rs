//! Start and end of the process's work: opened, recovered, served, drained.

use std::sync::Arc;

use anyhow::Context as _;
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use voicebridge_core::placement;
use voicebridge_telemetry::{
    auth, install_metrics, install_tls,
    listener::{self, Incoming},
    local,
};

use crate::{
    access::{Keyring, LocalKey, TOKEN_KEY},
    api::{self, Api, Guard, Health, Keys, PAGE_KEY, PageTokens, Shares},
    callback::Callback,
    calls::{Calls, RealPorts},
    config::Config,
    events::{self, CURSOR_KEY, Cursors, Hub, Source},
    graph::Graph,
    lifetime::Lifetime,
    nodes::{self, Clients, Fleet, Nodes, Registry},
    retention,
    store::{Database, Owner},
    webhook::Webhook,
};

/// Nodes that register at the same moment and wait for their sessions to be compared with our calls.
const ARRIVALS: usize = 64;
/// Requests and event streams that one HTTP/2 connection may have under way. A service that follows every call does so on
/// one connection; with the usual 200 the next request would wait until a call ends.
const MAX_CONNECTION_STREAMS: u32 = 4_096;

/// Serves on `listener` until `shutdown`; then takes nothing new, finishes what is being set up, leaves live calls to
/// their nodes and returns.
///
/// # Errors
/// The database cannot be opened, or Meta's values cannot be used. Nothing after that: what fails later is answered to
/// whoever asked.
pub async fn run(
    config: Config,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    install_tls();
    // Before anything is counted.
    install_metrics();
    let warm = tokio::task::spawn_blocking(placement::warm_up);
    let opened = Database::open_owned(&config.database_url, config.limits.database_wait).await;
    let (database, owner) = opened.context("DATABASE_URL cannot be used")?;
    let served = serve(config, listener, shutdown, &database, &owner, warm).await;
    // After an error as well: whoever waits need not wait longer.
    owner.give_back().await;
    database.shut().await;
    served?;
    tracing::info!("control plane stopped");
    Ok(())
}

async fn serve(
    config: Config,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
    database: &Database,
    owner: &Owner,
    warm: JoinHandle<()>,
) -> anyhow::Result<()> {
    let store = database.calls();
    let cursor_key = store.own_key(CURSOR_KEY, rand::random()).await.context("DATABASE_URL cannot be used")?;
    let page_key = store.own_key(PAGE_KEY, rand::random()).await.context("DATABASE_URL cannot be used")?;
    let last_position = store.last_position().await.context("DATABASE_URL cannot be used")?;
    let graph = match &config.graph_access {
        Some(access) => Some(Graph::new(&config.graph_url, access, config.limits.graph_timeout)?.under(owner.lease())),
        None => None,
    };
    let callback = config.callback.as_ref().map(Callback::new).transpose().context("VOICEBRIDGE_CALLBACK_URL")?;
    let callback = callback.map(|callback| callback.under(owner.lease()));
    if let Err(missing) = &config.whatsapp {
        tracing::warn!(missing = missing.join(", "), "Meta's values are not all set: the webhook answers 503");
    }
    let token_key = store.own_key(TOKEN_KEY, rand::random()).await.context("DATABASE_URL cannot be used")?;
    let keyring = Keyring::open(database.keys(), &token_key, &config.api_keys).await;
    let mut keyring = keyring.context("the API keys could not be read")?;
    if keyring.is_empty() {
        let local = LocalKey::open(config.state_dir.as_ref())
            .context("no API key is configured, nor can a local one be used")?;
        tracing::info!(file = local.file(), "no API key is configured: the local one in this file is wanted");
        keyring.set_local(local);
    }
    let keyring = Arc::new(keyring);
    let loopback_only = config.node_token.is_none();
    let node_token = local::node_token(config.node_token.as_ref(), config.state_dir.as_ref());
    let (node_token, source) = node_token.context("nodes cannot be told from others")?;
    if loopback_only {
        tracing::info!("VOICEBRIDGE_NODE_TOKEN is not set: media nodes must be of this machine and user");
    }
    let clients = Clients::new(Some(&node_token)).context("VOICEBRIDGE_NODE_TOKEN cannot be used")?;
    let guard = Guard::new(Arc::clone(&keyring), auth::Guard::new(&source, [node_token]));
    let limits = config.limits;
    let lifetime = Lifetime::default();
    let registry = Arc::new(Registry::new(limits.beat, limits.node_lost()));
    let clients = Arc::new(clients);
    let hub = Arc::new(Hub::new(last_position, limits.subscribers));
    let ports = RealPorts {
        lease: owner.lease(),
        graph,
        callback,
        registry: Arc::clone(&registry),
        clients: Arc::clone(&clients),
        placement: config.placement,
        limits,
    };
    let calls = Calls::new(Arc::clone(&store), Arc::clone(&hub), ports, lifetime.clone());
    let (arrivals, arrived) = mpsc::channel(ARRIVALS);
    let node_service =
        Nodes::new(Arc::clone(&registry), loopback_only, config.node_addresses, arrivals, lifetime.detachment());
    let webhook = Webhook::new(config.whatsapp, limits.max_body_bytes, calls.clone(), lifetime.clone());
    let events = Source {
        hub: Arc::clone(&hub),
        store: Arc::clone(&store),
        detach: lifetime.detachment(),
        keepalive: limits.keepalive,
    };
    let api = Api {
        store: Arc::clone(&store),
        lease: owner.lease(),
        clients: Arc::clone(&clients),
        calls: calls.clone(),
        webhook,
        events,
        cursors: Cursors::new(&cursor_key),
        pages: PageTokens::new(&page_key),
        streams: Shares::new(limits.subscribers_per_key),
        limits,
    };
    let fleet = Fleet::new(Arc::clone(&registry), Arc::clone(&clients), limits.node_timeout);
    let keys = Keys::new(database.keys(), Arc::clone(&keyring), calls.clone());
    let health = Health { calls: calls.clone(), nodes: Arc::clone(&registry), lifetime: lifetime.clone() };
    let router = api::router(api, node_service, fleet, keys, health, guard, config.cors_origins);
    let (app, health) = router.await?;

    let known = calls.recover().await.context("the calls of before could not be read")?;
    if known > 0 {
        tracing::info!(calls = known, "calls of before are known again");
    }
    warm.await.context("the numbering plans could not be loaded")?;
    let sweeper = tokio::spawn(nodes::sweep(registry, clients, limits.beat, limits.node_probe));
    let tail = tokio::spawn(events::tail(hub, Arc::clone(&store)));
    let key_keeper = tokio::spawn(Arc::clone(&keyring).keep());
    let pruner = tokio::spawn(retention::prune(store, limits));
    let reconciler = tokio::spawn(calls.clone().reconcile(arrived));
    let address = listener.local_addr()?;
    tracing::info!(%address, "control plane serves");

    let close = CancellationToken::new();
    let closing = close.clone();
    let bounds = limits.listener;
    let incoming = Incoming::new(listener, "control", bounds);
    let server = listener::server(&bounds, MAX_CONNECTION_STREAMS)
        .add_routes(Routes::from(app))
        .serve_with_incoming_shutdown(incoming, async move { closing.cancelled().await });
    let mut server = tokio::spawn(server);

    let lost = owner.lease();
    tokio::select! {
        ended = &mut server => ended.context("the server's task panicked")?.context("the listener failed")?,
        () = lost.lost() => {
            lifetime.drain();
            lifetime.detach();
            server.abort();
            anyhow::bail!("another process has taken the database's calls over");
        }
        () = shutdown => {
            tracing::info!(calls = calls.count(), "shutting down: webhooks are answered 503, set-ups are finished");
            lifetime.drain();
            // The empty name is the whole server's.
            health.set_service_status("", ServingStatus::NotServing).await;
            tokio::select! {
                () = calls.drain() => {}
                () = lost.lost() => tracing::error!("another process has taken the database's calls over: nothing is waited for"),
            }
            close.cancel();
            if tokio::time::timeout(limits.close, &mut server).await.is_err() {
                tracing::warn!("some connections did not close in time");
                server.abort();
            }
        }
    }
    sweeper.abort();
    reconciler.abort();
    pruner.abort();
    tail.abort();
    key_keeper.abort();
    if let Err(error) = keyring.note_use().await {
        tracing::warn!(error = &error as &dyn std::error::Error, "the last uses of API keys were not stored");
    }
    Ok(())
}
