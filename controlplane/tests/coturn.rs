//! The credentials that clients get, shown to a real coturn: `make api`.

mod common;

use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::TestServer;
use kall_controlplane::config::AuthMode;
use serde_json::{Value, json};

const SECRET: &str = "a secret that both sides share";

struct Turn {
    server: Child,
    port: u16,
}

impl Turn {
    fn start(arguments: &[&str]) -> Self {
        let port = UdpSocket::bind("127.0.0.1:0")
            .and_then(|socket| socket.local_addr())
            .expect("a port")
            .port();
        let server = Command::new("turnserver")
            .args([
                "-n",
                "--no-tls",
                "--no-dtls",
                "--no-cli",
                "--realm=kall",
                "--lt-cred-mech",
                "--log-file=stdout",
            ])
            .args([
                "--listening-ip=127.0.0.1",
                "--relay-ip=127.0.0.1",
                "--allow-loopback-peers",
                "--pidfile=/dev/null",
            ])
            .arg(format!("--listening-port={port}"))
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("turnserver starts: deploy/install-tools.sh api");
        let turn = Self { server, port };
        // It answers a bare Binding request once it listens.
        let probe = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        probe
            .set_read_timeout(Some(Duration::from_millis(100)))
            .expect("a timeout");
        let mut question = [7; 20];
        question[..8].copy_from_slice(&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42]);
        let end = Instant::now() + common::DEADLINE;
        loop {
            probe.send_to(&question, ("127.0.0.1", port)).expect("sent");
            if probe.recv(&mut [0; 128]).is_ok() {
                return turn;
            }
            assert!(Instant::now() < end, "coturn does not answer");
        }
    }

    /// Whether somebody with these credentials can relay a message to itself.
    fn relays(&self, username: &str, credential: &str) -> bool {
        let output = Command::new("turnutils_uclient")
            .args([
                "-y", "-c", "-n", "1", "-m", "1", "-l", "100", "-u", username, "-w", credential,
            ])
            .args(["-p", &self.port.to_string(), "127.0.0.1"])
            .output()
            .expect("turnutils_uclient runs");
        let said = String::from_utf8_lossy(&output.stdout);
        // It counts as it goes: the last count is the whole.
        let count = said.rsplit_once("tot_recv_msgs=").map(|(_, last)| last);
        let digits = count.and_then(|last| last.split(|letter: char| !letter.is_ascii_digit()).next());
        let received = digits.and_then(|digits| digits.parse().ok()).unwrap_or(0);
        output.status.success() && received > 0_u32
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

async fn given(server: &TestServer) -> (Value, String, String) {
    let room = server.room(json!({"name": "Relayed"})).await;
    let (_alice, joined) = server
        .join(room["id"].as_str().expect("an id"), "alice", "guest")
        .await;
    let relay = joined["ice_servers"][0].clone();
    let text = |field: &str| relay[field].as_str().expect("text").to_owned();
    (relay["urls"].clone(), text("username"), text("credential"))
}

#[tokio::test]
async fn time_limited_credentials_open_a_relay() {
    let turn = Turn::start(&["--use-auth-secret", &format!("--static-auth-secret={SECRET}")]);
    let mut server = TestServer::start_with(AuthMode::Token, |config| {
        config.turn.enabled = true;
        config.turn.host = "127.0.0.1".into();
        config.turn.port = turn.port;
        config.turn.secret = SECRET.into();
    })
    .await;
    let (urls, username, credential) = given(&server).await;
    assert_eq!(
        urls[0],
        json!(format!("turn:127.0.0.1:{}?transport=udp", turn.port))
    );
    assert!(username.ends_with(":alice"));
    assert!(turn.relays(&username, &credential));
    assert!(!turn.relays(&username, "another"));
    assert!(!turn.relays("1:alice", &credential), "an expired name");
    server.down().await;
}

#[tokio::test]
async fn the_references_static_credentials_open_a_relay() {
    let turn = Turn::start(&["--user=koder-kall:turn-secret"]);
    let mut server = TestServer::start_with(AuthMode::Token, |config| {
        config.turn.enabled = true;
        config.turn.host = "127.0.0.1".into();
        config.turn.port = turn.port;
        config.turn.username = "koder-kall".into();
        config.turn.credential = "turn-secret".into();
    })
    .await;
    let (_, username, credential) = given(&server).await;
    assert_eq!(
        (username.as_str(), credential.as_str()),
        ("koder-kall", "turn-secret")
    );
    assert!(turn.relays(&username, &credential));
    server.down().await;
}
