//! The MessagePack timestamp extension, as the text that `Date.prototype.toISOString` writes.
//! <https://github.com/msgpack/msgpack/blob/master/spec.md#timestamp-extension-type>

/// `None` for bodies of another length and for dates that JavaScript cannot hold.
pub(crate) fn to_iso8601(stamp: &[u8]) -> Option<String> {
    let (seconds, nanos) = match stamp.len() {
        4 => (i64::from(u32::from_be_bytes(stamp.try_into().ok()?)), 0),
        8 => {
            let packed = u64::from_be_bytes(stamp.try_into().ok()?);
            ((packed & 0x3_ffff_ffff) as i64, (packed >> 34) as u32)
        }
        12 => {
            let (nanos, seconds) = stamp.split_at(4);
            (i64::from_be_bytes(seconds.try_into().ok()?), u32::from_be_bytes(nanos.try_into().ok()?))
        }
        _ => return None,
    };
    // ECMA-262 section 21.4.1.1: ±8.64e15 milliseconds around 1970.
    if seconds.unsigned_abs() > 8_640_000_000_000 || nanos >= 1_000_000_000 {
        return None;
    }
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let year = match year {
        0..=9999 => format!("{year:04}"),
        _ => format!("{}{:06}", if year < 0 { '-' } else { '+' }, year.abs()),
    };
    let (hour, minute, second, milli) = (second / 3600, second / 60 % 60, second % 60, nanos / 1_000_000);
    Some(format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z"))
}

/// Year, month and day of a day counted from 1970-01-01, in the proleptic Gregorian calendar.
/// Years are counted from March, so that the leap day is a year's last: then every month's start
/// is a linear formula.
fn civil(days: i64) -> (i64, i64, i64) {
    const DAYS_IN_400_YEARS: i64 = 146_097;
    let days = days + 719_468; // from 0000-03-01
    let (era, day_of_era) = (days.div_euclid(DAYS_IN_400_YEARS), days.rem_euclid(DAYS_IN_400_YEARS));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::to_iso8601;

    fn check(seconds: i64, nanos: u32, expected: Option<&str>) {
        let mut stamp = nanos.to_be_bytes().to_vec();
        stamp.extend(seconds.to_be_bytes());
        assert_eq!(to_iso8601(&stamp).as_deref(), expected);
        if let (Ok(seconds), true) = (u32::try_from(seconds), nanos == 0) {
            assert_eq!(to_iso8601(&seconds.to_be_bytes()).as_deref(), expected);
        }
        if (0..1 << 34).contains(&seconds) {
            let packed = u64::from(nanos) << 34 | seconds as u64;
            assert_eq!(to_iso8601(&packed.to_be_bytes()).as_deref(), expected);
        }
    }

    // Expected values were printed by `new Date(ms).toISOString()` in Node.js.
    #[test]
    fn agrees_with_javascript() {
        check(0, 0, Some("1970-01-01T00:00:00.000Z"));
        check(951_782_400, 0, Some("2000-02-29T00:00:00.000Z"));
        check(1_795_511_350, 123_000_000, Some("2026-11-24T09:09:10.123Z"));
        check(-1, 999_000_000, Some("1969-12-31T23:59:59.999Z"));
        check(-62_167_219_201, 0, Some("-000001-12-31T23:59:59.000Z"));
        check(253_402_300_800, 0, Some("+010000-01-01T00:00:00.000Z"));
        check(8_640_000_000_000, 0, Some("+275760-09-13T00:00:00.000Z"));
        check(8_640_000_000_001, 0, None);
        check(0, 1_000_000_000, None);
        assert_eq!(to_iso8601(&[1, 2, 3]), None);
    }
}
