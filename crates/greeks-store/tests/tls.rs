//! The meanings of `sslmode`, against a server that speaks TLS with certificates of our own authority.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use greeks_store::private::{PrivateConfig, PrivateServer};
use greeks_store::{DatabaseConfig, MigrateError, Queries, TlsSettings, known_version, migrate};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

/// An authority and a certificate it gave to `names`.
struct Certificates {
    authority: String,
    certificate: String,
    key: String,
}

fn certificates(names: &[&str]) -> Certificates {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
    Certificates { authority: authority.pem(), certificate: certificate.pem(), key: key.serialize_pem() }
}

/// An address of the loopback network that is this program's own, so that no port has to be chosen.
fn own_address() -> String {
    let [.., high, low] = std::process::id().to_be_bytes();
    format!("127.77.{high}.{low}")
}

/// A server on TCP whose certificate names `db.test` only.
async fn tls_server(dir: &Path) -> (PrivateServer, String) {
    // The first start makes the cluster; its owner must own the key.
    PrivateServer::start(PrivateConfig::throwaway(dir)).await.unwrap().stop().await.unwrap();
    let made = certificates(&["db.test"]);
    let cluster = dir.join("pg/data");
    let owner = fs::metadata(&cluster).unwrap();
    for (name, text, mode) in [
        ("server.crt", made.certificate.as_str(), 0o644),
        ("server.key", &made.key, 0o600),
        ("tls_hba.conf", "local all all trust\nhostssl all all 127.0.0.0/8 trust\n", 0o600),
    ] {
        let file = cluster.join(name);
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        std::os::unix::fs::chown(&file, Some(owner.uid()), Some(owner.gid())).unwrap();
    }
    fs::write(dir.join("ca.pem"), made.authority).unwrap();
    fs::write(dir.join("stranger.pem"), certificates(&[]).authority).unwrap();
    let address = own_address();
    let mut config = PrivateConfig::throwaway(dir);
    let hba = cluster.join("tls_hba.conf").display().to_string();
    config.settings = [("listen_addresses", address.as_str()), ("ssl", "on"), ("hba_file", &hba)]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    (PrivateServer::start(config).await.unwrap(), address)
}

/// Migrates over a connection of this kind: `Ok` or the whole error.
async fn try_connect(host: &str, options: &str, roots: &Path) -> Result<(), String> {
    let url = format!("postgres://greekd@{host}/greekd?{options}");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = TlsSettings::with_root_file(provider, roots).unwrap();
    let database = DatabaseConfig::parse(&url).unwrap().with_tls(Arc::new(tls));
    match migrate(&database).await {
        Ok(done) => assert_eq!(done.version, known_version()),
        Err(error) => return Err(chain(&error)),
    }
    let check = Queries::new(&database, 1).unwrap().check().await.map_err(|error| chain(&error))?;
    assert!(check.writable);
    Ok(())
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[tokio::test]
async fn each_mode_asks_for_what_it_says() {
    let dir = tempfile::tempdir().unwrap();
    let (server, address) = tls_server(dir.path()).await;
    let (ours, stranger) = (dir.path().join("ca.pem"), dir.path().join("stranger.pem"));
    let named = "db.test";
    let with = |mode: &str| format!("sslmode={mode}&hostaddr={address}");

    // The server takes no plain connection over TCP, so whatever gets in is encrypted.
    assert!(try_connect(named, &with("disable"), &ours).await.unwrap_err().contains("no encryption"));
    for mode in ["allow", "prefer", "require"] {
        try_connect(named, &with(mode), &stranger).await.unwrap();
    }
    for mode in ["verify-ca", "verify-full"] {
        try_connect(named, &with(mode), &ours).await.unwrap();
        let refused = try_connect(named, &with(mode), &stranger).await.unwrap_err();
        assert!(refused.contains("invalid peer certificate"), "{mode}: {refused}");
    }
    try_connect(&address, "sslmode=verify-ca", &ours).await.unwrap();
    let refused = try_connect(&address, "sslmode=verify-full", &ours).await.unwrap_err();
    assert!(refused.contains("not valid for name"), "{refused}");
    // Whoever trusts the authorities of the system means the name too.
    try_connect(named, &format!("sslrootcert=system&hostaddr={address}"), &ours).await.unwrap();
    let refused = try_connect(&address, "sslrootcert=system", &ours).await.unwrap_err();
    assert!(refused.contains("not valid for name"), "{refused}");
    // As in libpq: with a file of authorities `require` uses it.
    let require = format!("{}&sslrootcert={}", with("require"), stranger.display());
    assert!(try_connect(named, &require, &stranger).await.unwrap_err().contains("invalid peer certificate"));
    server.stop().await.unwrap();
}

#[tokio::test]
async fn tls_that_nobody_set_up_is_an_error_and_not_a_plain_connection() {
    let database = DatabaseConfig::parse("postgres://greekd@127.0.0.1:1/greekd?sslmode=require").unwrap();
    match migrate(&database).await {
        Err(MigrateError::Connect(error)) => assert!(error.to_string().contains("no TLS settings"), "{error}"),
        other => panic!("{other:?}"),
    }
    assert!(Queries::new(&database, 1).is_err());
}

#[test]
fn a_root_file_without_certificates_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("empty.pem");
    fs::write(&file, "nothing here").unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    assert!(TlsSettings::with_root_file(Arc::clone(&provider), &file).unwrap_err().to_string().contains("empty.pem"));
    assert!(TlsSettings::with_root_file(provider, &dir.path().join("missing.pem")).is_err());
}
