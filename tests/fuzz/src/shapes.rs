//! Documents made to hurt, of any size: what they cost must grow no faster than they do. Where a shape is a document at all,
//! it goes through parsing, unwrapping the data key and the walk over all values; the MAC then refuses it.

use touchseal_sops::limits::MAX_DEPTH;
use touchseal_sops::{Document, Format};

use crate::known;
use crate::seal::{self, Node, Options};

/// A shape: its name and the document of about that many bytes.
pub struct Shape {
    pub name: &'static str,
    pub format: Format,
    make: fn(usize) -> String,
}

impl Shape {
    /// The document, never longer than `bytes` where that leaves room for its metadata.
    pub fn document(&self, bytes: usize) -> String {
        (self.make)(bytes)
    }
}

macro_rules! shapes {
    ($($format:ident $name:literal $make:expr;)*) => {
        /// Every shape.
        pub const ALL: &[Shape] =
            &[$(Shape { name: $name, format: Format::$format, make: $make }),*];
    };
}

/// A pattern that engines with backtracking need exponential time for, and others some.
const PATTERN: &str = "^(([a-z]|[a-y])*){4}x$";

shapes! {
    Yaml "yaml-deep-flow-list" |n| filled("a: ", "[", "", n);
    Yaml "yaml-deep-flow-map" |n| filled("a: ", "{a: ", "", n);
    Yaml "yaml-deep-block-list" |n| filled("", "- ", "", n);
    Yaml "yaml-deep-explicit-key" |n| filled("", "? ", "", n);
    Yaml "yaml-explicit-keys-in-flow" |n| filled("a: {", "? ", "}\n", n);
    Yaml "yaml-nested-to-the-limit" |n| yaml("", "- [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]\n", n, "a:\n");
    Yaml "yaml-flow-list" |n| yaml("", "x,", n, "a: [");
    Yaml "yaml-empty-lists" |n| yaml("", "[],", n, "a: [");
    Yaml "yaml-block-list" |n| yaml("", "- x\n", n, "a:\n");
    Yaml "yaml-many-keys" |n| counted("", |k| format!("k{k}: x\n"), n, &tail());
    Yaml "yaml-same-key" |n| yaml("", "k: x\n", n, "");
    Yaml "yaml-many-anchors" |n| counted("", |k| format!("k{k}: &a{k} x\n"), n, &tail());
    Yaml "yaml-anchors-and-aliases" |n| counted("k: &a x\n", |k| format!("k{k}: *a\n"), n, &tail());
    Yaml "yaml-aliases-to-a-list" |n| yaml("", "*a,", n, "a: &a [x, x, x, x, x, x, x, x]\nb: [");
    Yaml "yaml-alias-to-itself" |n| filled("a: &a [", "*a,", "]\n", n);
    Yaml "yaml-merge-keys" |n| counted("k: &a {b: x}\n", |k| format!("k{k}: {{<<: *a}}\n"), n, &tail());
    Yaml "yaml-comments" |n| counted("", |k| format!("# {k}\nk{k}: x\n"), n, &tail());
    Yaml "yaml-only-comments" |n| yaml("", "#\n", n, "");
    Yaml "yaml-comments-at-ends" |n| counted("", |k| format!("k{k}: x # {k}\n"), n, &tail());
    Yaml "yaml-comments-in-a-flow" |n| yaml("", "1 # x\n,", n, "a: [");
    Yaml "yaml-comments-in-a-list" |n| yaml("", "  # x\n  - x\n", n, "a:\n");
    Yaml "yaml-one-long-comment" |n| filled("# ", "#", &format!("\na: x\n{}", tail()), n);
    Yaml "yaml-long-key" |n| filled("", "k", ": x\n", n);
    Yaml "yaml-long-keys" |n| counted("", |k| format!("k{k:0>1000}: x\n"), n, &tail());
    Yaml "yaml-long-paths" |n| counted("a:\n", |k| format!("  k{k:0>1000}: {{k{:0>1000}: {{k{:0>1000}: [x, x, x, x, x, x, x, x]}}}}\n", 1, 2), n, &tail());
    Yaml "yaml-many-values-far-down" |n| filled(&format!("k{:0>1000}:\n  k{:0>1000}:\n    k{:0>1000}: [", 1, 2, 3), "x,", &format!("]\n{}", tail()), n);
    Yaml "yaml-long-line" |n| filled("a: ", "x", &format!("\n{}", tail()), n);
    Yaml "yaml-long-line-of-words" |n| filled("a: ", "x ", &format!("\n{}", tail()), n);
    Yaml "yaml-many-lines" |n| filled("a: x\n", "  x\n", &tail(), n);
    Yaml "yaml-blank-lines" |n| filled("a: x\n", "\n", &tail(), n);
    Yaml "yaml-blanks" |n| filled("a: x", " ", &format!("\n{}", tail()), n);
    Yaml "yaml-escapes" |n| filled("a: \"", "\\n", &format!("\"\n{}", tail()), n);
    Yaml "yaml-single-quotes" |n| filled("a: '", "''", &format!("'\n{}", tail()), n);
    Yaml "yaml-open-quote" |n| filled("a: \"", "x\n ", "", n);
    Yaml "yaml-literal" |n| filled("a: |\n", "  x\n", &tail(), n);
    Yaml "yaml-folded" |n| filled("a: >\n", "  x\n\n", &tail(), n);
    Yaml "yaml-literals" |n| counted("", |k| format!("k{k}: |-\n  x\n"), n, &tail());
    Yaml "yaml-documents" |n| filled("", "---\n", "", n);
    Yaml "yaml-documents-of-a-key" |n| filled(&format!("a: x\n{}", tail()), "---\na: x\n", "", n);
    Yaml "yaml-tag-directives" |n| filled("", "%TAG !a! b\n", "", n);
    Yaml "yaml-long-tag" |n| filled("a: !", "!", " x\n", n);
    Yaml "yaml-long-anchor" |n| filled("a: &", "a", " x\n", n);
    Yaml "yaml-giant-number" |n| filled("a: ", "1", &format!("\n{}", tail()), n);
    Yaml "yaml-giant-fraction" |n| filled("a: 0.", "1", &format!("\n{}", tail()), n);
    Yaml "yaml-giant-hex" |n| filled("a: 0x", "f", &format!("\n{}", tail()), n);
    Yaml "yaml-giant-exponents" |n| yaml("", "1e308,", n, "a: [");
    Yaml "yaml-underscores" |n| filled("a: 1", "_", &format!("1\n{}", tail()), n);
    Yaml "yaml-recipients" |n| recipients(n, 0);
    Yaml "yaml-groups" |n| recipients(n, 1);
    Yaml "yaml-pattern-and-long-keys" |n| counted("", |k| format!("{:a>1000}: x\n", format!("b{k}")), n, &tail_of("encrypted_regex", PATTERN));
    Yaml "yaml-pattern-and-short-keys" |n| counted("", |k| format!("a{k}: x\n"), n, &tail_of("encrypted_regex", PATTERN));
    Yaml "yaml-pattern-and-comments" |n| counted("", |k| format!("# {:a>1000}\nk{k}: x\n", format!("b{k}")), n, &tail_of("encrypted_comment_regex", PATTERN));
    Yaml "yaml-sealed-values" |n| seal::json(&values(n), Options::default());
    Yaml "yaml-sealed-long-value" |n| seal::json(&[("a".to_owned(), Node::Text(vec![b'x'; sealed(n)]))], Options::default());
    Yaml "yaml-one-line-of-as-much-as-may-be" |n| filled("{a: [", "xxxxxxxxxx,", &format!("x], sops: {}}}\n", block()), n);
    Yaml "yaml-one-line-of-lists" |n| filled("{a: [", "[],", &format!("x], sops: {}}}\n", block()), n);
    Yaml "yaml-one-line-of-maps" |n| filled("{a: [", "{},", &format!("x], sops: {}}}\n", block()), n);
    Yaml "yaml-one-line-of-letters" |n| filled("{a: [", "x,", &format!("x], sops: {}}}\n", block()), n);
    Yaml "yaml-sealed-deep" |n| seal::json(&deep(n), Options::default());
    Json "json-sealed-deep" |n| seal::json(&deep(n), Options::default());
    Json "json-deep-list" |n| filled("{\"a\": ", "[", "", n);
    Json "json-deep-map" |n| filled("", "{\"a\": ", "", n);
    Json "json-list" |n| filled("{\"a\": [", "1,", &format!("1], \"sops\": {}}}\n", block()), n);
    Json "json-empty-lists" |n| filled("{\"a\": [", "[],", &format!("1], \"sops\": {}}}\n", block()), n);
    Json "json-many-keys" |n| counted("{", |k| format!("\"k{k}\": \"x\", "), n, &format!("\"sops\": {}}}\n", block()));
    Json "json-same-key" |n| filled("{", "\"k\": \"x\", ", &format!("\"sops\": {}}}\n", block()), n);
    Json "json-long-key" |n| filled("{\"", "k", "\": 1}\n", n);
    Json "json-giant-number" |n| filled("{\"a\": ", "1", &format!(", \"sops\": {}}}\n", block()), n);
    Json "json-giant-fraction" |n| filled("{\"a\": 0.", "1", &format!(", \"sops\": {}}}\n", block()), n);
    Json "json-giant-exponent" |n| filled("{\"a\": 1e", "9", "}", n);
    Json "json-large-numbers" |n| filled("{\"a\": [", "1e308,", &format!("1], \"sops\": {}}}\n", block()), n);
    Json "json-escapes" |n| filled("{\"a\": \"", "\\u0000", &format!("\", \"sops\": {}}}\n", block()), n);
    Json "json-blanks" |n| filled("{\"a\": 1", " ", &format!(", \"sops\": {}}}\n", block()), n);
    Json "json-sealed-values" |n| seal::json(&values(n), Options::default());
    Json "json-sealed-long-value" |n| seal::json(&[("a".to_owned(), Node::Text(vec![b'x'; sealed(n)]))], Options::default());
    Binary "binary-sealed" |n| seal::json(&[("data".to_owned(), Node::Text(vec![255; sealed(n)]))], Options::default());
    Binary "binary-open" |n| filled("{\"data\": \"", "A", "\"", n);
    Dotenv "dotenv-many-keys" |n| counted("", |k| format!("k{k}=x\n"), n, &seal::dotenv(&[]));
    Dotenv "dotenv-same-key" |n| filled("", "A=\n", "", n);
    Dotenv "dotenv-long-value" |n| filled("A=", "\\n", &format!("\n{}", seal::dotenv(&[])), n);
    Dotenv "dotenv-comments" |n| filled("", "#\n", &seal::dotenv(&[]), n);
    Dotenv "dotenv-metadata" |n| counted("", |k| format!("sops_age__list_{k}__map_enc=x\n"), n, "");
    Dotenv "dotenv-metadata-name" |n| filled("sops_", "__map_a", "=x\n", n);
    Dotenv "dotenv-metadata-long-value" |n| filled("sops_mac=", "\\n", "\n", n);
    Dotenv "dotenv-sealed-values" |n| seal::dotenv(&flat(n));
    Ini "ini-sections" |n| filled("", "[a]\n", &seal::ini(&[]), n);
    Ini "ini-many-keys" |n| counted("", |k| format!("k{k}=x\n"), n, &seal::ini(&[]));
    Ini "ini-continued" |n| filled("a = ", "\\\n", &format!("\n{}", seal::ini(&[])), n);
    Ini "ini-continued-words" |n| filled("a = ", "x\\\n", &format!("\n{}", seal::ini(&[])), n);
    Ini "ini-quoted-lines" |n| filled("a = \"\"\"", "x\n", &format!("\"\"\"\n{}", seal::ini(&[])), n);
    Ini "ini-open-quotes" |n| filled("", "a = \"\"\"x\n", "", n);
    Ini "ini-comments" |n| filled("", "; x\n", &format!("a = b\n{}", seal::ini(&[])), n);
    Ini "ini-comments-at-ends" |n| counted("", |k| format!("k{k} = x ; x\n"), n, &seal::ini(&[]));
    Ini "ini-hashes" |n| filled("a = ", "#", &format!("\n{}", seal::ini(&[])), n);
    Ini "ini-brackets" |n| filled("[", "]", "\n", n);
    Ini "ini-sealed-values" |n| seal::ini(&[("a".to_owned(), flat(n))]);
}

/// Documents are opened on a stack of this size.
pub const STACK: usize = 256 * 1024;

/// The shape of a name.
pub fn named(name: &str) -> Option<&'static Shape> {
    ALL.iter().find(|shape| shape.name == name)
}

/// What opening one document cost this process: a line `cpu_us N peak_kib N bytes N outcome WORD`.
///
/// # Errors
/// No such shape or size.
pub fn cost(name: &str, bytes: &str) -> Result<String, String> {
    let shape = named(name).ok_or_else(|| format!("no shape {name}"))?;
    let bytes = bytes.parse().map_err(|_| "the size is a whole number".to_owned())?;
    let text = shape.document(bytes);
    let opener = known::opener();
    // Forget what making the document took.
    std::fs::write("/proc/self/clear_refs", "5").map_err(|error| format!("reset the peak: {error}"))?;
    let before = peak_kib()?;
    let (outcome, cpu) = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK);
        let running = thread.spawn_scoped(scope, || timed(|| outcome(shape, &text, opener)));
        running.map_err(|error| format!("start a thread: {error}"))?.join().map_err(|_| "a panic".to_owned())
    })?;
    let (peak, size) = (peak_kib()?.saturating_sub(before), text.len());
    Ok(format!("cpu_us {cpu} peak_kib {peak} bytes {size} outcome {outcome}"))
}

/// Parses and opens; how that ended.
pub fn outcome(shape: &Shape, text: &str, opener: &touchseal_sops::Opener) -> &'static str {
    let _ = Format::detect(text.as_bytes());
    match Document::parse(text.as_bytes(), shape.format) {
        Err(error) => error.reason(),
        Ok(document) => match document.decrypt_with(opener) {
            Err(error) => error.reason(),
            Ok(plain) => {
                if plain.emit().is_some() {
                    "Opened"
                } else {
                    "NotPrinted"
                }
            }
        },
    }
}

/// The result and the microseconds this thread was running for it: neighbours on the machine do not count.
pub fn timed<T>(action: impl FnOnce() -> T) -> (T, u64) {
    let now = || {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        u64::try_from(time.tv_sec * 1_000_000 + time.tv_nsec / 1000).unwrap_or(0)
    };
    let start = now();
    let result = action();
    (result, now() - start)
}

fn peak_kib() -> Result<u64, String> {
    let status =
        std::fs::read_to_string("/proc/self/status").map_err(|error| format!("read the status: {error}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().map_err(|_| "no VmHWM in the status".to_owned())
}

fn filled(head: &str, unit: &str, tail: &str, bytes: usize) -> String {
    let count = bytes.saturating_sub(head.len() + tail.len()) / unit.len();
    let mut text = String::with_capacity(bytes);
    text.push_str(head);
    (0..count).for_each(|_| text.push_str(unit));
    text + tail
}

/// `head`, then the unit of 0, 1, 2 ..., then `tail`.
fn counted(head: &str, unit: fn(usize) -> String, bytes: usize, tail: &str) -> String {
    let mut text = String::with_capacity(bytes);
    text.push_str(head);
    for number in 0.. {
        let next = unit(number);
        if text.len() + next.len() + tail.len() > bytes {
            break;
        }
        text.push_str(&next);
    }
    text + tail
}

/// YAML: `open`, the unit repeated, what closes a flow list if one was opened, and metadata.
fn yaml(head: &str, unit: &str, bytes: usize, open: &str) -> String {
    let close = if open.ends_with('[') { "]\n" } else { "" };
    filled(&format!("{head}{open}"), unit, &format!("{close}{}", tail()), bytes)
}

/// Metadata that leave everything in the clear: the walk goes through all of it.
fn tail() -> String {
    tail_of("encrypted_regex", "^never$")
}

fn tail_of(selector: &str, text: &str) -> String {
    format!("sops: {}\n", seal::block(&mac(), selector, text))
}

fn block() -> String {
    seal::block(&mac(), "encrypted_regex", "^never$").to_string()
}

/// A MAC, of another document.
fn mac() -> String {
    let empty: serde_json::Value =
        serde_json::from_str(&seal::json(&[], Options::default())).unwrap_or_default();
    empty["sops"]["mac"].as_str().unwrap_or_default().to_owned()
}

fn recipients(bytes: usize, groups: usize) -> String {
    let wrapped = serde_json::Value::from(known::wrapped().armored.as_str());
    let entry = format!("{{\"recipient\": \"age1other\", \"enc\": {wrapped}}}");
    let unit = if groups > 0 { format!("{{\"age\": [{entry}]}}, ") } else { format!("{entry}, ") };
    let field = if groups > 0 { "key_groups" } else { "age" };
    let head =
        format!("a: x\nsops: {{\"lastmodified\": \"2026-01-02T03:04:05Z\", \"mac\": \"x\", \"{field}\": [");
    filled(&head, &unit, "]}\n", bytes)
}

/// What 100 bytes of document hold sealed: about one short value.
fn values(bytes: usize) -> Vec<(String, Node)> {
    (0..bytes.saturating_sub(1500) / 160).map(|k| (format!("k{k}"), Node::Text(b"value".to_vec()))).collect()
}

/// Values as deep as is allowed.
fn deep(bytes: usize) -> Vec<(String, Node)> {
    let nested = || (0..MAX_DEPTH - 2).fold(Node::Text(b"value".to_vec()), |node, _| Node::List(vec![node]));
    (0..bytes.saturating_sub(1500) / 290).map(|k| (format!("k{k}"), nested())).collect()
}

fn flat(bytes: usize) -> Vec<(String, Vec<u8>)> {
    (0..bytes.saturating_sub(1500) / 160).map(|k| (format!("k{k}"), b"value".to_vec())).collect()
}

/// Plain bytes of a value that takes `bytes` sealed.
fn sealed(bytes: usize) -> usize {
    bytes.saturating_sub(1600) / 4 * 3
}
