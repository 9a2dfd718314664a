//! Which database, and how to get there.

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode as Driver};

use crate::connection_string::{KNOWN, Split};
use crate::tls::TlsSettings;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 3;
/// How long sent bytes may go unacknowledged before the connection counts as dead.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(20);

/// How far the connection must be protected, with the meaning libpq gives to `sslmode`. Unix sockets never use TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SslMode {
    /// Never TLS.
    Disable,
    /// TLS where the server offers it; it is not verified.
    #[default]
    Prefer,
    /// TLS, not verified, unless a file of root certificates is given: then as [`SslMode::VerifyCa`].
    Require,
    /// TLS, and the certificate must come from a trusted authority.
    VerifyCa,
    /// TLS, and the certificate must come from a trusted authority and name the host.
    VerifyFull,
}

impl SslMode {
    /// The name libpq gives it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }
}

impl FromStr for SslMode {
    type Err = DatabaseConfigError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "disable" => Ok(Self::Disable),
            // `allow` tries without TLS first; with it first is never weaker.
            "allow" | "prefer" => Ok(Self::Prefer),
            "require" => Ok(Self::Require),
            "verify-ca" => Ok(Self::VerifyCa),
            "verify-full" => Ok(Self::VerifyFull),
            _ => Err(DatabaseConfigError::SslMode),
        }
    }
}

/// A database: where, as whom, and how protected. The password shows in no `Debug` output and no error.
#[derive(Clone)]
pub struct DatabaseConfig {
    pub(crate) config: Config,
    ssl_mode: SslMode,
    root_cert: Option<PathBuf>,
    tls: Option<Arc<TlsSettings>>,
    /// The place of the host that took a connection last; copies share it.
    pub(crate) last_good: Arc<AtomicUsize>,
}

impl DatabaseConfig {
    /// Takes a connection string of libpq: `postgres://user:password@host:5432/db?sslmode=verify-full&sslrootcert=FILE`
    /// or `host=/run/postgresql user=me dbname=db`.
    ///
    /// `connect_timeout`, `tcp_user_timeout` (in ms), `keepalives`, `keepalives_idle`, `keepalives_interval` and
    /// `keepalives_count` hold where they are given, so that a connection that is dead is found out as late as they say;
    /// 0 as a time means that ours holds: 5 s to connect, 20 s for bytes that nobody acknowledges, the first of three
    /// keepalives after 10 s, the others 5 s apart. Two hours as `keepalives_idle` cannot be told from the driver's own
    /// default and count as not given. The whole way in, with TLS and authentication, may take 5 s more than `connect_timeout`;
    /// a committer tries again after 30 s whatever that says.
    ///
    /// # Errors
    /// [`DatabaseConfigError`], which never quotes the string.
    pub fn parse(text: &str) -> Result<Self, DatabaseConfigError> {
        let split = Split::of(text)?;
        let mut config: Config = split.rest.parse().map_err(|_| DatabaseConfigError::Malformed)?;
        // No host has one in its name: it is the end of a password.
        if config.get_hosts().iter().any(|host| matches!(host, Host::Tcp(name) if name.contains('@'))) {
            return Err(DatabaseConfigError::Malformed);
        }
        split.times.set(&mut config);
        let mut database = Self::new(config);
        let mode = split.ssl_mode.as_deref().map(SslMode::from_str).transpose()?;
        database = database.with_tls_options(mode, split.root_cert.as_deref())?;
        if database.config.get_hosts().is_empty() && database.config.get_hostaddrs().is_empty() {
            return Err(DatabaseConfigError::NoHost);
        }
        if database.config.get_user().is_none() {
            return Err(DatabaseConfigError::NoUser);
        }
        Ok(database)
    }

    /// Takes settings made in code, their `sslmode` among them. Deadlines and keepalives that they leave open are set here, as
    /// for [`DatabaseConfig::parse`].
    pub fn new(mut config: Config) -> Self {
        let ssl_mode = match config.get_ssl_mode() {
            Driver::Disable => SslMode::Disable,
            Driver::Prefer => SslMode::Prefer,
            // A mode of a later driver is not weaker.
            _ => SslMode::Require,
        };
        fill_deadlines(&mut config);
        if config.get_application_name().is_none() {
            config.application_name("greekd");
        }
        Self { config, ssl_mode, root_cert: None, tls: None, last_good: Arc::default() }
    }

    /// Sets what `sslmode` and `sslrootcert` say, as libpq understands them: `system` trusts the authorities of the system,
    /// which give certificates to everybody, so that nothing less than `verify-full` protects, and that is what it means.
    /// Without a mode that of the settings stays.
    ///
    /// # Errors
    /// [`DatabaseConfigError::WeakWithSystem`] when `system` comes with another mode.
    pub fn with_tls_options(
        mut self,
        mode: Option<SslMode>,
        root_cert: Option<&str>,
    ) -> Result<Self, DatabaseConfigError> {
        let system = root_cert == Some("system");
        self.ssl_mode = match mode {
            None if system => SslMode::VerifyFull,
            Some(mode) if system && mode != SslMode::VerifyFull => return Err(DatabaseConfigError::WeakWithSystem),
            mode => mode.unwrap_or(self.ssl_mode),
        };
        self.root_cert = root_cert.filter(|_| !system).map(PathBuf::from);
        Ok(self)
    }

    /// Sets the protection asked for.
    #[must_use]
    pub fn with_ssl_mode(mut self, mode: SslMode) -> Self {
        self.ssl_mode = mode;
        self
    }

    /// Sets the file of root certificates, as `sslrootcert` does.
    #[must_use]
    pub fn with_root_cert(mut self, file: &Path) -> Self {
        self.root_cert = Some(file.to_path_buf());
        self
    }

    /// Sets what TLS is done with: without it [`SslMode::Prefer`] stays plain and stricter modes fail to connect.
    #[must_use]
    pub fn with_tls(mut self, tls: Arc<TlsSettings>) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Uses another database of the same server.
    #[must_use]
    pub fn with_database(mut self, name: &str) -> Self {
        self.config.dbname(name);
        self
    }

    /// The protection asked for; `require` with a file of root certificates is `verify-ca`, as in libpq.
    pub fn ssl_mode(&self) -> SslMode {
        match self.ssl_mode {
            SslMode::Require if self.root_cert.is_some() => SslMode::VerifyCa,
            mode => mode,
        }
    }

    /// The file of root certificates named by `sslrootcert`.
    pub fn root_cert(&self) -> Option<&Path> {
        self.root_cert.as_deref()
    }

    /// The user's name.
    pub fn user(&self) -> &str {
        self.config.get_user().unwrap_or_default()
    }

    /// The database's name: that of the user unless given.
    pub fn database(&self) -> &str {
        self.config.get_dbname().unwrap_or_else(|| self.user())
    }

    /// Where the server is, for people: `host:port` or the socket's directory.
    pub fn address(&self) -> String {
        let port = self.config.get_ports().first().copied().unwrap_or(5432);
        match self.config.get_hosts().first() {
            Some(Host::Tcp(name)) if name.contains(':') => format!("[{name}]:{port}"),
            Some(Host::Tcp(name)) => format!("{name}:{port}"),
            #[cfg(unix)]
            Some(Host::Unix(dir)) => dir.display().to_string(),
            None => self
                .config
                .get_hostaddrs()
                .first()
                .map_or_else(String::new, |at| SocketAddr::new(*at, port).to_string()),
        }
    }

    /// The settings as variables that PostgreSQL's own programs read, the password among them: for the environment of a
    /// child process, never for its arguments.
    pub fn libpq_environment(&self) -> Vec<(&'static str, OsString)> {
        let host = match self.config.get_hosts().first() {
            Some(Host::Tcp(name)) => name.into(),
            #[cfg(unix)]
            Some(Host::Unix(dir)) => dir.into(),
            None => self.config.get_hostaddrs().first().map_or_else(OsString::new, |at| at.to_string().into()),
        };
        let port = self.config.get_ports().first().copied().unwrap_or(5432);
        let mut all = vec![
            ("PGHOST", host),
            ("PGPORT", port.to_string().into()),
            ("PGUSER", self.user().into()),
            ("PGDATABASE", self.database().into()),
            ("PGSSLMODE", self.ssl_mode().as_str().into()),
        ];
        all.extend(self.root_cert().map(|file| ("PGSSLROOTCERT", file.into())));
        if let Some(password) = self.config.get_password() {
            // A password is bytes that need not be text; on Unix neither does a variable.
            let password: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(password);
            all.push(("PGPASSWORD", password.into()));
        }
        all
    }

    pub(crate) fn tls(&self) -> Option<&Arc<TlsSettings>> {
        self.tls.as_ref()
    }
}

impl fmt::Debug for DatabaseConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatabaseConfig")
            .field("address", &self.address())
            .field("user", &self.user())
            .field("database", &self.database())
            .field("ssl_mode", &self.ssl_mode())
            .finish_non_exhaustive()
    }
}

/// A connection string that cannot be used. No variant holds any of its text, which may contain a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseConfigError {
    /// It cannot be read at all.
    #[error(
        "not a connection string like postgres://user:password@host:5432/db; characters such as @ : / ? # % in a \
         password must be percent-encoded"
    )]
    Malformed,
    /// `sslmode` has an unknown value.
    #[error("sslmode must be disable, allow, prefer, require, verify-ca or verify-full")]
    SslMode,
    /// `sslrootcert=system` with a mode that does not verify everything.
    #[error("sslrootcert=system needs sslmode=verify-full, which it also means where no mode is given")]
    WeakWithSystem,
    /// An option of libpq that is not supported.
    #[error("the connection option {0} is not supported")]
    NotSupported(&'static str),
    /// An option that nobody knows. It is not named: it may be a piece of a password.
    #[error(
        "the connection string has an option that is not known, or a password in which ? or & is not percent-encoded; \
         known are {}", KNOWN.join(", ")
    )]
    Unknown,
    /// An option whose value is no number, or one that is too large.
    #[error("the connection option {0} must be a number")]
    Number(&'static str),
    /// No host.
    #[error("the connection string names no host")]
    NoHost,
    /// No user.
    #[error("the connection string names no user")]
    NoUser,
}

/// Sets the deadlines and keepalives that are not given, as far as the driver tells.
fn fill_deadlines(config: &mut Config) {
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT_TIMEOUT);
    }
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(TCP_USER_TIMEOUT);
    }
    if config.get_keepalives_idle() == Config::new().get_keepalives_idle() {
        config.keepalives_idle(KEEPALIVE_IDLE);
    }
    if config.get_keepalives_interval().is_none() {
        config.keepalives_interval(KEEPALIVE_INTERVAL);
    }
    if config.get_keepalives_retries().is_none() {
        config.keepalives_retries(KEEPALIVE_RETRIES);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_url_with_verification() {
        let url = "postgres://me:s%40cret@db.example:6432/greeks?sslmode=verify-full&sslrootcert=%2Fetc%2Fca.pem&connect_timeout=3";
        let config = DatabaseConfig::parse(url).unwrap();
        assert_eq!((config.ssl_mode(), config.root_cert()), (SslMode::VerifyFull, Some(Path::new("/etc/ca.pem"))));
        assert_eq!((config.user(), config.database(), &*config.address()), ("me", "greeks", "db.example:6432"));
        assert_eq!(config.config.get_password(), Some(b"s@cret".as_slice()));
    }

    #[test]
    fn reads_pairs_and_unix_sockets() {
        let config = DatabaseConfig::parse("host=/run/postgresql user=me password='a b\\'c' sslmode=require").unwrap();
        assert_eq!(config.config.get_password(), Some(b"a b'c".as_slice()));
        assert_eq!((config.ssl_mode(), config.database()), (SslMode::Require, "me"));
        for url in ["postgresql://me@%2Frun%2Fpg/greeks", "postgresql:///greeks?host=/run/pg&user=me"] {
            let config = DatabaseConfig::parse(url).unwrap();
            assert_eq!((config.user(), config.database(), &*config.address()), ("me", "greeks", "/run/pg"));
        }
    }

    /// What the driver's own settings say of TLS holds: a password must not go out in the clear where it may not.
    #[test]
    fn settings_made_in_code_keep_their_protection() {
        for mode in ["disable", "prefer", "require"] {
            let config: Config = format!("host=127.0.0.1 user=me sslmode={mode}").parse().unwrap();
            let database = DatabaseConfig::new(config);
            assert_eq!(database.ssl_mode().as_str(), mode);
            let same = database.clone().with_tls_options(None, None).unwrap();
            assert_eq!(same.ssl_mode().as_str(), mode, "what is not said changes nothing");
            let refused = crate::connection::Dialer::new(&database, true).err();
            let plain = mode != "require";
            assert!(refused.is_none() == plain, "{mode} without TLS settings: {refused:?}");
        }
    }

    #[test]
    fn a_password_that_is_not_encoded_is_in_no_host() {
        for text in ["postgres://me:sec@ret@h:5432/x", "postgres://me:sec@re/t@h:5432/x", "host=ret@h user=me"] {
            assert_eq!(DatabaseConfig::parse(text).unwrap_err(), DatabaseConfigError::Malformed, "{text}");
        }
        let config = DatabaseConfig::parse("postgres://me%40org:sec%40ret@h:5432/x%40y").unwrap();
        assert_eq!((config.user(), config.database(), &*config.address()), ("me@org", "x@y", "h:5432"));
    }

    #[test]
    fn deadlines_and_keepalives_that_are_given_hold() {
        let seconds = Duration::from_secs;
        let given =
            "connect_timeout=30&tcp_user_timeout=7000&keepalives_idle=8&keepalives_interval=9&keepalives_count=2";
        let config = DatabaseConfig::parse(&format!("postgres://me@h/x?{given}")).unwrap().config;
        assert_eq!(config.get_connect_timeout(), Some(&seconds(30)));
        assert_eq!(config.get_tcp_user_timeout(), Some(&seconds(7)));
        assert_eq!(config.get_keepalives_idle(), seconds(8));
        assert_eq!((config.get_keepalives_interval(), config.get_keepalives_retries()), (Some(seconds(9)), Some(2)));
        assert!(!DatabaseConfig::parse("host=h user=me keepalives=0").unwrap().config.get_keepalives());

        let config = DatabaseConfig::parse("host=h user=me connect_timeout=0").unwrap().config;
        assert_eq!(config.get_connect_timeout(), Some(&CONNECT_TIMEOUT));
        assert_eq!(config.get_tcp_user_timeout(), Some(&TCP_USER_TIMEOUT));
        assert!(config.get_keepalives() && config.get_keepalives_idle() == KEEPALIVE_IDLE);
        assert_eq!(config.get_keepalives_interval(), Some(KEEPALIVE_INTERVAL));
        assert_eq!(config.get_keepalives_retries(), Some(KEEPALIVE_RETRIES));
    }

    #[test]
    fn an_option_that_does_not_exist_is_said_to() {
        for text in ["postgres://me@h/x?foo=1", "postgres://me@h/x?conect_timeout=3", "host=h user=me foo=1"] {
            let refused = DatabaseConfig::parse(text).unwrap_err();
            assert!(refused.to_string().contains("option that is not known"), "{text}: {refused}");
        }
    }

    #[test]
    fn a_value_that_is_no_number_is_told_by_the_name_of_its_option() {
        for name in ["connect_timeout", "tcp_user_timeout", "keepalives_count"] {
            let refused = DatabaseConfig::parse(&format!("postgres://me@h/x?{name}=5s")).unwrap_err();
            assert_eq!(refused, DatabaseConfigError::Number(name));
        }
    }

    #[test]
    fn an_address_of_ipv6_stands_in_brackets() {
        for text in ["postgres://me@[::1]:5432/x", "host=::1 user=me", "hostaddr=::1 user=me"] {
            assert_eq!(DatabaseConfig::parse(text).unwrap().address(), "[::1]:5432", "{text}");
        }
        assert_eq!(DatabaseConfig::parse("hostaddr=127.0.0.1 user=me").unwrap().address(), "127.0.0.1:5432");
    }

    #[test]
    fn require_with_a_root_file_verifies_the_authority() {
        let config = DatabaseConfig::parse("postgres://me@h/d?sslmode=require&sslrootcert=/ca").unwrap();
        assert_eq!(config.ssl_mode(), SslMode::VerifyCa);
    }

    /// As in libpq: whoever names the authorities of the system wants the server verified.
    #[test]
    fn the_roots_of_the_system_verify_everything_or_are_refused() {
        let parse = |options: &str| DatabaseConfig::parse(&format!("postgres://me@h/d?{options}"));
        for options in ["sslrootcert=system", "sslrootcert=system&sslmode=verify-full"] {
            let config = parse(options).unwrap();
            assert_eq!((config.ssl_mode(), config.root_cert()), (SslMode::VerifyFull, None), "{options}");
        }
        for mode in ["disable", "allow", "prefer", "require", "verify-ca"] {
            let refused = parse(&format!("sslrootcert=system&sslmode={mode}")).unwrap_err();
            assert_eq!(refused, DatabaseConfigError::WeakWithSystem, "{mode}");
        }
    }

    #[test]
    fn no_error_and_no_debug_output_shows_the_password() {
        let bad = [
            "postgres://me:hunter2?x@host/db",
            "postgres://me:hunter2@host:port/db",
            "password=hunter2 host",
            "postgres://me:hunter2@host/db?sslmode=hunter2",
            "postgres://me@host/db?hunter2=1",
            "password='hunter2",
            "mysql://me:hunter2@host",
            "password=hunter2",
            "hunter2",
            "postgres://me:hunter2@host/db?sslcert=x",
        ];
        for text in bad {
            let error = DatabaseConfig::parse(text).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{text}: {error}");
        }
        let good = DatabaseConfig::parse("postgres://me:hunter2@host/db").unwrap();
        assert!(!format!("{good:?}").contains("hunter2"));
    }

    #[test]
    fn says_what_is_missing_or_not_supported() {
        assert_eq!(DatabaseConfig::parse("user=me").unwrap_err(), DatabaseConfigError::NoHost);
        assert_eq!(DatabaseConfig::parse("host=h").unwrap_err(), DatabaseConfigError::NoUser);
        assert_eq!(
            DatabaseConfig::parse("postgres://me@h/d?sslcert=/c").unwrap_err(),
            DatabaseConfigError::NotSupported("sslcert")
        );
        assert_eq!(DatabaseConfig::parse("postgres://me@h/d?sslmode=on").unwrap_err(), DatabaseConfigError::SslMode);
    }
}
