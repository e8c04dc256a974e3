//! The command line. Help is written for somebody who has never seen voicebridge.

mod search;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Parser, Subcommand};
use secrecy::SecretString;
use voicebridge_telemetry::local::STATE_DIR;

pub(crate) use search::Search;

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
    Demo(Demo),
    Serve(Serve),
    Calls(Calls),
    Explain(Explain),
    Label(Label),
    Press(Press),
    Watch(Watch),
    Keys(Keys),
    Nodes(Nodes),
    Status(Status),
    Migrate(Migrate),
    Store(Store),
}

/// Where the control plane is, and as whom to speak to it.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Access {
    /// Address of the control plane.
    #[arg(long, env = "VOICEBRIDGE_URL", default_value = "http://127.0.0.1:3100", value_name = "URL", global = true)]
    pub(crate) url: String,
    /// One of the control plane's keys [default: the local one, for a control plane of this machine and user that has no
    /// other]. Better set as a variable: arguments are visible to everyone on the machine.
    #[arg(long, env = "VOICEBRIDGE_API_KEY", hide_env_values = true, value_name = "KEY", global = true)]
    pub(crate) api_key: Option<SecretString>,
    /// Where the local key is [default: voicebridge in XDG_STATE_HOME or in ~/.local/state].
    #[arg(long, env = STATE_DIR, value_name = "DIR", global = true)]
    pub(crate) state_dir: Option<PathBuf>,
}

/// Make calls through the real programs with both ends simulated, and prove that both sides heard each other.
///
/// Starts the control plane and two media nodes as processes of their own, a simulated Meta and a simulated AI, lets
/// people call, and shows each call: timeline, what was said, what was proven. Recordings to listen to are left behind.
/// Needs no account; nothing leaves this machine.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  voicebridge demo                      three calls: talk, a barge-in, the AI hanging up\n  voicebridge demo --calls 20           twenty at once\n  voicebridge demo --out recordings     keep recordings and logs there\n\nExits with 1 if anything was not as it should be, and says what."
)]
pub(crate) struct Demo {
    /// How many people call, at once.
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = parse_calls)]
    pub(crate) calls: usize,
    /// Folder for recordings and logs [default: a new one among the temporary files].
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Print one JSON object with everything that was seen.
    #[arg(long)]
    pub(crate) json: bool,
}

/// The simulated callers run in one process; more of them than this measure that process and not ours.
const MAX_DEMO_CALLS: usize = 200;

fn parse_calls(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(calls) if (1..=MAX_DEMO_CALLS).contains(&calls) => Ok(calls),
        _ => Err(format!("must be a number from 1 to {MAX_DEMO_CALLS}")),
    }
}

/// Run control plane and media node in one process: the way to answer calls from one machine.
///
/// Everything the two programs voicebridge-control and voicebridge-media take from variables works here too; `.env.example`
/// lists them. Unlike them, `serve` listens on this machine only unless told otherwise. The first SIGTERM or Ctrl-C takes
/// no more calls and lets the live ones finish; the second ends them.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  voicebridge serve                              embedded AI, no account needed\n  OPENAI_API_KEY=... voicebridge serve           talk with OpenAI Realtime\n  voicebridge serve --agent agent.yaml           with an agent of your own\n  voicebridge serve --listen 127.0.0.1:8080      on another port"
)]
pub(crate) struct Serve {
    /// HTTP, gRPC and gRPC-web of the control plane [default: VOICEBRIDGE_LISTEN, else 127.0.0.1:3100; PORT sets the port].
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<SocketAddr>,
    /// gRPC of the media node [default: VOICEBRIDGE_MEDIA_LISTEN, else 127.0.0.1:3200].
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) media_listen: Option<SocketAddr>,
    /// Agent file: who the AI is and how it behaves [default: VOICEBRIDGE_AGENT, else the built-in agent].
    #[arg(long, value_name = "FILE")]
    pub(crate) agent: Option<PathBuf>,
    /// `openai` or `embedded` [default: VOICEBRIDGE_PROVIDER, else openai when OPENAI_API_KEY is set].
    #[arg(long, value_name = "NAME")]
    pub(crate) provider: Option<String>,
    /// Address announced to callers [default: VOICEBRIDGE_PUBLIC_IP, else that of the default route].
    #[arg(long, value_name = "IP")]
    pub(crate) public_ip: Option<String>,
    /// Where calls are kept [default: DATABASE_URL, else sqlite://voicebridge.db].
    #[arg(long, value_name = "URL")]
    pub(crate) database: Option<String>,
}

/// Which control plane answers: its version and that of the contract it speaks, beside those of this program.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  voicebridge status\n  voicebridge status --url https://voice.example.com --json")]
pub(crate) struct Status {
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) access: Access,
}

/// Bring the database's schema up to date, creating what is missing.
///
/// The control plane does so itself when it starts. This is for doing it before, e.g. as a user of the database who may
/// change the schema while the control plane's may not.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  voicebridge migrate                                   the database of DATABASE_URL\n  voicebridge migrate --database postgres://db/calls     another one"
)]
pub(crate) struct Migrate {
    /// Better set as a variable: arguments are visible to everyone on the machine.
    #[arg(
        long,
        env = "DATABASE_URL",
        hide_env_values = true,
        default_value = "sqlite://voicebridge.db",
        value_name = "URL"
    )]
    pub(crate) database: SecretString,
}

/// Work on whole databases.
#[derive(Debug, clap::Args)]
pub(crate) struct Store {
    #[command(subcommand)]
    pub(crate) command: StoreCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    Copy(CopyStore),
}

/// Copy a SQLite database to an empty PostgreSQL: calls, events, keys.
///
/// No control plane may work with either. Everything is copied or nothing: after an interruption, do it again. Cursors, keys
/// and tokens stay valid. The source is left as it is.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  voicebridge store copy sqlite://voicebridge.db \\\n      'postgres://user:password@db/calls?sslmode=verify-full&sslrootcert=ca.pem'"
)]
pub(crate) struct CopyStore {
    /// sqlite://file
    #[arg(value_name = "FROM")]
    pub(crate) from: String,
    /// postgres://user:password@host/database [default: DATABASE_URL, for an argument is visible to everyone on the machine].
    #[arg(env = "DATABASE_URL", hide_env_values = true, value_name = "TO")]
    pub(crate) to: SecretString,
}

/// List calls, or show one: timeline, transcripts, how it ended.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  voicebridge calls                     the latest calls\n  voicebridge calls --live              only those going on\n  voicebridge calls --from 24h --result failed --number 106540352242922\n                                        what broke since yesterday on one number\n  voicebridge calls 01978f3c-...        one call from webhook to end\n  voicebridge calls --json | jq .       for programs"
)]
pub(crate) struct Calls {
    /// Show this call; by its id.
    #[arg(value_name = "CALL")]
    pub(crate) call: Option<String>,
    #[command(flatten)]
    pub(crate) search: Search,
    /// At most this many calls.
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) limit: u32,
    /// Print JSON: one object per call and line; a single object with `call` and `transcripts` for one call.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) access: Access,
}

/// Tell one ended call in words: what happened, how it sounded every five seconds, what spoilt it, why it ended.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  voicebridge explain 01978f3c-...            the story of a call\n  voicebridge explain 01978f3c-... --json     the call and all its events, for programs\n\nScores are estimates by the E-model (ITU-T G.107.1), 1 to 4.5."
)]
pub(crate) struct Explain {
    /// The call's id; Meta's will do as well.
    #[arg(value_name = "CALL")]
    pub(crate) call: String,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) access: Access,
}

/// Note something on a call, live or ended: labels, by which lists can be searched.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  voicebridge label 01978f3c-... campaign=spring     set one, whether it is there or not\n  voicebridge label 01978f3c-... --remove campaign   remove one\n  voicebridge calls --label campaign=spring          the calls that have it\n\nNames have 1 to 63 of a to z, 0 to 9, _, - and .; values at most 256 bytes; a call has at most 16."
)]
pub(crate) struct Label {
    /// The call's id; Meta's will do as well.
    #[arg(value_name = "CALL")]
    pub(crate) call: String,
    /// To be set.
    #[arg(value_name = "NAME=VALUE", value_parser = parse_label, required_unless_present = "remove")]
    pub(crate) set: Vec<(String, String)>,
    /// To be removed.
    #[arg(long, value_name = "NAME")]
    pub(crate) remove: Vec<String>,
    #[command(flatten)]
    pub(crate) access: Access,
}

/// A name and a value.
fn parse_label(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=').filter(|(name, _)| !name.is_empty());
    parts.map(|(name, value)| (name.to_owned(), value.to_owned())).ok_or_else(|| "must be NAME=VALUE".to_owned())
}

/// Press keys on a live call, as the business: the caller's side gets them as telephone-events (RFC 4733).
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  voicebridge press 01978f3c-... 1        one key\n  voicebridge press 01978f3c-... '159#'   several; # and * want quotes in most shells\n  voicebridge press 01978f3c-... 1 --command-id menu-1   pressed once, however often this is run\n\nA key takes 200 ms, in place of what the AI is saying meanwhile. Whether the keys were sent, and which the caller\npresses, is among the call's events: voicebridge watch."
)]
pub(crate) struct Press {
    /// The call's id; Meta's will do as well.
    #[arg(value_name = "CALL")]
    pub(crate) call: String,
    /// 1 to 64 of 0 to 9, *, #, A to D.
    #[arg(value_name = "KEYS", value_parser = parse_keypad)]
    pub(crate) keys: String,
    /// Names this command: sent again with it, the keys are not pressed again [default: a new one].
    #[arg(long, value_name = "ID", value_parser = parse_command_id)]
    pub(crate) command_id: Option<String>,
    #[command(flatten)]
    pub(crate) access: Access,
}

/// As many as a node lets wait at a time.
const MAX_KEYS: usize = 64;

fn parse_keypad(text: &str) -> Result<String, String> {
    let known = |key: char| matches!(key.to_ascii_uppercase(), '0'..='9' | '*' | '#' | 'A'..='D');
    if (1..=MAX_KEYS).contains(&text.chars().count()) && text.chars().all(known) {
        Ok(text.to_ascii_uppercase())
    } else {
        Err(format!("must be 1 to {MAX_KEYS} of 0 to 9, *, #, A to D"))
    }
}

/// Longest id of a command.
const MAX_COMMAND_ID: usize = 64;

fn parse_command_id(text: &str) -> Result<String, String> {
    let is_word = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    if is_word && (1..=MAX_COMMAND_ID).contains(&text.len()) {
        Ok(text.to_owned())
    } else {
        Err(format!("must be 1 to {MAX_COMMAND_ID} of A-Z, a-z, 0-9, - and _"))
    }
}

/// Follow what happens on calls, live.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  voicebridge watch                     all calls, from now on\n  voicebridge watch 01978f3c-...        one call, from its first event to its end\n  voicebridge watch --json | jq .       one event per line, for programs\n\nA broken connection is taken up again where it broke; nothing is missed or shown twice."
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

/// Make, list and revoke the API keys of the control plane; make read tokens.
///
/// Keys are kept as hashes: each is told once, when it is made. The first must have scope admin; it ends the local key, which
/// counts while there is no other. Those of VOICEBRIDGE_API_KEYS are not listed here.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  voicebridge keys create --scope admin                          the first key\n  voicebridge keys create --scope calls:read --lifetime 90d page one that reads, for a while\n  voicebridge keys list                                          which there are, and when each was used\n  voicebridge keys revoke 0123456789abcdef                       useless within a second\n  voicebridge keys token --call 01978f3c-... --lifetime 10m     may read one call, for a page or a link\n  voicebridge keys token --link                                  opens all events in a browser, for 5 minutes"
)]
pub(crate) struct Keys {
    #[command(subcommand)]
    pub(crate) command: KeysCommand,
    /// Print JSON: one object per line.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) access: Access,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Make a key and print it, this once.
    Create(CreateKey),
    /// All keys made here, oldest first.
    List,
    /// Make a key useless.
    Revoke {
        /// Its id, as the list shows it.
        #[arg(value_name = "ID")]
        key_id: String,
    },
    /// Make a token that may only read, for a while; needs a key with calls:read.
    Token(ReadToken),
}

#[derive(Debug, clap::Args)]
pub(crate) struct CreateKey {
    /// What it is for, at most 64 bytes.
    #[arg(default_value = "", value_name = "NAME")]
    pub(crate) name: String,
    /// What it may do; several times or separated by commas. admin implies the others.
    #[arg(long, required = true, value_delimiter = ',', value_name = "SCOPE")]
    pub(crate) scope: Vec<KeyScope>,
    /// How long it works, e.g. 90d, 12h, 30m [default: for ever].
    #[arg(long, value_name = "TIME", value_parser = parse_lifetime)]
    pub(crate) lifetime: Option<Duration>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ReadToken {
    /// The only call it may read [default: all].
    #[arg(long, value_name = "CALL")]
    pub(crate) call: Option<String>,
    /// How long it works, 1s to 1h [default: 5m].
    #[arg(long, value_name = "TIME", value_parser = parse_lifetime)]
    pub(crate) lifetime: Option<Duration>,
    /// Print a link with the token in it, which shows the events in a browser.
    #[arg(long)]
    pub(crate) link: bool,
}

/// What a key may do.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum KeyScope {
    /// Read calls, events, transcripts.
    #[value(name = "calls:read")]
    CallsRead,
    /// Start, advance, command and end calls.
    #[value(name = "calls:write")]
    CallsWrite,
    /// See and drain media nodes, read metrics.
    #[value(name = "nodes")]
    Nodes,
    /// Manage keys, and everything else.
    #[value(name = "admin")]
    Admin,
}

/// A whole number and its unit.
fn parse_lifetime(text: &str) -> Result<Duration, String> {
    let rule = || "must be a whole number and s, m, h or d, e.g. 90d".to_owned();
    let unit = text.chars().last().ok_or_else(rule)?;
    let seconds: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        'd' => 24 * 60 * 60,
        _ => return Err(rule()),
    };
    let number: u64 = text[..text.len() - unit.len_utf8()].parse().map_err(|_| rule())?;
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(rule)
}

/// List the media nodes, or have one take no more calls.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  voicebridge nodes                which there are, how full, how busy\n  voicebridge nodes drain node-1   no more calls there; those it has go on to their end"
)]
pub(crate) struct Nodes {
    #[command(subcommand)]
    pub(crate) command: Option<NodesCommand>,
    /// Print JSON: one object per line.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) access: Access,
}

#[derive(Debug, Subcommand)]
pub(crate) enum NodesCommand {
    /// Have a node take no more calls. There is no way back but a restart of the node.
    Drain {
        /// Its id, as the list shows it.
        #[arg(value_name = "ID")]
        node_id: String,
    },
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
    fn lifetimes() {
        for (text, expect) in [
            ("1s", Some(1)),
            ("30m", Some(1_800)),
            ("12h", Some(43_200)),
            ("90d", Some(7_776_000)),
            ("", None),
            ("d", None),
            ("90", None),
            ("-1d", None),
            ("1.5h", None),
            ("9\u{e9}", None),
            ("99999999999999999999d", None),
            ("9999999999999999999d", None),
        ] {
            assert_eq!(parse_lifetime(text).ok().map(|time| time.as_secs()), expect, "{text}");
        }
    }

    #[test]
    fn keys_are_checked_before_anybody_is_asked() {
        let keys = |text: &str| Args::try_parse_from(["voicebridge", "press", "wacid.1", text]).is_ok();
        assert!(keys("1") && keys("0123456789*#abcD") && keys(&"5".repeat(64)));
        assert!(!keys("") && !keys("1 2") && !keys("E") && !keys("１") && !keys(&"5".repeat(65)));
    }

    #[test]
    fn the_id_of_a_command_is_checked_before_anybody_is_asked() {
        let id = |text: &str| Args::try_parse_from(["voicebridge", "press", "x", "1", "--command-id", text]).is_ok();
        assert!(id("A-z_0") && id(&"x".repeat(64)));
        assert!(!id("") && !id("a b") && !id("h\u{e4}") && !id(&"x".repeat(65)));
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
