//! One thread for all of Meta: Graph API, webhooks and callers on a current-thread runtime of their own.
//!
//! Callers are paced by the millisecond and share the machine with what they test; on their own thread they neither wait
//! for the test's runtime nor make it wait.

use std::{future::Future, io, thread};

use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
    task::JoinHandle,
};

/// The thread; it stops, with everything on it, when this is dropped.
#[derive(Debug)]
pub(crate) struct RelayThread {
    handle: Handle,
    /// Dropping it ends the thread's main future.
    _alive: oneshot::Sender<()>,
}

impl RelayThread {
    pub(crate) fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (alive, dropped) = oneshot::channel::<()>();
        thread::Builder::new().name("meta".to_owned()).spawn(move || {
            // An error is the signal: the sender never sends.
            runtime.block_on(async { drop(dropped.await) });
        })?;
        Ok(Self { handle, _alive: alive })
    }

    pub(crate) fn spawn<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        self.handle.spawn(future)
    }

    /// Runs `future` on the thread and waits for it.
    pub(crate) async fn run<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> T {
        self.spawn(future).await.expect("a task of the simulator does not panic")
    }
}
