//! Durations as kubectl writes and shows them: `1m30s` on the command line, `5d3h` in a table; and what time it is.

use std::time::Duration;

use jiff::Timestamp;

/// Reads `30s`, `1m30s`, `500ms`, `2h` or plain seconds; `0` means none. For clap.
pub fn parse(text: &str) -> Result<Duration, String> {
    const WANTED: &str = "give a duration such as 30s, 2m or 1h, or plain seconds";
    if text.is_empty() {
        return Err(WANTED.to_owned());
    }
    if let Ok(seconds) = text.parse::<u32>() {
        return Ok(Duration::from_secs(seconds.into()));
    }
    let (mut total, mut rest) = (Duration::ZERO, text);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or(WANTED)?;
        let number: u32 = rest[..digits].parse().map_err(|_| WANTED)?;
        let unit_end = rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |at| digits + at);
        let unit = match &rest[digits..unit_end] {
            "ms" => Duration::from_millis(1),
            "s" => Duration::from_secs(1),
            "m" => Duration::from_secs(60),
            "h" => Duration::from_secs(3600),
            _ => return Err(WANTED.to_owned()),
        };
        total = total.checked_add(unit.checked_mul(number).ok_or(WANTED)?).ok_or(WANTED)?;
        rest = &rest[unit_end..];
    }
    Ok(total)
}

/// The time in whole seconds of UTC, RFC 3339, as manifests and documents are dated.
pub fn now() -> String {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now).to_string()
}

/// How long ago, in at most two units, as the AGE column of kubectl has it. `-` when unknown.
pub fn age(since: Option<Timestamp>, now: Timestamp) -> String {
    let Some(since) = since else { return "-".to_owned() };
    span(u64::try_from(now.as_second() - since.as_second()).unwrap_or(0))
}

/// A span of time in at most two units.
pub fn span(seconds: u64) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    let pair = |big: u64, name: &str, small: u64, small_name: &str| match seconds % big / small {
        0 => format!("{}{name}", seconds / big),
        part => format!("{}{name}{part}{small_name}", seconds / big),
    };
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 => pair(MINUTE, "m", 1, "s"),
        600..10_800 => format!("{}m", seconds / MINUTE),
        10_800..28_800 => pair(HOUR, "h", MINUTE, "m"),
        28_800..172_800 => format!("{}h", seconds / HOUR),
        172_800..691_200 => pair(DAY, "d", HOUR, "h"),
        _ => format!("{}d", seconds / DAY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_kubectl_reads_them() {
        assert_eq!(parse("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(parse("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse("0"), Ok(Duration::ZERO));
        assert_eq!(parse("15"), Ok(Duration::from_secs(15)));
        for bad in ["", "s", "5x", "-1s", "1s2", "99999999999h", "4294967295h4294967295h5"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ages_are_short() {
        let cases = [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (125, "2m5s"),
            (3600, "60m"),
            (10_860, "3h1m"),
            (90_000, "25h"),
        ];
        for (seconds, text) in cases.into_iter().chain([(180_000, "2d2h"), (864_000, "10d")]) {
            assert_eq!(span(seconds), text);
        }
        assert_eq!(age(None, Timestamp::UNIX_EPOCH), "-");
        assert_eq!(
            age(Timestamp::from_second(50).ok(), Timestamp::UNIX_EPOCH),
            "0s",
            "a clock that runs behind"
        );
    }
}
