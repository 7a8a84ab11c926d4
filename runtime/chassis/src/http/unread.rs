//! Connections whose peers do not read what they are sent.

use std::io::{self, IoSlice};
use std::os::fd::AsRawFd as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

/// A connection on which a write fails when bytes wait and the peer has taken none of them for some
/// time. That is asked of the system, as it alone sees what a slow reader has taken: a full buffer
/// is offered for writing again when a third of it is free. (Its own `TCP_USER_TIMEOUT` does not
/// do: it also cuts off readers that get on by small pieces.)
pub(super) struct Unread {
    stream: TcpStream,
    /// How long the peer may take nothing.
    within: Duration,
    /// Since a write had to wait; nothing as long as all writes go through.
    waiting: Option<Waiting>,
}

struct Waiting {
    look: Pin<Box<Sleep>>,
    /// Bytes that the peer had not taken at the last look.
    queued: libc::c_int,
}

impl Unread {
    pub(super) fn bounded(stream: TcpStream, within: Duration) -> Unread {
        Unread { stream, within, waiting: None }
    }

    /// Passes on what came of a write; one that waits fails when the peer takes nothing.
    fn check(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        let waiting = match &mut self.waiting {
            Some(waiting) => waiting,
            none => none.insert(Waiting {
                look: Box::pin(tokio::time::sleep(self.within)),
                queued: queued(&self.stream)?,
            }),
        };
        loop {
            ready!(waiting.look.as_mut().poll(cx));
            let queued = queued(&self.stream)?;
            if waiting.queued <= queued {
                let error = "the peer does not read what it is sent";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, error)));
            }
            waiting.queued = queued;
            waiting.look.as_mut().reset(Instant::now() + self.within);
        }
    }
}

/// Bytes that were sent, or are to be, and are not acknowledged (`SIOCOUTQ`, tcp(7)).
#[expect(unsafe_code, reason = "nothing else asks how much of the send queue is left")]
fn queued(stream: &TcpStream) -> io::Result<libc::c_int> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the descriptor is open as long as the stream is there, and one int is written.
    match unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) } {
        0 => Ok(bytes),
        _ => Err(io::Error::last_os_error()),
    }
}

impl AsyncRead for Unread {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Unread {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.check(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.check(cx, written)
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
