//! What of a new document is encrypted.

use crate::metadata::Selector;

/// The selector, and whether the MAC leaves clear-text values out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    pub selector: Selector,
    /// True: clear-text values can be changed by anybody unnoticed.
    pub mac_only_encrypted: bool,
}

/// Everything is encrypted but what stands below keys that end in `_unencrypted`, as sops does it.
impl Default for Rules {
    fn default() -> Rules {
        Rules { selector: Selector::default(), mac_only_encrypted: false }
    }
}
