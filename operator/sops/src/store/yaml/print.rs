//! Trees to YAML, laid out as sops prints it: four columns an indent, two after a dash, comments where they stood. The
//! order in which pending comments are written is go-yaml's, down to the blank line after a closing comment.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::quote;
use super::style::{self, Style};
use crate::text::Text;
use crate::tree::{Entry, Item, Kind, Map, Scalar, Value};

const INDENT: usize = 4;
const AFTER_DASH: usize = 2;
/// A longer key is written with a question mark.
const SIMPLE_KEY: usize = 128;

/// Prints documents, divided by `---`.
pub(crate) fn emit(branches: &[Map]) -> Vec<u8> {
    emit_indented(branches, None)
}

/// The same with another number of columns an indent, from 2 to 9; go-yaml takes any other for 2.
pub(crate) fn emit_indented(branches: &[Map], columns: Option<usize>) -> Vec<u8> {
    let step = columns.map_or(INDENT, |columns| if (2..=9).contains(&columns) { columns } else { 2 });
    let mut printer = Printer { start: true, step, ..Printer::default() };
    for (index, branch) in branches.iter().enumerate() {
        if index > 0 {
            printer.indent(0);
            printer.put("---");
            printer.newline();
        }
        printer.document(branch);
    }
    printer.out
}

/// The columns an indent that sops wrote a document with, if not the usual ones: those of its metadata.
pub(crate) fn indentation(text: &str) -> Option<usize> {
    // Searched for from the end, where it mostly is.
    let after =
        text.rsplit_once("\nsops:\n").map(|(_, after)| after).or_else(|| text.strip_prefix("sops:\n"))?;
    let columns = after.len() - after.trim_start_matches(' ').len();
    (columns != INDENT && (2..=9).contains(&columns)).then_some(columns)
}

#[derive(Default)]
struct Printer {
    out: Vec<u8>,
    /// Columns an indent.
    step: usize,
    column: usize,
    /// Nothing but indentation and dashes on this line.
    start: bool,
    /// The last thing written was blank.
    blank: bool,
    /// The indentation of a closing comment just written.
    foot: Option<usize>,
    /// Comments waiting for their place.
    head: Vec<u8>,
    tail: Vec<u8>,
    closing: Vec<u8>,
}

impl Printer {
    fn document(&mut self, map: &Map) {
        self.blank = true;
        let (leading, rest) = leading(map);
        set(&mut self.head, leading);
        self.write_head(0);
        self.collection_map(rest, None, false);
        self.write_closing(0);
        self.foot = None;
        self.indent(0);
    }

    /// A map in its place: in braces if empty. `above` is the indentation of what holds it.
    fn collection_map(&mut self, entries: &[Entry], above: Option<usize>, in_list: bool) {
        if entries.is_empty() {
            self.indicator("{");
            self.write_head(self.deeper(above, in_list).max(self.step));
            self.put("}");
            return;
        }
        self.map(entries, above.map_or(0, |_| self.deeper(above, in_list)));
    }

    fn deeper(&self, above: Option<usize>, in_list: bool) -> usize {
        match above {
            None => self.step,
            Some(above) if in_list => above + AFTER_DASH,
            Some(above) => self.step * ((above + self.step) / self.step),
        }
    }

    fn map(&mut self, entries: &[Entry], indent: usize) {
        let mut comments = Vec::new();
        for entry in entries {
            match entry {
                Entry::Comment(text) => comments.push(text),
                Entry::Pair(pair) => {
                    set(&mut self.head, std::mem::take(&mut comments));
                    self.write_head(indent);
                    self.indent(indent);
                    let simple = self.key(&pair.key, indent);
                    if !simple {
                        self.indent(indent);
                    }
                    self.put(":");
                    self.blank = false;
                    self.start &= !simple;
                    self.value(&pair.value, indent, false);
                    self.write_closing(indent);
                }
            }
        }
        // A comment behind the last key.
        set(&mut self.tail, comments);
        self.write_head(indent);
    }

    /// False if the key is written with a question mark, on lines of its own.
    fn key(&mut self, key: &str, indent: usize) -> bool {
        let simple = key.len() <= SIMPLE_KEY && !key.contains(style::is_break);
        if simple {
            self.string(key, indent, indent, true);
        } else {
            self.put("?");
            self.blank = false;
            self.string(key, indent, indent + AFTER_DASH, false);
        }
        simple
    }

    fn value(&mut self, value: &Value, indent: usize, in_list: bool) {
        match value {
            Value::Null => self.word("null"),
            Value::Scalar(scalar) => self.scalar(scalar, indent, self.deeper(Some(indent), in_list)),
            Value::Map(map) => {
                let (leading, rest) = leading(map);
                if !in_list {
                    set(&mut self.head, leading);
                }
                self.collection_map(rest, Some(indent), in_list);
            }
            Value::List(items) => {
                let (leading, rest) = leading_items(items);
                if !in_list {
                    set(&mut self.head, leading);
                }
                if rest.is_empty() {
                    self.indicator("[");
                    if self.column == 0 {
                        self.indent(indent);
                    }
                    self.put("]");
                } else {
                    self.list(rest, self.deeper(Some(indent), in_list));
                }
            }
        }
    }

    fn list(&mut self, items: &[Item], indent: usize) {
        let mut comments = Vec::new();
        let last = items.iter().rposition(|item| matches!(item, Item::Value(_)));
        for (index, item) in items.iter().enumerate() {
            let value = match item {
                Item::Comment(text) => {
                    comments.push(text);
                    continue;
                }
                Item::Value(value) => value,
            };
            // The comments a map or list opens with are written before its dash.
            comments.extend(match value {
                Value::Map(map) => leading(map).0,
                Value::List(items) => leading_items(items).0,
                _ => Vec::new(),
            });
            set(&mut self.head, std::mem::take(&mut comments));
            self.write_head(indent);
            self.indent(indent);
            self.indicator("-");
            self.start = true;
            let closing = items.get(index + 1..).filter(|_| Some(index) == last).unwrap_or_default();
            let closing: Vec<_> = closing
                .iter()
                .filter_map(|item| match item {
                    Item::Comment(text) => Some(text),
                    Item::Value(_) => None,
                })
                .collect();
            let nested = match value {
                Value::Map(map) => !leading(map).1.is_empty(),
                Value::List(items) => !leading_items(items).1.is_empty(),
                _ => false,
            };
            if !nested {
                set(&mut self.closing, closing);
                self.value(value, indent, true);
            } else {
                self.value(value, indent, true);
                set(&mut self.closing, closing);
                // go-yaml holds the comment back to the end of what it prints next.
                continue;
            }
            self.write_closing(indent);
        }
    }

    /// `above` is the indentation of what holds the scalar, `indent` that of its lines if it has several.
    fn scalar(&mut self, scalar: &Scalar, above: usize, indent: usize) {
        let text = scalar.text.as_bytes();
        match scalar.kind {
            Kind::Bool => self.word(if text == b"True" { "true" } else { "false" }),
            Kind::Float => {
                let number: f64 = scalar.text.as_str().and_then(|text| text.parse().ok()).unwrap_or(f64::NAN);
                self.word(&if number.is_nan() {
                    ".nan".to_owned()
                } else if number.is_infinite() {
                    if number > 0.0 { ".inf".to_owned() } else { "-.inf".to_owned() }
                } else if text == b"-0" {
                    // sops writes `-0` and reads that as the whole number 0.
                    "-0.0".to_owned()
                } else {
                    crate::number::shortest(number, &crate::number::YAML)
                });
            }
            Kind::Int | Kind::Time => self.word(scalar.text.as_str().unwrap_or_default()),
            Kind::Str | Kind::Bytes => match scalar.text.as_str() {
                Some(text) => self.string(text, above, indent, false),
                None => self.binary(text, above, indent),
            },
        }
    }

    /// Bytes that are not UTF-8, in base64.
    fn binary(&mut self, bytes: &[u8], above: usize, indent: usize) {
        const LINE: usize = 70;
        self.word("!!binary");
        let digits = STANDARD.encode(bytes);
        let mut lines = String::new();
        if digits.len() <= LINE {
            lines.push_str(&digits);
        } else {
            for (index, digit) in digits.char_indices() {
                lines.push(digit);
                if (index + 1) % LINE == 0 || index + 1 == digits.len() {
                    lines.push('\n');
                }
            }
        }
        self.string(&lines, above, indent, false);
    }

    fn string(&mut self, text: &str, above: usize, indent: usize, key: bool) {
        if text == "<<" {
            return self.word("!!merge <<");
        }
        match style::choose(text, key) {
            Style::Plain => self.word(text),
            Style::Single => self.word(&quote::single_quoted(text)),
            Style::Double => self.word(&quote::double_quoted(text)),
            Style::Literal => self.literal(text, above, indent),
        }
    }

    fn literal(&mut self, text: &str, above: usize, indent: usize) {
        self.indicator("|");
        // sops always says 4 here, and nothing at a tab, and cannot read back what it wrote.
        if text.starts_with(|c| c == ' ' || c == '\t' || style::is_break(c)) {
            self.put(&(indent - above).to_string());
        }
        let mut backwards = text.chars().rev();
        match (backwards.next().is_some_and(style::is_break), backwards.next()) {
            (false, _) => self.put("-"),
            (true, Some(c)) if !style::is_break(c) => {}
            (true, _) => self.put("+"),
        }
        self.newline();
        self.blank = true;
        for line in text.split_inclusive('\n') {
            let content = line.strip_suffix('\n');
            if content != Some("") {
                self.indent(indent);
                self.put(content.unwrap_or(line));
                self.start = false;
                self.blank = true;
            }
            if content.is_some() {
                self.newline();
            }
        }
    }

    /// A word of one line, divided from what stands before it.
    fn word(&mut self, word: &str) {
        if word.is_empty() {
            self.start = false;
            return;
        }
        self.indicator(word);
        self.start = false;
    }

    fn indicator(&mut self, text: &str) {
        if !self.blank {
            self.put(" ");
        }
        self.put(text);
        self.blank = false;
    }

    fn put(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
        self.column += text.chars().count();
    }

    fn newline(&mut self) {
        self.out.push(b'\n');
        self.column = 0;
        self.start = true;
    }

    /// Goes to a column: on a new line, unless this one has nothing beyond it.
    fn indent(&mut self, indent: usize) {
        if !self.start || self.column > indent || (self.column == indent && !self.blank) {
            self.newline();
        }
        if self.foot == Some(indent) {
            self.newline();
        }
        while self.column < indent {
            self.put(" ");
        }
        self.blank = true;
        self.foot = None;
    }

    fn write_head(&mut self, indent: usize) {
        if !self.tail.is_empty() {
            let comment = std::mem::take(&mut self.tail);
            self.comment(&comment, indent);
            self.foot = Some(indent);
        }
        if !self.head.is_empty() {
            let comment = std::mem::take(&mut self.head);
            self.comment(&comment, indent);
        }
    }

    fn write_closing(&mut self, indent: usize) {
        if !self.closing.is_empty() {
            let comment = std::mem::take(&mut self.closing);
            self.comment(&comment, indent);
            self.foot = Some(indent);
        }
    }

    fn comment(&mut self, comment: &[u8], indent: usize) {
        for line in comment.split(|&b| b == b'\n') {
            self.indent(indent);
            self.out.extend_from_slice(line);
            self.newline();
        }
        self.blank = true;
    }
}

/// The comments a map opens with, and the rest. A map of nothing but comments has no rest.
fn leading(map: &Map) -> (Vec<&Text>, &[Entry]) {
    let comments: Vec<_> = map
        .iter()
        .map_while(|entry| match entry {
            Entry::Comment(text) => Some(text),
            Entry::Pair(_) => None,
        })
        .collect();
    let rest = map.get(comments.len()..).unwrap_or_default();
    (comments, rest)
}

fn leading_items(items: &[Item]) -> (Vec<&Text>, &[Item]) {
    let comments: Vec<_> = items
        .iter()
        .map_while(|item| match item {
            Item::Comment(text) => Some(text),
            Item::Value(_) => None,
        })
        .collect();
    let rest = items.get(comments.len()..).unwrap_or_default();
    (comments, rest)
}

/// Makes `comments` the pending comment; none leave a pending one be.
fn set(pending: &mut Vec<u8>, comments: Vec<&Text>) {
    if comments.is_empty() {
        return;
    }
    pending.clear();
    for (index, text) in comments.into_iter().enumerate() {
        if index > 0 {
            pending.push(b'\n');
        }
        pending.push(b'#');
        pending.extend_from_slice(text.as_bytes());
    }
}
