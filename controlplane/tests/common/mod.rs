//! A real server in this process on a free port, with a database of its own and no data plane,
//! and clients that speak to it over real sockets.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use kall_controlplane::config::{ApiKey, AuthMode, Config, DatabaseDriver};
use kall_controlplane::http::Assets;
use kall_controlplane::server::{Options, Server};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// The longest anything here may take on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) const KEY: &str = "testkey:a-secret-for-these-tests";

/// What went over the WebSockets of a server: `> chat` to it, `< chat` and `< error banned` from it.
pub(crate) type Ledger = Arc<Mutex<BTreeSet<String>>>;

pub(crate) struct TestServer {
    pub(crate) http: reqwest::Client,
    pub(crate) base: String,
    pub(crate) ledger: Ledger,
    config: Config,
    folder: TempDir,
    stop: Option<oneshot::Sender<()>>,
    running: Option<JoinHandle<std::io::Result<()>>>,
}

impl TestServer {
    pub(crate) async fn start(mode: AuthMode) -> Self {
        Self::start_with(mode, |_| {}).await
    }

    pub(crate) async fn start_with(mode: AuthMode, change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut config = Config::development();
        config.auth.mode = mode;
        config.server.port = 0;
        config.server.drain_timeout = 1;
        config.dataplane.spawn = false;
        config.server.data_dir = folder.path().display().to_string();
        database(&mut config, folder.path()).await;
        config.api.keys.push(ApiKey {
            key: "testkey".into(),
            secret: "a-secret-for-these-tests".into(),
        });
        change(&mut config);
        let mut server = Self {
            http: reqwest::Client::new(),
            base: String::new(),
            ledger: Ledger::default(),
            config,
            folder,
            stop: None,
            running: None,
        };
        server.up().await;
        server
    }

    pub(crate) async fn up(&mut self) {
        let options = Options {
            assets: Assets::Folder(self.folder.path().join("dist")),
            program: None,
        };
        let server = Server::start(self.config.clone(), options)
            .await
            .expect("the server starts");
        self.base = format!("http://{}", server.address());
        let (stop, stopped) = oneshot::channel::<()>();
        self.stop = Some(stop);
        self.running = Some(tokio::spawn(server.run(async move {
            let _ = stopped.await;
        })));
    }

    pub(crate) async fn down(&mut self) {
        drop(self.stop.take());
        let running = self.running.take().expect("it runs");
        tokio::time::timeout(DEADLINE, running)
            .await
            .expect("in time")
            .expect("no panic")
            .expect("in order");
    }

    /// The server's configuration.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn dist(&self) -> std::path::PathBuf {
        self.folder.path().join("dist")
    }

    /// A call with the API key: status and body.
    pub(crate) async fn call(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let request = self.request(method, path).bearer_auth(KEY);
        answer(match body {
            Some(body) => request.json(&body),
            None => request,
        })
        .await
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = method.parse().expect("a method");
        self.http.request(method, format!("{}{path}", self.base))
    }

    pub(crate) async fn room(&self, body: Value) -> Value {
        let (status, room) = self.call("POST", "/rooms", Some(body)).await;
        assert_eq!(status, 201, "{room}");
        room
    }

    pub(crate) async fn token(&self, room: &str, identity: &str, role: &str) -> String {
        let body = json!({"room": room, "identity": identity, "name": identity.to_uppercase(), "role": role});
        let (status, answer) = self.call("POST", "/tokens", Some(body)).await;
        assert_eq!(status, 200, "{answer}");
        answer["token"].as_str().expect("a token").to_owned()
    }

    /// A token that was good until a minute ago, signed with the server's own secret.
    pub(crate) fn expired_token(&self, room: &str, identity: &str) -> String {
        use jsonwebtoken::{EncodingKey, Header, encode};
        let secret =
            kall_controlplane::secret::signing_secret(&self.config).expect("it was made at the start");
        let until = std::time::SystemTime::UNIX_EPOCH
            .elapsed()
            .expect("after 1970")
            .as_secs()
            - 60;
        let claims = json!({
            "iss": "koder-kall", "sub": identity, "name": identity, "room": room, "role": "guest",
            "iat": until - 60, "nbf": until - 60, "exp": until, "jti": "x",
        });
        encode(&Header::default(), &claims, &EncodingKey::from_secret(&secret)).expect("signs")
    }

    pub(crate) async fn socket(&self, query: &str) -> Socket {
        let url = format!("{}/ws?{query}", self.base.replace("http://", "ws://"));
        let (socket, _) = tokio_tungstenite::connect_async(url)
            .await
            .expect("the WebSocket opens");
        Socket {
            socket,
            ledger: Arc::clone(&self.ledger),
            unseen: VecDeque::new(),
            asked: 0,
        }
    }

    /// Asks to join with a token and does not wait for an answer.
    pub(crate) async fn knock(&self, room: &str, identity: &str, role: &str) -> Socket {
        let token = self.token(room, identity, role).await;
        let mut socket = self.socket(&format!("token={token}")).await;
        socket
            .send(json!({"type": "join", "room": room, "id": "join"}))
            .await;
        socket
    }

    /// Joins with a token; the answer is `joined`.
    pub(crate) async fn join(&self, room: &str, identity: &str, role: &str) -> (Socket, Value) {
        let token = self.token(room, identity, role).await;
        let mut socket = self.socket(&format!("token={token}")).await;
        socket.send(json!({"type": "join", "room": room})).await;
        let joined = socket.expect("joined").await;
        (socket, joined)
    }
}

/// A database of the test's own: on the PostgreSQL server of `deploy/with-postgres.sh` if there is one,
/// else a file.
async fn database(config: &mut Config, folder: &std::path::Path) {
    use sqlx::{AssertSqlSafe, Connection as _};
    let Ok(server) = std::env::var("KALL_TEST_POSTGRES") else {
        config.database.url = folder.join("kall.db").display().to_string();
        return;
    };
    let name = format!("kall_{:016x}", rand::random::<u64>());
    let mut connection = sqlx::PgConnection::connect(&server)
        .await
        .expect("the server answers");
    sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {name}")))
        .execute(&mut connection)
        .await
        .expect("a new database");
    config.database.driver = DatabaseDriver::Postgres;
    config.database.url = server.replace("/postgres?", &format!("/{name}?"));
}

pub(crate) async fn answer(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.expect("an answer");
    let status = response.status().as_u16();
    let text = response.text().await.expect("a body");
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

/// What a server says to bytes that no client library would send, until it closes the connection.
pub(crate) async fn until_closed(address: &str, first: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut socket = TcpStream::connect(address).await.expect("it listens");
    socket.write_all(first.as_bytes()).await.expect("it reads");
    let mut said = Vec::new();
    tokio::time::timeout(DEADLINE, socket.read_to_end(&mut said))
        .await
        .unwrap_or_else(|_| panic!("still open after {first:?}"))
        .expect("closed in order");
    String::from_utf8(said).expect("text")
}

pub(crate) struct Socket {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    ledger: Ledger,
    unseen: VecDeque<Value>,
    asked: u32,
}

impl Socket {
    pub(crate) async fn send(&mut self, message: Value) {
        self.note('>', &message);
        self.send_raw(Message::text(message.to_string())).await;
    }

    pub(crate) async fn send_raw(&mut self, message: Message) {
        self.socket.send(message).await.expect("the connection is open");
    }

    /// The next message of this type; others are kept for later.
    pub(crate) async fn expect(&mut self, kind: &str) -> Value {
        if let Some(at) = self.unseen.iter().position(|message| message["type"] == kind) {
            return self.unseen.remove(at).expect("it is there");
        }
        self.until(kind, |message| message["type"] == kind).await
    }

    /// Sends a message and gives what answers it: the message or the error that carries its id.
    pub(crate) async fn ask(&mut self, mut message: Value) -> Value {
        self.asked += 1;
        let id = json!(format!("ask-{}", self.asked));
        message["id"] = id.clone();
        self.send(message).await;
        self.until("an answer", |message| message["re"] == id).await
    }

    /// Reads up to a message that `is` it, and keeps the others. The server's pings are no sign of one.
    async fn until(&mut self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let end = tokio::time::Instant::now() + DEADLINE;
        while tokio::time::Instant::now() < end {
            match self.read().await {
                Message::Text(text) => {
                    let message: Value = serde_json::from_str(&text).expect("JSON");
                    if is(&message) {
                        return message;
                    }
                    self.unseen.push_back(message);
                }
                Message::Close(frame) => panic!("closed with {frame:?} while waiting for {what}"),
                _ => {}
            }
        }
        panic!("{what} never came, but {:#?}", self.unseen);
    }

    /// Sends a message that is refused; gives the code.
    pub(crate) async fn refused(&mut self, message: Value) -> String {
        let error = self.ask(message).await;
        assert_eq!(error["type"], "error", "{error}");
        error["code"].as_str().expect("a code").to_owned()
    }

    /// Whether a message of this type has come before an answer that is asked for now.
    pub(crate) async fn has_seen(&mut self, kind: &str) -> bool {
        let seen = self.barrier().await;
        let found = seen.iter().any(|message| message["type"] == kind);
        self.unseen.extend(seen);
        found
    }

    /// Asserts that nothing but these types came up to the answer to a message that is sent now.
    pub(crate) async fn barrier(&mut self) -> Vec<Value> {
        self.send(json!({"type": "unmute", "track": "tr_none", "id": "barrier"}))
            .await;
        loop {
            let error = self.expect("error").await;
            if error["re"] == "barrier" {
                return self.unseen.drain(..).collect();
            }
            self.unseen.push_back(error);
        }
    }

    /// The code the server closes with.
    pub(crate) async fn closed(&mut self) -> u16 {
        loop {
            match self.read().await {
                Message::Close(frame) => return frame.map_or(1005, |frame| u16::from(frame.code)),
                Message::Text(text) => self.unseen.push_back(serde_json::from_str(&text).expect("JSON")),
                _ => {}
            }
        }
    }

    /// The code the server closes with, or none when the connection ends without.
    pub(crate) async fn ended(&mut self) -> Option<u16> {
        loop {
            let next = tokio::time::timeout(DEADLINE, self.socket.next())
                .await
                .expect("an end in time");
            match next {
                Some(Ok(Message::Close(frame))) => return frame.map(|frame| u16::from(frame.code)),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
    }

    pub(crate) async fn close(mut self, code: u16) {
        use tokio_tungstenite::tungstenite::protocol::CloseFrame;
        let frame = CloseFrame {
            code: code.into(),
            reason: "".into(),
        };
        self.socket
            .close(Some(frame))
            .await
            .expect("the connection is open");
        while let Ok(Some(Ok(_))) = tokio::time::timeout(DEADLINE, self.socket.next()).await {}
    }

    async fn read(&mut self) -> Message {
        let message = tokio::time::timeout(DEADLINE, self.socket.next())
            .await
            .expect("a message in time")
            .expect("the connection is open")
            .expect("a readable frame");
        if let Message::Text(text) = &message {
            self.note('<', &serde_json::from_str(text).expect("JSON"));
        }
        message
    }

    fn note(&self, way: char, message: &Value) {
        let kind = message["type"].as_str().unwrap_or_default();
        let mut ledger = self.ledger.lock().expect("nobody panicked");
        ledger.insert(match message["code"].as_str() {
            Some(code) => format!("{way} {kind} {code}"),
            None => format!("{way} {kind}"),
        });
    }
}
