//! What can be said to `torture`.

use std::time::Duration;

/// For people.
pub const USAGE: &str = "\
usage: torture [OPTIONS]

Runs greekd again and again and ends each run by a fault; then every accepted row has to be stored once, bit for bit.

  --minutes N     begin no episode after so many minutes (10)
  --episodes N    end after so many episodes
  --seed S        the first episode's seed; the next has S + 1 (by the clock)
  --lanes L       episodes at a time, each with a PostgreSQL of its own (3)
  --rate R        events per second (300)
  --verbose       tell every run
  --no-sweep      without the episode that ends at every point in turn
  --env NAME=V    a setting more for greekd

torture oracle DIRECTORY URL   judges one episode";

/// The choices of a session.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// No episode begins after this.
    pub time: Duration,
    /// How many at most.
    pub episodes: Option<u64>,
    /// Of the first.
    pub seed: u64,
    /// Seeds of episodes played before.
    pub known: Vec<u64>,
    /// At a time.
    pub lanes: usize,
    /// Events per second.
    pub rate: f64,
    /// Whether every point is met in turn first.
    pub sweep: bool,
    /// Whether every run is told.
    pub verbose: bool,
    /// More settings for greekd.
    pub environment: Vec<(String, String)>,
    /// It is enough when each of these faults was inflicted so often.
    pub wanted: Vec<(&'static str, u64)>,
}

impl Options {
    /// Ten minutes from this seed on.
    pub const fn new(seed: u64) -> Self {
        Self {
            time: Duration::from_secs(600),
            episodes: None,
            seed,
            known: Vec::new(),
            lanes: 3,
            rate: 300.0,
            sweep: true,
            verbose: false,
            environment: Vec::new(),
            wanted: Vec::new(),
        }
    }

    /// Reads a command line; `None` asks for help.
    ///
    /// # Errors
    /// What cannot be understood.
    pub fn parse(args: &[String], seed: u64) -> Result<Option<Self>, String> {
        let mut options = Self::new(seed);
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            if matches!(arg.as_str(), "--help" | "-h") {
                return Ok(None);
            }
            match arg.as_str() {
                "--no-sweep" => options.sweep = false,
                "--verbose" => options.verbose = true,
                _ => {}
            }
            if matches!(arg.as_str(), "--no-sweep" | "--verbose") {
                continue;
            }
            let value = args.next().ok_or_else(|| format!("{arg} wants a value, or is not known"))?;
            let known = match arg.as_str() {
                "--minutes" => value.parse().ok().filter(|minutes| *minutes >= 0.0).map(|minutes: f64| {
                    options.time = Duration::from_secs_f64(minutes * 60.0);
                }),
                "--episodes" => value.parse().ok().map(|episodes| options.episodes = Some(episodes)),
                "--seed" => value.parse().ok().map(|seed| options.seed = seed),
                "--lanes" => value.parse().ok().filter(|lanes| *lanes > 0).map(|lanes| options.lanes = lanes),
                "--rate" => value.parse().ok().filter(|rate| *rate > 0.0).map(|rate| options.rate = rate),
                "--env" => value.split_once('=').map(|(name, value)| {
                    options.environment.push((name.to_owned(), value.to_owned()));
                }),
                _ => None,
            };
            known.ok_or_else(|| format!("{arg} {value} cannot be understood"))?;
        }
        Ok(Some(options))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Option<Options>, String> {
        Options::parse(&args.iter().map(|&arg| arg.to_owned()).collect::<Vec<_>>(), 1)
    }

    #[test]
    fn what_is_said_counts_and_what_is_not_understood_is_refused() {
        let options = parse(&["--minutes", "0.5", "--seed", "7", "--lanes", "2", "--env", "A=b=c"]).unwrap().unwrap();
        assert_eq!((options.time, options.seed, options.lanes), (Duration::from_secs(30), 7, 2));
        assert_eq!(options.environment, [("A".to_owned(), "b=c".to_owned())]);
        assert_eq!(parse(&["--seed", "7", "-h"]), Ok(None));
        for wrong in [&["--minutes"][..], &["--minutes", "-1"], &["--lanes", "0"], &["--what", "1"]] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
