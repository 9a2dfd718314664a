//! Whether PostgreSQL takes a payload: jsonb wants JSON, and cannot hold everything that JSON can say.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// What is no JSON, has the character 0 or half a surrogate pair in a text, or is deeper than 128 levels is told here, before it
/// costs a transaction. Whatever else the database refuses it says itself.
pub(super) fn is_jsonb(text: &str) -> bool {
    serde_json::from_str::<Jsonb>(text).is_ok()
}

/// A value that is looked at and not kept.
struct Jsonb;

impl<'de> Deserialize<'de> for Jsonb {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Look)
    }
}

struct Look;

impl<'de> Visitor<'de> for Look {
    type Value = Jsonb;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value for jsonb")
    }

    fn visit_unit<E: Error>(self) -> Result<Jsonb, E> {
        Ok(Jsonb)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Jsonb, E> {
        Ok(Jsonb)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Jsonb, E> {
        Ok(Jsonb)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Jsonb, E> {
        Ok(Jsonb)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Jsonb, E> {
        Ok(Jsonb)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Jsonb, E> {
        match text.contains('\0') {
            true => Err(E::custom("the character 0")),
            false => Ok(Jsonb),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Jsonb, A::Error> {
        while seq.next_element::<Jsonb>()?.is_some() {}
        Ok(Jsonb)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Jsonb, A::Error> {
        while map.next_entry::<Jsonb, Jsonb>()?.is_some() {}
        Ok(Jsonb)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_jsonb_cannot_hold_is_none() {
        for text in ["nope", "", r#"{"a":"\u0000"}"#, r#"{"\u0000":1}"#, r#"["\ud800"]"#, r#"{"a":1"#, "{} x", "NaN"] {
            assert!(!is_jsonb(text), "{text}");
        }
        assert!(!is_jsonb(&"[".repeat(20_000)));
        for text in ["{}", r#"{"a":{"b":[1,-2,0.5,null,true,"\\u0000 \ud83d\ude00"]}}"#, "null", " \"x\" "] {
            assert!(is_jsonb(text), "{text}");
        }
    }
}
