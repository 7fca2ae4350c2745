//! The OpenPGP applet (OpenPGP card specification 3.4), as far as GnuPG's scdaemon needs it to put a P-256 decryption key onto
//! the card and use it: data objects, the two PINs, import of a key, PSO:DECIPHER. No signature, no authentication, no RSA.

use std::collections::BTreeMap;

use p256::{PublicKey, SecretKey, elliptic_curve::sec1::ToEncodedPoint};

use super::{
    Answer, Card,
    apdu::{
        BLOCKED, CONDITIONS, Command, INS_UNKNOWN, OK, REFERENCE_NOT_FOUND, SECURITY_STATUS, Sw, WRONG_DATA,
        tries_left,
    },
    tlv,
};

pub const AID: &[u8] = &[0xd2, 0x76, 0x00, 0x01, 0x24, 0x01];

const TRIES: u8 = 3;
/// Import of keys, changeable algorithms; what these are needs no secure messaging, challenges or certificates.
const EXTENDED_CAPABILITIES: [u8; 10] = [0x24, 0, 0, 0, 0, 0, 0, 0xff, 0, 0];
/// Command chaining, as a YubiKey says it.
const HISTORICAL: [u8; 8] = [0x00, 0x73, 0x00, 0x00, 0x80, 0x05, 0x90, 0x00];
/// ECDSA, ECDH, ECDSA on P-256: what the three keys are made for unless told otherwise.
const ALGORITHMS: [(u16, u8); 3] = [(0xc1, 0x13), (0xc2, 0x12), (0xc3, 0x13)];
const P256: [u8; 8] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const FINGERPRINTS: [u16; 3] = [0xc7, 0xc8, 0xc9];
const TIMES: [u16; 3] = [0xce, 0xcf, 0xd0];
const DECRYPTION_KEY: u8 = 0xb8;

/// A PIN of text, and the tries that are left.
struct Pin {
    text: &'static [u8],
    left: u8,
}

impl Pin {
    fn attempt(&mut self, text: &[u8]) -> Sw {
        match (self.left, text == self.text) {
            (0, _) => BLOCKED,
            (_, true) => {
                self.left = TRIES;
                OK
            }
            (_, false) => {
                self.left -= 1;
                if self.left == 0 { BLOCKED } else { tries_left(self.left) }
            }
        }
    }
}

/// What the applet remembers.
pub struct OpenPgp {
    user: Pin,
    admin: Pin,
    decryption: Option<SecretKey>,
    objects: BTreeMap<u16, Vec<u8>>,
}

/// What of it is gone when the power goes, or another applet is selected.
#[derive(Default)]
pub struct Verified {
    user: bool,
    admin: bool,
}

impl OpenPgp {
    /// As from the factory: PIN 123456, admin PIN 12345678.
    pub fn factory() -> Self {
        let pin = |text| Pin { text, left: TRIES };
        let (user, admin) = (pin(b"123456"), pin(b"12345678"));
        Self { user, admin, decryption: None, objects: BTreeMap::new() }
    }

    fn object(&self, tag: u16, usual: &[u8]) -> Vec<u8> {
        self.objects.get(&tag).cloned().unwrap_or_else(|| usual.to_vec())
    }

    fn joined(&self, tags: [u16; 3], length: usize) -> Vec<u8> {
        tags.into_iter().flat_map(|tag| self.object(tag, &vec![0; length])).collect()
    }

    fn pin_status(&self) -> [u8; 7] {
        [0, 0x7f, 0x7f, 0x7f, self.user.left, 0, self.admin.left]
    }

    fn discretionary(&self) -> Vec<u8> {
        let mut out = tlv::element(0xc0, &EXTENDED_CAPABILITIES);
        for (tag, kind) in ALGORITHMS {
            tlv::put(&mut out, tag, &self.object(tag, &[&[kind][..], &P256].concat()));
        }
        tlv::put(&mut out, 0xc4, &self.pin_status());
        tlv::put(&mut out, 0xc5, &self.joined(FINGERPRINTS, 20));
        tlv::put(&mut out, 0xc6, &[0; 60]);
        tlv::put(&mut out, 0xcd, &self.joined(TIMES, 4));
        out
    }
}

impl Card {
    pub(super) fn openpgp(&mut self, command: &Command) -> Answer {
        let p = u16::from_be_bytes([command.p1, command.p2]);
        match (command.ins, p) {
            (0xca, tag) => self.openpgp_object(tag),
            (0x20, 0x0081..=0x0083) => self.openpgp_verify(command),
            (0xda, _) | (0xdb, 0x3fff) if !self.session.openpgp.admin => SECURITY_STATUS.into(),
            (0xda, tag) => {
                self.openpgp.objects.insert(tag, command.data.clone());
                OK.into()
            }
            (0xdb, 0x3fff) => self.openpgp_import(&command.data),
            (0x47, 0x8100) => self.openpgp_public_key(&command.data),
            (0x2a, 0x8086) => self.decipher(&command.data),
            _ => INS_UNKNOWN.into(),
        }
    }

    fn openpgp_object(&self, tag: u16) -> Answer {
        let openpgp = &self.openpgp;
        let element = |tag, value: &[u8]| tlv::element(tag, value);
        Answer::data(match tag {
            0x004f => self.openpgp_aid(),
            0x5f52 => HISTORICAL.to_vec(),
            0x00c4 => openpgp.pin_status().to_vec(),
            0x006e => {
                let parts = [
                    element(0x4f, &self.openpgp_aid()),
                    element(0x5f52, &HISTORICAL),
                    element(0x73, &openpgp.discretionary()),
                ];
                element(0x6e, &parts.concat())
            }
            0x0065 => {
                let parts = [(0x5b, "Test<<Equipment"), (0x5f2d, "en"), (0x5f35, "9")];
                element(0x65, &parts.map(|(tag, text)| element(tag, text.as_bytes())).concat())
            }
            // Login and URL: scdaemon asks for nothing more where they are missing.
            0x005e | 0x5f50 => openpgp.object(tag, &[]),
            0x007a => element(0x7a, &element(0x93, &[0; 3])),
            tag => match openpgp.objects.get(&tag) {
                Some(object) => object.clone(),
                None => return REFERENCE_NOT_FOUND.into(),
            },
        })
    }

    /// Version 3.4, Yubico, the serial number in decimal digits.
    fn openpgp_aid(&self) -> Vec<u8> {
        let digits = format!("{:08}", self.serial % 100_000_000).into_bytes();
        let serial = digits.chunks(2).map(|pair| (pair[0] - b'0') << 4 | (pair[1] - b'0'));
        AID.iter().copied().chain([3, 4, 0, 6]).chain(serial).chain([0, 0]).collect()
    }

    fn openpgp_verify(&mut self, command: &Command) -> Answer {
        let is_admin = command.p2 == 0x83;
        let (pin, verified) = match is_admin {
            true => (&mut self.openpgp.admin, &mut self.session.openpgp.admin),
            false => (&mut self.openpgp.user, &mut self.session.openpgp.user),
        };
        if command.data.is_empty() {
            return if *verified { OK.into() } else { tries_left(pin.left).into() };
        }
        let sw = pin.attempt(&command.data);
        // The PIN for signatures alone (81) lets nothing be deciphered.
        *verified = sw == OK && command.p2 != 0x81;
        if !is_admin {
            self.counters.openpgp_pin_attempts += 1;
        }
        sw.into()
    }

    /// Extended header list: which key, the lengths of its parts, the parts; the private scalar is the first of them.
    fn openpgp_import(&mut self, data: &[u8]) -> Answer {
        let read = || {
            let list = tlv::find(data, 0x4d)?;
            tlv::find(list, u16::from(DECRYPTION_KEY))?;
            let &[0x92, length, ..] = tlv::find(list, 0x7f48)? else { return None };
            SecretKey::from_slice(tlv::find(list, 0x5f48)?.get(..usize::from(length))?).ok()
        };
        match read() {
            Some(secret) => {
                self.openpgp.decryption = Some(secret);
                OK.into()
            }
            None => WRONG_DATA.into(),
        }
    }

    fn openpgp_public_key(&self, template: &[u8]) -> Answer {
        match &self.openpgp.decryption {
            Some(secret) if template.first() == Some(&DECRYPTION_KEY) => {
                let point = secret.public_key().to_encoded_point(false);
                Answer::data(tlv::element(0x7f49, &tlv::element(0x86, point.as_bytes())))
            }
            _ => REFERENCE_NOT_FOUND.into(),
        }
    }

    fn decipher(&mut self, data: &[u8]) -> Answer {
        if !self.session.openpgp.user {
            return SECURITY_STATUS.into();
        }
        let Some(secret) = &self.openpgp.decryption else { return CONDITIONS.into() };
        let point = tlv::find(data, 0xa6).and_then(|cipher| tlv::find(tlv::find(cipher, 0x7f49)?, 0x86));
        let Some(peer) = point.and_then(|point| PublicKey::from_sec1_bytes(point).ok()) else {
            return WRONG_DATA.into();
        };
        self.counters.decipherments += 1;
        let shared = p256::ecdh::diffie_hellman(secret.to_nonzero_scalar(), peer.as_affine());
        Answer::data(shared.raw_secret_bytes().to_vec())
    }
}
