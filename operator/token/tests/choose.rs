//! Finding and choosing a card: no service, no reader, no card, one, two, the wrong one.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

mod scene;

use scene::{NEW, OLD, ready, scene, scene_without_reader};
use touchseal_softkey::SoftKey;
use touchseal_token::{Card, Firmware, TokenError, Which, cards};

#[test]
fn no_service() {
    scene(Vec::new, |hands| {
        hands.stop_service();
        assert_eq!(cards().unwrap_err(), TokenError::NoService);
        assert_eq!(Card::open(Which::Only).unwrap_err(), TokenError::NoService);
        assert_eq!(Card::open(Which::Serial(1)).unwrap_err(), TokenError::NoService);
    });
}

#[test]
fn service_gone_while_a_card_is_open() {
    scene(
        || vec![ready(1, OLD)],
        |hands| {
            let mut card = Card::open(Which::Only).unwrap();
            hands.stop_service();
            assert_eq!(card.keys().unwrap_err(), TokenError::NoService);
        },
    );
}

#[test]
fn no_reader() {
    scene_without_reader(|_| {
        assert_eq!(cards().unwrap_err(), TokenError::NoReader);
        assert_eq!(Card::open(Which::Only).unwrap_err(), TokenError::NoReader);
    });
}

#[test]
fn another_program_holds_the_card() {
    scene(
        || vec![ready(1, OLD)],
        |_| {
            let context = pcsc::Context::establish(pcsc::Scope::User).unwrap();
            let reader = context.list_readers_owned().unwrap().swap_remove(0);
            let held = context.connect(&reader, pcsc::ShareMode::Exclusive, pcsc::Protocols::ANY).unwrap();
            let busy = TokenError::Busy { reader: reader.to_string_lossy().into_owned() };
            assert_eq!(Card::open(Which::Only).unwrap_err(), busy);
            assert_eq!(cards().unwrap_err(), busy);
            drop(held);
            Card::open(Which::Only).unwrap();
        },
    );
}

#[test]
fn every_error_says_what_to_do_next() {
    for error in
        [TokenError::NoService, TokenError::NoCard, TokenError::WrongPin { serial: 1, tries_left: 1 }]
    {
        let (what, next) = (error.to_string(), error.help());
        assert!(!what.contains('\n') && !what.ends_with('.') && !next.contains('\n'), "{what} / {next}");
        assert_ne!(what, next);
    }
    assert!(TokenError::WrongPin { serial: 1, tries_left: 1 }.to_string().ends_with("1 try left"));
}

#[test]
fn no_card() {
    scene(Vec::new, |_| {
        assert_eq!(cards().unwrap(), []);
        assert_eq!(Card::open(Which::Only).unwrap_err(), TokenError::NoCard);
        assert_eq!(Card::open(Which::Serial(7)).unwrap_err(), TokenError::NoCard);
    });
}

#[test]
fn one_card() {
    scene(
        || vec![ready(11_223_344, OLD)],
        |hands| {
            let found = cards().unwrap();
            let [info] = found.as_slice() else { panic!("{found:?}") };
            assert_eq!((info.serial, info.pin_tries_left), (11_223_344, Some(3)));
            assert_eq!(info.firmware, Firmware { major: 5, minor: 4, patch: 3 });
            assert_eq!(Card::open(Which::Only).unwrap().serial(), 11_223_344);
            let wrong = Card::open(Which::Serial(5)).unwrap_err();
            assert_eq!(wrong, TokenError::WrongCard { wanted: 5, present: vec![11_223_344] });
            assert_eq!(hands.pin_attempts(0), 0, "looking spends nothing");
        },
    );
}

#[test]
fn two_cards() {
    scene(
        || vec![ready(111, OLD), ready(222, NEW)],
        |_| {
            let several = Card::open(Which::Only).unwrap_err();
            assert_eq!(several, TokenError::SeveralCards { serials: vec![111, 222] });
            assert!(several.to_string().contains("111, 222") && several.help().contains("--serial"));
            assert_eq!(Card::open(Which::Serial(222)).unwrap().serial(), 222);
            assert_eq!(Card::open(Which::Serial(111)).unwrap().serial(), 111);
            let wrong = Card::open(Which::Serial(333)).unwrap_err();
            assert_eq!(wrong, TokenError::WrongCard { wanted: 333, present: vec![111, 222] });
        },
    );
}

#[test]
fn a_card_that_was_exchanged_is_not_taken_for_the_one_that_was_opened() {
    scene(
        || vec![ready(111, OLD), ready(222, OLD)],
        |hands| {
            hands.pull(1);
            let mut card = Card::open(Which::Serial(111)).unwrap();
            hands.insert(0, 1);
            assert_eq!(card.keys().unwrap_err(), TokenError::Removed { serial: 111 });

            // Nor when the reader did not notice.
            let mut card = Card::open(Which::Only).unwrap();
            hands.change_serial(1, 333);
            let exchanged = TokenError::WrongCard { wanted: 222, present: vec![333] };
            assert_eq!(card.keys().unwrap_err(), exchanged);
        },
    );
}

#[test]
fn firmware_4_tells_its_serial_elsewhere() {
    scene(
        || vec![ready(4_004_004, (4, 3, 5))],
        |_| {
            let card = Card::open(Which::Only).unwrap();
            assert_eq!(card.serial(), 4_004_004);
            assert_eq!(card.info().pin_tries_left, Some(3));
        },
    );
}

#[test]
fn too_old() {
    scene(
        || vec![SoftKey::builder(3).firmware(3, 4, 0).build().unwrap()],
        |_| {
            let firmware = Firmware { major: 3, minor: 4, patch: 0 };
            assert_eq!(Card::open(Which::Only).unwrap_err(), TokenError::UnsupportedFirmware { firmware });
            assert_eq!(cards().unwrap(), []);
        },
    );
}
