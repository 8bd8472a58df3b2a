//! Durations and sizes as people write them.

use std::time::Duration;

/// `500ms`, `5s`, `10m`, `24h`, `7d`. A unit is required: a bare `5` may be anything.
pub fn duration(text: &str) -> Result<Duration, String> {
    let explain = || "expected a duration such as 500ms, 5s, 10m, 24h or 7d".to_owned();
    let (number, unit) = split(text).ok_or_else(explain)?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(explain()),
    };
    number.checked_mul(millis).map(Duration::from_millis).ok_or_else(explain)
}

/// `512`, `64KiB`, `64MiB`, `2GiB`, `1TiB`, and the decimal `kB`, `MB`, `GB`, `TB`.
pub fn size(text: &str) -> Result<u64, String> {
    let explain = || "expected a size such as 512KiB, 64MiB or 2GiB".to_owned();
    let (number, unit) = split(text).ok_or_else(explain)?;
    let bytes: u64 = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        _ => return Err(explain()),
    };
    number.checked_mul(bytes).ok_or_else(explain)
}

fn split(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit.trim_start()))
}

/// The shortest exact way to write a duration.
pub fn duration_text(duration: Duration) -> String {
    let millis = duration.as_millis();
    for (unit, size) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
        if millis >= size && millis.is_multiple_of(size) {
            return format!("{}{unit}", millis / size);
        }
    }
    format!("{millis}ms")
}

/// A size for reading: at most one digit behind the point.
pub fn size_text(bytes: u64) -> String {
    for (unit, size) in [("TiB", 1_u64 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if bytes >= size {
            let whole = bytes / size;
            let tenths = (bytes % size) * 10 / size;
            return if tenths == 0 { format!("{whole}{unit}") } else { format!("{whole}.{tenths}{unit}") };
        }
    }
    format!("{bytes}B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_number_and_a_known_unit() {
        for (text, millis) in
            [("500ms", 500), ("5s", 5_000), ("10 m", 600_000), ("24h", 86_400_000), ("0s", 0)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "5", "s", "-5s", "5.5s", "5 weeks", "99999999999999999999s", "9999999999999999d"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_know_binary_and_decimal_units() {
        for (text, bytes) in
            [("0", 0), ("512", 512), ("1KiB", 1024), ("64 MiB", 64 << 20), ("2GB", 2_000_000_000)]
        {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "MiB", "1.5GiB", "1M", "-1", "99999999999TiB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_shown_can_be_read_back_or_is_rounded_down() {
        for text in ["500ms", "5s", "10m", "24h", "90s"] {
            assert_eq!(duration(&duration_text(duration(text).unwrap())), duration(text));
        }
        assert_eq!(duration_text(Duration::from_secs(86_400)), "1d");
        assert_eq!(size_text(64 << 20), "64MiB");
        assert_eq!(size_text((3 << 30) / 2), "1.5GiB");
        assert_eq!(size_text(999), "999B");
    }
}
