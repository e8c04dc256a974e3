//! A YAML document as a tree in which every node knows its line, so that all mistakes can be reported at once instead
//! of the first one only.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::Spanned;

use super::AgentError;

/// One node.
#[derive(Debug)]
pub(super) struct YamlNode {
    /// 1-based.
    pub(super) line: u32,
    pub(super) value: Value,
}

/// What a node holds.
#[derive(Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    /// A sequence. No field takes one, so its content does not matter.
    List,
    /// Keys in the order of the file, with the line of each.
    Map(Vec<(String, u32, YamlNode)>),
}

impl Value {
    /// For messages: "expected a number, found a text".
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "true or false",
            Self::Integer(_) | Self::Float(_) => "a number",
            Self::Text(_) => "a text",
            Self::List => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

/// Reads a document; an empty one is an empty mapping.
pub(super) fn parse(text: &str) -> Result<YamlNode, AgentError> {
    serde_saphyr::from_str::<Option<Spanned<Value>>>(text)
        .map(|document| document.map_or(YamlNode { line: 1, value: Value::Null }, YamlNode::from))
        .map_err(|error| AgentError {
            line: error.location().map_or(1, |location| location.line() as u32),
            field: String::new(),
            message: first_line(&error.to_string()),
        })
}

/// The library adds a drawing of the place below its message.
fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

impl From<Spanned<Value>> for YamlNode {
    fn from(spanned: Spanned<Value>) -> Self {
        Self { line: spanned.referenced.line() as u32, value: spanned.value }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(i64::try_from(value).map_or(Value::Float(value as f64), Value::Integer))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        while items.next_element::<Value>()?.is_some() {}
        Ok(Value::List)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Vec::new();
        while let Some((key, value)) = entries.next_entry::<Spanned<String>, Spanned<Value>>()? {
            map.push((key.value, key.referenced.line() as u32, YamlNode::from(value)));
        }
        Ok(Value::Map(map))
    }
}
