//! Holders by PGP, without PGP: what stands for their message is opened already.

use touchseal_crds::keyring::{Holder, HolderKind, PgpKey};

use super::*;
use crate::manifest::{self, EditError, ManifestError, verify};
use crate::open::OpenKeyring;
use crate::testkit::{TIME, alice, bob};

/// A holder by PGP, and what is in their message.
fn by_pgp(name: &str) -> (Holder, Zeroizing<String>) {
    let (recipient, text) = new_identity();
    let pgp = PgpKey {
        fingerprint: "0123456789ABCDEF0123456789ABCDEF01234567".to_owned(),
        public_key: format!("{KEY_BEGIN}\n"),
        identity: format!("{MESSAGE_BEGIN}\n"),
    };
    let (slot, pgp, kind) = (OPENPGP_SLOT.to_owned(), Some(pgp), HolderKind::Pgp);
    (Holder { name: name.to_owned(), kind, serial: 7, slot, recipient, pgp, ..bob().entry() }, text)
}

#[test]
fn each_kind_opens_the_same_master() {
    let (dora, text) = by_pgp("dora");
    let (spec, open) = manifest::create(vec![alice().entry(), dora.clone()], TIME).unwrap();
    let verified = verify(&spec).unwrap();
    let by_piv = alice().release_master(&verified);
    let by_pgp = unwrap_as(verified.active_wrapped(), &dora, text.as_bytes()).unwrap();
    assert!(by_pgp.equals_in_constant_time(&by_piv));
    // gpg may give the line's end back that somebody typed.
    let line = format!("{}\n", *text);
    assert_eq!(recipient_of(line.as_bytes()), Some(dora.recipient.clone()));
    assert!(
        OpenKeyring::open(&verified, unwrap_as(verified.active_wrapped(), &dora, line.as_bytes()).unwrap())
            .is_ok()
    );
    // An edit by who has no PGP key at all leaves her in.
    let edited = manifest::set_seal_after(&verified, &open, Some("12h".to_owned())).unwrap();
    assert!(unwrap_as(verify(&edited).unwrap().active_wrapped(), &dora, text.as_bytes()).is_ok());
}

#[test]
fn with_a_quorum_it_is_a_share() {
    let (dora, text) = by_pgp("dora");
    let holders = vec![alice().entry(), dora.clone()];
    let verified = verify(&manifest::create_with(holders, Some(2), TIME).unwrap().0).unwrap();
    let bytes = unwrap_as(verified.wrapped_for(&dora).unwrap(), &dora, text.as_bytes()).unwrap();
    let hers = crate::Share::recognise(&verified, dora.serial, bytes).unwrap();
    assert!(OpenKeyring::open_with_shares(&verified, vec![alice().share(&verified), hers]).is_ok());
}

#[test]
fn another_identity_and_no_identity_open_nothing() {
    let ((dora, _), (other, theirs)) = (by_pgp("dora"), by_pgp("other"));
    let verified = verify(&manifest::create(vec![dora.clone()], TIME).unwrap().0).unwrap();
    let open =
        |as_holder: &Holder, text: &[u8]| unwrap_as(verified.active_wrapped(), as_holder, text).unwrap_err();
    assert!(matches!(open(&dora, theirs.as_bytes()), UnwrapError::NotAHolder));
    assert!(matches!(open(&other, theirs.as_bytes()), UnwrapError::WrongSecret));
    for text in [&b""[..], b"AGE-SECRET-KEY-1", b"\xff", &[7; 32]] {
        assert!(matches!(open(&dora, text), UnwrapError::Malformed));
        assert_eq!(recipient_of(text), None);
    }
}

#[test]
fn a_rotation_takes_other_entries_and_the_old_identity_opens_nothing_new() {
    let ((before, old), (after, new)) = (by_pgp("dora"), by_pgp("dora"));
    let (spec, open) = manifest::create(vec![before.clone()], TIME).unwrap();
    let verified = verify(&spec).unwrap();
    let (rotated, _) = manifest::rotate_for(&verified, &open, vec![after.clone()], TIME).unwrap();
    let rotated = verify(&rotated).unwrap();
    assert!(unwrap_as(rotated.active_wrapped(), &after, new.as_bytes()).is_ok());
    assert!(unwrap_as(rotated.active_wrapped(), &before, old.as_bytes()).is_err());
}

type Change = dyn Fn(&mut Holder);

#[test]
fn an_entry_is_of_one_kind_and_whole() {
    let made = |change: &Change| {
        let (mut dora, _) = by_pgp("dora");
        change(&mut dora);
        manifest::create(vec![alice().entry(), dora], TIME).map(drop)
    };
    assert!(made(&|_| {}).is_ok());
    fn pgp(holder: &mut Holder, change: impl Fn(&mut PgpKey)) {
        change(holder.pgp.as_mut().unwrap());
    }
    let wrong: [(&str, &Change); 9] = [
        ("slot", &|holder| holder.slot = "82".to_owned()),
        ("slot", &|holder| *holder = Holder { slot: OPENPGP_SLOT.to_owned(), ..bob().entry() }),
        ("pgp", &|holder| holder.pgp = None),
        ("pgp", &|holder| *holder = Holder { pgp: holder.pgp.take(), ..bob().entry() }),
        ("pgp", &|holder| pgp(holder, |key| key.fingerprint.make_ascii_lowercase())),
        ("pgp", &|holder| pgp(holder, |key| key.fingerprint.truncate(39))),
        ("pgp", &|holder| pgp(holder, |key| key.public_key = "key".to_owned())),
        ("pgp", &|holder| pgp(holder, |key| key.identity.push_str(&"x".repeat(MAX_MESSAGE_BYTES)))),
        ("pgp", &|holder| pgp(holder, |key| key.public_key.push_str(&"x".repeat(MAX_KEY_BYTES)))),
    ];
    for (expected, change) in wrong {
        let error = made(change).unwrap_err();
        let refused = matches!(&error, EditError::Refused(ManifestError::Holder { position: 1, field }) if *field == expected);
        assert!(refused, "{expected}: {error}");
    }
    // A recipient of the other kind, or written another way.
    assert!(made(&|holder| holder.recipient = bob().entry().recipient).is_err());
    assert!(made(&|holder| holder.recipient.make_ascii_uppercase()).is_err());
    let (dora, _) = by_pgp("dora");
    let twice = manifest::create(vec![dora.clone(), Holder { name: "dora-2".to_owned(), ..dora }], TIME);
    assert!(matches!(twice, Err(EditError::Refused(ManifestError::DuplicateHolder { field: "key", .. }))));
}
