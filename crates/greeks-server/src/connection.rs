//! One connection: what it is doing, for how long it may, and the socket that tells.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::limits::Limits;

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Sending the head of a request, since then.
    Head(Instant),
    /// Being served.
    Busy,
    /// Between requests, since then.
    Idle(Instant),
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// Since when the client takes nothing of what waits for it.
    stalled: Option<Instant>,
}

/// What a connection is doing; shared between its socket, its requests and the server.
#[derive(Debug)]
pub(crate) struct Activity {
    state: Mutex<State>,
    drained: Notify,
    /// Ends the connection at once.
    pub(crate) kill: CancellationToken,
}

impl Activity {
    pub(crate) fn new() -> Self {
        let state = State { phase: Phase::Head(Instant::now()), stalled: None };
        Self { state: Mutex::new(state), drained: Notify::new(), kill: CancellationToken::new() }
    }

    /// When the connection has had its time; `None` while nothing is due.
    pub(crate) fn deadline(&self, limits: &Limits) -> Option<Instant> {
        let state = self.lock();
        let phase = match state.phase {
            Phase::Head(since) => since.checked_add(limits.head),
            Phase::Idle(since) => since.checked_add(limits.idle),
            Phase::Busy => None,
        };
        let stall = state.stalled.and_then(|since| since.checked_add(limits.stall));
        [phase, stall].into_iter().flatten().min()
    }

    /// Since when the connection serves no request; `None` while it does.
    pub(crate) fn unused_since(&self) -> Option<Instant> {
        match self.lock().phase {
            Phase::Head(since) | Phase::Idle(since) => Some(since),
            Phase::Busy => None,
        }
    }

    /// Waits until the client has taken all that was written.
    ///
    /// # Cancel safety
    /// May be dropped and called again at any time.
    pub(crate) async fn drained(&self) {
        loop {
            let taken = self.drained.notified();
            if self.lock().stalled.is_none() {
                return;
            }
            taken.await;
        }
    }

    /// A request is complete up to its body.
    pub(crate) fn busy(&self) {
        self.lock().phase = Phase::Busy;
    }

    fn idle(&self) {
        self.lock().phase = Phase::Idle(Instant::now());
    }

    fn read(&self) {
        let mut state = self.lock();
        if let Phase::Idle(_) = state.phase {
            state.phase = Phase::Head(Instant::now());
        }
    }

    /// Some bytes went out (`true`), or none could.
    fn wrote(&self, some: bool) {
        let mut state = self.lock();
        if some {
            state.stalled = state.stalled.map(|_| Instant::now());
        } else if state.stalled.is_none() {
            state.stalled = Some(Instant::now());
        }
    }

    fn all_written(&self) {
        self.lock().stalled = None;
        self.drained.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A socket that tells its connection's [`Activity`] what goes through it.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) stream: TcpStream,
    pub(crate) activity: Arc<Activity>,
}

impl Watched {
    fn note(&self, written: &Poll<io::Result<usize>>) {
        match written {
            Poll::Ready(Ok(count)) if *count > 0 => self.activity.wrote(true),
            Poll::Ready(_) => {}
            Poll::Pending => self.activity.wrote(false),
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, into);
        if into.filled().len() > before {
            self.activity.read();
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.note(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper flushes when it has nothing left to write.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if flushed.is_ready() {
            self.activity.all_written();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The body of an answer; its connection is idle once it is gone.
#[derive(Debug)]
pub(crate) struct Tracked {
    body: Body,
    activity: Arc<Activity>,
}

impl Tracked {
    pub(crate) const fn new(body: Body, activity: Arc<Activity>) -> Self {
        Self { body, activity }
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.activity.idle();
    }
}

impl HttpBody for Tracked {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
