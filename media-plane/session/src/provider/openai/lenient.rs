//! Reads fields that are not what they should be: null is as good as missing, a number may be a fraction or out of range,
//! and what is of another kind altogether is as good as missing too. So an odd field costs that field and not the event.
//!
//! For `#[serde(default, deserialize_with = "...")]`. Not for what must be right: see `config::Effective`.

use serde::{Deserialize, Deserializer, de::IgnoredAny};

#[derive(Deserialize)]
#[serde(untagged)]
enum Field<T> {
    Right(T),
    Odd(IgnoredAny),
}

fn field<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    Ok(match Field::deserialize(deserializer)? {
        Field::Right(value) => Some(value),
        Field::Odd(_) => None,
    })
}

/// What it should be, else the default.
pub(super) fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(field(deserializer)?.unwrap_or_default())
}

/// Text that is not empty.
pub(super) fn filled<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(field(deserializer)?.filter(|text: &String| !text.is_empty()))
}

/// A whole number, else 0: a fraction is rounded, a negative one is 0, and one too large is the largest.
pub(super) fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    Ok(field::<_, f64>(deserializer)?.unwrap_or_default().round() as u64)
}

/// A list without what is odd in it; anything else is an empty one.
pub(super) fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    let list: Vec<Field<T>> = or_default(deserializer)?;
    Ok(list
        .into_iter()
        .filter_map(|element| match element {
            Field::Right(value) => Some(value),
            Field::Odd(_) => None,
        })
        .collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(default)]
    struct Inner {
        #[serde(deserialize_with = "count")]
        tokens: u64,
    }

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(default)]
    struct Outer {
        #[serde(deserialize_with = "or_default")]
        text: String,
        #[serde(deserialize_with = "filled")]
        maybe: Option<String>,
        #[serde(deserialize_with = "or_default")]
        number: f64,
        #[serde(deserialize_with = "or_default")]
        inner: Inner,
        #[serde(deserialize_with = "list")]
        list: Vec<Inner>,
    }

    #[test]
    fn odd_fields_are_as_good_as_missing() {
        let read = |text: &str| serde_json::from_str::<Outer>(text).unwrap();
        let odd = ["null", "true", "\"text\"", "7", r#"{"x":{"y":[1]}}"#, "[1,null,\"a\"]", "-1e300"];
        for field in ["inner", "list", "unknown"] {
            for odd in odd {
                assert_eq!(read(&format!(r#"{{"{field}":{odd}}}"#)), Outer::default(), "{field}: {odd}");
            }
        }
        for odd in ["null", "true", "[[]]", r#"{"x":{"y":[1]}}"#, "-1e300"] {
            assert_eq!(read(&format!(r#"{{"text":{odd},"maybe":{odd}}}"#)), Outer::default(), "{odd}");
        }
        assert_eq!(read(r#"{"number":"5"}"#), Outer::default());
        assert_eq!(read(r#"{"number":5}"#).number, 5.0);
        assert_eq!(read(r#"{"maybe":""}"#).maybe, None);
        assert_eq!(
            read(r#"{"list":[{"tokens":1},null,7,{"tokens":"2"}]}"#).list,
            [Inner { tokens: 1 }, Inner::default()]
        );
        assert!(serde_json::from_str::<Outer>(r#"{"text":"\ud83d"}"#).is_err(), "no JSON");
    }

    #[test]
    fn numbers_are_counts_as_well_as_can_be() {
        let read = |number: &str| serde_json::from_str::<Inner>(&format!(r#"{{"tokens":{number}}}"#)).unwrap().tokens;
        for (number, count) in [("7", 7), ("2.6", 3), ("-1", 0), ("-0.4", 0), ("1e300", u64::MAX), ("\"7\"", 0)] {
            assert_eq!(read(number), count, "{number}");
        }
    }
}
