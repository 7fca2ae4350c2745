//! A YAML stream as a tree that knows where each scalar stands in the text. JSON is read the same way, being YAML.
//!
//! Only positions come from here: what an object means is decided by its types, as everywhere else.

use std::panic::{AssertUnwindSafe, catch_unwind};

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

const MAX_DEPTH: usize = 64;
const MAX_NODES: usize = 500_000;

/// A value and, for scalars, its place.
#[derive(Debug, PartialEq)]
pub enum Node {
    Scalar(Scalar),
    Map(Vec<(Node, Node)>),
    List(Vec<Node>),
    /// `*name`: what it stands for is written elsewhere.
    Alias,
}

/// A scalar as the text has it.
#[derive(Debug)]
pub struct Scalar {
    pub text: String,
    pub style: ScalarStyle,
    /// Byte offsets. Of a block scalar: from its first character behind the indentation to where reading it stopped.
    pub start: usize,
    pub end: usize,
    /// Column of the first character: a block scalar's indentation.
    pub column: usize,
    /// `&name` stands before it.
    pub anchored: bool,
    tag: Option<String>,
}

/// Equal in meaning, wherever they stand and however they are quoted.
impl PartialEq for Scalar {
    fn eq(&self, other: &Self) -> bool {
        let plain = |style| style == ScalarStyle::Plain;
        (&self.text, &self.tag, plain(self.style)) == (&other.text, &other.tag, plain(other.style))
    }
}

/// The line that is no YAML, or 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotYaml {
    pub line: usize,
}

/// Reads all documents of a stream; empty ones are left out.
pub fn parse(text: &str) -> Result<Vec<Node>, NotYaml> {
    let body = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut parser = Parser::new_from_str(body);
    let mut builder = Builder {
        places: Places { text: body, base: text.len() - body.len(), characters: 0, bytes: 0 },
        open: Vec::new(),
        nodes: 0,
        documents: Vec::new(),
    };
    // The parser unwraps inside: text that makes it panic is no YAML either.
    while let Some(next) =
        catch_unwind(AssertUnwindSafe(|| parser.next_event())).map_err(|_| NotYaml { line: 0 })?
    {
        let (event, span) = next.map_err(|error| NotYaml { line: error.marker().line() })?;
        if event == Event::StreamEnd {
            break;
        }
        builder.event(event, span)?;
    }
    Ok(builder.documents)
}

impl Node {
    /// What a map has under `key`: nothing, one value, or an error for a key that is there twice.
    pub fn get(&self, key: &str) -> Result<Option<&Node>, Twice> {
        let mut found = self.all(key);
        match (found.next(), found.next()) {
            (_, Some(_)) => Err(Twice(key.to_owned())),
            (one, None) => Ok(one),
        }
    }

    /// A scalar's text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Node::Scalar(scalar) => Some(&scalar.text),
            _ => None,
        }
    }

    /// All that a map has under `key`, also where readers would disagree about which one counts.
    pub fn all<'n>(&'n self, key: &str) -> impl Iterator<Item = &'n Node> {
        let pairs: &[(Node, Node)] = if let Node::Map(pairs) = self { pairs } else { &[] };
        pairs.iter().filter(move |(name, _)| name.as_str() == Some(key)).map(|(_, value)| value)
    }

    /// The pairs of a map; of anything else none.
    pub fn pairs(&self) -> &[(Node, Node)] {
        if let Node::Map(pairs) = self { pairs } else { &[] }
    }

    /// Where it begins: the offset of its first scalar.
    pub fn start(&self) -> Option<usize> {
        match self {
            Node::Scalar(scalar) => Some(scalar.start),
            Node::Map(pairs) => pairs.first().and_then(|(key, _)| key.start()),
            Node::List(items) => items.first().and_then(Node::start),
            Node::Alias => None,
        }
    }

    /// A list's items; of anything else none.
    pub fn items(&self) -> &[Node] {
        match self {
            Node::List(items) => items,
            _ => &[],
        }
    }
}

/// A key that a map holds twice: readers disagree about which one counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Twice(pub String);

/// From character positions, which the parser counts, to byte offsets. Only ever forwards.
struct Places<'t> {
    text: &'t str,
    base: usize,
    characters: usize,
    bytes: usize,
}

impl Places<'_> {
    fn byte(&mut self, character: usize) -> usize {
        let forward = character.saturating_sub(self.characters);
        let rest = &self.text[self.bytes..];
        self.bytes += rest.char_indices().nth(forward).map_or(rest.len(), |(at, _)| at);
        self.characters += forward;
        self.base + self.bytes
    }
}

struct Builder<'t> {
    places: Places<'t>,
    open: Vec<Open>,
    nodes: usize,
    documents: Vec<Node>,
}

enum Open {
    Map(Vec<(Node, Node)>, Option<Node>),
    List(Vec<Node>),
}

impl Builder<'_> {
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), NotYaml> {
        let wrong = NotYaml { line: span.start.line() };
        self.nodes += 1;
        if self.nodes > MAX_NODES || self.open.len() > MAX_DEPTH {
            return Err(wrong);
        }
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let (start, end) = (self.places.byte(span.start.index()), self.places.byte(span.end.index()));
                let scalar = Scalar {
                    text: text.into_owned(),
                    style,
                    start,
                    end,
                    column: span.start.col(),
                    anchored: anchor > 0,
                    tag: tag.map(|tag| format!("{}{}", tag.handle, tag.suffix)),
                };
                self.place(Node::Scalar(scalar))
            }
            Event::Alias(_) => self.place(Node::Alias),
            Event::MappingStart(..) => self.open.push(Open::Map(Vec::new(), None)),
            Event::SequenceStart(..) => self.open.push(Open::List(Vec::new())),
            Event::MappingEnd | Event::SequenceEnd => match self.open.pop() {
                Some(Open::Map(pairs, None)) => self.place(Node::Map(pairs)),
                Some(Open::List(items)) => self.place(Node::List(items)),
                _ => return Err(wrong),
            },
            _ => {}
        }
        Ok(())
    }

    fn place(&mut self, node: Node) {
        match self.open.last_mut() {
            None if node.as_str() == Some("") => {}
            None => self.documents.push(node),
            Some(Open::List(items)) => items.push(node),
            Some(Open::Map(pairs, key)) => match key.take() {
                None => *key = Some(node),
                Some(key) => pairs.push((key, node)),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scalar<'n>(node: &'n Node, key: &str) -> &'n Scalar {
        match node.get(key) {
            Ok(Some(Node::Scalar(scalar))) => scalar,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn scalars_know_their_bytes() {
        let text =
            "\u{feff}# ä\r\nä: \"ö\\n\"\r\nb: 'x'\r\nc: |\r\n  line ß\r\n  two\r\n# end\r\nd: plain\r\n";
        let documents = parse(text).unwrap();
        let at = |key| {
            let scalar = scalar(&documents[0], key);
            &text[scalar.start..scalar.end]
        };
        assert_eq!((at("ä"), at("b"), at("d")), ("\"ö\\n\"", "'x'", "plain"));
        assert_eq!(at("c"), "line ß\r\n  two\r\n");
        assert_eq!(
            (scalar(&documents[0], "c").text.as_str(), scalar(&documents[0], "c").column),
            ("line ß\ntwo\n", 2)
        );
    }

    #[test]
    fn json_and_streams_are_read() {
        let documents = parse("{\n\t\"a\":\"x\\ty\",\"b\" : [1,{}]}").unwrap();
        assert_eq!(scalar(&documents[0], "a").text, "x\ty");
        assert_eq!(parse("---\na: 1\n---\n# nothing\n---\nb: 2\n...\n").unwrap().len(), 2);
        assert_eq!(parse("").unwrap().len(), 0);
    }

    #[test]
    fn what_is_ambiguous_or_endless_is_refused() {
        assert_eq!(parse("a: 1\nb: 2\na: 3\n").unwrap()[0].get("a"), Err(Twice("a".into())));
        assert_eq!(parse("a: [1\nb: 2"), Err(NotYaml { line: 2 }));
        assert!(parse(&"[".repeat(100_000)).is_err());
        assert!(parse(&format!("[{}]", ",".repeat(600_000))).is_err());
    }

    #[test]
    fn quotes_make_no_difference_but_a_changed_text_does() {
        assert_eq!(parse("a: |\n  x\n").unwrap(), parse("a: \"x\\n\"\n").unwrap());
        assert_ne!(parse("a: 1").unwrap(), parse("a: \"1\"").unwrap());
        assert_ne!(parse("a: x").unwrap(), parse("a: y").unwrap());
    }
}
