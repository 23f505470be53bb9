//! `/docs`: the OpenAPI document as a page for people. Made once at the start from the same document,
//! without scripts.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use serde_json::Value;
use utoipa::openapi::OpenApi;

use super::App;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;max-width:60rem;padding:1rem;\
    color:#1b1f24;background:#fff}h1,h2,h3{line-height:1.2}h2{margin-top:2.5rem;border-bottom:1px solid #d0d7de}\
    code,pre{font:14px/1.45 ui-monospace,monospace;background:#f3f5f7;border-radius:4px}code{padding:.1em .3em}\
    pre{padding:.8em;overflow:auto}details{border:1px solid #d0d7de;border-radius:6px;margin:.6rem 0;\
    padding:.4rem .8rem}summary{cursor:pointer}.method{display:inline-block;min-width:4.5em;font-weight:700}\
    table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.25rem .6rem;\
    border-bottom:1px solid #e3e7eb;vertical-align:top}@media(prefers-color-scheme:dark){body{background:#14171a;\
    color:#e6e9ec}code,pre{background:#22272c}details,h2{border-color:#3a4148}td,th{border-color:#2c3238}\
    a{color:#7ab7ff}}";

pub(super) fn router(api: &OpenApi) -> Router<Arc<App>> {
    let document = serde_json::to_value(api).unwrap_or_default();
    let page: Arc<str> = page(&document).into();
    let show = move || {
        let page = Arc::clone(&page);
        async move { Html(page.to_string()) }
    };
    Router::new().route("/docs", get(show))
}

/// Text as it may stand between tags and in attributes.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            letter => safe.push(letter),
        }
    }
    safe
}

/// Escaped text whose `quoted` parts are code, and whose lines that begin with a dash are a list.
fn prose(text: &str) -> String {
    let mut html = String::new();
    for paragraph in text.split("\n\n") {
        let lines: Vec<&str> = paragraph.lines().collect();
        let list = lines.iter().all(|line| line.starts_with("- "));
        html.push_str(if list { "<ul>" } else { "<p>" });
        for line in lines {
            let line = line.strip_prefix("- ").filter(|_| list).unwrap_or(line);
            let mut parts = String::new();
            for (index, part) in line.split('`').enumerate() {
                let part = escaped(part);
                let _ = if index % 2 == 1 {
                    write!(parts, "<code>{part}</code>")
                } else {
                    write!(parts, "{part}")
                };
            }
            let _ = if list {
                write!(html, "<li>{parts}</li>")
            } else {
                write!(html, "{parts} ")
            };
        }
        html.push_str(if list { "</ul>" } else { "</p>" });
    }
    html
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// What a schema allows, in a few words.
fn kind(schema: &Value) -> String {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap_or_default();
        return format!("<a href=\"#schema-{0}\">{0}</a>", escaped(name));
    }
    for several in ["oneOf", "anyOf", "allOf"] {
        if let Some(list) = schema[several].as_array() {
            let kinds: Vec<String> = list.iter().map(kind).collect();
            return kinds.join(" or ");
        }
    }
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<String> = values
            .iter()
            .map(|value| format!("<code>{}</code>", escaped(value.as_str().unwrap_or_default())))
            .collect();
        return values.join(", ");
    }
    let mut words = match &schema["type"] {
        Value::String(name) => escaped(name),
        Value::Array(names) => names
            .iter()
            .filter_map(Value::as_str)
            .collect::<Vec<_>>()
            .join(" or "),
        _ => "anything".to_owned(),
    };
    if let Some(items) = schema.get("items") {
        let _ = write!(words, " of {}", kind(items));
    }
    for (bound, before) in [
        ("minimum", "at least "),
        ("maximum", "at most "),
        ("minLength", "length at least "),
        ("maxLength", "length at most "),
    ] {
        if let Some(value) = schema.get(bound) {
            let _ = write!(words, ", {before}{value}");
        }
    }
    words
}

fn operation(html: &mut String, method: &str, path: &str, operation: &Value) {
    let summary = escaped(text(operation, "/summary"));
    let method = method.to_uppercase();
    let _ = write!(
        html,
        "<details><summary><span class=\"method\">{method}</span><code>{}</code> {summary}</summary>{}",
        escaped(path),
        prose(text(operation, "/description")),
    );
    if operation["security"]
        .as_array()
        .is_some_and(|list| list.iter().all(|one| one == &serde_json::json!({})))
    {
        html.push_str("<p>Needs no API key.</p>");
    }
    if let Some(parameters) = operation["parameters"].as_array().filter(|list| !list.is_empty()) {
        html.push_str("<table><tr><th>Parameter</th><th>Where</th><th>Value</th><th></th></tr>");
        for own in parameters {
            let _ = write!(
                html,
                "<tr><td><code>{}</code></td><td>{}</td><td>{}</td><td>{}</td></tr>",
                escaped(text(own, "/name")),
                escaped(text(own, "/in")),
                kind(&own["schema"]),
                prose(text(own, "/description")),
            );
        }
        html.push_str("</table>");
    }
    if let Some(content) = operation
        .pointer("/requestBody/content")
        .and_then(Value::as_object)
    {
        for (media, body) in content {
            let _ = write!(
                html,
                "<p>Body, <code>{}</code>: {}</p>",
                escaped(media),
                kind(&body["schema"])
            );
        }
    }
    html.push_str("<table><tr><th>Status</th><th>Meaning</th><th>Body</th></tr>");
    for (status, response) in operation["responses"].as_object().into_iter().flatten() {
        let body = response.pointer("/content").and_then(Value::as_object);
        let bodies: Vec<String> = body
            .into_iter()
            .flatten()
            .map(|(_, own)| kind(&own["schema"]))
            .collect();
        let _ = write!(
            html,
            "<tr><td>{}</td><td>{}</td><td>{}</td></tr>",
            escaped(status),
            escaped(text(response, "/description")),
            bodies.join(", "),
        );
    }
    html.push_str("</table></details>");
}

fn page(document: &Value) -> String {
    let mut html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>kall API</title><style>{STYLE}</style><h1>kall API {}</h1>\
         <p><a href=\"/openapi.json\">openapi.json</a></p>{}",
        escaped(text(document, "/info/version")),
        prose(text(document, "/info/description")),
    );
    let mut tags: Vec<&str> = Vec::new();
    let mut operations: Vec<(&str, &str, &str, &Value)> = Vec::new();
    for (path, item) in document["paths"].as_object().into_iter().flatten() {
        for (method, own) in item.as_object().into_iter().flatten() {
            let tag = text(own, "/tags/0");
            if !tags.contains(&tag) {
                tags.push(tag);
            }
            operations.push((tag, path, method, own));
        }
    }
    for tag in tags {
        let _ = write!(html, "<h2>{}</h2>", escaped(tag));
        for (_, path, method, own) in operations.iter().filter(|(own, ..)| *own == tag) {
            operation(&mut html, method, path, own);
        }
    }
    html.push_str("<h2>Shapes</h2>");
    for (name, schema) in document
        .pointer("/components/schemas")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        let _ = write!(
            html,
            "<h3 id=\"schema-{0}\">{0}</h3>{1}",
            escaped(name),
            prose(text(schema, "/description"))
        );
        let Some(fields) = schema["properties"].as_object() else {
            let _ = write!(html, "<p>{}</p>", kind(schema));
            continue;
        };
        let required: Vec<&str> = schema["required"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        html.push_str("<table>");
        for (field, own) in fields {
            let optional = if required.contains(&field.as_str()) {
                ""
            } else {
                " (optional)"
            };
            let _ = write!(
                html,
                "<tr><td><code>{}</code>{optional}</td><td>{}</td><td>{}</td></tr>",
                escaped(field),
                kind(own),
                prose(text(own, "/description")),
            );
        }
        html.push_str("</table>");
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_the_document_is_text_and_no_markup() {
        let document = serde_json::json!({
            "info": {"version": "<b>", "description": "See `a<b`.\n\n- one\n- two"},
            "paths": {"/x": {"get": {"summary": "<script>", "tags": ["T"], "responses": {"200": {}}}}},
        });
        let html = page(&document);
        assert!(!html.contains("<script>") && !html.contains("<b>"));
        assert!(
            html.contains("<code>a&lt;b</code>") && html.contains("<li>one</li>"),
            "{html}"
        );
    }
}
