//! Times as WeChat Pay writes and reads them: RFC 3339, written in China's time zone; and HTTP's for the header `Date`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::verifier::unix_seconds;

const DAY: u64 = 24 * 60 * 60;
/// China Standard Time, all year.
const EAST_OF_UTC: u64 = 8 * 60 * 60;

/// `2020-09-10T13:29:35+08:00`.
pub(super) fn format(time: SystemTime) -> String {
    let local = unix_seconds(time) + EAST_OF_UTC;
    let (year, month, day) = date(local / DAY);
    let second = local % DAY;
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}+08:00",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`.
pub(super) fn http_date(unix_seconds: u64) -> String {
    const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (days, second) = (unix_seconds / DAY, unix_seconds % DAY);
    let (year, month, day) = date(days);
    // The first day, 1 January 1970, was a Thursday.
    let weekday = usize::try_from(days % 7)
        .ok()
        .and_then(|at| WEEKDAYS.get(at));
    let month = usize::try_from(month - 1)
        .ok()
        .and_then(|at| MONTHS.get(at));
    format!(
        "{}, {day:02} {} {year:04} {:02}:{:02}:{:02} GMT",
        weekday.unwrap_or(&""),
        month.unwrap_or(&""),
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

/// A time from 1970 on, with any offset and no fraction of a second.
pub(super) fn parse(text: &str) -> Option<SystemTime> {
    let (date_and_time, offset) = split_offset(text)?;
    let (date, time) = date_and_time.split_once('T')?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    let in_range = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=days_of(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    if !in_range {
        return None;
    }
    let days: u64 = (1970..year).map(days_of_year).sum::<u64>()
        + (1..month).map(|month| days_of(year, month)).sum::<u64>()
        + (day - 1);
    let local = days * DAY + hour * 3600 + minute * 60 + second;
    let utc = match offset {
        Offset::East(seconds) => local.checked_sub(seconds)?,
        Offset::West(seconds) => local + seconds,
    };
    UNIX_EPOCH.checked_add(Duration::from_secs(utc))
}

/// The difference from UTC, in seconds.
enum Offset {
    East(u64),
    West(u64),
}

fn split_offset(text: &str) -> Option<(&str, Offset)> {
    if let Some(rest) = text.strip_suffix('Z') {
        return Some((rest, Offset::East(0)));
    }
    let (rest, offset) = text.split_at_checked(text.len().checked_sub(6)?)?;
    let (sign, hours_and_minutes) = offset.split_at_checked(1)?;
    let [hours, minutes] = numbers(hours_and_minutes, ':', [2, 2])?;
    let seconds = hours * 3600 + minutes * 60;
    match sign {
        "+" if hours < 24 && minutes < 60 => Some((rest, Offset::East(seconds))),
        "-" if hours < 24 && minutes < 60 => Some((rest, Offset::West(seconds))),
        _ => None,
    }
}

/// Numbers of the given widths between separators.
fn numbers<const N: usize>(text: &str, separator: char, widths: [usize; N]) -> Option<[u64; N]> {
    let mut parts = text.split(separator);
    let mut found = [0; N];
    for (number, width) in found.iter_mut().zip(widths) {
        let part = parts.next().filter(|part| part.len() == width)?;
        if !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(found)
}

/// Year, month and day of the day with this number, counted from 1970-01-01.
pub(super) fn date(mut days: u64) -> (u64, u64, u64) {
    let mut year = 1970;
    while days >= days_of_year(year) {
        days -= days_of_year(year);
        year += 1;
    }
    let mut month = 1;
    while days >= days_of(year, month) {
        days -= days_of(year, month);
        month += 1;
    }
    (year, month, days + 1)
}

fn days_of_year(year: u64) -> u64 {
    if is_leap(year) { 366 } else { 365 }
}

fn days_of(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn is_leap(year: u64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
mod tests {
    use super::*;

    /// Pairs made by `date`.
    const PAIRS: [(u64, &str); 6] = [
        (0, "1970-01-01T08:00:00+08:00"),
        (951_753_600, "2000-02-29T00:00:00+08:00"),
        (1_599_715_775, "2020-09-10T13:29:35+08:00"),
        (1_709_222_399, "2024-02-29T23:59:59+08:00"),
        (1_735_660_800, "2025-01-01T00:00:00+08:00"),
        (4_107_542_400, "2100-03-01T08:00:00+08:00"),
    ];

    #[test]
    fn writes_and_reads_times() {
        for (seconds, text) in PAIRS {
            let time = UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(format(time), text);
            assert_eq!(parse(text), Some(time), "{text}");
        }
    }

    #[test]
    fn writes_the_date_of_an_answer() {
        // RFC 9110's example, and one made by `date`.
        assert_eq!(http_date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(http_date(1_709_251_199), "Thu, 29 Feb 2024 23:59:59 GMT");
    }

    #[test]
    fn reads_other_offsets() {
        let time = parse("2020-09-10T13:29:35+08:00");
        assert_eq!(parse("2020-09-10T05:29:35Z"), time);
        assert_eq!(parse("2020-09-09T23:59:35-05:30"), time);
    }

    #[test]
    fn reads_nothing_else() {
        for text in [
            "",
            "2020-09-10",
            "2020-09-10 13:29:35+08:00",
            "2020-09-10T13:29:35",
            "2020-09-10T13:29:35+0800",
            "2020-09-10T24:00:00+08:00",
            "2020-09-31T13:29:35+08:00",
            "2021-02-29T13:29:35+08:00",
            "2020-13-10T13:29:35+08:00",
            "2020-+9-10T13:29:35+08:00",
            "1969-12-31T13:29:35+08:00",
            "20180225112233",
            "é020-09-10T13:29:35é08:00",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
