//! Which addresses a node may announce. Requests go there with the node token in them, so a node must not lead them to any
//! other host: it announces the address it connects from, or one that the operator listed.
//!
//! Without a list a host name is refused, even one that leads to the peer now: what it leads to later is up to others.

use std::{fmt, net::IpAddr};

/// Addresses in a list.
const MOST_LISTED: usize = 256;

/// The rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NodeAddresses {
    /// The one its registration comes from; from this machine also any loopback one, and `localhost`.
    #[default]
    OfPeer,
    /// These, wherever the registration comes from.
    Listed(Vec<Listed>),
}

/// An entry of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listed {
    /// Addresses that begin with these bits.
    Network(IpAddr, u8),
    /// This name.
    Host(String),
    /// Names under this one, which begins with a dot.
    Under(String),
}

/// Where a registration comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    ip: IpAddr,
    is_here: bool,
}

impl Peer {
    /// From `ip`, to our address `local`. What comes from loopback, or from the address it goes to, was sent on this machine:
    /// nobody else would get the answers.
    pub(super) fn new(ip: IpAddr, local: Option<IpAddr>) -> Self {
        let ip = ip.to_canonical();
        Self { ip, is_here: ip.is_loopback() || local.is_some_and(|local| local.to_canonical() == ip) }
    }
}

/// The host is not one the node may announce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Not where the registration comes from.
    NotOfPeer,
    /// A name, which is only let through by a list.
    Name,
    /// Where it comes from is not known: a proxy stands between.
    NoPeer,
    /// Not in the list.
    NotListed,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotOfPeer => "The node announces another address than it connects from",
            Self::Name => "The node announces a host name, and no name is listed",
            Self::NoPeer => {
                "The node connects through a proxy, so the address it announces cannot be compared with its own"
            }
            Self::NotListed => "The node announces an address that is not listed",
        })?;
        f.write_str(
            "; set VOICEBRIDGE_MEDIA_ADVERTISE at the node, or list the address in VOICEBRIDGE_NODE_ADDRESSES at the \
             control plane",
        )
    }
}

impl NodeAddresses {
    /// Reads a list, entries separated by commas; empty: no list.
    ///
    /// # Errors
    /// The entry that is none, or what is wrong with the whole.
    pub fn parse(text: &str) -> Result<Self, String> {
        let entries: Vec<&str> = text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).collect();
        if entries.is_empty() {
            return Ok(Self::OfPeer);
        }
        if entries.len() > MOST_LISTED {
            return Err(format!("holds {} entries; there may be {MOST_LISTED}", entries.len()));
        }
        let listed: Result<Vec<_>, _> = entries.into_iter().map(Listed::parse).collect();
        Ok(Self::Listed(listed?))
    }

    /// Whether a node whose registration comes from `peer` may announce `host`. `peer`: none when it is not known.
    pub(super) fn check(&self, host: &str, peer: Option<Peer>) -> Result<(), Refused> {
        let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        let ip = host.parse::<IpAddr>().ok().map(|ip| ip.to_canonical());
        match self {
            Self::Listed(listed) => {
                let fits = listed.iter().any(|entry| entry.holds(&host, ip));
                if fits { Ok(()) } else { Err(Refused::NotListed) }
            }
            Self::OfPeer => {
                let peer = peer.ok_or(Refused::NoPeer)?;
                match ip {
                    Some(ip) if ip == peer.ip || (ip.is_loopback() && peer.is_here) => Ok(()),
                    None if host == "localhost" && peer.is_here => Ok(()),
                    Some(_) => Err(Refused::NotOfPeer),
                    None => Err(Refused::Name),
                }
            }
        }
    }
}

impl Listed {
    fn parse(entry: &str) -> Result<Self, String> {
        let wrong = || {
            format!("holds {entry:?}; an entry is an address, a network such as 10.0.0.0/8, a host name or *.domain")
        };
        let network = |ip: IpAddr, bits: u8| {
            let ip = ip.to_canonical();
            (bits <= width(ip)).then_some(Self::Network(ip, bits)).ok_or_else(wrong)
        };
        if let Ok(ip) = entry.parse::<IpAddr>() {
            return network(ip, width(ip.to_canonical()));
        }
        if let Some((ip, bits)) = entry.split_once('/') {
            let ip: IpAddr = ip.parse().map_err(|_| wrong())?;
            return network(ip, bits.parse().map_err(|_| wrong())?);
        }
        let entry = entry.to_ascii_lowercase();
        let (under, name) = match entry.strip_prefix("*.") {
            Some(domain) => (true, domain),
            None => (false, entry.as_str()),
        };
        let is_name = name.split('.').all(|label| {
            !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        });
        // 10.0.0.300 and the like would be a name otherwise; the last label of a name is never a number.
        let is_number = name.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
        match (is_name && !is_number, under) {
            (false, _) => Err(wrong()),
            (true, true) => Ok(Self::Under(format!(".{name}"))),
            (true, false) => Ok(Self::Host(entry)),
        }
    }

    fn holds(&self, host: &str, ip: Option<IpAddr>) -> bool {
        match (self, ip) {
            (Self::Network(network, bits), Some(ip)) => begins_with(ip, *network, *bits),
            (Self::Host(name), None) => host == name,
            (Self::Under(domain), None) => host.len() > domain.len() && host.ends_with(domain),
            _ => false,
        }
    }
}

const fn width(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

fn begins_with(ip: IpAddr, network: IpAddr, bits: u8) -> bool {
    match (ip, network) {
        (IpAddr::V4(ip), IpAddr::V4(network)) => {
            (ip.to_bits() ^ network.to_bits()).checked_shr(32 - u32::from(bits)).unwrap_or(0) == 0
        }
        (IpAddr::V6(ip), IpAddr::V6(network)) => {
            (ip.to_bits() ^ network.to_bits()).checked_shr(128 - u32::from(bits)).unwrap_or(0) == 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[track_caller]
    fn check(list: &str, host: &str, peer: &str, expect: Result<(), Refused>) {
        let rule = NodeAddresses::parse(list).unwrap();
        let from = peer.parse().ok().map(|ip| Peer::new(ip, "10.0.0.1".parse().ok()));
        assert_eq!(rule.check(host, from), expect, "{list:?} {host:?} {peer:?}");
    }

    #[test]
    fn without_a_list_a_node_announces_where_it_connects_from() {
        check("", "10.0.0.7", "10.0.0.7", Ok(()));
        check("", "10.0.0.7", "::ffff:10.0.0.7", Ok(()));
        check("", "[::ffff:10.0.0.7]", "10.0.0.7", Ok(()));
        check("", "[2001:db8::7]", "2001:db8::7", Ok(()));
        check("", "10.0.0.8", "10.0.0.7", Err(Refused::NotOfPeer));
        check("", "169.254.169.254", "10.0.0.7", Err(Refused::NotOfPeer));
        check("", "node.example", "10.0.0.7", Err(Refused::Name));
        // Not to our own loopback from elsewhere.
        check("", "127.0.0.1", "10.0.0.7", Err(Refused::NotOfPeer));
        check("", "localhost", "10.0.0.7", Err(Refused::Name));
        check("", "10.0.0.7", "unknown", Err(Refused::NoPeer));
        check("", "127.0.0.1", "unknown", Err(Refused::NoPeer));
    }

    #[test]
    fn nodes_on_this_machine_announce_loopback() {
        for host in ["127.0.0.1", "127.9.9.9", "[::1]", "localhost", "LOCALHOST", "[::ffff:127.0.0.1]"] {
            check("", host, "127.0.0.1", Ok(()));
            check("", host, "::1", Ok(()));
        }
        check("", "10.0.0.7", "127.0.0.1", Err(Refused::NotOfPeer));
        // From the address it goes to.
        for host in ["10.0.0.1", "127.0.0.1", "localhost", "[::1]"] {
            check("", host, "10.0.0.1", Ok(()));
            check("", host, "::ffff:10.0.0.1", Ok(()));
        }
        check("", "10.0.0.2", "10.0.0.1", Err(Refused::NotOfPeer));
        check("", "app.localhost", "127.0.0.1", Err(Refused::Name));
    }

    #[test]
    fn a_list_decides_alone() {
        let list = "10.0.0.0/8, 2001:db8::/33,192.0.2.7, media.example ,*.media.svc";
        for host in ["10.1.2.3", "[2001:db8:7fff::1]", "192.0.2.7", "media.example", "MEDIA.example", "a.b.media.svc"] {
            check(list, host, "203.0.113.9", Ok(()));
            check(list, host, "unknown", Ok(()));
        }
        for host in [
            "11.0.0.1",
            "[2001:db8:8000::1]",
            "192.0.2.8",
            "127.0.0.1",
            "media.example.evil",
            "notmedia.example",
            "media.svc",
            ".media.svc",
            "evilmedia.svc",
            "203.0.113.9",
        ] {
            check(list, host, "203.0.113.9", Err(Refused::NotListed));
        }
        check("0.0.0.0/0", "8.8.8.8", "", Ok(()));
        check("0.0.0.0/0", "[2001:db8::1]", "", Err(Refused::NotListed));
        check("::/0", "[2001:db8::1]", "", Ok(()));
    }

    #[test]
    fn entries_that_are_none_are_named() {
        for entry in
            ["10.0.0.0/33", "10.0.0.300", "10.0.0/8", "::/129", "http://10.0.0.7", "a..b", "*.", "10.0.0.7:3200", "a b"]
        {
            let error = NodeAddresses::parse(&format!("10.0.0.1,{entry}")).unwrap_err();
            assert!(error.contains(&format!("{entry:?}")), "{error}");
        }
        assert_eq!(NodeAddresses::parse(" , "), Ok(NodeAddresses::OfPeer));
        assert!(NodeAddresses::parse(&"10.0.0.1,".repeat(257)).is_err());
    }
}
