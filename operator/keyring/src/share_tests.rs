//! Sharing, from a manifest to the master and back, and what a quorum must not let pass.

use super::*;
use crate::manifest::{
    EditError, ManifestError, add_holder, create_with, remove_holder, rotate, set_quorum, verify,
};
use crate::open::{OpenError, OpenKeyring};
use crate::release::{ReleaseError, seal_share};
use crate::session::Session;
use crate::testkit::{ID, SoftHolder, TIME, alice, bob, keyring, mallory, master, quorum, quorum_of, trio};

fn shares(manifest: &VerifiedManifest, places: &[usize]) -> Vec<Share> {
    places.iter().map(|place| trio()[*place].share(manifest)).collect()
}

#[test]
fn any_two_of_three_open_it_in_any_order_with_one_operation_each() {
    let (manifest, open) = quorum();
    assert_eq!((manifest.quorum(), manifest.active_wrapped()), (Some(2), ""));
    for places in [[0, 1], [1, 0], [0, 2], [2, 1]] {
        let opened = OpenKeyring::open_with_shares(&manifest, shares(&manifest, &places)).unwrap();
        assert!(opened.masters().active().equals_in_constant_time(open.masters().active()));
    }
    OpenKeyring::open_with_shares(&manifest, shares(&manifest, &[2, 0, 1])).unwrap();
    for mut holder in trio() {
        holder.share(&manifest);
        assert_eq!(holder.operations, 1);
    }
}

#[test]
fn one_holder_alone_opens_nothing_however_often_they_come() {
    let (manifest, _) = quorum();
    for places in [vec![], vec![1], vec![1, 1], vec![0, 0, 0]] {
        let opened = OpenKeyring::open_with_shares(&manifest, shares(&manifest, &places));
        let found = usize::from(!places.is_empty());
        assert_eq!(opened.unwrap_err(), OpenError::TooFewShares { found, needed: 2 });
    }
    // Nor do two of three that it takes, though their points lie on some polynomial.
    let holders = trio().iter().map(SoftHolder::entry).collect();
    let three = verify(&create_with(holders, Some(3), TIME).unwrap().0).unwrap();
    let opened = OpenKeyring::open_with_shares(&three, shares(&three, &[0, 2]));
    assert_eq!(opened.unwrap_err(), OpenError::TooFewShares { found: 2, needed: 3 });
    OpenKeyring::open_with_shares(&three, shares(&three, &[2, 0, 1])).unwrap();
    // What one holder has is not the master, either.
    for mut holder in trio() {
        let alone = OpenKeyring::open(&manifest, holder.share(&manifest).bytes.duplicate());
        assert_eq!(alone.unwrap_err(), OpenError::WrongMaster(1));
    }
}

#[test]
fn only_the_share_that_the_manifest_commits_to_is_recognised() {
    let (manifest, _) = quorum();
    let mut right = alice().share(&manifest).bytes.duplicate();
    let serial = alice().serial;
    assert!(Share::recognise(&manifest, serial, right.duplicate()).is_ok());
    let anothers = Share::recognise(&manifest, bob().serial, right.duplicate());
    assert_eq!(anothers.unwrap_err(), ShareError::Wrong);
    let strangers = Share::recognise(&manifest, mallory().serial, right.duplicate());
    assert_eq!(strangers.unwrap_err(), ShareError::NotAHolder(mallory().serial));
    assert_eq!(Share::recognise(&keyring().0, serial, right.duplicate()).unwrap_err(), ShareError::NoQuorum);
    right.expose_mut()[31] ^= 1;
    assert_eq!(Share::recognise(&manifest, serial, right).unwrap_err(), ShareError::Wrong);
    // The same sharing under another keyring's id is another share.
    let (other, _) = quorum_of(KeyringId::from_bytes([7; 16]), 1);
    let theirs = alice().share(&other).bytes.duplicate();
    assert_eq!(Share::recognise(&manifest, serial, theirs).unwrap_err(), ShareError::Wrong);
}

#[test]
fn shares_of_two_revisions_do_not_add_up() {
    let (manifest, open) = quorum();
    let edited = verify(&add_holder(&manifest, &open, mallory().entry()).unwrap()).unwrap();
    let mixed = vec![alice().share(&manifest), bob().share(&edited)];
    assert!(matches!(OpenKeyring::open_with_shares(&edited, mixed), Err(OpenError::TooFewShares { .. })));
    let old = alice().share(&manifest).bytes.duplicate();
    assert_eq!(Share::recognise(&edited, alice().serial, old).unwrap_err(), ShareError::Wrong);
    // Arithmetic holds that, too, not the revision alone.
    let mut forged = alice().share(&manifest);
    forged.revision = edited.spec().revision;
    let opened = OpenKeyring::open_with_shares(&edited, vec![forged, bob().share(&edited)]);
    assert_eq!(opened.unwrap_err(), OpenError::WrongMaster(1));
}

#[test]
fn every_edit_keeps_the_quorum_and_shares_anew() {
    let (manifest, open) = quorum();
    let dave = SoftHolder::new("dave", 0x0d);
    let added = verify(&add_holder(&manifest, &open, dave.entry()).unwrap()).unwrap();
    assert_eq!((added.quorum(), added.shares().count()), (Some(2), 4));
    let open = open.reopen(&added).unwrap();
    let removed = verify(&remove_holder(&added, &open, "bob").unwrap()).unwrap();
    assert_eq!(removed.shares().map(|(_, share)| share.index).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(removed.wrapped_for(&bob().entry()).is_none());
    let open = open.reopen(&removed).unwrap();
    let (rotated, both) = rotate(&removed, &open, TIME).unwrap();
    let rotated = verify(&rotated).unwrap();
    let [first, second] = rotated.spec().generations.as_slice() else { panic!() };
    assert!(first.shares.is_empty() && first.wrapped.is_some());
    assert!(second.shares.len() == 3 && second.wrapped.is_none());
    let opened = OpenKeyring::open_with_shares(&rotated, shares(&rotated, &[0, 2])).unwrap();
    assert_eq!(opened.generations().collect::<Vec<_>>(), [2, 1]);
    // The quorum goes up, and away again.
    let three = verify(&set_quorum(&rotated, &both, Some(3)).unwrap()).unwrap();
    assert_eq!(three.quorum(), Some(3));
    let alone = set_quorum(&three, &both.reopen(&three).unwrap(), None).unwrap();
    let alone = verify(&alone).unwrap();
    OpenKeyring::open(&alone, alice().release_master(&alone)).unwrap();
}

#[test]
fn a_quorum_that_cannot_be_met_is_not_written() {
    let (manifest, open) = keyring();
    for quorum in [0, 1, 3, 65] {
        let edited = set_quorum(&manifest, &open, Some(quorum));
        assert!(matches!(edited, Err(EditError::Refused(ManifestError::Quorum(_)))), "{quorum} of 2");
    }
    let mut twice = bob().entry();
    twice.serial = alice().serial;
    let made = create_with(vec![alice().entry(), twice], Some(2), TIME);
    assert!(matches!(made, Err(EditError::Refused(ManifestError::Quorum(_)))), "two keys on one YubiKey");
    let two = create_with(vec![alice().entry(), bob().entry()], Some(2), TIME).unwrap();
    let two = (verify(&two.0).unwrap(), two.1);
    let removed = remove_holder(&two.0, &two.1, "bob");
    assert!(matches!(removed, Err(EditError::Refused(ManifestError::Quorum(_)))), "one holder of two");
}

#[test]
fn a_share_is_released_to_one_session_in_its_holders_name() {
    let (manifest, _) = quorum();
    let session = Session::generate();
    let release = seal_share(&alice().share(&manifest), &ID, session.offer()).unwrap();
    assert_eq!((release.holder.as_str(), release.serial), ("alice", alice().serial));
    let opened = session.open_share(&manifest, &release).unwrap();
    assert!(opened.bytes.equals_in_constant_time(&alice().share(&manifest).bytes));

    let refused = |change: &dyn Fn(&mut touchseal_crds::unseal_request::ShareRelease)| {
        let mut changed = release.clone();
        change(&mut changed);
        session.open_share(&manifest, &changed).unwrap_err()
    };
    assert_eq!(refused(&|r| r.nonce = "0".repeat(32)), ReleaseError::Nonce);
    assert_eq!(refused(&|r| r.revision = 2), ReleaseError::Revision { found: 2, here: 1 });
    assert_eq!(refused(&|r| r.serial = bob().serial), ReleaseError::DoesNotOpen);
    assert_eq!(refused(&|r| r.holder = "bob".into()), ReleaseError::DoesNotOpen);
    assert_eq!(refused(&|r| r.ciphertext.clear()), ReleaseError::Malformed("ciphertext"));
    let other = Session::generate();
    let redirected = seal_share(&alice().share(&manifest), &ID, other.offer()).unwrap();
    let redirected = refused(&|r| r.ciphertext = redirected.ciphertext.clone());
    assert_eq!(redirected, ReleaseError::DoesNotOpen);
    // A share in another holder's name is no share of theirs.
    let mut lie = alice().share(&manifest);
    lie.of = HolderRecord { holder: "bob".into(), serial: bob().serial };
    let lie = seal_share(&lie, &ID, session.offer()).unwrap();
    assert_eq!(session.open_share(&manifest, &lie).unwrap_err(), ReleaseError::Share(ShareError::Wrong));
    // And none is a release of a master, whatever is put into its fields.
    assert_eq!(
        session.open_share(&keyring().0, &release).unwrap_err(),
        ReleaseError::Share(ShareError::NoQuorum)
    );
}

#[test]
fn splitting_draws_new_shares_each_time() {
    let (one, two) = (split(&master(1), 2, 3).unwrap(), split(&master(1), 2, 3).unwrap());
    assert!(one.iter().zip(&two).all(|(one, two)| !one.equals_in_constant_time(two)));
    assert!(split(&master(1), 4, 3).is_none());
}

#[test]
fn debug_shows_nothing_of_a_share() {
    assert_eq!(format!("{:?}", alice().share(&quorum().0)), "Share(alice, revision 1)");
}
