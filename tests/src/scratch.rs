//! Temporary directories.

use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

/// A temporary directory that the account which runs PostgreSQL can pass through, should the tests run as root.
///
/// # Panics
/// When it cannot be made.
pub fn scratch() -> TempDir {
    let permissions = std::fs::Permissions::from_mode(0o711);
    tempfile::Builder::new().prefix("greekd-").permissions(permissions).tempdir().expect("a temporary directory")
}
