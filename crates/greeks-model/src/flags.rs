//! What is special about a stored row.

use std::fmt;
use std::ops::{BitOr, BitOrAssign};

/// A set of marks on an update or a row; bits as stored in `greek_snapshots.flags`.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Flags(u16);

impl Flags {
    /// Nothing special.
    pub const NONE: Self = Self(0);
    /// Some Greek was computed here, not sent by the broker.
    pub const COMPUTED: Self = Self(1);
    /// The row is older than the newest one already accepted for its series.
    pub const LATE: Self = Self(2);
    /// First value after a (re)connect.
    pub const FIRST_AFTER_CONNECT: Self = Self(4);
    /// The broker marks the data as delayed.
    pub const DELAYED: Self = Self(8);
    /// The broker marks the data as frozen.
    pub const FROZEN: Self = Self(16);
    /// The broker gave no usable time: `event_time` is `received_at`.
    pub const EVENT_TIME_SUBSTITUTED: Self = Self(32);
    /// An infinite or otherwise unusable number became NULL.
    pub const NON_FINITE: Self = Self(64);
    /// The scale of the implied volatility is in doubt.
    pub const DOUBTFUL_IV_SCALE: Self = Self(128);

    const NAMES: [(Self, &'static str); 8] = [
        (Self::COMPUTED, "computed"),
        (Self::LATE, "late"),
        (Self::FIRST_AFTER_CONNECT, "first"),
        (Self::DELAYED, "delayed"),
        (Self::FROZEN, "frozen"),
        (Self::EVENT_TIME_SUBSTITUTED, "time-substituted"),
        (Self::NON_FINITE, "non-finite"),
        (Self::DOUBTFUL_IV_SCALE, "doubtful-iv"),
    ];

    /// The bits as stored.
    #[must_use]
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// From stored bits; bits of later versions are kept.
    #[must_use]
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    /// Whether every mark of `other` is set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for Flags {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Flags {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (flag, name) in Self::NAMES {
            if self.contains(flag) {
                write!(f, "{separator}{name}")?;
                separator = ",";
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flags({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_the_published_ones() {
        let all = Flags::NAMES.into_iter().fold(Flags::NONE, |all, (flag, _)| all | flag);
        assert_eq!(all.bits(), 255);
        assert_eq!((Flags::LATE | Flags::DELAYED).bits(), 10);
        assert_eq!((Flags::LATE | Flags::DELAYED).to_string(), "late,delayed");
        assert!(all.contains(Flags::FROZEN) && !Flags::LATE.contains(Flags::FROZEN));
    }
}
