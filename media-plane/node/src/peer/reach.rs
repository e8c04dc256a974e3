//! Which addresses of an offer our connectivity checks may go to: whoever makes an offer may name any address.
//!
//! Flow: an address has a [`AddressClass`]; by default only those on the public internet are checked, and those of the class our
//! own media address has, because then the node is where such addresses mean something.
//!
//! It does not count checks; see `engine/checks`. An address that a caller's own check came from needs no permission here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Which candidates are checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CandidatePolicy {
    /// Public ones, and those of the class of our own media address.
    #[default]
    Auto,
    /// Public ones.
    Public,
    /// All that can be somebody's.
    Any,
}

/// Where a node is, and what that allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// The announced media address.
    pub ours: IpAddr,
    /// The setting.
    pub policy: CandidatePolicy,
}

impl Reach {
    /// Whether a candidate at this address is checked. Those of the other address family are not: ours is one socket.
    #[must_use]
    pub fn allows(self, address: IpAddr) -> bool {
        if address.is_ipv4() != self.ours.is_ipv4() {
            return false;
        }
        match (AddressClass::of(address), self.policy) {
            (AddressClass::Nobodys, _) => false,
            (AddressClass::Public, _) | (_, CandidatePolicy::Any) => true,
            (class, CandidatePolicy::Auto) => class == AddressClass::of(self.ours),
            (_, CandidatePolicy::Public) => false,
        }
    }
}

/// What an address is good for (the special-purpose registries of RFC 6890).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AddressClass {
    Public,
    Loopback,
    /// Of a private network: also shared (RFC 6598), unique local, site-local, and for benchmarks.
    Private,
    /// Apart from private ones: clouds answer questions about the machine there.
    LinkLocal,
    /// In texts and tests.
    Documentation,
    /// No single host's: unspecified, multicast, broadcast, reserved.
    Nobodys,
}

impl AddressClass {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::of_v4(address),
            IpAddr::V6(address) => match embedded(address) {
                Some(inner) => Self::of_v4(inner),
                None => Self::of_v6(address),
            },
        }
    }

    fn of_v4(address: Ipv4Addr) -> Self {
        match address.octets() {
            [0 | 224.., ..] => Self::Nobodys,
            [127, ..] => Self::Loopback,
            [10, ..]
            | [172, 16..=31, ..]
            | [192, 168, ..]
            | [100, 64..=127, ..]
            | [198, 18..=19, ..]
            | [192, 0, 0, _] => Self::Private,
            [169, 254, ..] => Self::LinkLocal,
            [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Self::Documentation,
            _ => Self::Public,
        }
    }

    fn of_v6(address: Ipv6Addr) -> Self {
        match address.segments() {
            [0, 0, 0, 0, 0, 0, 0, 1] => Self::Loopback,
            [0x2001, 0x0db8, ..] | [0x3fff, 0..=0x0fff, ..] => Self::Documentation,
            [0xfe80..=0xfebf, ..] => Self::LinkLocal,
            [0xfc00..=0xfdff | 0xfec0..=0xfeff, ..] | [0x64, 0xff9b, 1, ..] => Self::Private,
            // Global unicast is what is assigned so far (RFC 4291, section 2.4).
            [0x2000..=0x3fff, ..] => Self::Public,
            _ => Self::Nobodys,
        }
    }
}

/// The IPv4 address that a gateway would make of an IPv6 one: NAT64 (RFC 6052, section 2.1) and 6to4 (RFC 3056).
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let pair = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match address.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => Some(pair(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_checked_only_from_within_and_nobodys_never() {
        let public = ["8.8.8.8", "2606:4700::1", "64:ff9b::808:808", "2002:808:808::1"];
        let classes: [&[&str]; 4] = [
            &["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"],
            &[
                "10.0.0.1",
                "172.16.0.1",
                "172.31.255.255",
                "192.168.1.1",
                "100.64.0.1",
                "198.18.0.1",
                "192.0.0.8",
                "fc00::1",
                "fdff::1",
                "fec0::1",
                "64:ff9b::a00:1",
                "2002:a00:1::1",
                "64:ff9b:1::1",
                "::ffff:10.0.0.1",
            ],
            &["169.254.169.254", "fe80::1", "febf::1", "64:ff9b::a9fe:a9fe"],
            &["192.0.2.10", "198.51.100.7", "203.0.113.7", "2001:db8::1", "3fff::1"],
        ];
        let nobodys = [
            "0.0.0.0",
            "0.1.2.3",
            "224.0.0.1",
            "239.1.1.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "ff02::1",
            "4000::1",
        ];
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        let check = |ours: &str, theirs: &str, policy: CandidatePolicy, expect: bool| {
            let (ours, theirs) = (address(ours), address(theirs));
            let expect = expect && ours.is_ipv4() == theirs.is_ipv4();
            assert_eq!(Reach { ours, policy }.allows(theirs), expect, "{theirs} from {ours}, {policy:?}");
        };
        let all: Vec<&[&str]> = std::iter::once(&public[..]).chain(classes).collect();
        for (at, ours) in all.iter().enumerate() {
            for ours in *ours {
                for (theirs_at, theirs) in all.iter().enumerate() {
                    for theirs in *theirs {
                        check(ours, theirs, CandidatePolicy::Auto, theirs_at == 0 || theirs_at == at);
                        check(ours, theirs, CandidatePolicy::Public, theirs_at == 0);
                        check(ours, theirs, CandidatePolicy::Any, true);
                    }
                }
                for theirs in nobodys {
                    check(ours, theirs, CandidatePolicy::Any, false);
                }
            }
        }
    }
}
