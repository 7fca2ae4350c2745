//! Looking: which values a document has in the clear, by the walk that seals and opens. No key is needed, and nothing is
//! checked.

use std::collections::HashMap;

use super::{Place, Rule, Turn, walk};
use crate::cipher;
use crate::data_key;
use crate::document::Document;
use crate::error::Path;
use crate::text::Text;
use crate::tree::{Item, Kind, Scalar};
use crate::write_error::EncryptError;

/// What of a document anybody can read. Empty strings and nulls are never encrypted and do not count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exposure {
    /// The keys above each that is not: of a list those of the list, of a comment those of the map or list it is in.
    clear: Vec<Vec<String>>,
}

impl Exposure {
    /// What is in the clear now and was not `before`: other places, and more values in a place than there were.
    pub fn beyond(&self, before: &Exposure) -> Vec<Path> {
        let mut there: HashMap<&[String], usize> = HashMap::new();
        for place in &before.clear {
            *there.entry(place).or_default() += 1;
        }
        let mut is_new = |place: &&Vec<String>| match there.get_mut(place.as_slice()) {
            Some(left) if *left > 0 => {
                *left -= 1;
                false
            }
            _ => true,
        };
        let mut new: Vec<&Vec<String>> = self.clear.iter().filter(|place| is_new(place)).collect();
        new.dedup();
        new.iter().map(|keys| Path::new(keys.iter().map(String::as_str), 0)).collect()
    }
}

/// What can be said of a document's form. Whether its values are those that were encrypted only a key tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inspection {
    /// Values that the document's selector leaves in the clear, each place once.
    pub clear: Vec<Path>,
    /// Values that should be ciphertext by it and are not: the document does not open.
    pub open: Vec<Path>,
    /// The MAC is there, and is ciphertext.
    pub mac: bool,
    /// Recipients, as listed, for whom the wrapped data key is no age file.
    pub damaged_keys: Vec<String>,
}

impl Document {
    /// Looks at the form of everything that can be seen without a key.
    ///
    /// # Errors
    /// As [`Document::exposure`].
    pub fn inspect(&self) -> Result<Inspection, EncryptError> {
        let mut look = Look::default();
        self.look(&mut look)?;
        let Look { mut clear, mut open, .. } = look;
        clear.dedup();
        open.dedup();
        let keys = self.metadata().groups().iter().flat_map(|group| group.age());
        let damaged = keys.filter(|key| !data_key::is_age_file(&key.wrapped));
        Ok(Inspection {
            clear,
            open,
            mac: cipher::is_ciphertext(self.metadata().mac.as_bytes()),
            damaged_keys: damaged.map(|key| key.recipient().to_owned()).collect(),
        })
    }

    /// Tells what of the document is in the clear, by its own selector.
    ///
    /// # Errors
    /// The selector is a pattern that cannot be run, or there is too much to run it over.
    pub fn exposure(&self) -> Result<Exposure, EncryptError> {
        let mut look = Look::default();
        self.look(&mut look)?;
        Ok(look.exposure)
    }

    fn look(&self, look: &mut Look) -> Result<(), EncryptError> {
        let metadata = self.metadata();
        walk(self.branches(), metadata.selector(), metadata.mac_only_encrypted(), look).map(drop)
    }
}

/// What was seen on the way.
#[derive(Default)]
struct Look {
    exposure: Exposure,
    clear: Vec<Path>,
    open: Vec<Path>,
}

impl Look {
    fn expose(&mut self, place: &Place<'_>) {
        self.exposure.clear.push(place.keys.iter().map(|key| (*key).to_owned()).collect());
    }
}

impl Turn for &mut Look {
    type Error = EncryptError;

    fn scalar(&mut self, scalar: &Scalar, place: &Place<'_>) -> Result<Scalar, EncryptError> {
        if scalar.kind != Kind::Str || !cipher::is_ciphertext(scalar.text.as_bytes()) {
            self.open.push(place.shown());
        }
        Ok(Scalar { kind: scalar.kind, text: scalar.text.duplicate() })
    }

    fn comment(&mut self, text: &Text, _: &Place<'_>) -> Result<Text, EncryptError> {
        Ok(text.duplicate())
    }

    fn list_comment(&mut self, text: &Text, _: &Place<'_>) -> Result<Item, EncryptError> {
        Ok(Item::Comment(text.duplicate()))
    }

    fn disguised(&mut self, _: &Scalar, _: &Place<'_>) -> Result<Option<Item>, EncryptError> {
        Ok(None)
    }

    fn check(&self, _: &Rule<'_>, _: &Text, _: &Place<'_>, _: &mut usize) -> Result<(), EncryptError> {
        Ok(())
    }

    fn clear_comment(&mut self, text: &Text, place: &Place<'_>) {
        if !text.is_empty() {
            self.expose(place);
        }
    }

    fn clear_value(&mut self, text: &Text, place: &Place<'_>) {
        if !text.is_empty() {
            self.expose(place);
            self.clear.push(place.shown());
        }
    }

    fn plain<'t>(before: &'t Scalar, _: &'t Scalar) -> &'t Scalar {
        before
    }
}
