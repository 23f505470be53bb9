//! A limit for connections that say nothing. Which version of HTTP a client speaks shows in its first
//! bytes, and hyper-util waits for those without end, before the limits of either version begin.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum_server::accept::Accept;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// What an HTTP/2 client says first (RFC 9113 section 3.4); no request of HTTP/1 begins like it.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Gives each accepted connection its time for the first bytes.
#[derive(Debug, Clone)]
pub(crate) struct Accepting<A> {
    /// What accepts: TLS or nothing.
    pub(crate) inner: A,
    /// How long the first bytes may take.
    pub(crate) limit: Duration,
}

impl<A, I, S> Accept<I, S> for Accepting<A>
where
    A: Accept<I, S>,
    A::Future: Send + 'static,
{
    type Stream = Impatient<A::Stream>;
    type Service = A::Service;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Self::Stream, Self::Service)>> + Send>>;

    fn accept(&self, stream: I, service: S) -> Self::Future {
        let accepted = self.inner.accept(stream, service);
        let limit = self.limit;
        Box::pin(async move {
            let (stream, service) = accepted.await?;
            Ok((Impatient::new(stream, limit), service))
        })
    }
}

/// A connection whose reads fail when its first bytes don't come in time.
#[derive(Debug)]
pub(crate) struct Impatient<S> {
    stream: S,
    /// Until the version shows: how long yet, and how much of the preface has come.
    undecided: Option<(Pin<Box<Sleep>>, usize)>,
}

impl<S> Impatient<S> {
    fn new(stream: S, limit: Duration) -> Self {
        Self {
            stream,
            undecided: Some((Box::pin(tokio::time::sleep(limit)), 0)),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Impatient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        let Some((limit, matched)) = &mut self.undecided else {
            return polled;
        };
        if polled.is_pending() {
            return limit
                .as_mut()
                .poll(cx)
                .map(|()| Err(io::ErrorKind::TimedOut.into()));
        }
        let new = &buf.filled()[before..];
        *matched += new.len();
        let still = !new.is_empty() && *matched < PREFACE.len();
        if !still || PREFACE[*matched - new.len()..*matched] != *new {
            self.undecided = None;
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Impatient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

    use super::*;

    /// A connection whose time is up, after `first` was read from it. The other end, to keep it open.
    async fn after(first: &[u8]) -> (Impatient<DuplexStream>, DuplexStream) {
        let (ours, mut theirs) = tokio::io::duplex(64);
        theirs.write_all(first).await.expect("it fits");
        let mut ours = Impatient::new(ours, Duration::ZERO);
        let mut got = vec![0; first.len()];
        ours.read_exact(&mut got).await.expect("it is there");
        assert_eq!(got, first);
        (ours, theirs)
    }

    #[tokio::test]
    async fn who_has_not_said_its_version_is_cut_off() {
        let undecided: [&[u8]; 3] = [b"", b"P", &PREFACE[..23]];
        for first in undecided {
            let (mut ours, _theirs) = after(first).await;
            let error = ours.read(&mut [0; 8]).await.expect_err("cut off");
            assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{first:?}");
        }
    }

    #[tokio::test]
    async fn what_others_may_take_is_for_their_version_to_say() {
        let decided: [&[u8]; 4] = [b"G", b"PO", PREFACE, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nmore"];
        for first in decided {
            let (mut ours, _theirs) = after(first).await;
            assert!(ours.undecided.is_none(), "{first:?}");
            assert!(ours.read(&mut [0; 8]).now_or_never().is_none(), "{first:?}");
        }
    }
}
