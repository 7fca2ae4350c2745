//! ECDH: right, and every way it can go wrong; each leaves the card as it was and says what happened.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

mod scene;

use p256::{
    SecretKey,
    elliptic_curve::{rand_core::OsRng, sec1::ToEncodedPoint},
};
use scene::{Hands, NEW, OLD, PIN, pin, ready, scene};
use touchseal_token::{
    Card, GenerateOptions, LastTry, PinPolicy, SharedSecret, Slot, TokenError, TouchPolicy, Which,
};

fn slot() -> Slot {
    Slot::new(0x82).unwrap()
}

fn peer() -> (SecretKey, [u8; 33]) {
    let secret = SecretKey::random(&mut OsRng);
    let point = secret.public_key().to_encoded_point(true).as_bytes().try_into().unwrap();
    (secret, point)
}

/// A card with a key in slot 82 that wants what is said.
fn enrolled(pin_policy: PinPolicy, touch_policy: TouchPolicy) -> Card {
    let mut card = Card::open(Which::Only).unwrap();
    let options = GenerateOptions { pin_policy, touch_policy, ..GenerateOptions::new("ceremony") };
    card.generate(&options, &pin(PIN), &mut || ()).unwrap();
    card
}

fn ecdh(card: &mut Card, pin_text: &str) -> Result<SharedSecret, TokenError> {
    card.ecdh(slot(), &peer().1, Some(&pin(pin_text)), LastTry::Refuse, &mut || ())
}

/// Runs `fails` and makes sure that it used no private key.
fn unused(hands: &Hands, fails: impl FnOnce() -> TokenError) -> TokenError {
    let before = hands.private_key_operations(0);
    let error = fails();
    assert_eq!(hands.private_key_operations(0), before, "{error}");
    error
}

fn agrees(firmware: (u8, u8, u8)) {
    scene(
        || vec![ready(1, firmware)],
        |hands| {
            for (pin_policy, touch_policy, touches) in [
                (PinPolicy::Never, TouchPolicy::Never, 0),
                (PinPolicy::Once, TouchPolicy::Always, 1),
                (PinPolicy::Always, TouchPolicy::Cached, 1),
            ] {
                let mut card = Card::open(Which::Only).unwrap();
                let options = GenerateOptions {
                    slot: Some(slot()),
                    replace: true,
                    pin_policy,
                    touch_policy,
                    ..GenerateOptions::new("x")
                };
                let key = card.generate(&options, &pin(PIN), &mut || ()).unwrap();
                let ours = SecretKey::from_slice(&hands.scalar(0, 0x82)).unwrap();
                assert_eq!(key.public_key, ours.public_key().to_encoded_point(true).as_bytes());

                let (theirs, point) = peer();
                let (operations, attempts) = (hands.private_key_operations(0), hands.pin_attempts(0));
                let mut touched = 0;
                let given = pin(PIN);
                let given = (pin_policy != PinPolicy::Never).then_some(&given);
                let secret = card.ecdh(slot(), &point, given, LastTry::Refuse, &mut || touched += 1).unwrap();
                let expected =
                    p256::ecdh::diffie_hellman(theirs.to_nonzero_scalar(), ours.public_key().as_affine());
                assert_eq!(secret.expose(), expected.raw_secret_bytes().as_slice());
                assert_eq!(
                    hands.private_key_operations(0),
                    operations + 1,
                    "exactly one private-key operation"
                );
                assert_eq!(hands.pin_attempts(0), attempts + u64::from(given.is_some()));
                assert_eq!(touched, touches);
                // The same with the peer's point uncompressed.
                let whole = theirs.public_key().to_encoded_point(false);
                let again = card.ecdh(slot(), whole.as_bytes(), given, LastTry::Refuse, &mut || ()).unwrap();
                assert_eq!(again.expose(), secret.expose());
            }
        },
    );
}

#[test]
fn agrees_with_software_on_firmware_5_4() {
    agrees(OLD);
}

#[test]
fn agrees_with_software_on_firmware_5_7() {
    agrees(NEW);
}

#[test]
fn agrees_with_software_on_firmware_4() {
    agrees((4, 3, 5));
}

#[test]
fn wrong_pin_costs_one_try_and_the_last_one_needs_consent() {
    scene(
        || vec![ready(1, OLD)],
        |hands| {
            let mut card = enrolled(PinPolicy::Once, TouchPolicy::Never);
            let attempts = hands.pin_attempts(0);
            for left in [2, 1] {
                let error = unused(hands, || ecdh(&mut card, "wrong-42").unwrap_err());
                assert_eq!(error, TokenError::WrongPin { serial: 1, tries_left: left });
            }
            assert_eq!(hands.pin_attempts(0), attempts + 2, "never tried again by itself");

            // Even the right PIN is not sent without consent.
            let error = unused(hands, || ecdh(&mut card, PIN).unwrap_err());
            assert_eq!(error, TokenError::LastTry { serial: 1 });
            let changed = card.change_pin(&pin(PIN), &pin("other-42"), LastTry::Refuse);
            assert_eq!(changed.unwrap_err(), TokenError::LastTry { serial: 1 });
            assert_eq!((hands.pin_attempts(0), hands.pin_tries_left(0)), (attempts + 2, 1));

            card.ecdh(slot(), &peer().1, Some(&pin(PIN)), LastTry::Allow, &mut || ()).unwrap();
            assert_eq!(hands.pin_tries_left(0), 3);
        },
    );
}

#[test]
fn last_try_is_refused_on_firmware_without_metadata_too() {
    scene(
        || vec![ready(1, (4, 3, 5))],
        |hands| {
            let mut card = enrolled(PinPolicy::Once, TouchPolicy::Never);
            for _ in 0..2 {
                ecdh(&mut card, "wrong-42").unwrap_err();
            }
            assert_eq!(ecdh(&mut card, PIN).unwrap_err(), TokenError::LastTry { serial: 1 });
            assert_eq!(hands.pin_tries_left(0), 1);
        },
    );
}

#[test]
fn blocked_pin() {
    scene(
        || vec![ready(1, NEW)],
        |hands| {
            let mut card = enrolled(PinPolicy::Once, TouchPolicy::Never);
            for _ in 0..2 {
                ecdh(&mut card, "wrong-42").unwrap_err();
            }
            let spent = card.ecdh(slot(), &peer().1, Some(&pin("wrong-42")), LastTry::Allow, &mut || ());
            assert_eq!(spent.unwrap_err(), TokenError::PinBlocked { serial: 1 });
            let attempts = hands.pin_attempts(0);
            assert_eq!(ecdh(&mut card, PIN).unwrap_err(), TokenError::PinBlocked { serial: 1 });
            assert_eq!(hands.pin_attempts(0), attempts);
        },
    );
}

#[test]
fn no_touch_in_time_then_a_late_one() {
    scene(
        || vec![ready(1, OLD)],
        |hands| {
            let mut card = enrolled(PinPolicy::Once, TouchPolicy::Always);
            hands.never_touch(0);
            let error = unused(hands, || ecdh(&mut card, PIN).unwrap_err());
            assert_eq!(error, TokenError::TouchTimedOut { serial: 1 });
            hands.touch_after(0, 5000);
            assert_eq!(ecdh(&mut card, PIN).unwrap_err(), TokenError::TouchTimedOut { serial: 1 });
            hands.touch_after(0, 50);
            ecdh(&mut card, PIN).unwrap();
        },
    );
}

#[test]
fn pulled_midway() {
    scene(
        || vec![ready(1, OLD)],
        |hands| {
            for ins in [0x20, 0x87] {
                let mut card = Card::open(Which::Only).unwrap();
                if card.key(slot()).unwrap().is_none() {
                    card = enrolled(PinPolicy::Once, TouchPolicy::Never);
                }
                hands.pull_at(0, ins);
                let error = unused(hands, || ecdh(&mut card, PIN).unwrap_err());
                assert_eq!(error, TokenError::Removed { serial: 1 }, "at {ins:02x}");
                hands.insert(0, 0);
            }
        },
    );
}

#[test]
fn pulled_while_waiting_for_a_touch() {
    scene(
        || vec![ready(1, OLD)],
        |hands| {
            let mut card = enrolled(PinPolicy::Once, TouchPolicy::Always);
            hands.never_touch(0);
            let error = unused(hands, || {
                card.ecdh(slot(), &peer().1, Some(&pin(PIN)), LastTry::Refuse, &mut || hands.pull(0))
                    .unwrap_err()
            });
            assert_eq!(error, TokenError::Removed { serial: 1 });
        },
    );
}

#[test]
fn another_applet_in_the_middle() {
    scene(
        || vec![ready(1, OLD)],
        |hands| {
            let mut card = enrolled(PinPolicy::Once, TouchPolicy::Never);
            for sw in [0x6d00, 0x6e00, 0x6982] {
                hands.answer_at(0, 0x87, sw);
                let error = unused(hands, || ecdh(&mut card, PIN).unwrap_err());
                assert_eq!(error, TokenError::SessionLost { serial: 1 }, "{sw:04x}");
            }
            hands.answer_at(0, 0x87, 0x6f00);
            let error = unused(hands, || ecdh(&mut card, PIN).unwrap_err());
            assert!(matches!(error, TokenError::Status { status: 0x6f00, .. }), "{error}");
        },
    );
}

#[test]
fn pin_missing_slot_empty_and_bad_peer() {
    scene(
        || vec![ready(1, OLD)],
        |hands| {
            let mut card = enrolled(PinPolicy::Once, TouchPolicy::Never);
            let attempts = hands.pin_attempts(0);
            let without = card.ecdh(slot(), &peer().1, None, LastTry::Refuse, &mut || ());
            assert_eq!(without.unwrap_err(), TokenError::PinRequired { serial: 1, slot: slot() });
            let other = Slot::new(0x95).unwrap();
            let empty = card.ecdh(other, &peer().1, Some(&pin(PIN)), LastTry::Refuse, &mut || ());
            assert_eq!(empty.unwrap_err(), TokenError::SlotEmpty { serial: 1, slot: other });
            let bad = card.ecdh(slot(), &[4; 65], Some(&pin(PIN)), LastTry::Refuse, &mut || ());
            assert_eq!(bad.map(|_| ()).unwrap_err(), TokenError::BadPeer);
            assert_eq!(hands.pin_attempts(0), attempts, "no PIN is spent on what cannot work");
        },
    );
}

#[test]
fn the_pin_is_not_left_verified_for_others() {
    scene(
        || vec![ready(1, OLD)],
        |hands| {
            let mut card = enrolled(PinPolicy::Once, TouchPolicy::Never);
            let losses = hands.power_losses(0);
            ecdh(&mut card, PIN).unwrap();
            assert!(hands.power_losses(0) > losses, "the card is reset at the end");
            // And the handle goes on working after its own reset.
            ecdh(&mut card, PIN).unwrap();
        },
    );
}
