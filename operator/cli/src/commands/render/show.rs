//! Secrets as they are shown: for people with and without values, for programs without.

use std::collections::BTreeSet;

use serde::Serialize;
use zeroize::Zeroizing;

use super::Rendered;
use crate::error::one_line;

/// What stands for a value.
const MASK: &str = "***";

/// For people, without values.
pub fn masked(rendered: &[Rendered]) -> String {
    let mut out = String::new();
    for secret in rendered {
        out.push_str(&head(secret));
        for key in secret.content.data.keys() {
            let shown = secret.composed.get(key).map_or(MASK, |(text, _)| text);
            out.push_str(&title(secret, key));
            lines(shown, |line| out.push_str(line));
        }
    }
    out
}

/// For people, with values.
pub fn values(rendered: &[Rendered]) -> Zeroizing<Vec<u8>> {
    let size = |secret: &Rendered| {
        let lines = |value: &[u8]| value.iter().filter(|byte| **byte == b'\n').count();
        let of_key = |(key, value): (&String, &Zeroizing<Vec<u8>>)| {
            title(secret, key).len() + 8 * (lines(value) + 2) + 3 * value.len()
        };
        head(secret).len() + secret.content.data.iter().map(of_key).sum::<usize>()
    };
    // As large as it becomes: what it would outgrow is not wiped.
    let mut out = Zeroizing::new(Vec::with_capacity(rendered.iter().map(size).sum()));
    for secret in rendered {
        out.extend_from_slice(head(secret).as_bytes());
        for (key, value) in &secret.content.data {
            out.extend_from_slice(title(secret, key).as_bytes());
            match std::str::from_utf8(value) {
                Ok(text) => lines(text, |line| out.extend_from_slice(line.as_bytes())),
                Err(_) => out.extend_from_slice(b"    (not text)\n"),
            }
        }
    }
    out
}

fn head(secret: &Rendered) -> String {
    let namespace = secret.namespace.as_deref().map(|name| format!("{}/", one_line(name)));
    let count = secret.content.data.len();
    let keys = if count == 1 { "1 key".to_owned() } else { format!("{count} keys") };
    format!(
        "Secret {}{} ({}), {keys}\n",
        namespace.unwrap_or_default(),
        one_line(&secret.name),
        one_line(&secret.type_)
    )
}

fn title(secret: &Rendered, key: &str) -> String {
    let bytes = secret.content.data.get(key).map_or(0, |value| value.len());
    let of = match secret.composed.get(key) {
        Some((_, names)) if names.is_empty() => ", a template of nothing".to_owned(),
        Some((_, names)) => format!(", a template of {}", listed(names)),
        None => String::new(),
    };
    let bytes = if bytes == 1 { "1 byte".to_owned() } else { format!("{bytes} bytes") };
    format!("  {}: {bytes}{of}\n", one_line(key))
}

fn listed(names: &BTreeSet<String>) -> String {
    const FIRST: usize = 8;
    let mut text = names.iter().take(FIRST).map(|name| one_line(name)).collect::<Vec<_>>().join(", ");
    if names.len() > FIRST {
        text.push_str(&format!(" and {} more", names.len() - FIRST));
    }
    text
}

/// A text, moved in; what steers a terminal is taken out of it, piece by piece and without a copy of the whole.
fn lines(text: &str, mut write: impl FnMut(&str)) {
    for line in text.split('\n') {
        let last = line.is_empty() && text.ends_with('\n');
        if last {
            break;
        }
        write("    ");
        let steers = |c: char| c.is_control() && c != '\t';
        for piece in line.split_inclusive(steers) {
            let clean = piece.trim_end_matches(steers);
            write(clean);
            if clean.len() < piece.len() {
                write("\u{fffd}");
            }
        }
        write("\n");
    }
}

/// A Secret for programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report<'r> {
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'r str>,
    name: &'r str,
    r#type: &'r str,
    keys: Vec<Key<'r>>,
}

/// One key of it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Key<'r> {
    name: &'r str,
    bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    made_of: Option<&'r BTreeSet<String>>,
    /// The value, masked.
    shape: &'r str,
}

/// For programs, without values.
pub fn report(rendered: &[Rendered]) -> Vec<Report<'_>> {
    rendered.iter().map(of_secret).collect()
}

fn of_secret(secret: &Rendered) -> Report<'_> {
    let Rendered { namespace, name, type_, content, .. } = secret;
    let keys = content.data.iter().map(|(name, value)| of_key(secret, name, value.len())).collect();
    Report { namespace: namespace.as_deref(), name, r#type: type_, keys }
}

fn of_key<'r>(secret: &'r Rendered, name: &'r str, bytes: usize) -> Key<'r> {
    let composed = secret.composed.get(name);
    let shape = composed.map_or(MASK, |(text, _)| text);
    Key { name, bytes, made_of: composed.map(|(_, names)| names), shape }
}
