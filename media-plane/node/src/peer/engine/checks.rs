//! Which of ICE's connectivity checks may leave: an offer names addresses, and nobody has said yet that their owners want
//! to hear from us.
//!
//! To addresses that have not answered at most [`IN_FLIGHT`] checks wait for an answer at a time, taken in turn, which over
//! [`LIFETIME`] each is the pace of RFC 8445, section 14.2 (one in 50 ms), however many addresses there are; and
//! [`MAX_UNANSWERED`] in all. At these bounds a check is left out: the agent makes another one 20 ms later. An address
//! that has answered is checked as the agent likes. A check of its own is no answer: it may claim to come from anywhere.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    time::{Duration, Instant},
};

/// Checks waiting for an answer at a time.
pub(super) const IN_FLIGHT: usize = 4;
/// A check not answered for so long is not waited for any more.
pub(super) const LIFETIME: Duration = Duration::from_millis(200);
/// Checks of a call to addresses that have not answered: a minute of them, longer than any call rings.
pub(super) const MAX_UNANSWERED: u32 = 1_200;
/// Addresses told apart: those of the offer, and those that checks came from.
const MAX_ADDRESSES: usize = 32;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Checks {
    addresses: Vec<Address>,
    /// When the checks that are waited for left.
    in_flight: VecDeque<Instant>,
    unanswered: u32,
}

#[derive(Clone, Copy, Debug)]
struct Address {
    at: SocketAddr,
    sent: u32,
    answered: bool,
}

impl Checks {
    /// An address that will be checked; further ones than [`MAX_ADDRESSES`] are not.
    pub(super) fn add(&mut self, at: SocketAddr) {
        if self.addresses.len() < MAX_ADDRESSES && !self.addresses.iter().any(|address| address.at == at) {
            // It takes its turn among the others, and does not make up for theirs.
            let sent = self.least_sent().unwrap_or(0);
            self.addresses.push(Address { at, sent, answered: false });
        }
    }

    /// Whether a check to this address may leave now; if so it is counted.
    pub(super) fn take(&mut self, now: Instant, to: SocketAddr) -> bool {
        self.add(to);
        let least = self.least_sent();
        let Some(address) = self.addresses.iter_mut().find(|address| address.at == to) else { return false };
        if address.answered {
            return true;
        }
        while self.in_flight.front().is_some_and(|sent| *sent + LIFETIME <= now) {
            self.in_flight.pop_front();
        }
        let in_turn = Some(address.sent) == least;
        let may = in_turn && self.in_flight.len() < IN_FLIGHT && self.unanswered < MAX_UNANSWERED;
        if may {
            address.sent += 1;
            self.unanswered += 1;
            self.in_flight.push_back(now);
        }
        may
    }

    /// For another attempt: the addresses are named anew, what was sent stays counted.
    pub(super) fn renewed(self) -> Self {
        Self { addresses: Vec::new(), ..self }
    }

    fn least_sent(&self) -> Option<u32> {
        self.addresses.iter().filter(|address| !address.answered).map(|address| address.sent).min()
    }

    /// Whether this address has answered a check.
    pub(super) fn has_answered(&self, from: SocketAddr) -> bool {
        self.addresses.iter().any(|address| address.at == from && address.answered)
    }

    /// An authenticated answer to a check came from this address.
    pub(super) fn answered(&mut self, from: SocketAddr) {
        self.add(from);
        self.addresses.iter_mut().filter(|address| address.at == from).for_each(|address| address.answered = true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        ([198, 51, 100, 1], port).into()
    }

    /// Asks for a check to each of the addresses every 20 ms, as the agent does; how many left to each.
    fn ask(checks: &mut Checks, ports: std::ops::RangeInclusive<u16>, time: Duration) -> Vec<u32> {
        let start = Instant::now();
        let mut sent = vec![0; ports.len()];
        let mut now = start;
        while now < start + time {
            for (index, port) in ports.clone().enumerate() {
                sent[index] += u32::from(checks.take(now, address(port)));
            }
            now += Duration::from_millis(20);
        }
        sent
    }

    #[test]
    fn strangers_get_few_checks_and_all_of_them_their_turn() {
        let mut checks = Checks::default();
        (1..=16).for_each(|port| checks.add(address(port)));
        let sent = ask(&mut checks, 1..=16, Duration::from_secs(4));
        assert_eq!(sent, [5; 16], "20 a second between them");
    }

    #[test]
    fn one_address_is_checked_at_once_and_then_at_the_same_pace() {
        let sent = ask(&mut Checks::default(), 1..=1, Duration::from_millis(80));
        assert_eq!(sent, [4]);
        let sent = ask(&mut Checks::default(), 1..=1, Duration::from_secs(1));
        assert_eq!(sent, [20]);
    }

    #[test]
    fn a_call_has_so_many_unanswered_checks_in_all() {
        let sent: u32 = ask(&mut Checks::default(), 1..=3, Duration::from_secs(90)).iter().sum();
        assert_eq!(sent, MAX_UNANSWERED);
    }

    #[test]
    fn who_has_answered_is_checked_as_often_as_need_be() {
        let mut checks = Checks::default();
        (1..=2).for_each(|port| checks.add(address(port)));
        checks.answered(address(2));
        let sent = ask(&mut checks, 1..=2, Duration::from_secs(1));
        assert_eq!(sent, [20, 50]);
    }

    #[test]
    fn a_new_address_takes_its_turn_among_the_others() {
        let mut checks = Checks::default();
        let start = Instant::now();
        let mut sent = [0; 2];
        for step in 0..150_u32 {
            let now = start + Duration::from_millis(20) * step;
            let known = if step < 100 { 1..=1 } else { 1..=2 };
            for port in known {
                sent[usize::from(port - 1)] += u32::from(checks.take(now, address(port)));
            }
        }
        assert!((48..=52).contains(&sent[0]) && (8..=12).contains(&sent[1]), "{sent:?}");
    }

    #[test]
    fn another_attempt_begins_with_its_own_addresses() {
        let mut checks = Checks::default();
        checks.add(address(9));
        let mut checks = checks.renewed();
        assert_eq!(ask(&mut checks, 1..=1, Duration::from_secs(1)), [20]);
    }

    #[test]
    fn addresses_are_bounded() {
        let mut checks = Checks::default();
        (1..=40).for_each(|port| checks.add(address(port)));
        assert!(!checks.take(Instant::now(), address(40)));
    }
}
