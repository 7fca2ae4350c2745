//! INI as sops reads and writes it (sops, `stores/ini`, on gopkg.in/ini.v1): sections of keys, values quoted or
//! continued, comments kept with the section or key that follows them. Sections may repeat, keys in one may not.

use crate::error::ParseError;
use crate::format::Format;
use crate::limits::Budget;
use crate::store::dotenv::shown;
use crate::text::Text;
use crate::tree::{Entry, Map, Pair, Value};

/// The section of keys before the first header. It is part of the tree, and so of the paths, even if empty.
const DEFAULT: &str = "DEFAULT";
const DELIMITERS: [char; 2] = ['=', ':'];

/// Parses the file into a map of sections.
pub(crate) fn parse(text: &str, budget: &mut Budget) -> Result<Map, ParseError> {
    let mut reader = Reader { lines: text.split_inclusive('\n'), line: 0, comment: String::new() };
    let mut sections = Map::new();
    let mut open = section(DEFAULT, 0);
    budget.charge(1, DEFAULT.len())?;
    while let Some(line) = reader.next() {
        let line = line.trim_start();
        let number = reader.line;
        budget.charge(1, line.len())?;
        if line.is_empty() {
            continue;
        }
        if line.starts_with(['#', ';']) {
            reader.comment.push_str(line);
        } else if let Some(header) = line.strip_prefix('[') {
            let (name, rest) =
                header.rsplit_once(']').ok_or_else(|| syntax(number, "a section without ]"))?;
            if name.is_empty() {
                return Err(syntax(number, "a section without a name"));
            }
            reader.inline_comment(rest);
            sections.push(Entry::Pair(std::mem::replace(&mut open, section(name, number))));
            push_comment(&mut open, &mut reader.comment);
        } else {
            let (key, rest) = key_of(line).ok_or_else(|| syntax(number, "not key = value"))?;
            if key == "-" {
                return Err(ParseError::Unsupported { line: number, problem: "a key of - is not supported" });
            }
            let key = key.to_owned();
            let value = reader.value(rest, budget)?;
            if let Value::Map(entries) = &mut open.value {
                entries.push(Entry::Pair(Pair { key, line: number, value: Value::str(value) }));
            }
            // sops puts a key's comment behind the key.
            push_comment(&mut open, &mut reader.comment);
        }
    }
    sections.push(Entry::Pair(open));
    Ok(sections)
}

fn syntax(line: u32, problem: &'static str) -> ParseError {
    ParseError::Syntax { format: Format::Ini, line, problem }
}

fn section(name: &str, line: u32) -> Pair {
    Pair { key: name.to_owned(), line, value: Value::Map(Map::new()) }
}

fn push_comment(section: &mut Pair, comment: &mut String) {
    let text = std::mem::take(comment);
    let text = text.trim();
    if let (Value::Map(entries), false) = (&mut section.value, text.is_empty()) {
        let bare = match text.as_bytes() {
            [b';', ..] => text.trim_start_matches([';', ' ']),
            _ => text.trim_start_matches(['#', ' ']),
        };
        entries.push(Entry::Comment(bare.into()));
    }
}

/// The key's name and what stands behind the delimiter.
fn key_of(line: &str) -> Option<(&str, &str)> {
    let quote = ["\"\"\"", "\"", "`"].into_iter().find(|quote| line.starts_with(quote));
    let (key, rest) = match quote {
        None => line.split_once(DELIMITERS)?,
        Some(quote) => {
            let (key, rest) = line[quote.len()..].split_once(quote)?;
            (key, rest.split_once(DELIMITERS)?.1)
        }
    };
    Some((key.trim(), rest)).filter(|(key, _)| !key.is_empty())
}

struct Reader<'a> {
    lines: std::str::SplitInclusive<'a, char>,
    line: u32,
    /// Comments read and not yet given to a section or key.
    comment: String,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Option<&'a str> {
        self.line += 1;
        self.lines.next()
    }

    fn inline_comment(&mut self, rest: &str) {
        if let Some(at) = rest.find(['#', ';']) {
            self.comment.push_str(rest[at..].trim_end());
        }
    }

    fn value(&mut self, rest: &str, budget: &mut Budget) -> Result<String, ParseError> {
        let line = rest.trim_start();
        let quote = if line.len() > 3 && line.starts_with("\"\"\"") {
            Some("\"\"\"")
        } else {
            line.starts_with('`').then_some("`")
        };
        if let Some(quote) = quote {
            let inner = &line[quote.len()..];
            return match inner.rfind(quote) {
                Some(end) => Ok(inner[..end].to_owned()),
                None => self.quoted(inner, quote, budget),
            };
        }
        let line = line.trim_end();
        if let Some(first) = line.strip_suffix('\\') {
            return self.continued(first, budget);
        }
        let line = match line.find(['#', ';']) {
            Some(at) => {
                self.comment.push_str(&line[at..]);
                line[..at].trim()
            }
            None => line,
        };
        let unquoted = ['\'', '"'].into_iter().find_map(|quote| {
            line.strip_prefix(quote)?.strip_suffix(quote).filter(|inner| !inner.contains(quote))
        });
        Ok(unquoted.unwrap_or(line).to_owned())
    }

    /// A quoted value over several lines.
    fn quoted(&mut self, first: &str, quote: &str, budget: &mut Budget) -> Result<String, ParseError> {
        let start = self.line;
        let mut value = first.to_owned();
        while let Some(next) = self.next() {
            budget.charge(0, next.len())?;
            if let Some(end) = next.rfind(quote) {
                value.push_str(&next[..end]);
                self.inline_comment(&next[end..]);
                return Ok(value);
            }
            value.push_str(next);
        }
        Err(syntax(start, "a value without its closing quote"))
    }

    /// A value whose lines end with a backslash.
    fn continued(&mut self, first: &str, budget: &mut Budget) -> Result<String, ParseError> {
        let mut value = first.to_owned();
        while let Some(next) = self.next() {
            budget.charge(0, next.len())?;
            let next = next.trim();
            value.push_str(next);
            if next.is_empty() || value.pop_if_last('\\').is_none() {
                break;
            }
        }
        Ok(value)
    }
}

trait PopIf {
    fn pop_if_last(&mut self, c: char) -> Option<char>;
}

impl PopIf for String {
    fn pop_if_last(&mut self, c: char) -> Option<char> {
        if self.ends_with(c) { self.pop() } else { None }
    }
}

/// Prints sections with their `=` aligned. `None` if the tree has another shape.
pub(crate) fn emit(branch: &Map) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let last = branch.len().saturating_sub(1);
    for (index, entry) in branch.iter().enumerate() {
        let Entry::Pair(Pair { key: name, value: Value::Map(entries), .. }) = entry else { return None };
        let keys = keys(entries)?;
        if let Some(Entry::Comment(text)) = entries.first() {
            comment(&mut out, text, true);
        }
        if index > 0 || name.to_uppercase() != DEFAULT {
            out.extend_from_slice(format!("[{name}]\n").as_bytes());
        } else if keys.is_empty() {
            continue;
        }
        let width = keys.iter().map(|key| key.name.len()).max().unwrap_or(0);
        for key in &keys {
            if let Some(text) = key.comment {
                comment(&mut out, text, false);
            }
            out.extend_from_slice(key.name.as_bytes());
            out.extend(std::iter::repeat_n(b' ', width - key.name.len()));
            out.extend_from_slice(b" = ");
            quoted(&mut out, key.value.as_bytes());
            out.push(b'\n');
        }
        if index != last {
            out.push(b'\n');
        }
    }
    Some(out)
}

/// Metadata fields as ini keeps them: a line break is written `\n`.
pub(crate) fn on_one_line(fields: Map) -> Map {
    let one_line = |entry| match entry {
        Entry::Pair(Pair { key, line, value: Value::Scalar(scalar) }) => {
            let text = scalar.text.as_str().unwrap_or_default().replace('\n', "\\n");
            Entry::Pair(Pair { key, line, value: Value::str(text) })
        }
        other => other,
    };
    fields.into_iter().map(one_line).collect()
}

struct Key<'a> {
    name: String,
    value: Text,
    comment: Option<&'a Text>,
}

/// The keys of a section, each with the comment that stands behind it in the tree.
fn keys(entries: &Map) -> Option<Vec<Key<'_>>> {
    let mut keys: Vec<Key<'_>> = Vec::new();
    for entry in entries {
        match entry {
            Entry::Comment(text) => {
                if let Some(key) = keys.last_mut() {
                    key.comment = Some(text);
                }
            }
            Entry::Pair(Pair { key, value, .. }) => {
                let value = match value {
                    Value::Scalar(scalar) => shown(scalar),
                    Value::Null => Text::from("<nil>"),
                    Value::List(_) | Value::Map(_) => return None,
                };
                let name = if key.contains(['"', '=', ':']) {
                    format!("`{key}`")
                } else if key.contains('`') {
                    format!("\"\"\"{key}\"\"\"")
                } else {
                    key.clone()
                };
                keys.push(Key { name, value, comment: None });
            }
        }
    }
    Some(keys)
}

fn comment(out: &mut Vec<u8>, text: &Text, section: bool) {
    for line in text.as_bytes().split(|&b| b == b'\n') {
        match line {
            [mark @ (b'#' | b';'), rest @ ..] => {
                out.extend_from_slice(&[*mark, b' ']);
                out.extend_from_slice(rest.trim_ascii());
            }
            _ => {
                out.extend_from_slice(b"; ");
                out.extend_from_slice(if section { line } else { line.trim_ascii() });
            }
        }
        out.push(b'\n');
    }
}

fn quoted(out: &mut Vec<u8>, value: &[u8]) {
    let quote: &[u8] = if value.iter().any(|b| matches!(b, b'\n' | b'`')) {
        b"\"\"\""
    } else if value.iter().any(|b| matches!(b, b'#' | b';')) {
        b"`"
    } else if value.trim_ascii().len() != value.len() {
        b"\""
    } else {
        b""
    };
    out.extend_from_slice(quote);
    out.extend_from_slice(value);
    out.extend_from_slice(quote);
}
