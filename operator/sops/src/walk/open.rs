//! Opening: every value and the MAC must be right for a plaintext tree to come out.

use subtle::ConstantTimeEq;

use super::{Kept, Place, Rule, RuleError, Turn, walk};
use crate::cipher::{Cipher, CipherError, Opened};
use crate::error::DecryptError;
use crate::metadata::Metadata;
use crate::text::Text;
use crate::tree::{Item, Kind, Map, Scalar};

/// Decrypts all branches and checks the MAC. `kept` is told which ciphertext stood for what.
pub(crate) fn decrypt(
    branches: &[Map],
    metadata: &Metadata,
    cipher: &Cipher,
    kept: Option<&mut Kept>,
) -> Result<Vec<Map>, DecryptError> {
    let open = Open { cipher, kept };
    let (plain, hash) = walk(branches, metadata.selector(), metadata.mac_only_encrypted, open)?;
    check_mac(metadata, cipher, &hash)?;
    Ok(plain)
}

fn check_mac(metadata: &Metadata, cipher: &Cipher, computed: &[u8]) -> Result<(), DecryptError> {
    if metadata.mac.is_empty() {
        return Err(DecryptError::MacMissing);
    }
    let opened = cipher.open(metadata.mac.as_bytes(), metadata.last_modified.as_bytes());
    let Ok(Opened::Scalar(Scalar { kind: Kind::Str, text: stored })) = opened else {
        return Err(DecryptError::MacDamaged);
    };
    if bool::from(computed.ct_eq(stored.as_bytes())) { Ok(()) } else { Err(DecryptError::MacMismatch) }
}

struct Open<'a> {
    cipher: &'a Cipher,
    kept: Option<&'a mut Kept>,
}

impl Turn for Open<'_> {
    type Error = DecryptError;

    fn scalar(&mut self, scalar: &Scalar, place: &Place<'_>) -> Result<Scalar, DecryptError> {
        if scalar.kind != Kind::Str {
            return Err(DecryptError::NotCiphertext { path: place.shown() });
        }
        match self.cipher.open(scalar.text.as_bytes(), &place.path) {
            Ok(Opened::Scalar(plain)) => {
                if let Some(kept) = &mut self.kept {
                    kept.keep_scalar(&place.path, &plain, &scalar.text);
                }
                Ok(plain)
            }
            Ok(Opened::Comment(_)) | Err(CipherError::Damaged) => {
                Err(DecryptError::Value { path: place.shown() })
            }
            Err(CipherError::NotCiphertext) => Err(DecryptError::NotCiphertext { path: place.shown() }),
            Err(CipherError::Type) => Err(DecryptError::ValueType { path: place.shown() }),
        }
    }

    /// One that does not decrypt is kept as it stands, as sops does: old versions left comments in the clear, and people
    /// add some by hand.
    fn comment(&mut self, text: &Text, place: &Place<'_>) -> Result<Text, DecryptError> {
        let Ok(Opened::Comment(plain)) = self.cipher.open(text.as_bytes(), place.of_comment()) else {
            return Ok(text.duplicate());
        };
        if let Some(kept) = &mut self.kept {
            kept.keep_comment(place.of_comment(), &plain, text);
        }
        Ok(plain)
    }

    fn list_comment(&mut self, text: &Text, place: &Place<'_>) -> Result<Item, DecryptError> {
        self.comment(text, place).map(Item::Comment)
    }

    fn disguised(&mut self, scalar: &Scalar, place: &Place<'_>) -> Result<Option<Item>, DecryptError> {
        if !scalar.text.as_bytes().ends_with(b",type:comment]") {
            return Ok(None);
        }
        match self.cipher.open(scalar.text.as_bytes(), &place.path) {
            Ok(Opened::Comment(plain)) => {
                if let Some(kept) = &mut self.kept {
                    kept.keep_comment(&place.path, &plain, &scalar.text);
                }
                Ok(Some(Item::Comment(plain)))
            }
            _ => Err(DecryptError::Value { path: place.shown() }),
        }
    }

    fn check(&self, _: &Rule<'_>, _: &Text, _: &Place<'_>, _: &mut usize) -> Result<(), DecryptError> {
        Ok(())
    }

    fn plain<'t>(_: &'t Scalar, after: &'t Scalar) -> &'t Scalar {
        after
    }
}

impl From<RuleError> for DecryptError {
    fn from(error: RuleError) -> DecryptError {
        match error {
            RuleError::Pattern { field } => DecryptError::Selector { field },
            RuleError::Work => DecryptError::SelectorWork,
        }
    }
}
