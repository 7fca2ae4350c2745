//! One string as a YAML scalar: plain where nobody could misread it, else quoted; long text as a literal block.

/// Words that some reader takes for a boolean or null.
const WORDS: [&str; 9] = ["true", "false", "yes", "no", "on", "off", "null", "y", "n"];

/// On one line: plain if it begins with a letter or slash and holds nothing special, else in double quotes.
pub fn inline(text: &str) -> String {
    let mut chars = text.chars();
    let starts = chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '/');
    let plain = starts
        && chars.all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '@' | '+' | '='))
        && !WORDS.contains(&text.to_ascii_lowercase().as_str());
    if plain { text.to_owned() } else { quoted(text) }
}

/// As a literal block whose lines stand at `indent`, for text of several lines that every reader gives back unchanged;
/// `None` for any other text. Carriage returns, tabs at the start of a line, trailing blanks, byte order marks and
/// Unicode line separators are what readers disagree about.
pub fn block(text: &str, indent: usize) -> Option<String> {
    let body = text.trim_end_matches('\n');
    if !text.contains('\n') || body.is_empty() || indent == 0 || !text.chars().all(carried) {
        return None;
    }
    let lines: Vec<&str> = body.split('\n').collect();
    let first_is_flush = lines.first().is_some_and(|line| !line.is_empty() && !line.starts_with([' ', '\t']));
    let blank = |line: &&str| !line.is_empty() && line.bytes().all(|b| b == b' ' || b == b'\t');
    if !first_is_flush || lines.iter().any(blank) {
        return None;
    }
    let chomping = match text.len() - body.len() {
        0 => "-",
        1 => "",
        _ => "+",
    };
    let pad = " ".repeat(indent);
    let mut out = format!("|{chomping}\n");
    for line in text.trim_end_matches('\n').split('\n') {
        if !line.is_empty() {
            out.push_str(&pad);
            out.push_str(line);
        }
        out.push('\n');
    }
    for _ in 1..text.len() - body.len() {
        out.push('\n');
    }
    Some(out)
}

/// Characters that stand for themselves in a block, for YAML 1.1 and 1.2 readers alike.
fn carried(c: char) -> bool {
    match c {
        '\n' | '\t' | ' '..='~' => true,
        '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}' => false,
        c => c >= '\u{a0}' && !matches!(c, '\u{fffe}' | '\u{ffff}') && (c as u32) <= 0xFFFF,
    }
}

/// In double quotes, on one line.
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            ' '..='~' => out.push(c),
            c if carried(c) && !crate::error::is_direction(c) => out.push(c),
            c if (c as u32) <= 0xFFFF => out.push_str(&format!("\\u{:04X}", c as u32)),
            c => out.push_str(&format!("\\U{:08X}", c as u32)),
        }
    }
    out.push('"');
    out
}
