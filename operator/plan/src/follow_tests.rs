//! What follows from pods, through whole decisions.

use std::collections::BTreeMap;
use std::sync::Arc;

use touchseal_crds::encrypted_secret::Target;
use touchseal_crds::rotation::{Delivery, Rotation};
use touchseal_crds::{EncryptedSecret, EncryptedSecretSpec};

use super::*;
use crate::consumers::{Consumer, Held, How, Ref, Shape, Times};
use crate::decide;
use crate::observed::{Consumers, Digests, Opened, OurSecret};
use crate::rollout::Wait;
use crate::{LedgerEntry, LedgerKey};

fn at(second: i64) -> Time {
    Time(Timestamp::from_second(second).unwrap())
}

/// An EncryptedSecret `app` on its way through generations; time is given with each step.
struct World {
    object: EncryptedSecret,
    ledger: Option<LedgerEntry>,
    secret: SecretSeen,
    consumers: Consumers,
    others: Vec<Other>,
    password: u8,
    sealed: bool,
}

impl World {
    fn new(rollout: Option<Rollout>) -> World {
        let mut object = EncryptedSecret::new("app", EncryptedSecretSpec::default());
        object.metadata.generation = Some(1);
        object.spec.rotation = Some(Rotation { rollout, ..Rotation::default() });
        let consumers = Consumers { known: true, refresh: 120, ..Consumers::default() };
        World {
            object,
            ledger: None,
            secret: SecretSeen::Absent,
            consumers,
            others: Vec::new(),
            password: 1,
            sealed: false,
        }
    }

    /// Generation 1 at 1000, with a pod of Deployment web started at 1500; generation 2 at 2000.
    fn rotated(rollout: Option<Rollout>) -> World {
        let mut world = World::new(rollout);
        world.step(1000);
        world.consumers.pods = vec![pod(How::Env, 1500)];
        world.password = 2;
        world.step(2000);
        world
    }

    fn decide(&self, second: i64) -> Decision {
        let digests = Digests {
            keyring: "prod".to_owned(),
            key: LedgerKey { keyring: "id".to_owned(), generation: 1 },
            oldest_generation: 1,
            keys: [("password".to_owned(), format!("digest {}", self.password))].into(),
            older: BTreeMap::new(),
            modified: BTreeMap::new(),
            elsewhere: BTreeMap::new(),
            fingerprint: [self.password; 16],
            type_: None,
            last_modified: None,
        };
        let opened = if self.sealed {
            Opened::Sealed { keyrings: "prod".to_owned() }
        } else {
            Opened::Content(digests)
        };
        let observed = Observed {
            object: &self.object,
            source: Some(format!("source {}", self.password)),
            opened,
            secret: self.secret.clone(),
            fresh: SecretSeen::Absent,
            previous: SecretSeen::Absent,
            live: crate::observed::Live::Unknown,
            others: self.others.clone(),
            alias: crate::observed::AliasSeen::Absent,
            ledger: self.ledger.clone(),
            floor: crate::Floor::None,
            consumers: self.consumers.clone(),
        };
        decide(&observed, &at(second))
    }

    /// A decision of which nothing but the ledger could be written.
    fn fail(&mut self, second: i64) -> Decision {
        let decision = self.decide(second);
        if let Some(entry) = &decision.ledger {
            self.ledger = Some(entry.clone());
        }
        decision
    }

    fn step(&mut self, second: i64) -> Decision {
        let decision = self.fail(second);
        if let Some(write) = &decision.secret {
            self.secret = SecretSeen::Ours(OurSecret {
                fingerprint: [self.password; 16],
                type_: write.type_.clone(),
                labels: write.labels.clone(),
                annotations: write.annotations.clone(),
                owner_uid: write.owner_uid.clone(),
                ..OurSecret::default()
            });
        }
        if let Some(status) = &decision.status {
            self.object.status = Some(status.clone());
        }
        decision
    }

    fn draining(&self) -> String {
        let conditions = &self.object.status.as_ref().unwrap().conditions;
        let found = conditions.iter().find(|c| c.type_ == "Draining");
        found.map_or("absent".to_owned(), |c| format!("{} {}", c.status, c.reason))
    }

    fn ours(&mut self) -> &mut OurSecret {
        let SecretSeen::Ours(ours) = &mut self.secret else { panic!("there is none") };
        ours
    }

    /// When each generation was left, as the ledger has it.
    fn noted(&self) -> Vec<Option<i64>> {
        let history = &self.ledger.as_ref().unwrap().history;
        history.iter().map(|past| past.drained.as_ref().map(|t| t.0.as_second())).collect()
    }

    fn left(&self) -> Vec<Option<i64>> {
        let generations = &self.object.status.as_ref().unwrap().generations;
        generations.iter().map(|g| g.drained.as_ref().map(|t| t.0.as_second())).collect()
    }
}

fn pod(how: How, started: i64) -> Consumer {
    let owner = Owner { kind: "Deployment".into(), name: "web".into() };
    let reference = Ref { secret: "app".into(), key: None, how, container: Some(0) };
    Consumer {
        shape: Arc::new(Shape { owner, refs: [reference].into() }),
        times: Times { created: seconds(&at(started)), started: [Held::since(&at(started))].into() },
    }
}

fn reasons(decision: &Decision) -> Vec<&'static str> {
    decision.notices.iter().map(|notice| notice.reason.as_str()).collect()
}

#[test]
fn a_rotation_drains_and_then_is_drained_and_nothing_is_written_in_between() {
    let mut world = World::rotated(None);
    assert_eq!((world.draining().as_str(), world.left()), ("True StaleConsumers", vec![None, None]));
    let counts = world.object.status.as_ref().unwrap().consumers.clone().unwrap();
    assert_eq!((counts.known, counts.current, counts.stale), (true, Some(0), Some(1)));
    let idle = world.step(2500);
    assert!(idle.status.is_none() && idle.ledger.is_none() && idle.notices.is_empty());
    world.consumers.pods = vec![pod(How::Env, 2600)];
    let drained = world.step(2700);
    assert_eq!(reasons(&drained), ["Drained"]);
    assert_eq!((world.draining().as_str(), world.left()), ("False Drained", vec![None, Some(2700)]));
    let idle = world.step(2800);
    assert!(idle.status.is_none() && idle.ledger.is_none() && idle.notices.is_empty());
}

#[test]
fn a_secret_nobody_uses_is_drained_a_moment_after_its_rotation_without_an_event() {
    let mut world = World::new(None);
    assert_eq!(world.step(1000).again, None);
    assert_eq!(world.draining(), "absent");
    let idle = world.step(1001);
    assert!(
        idle.status.is_none() && idle.ledger.is_none() && idle.again.is_none(),
        "one write does for the first"
    );
    world.password = 2;
    for second in [2000, 2001] {
        assert_eq!(world.step(second).again, Some(at(2002)));
        assert_eq!((world.draining().as_str(), world.left()), ("True Refreshing", vec![None, None]));
    }
    let drained = world.step(2002);
    assert_eq!((reasons(&drained), drained.again), (Vec::new(), None));
    assert_eq!((world.draining().as_str(), world.left()), ("False Drained", vec![None, Some(2002)]));
    let idle = world.step(2003);
    assert!(idle.status.is_none() && idle.ledger.is_none());
    // What was left stays so, whatever else is written into the Secret; the next rotation is judged anew.
    world.object.spec.target =
        Some(Target { labels: [("a".to_owned(), "b".to_owned())].into(), ..Target::default() });
    assert!(world.step(2010).secret.is_some());
    assert_eq!(world.draining(), "False Drained");
    world.password = 3;
    world.step(3000);
    assert_eq!((world.draining().as_str(), world.left()), ("True Refreshing", vec![None, None, Some(2002)]));
}

#[test]
fn while_the_secret_cannot_be_written_nothing_is_left() {
    let mut world = World::new(None);
    world.step(1000);
    world.password = 2;
    for second in [2000, 2100, 2200] {
        let decision = world.fail(second);
        assert!(decision.secret.is_some());
        assert_eq!(world.noted(), [None, None], "{second}");
    }
    // A pod that starts meanwhile is given the value before.
    world.consumers.pods = vec![pod(How::Env, 2300)];
    world.step(2400);
    world.step(2500);
    assert_eq!((world.draining().as_str(), world.noted()), ("True StaleConsumers", vec![None, None]));
    world.consumers.pods.clear();
    world.step(2600);
    assert_eq!((world.draining().as_str(), world.noted()), ("False Drained", vec![None, Some(2600)]));
}

#[test]
fn while_the_watch_of_pods_is_interrupted_nothing_is_newly_left() {
    let mut world = World::rotated(None);
    world.consumers.pods.clear();
    world.consumers.blind = true;
    world.step(2500);
    assert_eq!((world.draining().as_str(), world.noted()), ("Unknown ConsumersUnknown", vec![None, None]));
    world.consumers.blind = false;
    world.step(2600);
    assert_eq!((world.draining().as_str(), world.noted()), ("False Drained", vec![None, Some(2600)]));
    world.consumers.blind = true;
    let idle = world.step(2700);
    assert!(idle.status.is_none() && idle.ledger.is_none(), "what was said stays");
    // What is seen is seen.
    world.consumers.pods = vec![pod(How::Env, 1500)];
    world.step(2800);
    assert_eq!((world.draining().as_str(), world.noted()), ("True StaleConsumers", vec![None, None]));
}

#[test]
fn a_secret_that_somebody_changed_is_not_taken_for_the_newest_content() {
    // Sealed, nothing can be put back, nor compared: who wrote values tells.
    let mut world = World::rotated(None);
    (world.ours().altered, world.ours().fingerprint) = (true, [1; 16]);
    (world.sealed, world.consumers.pods) = (true, Vec::new());
    assert!(world.step(2500).ledger.is_none());
    assert_eq!(world.noted(), [None, None]);
    // Suspended it can be compared.
    (world.sealed, world.object.spec.suspend, world.ours().altered) = (false, Some(true), false);
    assert!(world.step(2600).ledger.is_none());
    assert_eq!(world.noted(), [None, None]);
    // Put back: what pods were given meanwhile is not known.
    world.object.spec.suspend = None;
    world.consumers.pods = vec![pod(How::Env, 2650)];
    assert_eq!(reasons(&world.step(2700)), ["DriftReverted"]);
    world.step(2750);
    assert_eq!((world.draining().as_str(), world.noted()), ("True StaleConsumers", vec![None, None]));
    world.consumers.pods = vec![pod(How::Env, 2760)];
    world.step(2800);
    assert_eq!((world.draining().as_str(), world.noted()), ("False Drained", vec![None, Some(2800)]));
    // What was left before stays left.
    world.ours().fingerprint = [1; 16];
    assert_eq!(reasons(&world.step(2900)), ["DriftReverted"]);
    assert_eq!((world.draining().as_str(), world.noted()), ("False Drained", vec![None, Some(2800)]));
}

#[test]
fn sealed_it_drains_all_the_same() {
    let mut world = World::rotated(None);
    world.sealed = true;
    assert!(world.step(2500).status.is_none());
    world.consumers.pods.clear();
    world.step(2700);
    assert_eq!((world.draining().as_str(), world.left()), ("False Drained", vec![None, Some(2700)]));
}

#[test]
fn what_is_not_known_is_neither_zero_nor_left() {
    let mut world = World::rotated(None);
    let pods = std::mem::take(&mut world.consumers.pods);
    world.consumers.known = false;
    world.step(2500);
    assert_eq!((world.draining().as_str(), world.left()), ("Unknown ConsumersUnknown", vec![None, None]));
    let counts = world.object.status.as_ref().unwrap().consumers.clone().unwrap();
    assert_eq!((counts.known, counts.current, counts.stale), (false, None, None));
    (world.consumers.known, world.consumers.pods) = (true, pods);
    world.step(2600);
    assert_eq!(world.draining(), "True StaleConsumers");
}

#[test]
fn while_pods_are_being_listed_what_was_told_stands_unless_it_is_of_another_generation() {
    let mut world = World::rotated(None);
    let pods = std::mem::take(&mut world.consumers.pods);
    (world.consumers.known, world.consumers.listing) = (false, true);
    let decision = world.step(2500);
    assert!(decision.status.is_none() && decision.ledger.is_none());
    (world.consumers.known, world.consumers.listing) = (true, false);
    world.step(2600);
    assert_eq!((world.draining().as_str(), world.left()), ("False Drained", vec![None, Some(2600)]));
    // Rotated meanwhile: that the generation before was left says nothing of this one.
    (world.consumers.known, world.consumers.listing) = (false, true);
    world.password = 3;
    world.step(3000);
    assert_eq!(
        (world.draining().as_str(), world.left()),
        ("Unknown ConsumersUnknown", vec![None, None, Some(2600)])
    );
    world.consumers = Consumers { known: true, pods, refresh: 120, ..Consumers::default() };
    world.step(3100);
    assert_eq!((world.draining().as_str(), world.left()), ("True StaleConsumers", vec![None, None, None]));
}

#[test]
fn nothing_is_left_before_the_newest_content_is_in_the_cluster() {
    let mut world = World::rotated(None);
    // The operator ended between ledger and Secret, and is sealed now; all pods go meanwhile.
    if let SecretSeen::Ours(ours) = &mut world.secret {
        ours.annotations.insert("touchseal.dev/secret-generation".to_owned(), "1".to_owned());
        ours.fingerprint = [1; 16];
    }
    (world.sealed, world.consumers.pods) = (true, Vec::new());
    world.step(2500);
    assert_eq!(world.left(), [None, None]);
    // A pod of that time was given the value before: it is stale once the newest is written.
    (world.sealed, world.consumers.pods) = (false, vec![pod(How::Env, 2800)]);
    world.step(3000);
    assert_eq!((world.draining().as_str(), world.left()), ("True StaleConsumers", vec![None, None]));
}

#[test]
fn a_refresh_is_looked_at_again_when_the_kubelets_have_had_their_time() {
    let mut world = World::new(None);
    world.step(1000);
    world.consumers.pods = vec![pod(How::Volume, 1500)];
    world.password = 2;
    assert_eq!(world.step(2000).again, Some(at(2002)));
    assert_eq!(world.step(2002).again, Some(at(2120)));
    assert_eq!(world.draining(), "True Refreshing");
    assert_eq!(world.step(2120).again, None);
    assert_eq!((world.draining().as_str(), world.left()), ("False Drained", vec![None, Some(2120)]));
}

#[test]
fn workloads_are_restarted_only_where_that_was_asked_for_and_helps() {
    let web = Owner { kind: "Deployment".into(), name: "web".into() };
    assert!(World::rotated(None).decide(2500).restart.is_empty());
    let mut world = World::rotated(Some(Rollout::Restart));
    assert_eq!(world.decide(2500).restart, [web.clone()].into());
    world.object.spec.suspend = Some(true);
    assert!(world.decide(2500).restart.is_empty());
    world.object.spec.suspend = None;
    world.consumers.pods[0].shape = Arc::new(Shape {
        owner: Owner { kind: "Job".into(), ..web },
        refs: world.consumers.pods[0].shape.refs.clone(),
    });
    assert!(world.decide(2500).restart.is_empty(), "a Job has its pods once");
    world.consumers.pods = vec![pod(How::Volume, 1500)];
    assert!(world.decide(2001).restart.is_empty(), "files come by themselves");
}

#[test]
fn a_restart_that_waits_is_said() {
    let mut world = World::rotated(Some(Rollout::Restart));
    let web = Owner { kind: "Deployment".into(), name: "web".into() };
    world.consumers.waits = [(web, Wait::Paused)].into();
    world.step(2500);
    let conditions = &world.object.status.as_ref().unwrap().conditions;
    let message = &conditions.iter().find(|c| c.type_ == "Draining").unwrap().message;
    assert!(message.ends_with("; Deployment web is not restarted while it is paused"), "{message}");
}

#[test]
fn who_uses_what_an_earlier_delivery_left_is_not_overlooked() {
    let mut world = World::rotated(None);
    // It was delivered as app-g2 before; a pod still names that Secret, which is there for as long as one does.
    let annotations = [("touchseal.dev/role", "generation"), ("touchseal.dev/secret-generation", "2")];
    let annotations = annotations.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let secret = OurSecret { annotations, ..OurSecret::default() };
    let owner = Owner { kind: "Deployment".into(), name: "web".into() };
    let reference = Ref { secret: "app-g2".into(), key: None, how: How::Env, container: Some(0) };
    let times = Times { created: 2100, started: [Held::since(&at(2100))].into() };
    let shape = Arc::new(Shape { owner, refs: [reference].into() });
    world.others = vec![Other { name: "app-g2".to_owned(), secret }];
    world.consumers.pods = vec![Consumer { shape, times }];
    world.password = 3;
    world.step(3000);
    world.step(3002);
    assert_eq!(
        (world.draining().as_str(), world.left()),
        ("True StaleConsumers", vec![None, None, Some(3002)])
    );
    // Somebody deletes it: the pod holds what it read.
    world.others.clear();
    world.step(3100);
    assert_eq!(world.draining(), "True StaleConsumers");
    // Where there never was one the name is somebody else's.
    world.ledger.as_mut().unwrap().left_single = None;
    world.step(3200);
    assert_eq!(world.draining(), "False Drained");
}

#[test]
fn a_secret_that_an_unseen_pod_may_name_does_not_go() {
    let seen = Consumers { known: true, ..Consumers::default() };
    assert!(!seen.may_use("app-g1"));
    assert!(Consumers { blind: true, ..seen.clone() }.may_use("app-g1"));
    assert!(Consumers { known: false, ..seen.clone() }.may_use("app-g1"));
    assert!(Consumers { pods: vec![pod(How::Env, 1500)], ..seen }.may_use("app"));
}

#[test]
fn what_is_kept_for_those_who_have_left_is_looked_at_again_when_they_have() {
    let mut world = World::rotated(None);
    let roles = [("touchseal.dev/role", "previous"), ("touchseal.dev/secret-generation", "1")];
    let annotations = roles.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let secret = OurSecret { annotations, ..OurSecret::default() };
    world.others = vec![Other { name: "app-previous".to_owned(), secret }];
    (world.object.spec.rotation.as_mut().unwrap().delivery, world.sealed) = (Some(Delivery::Previous), false);
    world.step(2500);
    world.consumers.pods.clear();
    assert_eq!(world.step(2700).again, Some(at(2701)));
    assert_eq!(world.noted(), [None, Some(2700)]);
    assert_eq!(world.step(2701).again, Some(at(2700 + 3600)), "an hour, unless it is asked for otherwise");
}

/// Somebody else's Secret in the place of ours, in a world whose only pod was started while it was there.
fn foreign(consents: bool) -> SecretSeen {
    SecretSeen::Foreign {
        uid: "u".into(),
        resource_version: "1".into(),
        consents,
        owner: "helm".into(),
        type_: "Opaque".into(),
        immutable: false,
    }
}

#[test]
fn who_started_while_somebody_elses_secret_was_in_the_place_may_hold_the_old_value() {
    for end in [foreign(true), SecretSeen::Absent] {
        let mut world = World::rotated(None);
        world.secret = foreign(false);
        world.consumers.pods = vec![pod(How::Env, 2600)];
        world.step(2650);
        world.secret = end;
        world.step(2700);
        world.step(2750);
        assert_eq!((world.draining().as_str(), world.noted()), ("True StaleConsumers", vec![None, None]));
        world.consumers.pods = vec![pod(How::Env, 2760)];
        world.step(2800);
        assert_eq!((world.draining().as_str(), world.noted()), ("False Drained", vec![None, Some(2800)]));
    }
}

#[test]
fn a_secret_restored_from_a_backup_bears_no_number_of_ours_and_may_hold_anything() {
    let mut world = World::rotated(None);
    world.ours().annotations.clear();
    (world.ours().altered, world.ours().fingerprint) = (true, [1; 16]);
    world.consumers.pods = vec![pod(How::Env, 2600)];
    world.sealed = true;
    world.step(2650);
    assert_eq!((world.draining().as_str(), world.noted()), ("True StaleConsumers", vec![None, None]));
    world.sealed = false;
    world.step(2700);
    world.step(2750);
    assert_eq!((world.draining().as_str(), world.noted()), ("True StaleConsumers", vec![None, None]));
}

#[test]
fn an_old_secret_that_is_put_back_while_sealed_is_drained_no_more() {
    for number in [Some("1"), None] {
        let mut world = World::rotated(None);
        world.consumers.pods.clear();
        world.step(2500);
        assert_eq!(world.draining(), "False Drained");
        let ours = world.ours();
        ours.annotations.clear();
        let name = "touchseal.dev/secret-generation".to_owned();
        ours.annotations.extend(number.map(|number| (name, number.to_owned())));
        (ours.fingerprint, ours.altered) = ([1; 16], true);
        (world.sealed, world.consumers.pods) = (true, vec![pod(How::Env, 2800)]);
        world.step(3000);
        assert_eq!((world.draining().as_str(), world.noted()), ("True StaleConsumers", vec![None, None]));
    }
}

#[test]
fn a_template_without_pods_may_name_an_old_secret_and_that_is_said_until_there_is_none() {
    let mut world = World::rotated(None);
    let annotations = [("touchseal.dev/role", "generation"), ("touchseal.dev/secret-generation", "1")];
    let annotations = annotations.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    world.others =
        vec![Other { name: "app-g1".to_owned(), secret: OurSecret { annotations, ..OurSecret::default() } }];
    world.consumers.pods.clear();
    let said = "no workload without pods still names Secret app-g1 or an older one";
    let message = |world: &World| {
        let conditions = &world.object.status.as_ref().unwrap().conditions;
        conditions.iter().find(|c| c.type_ == "Draining").unwrap().message.clone()
    };
    let event = world.step(2700).notices.pop().unwrap();
    assert!(event.message.contains(said) && message(&world).contains(said), "{}", event.message);
    world.others.clear();
    world.step(2800);
    assert!(!message(&world).contains(said), "{}", message(&world));
}

#[test]
fn a_secret_that_an_earlier_delivery_left_and_somebody_deleted_is_held_all_the_same() {
    let mut world = World::rotated(None);
    let SecretSeen::Ours(main) = std::mem::take(&mut world.secret) else { panic!("there is none") };
    world.object.spec.rotation.as_mut().unwrap().delivery = Some(Delivery::Immutable);
    world.others = vec![Other { name: "app".to_owned(), secret: main }];
    world.consumers.pods = vec![pod(How::Env, 2600)];
    world.step(2700);
    world.password = 3;
    world.step(3000);
    world.step(3002);
    assert_eq!(world.draining(), "True StaleConsumers");
    world.others.clear();
    world.consumers.pods = vec![pod(How::Env, 3050)];
    world.step(3100);
    assert_eq!(world.draining(), "True StaleConsumers", "started after the rotation, with what was left");
    world.object.spec.rotation.as_mut().unwrap().delivery = None;
    world.step(3200);
    assert_eq!(world.ledger.as_ref().unwrap().left_main, None, "it is made anew");
}

#[test]
fn a_planted_number_leads_to_none_that_is_not_believed() {
    let mut world = World::new(None);
    world.step(1000);
    world.ledger = None;
    let highest = crate::observed::MAX_NUMBER.to_string();
    world.ours().annotations.insert("touchseal.dev/secret-generation".to_owned(), highest);
    world.ours().fingerprint = [9; 16];
    world.step(2000);
    world.password = 2;
    world.step(3000);
    world.step(3100);
    assert_eq!(world.draining(), "False Drained");
}
