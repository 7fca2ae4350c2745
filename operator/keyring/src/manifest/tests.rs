//! Edits and their limits. Tampering is tested against files, in `vectors`.

use serde_json::Value;
use touchseal_crds::keyring::{GenerationState, KeyringSpec};

use super::*;
use crate::master::MasterKey;
use crate::open::{OpenError, OpenKeyring};
use crate::testkit::{ID, SoftHolder, TIME, alice, bob, keyring, keyring_of, mallory, master, resign};

#[test]
fn a_new_keyring_verifies_and_opens_for_each_holder() {
    let (spec, open) = create(vec![alice().entry(), bob().entry()], TIME).unwrap();
    let manifest = verify(&spec).unwrap();
    assert_eq!((manifest.spec().revision, manifest.active_generation()), (1, 1));
    for mut holder in [alice(), bob()] {
        let reopened = OpenKeyring::open(&manifest, holder.release_master(&manifest)).unwrap();
        assert!(reopened.masters().active().equals_in_constant_time(open.masters().active()));
    }
}

#[test]
fn two_new_keyrings_share_nothing() {
    let one = verify(&create(vec![alice().entry()], TIME).unwrap().0).unwrap();
    let two = verify(&create(vec![alice().entry()], TIME).unwrap().0).unwrap();
    assert_ne!(one.id(), two.id());
    assert_ne!(one.fingerprint(), two.fingerprint());
}

#[test]
fn nobody_and_no_time_make_no_keyring() {
    assert!(matches!(create(vec![], TIME), Err(EditError::Wrap(_))));
    assert!(matches!(create(vec![alice().entry()], "yesterday"), Err(EditError::Time(_))));
    let twice = create(vec![alice().entry(), alice().entry()], TIME);
    assert!(matches!(twice, Err(EditError::Refused(ManifestError::DuplicateHolder { position: 1, .. }))));
}

#[test]
fn every_changed_leaf_of_a_signed_manifest_is_refused() {
    let (first, open) = keyring();
    let (spec, _) = rotate(&first, &open, TIME).unwrap();
    let original = serde_json::to_value(&spec).unwrap();
    let mut pointers = Vec::new();
    leaves(&original, String::new(), &mut pointers);
    assert!(pointers.len() > 25, "{pointers:?}");
    for pointer in pointers {
        let mut changed = original.clone();
        let leaf = changed.pointer_mut(&pointer).unwrap();
        *leaf = match leaf {
            Value::Number(n) => (n.as_i64().unwrap() + 1).into(),
            Value::String(text) => flip_last(text).into(),
            other => panic!("{other}"),
        };
        let accepted = serde_json::from_value::<KeyringSpec>(changed).is_ok_and(|spec| verify(&spec).is_ok());
        assert!(!accepted, "{pointer}");
    }
    assert!(verify(&spec).is_ok());
}

fn leaves(value: &Value, path: String, out: &mut Vec<String>) {
    match value {
        Value::Object(members) => members.iter().for_each(|(key, v)| leaves(v, format!("{path}/{key}"), out)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(i, v)| leaves(v, format!("{path}/{i}"), out))
        }
        _ => out.push(path),
    }
}

/// Another last character of the same kind, so that the encoding around it stays plausible.
fn flip_last(text: &str) -> String {
    let (rest, last) = text.split_at(text.len() - 1);
    match last {
        "=" => format!(
            "{}{}=",
            &rest[..rest.len() - 2],
            if &rest[rest.len() - 2..] == "A=" { "E=" } else { "A=" }
        ),
        "\n" => format!("{rest}\n\n"),
        "0" => format!("{rest}1"),
        _ => format!("{rest}0"),
    }
}

#[test]
fn a_holder_is_added_and_removed() {
    let (manifest, open) = keyring();
    let mut carol = SoftHolder::new("carol", 0x0c);
    let added = verify(&add_holder(&manifest, &open, carol.entry()).unwrap()).unwrap();
    assert_eq!(added.spec().revision, 2);
    assert_eq!(added.fingerprint(), manifest.fingerprint());
    let open = OpenKeyring::open(&added, carol.release_master(&added)).unwrap();

    let removed = verify(&remove_holder(&added, &open, "carol").unwrap()).unwrap();
    assert_eq!(removed.spec().revision, 3);
    assert_eq!(
        removed.holders().map(|(holder, _)| holder.name.as_str()).collect::<Vec<_>>(),
        ["alice", "bob"]
    );
    let key = carol.key();
    let error = crate::holder::unwrap(removed.active_wrapped(), &key, &mut |p| Ok::<_, ()>(carol.ecdh(p)));
    assert!(matches!(error, Err(crate::UnwrapError::NotAHolder)));
    assert!(matches!(remove_holder(&added, &open, "dave"), Err(EditError::NoSuchHolder(_))));
}

#[test]
fn rotation_and_retirement_keep_the_live_generations_openable_with_one_operation() {
    let (first, open) = keyring();
    let (spec, open) = rotate(&first, &open, TIME).unwrap();
    let second = verify(&spec).unwrap();
    let (spec, open) = rotate(&second, &open, TIME).unwrap();
    let third = verify(&spec).unwrap();
    assert_eq!(open.generations().collect::<Vec<_>>(), [3, 2, 1]);

    let mut holder = alice();
    let opened = OpenKeyring::open(&third, holder.release_master(&third)).unwrap();
    assert_eq!(opened.generations().collect::<Vec<_>>(), [3, 2, 1]);
    assert!(opened.masters().of(1).unwrap().equals_in_constant_time(&master(1)));
    assert_eq!(holder.operations, 1);

    // The middle one goes: the oldest has to be wrapped to the newest now.
    let retired = verify(&retire(&third, &open, 2).unwrap()).unwrap();
    assert_eq!(retired.spec().generations[1].state, GenerationState::Retired);
    let opened = OpenKeyring::open(&retired, holder.release_master(&retired)).unwrap();
    assert_eq!(opened.generations().collect::<Vec<_>>(), [3, 1]);
    assert_eq!(retired.fingerprint(), first.fingerprint());
    assert!(matches!(retire(&retired, &opened, 2), Err(EditError::NotRetiring(2))));
    assert!(matches!(retire(&retired, &opened, 3), Err(EditError::NotRetiring(3))));
}

#[test]
fn an_edit_wants_the_keyring_open_at_that_very_manifest() {
    let (manifest, open) = keyring();
    let next = verify(&add_holder(&manifest, &open, mallory().entry()).unwrap()).unwrap();
    assert!(matches!(add_holder(&next, &open, bob().entry()), Err(EditError::NotOpen)));
    assert!(matches!(rotate(&next, &open, TIME), Err(EditError::NotOpen)));
    let (_, foreign) = keyring_of(ID, 7);
    assert!(matches!(retire(&manifest, &foreign, 1), Err(EditError::NotOpen)));
}

#[test]
fn reopening_works_while_the_active_master_is_in_hand() {
    let (first, open) = keyring();
    let edited = verify(&add_holder(&first, &open, mallory().entry()).unwrap()).unwrap();
    assert_eq!(open.reopen(&edited).unwrap().manifest(), &edited);

    let (spec, rotated_open) = rotate(&first, &open, TIME).unwrap();
    let rotated = verify(&spec).unwrap();
    assert_eq!(open.reopen(&rotated).map(|_| ()).unwrap_err(), OpenError::NeedsRelease(2));
    assert_eq!(rotated_open.reopen(&first).unwrap().generations().collect::<Vec<_>>(), [1]);

    let (other, _) = keyring_of(KeyringId::from_bytes([5; 16]), 1);
    assert_eq!(open.reopen(&other).map(|_| ()).unwrap_err(), OpenError::OtherKeyring);
    let (forged, _) = keyring_of(ID, 7);
    assert_eq!(open.reopen(&forged).map(|_| ()).unwrap_err(), OpenError::WrongMaster(1));
}

#[test]
fn only_the_active_master_opens_a_manifest() {
    let (first, open) = keyring();
    let rotated = verify(&rotate(&first, &open, TIME).unwrap().0).unwrap();
    for wrong in [master(1), master(2), MasterKey::generate()] {
        assert_eq!(OpenKeyring::open(&rotated, wrong).map(|_| ()).unwrap_err(), OpenError::WrongMaster(2));
    }
}

#[test]
fn an_older_master_that_is_not_the_promised_one_is_refused() {
    let (first, open) = keyring();
    let (mut spec, open) = rotate(&first, &open, TIME).unwrap();
    let recipient = crate::derive::wrapping_identity(open.masters().active(), &ID).unwrap().to_public();
    spec.generations[0].wrapped = Some(crate::agefile::seal(&master(9), &[&recipient]).unwrap());
    resign(&mut spec, &ID, open.masters().active());
    let manifest = verify(&spec).unwrap();
    let error = OpenKeyring::open(&manifest, open.masters().active().duplicate()).map(|_| ()).unwrap_err();
    assert_eq!(error, OpenError::BrokenGeneration(1));
}

#[test]
fn names_that_deceive_a_reader_are_refused() {
    let long = "x".repeat(64);
    for name in ["", " alice", "al\nice", "al\u{202e}ice", "al\u{200b}ice", "\u{1b}[2J", long.as_str()] {
        let mut entry = alice().entry();
        entry.name = name.to_owned();
        let error = create(vec![entry], TIME).map(|_| ()).unwrap_err();
        let refused = matches!(error, EditError::Refused(ManifestError::Holder { field: "name", .. }));
        assert!(refused, "{name:?}: {error}");
    }
    let mut entry = alice().entry();
    entry.name = "Zoë Müller".to_owned();
    assert!(create(vec![entry], TIME).is_ok());
}

#[test]
fn recipients_of_a_namespace_are_listed_newest_first() {
    let (first, open) = keyring();
    let (_, open) = rotate(&first, &open, TIME).unwrap();
    let spec = open.recipient_spec("shop").unwrap();
    assert_eq!(spec.key_generation, 2);
    assert_eq!(spec.recipient, spec.generations[0].recipient);
    let listed: Vec<_> = spec.generations.iter().map(|g| (g.generation, g.state)).collect();
    assert_eq!(listed, [(2, GenerationState::Active), (1, GenerationState::Retiring)]);
    assert_ne!(spec.generations[0].recipient, spec.generations[1].recipient);
    assert!(open.digest_key("shop", 1).unwrap().is_some());
    assert!(open.digest_key("shop", 3).unwrap().is_none());
    assert!(open.recipient_spec("Not a namespace").is_err());
}

#[test]
fn a_policy_that_is_the_default_leaves_no_field_so_that_older_programs_read_the_manifest() {
    use touchseal_crds::keyring::{EmergencyEnrolment, KeyRemoval};
    let (manifest, open) = keyring();
    let text = |spec: &KeyringSpec| serde_json::to_string(spec).unwrap();
    let allowed = set_emergency_enrolment(&manifest, &open, EmergencyEnrolment::Allow).unwrap();
    assert!(text(&allowed).contains("emergencyEnrolment"));
    let manifest = verify(&allowed).unwrap();
    let open = open.reopen(&manifest).unwrap();
    let sealing = set_on_key_removal(&manifest, &open, KeyRemoval::Seal).unwrap();
    assert!(text(&sealing).contains("onKeyRemoval"));
    let manifest = verify(&sealing).unwrap();
    let open = open.reopen(&manifest).unwrap();
    let denied = set_emergency_enrolment(&manifest, &open, EmergencyEnrolment::Deny).unwrap();
    let manifest = verify(&denied).unwrap();
    let open = open.reopen(&manifest).unwrap();
    let kept = set_on_key_removal(&manifest, &open, KeyRemoval::Keep).unwrap();
    assert!(!text(&kept).contains("emergencyEnrolment") && !text(&kept).contains("onKeyRemoval"));
}
