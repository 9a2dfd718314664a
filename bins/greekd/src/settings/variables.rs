//! Every setting by its environment name and its place in `greekd.toml`.

/// One setting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Variable {
    /// The name in the environment and in `.env`.
    pub(crate) name: &'static str,
    /// The key in `greekd.toml`, dots between tables; `None` when it is not read from there.
    pub(crate) toml: Option<&'static str>,
    /// Whether the value must not be shown and asks for a file that others cannot read.
    pub(crate) secret: bool,
}

const fn plain(name: &'static str, toml: &'static str) -> Variable {
    Variable { name, toml: Some(toml), secret: false }
}

const fn secret(name: &'static str, toml: &'static str) -> Variable {
    Variable { name, toml: Some(toml), secret: true }
}

/// Settings of libpq and their like: from the environment and `.env` only.
const fn ambient(name: &'static str, secret: bool) -> Variable {
    Variable { name, toml: None, secret }
}

/// The table of `greekd.toml` that holds a number for each underlying: its keys are no settings.
pub(crate) const BETA: &str = "beta.";

pub(crate) const VARIABLES: &[Variable] = &[
    secret("DATABASE_URL", "database.url"),
    ambient("PGHOST", false),
    ambient("PGPORT", false),
    ambient("PGDATABASE", false),
    ambient("PGUSER", false),
    ambient("PGPASSWORD", true),
    ambient("PGSSLMODE", false),
    ambient("PGSSLROOTCERT", false),
    ambient("PGPASSFILE", false),
    plain("DB_HOST", "database.host"),
    plain("DB_PORT", "database.port"),
    plain("DB_NAME", "database.name"),
    plain("DB_USER", "database.user"),
    secret("DB_PASS", "database.password"),
    plain("IBKR_GATEWAY_URL", "ibkr.gateway_url"),
    plain("IBKR_WS_URL", "ibkr.websocket_url"),
    plain("IBKR_ACCOUNTS", "ibkr.accounts"),
    plain("IBKR_TLS", "ibkr.tls"),
    plain("IBKR_COMPETE", "ibkr.compete"),
    plain("IBKR_MARKET_DATA_LINES", "ibkr.market_data_lines"),
    secret("TASTYTRADE_REFRESH_TOKEN", "tastytrade.refresh_token"),
    plain("TASTYTRADE_REFRESH_TOKEN_FILE", "tastytrade.refresh_token_file"),
    secret("TASTYTRADE_CLIENT_SECRET", "tastytrade.client_secret"),
    plain("TASTYTRADE_CLIENT_SECRET_FILE", "tastytrade.client_secret_file"),
    plain("TASTYTRADE_API_URL", "tastytrade.api_url"),
    plain("TASTYTRADE_STREAMER_URL", "tastytrade.streamer_url"),
    plain("TASTYTRADE_ACCOUNTS", "tastytrade.accounts"),
    plain("TASTYTRADE_CA_FILE", "tastytrade.ca_file"),
    plain("GREEKD_DATA_DIR", "data_dir"),
    plain("GREEKD_PG_BIN", "private_postgres.bin"),
    plain("GREEKD_PG_USER", "private_postgres.user"),
    plain("GREEKD_COMMIT_RATE", "commit_rate"),
    plain("GREEKD_FLUSH_MAX_RECORDS", "flush_max_records"),
    plain("GREEKD_FLUSH_MAX_DELAY", "flush_max_delay"),
    plain("GREEKD_JOURNAL_MAX_BYTES", "journal.max_bytes"),
    plain("GREEKD_JOURNAL_SYNC", "journal.sync"),
    plain("GREEKD_SOURCE_PAYLOAD", "source_payload"),
    plain("GREEKD_SLO_P95", "slo_p95"),
    plain("GREEKD_LISTEN", "listen"),
    secret("GREEKD_HTTP_TOKEN", "http_token"),
    plain("GREEKD_HTTP_HOSTS", "http_hosts"),
    plain("GREEKD_RATE", "rate"),
    plain("GREEKD_LOG_FORMAT", "log_format"),
    plain("RUST_LOG", "log"),
    ambient("HOME", false),
    ambient("XDG_DATA_HOME", false),
    ambient("PATH", false),
    ambient("NO_COLOR", false),
];

/// What the system sets, not a person for greekd.
pub(crate) const AMBIENT: [&str; 4] = ["HOME", "XDG_DATA_HOME", "PATH", "NO_COLOR"];

/// Names that begin like this are meant for us: one that is not known is a mistake worth a word.
pub(crate) const OURS: [&str; 3] = ["GREEKD_", "TASTYTRADE_", "IBKR_"];

/// Settings of the whole product that this version does not act on; named so that nobody waits for an effect.
pub(crate) const NOT_YET: &[(&str, &str)] =
    &[("GREEKD_RETENTION_MONTHS", "retention is not part of this version: no partition is dropped")];
