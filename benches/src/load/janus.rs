//! Talking to Janus about media: its HTTP API and the VideoRoom plugin, which has no WHIP.
//!
//! Whoever publishes there offers, and whoever watches is offered to. The clients check one address from their side
//! and answer no checks, so Janus is to be run with `ice_lite`.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use super::sdp::{self, Answer};
use super::signal::Membership;

/// A room that nobody else uses.
const ROOM: u64 = 7_880;

/// How long Janus may take to use an address that it was told.
const TRICKLE_WAIT: Duration = Duration::from_millis(100);

/// A Janus, and who publishes there.
#[derive(Debug, Clone)]
pub struct Janus {
    /// Of its API.
    url: String,
    /// Publishers have the numbers from 1 on.
    publishers: Arc<AtomicU64>,
}

/// One client's session with a handle of the plugin.
struct Handle {
    http: reqwest::Client,
    session: String,
    handle: String,
}

impl Janus {
    /// Makes a room, which is gone when Janus ends.
    ///
    /// # Errors
    /// What Janus said.
    pub async fn new(url: &str) -> Result<Self, String> {
        let room = json!({
            "request": "create", "room": ROOM, "publishers": 100, "bitrate": 0, "notify_joining": false,
            "audiocodec": "opus", "videocodec": "vp8", "description": "load",
        });
        Handle::attach(url).await?.say(room, None).await?;
        Ok(Self {
            url: url.to_owned(),
            publishers: Arc::default(),
        })
    }

    /// Brings a client's offer to Janus and its answer back; of who watches, only the credentials in the offer
    /// are used.
    ///
    /// # Errors
    /// What Janus said.
    pub async fn join(
        &self,
        publishes: bool,
        offer: &str,
        port: u16,
    ) -> Result<(Answer, Membership), String> {
        let handle = Handle::attach(&self.url).await?;
        let answer = if publishes {
            let id = self.publishers.fetch_add(1, Ordering::Relaxed) + 1;
            let join = json!({ "request": "joinandconfigure", "ptype": "publisher", "room": ROOM, "id": id });
            // Left the choice, Janus is the active side, and so are the clients.
            let offer = offer.replace("a=setup:actpass", "a=setup:active");
            let jsep = json!({ "type": "offer", "sdp": offer });
            handle.say(join, Some(jsep)).await?;
            sdp::answer(&handle.hear_sdp().await?)?
        } else {
            let feeds = 1..=self.publishers.load(Ordering::Relaxed);
            let streams: Vec<Value> = feeds.map(|feed| json!({ "feed": feed })).collect();
            let join = json!({ "request": "join", "ptype": "subscriber", "room": ROOM, "streams": streams });
            handle.say(join, None).await?;
            let theirs = handle.hear_sdp().await?;
            let jsep = json!({ "type": "answer", "sdp": sdp::reply(&theirs, offer)? });
            handle.say(json!({ "request": "start" }), Some(jsep)).await?;
            sdp::answer(&theirs)?
        };
        let local = source_towards(answer.address).map_err(|error| error.to_string())?;
        handle.trickle(SocketAddr::new(local, port)).await?;
        // Reads on, or the session ends after a minute.
        let reader = tokio::spawn(async move { while handle.hear().await.is_ok() {} });
        Ok((answer, Membership::of(reader)))
    }
}

impl Handle {
    async fn attach(url: &str) -> Result<Self, String> {
        let http = reqwest::Client::new();
        let created = post(&http, url, json!({ "janus": "create" })).await?;
        let session = format!("{url}/{}", id(&created)?);
        let attach = json!({ "janus": "attach", "plugin": "janus.plugin.videoroom" });
        let attached = post(&http, &session, attach).await?;
        let handle = format!("{session}/{}", id(&attached)?);
        Ok(Self {
            http,
            session,
            handle,
        })
    }

    async fn say(&self, body: Value, jsep: Option<Value>) -> Result<(), String> {
        let mut message = json!({ "janus": "message", "body": body });
        if let Some(jsep) = jsep {
            message["jsep"] = jsep;
        }
        post(&self.http, &self.handle, message).await.map(|_| ())
    }

    /// Says where the client is: a lite Janus takes no check from elsewhere.
    async fn trickle(&self, at: SocketAddr) -> Result<(), String> {
        let (ip, port) = (at.ip(), at.port());
        let candidates = [
            json!({ "sdpMLineIndex": 0, "candidate": format!("candidate:1 1 udp 2130706431 {ip} {port} typ host") }),
            json!({ "completed": true }),
        ];
        for candidate in candidates {
            let message = json!({ "janus": "trickle", "candidate": candidate });
            post(&self.http, &self.handle, message).await?;
        }
        // It has said that it heard it, and takes it in a moment later.
        sleep(TRICKLE_WAIT).await;
        Ok(())
    }

    /// The next event of the session.
    async fn hear(&self) -> Result<Value, String> {
        let answer = self.http.get(&self.session).send().await;
        let text = answer.map_err(|error| error.to_string())?.text().await;
        checked(&text.map_err(|error| error.to_string())?)
    }

    async fn hear_sdp(&self) -> Result<String, String> {
        loop {
            let event = self.hear().await?;
            if let Some(sdp) = event["jsep"]["sdp"].as_str() {
                return Ok(sdp.to_owned());
            }
        }
    }
}

/// The address that packets to another one come from.
fn source_towards(to: SocketAddr) -> io::Result<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect(to)?;
    Ok(socket.local_addr()?.ip())
}

async fn post(http: &reqwest::Client, url: &str, mut message: Value) -> Result<Value, String> {
    message["transaction"] = json!("load");
    let answer = http.post(url).json(&message).send().await;
    let text = answer.map_err(|error| error.to_string())?.text().await;
    checked(&text.map_err(|error| error.to_string())?)
}

/// What Janus says, unless it is an error of its own or of the plugin.
fn checked(text: &str) -> Result<Value, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| format!("{error}: {text}"))?;
    let plugin = &value["plugindata"]["data"];
    if value["janus"] == "error" || plugin["error"].is_string() {
        return Err(format!("Janus: {text}"));
    }
    Ok(value)
}

fn id(answer: &Value) -> Result<u64, String> {
    answer["data"]["id"]
        .as_u64()
        .ok_or_else(|| format!("no id in {answer}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_plugin_are_errors() {
        assert!(checked(r#"{"janus":"ack"}"#).is_ok());
        assert!(checked(r#"{"janus":"error","error":{"reason":"no"}}"#).is_err());
        assert!(checked(r#"{"janus":"success","plugindata":{"data":{"error":"no"}}}"#).is_err());
        assert!(checked("no JSON").is_err());
    }
}
