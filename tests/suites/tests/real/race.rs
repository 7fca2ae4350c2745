//! Ceremonies race with restarts, seals, rotations of the keyring and hand-overs: whatever came in whichever order, a person who
//! unseals afterwards gets everything served, each content has its one number, and a seal holds. `TOUCHSEAL_SEED` draws other
//! orders; the one that was drawn is printed.

use std::process::Child;
use std::thread::sleep;
use std::time::Duration;

use serde_json::json;
use touchseal_rig::drawn::Drawn;
use touchseal_rig::poll::eventually;
use touchseal_softkey::SoftKey;
use touchseal_suites::cli::{PIN, Said};
use touchseal_suites::world::{condition, value};
use touchseal_suites::{DEADLINE, Laptop, Operator, World};

const ROUNDS: u32 = 6;
const ACTS: u32 = 5;

struct Race {
    laptop: Laptop,
    key: SoftKey,
    operators: Vec<Operator>,
    recipient: String,
    /// Contents applied so far, each with its number.
    contents: u64,
    /// Times the YubiKey may have been asked to open the keyring.
    asked: u64,
    under_way: Vec<Child>,
    world: World,
}

impl Race {
    fn new() -> Race {
        let mut world = World::new("race");
        let laptop = Laptop::new(&world.cluster.admin_kubeconfig());
        let key = laptop.key(0, 4_711);
        laptop.create_keyring("prod", "alice");
        world.apply_keyring("prod", &laptop.manifest("prod"));
        let operators = vec![world.operator(), world.operator()];
        world.requests(2);
        let system = world.system.clone();
        laptop.run(&["unseal", "--yes", "--operator-namespace", &system], PIN).ok();
        world.wait_for_replicas("prod", 2);
        let recipient = world.recipient(&world.apps, "prod");
        let asked = key.counters().private_key_operations;
        let under_way = Vec::new();
        let mut race = Race { laptop, key, operators, recipient, contents: 0, asked, under_way, world };
        race.change();
        race
    }

    fn unseal(&mut self) -> Child {
        self.asked += 1;
        self.laptop.start(&["unseal", "--yes", "--operator-namespace", &self.world.system], PIN)
    }

    fn restart(&mut self, which: usize) {
        let Operator { process, pod, .. } = self.operators.remove(which);
        drop(process); // kill -9
        self.operators.push(Operator::start_as(&self.world.cluster, &self.world.system, pod));
    }

    fn ask_to_seal(&self, marker: &str) {
        let annotation = format!("touchseal.dev/seal-requested={marker}");
        let annotate = ["annotate", "--overwrite", "keyring", "prod", &annotation];
        self.world.cluster.kubectl_stdout(&annotate).unwrap();
    }

    fn rotate(&mut self) {
        self.asked += 1;
        self.laptop.run(&["keyring", "rotate", "-f", "prod.keyring.yaml"], PIN).ok();
        self.world.apply_keyring("prod", &self.laptop.manifest("prod"));
    }

    fn change(&mut self) {
        self.contents += 1;
        let plain = format!("password: number-{}\n", self.contents);
        let document = self.world.sops.encrypt("app.yaml", &plain, &self.recipient);
        let object = json!({
            "apiVersion": "touchseal.dev/v1alpha1", "kind": "EncryptedSecret",
            "metadata": { "name": "app", "namespace": self.world.apps },
            "spec": { "documents": [{ "sops": document }] },
        });
        self.world.cluster.apply(&object.to_string()).unwrap();
    }

    fn act(&mut self, drawn: &mut Drawn, marker: &str) {
        match drawn.below(6) {
            0 | 1 => {
                let child = self.unseal();
                self.under_way.push(child);
            }
            2 => self.restart(usize::try_from(drawn.below(2)).unwrap()),
            3 => self.ask_to_seal(marker),
            4 => self.rotate(),
            _ => self.change(),
        }
        sleep(Duration::from_millis(drawn.below(300).into())); // how far apart is drawn, too
    }

    /// What a person does who finds it sealed: until every replica serves.
    fn settle(&mut self) {
        for child in std::mem::take(&mut self.under_way) {
            let said = Said::from(child.wait_with_output().unwrap());
            assert!([0, 1, 3, 4].contains(&said.code), "{said:?}");
            assert!(!said.err.contains("panicked") && !said.err.contains(PIN), "{said:?}");
        }
        eventually(DEADLINE, "both replicas to serve", || {
            let said = Said::from(self.unseal().wait_with_output().unwrap());
            let keyring = self.world.cluster.get(&["keyring", "prod"]).unwrap();
            assert!(condition(&keyring, "Tampered").is_null(), "{keyring}");
            let replicas = keyring["status"]["replicas"].as_array().cloned().unwrap_or_default();
            let open = replicas.iter().filter(|replica| replica["state"] == "Unsealed").count();
            if open == 2 && replicas.len() == 2 {
                Ok(())
            } else {
                Err(format!("{said:?} {}", keyring["status"]))
            }
        })
        .unwrap();
    }

    /// The newest content, under the number that it is.
    fn is_served(&self) {
        eventually(DEADLINE, &format!("content {} under its number", self.contents), || {
            let name = ["encryptedsecret", "app", "-n", &self.world.apps];
            let status = self.world.cluster.get(&name).unwrap()["status"].clone();
            let secret = self.world.secret("app").ok_or("no Secret")?;
            let right = value(&secret, "password").unwrap() == format!("number-{}", self.contents).as_bytes();
            if right && status["secretGeneration"].as_u64().is_some_and(|number| number <= self.contents) {
                Ok(())
            } else {
                Err(status.to_string())
            }
        })
        .unwrap();
    }
}

#[test]
fn ceremonies_race_with_restarts_seals_rotations_and_hand_overs() {
    let (mut race, mut drawn) = (Race::new(), Drawn::by_environment(11));
    let mut last = 0;
    for round in 0..ROUNDS {
        for act in 0..ACTS {
            race.act(&mut drawn, &format!("race-{round}-{act}"));
        }
        race.settle();
        race.is_served();
        // Numbers only grow, and one that is served is not taken back.
        let name = ["encryptedsecret", "app", "-n", &race.world.apps];
        let number = race.world.cluster.get(&name).unwrap()["status"]["secretGeneration"].as_u64().unwrap();
        assert!(number >= last, "{number} after {last}");
        last = number;
        // A seal with nothing racing holds: no hand-over undoes it.
        race.world.seal("prod", &format!("after-{round}"));
        race.world.requests(2);
        race.world.wait_for_replicas("prod", 0);
        race.settle();
    }
    let operations = race.key.counters().private_key_operations;
    assert!(operations <= race.asked, "{operations} operations for {} commands", race.asked);
    assert_eq!(race.key.pin_tries_left(), 3);
}
