//! Identifiers of data sets: whole numbers, or text.

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;

/// An identifier of an image entry or an annotation.
///
/// Numbers come before texts in order.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(untagged)]
pub enum Id {
    /// A whole number, however it is spelled (`7` or `7.0`).
    Number(i64),
    /// Anything in quotes.
    Text(String),
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => write!(f, "{text:?}"),
        }
    }
}

impl From<i64> for Id {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<&str> for Id {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(IdVisitor)
    }
}

struct IdVisitor;

impl Visitor<'_> for IdVisitor {
    type Value = Id;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an id: a whole number or a text")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Id, E> {
        Ok(Id::Number(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Id, E> {
        i64::try_from(number).map(Id::Number).map_err(|_| E::custom(format!("the id {number} is too large")))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Id, E> {
        /// Whole numbers up to here are exact in a double.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        if number.fract() == 0.0 && number.abs() <= EXACT {
            return Ok(Id::Number(number as i64));
        }
        Err(E::custom(format!("the id {number} is no whole number")))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Id, E> {
        Ok(Id::from(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_and_texts_are_ids() {
        struct Case(&'static str, Option<Id>);
        let cases = [
            Case("7", Some(Id::Number(7))),
            Case("-7", Some(Id::Number(-7))),
            Case("7.0", Some(Id::Number(7))),
            Case("\"7\"", Some(Id::from("7"))),
            Case("7.5", None),
            Case("1e300", None),
            Case("18446744073709551615", None),
            Case("null", None),
            Case("[7]", None),
        ];
        for Case(json, expected) in cases {
            assert_eq!(serde_json::from_str(json).ok(), expected, "{json}");
        }
    }
}
