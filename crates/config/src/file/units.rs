//! Amounts with a unit, `"16KiB"` and `"30s"`, as text and as numbers. Pure.

use std::ops::RangeInclusive;

/// The units an amount may be written in.
pub(crate) struct Units {
    /// What it is an amount of, with its article.
    pub(crate) of: &'static str,
    /// Each unit and how many of the smallest it is, the largest first. Those that do not divide evenly by their
    /// smaller neighbours (KB among KiB) are read but never written.
    units: &'static [Unit],
    /// The one that somebody means who writes a bare number.
    bare: &'static str,
}

struct Unit {
    name: &'static str,
    worth: u64,
    written: bool,
}

/// Why a text is not an amount.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NotAnAmount {
    /// It has no unit.
    Bare,
    /// It is not a whole number and a unit that exists.
    Unreadable,
    /// It is more than a `u64` of the smallest unit.
    TooMuch,
}

/// Sizes, in bytes.
pub(crate) static SIZES: Units = Units {
    of: "a size",
    units: &[
        Unit { name: "TiB", worth: 1 << 40, written: true },
        Unit { name: "GiB", worth: 1 << 30, written: true },
        Unit { name: "MiB", worth: 1 << 20, written: true },
        Unit { name: "KiB", worth: 1 << 10, written: true },
        Unit { name: "GB", worth: 1_000_000_000, written: false },
        Unit { name: "MB", worth: 1_000_000, written: false },
        Unit { name: "KB", worth: 1_000, written: false },
        Unit { name: "B", worth: 1, written: true },
    ],
    bare: "B",
};

/// Durations, in milliseconds.
pub(crate) static DURATIONS: Units = Units {
    of: "a duration",
    units: &[
        Unit { name: "d", worth: 86_400_000, written: true },
        Unit { name: "h", worth: 3_600_000, written: true },
        Unit { name: "m", worth: 60_000, written: true },
        Unit { name: "s", worth: 1_000, written: true },
        Unit { name: "ms", worth: 1, written: true },
    ],
    bare: "s",
};

impl Units {
    /// The amount in the smallest unit.
    pub(crate) fn read(&self, text: &str) -> Result<u64, NotAnAmount> {
        let text = text.trim();
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        if number.is_empty() {
            return Err(NotAnAmount::Unreadable);
        }
        let unit = unit.trim_start();
        if unit.is_empty() {
            return Err(NotAnAmount::Bare);
        }
        let unit = self.units.iter().find(|known| known.name == unit).ok_or(NotAnAmount::Unreadable)?;
        let number: u64 = number.parse().map_err(|_| NotAnAmount::TooMuch)?;
        number.checked_mul(unit.worth).ok_or(NotAnAmount::TooMuch)
    }

    /// The amount in the largest unit that it is a whole number of.
    pub(crate) fn write(&self, amount: u64) -> String {
        let fits = |unit: &&Unit| unit.written && amount != 0 && amount.is_multiple_of(unit.worth);
        match self.units.iter().find(fits) {
            Some(unit) => format!("{}{}", amount / unit.worth, unit.name),
            None => format!("0{}", self.bare),
        }
    }

    /// What somebody meant who wrote `number` and no unit, where an amount must be within `bounds`.
    pub(crate) fn guess(&self, number: &str, bounds: &RangeInclusive<u64>) -> String {
        let usual = self.units.iter().filter(|unit| unit.name == self.bare);
        let smallest_first = self.units.iter().rev().filter(|unit| unit.written);
        let guesses = usual.chain(smallest_first).map(|unit| format!("{number}{}", unit.name));
        let mut fitting =
            guesses.filter(|guess| self.read(guess).is_ok_and(|amount| bounds.contains(&amount)));
        fitting.next().unwrap_or_else(|| self.write(*bounds.end()))
    }

    /// The names of the units, the smallest first.
    pub(crate) fn names(&self) -> String {
        let names: Vec<&str> = self.units.iter().rev().map(|unit| unit.name).collect();
        names.join(", ")
    }

    /// A regular expression of what [`Units::read`] takes.
    pub(crate) fn pattern(&self) -> String {
        let names: Vec<&str> = self.units.iter().map(|unit| unit.name).collect();
        format!("^\\s*[0-9]+\\s*({})\\s*$", names.join("|"))
    }
}

#[cfg(test)]
mod tests {
    use super::{DURATIONS, NotAnAmount, SIZES};

    #[test]
    fn amounts_are_read_and_written() {
        for (units, text, amount, written) in [
            (&SIZES, "16KiB", 16_384, "16KiB"),
            (&SIZES, "4096B", 4_096, "4KiB"),
            (&SIZES, "1 MiB", 1 << 20, "1MiB"),
            (&SIZES, "1MB", 1_000_000, "1000000B"),
            (&SIZES, "0B", 0, "0B"),
            (&DURATIONS, "30s", 30_000, "30s"),
            (&DURATIONS, "500ms", 500, "500ms"),
            (&DURATIONS, " 90s ", 90_000, "90s"),
            (&DURATIONS, "60s", 60_000, "1m"),
            (&DURATIONS, "7d", 604_800_000, "7d"),
            (&DURATIONS, "0ms", 0, "0s"),
        ] {
            assert_eq!(units.read(text), Ok(amount), "{text}");
            assert_eq!(units.write(amount), written, "{text}");
            assert_eq!(units.read(written), Ok(amount), "{written}");
        }
    }

    #[test]
    fn a_bare_number_is_given_a_unit_that_can_be_meant() {
        let (second, hour) = (1_000, 3_600_000);
        assert_eq!(DURATIONS.guess("30", &(second..=hour)), "30s");
        assert_eq!(DURATIONS.guess("5000", &(second..=hour)), "5000ms");
        assert_eq!(DURATIONS.guess("9999999999", &(second..=hour)), "1h");
        assert_eq!(SIZES.guess("4096", &(0..=1 << 20)), "4096B");
        assert_eq!(SIZES.guess("300", &(16 << 20..=1 << 40)), "300MiB");
    }

    #[test]
    fn anything_else_is_refused() {
        for (text, why) in [
            ("", NotAnAmount::Unreadable),
            ("30", NotAnAmount::Bare),
            ("s", NotAnAmount::Unreadable),
            ("-1s", NotAnAmount::Unreadable),
            ("1.5s", NotAnAmount::Unreadable),
            ("1h30m", NotAnAmount::Unreadable),
            ("30S", NotAnAmount::Unreadable),
            ("99999999999999999999s", NotAnAmount::TooMuch),
            ("18446744073709551615d", NotAnAmount::TooMuch),
        ] {
            assert_eq!(DURATIONS.read(text), Err(why), "{text}");
        }
    }
}
