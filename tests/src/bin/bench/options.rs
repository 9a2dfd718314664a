//! The command line.

use std::path::PathBuf;

pub(crate) const USAGE: &str = "\
usage: bench latency [--baseline DIR] [--rates LIST] [--seconds N] [--rounds N]
       bench journal [--rows N] [--seconds N] [--rounds N]
       bench outage [--minutes N] [--rate N]
       bench reads [--rows N] [--series N] [--rounds N]
       bench live [--positions N] [--rate N] [--questions N]
       bench throughput [--baseline DIR] [--rate N] [--seconds N] [--rounds N]
       bench memory [--positions N] [--rate N] [--minutes N]
       bench growth [--books LIST] [--rate N] [--seconds N] [--rounds N] [--rows N]
       bench decode [--events N] [--rounds N] [--peers]

  --baseline DIR   also measure the Python design in DIR (baseline_writer.py, requirements.txt)
  --rates LIST     events per second, between commas [5,50,500,5000,20000]
  --seconds N      how long each turn streams, at most 50 [20]; twice as long below 20 events/s, but never above 50
  --rounds N       turns of each [3; decode: 9]; answers to each question [50]
  --rows N         rows written to a journal and to the database [1000000]; rows to ask for [10000000]; rows stored
                   before others are added [none]
  --series N       contracts the rows are of [500]
  --minutes N      how long the database is away [60]; how long memory is watched [60]
  --rate N         events per second meanwhile [5000]; more than can be stored [190000]
  --positions N    contracts in the book [5000]
  --books LIST     contracts in each book, between commas [100,1000,10000]
  --questions N    answers to each request [300]
  --events N       events of each kind of frames [20000]
  --peers          also measure other clients: fetched, built and installed under target/, which takes minutes at first";

/// What greekd reports covers a minute, of which the newest 55 seconds are certain.
const LONGEST: u32 = 50;
/// More contracts than anybody holds.
const MOST_POSITIONS: u32 = 100_000;
/// What the double of the broker sends at most, 200,000 events/s, with room for the contract that nobody holds.
pub(crate) const MOST_RATE: f64 = 195_000.0;
/// Below this rate a turn is twice as long: percentiles need events.
const SLOW: f64 = 20.0;

/// Which benchmark.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Bench {
    Latency(Options),
    Journal(JournalOptions),
    Outage(OutageOptions),
    Reads(ReadsOptions),
    Live(LiveOptions),
    Throughput(ThroughputOptions),
    Memory(MemoryOptions),
    Growth(GrowthOptions),
    Decode(DecodeOptions),
}

/// How `bench journal` measures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct JournalOptions {
    pub(crate) rows: u32,
    pub(crate) seconds: u32,
    pub(crate) rounds: u32,
}

/// How `bench outage` measures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct OutageOptions {
    pub(crate) minutes: f64,
    pub(crate) rate: f64,
}

/// How `bench reads` measures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ReadsOptions {
    pub(crate) rows: u32,
    pub(crate) series: u32,
    pub(crate) rounds: u32,
}

/// How `bench live` measures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct LiveOptions {
    pub(crate) positions: u32,
    pub(crate) rate: f64,
    pub(crate) questions: u32,
}

/// How `bench throughput` measures.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ThroughputOptions {
    pub(crate) baseline: Option<PathBuf>,
    pub(crate) rate: f64,
    pub(crate) seconds: u32,
    pub(crate) rounds: u32,
}

/// How `bench memory` measures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct MemoryOptions {
    pub(crate) positions: u32,
    pub(crate) rate: f64,
    pub(crate) minutes: f64,
}

/// How `bench growth` measures.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct GrowthOptions {
    pub(crate) positions: Vec<u32>,
    pub(crate) rate: f64,
    pub(crate) seconds: u32,
    pub(crate) rounds: u32,
    pub(crate) rows: u32,
}

/// How `bench decode` measures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct DecodeOptions {
    pub(crate) events: u32,
    pub(crate) rounds: u32,
    pub(crate) peers: bool,
}

impl Bench {
    /// Reads the command line; `None` when help is asked for.
    pub(crate) fn parse(args: &[String]) -> Result<Option<Self>, String> {
        let mut args = args.iter().map(String::as_str);
        let name = args.next().ok_or("which benchmark?")?;
        let rest: Vec<&str> = args.collect();
        if rest.iter().any(|arg| ["--help", "-h"].contains(arg)) {
            return Ok(None);
        }
        match name {
            "latency" => Options::parse(&rest).map(Self::Latency).map(Some),
            "journal" => JournalOptions::parse(&rest).map(Self::Journal).map(Some),
            "outage" => OutageOptions::parse(&rest).map(Self::Outage).map(Some),
            "reads" => ReadsOptions::parse(&rest).map(Self::Reads).map(Some),
            "live" => LiveOptions::parse(&rest).map(Self::Live).map(Some),
            "throughput" => ThroughputOptions::parse(&rest).map(Self::Throughput).map(Some),
            "memory" => MemoryOptions::parse(&rest).map(Self::Memory).map(Some),
            "growth" => GrowthOptions::parse(&rest).map(Self::Growth).map(Some),
            "decode" => DecodeOptions::parse(&rest).map(Self::Decode).map(Some),
            "help" | "--help" | "-h" => Ok(None),
            other => Err(format!("there is no benchmark {other}")),
        }
    }
}

impl JournalOptions {
    fn parse(args: &[&str]) -> Result<Self, String> {
        let mut options = Self { rows: 1_000_000, seconds: 20, rounds: 3 };
        each(args, |name, value| {
            match name {
                "--rows" => options.rows = whole(name, value, 100_000_000)?,
                "--seconds" => options.seconds = whole(name, value, LONGEST)?,
                "--rounds" => options.rounds = whole(name, value, 1_000)?,
                other => return Err(format!("unknown option {other}")),
            }
            Ok(())
        })?;
        Ok(options)
    }
}

impl OutageOptions {
    fn parse(args: &[&str]) -> Result<Self, String> {
        let mut options = Self { minutes: 60.0, rate: 5_000.0 };
        each(args, |name, value| {
            match name {
                "--minutes" => options.minutes = minutes(value)?,
                "--rate" => options.rate = rate(value)?,
                other => return Err(format!("unknown option {other}")),
            }
            Ok(())
        })?;
        Ok(options)
    }
}

impl ReadsOptions {
    fn parse(args: &[&str]) -> Result<Self, String> {
        let mut options = Self { rows: 10_000_000, series: 500, rounds: 50 };
        each(args, |name, value| {
            match name {
                "--rows" => options.rows = whole(name, value, 100_000_000)?,
                "--series" => options.series = whole(name, value, 100_000)?,
                "--rounds" => options.rounds = whole(name, value, 1_000)?,
                other => return Err(format!("unknown option {other}")),
            }
            Ok(())
        })?;
        Ok(options)
    }
}

impl LiveOptions {
    fn parse(args: &[&str]) -> Result<Self, String> {
        let mut options = Self { positions: 5_000, rate: 5_000.0, questions: 300 };
        each(args, |name, value| {
            match name {
                "--positions" => options.positions = whole(name, value, MOST_POSITIONS)?,
                "--rate" => options.rate = rate(value)?,
                "--questions" => options.questions = whole(name, value, 100_000)?,
                other => return Err(format!("unknown option {other}")),
            }
            Ok(())
        })?;
        Ok(options)
    }
}

impl ThroughputOptions {
    fn parse(args: &[&str]) -> Result<Self, String> {
        let mut options = Self { baseline: None, rate: 190_000.0, seconds: 15, rounds: 3 };
        each(args, |name, value| {
            match name {
                "--baseline" => options.baseline = Some(value.into()),
                "--rate" => options.rate = rate(value)?,
                "--seconds" => options.seconds = whole(name, value, LONGEST)?,
                "--rounds" => options.rounds = whole(name, value, 1_000)?,
                other => return Err(format!("unknown option {other}")),
            }
            Ok(())
        })?;
        Ok(options)
    }
}

impl MemoryOptions {
    fn parse(args: &[&str]) -> Result<Self, String> {
        let mut options = Self { positions: 5_000, rate: 5_000.0, minutes: 60.0 };
        each(args, |name, value| {
            match name {
                "--positions" => options.positions = whole(name, value, MOST_POSITIONS)?,
                "--rate" => options.rate = rate(value)?,
                "--minutes" => options.minutes = minutes(value)?,
                other => return Err(format!("unknown option {other}")),
            }
            Ok(())
        })?;
        Ok(options)
    }
}

impl GrowthOptions {
    fn parse(args: &[&str]) -> Result<Self, String> {
        let mut options = Self { positions: vec![100, 1_000, 10_000], rate: 5_000.0, seconds: 20, rounds: 3, rows: 0 };
        each(args, |name, value| {
            match name {
                "--books" => {
                    let books = value.split(',').map(|book| whole(name, book, MOST_POSITIONS));
                    options.positions = books.collect::<Result<_, _>>()?;
                }
                "--rate" => options.rate = rate(value)?,
                "--seconds" => options.seconds = whole(name, value, LONGEST)?,
                "--rounds" => options.rounds = whole(name, value, 1_000)?,
                "--rows" => options.rows = whole(name, value, 200_000_000)?,
                other => return Err(format!("unknown option {other}")),
            }
            Ok(())
        })?;
        Ok(options)
    }
}

impl DecodeOptions {
    fn parse(args: &[&str]) -> Result<Self, String> {
        let (peers, args): (Vec<&str>, Vec<&str>) = args.iter().partition(|arg| **arg == "--peers");
        let mut options = Self { events: 20_000, rounds: 9, peers: !peers.is_empty() };
        each(&args, |name, value| {
            match name {
                "--events" => options.events = whole(name, value, 1_000_000)?,
                "--rounds" => options.rounds = whole(name, value, 1_000)?,
                other => return Err(format!("unknown option {other}")),
            }
            Ok(())
        })?;
        Ok(options)
    }
}

/// Calls `take` with each option and its value.
fn each(args: &[&str], mut take: impl FnMut(&str, &str) -> Result<(), String>) -> Result<(), String> {
    args.chunks(2).try_for_each(|pair| match pair {
        [name, value] => take(name, value),
        [name, ..] => Err(format!("{name} needs a value")),
        [] => Ok(()),
    })
}

/// How `bench latency` measures.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Options {
    pub(crate) baseline: Option<PathBuf>,
    pub(crate) rates: Vec<f64>,
    pub(crate) seconds: u32,
    pub(crate) rounds: u32,
}

impl Options {
    fn parse(args: &[&str]) -> Result<Self, String> {
        let rates = vec![5.0, 50.0, 500.0, 5_000.0, 20_000.0];
        let mut options = Self { baseline: None, rates, seconds: 20, rounds: 3 };
        each(args, |name, value| {
            match name {
                "--baseline" => options.baseline = Some(value.into()),
                "--rates" => options.rates = value.split(',').map(rate).collect::<Result<_, _>>()?,
                "--seconds" => options.seconds = whole(name, value, LONGEST)?,
                "--rounds" => options.rounds = whole(name, value, 1_000)?,
                other => return Err(format!("unknown option {other}")),
            }
            Ok(())
        })?;
        Ok(options)
    }

    /// How long a turn at this rate streams.
    pub(crate) fn seconds_at(&self, rate: f64) -> u32 {
        if rate < SLOW { (2 * self.seconds).min(LONGEST) } else { self.seconds }
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.trim().parse() {
        Ok(rate) if (1.0..=MOST_RATE).contains(&rate) => Ok(rate),
        _ => Err(format!("{text} is not a rate between 1 and {MOST_RATE} events/s")),
    }
}

fn minutes(text: &str) -> Result<f64, String> {
    let minutes = text.parse().ok().filter(|minutes| (0.1..=1_440.0).contains(minutes));
    minutes.ok_or_else(|| format!("{text} is not a number of minutes up to a day"))
}

fn whole(name: &str, text: &str, most: u32) -> Result<u32, String> {
    match text.parse() {
        Ok(number) if (1..=most).contains(&number) => Ok(number),
        _ => Err(format!("{name} {text}: a whole number from 1 to {most} is needed")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bench(line: &str) -> Result<Option<Bench>, String> {
        Bench::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    fn parse(line: &str) -> Result<Option<Options>, String> {
        bench(line).map(|bench| match bench {
            Some(Bench::Latency(options)) => Some(options),
            Some(other) => panic!("{other:?}"),
            None => None,
        })
    }

    #[test]
    fn each_benchmark_has_its_options() {
        let journal = JournalOptions { rows: 5, seconds: 20, rounds: 1 };
        assert_eq!(bench("journal --rows 5 --rounds 1"), Ok(Some(Bench::Journal(journal))));
        let outage = OutageOptions { minutes: 0.5, rate: 20_000.0 };
        assert_eq!(bench("outage --minutes 0.5 --rate 20000"), Ok(Some(Bench::Outage(outage))));
        let reads = ReadsOptions { rows: 1_000, series: 500, rounds: 5 };
        assert_eq!(bench("reads --rows 1000 --rounds 5"), Ok(Some(Bench::Reads(reads))));
        let memory = MemoryOptions { positions: 9, rate: 5_000.0, minutes: 1.5 };
        assert_eq!(bench("memory --positions 9 --minutes 1.5"), Ok(Some(Bench::Memory(memory))));
        let growth = GrowthOptions { positions: vec![1, 20], rate: 7.0, seconds: 20, rounds: 3, rows: 0 };
        assert_eq!(bench("growth --books 1,20 --rate 7"), Ok(Some(Bench::Growth(growth))));
        let throughput = ThroughputOptions { baseline: None, rate: 190_000.0, seconds: 5, rounds: 3 };
        assert_eq!(bench("throughput --seconds 5"), Ok(Some(Bench::Throughput(throughput))));
        let decode = DecodeOptions { events: 20_000, rounds: 5, peers: true };
        assert_eq!(bench("decode --peers --rounds 5"), Ok(Some(Bench::Decode(decode))));
        let decode = DecodeOptions { events: 500, rounds: 9, peers: false };
        assert_eq!(bench("decode --events 500"), Ok(Some(Bench::Decode(decode))));
        assert_eq!(bench("outage"), Ok(Some(Bench::Outage(OutageOptions { minutes: 60.0, rate: 5_000.0 }))));
    }

    #[test]
    fn options_have_defaults() {
        let options = parse("latency").unwrap().unwrap();
        assert_eq!(options.rates, [5.0, 50.0, 500.0, 5_000.0, 20_000.0]);
        assert_eq!((options.baseline, options.seconds, options.rounds), (None, 20, 3));
        let options = parse("latency --rates 5,50 --seconds 30 --rounds 1 --baseline ../python").unwrap().unwrap();
        assert_eq!((options.rates.as_slice(), options.seconds, options.rounds), ([5.0, 50.0].as_slice(), 30, 1));
        assert_eq!(options.baseline, Some("../python".into()));
        assert_eq!((options.seconds_at(5.0), options.seconds_at(50.0)), (50, 30), "the window is a minute");
        assert_eq!(parse("latency --seconds 10").unwrap().unwrap().seconds_at(5.0), 20);
        assert_eq!(parse("latency --help"), Ok(None));
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
