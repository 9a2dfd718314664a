//! What was done, and what came of it.

use std::collections::BTreeMap;
use std::fmt;

/// Figures of an episode, or of all.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Chains of runs.
    pub episodes: u64,
    /// Starts of greekd.
    pub runs: u64,
    /// Faults by name.
    pub faults: BTreeMap<String, u64>,
    /// Ends at a point, by name.
    pub points: BTreeMap<String, u64>,
    /// Rows accepted.
    pub accepted: u64,
    /// Rows stored.
    pub stored: u64,
    /// Rows sent to a dying process that were not accepted, each within a stated gap.
    pub excused: u64,
    /// Rows that the broker repeated and that were stored again.
    pub repeated: u64,
    /// Sums of the book by the minute that were stored and are true.
    pub minutes: u64,
    /// Broken promises by name.
    pub breaches: BTreeMap<String, u64>,
}

/// Faults that are an end of greekd itself without warning.
const DEATHS: [&str; 2] = ["kill -9", "abort"];

impl Totals {
    /// One more fault of this name.
    pub fn fault(&mut self, name: impl Into<String>) {
        *self.faults.entry(name.into()).or_default() += 1;
    }

    /// One more end at this point.
    pub fn point(&mut self, name: &str) {
        *self.points.entry(name.to_owned()).or_default() += 1;
        self.fault("abort");
    }

    /// One more broken promise.
    pub fn breach(&mut self, name: &str) {
        *self.breaches.entry(name.to_owned()).or_default() += 1;
    }

    /// How often this fault was inflicted.
    pub fn of(&self, fault: &str) -> u64 {
        self.faults.get(fault).copied().unwrap_or(0)
    }

    /// Faults of all kinds.
    pub fn inflicted(&self) -> u64 {
        self.faults.values().sum()
    }

    /// Ends of greekd without warning.
    pub fn deaths(&self) -> u64 {
        DEATHS.iter().map(|name| self.of(name)).sum()
    }

    /// Whether all promises were kept.
    pub fn is_clean(&self) -> bool {
        self.breaches.is_empty()
    }

    /// The points that no run has ended at.
    pub fn never_hit<'a>(&self, points: &'a [String]) -> Vec<&'a str> {
        points.iter().map(String::as_str).filter(|name| !self.points.contains_key(*name)).collect()
    }

    /// Takes in the figures of an episode.
    pub fn add(&mut self, other: &Self) {
        self.episodes += other.episodes;
        self.runs += other.runs;
        self.accepted += other.accepted;
        self.stored += other.stored;
        self.excused += other.excused;
        self.repeated += other.repeated;
        self.minutes += other.minutes;
        let maps = [
            (&mut self.faults, &other.faults),
            (&mut self.points, &other.points),
            (&mut self.breaches, &other.breaches),
        ];
        for (into, from) in maps {
            from.iter().for_each(|(name, count)| *into.entry(name.clone()).or_default() += count);
        }
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |map: &BTreeMap<String, u64>| {
            map.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
        };
        let breach = |name: &str| self.breaches.get(name).copied().unwrap_or(0);
        writeln!(f, "{} episodes, {} runs; {}", self.episodes, self.runs, list(&self.faults))?;
        if !self.points.is_empty() {
            writeln!(f, "points: {}", list(&self.points))?;
        }
        if !self.is_clean() {
            writeln!(f, "broken promises: {}", list(&self.breaches))?;
        }
        let inflicted = self.inflicted();
        write!(
            f,
            "{inflicted} faults, {} of them deaths of greekd: {} rows accepted, {} stored and {} true sums of their \
             minutes, {} lost, {} duplicated",
            self.deaths(),
            self.accepted,
            self.stored,
            self.minutes,
            breach("lost"),
            breach("duplicated"),
        )?;
        if self.is_clean() && inflicted > 0 {
            // The rule of three: what did not happen in n trials happens, with 95 % confidence, in less than 3/n.
            let bound = 300.0 / inflicted as f64;
            write!(f, "; per fault less than {bound:.2} % (95 % confidence)")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_is_claimed_only_when_all_is_well() {
        let mut totals = Totals::default();
        (0..300).for_each(|_| totals.fault("kill -9"));
        assert!(totals.to_string().ends_with("0 lost, 0 duplicated; per fault less than 1.00 % (95 % confidence)"));
        totals.breach("lost");
        assert!(totals.to_string().ends_with("1 lost, 0 duplicated"), "{totals}");
        let mut sum = Totals::default();
        sum.point("journal.recover");
        sum.add(&totals);
        assert_eq!((sum.deaths(), sum.never_hit(&["a".into(), "journal.recover".into()])), (301, vec!["a"]));
    }
}
