//! Accepts connections, serves REST on them, and hands those that upgrade to the socket half.

use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::wire::{Bytes, Wire};
use crate::ibkr::socket;
use crate::ibkr::state::{Registered, Shared};

/// For a TLS handshake.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// Connections open at a time; more are dropped.
const MAX_CONNECTIONS: usize = 500;

/// Between two tries to take the port again, or to accept where the machine refuses.
const PAUSE: Duration = Duration::from_millis(20);

/// What a request knows of the connection it came by.
#[derive(Clone)]
pub(crate) struct Connection {
    pub(crate) number: u64,
    upgrade: Arc<Mutex<Option<socket::Upgrade>>>,
}

impl Connection {
    /// The answer that is being given makes a websocket of the connection.
    pub(crate) fn upgrade(&self, on: OnUpgrade, cookie: socket::Cookie) {
        *self.upgrade.lock().unwrap_or_else(PoisonError::into_inner) = Some(socket::Upgrade { on, cookie });
    }
}

/// Accepts until `stop`; closes and reopens the port as [`Shared::up`] says.
pub(crate) async fn listen(first: TcpListener, address: SocketAddr, shared: Arc<Shared>, stop: CancellationToken) {
    let router = crate::ibkr::rest::router(Arc::clone(&shared));
    let mut up = shared.up.subscribe();
    let mut listener = Some(first);
    let mut connections = JoinSet::new();
    let mut number = 0;
    loop {
        let wanted = *up.borrow_and_update();
        if wanted && listener.is_none() {
            listener = reopen(address).await;
        } else if !wanted {
            listener = None;
        }
        shared.open.send_replace(listener.is_some());
        let retry = wanted && listener.is_none();
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            changed = up.changed() => if changed.is_err() { break },
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a connection of the double failed");
                }
            }
            () = sleep(PAUSE), if retry => {}
            accepted = accept(listener.as_ref()) => match accepted {
                Ok(stream) if connections.len() < MAX_CONNECTIONS => {
                    number += 1;
                    let entry = Entry::new(number, Arc::clone(&shared));
                    connections.spawn(entry.serve(stream, router.clone(), stop.clone()));
                }
                Ok(_) => tracing::warn!("too many connections"),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept");
                    sleep(PAUSE).await;
                }
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn accept(listener: Option<&TcpListener>) -> std::io::Result<TcpStream> {
    match listener {
        Some(listener) => listener.accept().await.map(|(stream, _)| stream),
        None => std::future::pending().await,
    }
}

async fn reopen(address: SocketAddr) -> Option<TcpListener> {
    match TcpListener::bind(address).await {
        Ok(listener) => Some(listener),
        Err(error) => {
            tracing::debug!(%error, "the port is not free yet");
            None
        }
    }
}

/// A connection, registered while it lives, also when its task is aborted.
struct Entry {
    number: u64,
    shared: Arc<Shared>,
    abrupt: Arc<AtomicBool>,
    kill: CancellationToken,
    ended: CancellationToken,
}

impl Entry {
    fn new(number: u64, shared: Arc<Shared>) -> Self {
        let entry = Self {
            number,
            shared,
            abrupt: Arc::default(),
            kill: CancellationToken::new(),
            ended: CancellationToken::new(),
        };
        let (abrupt, kill, ended) = (Arc::clone(&entry.abrupt), entry.kill.clone(), entry.ended.clone());
        entry.shared.connections().insert(number, Registered { abrupt, kill, ended, socket: None });
        entry
    }

    async fn serve(self, stream: TcpStream, router: Router, stop: CancellationToken) {
        tokio::select! {
            biased;
            () = self.kill.cancelled() => {}
            () = talk(stream, Arc::clone(&self.abrupt), self.number, router, &self.shared, &stop) => {}
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.shared.connections().remove(&self.number);
        self.ended.cancel();
    }
}

async fn talk(
    stream: TcpStream,
    abrupt: Arc<AtomicBool>,
    number: u64,
    router: Router,
    shared: &Arc<Shared>,
    stop: &CancellationToken,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    let delay = shared.faults().socket.slow_accept;
    let bytes = tokio::select! {
        biased;
        () = stop.cancelled() => return,
        bytes = secured(stream, shared, delay) => bytes,
    };
    let Some(bytes) = bytes else { return };
    let connection = Connection { number, upgrade: Arc::default() };
    let upgrade = Arc::clone(&connection.upgrade);
    let inner = TowerToHyperService::new(router);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(connection.clone());
        inner.call(request)
    });
    let io = TokioIo::new(Wire { bytes, abrupt });
    let served = hyper::server::conn::http1::Builder::new().serve_connection(io, service).with_upgrades();
    tokio::pin!(served);
    let mut leaving = false;
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled(), if !leaving => {
                leaving = true;
                served.as_mut().graceful_shutdown();
            }
            result = served.as_mut() => {
                if let Err(error) = result {
                    tracing::debug!(number, %error, "a connection broke");
                }
                break;
            }
        }
    }
    let upgrade = upgrade.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(upgrade) = upgrade {
        socket::serve(upgrade, number, Arc::clone(shared), stop.clone()).await;
    }
}

async fn secured(stream: TcpStream, shared: &Shared, delay: Duration) -> Option<Bytes> {
    sleep(delay).await;
    let Some(certificate) = shared.certificate() else { return Some(Bytes::Plain(stream)) };
    match timeout(HANDSHAKE_LIMIT, TlsAcceptor::from(certificate.config).accept(stream)).await {
        Ok(Ok(stream)) => Some(Bytes::Tls(Box::new(stream))),
        Ok(Err(error)) => {
            tracing::debug!(%error, "no TLS");
            None
        }
        Err(_) => None,
    }
}
