//! One socket: reads, writes, and drives its [`Session`].

use std::num::NonZeroU32;
use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_util::sync::CancellationToken;

use super::feed::Output;
use super::session::{Close, Session};
use crate::market::{Body, Event};
use crate::tasty::state::{ConnectionCommand, Inflicted, Shared};

/// How long a client may take to answer a close.
const CLOSE_WAIT: std::time::Duration = std::time::Duration::from_secs(5);

/// Between two portions of garbage.
const FLOOD_STEP: std::time::Duration = std::time::Duration::from_millis(10);

type Socket = WebSocketStream<TcpStream>;

/// How a connection came to its end.
enum End {
    /// The peer closed, or the socket broke.
    Gone,
    /// Close with this code once everything before it is written.
    Orderly(Close),
    /// Reset without a word.
    Abrupt,
}

/// One connection from handshake to end.
pub(crate) struct Connection {
    pub(crate) number: u64,
    pub(crate) shared: Arc<Shared>,
    pub(crate) command: watch::Receiver<Option<ConnectionCommand>>,
    pub(crate) mischief: mpsc::Receiver<Inflicted>,
    pub(crate) stop: CancellationToken,
    pub(crate) streaming: bool,
    pub(crate) subscribed: u64,
}

impl Connection {
    pub(crate) async fn run(&mut self, mut socket: Socket) {
        let end = self.serve(&mut socket).await;
        match end {
            End::Gone => {}
            End::Abrupt => {
                // A reset drops what the client has not read: nothing after this point is certain to arrive.
                if let Err(error) = socket.get_ref().set_zero_linger() {
                    tracing::debug!(%error, "cannot reset the connection");
                }
            }
            End::Orderly(close) => self.close(&mut socket, close).await,
        }
    }

    async fn serve(&mut self, socket: &mut Socket) -> End {
        let mut session = Session::new(self.number, Arc::clone(&self.shared), Instant::now());
        let mut events = self.shared.hub.listen();
        let mut flood = interval(FLOOD_STEP);
        flood.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let mut inflicted = None;
            let garbage = self.shared.faults().connection.garbage;
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return End::Orderly(Close { code: 1001, reason: "going away" }),
                changed = self.command.changed() => {
                    let command = *self.command.borrow_and_update();
                    match command {
                        _ if changed.is_err() => return End::Abrupt,
                        Some(ConnectionCommand::Orderly) => {
                            return End::Orderly(Close { code: 1001, reason: "going away" });
                        }
                        Some(ConnectionCommand::Abrupt) => return End::Abrupt,
                        Some(ConnectionCommand::Revoke) => session.on_revoked(),
                        None => {}
                    }
                }
                Some((mischief, done)) = self.mischief.recv() => {
                    // What is due comes before it.
                    session.on_time(Instant::now());
                    session.on_mischief(&mischief);
                    inflicted = Some(done);
                }
                message = socket.next() => match message {
                    Some(Ok(Message::Text(text))) => session.on_text(text.as_str(), Instant::now()),
                    Some(Ok(Message::Binary(_))) => session.on_binary(Instant::now()),
                    Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return End::Gone,
                },
                batch = events.recv() => match batch {
                    Ok(batch) => {
                        session.on_events(&batch);
                        drain(&mut session, &mut events);
                    }
                    Err(RecvError::Lagged(_)) => session.on_overrun(),
                    Err(RecvError::Closed) => return End::Orderly(Close { code: 1001, reason: "market closed" }),
                },
                _ = flood.tick(), if garbage > 0.0 => self.flood(&mut session, garbage),
                () = sleep_until(session.deadline()) => {}
            }
            session.on_time(Instant::now());
            let end = self.write(socket, &mut session).await;
            if let Some(done) = inflicted {
                // Whoever asked may have stopped waiting.
                done.send(()).ok();
            }
            if let Some(end) = end {
                return end;
            }
            if let Some(close) = session.close {
                return End::Orderly(close);
            }
        }
    }

    // A rate is a few thousand at most.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fn flood(&self, session: &mut Session, rate: f64) {
        let messages = (rate * FLOOD_STEP.as_secs_f64()).ceil().max(0.0) as usize;
        session.flood(messages);
        self.shared.counters.update(|stats| stats.garbage += messages as u64);
    }

    /// Writes everything the session has to say. While the socket takes no bytes nothing is read either; the bus then
    /// overruns this connection, and what it missed is conflated. Memory stays bounded.
    async fn write(&mut self, socket: &mut Socket, session: &mut Session) -> Option<End> {
        let limit = self.shared.config.dxlink.slow_reader_timeout;
        let fragment = self.shared.faults().connection.fragment;
        for output in std::mem::take(&mut session.out) {
            let (text, events) = match output {
                Output::Text(text) => (text, Vec::new()),
                Output::Data(data) => (data.text, data.events),
                Output::Cut(text) => {
                    let mut half = text.into_bytes();
                    half.truncate(half.len() / 2);
                    let frame = Frame::message(half, OpCode::Data(Data::Text), false);
                    if timeout(limit, socket.send(Message::Frame(frame))).await.is_err() {
                        tracing::debug!(connection = self.number, "not even half a message was taken");
                    }
                    return Some(End::Abrupt);
                }
            };
            let sent = tokio::select! {
                biased;
                sent = timeout(limit, send(socket, text, fragment)) => sent.is_ok_and(|sent| sent.is_ok()),
                // Only an abrupt end may interrupt a message.
                () = abrupt(self.command.clone()) => {
                    self.shared.ledger.record(self.number, &events, false);
                    return Some(End::Abrupt);
                }
            };
            self.shared.ledger.record(self.number, &events, sent);
            if !sent {
                return Some(End::Abrupt);
            }
            self.count(&events);
        }
        let subscribed = session.greeks_subscribed();
        let conflated = session.take_conflated();
        if subscribed != self.subscribed || conflated > 0 {
            let before = std::mem::replace(&mut self.subscribed, subscribed);
            self.shared.counters.update(|stats| {
                stats.greeks_subscribed = stats.greeks_subscribed + subscribed - before;
                stats.conflated += conflated;
            });
        }
        None
    }

    fn count(&mut self, events: &[Event]) {
        let greeks = events.iter().filter(|event| matches!(event.body, Body::Greeks(_))).count() as u64;
        let first = greeks > 0 && !self.streaming;
        self.streaming |= first;
        self.shared.counters.update(|stats| {
            stats.messages_sent += 1;
            stats.greeks_sent += greeks;
            stats.underlying_sent += events.len() as u64 - greeks;
            stats.streaming += u64::from(first);
        });
    }

    /// Everything is written; the close follows, and then the client's own, so that it has read all that came before.
    async fn close(&self, socket: &mut Socket, close: Close) {
        let frame = CloseFrame { code: CloseCode::from(close.code), reason: close.reason.into() };
        let orderly = async {
            socket.send(Message::Close(Some(frame))).await?;
            while let Some(message) = socket.next().await {
                message?;
            }
            Ok::<(), Error>(())
        };
        match timeout(CLOSE_WAIT, orderly).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(connection = self.number, %error, "close was not answered"),
            Err(_) => tracing::debug!(connection = self.number, "close was not answered in time"),
        }
    }
}

/// One message, in one frame or in several.
async fn send(socket: &mut Socket, text: String, fragment: Option<NonZeroU32>) -> Result<(), Error> {
    let size = fragment.map_or(usize::MAX, |bytes| bytes.get() as usize);
    if text.len() <= size {
        return socket.send(Message::text(text)).await;
    }
    let last = text.len().div_ceil(size) - 1;
    for (place, part) in text.as_bytes().chunks(size).enumerate() {
        let kind = if place == 0 { Data::Text } else { Data::Continue };
        let frame = Frame::message(part.to_vec(), OpCode::Data(kind), place == last);
        socket.feed(Message::Frame(frame)).await?;
    }
    socket.flush().await
}

/// Takes what else has already arrived, so that a burst becomes one message.
fn drain(session: &mut Session, events: &mut Receiver<Arc<[Event]>>) {
    for _ in 0..16 {
        match events.try_recv() {
            Ok(batch) => session.on_events(&batch),
            Err(TryRecvError::Lagged(_)) => session.on_overrun(),
            Err(TryRecvError::Empty | TryRecvError::Closed) => return,
        }
    }
}

/// Resolves on the command to break off; any other has to wait until the message is written.
async fn abrupt(mut command: watch::Receiver<Option<ConnectionCommand>>) {
    if command.wait_for(|command| *command == Some(ConnectionCommand::Abrupt)).await.is_err() {
        std::future::pending().await
    }
}
