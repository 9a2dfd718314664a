use std::io::{self, Read, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use proptest::prelude::*;
use rustls::crypto::ring::{default_provider, sign::any_supported_type};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::ServerSessionMemoryCache;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{
    CertificateError, ClientConnection, Error, HandshakeKind, RootCertStore, ServerConfig, ServerConnection,
    SupportedProtocolVersion,
};

use super::key::PublicKey;
use super::*;

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];
/// Made for these tests alone.
const RSA_KEY: &[u8] = include_bytes!("fixtures/rsa_key.pem");
/// Of the same key, and of X.509 version 1: `openssl x509 -req -signkey rsa_key.pem -sha1 -days 1`.
const RSA_VERSION_1: &[u8] = include_bytes!("fixtures/rsa_version1.pem");

/// A certificate with its key.
struct Identity {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    /// Its subjectPublicKeyInfo.
    public: Vec<u8>,
}

impl Identity {
    /// Signed by itself, expired long ago, and for another name, as the gateway's is.
    fn new(key: &rcgen::KeyPair) -> Self {
        Self::until(key, 2013)
    }

    fn until(key: &rcgen::KeyPair, year: i32) -> Self {
        let mut params = rcgen::CertificateParams::new(["sample.test".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2012, 1, 1);
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let certificate = params.self_signed(key).unwrap().der().clone();
        let public = rcgen::PublicKeyData::subject_public_key_info(key);
        Self { certificate, key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(), public }
    }

    fn ecdsa() -> Self {
        Self::new(&rcgen::KeyPair::generate().unwrap())
    }

    fn rsa() -> Self {
        let pem = std::str::from_utf8(RSA_KEY).unwrap();
        Self::new(&rcgen::KeyPair::from_pem(pem).unwrap())
    }

    fn rsa_version_1() -> Self {
        Self { certificate: CertificateDer::from_pem_slice(RSA_VERSION_1).unwrap(), ..Self::rsa() }
    }

    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.certificate)
    }

    fn server(&self, version: &'static SupportedProtocolVersion) -> Arc<ServerConfig> {
        server(self.certificate.clone(), &self.key, version)
    }
}

/// A server that presents `certificate` and signs with `key`, whether or not they belong together.
fn server(
    certificate: CertificateDer<'static>,
    key: &PrivateKeyDer<'static>,
    version: &'static SupportedProtocolVersion,
) -> Arc<ServerConfig> {
    let identity = CertifiedKey::new(vec![certificate], any_supported_type(key).unwrap());
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(identity)));
    // A server that would resume sessions.
    config.session_storage = ServerSessionMemoryCache::new(16);
    Arc::new(config)
}

const SECRET: &[u8] = b"GET /v1/api/tickle";

/// Connects in memory and says something at once. Returns the kind of handshake, or why the client refused; in that case
/// the server has heard nothing.
fn connect(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> Result<HandshakeKind, Error> {
    connect_to("localhost", client, server)
}

fn connect_to(
    name: &'static str,
    client: &Arc<ClientConfig>,
    server: &Arc<ServerConfig>,
) -> Result<HandshakeKind, Error> {
    let mut client = ClientConnection::new(Arc::clone(client), ServerName::try_from(name).unwrap()).unwrap();
    let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
    client.writer().write_all(SECRET).unwrap();
    let mut heard = Vec::new();
    let mut refusal = None;
    for _ in 0..10 {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        feed(&bytes, |from| server.read_tls(from));
        // It fails when the client has sent an alert, which is what is looked for.
        let alerted = server.process_new_packets().is_err();
        assert!(!alerted || refusal.is_some());
        if let Err(error) = server.reader().read_to_end(&mut heard) {
            assert!(alerted || error.kind() == io::ErrorKind::WouldBlock, "{error}");
        }
        if refusal.is_some() {
            break;
        }
        let mut bytes = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut bytes).unwrap();
        }
        feed(&bytes, |from| client.read_tls(from));
        refusal = client.process_new_packets().err();
    }
    match refusal {
        Some(error) => {
            assert_eq!(heard, b"", "the server was told something");
            Err(error)
        }
        None => {
            assert_eq!(heard, SECRET);
            Ok(client.handshake_kind().unwrap())
        }
    }
}

/// Hands over what was sent; nothing would mean that the connection was closed.
fn feed(mut bytes: &[u8], mut read: impl FnMut(&mut dyn Read) -> io::Result<usize>) {
    while !bytes.is_empty() {
        read(&mut bytes).unwrap();
    }
}

fn pinning(pins: &Arc<impl PinStore + 'static>) -> Arc<ClientConfig> {
    Arc::new(pinned(Arc::new(default_provider()), Arc::clone(pins) as Arc<dyn PinStore>).unwrap())
}

/// What the verifier said, found below the errors of a client.
fn text(refused: Result<HandshakeKind, Error>) -> String {
    let error = refused.expect_err("accepted");
    let error = io::Error::new(io::ErrorKind::InvalidData, io::Error::other(error));
    Refusal::within(&error).unwrap_or_else(|| panic!("not ours: {error:?}")).to_string()
}

#[test]
fn the_certificate_of_a_gateway_is_accepted_at_its_first_use_and_afterwards() {
    for version in VERSIONS {
        for identity in [Identity::ecdsa(), Identity::rsa(), Identity::rsa_version_1()] {
            let (pins, server) = (Arc::new(MemoryPins::default()), identity.server(version));
            for name in ["localhost", "127.0.0.1", "::1", "ibkr_gateway"] {
                // Another process, so to speak.
                let client = pinning(&pins);
                assert_eq!(connect_to(name, &client, &server), Ok(HandshakeKind::Full));
                assert_eq!(connect_to(name, &client, &server), Ok(HandshakeKind::Full), "a session was resumed");
                assert_eq!(pins.load().unwrap(), Some(identity.fingerprint()));
            }
        }
    }
}

/// Proves that the certificates of these tests are as bad as they should be.
#[test]
fn an_authority_cannot_help() {
    let key = rcgen::KeyPair::generate().unwrap();
    for version in VERSIONS {
        for (until, fault) in [(2013, "expired"), (2999, "not valid for name \"localhost\"")] {
            let gateway = Identity::until(&key, until);
            let mut roots = RootCertStore::empty();
            roots.add(gateway.certificate.clone()).unwrap();
            let client = ClientConfig::builder_with_provider(Arc::new(default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth();
            let refused = connect(&Arc::new(client), &gateway.server(version)).unwrap_err().to_string();
            assert!(refused.contains(fault), "{refused}");
        }
    }
}

#[test]
fn another_certificate_is_refused_in_words_that_help() {
    for version in VERSIONS {
        let (known, other, pins) = (Identity::rsa(), Identity::rsa_version_1(), Arc::new(MemoryPins::default()));
        let client = pinning(&pins);
        connect(&client, &known.server(version)).unwrap();
        for stranger in [other, Identity::ecdsa()] {
            assert_eq!(
                text(connect(&client, &stranger.server(version))),
                format!(
                    "it is not the one trusted so far; if the gateway was given another one \
                     on purpose, start this program again; expected sha256:{}, got sha256:{}",
                    known.fingerprint(),
                    stranger.fingerprint()
                )
            );
        }
        assert_eq!(pins.load().unwrap(), Some(known.fingerprint()));
        connect(&client, &known.server(version)).unwrap();
    }
}

#[test]
fn a_copied_certificate_without_its_key_is_refused() {
    for version in VERSIONS {
        for (owner, thief) in [
            (Identity::ecdsa(), Identity::ecdsa()),
            (Identity::rsa(), other_rsa()),
            (Identity::rsa_version_1(), other_rsa()),
        ] {
            let pretending = server(owner.certificate.clone(), &thief.key, version);
            let pins = Arc::new(MemoryPins::default());
            let client = pinning(&pins);
            // Trusted is who has proved to own the certificate, also at the first use.
            for _ in 0..2 {
                let refused = connect(&client, &pretending).unwrap_err();
                assert_eq!(refused, Error::InvalidCertificate(CertificateError::BadSignature));
                assert_eq!(pins.load().unwrap(), None);
            }
            connect(&client, &owner.server(version)).unwrap();
            assert_eq!(connect(&client, &pretending).unwrap_err(), CertificateError::BadSignature.into());
            let fixed = fingerprint(Arc::new(default_provider()), owner.fingerprint()).unwrap();
            assert_eq!(connect(&Arc::new(fixed), &pretending).unwrap_err(), CertificateError::BadSignature.into());
        }
    }
}

/// A key of another kind cannot have made the signature either.
#[test]
fn a_signature_of_another_kind_than_the_key_is_refused() {
    for version in VERSIONS {
        let pretending = server(Identity::rsa().certificate, &Identity::ecdsa().key, version);
        let pins = Arc::new(MemoryPins::default());
        assert!(connect(&pinning(&pins), &pretending).is_err());
        assert_eq!(pins.load().unwrap(), None);
    }
}

fn other_rsa() -> Identity {
    const OTHER_RSA_KEY: &str = include_str!("fixtures/other_rsa_key.pem");
    Identity::new(&rcgen::KeyPair::from_pem(OTHER_RSA_KEY).unwrap())
}

#[test]
fn a_configured_fingerprint_accepts_that_certificate_only() {
    for version in VERSIONS {
        let (expected, other) = (Identity::rsa_version_1(), Identity::rsa());
        let client = Arc::new(fingerprint(Arc::new(default_provider()), expected.fingerprint()).unwrap());
        assert_eq!(connect(&client, &expected.server(version)), Ok(HandshakeKind::Full));
        let refused = text(connect(&client, &other.server(version)));
        let (want, got) = (expected.fingerprint(), other.fingerprint());
        assert!(refused.contains(&format!("set sha256:{got}; expected sha256:{want}")), "{refused}");
    }
}

#[test]
fn of_several_first_connections_one_is_the_first() {
    let (one, two, pins) = (Identity::ecdsa(), Identity::ecdsa(), Arc::new(Counting::default()));
    let client = pinning(&pins);
    let start = std::sync::Barrier::new(8);
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let dial = |number: usize| {
            let (identity, client, start) = (if number.is_multiple_of(2) { &one } else { &two }, &client, &start);
            scope.spawn(move || {
                let server = identity.server(&TLS13);
                start.wait();
                (identity.fingerprint(), connect(client, &server).is_ok())
            })
        };
        let running: Vec<_> = (0..8).map(dial).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let trusted = pins.inner.load().unwrap().unwrap();
    assert_eq!(pins.stored.load(Ordering::Relaxed), 1);
    assert_eq!(outcomes.iter().filter(|(_, accepted)| *accepted).count(), 4);
    assert!(outcomes.iter().all(|(presented, accepted)| *accepted == (*presented == trusted)), "{outcomes:?}");
}

#[test]
fn another_process_that_was_faster_counts() {
    for faster_is_right in [true, false] {
        let gateway = Identity::ecdsa();
        let pin = if faster_is_right { gateway.fingerprint() } else { Identity::ecdsa().fingerprint() };
        let pins = Arc::new(Overtaken { pin, looks: AtomicU32::new(0) });
        let outcome = connect(&pinning(&pins), &gateway.server(&TLS13));
        if faster_is_right {
            assert_eq!(outcome, Ok(HandshakeKind::Full));
        } else {
            assert!(text(outcome).contains(&format!("expected sha256:{pin}")));
        }
    }
}

#[test]
fn what_cannot_be_read_or_stored_is_not_trusted() {
    let gateway = Identity::ecdsa();
    for (broken, words) in [
        (Broken { load: true, kind: io::ErrorKind::Other }, "cannot be read (it is broken): delete it;"),
        (Broken { load: false, kind: io::ErrorKind::Other }, "cannot be stored (it is broken);"),
        // Says that there is a pin, and that there is none.
        (Broken { load: false, kind: io::ErrorKind::AlreadyExists }, "cannot be stored (it is broken);"),
    ] {
        let refused = text(connect(&pinning(&Arc::new(broken)), &gateway.server(&TLS13)));
        assert!(refused.contains(words) && refused.contains(&gateway.fingerprint().to_string()), "{refused}");
    }
}

#[test]
fn a_pin_that_is_taken_back_is_not_trusted_any_longer() {
    let (old, new, pins) = (Identity::ecdsa(), Identity::ecdsa(), Arc::new(Replaceable::default()));
    let (client, server) = (pinning(&pins), old.server(&TLS13));
    connect(&client, &server).unwrap();
    *pins.0.lock().unwrap() = Some(new.fingerprint());
    assert!(text(connect(&client, &server)).contains("not the one trusted"));
    *pins.0.lock().unwrap() = None;
    connect(&client, &new.server(&TLS12)).unwrap();
    assert_eq!(pins.load().unwrap(), Some(new.fingerprint()));
}

#[test]
fn the_key_is_found_in_any_version() {
    for identity in [Identity::ecdsa(), Identity::rsa(), Identity::rsa_version_1()] {
        assert_eq!(PublicKey::of(&identity.certificate).unwrap().info(), identity.public);
    }
}

proptest! {
    #[test]
    fn no_bytes_upset_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        // Reads it or refuses it.
        drop(PublicKey::of(&CertificateDer::from(bytes)));
    }

    #[test]
    fn a_damaged_certificate_upsets_nobody(at in 0_usize..800, byte: u8, cut in 0_usize..800) {
        let mut bytes = Identity::rsa_version_1().certificate.to_vec();
        if let Some(damaged) = bytes.get_mut(at) {
            *damaged = byte;
        }
        let whole = bytes.len();
        drop(PublicKey::of(&CertificateDer::from(bytes.clone())));
        bytes.truncate(cut);
        let read = PublicKey::of(&CertificateDer::from(bytes.as_slice())).is_ok();
        prop_assert!(!read || cut >= whole || at < 8, "a part was taken for the whole");
    }
}

/// Counts how often something was stored.
#[derive(Debug, Default)]
struct Counting {
    inner: MemoryPins,
    stored: AtomicU32,
}

impl PinStore for Counting {
    fn load(&self) -> io::Result<Option<Fingerprint>> {
        self.inner.load()
    }

    fn store(&self, first: &Fingerprint) -> io::Result<()> {
        self.stored.fetch_add(1, Ordering::Relaxed);
        self.inner.store(first)
    }

    fn remedy(&self) -> String {
        self.inner.remedy()
    }
}

/// Empty until somebody else has stored something, a moment before we do.
#[derive(Debug)]
struct Overtaken {
    pin: Fingerprint,
    looks: AtomicU32,
}

impl PinStore for Overtaken {
    fn load(&self) -> io::Result<Option<Fingerprint>> {
        Ok((self.looks.fetch_add(1, Ordering::Relaxed) >= 2).then_some(self.pin))
    }

    fn store(&self, _: &Fingerprint) -> io::Result<()> {
        Err(io::ErrorKind::AlreadyExists.into())
    }

    fn remedy(&self) -> String {
        "delete it".into()
    }
}

#[derive(Debug)]
struct Broken {
    load: bool,
    kind: io::ErrorKind,
}

impl PinStore for Broken {
    fn load(&self) -> io::Result<Option<Fingerprint>> {
        if self.load { Err(io::Error::new(self.kind, "it is broken")) } else { Ok(None) }
    }

    fn store(&self, _: &Fingerprint) -> io::Result<()> {
        Err(io::Error::new(self.kind, "it is broken"))
    }

    fn remedy(&self) -> String {
        "delete it".into()
    }
}

/// As a file that a person deletes.
#[derive(Debug, Default)]
struct Replaceable(Mutex<Option<Fingerprint>>);

impl PinStore for Replaceable {
    fn load(&self) -> io::Result<Option<Fingerprint>> {
        Ok(*self.0.lock().unwrap())
    }

    fn store(&self, first: &Fingerprint) -> io::Result<()> {
        *self.0.lock().unwrap() = Some(*first);
        Ok(())
    }

    fn remedy(&self) -> String {
        "delete it".into()
    }
}
