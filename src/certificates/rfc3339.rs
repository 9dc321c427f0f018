//! The times in the list of platform certificates: RFC 3339 to Unix seconds.

use crate::keys::{decimal, unix_seconds_of_date};

/// Unix seconds of a time such as `2018-06-08T10:34:56+08:00`; a fraction of a second is cut off. `None` when it is no
/// such time, or before 1970.
pub(super) fn unix_seconds(text: &str) -> Option<u64> {
    let (date_time, rest) = text.as_bytes().split_at_checked(19)?;
    let &[
        y1,
        y2,
        y3,
        y4,
        b'-',
        o1,
        o2,
        b'-',
        d1,
        d2,
        b'T' | b't',
        h1,
        h2,
        b':',
        m1,
        m2,
        b':',
        s1,
        s2,
    ] = date_time
    else {
        return None;
    };
    let local = unix_seconds_of_date(
        decimal(&[y1, y2, y3, y4])?,
        decimal(&[o1, o2])?,
        decimal(&[d1, d2])?,
        decimal(&[h1, h2])?,
        decimal(&[m1, m2])?,
        decimal(&[s1, s2])?,
    )?;
    match *without_fraction(rest)? {
        [b'Z' | b'z'] => Some(local),
        [sign, h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (decimal(&[h1, h2])?, decimal(&[m1, m2])?);
            let offset = (hours < 24 && minutes < 60).then_some((hours * 60 + minutes) * 60)?;
            match sign {
                b'+' => local.checked_sub(offset),
                b'-' => Some(local + offset),
                _ => None,
            }
        }
        _ => None,
    }
}

/// What follows a fraction, if there is one.
fn without_fraction(rest: &[u8]) -> Option<&[u8]> {
    let Some(fraction) = rest.strip_prefix(b".") else {
        return Some(rest);
    };
    let digits = fraction
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    (digits > 0).then(|| fraction.get(digits..))?
}

#[cfg(test)]
mod tests {
    use super::unix_seconds;

    // The numbers are those of `date -u -d … +%s`.
    #[test]
    fn reads_times_with_any_offset() {
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
            assert_eq!(unix_seconds(text), Some(seconds), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_time() {
        for text in [
            "",
            "2018-03-26",
            "2018-03-26T11:39:50",
            "2018-03-26 11:39:50+08:00",
            "2018-03-26T11:39:50+0800",
            "2018-03-26T11:39:50+08:60",
            "2018-03-26T11:39:50+24:00",
            "2018-03-26T11:39:50.+08:00",
            "2018-03-26T11:39:50*08:00",
            "2018-03-26T11:39:60Z",
            "2018-03-26T24:00:00Z",
            "2018-02-29T00:00:00Z",
            "2018-13-01T00:00:00Z",
            "1969-12-31T23:59:59Z",
            "1970-01-01T07:59:59+08:00",
            "20180326113950",
            "2018-03-26T11:39:5éZ",
            "2018-03-26T11:39:50Zé",
            "+018-03-26T11:39:50Z",
        ] {
            assert_eq!(unix_seconds(text), None, "{text}");
        }
    }
}
