//! `voicebridge serve`: control plane and media node in one process, on this machine only unless told otherwise.
//!
//! The node stops first: the control plane stays up while live calls finish, because their hang-ups arrive there. What
//! this does not do: anything the two programs do not do by themselves.

use std::net::SocketAddr;

use anyhow::Context as _;
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
};
use voicebridge_proto::control::v1::{CreateReadTokenRequest, key_service_client::KeyServiceClient};
use voicebridge_server::access::Scope;
use voicebridge_telemetry::Settings;

use crate::{
    args::{Access, Serve},
    client::connection,
    keys::link,
    print::{DIM, TITLE, errln},
};

pub(crate) async fn run(args: Serve) -> anyhow::Result<()> {
    let (settings, (control, mut media)) =
        Settings::together(Settings::from_env("voicebridge"), both(control(&args), media(&args)))?;
    let _telemetry = voicebridge_telemetry::init(settings)?;
    let control_listener = listen(control.listen, "VOICEBRIDGE_LISTEN").await?;
    let media_listener = listen(media.listen, "VOICEBRIDGE_MEDIA_LISTEN").await?;
    let control_at = reachable(control_listener.local_addr()?);
    media.control_url = format!("http://{control_at}");
    welcome(control_at, &control, &media);
    let own = own_access(control_at, &control);

    // A sender dropped is the signal given.
    let (drain_media, media_drains) = oneshot::channel::<()>();
    let (force_media, media_is_forced) = oneshot::channel::<()>();
    let (stop_control, control_stops) = oneshot::channel::<()>();
    let control = voicebridge_server::run(control, control_listener, async { drop(control_stops.await) });
    let media = voicebridge_node::run_until(media, media_listener, async { drop(media_drains.await) }, async {
        drop(media_is_forced.await)
    });
    let (mut control, mut media) = (tokio::spawn(control), tokio::spawn(media));
    // When it has ended there is nothing left to show.
    drop(tokio::spawn(show_link(own)));

    let mut signals = Signals::new()?;
    tokio::select! {
        () = signals.next() => say("no more calls; waiting for the live ones to finish. Again to end them."),
        outcome = &mut control => return outcome?.context("the control plane stopped"),
        outcome = &mut media => return outcome?.context("the media node stopped"),
    }
    drop(drain_media);
    let drained = async {
        media.await??;
        drop(stop_control);
        control.await?
    };
    tokio::pin!(drained);
    tokio::select! {
        outcome = &mut drained => return outcome,
        () = signals.next() => say("ending the live calls. Again to leave at once."),
    }
    drop(force_media);
    tokio::select! {
        outcome = &mut drained => outcome,
        () = signals.next() => anyhow::bail!("left at once; what was live was cut"),
    }
}

/// As the operator of this machine asks our own control plane.
fn own_access(control_at: SocketAddr, control: &voicebridge_server::Config) -> Access {
    let key = control.api_keys.iter().find(|key| key.scopes.allow(Scope::CallsRead));
    Access {
        url: format!("http://{control_at}"),
        api_key: key.map(|key| key.secret.clone()),
        state_dir: control.state_dir.as_ref().map(|state| state.path().to_owned()),
    }
}

/// A link for a browser, which has no key: with a read token in it, good for minutes.
async fn show_link(access: Access) {
    const MORE: &str = "`voicebridge keys token --link`";
    errln(&match read_token(&access).await {
        Some(token) => format!(
            "  browser   {} {DIM}(events, for 5 minutes; {MORE} makes another){DIM:#}",
            link(&access.url, "", &token)
        ),
        // Keys that only the database has are known to whoever made them.
        None => format!("  browser   {MORE} makes a link that shows the events"),
    });
}

/// Once the control plane answers. Asked twice: the first time its local key may not be there yet, and by the time it
/// answers it is.
async fn read_token(access: &Access) -> Option<String> {
    for _ in 0..2 {
        let (channel, bearer) = connection(access).await.ok()?;
        let mut keys = KeyServiceClient::with_interceptor(channel, bearer);
        if let Ok(made) = keys.create_read_token(CreateReadTokenRequest::default()).await {
            return Some(made.into_inner().token);
        }
    }
    None
}

fn say(text: &str) {
    errln(&format!("{DIM}{text}{DIM:#}"));
}

/// Both configurations, or everything that is wrong with either.
fn both(
    control: Result<voicebridge_server::Config, voicebridge_server::ConfigErrors>,
    media: Result<voicebridge_node::Config, voicebridge_node::ConfigErrors>,
) -> anyhow::Result<(voicebridge_server::Config, voicebridge_node::Config)> {
    match (control, media) {
        (Ok(control), Ok(media)) => Ok((control, media)),
        (Err(control), Ok(_)) => Err(control.into()),
        (Ok(_), Err(media)) => Err(media.into()),
        (Err(control), Err(media)) => anyhow::bail!("{control}\n{media}"),
    }
}

fn control(args: &Serve) -> Result<voicebridge_server::Config, voicebridge_server::ConfigErrors> {
    let mut raw = voicebridge_server::RawConfig::from_env();
    set(&mut raw.listen, args.listen.map(|address| address.to_string()));
    if args.listen.is_some() {
        // The flag names a port too and is nearer than the environment.
        raw.port = None;
    }
    or_default(&mut raw.listen, "127.0.0.1:3100");
    set(&mut raw.database_url, args.database.clone());
    voicebridge_server::Config::resolve(raw)
}

fn media(args: &Serve) -> Result<voicebridge_node::Config, voicebridge_node::ConfigErrors> {
    let mut raw = voicebridge_node::RawConfig::from_env();
    set(&mut raw.listen, args.media_listen.map(|address| address.to_string()));
    or_default(&mut raw.listen, "127.0.0.1:3200");
    set(&mut raw.agent, args.agent.as_ref().map(|path| path.display().to_string()));
    set(&mut raw.provider, args.provider.clone());
    set(&mut raw.public_ip, args.public_ip.clone());
    // Ours is beside it; `run` writes its real address.
    raw.control_url = None;
    voicebridge_node::Config::resolve(raw)
}

fn set(field: &mut Option<String>, flag: Option<String>) {
    if flag.is_some() {
        *field = flag;
    }
}

fn or_default(field: &mut Option<String>, default: &str) {
    if field.as_ref().is_none_or(|value| value.trim().is_empty()) {
        *field = Some(default.to_owned());
    }
}

async fn listen(address: SocketAddr, variable: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("nobody can listen on {address}; is another voicebridge running? {variable} names another address")
    })
}

/// The address at which a listener is reached from this machine.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, v4.port())),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, v6.port())),
        other => other,
    }
}

fn welcome(control_at: SocketAddr, control: &voicebridge_server::Config, media: &voicebridge_node::Config) {
    errln(&format!("{TITLE}voicebridge{TITLE:#} answers at {TITLE}http://{control_at}{TITLE:#}"));
    errln(&format!(
        "  webhook   http://{control_at}/webhooks/whatsapp {DIM}(Meta needs a public https address that leads here){DIM:#}"
    ));
    errln(&format!("  health    http://{control_at}/health"));
    errln("  follow    voicebridge watch");
    errln(&format!("  AI        {}", media.provider.name()));
    errln(&format!("  media     UDP {}-{} at {}", media.udp_ports.start(), media.udp_ports.end(), media.public_ip));
    if let Err(missing) = &control.whatsapp {
        errln(&format!(
            "  {DIM}WhatsApp is not set up: {} missing. README.md, \"Going live\".{DIM:#}",
            missing.join(", ")
        ));
    }
}

/// SIGTERM and Ctrl-C.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_for_everyone_is_reached_on_loopback() {
        let check = |given: &str, expect: &str| {
            assert_eq!(reachable(given.parse().unwrap()), expect.parse::<SocketAddr>().unwrap());
        };
        check("0.0.0.0:3100", "127.0.0.1:3100");
        check("[::]:3100", "[::1]:3100");
        check("192.0.2.1:3100", "192.0.2.1:3100");
    }

    #[test]
    fn a_flag_wins_over_the_environment_and_empty_counts_as_unset() {
        let mut field = Some("from-env".to_owned());
        set(&mut field, None);
        or_default(&mut field, "default");
        assert_eq!(field.as_deref(), Some("from-env"));
        set(&mut field, Some("flag".to_owned()));
        assert_eq!(field.as_deref(), Some("flag"));
        let mut empty = Some(" ".to_owned());
        or_default(&mut empty, "default");
        assert_eq!(empty.as_deref(), Some("default"));
    }
}
