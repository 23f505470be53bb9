//! Values of request bodies that are read as JSON Schema means them, which is not always as serde does.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// A whole number: 20, and as JSON has but one kind of number also 20.0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Whole(pub(super) u32);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = serde_json::Number::deserialize(deserializer)?;
        let whole = number.as_f64().filter(|value| value.fract() == 0.0);
        let fits = whole.filter(|value| (0.0..=f64::from(u32::MAX)).contains(value));
        fits.map(|value| Self(value as u32))
            .ok_or_else(|| serde::de::Error::custom(format!("a whole number of 0 to {}", u32::MAX)))
    }
}

/// What is written with the names of its fields: serde would take a list of their values as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Object<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Named<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Named<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(fields)).map(Object)
            }
        }

        deserializer.deserialize_map(Named(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_no_object() {
        #[derive(Debug, PartialEq, Deserialize)]
        struct Named {
            name: Option<String>,
        }
        let read = serde_json::from_str::<Object<Named>>;
        let name = Some("A".to_owned());
        assert_eq!(read(r#"{"name": "A"}"#).expect("an object").0, Named { name });
        for text in ["[]", r#"["A"]"#, "null", "1"] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn whole_numbers_may_have_a_point() {
        let read = serde_json::from_str::<Whole>;
        for text in ["20", "20.0", "2e1"] {
            assert_eq!(read(text).expect("whole"), Whole(20), "{text}");
        }
        for text in ["-1", "1.5", "4294967296", "\"20\"", "null"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
