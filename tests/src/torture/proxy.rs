//! A door between greekd and PostgreSQL that cuts connections where it hurts most.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::scratch::scratch;

const SOCKET: &str = ".s.PGSQL.5432";
/// What the client sends to end a transaction, and what stands before it in the message.
const COMMIT: &[u8] = b"COMMIT\0";
const HEAD: usize = 5;

/// Where a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The COMMIT does not reach the server.
    BeforeCommit,
    /// The server has committed and its answer does not arrive.
    AfterCommit,
    /// Half of what was sent with the rows arrives.
    MidCopy,
}

impl Cut {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::BeforeCommit, Self::AfterCommit, Self::MidCopy];

    /// For counting.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BeforeCommit => "cut before COMMIT",
            Self::AfterCommit => "cut after COMMIT",
            Self::MidCopy => "cut among the rows",
        }
    }
}

/// What happens to what goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Nothing.
    Pass,
    /// Every so many transactions a cut.
    Cut(Cut, u32),
}

/// A directory with a socket that leads to a server.
#[derive(Debug)]
pub struct Proxy {
    dir: TempDir,
    shared: Arc<Mutex<Shared>>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    rule: Rule,
    commits: u32,
    cuts: Vec<Cut>,
}

impl Proxy {
    /// Opens a door to the server whose socket is in `server`.
    ///
    /// # Errors
    /// When there is no room for a socket.
    pub fn start(server: &Path) -> io::Result<Self> {
        let dir = scratch();
        let listener = UnixListener::bind(dir.path().join(SOCKET))?;
        let target = server.join(SOCKET);
        let shared = Arc::new(Mutex::new(Shared { rule: Rule::Pass, commits: 0, cuts: Vec::new() }));
        let task = tokio::spawn(accept(listener, target, Arc::clone(&shared)));
        Ok(Self { dir, shared, task })
    }

    /// The host in a connection string.
    pub fn host(&self) -> &Path {
        self.dir.path()
    }

    /// Changes what happens from now on; tells the cuts made since the last change.
    pub fn set(&self, rule: Rule) -> Vec<Cut> {
        let mut shared = lock(&self.shared);
        (shared.rule, shared.commits) = (rule, 0);
        std::mem::take(&mut shared.cuts)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: UnixListener, target: PathBuf, shared: Arc<Mutex<Shared>>) {
    // Ends with this task.
    let mut connections = JoinSet::new();
    while let Ok((near, _)) = listener.accept().await {
        let (target, shared) = (target.clone(), Arc::clone(&shared));
        connections.spawn(async move {
            // However a connection ends, both its sides are closed.
            drop(carry(near, &target, &shared).await);
        });
        while connections.try_join_next().is_some() {}
    }
}

/// Carries bytes both ways until one side ends or a cut is due.
async fn carry(mut near: UnixStream, target: &Path, shared: &Mutex<Shared>) -> io::Result<()> {
    let mut far = UnixStream::connect(target).await?;
    let (mut up, mut down) = (vec![0; 1 << 18], vec![0; 1 << 16]);
    loop {
        tokio::select! {
            read = near.read(&mut up) => {
                let sent = up.get(..read?).unwrap_or_default();
                if sent.is_empty() {
                    return Ok(());
                }
                match due(sent, shared) {
                    None => far.write_all(sent).await?,
                    Some((cut, at)) => return make(cut, at, sent, &mut far).await,
                }
            }
            read = far.read(&mut down) => {
                let answer = down.get(..read?).unwrap_or_default();
                if answer.is_empty() {
                    return Ok(());
                }
                near.write_all(answer).await?;
            }
        }
    }
}

/// The cut to be made in what is sent, and where its COMMIT begins. One that is spread over two reads goes unnoticed.
fn due(sent: &[u8], shared: &Mutex<Shared>) -> Option<(Cut, usize)> {
    let at = sent.windows(COMMIT.len()).position(|bytes| bytes == COMMIT)?.checked_sub(HEAD)?;
    let mut shared = lock(shared);
    let Rule::Cut(cut, every) = shared.rule else { return None };
    shared.commits += 1;
    if !shared.commits.is_multiple_of(every) {
        return None;
    }
    shared.cuts.push(cut);
    Some((cut, at))
}

async fn make(cut: Cut, at: usize, sent: &[u8], far: &mut UnixStream) -> io::Result<()> {
    match cut {
        Cut::BeforeCommit => far.write_all(sent.get(..at).unwrap_or_default()).await,
        Cut::MidCopy => far.write_all(sent.get(..at / 2).unwrap_or_default()).await,
        Cut::AfterCommit => {
            far.write_all(sent).await?;
            let mut answer = Vec::new();
            while !answer.windows(COMMIT.len()).any(|bytes| bytes == COMMIT) {
                if far.read_buf(&mut answer).await? == 0 {
                    break;
                }
            }
            Ok(())
        }
    }
}
