//! What becomes of an HTTP request: an upgrade, an upgrade that ends with an error, or a refusal.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::handshake::server::Request;

use super::{
    protocol::ProtocolError,
    settings::{AiSettings, Faults, UnknownModel},
};

/// The only path served.
const PATH: &str = "/v1/realtime";

/// What the server does with a request.
#[derive(Debug, PartialEq)]
pub(super) enum Decision {
    /// A session begins.
    Accept,
    /// The socket opens, this error is sent, the socket closes.
    AcceptThenRefuse(ProtocolError),
    /// An HTTP error with this body.
    Refuse { status: u16, body: Value },
}

/// The `model` of the query; empty when there is none.
pub(super) fn model(request: &Request) -> String {
    let query = request.uri().query().unwrap_or_default();
    let model = query.split('&').find_map(|pair| pair.strip_prefix("model="));
    model.unwrap_or_default().to_owned()
}

/// Headers in lower case; the bearer does not leave this function.
pub(super) fn headers(request: &Request) -> BTreeMap<String, String> {
    let shown = |name: &str, value: &[u8]| match name {
        "authorization" => "Bearer ***".to_owned(),
        _ => String::from_utf8_lossy(value).into_owned(),
    };
    let headers = request.headers().iter();
    headers.map(|(name, value)| (name.as_str().to_owned(), shown(name.as_str(), value.as_bytes()))).collect()
}

pub(super) fn decide(request: &Request, settings: &AiSettings, faults: &Faults) -> Decision {
    if request.uri().path() != PATH {
        let message = format!("Invalid URL (GET {})", request.uri().path());
        return refuse(404, "invalid_request_error", None, &message);
    }
    if let Some(status) = faults.refuse_upgrade {
        return refuse_on_demand(status);
    }
    if let Err(decision) = check_bearer(request, settings) {
        return decision;
    }
    if request.headers().contains_key("openai-beta") {
        return Decision::AcceptThenRefuse(ProtocolError::beta_shape(None));
    }
    let model = model(request);
    if model.is_empty() {
        let error = ProtocolError::new("missing_model", "You must provide a model parameter.").at("model").fatal();
        return Decision::AcceptThenRefuse(error);
    }
    if settings.models.contains(&model) {
        return Decision::Accept;
    }
    let error = ProtocolError::model_not_found(&model, &settings.models);
    match settings.unknown_model {
        UnknownModel::ErrorEvent => Decision::AcceptThenRefuse(error),
        UnknownModel::Http => refuse(404, "invalid_request_error", Some("model_not_found"), &error.message),
    }
}

fn check_bearer(request: &Request, settings: &AiSettings) -> Result<(), Decision> {
    let header = request.headers().get("authorization").and_then(|value| value.to_str().ok());
    let bearer = header.and_then(|value| value.strip_prefix("Bearer ")).map(str::trim).filter(|key| !key.is_empty());
    match (bearer, &settings.api_key) {
        (None, _) => {
            let message = "You didn't provide an API key. You need to provide your API key in an Authorization header \
                           using Bearer auth (i.e. Authorization: Bearer YOUR_KEY).";
            Err(refuse(401, "invalid_request_error", None, message))
        }
        (Some(bearer), Some(key)) if bearer != key => {
            let message = "Incorrect API key provided. You can find your API key at \
                           https://platform.openai.com/account/api-keys.";
            Err(refuse(401, "invalid_request_error", Some("invalid_api_key"), message))
        }
        _ => Ok(()),
    }
}

fn refuse_on_demand(status: u16) -> Decision {
    match status {
        401 => refuse(401, "invalid_request_error", Some("invalid_api_key"), "Incorrect API key provided."),
        403 => refuse(
            403,
            "invalid_request_error",
            Some("unsupported_country_region_territory"),
            "Country, region, or territory not supported",
        ),
        404 => refuse(
            404,
            "invalid_request_error",
            Some("model_not_found"),
            "The model does not exist or you do not have access to it.",
        ),
        429 => refuse(
            429,
            "insufficient_quota",
            Some("insufficient_quota"),
            "You exceeded your current quota, please check your plan and billing details.",
        ),
        status => refuse(
            status,
            "server_error",
            None,
            "The server had an error while processing your request. Sorry about that!",
        ),
    }
}

fn refuse(status: u16, kind: &str, code: Option<&str>, message: &str) -> Decision {
    Decision::Refuse { status, body: json!({"error": {"message": message, "type": kind, "param": null, "code": code}}) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn request(uri: &str, headers: &[(&str, &str)]) -> Request {
        let builder =
            headers.iter().fold(Request::builder().uri(uri), |builder, (name, value)| builder.header(*name, *value));
        builder.body(()).unwrap()
    }

    fn settings() -> AiSettings {
        AiSettings { api_key: Some("sk-right".to_owned()), ..AiSettings::default() }
    }

    const GOOD: (&str, &str) = ("Authorization", "Bearer sk-right");
    const URI: &str = "/v1/realtime?model=gpt-realtime-2.1";

    /// The HTTP status, or the code of the error event, or `ok`.
    #[track_caller]
    fn check(request: &Request, settings: &AiSettings, expected: &str) {
        let found = match decide(request, settings, &settings.faults) {
            Decision::Accept => "ok".to_owned(),
            Decision::AcceptThenRefuse(error) => error.code.unwrap_or_default().to_owned(),
            Decision::Refuse { status, body } => format!("{status} {}", body["error"]["code"]),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn requests_are_judged_like_the_real_ones() {
        check(&request(URI, &[GOOD]), &settings(), "ok");
        check(&request("/v1/realtime?x=1&model=gpt-realtime-2", &[GOOD]), &settings(), "ok");
        check(&request(URI, &[]), &settings(), "401 null");
        check(&request(URI, &[("Authorization", "Bearer ")]), &settings(), "401 null");
        check(&request(URI, &[("Authorization", "Bearer sk-wrong")]), &settings(), "401 \"invalid_api_key\"");
        check(&request("/v2/realtime?model=gpt-realtime-2.1", &[GOOD]), &settings(), "404 null");
        check(&request(URI, &[GOOD, ("OpenAI-Beta", "realtime=v1")]), &settings(), "beta_api_shape_disabled");
        check(&request("/v1/realtime", &[GOOD]), &settings(), "missing_model");
        check(&request("/v1/realtime?model=gpt-5-realtime", &[GOOD]), &settings(), "model_not_found");
        let by_http = AiSettings { unknown_model: UnknownModel::Http, ..settings() };
        check(&request("/v1/realtime?model=gpt-5-realtime", &[GOOD]), &by_http, "404 \"model_not_found\"");
    }

    #[test]
    fn refusals_on_demand_come_before_everything() {
        for status in [401, 403, 404, 429, 500, 503] {
            let faults = Faults { refuse_upgrade: Some(status), ..Faults::default() };
            let decision = decide(&request(URI, &[GOOD]), &settings(), &faults);
            assert!(matches!(decision, Decision::Refuse { status: found, .. } if found == status), "{decision:?}");
        }
    }

    #[test]
    fn the_bearer_is_not_recorded() {
        let headers = headers(&request(URI, &[GOOD, ("OpenAI-Project", "p")]));
        assert_eq!(headers["authorization"], "Bearer ***");
        assert_eq!(headers["openai-project"], "p");
    }
}
