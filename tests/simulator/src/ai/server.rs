//! The listener, and what a test can see and do while sessions run.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    net::TcpListener,
    sync::{Semaphore, mpsc, watch},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    connection,
    record::SessionRecord,
    settings::{AiSettings, Disruption},
};
use crate::speech::fixture;

/// Disruptions a session has not looked at yet; a test that sends more waits.
const DISRUPTION_QUEUE: usize = 8;
/// Recognitions at the same time: they take a core each, and others need the machine too.
const RECOGNITIONS: usize = 2;

/// A running server. Dropping it ends every session without a close frame.
#[derive(Debug)]
pub struct RealtimeServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    _running: DropGuard,
}

/// What connections and the test share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) settings: Arc<AiSettings>,
    pub(super) recognitions: Arc<Semaphore>,
    sessions: Mutex<Sessions>,
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Sessions {
    records: Vec<SessionRecord>,
    controls: Vec<mpsc::Sender<Disruption>>,
}

impl RealtimeServer {
    /// Listens on a free loopback port.
    ///
    /// # Errors
    /// When the port cannot be opened, or the settings name a fixture that does not exist or a speed or chunk size that
    /// cannot be kept ([`io::ErrorKind::InvalidInput`]).
    pub async fn start(settings: AiSettings) -> io::Result<Self> {
        check(&settings).map_err(|message| io::Error::new(io::ErrorKind::InvalidInput, message))?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            settings: Arc::new(settings),
            recognitions: Arc::new(Semaphore::new(RECOGNITIONS)),
            sessions: Mutex::default(),
            changed: watch::Sender::new(()),
        });
        let stop = CancellationToken::new();
        tokio::spawn(accept(listener, Arc::clone(&shared), stop.clone()));
        Ok(Self { address, shared, _running: stop.drop_guard() })
    }

    /// `ws://127.0.0.1:<port>/v1/realtime`; the client adds the model.
    #[must_use]
    pub fn url(&self) -> String {
        format!("ws://{}/v1/realtime", self.address)
    }

    /// Everything recorded so far, one entry per connection in order. Copies all audio while sessions wait: while calls
    /// run, [`Self::inspect`] disturbs less.
    #[must_use]
    pub fn sessions(&self) -> Vec<SessionRecord> {
        self.shared.lock().records.clone()
    }

    /// Looks at the records without copying their audio.
    pub fn inspect<T>(&self, look: impl FnOnce(&[SessionRecord]) -> T) -> T {
        look(&self.shared.lock().records)
    }

    /// Waits until the records satisfy `condition`. `false` when they did not within `timeout`.
    pub async fn until(&self, timeout: Duration, condition: impl Fn(&[SessionRecord]) -> bool) -> bool {
        let mut changed = self.shared.changed.subscribe();
        let satisfied = async {
            while !self.inspect(&condition) {
                changed.changed().await.expect("the sender lives as long as this server");
            }
        };
        tokio::time::timeout(timeout, satisfied).await.is_ok()
    }

    /// Disturbs a session by its index. `false` when it is over or never was.
    pub async fn disrupt(&self, session: usize, disruption: Disruption) -> bool {
        let control = self.shared.lock().controls.get(session).cloned();
        match control {
            Some(control) => control.send(disruption).await.is_ok(),
            None => false,
        }
    }
}

impl Shared {
    /// A new record, and where its disruptions come in.
    pub(super) fn open(&self, mut record: SessionRecord) -> (usize, mpsc::Receiver<Disruption>) {
        let (control, disruptions) = mpsc::channel(DISRUPTION_QUEUE);
        let mut sessions = self.lock();
        let index = sessions.records.len();
        record.index = index;
        sessions.records.push(record);
        sessions.controls.push(control);
        drop(sessions);
        self.changed.send_replace(());
        (index, disruptions)
    }

    /// Changes a record and tells who waits.
    pub(super) fn with_record<T>(&self, index: usize, change: impl FnOnce(&mut SessionRecord) -> T) -> T {
        let result = change(&mut self.lock().records[index]);
        self.changed.send_replace(());
        result
    }

    fn lock(&self) -> MutexGuard<'_, Sessions> {
        // A panic in one session leaves its record as it was; the others go on.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn check(settings: &AiSettings) -> Result<(), String> {
    if let Some(name) = settings.replies.names().find(|name| fixture(name).is_none()) {
        return Err(format!("replies name {name}, which is no fixture"));
    }
    if settings.replies.rotation.is_empty() {
        return Err("replies.rotation must name a fixture at least".to_owned());
    }
    if settings.chunk_samples.is_empty() || settings.chunk_samples.contains(&0) {
        return Err("chunk_samples must have sizes above 0".to_owned());
    }
    if !(settings.speed >= 0.1 && settings.speed.is_finite()) {
        return Err("speed must be 0.1 at least".to_owned());
    }
    Ok(())
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let (shared, stop) = (Arc::clone(&shared), stop.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = connection::run(stream, shared) => {}
                    }
                });
            }
            // Out of file descriptors, mostly; the next one may work once another connection is gone.
            Err(error) => {
                tracing::warn!(%error, "realtime server could not accept a connection");
                tokio::task::yield_now().await;
            }
        }
    }
}
