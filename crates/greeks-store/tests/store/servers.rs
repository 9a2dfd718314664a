//! A database that may be on one of several servers.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::support::{Database, client};
use greeks_store::private::{PrivateConfig, PrivateServer};
use greeks_store::tokio_postgres::Config;
use greeks_store::tokio_postgres::config::Host;
use greeks_store::{DatabaseConfig, Queries, migrate};

/// The servers of both, the first one's first; user and database are those of the second.
fn one_of(first: (&str, u16), second: &Config) -> DatabaseConfig {
    let mut both = Config::new();
    both.host(first.0).port(first.1).user(second.get_user().unwrap()).dbname(second.get_dbname().unwrap());
    match &second.get_hosts()[0] {
        Host::Tcp(name) => both.host(name),
        Host::Unix(dir) => both.host_path(dir),
    };
    both.port(second.get_ports().first().copied().unwrap_or(5432));
    second.get_password().map(|password| both.password(password));
    DatabaseConfig::new(both)
}

/// The first one takes connections and says nothing, as a host does whose disk hangs: it hides the other one for as long
/// as its own deadline lasts, once.
#[tokio::test]
async fn a_server_that_says_nothing_does_not_hide_the_next_one() {
    let database = Database::empty().await;
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = one_of(("127.0.0.1", silent.local_addr().unwrap().port()), &database.driver);
    migrate(&config).await.unwrap();
    let begin = Instant::now();
    // Another copy of the settings knows by now.
    assert!(Queries::new(&config, 1).unwrap().check().await.unwrap().writable);
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
}

/// Questions and trades go where writes go; where there is no such server, another one answers.
#[tokio::test]
async fn a_server_that_takes_writes_is_asked_first() {
    let database = Database::migrated().await;
    let dir = tempfile::tempdir().unwrap();
    let replica = PrivateServer::start(PrivateConfig::throwaway(dir.path())).await.unwrap();
    let name = database.driver.get_dbname().unwrap();
    let mut there = replica.create_database(name).await.unwrap();
    let sql = format!("ALTER DATABASE {name} SET default_transaction_read_only = on");
    client(&there).await.batch_execute(&sql).await.unwrap();
    let Host::Unix(socket) = there.get_hosts()[0].clone() else { panic!("{there:?}") };
    let port = there.get_ports().first().copied().unwrap_or(5432);
    let first = (socket.to_str().unwrap(), port);
    let both = one_of(first, &database.driver);
    let found = Queries::new(&both, 1).unwrap().check().await.unwrap();
    assert!(found.writable);
    assert_eq!(found.schema_version, Some(found.needed_version));
    // Nobody takes writes.
    let alone = one_of(first, there.application_name("twice"));
    assert!(!Queries::new(&alone, 1).unwrap().check().await.unwrap().writable);
    replica.stop().await.unwrap();
}
