//! The documents: made-up settings of the wanted size, encrypted by the real sops to an identity that exists for this run
//! only. The size of a document is that of its encrypted file.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use age::secrecy::ExposeSecret;
use touchseal_rig::tools::{MissingTool, Tool};

use crate::contest::Task;

pub struct Corpus {
    folder: PathBuf,
    identity: String,
    recipient: String,
}

#[derive(Debug, thiserror::Error)]
pub enum CorpusError {
    #[error(transparent)]
    Tool(#[from] MissingTool),
    #[error("cannot read or write {}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("cannot run sops")]
    Run(#[source] io::Error),
    #[error("sops did not encrypt {document}: {message}")]
    Encrypt { document: String, message: String },
    #[error("cannot make {document} of {wanted} bytes: the nearest is {made}")]
    Size { document: String, wanted: usize, made: usize },
    #[error("{} holds no values", path.display())]
    Values { path: PathBuf },
}

/// A plaintext, and its values as sops encrypts them: path and text, in order.
struct Plain {
    text: String,
    values: Vec<(String, String)>,
}

impl Corpus {
    pub fn new(folder: &Path) -> io::Result<Corpus> {
        let identity = age::x25519::Identity::generate();
        Ok(Corpus {
            folder: folder.canonicalize()?,
            identity: identity.to_string().expose_secret().to_owned(),
            recipient: identity.to_public().to_string(),
        })
    }

    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// A document of `kib` KiB or a little less; one of 1 KiB may be a little more, sops's own part being nearly as much.
    /// Within 15 % in any case.
    ///
    /// # Errors
    /// When sops fails or no document comes near that size.
    pub fn make(&self, format: &'static str, kib: usize) -> Result<Task, CorpusError> {
        let name =
            if kib < 1024 { format!("{format}.{kib}KiB") } else { format!("{format}.{}MiB", kib / 1024) };
        let (path, wanted) = (self.folder.join(&name), kib * 1024);
        let size = |entries| self.encrypt(format, &path, &plain(format, entries));
        // Sizes are linear in the number of entries, nearly.
        const PROBE: usize = 65;
        let first = size(1)?;
        let each = (size(PROBE)?.saturating_sub(first) as f64 / (PROBE - 1) as f64).max(1.0);
        let mut entries = 1 + (wanted.saturating_sub(first) as f64 / each) as usize;
        let mut made = size(entries)?;
        while made > wanted && entries > 1 {
            entries -= (((made - wanted) as f64 / each).ceil() as usize).clamp(1, entries - 1);
            made = size(entries)?;
        }
        if made.abs_diff(wanted) * 100 > wanted * 15 {
            return Err(CorpusError::Size { document: name, wanted, made });
        }
        Ok(Task { name, format, path, kib, bytes: made })
    }

    /// Writes the encrypted document and its values; gives its size.
    fn encrypt(&self, format: &str, path: &Path, plain: &Plain) -> Result<usize, CorpusError> {
        let write = |path: &Path, bytes: &[u8]| {
            fs::write(path, bytes).map_err(|source| CorpusError::File { path: path.into(), source })
        };
        let source = beside(path, ".plain");
        write(&source, plain.text.as_bytes())?;
        let values =
            serde_json::Value::from_iter(plain.values.iter().map(|(path, text)| [path.as_str(), text]));
        write(&beside(path, VALUES), values.to_string().as_bytes())?;
        let output = Tool::Sops
            .command()?
            .args(["encrypt", "--input-type", format, "--output-type", format, "--age", &self.recipient])
            .arg(&source)
            .env("HOME", &self.folder)
            .output()
            .map_err(CorpusError::Run)?;
        if !output.status.success() {
            return Err(CorpusError::Encrypt {
                document: path.display().to_string(),
                message: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            });
        }
        write(path, &output.stdout)?;
        Ok(output.stdout.len())
    }
}

/// The values of a document that [`Corpus::make`] made.
///
/// # Errors
/// When they cannot be read, or there are none.
pub fn values_of(path: &Path) -> Result<Vec<(String, String)>, CorpusError> {
    let path = beside(path, VALUES);
    let text = fs::read(&path).map_err(|source| CorpusError::File { path: path.clone(), source })?;
    match serde_json::from_slice::<Vec<(String, String)>>(&text) {
        Ok(values) if !values.is_empty() => Ok(values),
        _ => Err(CorpusError::Values { path }),
    }
}

/// The ending of the file that holds a document's values.
const VALUES: &str = ".values";

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Entries to a group (a map, a section).
const GROUP: usize = 16;

fn plain(format: &str, entries: usize) -> Plain {
    if format == "binary" {
        let text: String = (0..entries).map(|index| format!("{}\n", word(index, 15))).collect();
        return Plain { values: vec![("data:".into(), text.clone())], text };
    }
    let mut plain = Plain { text: String::new(), values: Vec::new() };
    let text = &mut plain.text;
    let json = format == "json";
    text.push_str(if json { "{" } else { "" });
    for index in 0..entries {
        let (group, key) = (format!("service_{:04}", index / GROUP), format!("SETTING_{index:05}"));
        let (value, quoted) = value(index, matches!(format, "yaml" | "json"));
        if index % GROUP == 0 {
            let before = if index == 0 { "" } else { "}," };
            let _ = match format {
                "yaml" => writeln!(text, "{group}:"),
                "ini" => writeln!(text, "[{group}]"),
                "json" => write!(text, "{before}\n\"{group}\": {{"),
                _ => Ok(()),
            };
        }
        let comma = if index % GROUP == 0 { "" } else { "," };
        let _ = match format {
            "yaml" => writeln!(text, "    {key}: {quoted}"),
            "json" => write!(text, "{comma}\n  \"{key}\": {quoted}"),
            "ini" => writeln!(text, "{key} = {value}"),
            _ => writeln!(text, "{key}={value}"),
        };
        let path = if format == "dotenv" { format!("{key}:") } else { format!("{group}:{key}:") };
        let value = match value.as_str() {
            "true" if quoted == "true" => "True".to_owned(),
            _ => value,
        };
        plain.values.push((path, value));
    }
    plain.text.push_str(if json { "}\n}\n" } else { "" });
    plain
}

/// A value and how YAML and JSON write it: strings as passwords, tokens and URLs are long, and where the format has them,
/// a number and a boolean among eight.
fn value(index: usize, typed: bool) -> (String, String) {
    match index % 8 {
        3 if typed => (format!("{}", 1024 + index), format!("{}", 1024 + index)),
        6 if typed => ("true".into(), "true".into()),
        place => {
            let text = word(index, [16, 24, 32, 20, 40, 32, 24, 64][place]);
            (text.clone(), format!("\"{text}\""))
        }
    }
}

/// Letters and digits that look random and are the same in every run.
fn word(seed: usize, length: usize) -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyzABCDEFGH";
    let mut state = (seed as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(LETTERS[(state >> 40) as usize % LETTERS.len()])
    })
    .take(length)
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_has_the_wanted_size_in_every_format() {
        let scratch = touchseal_rig::scratch::Scratch::new("bench-corpus").expect("a folder");
        let corpus = Corpus::new(scratch.path()).expect("a corpus");
        for format in ["yaml", "json", "dotenv", "ini", "binary"] {
            for kib in [2, 64] {
                let task = corpus.make(format, kib).expect("a document");
                assert_eq!(fs::metadata(&task.path).expect("a file").len(), task.bytes as u64);
                assert!(task.bytes <= kib * 1024 && task.bytes * 100 >= kib * 1024 * 85, "{task:?}");
            }
        }
    }

    #[test]
    fn the_values_are_those_the_document_holds() {
        use touchseal_sops::{Document, Format, Opener};
        let scratch = touchseal_rig::scratch::Scratch::new("bench-values").expect("a folder");
        let corpus = Corpus::new(scratch.path()).expect("a corpus");
        let task = corpus.make("yaml", 4).expect("a document");
        let opener = Opener::new().with_x25519(corpus.identity().parse().expect("an identity"));
        let bytes = fs::read(&task.path).expect("a file");
        let document = Document::parse(&bytes, Format::Yaml).expect("a document");
        let plain = document.decrypt_with(&opener).expect("opens");
        let values = values_of(&task.path).expect("values");
        for (path, text) in &values {
            let path = path.trim_end_matches(':').replace(':', ".");
            let found = plain.lookup(&path).expect("a value").bytes().expect("a scalar");
            assert_eq!(found, text.replace("True", "true").as_bytes(), "{path}");
        }
        let entries: usize =
            plain.top_level().filter_map(|(_, node)| node.entries()).map(Iterator::count).sum();
        assert_eq!(entries, values.len());
    }
}
