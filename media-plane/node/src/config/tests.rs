//! What settings are taken, what they default to, and which mistakes are named.

#![allow(clippy::unwrap_used)]

use std::io::Write as _;

use clap::CommandFactory as _;
use secrecy::ExposeSecret as _;

use super::*;

fn raw(pairs: &[(&str, &str)]) -> RawConfig {
    let mut raw = RawConfig { public_ip: Some("203.0.113.7".into()), ..RawConfig::default() };
    for (variable, value) in pairs {
        let field = match *variable {
            "VOICEBRIDGE_MEDIA_LISTEN" => &mut raw.listen,
            "VOICEBRIDGE_MEDIA_ADVERTISE" => &mut raw.advertise,
            "VOICEBRIDGE_CONTROL_URL" => &mut raw.control_url,
            "VOICEBRIDGE_NODE_TOKEN" => &mut raw.node_token,
            "VOICEBRIDGE_STATE_DIR" => &mut raw.state_dir,
            "VOICEBRIDGE_REGION" => &mut raw.region,
            "VOICEBRIDGE_PUBLIC_IP" => &mut raw.public_ip,
            "VOICEBRIDGE_UDP_PORTS" => &mut raw.udp_ports,
            "VOICEBRIDGE_MAX_SESSIONS" => &mut raw.max_sessions,
            "VOICEBRIDGE_MEDIA_THREADS" => &mut raw.threads,
            "VOICEBRIDGE_OPUS_COMPLEXITY" => &mut raw.opus_complexity,
            "VOICEBRIDGE_PROVIDER" => &mut raw.provider,
            "VOICEBRIDGE_AGENT" => &mut raw.agent,
            "OPENAI_API_KEY" => &mut raw.openai_api_key,
            "OPENAI_ORG_ID" => &mut raw.openai_org_id,
            "OPENAI_PROJECT_ID" => &mut raw.openai_project_id,
            "OPENAI_REALTIME_MODEL" => &mut raw.openai_model,
            "OPENAI_REALTIME_URL" => &mut raw.openai_url,
            "VOICEBRIDGE_MEDIA_TIMEOUT_S" => &mut raw.media_timeout_s,
            "VOICEBRIDGE_CANDIDATES" => &mut raw.candidates,
            "VOICEBRIDGE_DRAIN_S" => &mut raw.drain_s,
            other => panic!("no field for {other}"),
        };
        *field = Some((*value).to_owned());
    }
    raw
}

#[track_caller]
fn ok(pairs: &[(&str, &str)]) -> Config {
    Config::resolve(raw(pairs)).unwrap()
}

/// The variables that are complained about.
#[track_caller]
fn wrong(pairs: &[(&str, &str)], expect: &[&str]) -> ConfigErrors {
    let errors = Config::resolve(raw(pairs)).unwrap_err();
    let variables: Vec<&str> = errors.0.iter().map(|error| error.variable).collect();
    assert_eq!(variables, expect, "{errors}");
    errors
}

#[test]
fn the_state_folder_is_the_same_to_every_program() {
    let config = ok(&[("VOICEBRIDGE_STATE_DIR", " /var/lib/voicebridge ")]);
    assert_eq!(config.state_dir, Some(StateDir::at("/var/lib/voicebridge".into())));
    wrong(&[("VOICEBRIDGE_STATE_DIR", "voicebridge")], &["VOICEBRIDGE_STATE_DIR"]);
}

#[test]
fn nothing_set_is_a_laptop() {
    let config = ok(&[]);
    assert_eq!(config.listen.to_string(), "127.0.0.1:3200");
    assert!(config.loopback_by_default);
    assert_eq!(config.control_url, "http://127.0.0.1:3100");
    assert_eq!(config.region, "local");
    assert_eq!(config.udp_ports, 20_000..=29_999);
    assert_eq!(config.max_sessions, SESSIONS_PER_THREAD * config.threads as u32);
    assert_eq!(config.governor.bounds(), (2, 6));
    assert_eq!(config.provider.name(), "embedded");
    assert_eq!(config.agent, Agent::default());
    assert_eq!(
        (config.transport_timeout.as_secs(), config.drain.as_secs(), config.port_rest.as_secs()),
        (10, 3_600, 30)
    );
    assert_eq!(config.media_timeout.as_secs(), 300);
}

#[test]
fn which_candidates_are_checked_is_one_of_three_words() {
    use crate::peer::CandidatePolicy;
    assert_eq!(ok(&[]).candidates, CandidatePolicy::Auto);
    for (word, policy) in
        [("auto", CandidatePolicy::Auto), ("public", CandidatePolicy::Public), ("any", CandidatePolicy::Any)]
    {
        assert_eq!(ok(&[("VOICEBRIDGE_CANDIDATES", word)]).candidates, policy);
    }
    wrong(&[("VOICEBRIDGE_CANDIDATES", "private")], &["VOICEBRIDGE_CANDIDATES"]);
}

#[test]
fn a_token_opens_the_listener() {
    let config = ok(&[("VOICEBRIDGE_NODE_TOKEN", "s3cret"), ("VOICEBRIDGE_CONTROL_URL", "https://control.example/")]);
    assert_eq!(config.listen.to_string(), "0.0.0.0:3200");
    assert!(!config.loopback_by_default);
    assert_eq!(config.control_url, "https://control.example");
    assert_eq!(config.node_token.as_ref().unwrap().expose_secret(), "s3cret");
    assert!(!format!("{config:?}").contains("s3cret"));
}

#[test]
fn without_a_token_only_loopback() {
    ok(&[("VOICEBRIDGE_MEDIA_LISTEN", "[::1]:0"), ("VOICEBRIDGE_CONTROL_URL", "http://localhost:1")]);
    wrong(&[("VOICEBRIDGE_MEDIA_LISTEN", "0.0.0.0:3200")], &["VOICEBRIDGE_MEDIA_LISTEN"]);
    wrong(&[("VOICEBRIDGE_CONTROL_URL", "http://10.0.0.1:3100")], &["VOICEBRIDGE_CONTROL_URL"]);
    // An empty token is none.
    wrong(
        &[("VOICEBRIDGE_NODE_TOKEN", ""), ("VOICEBRIDGE_MEDIA_LISTEN", "10.0.0.1:3200")],
        &["VOICEBRIDGE_MEDIA_LISTEN"],
    );
}

#[test]
fn a_key_chooses_openai() {
    let config = ok(&[("OPENAI_API_KEY", "sk-1"), ("OPENAI_REALTIME_MODEL", "gpt-realtime-2.1")]);
    let ProviderConfig::OpenAi(openai) = &config.provider else { panic!("{:?}", config.provider) };
    assert_eq!(openai.url, "wss://api.openai.com/v1/realtime");
    assert_eq!(openai.model, "gpt-realtime-2.1");
    assert!(!format!("{config:?}").contains("sk-1"));
    assert_eq!(ok(&[("OPENAI_API_KEY", "sk-1"), ("VOICEBRIDGE_PROVIDER", "embedded")]).provider.name(), "embedded");
    wrong(&[("VOICEBRIDGE_PROVIDER", "openai")], &["OPENAI_API_KEY"]);
    wrong(&[("VOICEBRIDGE_PROVIDER", "gemini")], &["VOICEBRIDGE_PROVIDER"]);
}

#[test]
fn the_key_leaves_the_machine_encrypted_only() {
    let key = ("OPENAI_API_KEY", "sk-1");
    for url in ["ws://127.0.0.1:9/v1/realtime", "ws://localhost:9", "ws://[::1]:9", "wss://eu.example/v1/realtime"] {
        ok(&[key, ("OPENAI_REALTIME_URL", url)]);
    }
    for url in ["ws://10.0.0.1/v1", "https://api.openai.com", "nonsense"] {
        wrong(&[key, ("OPENAI_REALTIME_URL", url)], &["OPENAI_REALTIME_URL"]);
    }
    let errors = wrong(&[("OPENAI_API_KEY", "sk-\u{e9}")], &["OPENAI_API_KEY"]);
    assert!(!errors.to_string().contains("sk-"), "{errors}");
}

/// Values as they come out of env files, shells and dashboards.
#[test]
fn what_came_with_a_secret_is_named_or_taken_off() {
    const SECRETS: [&str; 4] = ["OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "VOICEBRIDGE_NODE_TOKEN"];
    let set = |value: &'static str| SECRETS.map(|variable| (variable, value));
    // A line end at the end is the file's, and so are spaces around it.
    for around in ["s3cret\n", "s3cret\r\n", " s3cret\t"] {
        let config = ok(&set(around));
        let ProviderConfig::OpenAi(openai) = &config.provider else { panic!("{:?}", config.provider) };
        let taken = [openai.api_key.expose_secret(), &openai.organisation, &openai.project];
        assert_eq!(taken, ["s3cret"; 3]);
        assert_eq!(config.node_token.as_ref().unwrap().expose_secret(), "s3cret");
    }
    for (value, word) in [
        ("\"s3cret\"", "quote"),
        ("'s3cret'", "quote"),
        ("\"s3cret", "quote"),
        ("s3cret\ns3cret", "line end"),
        ("s3cret\rs3cret", "line end"),
        ("s3cret # of the test account", "space"),
        ("s\u{e9}cret", "visible ASCII"),
    ] {
        let errors = Config::resolve(raw(&set(value))).unwrap_err();
        let mut named: Vec<&str> = errors.0.iter().map(|error| error.variable).collect();
        named.sort_unstable();
        assert_eq!(named, SECRETS, "{value:?}");
        assert!(errors.0.iter().all(|error| error.rule.contains(word)), "{value:?}: {errors}");
        assert!(!errors.to_string().contains("cret #") && !errors.to_string().contains("s3cret"), "{errors}");
    }
    // Set to quotes only, as an env file does that empties it.
    wrong(&[("OPENAI_API_KEY", "\"\"")], &["OPENAI_API_KEY"]);
}

#[test]
fn ranges_and_numbers_have_bounds() {
    assert_eq!(ok(&[("VOICEBRIDGE_UDP_PORTS", "30000-30000")]).udp_ports, 30_000..=30_000);
    for ports in ["30000", "2-1", "80-90", "20000-70000", "a-b"] {
        wrong(&[("VOICEBRIDGE_UDP_PORTS", ports)], &["VOICEBRIDGE_UDP_PORTS"]);
    }
    assert_eq!(ok(&[("VOICEBRIDGE_MAX_SESSIONS", "7")]).max_sessions, 7);
    assert!(ok(&[("VOICEBRIDGE_MEDIA_TIMEOUT_S", "0")]).media_timeout.is_zero(), "for ever");
    for (variable, value) in [
        ("VOICEBRIDGE_MAX_SESSIONS", "0"),
        ("VOICEBRIDGE_MAX_SESSIONS", "many"),
        ("VOICEBRIDGE_MEDIA_THREADS", "0"),
        ("VOICEBRIDGE_DRAIN_S", "-1"),
        ("VOICEBRIDGE_MEDIA_TIMEOUT_S", "86401"),
        ("VOICEBRIDGE_MEDIA_TIMEOUT_S", "never"),
        ("VOICEBRIDGE_PUBLIC_IP", "0.0.0.0"),
        ("VOICEBRIDGE_PUBLIC_IP", "voice.example"),
        ("VOICEBRIDGE_REGION", "eu west"),
        ("VOICEBRIDGE_MEDIA_ADVERTISE", "10.0.0.1:3200"),
        ("VOICEBRIDGE_MEDIA_LISTEN", "3200"),
    ] {
        wrong(&[(variable, value)], &[variable]);
    }
}

#[test]
fn complexity_has_a_floor_and_a_ceiling() {
    for (value, bounds) in [("0-10", (0, 10)), ("6-6", (6, 6)), (" 3 - 9 ", (3, 9)), ("", (2, 6))] {
        assert_eq!(ok(&[("VOICEBRIDGE_OPUS_COMPLEXITY", value)]).governor.bounds(), bounds, "{value:?}");
    }
    for value in ["6", "6-2", "2-11", "-1-6", "2-", "low-high", "2-6-7", "2-5", "4-6"] {
        let errors = wrong(&[("VOICEBRIDGE_OPUS_COMPLEXITY", value)], &["VOICEBRIDGE_OPUS_COMPLEXITY"]);
        assert!(errors.to_string().contains("both of 0 to 3 or 6 to 10"), "{errors}");
    }
}

#[test]
fn all_mistakes_come_at_once_and_name_their_variable() {
    let errors = wrong(
        &[("VOICEBRIDGE_MEDIA_LISTEN", "x"), ("VOICEBRIDGE_UDP_PORTS", "y"), ("VOICEBRIDGE_PROVIDER", "z")],
        &["VOICEBRIDGE_MEDIA_LISTEN", "VOICEBRIDGE_UDP_PORTS", "VOICEBRIDGE_PROVIDER"],
    );
    let text = errors.to_string();
    assert_eq!(text.lines().count(), 4, "{text}");
}

#[test]
fn the_agent_file_is_read_and_its_mistakes_are_named() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "voice: cedar").unwrap();
    assert_eq!(ok(&[("VOICEBRIDGE_AGENT", file.path().to_str().unwrap())]).agent.voice, "cedar");
    writeln!(file, "voise: cedar\nmax_duration_s: none").unwrap();
    wrong(&[("VOICEBRIDGE_AGENT", file.path().to_str().unwrap())], &["VOICEBRIDGE_AGENT", "VOICEBRIDGE_AGENT"]);
    wrong(&[("VOICEBRIDGE_AGENT", "/no/such/agent.yaml")], &["VOICEBRIDGE_AGENT"]);
}

#[test]
fn help_never_shows_values() {
    let command = Environment::command();
    for argument in command.get_arguments().filter(|argument| argument.get_env().is_some()) {
        assert!(argument.is_hide_env_values_set(), "{argument:?}");
    }
    Environment::command().debug_assert();
}
