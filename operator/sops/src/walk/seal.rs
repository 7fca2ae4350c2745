//! Sealing: every value under a nonce of its own, but for what is unchanged since it was last sealed, which keeps its
//! ciphertext.

use std::collections::{BTreeMap, VecDeque};

use rand_core::CryptoRngCore;

use super::{Place, Rule, RuleError, Turn, walk};
use crate::cipher::{self, COMMENT, Cipher};
use crate::metadata::Selector;
use crate::text::Text;
use crate::tree::{Item, Kind, Map, Scalar, Value};
use crate::write_error::EncryptError;

/// An encrypted tree and its MAC.
pub(crate) struct Sealed {
    pub(crate) branches: Vec<Map>,
    pub(crate) mac: Text,
}

/// Encrypts all branches, and their MAC as of `now`.
pub(crate) fn encrypt(
    branches: &[Map],
    selector: &Selector,
    mac_only_encrypted: bool,
    cipher: &Cipher,
    kept: Kept,
    now: &str,
    random: &mut dyn CryptoRngCore,
) -> Result<Sealed, EncryptError> {
    let seal = Seal { cipher, kept, random: &mut *random };
    let (branches, hash) = walk(branches, selector, mac_only_encrypted, seal)?;
    let mac = cipher.seal(&hash, cipher::word(Kind::Str), now.as_bytes(), random);
    Ok(Sealed { branches, mac: mac.ok_or(EncryptError::Randomness)? })
}

struct Seal<'a> {
    cipher: &'a Cipher,
    kept: Kept,
    random: &'a mut dyn CryptoRngCore,
}

impl Seal<'_> {
    fn seal(&mut self, text: &Text, word: &'static str, place: &[u8]) -> Result<Text, EncryptError> {
        if let Some(sealed) = self.kept.take(place, word, text) {
            return Ok(sealed);
        }
        self.cipher.seal(text.as_bytes(), word, place, self.random).ok_or(EncryptError::Randomness)
    }
}

impl Turn for Seal<'_> {
    type Error = EncryptError;

    fn scalar(&mut self, scalar: &Scalar, place: &Place<'_>) -> Result<Scalar, EncryptError> {
        let text = self.seal(&scalar.text, cipher::word(scalar.kind), &place.path)?;
        Ok(Scalar { kind: Kind::Str, text })
    }

    fn comment(&mut self, text: &Text, place: &Place<'_>) -> Result<Text, EncryptError> {
        if text.is_empty() {
            return Ok(Text::default());
        }
        self.seal(text, COMMENT, place.of_comment())
    }

    /// sops turns an empty comment of a list into an empty string, a value more than there was. Here it becomes a blank.
    fn list_comment(&mut self, text: &Text, place: &Place<'_>) -> Result<Item, EncryptError> {
        let blank = Text::from(" ");
        let text = if text.is_empty() { &blank } else { text };
        Ok(Item::Value(Value::str(self.seal(text, COMMENT, &place.path)?)))
    }

    fn disguised(&mut self, _: &Scalar, _: &Place<'_>) -> Result<Option<Item>, EncryptError> {
        Ok(None)
    }

    /// A sealed comment that matches what makes comments clear would be taken for a clear one.
    fn check(
        &self,
        rule: &Rule<'_>,
        turned: &Text,
        place: &Place<'_>,
        spent: &mut usize,
    ) -> Result<(), EncryptError> {
        if matches!(rule, Rule::UnencryptedComment(_)) && rule.matches_comment(turned, spent)? {
            return Err(EncryptError::CommentMatches { path: place.shown() });
        }
        Ok(())
    }

    fn plain<'t>(before: &'t Scalar, _: &'t Scalar) -> &'t Scalar {
        before
    }
}

impl From<RuleError> for EncryptError {
    fn from(error: RuleError) -> EncryptError {
        match error {
            RuleError::Pattern { field } => EncryptError::Selector { field },
            RuleError::Work => EncryptError::SelectorWork,
        }
    }
}

/// Which ciphertext stood for what, and where. What occurs several times in one place, in a list, is given out in order.
#[derive(Default)]
pub(crate) struct Kept(BTreeMap<Known, VecDeque<Text>>);

/// Place, type and plaintext: what a ciphertext stands for.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Known {
    place: Vec<u8>,
    word: &'static str,
    text: Text,
}

impl Kept {
    pub(super) fn keep_scalar(&mut self, place: &[u8], plain: &Scalar, sealed: &Text) {
        self.keep(place, cipher::word(plain.kind), &plain.text, sealed);
    }

    pub(super) fn keep_comment(&mut self, place: &[u8], plain: &Text, sealed: &Text) {
        self.keep(place, COMMENT, plain, sealed);
    }

    fn keep(&mut self, place: &[u8], word: &'static str, plain: &Text, sealed: &Text) {
        let known = Known { place: place.to_vec(), word, text: plain.duplicate() };
        self.0.entry(known).or_default().push_back(sealed.duplicate());
    }

    fn take(&mut self, place: &[u8], word: &'static str, text: &Text) -> Option<Text> {
        if self.0.is_empty() {
            return None;
        }
        self.0.get_mut(&Known { place: place.to_vec(), word, text: text.duplicate() })?.pop_front()
    }
}
