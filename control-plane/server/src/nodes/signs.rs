//! Signs of life of a node, noted where they come in: at the channel. The head of an answer that is no error, and every
//! message of a stream, came from the node itself; errors may be another's, a proxy's for example.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use http::{Request, Response, StatusCode};
use http_body::{Frame, SizeHint};
use tonic::{body::Body, codegen::Bytes, transport::Channel};
use tower::Service;

/// Present in the head of an answer only when it is an error.
const GRPC_STATUS: &str = "grpc-status";

/// When something came in last. Written for every event, read a few times a second.
#[derive(Debug)]
pub(super) struct Signs {
    origin: Instant,
    /// Microseconds since the origin, and one; 0: nothing since it was last taken.
    last: AtomicU64,
}

impl Signs {
    pub(super) fn new() -> Self {
        Self { origin: Instant::now(), last: AtomicU64::new(0) }
    }

    fn note(&self) {
        let micros = self.origin.elapsed().as_micros() as u64;
        self.last.store(micros.saturating_add(1), Ordering::Relaxed);
    }

    /// The last one, if there was one since this was last asked.
    pub(super) fn take(&self) -> Option<Instant> {
        let micros = self.last.swap(0, Ordering::Relaxed).checked_sub(1)?;
        Some(self.origin + Duration::from_micros(micros))
    }
}

/// A channel that notes them.
#[derive(Clone, Debug)]
pub struct HeardChannel {
    channel: Channel,
    signs: Arc<Signs>,
}

impl HeardChannel {
    pub(super) const fn new(channel: Channel, signs: Arc<Signs>) -> Self {
        Self { channel, signs }
    }
}

impl Service<Request<Body>> for HeardChannel {
    type Response = Response<Body>;
    type Error = tonic::transport::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.channel.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (answer, signs) = (self.channel.call(request), Arc::clone(&self.signs));
        Box::pin(async move {
            let response = answer.await?;
            if response.status() != StatusCode::OK || response.headers().contains_key(GRPC_STATUS) {
                return Ok(response);
            }
            signs.note();
            Ok(response.map(|body| Body::new(HeardBody { body, signs })))
        })
    }
}

/// The messages of an answer.
struct HeardBody {
    body: Body,
    signs: Arc<Signs>,
}

impl http_body::Body for HeardBody {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && frame.is_data()
        {
            self.signs.note();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
