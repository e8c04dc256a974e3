//! What is found wrong with an SDP text: a fatal finding stops the call, the others are kept as warnings.

/// A text from which no call can come about.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rule}: {message}")]
pub struct SdpError {
    /// The rule it breaks, kebab-case and stable.
    pub rule: &'static str,
    /// What was expected, for a person. Quotes nothing secret.
    pub message: String,
}

pub(super) fn fatal<T>(rule: &'static str, message: impl Into<String>) -> Result<T, SdpError> {
    Err(SdpError { rule, message: message.into() })
}

/// Findings that do not stop the call, each kept once.
#[derive(Default)]
pub(super) struct Warnings(pub(super) Vec<&'static str>);

impl Warnings {
    pub(super) fn add(&mut self, rule: &'static str) {
        if !self.0.contains(&rule) {
            self.0.push(rule);
        }
    }
}
