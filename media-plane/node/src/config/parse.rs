//! One function per kind of setting: takes the text, returns a usable value, and notes what is wrong with it.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    num::NonZero,
    ops::RangeInclusive,
    path::PathBuf,
    thread,
};

use http::{Uri, uri::Scheme};
use secrecy::SecretString;
use voicebridge_audio::governor::{Governor, GovernorSettings};
use voicebridge_session::{agent::Agent, provider::openai};
use voicebridge_telemetry::{
    local::{STATE_DIR, StateDir},
    secret,
};

use super::{Config, ConfigError, ConfigErrors, OpenAiConfig, ProviderConfig};
use crate::peer::CandidatePolicy;

/// What is wrong so far. A wrong value is replaced by something harmless, so that the others are checked too.
#[derive(Debug, Default)]
pub(super) struct ConfigMistakes(Vec<ConfigError>);

/// The OpenAI settings as given.
pub(super) struct OpenAiRaw {
    pub(super) api_key: Option<String>,
    pub(super) organisation: Option<String>,
    pub(super) project: Option<String>,
    pub(super) model: Option<String>,
    pub(super) url: Option<String>,
}

/// Trimmed; empty counts as unset.
pub(super) fn text(value: Option<String>) -> Option<String> {
    value.map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}

impl ConfigMistakes {
    pub(super) fn add(&mut self, variable: &'static str, rule: impl Into<String>) {
        self.0.push(ConfigError { variable, rule: rule.into() });
    }

    pub(super) fn finish(self, config: Config) -> Result<Config, ConfigErrors> {
        if self.0.is_empty() { Ok(config) } else { Err(ConfigErrors(self.0)) }
    }

    /// Trimmed; empty counts as unset. Other than with settings that are no secret, the message never shows the value.
    pub(super) fn secret(&mut self, variable: &'static str, value: Option<String>) -> Option<String> {
        let value = text(value)?;
        if let Err(rule) = secret::check(&value) {
            self.add(variable, rule);
        }
        Some(value)
    }

    pub(super) fn socket_address(&mut self, variable: &'static str, text: &str) -> SocketAddr {
        text.parse().unwrap_or_else(|_| {
            self.add(variable, format!("is {text:?}; it must be an address and a port, e.g. 0.0.0.0:3200"));
            SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
        })
    }

    /// A relative path would be another folder to each program that looks for it.
    pub(super) fn state_dir(&mut self, value: Option<String>) -> Option<StateDir> {
        let Some(path) = text(value).map(PathBuf::from) else { return StateDir::by_default() };
        if !path.is_absolute() {
            self.add(STATE_DIR, format!("is {:?}; it must be an absolute path", path.display().to_string()));
        }
        Some(StateDir::at(path))
    }

    /// `anywhere`: hosts other than loopback are allowed.
    pub(super) fn http_url(&mut self, variable: &'static str, url: String, anywhere: bool) -> String {
        let url = url.trim_end_matches('/').to_owned();
        let Some(parsed) = url.parse::<Uri>().ok().filter(|parsed| {
            matches!(parsed.scheme().map(Scheme::as_str), Some("http" | "https")) && parsed.host().is_some()
        }) else {
            self.add(variable, format!("is {url:?}; it must be a URL with http:// or https://"));
            return url;
        };
        if !anywhere && !is_loopback(parsed.host().unwrap_or_default()) {
            self.add(
                variable,
                format!("is {url:?}, which is not this machine: set VOICEBRIDGE_NODE_TOKEN on both sides"),
            );
        }
        url
    }

    pub(super) fn number(
        &mut self,
        variable: &'static str,
        value: Option<String>,
        allowed: RangeInclusive<u64>,
        default: u64,
    ) -> u64 {
        let Some(value) = text(value) else { return default };
        match value.parse::<u64>() {
            Ok(number) if allowed.contains(&number) => number,
            _ => {
                let (least, most) = allowed.into_inner();
                self.add(variable, format!("is {value:?}; it must be a whole number from {least} to {most}"));
                default
            }
        }
    }

    pub(super) fn port_range(
        &mut self,
        variable: &'static str,
        value: Option<String>,
        default: RangeInclusive<u16>,
    ) -> RangeInclusive<u16> {
        let Some(value) = text(value) else { return default };
        let range = value
            .split_once('-')
            .and_then(|(first, last)| Some((first.trim().parse::<u16>().ok()?, last.trim().parse::<u16>().ok()?)));
        match range {
            Some((first, last)) if (1_024..=last).contains(&first) => first..=last,
            _ => {
                self.add(
                    variable,
                    format!("is {value:?}; it must be `first-last` with 1024 <= first <= last <= 65535"),
                );
                default
            }
        }
    }

    pub(super) fn complexity(&mut self, variable: &'static str, value: Option<String>) -> Governor {
        let Some(value) = text(value) else { return Governor::default() };
        let governor = value.split_once('-').and_then(|(least, most)| {
            let (floor, ceiling) = (least.trim().parse().ok()?, most.trim().parse().ok()?);
            Governor::new(GovernorSettings { floor, ceiling, ..GovernorSettings::default() }).ok()
        });
        governor.unwrap_or_else(|| {
            self.add(
                variable,
                format!("is {value:?}; it must be `least-most`, both of 0 to 3 or 6 to 10 and least <= most, e.g. 2-6"),
            );
            Governor::default()
        })
    }

    pub(super) fn public_ip(&mut self, variable: &'static str, text: &str) -> IpAddr {
        match text.parse::<IpAddr>() {
            Ok(ip) if !ip.is_unspecified() && !ip.is_multicast() => ip,
            _ => {
                self.add(
                    variable,
                    format!("is {text:?}; it must be one address that callers can reach, e.g. 203.0.113.7"),
                );
                Ipv4Addr::LOCALHOST.into()
            }
        }
    }

    pub(super) fn candidates(&mut self, variable: &'static str, value: Option<String>) -> CandidatePolicy {
        match text(value).as_deref() {
            None | Some("auto") => CandidatePolicy::Auto,
            Some("public") => CandidatePolicy::Public,
            Some("any") => CandidatePolicy::Any,
            Some(other) => {
                self.add(variable, format!("is {other:?}; it must be `auto`, `public` or `any`"));
                CandidatePolicy::Auto
            }
        }
    }

    pub(super) fn region(&mut self, variable: &'static str, value: Option<String>) -> String {
        let region = text(value).unwrap_or_else(|| "local".to_owned());
        if region.len() > 64 || !region.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)) {
            self.add(variable, format!("is {region:?}; it must be 1 to 64 letters, digits, '-' or '_'"));
        }
        region
    }

    pub(super) fn provider(&mut self, provider: Option<String>, openai: OpenAiRaw) -> ProviderConfig {
        match provider.as_deref() {
            Some("embedded") => ProviderConfig::Embedded,
            None if text(openai.api_key.clone()).is_none() => ProviderConfig::Embedded,
            Some("openai") | None => self.openai(openai),
            Some(other) => {
                self.add("VOICEBRIDGE_PROVIDER", format!("is {other:?}; it must be `openai` or `embedded`"));
                ProviderConfig::Embedded
            }
        }
    }

    fn openai(&mut self, raw: OpenAiRaw) -> ProviderConfig {
        let api_key = self.secret("OPENAI_API_KEY", raw.api_key).unwrap_or_else(|| {
            self.add("OPENAI_API_KEY", "is not set, but VOICEBRIDGE_PROVIDER is `openai`");
            String::new()
        });
        let organisation = self.secret("OPENAI_ORG_ID", raw.organisation);
        let project = self.secret("OPENAI_PROJECT_ID", raw.project);
        // No secret, but it goes into the same request.
        let model = self.secret("OPENAI_REALTIME_MODEL", raw.model);
        let url = self.websocket_url("OPENAI_REALTIME_URL", raw.url.unwrap_or_else(|| openai::DEFAULT_URL.to_owned()));
        ProviderConfig::OpenAi(OpenAiConfig {
            api_key: SecretString::from(api_key),
            organisation: organisation.unwrap_or_default(),
            project: project.unwrap_or_default(),
            model: model.unwrap_or_default(),
            url,
        })
    }

    /// `ws://` only on loopback: the key travels in a header.
    fn websocket_url(&mut self, variable: &'static str, url: String) -> String {
        let parsed = url.parse::<Uri>().ok();
        let host = parsed.as_ref().and_then(Uri::host).unwrap_or_default();
        match parsed.as_ref().and_then(Uri::scheme).map(Scheme::as_str) {
            Some("wss") if !host.is_empty() => {}
            Some("ws") if is_loopback(host) => {}
            Some("ws") => {
                self.add(variable, format!("is {url:?}; off this machine it must be wss://, for the key's sake"))
            }
            _ => self.add(variable, format!("is {url:?}; it must be a URL with wss://")),
        }
        url.trim_end_matches('/').to_owned()
    }

    pub(super) fn agent(&mut self, variable: &'static str, path: Option<PathBuf>) -> Agent {
        let Some(path) = path else { return Agent::default() };
        let yaml = match std::fs::read_to_string(&path) {
            Ok(yaml) => yaml,
            Err(error) => {
                self.add(variable, format!("names {}, which cannot be read: {error}", path.display()));
                return Agent::default();
            }
        };
        Agent::parse(&yaml).unwrap_or_else(|mistakes| {
            for mistake in &mistakes.0 {
                self.add(variable, format!("{}: {mistake}", path.display()));
            }
            Agent::default()
        })
    }
}

/// Cores - 1, at least 1: one core is left to gRPC and the providers' sockets.
pub(super) fn default_threads() -> u64 {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    (cores - 1).clamp(1, 256) as u64
}

/// The address the machine would use towards the internet; loopback if it has no route there. Nothing is sent:
/// connecting a UDP socket only asks the routing table. The address asked about is documentation space (RFC 5737).
pub(super) fn default_route_address() -> IpAddr {
    local_address_towards(SocketAddr::from(([198, 51, 100, 1], 9))).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

/// Our address on the way to `remote`, if there is a way.
pub(crate) fn local_address_towards(remote: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr =
        if remote.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { std::net::Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(remote).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// Whether a URL's host is this machine.
pub(crate) fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}
