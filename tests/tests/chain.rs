//! A real chain through the whole path: what is stored at each close agrees with the Greeks of the file's vendor.
//!
//! The file is somebody else's data and not part of the project: it is named by `GREEKD_CHAIN`, or found as
//! `data/spxw_2018_eod.csv` in a folder beside the checkout. Without it this test says so and passes.
// A test says what it expected by panicking.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::print_stdout)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use greekd_tests::daemon::{Daemon, tail};
use greekd_tests::scratch::scratch;
use greeks_model::jiff::civil::{Date, date};
use greeks_model::jiff::tz::TimeZone;
use greeks_model::{Contract, Decimal, OptionType, UnixNanos};
use greeks_store::Queries;
use greeks_store::SnapshotFilter;
use greeks_store::private::{PrivateConfig, PrivateServer};

/// The vendor prints delta and gamma with four decimals, theta per year and vega per 1.00 with four: half a unit of
/// the last digit, in our units, is 5e-5, 5e-5, 1.4e-7 and 5e-7. What is above that is the vendor's rounded implied
/// volatility on the day before expiration, when little time is left.
const TOLERANCE: [(&str, f64); 4] = [("delta", 5.5e-5), ("gamma", 5.5e-5), ("theta", 2e-5), ("vega", 1e-6)];

/// One row of the file.
struct Quoted {
    contract: String,
    day: Date,
    greeks: [f64; 4],
    implied_volatility: f64,
}

fn file() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("GREEKD_CHAIN") {
        return Some(path.into());
    }
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?;
    let beside = std::fs::read_dir(checkout.parent()?).ok()?.flatten();
    beside.map(|entry| entry.path().join("data/spxw_2018_eod.csv")).find(|path| path.is_file())
}

fn read(path: &Path) -> Vec<Quoted> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_path(path).unwrap();
    let names: Vec<String> =
        reader.headers().unwrap().iter().map(|name| name.trim_start_matches('\u{feff}').to_owned()).collect();
    let mut quoted = Vec::new();
    for row in reader.records() {
        let row = row.unwrap();
        let text = |name: &str| row.get(names.iter().position(|n| n == name).unwrap()).unwrap();
        let number = |name: &str| text(name).parse::<f64>().unwrap();
        let kind = if text("type") == "call" { OptionType::Call } else { OptionType::Put };
        let strike: Decimal = text("strike").parse().unwrap();
        let contract = Contract::osi(text("optionroot").get(..4).unwrap(), day(text("expiration")), kind, strike);
        quoted.push(Quoted {
            contract: contract.unwrap().to_string(),
            day: day(text("quotedate")),
            // The vendor's theta is per year, its vega per 1.00 of volatility.
            greeks: [number("delta"), number("gamma"), number("theta") / 365.0, number("vega") / 100.0],
            implied_volatility: number("impliedvol"),
        });
    }
    quoted
}

/// `MM/DD/YYYY`.
fn day(text: &str) -> Date {
    let parts: Vec<i16> = text.split('/').map(|part| part.parse().unwrap()).collect();
    date(parts[2], i8::try_from(parts[0]).unwrap(), i8::try_from(parts[1]).unwrap())
}

/// 16:00 in New York.
fn close(day: Date) -> UnixNanos {
    let zone = TimeZone::get("America/New_York").unwrap();
    UnixNanos::from_timestamp(day.at(16, 0, 0, 0).to_zoned(zone).unwrap().timestamp())
}

type Stored = BTreeMap<(String, UnixNanos), ([f64; 4], f64)>;

/// The largest difference of each Greek over liquid contracts, how many there were, and on which days.
fn compare(quoted: &[Quoted], stored: &Stored, shift: usize) -> ([f64; 4], usize, BTreeSet<Date>) {
    let days: Vec<Date> = quoted.iter().map(|row| row.day).collect::<BTreeSet<_>>().into_iter().collect();
    let (mut worst, mut count, mut seen) = ([0.0; 4], 0, BTreeSet::new());
    for row in quoted.iter().filter(|row| (0.05..=0.95).contains(&row.greeks[0].abs())) {
        let at = days.binary_search(&row.day).unwrap();
        let Some(other) = days.get(at + shift) else { continue };
        let found = stored.get(&(row.contract.clone(), close(*other)));
        let Some((greeks, volatility)) = found else {
            assert_ne!(shift, 0, "{} is not stored at the close of {}", row.contract, row.day);
            continue;
        };
        if shift == 0 {
            assert_eq!(volatility.to_bits(), row.implied_volatility.to_bits(), "{} on {}", row.contract, row.day);
        }
        for ((worst, ours), theirs) in worst.iter_mut().zip(greeks).zip(row.greeks) {
            *worst = f64::max(*worst, (ours - theirs).abs());
        }
        count += 1;
        seen.insert(row.day);
    }
    (worst, count, seen)
}

#[tokio::test(flavor = "multi_thread")]
async fn stored_greeks_agree_with_the_vendor_on_every_trading_day() {
    let Some(path) = file() else {
        println!("skipped: no chain file; name one in GREEKD_CHAIN");
        return;
    };
    let quoted = read(&path);
    let directory = scratch();
    let data = directory.path().join("demo");
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let args = ["demo", "--chain", &text(&path), "--day", "0.5", "--rate", "100", "--data-dir", &text(&data)];
    let ended = Daemon::start_in(directory.path(), &args, &[]).wait(Duration::from_secs(300)).await;
    assert!(ended.status.success(), "{}\n{}", tail(&ended.stdout), tail(&ended.stderr));

    let server = PrivateServer::start(PrivateConfig::new(&data)).await.unwrap();
    let queries = Queries::new(&server.database(), 1).unwrap();
    let mut filter = SnapshotFilter::default();
    filter.limit = SnapshotFilter::MAX_LIMIT;
    let (mut stored, mut on_the_fifth) = (Stored::new(), 0);
    loop {
        let page = queries.snapshots(&filter).await.unwrap();
        for row in page.rows {
            on_the_fifth += u64::from((close(date(2018, 2, 2))..=close(date(2018, 2, 5))).contains(&row.event_time));
            if let (Some(delta), Some(gamma), Some(theta), Some(vega), Some(volatility)) =
                (row.delta, row.gamma, row.theta, row.vega, row.implied_volatility)
            {
                stored.insert((row.contract_key, row.event_time), ([delta, gamma, theta, vega], volatility));
            }
        }
        filter.cursor = page.next;
        if filter.cursor.is_none() {
            break;
        }
    }
    let partitions = queries.partitions().await.unwrap();
    let rows_in = |table: &str| partitions.iter().find(|p| p.table == table).map_or(0, |p| p.rows);
    assert!(rows_in("greek_ticks_2018_01") > 0 && rows_in("greek_ticks_2018_02") >= on_the_fifth && on_the_fifth > 0);
    assert_eq!(rows_in("greek_ticks_default"), 0, "2018 has its own months");
    server.stop().await.unwrap();

    for row in &quoted {
        let key = (row.contract.clone(), close(row.day));
        assert!(stored.contains_key(&key), "{} is not stored at the close of {}", row.contract, row.day);
    }
    let (worst, count, days) = compare(&quoted, &stored, 0);
    println!(
        "{count} liquid contracts on {} days; largest differences (delta, gamma, theta, vega): {worst:?}",
        days.len()
    );
    for (worst, (name, tolerance)) in worst.iter().zip(TOLERANCE) {
        assert!(*worst <= tolerance, "{name} differs by {worst}");
    }
    // On a day of expiration every delta is 0 or 1: no contract counts as liquid then.
    let all: BTreeSet<Date> = quoted.iter().map(|row| row.day).collect();
    assert!(days.len() + 2 >= all.len(), "{:?} were not compared", all.difference(&days));
    assert!(days.contains(&date(2018, 2, 5)));
    // The comparison can fail: the next day's rows do not agree with this day's vendor.
    let (shifted, others, _) = compare(&quoted, &stored, 1);
    assert!(others > 0 && shifted.iter().zip(TOLERANCE).all(|(worst, (_, tolerance))| *worst > tolerance * 10.0));
}
