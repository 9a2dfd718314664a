//! The table.

use crate::options::DecodeOptions;
use crate::report::markdown;
use crate::stats::Spread;

/// What one contestant took in one round.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    pub(crate) corpus: &'static str,
    pub(crate) name: &'static str,
    pub(crate) target: Option<Target>,
    /// Processor time of an event, in nanoseconds.
    pub(crate) nanos: f64,
    /// How many times greekd's of the same round.
    pub(crate) ratio: f64,
}

/// How greekd is to stand to another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Target {
    /// So many times as fast, at least.
    Ahead(f64),
    /// So many times as slow, at most.
    AtMostBehind(f64),
}

impl Target {
    fn judge(self, ratio: f64) -> String {
        let (text, reached) = match self {
            Self::Ahead(times) => (format!("greekd {times}x as fast"), ratio >= times),
            Self::AtMostBehind(times) => (format!("greekd within {times}x"), 1.0 / ratio <= times),
        };
        format!("{text}: {}", if reached { "reached" } else { "MISSED" })
    }
}

/// A line for each contestant of each corpus, in the order of their first turns.
pub(crate) fn render(figures: &[Figure], options: &DecodeOptions) -> String {
    let headings = ["frames", "decoder", "ns an event", "times greekd's", "target"];
    let mut columns: Vec<Vec<String>> = headings.iter().map(|heading| vec![(*heading).to_owned()]).collect();
    let mut done: Vec<(&str, &str)> = Vec::new();
    for Figure { corpus, name, target, .. } in figures {
        if done.contains(&(corpus, name)) {
            continue;
        }
        done.push((corpus, name));
        let of = |figure: fn(&Figure) -> f64| {
            Spread::of(figures.iter().filter(|it| (it.corpus, it.name) == (*corpus, *name)).map(figure))
        };
        let ratio = of(|figure| figure.ratio);
        let shown = |spread: Option<Spread>| spread.map_or_else(|| "-".to_owned(), |spread| spread.to_string());
        let judged = target.zip(ratio).map(|(target, ratio)| target.judge(ratio.median)).unwrap_or_default();
        let cells = [(*corpus).to_owned(), (*name).to_owned(), shown(of(|figure| figure.nanos)), shown(ratio), judged];
        columns.iter_mut().zip(cells).for_each(|(column, cell)| column.push(cell));
    }
    format!(
        "processor time of a thread: median (min..max) of {} rounds, {} events of each kind\n\n{}",
        options.rounds,
        options.events,
        markdown(&columns)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(name: &'static str, target: Option<Target>, nanos: f64, ratio: f64) -> Figure {
        Figure { corpus: "one", name, target, nanos, ratio }
    }

    #[test]
    fn rounds_are_one_line_and_targets_are_judged_by_the_median() {
        let bound = Some(Target::AtMostBehind(1.8));
        let peer = Some(Target::Ahead(5.0));
        let figures = [
            figure("greekd", None, 200.0, 1.0),
            figure("bound", bound, 120.0, 0.6),
            figure("peer", peer, 980.0, 4.9),
            figure("greekd", None, 220.0, 1.0),
            figure("bound", bound, 110.0, 0.5),
            figure("peer", peer, 1100.0, 5.0),
        ];
        let text = render(&figures, &DecodeOptions { events: 10, rounds: 2, peers: false });
        let lines: Vec<Vec<&str>> =
            text.lines().skip(4).map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect();
        assert_eq!(lines[0], ["one", "greekd", "210 (200..220)", "1.00", ""]);
        assert_eq!(lines[1], ["one", "bound", "115 (110..120)", "0.55 (0.50..0.60)", "greekd within 1.8x: MISSED"]);
        assert_eq!(lines[2], ["one", "peer", "1040 (980..1100)", "4.95 (4.90..5.00)", "greekd 5x as fast: MISSED"]);
        assert!(Target::Ahead(5.0).judge(5.0).ends_with("reached"));
        assert!(Target::AtMostBehind(2.0).judge(0.5).ends_with("reached"));
    }
}
