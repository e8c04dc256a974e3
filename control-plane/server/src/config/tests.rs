#![allow(clippy::unwrap_used)]

use secrecy::ExposeSecret as _;

use super::*;

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn nothing_set_is_a_laptop() {
    let config = Config::resolve(RawConfig::default()).unwrap();
    assert_eq!(config.listen.to_string(), "0.0.0.0:3100");
    assert_eq!(config.graph_url, "https://graph.facebook.com/v25.0");
    assert_eq!(&*config.database_url, "sqlite://voicebridge.db");
    assert!(config.api_keys.is_empty() && config.node_token.is_none());
    assert_eq!(config.cors_origins, Origins::Local);
    assert_eq!(config.limits.node_lost(), Duration::from_secs(10));
    assert_eq!(config.node_addresses, NodeAddresses::OfPeer);
    assert_eq!(config.limits.retention, 90 * DAY);
    assert_eq!(
        config.whatsapp.unwrap_err(),
        ["WHATSAPP_ACCESS_TOKEN", "WHATSAPP_PHONE_NUMBER_ID", "WHATSAPP_APP_SECRET", "WHATSAPP_VERIFY_TOKEN"]
    );
}

#[test]
fn the_port_of_a_platform_wins() {
    fn check(listen: Option<&str>, port: Option<&str>, expect: &str) {
        let raw = RawConfig { listen: listen.map(str::to_owned), port: port.map(str::to_owned), ..Default::default() };
        assert_eq!(Config::resolve(raw).unwrap().listen.to_string(), expect);
    }
    check(Some("127.0.0.1:9"), None, "127.0.0.1:9");
    check(Some("127.0.0.1:9"), Some("8080"), "127.0.0.1:8080");
    check(None, Some("8080"), "0.0.0.0:8080");
    check(Some(""), Some(" "), "0.0.0.0:3100");
    check(Some("[::]:1"), Some("2"), "[::]:2");
}

#[test]
fn values_are_taken() {
    let config = Config::resolve(RawConfig {
        whatsapp_access_token: some("EAAG"),
        whatsapp_phone_number_id: some("106"),
        whatsapp_app_secret: some("secret"),
        whatsapp_verify_token: some("verify"),
        graph_url: some("http://127.0.0.1:9/v25.0/"),
        api_keys: some("one, two,,"),
        cors_origins: some("https://app.example, http://localhost:5173/"),
        ring_budget_s: some("20"),
        graph_timeout_ms: some("250"),
        max_body_bytes: some("8192"),
        retention_days: some("7"),
        ..Default::default()
    })
    .unwrap();
    let whatsapp = config.whatsapp.unwrap();
    assert_eq!(whatsapp.phone_number_id, "106");
    assert_eq!(whatsapp.access_token.expose_secret(), "EAAG");
    assert_eq!(config.graph_url, "http://127.0.0.1:9/v25.0");
    assert_eq!(config.api_keys.len(), 2);
    assert_eq!(
        config.cors_origins,
        Origins::Listed(vec!["https://app.example".to_owned(), "http://localhost:5173".to_owned()])
    );
    assert_eq!(config.limits.ring_budget, Duration::from_secs(20));
    assert_eq!(config.limits.graph_timeout, Duration::from_millis(250));
    assert_eq!(config.limits.max_body_bytes, 8_192);
    assert_eq!(config.limits.retention, 7 * DAY);
}

#[test]
fn all_mistakes_are_reported_at_once_and_name_their_variable() {
    let errors = Config::resolve(RawConfig {
        listen: some("everywhere"),
        port: some("http"),
        whatsapp_phone_number_id: some("+1 555"),
        whatsapp_app_secret: some("s3cr\u{e9}t"),
        graph_url: some("graph.facebook.com"),
        database_url: some("mysql://u:hunter2@db/x"),
        api_keys: some("good,b ad"),
        node_token: some("to ken"),
        state_dir: some("not/absolute"),
        cors_origins: some("app.example"),
        placement: some("Brazil=sa"),
        ring_budget_s: some("90"),
        stale_s: some("soon"),
        graph_timeout_ms: some("1"),
        node_lost_beats: some("1"),
        node_addresses: some("10.0.0.0/8,http://node"),
        accept_patience_ms: some("-1"),
        place_timeout_ms: some("0"),
        max_body_bytes: some("1"),
        max_connections: some("15"),
        max_connections_per_address: some("0"),
        retention_days: some("3651"),
        ..Default::default()
    })
    .unwrap_err();
    let named: Vec<_> = errors.0.iter().map(|error| error.variable).collect();
    for variable in [
        "VOICEBRIDGE_LISTEN",
        "PORT",
        "WHATSAPP_PHONE_NUMBER_ID",
        "WHATSAPP_APP_SECRET",
        "WHATSAPP_GRAPH_URL",
        "DATABASE_URL",
        "VOICEBRIDGE_API_KEYS",
        "VOICEBRIDGE_NODE_TOKEN",
        "VOICEBRIDGE_STATE_DIR",
        "VOICEBRIDGE_CORS_ORIGINS",
        "VOICEBRIDGE_PLACEMENT",
        "VOICEBRIDGE_RING_BUDGET_S",
        "VOICEBRIDGE_STALE_S",
        "VOICEBRIDGE_GRAPH_TIMEOUT_MS",
        "VOICEBRIDGE_NODE_LOST_BEATS",
        "VOICEBRIDGE_NODE_ADDRESSES",
        "VOICEBRIDGE_ACCEPT_PATIENCE_MS",
        "VOICEBRIDGE_PLACE_TIMEOUT_MS",
        "VOICEBRIDGE_MAX_BODY_BYTES",
        "VOICEBRIDGE_MAX_CONNECTIONS",
        "VOICEBRIDGE_MAX_CONNECTIONS_PER_ADDRESS",
        "VOICEBRIDGE_RETENTION_DAYS",
    ] {
        assert_eq!(named.iter().filter(|name| **name == variable).count(), 1, "{variable} in {named:?}");
    }
    let shown = errors.to_string();
    for secret in ["s3cr", "hunter2", "b ad", "to ken"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

/// Values as they come out of env files, shells and dashboards.
#[test]
fn what_came_with_a_secret_is_named_or_taken_off() {
    const URL: &str = "https://holder.example/calls";
    const KEY: &str = "whsec_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0";
    let resolve =
        |token: &str, number: &str, app: &str, verify: &str, node: &str, keys: &str, database: &str, key: &str| {
            Config::resolve(RawConfig {
                whatsapp_access_token: some(token),
                whatsapp_phone_number_id: some(number),
                whatsapp_app_secret: some(app),
                whatsapp_verify_token: some(verify),
                node_token: some(node),
                api_keys: some(keys),
                database_url: some(database),
                callback_url: some(URL),
                callback_secret: some(key),
                ..Default::default()
            })
        };
    // A line end at the end is the file's, and so are spaces around it.
    let config = resolve("EAAG\r\n", "106\n", "secret\n", " verify\n", "node\n", "one\n", "sqlite://x.db\n", KEY);
    let config = config.unwrap();
    let whatsapp = config.whatsapp.unwrap();
    assert_eq!(
        [&whatsapp.access_token, &whatsapp.app_secret, &whatsapp.verify_token, config.node_token.as_ref().unwrap()]
            .map(|secret| secret.expose_secret().to_owned()),
        ["EAAG", "secret", "verify", "node"]
    );
    assert_eq!((whatsapp.phone_number_id.as_str(), &*config.database_url), ("106", "sqlite://x.db"));

    let all = [
        "DATABASE_URL",
        "VOICEBRIDGE_API_KEYS",
        "VOICEBRIDGE_CALLBACK_SECRET",
        "VOICEBRIDGE_NODE_TOKEN",
        "WHATSAPP_ACCESS_TOKEN",
        "WHATSAPP_APP_SECRET",
        "WHATSAPP_PHONE_NUMBER_ID",
        "WHATSAPP_VERIFY_TOKEN",
    ];
    let named = |result: Result<Config, ConfigErrors>, word: &str| {
        let errors = result.unwrap_err();
        let text = errors.to_string();
        assert!(!["EAAG", "hunter2", "106", "c2Vj"].iter().any(|value| text.contains(value)), "{text}");
        assert!(errors.0.iter().all(|error| error.rule.contains(word)), "{text}");
        let mut named: Vec<_> = errors.0.iter().map(|error| error.variable).collect();
        named.sort_unstable();
        named
    };
    for quote in ['"', '\''] {
        let put = |value: &str| format!("{quote}{value}{quote}");
        let result = resolve(
            &put("EAAG"),
            &put("106"),
            &put("hunter2"),
            &put("hunter2"),
            &put("hunter2"),
            &put("hunter2"),
            &put("sqlite://x.db"),
            &put(KEY),
        );
        assert_eq!(named(result, "quote"), all);
    }
    let two = "hunter2\nhunter2";
    let result = resolve(two, "106", two, two, two, two, "sqlite://x.db", two);
    let expect = [
        "VOICEBRIDGE_API_KEYS",
        "VOICEBRIDGE_CALLBACK_SECRET",
        "VOICEBRIDGE_NODE_TOKEN",
        "WHATSAPP_ACCESS_TOKEN",
        "WHATSAPP_APP_SECRET",
        "WHATSAPP_VERIFY_TOKEN",
    ];
    assert_eq!(named(result, "line end"), expect);
}

#[test]
fn keys_with_and_without_scopes() {
    let keys = |text: &str| {
        Config::resolve(RawConfig { api_keys: some(text), ..RawConfig::default() }).map(|config| {
            let keys = config.api_keys.into_iter();
            keys.map(|key| format!("{} {}", key.secret.expose_secret(), key.scopes.words())).collect::<Vec<_>>()
        })
    };
    let all = "calls:read+calls:write+nodes+admin";
    for (text, expect) in [
        ("a", vec![format!("a {all}")]),
        ("a=calls:read", vec!["a calls:read".to_owned()]),
        ("a=calls:read+nodes, b", vec!["a calls:read+nodes".to_owned(), format!("b {all}")]),
        ("YQ==", vec![format!("YQ== {all}")]),
        ("YQ===admin", vec!["YQ== admin".to_owned()]),
        ("a=b=calls:write", vec!["a=b calls:write".to_owned()]),
    ] {
        assert_eq!(keys(text).unwrap(), expect, "{text}");
    }
    for (text, entry) in [("a=s3cret", "1"), ("good,a=calls:read+s3cret", "2"), ("a=calls:read+", "1"), ("=nodes", "1")]
    {
        let error = keys(text).unwrap_err().to_string();
        assert!(error.contains(&format!("VOICEBRIDGE_API_KEYS: entry {entry} ")), "{text}: {error}");
        assert!(!error.contains("s3cret"), "{error}");
    }
}

/// The sections of `.env.example` that begin with one of `titles`: the variables set in them.
fn example(titles: &[&str]) -> Vec<&'static str> {
    let text = include_str!("../../../../.env.example");
    let mut wanted = false;
    let mut variables = Vec::new();
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("# ---- ") {
            wanted = titles.iter().any(|wanted| title.starts_with(wanted));
        } else if wanted && let Some((name, _)) = line.split_once('=').filter(|_| !line.starts_with('#')) {
            variables.push(name);
        }
    }
    variables.sort_unstable();
    variables
}

#[test]
fn the_example_has_every_variable_and_no_other() {
    use clap::CommandFactory as _;
    let command = raw::Environment::command();
    let mut read: Vec<_> =
        command.get_arguments().filter_map(|argument| argument.get_env()?.to_str().map(str::to_owned)).collect();
    // Telemetry's, the same in every program.
    read.extend(["VOICEBRIDGE_LOG_FORMAT", "RUST_LOG", "OTEL_EXPORTER_OTLP_ENDPOINT"].map(str::to_owned));
    read.sort_unstable();
    assert_eq!(example(&["Control plane", "Both planes"]), read);
}

#[test]
fn no_debug_output_shows_a_secret() {
    let config = Config::resolve(RawConfig {
        whatsapp_access_token: some("EAAG-token"),
        whatsapp_phone_number_id: some("106"),
        whatsapp_app_secret: some("app-s3cret"),
        whatsapp_verify_token: some("verify-w0rd"),
        api_keys: some("key-0ne"),
        node_token: some("node-t0ken"),
        ..Default::default()
    })
    .unwrap();
    let shown = format!("{config:?}");
    for secret in ["EAAG-token", "app-s3cret", "verify-w0rd", "key-0ne", "node-t0ken"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[test]
fn callbacks_want_an_address_and_a_key() {
    let resolve = |url: &str, secret: &str| {
        Config::resolve(RawConfig {
            callback_url: Some(url.to_owned()),
            callback_secret: Some(secret.to_owned()),
            ..RawConfig::default()
        })
    };
    let wrong = |url: &str, secret: &str| -> Vec<&str> {
        let errors = resolve(url, secret).unwrap_err();
        assert!(!errors.to_string().contains("c2VjcmV0"), "{errors}");
        errors.0.iter().map(|error| error.variable).collect()
    };
    const SECRET: &str = "whsec_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0";
    const URL: &str = "https://project.supabase.co/functions/v1/wa-webhook-voice-calls?x=1";
    let config = resolve(URL, SECRET).unwrap();
    assert_eq!(config.callback.as_ref().unwrap().url, URL);
    assert!(!format!("{config:?}").contains("secret"), "{config:?}");
    assert!(resolve("", "").unwrap().callback.is_none());
    assert_eq!(wrong(URL, ""), ["VOICEBRIDGE_CALLBACK_SECRET"]);
    assert_eq!(wrong("", SECRET), ["VOICEBRIDGE_CALLBACK_URL"]);
    for url in ["ftp://x", "x", "/path", "https://user:c2VjcmV0@host/"] {
        assert_eq!(wrong(url, SECRET), ["VOICEBRIDGE_CALLBACK_URL"], "{url}");
    }
    for secret in ["c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", "whsec_", "whsec_c2VjcmV0", "whsec_%%c2VjcmV0"] {
        assert_eq!(wrong(URL, secret), ["VOICEBRIDGE_CALLBACK_SECRET"], "{secret}");
    }
}

#[test]
fn a_token_alone_is_enough_to_hang_up() {
    let some = |text: &str| Some(text.to_owned());
    let access = |token, number| {
        let raw = RawConfig {
            whatsapp_access_token: some(token),
            whatsapp_phone_number_id: some(number),
            ..RawConfig::default()
        };
        let config = Config::resolve(raw).unwrap();
        assert!(config.whatsapp.is_err());
        config.graph_access.map(|access| access.phone_number_id)
    };
    assert_eq!(access("EAAG", "106"), Some(some("106")));
    assert_eq!(access("EAAG", ""), Some(None));
    assert_eq!(access("", "106"), None);
}

#[test]
fn the_password_of_a_database_is_not_in_debug_output() {
    let url = "postgres://u:hunter2@db.example/x?sslmode=verify-full";
    let config = Config::resolve(RawConfig { database_url: some(url), ..RawConfig::default() }).unwrap();
    assert_eq!(&*config.database_url, url);
    let shown = format!("{config:?}");
    assert!(shown.contains("postgres:...") && !shown.contains("hunter2"), "{shown}");
}
