//! The `sops` block of a document: who can open it, what is encrypted in it, and the MAC. One reader and one writer for
//! all formats (sops, `stores/stores.go`).

mod read;
mod write;

use crate::text::Text;

pub(crate) use read::read;
pub(crate) use write::{Block, Keys, New, Wrapped};

/// What a document says about itself. Nothing here is authenticated except the time of last modification; a changed
/// selector or MAC mode makes the MAC fail.
#[derive(Debug)]
pub struct Metadata {
    pub(crate) groups: Vec<KeyGroup>,
    pub(crate) threshold: usize,
    pub(crate) last_modified: String,
    pub(crate) mac: Text,
    pub(crate) selector: Selector,
    pub(crate) mac_only_encrypted: bool,
    pub(crate) version: String,
}

impl Metadata {
    /// The key groups. With one group any of its keys opens the document; with more, the data key is split
    /// (Shamir) and [`Metadata::threshold`] groups are needed.
    pub fn groups(&self) -> &[KeyGroup] {
        &self.groups
    }

    /// How many key groups are needed to open the document, at least 1.
    pub fn threshold(&self) -> usize {
        self.threshold
    }

    /// When the document was last encrypted, RFC 3339 as written in the document. Authenticated by the MAC.
    pub fn last_modified(&self) -> &str {
        &self.last_modified
    }

    /// Whether there is a MAC at all; only decrypting tells whether it fits.
    pub fn has_mac(&self) -> bool {
        !self.mac.is_empty()
    }

    /// Which values are encrypted.
    pub fn selector(&self) -> &Selector {
        &self.selector
    }

    /// True if clear-text values are not covered by the MAC: anybody can change them unnoticed.
    pub fn mac_only_encrypted(&self) -> bool {
        self.mac_only_encrypted
    }

    /// The sops version that wrote the document, empty if it does not say.
    pub fn version(&self) -> &str {
        &self.version
    }
}

/// Keys of which any one opens the data key, or this group's share of it.
#[derive(Debug, Default)]
pub struct KeyGroup {
    pub(crate) age: Vec<AgeKey>,
    pub(crate) pgp: Vec<PgpKey>,
    pub(crate) others: Vec<OtherKey>,
}

impl KeyGroup {
    /// The age recipients, in document order.
    pub fn age(&self) -> &[AgeKey] {
        &self.age
    }

    /// The PGP keys among [`KeyGroup::others`] whose entries are whole, in document order.
    pub fn pgp(&self) -> &[PgpKey] {
        &self.pgp
    }

    /// Keys of other kinds, which this crate never opens.
    pub fn others(&self) -> &[OtherKey] {
        &self.others
    }
}

/// An age recipient and the data key wrapped for it.
#[derive(Debug)]
pub struct AgeKey {
    pub(crate) recipient: String,
    pub(crate) wrapped: String,
}

impl AgeKey {
    /// The armored age file.
    pub fn wrapped(&self) -> &str {
        &self.wrapped
    }

    /// As written: `age1...`, a plugin's `age1name1...`, or an SSH public key. Not authenticated.
    pub fn recipient(&self) -> &str {
        &self.recipient
    }
}

/// A PGP key and the data key wrapped for it. This crate reads no PGP: whoever opens the message says what was in it
/// ([`crate::Opener::with_message`]).
#[derive(Debug)]
pub struct PgpKey {
    pub(crate) fingerprint: String,
    pub(crate) message: String,
}

impl PgpKey {
    /// As written. Not authenticated.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The armored PGP message.
    pub fn message(&self) -> &str {
        &self.message
    }
}

/// A kind of key this crate never opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OtherKey {
    Pgp,
    AwsKms,
    GcpKms,
    AzureKeyVault,
    HashicorpVault,
    HuaweiKms,
}

impl OtherKey {
    /// The metadata field the keys of this kind are listed in.
    pub fn field(self) -> &'static str {
        match self {
            OtherKey::Pgp => "pgp",
            OtherKey::AwsKms => "kms",
            OtherKey::GcpKms => "gcp_kms",
            OtherKey::AzureKeyVault => "azure_kv",
            OtherKey::HashicorpVault => "hc_vault",
            OtherKey::HuaweiKms => "hckms",
        }
    }

    const ALL: [OtherKey; 6] = [
        OtherKey::Pgp,
        OtherKey::AwsKms,
        OtherKey::GcpKms,
        OtherKey::AzureKeyVault,
        OtherKey::HashicorpVault,
        OtherKey::HuaweiKms,
    ];
}

/// The one rule that tells encrypted values from clear ones, by the keys on their path or the comments before them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    UnencryptedSuffix(String),
    EncryptedSuffix(String),
    UnencryptedRegex(String),
    EncryptedRegex(String),
    UnencryptedCommentRegex(String),
    EncryptedCommentRegex(String),
}

type Rule = fn(String) -> Selector;

impl Selector {
    pub(crate) const ALL: [(&'static str, Rule); 6] = [
        ("unencrypted_suffix", Selector::UnencryptedSuffix),
        ("encrypted_suffix", Selector::EncryptedSuffix),
        ("unencrypted_regex", Selector::UnencryptedRegex),
        ("encrypted_regex", Selector::EncryptedRegex),
        ("unencrypted_comment_regex", Selector::UnencryptedCommentRegex),
        ("encrypted_comment_regex", Selector::EncryptedCommentRegex),
    ];

    /// The metadata field the rule is written in.
    pub fn field(&self) -> &'static str {
        match self {
            Selector::UnencryptedSuffix(_) => "unencrypted_suffix",
            Selector::EncryptedSuffix(_) => "encrypted_suffix",
            Selector::UnencryptedRegex(_) => "unencrypted_regex",
            Selector::EncryptedRegex(_) => "encrypted_regex",
            Selector::UnencryptedCommentRegex(_) => "unencrypted_comment_regex",
            Selector::EncryptedCommentRegex(_) => "encrypted_comment_regex",
        }
    }

    /// The suffix or pattern.
    pub fn text(&self) -> &str {
        match self {
            Selector::UnencryptedSuffix(text)
            | Selector::EncryptedSuffix(text)
            | Selector::UnencryptedRegex(text)
            | Selector::EncryptedRegex(text)
            | Selector::UnencryptedCommentRegex(text)
            | Selector::EncryptedCommentRegex(text) => text,
        }
    }
}

/// What sops means when no selector is written.
impl Default for Selector {
    fn default() -> Selector {
        Selector::UnencryptedSuffix("_unencrypted".to_owned())
    }
}
