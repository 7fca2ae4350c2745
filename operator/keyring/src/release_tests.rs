//! Releases, sealed and opened, and everything that must not open.

use super::*;
use crate::manifest::{rotate, verify};
use crate::session::Session;
use crate::testkit::{ID, TIME, keyring, keyring_of};

#[test]
fn a_release_opens_in_its_session_only() {
    let (manifest, open) = keyring();
    let (session, other) = (Session::generate(), Session::generate());
    let release = seal_release(&open, session.offer(), "alice", 42).unwrap();
    let master = session.open_release(&manifest, &release).unwrap();
    assert!(master.equals_in_constant_time(open.masters().active()));

    assert_eq!(other.open_release(&manifest, &release).map(|_| ()), Err(ReleaseError::Nonce));
    let renamed = Release { nonce: other.nonce().to_owned(), ..release };
    assert_eq!(other.open_release(&manifest, &renamed).map(|_| ()), Err(ReleaseError::DoesNotOpen));
}

#[test]
fn a_session_key_swapped_under_the_same_nonce_opens_nothing() {
    let (manifest, open) = keyring();
    let (session, attacker) = (Session::generate(), Session::generate());
    let swapped = Offer::parse(&attacker.public_key(), session.nonce()).unwrap();
    let release = seal_release(&open, &swapped, "alice", 42).unwrap();
    assert_eq!(session.open_release(&manifest, &release).map(|_| ()), Err(ReleaseError::DoesNotOpen));
    assert_ne!(swapped.audience(&ID), session.audience(&ID));
}

#[test]
fn every_authenticated_word_of_a_release_counts() {
    let (manifest, open) = keyring();
    let session = Session::generate();
    let good = seal_release(&open, session.offer(), "alice", 42).unwrap();
    let other = seal_release(&open, session.offer(), "alice", 42).unwrap();
    let changed = [
        Release { holder: "bob".into(), ..good.clone() },
        Release { holder: String::new(), ..good.clone() },
        Release { serial: 43, ..good.clone() },
        Release { encapsulated_key: other.encapsulated_key, ..good.clone() },
        Release { encapsulated_key: encode_base64(&[0; 32]), ..good.clone() },
        Release { ciphertext: other.ciphertext, ..good.clone() },
    ];
    for release in changed {
        let opened = session.open_release(&manifest, &release).map(|_| ());
        assert_eq!(opened, Err(ReleaseError::DoesNotOpen), "{release:?}");
    }
    assert!(session.open_release(&manifest, &good).is_ok());
}

#[test]
fn malformed_fields_are_named() {
    let (manifest, open) = keyring();
    let session = Session::generate();
    let good = seal_release(&open, session.offer(), "alice", 42).unwrap();
    let cases = [
        (Release { encapsulated_key: "AA==".into(), ..good.clone() }, "encapsulatedKey"),
        (Release { ciphertext: "-".repeat(64), ..good.clone() }, "ciphertext"),
        (Release { ciphertext: encode_base64(&[0; 47]), ..good.clone() }, "ciphertext"),
        (Release { holder: "h".repeat(1000), ..good.clone() }, "holder"),
    ];
    for (release, field) in cases {
        let opened = session.open_release(&manifest, &release).map(|_| ());
        assert_eq!(opened, Err(ReleaseError::Malformed(field)));
    }
}

#[test]
fn a_release_of_another_generation_is_refused() {
    let (first, open) = keyring();
    let (spec, rotated_open) = rotate(&first, &open, TIME).unwrap();
    let rotated = verify(&spec).unwrap();
    let session = Session::generate();
    let stale = seal_release(&open, session.offer(), "alice", 42).unwrap();
    let expected = ReleaseError::Generation { found: 1, active: 2 };
    assert_eq!(session.open_release(&rotated, &stale).map(|_| ()), Err(expected));
    let early = seal_release(&rotated_open, session.offer(), "alice", 42).unwrap();
    let expected = ReleaseError::Generation { found: 2, active: 1 };
    assert_eq!(session.open_release(&first, &early).map(|_| ()), Err(expected));
}

/// Anybody can seal 32 bytes of their own to a session: they get nowhere.
#[test]
fn a_key_that_is_not_the_master_is_refused() {
    let (manifest, _) = keyring();
    let (_, forged) = keyring_of(ID, 7);
    let session = Session::generate();
    let release = seal_release(&forged, session.offer(), "alice", 42).unwrap();
    assert_eq!(session.open_release(&manifest, &release).map(|_| ()), Err(ReleaseError::WrongKey(1)));
}

#[test]
fn a_release_for_another_keyring_does_not_open() {
    let (manifest, _) = keyring();
    let (_, other) = keyring_of(KeyringId::from_bytes([5; 16]), 1);
    let session = Session::generate();
    let release = seal_release(&other, session.offer(), "alice", 42).unwrap();
    assert_eq!(session.open_release(&manifest, &release).map(|_| ()), Err(ReleaseError::DoesNotOpen));
}

#[test]
fn offers_are_read_strictly() {
    let session = Session::generate();
    assert_eq!(Offer::parse(&session.public_key(), session.nonce()).as_ref(), Ok(session.offer()));
    assert_eq!(Offer::parse("AA==", session.nonce()), Err(OfferError::SessionKey));
    for nonce in ["", "00", &"A".repeat(32), &"g".repeat(32), &"0".repeat(33)] {
        assert_eq!(Offer::parse(&session.public_key(), nonce), Err(OfferError::Nonce), "{nonce}");
    }
}

#[test]
fn a_session_key_that_yields_no_secret_gets_no_master() {
    let (_, open) = keyring();
    let offer = Offer::parse(&encode_base64(&[0; 32]), &"0".repeat(32)).unwrap();
    assert_eq!(seal_release(&open, &offer, "alice", 42), Err(SealError::SessionKey));
}

#[test]
fn the_audience_names_session_keyring_and_nonce() {
    let session = Session::generate();
    let audience = session.audience(&ID);
    let hash = audience.strip_prefix("touchseal.dev/session/").unwrap();
    assert_eq!((hash.len(), hex::decode(hash).is_ok()), (64, true));
    assert_ne!(audience, session.audience(&KeyringId::from_bytes([5; 16])));
    assert_ne!(audience, Offer::parse(&session.public_key(), &"0".repeat(32)).unwrap().audience(&ID));
    assert_eq!(format!("{session:?}"), format!("Session(nonce {})", session.nonce()));
}
