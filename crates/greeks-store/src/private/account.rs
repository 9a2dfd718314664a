//! The account that runs the server. PostgreSQL refuses root, so root needs another one.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::PrivateError;

/// The accounts tried when root names none.
const DEFAULTS: [&str; 2] = ["postgres", "nobody"];

/// An account of the system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) name: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// The account to change to, `None` where the server runs as ourselves.
pub(super) fn choose(run_as: Option<&str>, cluster: &Path) -> Result<Option<Account>, PrivateError> {
    let euid = rustix::process::geteuid().as_raw();
    let owner = match fs::symlink_metadata(cluster) {
        Ok(found) => Some(found.uid()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(PrivateError::io("look at", cluster)(error)),
    };
    if euid != 0 {
        return match owner {
            Some(owner) if owner != euid => Err(PrivateError::WrongOwner { dir: cluster.to_owned(), owner, euid }),
            _ => Ok(None),
        };
    }
    let passwd = Path::new("/etc/passwd");
    let accounts = parse(&fs::read_to_string(passwd).map_err(PrivateError::io("read", passwd))?);
    select(&accounts, run_as, owner).map(Some)
}

/// The first directory on the way to `dir` that `account` may not enter, by the mode bits.
pub(super) fn barrier(account: &Account, dir: &Path) -> Option<PathBuf> {
    let mut way: Vec<&Path> = dir.ancestors().collect();
    way.reverse();
    way.into_iter().find(|step| !may_enter(account, step)).map(Path::to_owned)
}

fn may_enter(account: &Account, dir: &Path) -> bool {
    let Ok(found) = fs::metadata(dir) else { return true };
    let bit = match () {
        () if found.uid() == account.uid => 0o100,
        () if found.gid() == account.gid => 0o010,
        () => 0o001,
    };
    found.permissions().mode() & bit != 0
}

fn select(accounts: &[Account], run_as: Option<&str>, owner: Option<u32>) -> Result<Account, PrivateError> {
    let named = |name: &str| accounts.iter().find(|account| account.name == name && account.uid != 0).cloned();
    match (owner, run_as) {
        // A server started by another uid than the owner would refuse the files.
        (Some(owner), _) if owner != 0 => accounts
            .iter()
            .find(|account| account.uid == owner)
            .cloned()
            .ok_or_else(|| PrivateError::NoAccount { name: format!("with uid {owner}") }),
        (_, Some(name)) => named(name).ok_or_else(|| PrivateError::NoAccount { name: name.to_owned() }),
        (_, None) => {
            DEFAULTS.into_iter().find_map(named).ok_or_else(|| PrivateError::NoAccount { name: DEFAULTS.join(" or ") })
        }
    }
}

/// Lines of passwd(5): name:password:uid:gid:..
fn parse(passwd: &str) -> Vec<Account> {
    passwd
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?.to_owned();
            let uid = fields.nth(1)?.parse().ok()?;
            let gid = fields.next()?.parse().ok()?;
            Some(Account { name, uid, gid })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\nbroken\npostgres:x:101:104:,,,:/var/lib/postgresql:/bin/sh\n\
                          nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\nbad:x:one:2::/:/bin/sh\n";

    fn uid(run_as: Option<&str>, owner: Option<u32>) -> Option<u32> {
        select(&parse(PASSWD), run_as, owner).ok().map(|account| account.uid)
    }

    #[test]
    fn owner_wins_over_the_name_and_the_name_over_the_default() {
        assert_eq!(uid(None, None), Some(101));
        assert_eq!(uid(Some("nobody"), None), Some(65534));
        assert_eq!(uid(Some("nobody"), Some(101)), Some(101));
        assert_eq!(uid(None, Some(0)), Some(101), "a directory of root is handed over");
    }

    #[test]
    fn root_and_unknown_accounts_are_refused() {
        assert_eq!(uid(Some("root"), None), None);
        assert_eq!(uid(Some("bad"), None), None);
        assert_eq!(uid(None, Some(4242)), None);
        let only_root = parse("root:x:0:0:::\n");
        assert!(select(&only_root, None, None).is_err());
    }

    #[test]
    fn falls_back_to_nobody() {
        let accounts = parse("root:x:0:0:::\nnobody:x:65534:65534:::\n");
        assert_eq!(select(&accounts, None, None).unwrap().name, "nobody");
    }

    #[test]
    fn finds_the_directory_that_bars_the_way() {
        let dir = tempfile::tempdir().unwrap();
        let closed = dir.path().join("closed");
        let inner = closed.join("inner");
        fs::create_dir_all(&inner).unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o711)).unwrap();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
        let stranger = Account { name: "stranger".into(), uid: 4_000_000, gid: 4_000_000 };
        assert_eq!(barrier(&stranger, &inner), Some(closed.clone()));
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o711)).unwrap();
        assert_eq!(barrier(&stranger, &inner), None);
    }
}
