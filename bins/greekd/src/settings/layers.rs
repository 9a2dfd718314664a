//! Where settings come from: environment, then `.env`, then `greekd.toml`. (Flags are applied by whoever parsed them.)

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::variables::{AMBIENT, BETA, NOT_YET, OURS, VARIABLES, Variable};
use crate::exit::{Code, Failure};

/// Where a value was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Environment,
    File(PathBuf),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment => f.write_str("the environment"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// Every value that was set, by name, with the place it came from.
#[derive(Default)]
pub(crate) struct Layers {
    values: BTreeMap<&'static str, (String, Origin)>,
    /// By symbol, from `greekd.toml` alone.
    betas: BTreeMap<String, String>,
    /// What a person should be told although it is no error.
    pub(crate) notes: Vec<String>,
}

impl fmt::Debug for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Values can be secrets: names only.
        f.debug_set().entries(self.values.keys()).finish()
    }
}

impl Layers {
    /// Merges the environment with the files `.env` and `greekd.toml` of `directory`, either of which may be missing;
    /// `toml` names another file, which must exist.
    pub(crate) fn load(
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        directory: &Path,
        toml: Option<&Path>,
    ) -> Result<Self, Failure> {
        let mut layers = Self::default();
        layers.add_environment(environment)?;
        layers.add_dotenv(&directory.join(".env"))?;
        let path = toml.map_or_else(|| directory.join("greekd.toml"), Path::to_path_buf);
        layers.add_toml(&path, toml.is_some())?;
        Ok(layers)
    }

    /// The environment alone, and of it only what is neither a broker's nor a database's.
    pub(crate) fn for_demo(environment: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Self, Failure> {
        let wanted = |name: &str| name == "RUST_LOG" || name.starts_with("GREEKD_") || AMBIENT.contains(&name);
        let mut layers = Self::default();
        layers.add_environment(environment.into_iter().filter(|(name, _)| name.to_str().is_some_and(wanted)))?;
        Ok(layers)
    }

    /// How far down the place of a setting stands: what is less beats what is more.
    pub(crate) fn rank(&self, name: &str) -> Option<u8> {
        self.origin(name).map(|origin| match origin {
            Origin::Environment => 0,
            Origin::File(path) if path.extension().is_some_and(|ending| ending == "toml") => 2,
            Origin::File(_) => 1,
        })
    }

    /// The value of a setting; an empty one counts as unset.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|(value, _)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// Where the value of a setting came from.
    pub(crate) fn origin(&self, name: &str) -> Option<&Origin> {
        self.get(name).and_then(|_| self.values.get(name)).map(|(_, origin)| origin)
    }

    /// The value of a setting that has a rule; an error names the setting, the place and the rule.
    pub(crate) fn parse<T>(
        &self,
        name: &str,
        rule: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Failure> {
        let Some(text) = self.get(name) else { return Ok(None) };
        match parse(text) {
            Some(value) => Ok(Some(value)),
            None => {
                let place = self.origin(name).map_or_else(String::new, |origin| format!(" in {origin}"));
                Err(Failure::new(Code::Config, format!("{name}{place} is not valid")).remedy(rule))
            }
        }
    }

    fn add_environment(&mut self, all: impl IntoIterator<Item = (OsString, OsString)>) -> Result<(), Failure> {
        for (name, value) in all {
            let Some(name) = name.to_str() else { continue };
            self.note_without_effect(name, &Origin::Environment);
            let Some(variable) = known(name) else { continue };
            let value = value.into_string().map_err(|_| {
                Failure::new(Code::Config, format!("{name} in the environment is not UTF-8")).remedy("correct it")
            })?;
            self.add(variable, value, &Origin::Environment);
        }
        Ok(())
    }

    fn add_dotenv(&mut self, path: &Path) -> Result<(), Failure> {
        let Some(text) = read(path)? else { return Ok(()) };
        let origin = Origin::File(path.to_path_buf());
        refuse_substitution(&text, path)?;
        let entries = dotenvy::from_read_iter(text.as_bytes());
        let mut holds_secret = false;
        for entry in entries {
            // The error of the parser quotes the line, which may hold a secret.
            let (name, value) = entry.map_err(|_| {
                Failure::new(Code::Config, format!("{} has a line that is not NAME=value", path.display()))
                    .remedy("quote values that hold blanks, quotes or $")
            })?;
            self.note_without_effect(&name, &origin);
            if let Some(variable) = known(&name) {
                holds_secret |= variable.secret && !value.is_empty();
                self.add(variable, value, &origin);
            }
        }
        if holds_secret { refuse_when_others_can_read(path) } else { Ok(()) }
    }

    fn add_toml(&mut self, path: &Path, must_exist: bool) -> Result<(), Failure> {
        let Some(text) = read(path)? else {
            return if must_exist {
                Err(Failure::new(Code::Config, format!("there is no file {}", path.display())))
            } else {
                Ok(())
            };
        };
        let table: toml::Table = toml::from_str(&text).map_err(|error| {
            // Only the message: the rest quotes the line, which may hold a secret.
            Failure::new(Code::Config, format!("{} is not valid TOML: {}", path.display(), error.message()))
        })?;
        let origin = Origin::File(path.to_path_buf());
        let mut holds_secret = false;
        for (key, value) in flatten(&table, "") {
            if let (Some(symbol), Some(beta)) = (key.strip_prefix(BETA), &value) {
                self.betas.insert(symbol.to_owned(), beta.clone());
                continue;
            }
            let variable = VARIABLES.iter().find(|variable| variable.toml == Some(key.as_str()));
            let Some(variable) = variable else {
                return Err(Failure::new(Code::Config, format!("{} has an unknown key {key}", path.display()))
                    .remedy("remove it or correct its spelling"));
            };
            let value = value.ok_or_else(|| {
                Failure::new(Code::Config, format!("{key} in {} is neither text, number nor list", path.display()))
            })?;
            holds_secret |= variable.secret && !value.is_empty();
            self.add(variable, value, &origin);
        }
        if holds_secret { refuse_when_others_can_read(path) } else { Ok(()) }
    }

    /// Betas by symbol, as text.
    pub(crate) fn betas(&self) -> impl Iterator<Item = (&str, &str)> {
        self.betas.iter().map(|(symbol, beta)| (symbol.as_str(), beta.as_str()))
    }

    /// Earlier layers win, unless they leave a value empty: that is no value, as in a compose file's `X: ${X:-}`.
    fn add(&mut self, variable: &Variable, value: String, origin: &Origin) {
        let known = self.values.entry(variable.name).or_insert_with(|| (String::new(), origin.clone()));
        if known.0.is_empty() {
            *known = (value, origin.clone());
        }
    }

    fn note_without_effect(&mut self, name: &str, origin: &Origin) {
        if let Some((_, note)) = NOT_YET.iter().find(|(other, _)| *other == name) {
            self.notes.push(format!("{name} in {origin} has no effect: {note}"));
        } else if OURS.iter().any(|ours| name.starts_with(ours)) && known(name).is_none() {
            self.notes.push(format!("{name} in {origin} has no effect: there is no such setting"));
        }
    }
}

/// A `$` outside single quotes is replaced by the value of a variable, in silence by nothing: a secret would be cut.
fn refuse_substitution(text: &str, path: &Path) -> Result<(), Failure> {
    for line in text.lines() {
        let line = line.trim();
        let Some((name, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) else { continue };
        if value.contains('$') && !value.trim_start().starts_with('\'') {
            let name = name.trim().trim_start_matches("export ").trim();
            return Err(Failure::new(Code::Config, format!("the value of {name} in {} holds a $", path.display()))
                .remedy("put it in single quotes, so that it is taken as it is"));
        }
    }
    Ok(())
}

fn known(name: &str) -> Option<&'static Variable> {
    VARIABLES.iter().find(|variable| variable.name == name)
}

/// The text of a file, without the mark that some editors put before it; `None` where nothing has that name. A directory
/// or a link to nowhere is an error: somebody meant a file to be there.
fn read(path: &Path) -> Result<Option<String>, Failure> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.trim_start_matches('\u{feff}').to_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound && path.symlink_metadata().is_err() => Ok(None),
        Err(error) => Err(unreadable(path, &error)),
    }
}

fn unreadable(path: &Path, error: &dyn fmt::Display) -> Failure {
    Failure::new(Code::Config, format!("{} cannot be read: {error}", path.display()))
}

/// `a.b` names with their values as text; lists become comma lists; `None` for what has no text form.
fn flatten(table: &toml::Table, prefix: &str) -> Vec<(String, Option<String>)> {
    let mut all = Vec::new();
    for (key, value) in table {
        let key = format!("{prefix}{key}");
        match value {
            toml::Value::Table(inner) => all.extend(flatten(inner, &format!("{key}."))),
            toml::Value::Array(items) => {
                let texts: Option<Vec<String>> = items.iter().map(scalar).collect();
                all.push((key, texts.map(|texts| texts.join(","))));
            }
            other => all.push((key, scalar(other))),
        }
    }
    all
}

fn scalar(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Boolean(flag) => Some(flag.to_string()),
        _ => None,
    }
}

#[cfg(unix)]
fn refuse_when_others_can_read(path: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(path).map_err(|error| unreadable(path, &error))?.permissions().mode();
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(Failure::new(Code::Config, format!("{} holds secrets and other accounts can read it", path.display()))
        .remedy(format!("type: chmod 600 {}", path.display())))
}

#[cfg(not(unix))]
fn refuse_when_others_can_read(_: &Path) -> Result<(), Failure> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn directory(files: &[(&str, &str, u32)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, text, mode) in files {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(*mode)).unwrap();
        }
        directory
    }

    fn env(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
    }

    #[test]
    fn environment_beats_dotenv_beats_toml() {
        let directory = directory(&[
            (".env", "GREEKD_DATA_DIR=/b\nGREEKD_SLO_P95=2ms\n", 0o644),
            (
                "greekd.toml",
                "data_dir = '/c'\nslo_p95 = '3ms'\ncommit_rate = 7\n[tastytrade]\naccounts = ['A', 'B']",
                0o644,
            ),
        ]);
        let layers = Layers::load(env(&[("GREEKD_DATA_DIR", "/a")]), directory.path(), None).unwrap();
        assert_eq!(layers.get("GREEKD_DATA_DIR"), Some("/a"));
        assert_eq!(layers.get("GREEKD_SLO_P95"), Some("2ms"));
        assert_eq!(layers.get("GREEKD_COMMIT_RATE"), Some("7"));
        assert_eq!(layers.get("TASTYTRADE_ACCOUNTS"), Some("A,B"));
        assert_eq!(layers.get("DB_HOST"), None);
        assert_eq!(layers.origin("GREEKD_DATA_DIR"), Some(&Origin::Environment));
    }

    #[test]
    fn what_is_left_empty_hides_nothing() {
        let directory = directory(&[(".env", "GREEKD_DATA_DIR=/b\nGREEKD_SLO_P95=\n", 0o644)]);
        let layers = Layers::load(env(&[("GREEKD_DATA_DIR", ""), ("GREEKD_SLO_P95", "")]), directory.path(), None);
        let layers = layers.unwrap();
        assert_eq!(layers.get("GREEKD_DATA_DIR"), Some("/b"));
        assert_eq!(layers.origin("GREEKD_DATA_DIR"), Some(&Origin::File(directory.path().join(".env"))));
        assert_eq!(layers.get("GREEKD_SLO_P95"), None);
    }

    #[test]
    fn a_mark_before_the_text_is_no_part_of_it_and_what_is_no_file_is_told() {
        let marked = directory(&[
            (".env", "\u{feff}GREEKD_DATA_DIR=/b\r\n", 0o644),
            ("greekd.toml", "\u{feff}commit_rate = 7\n", 0o644),
        ]);
        let layers = Layers::load([], marked.path(), None).unwrap();
        assert_eq!((layers.get("GREEKD_DATA_DIR"), layers.get("GREEKD_COMMIT_RATE")), (Some("/b"), Some("7")));
        for name in [".env", "greekd.toml"] {
            let place = directory(&[]);
            assert!(Layers::load([], place.path(), None).is_ok(), "neither has to be there");
            std::os::unix::fs::symlink("nowhere", place.path().join(name)).unwrap();
            let failure = Layers::load([], place.path(), None).unwrap_err();
            assert!(failure.to_string().contains(name), "{failure}");
            std::fs::create_dir(place.path().join("nowhere")).unwrap();
            assert_eq!(Layers::load([], place.path(), None).unwrap_err().code(), Code::Config);
        }
    }

    #[test]
    fn secrets_in_a_file_others_can_read_are_refused() {
        for (name, text) in
            [(".env", "DB_PASS=canary-4711"), ("greekd.toml", "[tastytrade]\nclient_secret = 'canary-4711'")]
        {
            let open = directory(&[(name, text, 0o640)]);
            let failure = Layers::load([], open.path(), None).unwrap_err();
            assert_eq!(failure.code(), Code::Config);
            assert!(failure.to_string().contains("chmod 600") && !failure.to_string().contains("canary"), "{failure}");
            let shut = directory(&[(name, text, 0o600)]);
            assert!(Layers::load([], shut.path(), None).is_ok());
        }
    }

    #[test]
    fn mistakes_in_files_are_named_without_their_values() {
        for (name, text, expected) in [
            (".env", "DB_PASS='canary-4711\n", "NAME=value"),
            (".env", "# a $ here is fine\nDB_PASS=\"canary-4711$x\"", "DB_PASS in"),
            ("greekd.toml", "[tastytrade]\nclient_secret = canary-4711", "not valid TOML"),
            ("greekd.toml", "[tastytrade]\nclient_secrets = 'canary-4711'", "tastytrade.client_secrets"),
            ("greekd.toml", "data_dir = 2018-02-05", "neither text, number nor list"),
        ] {
            let failure = Layers::load([], directory(&[(name, text, 0o600)]).path(), None).unwrap_err();
            assert_eq!(failure.code(), Code::Config);
            let text = failure.to_string();
            assert!(text.contains(expected) && !text.contains("canary-4711"), "{text}");
        }
        assert!(Layers::load([], Path::new("/nonexistent"), Some(Path::new("/nonexistent/x.toml"))).is_err());
    }

    #[test]
    fn settings_without_effect_are_pointed_out() {
        let layers = Layers::load(env(&[("GREEKD_RETENTION_MONTHS", "24")]), Path::new("/nonexistent"), None);
        assert!(layers.unwrap().notes[0].contains("GREEKD_RETENTION_MONTHS in the environment has no effect"));
        let layers = Layers::load(env(&[("GREEKD_DATADIR", "/d"), ("OTHER", "x")]), Path::new("/nonexistent"), None);
        assert_eq!(
            layers.unwrap().notes,
            ["GREEKD_DATADIR in the environment has no effect: there is no such setting"]
        );
    }

    #[test]
    fn the_table_of_betas_holds_no_settings() {
        let directory = directory(&[("greekd.toml", "slo_p95 = \"1s\"\n[beta]\nSPX = 1.0\n\"/ES\" = 1\n", 0o600)]);
        let layers = Layers::load([], directory.path(), None).unwrap();
        assert_eq!(layers.betas().collect::<Vec<_>>(), [("/ES", "1"), ("SPX", "1")]);
        assert_eq!(layers.get("GREEKD_SLO_P95"), Some("1s"));
    }

    #[test]
    fn a_dollar_in_single_quotes_is_a_dollar() {
        let directory = directory(&[(".env", "DB_PASS='a$b'\n", 0o600)]);
        assert_eq!(Layers::load([], directory.path(), None).unwrap().get("DB_PASS"), Some("a$b"));
    }
}
