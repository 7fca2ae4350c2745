//! The card misbehaves at every single command of a ceremony and of an enrolment, one after the other: refused, pulled before
//! or after, slow, answering what makes no sense. What must hold each time: no PIN is spent twice and no private key used
//! twice, what comes out is right or an error that helps, and the next attempt succeeds.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

mod scene;

use p256::SecretKey;
use p256::elliptic_curve::{rand_core::OsRng, sec1::ToEncodedPoint};
use scene::{Hands, NEW, OLD, PIN, pin, ready, scene};
use touchseal_token::{
    Card, GenerateOptions, LastTry, PinPolicy, SharedSecret, Slot, TokenError, TouchPolicy, Which,
};

/// 6F00 is "no precise diagnosis"; 6982 and 6985 mean a missing PIN or touch; 9000 without the data that belongs to it.
const FAULTS: [&str; 8] = ["6f00", "6982", "6985", "6a80", "9000", "pull", "pull-after", "slow"];

fn ecdh(point: &[u8]) -> Result<SharedSecret, TokenError> {
    let mut card = Card::open(Which::Only)?;
    let slot = Slot::new(0x82).unwrap();
    card.ecdh(slot, point, Some(&pin(PIN)), LastTry::Refuse, &mut || ())
}

fn generate(slot: Option<Slot>) -> Result<(), TokenError> {
    let mut card = Card::open(Which::Only)?;
    let options =
        GenerateOptions { slot, touch_policy: TouchPolicy::Never, ..GenerateOptions::new("faults") };
    card.generate(&options, &pin(PIN), &mut || ())
        .map(|key| assert_eq!(key.pin_policy, Some(PinPolicy::Once)))
}

/// What an error owes to a person, and what it must not be.
fn is_helpful(error: &TokenError, place: &str) {
    assert!(!error.help().is_empty(), "{place}");
    let wrong = matches!(error, TokenError::WrongPin { .. } | TokenError::PinBlocked { .. });
    assert!(!wrong, "{place}: a fault is told as a wrong PIN: {error}");
}

/// Puts a pulled card back.
fn mend(hands: &Hands, how: &str) {
    hands.behave(0);
    if how.starts_with("pull") {
        hands.insert(0, 0);
    }
}

fn every_command_of_a_ceremony(firmware: (u8, u8, u8)) {
    scene(
        || vec![ready(1, firmware)],
        |hands| {
            generate(Slot::new(0x82)).unwrap();
            let ours = SecretKey::from_slice(&hands.scalar(0, 0x82)).unwrap();
            let theirs = SecretKey::random(&mut OsRng);
            let peer = theirs.public_key().to_encoded_point(true);
            let expected =
                p256::ecdh::diffie_hellman(theirs.to_nonzero_scalar(), ours.public_key().as_affine());
            let is_right = |secret: &SharedSecret| secret.expose()[..] == expected.raw_secret_bytes()[..];

            let before = hands.commands(0);
            assert!(is_right(&ecdh(peer.as_bytes()).unwrap()));
            let commands = hands.commands(0) - before;
            assert!(commands >= 6, "{commands} commands: select, version, serial, key, VERIFY, ECDH are six");

            let mut refused = 0;
            for how in FAULTS {
                for n in 0..commands {
                    let place = format!("{how} at command {n} of {commands}");
                    let (operations, attempts) = (hands.private_key_operations(0), hands.pin_attempts(0));
                    hands.fault(0, n, how);
                    match ecdh(peer.as_bytes()) {
                        Ok(secret) => assert!(is_right(&secret), "{place}: a wrong secret"),
                        Err(error) => {
                            refused += 1;
                            is_helpful(&error, &place);
                            assert_ne!(how, "slow", "{place}: {error}");
                        }
                    }
                    assert!(
                        hands.private_key_operations(0) <= operations + 1,
                        "{place}: more than one operation"
                    );
                    assert!(hands.pin_attempts(0) <= attempts + 1, "{place}: the PIN was tried again");
                    mend(hands, how);
                    assert_eq!(hands.pin_tries_left(0), 3, "{place}: a try was lost");
                    let next = ecdh(peer.as_bytes()).unwrap_or_else(|e| panic!("{place}, then again: {e}"));
                    assert!(is_right(&next), "{place}, then again: a wrong secret");
                }
            }
            assert!(refused > commands * 2, "{refused} of the faults were met: too few to mean anything");
        },
    );
}

#[test]
fn at_every_command_of_a_ceremony_on_firmware_5_4() {
    every_command_of_a_ceremony(OLD);
}

#[test]
fn at_every_command_of_a_ceremony_on_firmware_4() {
    every_command_of_a_ceremony((4, 3, 5));
}

/// A card as from the factory but for PIN and PUK each time: its management key is replaced, and must never be lost.
fn every_command_of_an_enrolment(firmware: (u8, u8, u8), how: &str) {
    const CARDS: usize = 40;
    scene(
        || (0..CARDS).map(|_| ready(1, firmware)).collect(),
        |hands| {
            hands.pull(1);
            let before = hands.commands(0);
            generate(None).unwrap();
            let commands = hands.commands(0) - before;
            assert!((10..CARDS as u64).contains(&commands), "{commands} commands");

            let mut refused = 0;
            for n in 0..commands {
                let card = n as usize + 1;
                hands.pull(0);
                hands.insert(0, card);
                hands.fault(card, n, how);
                let first = generate(None);
                let place = format!("{how} at command {n} of {commands}: {first:?}");
                if let Err(error) = &first {
                    refused += 1;
                    is_helpful(error, &place);
                }
                assert!(hands.pin_attempts(card) <= 1, "{place}: the PIN was tried again");
                assert_eq!(hands.pin_tries_left(card), 3, "{place}: a try was lost");
                hands.behave(card);
                if how.starts_with("pull") && first.is_err() {
                    hands.insert(0, card);
                }
                generate(None).unwrap_or_else(|e| panic!("{place}, then again: {e}"));
            }
            assert!(refused >= commands / 2, "{refused} of {commands} were refused");
        },
    );
}

#[test]
fn refused_at_every_command_of_an_enrolment_on_firmware_5_4() {
    every_command_of_an_enrolment(OLD, "6f00");
}

#[test]
fn refused_at_every_command_of_an_enrolment_on_firmware_5_7() {
    every_command_of_an_enrolment(NEW, "6f00");
}

#[test]
fn pulled_before_every_command_of_an_enrolment() {
    every_command_of_an_enrolment(OLD, "pull");
}

#[test]
fn pulled_after_every_command_of_an_enrolment() {
    every_command_of_an_enrolment(NEW, "pull-after");
}
