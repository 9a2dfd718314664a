//! What can go wrong in a double.

use std::net::SocketAddr;
use std::path::PathBuf;

/// A double could not start or could not do what a test asked of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SimError {
    /// The address is taken or not ours.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The chain file cannot be opened.
    #[error("cannot read the chain {}", path.display())]
    ChainFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: csv::Error,
    },
    /// The chain file lacks a column that the replay needs.
    #[error("the chain {} has no column {column:?}", path.display())]
    ChainColumn {
        /// The file.
        path: PathBuf,
        /// The column's name.
        column: &'static str,
    },
    /// A row of the chain makes no sense.
    #[error("the chain {}, line {line}: {reason}", path.display())]
    ChainRow {
        /// The file.
        path: PathBuf,
        /// Counted from 1, the header included.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// A setting is out of range.
    #[error("{0}")]
    Config(String),
    /// The market has no such account, contract or position.
    #[error("the simulated market does not know {0}")]
    Unknown(String),
    /// The double has been shut down.
    #[error("the double has stopped")]
    Stopped,
    /// What a test waited for did not happen in time.
    #[error("waited {0:?} in vain")]
    Timeout(std::time::Duration),
}
