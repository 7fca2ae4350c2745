//! The short way to and from a data key: an age file of exactly one X25519 stanza and one chunk, which is what sops
//! writes. The age crate opens these too, at three times the cost (it derives the public key anew and sets up a stream of
//! 64 KiB chunks), and opens everything that is not of this form; what it writes has a second stanza, of grease. Format:
//! <https://c2sp.org/age>.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use chacha20poly1305::aead::{AeadInPlace, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Nonce, Tag};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use rand_core::CryptoRngCore;
use sha2::Sha256;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use age::secrecy::ExposeSecret;

/// An X25519 identity with its public key.
pub(crate) struct X25519Key {
    secret: StaticSecret,
    public: PublicKey,
}

/// Whom an X25519 stanza is for.
pub(crate) struct X25519Recipient(PublicKey);

const BEGIN: &str = "-----BEGIN AGE ENCRYPTED FILE-----\n";
const END: &str = "-----END AGE ENCRYPTED FILE-----\n";
const ARMOR_LINE: usize = 64;
const HRP: &str = "age";
const X25519_LABEL: &[u8] = b"age-encryption.org/v1/X25519";
const INTRO: &[u8] = b"age-encryption.org/v1\n-> X25519 ";
const MAC_LINE: &[u8] = b"--- ";
/// 32 bytes in base64 without padding.
const ENCODED_32: usize = 43;
const NONCE: usize = 16;
const TAG: usize = 16;
const FILE_KEY: usize = 16;
/// The first chunk's counter is 0; the last byte marks it as the last.
const ONLY_CHUNK: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

impl X25519Key {
    pub(crate) fn new(identity: &age::x25519::Identity) -> Option<X25519Key> {
        let text = identity.to_string();
        let (_, bytes) = bech32::decode(text.expose_secret()).ok()?;
        let bytes = Zeroizing::new(bytes);
        let secret: Zeroizing<[u8; 32]> = Zeroizing::new(bytes.as_slice().try_into().ok()?);
        let secret = StaticSecret::from(*secret);
        Some(X25519Key { public: PublicKey::from(&secret), secret })
    }

    /// The payload of an armored file, or `None` if it has another form, is for another key, or is damaged.
    pub(crate) fn open(&self, armored: &str) -> Option<Zeroizing<Vec<u8>>> {
        let file = dearmor(armored)?;
        let rest = file.strip_prefix(INTRO)?;
        let (share, rest) = line(rest)?;
        let (wrapped, rest) = line(rest)?;
        let (mac, rest) = line(rest.strip_prefix(MAC_LINE)?)?;
        let header = file.get(..file.len() - rest.len() - ENCODED_32 - 2)?;
        let file_key = self.unwrap(share, &wrapped)?;

        let mut check = <Hmac<Sha256> as Mac>::new_from_slice(&*derive(b"", b"header", &file_key)?).ok()?;
        check.update(header);
        check.verify_slice(&mac).ok()?;

        let (nonce, sealed) = rest.split_at_checked(NONCE)?;
        let payload_key = derive(nonce, b"payload", &file_key)?;
        unseal(&payload_key, &ONLY_CHUNK, sealed)
    }

    fn unwrap(&self, share: [u8; 32], wrapped: &[u8; 32]) -> Option<Zeroizing<Vec<u8>>> {
        let shared = self.secret.diffie_hellman(&PublicKey::from(share));
        if !shared.was_contributory() {
            return None;
        }
        let salt = [share, self.public.to_bytes()].concat();
        let key = derive(&salt, X25519_LABEL, shared.as_bytes())?;
        unseal(&key, &[0; 12], wrapped).filter(|file_key| file_key.len() == FILE_KEY)
    }
}

impl X25519Recipient {
    /// `age1...` in lower case, as Bech32 without a mix of cases.
    pub(crate) fn parse(text: &str) -> Option<X25519Recipient> {
        let text: age::x25519::Recipient = text.parse().ok()?;
        let (hrp, bytes) = bech32::decode(&text.to_string()).ok()?;
        let key: [u8; 32] = bytes.try_into().ok().filter(|_| hrp.as_str() == HRP)?;
        Some(X25519Recipient(PublicKey::from(key)))
    }

    /// An armored file of `payload`. `None` if there is no randomness, or the recipient's key is one of the few points
    /// that make every shared secret the same.
    pub(crate) fn seal(&self, payload: &[u8], random: &mut dyn CryptoRngCore) -> Option<String> {
        let mut file_key = Zeroizing::new([0; FILE_KEY]);
        let mut ephemeral = Zeroizing::new([0; 32]);
        let mut nonce = [0; NONCE];
        random.try_fill_bytes(&mut *file_key).ok()?;
        random.try_fill_bytes(&mut *ephemeral).ok()?;
        random.try_fill_bytes(&mut nonce).ok()?;

        let ephemeral = StaticSecret::from(*ephemeral);
        let shared = ephemeral.diffie_hellman(&self.0);
        if !shared.was_contributory() {
            return None;
        }
        let share = PublicKey::from(&ephemeral).to_bytes();
        let salt = [share, self.0.to_bytes()].concat();
        let wrapping = derive(&salt, X25519_LABEL, shared.as_bytes())?;
        let wrapped = sealed(&wrapping, &[0; 12], &*file_key)?;

        let mut file = INTRO.to_vec();
        push_line(&mut file, &share);
        push_line(&mut file, &wrapped);
        file.extend_from_slice(b"---");
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(&*derive(b"", b"header", &*file_key)?).ok()?;
        mac.update(&file);
        file.push(b' ');
        push_line(&mut file, &mac.finalize().into_bytes());
        file.extend_from_slice(&nonce);
        file.extend_from_slice(&sealed(&*derive(&nonce, b"payload", &*file_key)?, &ONLY_CHUNK, payload)?);
        Some(armor(&file))
    }
}

fn push_line(file: &mut Vec<u8>, bytes: &[u8]) {
    file.extend_from_slice(STANDARD_NO_PAD.encode(bytes).as_bytes());
    file.push(b'\n');
}

fn armor(file: &[u8]) -> String {
    let digits = STANDARD.encode(file);
    let mut armored = BEGIN.to_owned();
    for (index, digit) in digits.char_indices() {
        if index > 0 && index % ARMOR_LINE == 0 {
            armored.push('\n');
        }
        armored.push(digit);
    }
    armored.push('\n');
    armored + END
}

/// An armored file without the blank lines before it and the space behind it, which are no fault to age itself but are to
/// the age crate.
pub(crate) fn trimmed(armored: &str) -> &str {
    let blank = armored.len() - armored.trim_ascii_start().len();
    let start = armored.get(..blank).and_then(|blank| blank.rfind('\n')).map_or(0, |at| at + 1);
    armored.get(start..).unwrap_or_default().trim_ascii_end()
}

fn dearmor(armored: &str) -> Option<Vec<u8>> {
    let body =
        trimmed(armored).strip_prefix(BEGIN)?.strip_suffix(END.trim_ascii_end())?.strip_suffix('\n')?;
    let mut digits = Vec::with_capacity(body.len());
    let mut ended = false;
    for line in body.split('\n') {
        // Every line is full but the last, which is not empty.
        if ended || line.is_empty() || line.len() > ARMOR_LINE {
            return None;
        }
        ended = line.len() < ARMOR_LINE;
        digits.extend_from_slice(line.as_bytes());
    }
    STANDARD.decode(digits).ok()
}

/// One line of 32 bytes in base64.
fn line(text: &[u8]) -> Option<([u8; 32], &[u8])> {
    let (digits, rest) = text.split_at_checked(ENCODED_32)?;
    let mut bytes = [0; 33];
    let length = STANDARD_NO_PAD.decode_slice(digits, &mut bytes).ok()?;
    Some((bytes.get(..length)?.try_into().ok()?, rest.strip_prefix(b"\n")?))
}

fn derive(salt: &[u8], info: &[u8], secret: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
    let mut key = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(Some(salt), secret).expand(info, &mut *key).ok()?;
    Some(key)
}

fn unseal(key: &[u8; 32], nonce: &[u8; 12], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (data, tag) = sealed.split_at_checked(sealed.len().checked_sub(TAG)?)?;
    let mut plain = Zeroizing::new(data.to_vec());
    ChaCha20Poly1305::new(key.into())
        .decrypt_in_place_detached(Nonce::from_slice(nonce), b"", &mut plain, Tag::from_slice(tag))
        .ok()?;
    Some(plain)
}

fn sealed(key: &[u8; 32], nonce: &[u8; 12], plain: &[u8]) -> Option<Vec<u8>> {
    let mut sealed = Vec::with_capacity(plain.len() + TAG);
    sealed.extend_from_slice(plain);
    let tag = ChaCha20Poly1305::new(key.into())
        .encrypt_in_place_detached(Nonce::from_slice(nonce), b"", &mut sealed)
        .ok()?;
    sealed.extend_from_slice(&tag);
    Some(sealed)
}

#[cfg(test)]
mod tests {
    use rand_core::OsRng;

    use super::*;

    /// What sops wrapped, from a vector: the age crate itself adds a second stanza of grease.
    fn wrapped() -> (age::x25519::Identity, String) {
        let identity = include_str!("../../../tests/vectors/sops/identity.txt");
        let document: serde_json::Value =
            serde_json::from_str(include_str!("../../../tests/vectors/sops/good.json"))
                .expect("a JSON document");
        let armored = document["sops"]["age"][0]["enc"].as_str().expect("an age file").to_owned();
        (identity.lines().nth(1).expect("a line").parse().expect("an identity"), armored)
    }

    #[test]
    fn what_sops_wraps_opens_as_with_the_age_crate() {
        let (identity, armored) = wrapped();
        let opened = X25519Key::new(&identity).expect("a key").open(&armored).expect("opens");
        assert_eq!(*opened, age::decrypt(&identity, armored.as_bytes()).expect("opens"));
    }

    #[test]
    fn every_file_has_a_file_key_of_its_own() {
        let identity = age::x25519::Identity::generate();
        let key = X25519Key::new(&identity).expect("a key");
        let recipient = X25519Recipient::parse(&identity.to_public().to_string()).expect("a recipient");
        let file_key = || {
            let file = dearmor(&recipient.seal(b"x", &mut OsRng).expect("sealed")).expect("armored");
            let (share, rest) = line(file.strip_prefix(INTRO).expect("a stanza")).expect("a share");
            key.unwrap(share, &line(rest).expect("a body").0).expect("a file key")
        };
        assert_ne!(file_key(), file_key());
    }

    #[test]
    fn armor_is_taken_as_age_takes_it() {
        let (identity, armored) = wrapped();
        let key = X25519Key::new(&identity).expect("a key");
        let (head, body) = armored.split_once('\n').expect("lines");
        let digits: String = body.lines().filter(|line| !line.starts_with('-')).collect();
        let end = "-----END AGE ENCRYPTED FILE-----\n";
        for (good, text) in [
            (true, format!("\n \t\n{armored}\n\n ")),
            (false, format!(" {armored}")),
            (false, format!("{head}\n{digits}\n{end}")),
            (false, format!("{head}\n{}\n{}\n{end}", &digits[..60], &digits[60..])),
            (false, armored.replacen(end, &format!("\n{end}"), 1)),
        ] {
            assert_eq!(key.open(&text).is_some(), good, "{text}");
            assert_eq!(age::decrypt(&identity, trimmed(&text).as_bytes()).is_ok(), good, "{text}");
        }
    }

    #[test]
    fn what_was_changed_or_is_for_another_does_not_open() {
        let (identity, armored) = wrapped();
        let key = X25519Key::new(&identity).expect("a key");
        let other = X25519Key::new(&age::x25519::Identity::generate()).expect("a key");
        assert!(other.open(&armored).is_none());
        for index in 36..armored.len() - 36 {
            let mut changed = armored.clone().into_bytes();
            changed[index] = if changed[index] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).expect("ASCII");
            assert!(key.open(&changed).is_none(), "character {index}");
        }
    }

    #[test]
    fn what_is_wrapped_here_opens_with_the_age_crate() {
        let identity = age::x25519::Identity::generate();
        let recipient = X25519Recipient::parse(&identity.to_public().to_string()).expect("a recipient");
        for payload in [&[7; 32][..], &[9; 33]] {
            let armored = recipient.seal(payload, &mut OsRng).expect("seals");
            assert_eq!(age::decrypt(&identity, armored.as_bytes()).expect("opens"), payload);
            assert_eq!(*X25519Key::new(&identity).expect("a key").open(&armored).expect("opens"), payload);
            assert_ne!(
                armored,
                recipient.seal(payload, &mut OsRng).expect("seals"),
                "the same randomness twice"
            );
        }
    }

    #[test]
    fn a_point_of_low_order_is_nobody_to_encrypt_to() {
        assert!(X25519Recipient(PublicKey::from([0; 32])).seal(&[7; 32], &mut OsRng).is_none());
    }
}
