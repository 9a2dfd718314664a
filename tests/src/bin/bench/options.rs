//! The command line.

use std::path::PathBuf;

use clap::builder::RangedU64ValueParser;
use clap::{Args, Parser};

/// What greekd reports covers a minute, of which the newest 55 seconds are certain.
const LONGEST: u32 = 50;
/// More contracts than anybody holds.
const MOST_POSITIONS: u32 = 100_000;
/// What the double of the broker sends at most, 200,000 events/s, with room for the contract that nobody holds.
pub(crate) const MOST_RATE: f64 = 195_000.0;
/// Below this rate a turn is twice as long: percentiles need events.
const SLOW: f64 = 20.0;

/// Measures greekd on this machine, each figure as a ratio or a count in one run.
#[derive(Clone, Debug, Parser, PartialEq)]
#[command(name = "bench")]
pub(crate) enum Bench {
    /// Received to durable by rate, beside what one committed row costs on the same server.
    Latency(LatencyOptions),
    /// What the journal costs beside the way to the database, and how soon a row is accepted.
    Journal(JournalOptions),
    /// Memory, disk and the drain of a long time without a database.
    Outage(OutageOptions),
    /// What the API asks, over many rows.
    Reads(ReadsOptions),
    /// The API itself while rows stream in, and what a crowd of clients does to them.
    Live(LiveOptions),
    /// Rows made durable per second beside a plain COPY of the same rows.
    Throughput(ThroughputOptions),
    /// Memory with a large and busy book.
    Memory(MemoryOptions),
    /// What an event costs with small and large books, and in an empty and a full database.
    Growth(GrowthOptions),
    /// Frames turned into events, beside other clients and a hand-written bound.
    Decode(DecodeOptions),
}

/// How `bench latency` measures.
#[derive(Args, Clone, Debug, PartialEq)]
pub(crate) struct LatencyOptions {
    /// Also measure the Python design in this directory (baseline_writer.py, requirements.txt)
    #[arg(long, value_name = "DIR")]
    pub(crate) baseline: Option<PathBuf>,
    /// Events per second, between commas
    #[arg(long, value_delimiter = ',', value_parser = rate, default_value = "5,50,500,5000,20000")]
    pub(crate) rates: Vec<f64>,
    /// How long each turn streams; twice as long below 20 events/s, but never above 50
    #[arg(long, value_parser = up_to(LONGEST), default_value_t = 20)]
    pub(crate) seconds: u32,
    /// Turns of each
    #[arg(long, value_parser = up_to(1_000), default_value_t = 3)]
    pub(crate) rounds: u32,
}

/// How `bench journal` measures.
#[derive(Args, Clone, Copy, Debug, PartialEq)]
pub(crate) struct JournalOptions {
    /// Rows written to a journal and to the database
    #[arg(long, value_parser = up_to(100_000_000), default_value_t = 1_000_000)]
    pub(crate) rows: u32,
    /// How long each turn streams
    #[arg(long, value_parser = up_to(LONGEST), default_value_t = 20)]
    pub(crate) seconds: u32,
    /// Turns of each
    #[arg(long, value_parser = up_to(1_000), default_value_t = 3)]
    pub(crate) rounds: u32,
}

/// How `bench outage` measures.
#[derive(Args, Clone, Copy, Debug, PartialEq)]
pub(crate) struct OutageOptions {
    /// How long the database is away
    #[arg(long, value_parser = minutes, default_value = "60")]
    pub(crate) minutes: f64,
    /// Events per second meanwhile
    #[arg(long, value_parser = rate, default_value = "5000")]
    pub(crate) rate: f64,
}

/// How `bench reads` measures.
#[derive(Args, Clone, Copy, Debug, PartialEq)]
pub(crate) struct ReadsOptions {
    /// Rows to ask for
    #[arg(long, value_parser = up_to(100_000_000), default_value_t = 10_000_000)]
    pub(crate) rows: u32,
    /// Contracts the rows are of
    #[arg(long, value_parser = up_to(100_000), default_value_t = 500)]
    pub(crate) series: u32,
    /// Answers to each question
    #[arg(long, value_parser = up_to(1_000), default_value_t = 50)]
    pub(crate) rounds: u32,
}

/// How `bench live` measures.
#[derive(Args, Clone, Copy, Debug, PartialEq)]
pub(crate) struct LiveOptions {
    /// Contracts in the book
    #[arg(long, value_parser = up_to(MOST_POSITIONS), default_value_t = 5_000)]
    pub(crate) positions: u32,
    /// Events per second meanwhile
    #[arg(long, value_parser = rate, default_value = "5000")]
    pub(crate) rate: f64,
    /// Answers to each request
    #[arg(long, value_parser = up_to(100_000), default_value_t = 300)]
    pub(crate) questions: u32,
}

/// How `bench throughput` measures.
#[derive(Args, Clone, Debug, PartialEq)]
pub(crate) struct ThroughputOptions {
    /// Also measure the Python design in this directory (baseline_writer.py, requirements.txt)
    #[arg(long, value_name = "DIR")]
    pub(crate) baseline: Option<PathBuf>,
    /// Events per second of the turn that sends more than can be stored
    #[arg(long, value_parser = rate, default_value = "190000")]
    pub(crate) rate: f64,
    /// How long each turn streams
    #[arg(long, value_parser = up_to(LONGEST), default_value_t = 15)]
    pub(crate) seconds: u32,
    /// Turns of each
    #[arg(long, value_parser = up_to(1_000), default_value_t = 3)]
    pub(crate) rounds: u32,
}

/// How `bench memory` measures.
#[derive(Args, Clone, Copy, Debug, PartialEq)]
pub(crate) struct MemoryOptions {
    /// Contracts in the book
    #[arg(long, value_parser = up_to(MOST_POSITIONS), default_value_t = 5_000)]
    pub(crate) positions: u32,
    /// Events per second
    #[arg(long, value_parser = rate, default_value = "5000")]
    pub(crate) rate: f64,
    /// How long memory is watched
    #[arg(long, value_parser = minutes, default_value = "60")]
    pub(crate) minutes: f64,
}

/// How `bench growth` measures.
#[derive(Args, Clone, Debug, PartialEq)]
pub(crate) struct GrowthOptions {
    /// Contracts in each book, between commas
    #[arg(
        long = "books",
        value_delimiter = ',',
        value_parser = up_to(MOST_POSITIONS),
        default_value = "100,1000,10000"
    )]
    pub(crate) positions: Vec<u32>,
    /// Events per second
    #[arg(long, value_parser = rate, default_value = "5000")]
    pub(crate) rate: f64,
    /// How long each turn streams
    #[arg(long, value_parser = up_to(LONGEST), default_value_t = 20)]
    pub(crate) seconds: u32,
    /// Turns of each
    #[arg(long, value_parser = up_to(1_000), default_value_t = 3)]
    pub(crate) rounds: u32,
    /// Rows stored before others are added
    #[arg(long, value_parser = RangedU64ValueParser::<u32>::new().range(0..=200_000_000), default_value_t = 0)]
    pub(crate) rows: u32,
}

/// How `bench decode` measures.
#[derive(Args, Clone, Copy, Debug, PartialEq)]
pub(crate) struct DecodeOptions {
    /// Events of each kind of frames
    #[arg(long, value_parser = up_to(1_000_000), default_value_t = 20_000)]
    pub(crate) events: u32,
    /// Turns of each
    #[arg(long, value_parser = up_to(1_000), default_value_t = 9)]
    pub(crate) rounds: u32,
    /// Also measure other clients: fetched, built and installed under target/, which takes minutes at first
    #[arg(long)]
    pub(crate) peers: bool,
}

impl LatencyOptions {
    /// How long a turn at this rate streams.
    pub(crate) fn seconds_at(&self, rate: f64) -> u32 {
        if rate < SLOW { (2 * self.seconds).min(LONGEST) } else { self.seconds }
    }
}

/// A whole number from 1 on.
fn up_to(most: u32) -> RangedU64ValueParser<u32> {
    RangedU64ValueParser::new().range(1..=u64::from(most))
}

fn rate(text: &str) -> Result<f64, String> {
    match text.trim().parse() {
        Ok(rate) if (1.0..=MOST_RATE).contains(&rate) => Ok(rate),
        _ => Err(format!("not a rate between 1 and {MOST_RATE} events/s")),
    }
}

fn minutes(text: &str) -> Result<f64, String> {
    let minutes = text.parse().ok().filter(|minutes| (0.1..=1_440.0).contains(minutes));
    minutes.ok_or_else(|| "not a number of minutes up to a day".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bench(line: &str) -> Result<Bench, clap::Error> {
        Bench::try_parse_from(["bench"].into_iter().chain(line.split_whitespace()))
    }

    fn latency(line: &str) -> LatencyOptions {
        match bench(line) {
            Ok(Bench::Latency(options)) => options,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_benchmark_has_its_options() {
        let parsed = |line: &str| bench(line).unwrap();
        let journal = JournalOptions { rows: 5, seconds: 20, rounds: 1 };
        assert_eq!(parsed("journal --rows 5 --rounds 1"), Bench::Journal(journal));
        let outage = OutageOptions { minutes: 0.5, rate: 20_000.0 };
        assert_eq!(parsed("outage --minutes 0.5 --rate 20000"), Bench::Outage(outage));
        let reads = ReadsOptions { rows: 1_000, series: 500, rounds: 5 };
        assert_eq!(parsed("reads --rows 1000 --rounds 5"), Bench::Reads(reads));
        let memory = MemoryOptions { positions: 9, rate: 5_000.0, minutes: 1.5 };
        assert_eq!(parsed("memory --positions 9 --minutes 1.5"), Bench::Memory(memory));
        let growth = GrowthOptions { positions: vec![1, 20], rate: 7.0, seconds: 20, rounds: 3, rows: 0 };
        assert_eq!(parsed("growth --books 1,20 --rate 7"), Bench::Growth(growth));
        let throughput = ThroughputOptions { baseline: None, rate: 190_000.0, seconds: 5, rounds: 3 };
        assert_eq!(parsed("throughput --seconds 5"), Bench::Throughput(throughput));
        let decode = DecodeOptions { events: 20_000, rounds: 5, peers: true };
        assert_eq!(parsed("decode --peers --rounds 5"), Bench::Decode(decode));
        let decode = DecodeOptions { events: 500, rounds: 9, peers: false };
        assert_eq!(parsed("decode --events 500"), Bench::Decode(decode));
        assert_eq!(parsed("outage"), Bench::Outage(OutageOptions { minutes: 60.0, rate: 5_000.0 }));
    }

    #[test]
    fn options_have_defaults() {
        let options = latency("latency");
        assert_eq!(options.rates, [5.0, 50.0, 500.0, 5_000.0, 20_000.0]);
        assert_eq!((options.baseline, options.seconds, options.rounds), (None, 20, 3));
        let options = latency("latency --rates 5,50 --seconds 30 --rounds 1 --baseline ../python");
        assert_eq!((options.rates.as_slice(), options.seconds, options.rounds), ([5.0, 50.0].as_slice(), 30, 1));
        assert_eq!(options.baseline, Some("../python".into()));
        assert_eq!((options.seconds_at(5.0), options.seconds_at(50.0)), (50, 30), "the window is a minute");
        assert_eq!(latency("latency --seconds 10").seconds_at(5.0), 20);
        let help = bench("latency --help").unwrap_err();
        assert_eq!(help.kind(), clap::error::ErrorKind::DisplayHelp);
    }

    #[test]
    fn nonsense_is_refused() {
        for line in [
            "",
            "speed",
            "latency --rates",
            "latency --rates 5,,50",
            "latency --rates 0",
            "latency --rates NaN",
            "latency --seconds 51",
            "latency --rounds 0",
            "latency --quick",
            "journal --rates 5",
            "outage --minutes 0",
            "outage --minutes",
            "reads --series 0",
            "growth --books 1,,2",
            "memory --positions 100001",
            "decode --events 0",
            "decode --rounds --peers",
            "decode --peers 5",
        ] {
            assert!(bench(line).is_err(), "{line:?}");
        }
    }
}
