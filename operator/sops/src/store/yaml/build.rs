//! From parser events to trees. The parser keeps its own stack on the heap and so does this builder: depth costs
//! memory, which is limited, not stack.

use std::collections::BTreeMap;

use std::panic::{AssertUnwindSafe, catch_unwind};

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, Tag};

use super::comments::{Comment, Gaps};
use super::scalar;
use crate::error::ParseError;
use crate::format::Format;
use crate::limits::{Budget, MAX_BYTES, MAX_DEPTH};
use crate::text::Text;
use crate::tree::{Entry, Item, Map, Pair, Value};

/// Parses all documents of a stream.
pub(crate) fn parse(text: &str, budget: &mut Budget) -> Result<Vec<Map>, ParseError> {
    let mut parser = Parser::new_from_str(text);
    let mut builder = Builder {
        budget,
        gaps: Gaps::new(text),
        stack: Vec::new(),
        comments: Vec::new(),
        anchors: BTreeMap::new(),
        documents: Vec::new(),
    };
    while let Some((event, span)) = next_event(&mut parser)? {
        if event == Event::StreamEnd {
            break;
        }
        builder.event(event, span)?;
    }
    Ok(builder.documents)
}

/// The parser unwraps inside: should a document ever get it to panic, that is one more way to be no YAML.
fn next_event<'t, I: saphyr_parser::Input>(
    parser: &mut Parser<'t, I>,
) -> Result<Option<(Event<'t>, Span)>, ParseError> {
    let event = catch_unwind(AssertUnwindSafe(|| parser.next_event()));
    event.map_err(|_| syntax(0, "the parser gave up"))?.transpose().map_err(|error| scan_error(&error))
}

/// The parser's own message may quote the text, so only the place is taken from it.
fn scan_error(error: &ScanError) -> ParseError {
    syntax(line(error.marker().line()), "syntax error")
}

fn syntax(line: u32, problem: &'static str) -> ParseError {
    ParseError::Syntax { format: Format::Yaml, line, problem }
}

fn line(line: usize) -> u32 {
    u32::try_from(line).unwrap_or(0)
}

struct Builder<'a> {
    budget: &'a mut Budget,
    gaps: Gaps<'a>,
    stack: Vec<Frame>,
    /// Read and not yet given to a map or list, in order.
    comments: Vec<Comment>,
    anchors: BTreeMap<usize, Value>,
    documents: Vec<Map>,
}

/// An open map or list.
struct Frame {
    collection: Collection,
    column: usize,
    anchor: usize,
    /// Written in brackets: columns mean nothing.
    flow: bool,
}

enum Collection {
    Map { entries: Map, key: Option<(String, u32)> },
    List(Vec<Item>),
}

impl Builder<'_> {
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), ParseError> {
        let at = line(span.start.line());
        match event {
            Event::DocumentStart(_) => {
                self.anchors.clear();
                Ok(())
            }
            Event::DocumentEnd => {
                // What stands in a document of nothing but comments.
                self.read_comments(span.start.index())?;
                if let Some(document) = self.documents.last_mut() {
                    document.extend(self.comments.drain(..).map(|comment| Entry::Comment(comment.text)));
                }
                Ok(())
            }
            Event::StreamStart | Event::StreamEnd | Event::Nothing => Ok(()),
            Event::Scalar(text, style, anchor, tag) => {
                self.read_comments(span.start.index())?;
                if matches!(style, ScalarStyle::Literal | ScalarStyle::Folded)
                    && text.trim().is_empty()
                    && let Some(text) = self.gaps.header_comment()
                {
                    self.comments.push(Comment::of_header(text));
                }
                match style {
                    ScalarStyle::SingleQuoted => self.gaps.skip_quoted('\'', span.end.index()),
                    ScalarStyle::DoubleQuoted => self.gaps.skip_quoted('"', span.end.index()),
                    _ => self.gaps.skip_to(span.end.index()),
                }
                self.budget.charge(1, text.len())?;
                if self.awaits_key() {
                    return self.key(&text, style, anchor, tag.as_deref(), at);
                }
                let value = scalar_value(&text, style, tag.as_deref(), at)?;
                // 1e300 is authenticated as 301 digits.
                self.budget.charge(0, value.weight().1.saturating_sub(text.len()))?;
                self.place(value, anchor, at)
            }
            Event::Alias(anchor) => {
                self.read_comments(span.start.index())?;
                self.gaps.skip_to(span.end.index());
                if self.awaits_key() {
                    return Err(ParseError::Unsupported {
                        line: at,
                        problem: "an alias as a key is not supported",
                    });
                }
                // An alias inside what it stands for is not known yet.
                let Some(value) = self.anchors.get(&anchor) else {
                    return Err(syntax(at, "an alias to nothing, or to what it is part of"));
                };
                let (nodes, bytes) = value.weight();
                self.budget.charge(nodes, bytes)?;
                if self.stack.len() + value.height() > MAX_DEPTH {
                    return Err(ParseError::TooDeep { line: at });
                }
                let copy = value.duplicate();
                self.place(copy, 0, at)
            }
            Event::MappingStart(anchor, tag) => {
                self.start(Collection::Map { entries: Map::new(), key: None }, anchor, tag.as_deref(), span)
            }
            Event::SequenceStart(anchor, tag) => {
                self.start(Collection::List(Vec::new()), anchor, tag.as_deref(), span)
            }
            Event::MappingEnd | Event::SequenceEnd => self.end(span),
        }
    }

    fn read_comments(&mut self, to: usize) -> Result<(), ParseError> {
        let known = self.comments.len();
        self.gaps.read_to(to, &mut self.comments);
        self.budget.charge(self.comments.len() - known, 0)?;
        // A comment behind a value on its line goes before that value, one behind a key before that key.
        while let Some(at) = (known..self.comments.len()).find(|&i| self.comments[i].inline) {
            let comment = self.comments.remove(at).text;
            let Some(frame) = self.stack.last_mut() else { continue };
            match &mut frame.collection {
                Collection::Map { entries, key } => {
                    let count = entries.len();
                    match entries.last_mut().filter(|_| key.is_none()) {
                        // Only one in brackets ends on the line the comment is on.
                        Some(Entry::Pair(Pair { value: Value::Map(map), .. })) if !map.is_empty() => {
                            map.insert(0, Entry::Comment(comment));
                        }
                        Some(Entry::Pair(Pair { value: Value::List(items), .. })) if !items.is_empty() => {
                            items.insert(0, Item::Comment(comment));
                        }
                        Some(_) => entries.insert(count - 1, Entry::Comment(comment)),
                        None => entries.push(Entry::Comment(comment)),
                    }
                }
                Collection::List(items) => {
                    let place = items.len().saturating_sub(1);
                    items.insert(place, Item::Comment(comment));
                }
            }
        }
        Ok(())
    }

    fn awaits_key(&self) -> bool {
        matches!(self.stack.last(), Some(Frame { collection: Collection::Map { key: None, .. }, .. }))
    }

    fn key(
        &mut self,
        text: &str,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&Tag>,
        at: u32,
    ) -> Result<(), ParseError> {
        let plain = style == ScalarStyle::Plain && tag.is_none();
        if tag.is_some_and(|tag| !makes_key(tag))
            || (plain && !matches!(scalar::resolve(text), scalar::Plain::Str | scalar::Plain::Merge))
        {
            return Err(ParseError::KeyNotText { line: at });
        }
        if anchor > 0 {
            self.remember(anchor, &Value::str(text))?;
        }
        self.flush(usize::MAX);
        if let Some(Frame { collection: Collection::Map { key, .. }, .. }) = self.stack.last_mut() {
            *key = Some((text.to_owned(), at));
        }
        Ok(())
    }

    fn start(
        &mut self,
        collection: Collection,
        anchor: usize,
        tag: Option<&Tag>,
        span: Span,
    ) -> Result<(), ParseError> {
        let at = line(span.start.line());
        if self.awaits_key() {
            return Err(ParseError::KeyNotText { line: at });
        }
        if self.stack.is_empty() && matches!(collection, Collection::List(_)) {
            return Err(syntax(at, "a document must be a map"));
        }
        if tag.is_some_and(|tag| !tag.is_yaml_core_schema()) {
            return Err(ParseError::Unsupported {
                line: at,
                problem: "a tagged map or list is not supported",
            });
        }
        if self.stack.len() >= MAX_DEPTH {
            return Err(ParseError::TooDeep { line: at });
        }
        self.budget.charge(1, 0)?;
        self.read_comments(span.start.index())?;
        let flow = !span.is_empty();
        let in_map = matches!(self.stack.last(), Some(Frame { collection: Collection::Map { .. }, .. }));
        // A list no deeper than its key begins behind its first dash, to the parser.
        let column = self.gaps.dash.filter(|_| in_map).unwrap_or(span.start.col());
        self.gaps.skip_to(span.end.index());
        // Before a list's dash comments belong to the list; else they open the new map or list.
        if matches!(self.stack.last(), Some(Frame { collection: Collection::List(_), .. })) {
            let count = self.comments.iter().take_while(|comment| comment.before_dash).count();
            self.flush(count);
        }
        self.stack.push(Frame { collection, column, anchor, flow });
        self.flush(usize::MAX);
        Ok(())
    }

    fn end(&mut self, span: Span) -> Result<(), ParseError> {
        self.read_comments(span.start.index())?;
        let at = line(span.start.line());
        let Some(frame) = self.stack.last() else { return Err(syntax(at, "nothing to end")) };
        // To the parser a comment behind a bracket is part of it.
        self.gaps.skip_to(if frame.flow { span.start.index() + 1 } else { span.end.index() });
        let root = self.stack.len() == 1;
        let beside_parent = self.stack.len() >= 2
            && matches!(&self.stack[self.stack.len() - 2], parent if !parent.flow && parent.column == frame.column);
        let least = frame.column + usize::from(beside_parent);
        let ours = if root || frame.flow {
            usize::MAX
        } else {
            // A comment that closes a scalar closes the list of it.
            let scalar_last = match &frame.collection {
                Collection::List(items) => {
                    matches!(items.last(), Some(Item::Value(Value::Scalar(_) | Value::Null)))
                }
                Collection::Map { .. } => false,
            };
            let ours = |comment: &&Comment| {
                comment.column >= least || (scalar_last && comment.foot && comment.column == frame.column)
            };
            self.comments.iter().take_while(ours).count()
        };
        self.flush(ours);
        let Some(mut frame) = self.stack.pop() else { return Ok(()) };
        if !root {
            self.lift(&mut frame.collection);
        }
        let value = match frame.collection {
            Collection::Map { entries, .. } => Value::Map(entries),
            Collection::List(items) => Value::List(items),
        };
        self.attach(value, frame.anchor, at)
    }

    /// Where there is nothing but comments in a map or list, they go before it: sops would write them inside the brackets,
    /// in a way that is no YAML.
    fn lift(&mut self, collection: &mut Collection) {
        let empty = match &*collection {
            Collection::Map { entries, .. } => entries.iter().all(|entry| matches!(entry, Entry::Comment(_))),
            Collection::List(items) => items.iter().all(|item| matches!(item, Item::Comment(_))),
        };
        let Some(above) = self.stack.last_mut().filter(|_| empty) else { return };
        let texts: Vec<Text> = match collection {
            Collection::Map { entries, .. } => entries
                .drain(..)
                .filter_map(|entry| if let Entry::Comment(text) = entry { Some(text) } else { None })
                .collect(),
            Collection::List(items) => items
                .drain(..)
                .filter_map(|item| if let Item::Comment(text) = item { Some(text) } else { None })
                .collect(),
        };
        match &mut above.collection {
            Collection::Map { entries, .. } => entries.extend(texts.into_iter().map(Entry::Comment)),
            Collection::List(items) => items.extend(texts.into_iter().map(Item::Comment)),
        }
    }

    /// Gives the first `count` comments to the open map or list.
    fn flush(&mut self, count: usize) {
        let Some(frame) = self.stack.last_mut() else { return };
        let comments = self.comments.drain(..count.min(self.comments.len())).map(|comment| comment.text);
        match &mut frame.collection {
            Collection::Map { entries, .. } => entries.extend(comments.map(Entry::Comment)),
            Collection::List(items) => items.extend(comments.map(Item::Comment)),
        }
    }

    fn place(&mut self, value: Value, anchor: usize, at: u32) -> Result<(), ParseError> {
        self.flush(usize::MAX);
        self.attach(value, anchor, at)
    }

    fn attach(&mut self, value: Value, anchor: usize, at: u32) -> Result<(), ParseError> {
        if anchor > 0 {
            self.remember(anchor, &value)?;
        }
        match self.stack.last_mut().map(|frame| &mut frame.collection) {
            Some(Collection::List(items)) => items.push(Item::Value(value)),
            Some(Collection::Map { entries, key }) => {
                let (key, line) = key.take().ok_or(ParseError::KeyNotText { line: at })?;
                entries.push(Entry::Pair(Pair { key, line, value }));
            }
            None => self.documents.push(match value {
                Value::Map(map) => map,
                Value::Null => Map::new(),
                _ => return Err(syntax(at, "a document must be a map")),
            }),
        }
        Ok(())
    }

    fn remember(&mut self, anchor: usize, value: &Value) -> Result<(), ParseError> {
        let (nodes, bytes) = value.weight();
        self.budget.charge(nodes, bytes.min(MAX_BYTES))?;
        self.anchors.insert(anchor, value.duplicate());
        Ok(())
    }
}

/// `!!merge <<` is how sops prints a merge key; what it merges is an ordinary value to sops, and here.
fn makes_key(tag: &Tag) -> bool {
    tag.is_yaml_core_schema() && matches!(tag.suffix.as_str(), "str" | "merge")
}

fn scalar_value(text: &str, style: ScalarStyle, tag: Option<&Tag>, at: u32) -> Result<Value, ParseError> {
    let value = match tag {
        Some(tag) if tag.is_yaml_core_schema() => scalar::tagged(&tag.suffix, text),
        Some(_) => Some(Value::str(text)),
        None if style == ScalarStyle::Plain => scalar::value(text),
        None => Some(Value::str(text)),
    };
    value.ok_or(ParseError::Unsupported { line: at, problem: "a number or tag sops cannot hold" })
}
