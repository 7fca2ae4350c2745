//! Strings in the two kinds of quotes, escaped as go-yaml escapes them.

use zeroize::Zeroizing;

use super::style;

pub(super) fn single_quoted(text: &str) -> Zeroizing<String> {
    let mut out = Zeroizing::new(String::with_capacity(text.len() * 2 + 2));
    out.push('\'');
    for c in text.chars() {
        out.push(c);
        if c == '\'' {
            out.push(c);
        }
    }
    out.push('\'');
    out
}

pub(super) fn double_quoted(text: &str) -> Zeroizing<String> {
    // No character takes more than six times its bytes: nothing is left behind by growing.
    let mut out = Zeroizing::new(String::with_capacity(text.len() * 6 + 2));
    out.push('"');
    // go-yaml looks for a byte order mark at the front only, and escapes everything behind one.
    let escape_all = text.starts_with('\u{feff}');
    for c in text.chars() {
        let short = match c {
            '\0' => "\\0",
            '\u{7}' => "\\a",
            '\u{8}' => "\\b",
            '\t' => "\\t",
            '\n' => "\\n",
            '\u{b}' => "\\v",
            '\u{c}' => "\\f",
            '\r' => "\\r",
            '\u{1b}' => "\\e",
            '"' => "\\\"",
            '\\' => "\\\\",
            '\u{85}' => "\\N",
            '\u{a0}' if escape_all => "\\_",
            '\u{2028}' => "\\L",
            '\u{2029}' => "\\P",
            _ => "",
        };
        let code = u32::from(c);
        if !short.is_empty() {
            out.push_str(short);
        } else if style::is_printable(c) && !escape_all {
            out.push(c);
        } else if code <= 0xff {
            out.push_str(&format!("\\x{code:02X}"));
        } else if code <= 0xffff {
            out.push_str(&format!("\\u{code:04X}"));
        } else {
            out.push_str(&format!("\\U{code:08X}"));
        }
    }
    out.push('"');
    out
}
