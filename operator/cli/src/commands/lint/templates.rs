//! Templates of an EncryptedSecret: whether they can be composed of what its documents give, whose names are in the clear, and
//! whether a value is written out in one.

use std::collections::{BTreeMap, BTreeSet};

use regex_lite::Regex;
use touchseal_crds::encrypted_secret::Template;
use touchseal_plan::template::{self, Outline};
use touchseal_sops::{Document, Format};

use super::finding::{Place, shown};
use super::piece::Piece;
use super::plain::{self, is_placeholder};
use super::rules::Rule;
use crate::documents::nodes::{Node, Scalar};

/// Names whose values are secret, and what is given to them.
const NAMED: &str = r#"(?i)(\b[a-z0-9_.-]*(?:passw(?:or)?d|passphrase|secret|token|api[_-]?key|private[_-]?key|credentials?)\b)["']?\s*[:=]\s*["']?([^\s"',;}]+)"#;
/// What stands before the host of an address.
const IN_ADDRESS: &str = r#"://[^\s/"'@:]*:([^\s/"'@]+)@"#;
const PRIVATE_KEY: &str = "PRIVATE KEY-----";

/// Looks at them, and leaves what is wrong in the piece.
pub fn look(piece: &mut Piece, text: &str, object: &Node) {
    let Some(spec) = object.all("spec").last() else { return };
    let templates = spec.all("target").flat_map(|target| target.all("template"));
    let Some(data) = templates.flat_map(|template| template.all("data")).last() else { return };
    let named: BTreeMap<&str, (&Node, &Scalar)> =
        data.pairs().iter().filter_map(|(key, value)| Some((key.as_str()?, (key, scalar(value)?)))).collect();
    let whole = Template {
        merge_policy: None,
        data: named.iter().map(|(key, (_, value))| ((*key).to_owned(), value.text.clone())).collect(),
    };
    let of = shown(plain::name(object));
    for error in template::check(&whole, names(spec).as_ref()) {
        let Some((key, value)) = named.get(error.key.as_str()) else { continue };
        let place = match error.line {
            Some(line) => within(text, value, line),
            None => Place::of(text, key.start().unwrap_or_default()),
        };
        piece.find(place, Rule::TemplateInvalid, &format!("EncryptedSecret {of}: {error}"));
    }
    for (key, (_, value)) in named {
        for (line, what) in literals(&value.text) {
            let message = format!("EncryptedSecret {of}: template of {}: {what}", shown(key));
            piece.find(within(text, value, line), Rule::TemplateLiteral, &message);
        }
    }
}

fn scalar(node: &Node) -> Option<&Scalar> {
    match node {
        Node::Scalar(scalar) => Some(scalar),
        _ => None,
    }
}

/// The place of a line of a template. Only of a block are lines those of the file.
fn within(text: &str, value: &Scalar, line: usize) -> Place {
    let first = Place::of(text, value.start);
    let lines = text.get(value.start..value.end).unwrap_or_default().matches('\n').count();
    if line > 1 && lines + 1 >= line { Place::line(first.line + line - 1) } else { first }
}

/// The Secret keys that an object's documents give; None where that cannot be seen here.
fn names(spec: &Node) -> Option<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for document in spec.all("documents").flat_map(Node::items) {
        let mapping = document.all("mapping").last();
        let of = |kind| mapping.and_then(|mapping| mapping.all(kind).last());
        if let Some(file) = of("file") {
            names.insert(plain::text(file, "key")?.to_owned());
            continue;
        }
        if let Some(paths) = of("paths") {
            for path in paths.items() {
                names.insert(plain::text(path, "key")?.to_owned());
            }
            continue;
        }
        let (name, sops) = (plain::text(document, "name"), plain::text(document, "sops")?);
        let told = plain::text(document, "format").and_then(|word| word.parse().ok());
        let format = told.or_else(|| name.and_then(Format::from_file_name));
        let format = format.unwrap_or_else(|| Format::detect(sops.as_bytes()));
        let opened = Document::parse(sops.as_bytes(), format).ok()?;
        if format == Format::Binary && mapping.is_none() {
            names.insert(name.unwrap_or("data").to_owned());
            continue;
        }
        let is_manifest = of("manifest").is_some();
        for (key, below) in opened.names() {
            match (is_manifest, format) {
                (true, _) if matches!(key, "data" | "stringData") => {
                    names.extend(below.into_iter().map(str::to_owned));
                }
                (true, _) => {}
                (false, Format::Ini) if key != "DEFAULT" => {
                    names.extend(below.into_iter().map(|inner| format!("{key}.{inner}")));
                }
                (false, Format::Ini) => names.extend(below.into_iter().map(str::to_owned)),
                (false, _) => {
                    names.insert(key.to_owned());
                }
            }
        }
    }
    Some(names)
}

/// Lines of a template where a value is written out, and what is. Names, never values.
fn literals(text: &str) -> Vec<(usize, String)> {
    let Some(outline) = template::outline(text) else { return Vec::new() };
    if !outline.puts_in {
        let says = !is_placeholder(&outline.text) && !outline.text.trim().is_empty();
        let what = "it is plain text, nothing is put in".to_owned();
        return if says { vec![(1, what)] } else { Vec::new() };
    }
    let (Ok(named), Ok(in_address)) = (Regex::new(NAMED), Regex::new(IN_ADDRESS)) else { return Vec::new() };
    let mut found = Vec::new();
    for (index, line) in outline.text.lines().enumerate() {
        let mut says = |what: String| found.push((index + 1, what));
        if line.contains(PRIVATE_KEY) {
            says("a private key is written out".to_owned());
        }
        if in_address.captures_iter(line).any(|found| is_value(&found[1])) {
            says("an address with a password is written out".to_owned());
        }
        for found in named.captures_iter(line).filter(|found| is_value(&found[2])) {
            says(format!("the value of {} is written out", shown(&found[1])));
        }
    }
    found
}

/// Whether a text is a value that should not be read by everybody.
fn is_value(text: &str) -> bool {
    let plain_word = matches!(text, "true" | "false" | "null" | "none" | "|" | ">" | "|-" | ">-" | "{" | "[");
    let number = text.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | 's' | 'm' | 'h' | 'd'));
    let elsewhere = text.starts_with(['/', '$', '%', '@', '&', '*']);
    !(text.contains(Outline::TAG) || plain_word || number || elsewhere || is_placeholder(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_are_written_out_are_found_and_not_shown() {
        for (text, line, word) in [
            ("password: hunter2 {{ a }}", 1, "the value of password"),
            ("[db]\nhost = {{ a }}\ndb.password = \"hunter2\"\n", 3, "the value of db.password"),
            ("{\"api_key\": \"hunter2\", \"b\": {{ a }}}", 1, "api_key"),
            ("export MAIL_TOKEN='hunter2' X={{ a }}", 1, "MAIL_TOKEN"),
            ("postgres://app:hunter2@{{ host }}/db", 1, "an address with a password"),
            ("password={{ \"hunter2\" }} x={{ a }}", 1, "the value of password"),
            ("{{ a }}\n-----BEGIN RSA PRIVATE KEY-----\n", 2, "a private key"),
            ("hunter2", 1, "plain text"),
            ("{# nothing is put in #}\nx: hunter2\n", 1, "plain text"),
            ("{{ \"hunter2\" | b64encode }}", 1, "plain text"),
        ] {
            let found = literals(text);
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert!(found[0].0 == line && found[0].1.contains(word), "{text}: {found:?}");
            assert!(!found[0].1.contains("hunter2"), "{text}: {found:?}");
        }
    }

    #[test]
    fn what_is_put_in_or_no_secret_is_let_be() {
        for text in [
            "password: {{ password }}",
            "password = \"{{ password }}\"",
            "postgres://{{ user }}:{{ password }}@db/shop",
            "postgres://app@db/shop?sslmode={{ mode }}",
            "token_ttl = 3600\nuser = {{ user }}",
            "password_file: /run/secrets/db\nx: {{ user }}",
            "token: true\nsecret: 30d\n{{ x }}",
            "password: CHANGEME {{ x }}",
            "secrets:\n  name: {{ x }}",
            "api-key: ${API_KEY} {{ x }}",
            "log_level: info\nhost: db\n{{ x }}",
            "password: |\n  {{ x }}",
            "CHANGEME",
            "",
            "{{ broken",
        ] {
            assert_eq!(literals(text), [], "{text}");
        }
    }
}
