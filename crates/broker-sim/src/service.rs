//! What both doubles are made of: ports, connections, and tasks that end in good order.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::SimError;

/// For every task to end after [`Tasks::shutdown`].
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(10);

/// Before the next try where the machine refuses a connection: what is open has time to close.
const PAUSE: Duration = Duration::from_millis(50);

/// Takes a port; where it is.
pub(crate) async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), SimError> {
    let refuse = |source| SimError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(refuse)?;
    let bound = listener.local_addr().map_err(refuse)?;
    Ok((listener, bound))
}

/// The tasks of a double. Dropping it aborts them.
pub(crate) struct Tasks {
    set: JoinSet<()>,
    token: CancellationToken,
    stop: DropGuard,
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tasks").field("running", &self.set.len()).finish_non_exhaustive()
    }
}

impl Tasks {
    pub(crate) fn new() -> Self {
        let token = CancellationToken::new();
        Self { set: JoinSet::new(), stop: token.clone().drop_guard(), token }
    }

    /// Runs what `task` makes of the token that tells it to end.
    pub(crate) fn spawn<F: Future<Output = ()> + Send + 'static>(&mut self, task: impl FnOnce(CancellationToken) -> F) {
        self.set.spawn(task(self.token.clone()));
    }

    /// Tells every task to end and waits for it, at most ten seconds.
    ///
    /// # Cancel safety
    /// When dropped, what still runs is aborted.
    pub(crate) async fn shutdown(mut self) {
        drop(self.stop);
        let ended = async { while self.set.join_next().await.is_some() {} };
        if timeout(SHUTDOWN_LIMIT, ended).await.is_err() {
            tracing::warn!("the double did not end in time: its tasks are aborted");
            self.set.shutdown().await;
        }
    }
}

/// Accepts connections until `stop` and serves each, at most `most` at a time; then waits until all of them have ended.
/// They are numbered from one on.
pub(crate) async fn accept<F: Future<Output = ()> + Send + 'static>(
    listener: TcpListener,
    most: usize,
    stop: CancellationToken,
    serve: impl Fn(TcpStream, u64) -> F,
) {
    let mut connections = JoinSet::new();
    let mut number = 0;
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a connection of the double failed");
                }
            }
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if connections.len() < most => {
                    number += 1;
                    connections.spawn(serve(stream, number));
                }
                Ok((_, client)) => tracing::warn!(%client, most, "too many connections"),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept");
                    sleep(PAUSE).await;
                }
            }
        }
    }
    while connections.join_next().await.is_some() {}
}
