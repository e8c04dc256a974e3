//! Waits until all tools that one response called have an outcome: one reply then answers them all.

use std::{collections::VecDeque, time::Duration};

use voicebridge_audio::Time;

/// Responses whose calls are kept. At the bound the oldest is forgotten; an outcome of it is answered by itself.
const MAX_RESPONSES: usize = 16;
/// Calls of one response that are waited for. An outcome of any further one is answered by itself.
const MAX_CALLS: usize = 64;
/// From the first outcome that is to be answered until the others count as never coming.
const OUTCOMES_TIMEOUT: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct ToolCalls(VecDeque<ResponseCalls>);

/// The calls of one response.
#[derive(Debug)]
struct ResponseCalls {
    response_id: String,
    /// Those without an outcome.
    open: Vec<String>,
    /// No further ones will come.
    complete: bool,
    /// An outcome wants a reply, which waits until then at most.
    until: Option<Time>,
}

impl ResponseCalls {
    fn is_over(&self) -> bool {
        self.complete && self.open.is_empty()
    }
}

impl ToolCalls {
    /// A tool was called. `complete`: the response is over.
    pub(super) fn called(&mut self, response_id: &str, call_id: &str, complete: bool) {
        let position = self.0.iter().position(|calls| calls.response_id == response_id).unwrap_or_else(|| {
            if self.0.len() == MAX_RESPONSES {
                self.0.pop_front();
            }
            self.0.push_back(ResponseCalls {
                response_id: response_id.to_owned(),
                open: Vec::new(),
                complete,
                until: None,
            });
            self.0.len() - 1
        });
        let open = &mut self.0[position].open;
        if open.len() < MAX_CALLS {
            open.push(call_id.to_owned());
        }
    }

    /// The outcome of a call is in the conversation. Whether a reply is to be asked for now.
    pub(super) fn outcome(&mut self, now: Time, call_id: &str, reply: bool) -> bool {
        let Some(position) = self.0.iter().position(|calls| calls.open.iter().any(|call| call == call_id)) else {
            return reply;
        };
        let calls = &mut self.0[position];
        calls.open.retain(|call| call != call_id);
        if reply {
            calls.until.get_or_insert(now + OUTCOMES_TIMEOUT);
        }
        self.close(position)
    }

    /// The response is over. Whether a reply is to be asked for now.
    pub(super) fn response_over(&mut self, response_id: &str) -> bool {
        let Some(position) = self.0.iter().position(|calls| calls.response_id == response_id) else { return false };
        self.0[position].complete = true;
        self.close(position)
    }

    fn close(&mut self, position: usize) -> bool {
        let over = self.0[position].is_over();
        over && self.0.remove(position).is_some_and(|calls| calls.until.is_some())
    }

    /// Gives up outcomes that do not come. Whether a reply is to be asked for now.
    pub(super) fn expire(&mut self, now: Time) -> bool {
        let before = self.0.len();
        self.0.retain(|calls| calls.until.is_none_or(|until| now < until));
        self.0.len() < before
    }

    /// When to call [`Self::expire`].
    pub(super) fn deadline(&self) -> Option<Time> {
        self.0.iter().filter_map(|calls| calls.until).min()
    }
}
