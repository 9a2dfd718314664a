//! The listener, its connections, and their end.

use std::collections::HashMap;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use secrecy::SecretString;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::api::{Api, Shared};
use crate::connection::{Activity, Tracked, Watched};
use crate::guard::{self, Guard};
use crate::limits::Limits;
use crate::routes;

/// Connections that wait for the server to accept them.
const BACKLOG: u32 = 1_024;

/// After an accept that failed: the machine is out of something.
const PAUSE: Duration = Duration::from_millis(50);

/// The longest head of a request; longer ones are answered with 431.
const HEAD_BYTES: usize = 32 * 1024;

/// For those beyond the limit. Not a byte more is read of them.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\nretry-after: 5\r\n\
    connection: close\r\ncontent-length: 106\r\n\r\n\
    {\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,\"detail\":\"too many connections are open\"}";

/// Where to listen and whom to serve.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerConfig {
    /// The address; port 0 takes a free one.
    pub listen: SocketAddr,
    /// What clients must show; needed beyond loopback.
    pub token: Option<SecretString>,
    /// Names by which clients may call this server beside `localhost` and its address: `host`, or `host:port`.
    pub hosts: Vec<String>,
    /// How much a client may take.
    pub limits: Limits,
}

impl ServerConfig {
    /// Without a token, with the default limits.
    #[must_use]
    pub fn new(listen: SocketAddr) -> Self {
        Self { listen, token: None, hosts: Vec::new(), limits: Limits::default() }
    }
}

/// The server cannot begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// Another program listens there.
    #[error("another program listens on {address}")]
    Occupied {
        /// The address asked for.
        address: SocketAddr,
    },
    /// Others than this machine could connect and no token is set.
    #[error("listening on {address}, beyond this machine, needs a token")]
    NeedsToken {
        /// The address asked for.
        address: SocketAddr,
    },
    /// The token is too short to keep anyone out.
    #[error("a token has at least {least} characters")]
    WeakToken {
        /// How many it must have.
        least: usize,
    },
    /// A limit cannot work.
    #[error("the limit {limit} must be longer than zero")]
    Limit {
        /// The field of [`Limits`].
        limit: &'static str,
    },
    /// The system refused.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// The fewest characters of a token.
const TOKEN_LEAST: usize = 16;

/// A server that listens and does not serve yet.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    guard: Guard,
    limits: Limits,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("address", &self.address).field("guard", &self.guard).finish_non_exhaustive()
    }
}

impl Server {
    /// Listens. Clients wait until [`Server::run`].
    ///
    /// # Errors
    /// [`ServerError`] when the address cannot be had or is not safe to listen on.
    // Nothing waits here, but a socket needs the runtime.
    #[allow(clippy::unused_async)]
    pub async fn bind(config: ServerConfig) -> Result<Self, ServerError> {
        use secrecy::ExposeSecret;
        let ServerConfig { listen: address, token, hosts, limits } = config;
        match &token {
            None if !address.ip().to_canonical().is_loopback() => return Err(ServerError::NeedsToken { address }),
            Some(token) if token.expose_secret().chars().count() < TOKEN_LEAST => {
                return Err(ServerError::WeakToken { least: TOKEN_LEAST });
            }
            _ => {}
        }
        for (limit, value) in [("tick", limits.tick), ("ping", limits.ping)] {
            if value.is_zero() {
                return Err(ServerError::Limit { limit });
            }
        }
        let listener = listen(address, &limits).map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => ServerError::Occupied { address },
            _ => ServerError::Listen { address, source },
        })?;
        let address = listener.local_addr().map_err(|source| ServerError::Listen { address, source })?;
        Ok(Self { listener, address, guard: Guard::new(&hosts, token.as_ref()), limits })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `until` resolves; then takes no more requests, ends streams, and gives those under way
    /// [`Limits::drain`].
    ///
    /// # Cancel safety
    /// Dropping the future closes all connections at once.
    pub async fn run(self, api: Api, until: impl Future<Output = ()>) {
        let stop = CancellationToken::new();
        let shared = Shared::new(api, self.limits.clone(), stop.clone());
        let house = Arc::new(House {
            router: TowerToHyperService::new(routes::router(Arc::clone(&shared))),
            guard: self.guard,
            limits: self.limits,
            stop: stop.clone(),
            open: Mutex::default(),
        });
        let mut connections = JoinSet::new();
        let (mut until, mut pulse) = (pin!(until), pin!(shared.hub.pulse(&shared.limits)));
        let mut number = 0;
        loop {
            tokio::select! {
                biased;
                () = until.as_mut() => break,
                never = pulse.as_mut() => match never {},
                Some(ended) = connections.join_next() => report(ended),
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => if let Some(entry) = house.enter(number, &stream) {
                        number += 1;
                        connections.spawn(entry.serve(stream));
                    },
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        sleep(PAUSE).await;
                    }
                }
            }
        }
        drop(self.listener);
        stop.cancel();
        let all = async {
            while let Some(ended) = connections.join_next().await {
                report(ended)
            }
        };
        if timeout(house.limits.drain, all).await.is_err() {
            tracing::warn!(connections = connections.len(), "requests were under way for too long and are cut off");
        }
        connections.shutdown().await;
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection failed");
    }
}

fn listen(address: SocketAddr, limits: &Limits) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // On Windows the same option would let a second server take the address.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.set_send_buffer_size(limits.send_buffer)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// What all connections share.
struct House {
    router: TowerToHyperService<axum::Router>,
    guard: Guard,
    limits: Limits,
    stop: CancellationToken,
    open: Mutex<HashMap<u64, Arc<Activity>>>,
}

impl House {
    fn open(&self) -> MutexGuard<'_, HashMap<u64, Arc<Activity>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes room for a connection; `None` when there is none.
    fn enter(self: &Arc<Self>, number: u64, stream: &TcpStream) -> Option<Entry> {
        let mut open = self.open();
        if open.len() >= self.limits.connections {
            let unused = open.iter().filter_map(|(number, activity)| Some((activity.unused_since()?, *number)));
            let Some((_, oldest)) = unused.min() else {
                tracing::debug!("too many connections");
                // The client may be gone already, and then needs no answer.
                stream.try_write(FULL).ok();
                return None;
            };
            if let Some(activity) = open.remove(&oldest) {
                activity.kill.cancel();
            }
        }
        let activity = Arc::new(Activity::new());
        open.insert(number, Arc::clone(&activity));
        Some(Entry { number, activity, house: Arc::clone(self) })
    }
}

/// A connection, registered while it lives, also when its task is aborted.
struct Entry {
    number: u64,
    activity: Arc<Activity>,
    house: Arc<House>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.house.open().remove(&self.number);
    }
}

impl Entry {
    async fn serve(self, stream: TcpStream) {
        let Ok(local) = stream.local_addr() else { return };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
        let io = TokioIo::new(Watched { stream, activity: Arc::clone(&self.activity) });
        let service = service_fn(|request| answer(&self.house, &self.activity, local, request));
        let mut builder = hyper::server::conn::http1::Builder::new();
        // The head's time is kept here, since hyper would count the time between requests as well.
        let mut served = pin!(builder.half_close(false).max_buf_size(HEAD_BYTES).serve_connection(io, service));
        let mut due = pin!(sleep_until(Instant::now()));
        let mut leaving = pin!(self.house.stop.cancelled());
        let mut killed = pin!(self.activity.kill.cancelled());
        let mut told = false;
        poll_fn(|cx| {
            if killed.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            if !told && leaving.as_mut().poll(cx).is_ready() {
                told = true;
                if self.activity.unused_since().is_some() {
                    return Poll::Ready(());
                }
                served.as_mut().graceful_shutdown();
            }
            if let Poll::Ready(ended) = served.as_mut().poll(cx) {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection broke");
                }
                return Poll::Ready(());
            }
            let Some(deadline) = self.activity.deadline(&self.house.limits) else { return Poll::Pending };
            if due.deadline() != deadline {
                due.as_mut().reset(deadline);
            }
            due.as_mut().poll(cx)
        })
        .await;
    }
}

async fn answer(
    house: &House,
    activity: &Arc<Activity>,
    local: SocketAddr,
    request: hyper::Request<Incoming>,
) -> Result<hyper::Response<Tracked>, std::convert::Infallible> {
    activity.busy();
    let (mut parts, body) = request.into_parts();
    let mut response: Response = match house.guard.admit(&parts, local) {
        Err(refusal) => refusal,
        Ok(()) => {
            parts.extensions.insert(Arc::clone(activity));
            house.router.call(hyper::Request::from_parts(parts, Body::new(body))).await?
        }
    };
    guard::harden(&mut response);
    Ok(response.map(|body| Tracked::new(body, Arc::clone(activity))))
}
