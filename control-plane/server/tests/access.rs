//! Who is let in where: every method of the contract and every HTTP path, by every kind of caller, in each path's shape.

#![allow(clippy::unwrap_used)]

mod support;

use http::HeaderMap;
use sha2::Digest as _;
use support::{Graph, PATIENCE, Plane, plane, until};
use tonic::{Code, Request, Status, client::Grpc};
use tonic_prost::ProstCodec;
use voicebridge_proto::control::v1::{CreateReadTokenRequest, key_service_client::KeyServiceClient};
use voicebridge_server::{
    access::{Access, HTTP, Policy, Scope, Scopes},
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
    let mut request = Request::new(CreateReadTokenRequest { call_id: call_id.to_owned(), lifetime: None });
    request.metadata_mut().insert("x-api-key", "key-with-calls:read".parse().unwrap());
    keys.create_read_token(request).await.unwrap().into_inner().token
}

/// What must come of it: `None` let in, else code and reason.
fn expected(what: &str, access: Access, caller: &Caller) -> Option<(Code, &'static str)> {
    let limited = Some((Code::PermissionDenied, "READ_TOKEN_LIMITED"));
    match (access, caller.holds) {
        (Access::Open, _) => None,
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

/// Every gRPC method on the listener, with what it wants.
fn methods() -> Vec<(String, Access)> {
    let policy = Policy::of_the_contract();
    let served = ["CallService", "KeyService", "FleetService", "NodeService"];
    let of_ours = policy
        .methods()
        .filter(|(path, _)| served.iter().any(|name| path.starts_with(&format!("/voicebridge.control.v1.{name}/"))))
        .map(|(path, access)| (path.to_owned(), access.unwrap()));
    let others = HTTP.iter().filter(|(route, _)| route.ends_with("{*method}")).map(|(route, access)| {
        let method = if route.contains("Health") { "Check" } else { "ServerReflectionInfo" };
        (route.replace("{*method}", method), *access)
    });
    let methods: Vec<_> = of_ours.chain(others).collect();
    assert!(methods.len() > 15, "{methods:?}");
    methods
}

/// Sends an empty message. Whatever the method makes of it, the guard stands before it.
async fn over_grpc(plane: &Plane, path: &str, caller: &Caller) -> Result<(), Status> {
    let mut grpc = Grpc::new(plane::channel(&plane.url).await.unwrap());
    grpc.ready().await.unwrap();
    let mut request = Request::new(tokio_stream::iter([()]));
    if let Some(key) = &caller.key {
        request.metadata_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
    }
    let codec = ProstCodec::<(), ()>::default();
    let asking = grpc.streaming(request, path.parse().unwrap(), codec);
    tokio::time::timeout(PATIENCE, asking).await.unwrap().map(|_| ())
}

async fn over_grpc_web(plane: &Plane, path: &str, caller: &Caller) -> Result<(), Status> {
    let mut request = plane.http.post(format!("{}{path}", plane.url)).body(vec![0; 5]);
    request = request.header("content-type", "application/grpc-web+proto").header("x-grpc-web", "1");
    if let Some(key) = &caller.key {
        request = request.header("x-api-key", key).header("authorization", format!("Bearer {key}"));
    }
    let answer = tokio::time::timeout(PATIENCE, request.send()).await.unwrap().unwrap();
    assert_eq!(answer.status(), 200, "{path}");
    assert_eq!(answer.headers()["content-type"], "application/grpc-web+proto", "{path}");
    Status::from_header_map(answer.headers()).filter(|status| status.code() != Code::Ok).map_or(Ok(()), Err)
}

#[tokio::test]
async fn every_method_over_grpc_and_grpc_web() {
    let (plane, callers) = system().await;
    for (path, access) in methods() {
        for caller in &callers {
            check(&path, access, caller, over_grpc(&plane, &path, caller).await);
            check(&format!("{path} over gRPC-web"), access, caller, over_grpc_web(&plane, &path, caller).await);
        }
    }
}

/// As an error of gRPC, to be judged alike.
async fn over_http(
    plane: &Plane,
    method: &reqwest::Method,
    path: &str,
    headers: HeaderMap,
) -> Option<Result<(), Status>> {
    let request = plane.http.request(method.clone(), format!("{}{path}", plane.url)).headers(headers);
    let answer = request.send().await.unwrap();
    let code = match answer.status().as_u16() {
        405 => return None,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::NotFound,
        _ => return Some(Ok(())),
    };
    let challenge = answer.headers().contains_key("www-authenticate");
    let body: serde_json::Value = answer.json().await.unwrap();
    let reason = body["reason"].as_str().unwrap();
    assert_ne!(reason, "PATH_NOT_FOUND", "{path} is listed and not served");
    assert_eq!(challenge, code == Code::Unauthenticated);
    let message = body["message"].as_str().unwrap();
    let scope = Scope::ALL.map(Scope::word).into_iter().find(|word| message.contains(word)).unwrap_or_default();
    let details: &[(&str, &str)] = if reason == "SCOPE_MISSING" { &[("scope", scope)] } else { &[] };
    Some(Err(voicebridge_telemetry::status::status(code, reason, message, details)))
}

#[tokio::test]
async fn every_path_over_http() {
    let (plane, callers) = system().await;
    for (route, access) in HTTP.iter().filter(|(route, _)| !route.ends_with("{*method}")) {
        let path = match *route {
            // Meta's word is checked by the path itself.
            "/webhooks/whatsapp" => {
                "/webhooks/whatsapp?hub.mode=subscribe&hub.challenge=7&hub.verify_token=verify-word"
            }
            // Without a stream that does not end: whoever is let in is told of the mistake.
            "/events" => "/events?start=never",
            route => &route.replace("{call_id}", "x"),
        };
        for caller in &callers {
            let mut served = 0;
            for method in [reqwest::Method::GET, reqwest::Method::POST] {
                for name in ["authorization", "x-api-key"] {
                    let scheme = if name == "authorization" { "Bearer " } else { "" };
                    let headers =
                        caller.key.iter().map(|key| (name.parse().unwrap(), format!("{scheme}{key}").parse().unwrap()));
                    // The node token is a bearer token only.
                    if let Some(answer) = over_http(&plane, &method, path, headers.collect()).await {
                        check(&format!("{method} {path} by {name}"), *access, caller, answer);
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
