//! Meta's side of WhatsApp calls: a Graph API, signed webhooks, and callers behind an ICE-lite relay.
//!
//! ```text
//!                 ┌──────────────────────── Meta ────────────────────────┐
//!   business ◀────│ delivery ◀── webhook ◀─┐                             │
//!   (webhook)     │                        caller ── script, utterance   │
//!   business ────▶│ graph ── faults ──────▶  │ └─── order, answer, offer │
//!   (Graph API)   │                          ▼                           │
//!   media    ◀═══▶│ relay ◀──────────────── peer ──▶ ear ──▶ record      │
//!                 └──────────────────────────────────────────────────────┘
//! ```
//!
//! As strict as the real one on tokens, order of actions and SDP; silent until spoken to; deaf to DTLS before it has the
//! answer; unforgiving after 20 s without media. Calls a user starts; of calls a business starts only the media (an offer is
//! answered, somebody picks up), neither Graph's `connect` nor webhooks. No SIP.

mod answer;
mod caller;
mod delivery;
mod ear;
mod faults;
mod graph;
mod graph_error;
mod handle;
mod ids;
mod network;
mod observe;
mod offer;
mod order;
mod peer;
mod record;
mod relay;
mod script;
mod settings;
mod stun;
mod thread;
mod utterance;
mod violations;
mod webhook;

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use rand::RngExt as _;
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use voicebridge_audio::opus::OpusError;

pub use self::{
    caller::Called,
    delivery::{Signing, Verification, WebhookPolicy, WebhookReport},
    faults::{Faults, GraphFault},
    graph::VERSION,
    graph_error::{GraphError, NO_MEDIA_RECEIVED, SDP_VALIDATION},
    handle::CallHandle,
    network::{Network, NetworkReport},
    observe::ReceivedPacket,
    order::Action,
    peer::{AnsweredRole, PeerError},
    record::{CallRecord, Continuity, EndedBy, Gap, GraphExchange, Moment, SentPacket, Spoken, Timeline},
    script::Step,
    settings::{CallerSettings, ConnectDelivery, Limits, MetaSettings},
    utterance::Utterance,
    webhook::signature,
};
use self::{
    caller::{COMMAND_QUEUE, Caller, Channels, Command},
    delivery::Delivery,
    thread::RelayThread,
    webhook::{Business, Parties},
};
pub use voicebridge_audio::{codec::Codec, g711::Law};

/// Calls one Meta remembers, so that late requests for them are told that they are over.
const MAX_CALLS: usize = 100_000;

/// Why Meta does not run.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No socket, or no thread.
    #[error("cannot start the Graph API on {address}")]
    Listen {
        /// Where it should listen.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// No HTTP client for webhooks.
    #[error("cannot set up the webhook client")]
    Client(#[from] reqwest::Error),
}

/// Why a call was not made.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The caller has no WebRTC connection.
    #[error("the caller has no connection")]
    Peer(#[from] PeerError),
    /// The caller has no codec.
    #[error("the caller has no codec")]
    Codec(#[from] OpusError),
    /// Meta refuses the business's offer.
    #[error("the offer is refused")]
    Refused(#[from] GraphError),
    /// This Meta has made too many calls.
    #[error("{MAX_CALLS} calls were made, the limit")]
    TooMany,
}

/// A running Meta. Clones are the same one; it stops when the last clone and the last call handle are dropped.
#[derive(Clone, Debug)]
pub struct Meta {
    inner: Arc<Inner>,
    thread: Arc<RelayThread>,
    address: SocketAddr,
}

#[derive(Debug)]
pub(crate) struct Inner {
    settings: MetaSettings,
    business: Business,
    delivery: Arc<Delivery>,
    calls: Mutex<BTreeMap<String, Entry>>,
    faults: Mutex<Faults>,
}

/// What the Graph API knows of a call.
#[derive(Debug)]
struct Entry {
    commands: mpsc::Sender<Command>,
    faults: Faults,
}

impl Meta {
    /// Starts the Graph API and the thread callers live on.
    ///
    /// # Errors
    ///
    /// If the address cannot be bound, the thread not started, or the HTTP client not set up.
    pub async fn start(settings: MetaSettings) -> Result<Self, StartError> {
        let address = settings.listen;
        let listen = |source| StartError::Listen { address, source };
        let thread = Arc::new(RelayThread::start().map_err(listen)?);
        let inner = Arc::new(Inner {
            business: Business {
                account_id: settings.account_id.clone(),
                phone_number_id: settings.phone_number_id.clone(),
                display_phone_number: settings.display_phone_number.clone(),
            },
            delivery: Arc::new(Delivery::new(
                settings.webhook_url.clone(),
                settings.app_secret.clone(),
                settings.webhooks,
            )?),
            calls: Mutex::default(),
            faults: Mutex::new(settings.faults.clone()),
            settings,
        });
        let listener = thread.run(tokio::net::TcpListener::bind(address)).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let router = graph::router(Arc::clone(&inner));
        thread.spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "the simulated graph api stopped");
            }
        });
        Ok(Self { inner, thread, address })
    }

    /// What to configure as the Graph API's URL, version included.
    #[must_use]
    pub fn graph_url(&self) -> String {
        format!("http://{}/{VERSION}", self.address)
    }

    /// The settings it runs with.
    #[must_use]
    pub fn settings(&self) -> &MetaSettings {
        &self.inner.settings
    }

    /// Sends webhooks here from now on.
    pub fn set_webhook_url(&self, url: impl Into<String>) {
        self.inner.delivery.set_url(url.into());
    }

    /// Replaces the Graph API's faults for all calls.
    pub fn set_faults(&self, faults: Faults) {
        *lock(&self.inner.faults) = faults;
    }

    /// Verifies the webhook URL as Meta does when it is configured, with `token` or the configured one.
    ///
    /// # Errors
    ///
    /// In words, if there was no HTTP answer.
    pub async fn verify_webhook(&self, token: Option<&str>) -> Result<(Verification, String), String> {
        let challenge = rand::rng().random_range(100_000_000..2_000_000_000_u32).to_string();
        let token = token.unwrap_or(&self.inner.settings.verify_token).to_owned();
        let delivery = Arc::clone(&self.inner.delivery);
        let sent = challenge.clone();
        let answer = self.thread.run(async move { delivery.verify(&token, &sent).await }).await?;
        Ok((answer, challenge))
    }

    /// Every attempt to deliver a webhook so far.
    #[must_use]
    pub fn webhooks(&self) -> Vec<WebhookReport> {
        self.inner.delivery.reports()
    }

    /// Delivers one body with these changes: a batch, a repetition, a forgery. The calls' time lines take note.
    pub async fn deliver(&self, values: Vec<Value>, signing: Signing) -> WebhookReport {
        let inner = Arc::clone(&self.inner);
        self.thread.run(async move { inner.deliver(values, signing).await }).await
    }

    /// Delivers `bytes` as they are, with a signature over them, once.
    pub async fn deliver_raw(&self, bytes: Vec<u8>, signing: Signing) -> WebhookReport {
        let delivery = Arc::clone(&self.inner.delivery);
        self.thread.run(async move { delivery.send_raw(bytes, signing).await }).await
    }

    /// Delivers an event about `call_id` that no receiver knows.
    pub async fn deliver_unknown_event(&self, call_id: &str, event: &str) -> WebhookReport {
        let parties = self.inner.parties(call_id.to_owned(), &CallerSettings::default());
        let value = webhook::unknown_event(&self.inner.business, &parties, event, unix_seconds());
        self.deliver(vec![value], Signing::Valid).await
    }

    /// A caller dials. Returns once the offer exists; the webhook is on its way.
    ///
    /// # Errors
    ///
    /// If the caller's WebRTC engine or codec cannot be set up.
    pub async fn call(&self, settings: CallerSettings) -> Result<CallHandle, CallError> {
        let delivery = settings.connect;
        let (mut handle, _offer) = self.dial(settings, None).await?;
        let connect = vec![handle.connect.clone()];
        let (copies, signing) = match delivery {
            ConnectDelivery::Withheld => (0, Signing::Valid),
            ConnectDelivery::Once | ConnectDelivery::Stale(_) => (1, Signing::Valid),
            ConnectDelivery::Copies(copies) => (copies, Signing::Valid),
            ConnectDelivery::Forged(signing) => (1, signing),
            ConnectDelivery::AfterTerminate => {
                handle.hang_up().await;
                let (mut progress, inner) = (handle.progress.clone(), Arc::clone(&self.inner));
                handle.deliveries.push(self.thread.spawn(async move {
                    // An error means that the call is over, its terminate webhook included.
                    drop(progress.wait_for(|timeline| timeline.at(Moment::TerminateAnswered).is_some()).await);
                    inner.deliver(connect, Signing::Valid).await
                }));
                return Ok(handle);
            }
        };
        for _ in 0..copies {
            let (inner, connect) = (Arc::clone(&self.inner), connect.clone());
            handle.deliveries.push(self.thread.spawn(async move { inner.deliver(connect, signing).await }));
        }
        Ok(handle)
    }

    /// Several callers dial at once, and their connect webhooks come in one body.
    ///
    /// # Errors
    ///
    /// Those of [`Meta::call`].
    pub async fn call_batch(&self, settings: Vec<CallerSettings>) -> Result<Vec<CallHandle>, CallError> {
        let mut handles = Vec::with_capacity(settings.len());
        for settings in settings {
            handles.push(self.dial(settings, None).await?.0);
        }
        let values = handles.iter().map(|handle| handle.connect.clone()).collect();
        let inner = Arc::clone(&self.inner);
        let delivery = self.thread.spawn(async move { inner.deliver(values, Signing::Valid).await });
        if let Some(first) = handles.first_mut() {
            first.deliveries.push(delivery);
        }
        Ok(handles)
    }

    /// The business calls somebody: it rings there, and their relay's answer comes back. Nothing is told by webhooks.
    ///
    /// # Errors
    ///
    /// If the offer is none Meta accepts, or the WebRTC engine or codec cannot be set up.
    pub async fn ring(&self, settings: CallerSettings, called: Called) -> Result<(CallHandle, String), CallError> {
        self.dial(settings, Some(called)).await
    }

    /// Sets a caller up, or somebody who is called, and starts its task, without a webhook. Gives its SDP as well.
    async fn dial(&self, settings: CallerSettings, called: Option<Called>) -> Result<(CallHandle, String), CallError> {
        let call_id = ids::call_id(settings.from.as_deref(), &rand::random());
        let parties = self.inner.parties(call_id.clone(), &settings);
        let (commands, received) = mpsc::channel(COMMAND_QUEUE);
        let (progress_in, progress) = watch::channel(Timeline::default());
        let channels = Channels { commands: received, progress: progress_in };
        let age = if let ConnectDelivery::Stale(age) = settings.connect { age.as_secs() } else { 0 };
        let faults = settings.faults.clone();
        let inner = Arc::clone(&self.inner);
        let caller = self.thread.run(async move {
            let (business, delivery) = (inner.business.clone(), Arc::clone(&inner.delivery));
            let limits = inner.settings.limits;
            Caller::new(parties, business, limits, settings, called, delivery, channels).await
        });
        let caller = caller.await?;
        let sdp = caller.sdp().to_owned();
        let connect = caller.connect(unix_seconds().saturating_sub(age));
        {
            let mut calls = lock(&self.inner.calls);
            if calls.len() >= MAX_CALLS {
                return Err(CallError::TooMany);
            }
            calls.insert(call_id.clone(), Entry { commands: commands.clone(), faults });
        }
        let call = self.thread.spawn(caller.run());
        let thread = Arc::clone(&self.thread);
        let handle = CallHandle { call_id, connect, commands, progress, call, deliveries: Vec::new(), _thread: thread };
        Ok((handle, sdp))
    }
}

impl Inner {
    /// The mailbox of a call, also of one that is over.
    fn caller(&self, call_id: &str) -> Option<mpsc::Sender<Command>> {
        lock(&self.calls).get(call_id).map(|entry| entry.commands.clone())
    }

    /// The fault that the next answer to `action` meets.
    fn fault(&self, call_id: &str, action: Action) -> Option<GraphFault> {
        let own = lock(&self.calls).get_mut(call_id).and_then(|entry| entry.faults.take(action));
        own.or_else(|| lock(&self.faults).take(action))
    }

    async fn deliver(&self, values: Vec<Value>, signing: Signing) -> WebhookReport {
        let connecting: Vec<mpsc::Sender<Command>> = values
            .iter()
            .filter_map(|value| value["calls"].as_array())
            .flatten()
            .filter(|call| call["event"] == "connect")
            .filter_map(|call| self.caller(call["id"].as_str()?))
            .collect();
        self.note(&connecting, Moment::ConnectSent, Instant::now()).await;
        let report = self.delivery.send(&webhook::envelope(&self.business, &values), signing).await;
        if report.accepted() {
            self.note(&connecting, Moment::ConnectAnswered, Instant::now()).await;
        }
        report
    }

    async fn note(&self, callers: &[mpsc::Sender<Command>], moment: Moment, at: Instant) {
        for caller in callers {
            if caller.send(Command::Webhook(moment, at)).await.is_err() {
                tracing::debug!(?moment, "the call is over already");
            }
        }
    }

    fn parties(&self, call_id: String, settings: &CallerSettings) -> Parties {
        let digits: u64 = rand::rng().random_range(10_000_000_000_000_000..99_999_999_999_999_999);
        Parties {
            call_id,
            from: settings.from.clone(),
            from_user_id: format!("{}.{digits}", settings.country),
            profile_name: settings.profile_name.clone(),
            to: self.settings.display_phone_number.clone(),
            deeplink_payload: settings.deeplink_payload.clone(),
            cta_payload: settings.cta_payload.clone(),
        }
    }
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
