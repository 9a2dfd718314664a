//! The websocket half.

mod line;
pub(crate) mod print;
mod request;
mod session;
mod trouble;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame as WireFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_util::sync::CancellationToken;

use self::session::Session;
use super::config::FrameKind;
use super::ledger::IbkrEntry;
use super::state::{Shared, ToSocket};
use super::violations::IbkrRule;

/// Everything that time brings is looked for this often.
const PULSE: Duration = Duration::from_millis(5);

/// For a client to take what is sent.
const WRITE_LIMIT: Duration = Duration::from_secs(30);

/// For a client to answer a close.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// What clients send is small.
const MAX_MESSAGE_BYTES: usize = 64 * 1024;

/// Frames that go out in one flush.
const MAX_BATCH: usize = 512;

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// What the cookie of a socket was worth at the upgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cookie {
    /// That of the login of now.
    Good,
    /// That of an earlier login.
    Stale,
    /// None, or nobody's.
    Foreign,
}

/// A connection that is about to become a websocket.
pub(crate) struct Upgrade {
    pub(crate) on: OnUpgrade,
    pub(crate) cookie: Cookie,
}

/// Something to be sent.
enum Output {
    /// A frame whose kind is free to choose.
    Frame { text: String, entry: Option<Box<IbkrEntry>>, market: bool },
    /// A frame as it is, valid or not.
    Raw { bytes: Vec<u8>, text: bool },
    /// Part of a frame, then a reset.
    Cut,
}

impl Output {
    const fn text(text: String) -> Self {
        Self::Frame { text, entry: None, market: false }
    }
}

/// How a socket came to its end.
enum End {
    /// The peer closed, or it broke.
    Gone,
    /// Reset without a word.
    Abrupt,
    /// Close with this code.
    Orderly(u16),
}

/// Serves one websocket to its end.
pub(crate) async fn serve(upgrade: Upgrade, number: u64, shared: Arc<Shared>, stop: CancellationToken) {
    let upgraded = match upgrade.on.await {
        Ok(upgraded) => upgraded,
        Err(error) => return tracing::debug!(number, %error, "the upgrade failed"),
    };
    let config = WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE_BYTES));
    let mut socket = Socket::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
    let (sender, inbox) = mpsc::channel(16);
    let abrupt = {
        let mut connections = shared.connections();
        let Some(entry) = connections.get_mut(&number) else { return };
        entry.socket = Some(sender);
        Arc::clone(&entry.abrupt)
    };
    let _open = Open::new(Arc::clone(&shared));
    let session = Session::new(number, shared, upgrade.cookie, Instant::now());
    let mut connection = Connection { socket: &mut socket, session, inbox, written: 0, abrupt: &abrupt };
    match connection.run(&stop).await {
        End::Gone => {}
        End::Abrupt => abrupt.store(true, Ordering::Relaxed),
        End::Orderly(code) => {
            // A close ends the market data before it is answered.
            drop(connection);
            close(&mut socket, code).await;
        }
    }
}

struct Connection<'a> {
    socket: &'a mut Socket,
    session: Session,
    inbox: mpsc::Receiver<ToSocket>,
    written: u64,
    abrupt: &'a AtomicBool,
}

impl Connection<'_> {
    async fn run(&mut self, stop: &CancellationToken) -> End {
        let shared = Arc::clone(&self.session.shared);
        let mut login = shared.login.watch();
        let mut events = shared.place.hub.listen();
        let mut executions = shared.executions.subscribe();
        let mut pulse = interval(PULSE);
        pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let mut done: Option<oneshot::Sender<()>> = None;
            tokio::select! {
                biased;
                () = stop.cancelled() => return End::Orderly(1001),
                _ = pulse.tick() => self.session.on_time(Instant::now()),
                told = self.inbox.recv() => match told {
                    Some(ToSocket::Close) | None => self.session.close = Some(1000),
                    Some(ToSocket::Mischief(mischief, tell)) => {
                        self.session.on_mischief(&mischief);
                        done = Some(tell);
                    }
                },
                changed = login.changed() => {
                    if changed.is_err() {
                        return End::Orderly(1001);
                    }
                    let state = login.borrow_and_update().clone();
                    self.session.on_state(&state, Instant::now());
                }
                message = self.socket.next() => match message {
                    Some(Ok(Message::Text(text))) => self.session.on_text(text.as_str(), Instant::now()),
                    Some(Ok(Message::Binary(_))) => self.session.note(IbkrRule::Binary, "a binary message"),
                    Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
                    Some(Ok(Message::Close(_))) => {
                        shared.counters.update(|stats| stats.closed_by_client += 1);
                        // Reading on sends the answer.
                        let answered = async { while let Some(Ok(_)) = self.socket.next().await {} };
                        return timeout(CLOSE_LIMIT, answered).await.map_or(End::Abrupt, |()| End::Gone);
                    }
                    Some(Err(_)) | None => return End::Gone,
                },
                batch = events.recv() => match batch {
                    Ok(batch) => self.session.on_events(&batch, Instant::now()),
                    Err(RecvError::Lagged(_)) => self.session.on_lag(),
                    // The market has closed for good: sockets stand.
                    Err(RecvError::Closed) => return End::Orderly(1001),
                },
                execution = executions.recv() => if let Ok(execution) = execution {
                    self.session.on_execution(&execution);
                },
            }
            if let Err(end) = self.write().await {
                return end;
            }
            if let Some(done) = done {
                // Whoever asked may have stopped waiting.
                done.send(()).ok();
            }
            if let Some(code) = self.session.close {
                return End::Orderly(code);
            }
        }
    }

    /// Sends all that waits.
    async fn write(&mut self) -> Result<(), End> {
        let mut out = std::mem::take(&mut self.session.out);
        if self.session.is_mute() {
            return Ok(());
        }
        while !out.is_empty() {
            let rest = out.split_off(out.len().min(MAX_BATCH));
            self.write_batch(std::mem::replace(&mut out, rest)).await?;
        }
        Ok(())
    }

    async fn write_batch(&mut self, batch: Vec<Output>) -> Result<(), End> {
        let shared = Arc::clone(&self.session.shared);
        let (mut entries, mut messages) = (Vec::new(), Vec::with_capacity(batch.len()));
        let (mut frames, mut greeks, mut cut) = (0, 0, false);
        for output in batch {
            match output {
                Output::Frame { text, entry, market } => {
                    frames += u64::from(market);
                    greeks += u64::from(entry.is_some());
                    entries.extend(entry.map(|entry| *entry));
                    messages.push(self.message(text, shared.config.frames));
                }
                Output::Raw { bytes, text } => messages.push(raw(bytes, text)),
                Output::Cut => {
                    cut = true;
                    break;
                }
            }
        }
        let places = if shared.ledger.is_on() { shared.ledger.record(entries.into_iter()) } else { 0..0 };
        let send = async {
            for message in messages {
                self.socket.feed(message).await?;
            }
            self.socket.flush().await
        };
        if !timeout(WRITE_LIMIT, send).await.is_ok_and(|sent| sent.is_ok()) {
            return Err(End::Abrupt);
        }
        shared.ledger.confirm(self.session.number, places);
        if frames > 0 {
            shared.counters.update(|stats| {
                stats.frames += frames;
                stats.greek_frames += greeks;
            });
        }
        if cut { Err(self.cut().await) } else { Ok(()) }
    }

    fn message(&mut self, text: String, kind: FrameKind) -> Message {
        self.written += 1;
        match kind {
            FrameKind::Text => Message::text(text),
            FrameKind::Binary => Message::binary(text.into_bytes()),
            FrameKind::Mixed if self.written.is_multiple_of(3) => Message::binary(text.into_bytes()),
            FrameKind::Mixed => Message::text(text),
        }
    }

    /// A frame whose end never comes: a first fragment, and no other.
    async fn cut(&mut self) -> End {
        let bytes = b"{\"server_id\":\"q0\",\"conidEx\":\"1\",\"conid\":1,\"_upd".to_vec();
        let frame = Message::Frame(WireFrame::message(bytes, OpCode::Data(Data::Text), false));
        if timeout(CLOSE_LIMIT, self.socket.send(frame)).await.is_err() {
            tracing::debug!("the client took no half frame");
        }
        self.abrupt.store(true, Ordering::Relaxed);
        End::Abrupt
    }
}

fn raw(bytes: Vec<u8>, text: bool) -> Message {
    let kind = if text { Data::Text } else { Data::Binary };
    Message::Frame(WireFrame::message(bytes, OpCode::Data(kind), true))
}

async fn close(socket: &mut Socket, code: u16) {
    let frame = CloseFrame { code: code.into(), reason: "".into() };
    let orderly = async {
        socket.send(Message::Close(Some(frame))).await?;
        while let Some(message) = socket.next().await {
            message?;
        }
        Ok::<(), tokio_tungstenite::tungstenite::Error>(())
    };
    if !timeout(CLOSE_LIMIT, orderly).await.is_ok_and(|closed| closed.is_ok()) {
        tracing::debug!("the close was not answered");
    }
}

/// Counts a socket while it lives, also when its task is aborted.
struct Open(Arc<Shared>);

impl Open {
    fn new(shared: Arc<Shared>) -> Self {
        shared.counters.update(|stats| {
            stats.connections += 1;
            stats.open += 1;
        });
        Self(shared)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.counters.update(|stats| stats.open -= 1);
    }
}
