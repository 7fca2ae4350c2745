//! The kept corpus, one input a line, escaped as Rust escapes bytes: `corpus/TARGET.txt`, which `make fuzz` writes anew
//! and which repeats nothing that the vectors reach, and `corpus/failed/TARGET.txt`, inputs that once failed, which only
//! people write.

use std::path::{Path, PathBuf};

/// The kept inputs of a target; none if it has no file.
pub fn load(target: &str) -> Vec<Vec<u8>> {
    let name = format!("{target}.txt");
    let files = [folder().join("failed").join(&name), folder().join(&name)];
    let text: String = files.iter().filter_map(|file| std::fs::read_to_string(file).ok()).collect();
    let lines = text.lines().filter(|line| !line.starts_with("# "));
    lines.map(|line| unescape(line).expect("a line of the corpus as it was written")).collect()
}

/// Writes the kept inputs of a target anew, shortest first.
pub fn save(target: &str, mut inputs: Vec<Vec<u8>>) -> std::io::Result<()> {
    inputs.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
    inputs.dedup();
    let mut text = format!("# inputs of the target {target}, one a line, escaped\n");
    for input in inputs {
        text.push_str(&escape(&input));
        text.push('\n');
    }
    std::fs::write(folder().join(format!("{target}.txt")), text)
}

/// Every file of the corpus, for the test that each belongs to a target.
pub fn files() -> Vec<String> {
    let list = |folder: PathBuf| std::fs::read_dir(folder).into_iter().flatten().flatten();
    let entries = list(folder()).chain(list(folder().join("failed")));
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// Printable ASCII; `#` is escaped at the start, where it would make a comment.
pub fn escape(bytes: &[u8]) -> String {
    let text = bytes.escape_ascii().to_string();
    if let Some(rest) = text.strip_prefix('#') { format!("\\x23{rest}") } else { text }
}

/// `None` if it is not what [`escape`] writes.
pub fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first != b'\\' {
            bytes.push(first);
            continue;
        }
        let (&code, tail) = rest.split_first()?;
        rest = tail;
        bytes.push(match code {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'x' => {
                let (digits, tail) = rest.split_at_checked(2)?;
                rest = tail;
                u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?
            }
            b'\\' | b'\'' | b'"' => code,
            _ => return None,
        });
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_comes_back() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(unescape(&escape(&all)), Some(all));
        let comment = b"# no comment".to_vec();
        assert!(!escape(&comment).starts_with('#'));
        assert_eq!(unescape(&escape(&comment)), Some(comment));
        assert_eq!(unescape("\\x2"), None);
        assert_eq!(unescape("\\"), None);
    }
}
