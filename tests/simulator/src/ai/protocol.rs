//! Events and errors of the protocol, as JSON.

use serde_json::{Value, json};

/// An error the client caused. Most leave the session open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ProtocolError {
    pub(super) code: Option<&'static str>,
    pub(super) message: String,
    pub(super) param: Option<String>,
    /// Errors after which the server closes the socket.
    pub(super) fatal: bool,
}

impl ProtocolError {
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code: Some(code), message: message.into(), param: None, fatal: false }
    }

    /// Some real errors carry no code.
    pub(super) fn without_code(message: impl Into<String>) -> Self {
        Self { code: None, message: message.into(), param: None, fatal: false }
    }

    pub(super) fn at(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    pub(super) fn fatal(mut self) -> Self {
        self.fatal = true;
        self
    }

    pub(super) fn invalid_value(param: &str, message: impl Into<String>) -> Self {
        Self::new("invalid_value", message).at(param)
    }

    pub(super) fn missing(param: &str) -> Self {
        Self::new("missing_required_parameter", format!("Missing required parameter: '{param}'.")).at(param)
    }

    pub(super) fn unknown(param: &str) -> Self {
        Self::new("unknown_parameter", format!("Unknown parameter: '{param}'.")).at(param)
    }

    pub(super) fn invalid_type(param: &str, expected: &str, got: &Value) -> Self {
        let got = match got {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(number) if number.is_f64() => "a decimal number",
            Value::Number(_) => "an integer",
            Value::String(_) => "a string",
            Value::Array(_) => "an array",
            Value::Object(_) => "an object",
        };
        let message = format!("Invalid type for '{param}': expected {expected}, but got {got} instead.");
        Self::new("invalid_type", message).at(param)
    }

    /// The model of the query does not exist.
    pub(super) fn model_not_found(model: &str, models: &[String]) -> Self {
        let message = format!(
            "The model `{model}` does not exist or you do not have access to it. Realtime models: {}.",
            models.join(", ")
        );
        Self::new("model_not_found", message).at("model").fatal()
    }

    /// Anything in the shape of the protocol's beta.
    pub(super) fn beta_shape(param: Option<&str>) -> Self {
        let message = "The Realtime Beta API is no longer supported. Please use /v1/realtime for the GA API, without \
                       the OpenAI-Beta header and with session fields in their GA places.";
        let error = Self::new("beta_api_shape_disabled", message).fatal();
        match param {
            Some(param) => error.at(param),
            None => error,
        }
    }

    pub(super) fn event(&self, event_id: Option<&str>) -> Value {
        json!({
            "type": "error",
            "error": {
                "type": "invalid_request_error",
                "code": self.code,
                "message": self.message,
                "param": self.param,
                "event_id": event_id,
            },
        })
    }
}

/// Standard base64 of samples as little-endian bytes.
pub(super) fn encode_audio(pcm: &[i16]) -> String {
    let bytes: Vec<u8> = pcm.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    base64_simd::STANDARD.encode_to_string(bytes)
}

/// Samples from base64; `None` when it is not base64 of whole samples.
pub(super) fn decode_audio(base64: &str) -> Option<Vec<i16>> {
    let bytes = base64_simd::STANDARD.decode_to_vec(base64).ok()?;
    let samples = bytes.chunks_exact(2);
    if !samples.remainder().is_empty() {
        return None;
    }
    Some(samples.map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audio_survives_base64() {
        let pcm = [0, 1, -2, i16::MAX, i16::MIN];
        assert_eq!(decode_audio(&encode_audio(&pcm)).as_deref(), Some(pcm.as_slice()));
    }

    #[test]
    fn half_samples_and_rubbish_are_no_audio() {
        assert_eq!(decode_audio("AAAA"), None);
        assert_eq!(decode_audio("%%%"), None);
        assert_eq!(decode_audio("AAA="), Some(vec![0]));
        assert_eq!(decode_audio(""), Some(Vec::new()));
    }

    #[test]
    fn an_error_event_names_the_clients_event() {
        let event = ProtocolError::unknown("session.colour").event(Some("su1"));
        assert_eq!(event["error"]["code"], "unknown_parameter");
        assert_eq!(event["error"]["param"], "session.colour");
        assert_eq!(event["error"]["event_id"], "su1");
    }
}
