//! The commands a session has taken, by the ids their senders chose, so that one sent again is not carried out again.
//!
//! Bounds: the last so many ([`crate::Limits::commands`]); the oldest is forgotten first, and sent again it is a new one.

use std::collections::VecDeque;

use crate::ports::{Command, CommandIdReused};

/// See the module.
#[derive(Debug)]
pub(super) struct TakenCommands {
    kept: VecDeque<(String, Command)>,
    most: usize,
}

/// Whether a command is to be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It came for the first time.
    Now,
    /// It was taken before.
    Before,
}

impl TakenCommands {
    pub(super) const fn new(most: usize) -> Self {
        Self { kept: VecDeque::new(), most }
    }

    /// # Errors
    /// [`CommandIdReused`]
    pub(super) fn take(&mut self, id: &str, command: &Command) -> Result<Taken, CommandIdReused> {
        match self.kept.iter().find(|(kept, _)| kept == id) {
            Some((_, same)) if same == command => return Ok(Taken::Before),
            Some(_) => return Err(CommandIdReused),
            None => {}
        }
        if self.kept.len() == self.most {
            self.kept.pop_front();
        }
        self.kept.push_back((id.to_owned(), command.clone()));
        Ok(Taken::Now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(text: &str) -> Command {
        Command::Say(text.to_owned())
    }

    #[test]
    fn a_command_is_taken_once_by_its_id() {
        let mut taken = TakenCommands::new(2);
        assert_eq!(taken.take("a", &say("hello")), Ok(Taken::Now));
        assert_eq!(taken.take("a", &say("hello")), Ok(Taken::Before));
        assert_eq!(taken.take("b", &say("hello")), Ok(Taken::Now), "another id is another command");
        assert_eq!(taken.take("a", &say("bye")), Err(CommandIdReused));
        assert_eq!(taken.take("a", &Command::Interrupt), Err(CommandIdReused));
        assert_eq!(taken.take("a", &say("hello")), Ok(Taken::Before), "what was refused changes nothing");
    }

    #[test]
    fn the_oldest_is_forgotten() {
        let mut taken = TakenCommands::new(2);
        for id in ["a", "b", "c"] {
            assert_eq!(taken.take(id, &Command::Interrupt), Ok(Taken::Now));
        }
        assert_eq!(taken.take("b", &Command::Interrupt), Ok(Taken::Before));
        assert_eq!(taken.take("a", &Command::Interrupt), Ok(Taken::Now));
    }
}
