//! `{{name}}` in the agent's texts, filled with what is known of this call.
//!
//! A name is 1 to 64 letters, digits and `_`, with or without spaces around it. One without a value becomes empty; braces
//! around anything else stay as they are. Values are taken as they are and not looked at for further placeholders.

use std::collections::BTreeMap;

/// Values by name.
pub type Variables = BTreeMap<String, String>;

/// Variables of one request.
pub const MAX_VARIABLES: usize = 32;
/// Longest name, bytes.
pub const MAX_NAME_BYTES: usize = 64;
/// Longest value, bytes.
pub const MAX_VALUE_BYTES: usize = 1_024;

/// Whether this can stand between braces.
#[must_use]
pub fn is_name(text: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// The text with its placeholders filled.
pub(super) fn fill(text: &str, variables: &Variables) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find("{{") {
        let inside = &rest[open + 2..];
        let name = inside.find("}}").map(|close| (inside[..close].trim_matches(' '), close));
        match name.filter(|(name, _)| is_name(name)) {
            Some((name, close)) => {
                filled.push_str(&rest[..open]);
                filled.push_str(variables.get(name).map_or("", String::as_str));
                rest = &inside[close + 2..];
            }
            // The second brace may begin the next placeholder.
            None => {
                filled.push_str(&rest[..=open]);
                rest = &rest[open + 1..];
            }
        }
    }
    filled.push_str(rest);
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &str) {
        let values = [("name", "Ana"), ("tone", "{{name}}"), ("Shop_1", "Loja")];
        let variables = values.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        assert_eq!(fill(text, &variables), expect, "{text}");
    }

    #[test]
    fn placeholders_are_filled_once() {
        check("Hi {{name}}, this is {{ Shop_1 }}.", "Hi Ana, this is Loja.");
        check("{{name}}{{name}}", "AnaAna");
        check("Hi {{nobody}}!", "Hi !");
        check("{{tone}}", "{{name}}");
        check("", "");
        check("no braces", "no braces");
    }

    #[test]
    fn other_braces_stay() {
        for text in
            ["{{", "}}", "{{name", "{name}", "{{}}", "{{ }}", "{{na me}}", "{{näme}}", "{ {name}}", "{{\nname}}"]
        {
            check(text, text);
        }
        check("{{{name}}}", "{Ana}");
        check("{{a b}} {{name}}", "{{a b}} Ana");
        check("{{ {{name}}", "{{ Ana");
        check(&format!("{{{{{}}}}}", "x".repeat(65)), &format!("{{{{{}}}}}", "x".repeat(65)));
        check("ü{{name}}ü", "üAnaü");
    }
}
