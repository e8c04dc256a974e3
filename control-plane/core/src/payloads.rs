//! What Meta sends along with a call: `deeplink_payload` of the link it was placed by (`wa.me/call/<number>?biz_payload=...`),
//! `cta_payload` of the button, `biz_opaque_callback_data` of whoever answered it. In the connect, the terminate, or both.

use std::fmt;

use voicebridge_text::payload;

/// See the module. Cleaned and bounded; personal data: `Debug` shows which there are.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Payloads {
    /// Of the link.
    pub deeplink: Option<String>,
    /// Of the button.
    pub cta: Option<String>,
    /// Of whoever answered.
    pub biz_opaque: Option<String>,
}

impl Payloads {
    /// As somebody gave them; empty: none.
    #[must_use]
    pub fn cleaned(deeplink: &str, cta: &str, biz_opaque: &str) -> Self {
        Self {
            deeplink: payload::cleaned(deeplink),
            cta: payload::cleaned(cta),
            biz_opaque: payload::cleaned(biz_opaque),
        }
    }

    /// None.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Debug for Payloads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { deeplink, cta, biz_opaque } = self;
        let there = [("deeplink", deeplink), ("cta", cta), ("biz_opaque", biz_opaque)];
        f.debug_set().entries(there.into_iter().filter(|(_, payload)| payload.is_some()).map(|(name, _)| name)).finish()
    }
}
