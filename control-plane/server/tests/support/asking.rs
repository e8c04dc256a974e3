//! Asks for everything on the listener: every method of the contract over gRPC and gRPC-web, every path over HTTP.

use http::HeaderMap;
use tonic::{Code, Request, Status, client::Grpc};
use tonic_prost::ProstCodec;
use voicebridge_server::access::{Access, HTTP, Policy, Scope};

use super::PATIENCE;

/// Every gRPC method on the listener, with what it wants.
pub fn methods() -> Vec<(String, Access)> {
    let policy = Policy::of_the_contract();
    let served = [
        "control.v1.CallService",
        "control.v1.KeyService",
        "control.v1.FleetService",
        "control.v1.ServerService",
        "media.v1.NodeService",
    ];
    let of_ours = policy
        .methods()
        .filter(|(path, _)| served.iter().any(|name| path.starts_with(&format!("/voicebridge.{name}/"))))
        .map(|(path, access)| (path.to_owned(), access.unwrap()));
    let others = HTTP.iter().filter(|(route, _)| route.ends_with("{*method}")).map(|(route, access)| {
        let method = if route.contains("Health") { "Check" } else { "ServerReflectionInfo" };
        (route.replace("{*method}", method), *access)
    });
    let methods: Vec<_> = of_ours.chain(others).collect();
    assert!(methods.len() > 15, "{methods:?}");
    methods
}

/// Every path over HTTP that is no gRPC method, with what it wants: something to ask for each.
pub fn paths() -> Vec<(String, Access)> {
    let plain = HTTP.iter().filter(|(route, _)| !route.ends_with("{*method}"));
    plain
        .map(|(route, access)| {
            let path = match *route {
                // Meta's word is checked by the path itself.
                "/webhooks/whatsapp" => {
                    "/webhooks/whatsapp?hub.mode=subscribe&hub.challenge=7&hub.verify_token=verify-word".to_owned()
                }
                // Without a stream that does not end: whoever is let in is told of the mistake.
                "/events" => "/events?start=never".to_owned(),
                route => route.replace("{call_id}", "x"),
            };
            (path, *access)
        })
        .collect()
}

/// Sends an empty message. Whatever the method makes of it, the guard stands before it.
pub async fn over_grpc(url: &str, path: &str, key: Option<&str>) -> Result<(), Status> {
    let mut grpc = Grpc::new(super::plane::channel(url).await.unwrap());
    grpc.ready().await.unwrap();
    let mut request = Request::new(tokio_stream::iter([()]));
    if let Some(key) = key {
        request.metadata_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
    }
    let codec = ProstCodec::<(), ()>::default();
    let asking = grpc.streaming(request, path.parse().unwrap(), codec);
    tokio::time::timeout(PATIENCE, asking).await.unwrap().map(|_| ())
}

pub async fn over_grpc_web(url: &str, path: &str, key: Option<&str>) -> Result<(), Status> {
    let mut request = reqwest::Client::new().post(format!("{url}{path}")).body(vec![0; 5]);
    request = request.header("content-type", "application/grpc-web+proto").header("x-grpc-web", "1");
    if let Some(key) = key {
        request = request.header("x-api-key", key).header("authorization", format!("Bearer {key}"));
    }
    let answer = tokio::time::timeout(PATIENCE, request.send()).await.unwrap().unwrap();
    assert_eq!(answer.status(), 200, "{path}");
    assert_eq!(answer.headers()["content-type"], "application/grpc-web+proto", "{path}");
    Status::from_header_map(answer.headers()).filter(|status| status.code() != Code::Ok).map_or(Ok(()), Err)
}

/// As an error of gRPC, to be judged alike.
pub async fn over_http(
    url: &str,
    method: &reqwest::Method,
    path: &str,
    headers: HeaderMap,
) -> Option<Result<(), Status>> {
    let request = reqwest::Client::new().request(method.clone(), format!("{url}{path}")).headers(headers);
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
