//! A client of the WebSocket protocol with typed messages. It reads all the time, as a browser does, and
//! so answers the server's pings however long a test is busy; what has not been asked for yet is kept, so a
//! test may wait for messages in another order than they came.

use std::collections::VecDeque;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use kall_shared::signalling::{ClientFrame, ClientMessage, ServerFrame, ServerMessage};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::server::Server;
use crate::wait::DEADLINE;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// One connection of a participant.
#[derive(Debug)]
pub struct Client {
    socket: SplitSink<Socket, Message>,
    messages: mpsc::UnboundedReceiver<ServerMessage>,
    reader: JoinHandle<()>,
    unseen: VecDeque<ServerMessage>,
    /// Who the server says this client is; set by [`Client::join`].
    pub identity: String,
    /// Token for a later resume; set by [`Client::join`].
    pub resume: String,
}

/// A meeting made as the landing page makes it.
#[derive(Debug, Clone)]
pub struct Meeting {
    /// Its slug, as in the link.
    pub slug: String,
    /// The creator's token.
    pub host_token: String,
}

impl Meeting {
    /// Makes one.
    ///
    /// # Panics
    /// When the server refuses, or answers without slug or token.
    pub async fn create(server: &Server, name: &str) -> Self {
        let answer = server.post("/meetings", &json!({ "name": name })).await;
        Self {
            slug: text(&answer, "slug"),
            host_token: text(&answer, "token"),
        }
    }

    /// A guest's token, as the pre-join page asks for it.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn guest(&self, server: &Server, name: &str) -> String {
        let path = format!("/meetings/{}/guest", self.slug);
        text(&server.post(&path, &json!({ "name": name })).await, "token")
    }
}

fn text(answer: &Value, field: &str) -> String {
    answer[field]
        .as_str()
        .unwrap_or_else(|| panic!("{field} in {answer}"))
        .to_owned()
}

impl Client {
    /// Opens the socket with a token.
    ///
    /// # Panics
    /// When it does not open.
    pub async fn connect(server: &Server, token: &str) -> Self {
        let (socket, _) = tokio_tungstenite::connect_async(server.ws_url(&format!("token={token}")))
            .await
            .expect("the WebSocket opens");
        let (socket, stream) = socket.split();
        let (into, messages) = mpsc::unbounded_channel();
        Self {
            socket,
            messages,
            reader: tokio::spawn(read(stream, into)),
            unseen: VecDeque::new(),
            identity: String::new(),
            resume: String::new(),
        }
    }

    /// Joins a room, or resumes, and keeps identity and resume token. Gives the whole answer.
    ///
    /// # Panics
    /// When the answer is an error or does not come.
    pub async fn join(&mut self, room: &str, resume: Option<&str>) -> ServerMessage {
        self.send(ClientMessage::Join {
            room: room.to_owned(),
            password: None,
            name: None,
            resume: resume.map(str::to_owned),
            auto_subscribe: None,
        })
        .await;
        let joined = self
            .expect("joined", |message| {
                matches!(message, ServerMessage::Joined { .. }).then(|| message.clone())
            })
            .await;
        if let ServerMessage::Joined { identity, resume, .. } = &joined {
            self.identity.clone_from(identity);
            self.resume.clone_from(resume);
        }
        joined
    }

    /// Sends one message.
    ///
    /// # Panics
    /// When the socket is closed.
    pub async fn send(&mut self, message: ClientMessage) {
        let frame = ClientFrame { id: None, message };
        self.send_text(&serde_json::to_string(&frame).expect("a message is JSON"))
            .await;
    }

    /// Sends text as it is.
    ///
    /// # Panics
    /// When the socket is closed.
    pub async fn send_text(&mut self, text: &str) {
        self.socket
            .send(Message::text(text.to_owned()))
            .await
            .expect("the socket takes a message");
    }

    /// Waits for the first message, among those not yet asked for, that `pick` takes.
    ///
    /// # Panics
    /// When the deadline passes or the socket closes first; the message lists what came instead.
    pub async fn expect<T>(&mut self, what: &str, mut pick: impl FnMut(&ServerMessage) -> Option<T>) -> T {
        for at in 0..self.unseen.len() {
            if let Some(value) = pick(&self.unseen[at]) {
                self.unseen.remove(at);
                return value;
            }
        }
        let found = timeout(DEADLINE, async {
            while let Some(message) = self.messages.recv().await {
                if let Some(value) = pick(&message) {
                    return Some(value);
                }
                self.unseen.push_back(message);
            }
            None
        })
        .await;
        found
            .ok()
            .flatten()
            .unwrap_or_else(|| panic!("{what} never came; came instead: {:#?}", self.unseen))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

async fn read(mut stream: SplitStream<Socket>, into: mpsc::UnboundedSender<ServerMessage>) {
    while let Some(Ok(message)) = stream.next().await {
        match message {
            Message::Text(text) => {
                let frame: ServerFrame = serde_json::from_str(&text)
                    .unwrap_or_else(|error| panic!("not a server message ({error}): {text}"));
                if into.send(frame.message).is_err() {
                    return;
                }
            }
            Message::Close(_) => return,
            _ => {}
        }
    }
}
