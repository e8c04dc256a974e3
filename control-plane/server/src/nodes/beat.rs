//! What a node says of itself once a second, checked.

use http::Uri;
use tonic::{Code, Status};
use voicebridge_proto::media::v1 as media;
use voicebridge_telemetry::status::{invalid_argument, status};

use super::{NodeAddresses, address::Peer};

/// Longest id, region and address of a node, bytes.
const MAX_TEXT_BYTES: usize = 256;

/// What a node says of itself with each beat.
#[derive(Clone, Debug, PartialEq)]
pub struct Beat {
    /// Unique per process start.
    pub node_id: String,
    /// Region, as placement rules use it.
    pub region: String,
    /// Its gRPC address.
    pub url: String,
    /// Sessions running.
    pub live_sessions: u32,
    /// Its bound.
    pub max_sessions: u32,
    /// Takes no more calls.
    pub draining: bool,
    /// 0 to 1.
    pub media_load: f32,
    /// Of its program.
    pub version: String,
    /// Which AI answers there.
    pub provider: String,
    /// Its media threads; 0 when it is too old to say.
    pub media_threads: u32,
    /// Of these, how many have died or hang.
    pub media_threads_lost: u32,
}

/// Reads a beat that came from `peer`, none when that is not known.
///
/// # Errors
/// `INVALID_ARGUMENT`, or `PERMISSION_DENIED` with NODE_ADDRESS_REFUSED: the node must not announce its address.
pub(super) fn read(
    node: media::Node,
    loopback_only: bool,
    addresses: &NodeAddresses,
    peer: Option<Peer>,
) -> Result<Beat, Status> {
    for (field, text) in
        [("node.node_id", &node.node_id), ("node.region", &node.region), ("node.advertise_url", &node.advertise_url)]
    {
        if text.is_empty() || text.len() > MAX_TEXT_BYTES || text.chars().any(char::is_control) {
            return Err(invalid_argument(field, "must be 1 to 256 bytes of printable text"));
        }
    }
    for (field, text) in [("node.version", &node.version), ("node.provider", &node.provider)] {
        if text.len() > MAX_TEXT_BYTES || text.chars().any(char::is_control) {
            return Err(invalid_argument(field, "must be at most 256 bytes of printable text"));
        }
    }
    let uri: Option<Uri> = node.advertise_url.parse().ok();
    // Nodes are spoken to without TLS: better refused now than found out by the first call.
    let Some(host) = uri.as_ref().filter(|uri| uri.scheme_str() == Some("http")).and_then(|uri| uri.host()) else {
        return Err(invalid_argument("node.advertise_url", "must be a URL with http://"));
    };
    if loopback_only && !is_loopback(host) {
        return Err(invalid_argument(
            "node.advertise_url",
            "must be on loopback unless VOICEBRIDGE_NODE_TOKEN is set on both sides",
        ));
    }
    addresses.check(host, peer).map_err(|refused| {
        status(Code::PermissionDenied, "NODE_ADDRESS_REFUSED", refused.to_string(), &[("host", host)])
    })?;
    Ok(Beat {
        node_id: node.node_id,
        region: node.region,
        url: node.advertise_url,
        live_sessions: node.live_sessions,
        max_sessions: node.max_sessions,
        draining: node.draining,
        media_load: node.media_load,
        version: node.version,
        provider: node.provider,
        media_threads: node.media_threads,
        media_threads_lost: node.media_threads_lost,
    })
}

/// `localhost` or an address of loopback, with or without brackets.
fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::{Duration, Instant};

    use prost::Message as _;
    use voicebridge_telemetry::status::reason;

    use super::{
        super::{Registry, fleet, identity::SecretHash},
        *,
    };

    const OF_PEER: NodeAddresses = NodeAddresses::OfPeer;

    fn from(ip: &str) -> Option<Peer> {
        Some(Peer::new(ip.parse().unwrap(), None))
    }

    fn node(id: &str, url: &str) -> media::Node {
        media::Node {
            node_id: id.to_owned(),
            region: "local".to_owned(),
            advertise_url: url.to_owned(),
            max_sessions: 1,
            ..media::Node::default()
        }
    }

    #[test]
    fn all_that_a_beat_says_reaches_placement_and_operators() {
        let beat = Beat {
            node_id: "n".to_owned(),
            region: "sa".to_owned(),
            url: "http://10.0.0.7:3200".to_owned(),
            live_sessions: 3,
            max_sessions: 80,
            draining: true,
            media_load: 0.5,
            version: "0.1.0".to_owned(),
            provider: "openai".to_owned(),
            media_threads: 4,
            media_threads_lost: 1,
        };
        let said = media::Node {
            node_id: "n".to_owned(),
            region: "sa".to_owned(),
            advertise_url: "http://10.0.0.7:3200".to_owned(),
            live_sessions: 3,
            max_sessions: 80,
            draining: true,
            media_load: 0.5,
            version: "0.1.0".to_owned(),
            provider: "openai".to_owned(),
            media_threads: 4,
            media_threads_lost: 1,
        };
        // The public message has the same fields under the same numbers.
        let shown = fleet::to_wire(beat.clone()).encode_to_vec();
        assert_eq!(media::Node::decode(shown.as_slice()).unwrap(), said);
        assert_eq!(read(said, false, &OF_PEER, from("10.0.0.7")).ok().as_ref(), Some(&beat));
        let registry = Registry::new(Duration::from_secs(1), Duration::from_secs(10));
        registry.beat(1, beat, &SecretHash::of(b"secret"), Instant::now()).unwrap();
        let view = registry.views().remove(0);
        assert_eq!((view.media_threads, view.media_threads_lost, view.draining), (4, 1, true));
    }

    #[test]
    fn beats_are_checked() {
        #[track_caller]
        fn check(id: &str, url: &str, loopback_only: bool, expect: bool) {
            // Every address there is, so that nothing but the form of a beat is told.
            let any = NodeAddresses::parse("0.0.0.0/0,::/0,localhost,node.example").unwrap();
            assert_eq!(read(node(id, url), loopback_only, &any, from("127.0.0.1")).is_ok(), expect, "{id:?} {url:?}");
        }
        check("n", "http://127.0.0.1:3200", true, true);
        check("n", "http://[::1]:3200", true, true);
        check("n", "http://localhost:3200", true, true);
        check("n", "http://10.0.0.7:3200", true, false);
        check("n", "http://10.0.0.7:3200", false, true);
        check("n", "http://node.example:3200", false, true);
        check("n", "https://node.example", false, false);
        check("n", "10.0.0.7:3200", false, false);
        check("n", "ftp://10.0.0.7", false, false);
        check("", "http://127.0.0.1:1", true, false);
        check("n\n", "http://127.0.0.1:1", true, false);
        check(&"n".repeat(300), "http://127.0.0.1:1", true, false);
        check("n", "", true, false);
    }

    #[test]
    fn an_address_that_is_not_the_nodes_is_refused_by_name() {
        let refused = read(node("n", "http://10.0.0.8:3200"), false, &OF_PEER, from("10.0.0.7")).unwrap_err();
        assert_eq!(
            (refused.code(), reason(&refused).as_deref()),
            (Code::PermissionDenied, Some("NODE_ADDRESS_REFUSED"))
        );
        assert!(refused.message().contains("VOICEBRIDGE_NODE_ADDRESSES"), "{}", refused.message());
        // What stands before the host in a URL is not the host.
        let tricky = read(node("n", "http://10.0.0.7@10.0.0.8:3200"), false, &OF_PEER, from("10.0.0.7"));
        assert_eq!(reason(&tricky.unwrap_err()).as_deref(), Some("NODE_ADDRESS_REFUSED"));
    }
}
