//! Named points on the way of a record at which a test may end the process or let the disk fail. There is nothing of this
//! without the feature `failpoints`.

/// The points, in the order in which a record meets them. Each ends the process when it is set to `return` (`2*off->return`:
/// at the third time). At those `before_` something that can fail, `return(error)` lets it fail instead.
#[cfg(feature = "failpoints")]
pub const FAILPOINTS: &[&str] = &[
    "journal.recover",
    "journal.before_create",
    "journal.before_rename",
    "journal.before_dirsync",
    "journal.after_dirsync",
    "journal.before_opening",
    "journal.before_write",
    "journal.after_write",
    "journal.before_sync",
    "journal.after_sync",
    "journal.give_up",
    "journal.before_unlink",
    "journal.after_unlink",
];

/// A point at which nothing but the process can fail.
#[cfg(feature = "failpoints")]
macro_rules! failpoint {
    ($name:literal) => {
        // What follows is reached only when nothing is set for the point.
        let _: Option<()> = fail::eval($name, |_| std::process::abort());
    };
}

/// A point before a call that can fail: `Err` when the test wants it to.
#[cfg(feature = "failpoints")]
macro_rules! failpoint_io {
    ($name:literal) => {
        match fail::eval($name, |error| match error {
            None => std::process::abort(),
            Some(_) => std::io::Error::from(rustix::io::Errno::IO),
        }) {
            None => Ok(()),
            Some(error) => Err(error),
        }
    };
}

#[cfg(not(feature = "failpoints"))]
macro_rules! failpoint {
    ($name:literal) => {};
}

#[cfg(not(feature = "failpoints"))]
macro_rules! failpoint_io {
    ($name:literal) => {
        Ok::<(), std::io::Error>(())
    };
}

pub(crate) use {failpoint, failpoint_io};

#[cfg(all(test, feature = "failpoints"))]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::FAILPOINTS;

    /// A point that is in the list and not in the code would pass for one that nothing reaches.
    #[test]
    fn the_list_names_the_points_of_the_sources() {
        let mut found = BTreeSet::new();
        for file in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap() {
            let source = std::fs::read_to_string(file.unwrap().path()).unwrap();
            for call in ["failpoint!(\"", "failpoint_io!(\""] {
                let names = source.split(call).skip(1).filter_map(|rest| rest.split_once('"'));
                found.extend(names.map(|(name, _)| name.to_owned()).filter(|name| name.starts_with("journal.")));
            }
        }
        assert_eq!(found, FAILPOINTS.iter().map(|&name| name.to_owned()).collect());
    }
}
