//! The data key: 32 random bytes per document, wrapped as an age file for every recipient. Recipients nobody here has
//! a key for are passed over; of a PGP message counts what somebody outside found in it. With several key groups the key
//! is put together from their shares.

use std::cell::Cell;
use std::fmt;
use std::io::{BufReader, Read};

use age::armor::ArmoredReader;
use rand_core::CryptoRngCore;
use touchseal_shamir as shamir;
use zeroize::{Zeroize, Zeroizing};

use crate::age_file;
use crate::error::DecryptError;
use crate::limits::MAX_ATTEMPTS;
use crate::metadata::{KeyGroup, Metadata};
use crate::opener::Opener;

/// The key all values of one document are encrypted with.
pub(crate) struct DataKey(Box<[u8; 32]>);

impl DataKey {
    pub(crate) fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// A new key. `None` without randomness.
    pub(crate) fn generate(random: &mut dyn CryptoRngCore) -> Option<DataKey> {
        let mut key = DataKey(Box::new([0; 32]));
        random.try_fill_bytes(&mut *key.0).ok().map(|()| key)
    }

    fn copy_from(bytes: &[u8]) -> Option<DataKey> {
        let mut key = DataKey(Box::new([0; 32]));
        if bytes.len() != key.0.len() {
            return None;
        }
        key.0.copy_from_slice(bytes);
        Some(key)
    }
}

impl Drop for DataKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey([redacted])")
    }
}

/// A data key and who it was opened as.
#[derive(Debug)]
pub(crate) struct Unwrapped {
    pub(crate) key: DataKey,
    /// The opener's own recipients whose identities opened the key or its shares; empty without an opener. Not what the
    /// document claims: a name in it is not authenticated, an opened age file is.
    pub(crate) opened_by: Vec<String>,
    /// With several key groups: the shares that were opened, and the place of the group of each.
    pub(crate) shares: Vec<(usize, Zeroizing<Vec<u8>>)>,
}

/// Unwraps the data key with whichever identity fits. At most [`MAX_ATTEMPTS`] wrapped keys are tried: a document
/// listing hundreds must not cost hundreds of scalar multiplications for each identity.
pub(crate) fn unwrap(
    metadata: &Metadata,
    identities: &[&dyn age::Identity],
    opener: Option<&Opener>,
) -> Result<Unwrapped, DecryptError> {
    let mut attempts = Attempts { identities, opener, left: MAX_ATTEMPTS, damaged: None };
    if let [group] = metadata.groups() {
        return match attempts.group(group) {
            Some(Opened { bytes, recipient, by }) => DataKey::copy_from(&bytes)
                .map(|key| Unwrapped { key, opened_by: by.into_iter().collect(), shares: Vec::new() })
                .ok_or_else(|| damaged(recipient)),
            None => Err(attempts
                .failure()
                .unwrap_or(DecryptError::NoMatchingKey { recipients: recipients(group) })),
        };
    }
    let needed = metadata.threshold();
    let opened: Vec<_> = metadata
        .groups()
        .iter()
        .enumerate()
        .filter_map(|(place, group)| attempts.group(group).map(|opened| (place, opened)))
        .take(needed)
        .collect();
    if opened.len() < needed {
        let places = 0..metadata.groups().len();
        let closed = places.filter(|place| opened.iter().all(|(of, _)| of != place)).map(|place| place + 1);
        let closed = closed.collect();
        let opened = opened.len();
        return Err(attempts.failure().unwrap_or(DecryptError::NotEnoughShares { needed, opened, closed }));
    }
    let opened_by = opened.iter().filter_map(|(_, opened)| opened.by.clone()).collect();
    let (places, shares): (Vec<_>, Vec<_>) =
        opened.into_iter().map(|(place, opened)| (place, opened.bytes)).unzip();
    let bytes = shamir::combine(&shares).ok_or(DecryptError::Shares)?;
    let key = DataKey::copy_from(&bytes).ok_or(DecryptError::Shares)?;
    Ok(Unwrapped { key, opened_by, shares: places.into_iter().zip(shares).collect() })
}

fn recipients(group: &KeyGroup) -> usize {
    group.age().len() + group.others().len()
}

fn damaged(recipient: &str) -> DecryptError {
    DecryptError::DataKey { recipient: crate::error::shown(recipient) }
}

struct Attempts<'a> {
    identities: &'a [&'a dyn age::Identity],
    opener: Option<&'a Opener>,
    left: usize,
    damaged: Option<DecryptError>,
}

/// What one group gave.
struct Opened<'m> {
    bytes: Zeroizing<Vec<u8>>,
    recipient: &'m str,
    by: Option<String>,
}

enum Outcome {
    /// The payload, and the place of the identity that opened it.
    Opened(Zeroizing<Vec<u8>>, Option<usize>),
    NotOurs,
    Damaged,
}

impl Attempts<'_> {
    /// The group's data key or share: the short way from the recipients known to be ours, in the opener's order, else
    /// from any.
    fn group<'m>(&mut self, group: &'m KeyGroup) -> Option<Opened<'m>> {
        let recipients = self.opener.into_iter().flat_map(Opener::recipients);
        for recipient in recipients {
            for key in group.age().iter().filter(|key| key.recipient == recipient) {
                self.left = self.left.checked_sub(1)?;
                if let Some(bytes) = self.opener?.open_quickly(recipient, &key.wrapped) {
                    let by = Some(recipient.to_owned());
                    return Some(Opened { bytes, recipient: &key.recipient, by });
                }
            }
        }
        for key in group.age() {
            self.left = self.left.checked_sub(1)?;
            match open(&key.wrapped, self.identities) {
                Outcome::Opened(bytes, place) => {
                    let by =
                        self.opener.zip(place).and_then(|(opener, place)| opener.recipients().nth(place));
                    let by = by.map(str::to_owned);
                    return Some(Opened { bytes, recipient: &key.recipient, by });
                }
                Outcome::NotOurs => {}
                Outcome::Damaged => {
                    self.damaged.get_or_insert_with(|| damaged(&key.recipient));
                }
            }
        }
        group.pgp().iter().find_map(|key| {
            let bytes = self.opener?.payload(key.message())?.clone();
            Some(Opened { bytes, recipient: key.fingerprint(), by: None })
        })
    }

    fn failure(self) -> Option<DecryptError> {
        self.damaged
    }
}

/// Whether a wrapped key has the form of an age file, whoever it is for.
pub(crate) fn is_age_file(wrapped: &str) -> bool {
    age::Decryptor::new_buffered(armored(wrapped)).is_ok()
}

fn armored(wrapped: &str) -> ArmoredReader<BufReader<&[u8]>> {
    ArmoredReader::new(age_file::trimmed(wrapped).as_bytes())
}

/// Longer than a key or a share, so that a longer payload is seen to be neither.
const MAX_PAYLOAD: u64 = 64;

fn open(wrapped: &str, identities: &[&dyn age::Identity]) -> Outcome {
    let fitted = Cell::new(None);
    let noted: Vec<Noted<'_>> = identities
        .iter()
        .enumerate()
        .map(|(place, &identity)| Noted { identity, place, fitted: &fitted })
        .collect();
    let opened = age::Decryptor::new_buffered(armored(wrapped))
        .and_then(|file| file.decrypt(noted.iter().map(|noted| noted as &dyn age::Identity)));
    let mut payload = match opened {
        Ok(reader) => reader.take(MAX_PAYLOAD),
        Err(age::DecryptError::NoMatchingKeys) => return Outcome::NotOurs,
        Err(_) => return Outcome::Damaged,
    };
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_PAYLOAD as usize));
    match payload.read_to_end(&mut bytes) {
        Ok(_) => Outcome::Opened(bytes, fitted.get()),
        Err(_) => Outcome::Damaged,
    }
}

/// An identity that leaves its place where it fits.
struct Noted<'a> {
    identity: &'a dyn age::Identity,
    place: usize,
    fitted: &'a Cell<Option<usize>>,
}

impl Noted<'_> {
    fn note(&self, unwrapped: Option<FileKey>) -> Option<FileKey> {
        if matches!(unwrapped, Some(Ok(_))) {
            self.fitted.set(Some(self.place));
        }
        unwrapped
    }
}

type FileKey = Result<age_core::format::FileKey, age::DecryptError>;

impl age::Identity for Noted<'_> {
    fn unwrap_stanza(&self, stanza: &age_core::format::Stanza) -> Option<FileKey> {
        self.note(self.identity.unwrap_stanza(stanza))
    }

    fn unwrap_stanzas(&self, stanzas: &[age_core::format::Stanza]) -> Option<FileKey> {
        self.note(self.identity.unwrap_stanzas(stanzas))
    }
}
