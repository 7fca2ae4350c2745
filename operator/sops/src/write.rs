//! From plaintext to a document.

use rand_core::CryptoRngCore;

use crate::cipher::Cipher;
use crate::data_key::DataKey;
use crate::document::Document;
use crate::format::Format;
use crate::limits::MAX_BYTES;
use crate::metadata::{Block, New};
use crate::recipient::Recipients;
use crate::rules::Rules;
use crate::store::{self, Layout};
use crate::tree::{Map, same_texts};
use crate::walk::{self, Kept};
use crate::wrap::wrap;
use crate::write_error::EncryptError;

impl Document {
    /// Encrypts a plaintext file under a new data key. `now` becomes the time of last modification, in the form
    /// `2026-01-31T08:00:00Z`. A binary file is always encrypted as a whole: `rules` are for the other formats.
    ///
    /// # Errors
    /// The file is not of its format or holds sops metadata already, or what comes out would not open again.
    pub fn encrypt(
        plaintext: &[u8],
        format: Format,
        recipients: &Recipients,
        rules: &Rules,
        now: &str,
        random: &mut dyn CryptoRngCore,
    ) -> Result<Document, EncryptError> {
        let plain = load(plaintext, format)?;
        let key = DataKey::generate(random).ok_or(EncryptError::Randomness)?;
        let selective = format != Format::Binary;
        let block = Block::new(New {
            groups: wrap(&key, recipients, random)?,
            threshold: recipients.threshold(),
            selector: selective.then_some(&rules.selector),
            mac_only_encrypted: selective && rules.mac_only_encrypted,
        });
        let cipher = Cipher::new(&key);
        Writing { format, plain: &plain, layout: Layout::default(), cipher: &cipher, kept: Kept::default() }
            .finish(block, now, random)
    }
}

/// Parses plaintext that is to be encrypted.
pub(crate) fn load(plaintext: &[u8], format: Format) -> Result<Vec<Map>, EncryptError> {
    store::load_plain(plaintext, format)?.ok_or(EncryptError::AlreadyEncrypted)
}

/// A tree on its way to a document.
pub(crate) struct Writing<'a> {
    pub(crate) format: Format,
    pub(crate) plain: &'a [Map],
    pub(crate) layout: Layout,
    pub(crate) cipher: &'a Cipher,
    pub(crate) kept: Kept,
}

impl Writing<'_> {
    /// Seals the tree, and makes sure that what was made opens again: not every tree can be written in every format, and
    /// some rules make sops write what it cannot read.
    pub(crate) fn finish(
        self,
        mut block: Block,
        now: &str,
        random: &mut dyn CryptoRngCore,
    ) -> Result<Document, EncryptError> {
        if !crate::time::is_whole_second_of_utc(now) {
            return Err(EncryptError::Time);
        }
        let (selector, mac_only_encrypted) = block.rules();
        let sealed =
            walk::encrypt(self.plain, &selector, mac_only_encrypted, self.cipher, self.kept, now, random)?;
        block.set_mac(sealed.mac, now);
        let document = Document::from_parts(self.format, sealed.branches, block, self.layout)?;
        let bytes = document.emit();
        if bytes.len() > MAX_BYTES {
            return Err(EncryptError::TooLarge { size: bytes.len() });
        }
        let not_read_back = |problem: String| EncryptError::NotReadBack { problem };
        let again = Document::parse(&bytes, self.format).map_err(|error| not_read_back(error.to_string()))?;
        again.check(self.cipher).map_err(|error| not_read_back(error.to_string()))?;
        // The MAC tells neither the names of keys in the clear nor the values it leaves out.
        let (written, read) = (document.branches(), again.branches());
        if written.len() != read.len() || !written.iter().zip(read).all(|(a, b)| same_texts(a, b)) {
            return Err(not_read_back("a key or a value in the clear would be read as another".to_owned()));
        }
        Ok(document)
    }
}
