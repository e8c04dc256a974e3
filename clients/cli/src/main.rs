//! `voicebridge`: what people run. Parses, hands over to one module per command, and turns a failure into a sentence and
//! an exit code. The commands talk to the control plane through its contract only; `serve` runs both planes itself,
//! and `migrate` and `store` work on a database while no control plane does.

mod args;
mod calls;
mod client;
mod command;
mod demo;
mod describe;
mod explain;
mod failure;
mod follow;
mod keys;
mod label;
mod migrate;
mod nodes;
mod press;
mod print;
mod serve;
mod sound;
mod status;
mod store;
mod timeline;
mod watch;

use std::process::ExitCode;

use clap::Parser as _;

use crate::args::{Args, Command};

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let outcome = match args.command {
        Command::Demo(demo) => demo::run(demo).await,
        Command::Serve(serve) => serve::run(serve).await,
        Command::Calls(calls) => calls::run(calls).await,
        Command::Explain(explain) => explain::run(explain).await,
        Command::Label(label) => label::run(label).await,
        Command::Press(press) => press::run(press).await,
        Command::Watch(watch) => watch::run(watch).await,
        Command::Keys(keys) => keys::run(keys).await,
        Command::Nodes(nodes) => nodes::run(nodes).await,
        Command::Status(status) => status::run(status).await,
        Command::Migrate(migrate) => migrate::run(migrate).await,
        Command::Store(store) => store::run(store).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        // `voicebridge calls | head` is no failure.
        Err(error) if failure::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            failure::report(&error);
            ExitCode::FAILURE
        }
    }
}
