//! Plain text in manifests: values of Secrets and literals of kustomize's secretGenerators. What stands for a value that comes
//! later (a template, a variable, a word such as CHANGEME) is none.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::documents::nodes::Node;

/// What was found in one object.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plain {
    /// Offset of the first of it.
    pub start: usize,
    /// Names of the keys.
    pub keys: Vec<String>,
}

/// A file that a secretGenerator is fed with.
#[derive(Debug, PartialEq, Eq)]
pub struct Fed {
    pub start: usize,
    pub path: String,
}

/// The objects of a stream, those inside lists in their place.
pub fn objects(stream: &[Node]) -> Vec<&Node> {
    let mut found = Vec::new();
    for node in stream {
        let is_list = text(node, "kind").is_some_and(|kind| kind.ends_with("List"));
        let items: Vec<&Node> = node.all("items").flat_map(Node::items).collect();
        if is_list && !items.is_empty() { found.extend(items) } else { found.push(node) }
    }
    found
}

/// The text of a key, wherever it is said more than once the last time.
pub fn text<'n>(node: &'n Node, key: &'n str) -> Option<&'n str> {
    node.all(key).filter_map(Node::as_str).last()
}

/// `metadata.name`, for messages.
pub fn name(object: &Node) -> &str {
    object.all("metadata").find_map(|metadata| text(metadata, "name")).unwrap_or_default()
}

/// The plain values of a Secret. One that is a sops document is judged as that.
pub fn secret(object: &Node) -> Option<Plain> {
    let is_secret = text(object, "kind") == Some("Secret") && text(object, "apiVersion") == Some("v1");
    if !is_secret || object.all("sops").next().is_some() {
        return None;
    }
    let mut found = Plain::default();
    for (field, encoded) in [("data", true), ("stringData", false)] {
        for (key, value) in object.all(field).flat_map(Node::pairs) {
            let stands_for_another = match value {
                Node::Scalar(scalar) if encoded => is_placeholder_in_base64(&scalar.text),
                Node::Scalar(scalar) => is_placeholder(&scalar.text),
                Node::Alias => false,
                Node::Map(_) | Node::List(_) => true,
            };
            if !stands_for_another {
                found.add(key.start(), key.as_str().unwrap_or_default());
            }
        }
    }
    (!found.keys.is_empty()).then_some(found)
}

/// The literals of a kustomization's secretGenerators, and the files they read.
pub fn generators(object: &Node) -> (Option<Plain>, Vec<Fed>) {
    let mut literals = Plain::default();
    let mut fed = Vec::new();
    for generator in object.all("secretGenerator").flat_map(Node::items) {
        for literal in generator.all("literals").flat_map(Node::items) {
            let Some((key, value)) = literal.as_str().and_then(|text| text.split_once('=')) else { continue };
            if !is_placeholder(value.trim_matches(['"', '\''])) {
                literals.add(literal.start(), key);
            }
        }
        let listed =
            ["files", "envs"].into_iter().flat_map(|field| generator.all(field)).flat_map(Node::items);
        for file in listed.chain(generator.all("env")) {
            let Some(text) = file.as_str() else { continue };
            let path = text.split_once('=').map_or(text, |(_, path)| path).to_owned();
            fed.push(Fed { start: file.start().unwrap_or_default(), path });
        }
    }
    ((!literals.keys.is_empty()).then_some(literals), fed)
}

impl Plain {
    fn add(&mut self, start: Option<usize>, key: &str) {
        if self.keys.is_empty() {
            self.start = start.unwrap_or_default();
        }
        self.keys.push(key.to_owned());
    }
}

fn is_placeholder_in_base64(text: &str) -> bool {
    if is_placeholder(text) {
        return true;
    }
    let compact: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let decoded = STANDARD.decode(compact).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    decoded.is_some_and(|decoded| is_placeholder(&decoded))
}

/// Whether a text stands for a value that is put in later.
pub fn is_placeholder(text: &str) -> bool {
    const WORDS: [&str; 8] =
        ["changeme", "replaceme", "placeholder", "todo", "tbd", "redacted", "example", "dummy"];
    let text = text.trim();
    let within = |start: &str, end: &str| {
        // One pair around it all, and no more text behind it.
        text.strip_prefix(start)
            .and_then(|rest| rest.strip_suffix(end))
            .is_some_and(|inner| !inner.contains(start) && !inner.contains(end))
    };
    let word: String =
        text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    let filler = |c: char| matches!(c, '*' | '.' | '_' | '-' | 'x' | 'X' | '?' | '…');
    text.chars().all(filler)
        || WORDS.contains(&word.as_str())
        || within("{{", "}}")
        || within("${", "}")
        || within("$(", ")")
        || within("<", ">")
        || text.starts_with("ENC[AES256_GCM,")
}

/// A text whose template expressions are written over by a filler of the same length, so that it reads as YAML: lines that are
/// nothing but an expression become blank. Places stay.
pub fn without_templates(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let trimmed = line.trim();
        let alone = trimmed.starts_with("{{") && trimmed.ends_with("}}");
        let mut rest = line;
        while let Some(start) = rest.find("{{") {
            let end = rest[start..]
                .find("}}")
                .map_or(rest.trim_end_matches(['\r', '\n']).len(), |at| start + at + 2);
            out.push_str(&rest[..start]);
            let filler = if alone { ' ' } else { '_' };
            out.extend(std::iter::repeat_n(filler, rest[start..end].len()));
            rest = &rest[end..];
        }
        out.push_str(rest);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::documents::nodes;

    fn secrets(text: &str) -> Vec<Vec<String>> {
        let stream = nodes::parse(text).unwrap();
        objects(&stream).into_iter().filter_map(|object| Some(secret(object)?.keys)).collect()
    }

    #[test]
    fn plain_values_of_secrets_are_found_wherever_they_are() {
        let head = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: a\n";
        assert_eq!(secrets(&format!("{head}stringData:\n  a: hunter2\n  b: ''\n")), [["a"]]);
        assert_eq!(secrets(&format!("{head}data:\n  a: aHVudGVyMg==\n")), [["a"]]);
        assert_eq!(
            secrets(
                &format!("{head}data:\n  n: 5\nstringData: {{ x: |\n    y\n}}\n")
                    .replace("{ x: |\n    y\n}", "{ x: y }")
            ),
            [["n", "x"]]
        );
        let list =
            "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Secret\n  stringData: {a: b}\n";
        assert_eq!(secrets(list), [["a"]]);
        assert_eq!(secrets(&list.replace("kind: List", "kind: SecretList")), [["a"]]);
        assert_eq!(
            secrets("{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"data\":{\"k\":\"aHVudGVyMg==\"}}"),
            [["k"]]
        );
        assert_eq!(
            secrets(&format!("{head}stringData:\n  a: ''\nstringData:\n  b: hidden\n")),
            [["b"]],
            "said twice"
        );
    }

    #[test]
    fn what_stands_for_a_value_is_none() {
        let head = "apiVersion: v1\nkind: Secret\n";
        for value in [
            "''",
            "'{{ .Values.password }}'",
            "${PASSWORD}",
            "$(PASSWORD)",
            "<password>",
            "CHANGE_ME",
            "change-me",
            "replaceMe",
            "'****'",
            "xxxx",
            "'...'",
            "TODO",
            "null",
        ] {
            let value = if value == "null" { "''" } else { value };
            assert_eq!(
                secrets(&format!("{head}stringData:\n  a: {value}\n")),
                Vec::<Vec<String>>::new(),
                "{value}"
            );
        }
        for value in ["hunter2", "'${A}:hunter2:${B}'", "'{{ a }} hunter2 {{ b }}'", "changeme1"] {
            assert_eq!(secrets(&format!("{head}stringData:\n  a: {value}\n")).len(), 1, "{value}");
        }
        assert_eq!(secrets(&format!("{head}data:\n  a: Q0hBTkdFTUU=\n")).len(), 0, "CHANGEME");
        assert_eq!(secrets("kind: Secret\napiVersion: example.org/v1\nstringData: {a: b}\n").len(), 0);
        assert_eq!(secrets(&format!("{head}stringData: {{a: b}}\nsops: {{mac: x}}\n")).len(), 0);
    }

    #[test]
    fn generators_are_fed_with_literals_and_files() {
        let text = "secretGenerator:\n- name: a\n  literals:\n  - user=shop\n  - password='${PASSWORD}'\n  files: [tls.key, k=x/y.pem]\n  envs:\n  - .env\n";
        let stream = nodes::parse(text).unwrap();
        let (literals, fed) = generators(&stream[0]);
        assert_eq!(literals.unwrap().keys, ["user"]);
        let paths: Vec<&str> = fed.iter().map(|fed| fed.path.as_str()).collect();
        assert_eq!(paths, ["tls.key", "x/y.pem", ".env"]);
    }

    #[test]
    fn templates_keep_their_places_and_read_as_yaml() {
        let text = "{{- if .Values.x }}\nkind: Secret\napiVersion: v1\nmetadata:\n  name: {{ include \"a\" . }}-x\nstringData:\n  a: {{ .Values.a | quote }}\n  b: hunter2\n{{- end }}\n";
        assert!(nodes::parse(text).is_err());
        let masked = without_templates(text);
        assert_eq!(masked.len(), text.len());
        assert_eq!(secrets(&masked), [["b"]]);
        assert_eq!(without_templates("a {{ b\n}} c"), "a ____\n}} c", "one that does not end on its line");
    }
}
