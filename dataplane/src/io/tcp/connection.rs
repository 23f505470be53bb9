//! One connection of a peer: its stream, and the frames on it.

use std::io::{self, Read, Write};
use std::net::{IpAddr, TcpStream};
use std::os::fd::{AsRawFd, RawFd};

use socket2::SockRef;

use super::Accepted;
use super::queue::SendQueue;
use crate::address::{ConnectionId, TransportAddress};
use crate::io::limits::{CONNECTION_UNSENT, CONNECTION_USER_TIMEOUT};
use crate::io::udp::set_option;
use crate::wire::framing::FrameReader;

/// Whether a connection is still of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// It is.
    Open,
    /// The peer closed it, it broke, or the peer does not keep to the framing.
    Over,
}

/// A connection of a core.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    reader: FrameReader,
    pub(super) queue: SendQueue,
    pub(super) address: TransportAddress,
    /// The address the peer connected to.
    pub(super) local: IpAddr,
    /// The kernel says when there is room again.
    pub(super) waits: bool,
    /// The shard is to be told how much room there is.
    pub(super) touched: bool,
}

impl Connection {
    pub(super) fn new(accepted: Accepted, id: ConnectionId) -> (Self, Vec<u8>) {
        let Accepted {
            stream,
            peer,
            local,
            first,
            reader,
        } = accepted;
        let connection = Self {
            stream,
            reader,
            queue: SendQueue::default(),
            address: TransportAddress::Tcp(peer, id),
            local,
            waits: false,
            touched: false,
        };
        (connection, first)
    }

    /// Options that keep delay short, and notice a peer that is gone. All are gains, not needs.
    pub(super) fn tune(&self) -> io::Result<()> {
        self.stream.set_nodelay(true)?;
        SockRef::from(&self.stream).set_tcp_user_timeout(Some(CONNECTION_USER_TIMEOUT))?;
        // Without it the kernel takes megabytes, and a picture is seconds old before it leaves.
        let fd = self.stream.as_raw_fd();
        set_option(
            fd,
            libc::IPPROTO_TCP,
            libc::TCP_NOTSENT_LOWAT,
            CONNECTION_UNSENT as i32,
        )
    }

    /// Reads once, and gives every whole frame to `sink`. How many there were, and whether more can come.
    pub(super) fn read(&mut self, sink: &mut impl FnMut(&mut [u8])) -> (usize, State) {
        let state = match self.stream.read(self.reader.spare()) {
            Ok(0) => State::Over,
            Ok(len) => {
                self.reader.filled(len);
                State::Open
            }
            Err(error) if is_passing(&error) => State::Open,
            Err(_) => State::Over,
        };
        let (frames, framing) = self.deliver(sink);
        (frames, if framing == State::Over { framing } else { state })
    }

    /// Gives the frames that are whole already to `sink`.
    pub(super) fn deliver(&mut self, sink: &mut impl FnMut(&mut [u8])) -> (usize, State) {
        let mut frames = 0;
        loop {
            match self.reader.next_frame() {
                Ok(Some(frame)) => {
                    frames += 1;
                    sink(frame);
                }
                Ok(None) => return (frames, State::Open),
                Err(_) => return (frames, State::Over),
            }
        }
    }

    /// Writes what the kernel takes.
    pub(super) fn write(&mut self) -> State {
        while !self.queue.is_empty() {
            match self.stream.write_vectored(&self.queue.unsent()) {
                Ok(0) => return State::Over,
                Ok(len) => self.queue.sent(len),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return State::Over,
            }
        }
        State::Open
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

impl AsRawFd for Connection {
    fn as_raw_fd(&self) -> RawFd {
        self.stream.as_raw_fd()
    }
}
