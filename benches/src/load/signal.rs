//! Talking to a server about media: kall's API and WebSocket, WHIP and WHEP as any server has them, or Janus.

use std::sync::LazyLock;

use futures_util::{SinkExt as _, StreamExt as _};
use kall_shared::signalling::{ClientFrame, ClientMessage, ServerFrame, ServerMessage};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::janus::Janus;
use super::sdp::{self, Answer};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A server, and how it is spoken to.
#[derive(Debug, Clone)]
pub enum Target {
    /// kall, with an API key and the room that is used.
    Kall {
        /// Of its pages.
        url: String,
        /// A room's id.
        room: String,
        /// Key and secret.
        api: (String, String),
    },
    /// Any server with these endpoints.
    Whip {
        /// Where publishers go (RFC 9725).
        publish: String,
        /// Where players go.
        play: String,
        /// Bearer token, if it asks for one.
        token: Option<String>,
    },
    /// Janus with its VideoRoom.
    Janus(Janus),
}

/// What a client brings.
#[derive(Debug)]
pub struct Offer {
    /// The offer itself.
    pub sdp: String,
    /// Of the socket that its media is on.
    pub port: u16,
}

/// What keeps a client in the room: dropping it ends the session with kall.
#[derive(Debug)]
pub struct Membership(Option<tokio::task::JoinHandle<()>>);

impl Membership {
    /// That lasts as long as a task.
    pub(super) fn of(task: tokio::task::JoinHandle<()>) -> Self {
        Self(Some(task))
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

impl Target {
    /// A room of a kall for one run.
    ///
    /// # Errors
    /// What the server said.
    pub async fn kall(url: &str, api: (&str, &str)) -> Result<Self, String> {
        let body = json!({ "name": "load", "max_participants": 100_000 });
        let room = post(url, "/rooms", api, &body).await?;
        let room = room["id"]
            .as_str()
            .ok_or_else(|| format!("no id in {room}"))?
            .to_owned();
        Ok(Self::Kall {
            url: url.to_owned(),
            room,
            api: (api.0.to_owned(), api.1.to_owned()),
        })
    }

    /// Another room of the same server.
    ///
    /// # Errors
    /// What the server said, or that only kall's API has rooms to make.
    pub async fn another_room(&self) -> Result<Self, String> {
        match self {
            Self::Kall { url, api, .. } => Self::kall(url, (&api.0, &api.1)).await,
            Self::Whip { .. } | Self::Janus(_) => Err("--elsewhere needs a kall".to_owned()),
        }
    }

    /// Brings one client's offer to the server, and its answer back.
    ///
    /// # Errors
    /// What went wrong, or what the server said.
    pub async fn join(
        &self,
        name: &str,
        publishes: bool,
        Offer { sdp: offer, port }: Offer,
    ) -> Result<(Answer, Membership), String> {
        match self {
            Self::Kall { url, room, api } => {
                let role = if publishes { "guest" } else { "viewer" };
                let body =
                    json!({ "room": room, "identity": name, "name": name, "role": role, "ttl": 3_600 });
                let token = post(url, "/tokens", (&api.0, &api.1), &body).await?;
                let token = token["token"].as_str().ok_or("no token")?;
                enter(url, room, token, offer).await
            }
            Self::Whip { publish, play, token } => {
                let endpoint = if publishes { publish } else { play };
                let mut request = http()
                    .post(endpoint)
                    .header("content-type", "application/sdp")
                    .body(offer);
                if let Some(token) = token {
                    request = request.bearer_auth(token);
                }
                let answer = request.send().await.map_err(|error| error.to_string())?;
                let status = answer.status();
                let text = answer.text().await.map_err(|error| error.to_string())?;
                if !status.is_success() {
                    return Err(format!("{endpoint}: {status} {text}"));
                }
                Ok((sdp::answer(&text)?, Membership(None)))
            }
            Self::Janus(janus) => janus.join(publishes, &offer, port).await,
        }
    }
}

/// One pool of connections for all requests: a thousand clients that come at once are the server's load, a thousand
/// TLS configurations would be the generator's.
fn http() -> &'static reqwest::Client {
    static CLIENT: LazyLock<reqwest::Client> = LazyLock::new(reqwest::Client::new);
    &CLIENT
}

async fn post(url: &str, path: &str, api: (&str, &str), body: &Value) -> Result<Value, String> {
    let answer = http()
        .post(format!("{url}{path}"))
        .bearer_auth(format!("{}:{}", api.0, api.1))
        .json(body)
        .send()
        .await
        .map_err(|error| format!("POST {path}: {error}"))?;
    let status = answer.status();
    let text = answer.text().await.map_err(|error| error.to_string())?;
    if !status.is_success() {
        return Err(format!("POST {path}: {status} {text}"));
    }
    serde_json::from_str(&text).map_err(|error| format!("POST {path}: {error}"))
}

async fn enter(url: &str, room: &str, token: &str, offer: String) -> Result<(Answer, Membership), String> {
    let address = format!("{}/ws?token={token}", url.replacen("http", "ws", 1));
    let (mut socket, _) = tokio_tungstenite::connect_async(address)
        .await
        .map_err(|error| format!("WebSocket: {error}"))?;
    let join = ClientMessage::Join {
        room: room.to_owned(),
        password: None,
        name: None,
        resume: None,
        auto_subscribe: None,
    };
    say(&mut socket, join).await?;
    say(&mut socket, ClientMessage::Offer { sdp: offer, to: None }).await?;
    let answer = loop {
        match hear(&mut socket).await? {
            ServerMessage::Answer { sdp, from: None } => break sdp::answer(&sdp)?,
            ServerMessage::Error { code, message } => return Err(format!("{code:?}: {message}")),
            _ => {}
        }
    };
    // Reads on, so that the server's pings are answered and its messages are taken.
    let reader = tokio::spawn(async move { while let Some(Ok(_)) = socket.next().await {} });
    Ok((answer, Membership::of(reader)))
}

async fn say(socket: &mut Socket, message: ClientMessage) -> Result<(), String> {
    let text =
        serde_json::to_string(&ClientFrame { id: None, message }).map_err(|error| error.to_string())?;
    let sent = socket.send(Message::text(text)).await;
    sent.map_err(|error| format!("WebSocket: {error}"))
}

async fn hear(socket: &mut Socket) -> Result<ServerMessage, String> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => {
                let frame: ServerFrame =
                    serde_json::from_str(&text).map_err(|error| format!("not a server message: {error}"))?;
                return Ok(frame.message);
            }
            Some(Ok(Message::Close(why))) => return Err(format!("WebSocket closed: {why:?}")),
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(format!("WebSocket: {error}")),
            None => return Err("WebSocket ended".to_owned()),
        }
    }
}
