//! The resource of a WHIP or WHEP session: trickled candidates and ICE restarts by PATCH, the end by
//! DELETE. Its URL is a name; the participant's token has to come with it, be it expired meanwhile: a
//! session may outlive its token, and its owner must be able to end it.
//!
//! The entity tag names one run of ICE (RFC 9725 section 4.3.1), so that candidates of an old run can't be
//! taken for those of a new one.

use std::sync::Arc;

use axum::extract::OriginalUri;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use kall_shared::signalling::ErrorCode;
use serde::Deserialize;

use super::{Body, FRAGMENT, bearer, unauthorized};
use crate::domain::Rejection;
use crate::domain::room::{ResourceInfo, RoomHandle};
use crate::domain::token::TokenRefused;
use crate::http::App;
use crate::http::error::ApiError;
use crate::http::extract::{Path, Query};
use crate::sdp::{Fragment, restart_fragment};

/// A guest's way to show its token: the URL it was given.
#[derive(Debug, Deserialize)]
pub(super) struct Key {
    token: Option<String>,
}

/// The tag of a run of ICE (RFC 9110 section 8.8.3): strong, its characters are those of a user fragment.
pub(super) fn entity_tag(ice_session: &str) -> String {
    format!("\"{ice_session}\"")
}

/// The session of the URL, if the caller may touch it.
async fn find(
    app: &App,
    path: &str,
    room: &str,
    resource: &str,
    headers: &HeaderMap,
    key: &Key,
) -> Result<(RoomHandle, ResourceInfo), ApiError> {
    let token = bearer(headers)
        .or(key.token.as_deref())
        .ok_or_else(|| unauthorized("Authorization: Bearer and the token that the session was made with"))?;
    let tokens = &app.rooms.context().tokens;
    let claims = match tokens.check(token) {
        Err(TokenRefused::Expired) => tokens.check_lapsed(token),
        outcome => outcome,
    };
    let claims = claims.map_err(|error| unauthorized(error.to_string()))?;
    let missing = || {
        ApiError::new(
            StatusCode::NOT_FOUND,
            "session_not_found",
            "no such session, or it has ended",
        )
    };
    let room = app.rooms.find(room).ok_or_else(missing)?;
    let info = room.resource(resource).await.ok_or_else(missing)?;
    if info.publishes != path.starts_with("/whip/") {
        return Err(missing());
    }
    if claims.room != *room.id() || claims.sub != info.identity {
        let words = "the session is somebody else's";
        return Err(ApiError::new(StatusCode::FORBIDDEN, "forbidden", words));
    }
    Ok((room, info))
}

/// PATCH: candidates, or new credentials for a new run of ICE.
pub(super) async fn change(
    State(app): State<Arc<App>>,
    OriginalUri(uri): OriginalUri,
    Path((room, resource)): Path<(String, String)>,
    Query(key): Query<Key>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let (room, info) = find(&app, uri.path(), &room, &resource, &headers, &key).await?;
    let text = body.of(FRAGMENT)?;
    check_precondition(&headers, &entity_tag(&info.ice_session))?;
    let fragment = Fragment::parse(&text)
        .map_err(|error| ApiError::new(StatusCode::BAD_REQUEST, "sdp_invalid", error.to_string()))?;
    let Some((ufrag, pwd)) = fragment.ufrag.zip(fragment.pwd).filter(|own| *own != info.remote) else {
        // Candidates of the present run: the server is ICE-lite and learns addresses from checks.
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    let gone = || Rejection::new(ErrorCode::RoomNotFound, "the room has ended");
    let restarted = room.restart_ice(&resource, ufrag, pwd).await.ok_or_else(gone)??;
    let text = restart_fragment(
        &restarted.ufrag,
        &restarted.pwd,
        &restarted.addresses,
        restarted.udp_port,
        restarted.tcp_port,
        restarted.run,
    );
    let headers = [
        (header::CONTENT_TYPE, FRAGMENT.to_owned()),
        (header::ETAG, entity_tag(&restarted.ufrag)),
    ];
    Ok((StatusCode::OK, headers, text).into_response())
}

/// RFC 9725 section 4.3.1: a PATCH says which run of ICE it speaks of, or `*` for whichever is.
fn check_precondition(headers: &HeaderMap, current: &str) -> Result<(), ApiError> {
    let mut given = headers.get_all(header::IF_MATCH).iter().peekable();
    if given.peek().is_none() {
        return Err(ApiError::new(
            StatusCode::PRECONDITION_REQUIRED,
            "precondition_required",
            "If-Match: the ETag of the session's answer, or * to restart ICE",
        ));
    }
    let mut tags = given
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .map(str::trim);
    if tags.any(|tag| tag == "*" || tag == current) {
        return Ok(());
    }
    Err(ApiError::new(
        StatusCode::PRECONDITION_FAILED,
        "precondition_failed",
        "If-Match: another run of ICE",
    ))
}

/// DELETE: the session is over.
pub(super) async fn end(
    State(app): State<Arc<App>>,
    OriginalUri(uri): OriginalUri,
    Path((room, resource)): Path<(String, String)>,
    Query(key): Query<Key>,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    let (room, _) = find(&app, uri.path(), &room, &resource, &headers, &key).await?;
    room.detach(&resource).await;
    Ok(StatusCode::OK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn a_patch_names_the_run_of_ice_it_speaks_of() {
        let status = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::IF_MATCH, HeaderValue::from_static(value));
            }
            check_precondition(&headers, "\"abcd\"")
                .map_or_else(|error| error.into_response().status(), |()| StatusCode::OK)
        };
        assert_eq!(status(&[]), StatusCode::PRECONDITION_REQUIRED);
        assert_eq!(status(&["\"efgh\""]), StatusCode::PRECONDITION_FAILED);
        // A weak tag never matches strongly (RFC 9110 section 8.8.3.2).
        assert_eq!(status(&["W/\"abcd\""]), StatusCode::PRECONDITION_FAILED);
        for right in [
            &["*"][..],
            &["\"abcd\""],
            &["\"x\", \"abcd\""],
            &["\"x\"", "\"abcd\""],
        ] {
            assert_eq!(status(right), StatusCode::OK, "{right:?}");
        }
    }
}
