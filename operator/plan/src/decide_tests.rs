//! What is decided in which situation. Each test sets up one situation by its difference from "everything in place".

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use touchseal_crds::encrypted_secret::{DeletionPolicy, Target};
use touchseal_crds::names::*;
use touchseal_crds::{ConditionType, EncryptedSecret, EncryptedSecretSpec, Reason};

use super::*;
use crate::generation::LedgerKey;
use crate::observed::{AliasSeen, Consumers, Live};

const SOURCE: &str = "source-1";

fn at(text: &str) -> Time {
    Time(text.parse().unwrap())
}

fn before() -> Time {
    at("2026-01-02T03:04:05Z")
}

fn now() -> Time {
    at("2026-06-07T08:09:10Z")
}

/// Everything a decision depends on, owned. Starts out as one EncryptedSecret `app` that nobody has worked on yet.
struct World {
    object: EncryptedSecret,
    source: Option<String>,
    opened: fn(&World) -> Opened,
    password: &'static str,
    manifest_type: Option<&'static str>,
    modified: Option<Time>,
    secret: SecretSeen,
    ledger: Option<LedgerEntry>,
    version: u64,
}

impl World {
    fn new() -> World {
        let mut object = EncryptedSecret::new("app", EncryptedSecretSpec::default());
        object.metadata.namespace = Some("apps".to_owned());
        object.metadata.uid = Some("uid-of-app".to_owned());
        object.metadata.generation = Some(1);
        World {
            object,
            source: Some(SOURCE.to_owned()),
            opened: World::content,
            password: "first",
            manifest_type: None,
            modified: None,
            secret: SecretSeen::Absent,
            ledger: None,
            version: 1,
        }
    }

    /// The same, materialised: ledger, Secret and status are as the first decision wanted them.
    fn in_place() -> World {
        let mut world = World::new();
        world.apply(&before());
        world
    }

    fn content(&self) -> Opened {
        let digest = |value: &str| format!("digest of {value}");
        let keys: BTreeMap<String, String> =
            [("password".to_owned(), digest(self.password)), ("user".to_owned(), digest("app"))].into();
        Opened::Content(Digests {
            keyring: "prod".to_owned(),
            key: LedgerKey { keyring: "id".to_owned(), generation: 1 },
            oldest_generation: 1,
            keys,
            older: BTreeMap::new(),
            modified: BTreeMap::new(),
            elsewhere: BTreeMap::new(),
            fingerprint: fingerprint(self.password),
            type_: self.manifest_type.map(str::to_owned),
            last_modified: self.modified.clone(),
        })
    }

    fn sealed(&self) -> Opened {
        Opened::Sealed { keyrings: "prod".to_owned() }
    }

    fn refused(&self) -> Opened {
        Opened::Refused { keyrings: "prod".to_owned(), otherwise: None }
    }

    fn tampered(&self) -> Opened {
        Opened::Failed(Trouble::new(Reason::DocumentTampered, "documents[0]: the MAC is wrong"))
    }

    fn observed(&self) -> Observed<'_> {
        Observed {
            object: &self.object,
            source: self.source.clone(),
            opened: (self.opened)(self),
            secret: self.secret.clone(),
            fresh: SecretSeen::Absent,
            previous: SecretSeen::Absent,
            live: Live::Unknown,
            others: Vec::new(),
            alias: AliasSeen::Absent,
            ledger: self.ledger.clone(),
            floor: crate::Floor::None,
            consumers: Consumers::default(),
        }
    }

    fn decide(&self) -> Decision {
        decide(&self.observed(), &now())
    }

    fn ready(&self, decision: &Decision) -> (String, String, String) {
        let status = decision.status.as_ref().or(self.object.status.as_ref());
        let ready = status::ready(status).unwrap();
        (ready.status.clone(), ready.reason.clone(), ready.message.clone())
    }

    fn reason(&self) -> String {
        self.ready(&self.decide()).1
    }

    /// Does to the world what a decision says, as the controller would.
    fn apply(&mut self, now: &Time) -> Decision {
        let decision = decide(&self.observed(), now);
        if let Some(entry) = &decision.ledger {
            self.ledger = Some(entry.clone());
        }
        if let Some(write) = &decision.secret {
            self.version += 1;
            self.secret = SecretSeen::Ours(OurSecret {
                uid: "uid-of-secret".to_owned(),
                resource_version: self.version.to_string(),
                fingerprint: fingerprint(self.password),
                type_: write.type_.clone(),
                immutable: write.immutable,
                deleting: false,
                altered: false,
                source: write.annotations.get(SOURCE_ANNOTATION).cloned(),
                labels: write.labels.clone(),
                annotations: write.annotations.clone(),
                claimed: OurSecret::number(&write.annotations),
                owner_uid: write.owner_uid.clone(),
            });
        }
        if let Some(status) = &decision.status {
            self.object.status = Some(status.clone());
        }
        decision
    }

    fn ours(&mut self) -> &mut OurSecret {
        match &mut self.secret {
            SecretSeen::Ours(ours) => ours,
            other => panic!("{other:?} is not ours"),
        }
    }

    fn target(&mut self) -> &mut Target {
        self.object.spec.target.get_or_insert_default()
    }

    fn number(&self) -> Option<i64> {
        self.object.status.as_ref()?.secret_generation
    }

    fn foreign(&mut self, consents: bool) {
        self.secret = SecretSeen::Foreign {
            uid: "uid-of-foreign".to_owned(),
            resource_version: "77".to_owned(),
            consents,
            owner: "Helm".to_owned(),
            type_: "Opaque".to_owned(),
            immutable: false,
        };
    }
}

fn fingerprint(password: &str) -> [u8; 16] {
    let mut print = [0; 16];
    print.iter_mut().zip(password.bytes()).for_each(|(to, from)| *to = from);
    print
}

fn one(mut notices: Vec<Notice>) -> Notice {
    assert_eq!(notices.len(), 1, "{notices:?}");
    notices.remove(0)
}

/// A difference from the situation before.
type Change = fn(&mut World);

fn is_empty(decision: &Decision) -> bool {
    decision.ledger.is_none()
        && decision.secret.is_none()
        && decision.status.is_none()
        && decision.notices.is_empty()
}

fn condition(status: &EncryptedSecretStatus, type_: ConditionType) -> Option<&Condition> {
    status.conditions.iter().find(|c| c.type_ == type_.as_str())
}

// Materialising.

#[test]
fn a_new_object_gets_ledger_entry_secret_status_and_event() {
    let decision = World::new().decide();
    assert_eq!(decision.ledger.unwrap().generation, 1);
    let secret = decision.secret.unwrap();
    assert_eq!((secret.name.as_str(), secret.type_.as_str()), ("app", "Opaque"));
    assert_eq!(secret.expects, None);
    assert!(!secret.replace);
    assert_eq!(secret.owner_uid.as_deref(), Some("uid-of-app"));
    assert_eq!(secret.labels[MANAGED_BY_LABEL], MANAGED_BY);
    assert_eq!(secret.annotations[SOURCE_ANNOTATION], "app");
    assert_eq!(secret.annotations[GENERATION_ANNOTATION], "1");
    let status = decision.status.unwrap();
    assert_eq!(status.secret_name.as_deref(), Some("app"));
    assert_eq!(status.secret_generation, Some(1));
    assert_eq!(status.keyring.as_deref(), Some("prod"));
    assert_eq!(status.key_generation, Some(1));
    assert_eq!(status.observed_generation, Some(1));
    assert_eq!(status.keys.iter().map(|k| k.name.as_str()).collect::<Vec<_>>(), ["password", "user"]);
    let notice = one(decision.notices);
    assert_eq!((notice.reason, notice.warning), (Reason::Materialised, false));
}

#[test]
fn deciding_again_after_applying_decides_nothing() {
    let mut world = World::in_place();
    assert!(is_empty(&world.decide()));
    // The same for every way a decision can end.
    let ways: [(&str, Change); 9] = [
        ("tampered", |w| w.opened = World::tampered),
        ("sealed with changes", |w| {
            w.opened = World::sealed;
            w.source = Some("source-2".to_owned());
        }),
        ("suspended", |w| w.object.spec.suspend = Some(true)),
        ("suspended with changes", |w| {
            w.object.spec.suspend = Some(true);
            w.source = Some("source-2".to_owned());
        }),
        ("conflict", |w| w.foreign(false)),
        ("adopted", |w| w.foreign(true)),
        ("changed", |w| w.password = "second"),
        ("retyped", |w| w.target().type_ = Some("example.com/other".to_owned())),
        ("refused type", |w| w.target().type_ = Some(REFUSED_SECRET_TYPES[0].to_owned())),
    ];
    for (what, way) in ways {
        let mut world_then = World::in_place();
        way(&mut world_then);
        world_then.apply(&now());
        let again = decide(&world_then.observed(), &at("2027-01-01T00:00:00Z"));
        assert!(is_empty(&again), "{what}: {again:?}");
    }
    world.object.metadata.generation = Some(2);
    assert!(world.decide().status.is_some(), "observedGeneration follows");
}

#[test]
fn changed_plaintext_is_the_next_generation() {
    let mut world = World::in_place();
    world.password = "second";
    let decision = world.decide();
    assert_eq!(decision.ledger.as_ref().unwrap().generation, 2);
    let secret = decision.secret.unwrap();
    assert_eq!(secret.annotations[GENERATION_ANNOTATION], "2");
    assert_eq!(
        secret.expects,
        Some(Expected { uid: "uid-of-secret".to_owned(), resource_version: "2".to_owned() })
    );
    let status = decision.status.unwrap();
    assert_eq!(status.secret_generation, Some(2));
    let since = |name: &str| status.keys.iter().find(|k| k.name == name).unwrap().since.clone();
    assert_eq!(since("password"), now());
    assert_eq!(since("user"), before(), "only the key that changed");
    assert_eq!(one(decision.notices).reason, Reason::Materialised);
}

#[test]
fn the_same_plaintext_encrypted_anew_touches_the_ledger_only() {
    let mut world = World::in_place();
    world.source = Some("source-2".to_owned());
    let decision = world.decide();
    let entry = decision.ledger.unwrap();
    assert_eq!((entry.generation, entry.source.as_str()), (1, "source-2"));
    assert!(decision.secret.is_none() && decision.status.is_none() && decision.notices.is_empty());
}

#[test]
fn names_types_labels_and_owner_follow_the_spec() {
    let mut world = World::new();
    world.target().name = Some("other".to_owned());
    world.target().type_ = Some("example.com/app".to_owned());
    world.target().labels = [("team".to_owned(), "a".to_owned())].into();
    world.target().annotations = [("note".to_owned(), "b".to_owned())].into();
    world.object.spec.deletion_policy = Some(DeletionPolicy::Retain);
    let secret = world.decide().secret.unwrap();
    assert_eq!((secret.name.as_str(), secret.type_.as_str()), ("other", "example.com/app"));
    assert_eq!(secret.labels["team"], "a");
    assert_eq!(secret.annotations["note"], "b");
    assert_eq!(secret.owner_uid, None, "Retain");
}

#[test]
fn our_own_label_and_annotations_cannot_be_overridden() {
    let mut world = World::new();
    world.target().labels = [(MANAGED_BY_LABEL.to_owned(), "me".to_owned())].into();
    world.target().annotations = [(SOURCE_ANNOTATION.to_owned(), "somebody".to_owned())].into();
    let secret = world.decide().secret.unwrap();
    assert_eq!(secret.labels[MANAGED_BY_LABEL], MANAGED_BY);
    assert_eq!(secret.annotations[SOURCE_ANNOTATION], "app");
}

#[test]
fn the_spec_says_the_type_before_the_manifest_and_the_manifest_before_what_is_there() {
    let mut world = World::new();
    assert_eq!(world.decide().secret.unwrap().type_, "Opaque");
    world.manifest_type = Some("kubernetes.io/tls");
    assert_eq!(world.decide().secret.unwrap().type_, "kubernetes.io/tls");
    world.target().type_ = Some("example.com/app".to_owned());
    assert_eq!(world.decide().secret.unwrap().type_, "example.com/app");
    let mut world = World::in_place();
    world.ours().type_ = "example.com/kept".to_owned();
    assert!(is_empty(&world.decide()), "no type asked for: the Secret keeps its own");
}

// Drift.

#[test]
fn drift_is_reverted_without_a_new_generation() {
    let drifts: [(&str, Change); 8] = [
        ("data", |w| w.ours().fingerprint = fingerprint("edited")),
        ("label lost", |w| w.ours().labels.clear()),
        ("annotation lost", |w| drop(w.ours().annotations.remove(GENERATION_ANNOTATION))),
        // Whoever edits it owns it from then on; what is claimed says nothing while there is a ledger.
        ("annotation edited", |w| {
            w.ours().annotations.remove(GENERATION_ANNOTATION);
            w.ours().claimed = Some(9);
        }),
        ("owner lost", |w| w.ours().owner_uid = None),
        ("owner of a namesake", |w| w.ours().owner_uid = Some("uid-of-earlier".to_owned())),
        ("deleted", |w| w.secret = SecretSeen::Absent),
        ("a label the spec no longer asks for", |w| {
            w.ours().labels.insert("team".to_owned(), "a".to_owned());
        }),
    ];
    for (what, drift) in drifts {
        let mut world = World::in_place();
        drift(&mut world);
        let decision = world.decide();
        assert!(decision.secret.is_some(), "{what}");
        assert!(decision.ledger.is_none(), "{what}");
        assert!(decision.status.is_none(), "{what}");
        let notice = one(decision.notices);
        assert_eq!((notice.reason, notice.warning), (Reason::DriftReverted, false), "{what}");
    }
}

/// A higher number under our own hand: the ledger is from a backup that is older than the Secret. Numbers go on from there.
#[test]
fn a_secret_that_is_ahead_of_the_ledger_is_gone_on_from() {
    let ahead = |password| {
        let mut world = World::in_place();
        world.ours().annotations.insert(GENERATION_ANNOTATION.into(), "9".into());
        world.password = password;
        world.decide()
    };
    let same = ahead("first");
    assert_eq!((same.ledger.unwrap().generation, same.secret.is_none()), (9, true), "it holds number 9");
    let changed = ahead("second");
    assert_eq!(changed.ledger.unwrap().generation, 10);
    assert_eq!(changed.secret.unwrap().annotations[GENERATION_ANNOTATION], "10");
}

#[test]
fn a_floor_that_cannot_be_read_stops_new_numbers_and_nothing_else() {
    let decide = |world: &World, floor| decide(&Observed { floor, ..world.observed() }, &now());
    let mut world = World::in_place();
    assert!(is_empty(&decide(&world, crate::Floor::Unreadable)), "what is served is served");
    world.password = "second";
    let stopped = decide(&world, crate::Floor::Unreadable);
    assert!(stopped.ledger.is_none() && stopped.secret.is_none());
    let (status, reason, message) = world.ready(&stopped);
    assert_eq!((status.as_str(), reason.as_str()), ("False", "ApiError"));
    assert!(message.contains("touchseal-generation-floor"), "{message}");
    assert_eq!(decide(&world, crate::Floor::At(1000)).ledger.unwrap().generation, 1000);
}

#[test]
fn only_what_cannot_be_changed_is_replaced() {
    let cases: [(&str, Change, Option<bool>); 3] = [
        ("immutable, same content", |w| w.ours().immutable = true, None),
        (
            "immutable, same content, label lost",
            |w| {
                w.ours().immutable = true;
                w.ours().labels.clear();
            },
            Some(false),
        ),
        ("other type", |w| w.target().type_ = Some("example.com/app".to_owned()), Some(true)),
    ];
    for (what, case, replaced) in cases {
        let mut world = World::in_place();
        case(&mut world);
        assert_eq!(world.decide().secret.map(|s| s.replace), replaced, "{what}");
    }
}

#[test]
fn what_somebody_made_immutable_is_not_replaced_under_the_eyes_of_kubelets_that_never_look_again() {
    let cases: [Change; 2] =
        [|w| w.password = "second", |w| w.target().type_ = Some("example.com/app".to_owned())];
    for case in cases {
        let mut world = World::in_place();
        world.ours().immutable = true;
        case(&mut world);
        let decision = world.decide();
        assert!(decision.secret.is_none() && decision.ledger.is_none());
        let (_, reason, message) = world.ready(&decision);
        assert_eq!(reason, "Conflict");
        assert!(message.contains("immutable"), "{message}");
    }
}

#[test]
fn a_secret_on_its_way_out_is_waited_for() {
    let mut world = World::in_place();
    world.ours().deleting = true;
    world.password = "second";
    assert!(world.decide().secret.is_none());
}

// Order of checks, and what stops.

#[test]
fn an_object_on_its_way_out_is_left_alone() {
    let mut world = World::new();
    world.object.metadata.deletion_timestamp = Some(now());
    assert!(is_empty(&world.decide()));
}

#[test]
fn checks_come_in_order() {
    let mut world = World::new();
    world.foreign(false);
    assert_eq!(world.reason(), "Conflict");
    world.opened = World::sealed;
    assert_eq!(world.reason(), "Sealed");
    world.opened = World::refused;
    assert_eq!(world.reason(), "KeyringRefused");
    world.opened = World::tampered;
    assert_eq!(world.reason(), "DocumentTampered");
    world.target().type_ = Some(REFUSED_SECRET_TYPES[0].to_owned());
    assert_eq!(world.reason(), "InvalidTarget");
    world.object.spec.suspend = Some(true);
    assert_eq!(world.reason(), "Suspended");
}

#[test]
fn whatever_stops_writes_no_secret_and_no_ledger() {
    let stops: [(&str, Change); 7] = [
        ("sealed", |w| w.opened = World::sealed),
        ("refused", |w| w.opened = World::refused),
        ("tampered", |w| w.opened = World::tampered),
        ("suspended", |w| w.object.spec.suspend = Some(true)),
        ("conflict", |w| w.foreign(false)),
        ("refused type", |w| w.target().type_ = Some(REFUSED_SECRET_TYPES[1].to_owned())),
        ("refused type in a manifest", |w| w.manifest_type = Some(REFUSED_SECRET_TYPES[0])),
    ];
    for (what, stop) in stops {
        for mut world in [World::new(), World::in_place()] {
            stop(&mut world);
            let decision = world.decide();
            assert!(decision.secret.is_none() && decision.ledger.is_none(), "{what}: {decision:?}");
        }
    }
}

#[test]
fn refused_types_are_refused_wherever_they_come_from() {
    for refused in REFUSED_SECRET_TYPES {
        let mut by_spec = World::new();
        by_spec.target().type_ = Some(refused.to_owned());
        let mut by_manifest = World::new();
        by_manifest.manifest_type = Some(refused);
        let mut by_adoption = World::new();
        by_adoption.foreign(true);
        let SecretSeen::Foreign { type_, .. } = &mut by_adoption.secret else { panic!() };
        *type_ = refused.to_owned();
        for world in [by_spec, by_manifest, by_adoption] {
            let decision = world.decide();
            assert_eq!(world.ready(&decision).1, "InvalidTarget");
            assert!(decision.secret.is_none());
        }
    }
}

#[test]
fn troubles_only_a_person_can_end_are_stalled_and_the_others_are_not() {
    let stalls = |reason: Reason| Trouble::new(reason, "x").stalls();
    for reason in [Reason::Sealed, Reason::SourceNotFound, Reason::ApiError] {
        assert!(!stalls(reason), "{reason} may end by itself");
    }
    for reason in [
        Reason::Conflict,
        Reason::InvalidDocument,
        Reason::NoMatchingRecipient,
        Reason::DocumentTampered,
        Reason::UnsupportedDocument,
        Reason::InvalidMapping,
        Reason::InvalidTarget,
        Reason::Suspended,
    ] {
        assert!(stalls(reason), "{reason} needs a person");
    }
    let mut world = World::new();
    world.opened = World::tampered;
    let status = world.decide().status.unwrap();
    let stalled = condition(&status, ConditionType::Stalled).unwrap();
    assert_eq!((stalled.status.as_str(), stalled.reason.as_str()), ("True", "DocumentTampered"));
    assert!(one(world.decide().notices).warning);
}

#[test]
fn stalled_goes_when_the_trouble_does() {
    let mut world = World::new();
    world.opened = World::tampered;
    world.apply(&before());
    world.opened = World::content;
    let status = world.decide().status.unwrap();
    assert!(condition(&status, ConditionType::Stalled).is_none());
    assert_eq!(condition(&status, ConditionType::Ready).unwrap().status, "True");
}

#[test]
fn a_bad_document_says_which_generation_the_secret_keeps() {
    let mut world = World::in_place();
    world.opened = World::tampered;
    let decision = world.decide();
    assert!(world.ready(&decision).2.ends_with("; Secret app keeps generation 1"));
    assert_eq!(decision.status.unwrap().secret_generation, Some(1), "the status still says what is served");
}

// Sealed, or without a keyring that is accepted.

type Opens = fn(&World) -> Opened;

const KEYLESS: [(Opens, &str); 2] = [(World::sealed, "Sealed"), (World::refused, "KeyringRefused")];

#[test]
fn without_a_key_what_is_unchanged_stays_ready() {
    for (opened, reason) in KEYLESS {
        let mut world = World::in_place();
        world.opened = opened;
        assert!(is_empty(&world.decide()), "{reason}");
    }
}

#[test]
fn without_a_key_anything_changed_waits() {
    let changes: [(&str, Change); 6] = [
        ("another document", |w| w.source = Some("source-2".to_owned())),
        ("another spec", |w| w.object.metadata.generation = Some(2)),
        ("no Secret", |w| w.secret = SecretSeen::Absent),
        ("a foreign Secret", |w| w.foreign(false)),
        ("no ledger entry", |w| w.ledger = None),
        ("a lost status", |w| w.object.status = None),
    ];
    for ((what, change), (opened, wanted)) in
        changes.into_iter().flat_map(|one| KEYLESS.map(|why| (one, why)))
    {
        let mut world = World::in_place();
        world.opened = opened;
        change(&mut world);
        let decision = world.decide();
        let (status, reason, message) = world.ready(&decision);
        assert_eq!((status.as_str(), reason.as_str()), ("False", wanted), "{what}");
        assert!(message.contains("keyring prod") && message.contains("touchseal unseal"), "{message}");
        assert!(condition(&decision.status.unwrap(), ConditionType::Stalled).is_none(), "{what}");
    }
}

#[test]
fn the_author_is_told_of_the_open_keyring_beside_a_refused_one() {
    let mut world = World::in_place();
    world.source = Some("source-2".to_owned());
    world.opened = |_| Opened::Refused {
        keyrings: "test".to_owned(),
        otherwise: Some("documents[0]: it names age1other".to_owned()),
    };
    let message = world.ready(&world.decide()).2;
    assert!(
        message.contains("keyring test") && message.contains("documents[0]: it names age1other"),
        "{message}"
    );
}

// Suspended.

#[test]
fn suspended_with_everything_in_place_stays_ready() {
    let mut world = World::in_place();
    world.object.spec.suspend = Some(true);
    world.object.metadata.generation = Some(2);
    let decision = world.decide();
    assert_eq!(world.ready(&decision).0, "True");
    assert_eq!(decision.status.unwrap().observed_generation, Some(2));
    assert!(decision.notices.is_empty());
}

#[test]
fn suspended_with_changes_does_not_claim_to_serve_them() {
    let mut world = World::in_place();
    world.object.spec.suspend = Some(true);
    world.source = Some("source-2".to_owned());
    world.password = "second";
    let decision = world.decide();
    let (status, reason, message) = world.ready(&decision);
    assert_eq!((status.as_str(), reason.as_str()), ("False", "Suspended"));
    assert!(message.contains("spec.suspend") && message.contains("keeps generation 1"), "{message}");
}

#[test]
fn suspended_reverts_no_drift() {
    let mut world = World::in_place();
    world.object.spec.suspend = Some(true);
    world.ours().fingerprint = fingerprint("edited");
    assert!(world.decide().secret.is_none());
}

// Rollbacks.

#[test]
fn an_older_document_is_marked_where_it_is_allowed_and_refused_where_it_is_not() {
    let mut world = World::new();
    world.modified = Some(at("2026-01-02T00:00:00Z"));
    world.apply(&before());
    world.modified = Some(at("2026-01-01T00:00:00Z"));
    world.password = "second";
    let allowed = world.decide();
    assert_eq!(allowed.ledger.as_ref().map(|entry| entry.generation), Some(2));
    assert!(allowed.notices.iter().any(|notice| notice.reason == Reason::RolledBack && notice.warning));
    let status = allowed.status.unwrap();
    let back = condition(&status, ConditionType::RolledBack).unwrap();
    assert!(
        back.status == "True" && back.message.contains("2026-01-01") && back.message.contains("2026-01-02")
    );

    world.object.spec.rotation = Some(Rotation { rollback: Some(Rollback::Deny), ..Rotation::default() });
    let denied = world.decide();
    assert!(denied.secret.is_none() && denied.ledger.is_none());
    let (_, reason, message) = world.ready(&denied);
    assert!(reason == "RolledBack" && message.ends_with("; Secret app keeps generation 1"), "{message}");
    assert!(condition(&denied.status.unwrap(), ConditionType::Stalled).is_some());
    world.modified = Some(at("2026-01-02T00:00:00Z"));
    assert_eq!(world.reason(), "Materialised", "as new as the newest is not older");
}

// Foreign Secrets.

#[test]
fn a_foreign_secret_is_left_alone_and_watched() {
    let mut world = World::new();
    world.foreign(false);
    let decision = world.decide();
    assert_eq!(decision.watch_foreign, ["app"]);
    let (_, reason, message) = world.ready(&decision);
    assert_eq!(reason, "Conflict");
    assert!(message.contains("belongs to Helm"), "{message}");
    assert!(message.contains("kubectl annotate secret app touchseal.dev/adopt=app"), "{message}");
}

#[test]
fn a_foreign_secret_that_consents_is_taken_over_at_the_version_that_consented() {
    let mut world = World::new();
    world.foreign(true);
    let decision = world.decide();
    let secret = decision.secret.unwrap();
    assert_eq!(
        secret.expects,
        Some(Expected { uid: "uid-of-foreign".to_owned(), resource_version: "77".to_owned() })
    );
    assert!(!secret.replace, "a foreign Secret is never deleted");
    assert_eq!(one(decision.notices).reason, Reason::Adopted);
}

#[test]
fn consent_does_not_reach_what_cannot_change() {
    let mut other_type = World::new();
    other_type.foreign(true);
    other_type.target().type_ = Some("example.com/app".to_owned());
    let mut immutable = World::new();
    immutable.foreign(true);
    let SecretSeen::Foreign { immutable: flag, .. } = &mut immutable.secret else { panic!() };
    *flag = true;
    for (world, word) in [(other_type, "type"), (immutable, "immutable")] {
        let decision = world.decide();
        assert!(decision.secret.is_none());
        let (_, reason, message) = world.ready(&decision);
        assert_eq!(reason, "Conflict");
        assert!(message.contains(word), "{message}");
        assert_eq!(decision.watch_foreign, ["app"], "it clears by itself");
    }
}

// Statuses and Events.

#[test]
fn a_lost_status_comes_back_with_the_same_numbers() {
    let mut world = World::in_place();
    let lost = world.object.status.take();
    let decision = world.decide();
    assert!(decision.secret.is_none() && decision.ledger.is_none());
    let (status, lost) = (decision.status.unwrap(), lost.unwrap());
    assert_eq!(status.secret_generation, lost.secret_generation);
    assert_eq!(status.keys, lost.keys);
}

#[test]
fn a_forged_status_does_not_move_the_numbers() {
    let mut world = World::in_place();
    world.object.status.as_mut().unwrap().secret_generation = Some(99);
    assert_eq!(world.decide().status.unwrap().secret_generation, Some(1));
    world.password = "second";
    assert_eq!(world.decide().ledger.unwrap().generation, 2);
}

#[test]
fn times_of_transition_move_with_the_status_alone() {
    let mut world = World::in_place();
    let ready_at =
        |world: &World| status::ready(world.object.status.as_ref()).unwrap().last_transition_time.clone();
    world.password = "second";
    world.apply(&now());
    assert_eq!(ready_at(&world), before(), "True stays True");
    world.opened = World::tampered;
    world.apply(&now());
    assert_eq!(ready_at(&world), now());
}

#[test]
fn one_event_a_transition() {
    let mut world = World::in_place();
    world.opened = World::tampered;
    assert_eq!(one(world.apply(&now()).notices).reason, Reason::DocumentTampered);
    for _ in 0..3 {
        assert!(world.apply(&now()).notices.is_empty());
    }
    world.opened = World::content;
    assert_eq!(one(world.apply(&now()).notices).reason, Reason::Materialised);
    assert!(world.apply(&now()).notices.is_empty());
}

#[test]
fn the_reconcile_annotation_is_acknowledged() {
    let mut world = World::in_place();
    world.object.metadata.annotations = Some([(RECONCILE_ANNOTATION.to_owned(), "monday".to_owned())].into());
    let decision = world.decide();
    assert!(decision.secret.is_none() && decision.notices.is_empty());
    assert_eq!(decision.status.unwrap().last_handled_reconcile_at.as_deref(), Some("monday"));
}

#[test]
fn a_refused_write_is_told_once() {
    let world = World::in_place();
    let trouble = Trouble::new(Reason::ApiError, "the API server refused it");
    let status = refused(&world.object, &trouble, &now()).unwrap();
    assert!(condition(&status, ConditionType::Stalled).is_none(), "it is tried again");
    let mut told = world.object.clone();
    told.status = Some(status);
    assert_eq!(refused(&told, &trouble, &now()), None);
}

#[test]
fn long_messages_are_cut_between_characters() {
    let trouble = Trouble::new(Reason::InvalidDocument, "ä".repeat(2000));
    let status = refused(&World::new().object, &trouble, &now()).unwrap();
    let message = &status::ready(Some(&status)).unwrap().message;
    assert!(message.len() <= 1024 + '…'.len_utf8() && message.ends_with('…'));
}

#[test]
fn the_outcome_is_a_word_of_the_fixed_list() {
    let mut world = World::in_place();
    assert_eq!(outcome(&world.observed(), &world.decide()), "Materialised");
    world.opened = World::tampered;
    assert_eq!(outcome(&world.observed(), &world.decide()), "DocumentTampered");
    world.object.status.as_mut().unwrap().conditions[0].reason = "Forged".to_owned();
    assert_eq!(outcome(&world.observed(), &Decision::default()), "None");
}

// Deletion and re-creation: the ledger outlives the object.

#[test]
fn an_object_made_again_goes_on_counting() {
    let mut world = World::in_place();
    world.password = "second";
    world.apply(&now());
    let mut again = World::new();
    again.object.metadata.uid = Some("uid-of-namesake".to_owned());
    again.ledger = world.ledger.clone();
    again.password = "second";
    assert_eq!(again.apply(&now()).secret.unwrap().annotations[GENERATION_ANNOTATION], "2");
    assert_eq!(again.number(), Some(2), "the same content keeps its number");
    again.password = "third";
    again.apply(&now());
    assert_eq!(again.number(), Some(3));
    again.password = "first";
    again.apply(&now());
    assert_eq!(again.number(), Some(4), "an earlier content comes back under a new number");
}

#[test]
fn a_stored_key_entry_is_what_status_tells() {
    let mut world = World::in_place();
    let entry = world.ledger.as_mut().unwrap();
    entry.keys.get_mut("user").unwrap().since = at("2020-01-01T00:00:00Z");
    let status = world.decide().status.unwrap();
    assert_eq!(status.keys.iter().find(|k| k.name == "user").unwrap().since, at("2020-01-01T00:00:00Z"));
}

#[test]
fn what_may_rest_on_an_older_form_is_asked_for_before_it_is_done() {
    use crate::revision::{Came, is_doubtful};
    let asked = |world: &World| {
        let observed = world.observed();
        [Came::ByWatch, Came::ByList, Came::Asked]
            .map(|came| is_doubtful(&observed, &decide(&observed, &now()), came))
    };
    // What nobody knows anything of cannot have been overtaken.
    assert_eq!(asked(&World::new()), [false, false, false]);
    let world = World::in_place();
    assert_eq!(world.ledger.as_ref().unwrap().object, Some(Revision::of(&world.object.metadata)));
    assert_eq!(asked(&world), [false, false, false], "nothing is done");

    let change = |world: &mut World, generation: i64| {
        (world.password, world.source) = ("second", Some("source-2".to_owned()));
        world.object.metadata.generation = Some(generation);
    };
    // A number is given out by who saw the last one: the ledger refuses everybody else. A list tells what is over.
    let mut later = World::in_place();
    change(&mut later, 2);
    assert_eq!(asked(&later), [false, true, false]);
    let mut older = World::in_place();
    older.ledger.as_mut().unwrap().object = Some(Revision::of(&later.object.metadata));
    change(&mut older, 1);
    // Also what was asked for: another may have served a later form before the ledger was read.
    assert_eq!(asked(&older), [true, true, true]);
    let mut namesake = World::in_place();
    change(&mut namesake, 9);
    namesake.object.metadata.uid = Some("another".to_owned());
    assert_eq!(asked(&namesake), [true, true, true]);
    let mut earlier_format = World::in_place();
    change(&mut earlier_format, 2);
    earlier_format.ledger.as_mut().unwrap().object = None;
    assert_eq!(asked(&earlier_format), [true, true, true]);

    // Without a number the ledger stops nobody.
    let mut gone = World::in_place();
    gone.secret = SecretSeen::Absent;
    assert_eq!(asked(&gone), [true, true, false]);
    let mut lost_ledger = World::in_place();
    lost_ledger.ledger = None;
    change(&mut lost_ledger, 2);
    assert_eq!(asked(&lost_ledger), [false, true, false]);
}
