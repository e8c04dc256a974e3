//! Who is let in where: every method of the contract and every HTTP path, by every kind of caller, in each path's shape.

#![allow(clippy::unwrap_used)]

mod support;

use sha2::Digest as _;
use support::{
    Graph, Plane,
    asking::{methods, over_grpc, over_grpc_web, over_http, paths},
    connect, plane, until,
};
use tonic::{Code, Request, Status};
use voicebridge_proto::control::v1::{
    CreateReadTokenRequest, GetServerInfoRequest, key_service_client::KeyServiceClient,
    server_service_client::ServerServiceClient,
};
use voicebridge_server::{
    access::{Access, Scope, Scopes},
    config::ApiKey,
    store::{KeyStore as _, NewKey, Settings},
};
use voicebridge_telemetry::status::{metadata, reason};

const NODE_TOKEN: &str = "node-token";

/// Somebody who asks.
#[derive(Clone, Debug)]
struct Caller {
    what: &'static str,
    key: Option<String>,
    holds: Holds,
}

#[derive(Clone, Copy, Debug)]
enum Holds {
    /// Nothing of use; refused with this reason.
    Nothing(&'static str),
    Scope(Scope),
    /// A read token for all calls.
    Token,
    /// A read token for the call "x".
    TokenForOne,
    NodeToken,
}

/// One key for each scope.
fn key_of(scope: Scope) -> ApiKey {
    let mut key = ApiKey::from(format!("key with {}", scope.word()).replace(' ', "-").as_str());
    key.scopes = Scopes::from_iter([scope]);
    key
}

async fn system() -> (Plane, Vec<Caller>) {
    let graph = Graph::start().await;
    let mut config = plane::config(&graph.url);
    config.api_keys = Scope::ALL.map(key_of).to_vec();
    config.node_token = Some(NODE_TOKEN.into());
    let plane = Plane::start_with(config).await;
    let mut callers = vec![
        Caller { what: "nobody", key: None, holds: Holds::Nothing("UNAUTHENTICATED") },
        Caller { what: "a guess", key: Some("guess".to_owned()), holds: Holds::Nothing("UNAUTHENTICATED") },
        Caller { what: "a node", key: Some(NODE_TOKEN.to_owned()), holds: Holds::NodeToken },
    ];
    callers.extend(Scope::ALL.map(|scope| Caller {
        what: scope.word(),
        key: Some(format!("key-with-{}", scope.word())),
        holds: Holds::Scope(scope),
    }));
    callers.extend(spent_keys(&plane).await);
    assert_eq!(plane.deliver(&[connect("x")]).await, 200);
    let tokens = [("a token", "", Holds::Token), ("a token for x", "x", Holds::TokenForOne)];
    for (what, call_id, holds) in tokens {
        callers.push(Caller { what, key: Some(token(&plane, call_id).await), holds });
    }
    (plane, callers)
}

/// Keys of the table that work no more, as another process would leave them there. The plane sees them soon.
async fn spent_keys(plane: &Plane) -> [Caller; 2] {
    let store = plane.store().await;
    let hash = |key: &str| sha2::Sha256::digest(key.as_bytes()).into();
    for (key, expires_at_ms) in [("expired", Some(2_000)), ("revoked", None)] {
        let new = NewKey {
            key_id: key.to_owned(),
            hash: hash(key),
            name: String::new(),
            scopes: Scopes::ALL,
            created_at_ms: 1_000,
            expires_at_ms,
        };
        store.create_key(&new, Settings::Admin, 9).await.unwrap();
    }
    store.revoke_key("revoked", 1_500, Settings::Admin).await.unwrap();
    store.shut().await;
    let callers = [("expired", "KEY_EXPIRED"), ("revoked", "KEY_REVOKED")].map(|(key, reason)| Caller {
        what: key,
        key: Some(key.to_owned()),
        holds: Holds::Nothing(reason),
    });
    for caller in &callers {
        until("the keys are seen", || async {
            let request = plane.http.get(format!("{}/sessions", plane.url)).header("x-api-key", caller.what);
            let answer: serde_json::Value = request.send().await.unwrap().json().await.unwrap();
            (answer["reason"] != "UNAUTHENTICATED").then_some(())
        })
        .await;
    }
    callers
}

async fn token(plane: &Plane, call_id: &str) -> String {
    let mut keys = KeyServiceClient::new(plane::channel(&plane.url).await.unwrap());
    let mut request = Request::new(CreateReadTokenRequest { call_id: call_id.to_owned(), lifetime_ms: None });
    request.metadata_mut().insert("x-api-key", "key-with-calls:read".parse().unwrap());
    keys.create_read_token(request).await.unwrap().into_inner().token
}

/// What must come of it: `None` let in, else code and reason.
fn expected(what: &str, access: Access, caller: &Caller) -> Option<(Code, &'static str)> {
    let limited = Some((Code::PermissionDenied, "READ_TOKEN_LIMITED"));
    match (access, caller.holds) {
        (Access::Open, _) => None,
        (Access::AnyKey, Holds::Scope(_) | Holds::Token | Holds::TokenForOne) => None,
        (Access::AnyKey, Holds::Nothing(reason)) => Some((Code::Unauthenticated, reason)),
        (Access::Key(Scope::CallsRead), Holds::Token) if !what.contains("/CreateReadToken") => None,
        (Access::Key(Scope::CallsRead), Holds::TokenForOne) if what.contains(" /sessions/x ") => None,
        (Access::Key(Scope::CallsRead), Holds::Token | Holds::TokenForOne) => limited,
        (Access::Key(_), Holds::Token | Holds::TokenForOne) => Some((Code::PermissionDenied, "SCOPE_MISSING")),
        (Access::NodeToken, Holds::NodeToken) => None,
        (Access::Key(wanted), Holds::Scope(held)) => {
            (held != wanted && held != Scope::Admin).then_some((Code::PermissionDenied, "SCOPE_MISSING"))
        }
        (Access::Key(_), Holds::Nothing(reason)) => Some((Code::Unauthenticated, reason)),
        (Access::NodeToken, _) | (_, Holds::NodeToken) => Some((Code::Unauthenticated, "UNAUTHENTICATED")),
    }
}

/// Reasons that the guard gives.
fn is_refusal(reason: &str) -> bool {
    ["UNAUTHENTICATED", "KEY_EXPIRED", "KEY_REVOKED", "SCOPE_MISSING", "READ_TOKEN_LIMITED"].contains(&reason)
}

#[track_caller]
fn check(what: &str, access: Access, caller: &Caller, answer: Result<(), Status>) {
    let refusal = answer.err().and_then(|status| {
        let reason = reason(&status)?;
        is_refusal(&reason).then(|| (status.code(), reason, metadata(&status, "scope")))
    });
    let expect = expected(what, access, caller).map(|(code, reason)| {
        let scope = match access {
            Access::Key(scope) if reason == "SCOPE_MISSING" => Some(scope.word().to_owned()),
            _ => None,
        };
        (code, reason.to_owned(), scope)
    });
    assert_eq!(refusal, expect, "{what}, {access:?}, asked by {}", caller.what);
}

#[tokio::test]
async fn every_method_over_grpc_and_grpc_web() {
    let (plane, callers) = system().await;
    for (path, access) in methods() {
        for caller in &callers {
            check(&path, access, caller, over_grpc(&plane.url, &path, caller.key.as_deref()).await);
            check(
                &format!("{path} over gRPC-web"),
                access,
                caller,
                over_grpc_web(&plane.url, &path, caller.key.as_deref()).await,
            );
        }
    }
}

#[tokio::test]
async fn every_path_over_http() {
    let (plane, callers) = system().await;
    for (path, access) in paths() {
        let path = path.as_str();
        for caller in &callers {
            let mut served = 0;
            for method in [reqwest::Method::GET, reqwest::Method::POST] {
                for name in ["authorization", "x-api-key"] {
                    let scheme = if name == "authorization" { "Bearer " } else { "" };
                    let headers =
                        caller.key.iter().map(|key| (name.parse().unwrap(), format!("{scheme}{key}").parse().unwrap()));
                    // The node token is a bearer token only.
                    if let Some(answer) = over_http(&plane.url, &method, path, headers.collect()).await {
                        check(&format!("{method} {path} by {name}"), access, caller, answer);
                        served += 1;
                    }
                }
            }
            // The guard comes first, so that whoever is turned away does not learn which methods there are.
            assert!(served > 0, "{path}");
        }
    }
}

#[tokio::test]
async fn pages_of_foreign_origins() {
    let graph = Graph::start().await;
    let mut config = plane::config(&graph.url);
    config.api_keys = vec!["key-1".into()];
    config.cors_origins = voicebridge_server::config::Origins::Listed(vec!["https://app.example".to_owned()]);
    let plane = Plane::start_with(config).await;
    let paths = ["/sessions", "/sessions/x/stop", "/voicebridge.control.v1.CallService/ListCalls"];
    for path in paths {
        for (origin, allowed) in [
            ("https://app.example", true),
            ("https://evil.example", false),
            ("https://app.example.evil.example", false),
            ("http://app.example", false),
            ("null", false),
        ] {
            let url = format!("{}{path}", plane.url);
            let preflight = plane.http.request(reqwest::Method::OPTIONS, &url).header("origin", origin);
            let preflight = preflight
                .header("access-control-request-method", "POST")
                .header("access-control-request-headers", "authorization,content-type,x-grpc-web")
                .send()
                .await
                .unwrap();
            let granted = preflight.headers().get("access-control-allow-origin").map(|value| value.to_str().unwrap());
            assert_eq!(granted, allowed.then_some(origin), "{path} {origin}");
            // A refusal, too, can be read by a page that may call, and by no other.
            let refused = plane.http.post(&url).header("origin", origin).send().await.unwrap();
            assert_eq!(refused.status(), 401, "{path}");
            assert_eq!(refused.headers().contains_key("access-control-allow-origin"), allowed, "{path} {origin}");
        }
    }
}

#[tokio::test]
async fn any_key_is_told_which_contract_and_program_this_is() {
    let (plane, callers) = system().await;
    let reader = callers.iter().find(|caller| matches!(caller.holds, Holds::TokenForOne)).unwrap();
    let mut server = ServerServiceClient::new(plane::channel(&plane.url).await.unwrap());
    let mut request = Request::new(GetServerInfoRequest {});
    request.metadata_mut().insert("x-api-key", reader.key.as_deref().unwrap().parse().unwrap());
    let info = server.get_server_info(request).await.unwrap().into_inner();
    assert_eq!(info.program_version, env!("CARGO_PKG_VERSION"));
    let (major, minor) = info.contract_version.split_once('.').unwrap();
    assert!(major.parse::<u32>().is_ok() && minor.parse::<u32>().is_ok(), "{}", info.contract_version);
}
