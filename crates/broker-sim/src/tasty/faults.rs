//! What a double does wrong on purpose, or does differently because the protocol lets it.
//!
//! Set at the start ([`SimConfig::faults`](crate::SimConfig::faults)) or changed at any time
//! ([`Control::change_faults`](crate::Control::change_faults)).

use std::time::Duration;

/// Everything that is out of the ordinary; nothing by default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faults {
    /// Of the REST half.
    pub rest: RestFaults,
}

/// Faults of REST.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RestFaults {
    /// Looked through in order; the first that fits a request and has not been used up is its answer.
    pub answers: Vec<WrongAnswer>,
    /// Which positions have a `streamer-symbol`.
    pub streamer_symbols: StreamerSymbols,
    /// How numbers of positions are written.
    pub numbers: NumberStyle,
    /// The `level` of quote tokens is `demo`: delayed data.
    pub delayed_level: bool,
    /// Life of quote tokens, in place of [`RestConfig::quote_token_ttl`](crate::RestConfig::quote_token_ttl).
    pub quote_token_ttl: Option<Duration>,
}

/// An answer that a client did not hope for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongAnswer {
    /// Requests whose path contains this; `/oauth/token`, `/instruments/`.
    pub path: String,
    /// So many requests; [`u32::MAX`] for good.
    pub times: u32,
    /// What they get.
    pub how: Wrongness,
}

/// How a REST answer is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrongness {
    /// This status with an error envelope, as the service itself answers.
    Status(u16),
    /// This status with a page of HTML, as the proxy before it answers.
    Html(u16),
    /// 429 with `Retry-After` in seconds.
    TooMany(u32),
    /// The right answer, but so much later.
    Late(Duration),
}

/// Which positions have a `streamer-symbol`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StreamerSymbols {
    /// Every other one.
    #[default]
    Some,
    /// None, as in older production answers.
    None,
    /// All.
    All,
}

/// How numbers of positions are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NumberStyle {
    /// Now as text, now as numbers.
    #[default]
    Mixed,
    /// All as text.
    Text,
    /// All as numbers.
    Number,
}

/// Uses up one of `left`.
pub(crate) const fn use_up(left: &mut u32) -> bool {
    let any = *left > 0;
    if any && *left < u32::MAX {
        *left -= 1;
    }
    any
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_run_out_and_the_largest_does_not() {
        let mut two = 2;
        assert_eq!([(); 3].map(|()| use_up(&mut two)), [true, true, false]);
        let mut ever = u32::MAX;
        assert!(use_up(&mut ever) && ever == u32::MAX);
    }
}
