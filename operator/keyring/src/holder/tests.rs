//! Wrapping and opening, held against an implementation of the plugin's side written from its format alone.

use std::cell::Cell;

use age_core::format::{FileKey, Stanza};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use chacha20poly1305::aead::{Aead, KeyInit};
use hmac::{Hmac, Mac};
use zeroize::Zeroizing;

use super::*;
use crate::master::MasterKey;
use crate::testkit::{SoftHolder, alice, bob, mallory, master};

/// A recipient that age-plugin-yubikey printed (its tests/integration.rs).
const PLUGIN_RECIPIENT: &str = "age1yubikey1q2w7u3vpya839jxxuq8g0sedh3d740d4xvn639sqhr95ejj8vu3hyfumptt";

#[test]
fn recipients_of_the_plugin_are_read_and_written_alike() {
    let key = PivPublicKey::from_recipient(PLUGIN_RECIPIENT).unwrap();
    assert_eq!(key.to_recipient(), PLUGIN_RECIPIENT);
    assert_eq!(PivPublicKey::from_sec1(key.compressed()).unwrap(), key);
    assert_eq!(alice().key().to_recipient().parse(), Ok(alice().key()));
}

#[test]
fn what_is_not_a_holder_key_is_refused() {
    let checksum = PLUGIN_RECIPIENT.replace("mptt", "mptq");
    let age = age::x25519::Identity::generate().to_public().to_string();
    let short = bech32::encode::<Bech32>(Hrp::parse(RECIPIENT_HRP).unwrap(), &[2; 32]).unwrap();
    let other = bech32::encode::<Bech32>(Hrp::parse("age1tag").unwrap(), alice().key().compressed()).unwrap();
    for text in ["", "age1yubikey1", &checksum, &age, &short, &other, &"a".repeat(4000)] {
        assert_eq!(PivPublicKey::from_recipient(text), Err(HolderKeyError::Recipient), "{text}");
    }
    // x = 5 is on the curve, x = 2 of this sign is checked by arithmetic, and infinity is a single zero byte.
    let off_curve = bech32::encode::<Bech32>(Hrp::parse(RECIPIENT_HRP).unwrap(), &[0xff; 33]).unwrap();
    assert_eq!(PivPublicKey::from_recipient(&off_curve), Err(HolderKeyError::Point));
    assert_eq!(PivPublicKey::from_sec1(&[0]), Err(HolderKeyError::Point));
}

#[test]
fn every_holder_opens_with_exactly_one_operation() {
    let armored = wrap(&master(1), &[alice().key(), bob().key()]).unwrap();
    for mut holder in [alice(), bob()] {
        let key = holder.key();
        let opened = unwrap(&armored, &key, &mut |point| Ok::<_, ()>(holder.ecdh(point))).unwrap();
        assert!(opened.equals_in_constant_time(&master(1)));
        assert_eq!(holder.operations, 1);
    }
}

#[test]
fn a_stranger_costs_no_operation() {
    let armored = wrap(&master(1), &[alice().key(), bob().key()]).unwrap();
    let mut stranger = mallory();
    let key = stranger.key();
    let error = unwrap(&armored, &key, &mut |point| Ok::<_, ()>(stranger.ecdh(point))).unwrap_err();
    assert!(matches!(error, UnwrapError::NotAHolder), "{error}");
    assert_eq!(stranger.operations, 0);
}

#[test]
fn the_cards_error_comes_back_as_it_was() {
    #[derive(Debug, PartialEq)]
    struct PinBlocked {
        tries: Cell<u8>,
    }
    let armored = wrap(&master(1), &[alice().key()]).unwrap();
    let error =
        unwrap(&armored, &alice().key(), &mut |_| Err(PinBlocked { tries: Cell::new(0) })).unwrap_err();
    assert!(matches!(error, UnwrapError::Token(PinBlocked { ref tries }) if tries.get() == 0));
}

#[test]
fn a_wrong_shared_secret_opens_nothing_and_is_not_retried() {
    let armored = wrap(&master(1), &[alice().key(), bob().key()]).unwrap();
    let mut operations = 0;
    let error = unwrap(&armored, &alice().key(), &mut |_| {
        operations += 1;
        Ok::<_, ()>(Zeroizing::new([7; 32]))
    })
    .unwrap_err();
    assert!(matches!(error, UnwrapError::WrongSecret), "{error}");
    assert_eq!(operations, 1);
}

#[test]
fn two_stanzas_for_one_key_still_cost_one_operation() {
    struct Twice(PivPublicKey, bool);
    impl age::Recipient for Twice {
        fn wrap_file_key(
            &self,
            file_key: &FileKey,
        ) -> Result<(Vec<Stanza>, std::collections::HashSet<String>), age::EncryptError> {
            let (mut stanzas, labels) = self.0.wrap_file_key(file_key)?;
            let (second, _) = self.0.wrap_file_key(file_key)?;
            if self.1 {
                stanzas[0].body[0] ^= 1;
            }
            stanzas.extend(second);
            Ok((stanzas, labels))
        }
    }
    for (damaged, opens) in [(false, true), (true, false)] {
        let armored = crate::agefile::seal(&master(1), &[&Twice(alice().key(), damaged)]).unwrap();
        let mut holder = alice();
        let key = holder.key();
        let opened = unwrap(&armored, &key, &mut |point| Ok::<_, ()>(holder.ecdh(point)));
        assert_eq!(opened.is_ok(), opens);
        assert_eq!(holder.operations, 1);
    }
}

#[test]
fn damaged_and_foreign_files_are_refused() {
    let armored = wrap(&master(1), &[alice().key()]).unwrap();
    let mut holder = alice();
    let key = holder.key();
    let mut open = |text: &str| unwrap(text, &key, &mut |point| Ok::<_, ()>(holder.ecdh(point)));
    let body = armored.len() / 2;
    for position in [40, body, armored.len() - 50] {
        let mut damaged = armored.clone().into_bytes();
        damaged[position] = if damaged[position] == b'A' { b'B' } else { b'A' };
        assert!(open(&String::from_utf8(damaged).unwrap()).is_err(), "byte {position}");
    }
    let huge = format!("{armored}{}", " ".repeat(70_000));
    for text in ["", "-----BEGIN AGE ENCRYPTED FILE-----", &armored[..200], &armored[1..], &huge] {
        assert!(matches!(open(text), Err(UnwrapError::Malformed)), "{} bytes", text.len());
    }
    assert!(open(&armored).is_ok());
}

#[test]
fn a_file_with_more_or_less_than_a_master_is_refused() {
    for length in [0, 31, 33, 64] {
        let armored = age::encrypt_and_armor(&alice().key(), &vec![1; length]).unwrap();
        let mut holder = alice();
        let key = holder.key();
        let opened = unwrap(&armored, &key, &mut |point| Ok::<_, ()>(holder.ecdh(point)));
        assert!(opened.is_err(), "{length} bytes");
    }
    let armored = age::encrypt_and_armor(&alice().key(), &[1; 32]).unwrap();
    let mut holder = alice();
    let key = holder.key();
    assert!(unwrap(&armored, &key, &mut |point| Ok::<_, ()>(holder.ecdh(point))).is_ok());
}

#[test]
fn nobody_to_wrap_to_is_refused() {
    assert!(matches!(wrap::<PivPublicKey>(&master(1), &[]), Err(WrapError::NoHolder)));
}

#[test]
fn what_stock_age_and_the_plugin_wrapped_is_opened() {
    let armored = include_str!("../../../../tests/vectors/keyring/stock-age.txt");
    for mut holder in [alice(), bob()] {
        let key = holder.key();
        let opened = unwrap(armored, &key, &mut |point| Ok::<_, ()>(holder.ecdh(point))).unwrap();
        assert!(opened.equals_in_constant_time(&master(2)));
        assert_eq!(holder.operations, 1);
    }
}

#[test]
fn an_independent_implementation_opens_what_was_wrapped() {
    let armored = wrap(&MasterKey::generate(), &[bob().key(), alice().key()]).unwrap();
    let mut holder = alice();
    let key = holder.key();
    let opened = unwrap(&armored, &key, &mut |point| Ok::<_, ()>(holder.ecdh(point))).unwrap();
    assert_eq!(by_the_book(&armored, &alice()), opened.expose());
}

/// The age v1 specification and the plugin's stanza, followed line by line with nothing of this crate.
fn by_the_book(armored: &str, holder: &SoftHolder) -> Vec<u8> {
    let body: String = armored.lines().filter(|line| !line.starts_with("-----")).collect();
    let file = BASE64_STANDARD.decode(body).unwrap();
    let mac_at = find(&file, b"\n---") + 4;
    let header = std::str::from_utf8(&file[..mac_at]).unwrap();
    let payload_at = mac_at + file[mac_at..].iter().position(|b| *b == b'\n').unwrap() + 1;
    let header_mac = std::str::from_utf8(&file[mac_at + 1..payload_at - 1]).unwrap();

    let secret = p256::SecretKey::from_slice(&holder.secret_bytes()).unwrap();
    let own = secret.public_key().to_encoded_point(true);
    let tag = BASE64_STANDARD_NO_PAD.encode(&Sha256::digest(own.as_bytes())[..4]);
    let mut lines = header.lines().skip_while(|line| !line.starts_with(&format!("-> piv-p256 {tag} ")));
    let ephemeral = BASE64_STANDARD_NO_PAD.decode(lines.next().unwrap().rsplit(' ').next().unwrap()).unwrap();
    let wrapped = BASE64_STANDARD_NO_PAD.decode(lines.next().unwrap()).unwrap();

    let point = p256::PublicKey::from_sec1_bytes(&ephemeral).unwrap();
    let shared = p256::ecdh::diffie_hellman(secret.to_nonzero_scalar(), point.as_affine());
    let salt = [ephemeral.as_slice(), own.as_bytes()].concat();
    let wrap_key = hkdf(&salt, b"piv-p256", shared.raw_secret_bytes());
    let file_key = decrypt(&wrap_key, &[0; 12], &wrapped);

    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(&hkdf(b"", b"header", &file_key)).unwrap();
    mac.update(header.as_bytes());
    assert_eq!(BASE64_STANDARD_NO_PAD.encode(mac.finalize().into_bytes()), header_mac);

    let (nonce, chunk) = file[payload_at..].split_at(16);
    decrypt(&hkdf(nonce, b"payload", &file_key), b"\0\0\0\0\0\0\0\0\0\0\0\x01", chunk)
}

fn find(text: &[u8], needle: &[u8]) -> usize {
    text.windows(needle.len()).position(|window| window == needle).unwrap()
}

fn hkdf(salt: &[u8], info: &[u8], ikm: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    hkdf::Hkdf::<Sha256>::new(Some(salt), ikm).expand(info, &mut out).unwrap();
    out
}

fn decrypt(key: &[u8; 32], nonce: &[u8; 12], sealed: &[u8]) -> Vec<u8> {
    chacha20poly1305::ChaCha20Poly1305::new(key.into()).decrypt(nonce.into(), sealed).unwrap()
}
