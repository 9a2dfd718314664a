//! Named points at which a test can end the process, to see that nothing is lost or doubled whenever that happens.
//!
//! With the feature `failpoints`, `return` kills the process there as `kill -9` would, `2*off->return` at the third time,
//! `sleep(ms)` holds it up and `panic` panics. Without the feature there is nothing.

/// The points, in the order in which a record passes them.
#[cfg(feature = "failpoints")]
pub const FAILPOINTS: &[&str] = &[
    "series.before_insert",
    "partition.before_create",
    "db.before_begin",
    "db.after_mark",
    "db.mixed.after_begin",
    "db.mixed.after_extras",
    "db.mid_copy",
    "db.after_copy",
    "db.mixed.before_commit",
    "quarantine.before_commit",
    "db.after_commit",
    "db.before_release",
    "db.after_release",
];

#[cfg(feature = "failpoints")]
macro_rules! fail_point {
    ($name:literal) => {
        ::fail::eval($name, |_| -> () { ::std::process::abort() })
    };
}

#[cfg(not(feature = "failpoints"))]
macro_rules! fail_point {
    ($name:literal) => {};
}

/// Whether something is to happen at a point that the usual way does not pass.
#[cfg(feature = "failpoints")]
pub(crate) fn is_set(name: &str) -> bool {
    ::fail::list().iter().any(|(set, _)| set == name)
}

#[cfg(not(feature = "failpoints"))]
pub(crate) const fn is_set(_: &str) -> bool {
    false
}

#[cfg(all(test, feature = "failpoints"))]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::FAILPOINTS;

    fn points(dir: &Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                points(&path, found);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            // This very line is no point.
            let calls = text.split("fail_point!(\"").skip(1).filter_map(|rest| Some(rest.split_once("\");")?.0));
            found.extend(calls.filter(|name| !name.contains('\n')).map(str::to_owned));
        }
    }

    #[test]
    fn the_list_names_every_point_of_the_sources() {
        let mut found = BTreeSet::new();
        points(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
        let listed: BTreeSet<String> = FAILPOINTS.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(listed.len(), FAILPOINTS.len());
        assert_eq!(found, listed);
    }
}
