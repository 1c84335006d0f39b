//! Which lines the access log has, where it has not all of them.

use std::fmt;

/// A share of the lines, in ten-thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogShare(u16);

impl LogShare {
    /// All of them.
    pub const ALL: Self = Self(WHOLE);
    /// None of them.
    pub const NONE: Self = Self(0);

    /// Reads "5%" or "0.25%".
    pub fn read(percent: &str) -> Option<Self> {
        let number = percent.trim().strip_suffix('%')?.trim();
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || whole.len() > 3 || part.len() > 2 || !is_number(whole) || !is_number(part) {
            return None;
        }
        let hundredths: u16 = format!("{whole}{part:0<2}").parse().ok()?;
        (hundredths <= WHOLE).then_some(Self(hundredths))
    }

    /// Of ten thousand.
    pub const fn of_ten_thousand(self) -> u16 {
        self.0
    }
}

impl fmt::Display for LogShare {
    /// As the file has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0 / 100, self.0 % 100) {
            (whole, 0) => write!(f, "{whole}%"),
            (whole, part) => write!(f, "{}%", format!("{whole}.{part:02}").trim_end_matches('0')),
        }
    }
}

/// Shares by the status of the answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogSample {
    /// In the words of the file, "404" or "2xx".
    by_status: Vec<(String, LogShare)>,
}

impl LogSample {
    /// Adds one. False if that is no status, and no kind of them.
    pub fn add(&mut self, statuses: &str, share: LogShare) -> bool {
        let is_status = match statuses.as_bytes() {
            [b'1'..=b'5', b'x', b'x'] => true,
            [b'1'..=b'5', tens, ones] => tens.is_ascii_digit() && ones.is_ascii_digit(),
            _ => false,
        };
        self.by_status.push((statuses.to_owned(), share));
        is_status
    }

    /// That of a status: its own, or that of its kind, or all.
    pub fn of(&self, status: u16) -> LogShare {
        let find = |name: String| self.by_status.iter().find(|(known, _)| *known == name);
        let found = find(status.to_string()).or_else(|| find(format!("{}xx", status / 100)));
        found.map_or(LogShare::ALL, |(_, share)| *share)
    }

    /// As the file has it.
    pub fn written(&self) -> String {
        let pairs = self.by_status.iter().map(|(statuses, share)| format!("{statuses} {share}"));
        pairs.collect::<Vec<_>>().join(", ")
    }
}

const WHOLE: u16 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_percents() {
        for (text, share, written) in [
            ("5%", 500, "5%"),
            ("0.1 %", 10, "0.1%"),
            ("100%", 10_000, "100%"),
            ("0%", 0, "0%"),
            ("2.25%", 225, "2.25%"),
        ] {
            let read = LogShare::read(text).unwrap();
            assert_eq!((read.of_ten_thousand(), &*read.to_string()), (share, written));
        }
        for wrong in ["", "%", "5", "101%", "-1%", "0.001%", "1.2.3%", "a%", ".5%", "1e1%"] {
            assert_eq!(LogShare::read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_status_comes_before_its_kind() {
        let mut sample = LogSample::default();
        let [one, two] = ["1%", "2%"].map(|text| LogShare::read(text).unwrap());
        assert!(sample.add("2xx", one) && sample.add("204", two));
        assert_eq!(
            [200, 204, 404, 0].map(|status| sample.of(status)),
            [one, two, LogShare::ALL, LogShare::ALL]
        );
        for wrong in ["6xx", "2x", "20", "xxx", "2000", "2xX"] {
            assert!(!sample.clone().add(wrong, one), "{wrong}");
        }
    }
}
