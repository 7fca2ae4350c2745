//! The decrypted content of one Secret, on its way from the documents to the writer. Zeroized, never printed.

use std::collections::BTreeMap;
use std::fmt;

use zeroize::Zeroizing;

/// Default type of a Secret.
pub const OPAQUE: &str = "Opaque";

/// Secret keys and their values, with the type a manifest asked for.
#[derive(Default)]
pub struct Content {
    /// Values by Secret key.
    pub data: BTreeMap<String, Zeroizing<Vec<u8>>>,
    /// Type a `kind: Secret` manifest asked for.
    pub type_: Option<String>,
    /// Sum of key names and values, in bytes.
    pub(crate) size: usize,
}

impl Content {
    /// Takes a key out.
    pub(crate) fn take(&mut self, key: &str) {
        if let Some(value) = self.data.remove(key) {
            self.size = self.size.saturating_sub(key.len() + value.len());
        }
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Content").field("keys", &self.data.keys()).finish_non_exhaustive()
    }
}
