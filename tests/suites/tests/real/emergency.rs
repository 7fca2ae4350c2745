//! All YubiKeys are lost while a replica is unsealed: an administrator makes somebody a holder through it, if the holders had
//! allowed that; and nobody else does.

use serde_json::{Value, json};
use touchseal_crds::keyring::KeyringSpec;
use touchseal_keyring::manifest;
use touchseal_rig::poll::eventually;
use touchseal_softkey::SoftKey;
use touchseal_suites::cli::{PIN, Said};
use touchseal_suites::{DEADLINE, Laptop, Operator, World};

const FILE: &str = "prod.keyring.yaml";
const WHY: &str = "the office burnt down";

/// A keyring of Alice's, unsealed by her, whose YubiKey is then lost.
struct Burnt {
    laptop: Laptop,
    operator: Operator,
    alice: SoftKey,
    world: World,
}

impl Burnt {
    fn new(test: &str, allowed: bool) -> Burnt {
        let mut world = World::new(test);
        let laptop = Laptop::new(&world.cluster.admin_kubeconfig());
        let alice = laptop.key(0, 4_711);
        laptop.create_keyring("prod", "alice");
        if allowed {
            laptop.run(&["keyring", "emergency-enrolment", "allow", "-f", FILE], PIN).ok();
        }
        world.apply_keyring("prod", &laptop.manifest("prod"));
        let operator = world.operator();
        world.requests(1);
        let system = world.system.clone();
        laptop.run(&["unseal", "--yes", "--operator-namespace", &system], PIN).ok();
        world.wait_for_replicas("prod", 1);
        laptop.reader.pull(0).unwrap();
        Burnt { laptop, operator, alice, world }
    }

    fn enrol(&self, more: &[&str]) -> Said {
        let system = self.world.system.as_str();
        let command =
            ["keyring", "emergency-enrol", "-f", FILE, "--holder", "carol", "--reason", WHY, "--yes"];
        let place = ["--operator-namespace", system];
        self.laptop.run(&[&command[..], &place, more].concat(), PIN)
    }

    /// An Enrolment as a file in git would make it.
    fn wish(&self, name: &str, asked_by: &str, answer: Option<&str>) -> Value {
        let spec = self.laptop.manifest("prod");
        let mut holder = json!(spec.holders[0]);
        holder["name"] = json!("mallory");
        let mut wish = json!({
            "apiVersion": "touchseal.dev/v1alpha1", "kind": "Enrolment",
            "metadata": { "name": name, "namespace": self.world.system },
            "spec": {
                "keyring": "prod", "revision": spec.revision, "holder": holder,
                "requestedBy": asked_by, "reason": "none",
            },
        });
        if let Some(answer) = answer {
            wish["spec"]["answer"] = json!(answer);
        }
        wish
    }

    fn enrolment(&self, name: &str) -> Value {
        self.world.cluster.get(&["enrolment", name, "-n", &self.world.system]).unwrap()
    }

    fn enrolments(&self) -> usize {
        let list = self.world.cluster.get(&["enrolments", "-n", &self.world.system]).unwrap();
        list["items"].as_array().unwrap().len()
    }

    /// Waits until an Enrolment says so.
    fn says(&self, name: &str, reason: &str) -> Value {
        eventually(DEADLINE, &format!("Enrolment {name} to say {reason}"), || {
            let object = self.enrolment(name);
            let said = &object["status"]["conditions"][0]["reason"];
            if said == reason { Ok(object) } else { Err(object.to_string()) }
        })
        .unwrap()
    }

    fn event(&self, reason: &str) -> String {
        eventually(DEADLINE, &format!("an Event {reason}"), || {
            let events = self.world.cluster.get(&["events.events.k8s.io", "-n", "default"]).unwrap();
            let all = events["items"].as_array().unwrap();
            let found =
                all.iter().find(|event| event["reason"] == reason && event["regarding"]["name"] == "prod");
            found.map(|event| event["note"].as_str().unwrap().to_owned()).ok_or_else(|| events.to_string())
        })
        .unwrap()
    }

    fn holders(&self) -> Vec<String> {
        self.laptop.manifest("prod").holders.into_iter().map(|holder| holder.name).collect()
    }
}

fn admin(burnt: &Burnt) -> String {
    let said =
        burnt.world.cluster.kubectl_stdout(&["auth", "whoami", "-o=jsonpath={.status.userInfo.username}"]);
    said.unwrap().trim().to_owned()
}

#[test]
fn an_administrator_makes_a_new_holder_who_then_opens_everything() {
    let mut burnt = Burnt::new("emergency-allowed", true);
    let before: KeyringSpec = burnt.laptop.manifest("prod");
    let lost = burnt.alice.counters().private_key_operations;
    let carol = burnt.laptop.key(0, 815);
    let said = burnt.enrol(&[]).ok();
    assert!(said.out.contains("+holder carol: YubiKey 815"), "{}", said.out);
    assert_eq!(burnt.holders(), ["alice", "carol"]);
    let after = burnt.laptop.manifest("prod");
    assert!(manifest::verify(&after).is_ok());
    assert_eq!(after.revision, before.revision + 1);
    let used = carol.counters().private_key_operations;
    assert_eq!(used, 2, "its certificate was signed, and it was tried before the file was written");
    assert_eq!(burnt.enrolments(), 0, "nothing lies about");

    // Written down: who, for whom, why.
    let note = burnt.event("HolderEnrolled");
    for word in [admin(&burnt).as_str(), "carol", "815", WHY] {
        assert!(note.contains(word), "no {word:?} in {note}");
    }
    let log = burnt.operator.process.log();
    let line = log.lines().find(|line| line.contains("audit") && line.contains("\"enrol\"")).unwrap();
    assert!(line.contains("carol") && line.contains("given") && line.contains(WHY), "{line}");

    // The manifest counts once it is applied; from then on she opens what he opened, after a full restart, too.
    burnt.world.apply_keyring("prod", &after);
    let Operator { process, pod, .. } = burnt.operator;
    drop(process);
    burnt.operator = Operator::start_as(&burnt.world.cluster, &burnt.world.system, pod);
    burnt.world.requests(1);
    let system = burnt.world.system.clone();
    burnt.laptop.run(&["unseal", "--yes", "--operator-namespace", &system], PIN).ok();
    burnt.world.wait_for_replicas("prod", 1);
    assert_eq!(burnt.alice.counters().private_key_operations, lost, "none since she lost it");

    // A leftover file asks for a revision that is not there any more.
    let system = burnt.world.system.clone();
    let _spare = burnt.laptop.key(1, 816);
    let stale = burnt.laptop.run(
        &[
            "keyring",
            "emergency-enrol",
            "-f",
            FILE,
            "--holder",
            "dave",
            "--serial",
            "816",
            "--reason",
            WHY,
            "--yes",
            "--operator-namespace",
            &system,
        ],
        PIN,
    );
    stale.ok();
    let again = burnt.wish("stale", &admin(&burnt), None);
    burnt.world.cluster.apply(&again.to_string()).unwrap();
    let refused = burnt.says("stale", "EnrolmentRefused");
    assert!(refused["status"]["manifest"].is_null());
    assert!(
        refused["status"]["conditions"][0]["message"].as_str().unwrap().contains("revision"),
        "{refused}"
    );
}

#[test]
fn what_the_holders_did_not_allow_nobody_does() {
    let burnt = Burnt::new("emergency-denied", false);
    let carol = burnt.laptop.key(0, 815);
    burnt.enrol(&[]).refused(3, &["keyring prod does not allow emergency enrolments", "make a new keyring"]);
    assert_eq!(carol.counters().private_key_operations, 0);
    assert_eq!(burnt.enrolments(), 0);
    // Also past the command line.
    burnt.world.cluster.apply(&burnt.wish("by-hand", &admin(&burnt), None).to_string()).unwrap();
    let refused = burnt.says("by-hand", "EnrolmentRefused");
    assert!(refused["status"]["manifest"].is_null(), "{refused}");
    assert!(burnt.event("EnrolmentRefused").contains("mallory"));
    assert_eq!(burnt.holders(), ["alice"]);
}

/// Whoever only writes to git: no true name, no answer, or an answer that was never asked for.
#[test]
fn a_wish_that_only_stands_in_git_makes_nobody_a_holder() {
    let burnt = Burnt::new("emergency-git", true);
    let admin = admin(&burnt);
    let apply =
        |object: &Value| burnt.world.cluster.apply(&object.to_string()).map_err(|error| error.to_string());
    eventually(DEADLINE, "the policy to be enforced", || {
        match apply(&burnt.wish("liar", "somebody-else", None)) {
            Ok(()) => {
                burnt
                    .world
                    .cluster
                    .kubectl_stdout(&["delete", "enrolment", "liar", "-n", &burnt.world.system])
                    .unwrap();
                Err("it was taken".to_owned())
            }
            Err(said) if said.contains("not who asks") => Ok(()),
            Err(said) => Err(said),
        }
    })
    .unwrap();
    let said = apply(&burnt.wish("early", &admin, Some("0123456789abcdef"))).unwrap_err();
    assert!(said.contains("after the operator has asked back"), "{said}");

    // What applies git is no person.
    let tool = "system:serviceaccount:flux-system:helm-controller";
    let wish = burnt.world.cluster.dir().join("wish.json");
    std::fs::write(&wish, burnt.wish("by-a-tool", tool, None).to_string()).unwrap();
    let create = ["create", "-f", wish.to_str().unwrap(), "--as", tool, "--as-group", "system:masters"];
    let said = burnt.world.cluster.kubectl_stdout(&create).unwrap_err().to_string();
    assert!(said.contains("a person asks for an enrolment"), "{said}");

    // True to the letter, but whoever wrote it never sees the challenge.
    apply(&burnt.wish("blind", &admin, None)).unwrap();
    let asked = burnt.says("blind", "ChallengeIssued");
    assert_eq!(asked["status"]["challenge"].as_str().unwrap().len(), 32);
    let other = json!({ "spec": { "holder": { "name": "eve" } } }).to_string();
    let patch = ["patch", "enrolment", "blind", "-n", &burnt.world.system, "--type=merge", "-p"];
    let said = burnt.world.cluster.kubectl_stdout(&[&patch[..], &[&other]].concat()).unwrap_err().to_string();
    assert!(said.contains("only the answer changes"), "{said}");
    let guess = json!({ "spec": { "answer": "0".repeat(32) } }).to_string();
    burnt.world.cluster.kubectl_stdout(&[&patch[..], &[&guess]].concat()).unwrap();
    let refused = burnt.says("blind", "EnrolmentRefused");
    assert!(refused["status"]["manifest"].is_null(), "{refused}");

    // Deleted it goes, also where the garbage collector, which is another user, has to let go of it first.
    let carol = ["--as=carol", "--as-group=system:masters"];
    let file = burnt.world.cluster.dir().join("carols.json");
    std::fs::write(&file, burnt.wish("carols", "carol", None).to_string()).unwrap();
    let create = ["create", "-f", file.to_str().unwrap()];
    burnt.world.cluster.kubectl_stdout(&[&create[..], &carol].concat()).unwrap();
    let delete = ["delete", "enrolment", "carols", "-n", &burnt.world.system, "--cascade=foreground"];
    burnt.world.cluster.kubectl_stdout(&[&delete[..], &["--timeout=30s"]].concat()).unwrap();

    // Neither the operator nor those who unseal may ask.
    let account = format!("--as=system:serviceaccount:{}:touchseal-operator", burnt.world.system);
    for who in [account.as_str(), "--as=somebody"] {
        let may = ["auth", "can-i", "create", "enrolments.touchseal.dev", "-n", &burnt.world.system, who];
        let said = burnt.world.cluster.kubectl(&may).unwrap();
        assert_eq!(String::from_utf8_lossy(&said.stdout).trim(), "no", "{who}");
    }
}
