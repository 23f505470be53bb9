//! A relay between a peer and the data plane, so that a test can put datagrams of its own on the
//! very path that the server has validated: tampered, repeated, cut or random ones.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// How many of the latest SRTP datagrams are kept.
const KEPT: usize = 64;

/// Forwards both ways until it is dropped.
pub(crate) struct Relay {
    /// Where the peer sends to.
    pub(crate) address: SocketAddr,
    server: SocketAddr,
    back: Arc<UdpSocket>,
    seen: Arc<Mutex<Seen>>,
    corrupt: Arc<AtomicU32>,
    task: JoinHandle<()>,
}

/// What went from the peer to the server.
#[derive(Debug, Default)]
struct Seen {
    rtp: Vec<Vec<u8>>,
    client_hello: Option<Vec<u8>>,
}

impl Relay {
    /// A relay to the data plane's socket.
    pub(crate) async fn start(server: SocketAddr) -> Self {
        let front = Arc::new(bind().await);
        let back = Arc::new(bind().await);
        let seen = Arc::new(Mutex::new(Seen::default()));
        let corrupt = Arc::new(AtomicU32::new(0));
        let address = front.local_addr().expect("a bound socket has an address");
        let task = tokio::spawn(forward(
            front,
            back.clone(),
            server,
            seen.clone(),
            corrupt.clone(),
        ));
        Self {
            address,
            server,
            back,
            seen,
            corrupt,
            task,
        }
    }

    /// Puts a datagram on the validated path, towards the server.
    pub(crate) async fn inject(&self, datagram: &[u8]) {
        self.back
            .send_to(datagram, self.server)
            .await
            .expect("a datagram can be sent on loopback");
    }

    /// Sends a copy with one bit of its authentication tag flipped before each of the next
    /// `count` SRTP packets.
    pub(crate) fn corrupt_next(&self, count: u32) {
        self.corrupt.store(count, Ordering::Relaxed);
    }

    /// How many copies are still to be sent.
    pub(crate) fn corrupt_left(&self) -> u32 {
        self.corrupt.load(Ordering::Relaxed)
    }

    /// The latest SRTP datagrams, oldest first.
    pub(crate) fn recent_rtp(&self) -> Vec<Vec<u8>> {
        self.seen.lock().expect("the relay lives").rtp.clone()
    }

    /// The first DTLS datagram of the peer.
    pub(crate) fn client_hello(&self) -> Vec<u8> {
        let seen = self.seen.lock().expect("the relay lives");
        seen.client_hello
            .clone()
            .expect("a connected peer has sent its hello")
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn bind() -> UdpSocket {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("a socket on loopback")
}

async fn forward(
    front: Arc<UdpSocket>,
    back: Arc<UdpSocket>,
    server: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    corrupt: Arc<AtomicU32>,
) {
    let mut peer = None;
    let (mut up, mut down) = ([0u8; 2048], [0u8; 2048]);
    loop {
        tokio::select! {
            Ok((len, from)) = front.recv_from(&mut up) => {
                peer = Some(from);
                let datagram = &up[..len];
                note(datagram, &mut seen.lock().expect("no reader panicked"));
                if is_rtp(datagram) && corrupt.load(Ordering::Relaxed) > 0 {
                    corrupt.fetch_sub(1, Ordering::Relaxed);
                    let mut bad = datagram.to_vec();
                    bad[len - 1] ^= 0x40;
                    let _ = back.send_to(&bad, server).await;
                }
                let _ = back.send_to(datagram, server).await;
            }
            Ok((len, from)) = back.recv_from(&mut down) => {
                if let (Some(peer), true) = (peer, from == server) {
                    let _ = front.send_to(&down[..len], peer).await;
                }
            }
            else => return,
        }
    }
}

fn note(datagram: &[u8], seen: &mut Seen) {
    if is_rtp(datagram) {
        if seen.rtp.len() == KEPT {
            seen.rtp.remove(0);
        }
        seen.rtp.push(datagram.to_vec());
    } else if datagram.first() == Some(&22) && seen.client_hello.is_none() {
        seen.client_hello = Some(datagram.to_vec());
    }
}

/// RFC 7983 and RFC 5761: RTP, but not RTCP.
fn is_rtp(datagram: &[u8]) -> bool {
    matches!(datagram, [128..=191, second, ..] if !(192..=223).contains(second))
}
