//! What can be wrong with a manifest. Every variant is somebody else's doing: whoever wrote the manifest.

use std::fmt;

/// Why a manifest is refused as a whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// It could not even be read (`KeyringSpec::unreadable`).
    #[error(
        "manifest cannot be read: it has a field or a value that this version of touchseal does not know; apply the one from git, \
         or update"
    )]
    Unreadable,
    /// Written by another version of the format.
    #[error("manifest has version {0}, this program reads version 1")]
    Version(u32),
    /// `id` is not 32 lower-case hexadecimal digits.
    #[error("manifest id is not 32 lower-case hexadecimal digits")]
    Id,
    /// `revision` is not 1 to 2^53 - 1.
    #[error("manifest revision {0} is out of range")]
    Revision(i64),
    /// More of something than a manifest may hold.
    #[error("manifest has too many or too long {0}")]
    TooLarge(&'static str),
    /// Nobody could ever open it.
    #[error("manifest has no holders")]
    NoHolders,
    /// A holder's entry is malformed.
    #[error("holder {position} has an invalid {field}")]
    Holder {
        /// Index in `holders`, from 0.
        position: usize,
        /// Field at fault.
        field: &'static str,
    },
    /// Two holders share a name, a key, or the four bytes by which a stanza names its key.
    #[error("holder {position} has the same {field} as an earlier one")]
    DuplicateHolder {
        /// Index in `holders` of the later one, from 0.
        position: usize,
        /// What they share.
        field: &'static str,
    },
    /// The quorum cannot be met as it should.
    #[error("manifest's quorum {0}")]
    Quorum(&'static str),
    /// `sealAfter` is no span of at least a second.
    #[error("manifest's sealAfter is not a span such as 12h")]
    SealAfter,
    /// No generations at all.
    #[error("manifest has no key generations")]
    NoGenerations,
    /// Numbers must be 1, 2, 3 and so on without a gap, a repetition or a change of order.
    #[error("key generation at position {position} has number {number} instead of {expected}")]
    GenerationNumber {
        /// Index in `generations`, from 0.
        position: usize,
        /// Number found.
        number: u32,
        /// Number that belongs there.
        expected: u32,
    },
    /// The last generation must be the Active one and the only Active one.
    #[error("key generation {0} must {1}")]
    ActiveState(u32, ActiveRule),
    /// A field of a generation is malformed.
    #[error("key generation {generation} has an invalid {field}")]
    Generation {
        /// Its number.
        generation: u32,
        /// Field at fault.
        field: &'static str,
    },
    /// Two generations have the same verify key, hence the same master.
    #[error("key generation {0} repeats an earlier verify key")]
    DuplicateVerifyKey(u32),
    /// The generation before did not sign for this one: somebody added a generation of their own.
    #[error("key generation {0} is not endorsed by the one before it")]
    Endorsement(u32),
    /// The Active generation did not sign this manifest: something was changed after signing.
    #[error("manifest signature is not by the active key generation {0}")]
    Signature(u32),
}

/// What the Active state demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActiveRule {
    /// The last one.
    BeActive,
    /// Any other.
    NotBeActive,
}

impl fmt::Display for ActiveRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BeActive => "be Active because it is the last",
            Self::NotBeActive => "not be Active because it is not the last",
        })
    }
}

impl ManifestError {
    /// One bounded word for metrics and machine-readable output.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Unreadable => "Unreadable",
            Self::Version(_) => "Version",
            Self::Id => "Id",
            Self::Revision(_) => "Revision",
            Self::TooLarge(_) => "TooLarge",
            Self::NoHolders => "NoHolders",
            Self::Holder { .. } => "Holder",
            Self::DuplicateHolder { .. } => "DuplicateHolder",
            Self::Quorum(_) => "Quorum",
            Self::SealAfter => "SealAfter",
            Self::NoGenerations => "NoGenerations",
            Self::GenerationNumber { .. } => "GenerationNumber",
            Self::ActiveState(..) => "ActiveState",
            Self::Generation { .. } => "Generation",
            Self::DuplicateVerifyKey(_) => "DuplicateVerifyKey",
            Self::Endorsement(_) => "Endorsement",
            Self::Signature(_) => "Signature",
        }
    }
}
