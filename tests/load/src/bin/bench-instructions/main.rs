//! `make bench-instructions`: how many instructions a packet of a call costs, by whose code runs them, and how often it
//! allocates.
//!
//! Flow: `drive` makes one [`call`] in virtual time, whose AI is [`server`], and says how many packets went which way; under
//! callgrind nothing is counted but the node's own [`call::Node::measured`]. `table` reads what callgrind wrote
//! ([`profile`]), gives every function to somebody ([`owner`], [`shares`]) and prints.
//!
//! What is not measured: the media thread's loop, its sockets and the provider's socket. They are the system's, or wait.

mod call;
mod owner;
mod profile;
mod server;
mod shares;
mod table;
mod tally;

use clap::{Parser, Subcommand};
use std::path::PathBuf;

/// Counts the instructions and allocations of a packet.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Makes the call.
    Drive {
        /// Of the AI.
        #[arg(long, value_enum)]
        agent: Agent,
        /// Where packets and allocations are written; without it allocations are not counted.
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Prints what came of it.
    Table {
        /// Has `<agent>.json` and `<agent>.callgrind` for every agent.
        folder: PathBuf,
        /// Lists so many functions of ours.
        #[arg(long, default_value_t = 0)]
        functions: usize,
    },
}

/// How the caller interrupts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Agent {
    /// The built-in agent: by the provider's voice detection.
    Immediate,
    /// By ours, which then hears every packet.
    Reversible,
}

const AGENTS: [Agent; 2] = [Agent::Immediate, Agent::Reversible];

impl Agent {
    const fn name(self) -> &'static str {
        match self {
            Self::Immediate => "immediate",
            Self::Reversible => "reversible",
        }
    }
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Drive { agent, out } => {
            let outcome = call::run(agent, out.is_some())?;
            if let Some(out) = out {
                std::fs::write(out, serde_json::to_vec_pretty(&outcome)?)?;
            }
            Ok(())
        }
        Command::Table { folder, functions } => table::print(&folder, functions),
    }
}
