//! The five formats, and how one is told from a file name or from the bytes.

use std::fmt;

/// How a document is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    Yaml,
    Json,
    Dotenv,
    Ini,
    /// Any file, kept by sops as one string in a JSON envelope.
    Binary,
}

impl Format {
    /// The format sops would choose for a file of this name, `None` where sops would fall back to binary: the name
    /// alone does not tell then, see [`Format::detect`].
    pub fn from_file_name(name: &str) -> Option<Format> {
        const ENDINGS: [(&str, Format); 5] = [
            (".yaml", Format::Yaml),
            (".yml", Format::Yaml),
            (".json", Format::Json),
            (".env", Format::Dotenv),
            (".ini", Format::Ini),
        ];
        ENDINGS.iter().find(|(ending, _)| name.ends_with(ending)).map(|&(_, format)| format)
    }

    /// The format these encrypted bytes are most likely in. sops itself goes by names only, so this goes by the place
    /// of its metadata. An encrypted JSON file of the single key `data` looks exactly like a binary one and is taken for
    /// one. YAML where nothing else fits.
    pub fn detect(bytes: &[u8]) -> Format {
        let trimmed = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
        if trimmed.first() == Some(&b'{') {
            return if crate::store::json::is_envelope(bytes) { Format::Binary } else { Format::Json };
        }
        for line in bytes.split(|&b| b == b'\n') {
            if line.starts_with(b"sops:") {
                return Format::Yaml;
            } else if line.starts_with(b"sops_") && line.contains(&b'=') {
                return Format::Dotenv;
            } else if line.trim_ascii() == b"[sops]" {
                return Format::Ini;
            }
        }
        Format::Yaml
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::Yaml => "yaml",
            Format::Json => "json",
            Format::Dotenv => "dotenv",
            Format::Ini => "ini",
            Format::Binary => "binary",
        })
    }
}

/// The words sops itself uses: `yaml`, `json`, `dotenv`, `ini`, `binary`.
impl std::str::FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(word: &str) -> Result<Format, UnknownFormat> {
        [Format::Yaml, Format::Json, Format::Dotenv, Format::Ini, Format::Binary]
            .into_iter()
            .find(|format| format.to_string() == word)
            .ok_or(UnknownFormat)
    }
}

/// A word that names no format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not one of yaml, json, dotenv, ini, binary")]
pub struct UnknownFormat;
