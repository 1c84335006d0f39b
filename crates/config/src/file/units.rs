//! Amounts with a unit, `"16KiB"` and `"30s"`, as text and as numbers. Pure.

use std::ops::RangeInclusive;

/// The units an amount may be written in.
pub(crate) struct Units {
    /// What it is an amount of, with its article.
    pub(crate) of: &'static str,
    /// Each unit and how many of the smallest it is, the largest first. Those that do not divide evenly by their
    /// smaller neighbours (KB among KiB) are read but never written.
    units: &'static [Unit],
    /// What people and other programs call them, in lower case, and how many of the smallest each is.
    spoken: &'static [(&'static [&'static str], u64)],
    /// The one that somebody means who writes a bare number.
    bare: &'static str,
    /// The one that somebody means who writes a bare number that is too large for the other.
    fine: Option<&'static str>,
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
    // nginx, PM2 and Docker count in powers of two whatever the case, and so does whoever writes "300M".
    spoken: &[
        (&["b", "byte", "bytes"], 1),
        (&["k", "kb", "kib", "kilobyte", "kilobytes", "kibibytes"], 1 << 10),
        (&["m", "mb", "mib", "meg", "megs", "megabyte", "megabytes", "mebibytes"], 1 << 20),
        (&["g", "gb", "gib", "gig", "gigs", "gigabyte", "gigabytes", "gibibytes"], 1 << 30),
        (&["t", "tb", "tib", "terabyte", "terabytes", "tebibytes"], 1 << 40),
    ],
    bare: "B",
    fine: None,
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
    spoken: &[
        (&["ms", "msec", "msecs", "milli", "millis", "millisecond", "milliseconds"], 1),
        (&["s", "sec", "secs", "second", "seconds"], 1_000),
        (&["m", "min", "mins", "minute", "minutes"], 60_000),
        (&["h", "hr", "hrs", "hour", "hours"], 3_600_000),
        (&["d", "day", "days"], 86_400_000),
        (&["w", "week", "weeks"], 604_800_000),
    ],
    bare: "s",
    fine: Some("ms"),
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

    /// What somebody meant who wrote `number` and no unit, where an amount must be within `bounds`: the likeliest
    /// first, never nothing.
    pub(crate) fn guess(&self, number: &str, bounds: &RangeInclusive<u64>) -> Vec<String> {
        let fine = self.fine.filter(|_| is_fine(number));
        let smallest_first = self
            .units
            .iter()
            .rev()
            .filter(|unit| unit.written && ![Some(self.bare), fine].contains(&Some(unit.name)));
        let usual = fine.into_iter().chain([self.bare]);
        let named = |name: &str| format!("{number}{name}");
        let fits = |guess: &String| self.read(guess).is_ok_and(|amount| bounds.contains(&amount));
        let usual: Vec<String> = usual.map(named).filter(fits).collect();
        if !usual.is_empty() {
            return usual;
        }
        let other = smallest_first.map(|unit| named(unit.name)).find(fits);
        vec![other.unwrap_or_else(|| self.write(*bounds.end()))]
    }

    /// The amount that somebody meant who wrote it as other programs and people do: `300M`, `1.5h`, `5 seconds`, `1h30m`.
    /// Rounded to the smallest unit.
    pub(crate) fn meant(&self, text: &str) -> Option<u64> {
        let text = text.to_lowercase();
        let mut rest = text.trim();
        let mut sum: u64 = 0;
        while !rest.is_empty() {
            let (number, behind) = split_where(rest, |letter| !letter.is_ascii_digit() && letter != '.');
            let (unit, behind) = split_where(behind.trim_start(), |letter| !letter.is_ascii_alphabetic());
            let (_, worth) = self.spoken.iter().find(|(names, _)| names.contains(&unit))?;
            sum = sum.checked_add(times(number, *worth)?)?;
            rest = behind.trim_start_matches([' ', ',']);
        }
        (!text.is_empty()).then_some(sum)
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

/// Whether a bare number is rather one of milliseconds: PM2 and HAProxy count in those, nginx in seconds, of which
/// somebody writes a thousand or more as whole minutes.
fn is_fine(number: &str) -> bool {
    number
        .parse::<u64>()
        .is_ok_and(|number| number >= 1000 && (number.is_multiple_of(1000) || !number.is_multiple_of(60)))
}

fn split_where(text: &str, is_end: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(is_end).unwrap_or(text.len()))
}

/// A decimal number times a whole one.
fn times(number: &str, worth: u64) -> Option<u64> {
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || part.len() > 9 {
        return None;
    }
    let scale = 10_u128.pow(u32::try_from(part.len()).ok()?);
    let part: u128 = if part.is_empty() { 0 } else { part.parse().ok()? };
    let scaled = whole.parse::<u64>().ok()? as u128 * scale + part;
    u64::try_from(scaled.checked_mul(worth.into())? / scale).ok()
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
        assert_eq!(DURATIONS.guess("30", &(second..=hour)), ["30s"]);
        assert_eq!(DURATIONS.guess("5000", &(second..=hour)), ["5000ms"]);
        assert_eq!(DURATIONS.guess("9999999999", &(second..=hour)), ["1h"]);
        assert_eq!(SIZES.guess("4096", &(0..=1 << 20)), ["4096B"]);
        assert_eq!(SIZES.guess("300", &(16 << 20..=1 << 40)), ["300MiB"]);
        // PM2's `kill_timeout`, and nginx's `proxy_read_timeout`.
        assert_eq!(DURATIONS.guess("1600", &(0..=hour)), ["1600ms", "1600s"]);
        assert_eq!(DURATIONS.guess("3000", &(0..=hour)), ["3000ms", "3000s"]);
        assert_eq!(DURATIONS.guess("3600", &(0..=hour)), ["3600s"]);
    }

    #[test]
    fn what_other_programs_write_is_understood() {
        for (units, text, meant) in [
            (&SIZES, "300M", Some("300MiB")),
            (&SIZES, "10m", Some("10MiB")),
            (&SIZES, "32kb", Some("32KiB")),
            (&SIZES, "1.5G", Some("1536MiB")),
            (&SIZES, "0.5 gb", Some("512MiB")),
            (&SIZES, "10 megabytes", Some("10MiB")),
            (&SIZES, "100 bytes", Some("100B")),
            (&SIZES, "10 parsecs", None),
            (&SIZES, "M", None),
            (&SIZES, "", None),
            (&SIZES, "99999999999999999999M", None),
            (&DURATIONS, "5 seconds", Some("5s")),
            (&DURATIONS, "1.5h", Some("90m")),
            (&DURATIONS, "1.5s", Some("1500ms")),
            (&DURATIONS, "1h30m", Some("90m")),
            (&DURATIONS, "1h 30m", Some("90m")),
            (&DURATIONS, "1d, 12h", Some("36h")),
            (&DURATIONS, "2 hours", Some("2h")),
            (&DURATIONS, "1w", Some("7d")),
            (&DURATIONS, "30S", Some("30s")),
            (&DURATIONS, "500 msec", Some("500ms")),
            (&DURATIONS, "5min", Some("5m")),
            (&DURATIONS, "10MiB", None),
            (&DURATIONS, "30", None),
            (&DURATIONS, "soon", None),
            (&DURATIONS, "-5s", None),
        ] {
            assert_eq!(units.meant(text).map(|amount| units.write(amount)).as_deref(), meant, "{text}");
        }
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
