//! The bounds of an agent that a request carries, by contract. A node checks them as well, but by then the call rings: what
//! is refused here is the caller of the API's mistake and nobody else's.

use voicebridge_core::identity::{PhoneNumber, UserId};
use voicebridge_proto::{control::v1 as control, types::v1::Agent};
use voicebridge_text::language;

use super::{Fault, arguments::number_id};
use crate::webhook::{Agents, CallerAgent};

const MAX_INSTRUCTIONS_BYTES: usize = 32 * 1024;
const MAX_GREETING_CHARS: usize = 2_000;
const MAX_VOICE_CHARS: usize = 100;
/// Shortest and longest conversation, milliseconds.
const MIN_DURATION_MS: u32 = 1_000;
const MAX_DURATION_MS: u32 = 3_300_000;
const MAX_VARIABLES: usize = 32;
const MAX_NAME_BYTES: usize = 64;
const MAX_VALUE_BYTES: usize = 1_024;
/// Agents of particular callers that come with one delivery, and bytes of all of them.
const MAX_AGENTS: usize = 64;
pub(super) const MAX_AGENTS_BYTES: usize = 256 * 1024;

/// Those that come with a delivery.
pub(super) fn check_all(agents: Vec<control::CallerAgent>, rest: Option<Agent>) -> Result<Agents, Fault> {
    if agents.len() > MAX_AGENTS {
        return Err(Fault::invalid("agents", "must be at most 64"));
    }
    if agents.iter().map(prost::Message::encoded_len).sum::<usize>() > MAX_AGENTS_BYTES {
        return Err(Fault::invalid("agents", "must be at most 262144 bytes together"));
    }
    let of_callers = agents.into_iter().enumerate().map(|(at, agent)| of_caller(&format!("agents[{at}]"), agent));
    Ok(Agents { of_callers: of_callers.collect::<Result<_, _>>()?, of_the_rest: check("agent", rest)? })
}

fn of_caller(path: &str, given: control::CallerAgent) -> Result<CallerAgent, Fault> {
    let phone_number = match given.phone_number.as_str() {
        "" => None,
        digits => Some(
            PhoneNumber::parse(digits)
                .ok_or_else(|| Fault::invalid(&format!("{path}.phone_number"), "must be international digits"))?,
        ),
    };
    let user_id = match given.user_id.as_str() {
        "" => None,
        id => Some(UserId::parse(id).ok_or_else(|| {
            Fault::invalid(&format!("{path}.user_id"), "must be at most 512 bytes without control characters")
        })?),
    };
    let phone_number_id = number_id(&format!("{path}.phone_number_id"), given.phone_number_id)?;
    let phone_number_id = Some(phone_number_id).filter(|id| !id.is_empty());
    if phone_number.is_none() && user_id.is_none() && phone_number_id.is_none() {
        return Err(Fault::invalid(path, "must name a caller or a number"));
    }
    let agent = check(&format!("{path}.agent"), given.agent)?;
    Ok(CallerAgent { phone_number, user_id, phone_number_id, agent })
}

/// The field that breaks its rule, never what is in it. `path` is where the agent stands in the request.
pub(super) fn check(path: &str, agent: Option<Agent>) -> Result<Option<Agent>, Fault> {
    let Some(agent) = agent else { return Ok(None) };
    let invalid = |field: &str, rule: &str| Err(Fault::invalid(&format!("{path}.{field}"), rule));
    if agent.instructions.len() > MAX_INSTRUCTIONS_BYTES {
        return invalid("instructions", "must be at most 32768 bytes");
    }
    if agent.greeting.chars().count() > MAX_GREETING_CHARS {
        return invalid("greeting", "must be at most 2000 characters");
    }
    if agent.max_duration_ms != 0 && !(MIN_DURATION_MS..=MAX_DURATION_MS).contains(&agent.max_duration_ms) {
        return invalid("max_duration_ms", "must be 1000 to 3300000");
    }
    if agent.voice.chars().count() > MAX_VOICE_CHARS || (!agent.voice.is_empty() && agent.voice.trim().is_empty()) {
        return invalid("voice", "must be at most 100 characters, not all of them spaces");
    }
    if !agent.language.is_empty() && !language::is_tag(&agent.language) {
        return invalid("language", "must be a BCP 47 language tag such as pt or pt-BR");
    }
    if agent.variables.len() > MAX_VARIABLES {
        return invalid("variables", "must be at most 32");
    }
    let is_name = |name: &String| {
        (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    if !agent.variables.keys().all(is_name) {
        return invalid("variables", "must have names of 1 to 64 letters, digits and _");
    }
    if agent.variables.values().any(|value| value.len() > MAX_VALUE_BYTES) {
        return invalid("variables", "must have values of at most 1024 bytes");
    }
    Ok(Some(agent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn with(variables: impl IntoIterator<Item = (String, String)>, expect: bool) {
        let agent = Agent { variables: variables.into_iter().collect(), ..Agent::default() };
        assert_eq!(check("agent", Some(agent)).is_ok(), expect);
    }

    #[test]
    fn bounds_hold_and_no_less() {
        let pair = |name: &str, value: &str| [(name.to_owned(), value.to_owned())];
        with(pair("Name_1", &"x".repeat(1_024)), true);
        with(pair(&"n".repeat(64), ""), true);
        with((0..32).map(|n| (n.to_string(), String::new())), true);
        with((0..33).map(|n| (n.to_string(), String::new())), false);
        with(pair("", "x"), false);
        with(pair("a-b", "x"), false);
        with(pair("n\u{e4}me", "x"), false);
        with(pair(&"n".repeat(65), ""), false);
        with(pair("name", &"x".repeat(1_025)), false);
        let long = |instructions: usize, greeting: usize| Agent {
            instructions: "x".repeat(instructions),
            greeting: "\u{e4}".repeat(greeting),
            ..Agent::default()
        };
        assert!(check("agent", Some(long(32_768, 2_000))).is_ok() && check("agent", None).is_ok());
        assert!(check("agent", Some(long(32_769, 0))).is_err() && check("agent", Some(long(0, 2_001))).is_err());
    }

    #[test]
    fn a_conversation_has_its_shortest_and_longest_time() {
        for (max_duration_ms, expect) in [(0, true), (999, false), (1_000, true), (3_300_000, true), (3_300_001, false)]
        {
            let agent = Agent { max_duration_ms, ..Agent::default() };
            assert_eq!(check("agent", Some(agent)).is_ok(), expect, "{max_duration_ms}");
        }
    }

    #[test]
    fn a_voice_and_a_language_have_a_shape() {
        let with = |voice: &str, language: &str| {
            let agent = Agent { voice: voice.to_owned(), language: language.to_owned(), ..Agent::default() };
            check("agent", Some(agent)).map(|_| ()).map_err(|fault| fault.message().to_owned())
        };
        assert_eq!(with("", ""), Ok(()));
        assert_eq!(with(&"v".repeat(100), "pt-BR"), Ok(()));
        let voice = Err("agent.voice must be at most 100 characters, not all of them spaces".to_owned());
        assert_eq!([with(&"v".repeat(101), ""), with(" ", "")], [voice.clone(), voice]);
        let language = "agent.language must be a BCP 47 language tag such as pt or pt-BR".to_owned();
        assert_eq!(with("marin", "portuguese brazil"), Err(language));
    }

    #[test]
    fn agents_of_callers_are_bounded_and_their_mistakes_named_by_their_place() {
        let of = |phone_number: &str, agent| control::CallerAgent {
            phone_number: phone_number.to_owned(),
            agent,
            ..Default::default()
        };
        let refused = |agents: Vec<_>| check_all(agents, None).map(|_| ()).map_err(|fault| fault.message().to_owned());
        assert_eq!(refused(vec![of("5511900000001", None); MAX_AGENTS]), Ok(()));
        assert_eq!(
            refused(vec![of("5511900000001", None); MAX_AGENTS + 1]),
            Err("agents must be at most 64".to_owned())
        );
        let large = Agent { instructions: "x".repeat(32_768), ..Agent::default() };
        assert_eq!(refused(vec![of("1", Some(large.clone())); 7]), Ok(()));
        let all = "agents must be at most 262144 bytes together".to_owned();
        assert_eq!(refused(vec![of("1", Some(large.clone())); 8]), Err(all));
        let mistake = Agent { greeting: "x".repeat(2_001), ..Agent::default() };
        let named = "agents[1].agent.greeting must be at most 2000 characters".to_owned();
        assert_eq!(refused(vec![of("1", None), of("2", Some(mistake))]), Err(named));
        assert_eq!(refused(vec![of("", None)]), Err("agents[0] must name a caller or a number".to_owned()));
        let named = "agents[0].phone_number must be international digits".to_owned();
        assert_eq!(refused(vec![of("ana", None)]), Err(named));
    }
}
