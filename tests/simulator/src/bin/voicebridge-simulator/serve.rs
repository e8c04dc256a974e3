//! `voicebridge-simulator serve`: both simulators, told what to do by another program.
//!
//! Orders come as JSON lines on standard input, answers go as JSON lines to standard output; the first line says where
//! the simulators are and which secrets they hold. Orders run side by side, so that one may wait for what another brings
//! about; an answer carries the number of its order. The end of the input ends the program: it never outlives who
//! started it. What an order may say is `order`'s matter, what an answer tells `report`'s.

mod order;
mod report;

use std::{
    collections::HashMap,
    io::Write as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context as _, anyhow};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use voicebridge_simulator::{
    ai::{AiSettings, Faults, RealtimeServer, Replies},
    meta::{CallHandle, Meta, MetaSettings},
};

use self::order::{Numbered, Order, moment, signing};

/// Orders not yet looked at; the one who gives them waits when there are more.
const ORDER_QUEUE: usize = 64;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The AI turns every session down with this HTTP status, 400 to 599.
    #[arg(long, value_name = "STATUS", value_parser = clap::value_parser!(u16).range(400..600))]
    refuse_ai: Option<u16>,
}

/// What orders act on.
struct Simulators {
    meta: Meta,
    ai: RealtimeServer,
    /// Calls that nobody has asked the end of.
    calls: Mutex<HashMap<String, Arc<CallHandle>>>,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let meta = Meta::start(MetaSettings::default()).await?;
    let faults = Faults { refuse_upgrade: args.refuse_ai, ..Faults::default() };
    let ai = RealtimeServer::start(AiSettings { replies: Replies::fitting(), faults, ..AiSettings::default() })
        .await
        .context("cannot start the simulated AI")?;
    let simulators = Arc::new(Simulators { meta, ai, calls: Mutex::default() });

    say(&simulators.introduction())?;
    let (orders, mut ordered) = mpsc::channel::<String>(ORDER_QUEUE);
    // Reading blocks; the thread ends with the input, or when nobody takes its lines any more.
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if orders.blocking_send(line).is_err() {
                return;
            }
        }
    });
    while let Some(line) = ordered.recv().await {
        if line.trim().is_empty() {
            continue;
        }
        let simulators = Arc::clone(&simulators);
        match serde_json::from_str::<Numbered>(&line) {
            Ok(Numbered { number, order }) => drop(tokio::spawn(async move {
                let answer = match simulators.carry_out(order).await {
                    Ok(answer) => json!({"number": number, "answer": answer}),
                    Err(error) => json!({"number": number, "error": format!("{error:#}")}),
                };
                // Who gave the order may have gone meanwhile.
                let _ = say(&answer);
            })),
            Err(error) => say(&json!({"error": format!("not an order: {error}")}))?,
        }
    }
    Ok(())
}

/// One answer, whole: orders answer at the same time.
fn say(answer: &Value) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{answer}").and_then(|()| out.flush()).context("nobody reads the answers")
}

impl Simulators {
    fn introduction(&self) -> Value {
        let settings = self.meta.settings();
        json!({
            "graphUrl": self.meta.graph_url(),
            "accessToken": settings.access_token,
            "appSecret": settings.app_secret,
            "verifyToken": settings.verify_token,
            "phoneNumberId": settings.phone_number_id,
            "aiUrl": self.ai.url(),
        })
    }

    fn calls(&self) -> MutexGuard<'_, HashMap<String, Arc<CallHandle>>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn call(&self, call_id: &str) -> anyhow::Result<Arc<CallHandle>> {
        self.calls().get(call_id).cloned().with_context(|| format!("no call {call_id}"))
    }

    /// Keeps a call for later orders, and tells its id and webhook.
    fn keep(&self, handle: CallHandle) -> Value {
        let answer = json!({"callId": handle.id(), "connect": handle.connect_webhook()});
        self.calls().insert(handle.id().to_owned(), Arc::new(handle));
        answer
    }

    async fn carry_out(&self, order: Order) -> anyhow::Result<Value> {
        match order {
            Order::Webhook { url } => {
                self.meta.set_webhook_url(url);
                Ok(Value::Null)
            }
            Order::Verify { token } => {
                let verified = self.meta.verify_webhook(token.as_deref()).await;
                let (answer, challenge) = verified.map_err(|problem| anyhow!(problem))?;
                Ok(json!({"status": answer.status, "body": answer.body, "challenge": challenge}))
            }
            Order::Call { caller } => Ok(self.keep(self.meta.call(caller.settings()?).await?)),
            Order::Batch { callers } => {
                let callers = callers.into_iter().map(order::Caller::settings).collect::<Result<Vec<_>, _>>()?;
                let handles = self.meta.call_batch(callers).await?;
                Ok(handles.into_iter().map(|handle| self.keep(handle)).collect())
            }
            Order::Reached { call_id, moment: name } => {
                let reached = self.call(&call_id)?.reached(moment(&name)?).await;
                Ok(json!(reached.is_some()))
            }
            Order::HangUp { call_id } => {
                self.call(&call_id)?.hang_up().await;
                Ok(Value::Null)
            }
            Order::Finish { call_id } => {
                let handle = self.calls().remove(&call_id).with_context(|| format!("no call {call_id}"))?;
                let handle = Arc::into_inner(handle).context("another order still waits for a moment of this call")?;
                let record = handle.finish().await;
                // Recognition takes a core for a while.
                tokio::task::spawn_blocking(move || report::call(&record)).await.context("the judgement failed")
            }
            Order::Deliver { values, signing: sign } => {
                Ok(report::webhook(&self.meta.deliver(values, signing(sign)).await))
            }
            Order::DeliverRaw { body, signing: sign } => {
                Ok(report::webhook(&self.meta.deliver_raw(body.into_bytes(), signing(sign)).await))
            }
            Order::Webhooks => Ok(self.meta.webhooks().iter().map(report::webhook).collect()),
            Order::Sessions => Ok(self.ai.inspect(|sessions| sessions.iter().map(report::session).collect())),
        }
    }
}
