//! The filters there are: pure, and each with a bound for what it makes of so many bytes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use minijinja::machinery::ast::{CallArg, Expr};
use minijinja::value::ValueKind;
use minijinja::{Environment, Error, ErrorKind, Value};

use super::error::{Wrong, shown};

/// Their names.
pub const NAMES: &[&str] =
    &["b64decode", "b64encode", "indent", "lower", "replace", "tojson", "trim", "upper", "urlencode"];
/// Widest indentation.
const MAX_INDENT: u64 = 64;

/// What a filter can make of its input at most.
pub struct Growth {
    takes_all: bool,
    times: u64,
    more: u64,
}

impl Growth {
    /// Whether it takes lists and maps.
    pub const fn takes_all(&self) -> bool {
        self.takes_all
    }

    /// Most bytes that come out.
    pub const fn of(&self, size: u64) -> u64 {
        size.saturating_mul(self.times).saturating_add(self.more)
    }
}

/// Judges a filter by its name and what is written in its brackets: constants only, so that nothing of it depends on a value.
pub fn judge(name: &str, args: &[CallArg<'_>]) -> Result<Growth, Wrong> {
    let grows = |times, more| Ok(Growth { takes_all: false, times, more });
    let constant = |index: usize| match args.get(index) {
        Some(CallArg::Pos(Expr::Const(constant))) => Some(&constant.value),
        _ => None,
    };
    let nothing = |name, growth| match args.len() {
        0 => growth,
        _ => Err(Wrong::Arguments { name, takes: "nothing in brackets" }),
    };
    match name {
        // A control character becomes six.
        "tojson" => nothing("tojson", Ok(Growth { takes_all: true, times: 6, more: 2 })),
        "urlencode" => nothing("urlencode", grows(3, 0)),
        "b64encode" => nothing("b64encode", grows(2, 4)),
        "b64decode" => nothing("b64decode", grows(1, 0)),
        "trim" => nothing("trim", grows(1, 0)),
        // Few letters become several, of more bytes.
        "upper" => nothing("upper", grows(3, 0)),
        "lower" => nothing("lower", grows(3, 0)),
        "indent" => {
            let width = constant(0).and_then(|width| u64::try_from(width.clone()).ok());
            match (args.len(), width) {
                (1, Some(width)) if width <= MAX_INDENT => grows(1 + width, 0),
                _ => Err(Wrong::Arguments { name: "indent", takes: "a number of columns, 64 at most" }),
            }
        }
        "replace" => {
            match (args.len(), constant(0).and_then(Value::as_str), constant(1).and_then(Value::as_str)) {
                (2, Some(from), Some(to)) if !from.is_empty() => grows((to.len() as u64).max(1), 0),
                _ => Err(Wrong::Arguments {
                    name: "replace",
                    takes: "two texts in quotes, the first not empty",
                }),
            }
        }
        other => Err(Wrong::Filter(shown(other))),
    }
}

/// Makes them known to the engine.
pub fn add(engine: &mut Environment<'_>) {
    engine.add_filter("tojson", |value: &Value| json(value));
    engine.add_filter("urlencode", |value: &Value| Ok::<_, Error>(url(&text(value)?)));
    engine.add_filter("b64encode", |value: &Value| Ok::<_, Error>(BASE64.encode(text(value)?)));
    engine.add_filter("b64decode", |value: &Value| base64(&text(value)?));
    engine.add_filter("trim", |value: &Value| Ok::<_, Error>(text(value)?.trim().to_owned()));
    engine.add_filter("upper", |value: &Value| Ok::<_, Error>(text(value)?.to_uppercase()));
    engine.add_filter("lower", |value: &Value| Ok::<_, Error>(text(value)?.to_lowercase()));
    engine.add_filter("indent", |value: &Value, width: u64| Ok::<_, Error>(indent(&text(value)?, width)));
    engine.add_filter("replace", |value: &Value, from: &str, to: &str| {
        Ok::<_, Error>(text(value)?.replace(from, to))
    });
}

/// Where a filter met a value that it can do nothing with.
#[derive(Debug, thiserror::Error)]
#[error("not base64")]
pub struct NotBase64;

fn text(value: &Value) -> Result<String, Error> {
    match value.kind() {
        ValueKind::String | ValueKind::Number | ValueKind::Bool => Ok(value.to_string()),
        _ => Err(Error::from(ErrorKind::InvalidOperation)),
    }
}

/// Also for YAML, TOML and most languages, whose texts in quotes are written so.
fn json(value: &Value) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|_| Error::from(ErrorKind::BadSerialization))
}

/// All but the characters that stand for themselves everywhere in an address (RFC 3986, 2.3).
fn url(text: &str) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = String::with_capacity(text.len().saturating_mul(3));
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            let digit = |digit: u8| char::from(DIGITS[usize::from(digit & 15)]);
            out.extend(['%', digit(byte >> 4), digit(byte)]);
        }
    }
    out
}

fn base64(text: &str) -> Result<String, Error> {
    let packed: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let bytes = BASE64.decode(packed).ok();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    text.ok_or_else(|| Error::from(ErrorKind::InvalidOperation).with_source(NotBase64))
}

/// The lines after the first, moved to the right: the first stands where the tag stands. Empty ones stay empty.
fn indent(text: &str, width: u64) -> String {
    let margin = " ".repeat(usize::try_from(width.min(MAX_INDENT)).unwrap_or_default());
    let mut out = String::with_capacity(text.len());
    for (index, line) in text.split_inclusive('\n').enumerate() {
        if index > 0 && !line.trim_end_matches(['\r', '\n']).is_empty() {
            out.push_str(&margin);
        }
        out.push_str(line);
    }
    out
}
