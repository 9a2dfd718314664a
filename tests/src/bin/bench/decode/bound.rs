//! A hand-written bound: every number is read where it is known to stand. Nothing is checked, no symbol is looked up, no
//! event is made.

use super::sum::Sum;

/// Reads the numbers of COMPACT frames with the thirteen columns that are asked for.
pub(crate) fn dxlink(frames: &[String]) -> Sum {
    let mut sum = Sum::default();
    for frame in frames {
        let bytes = frame.as_bytes();
        let mut scan = Scan { bytes, at: r#"{"type":"FEED_DATA","channel":1,"data":["Greeks",["#.len() };
        while scan.at < bytes.len() {
            scan.at += r#""Greeks",""#.len();
            while scan.byte() != b'"' {
                scan.at += 1;
            }
            scan.at += r#"","#.len();
            let time = scan.number();
            // sequence, index, eventFlags
            (0..3).for_each(|_| scan.pass());
            let [price, volatility, delta, gamma, theta, rho, vega] = std::array::from_fn(|_| scan.number());
            #[expect(clippy::cast_possible_truncation, reason = "milliseconds are whole")]
            sum.add([delta, gamma, theta, vega, rho, volatility], price, time as i64);
            if scan.byte() == b'}' || scan.byte() == b']' {
                break;
            }
        }
    }
    sum
}

struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Scan<'_> {
    fn byte(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(b'}')
    }

    /// Passes a whole number and the comma behind it.
    fn pass(&mut self) {
        while self.byte() != b',' {
            self.at += 1;
        }
        self.at += 1;
    }

    /// A number and the byte behind it.
    fn number(&mut self) -> f64 {
        if self.byte() == b'"' {
            self.at += r#""NaN","#.len();
            return f64::NAN;
        }
        let start = self.at;
        let negative = self.byte() == b'-';
        self.at += usize::from(negative);
        let (mut mantissa, mut exponent) = (0, 0);
        let first = self.at;
        self.digits(&mut mantissa);
        let mut digits = self.at - first;
        if self.byte() == b'.' {
            self.at += 1;
            let first = self.at;
            self.digits(&mut mantissa);
            digits += self.at - first;
            exponent = -i32::try_from(self.at - first).unwrap_or_default();
        }
        if self.byte() == b'E' {
            let (down, mut by) = (self.bytes.get(self.at + 1) == Some(&b'-'), 0);
            self.at += 1 + usize::from(down);
            self.digits(&mut by);
            let by = i32::try_from(by).unwrap_or_default();
            exponent += if down { -by } else { by };
        }
        let text = self.bytes.get(start..self.at).unwrap_or_default();
        self.at += 1;
        let power = POWERS.get(exponent.unsigned_abs() as usize);
        match power.filter(|_| digits < 20 && mantissa <= 1 << 53) {
            Some(power) => {
                let value = if exponent < 0 { mantissa as f64 / power } else { mantissa as f64 * power };
                if negative { -value } else { value }
            }
            None => std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).unwrap_or(0.0),
        }
    }

    /// Eight digits at a time.
    fn digits(&mut self, mantissa: &mut u64) {
        while let Some(chunk) = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk()) {
            let values = u64::from_le_bytes(*chunk) ^ 0x3030_3030_3030_3030;
            let others = (values.wrapping_add(0x7676_7676_7676_7676) | values) & 0x8080_8080_8080_8080;
            let count = others.trailing_zeros() / 8;
            if count == 0 {
                return;
            }
            let values = values << (64 - 8 * count);
            let twos = (values * 10 + (values >> 8)) & 0x00ff_00ff_00ff_00ff;
            let fours = (twos * 100 + (twos >> 16)) & 0x0000_ffff_0000_ffff;
            let eight = (fours * 10_000 + (fours >> 32)) & 0xffff_ffff;
            *mantissa = mantissa.wrapping_mul(10_u64.pow(count)).wrapping_add(eight);
            self.at += count as usize;
            if count < 8 {
                return;
            }
        }
        while self.byte().is_ascii_digit() {
            *mantissa = *mantissa * 10 + u64::from(self.byte() - b'0');
            self.at += 1;
        }
    }
}

/// Powers of ten that are exact doubles.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];
