//! `greekd db partitions` and `greekd db roles`, against the private database of a data directory and as an ordinary user.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use greeks_store::private::{PrivateConfig, PrivateServer};
use greeks_store::{DatabaseConfig, migrate};
use tempfile::TempDir;

/// A directory that the account which runs PostgreSQL can pass through, should the tests run as root.
fn scratch() -> TempDir {
    let permissions = std::fs::Permissions::from_mode(0o711);
    tempfile::Builder::new().prefix("greekd-").permissions(permissions).tempdir().unwrap()
}

/// Runs `greekd db ARGS` with this directory as its home, holding its data.
fn db(home: &Path, args: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_greekd"));
    command.arg("db").args(args).current_dir(home).env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("HOME", home).env("GREEKD_DATA_DIR", home.join("data")).envs(environment.iter().copied());
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

async fn execute(config: &greeks_store::tokio_postgres::Config, sql: &str) {
    let (client, connection) = config.connect(greeks_store::tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute(sql).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_listed_and_roles_are_made() {
    let home = scratch();
    let server = PrivateServer::start(PrivateConfig::throwaway(home.path().join("data"))).await.unwrap();
    migrate(&server.database()).await.unwrap();
    let admin = server.config();
    let sql = "SELECT greekd_make_partition('2026-11-01'); \
               INSERT INTO greek_ticks (event_time, seq, received_at, series_id, quantity) \
               SELECT day::timestamptz, 1, now(), 1, 1 FROM unnest(ARRAY['2026-11-02', '2026-11-03', '2019-03-03']) day";
    execute(&admin, sql).await;

    let listed = db(home.path(), &["partitions"], &[]);
    assert!(listed.status.success(), "{listed:?}");
    let words: Vec<Vec<&str>> = text(&listed.stdout).lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(words[0], ["partition", "month", "rows", "bytes"]);
    assert_eq!(words[1][..3], ["greek_ticks_2026_11", "2026-11", "2"]);
    assert_eq!(words[2][..3], ["greek_ticks_default", "-", "1"]);
    assert_eq!(words.len(), 3);
    assert!(words[1][3].parse::<u64>().unwrap() > 8_192);
    assert_eq!(text(&listed.stderr).matches("month could not be made").count(), 1, "{listed:?}");
    execute(&admin, "DELETE FROM greek_ticks_default").await;
    let listed = db(home.path(), &["partitions"], &[]);
    assert_eq!(text(&listed.stderr), "", "nothing to warn of");

    // An owner who may not make roles is told what to type, and may go on once that was typed.
    let theirs = server.create_database("theirs").await.unwrap();
    execute(&theirs, "CREATE ROLE owner LOGIN; ALTER DATABASE theirs OWNER TO owner").await;
    let mut owner = theirs.clone();
    migrate(&DatabaseConfig::new(owner.user("owner").clone())).await.unwrap();
    let sockets = home.path().join("data/pg/run");
    let environment = [("PGHOST", sockets.to_str().unwrap()), ("PGUSER", "owner"), ("PGDATABASE", "theirs")];
    let refused = db(home.path(), &["roles"], &environment);
    assert_eq!(refused.status.code(), Some(78), "{refused:?}");
    let remedy =
        "type in psql: CREATE ROLE greekd_ingest; CREATE ROLE greekd_maintenance; CREATE ROLE greekd_read; and";
    assert!(text(&refused.stderr).contains(remedy), "{refused:?}");
    assert!(refused.stdout.is_empty());

    for made in ["greekd_ingest, greekd_maintenance, greekd_read;", "none, all were there;"] {
        let roles = db(home.path(), &["roles"], &[]);
        assert!(roles.status.success() && text(&roles.stdout).contains(made), "{roles:?}");
        let grants: Vec<&str> = text(&roles.stdout).lines().filter(|line| line.starts_with("GRANT ")).collect();
        assert_eq!(grants.len(), 5);
        // As they stand, with roles of these names.
        let create = "DO $$ BEGIN CREATE ROLE the_daemon LOGIN; CREATE ROLE an_operator LOGIN; \
                      CREATE ROLE an_analyst LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$";
        execute(&admin, create).await;
        execute(&admin, &grants.join("\n")).await;
    }
    let roles = db(home.path(), &["roles"], &environment);
    assert!(roles.status.success(), "{roles:?}");
    // Whoever owns nothing can neither grant nor change the schema, and is told so.
    let stranger = [environment[0], ("PGUSER", "an_analyst"), environment[2]];
    let refused = db(home.path(), &["roles"], &stranger);
    assert_eq!(refused.status.code(), Some(78), "{refused:?}");
    assert!(text(&refused.stderr).contains("does not own the tables; run this as"), "{refused:?}");
    assert!(db(home.path(), &["partitions"], &stranger).status.success());
    // Whoever only reads makes nothing, least of all in a database whose name was misspelt.
    server.create_database("other").await.unwrap();
    let other = [environment[0], ("PGUSER", "greekd"), ("PGDATABASE", "other")];
    let refused = db(home.path(), &["partitions"], &other);
    assert_eq!(refused.status.code(), Some(69), "{refused:?}");
    assert!(text(&refused.stderr).contains("holds nothing of greekd"), "{refused:?}");
    let migrated = db(home.path(), &["migrate"], &other);
    assert!(text(&migrated.stdout).contains("schema version"), "{migrated:?}");
    assert!(db(home.path(), &["partitions"], &other).status.success());
    server.stop().await.unwrap();
}

/// A server that answers and refuses is not to be started: it is the login that has to be corrected.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_is_refused_is_77_and_says_what_to_correct() {
    let home = scratch();
    let server = PrivateServer::start(PrivateConfig::throwaway(home.path().join("data"))).await.unwrap();
    let cluster = home.path().join("data/pg/data");
    let hba = std::fs::read_to_string(cluster.join("pg_hba.conf")).unwrap();
    let hba = format!("local all stranger scram-sha-256\n{hba}");
    std::fs::write(cluster.join("pg_hba.conf"), hba).unwrap();
    execute(&server.config(), "CREATE ROLE stranger LOGIN PASSWORD 'right'").await;
    execute(&server.config(), "SELECT pg_reload_conf()").await;
    let socket = DatabaseConfig::new(server.config()).address();
    let url = |login: &str, name: &str| format!("host={socket} user={login} dbname={name}");
    let listed = |text: &str| {
        let ended = db(home.path(), &["migrate"], &[("DATABASE_URL", text)]);
        (ended.status.code(), format!("{}{}", self::text(&ended.stderr), self::text(&ended.stdout)))
    };
    for login in ["stranger password=canary", "stranger"] {
        let (code, said) = listed(&url(login, "greekd"));
        assert_eq!(code, Some(77), "{said}");
        assert!(said.contains("correct user and password in DATABASE_URL") && said.contains("stranger"), "{said}");
        assert!(!said.contains("start it") && !said.contains("canary"), "{said}");
    }
    let (code, said) = listed(&url("greekd", "nowhere"));
    assert_eq!(code, Some(69), "{said}");
    assert!(
        said.contains("there is no database nowhere") && said.contains("create it, or correct DATABASE_URL"),
        "{said}"
    );
    // What is asked through the pool says the same, without the pool's own words.
    let mut check = Command::new(env!("CARGO_BIN_EXE_greekd"));
    check.arg("check").current_dir(home.path()).env_clear().env("HOME", home.path());
    check
        .env("GREEKD_DATA_DIR", home.path().join("other"))
        .env("DATABASE_URL", url("stranger password=canary", "greekd"));
    let said = check.output().unwrap();
    let said = text(&said.stdout);
    assert!(said.contains("correct user and password in DATABASE_URL"), "{said}");
    assert!(!said.contains("creating a new object") && !said.contains("canary"), "{said}");
    server.stop().await.unwrap();
}
