//! Which values the settings take, and which rule a refusal states.

use std::collections::BTreeSet;

use secrecy::ExposeSecret;

use super::*;

pub(crate) fn layers(pairs: &[(&str, &str)]) -> Layers {
    let environment = pairs.iter().map(|(name, value)| (name.into(), value.into()));
    Layers::load(environment, Path::new("/nonexistent"), None).unwrap()
}

pub(crate) fn settings(pairs: &[(&str, &str)]) -> Result<Settings, Failure> {
    let mut all = vec![("HOME", "/home/trader")];
    all.extend_from_slice(pairs);
    Settings::from_layers(layers(&all), &Overrides::default())
}

#[test]
fn defaults_are_the_published_ones() {
    let settings = settings(&[]).unwrap();
    assert_eq!(
        settings.commit,
        Commit { rate: 100, burst: 25, flush_max_records: 50, flush_max_delay: Duration::from_secs(1) }
    );
    assert_eq!((settings.slo_p95, settings.rate), (Duration::from_millis(500), None));
    assert_eq!(settings.journal, Journal { max_bytes: 8 << 30, sync: Duration::from_millis(20) });
    assert!(!settings.keep_payload && settings.tastytrade.is_none() && settings.ibkr.is_none());
    assert!(matches!(settings.database, DatabaseChoice::Private));
    assert_eq!(settings.listen, Listen::At("127.0.0.1:9850".parse().unwrap()));
    assert!(settings.http_token.is_none() && settings.betas.is_empty());
    let failure = settings.require_broker().unwrap_err();
    assert_eq!(failure.code(), Code::Config);
    assert!(failure.to_string().contains("greekd demo"));
}

#[test]
fn values_are_read_in_their_units() {
    let settings = settings(&[
        ("GREEKD_COMMIT_RATE", "200/s, burst 5"),
        ("GREEKD_FLUSH_MAX_RECORDS", "7"),
        ("GREEKD_FLUSH_MAX_DELAY", "250ms"),
        ("GREEKD_SLO_P95", "2s"),
        ("GREEKD_JOURNAL_MAX_BYTES", "512 MiB"),
        ("GREEKD_JOURNAL_SYNC", "5ms"),
        ("GREEKD_RATE", "-0.005"),
        ("GREEKD_SOURCE_PAYLOAD", "on"),
        ("GREEKD_LISTEN", "off"),
        ("GREEKD_HTTP_TOKEN", "0123456789abcdef"),
        ("GREEKD_HTTP_HOSTS", "greeks.lan, [fd00::1]:8443"),
        ("TASTYTRADE_REFRESH_TOKEN", "r"),
        ("TASTYTRADE_CLIENT_SECRET", "s"),
        ("TASTYTRADE_ACCOUNTS", "5WT00001, 5WT00002"),
    ])
    .unwrap();
    assert_eq!((settings.commit.rate, settings.commit.burst, settings.commit.flush_max_records), (200, 5, 7));
    assert_eq!(settings.commit.flush_max_delay, Duration::from_millis(250));
    assert_eq!((settings.slo_p95, settings.rate), (Duration::from_secs(2), Some(-0.005)));
    assert_eq!(settings.journal, Journal { max_bytes: 512 << 20, sync: Duration::from_millis(5) });
    assert!(settings.keep_payload && settings.listen == Listen::Off);
    assert_eq!(settings.http_token.unwrap().expose_secret(), "0123456789abcdef");
    assert_eq!(settings.http_hosts, ["greeks.lan", "[fd00::1]:8443"]);
    let tastytrade = settings.tastytrade.unwrap();
    assert_eq!(tastytrade.accounts.unwrap(), ["5WT00001", "5WT00002"]);
    assert_eq!(tastytrade.refresh_token.expose_secret(), "r");
}

#[test]
fn a_beta_is_a_number() {
    let directory = tempfile::tempdir().unwrap();
    let betas = |text: &str| {
        std::fs::write(directory.path().join("greekd.toml"), text).unwrap();
        betas(&Layers::load([], directory.path(), None).unwrap())
    };
    let known = betas("[beta]\nSPX = 1\nF = 1.25\nGLD = -0.1").unwrap();
    assert_eq!((known.get("F"), known.get("GLD"), known.len()), (Some(&1.25), Some(&-0.1), 3));
    for wrong in ["F = \"high\"", "F = nan", "F = inf", "F = 1e9", "F = true"] {
        let failure = betas(&format!("[beta]\n{wrong}")).unwrap_err();
        assert_eq!(failure.code(), Code::Config);
        assert!(failure.to_string().contains("the beta of F"), "{failure}");
    }
}

#[test]
fn values_out_of_their_rule_are_refused_with_the_rule() {
    for (name, value) in [
        ("GREEKD_COMMIT_RATE", "fast"),
        ("GREEKD_COMMIT_RATE", "0"),
        ("GREEKD_COMMIT_RATE", "10,x"),
        ("GREEKD_FLUSH_MAX_RECORDS", "0"),
        ("GREEKD_FLUSH_MAX_RECORDS", "2001"),
        ("GREEKD_FLUSH_MAX_DELAY", "1"),
        ("GREEKD_FLUSH_MAX_DELAY", "0s"),
        ("GREEKD_FLUSH_MAX_DELAY", "-1s"),
        ("GREEKD_JOURNAL_MAX_BYTES", "8"),
        ("GREEKD_JOURNAL_MAX_BYTES", "8 elephants"),
        ("GREEKD_JOURNAL_MAX_BYTES", "99999999999TiB"),
        ("GREEKD_JOURNAL_MAX_BYTES", "-1GiB"),
        ("GREEKD_JOURNAL_SYNC", "2s"),
        ("GREEKD_SLO_P95", "2h"),
        ("GREEKD_RATE", "4"),
        ("GREEKD_RATE", "NaN"),
        ("GREEKD_SOURCE_PAYLOAD", "maybe"),
        ("GREEKD_LISTEN", "9850"),
        ("GREEKD_LOG_FORMAT", "xml"),
        ("TASTYTRADE_ACCOUNTS", ","),
        ("TASTYTRADE_REFRESH_TOKEN", "alone"),
        ("TASTYTRADE_CLIENT_SECRET", "alone"),
        ("TASTYTRADE_REFRESH_TOKEN_FILE", "/nonexistent/token"),
    ] {
        let mut pairs = vec![(name, value)];
        if name == "TASTYTRADE_ACCOUNTS" {
            pairs.extend([("TASTYTRADE_REFRESH_TOKEN", "r"), ("TASTYTRADE_CLIENT_SECRET", "s")]);
        }
        let failure = settings(&pairs).expect_err(name);
        assert_eq!(failure.code(), Code::Config);
        assert!(failure.to_string().contains(name), "{failure}");
    }
}

#[test]
fn the_example_file_names_every_setting() {
    let example = include_str!("../../../../.env.example");
    for variable in variables::VARIABLES.iter().filter(|variable| !variables::AMBIENT.contains(&variable.name)) {
        assert!(example.contains(&format!("#{}=", variable.name)), "{} is missing", variable.name);
    }
}

#[test]
fn the_example_file_names_every_key_of_the_file() {
    let example = include_str!("../../../../.env.example");
    let (_, keys) = example.split_once("# greekd.toml has").expect("the list of keys");
    let mut named = BTreeSet::new();
    let mut table = String::new();
    for line in keys.lines().filter_map(|line| line.strip_prefix("#   ")) {
        let line = match line.strip_prefix('[').and_then(|line| line.split_once(']')) {
            Some((name, keys)) => {
                table = format!("{name}.");
                keys
            }
            None => line,
        };
        let words = line.split(',').map(str::trim).filter(|key| !key.is_empty());
        named.extend(words.map(|key| format!("{table}{key}")));
    }
    let known: BTreeSet<String> =
        variables::VARIABLES.iter().filter_map(|variable| variable.toml).map(ToOwned::to_owned).collect();
    assert_eq!(named, known);
}

#[test]
fn a_demo_takes_no_part_of_a_configuration() {
    let all = [
        ("TASTYTRADE_REFRESH_TOKEN", "alone"),
        ("IBKR_GATEWAY_URL", "nonsense"),
        ("DATABASE_URL", "nonsense"),
        ("GREEKD_DATA_DIR", "/d"),
    ];
    let layers = Layers::for_demo(all.map(|(name, value)| (name.into(), value.into()))).unwrap();
    let settings = Settings::from_layers(layers, &Overrides::default()).unwrap();
    assert!(matches!(settings.database, DatabaseChoice::Private));
    assert!(settings.tastytrade.is_none() && settings.ibkr.is_none());
    assert_eq!(settings.data_dir, Path::new("/d"));
}

#[test]
fn the_data_directory_has_a_place_for_everyone() {
    let overrides = Overrides { data_dir: Some("/flag".into()), ..Overrides::default() };
    let all = layers(&[("GREEKD_DATA_DIR", "/env"), ("HOME", "/home/trader")]);
    assert_eq!(data_dir(&all, &overrides).unwrap(), Path::new("/flag"));
    assert_eq!(data_dir(&all, &Overrides::default()).unwrap(), Path::new("/env"));
    if !is_root() {
        let home = layers(&[("HOME", "/home/trader"), ("XDG_DATA_HOME", "/xdg")]);
        assert_eq!(data_dir(&home, &Overrides::default()).unwrap(), Path::new("/xdg/greekd"));
        assert!(data_dir(&layers(&[]), &Overrides::default()).is_err());
    }
}
