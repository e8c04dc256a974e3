//! How many connections there are, in all and by address. A [`Place`] is given back when it is dropped.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::Bounds;

/// Which bound there was no place within.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    All,
    Address,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

#[derive(Debug)]
pub(super) struct Places {
    all: usize,
    per_address: usize,
    taken: Mutex<Taken>,
}

/// One connection's.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    address: IpAddr,
}

/// Whoever has one address of IPv6 has 64 bits of them (RFC 6177).
fn counted_as(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

impl Places {
    pub(super) fn new(bounds: &Bounds) -> Arc<Self> {
        Arc::new(Self { all: bounds.connections, per_address: bounds.connections_per_address, taken: Mutex::default() })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn take(self: &Arc<Self>, address: IpAddr) -> Result<Place, Full> {
        let address = counted_as(address);
        let mut taken = self.taken();
        if taken.all >= self.all {
            return Err(Full::All);
        }
        let here = taken.by_address.entry(address).or_default();
        if *here >= self.per_address {
            return Err(Full::Address);
        }
        *here += 1;
        taken.all += 1;
        Ok(Place { places: Arc::clone(self), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.all -= 1;
        if let Some(here) = taken.by_address.get_mut(&self.address) {
            *here -= 1;
            if *here == 0 {
                taken.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn full(result: Result<Place, Full>) -> Full {
        result.map(drop).unwrap_err()
    }

    #[test]
    fn places_are_counted_in_all_and_by_address_and_given_back() {
        let places = Places::new(&Bounds { connections: 4, connections_per_address: 2, ..Bounds::default() });
        let take = |address: &str| places.take(address.parse().unwrap());
        let first = take("203.0.113.1").unwrap();
        // The same host as a socket for both versions of IP names it.
        let second = take("::ffff:203.0.113.1").unwrap();
        assert_eq!(full(take("203.0.113.1")), Full::Address);
        let third = take("2001:db8::1").unwrap();
        let fourth = take("2001:db8::ffff:0:2").unwrap();
        assert_eq!(full(take("203.0.113.2")), Full::All);
        drop(first);
        assert_eq!(full(take("2001:db8::3")), Full::Address, "a network of 64 bits counts as one");
        let other = take("2001:db8:0:1::1").unwrap();
        drop((second, third, fourth, other));
        let taken = places.taken();
        assert_eq!((taken.all, taken.by_address.len()), (0, 0));
    }
}
