//! `bench decode`: what it costs to turn a broker's frames into events: here, with other clients, and at least.
//!
//! Every way decodes the same events in turns, and its processor time is taken once a round; ratios are taken within a
//! round, so that a busy minute of the machine meets all. Other clients get the columns that they ask for, which are fewer:
//! eight for the `dxlink` crate where greekd reads thirteen.

mod bound;
mod decoders;
mod peers;
mod report;
mod sum;

use std::path::{Path, PathBuf};
use std::time::Duration;

use greekd_tests::frames;
use greekd_tests::scratch::scratch;
use rustix::time::{ClockId, clock_gettime};

use crate::options::DecodeOptions;
use crate::{Result, machine};
use decoders::Decode;
use peers::{Peer, Peers};
use report::{Figure, Target};
use sum::Sum;

/// For so long the same frames are decoded again in a turn.
const TURN: Duration = Duration::from_millis(50);

/// Frames, and who decodes them.
struct Corpus {
    name: &'static str,
    frames: Vec<String>,
    contestants: Vec<Contestant>,
}

struct Contestant {
    name: &'static str,
    target: Option<Target>,
    way: Way,
}

enum Way {
    Here(Decode),
    Elsewhere(Box<Peer>),
}

/// One turn of one decoder.
#[derive(Clone, Copy, Debug)]
struct Turn {
    nanos: f64,
    /// How often all frames were decoded.
    passes: u32,
    /// Of one pass; `None` where others do not say.
    sum: Option<Sum>,
}

/// Measures and prints the table.
pub(crate) async fn run(options: &DecodeOptions) -> Result<()> {
    let directory = scratch();
    let peers = if options.peers { Some(Peers::prepare().await?) } else { None };
    let mut corpora = corpora(options, directory.path(), peers.as_ref()).await?;
    let load_before = machine::load();
    let mut figures = Vec::new();
    for round in 1..=options.rounds {
        for corpus in &mut corpora {
            figures.extend(corpus.round(options.events).await?);
        }
        println!("round {round} of {}: load {:.1}", options.rounds, machine::load().unwrap_or(f64::NAN));
    }
    println!("\n{}", machine::bare_line(load_before));
    println!("\n{}", report::render(&figures, options));
    if peers.is_none() {
        println!("other clients: --peers fetches, builds and installs them under target/, and measures them too");
    }
    Ok(())
}

impl Corpus {
    /// A turn of each contestant, greekd first.
    async fn round(&mut self, events: u32) -> Result<Vec<Figure>> {
        let (mut figures, mut ours) = (Vec::new(), None);
        for Contestant { name, target, way } in &mut self.contestants {
            let turn = match way {
                Way::Here(decode) => here(decode, &self.frames)?,
                Way::Elsewhere(peer) => peer.turn(TURN).await?,
            };
            let nanos = turn.nanos / f64::from(turn.passes) / f64::from(events);
            let (own_nanos, own_sum) = *ours.get_or_insert((nanos, turn.sum));
            if let Some(sum) = turn.sum.filter(|sum| !own_sum.is_some_and(|own| own.agrees(sum))) {
                return Err(format!("{}: {name} decodes something else: {sum:?}, not {own_sum:?}", self.name).into());
            }
            let (corpus, ratio) = (self.name, nanos / own_nanos);
            figures.push(Figure { corpus, name, target: *target, nanos, ratio });
        }
        Ok(figures)
    }
}

/// Decodes the frames again and again until the time is up, and once before that does not count.
fn here(decode: &mut Decode, frames: &[String]) -> Result<Turn> {
    decode(frames)?;
    let (begin, mut passes) = (thread_cpu(), 0);
    loop {
        let sum = decode(frames)?;
        passes += 1;
        let used = thread_cpu().saturating_sub(begin);
        if used >= TURN {
            return Ok(Turn { nanos: used.as_secs_f64() * 1e9, passes, sum: Some(sum) });
        }
    }
}

/// Processor time of this thread.
fn thread_cpu() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or(Duration::MAX)
}

async fn corpora(options: &DecodeOptions, directory: &Path, peers: Option<&Peers>) -> Result<Vec<Corpus>> {
    let here = |name, target, decode| Contestant { name, target, way: Way::Here(decode) };
    let mut corpora = Vec::new();
    for (name, per_frame) in [("Greeks, 1 a frame", 1), ("Greeks, 10 a frame", 10), ("Greeks, 100 a frame", 100)] {
        let frames = frames::dxlink(options.events, per_frame);
        let mut contestants = vec![
            here("greekd", None, decoders::greekd_dxlink()),
            here("hand-written bound", Some(Target::AtMostBehind(1.8)), decoders::least_dxlink()),
            here("serde_json::Value", None, decoders::value_dxlink()),
        ];
        if let Some(peers) = peers {
            let file = store(directory, name, &frames)?;
            contestants.extend(elsewhere(peers::DXLINK, 5.0, peers.dxlink(&file).await));
            contestants.extend(elsewhere(peers::TASTYTRADE, 40.0, peers.python("tastytrade", &file).await));
        }
        corpora.push(Corpus { name, frames, contestants });
    }
    let (name, frames) = ("IBKR smd", frames::ibkr(options.events));
    let mut contestants =
        vec![here("greekd", None, decoders::greekd_ibkr()), here("serde_json::Value", None, decoders::value_ibkr())];
    if let Some(peers) = peers {
        let file = store(directory, name, &frames)?;
        contestants.extend(elsewhere(peers::IBIND, 15.0, peers.python("ibind", &file).await));
    }
    corpora.push(Corpus { name, frames, contestants });
    Ok(corpora)
}

/// Nobody where the peer is missing.
fn elsewhere(name: &'static str, times: f64, peer: Option<Peer>) -> Option<Contestant> {
    peer.map(|peer| Contestant { name, target: Some(Target::Ahead(times)), way: Way::Elsewhere(Box::new(peer)) })
}

/// The same frames for other programs: one in each line.
fn store(directory: &Path, name: &str, frames: &[String]) -> Result<PathBuf> {
    let file = directory.join(name.replace([' ', ','], "-"));
    std::fs::write(&file, frames.join("\n"))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_ways_here_give_the_same() {
        let frames = frames::dxlink(500, 7);
        let sum = decoders::greekd_dxlink()(&frames).unwrap();
        assert_eq!(sum.events, 500);
        assert_eq!(decoders::least_dxlink()(&frames).unwrap(), sum);
        assert_eq!(decoders::value_dxlink()(&frames).unwrap(), sum);
        let frames = frames::ibkr(500);
        let sum = decoders::greekd_ibkr()(&frames).unwrap();
        assert_eq!((sum.events, decoders::value_ibkr()(&frames).unwrap()), (500, sum));
    }

    #[test]
    fn a_turn_takes_its_time_and_says_how_often_it_decoded() {
        let frames = frames::dxlink(200, 10);
        let turn = here(&mut decoders::greekd_dxlink(), &frames).unwrap();
        assert!(turn.passes > 1 && turn.nanos >= TURN.as_secs_f64() * 1e9, "{turn:?}");
        assert_eq!(turn.sum.map(|sum| sum.events), Some(200));
    }
}
