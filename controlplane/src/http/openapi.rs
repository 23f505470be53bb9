//! `/openapi.json`, generated from the handlers, and what all operations have in common.

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use utoipa::openapi::path::{HttpMethod, Operation, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::response::Response;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, LicenseBuilder, ObjectBuilder, OpenApi, OpenApiBuilder,
    Ref, RefOr, Required, ResponseBuilder, Type,
};
use utoipa::{PartialSchema, ToSchema};

use super::error::{CODES, ErrorBody, ErrorDetail};
use super::{App, idempotency};

/// Name of the scheme of API keys.
const API_KEY: &str = "api_key";

/// Errors of every operation, whatever it does.
const ALWAYS: [(u16, &str); 6] = [
    (400, "The request can't be read"),
    (404, "There is no such thing"),
    (405, "The path takes other methods"),
    (408, "The request did not come in time"),
    (429, "Too many requests"),
    (500, "A bug or an outage on the server's side"),
];

/// Errors of operations with a key.
const WITH_KEY: [(u16, &str); 2] = [(401, "No key, or a wrong one"), (403, "Not allowed")];

/// Errors of operations with a body.
const WITH_BODY: [(u16, &str); 4] = [
    (403, "Not allowed"),
    (413, "The body is too long"),
    (415, "The body is of another type"),
    (422, "A value is out of bounds"),
];

/// What the document says before its paths.
pub(super) fn base() -> OpenApi {
    let codes: Vec<String> = CODES
        .iter()
        .map(|(code, meaning)| format!("- `{code}` — {meaning}"))
        .collect();
    let info = InfoBuilder::new()
        .title("kall")
        .version(kall_shared::version::BUILD)
        .description(Some(format!(
            "Rooms, participants and tokens. Every call needs `Authorization: Bearer key:secret` with a key \
             of `[[api.keys]]`, unless it says otherwise.\n\n\
             Every error is `{{\"error\": {{\"code\": \"...\", \"message\": \"...\"}}}}`. Codes:\n\n{}\n\n\
             A POST with an `Idempotency-Key` is done once: repeated within a day it gets the first answer, \
             with `Idempotency-Replayed: true` (all but `POST /tokens`, which changes nothing).",
            codes.join("\n")
        )))
        .license(Some(
            LicenseBuilder::new().name("MIT").identifier(Some("MIT")).build(),
        ))
        .build();
    let components = ComponentsBuilder::new()
        .security_scheme(API_KEY, SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)))
        .schema(ErrorBody::name(), ErrorBody::schema())
        .schema(ErrorDetail::name(), ErrorDetail::schema())
        .build();
    OpenApiBuilder::new()
        .info(info)
        .components(Some(components))
        .build()
}

/// Adds what every operation has: its errors, and for POST the header that makes it safe to repeat.
pub(super) fn finish(mut api: OpenApi) -> OpenApi {
    for (path, item) in &mut api.paths.paths {
        let operations = [
            (HttpMethod::Get, &mut item.get),
            (HttpMethod::Post, &mut item.post),
            (HttpMethod::Patch, &mut item.patch),
            (HttpMethod::Delete, &mut item.delete),
        ];
        for (method, operation) in operations {
            if let Some(operation) = operation {
                complete(operation);
                if method == HttpMethod::Post && idempotency::applies_to(path) {
                    offer_idempotency(operation);
                }
            }
        }
    }
    api
}

fn complete(operation: &mut Operation) {
    let open = operation.security.is_some();
    let mut errors = ALWAYS.to_vec();
    if open {
        errors.push((403, "Not allowed"));
    } else {
        operation.security = Some(vec![SecurityRequirement::new(API_KEY, Vec::<String>::new())]);
        errors.extend(WITH_KEY);
        // The media server may be away, and states may forbid what is asked.
        errors.extend([(409, "Not in this state"), (503, "The media server is away")]);
    }
    let parameters = operation.parameters.get_or_insert_default();
    if operation.request_body.is_some()
        || parameters
            .iter()
            .any(|own| own.parameter_in == ParameterIn::Query)
    {
        errors.extend(WITH_BODY);
    }
    for (status, words) in errors {
        let responses = &mut operation.responses.responses;
        responses
            .entry(status.to_string())
            .or_insert_with(|| RefOr::T(failure(words)));
    }
}

fn offer_idempotency(operation: &mut Operation) {
    operation
        .parameters
        .get_or_insert_default()
        .push(idempotency_key());
    let responses = &mut operation.responses.responses;
    responses
        .entry("422".to_owned())
        .or_insert_with(|| RefOr::T(failure("A value is out of bounds")));
}

fn failure(words: &str) -> Response {
    let reference = Ref::from_schema_name(ErrorBody::name());
    let content = ContentBuilder::new().schema(Some(reference)).build();
    ResponseBuilder::new()
        .description(words)
        .content("application/json", content)
        .build()
}

fn idempotency_key() -> Parameter {
    let schema = ObjectBuilder::new()
        .schema_type(Type::String)
        .min_length(Some(1))
        .max_length(Some(255))
        .pattern(Some("^[\\x20-\\x7e]+$"))
        .build();
    ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(
            "A name of the caller's for this request, so that it can be repeated.",
        ))
        .schema(Some(schema))
        .build()
}

/// Serves the document.
pub(super) fn router(api: &OpenApi) -> Router<Arc<App>> {
    let text: Arc<str> = api.to_json().unwrap_or_default().into();
    let document = move || {
        let text = Arc::clone(&text);
        async move {
            (
                [(axum::http::header::CONTENT_TYPE, "application/json")],
                text.to_string(),
            )
        }
    };
    Router::new().route("/openapi.json", get(document))
}
