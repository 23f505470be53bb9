//! Shapes of values that several requests have, as `/openapi.json` describes them.

use kall_shared::id::Identity;
use kall_shared::signalling::limits;
use serde::{Deserialize, Deserializer};
use utoipa::openapi::schema::{AdditionalProperties, SchemaType};
use utoipa::openapi::{
    ArrayBuilder, KnownFormat, Object, ObjectBuilder, OneOfBuilder, RefOr, Schema, SchemaFormat, Type,
};

/// Printable characters, not all of them spaces.
const NAME: &str = "^[^\\u0000-\\u001f\\u007f-\\u009f]*[^\\s\\u0000-\\u001f\\u007f-\\u009f]\
                    [^\\u0000-\\u001f\\u007f-\\u009f]*$";

/// Printable characters without slashes.
const IDENTITY: &str = "^[^\\u0000-\\u001f\\u007f-\\u009f/\\\\]+$";

fn text(pattern: &str, longest: usize, example: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .min_length(Some(1))
        .max_length(Some(longest))
        .pattern(Some(pattern))
        .examples([example])
}

/// A display name.
pub(super) fn name() -> Object {
    text(NAME, limits::NAME, "Team Standup").build()
}

/// A display name, or none.
pub(super) fn name_or_none() -> Object {
    text(NAME, limits::NAME, "Alice")
        .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
        .build()
}

/// Names of breakout rooms.
pub(super) fn breakout_names() -> RefOr<Schema> {
    let names = ArrayBuilder::new()
        .items(name())
        .max_items(Some(limits::BREAKOUTS))
        .default(Some(serde_json::json!([])));
    RefOr::T(Schema::Array(names.build()))
}

/// Whom to keep out: by what, and which one.
pub(super) fn new_ban() -> RefOr<Schema> {
    let of = |by: &str, value: RefOr<Schema>| {
        let by = ObjectBuilder::new()
            .schema_type(Type::String)
            .enum_values(Some([by]));
        ObjectBuilder::new()
            .property("by", by)
            .property("value", value)
            .required("by")
            .required("value")
            .additional_properties(Some(AdditionalProperties::FreeForm(false)))
    };
    let either = OneOfBuilder::new()
        .item(of("identity", RefOr::T(Schema::Object(identity()))))
        .item(of("address", address()));
    RefOr::T(Schema::OneOf(either.build()))
}

/// Who somebody is.
pub(super) fn identity() -> Object {
    text(IDENTITY, Identity::MAX_LEN, "user-1").build()
}

/// An IP address.
fn address() -> RefOr<Schema> {
    let of = |format| {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(format)))
    };
    let either = OneOfBuilder::new()
        .item(of(KnownFormat::Ipv4))
        .item(of(KnownFormat::Ipv6));
    RefOr::T(Schema::OneOf(either.build()))
}

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

#[cfg(test)]
mod tests {
    use super::*;

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
