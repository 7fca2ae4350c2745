//! What memory says: to first sights, edits, swaps, forks, rollbacks and namesakes.

use super::*;
use crate::card::testing::holder;
use touchseal_keyring::{OpenKeyring, manifest};

const SERVER: Option<&str> = Some("https://one.example");
const OTHER: Option<&str> = Some("https://two.example");

fn keyring() -> (VerifiedManifest, OpenKeyring) {
    let (spec, open) = manifest::create(vec![holder("anna", 1)], "2026-01-01T00:00:00Z").unwrap();
    (manifest::verify(&spec).unwrap(), open)
}

/// The next revision, with one more holder.
fn edited(before: &VerifiedManifest, open: &OpenKeyring, name: &str) -> VerifiedManifest {
    manifest::verify(&manifest::add_holder(before, open, holder(name, 2)).unwrap()).unwrap()
}

fn entry(server: Option<&str>, name: &str, manifest: &VerifiedManifest) -> Entry {
    Entry::of(server, name, manifest)
}

/// The line and the mismatch of a manifest that must be stopped.
#[track_caller]
fn stopped(verdict: Verdict) -> (usize, PinMismatch) {
    match verdict {
        Verdict::Changed { line, mismatch } => (line, mismatch),
        other => panic!("not stopped: {other:?}"),
    }
}

#[test]
fn the_first_sight_is_unknown_and_the_second_known() {
    let (manifest, _) = keyring();
    let Verdict::Unknown(new) = judge(&[], SERVER, "main", &manifest) else { panic!("known") };
    let entries = remember(Vec::new(), new);
    assert_eq!(judge(&entries, SERVER, "main", &manifest), Verdict::Known);
}

#[test]
fn the_same_keyring_is_introduced_to_every_place_it_has_not_gone_back_in() {
    let (first, open) = keyring();
    let second = edited(&first, &open, "ben");
    let file = [entry(None, "main", &first)];
    for present in [&first, &second] {
        let introduced = judge(&file, SERVER, "main", present);
        assert_eq!(introduced, Verdict::Introduced(entry(SERVER, "main", present)));
    }
    let cluster = [entry(SERVER, "main", &first)];
    for (server, name) in [(None, "main"), (OTHER, "main"), (SERVER, "other")] {
        let introduced = judge(&cluster, server, name, &first);
        assert_eq!(introduced, Verdict::Introduced(entry(server, name, &first)));
    }
}

#[test]
fn a_swapped_keyring_is_changed_and_names_its_line() {
    let (ours, theirs) = (keyring().0, keyring().0);
    for place in [SERVER, None] {
        let entries = [entry(place, "else", &ours), entry(place, "main", &ours)];
        let (line, mismatch) = stopped(judge(&entries, place, "main", &theirs));
        assert_eq!(line, 2);
        assert!(matches!(mismatch, PinMismatch::FingerprintChanged { .. }));
    }
}

/// Knowing a keyring under one name does not let it take the place of another.
#[test]
fn a_keyring_swapped_for_another_known_one_is_changed() {
    let (prod, staging) = (keyring().0, keyring().0);
    for place in [SERVER, None] {
        let entries = [entry(place, "prod", &prod), entry(place, "staging", &staging)];
        assert_eq!(stopped(judge(&entries, place, "prod", &staging)).0, 1);
    }
}

#[test]
fn edits_advance_and_never_go_back() {
    let (first, open) = keyring();
    let second = edited(&first, &open, "ben");
    for place in [SERVER, None] {
        let entries = vec![entry(place, "main", &first)];
        let Verdict::Advanced(newer) = judge(&entries, place, "main", &second) else { panic!("not newer") };
        let entries = remember(entries, newer);
        assert_eq!(entries.len(), 1);
        let (_, mismatch) = stopped(judge(&entries, place, "main", &first));
        assert!(matches!(mismatch, PinMismatch::RolledBack { .. }), "{mismatch:?}");
    }
}

/// A git writer applies what was signed once, or signed by a holder who was removed since, under a name of their choice.
#[test]
fn another_name_hides_neither_an_older_revision_nor_a_fork() {
    let (first, open) = keyring();
    let second = edited(&first, &open, "ben");
    let fork = edited(&first, &open, "eve");
    for known in [SERVER, None] {
        let entries = [entry(known, "main", &second)];
        for (server, name) in [(SERVER, "other"), (OTHER, "main"), (OTHER, "other"), (None, "other")] {
            let (line, mismatch) = stopped(judge(&entries, server, name, &first));
            assert_eq!(line, 1);
            assert!(matches!(mismatch, PinMismatch::RolledBack { .. }), "{mismatch:?}");
            let (_, mismatch) = stopped(judge(&entries, server, name, &fork));
            assert!(matches!(mismatch, PinMismatch::ForkedRevision(2)), "{mismatch:?}");
        }
    }
}

#[test]
fn another_beginning_under_a_known_id_is_no_other_keyring() {
    let (ours, theirs) = (keyring().0, keyring().0);
    let mut known = entry(SERVER, "main", &ours);
    known.id = Some(theirs.id().to_string());
    let (_, mismatch) = stopped(judge(&[known], OTHER, "other", &theirs));
    assert!(matches!(mismatch, PinMismatch::FingerprintChanged { .. }));
}

/// A cluster that has not been given an edit yet must still be openable, but it may not take another turn.
#[test]
fn a_cluster_known_at_an_older_state_may_lag_behind_but_not_fork() {
    let (first, open) = keyring();
    let (second, fork) = (edited(&first, &open, "ben"), edited(&first, &open, "eve"));
    let entries = [entry(SERVER, "main", &first), entry(None, "main", &second)];
    assert_eq!(judge(&entries, SERVER, "main", &first), Verdict::Known);
    assert_eq!(newer_known(&entries, &first), Some(&entries[1]), "and it is told");
    assert_eq!(newer_known(&entries, &second), None);
    let (line, mismatch) = stopped(judge(&entries, SERVER, "main", &fork));
    assert_eq!((line, mismatch), (2, PinMismatch::ForkedRevision(2)));

    let (rotated, _) = manifest::rotate(&first, &open, "2026-02-01T00:00:00Z").unwrap();
    let rotated = manifest::verify(&rotated).unwrap();
    let entries = [entry(SERVER, "main", &first), entry(None, "main", &rotated)];
    assert_eq!(judge(&entries, SERVER, "main", &first), Verdict::Known, "a generation behind");
    stopped(judge(&entries, SERVER, "main", &fork));
}

#[test]
fn a_file_that_goes_back_is_stopped_wherever_the_newer_one_was_seen() {
    let (first, open) = keyring();
    let second = edited(&first, &open, "ben");
    let entries = [entry(None, "main", &first), entry(SERVER, "main", &second)];
    let (line, mismatch) = stopped(judge(&entries, None, "main", &first));
    assert!(line == 2 && matches!(mismatch, PinMismatch::RolledBack { .. }), "{mismatch:?}");
}

#[test]
fn two_clusters_may_each_have_a_keyring_of_one_name() {
    let (one, two) = (keyring().0, keyring().0);
    let entries = vec![entry(SERVER, "prod", &one)];
    let Verdict::Unknown(new) = judge(&entries, OTHER, "prod", &two) else { panic!("not asked") };
    let entries = remember(entries, new);
    assert_eq!(judge(&entries, SERVER, "prod", &one), Verdict::Known);
    assert_eq!(judge(&entries, OTHER, "prod", &two), Verdict::Known);
}

#[test]
fn a_namesake_of_a_known_file_or_cluster_is_asked_about_with_both_fingerprints() {
    let (ours, theirs) = (keyring().0, keyring().0);
    for (known, seen) in [(None, SERVER), (SERVER, None)] {
        let entries = vec![entry(known, "prod", &ours)];
        let verdict = judge(&entries, seen, "prod", &theirs);
        let Verdict::Namesake { entry: new, line: 1, pinned } = verdict else { panic!("{verdict:?}") };
        assert_eq!((pinned, new.pin.fingerprint), (ours.fingerprint(), theirs.fingerprint()));
        let entries = remember(entries, new);
        assert_eq!(judge(&entries, seen, "prod", &theirs), Verdict::Known, "once accepted");
        assert_eq!(judge(&entries, known, "prod", &ours), Verdict::Known);
    }
    // Known elsewhere under another name, it is still not what the file of this name said.
    let entries = [entry(None, "prod", &ours), entry(OTHER, "staging", &theirs)];
    let verdict = judge(&entries, SERVER, "prod", &theirs);
    assert!(matches!(verdict, Verdict::Namesake { line: 1, .. }), "{verdict:?}");
}

/// A second keyring of a name among the files is made here (`keyring create`), or a line is removed: never accepted.
#[test]
fn a_second_file_of_a_name_is_changed_unless_it_was_made_here() {
    let (one, two) = (keyring().0, keyring().0);
    let entries = vec![entry(None, "main", &one)];
    stopped(judge(&entries, None, "main", &two));
    let entries = remember(entries, entry(None, "main", &two));
    assert_eq!(entries.len(), 2);
    assert_eq!(judge(&entries, None, "main", &one), Verdict::Known);
    assert_eq!(judge(&entries, None, "main", &two), Verdict::Known);
    stopped(judge(&entries, None, "main", &keyring().0));
}
