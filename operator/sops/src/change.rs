//! Changing a document: its plaintext, its data key, or who can open it.

use rand_core::CryptoRngCore;

use crate::cipher::Cipher;
use crate::data_key::{self, DataKey, Unwrapped};
use crate::document::Document;
use crate::metadata::{KeyGroup, Keys, OtherKey, Wrapped};
use crate::opener::Opener;
use crate::recipient::{Recipient, Recipients};
use crate::store;
use crate::tree::{Map, same};
use crate::walk::Kept;
use crate::wrap::{wrap, wrap_for};
use crate::write::{Writing, load};
use crate::write_error::{ChangeError, EncryptError};

/// What a change came to.
#[derive(Debug)]
pub enum Edited {
    /// Nothing: the file is right as it is, to the byte.
    Unchanged,
    Changed(Box<Document>),
}

impl Document {
    /// Puts another plaintext into the document, under the same data key. A value that stays what it is where it is
    /// keeps its ciphertext, comments included; in lists the first of equal values keeps the first ciphertext, and so on.
    /// If all stays, nothing is changed.
    ///
    /// # Errors
    /// The document does not open, or `plaintext` cannot be encrypted.
    pub fn edit(
        &self,
        opener: &Opener,
        plaintext: &[u8],
        now: &str,
        random: &mut dyn CryptoRngCore,
    ) -> Result<Edited, ChangeError> {
        let unwrapped = self.unwrap(opener)?;
        let cipher = Cipher::new(&unwrapped.key);
        let mut kept = Kept::default();
        let before = self.open_tree(&cipher, Some(&mut kept))?;
        let plain = load(plaintext, self.format())?;
        if self.is_unchanged(&before, plaintext, &plain) {
            return Ok(Edited::Unchanged);
        }
        let mut block = self.block();
        block.raise_version();
        let layout = self.layout().clone();
        let writing = Writing { format: self.format(), plain: &plain, layout, cipher: &cipher, kept };
        Ok(Edited::Changed(Box::new(writing.finish(block, now, random)?)))
    }

    /// Encrypts everything anew under a new data key, to `recipients` or, without, to the document's own. Entries of other
    /// kinds (PGP, KMS) go, unless they are to stay by `keep_others`: then the document is refused.
    ///
    /// # Errors
    /// The document does not open, or with `keep_others` has recipients of other kinds than age's, or, without
    /// `recipients`, an age recipient that is not X25519.
    pub fn rotate(
        &self,
        opener: &Opener,
        recipients: Option<&Recipients>,
        keep_others: bool,
        now: &str,
        random: &mut dyn CryptoRngCore,
    ) -> Result<Document, ChangeError> {
        let unwrapped = self.unwrap(opener)?;
        let mut block = self.block();
        let others = block.take_others();
        if keep_others {
            refuse_others(&others)?;
        }
        let own;
        let recipients = match recipients {
            Some(recipients) => recipients,
            None => {
                own = self.own_recipients()?;
                &own
            }
        };
        let plain = self.open_tree(&Cipher::new(&unwrapped.key), None)?;
        let key = DataKey::generate(random).ok_or(EncryptError::Randomness)?;
        block.set_keys(wrap(&key, recipients, random)?, recipients.threshold());
        block.raise_version();
        let (cipher, layout) = (Cipher::new(&key), self.layout().clone());
        let writing =
            Writing { format: self.format(), plain: &plain, layout, cipher: &cipher, kept: Kept::default() };
        Ok(writing.finish(block, now, random)?)
    }

    /// Makes `recipients` those who can open the document. Data key, values and MAC stay: who could open the document
    /// before can open what they kept of it. Recipients that stay keep their entries as long as the key groups do.
    /// Entries of other kinds (PGP, KMS) stay in their key group with `keep_others`, else they go.
    ///
    /// # Errors
    /// The document does not open, or entries of other kinds cannot stay: what is wrapped for them is a share of
    /// groups that change.
    pub fn update_keys(
        &self,
        opener: &Opener,
        recipients: &Recipients,
        keep_others: bool,
        random: &mut dyn CryptoRngCore,
    ) -> Result<Edited, ChangeError> {
        let Unwrapped { key, shares, .. } = self.unwrap(opener)?;
        // A document that does not open is not given to others either.
        self.check(&Cipher::new(&key))?;
        let (old, new) = (self.metadata().groups(), recipients.groups());
        let mut block = self.block();
        let mut others = block.take_others();
        if !keep_others {
            others = others.iter().map(|_| Keys::default()).collect();
        }
        let same_groups = old.len() == new.len()
            && recipients.threshold().is_none_or(|needed| needed == self.metadata().threshold());
        let drops = !keep_others && old.iter().any(|group| !group.others().is_empty());
        if same_groups && !drops && old.iter().zip(new).all(|(old, new)| same_recipients(old, new)) {
            return Ok(Edited::Unchanged);
        }
        let share_of = |place: usize| match recipients.threshold() {
            None => Some(key.expose().as_slice()),
            Some(_) => shares.iter().find(|(of, _)| *of == place).map(|(_, share)| share.as_slice()),
        };
        let known = |(place, (old, new)): (usize, (&KeyGroup, &Vec<Recipient>))| {
            same_recipients(old, new) || share_of(place).is_some()
        };
        let groups = if same_groups && old.iter().zip(new).enumerate().all(known) {
            let groups = others.into_iter().zip(old).zip(new).enumerate();
            groups
                .map(|(place, ((others, old), new))| {
                    let keys =
                        new.iter().map(|recipient| keep_or_wrap(old, recipient, share_of(place), random));
                    Ok(others.with_age(keys.collect::<Result<_, _>>()?))
                })
                .collect::<Result<_, EncryptError>>()?
        } else {
            refuse_others(&others)?;
            wrap(&key, recipients, random)?
        };
        block.set_keys(groups, recipients.threshold());
        let branches = self.branches().iter().map(|branch| branch.iter().map(|e| e.duplicate()).collect());
        let layout = self.layout().clone();
        let document = Document::from_parts(self.format(), branches.collect(), block, layout);
        Ok(Edited::Changed(Box::new(document.map_err(EncryptError::from)?)))
    }

    fn unwrap(&self, opener: &Opener) -> Result<Unwrapped, ChangeError> {
        Ok(data_key::unwrap(self.metadata(), &opener.identities(), Some(opener))?)
    }

    /// Whether the new plaintext says what the old one says: a formatter's changes alone change no document.
    fn is_unchanged(&self, before: &[Map], plaintext: &[u8], plain: &[Map]) -> bool {
        let equal =
            |tree: &[Map]| tree.len() == plain.len() && tree.iter().zip(plain).all(|(a, b)| same(a, b));
        let Some(printed) = store::emit(before, self.format()).map(zeroize::Zeroizing::new) else {
            return false;
        };
        **printed == *plaintext
            || equal(before)
            // What is printed may read a little differently: a comment that moves, a number's form.
            || load(&printed, self.format()).is_ok_and(|tree| equal(&tree))
    }

    fn own_recipients(&self) -> Result<Recipients, ChangeError> {
        let parse = |text: &str| {
            let other = |_| ChangeError::OtherRecipient { recipient: crate::error::shown(text) };
            text.parse::<Recipient>().map_err(other)
        };
        let groups = self.metadata().groups().iter();
        let groups = groups
            .map(|group| group.age().iter().map(|key| parse(key.recipient())).collect())
            .collect::<Result<_, ChangeError>>()?;
        let threshold = Some(self.metadata().threshold());
        let wrong = |error: crate::recipient::RecipientError| ChangeError::OtherRecipient {
            recipient: error.to_string(),
        };
        Recipients::in_groups(groups, threshold).map_err(wrong)
    }
}

fn refuse_others(groups: &[Keys]) -> Result<(), ChangeError> {
    let mut kinds: Vec<OtherKey> = Vec::new();
    for kind in groups.iter().flat_map(OtherKey::of) {
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    if kinds.is_empty() { Ok(()) } else { Err(ChangeError::OtherKinds { kinds }) }
}

/// Whether a group has exactly these age recipients, in any order.
fn same_recipients(old: &KeyGroup, new: &[Recipient]) -> bool {
    old.age().len() == new.len()
        && new.iter().all(|new| old.age().iter().any(|old| old.recipient() == new.text()))
}

fn keep_or_wrap(
    old: &KeyGroup,
    recipient: &Recipient,
    share: Option<&[u8]>,
    random: &mut dyn CryptoRngCore,
) -> Result<Wrapped, EncryptError> {
    let failed = || EncryptError::Recipient { recipient: crate::error::shown(recipient.text()) };
    match old.age().iter().find(|old| old.recipient() == recipient.text()) {
        Some(old) => Ok(Wrapped { recipient: old.recipient.clone(), wrapped: old.wrapped.clone() }),
        None => wrap_for(recipient, share.ok_or_else(failed)?, random),
    }
}
