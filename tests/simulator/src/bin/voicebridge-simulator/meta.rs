//! `voicebridge-simulator meta`: the Graph API, and calls once the webhook answers.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use voicebridge_simulator::{
    meta::{CallRecord, Meta, MetaSettings, Moment},
    speech::write_wav,
};

use crate::plot::Plot;

/// Between two tries of the verification request.
const VERIFY_EVERY: Duration = Duration::from_millis(500);
/// A longer pause between packets is heard.
const PLAYOUT_GAP: Duration = Duration::from_millis(40);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where the Graph API listens.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:3300")]
    graph_listen: SocketAddr,
    /// The webhook of the control plane.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:3100/webhooks/whatsapp")]
    webhook: String,
    /// The bearer token the Graph API wants.
    #[arg(long, env = "WHATSAPP_ACCESS_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    access_token: Option<String>,
    /// Signs the webhooks.
    #[arg(long, env = "WHATSAPP_APP_SECRET", hide_env_values = true, value_name = "SECRET")]
    app_secret: Option<String>,
    /// Sent with the verification request.
    #[arg(long, env = "WHATSAPP_VERIFY_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    verify_token: Option<String>,
    /// Graph id of the number that is called.
    #[arg(long, env = "WHATSAPP_PHONE_NUMBER_ID", value_name = "ID")]
    phone_number_id: Option<String>,
    /// How many people call, all at once; 0 only serves the Graph API until Ctrl-C.
    #[arg(long, value_name = "N", default_value_t = 1)]
    calls: usize,
    /// What the callers do.
    #[arg(long, value_enum, default_value_t = Plot::Talk)]
    plot: Plot,
    /// What they speak: de, en, es, hi or pt.
    #[arg(long, value_name = "LANGUAGE", default_value = "en")]
    language: String,
    /// Keep what each caller heard and said as WAV files in this folder.
    #[arg(long, value_name = "FOLDER")]
    save: Option<PathBuf>,
    /// Give up when the webhook does not answer the verification request within this many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    patience: u64,
}

impl Args {
    fn settings(&self) -> MetaSettings {
        let defaults = MetaSettings::default();
        let or = |given: &Option<String>, default: String| given.clone().unwrap_or(default);
        MetaSettings {
            listen: self.graph_listen,
            webhook_url: Some(self.webhook.clone()),
            access_token: or(&self.access_token, defaults.access_token.clone()),
            app_secret: or(&self.app_secret, defaults.app_secret.clone()),
            verify_token: or(&self.verify_token, defaults.verify_token.clone()),
            phone_number_id: or(&self.phone_number_id, defaults.phone_number_id.clone()),
            ..defaults
        }
    }

    /// The variables the control plane needs; values that came from the environment are there already.
    fn print_variables(&self, meta: &Meta) {
        let settings = meta.settings();
        println!("# for the control plane: Meta");
        println!("export WHATSAPP_GRAPH_URL={}", meta.graph_url());
        for (name, given, value) in [
            ("WHATSAPP_ACCESS_TOKEN", &self.access_token, &settings.access_token),
            ("WHATSAPP_APP_SECRET", &self.app_secret, &settings.app_secret),
            ("WHATSAPP_VERIFY_TOKEN", &self.verify_token, &settings.verify_token),
            ("WHATSAPP_PHONE_NUMBER_ID", &self.phone_number_id, &settings.phone_number_id),
        ] {
            if given.is_none() {
                println!("export {name}={value}");
            }
        }
    }
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    // Before anything starts: a language nobody speaks is a mistake of the command line.
    let callers =
        (0..args.calls).map(|index| args.plot.caller(index, &args.language)).collect::<Result<Vec<_>, _>>()?;
    let meta = Meta::start(args.settings()).await?;
    args.print_variables(&meta);
    if callers.is_empty() {
        return tokio::signal::ctrl_c().await.context("cannot wait for Ctrl-C");
    }
    verify(&meta, &args).await?;
    let mut handles = Vec::with_capacity(callers.len());
    for caller in callers {
        handles.push(meta.call(caller).await?);
    }
    let mut failed = 0;
    for (index, handle) in handles.into_iter().enumerate() {
        let record = handle.finish().await;
        let faults = args.plot.faults(&record);
        print(index, &record, &faults);
        failed += usize::from(!faults.is_empty());
        if let Some(folder) = &args.save {
            save(folder, index, &record)?;
        }
    }
    ensure!(failed == 0, "{failed} of {} calls were not as they should be", args.calls);
    Ok(())
}

/// Meta's verification request, again and again until the control plane is there.
async fn verify(meta: &Meta, args: &Args) -> anyhow::Result<()> {
    println!("# waiting for {}", args.webhook);
    let begun = Instant::now();
    loop {
        let problem = match meta.verify_webhook(None).await {
            Ok((answer, challenge)) if answer.status == 200 && answer.body == challenge => return Ok(()),
            // It is there and means it.
            Ok((answer, _)) => bail!("the webhook did not verify: status {}, body {:?}", answer.status, answer.body),
            Err(problem) => problem,
        };
        if begun.elapsed() >= Duration::from_secs(args.patience) {
            bail!("no webhook at {} after {} s: {problem}", args.webhook, args.patience);
        }
        tokio::time::sleep(VERIFY_EVERY).await;
    }
}

fn print(index: usize, record: &CallRecord, faults: &[String]) {
    println!("call {index} {}: ended by {:?}", record.call_id, record.ended_by);
    let start = record.timeline.at(Moment::ConnectSent);
    for (moment, at) in record.timeline.in_order() {
        if let Some(elapsed) = start.and_then(|start| at.checked_duration_since(start)) {
            println!("  {:>8.1} ms  {moment:?}", elapsed.as_secs_f64() * 1_000.0);
        }
    }
    let said: Vec<&str> = record.spoken.iter().map(|spoken| spoken.utterance.name()).collect();
    println!("  said {said:?}, heard {:.1} s of speech", record.speech_heard.as_secs_f64());
    println!(
        "  {} packets, {} gaps over {} ms, {} sender reports",
        record.packets.len(),
        record.gaps_over(PLAYOUT_GAP).len(),
        PLAYOUT_GAP.as_millis(),
        record.sender_reports
    );
    for exchange in record.graph.iter().filter(|exchange| exchange.result.is_err()) {
        println!("  refused {}: {:?}", exchange.action.name(), exchange.result);
    }
    for fault in faults {
        println!("  FAULT {fault}");
    }
}

fn save(folder: &Path, index: usize, record: &CallRecord) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for (what, pcm) in [("heard", &record.pcm_heard), ("said", &record.pcm_said())] {
        let path = folder.join(format!("call-{index}-{what}.wav"));
        write_wav(&path, pcm).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
