//! Timestamps as text. No clock and no calendar arithmetic: a timestamp is recognised, and brought into the one form
//! sops authenticates (RFC 3339 with the fraction's trailing zeros cut).

/// Whether `text` is an RFC 3339 time, as in `2026-01-31T08:00:00Z` or `...T08:00:00.5+01:00`.
pub(crate) fn is_rfc3339(text: &str) -> bool {
    parse(text, true).is_some()
}

/// Whether `text` is a time as sops writes those of its metadata: `2026-01-31T08:00:00Z`.
pub(crate) fn is_whole_second_of_utc(text: &str) -> bool {
    is_rfc3339(text) && text.len() == "2026-01-31T08:00:00Z".len()
}

/// A YAML timestamp (`2026-1-31`, `2026-01-31 8:00:00`, RFC 3339 with a short date) in RFC 3339, `None` if it is none.
pub(crate) fn normalise(text: &str) -> Option<String> {
    parse(text, false)
}

fn parse(text: &str, strict: bool) -> Option<String> {
    let mut rest = Cursor(text.as_bytes());
    let year = rest.number(4, 4)?;
    rest.expect(b'-')?;
    let short = if strict { 2 } else { 1 };
    let month = rest.number(short, 2)?;
    rest.expect(b'-')?;
    let day = rest.number(short, 2)?;
    if !(1..=12).contains(&month) || day == 0 || day > days(year, month) {
        return None;
    }
    let date = format!("{year:04}-{month:02}-{day:02}");
    if rest.0.is_empty() {
        return (!strict).then(|| format!("{date}T00:00:00Z"));
    }
    let separator = rest.any()?;
    let zoned = match separator {
        b'T' => true,
        b't' if !strict => true,
        b' ' if !strict => false,
        _ => return None,
    };
    let hour = rest.number(short, 2)?;
    rest.expect(b':')?;
    let minute = rest.number(short, 2)?;
    rest.expect(b':')?;
    let second = rest.number(short, 2)?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let fraction = if rest.expect(b'.').is_some() {
        let digits = rest.digits(9);
        if digits.is_empty() {
            return None;
        }
        digits.trim_end_matches('0').to_owned()
    } else {
        String::new()
    };
    let dot = if fraction.is_empty() { "" } else { "." };
    let zone = if zoned { rest.zone()? } else { "Z".to_owned() };
    rest.0.is_empty().then(|| format!("{date}T{hour:02}:{minute:02}:{second:02}{dot}{fraction}{zone}"))
}

fn days(year: u32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 31,
    }
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn any(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.0 = self.0.strip_prefix(&[byte])?;
        Some(())
    }

    fn digits(&mut self, most: usize) -> &'a str {
        let count = self.0.iter().take(most).take_while(|b| b.is_ascii_digit()).count();
        let (digits, rest) = self.0.split_at(count);
        self.0 = rest;
        std::str::from_utf8(digits).unwrap_or_default()
    }

    fn number(&mut self, least: usize, most: usize) -> Option<u32> {
        let digits = self.digits(most);
        if digits.len() < least { None } else { digits.parse().ok() }
    }

    fn zone(&mut self) -> Option<String> {
        let sign = match self.any()? {
            b'Z' => return Some("Z".to_owned()),
            b'+' => '+',
            b'-' => '-',
            _ => return None,
        };
        let hours = self.number(2, 2)?;
        self.expect(b':')?;
        let minutes = self.number(2, 2)?;
        if hours > 24 || minutes > 59 {
            return None;
        }
        Some(if hours + minutes == 0 { "Z".to_owned() } else { format!("{sign}{hours:02}:{minutes:02}") })
    }
}
