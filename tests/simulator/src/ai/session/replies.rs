//! What to say, by table.

use serde_json::Value;

use crate::{
    ai::settings::Replies,
    speech::{Fixture, Role, fixture, fixtures},
};

/// What a reply goes by.
pub(super) struct Cue<'a> {
    pub(super) session: usize,
    /// Replies so far in this session.
    pub(super) reply: usize,
    /// What the caller said last, if that was recognised.
    pub(super) heard: Option<&'a Fixture>,
    /// Language of what was recognised last, replied to or not.
    pub(super) language: Option<&'a str>,
    /// Whether the caller has said anything at all, recognised or not.
    pub(super) caller_spoke: bool,
    /// `instructions` of the `response.create`.
    pub(super) instructions: &'a str,
    /// Tools in force for this response.
    pub(super) tools: &'a Value,
    pub(super) end_call_tool: &'a str,
}

/// What is said, and the tool called with it.
pub(super) struct Reply {
    pub(super) said: &'static Fixture,
    pub(super) tool: Option<String>,
}

impl Replies {
    /// Every name in the tables, so that a server with a misspelt one does not start.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let answers = self.answers.values();
        self.greeting.iter().chain(answers).chain(&self.rotation).map(String::as_str)
    }

    pub(super) fn choose(&self, cue: &Cue<'_>) -> Reply {
        if let Some(heard) = cue.heard.filter(|heard| heard.is_goodbye()) {
            let tool = has_function(cue.tools, cue.end_call_tool).then(|| cue.end_call_tool.to_owned());
            return Reply { said: self.farewell(heard), tool };
        }
        Reply { said: self.said(cue), tool: None }
    }

    fn farewell(&self, goodbye: &Fixture) -> &'static Fixture {
        let by_language = || fixture(&format!("farewell-{}", goodbye.language));
        let answer = self.answers.get(&goodbye.name).map(|name| named(name));
        answer.or_else(by_language).expect(FAREWELLS)
    }

    fn said(&self, cue: &Cue<'_>) -> &'static Fixture {
        if let Some(scripted) = scripted(cue.instructions) {
            return scripted;
        }
        if says_goodbye(cue.instructions) {
            let language = cue.language.unwrap_or("en");
            return fixture(&format!("farewell-{language}")).expect(FAREWELLS);
        }
        if let Some(greeting) = self.greeting.as_ref().filter(|_| !cue.caller_spoke && cue.reply == 0) {
            return named(greeting);
        }
        match cue.heard.and_then(|heard| self.answers.get(&heard.name)) {
            Some(answer) => named(answer),
            None => named(&self.rotation[(cue.session + cue.reply) % self.rotation.len()]),
        }
    }
}

fn named(name: &str) -> &'static Fixture {
    fixture(name).expect("the server checked the names in its tables when it started")
}

const FAREWELLS: &str = "each language has a farewell; a test of the fixtures insists";

/// Whether the client asks for a goodbye: in the last line, what comes before are the instructions of the call.
fn says_goodbye(instructions: &str) -> bool {
    instructions.lines().last().is_some_and(|line| line.to_lowercase().contains("goodbye"))
}

/// A line the client dictates, when there is a recording of it.
fn scripted(instructions: &str) -> Option<&'static Fixture> {
    fixtures().iter().find(|fixture| fixture.role == Role::Agent && instructions.contains(&fixture.text))
}

fn has_function(tools: &Value, name: &str) -> bool {
    tools.as_array().is_some_and(|tools| tools.iter().any(|tool| tool["type"] == "function" && tool["name"] == name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn cue<'a>(reply: usize, heard: Option<&str>, tools: &'a Value) -> Cue<'a> {
        let heard = heard.map(|name| fixture(name).expect("a fixture"));
        Cue {
            session: 0,
            reply,
            heard,
            language: heard.map(|heard| heard.language.as_str()),
            caller_spoke: heard.is_some() || reply > 0,
            instructions: "",
            tools,
            end_call_tool: "end_call",
        }
    }

    #[test]
    fn the_first_reply_greets_and_the_others_rotate_by_session() {
        let (replies, tools) = (Replies::default(), json!([]));
        assert_eq!(replies.choose(&cue(0, None, &tools)).said.name, "welcome");
        let rotated = |session, reply| replies.choose(&Cue { session, ..cue(reply, None, &tools) }).said.name.clone();
        assert_eq!(rotated(0, 1), replies.rotation[1]);
        assert_eq!(rotated(3, 1), replies.rotation[4]);
        assert_eq!(rotated(6, 1), replies.rotation[0]);
    }

    #[test]
    fn a_goodbye_is_answered_in_its_language_and_hangs_up_if_it_may() {
        let (replies, none) = (Replies::default(), json!([]));
        let tools = json!([{"type": "function", "name": "end_call"}]);
        let with_tool = replies.choose(&cue(2, Some("goodbye-pt"), &tools));
        assert_eq!((with_tool.said.name.as_str(), with_tool.tool.as_deref()), ("farewell-pt", Some("end_call")));
        assert_eq!(replies.choose(&cue(2, Some("goodbye-hi"), &none)).tool, None);
    }

    #[test]
    fn dictated_words_and_answers_go_before_the_rotation() {
        let (replies, tools) = (Replies::fitting(), json!([]));
        assert_eq!(replies.choose(&cue(1, Some("opening-hours"), &tools)).said.name, "open-from-nine");
        let dictated = "Say exactly: We open at nine in the morning and close at six in the evening.";
        let cue = Cue { instructions: dictated, ..cue(0, None, &tools) };
        assert_eq!(replies.choose(&cue).said.name, "open-from-nine");
    }

    #[test]
    fn a_goodbye_asked_for_is_said_in_the_callers_language_and_only_then() {
        let (replies, tools) = (Replies::default(), json!([]));
        let said = |instructions, language| {
            replies.choose(&Cue { instructions, language, ..cue(1, None, &tools) }).said.name.as_str()
        };
        assert_eq!(said("You answer calls.\n\nThe call ends now. Say goodbye.", Some("de")), "farewell-de");
        assert_eq!(said("The call ends now. Say goodbye.", None), "farewell-en");
        assert_eq!(said("When the caller says goodbye, hang up.\n\nSay hello.", Some("de")), replies.rotation[1]);
    }

    #[test]
    fn every_name_in_the_tables_is_a_fixture() {
        for name in Replies::default().names().chain(Replies::fitting().names()) {
            assert!(fixture(name).is_some(), "{name}");
        }
        assert!(
            Replies::fitting()
                .answers
                .keys()
                .all(|heard| fixture(heard).is_some_and(|heard| heard.role == Role::Caller))
        );
    }
}
