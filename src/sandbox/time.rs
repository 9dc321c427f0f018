//! Dates and times of the sandbox, from Unix seconds.

const DAY: u64 = 24 * 60 * 60;

/// A date and time in UTC.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Civil {
    pub(super) year: u64,
    pub(super) month: u64,
    pub(super) day: u64,
    pub(super) hour: u64,
    pub(super) minute: u64,
    pub(super) second: u64,
}

/// The date and time in UTC of these Unix seconds.
pub(super) fn civil(unix_seconds: u64) -> Civil {
    let (days, seconds) = (unix_seconds / DAY, unix_seconds % DAY);
    // Counted from 1 March of the year 0, so that the leap day is a year's last; 400 years have 146 097 days.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // From March on, five months have 153 days.
    let month_from_march = (5 * day_of_year + 2) / 153;
    let month = match month_from_march {
        ..10 => month_from_march + 3,
        _ => month_from_march - 9,
    };
    Civil {
        year: era * 400 + year_of_era + u64::from(month <= 2),
        month,
        day: day_of_year - (153 * month_from_march + 2) / 5 + 1,
        hour: seconds / 3600,
        minute: seconds / 60 % 60,
        second: seconds % 60,
    }
}

/// RFC 3339 in China's time zone, as WeChat Pay writes times: `2020-09-10T13:29:35+08:00`.
pub(super) fn rfc3339(unix_seconds: u64) -> String {
    let Civil {
        year,
        month,
        day,
        hour,
        minute,
        second,
    } = civil(unix_seconds + 8 * 3600);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}+08:00")
}

#[cfg(test)]
mod tests {
    use super::rfc3339;

    // The numbers are those of `TZ=Asia/Shanghai date -d @… +%FT%T%:z`.
    #[test]
    fn writes_times_as_wechat_pay_does() {
        for (seconds, text) in [
            (0, "1970-01-01T08:00:00+08:00"),
            (951753600, "2000-02-29T00:00:00+08:00"),
            (951839999, "2000-02-29T23:59:59+08:00"),
            (951840000, "2000-03-01T00:00:00+08:00"),
            (1599715775, "2020-09-10T13:29:35+08:00"),
            (1735660799, "2024-12-31T23:59:59+08:00"),
            (1735660800, "2025-01-01T00:00:00+08:00"),
            (4107513600, "2100-03-01T00:00:00+08:00"),
        ] {
            assert_eq!(rfc3339(seconds), text);
        }
    }
}
