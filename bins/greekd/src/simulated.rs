//! Keeps simulated rows and real ones apart: a private database holds either, never both.

use std::path::Path;

use greeks_store::private::make_data_dir;

use crate::exit::{Code, Failure};
use crate::settings::{DatabaseChoice, Settings};

/// Stands in a data directory whose rows are invented.
const MARK: &str = "SIMULATED";

/// Refuses a data directory that holds the other kind of rows; marks a new one that is to hold simulated ones.
pub(crate) fn keep_apart(settings: &Settings, simulated: bool) -> Result<(), Failure> {
    let directory = &settings.data_dir;
    // Its journal may hold rows of a demo, wherever those of this run are to go.
    if matches!(settings.database, DatabaseChoice::External(..)) && !is_simulated(directory) {
        return Ok(());
    }
    let remedy = "choose another one with --data-dir";
    // Rows may wait for another database in the journal.
    let has_rows = has_database(directory) || crate::journal::directory(directory).is_dir();
    match (has_rows, is_simulated(directory), simulated) {
        (_, true, false) => {
            let what = format!("{} holds rows of a demo, which must not mix with real ones", directory.display());
            Err(Failure::new(Code::Config, what).remedy(remedy))
        }
        (true, false, true) => {
            let what = format!("{} holds real rows, which must not mix with those of a demo", directory.display());
            Err(Failure::new(Code::Config, what).remedy(remedy))
        }
        (false, false, true) => mark(directory),
        (_, true, true) | (_, false, false) => Ok(()),
    }
}

/// Whether this directory is that of a demo.
pub(crate) fn is_simulated(directory: &Path) -> bool {
    directory.join(MARK).is_file()
}

/// Whether a private database was ever made in this directory.
pub(crate) fn has_database(directory: &Path) -> bool {
    directory.join("pg").join("data").is_dir()
}

fn mark(directory: &Path) -> Result<(), Failure> {
    let text = "The rows in this directory are simulated: greekd demo made them.\n";
    make_data_dir(directory).and_then(|()| std::fs::write(directory.join(MARK), text)).map_err(|error| {
        Failure::new(Code::Disk, format!("the data directory {} cannot be made: {error}", directory.display()))
            .remedy("give this account the right to write there, or choose another one with --data-dir")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Overrides, is_root};

    fn settings(directory: &Path) -> Settings {
        let overrides = Overrides { data_dir: Some(directory.into()), ..Overrides::default() };
        Settings::for_demo(&overrides).unwrap()
    }

    #[test]
    fn a_directory_holds_one_kind_of_rows_for_ever() {
        let directory = tempfile::tempdir().unwrap();
        let demo = settings(&directory.path().join("new/demo"));
        keep_apart(&demo, true).unwrap();
        #[cfg(unix)]
        for made in [demo.data_dir.as_path(), demo.data_dir.parent().unwrap()] {
            let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(made).unwrap().permissions());
            assert_eq!(mode & 0o777, if is_root() { 0o711 } else { 0o700 }, "{}", made.display());
        }
        std::fs::create_dir_all(demo.data_dir.join("pg/data")).unwrap();
        keep_apart(&demo, true).unwrap();
        assert_eq!(keep_apart(&demo, false).unwrap_err().code(), Code::Config);

        let real = settings(&directory.path().join("real"));
        keep_apart(&real, false).unwrap();
        std::fs::create_dir_all(real.data_dir.join("pg/data")).unwrap();
        keep_apart(&real, false).unwrap();
        assert_eq!(keep_apart(&real, true).unwrap_err().code(), Code::Config);
    }
}
