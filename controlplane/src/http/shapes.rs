//! Shapes of values that several requests have, as `/openapi.json` describes them.

use kall_shared::id::Identity;
use kall_shared::signalling::limits;
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
