//! The HTTP half of a WHIP or WHEP client (RFC 9725): an offer in, an answer out, and the session's URL.

use reqwest::{Client, Method, RequestBuilder, StatusCode};

use crate::server::Server;

/// A session as its server described it.
#[derive(Debug, Clone)]
pub struct Session {
    /// Its URL.
    pub url: String,
    /// The tag of its run of ICE.
    pub tag: String,
    /// The answer's text.
    pub answer: String,
    token: Option<String>,
}

/// Posts an offer to `/whip/...` or `/whep/...`.
///
/// # Errors
/// Status and body of a refusal.
///
/// # Panics
/// When the server does not answer, or leaves out what a 201 must have.
pub async fn post(
    server: &Server,
    path: &str,
    token: Option<&str>,
    offer: String,
) -> Result<Session, (StatusCode, String)> {
    let request = Client::new()
        .post(server.url(path))
        .header("content-type", "application/sdp")
        .body(offer);
    let request = match token {
        Some(token) => request.bearer_auth(token),
        None => request,
    };
    let response = request.send().await.expect("the server answers");
    let status = response.status();
    if status != StatusCode::CREATED {
        return Err((status, response.text().await.expect("a body")));
    }
    let header = |name: &str| {
        let value = response
            .headers()
            .get(name)
            .unwrap_or_else(|| panic!("a 201 has {name}"));
        value.to_str().expect("text").to_owned()
    };
    assert_eq!(header("content-type"), "application/sdp");
    let location = response.url().join(&header("location"));
    Ok(Session {
        url: location.expect("a URL").into(),
        tag: header("etag"),
        token: token.map(str::to_owned),
        answer: response.text().await.expect("a body"),
    })
}

impl Session {
    /// A request to the session with its owner's token.
    pub fn request(&self, method: Method) -> RequestBuilder {
        let request = Client::new().request(method, &self.url);
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Sends a fragment of trickle ICE.
    ///
    /// # Panics
    /// When the server does not answer.
    pub async fn patch(&self, if_match: Option<&str>, fragment: &str) -> (StatusCode, String) {
        let mut request = self
            .request(Method::PATCH)
            .header("content-type", "application/trickle-ice-sdpfrag")
            .body(fragment.to_owned());
        if let Some(tag) = if_match {
            request = request.header("if-match", tag);
        }
        let response = request.send().await.expect("the server answers");
        (response.status(), response.text().await.expect("a body"))
    }

    /// Ends it.
    ///
    /// # Panics
    /// When the server does not answer.
    pub async fn delete(&self) -> StatusCode {
        let response = self.request(Method::DELETE).send().await;
        response.expect("the server answers").status()
    }
}
