//! A PostgreSQL server of our own, for those who have configured none.
//!
//! Everything lives under one data directory:
//!
//! ```text
//! DATA_DIR/pg.lock   flock held while a server handle exists; holds the pid of the holder
//! DATA_DIR/pg.log    what the server says; moved to pg.log.1 at a start once it is large
//! DATA_DIR/pg/       0700, owned by the account that runs the server
//!   data/            the cluster (made under another name, then renamed: a crash leaves no half cluster)
//!   run/             the socket directory
//! ```
//!
//! What keeps it safe:
//! * it listens on a unix socket in a 0700 directory only, so `trust` is a file permission;
//! * `fsync`, `full_page_writes`, `synchronous_commit` and checksums are asked for and then read back: a server that
//!   would lose a committed row is never handed out;
//! * it dies with its parent (`setpriv --pdeathsig INT`, where util-linux is there), cleanly; what a killed parent
//!   leaves behind all the same is stopped at the next start, before a second server could touch the files;
//! * as root it runs under another account, because PostgreSQL refuses root.

mod account;
mod binaries;
mod cluster;
mod config;
mod error;
mod layout;
mod leftovers;
mod process;
mod running;
mod server;

pub use config::PrivateConfig;
pub use error::PrivateError;
pub use layout::make_data_dir;
pub use running::running_elsewhere;
pub use server::PrivateServer;
