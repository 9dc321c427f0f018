//! Unix seconds and the written forms of a time: the calendar, RFC 3339 and HTTP dates.

use std::time::{SystemTime, UNIX_EPOCH};

/// Returns the Unix seconds of a time, or zero for a time before 1970.
pub(crate) fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// A calendar date and a time of day, without a time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Civil {
    /// Year, month and day.
    pub(crate) date: [u64; 3],
    /// Hour, minute and second.
    pub(crate) time: [u64; 3],
}

impl Civil {
    /// Returns the date and time in UTC.
    pub(crate) fn at(unix_seconds: u64) -> Self {
        let (days, second) = (unix_seconds / DAY, unix_seconds % DAY);
        let days = days + MARCH_OF_YEAR_0;
        let (cycle, day) = (days / DAYS_OF_400_YEARS, days % DAYS_OF_400_YEARS);
        // Subtracts the leap days, which come in cycles of 4, 100 and 400 years.
        let year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
        let day = day - days_of_years(year);
        let month = (5 * day + 2) / 153;
        let day = day - days_of_months(month) + 1;
        let (year, month) = match month {
            10.. => (year + 1, month - 9),
            _ => (year, month + 3),
        };
        Self {
            date: [cycle * 400 + year, month, day],
            time: [second / 3600, second / 60 % 60, second % 60],
        }
    }

    /// Returns the Unix seconds of the date and time in UTC, or `None` if there is no such time or if it is before
    /// 1970.
    pub(crate) fn unix_seconds(&self) -> Option<u64> {
        let ([year @ 1970..=9999, month @ 1..=12, day @ 1..=31], [hour, minute, second]) =
            (self.date, self.time)
        else {
            return None;
        };
        let (year, month) = match month {
            ..3 => (year - 1, month + 9),
            _ => (year, month - 3),
        };
        let days = year / 400 * DAYS_OF_400_YEARS
            + days_of_years(year % 400)
            + days_of_months(month)
            + (day - 1);
        let days = days - MARCH_OF_YEAR_0;
        let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
        // An out-of-range day, hour, minute or second converts back to a different time.
        (Self::at(seconds) == *self).then_some(seconds)
    }
}

const DAY: u64 = 24 * 60 * 60;

// In this arithmetic a year begins in March. So the leap day is the last day of the year, and each month begins on a
// fixed day of the year.

/// Days from 1 March of year 0 to 1 January 1970.
const MARCH_OF_YEAR_0: u64 = 719_468;
const DAYS_OF_400_YEARS: u64 = 146_097;

/// Returns the days in this many years from the start of a cycle of 400.
fn days_of_years(years: u64) -> u64 {
    years * 365 + years / 4 - years / 100
}

/// Returns the days in this many months from March on.
fn days_of_months(months: u64) -> u64 {
    (153 * months + 2) / 5
}

/// Reads decimal digits. The caller must pass few enough that the value does not overflow.
pub(crate) fn decimal(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |value, digit| {
        digit
            .is_ascii_digit()
            .then(|| value * 10 + u64::from(digit - b'0'))
    })
}

/// Returns the Unix seconds of a time such as `2018-06-08T10:34:56+08:00`, without its fraction of a second. Letters
/// may be in lower case. Returns `None` if the text is not such a time, or if the time is before 1970.
pub(crate) fn parse_rfc_3339(text: &str) -> Option<u64> {
    let (local, (is_west, hours, minutes)) = rfc_3339_parts(&text.to_ascii_uppercase())?;
    let local = local.unix_seconds()?;
    let offset = (hours < 24 && minutes < 60).then_some((hours * 60 + minutes) * 60)?;
    match is_west {
        true => Some(local + offset),
        false => local.checked_sub(offset),
    }
}

/// Checks whether a text has the form of RFC 3339, in upper case. Does not check that the day, hour and time zone
/// exist.
pub(crate) fn has_form_of_rfc_3339(text: &str) -> bool {
    rfc_3339_parts(text).is_some()
}

/// The offset from UTC as written: `true` if west of UTC, then hours and minutes.
type Zone = (bool, u64, u64);

fn rfc_3339_parts(text: &str) -> Option<(Civil, Zone)> {
    let (date_time, rest) = text.as_bytes().split_at_checked(19)?;
    let (date, time) = date_time.split_at_checked(10)?;
    let &[y1, y2, y3, y4, b'-', o1, o2, b'-', d1, d2] = date else {
        return None;
    };
    let (year, month) = (decimal(&[y1, y2, y3, y4])?, decimal(&[o1, o2])?);
    let civil = Civil {
        date: [year, month, decimal(&[d1, d2])?],
        time: clock_time(time.strip_prefix(b"T")?)?,
    };
    Some((civil, zone(without_fraction(rest)?)?))
}

/// Reads hour, minute and second of `10:34:56`.
fn clock_time(text: &[u8]) -> Option<[u64; 3]> {
    let &[h1, h2, b':', m1, m2, b':', s1, s2] = text else {
        return None;
    };
    let (hour, minute) = (decimal(&[h1, h2])?, decimal(&[m1, m2])?);
    Some([hour, minute, decimal(&[s1, s2])?])
}

/// Returns the text after the fraction of a second, or all of it if there is no fraction.
fn without_fraction(rest: &[u8]) -> Option<&[u8]> {
    let Some(fraction) = rest.strip_prefix(b".") else {
        return Some(rest);
    };
    let is_digit = |byte: &&u8| byte.is_ascii_digit();
    match fraction.iter().take_while(is_digit).count() {
        0 => None,
        digits => fraction.get(digits..),
    }
}

fn zone(text: &[u8]) -> Option<Zone> {
    match *text {
        [b'Z'] => Some((false, 0, 0)),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            Some((sign == b'-', decimal(&[h1, h2])?, decimal(&[m1, m2])?))
        }
        _ => None,
    }
}

/// Writes `2020-09-10T13:29:35+08:00`, in China's time zone as WeChat Pay does.
#[cfg(feature = "sandbox")]
pub(crate) fn format_rfc_3339(unix_seconds: u64) -> String {
    /// China Standard Time, all year.
    const EAST_OF_UTC: u64 = 8 * 60 * 60;
    let Civil {
        date: [year, month, day],
        time: [hour, minute, second],
    } = Civil::at(unix_seconds.saturating_add(EAST_OF_UTC));
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}+08:00")
}

#[cfg(feature = "client")]
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// Returns the Unix seconds of the header `Date`, in the only form that servers may send (RFC 9110, 5.6.7):
/// `Sun, 06 Nov 1994 08:49:37 GMT`.
#[cfg(feature = "client")]
pub(crate) fn parse_http_date(text: &str) -> Option<u64> {
    let (_, date_time) = text.strip_suffix(" GMT")?.split_once(", ")?;
    let (date, time) = date_time.as_bytes().split_at_checked(12)?;
    let &[d1, d2, b' ', m1, m2, m3, b' ', y1, y2, y3, y4, b' '] = date else {
        return None;
    };
    let is_month = |name: &str| name.as_bytes() == [m1, m2, m3];
    let (month, _) = (1..).zip(MONTHS).find(|(_, name)| is_month(name))?;
    let (year, day) = (decimal(&[y1, y2, y3, y4])?, decimal(&[d1, d2])?);
    let (date, time) = ([year, month, day], clock_time(time)?);
    Civil { date, time }.unix_seconds()
}

/// Writes `Sun, 06 Nov 1994 08:49:37 GMT`.
#[cfg(feature = "sandbox")]
pub(crate) fn format_http_date(unix_seconds: u64) -> String {
    // The first day, 1 January 1970, was a Thursday.
    const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    fn name(names: &[&'static str], at: u64) -> &'static str {
        let found = (0..).zip(names).find(|(index, _)| *index == at);
        found.map_or("", |(_, name)| name)
    }
    let Civil {
        date: [year, month, day],
        time: [hour, minute, second],
    } = Civil::at(unix_seconds);
    let weekday = name(&WEEKDAYS, unix_seconds / DAY % 7);
    let month = name(&MONTHS, month - 1);
    format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}

// The numbers are those of `date -u -d … +%s`.
#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_time_before_1970_is_1970() {
        let second = Duration::from_secs(1);
        assert_eq!(unix_seconds(UNIX_EPOCH - second), 0);
        assert_eq!(unix_seconds(UNIX_EPOCH), 0);
        assert_eq!(unix_seconds(UNIX_EPOCH + second), 1);
    }

    #[test]
    fn every_day_of_four_centuries_has_its_date() {
        let lengths = |year: u64| {
            let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let february = if is_leap { 29 } else { 28 };
            [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
        };
        let mut seconds = 12 * 3600 + 34 * 60 + 56;
        for year in 1970..2380 {
            for (month, length) in (1..).zip(lengths(year)) {
                for day in 1..=length {
                    let civil = Civil {
                        date: [year, month, day],
                        time: [12, 34, 56],
                    };
                    assert_eq!(Civil::at(seconds), civil);
                    assert_eq!(civil.unix_seconds(), Some(seconds));
                    seconds += DAY;
                }
                let none = Civil {
                    date: [year, month, length + 1],
                    time: [12, 34, 56],
                };
                assert_eq!(none.unix_seconds(), None);
            }
        }
        // Even the largest input is converted without an overflow.
        assert!(Civil::at(u64::MAX).date[0] > 9999);
    }

    #[test]
    fn times_are_read_with_any_offset() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01T08:00:00+08:00", 0),
            ("2018-03-26T11:39:50+08:00", 1522035590),
            ("2018-03-25T19:39:50-08:00", 1522035590),
            ("2018-03-26t03:39:50.999z", 1522035590),
            ("2018-03-26T09:09:50.5+05:30", 1522035590),
            ("2024-02-29T23:59:59Z", 1709251199),
            ("2100-03-01T00:00:00Z", 4107542400),
        ] {
            assert_eq!(parse_rfc_3339(text), Some(seconds), "{text}");
        }
    }

    #[test]
    fn a_text_that_is_no_time_is_refused() {
        for text in [
            "",
            "2018-03-26",
            "2018-03-26T11:39:50",
            "2018-03-26 11:39:50+08:00",
            "2018-03-26T11:39:50+0800",
            "2018-03-26T11:39:50+08:60",
            "2018-03-26T11:39:50+24:00",
            "2018-03-26T11:39:50*08:00",
            "2018-03-26T11:39:50.+08:00",
            "2018-03-26T11:39:60Z",
            "2018-03-26T11:60:00Z",
            "2018-03-26T24:00:00Z",
            "2018-02-29T00:00:00Z",
            "2018-09-31T00:00:00Z",
            "2018-13-01T00:00:00Z",
            "2018-00-01T00:00:00Z",
            "2018-01-00T00:00:00Z",
            "1969-12-31T23:59:59Z",
            "1970-01-01T07:59:59+08:00",
            "20180326113950",
            "2018-03-26T11:39:5éZ",
            "2018-03-26T11:39:50Zé",
            "é018-03-26T11:39:50é08:00",
            "+018-03-26T11:39:50Z",
            "2018-+3-26T11:39:50Z",
        ] {
            assert_eq!(parse_rfc_3339(text), None, "{text}");
        }
    }

    #[test]
    fn the_form_of_rfc_3339_has_capital_letters() {
        for (text, expected) in [
            ("2018-03-26T11:39:50.5+08:00", true),
            ("2018-02-31T25:00:00-99:00", true),
            ("2018-03-26t11:39:50Z", false),
            ("2018-03-26T11:39:50z", false),
            ("2018-03-26T11:39:50", false),
        ] {
            assert_eq!(has_form_of_rfc_3339(text), expected, "{text}");
        }
    }

    #[cfg(feature = "sandbox")]
    #[test]
    fn times_are_written_in_the_time_zone_of_china() {
        for (seconds, text) in [
            (0, "1970-01-01T08:00:00+08:00"),
            (951_753_600, "2000-02-29T00:00:00+08:00"),
            (1_599_715_775, "2020-09-10T13:29:35+08:00"),
            (1_709_222_399, "2024-02-29T23:59:59+08:00"),
            (1_735_660_800, "2025-01-01T00:00:00+08:00"),
            (4_107_542_400, "2100-03-01T08:00:00+08:00"),
        ] {
            assert_eq!(format_rfc_3339(seconds), text);
            assert_eq!(parse_rfc_3339(text), Some(seconds), "{text}");
        }
    }

    // RFC 9110's example, and one made by `date`.
    #[cfg(feature = "client")]
    const DATES: [(u64, &str); 2] = [
        (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
        (1_709_251_199, "Thu, 29 Feb 2024 23:59:59 GMT"),
    ];

    #[cfg(feature = "sandbox")]
    #[test]
    fn the_date_of_a_response_is_written() {
        for (seconds, text) in DATES {
            assert_eq!(format_http_date(seconds), text);
        }
    }

    #[cfg(feature = "client")]
    #[test]
    fn the_date_of_a_response_is_read() {
        for (seconds, text) in DATES {
            assert_eq!(parse_http_date(text), Some(seconds), "{text}");
        }
        for text in [
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "Sun, 06 Nov 1994 08:49:37 +0000",
            "Sun, 06 Nov 1994 08:49 GMT",
            "Sun, 06 Nov 1994 08:49:37:1 GMT",
            "Sun, 31 Feb 1994 08:49:37 GMT",
            "Sun, 06 nov 1994 08:49:37 GMT",
            "",
        ] {
            assert_eq!(parse_http_date(text), None, "{text}");
        }
    }
}
