//! The media types of gRPC and gRPC-web: told without regard to case and parameters (RFC 9110, section 8.3.1).
//!
//! tonic-web compares whole header values, and answers those it does not know by an empty 400. Clients and hosts put
//! `; charset=utf-8` behind the type, which changes nothing about it. So the request goes on with the bare type.
//!
//! Does not touch the types of others.

use axum::extract::Request;
use http::{HeaderMap, HeaderName, HeaderValue, header};

/// How every type of gRPC-web begins.
pub(super) const GRPC_WEB: &str = "application/grpc-web";
/// How those of gRPC itself begin, too.
const GRPC: &str = "application/grpc";
/// The types of gRPC-web that are served: messages as bytes, and in base64.
const SERVED: [&str; 4] =
    [GRPC_WEB, "application/grpc-web+proto", "application/grpc-web-text", "application/grpc-web-text+proto"];

/// The request with bare types of gRPC in `content-type` and `accept`.
pub(super) async fn bare_grpc_types(mut request: Request) -> Request {
    for name in [header::CONTENT_TYPE, header::ACCEPT] {
        make_bare(request.headers_mut(), name);
    }
    request
}

fn make_bare(headers: &mut HeaderMap, name: HeaderName) {
    let Some(value) = headers.get(&name).and_then(|value| value.to_str().ok()) else { return };
    let bare = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if bare != value && bare.starts_with(GRPC) {
        // A piece of a header value is one.
        if let Ok(bare) = HeaderValue::try_from(bare) {
            headers.insert(name, bare);
        }
    }
}

/// Whether what begins as gRPC does is something that is served.
///
/// # Errors
/// The rule that a type of gRPC-web breaks.
pub(super) fn is_served(content_type: &[u8]) -> Result<(), &'static str> {
    if content_type.starts_with(GRPC_WEB.as_bytes()) && !SERVED.iter().any(|known| known.as_bytes() == content_type) {
        return Err("must be application/grpc-web or application/grpc-web-text, each alone or with +proto");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[tokio::test]
    async fn types_of_grpc_lose_their_parameters_and_those_of_others_keep_them() {
        for (given, expect) in [
            ("application/grpc", "application/grpc"),
            ("application/grpc; x=y", "application/grpc"),
            ("APPLICATION/GRPC-WEB-TEXT+proto;charset=\"a;b\"", "application/grpc-web-text+proto"),
            ("application/json; charset=utf-8", "application/json; charset=utf-8"),
            ("Text/Event-Stream", "Text/Event-Stream"),
            (";", ";"),
        ] {
            let request = Request::builder().header("content-type", given).header("accept", given);
            let bare = bare_grpc_types(request.body(axum::body::Body::empty()).unwrap()).await;
            for name in ["content-type", "accept"] {
                assert_eq!(bare.headers()[name], expect, "{name}: {given}");
            }
        }
    }
}
