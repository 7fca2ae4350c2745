//! The card's rules, command by command, without a reader.

use p256::ecdsa::{DerSignature, VerifyingKey, signature::Verifier};
use x509_cert::der::{Decode, Encode};

use super::{
    Card, ManagementKey, Reference,
    apdu::{
        BLOCKED, CONDITIONS, Command, NOT_FOUND, OK, REFERENCE_NOT_FOUND, SECURITY_STATUS, Sw, WRONG_DATA,
    },
    tlv,
};

const PIN: &[u8] = b"123456\xff\xff";
const WRONG: &[u8] = b"000000\xff\xff";
const NEVER: u8 = 1;
const ONCE: u8 = 2;
const ALWAYS: u8 = 3;
const TOUCH: u8 = 2;
const CACHED: u8 = 3;

fn card() -> Card {
    let firmware = (5, 4, 3);
    let management = ManagementKey::factory(firmware);
    let mut card = Card::new(7, firmware, Reference::factory_pin(), Reference::factory_puk(), management);
    assert_eq!(send(&mut card, 0xa4, 4, 0, super::PIV), OK);
    card
}

fn command(ins: u8, p1: u8, p2: u8, data: &[u8]) -> Command {
    Command { ins, p1, p2, data: data.to_vec() }
}

fn send(card: &mut Card, ins: u8, p1: u8, p2: u8, data: &[u8]) -> Sw {
    card.perform(&command(ins, p1, p2, data)).sw
}

fn verify(card: &mut Card, pin: &[u8]) -> Sw {
    send(card, 0x20, 0, 0x80, pin)
}

/// A key in slot 82, made with the management key.
fn generate(card: &mut Card, pin: u8, touch: u8) {
    card.session.management_authenticated = true;
    let template = [0xac, 9, 0x80, 1, 0x11, 0xaa, 1, pin, 0xab, 1, touch];
    assert_eq!(send(card, 0x47, 0, 0x82, &template), OK);
    card.session.management_authenticated = false;
}

fn signing() -> Command {
    let template = [tlv::element(0x82, &[]), tlv::element(0x81, &[9; 32])].concat();
    command(0x87, 0x11, 0x82, &tlv::element(0x7c, &template))
}

fn sign(card: &mut Card) -> Sw {
    card.perform(&signing()).sw
}

#[test]
fn pin_tries_are_counted_and_restored() {
    let mut card = card();
    assert_eq!(verify(&mut card, &[]), 0x63c3);
    assert_eq!(verify(&mut card, WRONG), 0x63c2);
    assert_eq!(verify(&mut card, PIN), OK);
    assert_eq!(verify(&mut card, &[]), OK);
    for sw in [0x63c2, 0x63c1, BLOCKED, BLOCKED] {
        assert_eq!(verify(&mut card, WRONG), sw);
    }
    assert_eq!(verify(&mut card, PIN), BLOCKED);
    assert_eq!(send(&mut card, 0x2c, 0, 0x80, &[b"12345678", PIN].concat()), OK);
    assert_eq!(verify(&mut card, PIN), OK);
    assert_eq!((card.counters.pin_attempts, card.counters.puk_attempts), (8, 1));
}

#[test]
fn pin_policies() {
    let mut card = card();
    generate(&mut card, NEVER, 1);
    assert_eq!(sign(&mut card), OK);
    generate(&mut card, ONCE, 1);
    assert_eq!(sign(&mut card), SECURITY_STATUS);
    assert_eq!(verify(&mut card, PIN), OK);
    assert_eq!([sign(&mut card), sign(&mut card)], [OK, OK]);
    generate(&mut card, ALWAYS, 1);
    assert_eq!(sign(&mut card), SECURITY_STATUS, "a command came between");
    assert_eq!(verify(&mut card, PIN), OK);
    assert_eq!([sign(&mut card), sign(&mut card)], [OK, SECURITY_STATUS]);
    assert_eq!((card.counters.private_key_operations, card.counters.signatures), (4, 4));
}

#[test]
fn touch_policies() {
    let mut card = card();
    generate(&mut card, ONCE, TOUCH);
    assert!(!card.wants_touch(&signing()), "first the PIN");
    assert_eq!(verify(&mut card, PIN), OK);
    assert!(card.wants_touch(&signing()));
    card.touched();
    assert!(card.wants_touch(&signing()), "each time");
    generate(&mut card, ONCE, CACHED);
    assert!(!card.wants_touch(&signing()), "touched a moment ago");
    card.power_loss();
    send(&mut card, 0xa4, 4, 0, super::PIV);
    assert_eq!(verify(&mut card, PIN), OK);
    assert!(card.wants_touch(&signing()));
}

#[test]
fn power_loss_and_selecting_forget_the_pin() {
    let mut card = card();
    assert_eq!(verify(&mut card, PIN), OK);
    send(&mut card, 0xa4, 4, 0, super::PIV);
    assert_eq!(verify(&mut card, &[]), 0x63c3);
    assert_eq!(verify(&mut card, PIN), OK);
    card.power_loss();
    assert_eq!(verify(&mut card, &[]), CONDITIONS, "no application is selected");
}

#[test]
fn what_needs_the_management_key_or_the_pin() {
    let mut card = card();
    for ins in [0x47, 0xdb, 0xfa, 0xfe, 0xff] {
        assert_eq!(send(&mut card, ins, 0x3f, 0xff, &[]), SECURITY_STATUS, "{ins:02x}");
    }
    let printed = tlv::element(0x5c, &[0x5f, 0xc1, 0x09]);
    assert_eq!(send(&mut card, 0xcb, 0x3f, 0xff, &printed), SECURITY_STATUS);
    assert_eq!(verify(&mut card, PIN), OK);
    assert_eq!(send(&mut card, 0xcb, 0x3f, 0xff, &printed), NOT_FOUND);
    assert_eq!(send(&mut card, 0xfb, 0, 0, &[]), CONDITIONS, "reset wants both blocked");
}

#[test]
fn the_management_key_must_be_proven() {
    let mut card = card();
    let begin = tlv::element(0x7c, &[0x80, 0]);
    assert_eq!(send(&mut card, 0x87, 0x0a, 0x9b, &begin), WRONG_DATA, "not this card's algorithm");
    assert_eq!(send(&mut card, 0x87, 0x03, 0x9b, &begin), OK);
    let guess = [tlv::element(0x80, &[1; 8]), tlv::element(0x81, &[2; 8])].concat();
    assert_eq!(send(&mut card, 0x87, 0x03, 0x9b, &tlv::element(0x7c, &guess)), SECURITY_STATUS);
    assert_eq!(send(&mut card, 0x47, 0, 0x82, &[]), SECURITY_STATUS);
}

#[test]
fn attestations_are_signed_by_the_cards_own_key() {
    let mut card = card();
    assert_eq!(send(&mut card, 0xf9, 0x82, 0, &[]), REFERENCE_NOT_FOUND);
    generate(&mut card, ONCE, TOUCH);
    let attested = card.perform(&command(0xf9, 0x82, 0, &[])).data;
    let attested = x509_cert::Certificate::from_der(&attested).unwrap();
    let authority = x509_cert::Certificate::from_der(card.authority.certificate()).unwrap();
    let point = authority.tbs_certificate.subject_public_key_info.subject_public_key;
    let key = VerifyingKey::from_sec1_bytes(point.raw_bytes()).unwrap();
    let signature = DerSignature::try_from(attested.signature.raw_bytes()).unwrap();
    key.verify(&attested.tbs_certificate.to_der().unwrap(), &signature).unwrap();
    let own = attested.tbs_certificate.subject_public_key_info.subject_public_key;
    assert_eq!(own.raw_bytes(), card.slots[&0x82].point());
    assert!(attested.tbs_certificate.issuer.to_string().contains("test equipment"));
}

#[test]
fn every_card_is_different() {
    let (mut one, mut other) = (card(), card());
    generate(&mut one, ONCE, 1);
    generate(&mut other, ONCE, 1);
    assert_ne!(one.slots[&0x82].point(), other.slots[&0x82].point());
    assert_ne!(one.authority.certificate(), other.authority.certificate());
}

#[test]
fn the_openpgp_applet_deciphers_after_its_own_pin_until_another_applet_is_selected() {
    let mut card = card();
    let (secret, peer) = ([7; 32], p256::SecretKey::from_slice(&[9; 32]).unwrap());
    let select = |card: &mut Card, aid: &[u8]| assert_eq!(send(card, 0xa4, 4, 0, aid), OK);
    let import = {
        let lengths = tlv::element(0x7f48, &[0x92, 32]);
        tlv::element(0x4d, &[tlv::element(0xb8, &[]), lengths, tlv::element(0x5f48, &secret)].concat())
    };
    let point = p256::elliptic_curve::sec1::ToEncodedPoint::to_encoded_point(&peer.public_key(), false);
    let cipher = tlv::element(0xa6, &tlv::element(0x7f49, &tlv::element(0x86, point.as_bytes())));
    let decipher = |card: &mut Card| card.perform(&command(0x2a, 0x80, 0x86, &cipher));
    select(&mut card, super::openpgp::AID);
    assert_eq!(send(&mut card, 0xdb, 0x3f, 0xff, &import), SECURITY_STATUS, "the admin PIN is needed");
    assert_eq!(send(&mut card, 0x20, 0, 0x83, b"12345678"), OK);
    assert_eq!(send(&mut card, 0xdb, 0x3f, 0xff, &import), OK);
    assert_eq!(decipher(&mut card).sw, SECURITY_STATUS);
    assert_eq!(send(&mut card, 0x20, 0, 0x82, b"000000"), 0x63c2);
    assert_eq!(send(&mut card, 0x20, 0, 0x81, b"123456"), OK);
    assert_eq!(decipher(&mut card).sw, SECURITY_STATUS, "that was the PIN for signatures");
    assert_eq!(send(&mut card, 0x20, 0, 0x82, b"123456"), OK);
    let shared = p256::ecdh::diffie_hellman(
        peer.to_nonzero_scalar(),
        p256::SecretKey::from_slice(&secret).unwrap().public_key().as_affine(),
    );
    for _ in 0..2 {
        let answer = decipher(&mut card);
        assert_eq!((answer.sw, answer.data), (OK, shared.raw_secret_bytes().to_vec()));
    }
    select(&mut card, super::PIV);
    select(&mut card, super::openpgp::AID);
    assert_eq!(decipher(&mut card).sw, SECURITY_STATUS);
    for left in [0x63c2, 0x63c1, BLOCKED, BLOCKED] {
        assert_eq!(send(&mut card, 0x20, 0, 0x82, b"000000"), left);
    }
    assert_eq!((card.counters.decipherments, card.counters.openpgp_pin_attempts), (2, 7));
}
