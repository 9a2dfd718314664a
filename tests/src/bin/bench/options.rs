//! The command line.

use std::path::PathBuf;

pub(crate) const USAGE: &str = "\
usage: bench latency [--baseline DIR] [--rates LIST] [--seconds N] [--rounds N]

  --baseline DIR   also measure the Python design in DIR (baseline_writer.py, requirements.txt)
  --rates LIST     events per second, between commas [5,50,500,5000,20000]
  --seconds N      how long each turn streams, at most 50 [20]; twice as long below 20 events/s, but never above 50
  --rounds N       turns of each [3]";

/// What greekd reports covers a minute, of which the newest 55 seconds are certain.
const LONGEST: u32 = 50;
/// Below this rate a turn is twice as long: percentiles need events.
const SLOW: f64 = 20.0;

/// What to measure.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Options {
    pub(crate) baseline: Option<PathBuf>,
    pub(crate) rates: Vec<f64>,
    pub(crate) seconds: u32,
    pub(crate) rounds: u32,
}

impl Options {
    /// Reads the command line; `None` when help is asked for.
    pub(crate) fn parse(args: &[String]) -> Result<Option<Self>, String> {
        let mut args = args.iter().map(String::as_str);
        match args.next() {
            Some("latency") => {}
            Some("help" | "--help" | "-h") => return Ok(None),
            Some(other) => return Err(format!("there is no benchmark {other}")),
            None => return Err("which benchmark?".into()),
        }
        let rates = vec![5.0, 50.0, 500.0, 5_000.0, 20_000.0];
        let mut options = Self { baseline: None, rates, seconds: 20, rounds: 3 };
        while let Some(name) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{name} needs a value"));
            match name {
                "--baseline" => options.baseline = Some(value()?.into()),
                "--rates" => options.rates = value()?.split(',').map(rate).collect::<Result<_, _>>()?,
                "--seconds" => options.seconds = whole(name, value()?, LONGEST)?,
                "--rounds" => options.rounds = whole(name, value()?, 1_000)?,
                "--help" | "-h" => return Ok(None),
                other => return Err(format!("unknown option {other}")),
            }
        }
        Ok(Some(options))
    }

    /// How long a turn at this rate streams.
    pub(crate) fn seconds_at(&self, rate: f64) -> u32 {
        if rate < SLOW { (2 * self.seconds).min(LONGEST) } else { self.seconds }
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.trim().parse() {
        Ok(rate) if (1.0..=100_000.0).contains(&rate) => Ok(rate),
        _ => Err(format!("{text} is not a rate between 1 and 100000 events/s")),
    }
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

    fn parse(line: &str) -> Result<Option<Options>, String> {
        Options::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
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
        ] {
            assert!(parse(line).is_err(), "{line:?}");
        }
    }
}
