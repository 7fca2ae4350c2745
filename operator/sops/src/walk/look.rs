//! Looking: which values a document has in the clear, by the walk that seals and opens. No key is needed, and nothing is
//! checked.

use std::collections::HashMap;

use super::{Place, Rule, Turn, walk};
use crate::document::Document;
use crate::error::Path;
use crate::text::Text;
use crate::tree::{Item, Scalar};
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

impl Document {
    /// Tells what of the document is in the clear, by its own selector.
    ///
    /// # Errors
    /// The selector is a pattern that cannot be run, or there is too much to run it over.
    pub fn exposure(&self) -> Result<Exposure, EncryptError> {
        let mut found = Exposure::default();
        let metadata = self.metadata();
        walk(self.branches(), metadata.selector(), metadata.mac_only_encrypted(), Look(&mut found))?;
        Ok(found)
    }
}

struct Look<'a>(&'a mut Exposure);

impl Turn for Look<'_> {
    type Error = EncryptError;

    fn scalar(&mut self, scalar: &Scalar, _: &Place<'_>) -> Result<Scalar, EncryptError> {
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

    fn in_the_clear(&mut self, text: &Text, place: &Place<'_>) {
        if !text.is_empty() {
            self.0.clear.push(place.keys.iter().map(|key| (*key).to_owned()).collect());
        }
    }

    fn plain<'t>(before: &'t Scalar, _: &'t Scalar) -> &'t Scalar {
        before
    }
}
