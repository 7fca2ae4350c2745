//! How a string is written in YAML: plain, in one of the two kinds of quotes or as a block, chosen as go-yaml chooses.

use super::scalar;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Single,
    Double,
    Literal,
}

/// The style for a string of UTF-8. `key` is for a key on one line.
pub(super) fn choose(text: &str, key: bool) -> Style {
    let looks = Looks::of(text);
    let first = if text.contains('\n') {
        Style::Literal
    } else if matches!(scalar::resolve(text), scalar::Plain::Str) && !scalar::misread_by_old_readers(text) {
        Style::Plain
    } else {
        Style::Double
    };
    match first {
        Style::Plain if looks.plain => Style::Plain,
        Style::Plain if looks.single => Style::Single,
        Style::Literal if looks.block && !key => Style::Literal,
        _ => Style::Double,
    }
}

/// What the characters of a string allow.
struct Looks {
    plain: bool,
    single: bool,
    block: bool,
}

impl Looks {
    fn of(text: &str) -> Looks {
        let mut indicators = text.starts_with("---") || text.starts_with("...");
        let mut special = false;
        let mut tab = false;
        let mut breaks = false;
        let mut break_space = false;
        let mut space_break = false;
        let mut previous = '\0';
        let mut chars = text.char_indices().peekable();
        while let Some((index, c)) = chars.next() {
            let next = chars.peek().map(|&(_, next)| next);
            let blank_follows = next.is_none_or(|next| next == ' ' || next == '\t');
            indicators |= match c {
                '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@'
                | '`'
                    if index == 0 =>
                {
                    true
                }
                '?' | '-' if index == 0 => blank_follows,
                ':' => blank_follows,
                '#' => is_blank_or_break(previous),
                _ => false,
            };
            if c == '\t' {
                tab = true;
            } else if !is_printable(c) {
                special = true;
            }
            if c == ' ' {
                break_space |= is_break(previous);
            } else if is_break(c) {
                breaks = true;
                space_break |= previous == ' ';
            }
            previous = c;
        }
        let edge = |c: Option<char>| c.is_some_and(|c| c == ' ' || is_break(c));
        let edges = edge(text.chars().next()) || edge(text.chars().next_back());
        let unquotable = space_break || special;
        Looks {
            plain: !(edges || break_space || unquotable || tab || breaks || indicators),
            single: !(break_space || unquotable || tab || breaks),
            block: !(unquotable || text.ends_with(' ')),
        }
    }
}

fn is_blank_or_break(c: char) -> bool {
    c == ' ' || c == '\t' || is_break(c)
}

pub(super) fn is_break(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// Characters beyond the Basic Multilingual Plane count as unprintable, as they do to go-yaml.
pub(super) fn is_printable(c: char) -> bool {
    matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}') && c != '\u{feff}'
}
