//! The management key (slot 9B): 3DES or AES, both authentication protocols of SP 800-73-4, and SET MANAGEMENT KEY.

use aes::{
    Aes128, Aes192, Aes256,
    cipher::{BlockDecrypt, BlockEncrypt, KeyInit, generic_array::GenericArray},
};
use des::TdesEde3;
use p256::elliptic_curve::rand_core::{OsRng, RngCore};

use super::{
    Answer, Card, Firmware,
    apdu::{Command, OK, SECURITY_STATUS, WRONG_DATA},
    tlv,
};

pub const SLOT: u8 = 0x9b;
const FACTORY: [u8; 24] = [1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8];

/// A management key and its algorithm (03 3DES, 08 AES-128, 0A AES-192, 0C AES-256).
#[derive(Clone)]
pub struct ManagementKey {
    pub algorithm: u8,
    pub bytes: Vec<u8>,
    pub touch: bool,
}

/// What the card waits for after its first answer.
pub enum Challenge {
    /// Mutual: the host must return these bytes decrypted.
    Witness(Vec<u8>),
    /// One way: the host must return these bytes encrypted.
    Plain(Vec<u8>),
}

impl ManagementKey {
    /// The key a new card of this firmware carries.
    pub fn factory(firmware: Firmware) -> Self {
        let algorithm = if firmware >= (5, 7, 0) { 0x0a } else { 0x03 };
        Self { algorithm, bytes: FACTORY.to_vec(), touch: false }
    }

    /// A key of a given algorithm; `None` when the length does not fit it.
    pub fn new(algorithm: u8, bytes: &[u8], touch: bool) -> Option<Self> {
        let length = match algorithm {
            0x08 => 16,
            0x03 | 0x0a => 24,
            0x0c => 32,
            _ => return None,
        };
        (bytes.len() == length).then(|| Self { algorithm, bytes: bytes.to_vec(), touch })
    }

    pub fn is_default(&self) -> bool {
        self.bytes == FACTORY
    }

    fn block(&self) -> usize {
        if self.algorithm == 0x03 { 8 } else { 16 }
    }

    fn encrypt(&self, block: &[u8]) -> Vec<u8> {
        self.cipher(block, true)
    }

    /// One block through the cipher; the lengths were checked when the key was made.
    fn cipher(&self, block: &[u8], encrypt: bool) -> Vec<u8> {
        fn run<C: BlockEncrypt + BlockDecrypt + KeyInit>(key: &[u8], block: &[u8], encrypt: bool) -> Vec<u8> {
            let Ok(cipher) = C::new_from_slice(key) else { return Vec::new() };
            let mut block = GenericArray::clone_from_slice(block);
            if encrypt {
                cipher.encrypt_block(&mut block)
            } else {
                cipher.decrypt_block(&mut block)
            }
            block.to_vec()
        }
        match self.algorithm {
            0x08 => run::<Aes128>(&self.bytes, block, encrypt),
            0x0a => run::<Aes192>(&self.bytes, block, encrypt),
            0x0c => run::<Aes256>(&self.bytes, block, encrypt),
            _ => run::<TdesEde3>(&self.bytes, block, encrypt),
        }
    }

    fn random_block(&self) -> Vec<u8> {
        let mut block = vec![0; self.block()];
        OsRng.fill_bytes(&mut block);
        block
    }
}

impl Card {
    pub(super) fn authenticate_management(&mut self, command: &Command) -> Answer {
        let algorithm = if command.p1 == 0 { 0x03 } else { command.p1 };
        let Some(template) =
            tlv::find(&command.data, 0x7c).filter(|_| algorithm == self.management.algorithm)
        else {
            return WRONG_DATA.into();
        };
        let (witness, challenge, response) =
            (tlv::find(template, 0x80), tlv::find(template, 0x81), tlv::find(template, 0x82));
        let key = self.management.clone();
        match (self.session.challenge.take(), witness, challenge, response) {
            (_, Some([]), None, None) => {
                let plain = key.random_block();
                let sent = key.encrypt(&plain);
                self.session.challenge = Some(Challenge::Witness(plain));
                Answer::data(tlv::element(0x7c, &tlv::element(0x80, &sent)))
            }
            (_, None, Some([]), None) => {
                let plain = key.random_block();
                self.session.challenge = Some(Challenge::Plain(plain.clone()));
                Answer::data(tlv::element(0x7c, &tlv::element(0x81, &plain)))
            }
            (Some(Challenge::Witness(plain)), Some(witness), Some(challenge), _)
                if challenge.len() == key.block() =>
            {
                self.conclude(witness == plain, || {
                    Answer::data(tlv::element(0x7c, &tlv::element(0x82, &key.encrypt(challenge))))
                })
            }
            (Some(Challenge::Plain(plain)), None, None, Some(response)) => {
                self.conclude(response == key.encrypt(&plain), || OK.into())
            }
            _ => WRONG_DATA.into(),
        }
    }

    fn conclude(&mut self, right: bool, answer: impl FnOnce() -> Answer) -> Answer {
        self.counters.management_attempts += 1;
        self.session.management_authenticated = right;
        if right { answer() } else { SECURITY_STATUS.into() }
    }

    pub(super) fn set_management_key(&mut self, command: &Command) -> Answer {
        if !self.session.management_authenticated {
            return SECURITY_STATUS.into();
        }
        let [algorithm, SLOT, length, key @ ..] = command.data.as_slice() else { return WRONG_DATA.into() };
        let known = *algorithm == 0x03 || self.at_least((5, 4, 2));
        match ManagementKey::new(*algorithm, key, command.p2 == 0xfe) {
            Some(new) if known && usize::from(*length) == key.len() => {
                self.management = new;
                OK.into()
            }
            _ => WRONG_DATA.into(),
        }
    }
}
