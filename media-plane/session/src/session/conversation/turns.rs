//! When the caller said what: turns by the items their words come in, which is later.

use std::collections::VecDeque;

use voicebridge_audio::Time;

/// Turns whose words have not come; of more the oldest are forgotten.
const MAX_TURNS: usize = 32;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Turns(VecDeque<Turn>);

#[derive(Debug)]
struct Turn {
    /// Empty where the provider does not say.
    item: String,
    began: Time,
    ended: Option<Time>,
}

impl Turns {
    /// The caller began to speak. Within a turn that is not over he goes on.
    pub(crate) fn started(&mut self, item: &str, at: Time) {
        if let Some(last) = self.0.back_mut()
            && last.item == item
            && !item.is_empty()
        {
            last.ended = None;
            return;
        }
        if self.0.len() == MAX_TURNS {
            self.0.pop_front();
        }
        self.0.push_back(Turn { item: item.to_owned(), began: at, ended: None });
    }

    /// The caller stopped speaking.
    pub(crate) fn stopped(&mut self, at: Time) {
        if let Some(last) = self.0.back_mut() {
            last.ended = Some(at);
        }
    }

    /// The words of an item are complete: when they were said. Of a turn that nobody told of, now.
    pub(crate) fn take(&mut self, item: &str, now: Time) -> (Time, Time) {
        let position = self.0.iter().position(|turn| turn.item == item);
        let position = position.or_else(|| self.0.iter().position(|turn| turn.item.is_empty()));
        let turn = position.and_then(|position| self.0.remove(position));
        turn.map_or((now, now), |turn| (turn.began, turn.ended.unwrap_or(now)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(ms: u64) -> Time {
        Time::from_millis(ms)
    }

    #[test]
    fn words_belong_to_the_turn_of_their_item_however_late_they_come() {
        let mut turns = Turns::default();
        turns.started("a", at(100));
        turns.stopped(at(200));
        turns.started("b", at(300));
        turns.stopped(at(400));
        turns.started("b", at(450));
        turns.stopped(at(500));
        assert_eq!(turns.take("b", at(900)), (at(300), at(500)), "he went on");
        assert_eq!(turns.take("a", at(950)), (at(100), at(200)));
        assert_eq!(turns.take("a", at(960)), (at(960), at(960)), "nobody told of another");
        turns.started("", at(1_000));
        assert_eq!(turns.take("of a provider that names none", at(1_100)), (at(1_000), at(1_100)), "not over yet");
    }

    #[test]
    fn turns_without_words_are_forgotten_in_the_end() {
        let mut turns = Turns::default();
        for n in 0..=MAX_TURNS as u64 {
            turns.started(&n.to_string(), at(n));
        }
        assert_eq!(turns.0.len(), MAX_TURNS);
        assert_eq!(turns.take("0", at(99)), (at(99), at(99)));
        assert_eq!(turns.take("1", at(99)), (at(1), at(99)));
    }
}
