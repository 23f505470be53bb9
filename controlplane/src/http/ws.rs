//! `/ws`: one WebSocket per client. Frames in are checked and handed to the room; frames out come
//! through a bounded queue. Bad input gets an `error` and the connection goes on.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{FromRequestParts, State};
use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use kall_shared::id::Identity;
use kall_shared::signalling::{
    AuthMode, ClientFrame, ClientMessage, ErrorCode, Role, ServerMessage, close, limits,
};
use serde::Deserialize;
use serde_json::Value;

use super::App;
use super::error::ApiError;
use super::extract::{ClientAddress, Query};
use super::limiter::{Bucket, Rate};
use crate::domain::outbox::{self, Close, Inlet, Outbox};
use crate::domain::permission::Narrowing;
use crate::domain::room::{Departure, JoinRequest, RoomHandle, Ticket};
use crate::domain::token::{Claims, ResumeClaims, TokenRefused};
use crate::domain::{Rejection, names, password, store_failed};

/// Bytes that a connection has room for before it reads; an offer makes that grow. The library's own 128 KiB would be a
/// gigabyte with eight thousand people who say little.
const READ_BUFFER: usize = 4 << 10;

/// How often the server pings, and thereby how soon it sees that a client is gone.
const PING_INTERVAL: Duration = Duration::from_secs(15);

/// Silence after which a connection counts as lost: two pings unanswered, and some.
const SILENCE_MAX: Duration = Duration::from_secs(40);

/// How long a last frame may take to leave.
const FAREWELL: Duration = Duration::from_secs(5);

/// Messages of one client: at once as many as publishing a dozen lines with their candidates takes.
const MESSAGES: Rate = Rate {
    burst: 200.0,
    per_second: 50.0,
};

/// Errors for messages over the rate: answering all of them would be work for free.
const COMPLAINTS: Rate = Rate {
    burst: 10.0,
    per_second: 1.0,
};

/// How long a socket may be open without joining a room: a page that asks for a name and a password.
const JOIN_PATIENCE: Duration = Duration::from_secs(300);

/// The client joined no room.
const IDLE: Close = Close {
    code: close::IDLE,
    reason: "no room was joined",
};

/// How long somebody with an expired token may take to show a resume token.
const LAPSED_PATIENCE: Duration = Duration::from_secs(5);

/// A token was refused.
const REFUSED: Close = Close {
    code: close::AUTH_FAILED,
    reason: "auth_failed",
};

/// Attempts to enter a room that ends in the same moment.
const ENTER_ATTEMPTS: usize = 3;

/// How long a connection stays open after a frame that can't be read: the close has to get there.
const FAULT_LINGER: Duration = Duration::from_secs(1);

/// A frame that RFC 6455 does not allow (section 7.4.1, this and the next two).
const BROKEN: Close = Close {
    code: 1002,
    reason: "protocol error",
};

/// A text that is none.
const NO_TEXT: Close = Close {
    code: 1007,
    reason: "text is UTF-8",
};

/// A frame that is too long.
const TOO_BIG: Close = Close {
    code: 1009,
    reason: "a frame may have 262144 bytes",
};

pub(super) fn router() -> Router<Arc<App>> {
    Router::new().route("/ws", get(open))
}

#[derive(Deserialize)]
struct Params {
    token: Option<String>,
    name: Option<String>,
}

/// Who opened the socket.
#[derive(Debug)]
enum Admission {
    Token(Box<Claims>),
    /// Its token has expired meanwhile: it may only come back, with its resume token.
    Lapsed(Box<Claims>),
    Guest(Option<String>),
}

async fn open(
    State(app): State<Arc<App>>,
    ClientAddress(address): ClientAddress,
    headers: HeaderMap,
    Query(params): Query<Params>,
    request: Request<axum::body::Body>,
) -> Response {
    if !origin_allowed(&headers, &app.config().auth.allowed_origins) {
        return ApiError::new(
            StatusCode::FORBIDDEN,
            "origin_refused",
            "this origin is not allowed",
        )
        .into_response();
    }
    let (mut parts, _) = request.into_parts();
    let upgrade = match WebSocketUpgrade::from_request_parts(&mut parts, &app).await {
        Ok(upgrade) => upgrade,
        Err(rejection) => {
            return ApiError::new(
                StatusCode::BAD_REQUEST,
                "websocket_expected",
                rejection.body_text(),
            )
            .into_response();
        }
    };
    let admission = admit(&app, params);
    upgrade
        .max_message_size(limits::FRAME)
        .max_frame_size(limits::FRAME)
        .read_buffer_size(READ_BUFFER)
        .on_upgrade(move |socket| async move {
            app.sockets.fetch_add(1, Ordering::Relaxed);
            serve(&app, socket, address, admission).await;
            app.sockets.fetch_sub(1, Ordering::Relaxed);
        })
}

fn origin_allowed(headers: &HeaderMap, allowed: &[String]) -> bool {
    // Programs send no origin; the rule is there for pages of other sites.
    let Some(origin) = headers.get(header::ORIGIN) else {
        return true;
    };
    let own = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let Ok(origin) = origin.to_str() else {
        return false;
    };
    let same_host = own.is_some_and(|host| origin.split_once("://").is_some_and(|(_, rest)| rest == host));
    same_host || allowed.iter().any(|allowed| allowed == "*" || allowed == origin)
}

fn admit(app: &App, params: Params) -> Result<Admission, Rejection> {
    let refused = |message: String| Rejection::new(ErrorCode::AuthFailed, message);
    match params.token {
        Some(token) => {
            let tokens = &app.rooms.context().tokens;
            let admission = match tokens.check(&token) {
                Ok(claims) => Ok(Admission::Token(Box::new(claims))),
                Err(TokenRefused::Expired) => tokens
                    .check_lapsed(&token)
                    .map(|claims| Admission::Lapsed(Box::new(claims))),
                Err(error) => Err(error),
            };
            admission.map_err(|error| refused(error.to_string()))
        }
        // Whether strangers may come in is the room's to say, once it is known which.
        None if app.rooms.takes_strangers() => {
            let name = params.name.filter(|name| !name.trim().is_empty());
            let name = name.map(|name| names::display_name(&name)).transpose();
            Ok(Admission::Guest(name.map_err(|error| refused(error.to_owned()))?))
        }
        None => Err(refused("a token is needed".to_owned())),
    }
}

async fn serve(app: &Arc<App>, socket: WebSocket, address: IpAddr, admission: Result<Admission, Rejection>) {
    let (sink, stream) = socket.split();
    let (outbox, inlet) = outbox::pair();
    let writer = tokio::spawn(write(sink, inlet));
    match admission {
        Ok(admission) => {
            let client = Client {
                app: Arc::clone(app),
                address,
                admission,
                outbox: outbox.clone(),
                joined: None,
            };
            client.read(stream).await;
        }
        Err(rejection) => {
            outbox.send(None, error_message(rejection));
            outbox.close(REFUSED);
            // The peer's answer to the close is awaited, so that it reads the error first.
            drain(stream).await;
        }
    }
    // A writer that is stuck on a dead connection learns here that nobody reads any more.
    outbox.close(Close {
        code: 1000,
        reason: "",
    });
    let _ = writer.await;
}

async fn drain(mut stream: SplitStream<WebSocket>) {
    let until = tokio::time::Instant::now() + FAREWELL;
    while let Ok(Some(Ok(_))) = tokio::time::timeout_at(until, stream.next()).await {}
}

/// Sends what the room says, pings, and closes when told to.
async fn write(mut sink: SplitSink<WebSocket, Message>, mut inlet: Inlet) {
    let mut ping = tokio::time::interval_at(tokio::time::Instant::now() + PING_INTERVAL, PING_INTERVAL);
    let mut reason = None;
    loop {
        let message = tokio::select! {
            biased;
            Ok(()) = inlet.close.changed() => {
                reason = *inlet.close.borrow();
                break;
            }
            frame = inlet.frames.next() => match frame {
                Some(text) => Message::Text(Utf8Bytes::from(&*text)),
                None => break,
            },
            _ = ping.tick() => Message::Ping(bytes::Bytes::new()),
        };
        // A client that does not read blocks here; a close gets through to this side anyway.
        tokio::select! {
            biased;
            sent = sink.send(message) => if sent.is_err() {
                return;
            },
            Ok(()) = inlet.close.changed() => {
                reason = *inlet.close.borrow();
                break;
            }
        }
    }
    let farewell = async {
        // What was queued before the close is still owed, but not to somebody who does not read.
        let slow = reason.is_some_and(|close| close.code == close::TOO_SLOW);
        while let Some(text) = inlet.frames.waiting() {
            if !slow && sink.send(Message::Text(Utf8Bytes::from(&*text))).await.is_err() {
                return;
            }
        }
        let frame = reason.map(|close| CloseFrame {
            code: close.code,
            reason: Utf8Bytes::from_static(close.reason),
        });
        let _ = sink.send(Message::Close(frame)).await;
        let _ = sink.flush().await;
    };
    let _ = tokio::time::timeout(FAREWELL, farewell).await;
}

/// The reading half and what it knows.
struct Client {
    app: Arc<App>,
    address: IpAddr,
    admission: Admission,
    outbox: Outbox,
    joined: Option<(RoomHandle, Identity)>,
}

impl Client {
    async fn read(mut self, mut stream: SplitStream<WebSocket>) {
        let mut rate = Bucket::new(MESSAGES, Instant::now());
        let mut complaints = Bucket::new(COMPLAINTS, Instant::now());
        let opened = Instant::now();
        let mut departure = Departure::Lost;
        loop {
            let lapsed = self.joined.is_none() && matches!(self.admission, Admission::Lapsed(_));
            let patience = if lapsed { LAPSED_PATIENCE } else { SILENCE_MAX };
            let frame = match tokio::time::timeout(patience, stream.next()).await {
                Err(_) if lapsed => {
                    self.dismiss(None);
                    drain(stream).await;
                    break;
                }
                // Silence for too long, or the end of the stream.
                Err(_) | Ok(None) => break,
                Ok(Some(Err(error))) => {
                    if let Some(close) = fault(&error) {
                        self.outbox.close(close);
                        // Nothing is read any more, and to close with something unread is to reset the
                        // connection, by which the peer may lose what it was told.
                        tokio::time::sleep(FAULT_LINGER).await;
                    }
                    break;
                }
                Ok(Some(Ok(frame))) => frame,
            };
            let text = match frame {
                Message::Text(text) => text,
                Message::Binary(_) => {
                    self.reject(
                        None,
                        Rejection::new(ErrorCode::BadMessage, "frames are JSON text"),
                    );
                    continue;
                }
                Message::Ping(_) | Message::Pong(_) => {
                    if self.joined.is_none() && opened.elapsed() > JOIN_PATIENCE {
                        self.outbox.close(IDLE);
                        drain(stream).await;
                        break;
                    }
                    continue;
                }
                Message::Close(frame) => {
                    // RFC 6455 section 7.4.1: 1000 normal, 1001 the page goes away.
                    if frame.is_some_and(|frame| matches!(frame.code, 1000 | 1001)) {
                        departure = Departure::Clean;
                    }
                    break;
                }
            };
            if !rate.take(Instant::now()) {
                if complaints.take(Instant::now()) {
                    self.reject(None, Rejection::new(ErrorCode::RateLimited, "too many messages"));
                }
                continue;
            }
            match parse(&text) {
                Ok(ClientFrame { id, message }) if lapsed && !self.comes_back(&message) => {
                    self.dismiss(id);
                    drain(stream).await;
                    break;
                }
                Ok(frame) => {
                    let begun = Instant::now();
                    self.handle(frame).await;
                    self.app.messages.observe(begun.elapsed());
                }
                Err((re, rejection)) => self.reject(re, rejection),
            }
        }
        if let Some((room, identity)) = self.joined {
            room.disconnected(identity, self.outbox.id(), departure).await;
        }
    }

    /// Whether the message is a `join` with the resume token of the one whose token has expired.
    fn comes_back(&self, message: &ClientMessage) -> bool {
        let Admission::Lapsed(claims) = &self.admission else {
            return true;
        };
        let ClientMessage::Join {
            resume: Some(resume), ..
        } = message
        else {
            return false;
        };
        let resume = self.app.rooms.context().tokens.check_resume(resume);
        resume.is_ok_and(|ResumeClaims { sub, room, .. }| sub == claims.sub && room == claims.room)
    }

    fn dismiss(&self, re: Option<Value>) {
        self.reject(
            re,
            Rejection::new(ErrorCode::AuthFailed, TokenRefused::Expired.to_string()),
        );
        self.outbox.close(REFUSED);
    }

    async fn handle(&mut self, frame: ClientFrame) {
        let ClientFrame { id: re, message } = frame;
        match (&self.joined, message) {
            (
                None,
                ClientMessage::Join {
                    room,
                    password,
                    name,
                    resume,
                    auto_subscribe,
                },
            ) => {
                let comes_back = resume.is_some();
                let wish = Wish {
                    password,
                    name,
                    resume,
                    auto_subscribe: auto_subscribe.unwrap_or(true),
                    re: re.clone(),
                };
                match self.join(&room, wish).await {
                    Ok(joined) => self.joined = Some(joined),
                    Err(rejection) => {
                        // A resume token that is no good may be followed by a join without.
                        let stranger = matches!(self.admission, Admission::Guest(_)) && !comes_back;
                        let refused = rejection.code == ErrorCode::AuthFailed && stranger;
                        self.reject(re, rejection);
                        if refused {
                            self.outbox.close(REFUSED);
                        }
                    }
                }
            }
            (None, _) => self.reject(re, Rejection::new(ErrorCode::NotJoined, "join first")),
            (Some((room, identity)), message) => {
                room.client(identity.clone(), self.outbox.id(), re, message).await;
            }
        }
    }

    async fn join(&self, wanted: &str, wish: Wish) -> Result<(RoomHandle, Identity), Rejection> {
        let tokens = &self.app.rooms.context().tokens;
        let resume = match &wish.resume {
            Some(token) => Some(
                tokens
                    .check_resume(token)
                    .map_err(|error| Rejection::new(ErrorCode::AuthFailed, format!("resume: {error}")))?,
            ),
            None => None,
        };
        let password = password::bounded(wish.password.clone())
            .map_err(|error| Rejection::new(ErrorCode::BadMessage, error))?;
        let store = &self.app.rooms.context().store;
        let tickets = [self.ticket(), resume.as_ref().map(|claims| claims.ticket.clone())];
        for ticket in tickets.iter().flatten() {
            let revoked = store.is_revoked(&ticket.jti).await;
            if revoked.map_err(|error| store_failed(&error))? {
                return Err(Rejection::new(ErrorCode::AuthFailed, "the token was revoked"));
            }
        }
        let [own, earlier] = tickets;
        let ticket = own.or(earlier);
        let name = self.name(&wish, resume.as_ref().map(|claims| claims.name.as_str()))?;
        for _ in 0..ENTER_ATTEMPTS {
            let room = match &self.admission {
                Admission::Token(claims) | Admission::Lapsed(claims) => {
                    // Looked up by the token's room: whatever else exists is nobody's business.
                    let own = self.app.rooms.enter(claims.room.as_str()).await?;
                    if wanted != own.id().as_str() && wanted != own.row().slug {
                        return Err(Rejection::new(
                            ErrorCode::AuthFailed,
                            "the token is for another room",
                        ));
                    }
                    own
                }
                Admission::Guest(_) => {
                    let room = self.app.rooms.enter(wanted).await?;
                    if room.row().mode_or(self.app.config().auth.mode) == AuthMode::Token {
                        return Err(Rejection::new(ErrorCode::AuthFailed, "a token is needed"));
                    }
                    room
                }
            };
            let check = password::check(password.clone(), room.row().password_hash.clone()).await;
            let (identity, role, permissions) = match &self.admission {
                Admission::Token(claims) | Admission::Lapsed(claims) => (
                    Some(claims.sub.clone()),
                    claims.role,
                    claims.permissions.unwrap_or_default(),
                ),
                Admission::Guest(_) => (None, Role::Guest, Narrowing::default()),
            };
            let request = JoinRequest {
                identity,
                name: name.clone(),
                role,
                permissions,
                resume: resume.clone(),
                password: check,
                ticket: ticket.clone(),
                auto_subscribe: wish.auto_subscribe,
                address: self.address,
                outbox: self.outbox.clone(),
                re: wish.re.clone(),
            };
            if let Some(outcome) = room.join(request).await {
                return outcome.map(|identity| (room, identity));
            }
            // The room ended in this very moment; the next look finds it closed, or opens it again.
            tokio::task::yield_now().await;
        }
        Err(Rejection::new(
            ErrorCode::RoomNotFound,
            format!("room: '{wanted}' is closed"),
        ))
    }

    /// What it came with; none for a guest without a token.
    fn ticket(&self) -> Option<Ticket> {
        match &self.admission {
            Admission::Token(claims) | Admission::Lapsed(claims) => Some(claims.ticket()),
            Admission::Guest(_) => None,
        }
    }

    /// The token's name wins, then the message's, then the query's, then the one of before.
    fn name(&self, wish: &Wish, before: Option<&str>) -> Result<String, Rejection> {
        let (token, query) = match &self.admission {
            Admission::Token(claims) | Admission::Lapsed(claims) => (Some(claims.name.as_str()), None),
            Admission::Guest(name) => (None, name.as_deref()),
        };
        let given = [token, wish.name.as_deref(), query, before];
        let chosen = given
            .into_iter()
            .flatten()
            .find(|name| !name.trim().is_empty())
            .unwrap_or("Guest");
        names::display_name(chosen).map_err(|message| Rejection::new(ErrorCode::BadMessage, message))
    }

    fn reject(&self, re: Option<Value>, rejection: Rejection) {
        self.outbox.send(re, error_message(rejection));
    }
}

/// What a `join` asks beyond its room.
struct Wish {
    password: Option<String>,
    name: Option<String>,
    resume: Option<String>,
    auto_subscribe: bool,
    re: Option<Value>,
}

fn error_message(rejection: Rejection) -> ServerMessage {
    ServerMessage::Error {
        code: rejection.code,
        message: rejection.message,
    }
}

/// A client's frame, or the error with the `id` it carried, if one can be made out.
fn parse(text: &str) -> Result<ClientFrame, (Option<Value>, Rejection)> {
    let value: Value = serde_json::from_str(text).map_err(|error| {
        (
            None,
            Rejection::new(ErrorCode::BadMessage, format!("not JSON: {error}")),
        )
    })?;
    let id = value
        .get("id")
        .filter(|id| id.is_string() || id.is_number())
        .cloned();
    let kind = value.get("type").and_then(Value::as_str);
    let Some(kind) = kind else {
        return Err((
            id,
            Rejection::new(ErrorCode::BadMessage, "type: a message has one"),
        ));
    };
    if !ClientMessage::TYPES.contains(&kind) {
        let kind: String = kind.chars().take(40).collect();
        return Err((
            id,
            Rejection::new(ErrorCode::UnknownType, format!("type: no message '{kind}'")),
        ));
    }
    let frame = serde_json::from_value::<ClientFrame>(value);
    let mut frame = frame.map_err(|error| {
        (
            id.clone(),
            Rejection::new(ErrorCode::BadMessage, error.to_string()),
        )
    })?;
    frame.id = id;
    Ok(frame)
}

/// What a client did wrong whose frame can't be read, if it still reads itself.
fn fault(error: &axum::Error) -> Option<Close> {
    use tokio_tungstenite::tungstenite::Error;
    use tokio_tungstenite::tungstenite::error::ProtocolError;
    let mut source: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = source {
        match error.downcast_ref() {
            Some(Error::Capacity(_)) => return Some(TOO_BIG),
            Some(Error::Utf8(_)) => return Some(NO_TEXT),
            Some(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => return None,
            Some(Error::Protocol(_)) => return Some(BROKEN),
            _ => source = error.source(),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> ErrorCode {
        parse(text).expect_err(text).1.code
    }

    #[test]
    fn bad_frames_are_told_apart() {
        assert_eq!(code("{"), ErrorCode::BadMessage);
        assert_eq!(code("[1]"), ErrorCode::BadMessage);
        assert_eq!(code(r#"{"type":5}"#), ErrorCode::BadMessage);
        assert_eq!(code(r#"{"type":"dance"}"#), ErrorCode::UnknownType);
        assert_eq!(code(r#"{"type":"chat"}"#), ErrorCode::BadMessage);
        assert_eq!(
            code(r#"{"type":"publish","mid":"0","source":"nose"}"#),
            ErrorCode::BadMessage
        );
    }

    #[test]
    fn the_id_is_kept_also_with_an_error() {
        assert_eq!(
            parse(r#"{"type":"leave","id":7}"#).expect("valid").id,
            Some(Value::from(7))
        );
        assert_eq!(
            parse(r#"{"type":"dance","id":"x"}"#).expect_err("unknown").0,
            Some(Value::from("x"))
        );
        assert_eq!(parse(r#"{"type":"leave","id":{"a":1}}"#).expect("valid").id, None);
    }

    #[test]
    fn pages_of_other_origins_need_a_permission() {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, "kall.example.com".parse().expect("value"));
        assert!(origin_allowed(&headers, &[]));
        headers.insert(header::ORIGIN, "https://kall.example.com".parse().expect("value"));
        assert!(origin_allowed(&headers, &[]));
        headers.insert(header::ORIGIN, "https://evil.example".parse().expect("value"));
        assert!(!origin_allowed(&headers, &["https://good.example".to_owned()]));
        assert!(origin_allowed(&headers, &["*".to_owned()]));
        assert!(origin_allowed(&headers, &["https://evil.example".to_owned()]));
    }
}
