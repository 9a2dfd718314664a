//! Which database: `DATABASE_URL`, else the variables of libpq, else `DB_*`, else a private server of our own.

use std::path::{Path, PathBuf};

use greeks_store::{DatabaseConfig, SslMode};

use super::layers::Layers;
use crate::exit::{Code, Failure, with_causes};

/// The database to use.
#[derive(Debug)]
pub(crate) enum DatabaseChoice {
    /// A server that somebody else runs, and the setting that names it.
    External(Box<DatabaseConfig>, &'static str),
    /// A server of our own under the data directory.
    Private,
}

const LIBPQ: [&str; 2] = ["PGHOST", "PGDATABASE"];
const SEEDS: [&str; 5] = ["DB_HOST", "DB_PORT", "DB_NAME", "DB_USER", "DB_PASS"];

/// Chooses, and says which settings were passed over.
pub(super) fn choose(layers: &Layers) -> Result<(DatabaseChoice, Option<String>), Failure> {
    let set = |names: &[&'static str]| names.iter().copied().find(|name| layers.get(name).is_some());
    let (url, libpq, seeds) = (layers.get("DATABASE_URL"), set(&LIBPQ), set(&SEEDS));
    let (used, config) = match (url, libpq, seeds) {
        (Some(url), ..) => ("DATABASE_URL", from_url(layers, url)?),
        (None, Some(name), _) => (name, from_libpq(layers)?),
        (None, None, Some(name)) => (name, from_seeds(layers)?),
        (None, None, None) => return Ok((DatabaseChoice::Private, None)),
    };
    let passed_over: Vec<&str> = [libpq, seeds].into_iter().flatten().filter(|name| *name != used).collect();
    let note = (!passed_over.is_empty())
        .then(|| format!("the database is taken from {used} and not from {}", passed_over.join(" or ")));
    Ok((DatabaseChoice::External(Box::new(config), used), note))
}

fn from_url(layers: &Layers, url: &str) -> Result<DatabaseConfig, Failure> {
    DatabaseConfig::parse(url).map_err(|error| {
        let place = layers.origin("DATABASE_URL").map_or_else(String::new, |origin| format!(" in {origin}"));
        Failure::new(Code::Config, format!("DATABASE_URL{place} cannot be used: {}", with_causes(&error)))
            .remedy("write it like postgresql://user:password@host:5432/database?sslmode=verify-full")
    })
}

fn from_libpq(layers: &Layers) -> Result<DatabaseConfig, Failure> {
    let user = layers.get("PGUSER").or_else(|| layers.get("PGDATABASE")).unwrap_or("postgres");
    let database = layers.get("PGDATABASE").unwrap_or(user);
    let host = layers.get("PGHOST").unwrap_or("localhost");
    let port = port(layers, "PGPORT")?;
    let password = match layers.get("PGPASSWORD") {
        Some(password) => Some(password.to_owned()),
        None => from_passfile(layers, [host, &port.to_string(), database, user]),
    };
    let config = DatabaseConfig::new(driver_config(host, port, database, user, password.as_deref()));
    let rule = "use disable, allow, prefer, require, verify-ca or verify-full";
    let mode = layers.parse("PGSSLMODE", rule, |text| text.parse::<SslMode>().ok())?;
    config.with_tls_options(mode, layers.get("PGSSLROOTCERT")).map_err(|error| {
        Failure::new(Code::Config, format!("PGSSLMODE cannot be used: {}", with_causes(&error)))
            .remedy("leave PGSSLMODE out, or name a file in PGSSLROOTCERT")
    })
}

fn from_seeds(layers: &Layers) -> Result<DatabaseConfig, Failure> {
    let get = |name, default| layers.get(name).unwrap_or(default);
    let config = driver_config(
        get("DB_HOST", "localhost"),
        port(layers, "DB_PORT")?,
        get("DB_NAME", "portfolio_engine"),
        get("DB_USER", "portfolio"),
        layers.get("DB_PASS"),
    );
    Ok(DatabaseConfig::new(config))
}

fn driver_config(
    host: &str,
    port: u16,
    database: &str,
    user: &str,
    password: Option<&str>,
) -> greeks_store::tokio_postgres::Config {
    let mut config = greeks_store::tokio_postgres::Config::new();
    // An absolute path is a directory with a unix socket, as libpq has it; the driver knows that too.
    config.host(host).port(port).dbname(database).user(user);
    if let Some(password) = password {
        config.password(password);
    }
    config
}

fn port(layers: &Layers, name: &str) -> Result<u16, Failure> {
    let port =
        layers.parse(name, "write a port from 1 to 65535", |text| text.parse().ok().filter(|port| *port != 0))?;
    Ok(port.unwrap_or(5432))
}

/// The password of `~/.pgpass` or `PGPASSFILE` for this host, port, database and user. A file that others can read is
/// passed over, as libpq does.
fn from_passfile(layers: &Layers, wanted: [&str; 4]) -> Option<String> {
    let path = match layers.get("PGPASSFILE") {
        Some(path) => PathBuf::from(path),
        None => Path::new(layers.get("HOME")?).join(".pgpass"),
    };
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        if std::fs::metadata(&path).ok()?.permissions().mode() & 0o077 != 0 {
            return None;
        }
    }
    std::fs::read_to_string(path).ok()?.lines().find_map(|line| passfile_line(line, wanted))
}

/// `host:port:database:user:password`, where a field may be `*` and a backslash takes the next character as it is.
fn passfile_line(line: &str, wanted: [&str; 4]) -> Option<String> {
    if line.starts_with('#') {
        return None;
    }
    let mut fields = vec![(String::new(), false)];
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        let colon = c == ':' && fields.len() < 5;
        if colon {
            fields.push((String::new(), false));
        } else if let Some((field, escaped)) = fields.last_mut() {
            *escaped |= c == '\\';
            field.push(if c == '\\' { chars.next()? } else { c });
        }
    }
    let (password, _) = fields.get(4)?;
    let matches =
        fields.iter().zip(wanted).all(|((field, escaped), wanted)| field == wanted || (field == "*" && !escaped));
    matches.then(|| password.clone())
}

#[cfg(test)]
mod tests {
    use super::super::tests::layers;
    use super::*;

    fn external(pairs: &[(&str, &str)]) -> (DatabaseConfig, Option<String>) {
        match choose(&layers(pairs)).unwrap() {
            (DatabaseChoice::External(config, _), note) => (*config, note),
            (DatabaseChoice::Private, _) => panic!("private although {pairs:?}"),
        }
    }

    #[test]
    fn url_beats_libpq_beats_seeds_and_the_loser_is_named() {
        let all =
            [("DATABASE_URL", "postgresql://a@one:1/x"), ("PGHOST", "two"), ("PGUSER", "b"), ("DB_HOST", "three")];
        let (config, note) = external(&all);
        assert_eq!(config.address(), "one:1");
        assert_eq!(note.unwrap(), "the database is taken from DATABASE_URL and not from PGHOST or DB_HOST");
        let (config, note) = external(&all[1..]);
        assert_eq!((config.address().as_str(), config.user(), config.database()), ("two:5432", "b", "b"));
        assert!(note.unwrap().contains("not from DB_HOST"));
        let (config, note) = external(&all[3..]);
        assert_eq!(
            (config.address().as_str(), config.user(), config.database()),
            ("three:5432", "portfolio", "portfolio_engine")
        );
        assert_eq!(note, None);
    }

    #[test]
    fn the_roots_of_the_system_verify_everything_or_are_refused() {
        let (host, roots) = (("PGHOST", "h"), ("PGSSLROOTCERT", "system"));
        for mode in [None, Some(("PGSSLMODE", "verify-full"))] {
            let (config, _) = external(&[host, roots].into_iter().chain(mode).collect::<Vec<_>>());
            assert_eq!((config.ssl_mode(), config.root_cert()), (SslMode::VerifyFull, None));
        }
        let failure = choose(&layers(&[host, roots, ("PGSSLMODE", "require")])).unwrap_err();
        assert_eq!(failure.code(), Code::Config);
        assert!(failure.to_string().contains("PGSSLMODE"), "{failure}");
        let (config, _) = external(&[host, ("PGSSLROOTCERT", "/ca"), ("PGSSLMODE", "require")]);
        assert_eq!((config.ssl_mode(), config.root_cert()), (SslMode::VerifyCa, Some(Path::new("/ca"))));
    }

    #[test]
    fn a_password_alone_chooses_the_seeds() {
        assert_eq!(external(&[("DB_PASS", "x")]).0.address(), "localhost:5432");
        assert!(matches!(choose(&layers(&[("PGUSER", "me")])).unwrap().0, DatabaseChoice::Private));
    }

    #[test]
    fn mistakes_are_refused_without_showing_the_value() {
        for (name, value) in [
            ("DATABASE_URL", "postgres://u:canary@"),
            ("DATABASE_URL", "canary"),
            ("DB_PORT", "70000"),
            ("PGSSLMODE", "canary"),
        ] {
            let host = if name == "DB_PORT" { "DB_HOST" } else { "PGHOST" };
            let failure = choose(&layers(&[(name, value), (host, "h")])).expect_err(name);
            assert_eq!(failure.code(), Code::Config);
            assert!(failure.to_string().contains(name) && !failure.to_string().contains("canary"), "{failure}");
        }
    }

    #[test]
    fn passfile_lines_match_field_by_field() {
        let wanted = ["db", "5432", "greeks", "me"];
        assert_eq!(passfile_line("db:5432:greeks:me:s3cret", wanted).as_deref(), Some("s3cret"));
        assert_eq!(passfile_line("*:*:*:me:a\\:b:c", wanted).as_deref(), Some("a:b:c"));
        for line in ["# db:5432:greeks:me:x", "db:5433:greeks:me:x", "\\*:*:*:*:x", "db:5432:greeks:me", ""] {
            assert_eq!(passfile_line(line, wanted), None, "{line}");
        }
    }
}
