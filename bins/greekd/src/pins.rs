//! The file that keeps which certificate of a gateway is trusted.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use ibkr_stream::tls::{Fingerprint, Peer, PinStore};

/// One pin: a file of one line below the data directory.
#[derive(Clone, Debug)]
pub(crate) struct PinFile {
    directory: PathBuf,
    name: String,
}

impl PinFile {
    pub(crate) fn new(data_dir: &Path, peer: &Peer) -> Self {
        Self { directory: data_dir.join("pins"), name: format!("{}.sha256", peer.file_name()) }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.join(&self.name)
    }
}

impl PinStore for PinFile {
    fn load(&self) -> io::Result<Option<Fingerprint>> {
        match fs::read_to_string(self.path()) {
            Ok(text) => text.parse().map(Some).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn store(&self, first: &Fingerprint) -> io::Result<()> {
        make_private_directory(&self.directory)?;
        let draft = self.directory.join(format!(".{}.{}", self.name, std::process::id()));
        let written = write_private_file(&draft, first);
        // A link appears with its whole content, and not in the place of another one.
        let linked = written.and_then(|()| fs::hard_link(&draft, self.path()));
        if let Err(error) = fs::remove_file(&draft) {
            tracing::debug!(%error, file = %draft.display(), "a draft of a pin stays behind");
        }
        linked
    }

    fn remedy(&self) -> String {
        format!("delete {}", self.path().display())
    }
}

fn make_private_directory(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(path)
}

fn write_private_file(path: &Path, pin: &Fingerprint) -> io::Result<()> {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file: File = options.write(true).create(true).truncate(true).open(path)?;
    writeln!(file, "{pin}")?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const ONE: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    const TWO: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn the_first_pin_stays() {
        let directory = tempfile::tempdir().unwrap();
        // Neither the data directory nor what is in it is there yet.
        let data = directory.path().join("data");
        let pin = PinFile::new(&data, &Peer::of("https://localhost:5000/v1/api").unwrap());
        assert_eq!(pin.load().unwrap(), None);
        let one: Fingerprint = ONE.parse().unwrap();
        pin.store(&one).unwrap();
        assert_eq!(pin.load().unwrap(), Some(one));
        assert_eq!(pin.store(&TWO.parse().unwrap()).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(pin.load().unwrap(), Some(one));

        let file = data.join("pins/localhost_5000.sha256");
        assert_eq!(pin.remedy(), format!("delete {}", file.display()));
        assert_eq!((mode(&data), mode(&data.join("pins")), mode(&file)), (0o700, 0o700, 0o600));
        assert_eq!(fs::read_dir(data.join("pins")).unwrap().count(), 1, "a draft was left");
        fs::remove_file(file).unwrap();
        pin.store(&TWO.parse().unwrap()).unwrap();
    }

    #[test]
    fn gateways_have_pins_of_their_own() {
        let directory = tempfile::tempdir().unwrap();
        let pin = |url| PinFile::new(directory.path(), &Peer::of(url).unwrap());
        pin("https://localhost:5000").store(&ONE.parse().unwrap()).unwrap();
        assert_eq!(pin("https://localhost:5001").load().unwrap(), None);
        assert_eq!(pin("https://127.0.0.1:5000").load().unwrap(), None);
        assert!(pin("https://LOCALHOST:5000/v1/api").load().unwrap().is_some());
    }

    #[test]
    fn what_is_no_pin_is_not_taken_for_none() {
        let directory = tempfile::tempdir().unwrap();
        let pin = PinFile::new(directory.path(), &Peer::of("https://localhost:5000").unwrap());
        fs::create_dir(directory.path().join("pins")).unwrap();
        for text in ["", "ba78", "\n"] {
            fs::write(pin.path(), text).unwrap();
            assert_eq!(pin.load().unwrap_err().kind(), io::ErrorKind::InvalidData, "{text:?}");
        }
        fs::remove_file(pin.path()).unwrap();
        fs::create_dir(pin.path()).unwrap();
        assert!(pin.load().is_err());
    }
}
