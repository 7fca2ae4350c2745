//! Pins against manifests that all verify by themselves.

use super::*;
use crate::manifest::{add_holder, remove_holder, rotate, rotate_to, verify};
use crate::testkit::{ID, SoftHolder, TIME, keyring, keyring_of, mallory, master};

#[test]
fn a_pin_knows_its_manifest_and_follows_the_line() {
    let (first, open) = keyring();
    let pin = first.pin();
    assert_eq!(pin.check(&first), PinCheck::Same);
    let edited = verify(&add_holder(&first, &open, mallory().entry()).unwrap()).unwrap();
    assert_eq!(pin.check(&edited), PinCheck::Newer(edited.pin()));
    let rotated = verify(&rotate(&first, &open, TIME).unwrap().0).unwrap();
    assert_eq!(pin.check(&rotated), PinCheck::Newer(rotated.pin()));
    assert_eq!(rotated.pin().generation, 2);
}

#[test]
fn another_keyring_is_a_changed_fingerprint() {
    let (first, _) = keyring();
    let (forged, _) = keyring_of(ID, 7);
    let PinCheck::Refused(why) = first.pin().check(&forged) else { panic!() };
    assert_eq!(why.reason(), Reason::FingerprintChanged);
}

#[test]
fn an_older_revision_is_a_rollback() {
    let (first, open) = keyring();
    let edited = verify(&add_holder(&first, &open, mallory().entry()).unwrap()).unwrap();
    let check = edited.pin().check(&first);
    assert_eq!(check, PinCheck::Refused(PinMismatch::RolledBack { pinned: 2, found: 1 }));
}

/// As a restored backup brings it: an older manifest is met by a pin of a later generation, and the other way round.
#[test]
fn what_is_from_before_a_rotation_is_a_rollback_and_what_is_from_after_it_is_newer() {
    let (first, open) = keyring();
    let rotated = verify(&rotate(&first, &open, TIME).unwrap().0).unwrap();
    let check = rotated.pin().check(&first);
    assert_eq!(check, PinCheck::Refused(PinMismatch::RolledBack { pinned: 2, found: 1 }));
    assert_eq!(first.pin().check(&rotated), PinCheck::Newer(rotated.pin()));
}

/// Whoever learned generation 1's master can endorse a generation 2 of their own: same fingerprint, other end.
#[test]
fn a_fork_by_a_leaked_old_master_is_refused_by_who_saw_the_real_successor() {
    let (first, open) = keyring();
    let rotated = verify(&rotate(&first, &open, TIME).unwrap().0).unwrap();
    let (forged, forged_open) = rotate_to(&first, &open, master(0x66), TIME).unwrap();
    let forged = verify(&forged).unwrap();
    assert_eq!(forged.fingerprint(), rotated.fingerprint());
    assert_eq!(rotated.pin().check(&forged), PinCheck::Refused(PinMismatch::ForkedGeneration(2)));
    let longer = verify(&rotate(&forged, &forged_open, TIME).unwrap().0).unwrap();
    assert_eq!(rotated.pin().check(&longer), PinCheck::Refused(PinMismatch::ForkedGeneration(2)));
}

#[test]
fn a_pinned_generation_that_is_missing_is_a_fork() {
    let (first, open) = keyring();
    let rotated = verify(&rotate(&first, &open, TIME).unwrap().0).unwrap();
    let mut shorter = add_holder(&first, &open, mallory().entry()).unwrap();
    shorter.revision = 9;
    crate::testkit::resign(&mut shorter, &ID, &master(1));
    let shorter = verify(&shorter).unwrap();
    assert_eq!(rotated.pin().check(&shorter), PinCheck::Refused(PinMismatch::ForkedGeneration(2)));
}

/// Two edits of one revision, both signed: swapping them would undo a removal without lowering the revision.
#[test]
fn two_manifests_of_one_revision_are_a_fork() {
    let (first, open) = keyring();
    let removed = verify(&remove_holder(&first, &open, "bob").unwrap()).unwrap();
    let carol = SoftHolder::new("carol", 0x0c);
    let added = verify(&add_holder(&first, &open, carol.entry()).unwrap()).unwrap();
    assert_eq!(removed.spec().revision, added.spec().revision);
    assert_eq!(removed.pin().check(&added), PinCheck::Refused(PinMismatch::ForkedRevision(2)));
}

#[test]
fn a_pin_reads_back_what_it_was_stored_as() {
    let pin = keyring().0.pin();
    let text = serde_json::to_string(&pin).unwrap();
    assert_eq!(serde_json::from_str::<Pin>(&text).unwrap(), pin);
}
