//! A tunnel between a peer that knows datagrams alone and the data plane's TCP port: each datagram is
//! a frame on one connection (RFC 4571), written and read by code of this test. What the peer
//! negotiates, checks and encrypts is as independent of ours as over UDP.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Carries both ways until it is dropped.
pub(crate) struct Tunnel {
    /// Where the peer sends to.
    pub(crate) address: SocketAddr,
    tasks: [JoinHandle<()>; 2],
}

impl Tunnel {
    /// A tunnel to the data plane's port.
    pub(crate) async fn start(server: SocketAddr) -> Self {
        let front = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a socket on loopback");
        let front = Arc::new(front);
        let address = front.local_addr().expect("a bound socket has an address");
        let stream = TcpStream::connect(server)
            .await
            .expect("the data plane accepts connections");
        let (reading, writing) = stream.into_split();
        let (peer_in, peer) = watch::channel(None);
        let tasks = [
            tokio::spawn(up(Arc::clone(&front), writing, peer_in)),
            tokio::spawn(down(front, reading, peer)),
        ];
        Self { address, tasks }
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn up(front: Arc<UdpSocket>, mut server: OwnedWriteHalf, peer: watch::Sender<Option<SocketAddr>>) {
    let mut datagram = [0; 2048];
    while let Ok((len, from)) = front.recv_from(&mut datagram).await {
        peer.send_replace(Some(from));
        let mut frame = (len as u16).to_be_bytes().to_vec();
        frame.extend_from_slice(&datagram[..len]);
        if server.write_all(&frame).await.is_err() {
            return;
        }
    }
}

async fn down(front: Arc<UdpSocket>, mut server: OwnedReadHalf, peer: watch::Receiver<Option<SocketAddr>>) {
    while let Ok(len) = server.read_u16().await {
        let mut datagram = vec![0; usize::from(len)];
        if server.read_exact(&mut datagram).await.is_err() {
            return;
        }
        let peer = *peer.borrow();
        if let Some(peer) = peer {
            let _ = front.send_to(&datagram, peer).await;
        }
    }
}
