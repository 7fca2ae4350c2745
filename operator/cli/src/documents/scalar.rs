//! One scalar of a text exchanged for another, and nothing else: of a block scalar only its lines, and of its header only
//! the chomping where the new text ends otherwise; whatever a block cannot hold becomes a quoted scalar in its place.

use std::ops::Range;

use saphyr_parser::ScalarStyle;

use super::nodes::Scalar;
use crate::yaml;

/// What to put where, so that the scalar is `new`. The caller reads the result back before it counts.
pub fn exchange(text: &str, scalar: &Scalar, new: &str, json: bool) -> Option<(Range<usize>, String)> {
    let quoted = || if json { json_string(new) } else { Some(yaml::quoted(new)) };
    Some(match scalar.style {
        ScalarStyle::Literal | ScalarStyle::Folded => {
            let block = Block::find(text, scalar)?;
            match block.lines(new, scalar) {
                Some((end, lines)) => (block.indicator..end, lines),
                None => (block.indicator..block.end, format!("{}{}", quoted()?, block.line_end)),
            }
        }
        _ => (scalar.start..scalar.end, quoted()?),
    })
}

/// Also for those who read JSON as YAML: what is not printable there is escaped.
fn json_string(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len() + 2);
    for c in serde_json::to_string(text).ok()?.chars() {
        match c {
            '\u{7f}'..='\u{a0}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    Some(out)
}

/// A block scalar: `|2- # comment`, then its lines.
struct Block<'t> {
    /// The header's text from the indicator to the end of its line.
    header: &'t str,
    /// Offset of `|` or `>`.
    indicator: usize,
    /// The end of the last line that is not blank.
    body_end: usize,
    /// The end of the scalar, blank lines behind it included.
    end: usize,
    line_end: &'static str,
}

impl<'t> Block<'t> {
    fn find(text: &'t str, scalar: &Scalar) -> Option<Block<'t>> {
        // The line above the first that holds anything.
        let mut header_end = text[..scalar.start].rfind('\n')?;
        let mut header_start;
        loop {
            header_start = text[..header_end].rfind('\n').map_or(0, |at| at + 1);
            if !text[header_start..header_end].trim().is_empty() {
                break;
            }
            header_end = header_start.checked_sub(1)?;
        }
        let line = text[header_start..header_end].trim_end_matches('\r');
        let comment = line.match_indices('#').find(|(at, _)| line[..*at].ends_with([' ', '\t']));
        let code = line[..comment.map_or(line.len(), |(at, _)| at)].trim_end();
        let word = code.rfind(char::is_whitespace).map_or(0, |at| at + 1);
        if !code[word..].starts_with(['|', '>']) {
            return None;
        }
        // Reading stopped behind the indentation of the next line, or at the end of the text.
        let last_line = text[..scalar.end].rfind('\n').map_or(0, |at| at + 1);
        let end = if text[last_line..scalar.end].trim().is_empty() { last_line } else { scalar.end };
        let body = text[..end].trim_end();
        let body_end = text[body.len()..end].find('\n').map_or(end, |at| body.len() + at + 1);
        let line_end = if text[..header_end].ends_with('\r') { "\r\n" } else { "\n" };
        let indicator = header_start + word;
        Some(Block {
            header: &text[indicator..header_start + line.len()],
            indicator,
            body_end,
            end,
            line_end,
        })
    }

    /// The header and lines that hold `new`, and the offset up to which they replace what is there. Blank lines behind
    /// the block stay, unless they are, or would become, part of the text.
    fn lines(&self, new: &str, scalar: &Scalar) -> Option<(usize, String)> {
        let block = yaml::block(new, scalar.column)?;
        let (fresh, lines) = block.split_once('\n')?;
        let old = self.header;
        let word_end = old.find(char::is_whitespace).unwrap_or(old.len());
        let (word, rest) = old.split_at(word_end);
        let (old_chomping, new_chomping) = (chomping(word), chomping(fresh));
        let indentation: String = word.chars().filter(char::is_ascii_digit).collect();
        let header = if old_chomping == new_chomping && word.starts_with('|') {
            word.to_owned()
        } else {
            format!("|{indentation}{}", new_chomping.map_or_else(String::new, String::from))
        };
        let end = if [old_chomping, new_chomping].contains(&Some('+')) { self.end } else { self.body_end };
        let text = format!("{header}{rest}\n{lines}");
        Some((end, if self.line_end == "\n" { text } else { text.replace('\n', self.line_end) }))
    }
}

fn chomping(header: &str) -> Option<char> {
    header.chars().find(|c| matches!(c, '+' | '-'))
}
