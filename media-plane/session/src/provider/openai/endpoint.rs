//! Where and as whom to connect.

use crate::provider::Endpoint;

/// What a connection needs to know. Borrows, so that nothing here keeps a secret.
#[derive(Clone, Copy)]
pub struct EndpointRequest<'a> {
    /// Base, e.g. [`super::DEFAULT_URL`]; may carry a query of its own.
    pub url: &'a str,
    /// Fixed for the connection's life.
    pub model: &'a str,
    /// A secret.
    pub api_key: &'a str,
    /// `OPENAI_ORG_ID`.
    pub organization: Option<&'a str>,
    /// `OPENAI_PROJECT_ID`.
    pub project: Option<&'a str>,
    /// Stable id of the end user, already hashed: the provider never learns the number.
    pub safety_identifier: Option<&'a str>,
}

/// Where to connect, and with which headers. Never `OpenAI-Beta`: the GA service refuses it.
#[must_use]
pub fn endpoint(connection: EndpointRequest<'_>) -> Endpoint {
    let base = connection.url.trim_end_matches('/');
    let separator = if base.contains('?') { '&' } else { '?' };
    let optional = [
        ("openai-organization", connection.organization),
        ("openai-project", connection.project),
        ("openai-safety-identifier", connection.safety_identifier),
    ];
    let mut headers = vec![("authorization", format!("Bearer {}", connection.api_key))];
    headers.extend(
        optional
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.filter(|value| !value.is_empty())?.to_owned()))),
    );
    Endpoint { url: format!("{base}{separator}model={}", percent_encoded(connection.model)), headers }
}

/// RFC 3986, section 2.3: everything but unreserved characters is escaped.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONNECTION: EndpointRequest<'_> = EndpointRequest {
        url: "wss://api.openai.com/v1/realtime",
        model: "gpt-realtime-2.1",
        api_key: "sk-secret",
        organization: None,
        project: None,
        safety_identifier: None,
    };

    #[test]
    fn the_model_is_in_the_query() {
        let url = |connection| endpoint(connection).url;
        assert_eq!(url(CONNECTION), "wss://api.openai.com/v1/realtime?model=gpt-realtime-2.1");
        assert_eq!(
            url(EndpointRequest { url: "ws://127.0.0.1:9/rt/?a=b", ..CONNECTION }),
            "ws://127.0.0.1:9/rt/?a=b&model=gpt-realtime-2.1"
        );
        assert_eq!(
            url(EndpointRequest { model: "a b&c", ..CONNECTION }),
            "wss://api.openai.com/v1/realtime?model=a%20b%26c"
        );
    }

    #[test]
    fn headers_are_those_set_and_never_beta() {
        let names = |connection| endpoint(connection).headers.into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(names(CONNECTION), ["authorization"]);
        let all = EndpointRequest {
            organization: Some("org-1"),
            project: Some("proj-1"),
            safety_identifier: Some("3f9a"),
            ..CONNECTION
        };
        assert_eq!(names(all), ["authorization", "openai-organization", "openai-project", "openai-safety-identifier"]);
        assert_eq!(endpoint(all).headers[0].1, "Bearer sk-secret");
        assert_eq!(names(EndpointRequest { organization: Some(""), ..CONNECTION }), ["authorization"]);
    }

    #[test]
    fn debug_shows_no_secret() {
        assert!(!format!("{:?}", endpoint(CONNECTION)).contains("sk-secret"));
    }
}
