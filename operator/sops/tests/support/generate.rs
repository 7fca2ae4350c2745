//! Documents made by chance, the same for the same seed: what people write, and the corners of each format.

use touchseal_sops::Format;

use super::Random;

/// A plaintext document.
pub fn document(random: &mut Random) -> (Format, Vec<u8>) {
    match random.below(10) {
        0..=5 => (Format::Yaml, yaml(random).into_bytes()),
        6 => (Format::Json, json(random).into_bytes()),
        7 => (Format::Dotenv, dotenv(random).into_bytes()),
        8 => (Format::Ini, ini(random).into_bytes()),
        _ => (Format::Binary, (0..random.below(200)).map(|_| random.next().to_le_bytes()[0]).collect()),
    }
}

const WORDS: [&str; 24] = [
    "user",
    "password",
    "data",
    "stringData",
    "note_unencrypted",
    "list",
    "tls.crt",
    "A_B",
    "x-y",
    "host",
    "0a",
    "kind",
    "value_enc",
    "café",
    "a b",
    "port",
    "url",
    "empty",
    "items",
    "n",
    "yes",
    "key",
    "token",
    "db",
];

const COMMENTS: [&str; 10] =
    [" note", " pick", " ", " two # marks", " ünï", "!", " a: b", "\ttab", " - dash", " sops:encrypt"];

/// Text that YAML, JSON or the shell could take for something else.
const PIECES: [&str; 44] = [
    "a", "b c", " ", "  ", "\n", "\n\n", "\t", ":", ": ", "#", " #", "-", "- ", "?", "'", "\"", "\\", "{",
    "}", "[", "]", ",", "&", "*", "!", "|", ">", "%", "@", "`", "=", "é", "😀", "1", "0x", ".", "~", "<<",
    "---", "...", "\u{a0}", "\u{7f}", "\u{feff}", "\u{2027}",
];

const STRINGS: [&str; 38] = [
    "s3cr3t",
    "",
    "true",
    "no",
    "null",
    "~",
    "1",
    "1.0",
    "1e3",
    "0x1f",
    "017",
    "2026-01-02",
    "1:30",
    ".5",
    "-",
    "a: b",
    "# no",
    "a #b",
    "line\nbreak",
    "line\n",
    "\nline",
    " lead",
    "trail ",
    "tab\there",
    "\\n",
    "$HOME",
    "a=b",
    "[x]",
    "{x}",
    "'q'",
    "\"q\"",
    "<html>&",
    "é",
    "中文",
    "😀",
    "=",
    "<<",
    "ENC[AES256_GCM,data:x]",
];

fn string(random: &mut Random) -> String {
    let text = any_string(random);
    // sops prints null for a block that starts with a tab; and it indents one that starts with a blank or a line break by
    // less than it says, so that it takes a `#` in front for a comment.
    let lost = text.starts_with('\t')
        || text.starts_with([' ', '\n']) && text.trim_start_matches([' ', '\n']).starts_with('#');
    if lost && text.contains('\n') { format!("x{text}") } else { text }
}

fn any_string(random: &mut Random) -> String {
    match random.below(4) {
        0 | 1 => (*random.pick(&STRINGS.map(|s| s))).to_owned(),
        2 => (0..=random.below(6)).map(|_| random.pick(&PIECES)).collect(),
        _ => (0..random.below(60))
            .map(|_| random.pick(&["abc", "xyz", " ", "0123", "-", "_", "/", "+"]))
            .collect(),
    }
}

/// Keys of one map: none twice.
fn keys(random: &mut Random, most: usize) -> Vec<String> {
    let mut keys: Vec<String> = Vec::new();
    for _ in 0..random.below(most + 1) {
        let mut key = random.pick(&WORDS).to_owned();
        if random.below(3) == 0 {
            key.push_str(&random.below(100).to_string());
        }
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys
}

fn double_quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\u{7f}' | '\u{feff}' => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

struct Yaml<'r> {
    random: &'r mut Random,
    out: String,
    comments: bool,
    anchors: usize,
}

fn yaml(random: &mut Random) -> String {
    let comments = random.below(2) == 0;
    let mut yaml = Yaml { random, out: String::new(), comments, anchors: 0 };
    let documents = if yaml.random.below(8) == 0 { 1 + yaml.random.below(3) } else { 1 };
    for index in 0..documents {
        if index > 0 {
            yaml.out.push_str("---\n");
        }
        yaml.anchors = 0;
        yaml.comment(0);
        yaml.out.push_str("first: x\n");
        yaml.map(0, 8, 3);
        yaml.comment(0);
    }
    yaml.out
}

impl Yaml<'_> {
    fn indent(&mut self, indent: usize) {
        self.out.extend(std::iter::repeat_n(' ', indent));
    }

    fn comment(&mut self, indent: usize) {
        if !self.comments {
            return;
        }
        for _ in 0..self.random.below(6).saturating_sub(3) {
            self.indent(indent);
            let text = self.random.pick(&COMMENTS).to_owned();
            self.out.push_str(&format!("#{text}\n"));
        }
        if self.random.below(8) == 0 {
            self.out.push('\n');
        }
    }

    fn end_of_line(&mut self) {
        if self.comments && self.random.below(8) == 0 {
            self.out.push_str(" # behind");
        }
        self.out.push('\n');
    }

    /// Pairs at one indentation; there is one before them.
    fn map(&mut self, indent: usize, most: usize, depth: usize) {
        for key in keys(self.random, most) {
            self.comment(indent);
            self.indent(indent);
            let key = if self.random.below(4) == 0 || matches!(key.as_str(), "n" | "yes") {
                double_quoted(&key)
            } else {
                key
            };
            self.out.push_str(&key);
            self.out.push(':');
            self.value(indent, depth);
        }
    }

    fn value(&mut self, indent: usize, depth: usize) {
        let step = 1 + self.random.below(4);
        match self.random.below(if depth > 0 { 14 } else { 9 }) {
            9 | 10 => {
                self.out.push('\n');
                let indent = indent + step;
                self.comment(indent);
                self.indent(indent);
                self.out.push_str("k: v\n");
                self.map(indent, 4, depth - 1);
            }
            11 | 12 => {
                self.out.push('\n');
                // A list may stand at the indentation of its key.
                let indent = indent + if self.random.below(3) == 0 { 0 } else { step };
                self.list(indent, depth - 1);
            }
            13 => {
                let flow = self.flow(2);
                self.out.push(' ');
                self.out.push_str(&flow);
                self.end_of_line();
            }
            8 => self.block(indent + step),
            _ => {
                self.out.push(' ');
                let anchored = self.random.below(12) == 0;
                if anchored {
                    self.anchors += 1;
                    self.out.push_str(&format!("&a{} ", self.anchors));
                } else if self.anchors > 0 && self.random.below(6) == 0 {
                    let anchor = 1 + self.random.below(self.anchors);
                    self.out.push_str(&format!("*a{anchor}"));
                    self.end_of_line();
                    return;
                }
                let scalar = self.scalar();
                self.out.push_str(&scalar);
                self.end_of_line();
            }
        }
    }

    fn list(&mut self, indent: usize, depth: usize) {
        for _ in 0..=self.random.below(4) {
            self.comment(indent);
            self.indent(indent);
            self.out.push('-');
            if depth > 0 && self.random.below(4) == 0 {
                self.out.push_str(" k: v\n");
                self.map(indent + 2, 3, depth - 1);
            } else {
                self.out.push(' ');
                let scalar = self.scalar();
                self.out.push_str(&scalar);
                self.end_of_line();
            }
        }
    }

    fn scalar(&mut self) -> String {
        const PLAIN: [&str; 31] = [
            "x",
            "1",
            "-5",
            "0x1F",
            "017",
            "0o17",
            "0b11",
            "1_000",
            "1.5",
            "1e3",
            "1e21",
            "123456789.5",
            "0.00001",
            ".inf",
            "-.inf",
            "true",
            "False",
            "null",
            "~",
            "2026-01-02",
            "2026-01-02T03:04:05Z",
            "2026-01-02 03:04:05.5",
            "yes",
            "9223372036854775807",
            "18446744073709551616",
            "a b",
            "http://x:8080/y",
            "-x",
            "!!str 5",
            "[]",
            "{}",
        ];
        let text = string(self.random);
        match self.random.below(4) {
            0 | 1 => self.random.pick(&PLAIN).to_owned(),
            2 if !text.contains(['\n', '\t', '\u{7f}', '\u{feff}']) => {
                format!("'{}'", text.replace('\'', "''"))
            }
            _ => double_quoted(&text),
        }
    }

    fn flow(&mut self, depth: usize) -> String {
        let mut parts = Vec::new();
        let map = self.random.below(2) == 0;
        for (index, key) in keys(self.random, 3).into_iter().enumerate() {
            let value = if depth > 0 && self.random.below(3) == 0 {
                self.flow(depth - 1)
            } else {
                double_quoted(&string(self.random))
            };
            parts.push(if map { format!("k{index}{}: {value}", key.len()) } else { value });
        }
        let parts = parts.join(", ");
        if map { format!("{{{parts}}}") } else { format!("[{parts}]") }
    }

    fn block(&mut self, indent: usize) {
        let style = self.random.pick(&["|", "|-", "|+", ">", ">-"]).to_owned();
        self.out.push_str(&format!(" {style}\n"));
        for index in 0..=self.random.below(3) {
            if index > 0 && self.random.below(4) == 0 {
                self.out.push('\n');
            }
            let deeper = if index > 0 { self.random.below(3) } else { 0 };
            self.indent(indent + deeper);
            let line = self.random.pick(&["text", "a: b", "# no comment", "- x", "é", "end "]).to_owned();
            self.out.push_str(&line);
            self.out.push('\n');
        }
        if self.random.below(4) == 0 {
            self.out.push('\n');
        }
    }
}

fn json(random: &mut Random) -> String {
    json_map(random, 3)
}

fn json_map(random: &mut Random, depth: usize) -> String {
    let pairs: Vec<String> = keys(random, 6)
        .into_iter()
        .map(|key| format!("{}: {}", double_quoted(&key), json_value(random, depth)))
        .collect();
    format!("{{{}}}", pairs.join(random.pick(&[",", ", ", ",\n  "])))
}

fn json_value(random: &mut Random, depth: usize) -> String {
    const PLAIN: [&str; 16] = [
        "null",
        "true",
        "false",
        "0",
        "-0",
        "1",
        "1.50",
        "1e3",
        "1e21",
        "1E-7",
        "0.1",
        "123456789012345678901",
        "-5",
        "9007199254740993",
        "1e300",
        "100000000000000000000",
    ];
    match random.below(if depth > 0 { 6 } else { 4 }) {
        0 | 1 => random.pick(&PLAIN).to_owned(),
        2 | 3 => double_quoted(&string(random)),
        4 => json_map(random, depth - 1),
        _ => {
            let items: Vec<String> = (0..random.below(4)).map(|_| json_value(random, depth - 1)).collect();
            format!("[{}]", items.join(", "))
        }
    }
}

fn dotenv(random: &mut Random) -> String {
    let mut out = String::new();
    for key in keys(random, 12) {
        if random.below(4) == 0 {
            out.push_str(&format!("#{}\n", random.pick(&COMMENTS)));
        }
        if random.below(8) == 0 {
            out.push('\n');
        }
        let value = string(random).replace('\n', "\\n");
        let value = if random.below(4) == 0 { format!("\"{value}\"") } else { value };
        out.push_str(&format!("{key}={value}\n"));
    }
    out
}

fn ini(random: &mut Random) -> String {
    const VALUES: [&str; 22] = [
        "x",
        "1",
        "true",
        "",
        "a b",
        "a=b",
        "\"quoted\"",
        "'single'",
        "`a#b`",
        "a;b",
        "a # b",
        "\"\"\"one\ntwo\"\"\"",
        "é",
        "%x%",
        "a\\nb",
        "[x]",
        "path:/x",
        "\" spaces \"",
        "\"a\" b",
        "ü;",
        "-",
        "x y  z",
    ];
    let mut out = String::new();
    let pairs = |random: &mut Random, out: &mut String| {
        for key in keys(random, 5) {
            if random.below(4) == 0 {
                out.push_str(&format!(
                    "{}{}\n",
                    random.pick(&[";", "#", "; ", "# "]),
                    random.pick(&["note", "two words", "ü"])
                ));
            }
            let delimiter = random.pick(&["=", " = ", ": "]).to_owned();
            out.push_str(&format!("{key}{delimiter}{}\n", random.pick(&VALUES)));
        }
    };
    if random.below(3) == 0 {
        pairs(random, &mut out);
    }
    for index in 0..random.below(4) {
        if random.below(4) == 0 {
            out.push_str("\n; of the section\n");
        }
        let name = format!("{}{index}", random.pick(&["s", "database", "x.y", "a b", "part_unencrypted"]));
        out.push_str(&format!("[{name}]\n"));
        pairs(random, &mut out);
    }
    out
}
