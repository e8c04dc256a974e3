//! The bounds of an agent that a request carries, by contract. A node checks them as well, but by then the call rings: what
//! is refused here is the caller of the API's mistake and nobody else's.

use voicebridge_proto::types::v1::Agent;

use super::Fault;

const MAX_INSTRUCTIONS_BYTES: usize = 32 * 1024;
const MAX_GREETING_CHARS: usize = 2_000;
const MAX_VARIABLES: usize = 32;
const MAX_NAME_BYTES: usize = 64;
const MAX_VALUE_BYTES: usize = 1_024;

/// The field that breaks its rule, never what is in it.
pub(super) fn check(agent: Option<Agent>) -> Result<Option<Agent>, Fault> {
    let Some(agent) = agent else { return Ok(None) };
    if agent.instructions.len() > MAX_INSTRUCTIONS_BYTES {
        return Err(Fault::invalid("agent.instructions", "must be at most 32768 bytes"));
    }
    if agent.greeting.chars().count() > MAX_GREETING_CHARS {
        return Err(Fault::invalid("agent.greeting", "must be at most 2000 characters"));
    }
    if agent.variables.len() > MAX_VARIABLES {
        return Err(Fault::invalid("agent.variables", "must be at most 32"));
    }
    let is_name = |name: &String| {
        (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    if !agent.variables.keys().all(is_name) {
        return Err(Fault::invalid("agent.variables", "must have names of 1 to 64 letters, digits and _"));
    }
    if agent.variables.values().any(|value| value.len() > MAX_VALUE_BYTES) {
        return Err(Fault::invalid("agent.variables", "must have values of at most 1024 bytes"));
    }
    Ok(Some(agent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn with(variables: impl IntoIterator<Item = (String, String)>, expect: bool) {
        let agent = Agent { variables: variables.into_iter().collect(), ..Agent::default() };
        assert_eq!(check(Some(agent)).is_ok(), expect);
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
        assert!(check(Some(long(32_768, 2_000))).is_ok() && check(None).is_ok());
        assert!(check(Some(long(32_769, 0))).is_err() && check(Some(long(0, 2_001))).is_err());
    }
}
