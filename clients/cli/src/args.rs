//! The command line. Help is written for somebody who has never seen voicebridge.

use clap::{Parser, Subcommand};
use secrecy::SecretString;

/// Answers WhatsApp Business calls and lets the caller talk with a realtime AI.
#[derive(Debug, Parser)]
#[command(
    name = "voicebridge",
    version,
    arg_required_else_help = true,
    after_help = "First steps:\n  voicebridge demo     see and hear it work, without any account\n  voicebridge serve    run it on this machine\n  voicebridge calls    what has been going on\n\nEvery command has its own help: voicebridge demo --help"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Calls(Calls),
    Watch(Watch),
}

/// Where the control plane is, and as whom to speak to it.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Access {
    /// Address of the control plane.
    #[arg(long, env = "VOICEBRIDGE_URL", default_value = "http://127.0.0.1:3100", value_name = "URL")]
    pub(crate) url: String,
    /// One of the control plane's VOICEBRIDGE_API_KEYS; not needed on the same machine when it has none. Better set as
    /// a variable: arguments are visible to everyone on the machine.
    #[arg(long, env = "VOICEBRIDGE_API_KEY", hide_env_values = true, value_name = "KEY")]
    pub(crate) api_key: Option<SecretString>,
}

/// List calls, or show one: timeline, transcripts, how it ended.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  voicebridge calls                     the latest calls\n  voicebridge calls --live              only those going on\n  voicebridge calls wacid.HBgN...       one call from webhook to end\n  voicebridge calls --json | jq .       for programs"
)]
pub(crate) struct Calls {
    /// Show this call; the id as Meta gave it.
    #[arg(value_name = "CALL")]
    pub(crate) call: Option<String>,
    /// Only calls that have not ended.
    #[arg(long, conflicts_with = "call")]
    pub(crate) live: bool,
    /// At most this many calls, newest first.
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) limit: u32,
    /// Print JSON: one object per call and line; a single object for one call.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) access: Access,
}

/// Follow what happens on calls, live.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  voicebridge watch                     all calls, as they come\n  voicebridge watch wacid.HBgN...       one call, from its first event to its end\n  voicebridge watch --json | jq .       one event per line, for programs\n\nA broken connection is taken up again where it broke; nothing is missed or shown twice."
)]
pub(crate) struct Watch {
    /// Follow this call only, from its first event; ends with the call.
    #[arg(value_name = "CALL")]
    pub(crate) call: Option<String>,
    /// Print one JSON object per event and line.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) access: Access,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definitions_are_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn help_shows_no_secret() {
        let mut command = Args::command();
        command.build();
        for sub in command.get_subcommands() {
            for arg in sub.get_arguments().filter(|arg| arg.get_env().is_some()) {
                let name = arg.get_env().and_then(|name| name.to_str()).unwrap_or_default();
                let secret = ["KEY", "TOKEN", "SECRET"].iter().any(|word| name.contains(word));
                assert!(!secret || arg.is_hide_env_values_set(), "--help would print the value of {name}");
            }
        }
    }
}
