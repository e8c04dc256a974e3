//! `voicebridge keys`: make, list and revoke API keys; make read tokens.

use voicebridge_proto::control::v1::{
    CreateKeyRequest, CreateReadTokenRequest, Key, ListKeysRequest, RevokeKeyRequest, Scope,
    key_service_client::KeyServiceClient,
};
use voicebridge_server::json;

use crate::{
    args::{KeyScope, Keys, KeysCommand},
    client::connection,
    describe,
    failure::refused,
    print::{DIM, GOOD, WARN, clean, errln, outln},
};

pub(crate) async fn run(args: Keys) -> anyhow::Result<()> {
    let (channel, bearer) = connection(&args.access).await?;
    let mut client = KeyServiceClient::with_interceptor(channel, bearer);
    match args.command {
        KeysCommand::Create(create) => {
            let scopes = create.scope.iter().map(|scope| Scope::from(*scope).into()).collect();
            let lifetime_ms = create.lifetime.map(to_wire);
            let request = CreateKeyRequest { name: create.name, scopes, lifetime_ms };
            let made = client.create_key(request).await.map_err(|status| refused(&status))?.into_inner();
            if args.json {
                return Ok(outln(&json::line(&made))?);
            }
            errln(&format!(
                "{DIM}The key, told this once; VOICEBRIDGE_API_KEY or `authorization: Bearer` takes it:{DIM:#}"
            ));
            Ok(outln(&made.secret)?)
        }
        KeysCommand::List => {
            let listed = client.list_keys(ListKeysRequest {}).await.map_err(|status| refused(&status))?.into_inner();
            if args.json {
                return listed.keys.iter().try_for_each(|key| Ok(outln(&json::line(key))?));
            }
            if listed.keys.is_empty() {
                outln("No keys were made here. `voicebridge keys create --scope admin` makes the first.")?;
            }
            let now = jiff::Timestamp::now().as_second();
            listed.keys.iter().try_for_each(|key| Ok(outln(&line(key, now))?))
        }
        KeysCommand::Revoke { key_id } => {
            let revoked = client.revoke_key(RevokeKeyRequest { key_id }).await.map_err(|status| refused(&status))?;
            let key = revoked.into_inner().key.unwrap_or_default();
            if args.json {
                return Ok(outln(&json::line(&key))?);
            }
            Ok(outln(&line(&key, jiff::Timestamp::now().as_second()))?)
        }
        KeysCommand::Token(token) => {
            let call_id = token.call.unwrap_or_default();
            let request = CreateReadTokenRequest { call_id, lifetime_ms: token.lifetime.map(to_wire) };
            let made = client.create_read_token(request).await.map_err(|status| refused(&status))?.into_inner();
            if args.json {
                return Ok(outln(&json::line(&made))?);
            }
            errln(&format!("{DIM}Reads until {}:{DIM:#}", describe::moment(made.expires_at)));
            Ok(outln(&if token.link { link(&args.access.url, &made.call_id, &made.token) } else { made.token })?)
        }
    }
}

/// Where a browser sees the events: of one call, or of all.
pub(crate) fn link(url: &str, call_id: &str, token: &str) -> String {
    let query = [("call_id", call_id), ("access_token", token)];
    let query: Vec<_> = query
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name}={}", encoded(value)))
        .collect();
    format!("{}/events?{}", url.trim_end_matches('/'), query.join("&"))
}

/// Percent-encoded but for RFC 3986's unreserved characters (section 2.3).
fn encoded(value: &str) -> String {
    value
        .bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}

fn to_wire(lifetime: std::time::Duration) -> u64 {
    u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX)
}

/// One key: id, scopes, what becomes of it, when it was last used, what it is for.
fn line(key: &Key, now_s: i64) -> String {
    let scopes = key.scopes().map(word).collect::<Vec<_>>().join("+");
    let (style, standing) = match (key.revoked_at, key.expires_at) {
        (Some(at), _) => (WARN, format!("revoked {}", describe::moment(Some(at)))),
        (None, Some(at)) if at.seconds <= now_s => (WARN, format!("expired {}", describe::moment(Some(at)))),
        (None, Some(at)) => (GOOD, format!("until {}", describe::moment(Some(at)))),
        (None, None) => (GOOD, "for ever".to_owned()),
    };
    let used = match key.last_used_at {
        Some(at) => format!("used {}", describe::moment(Some(at))),
        None => "never used".to_owned(),
    };
    format!("{}  {style}{standing:<28}{style:#} {scopes:<24} {used:<26} {}", key.key_id, clean(&key.name))
        .trim_end()
        .to_owned()
}

const fn word(scope: Scope) -> &'static str {
    match scope {
        Scope::CallsRead => "calls:read",
        Scope::CallsWrite => "calls:write",
        Scope::Nodes => "nodes",
        Scope::Admin => "admin",
        Scope::Unspecified => "unknown",
    }
}

impl From<KeyScope> for Scope {
    fn from(scope: KeyScope) -> Self {
        match scope {
            KeyScope::CallsRead => Self::CallsRead,
            KeyScope::CallsWrite => Self::CallsWrite,
            KeyScope::Nodes => Self::Nodes,
            KeyScope::Admin => Self::Admin,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn a_key_on_a_line() {
        let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
        let key = Key {
            key_id: "0011223344556677".into(),
            name: "a \u{1b}page".into(),
            scopes: vec![Scope::CallsRead.into(), Scope::Nodes.into()],
            created_at: at(1_790_000_000),
            expires_at: at(1_790_003_600),
            ..Key::default()
        };
        let shown = |key: &Key, now_s| anstream::adapter::strip_str(&line(key, now_s)).to_string();
        let expect = "0011223344556677  until 2026-09-21 15:13:20Z   calls:read+nodes         never used                 \
                      a \u{fffd}page";
        assert_eq!(shown(&key, 1_790_000_000), expect);
        assert!(shown(&key, 1_790_003_600).contains("expired 2026-09-21 15:13:20Z"));
        let revoked = Key { revoked_at: at(1_790_000_060), last_used_at: at(1_790_000_040), ..key };
        let revoked = shown(&revoked, 0);
        assert!(revoked.contains("revoked 2026-09-21 14:14:20Z") && revoked.contains("used 2026-09-21 14:14:00Z"));
    }

    #[test]
    fn links_hold_what_a_page_needs() {
        assert_eq!(link("http://127.0.0.1:3100/", "", "a.b-c_d"), "http://127.0.0.1:3100/events?access_token=a.b-c_d");
        let one = link("https://v.example", "wacid.HB/+=", "t");
        assert_eq!(one, "https://v.example/events?call_id=wacid.HB%2F%2B%3D&access_token=t");
    }

    #[test]
    fn scopes_are_called_alike_everywhere() {
        for scope in KeyScope::value_variants() {
            let named = scope.to_possible_value().map(|value| value.get_name().to_owned());
            assert_eq!(named.as_deref(), Some(word((*scope).into())));
        }
    }
}
