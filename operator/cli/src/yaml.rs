//! YAML as we write and read it: objects with sorted keys, long text as block scalars that read back byte for byte.
//!
//! Written by hand because a sops document must come out of the manifest exactly as sops wrote it, whichever reader the
//! other side uses; what a block scalar cannot carry everywhere alike is written in double quotes instead.

mod emit;
mod scalar;

pub use emit::to_string;
pub use scalar::{block, quoted};

use serde::de::DeserializeOwned;

/// Reads one YAML (or JSON) document. Aliases, nesting and size are bounded by the reader.
pub fn from_str<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_saphyr::from_str(text).map_err(|error| error.without_snippet().to_string())
}

/// Reads all documents of a stream.
pub fn all_from_str<T: DeserializeOwned>(text: &str) -> Result<Vec<T>, String> {
    serde_saphyr::from_multiple(text).map_err(|error| error.without_snippet().to_string())
}
