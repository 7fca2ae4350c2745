//! What the random events are made of: manifests of one keyring and of others, and everybody's keys and shares.

use std::sync::OnceLock;

use touchseal_crds::keyring::KeyringSpec;

use crate::manifest::{VerifiedManifest, add_holder, remove_holder, rotate, set_quorum, verify};
use crate::open::OpenKeyring;
use crate::pin::Pin;
use crate::share::Share;
use crate::testkit::{ID, TIME, keyring, keyring_of, mallory, trio};

/// Manifests an operator may be shown, with who could release them.
pub(super) struct Shown {
    pub(super) name: &'static str,
    pub(super) spec: KeyringSpec,
    /// `None` when it does not even verify.
    pub(super) pin: Option<Pin>,
}

pub(super) struct Materials {
    pub(super) shown: Vec<Shown>,
    pub(super) keys: Vec<(&'static str, OpenKeyring)>,
    /// Manifests with a quorum of two, and the shares of everybody in them.
    pub(super) split: Vec<(&'static str, VerifiedManifest, Vec<Share>)>,
}

pub(super) fn materials() -> &'static Materials {
    static MATERIALS: OnceLock<Materials> = OnceLock::new();
    MATERIALS.get_or_init(|| {
        let (first, open) = keyring();
        let (swapped, swapped_open) = keyring_of(ID, 7);
        let edited = add_holder(&first, &open, mallory().entry()).unwrap();
        let other_edit = remove_holder(&first, &open, "bob").unwrap();
        let (rotated, rotated_open) = rotate(&first, &open, TIME).unwrap();
        let carol = verify(&add_holder(&first, &open, trio()[2].entry()).unwrap()).unwrap();
        let quorum = set_quorum(&carol, &open.reopen(&carol).unwrap(), Some(2)).unwrap();
        let quorum = verify(&quorum).unwrap();
        let wider = add_holder(&quorum, &open.reopen(&quorum).unwrap(), mallory().entry()).unwrap();
        let wider = verify(&wider).unwrap();
        let mut flipped = first.spec().clone();
        flipped.revision += 1;
        let mut empty = first.spec().clone();
        empty.generations.clear();
        let shown = [
            ("first", first.spec().clone()),
            ("edited", edited),
            ("quorum", quorum.spec().clone()),
            ("wider quorum", wider.spec().clone()),
            ("edited otherwise", other_edit),
            ("rotated", rotated),
            ("swapped", swapped.spec().clone()),
            ("flipped", flipped),
            ("empty", empty),
        ]
        .map(|(name, spec)| Shown { name, pin: verify(&spec).ok().map(|m| m.pin()), spec });
        let keys = vec![("own", open), ("new own", rotated_open), ("swapped", swapped_open)];
        let split = [("quorum", quorum), ("wider quorum", wider)].map(|(name, manifest)| {
            let shares = trio().iter_mut().map(|holder| holder.share(&manifest)).collect();
            (name, manifest, shares)
        });
        let split = split.into();
        Materials { shown: shown.into(), keys, split }
    })
}
