//! Words that may become values of a metric's label. Each value is a series that Prometheus keeps: words of callers, API
//! clients, nodes and services would make as many as they like.

/// What stands for every other word.
pub const OTHER: &str = "other";

/// Every reason with a page in docs/errors, in alphabetical order.
const REASONS: [&str; 62] = [
    "AGENT_HANGUP",
    "API_HANGUP",
    "CALLBACK_FAILED",
    "CALLBACK_NOT_CONFIGURED",
    "CALLER_ABANDONED",
    "CALL_NOT_FOUND",
    "COMMAND_ID_REUSED",
    "COMMAND_REFUSED",
    "CONTROL_DRAINING",
    "CONTROL_RESTARTED",
    "CURSOR_INVALID",
    "CURSOR_MISSING",
    "EVENTS_GONE",
    "FIRST_KEY_NEEDS_ADMIN",
    "GRAPH_REFUSED",
    "GRAPH_UNREACHABLE",
    "INTERNAL",
    "INVALID_ARGUMENT",
    "KEY_EXPIRED",
    "KEY_IN_URL",
    "KEY_NOT_FOUND",
    "KEY_REVOKED",
    "LAST_ADMIN_KEY",
    "MAX_DURATION_REACHED",
    "MEDIA_CONNECTION_TIMEOUT",
    "MEDIA_THREAD_LOST",
    "MEDIA_TIMEOUT",
    "MEDIA_TRANSPORT_LOST",
    "META_FAILED",
    "METHOD_NOT_ALLOWED",
    "NODE_ADDRESS_REFUSED",
    "NODE_DRAINING",
    "NODE_FULL",
    "NODE_ID_TAKEN",
    "NODE_LOST",
    "NODE_NOT_FOUND",
    "NO_NODE_AVAILABLE",
    "PAGE_TOKEN_INVALID",
    "PATH_NOT_FOUND",
    "PLAYOUT_FULL",
    "PROVIDER_ERROR",
    "PROVIDER_LOST",
    "PROVIDER_SESSION_FAILED",
    "PROVIDER_SILENT",
    "READ_TOKEN_LIMITED",
    "RING_TIMEOUT",
    "SCOPE_MISSING",
    "SDP_INVALID",
    "SESSION_ENDED",
    "SESSION_NOT_FOUND",
    "SIGNALLING_MANAGED",
    "START_ARGUMENTS_DIFFER",
    "STORE_UNAVAILABLE",
    "TOO_MANY_BODIES",
    "TOO_MANY_KEYS",
    "TOO_MANY_LABELS",
    "TOO_MANY_SUBSCRIBERS",
    "UNAUTHENTICATED",
    "USER_HANGUP",
    "WEBHOOK_MALFORMED",
    "WEBHOOK_SIGNATURE_INVALID",
    "WHATSAPP_NOT_CONFIGURED",
];

/// A reason as a label: itself if it is one of ours, else [`OTHER`]. API clients end calls for reasons of their own, and nodes of
/// another release know more.
#[must_use]
pub fn reason(word: &str) -> &'static str {
    REASONS.binary_search(&word).map_or(OTHER, |at| REASONS[at])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    #[test]
    fn reasons_are_those_with_a_page() {
        let pages = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors")).unwrap();
        let mut pages: BTreeSet<String> =
            pages.map(|page| page.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect();
        pages.remove("README");
        assert!(pages.iter().eq(REASONS.iter()), "left: pages, right: labels\n{pages:?}\n{REASONS:?}");
    }

    #[test]
    fn words_of_others_are_one_label() {
        assert_eq!(reason("API_HANGUP"), "API_HANGUP");
        assert_eq!(reason("WHATSAPP_NOT_CONFIGURED"), "WHATSAPP_NOT_CONFIGURED");
        for word in ["", "api_hangup", "SHOP_CLOSED", "AGENT_HANGUP "] {
            assert_eq!(reason(word), OTHER, "{word:?}");
        }
    }
}
