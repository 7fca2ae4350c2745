//! A world in which faults happen while people go on working, and the four statements that must hold after each fault: every Secret
//! is right, numbers are right, no foreign Secret was touched, and nothing needs a person beyond an unseal. What people asked for is
//! kept in a model; judged are the cluster at rest and, by a watch, every state on the way.

mod clock;
mod diary;
mod judge;
pub mod model;
mod storm;
mod witness;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use touchseal_keyring::OpenKeyring;
use touchseal_rig::cluster::StandInPod;
use touchseal_rig::drawn::Drawn;
use touchseal_rig::poll::eventually;

use crate::apps::KEYRING;
use crate::{Launch, Operator, SoftHolder, World};
pub use clock::Clock;
pub use diary::Diary;
pub use judge::Amiss;
use model::{Eyes, Key, Model};
pub use storm::{Blowing, Storm, manifest};
use witness::Witness;

/// How long all may take to be right after a fault: back-off included, which is a minute at most.
const SETTLING: Duration = Duration::from_secs(150);
/// What takes so long is told, for whoever wants to know why.
const LONG: Duration = Duration::from_secs(5);
/// How long an unsealed replica may take to hand the keyring over before a person does it.
const HAND_OVER: Duration = Duration::from_secs(20);
/// EncryptedSecrets in each of two namespaces.
pub const OBJECTS: usize = 12;

/// A world under faults.
pub struct Ordeal {
    /// The operators; ended before the cluster is handed on.
    pub operators: Vec<Operator>,
    /// Who looks at every state.
    pub witness: Witness,
    /// What people asked for.
    pub model: Arc<Mutex<Model>>,
    /// What people do.
    pub storm: Storm,
    /// Draws the faults.
    pub drawn: Drawn,
    /// Times a person unsealed.
    pub unseals: u32,
    /// Times an operator ended by itself and was started again, as a kubelet does it.
    pub starts: u32,
    /// What was done last.
    pub diary: Diary,
    /// Opened.
    pub keyring: OpenKeyring,
    eyes: Eyes,
    /// Since when a replica waits for another.
    waiting: Option<Instant>,
    /// The world.
    pub world: Arc<World>,
}

impl Ordeal {
    /// A world named after its test with so many operators, served and at rest. `usual` is its seed where the environment has none.
    pub fn new(test: &str, usual: u64, operators: usize) -> Ordeal {
        Ordeal::with(test, usual, operators, |_, _| Launch::default())
    }

    /// The same with operators that are started otherwise, each as its pod.
    pub fn with(
        test: &str,
        usual: u64,
        operators: usize,
        mut launch: impl FnMut(&World, &StandInPod) -> Launch,
    ) -> Ordeal {
        let mut ordeal = Ordeal::on(World::new(test), usual);
        for _ in 0..operators {
            ordeal.join(&mut launch);
        }
        ordeal.storm.change_all();
        ordeal.settle();
        ordeal
    }

    /// A world without operators, and with objects that nobody serves yet.
    pub fn on(world: World, usual: u64) -> Ordeal {
        let mut drawn = Drawn::by_environment(usual);
        let world = Arc::new(world);
        let (spec, keyring) = SoftHolder::generate("alice", 1).create_keyring();
        world.apply_keyring(KEYRING, &spec);
        let (model, diary) = (Arc::new(Mutex::new(Model::default())), Diary::new());
        let storm = Storm {
            world: Arc::clone(&world),
            model: Arc::clone(&model),
            recipients: BTreeMap::new(),
            names: Vec::new(),
            drawn: Drawn::new(drawn.seed()),
            contents: Arc::new(AtomicU64::new(1)),
            diary: diary.clone(),
        };
        let witness = Witness::start(&world.cluster, &model);
        let (operators, eyes) = (Vec::new(), Eyes::default());
        let mut ordeal = Ordeal {
            operators,
            witness,
            model,
            storm,
            drawn,
            unseals: 0,
            starts: 0,
            diary,
            keyring,
            eyes,
            waiting: None,
            world,
        };
        let (first, second) = (ordeal.world.apps.clone(), format!("{}-2", ordeal.world.apps));
        ordeal.world.cluster.namespace(&second).unwrap();
        for namespace in [first, second] {
            ordeal.populate(&namespace, OBJECTS);
        }
        ordeal.make_foreign();
        ordeal
    }

    /// Starts another operator.
    pub fn join(&mut self, launch: impl FnOnce(&World, &StandInPod) -> Launch) -> &mut Operator {
        let name = format!("operator-{}", self.operators.len() + 1);
        let (cluster, system) = (&self.world.cluster, &self.world.system);
        let pod = cluster.stand_in_pod(system, "touchseal-operator", &name).unwrap();
        let launch = launch(&self.world, &pod);
        self.operators.push(Operator::launch(cluster, system, pod, launch));
        self.operators.last_mut().unwrap()
    }

    /// Names for so many EncryptedSecrets of a namespace; the storm makes them.
    pub fn populate(&mut self, namespace: &str, objects: usize) {
        let names = self.storm_in(namespace, objects).names;
        self.storm.names.extend(names);
    }

    /// A storm over so many EncryptedSecrets of a namespace, which other storms leave alone; they are judged all the same.
    pub fn storm_in(&mut self, namespace: &str, objects: usize) -> Storm {
        let recipient = self.keyring.recipient_spec(namespace).unwrap().recipient;
        self.storm.recipients.insert(namespace.to_owned(), recipient);
        let names = (0..objects).map(|number| (namespace.to_owned(), format!("app-{number:02}"))).collect();
        Storm { names, drawn: Drawn::new(self.drawn.seed()), ..self.storm.clone() }
    }

    /// Until all is right, unsealing where that is asked for; gives how long it took.
    pub fn settle(&mut self) -> Duration {
        let began = Instant::now();
        if let Err(wrong) = self.try_settle() {
            let tails: Vec<String> =
                self.operators.iter().map(|operator| operator.process.tail(12)).collect();
            panic!("{wrong}\n{}\n{}", self.diary, tails.join("\n"));
        }
        began.elapsed()
    }

    /// The same.
    ///
    /// # Errors
    /// What must never be, or what is not right in time.
    pub fn try_settle(&mut self) -> Result<(), String> {
        let (began, mut told) = (Instant::now(), false);
        let settled = eventually(SETTLING, "every Secret to be right and nothing to be asked for", || {
            match self.judge() {
                Ok(()) => Ok(Ok(())),
                Err(Amiss::Violated(wrong)) => Ok(Err(wrong)),
                Err(Amiss::Pending(what)) => {
                    if began.elapsed() > LONG && !std::mem::replace(&mut told, true) {
                        println!("after {LONG:?} it still waits: {what}");
                    }
                    Err(what)
                }
            }
        });
        settled.map_err(|timed_out| timed_out.to_string())??;
        match self.witness.wrong() {
            Some(wrong) => Err(format!("on the way: {wrong}")),
            None => Ok(()),
        }
    }

    /// One look at everything.
    fn judge(&mut self) -> Result<(), Amiss> {
        if let Some(wrong) = self.witness.wrong() {
            return Err(Amiss::Violated(format!("on the way: {wrong}")));
        }
        self.keep_running();
        let kinds =
            "encryptedsecrets.touchseal.dev,unsealrequests.touchseal.dev,keyrings.touchseal.dev,secrets";
        let found = self.world.cluster.get(&[kinds, "-A"]).map_err(|e| Amiss::Pending(e.to_string()))?;
        let found = found["items"].as_array().cloned().unwrap_or_default();
        self.unseal_if_asked(&found)?;
        let mut namespaces: BTreeSet<String> = self.storm.recipients.keys().cloned().collect();
        namespaces.insert(self.world.system.clone());
        judge::judge(
            &mut self.model.lock().unwrap_or_else(PoisonError::into_inner),
            &mut self.eyes,
            &namespaces,
            &found,
        )
    }

    /// As a kubelet: a container that ends is started again.
    fn keep_running(&mut self) {
        for operator in &mut self.operators {
            if let Some(status) = operator.process.exited() {
                self.diary.note(format_args!("{} ended with {status} and starts again", operator.pod.name));
                self.starts += 1;
                operator.restart();
            }
        }
    }

    /// The only thing a person does: where no replica can hand the keyring over, or none has in time.
    fn unseal_if_asked(&mut self, found: &[Value]) -> Result<(), Amiss> {
        let keyring = found.iter().find(|o| o["kind"] == "Keyring").unwrap_or(&Value::Null);
        let status = &keyring["status"];
        let conditions = status["conditions"].as_array().into_iter().flatten();
        if let Some(tampered) =
            conditions.into_iter().find(|c| c["type"] == "Tampered" && c["status"] == "True")
        {
            return Err(Amiss::Violated(format!("the keyring counts as tampered with: {tampered}")));
        }
        let asking: Vec<&Value> = found
            .iter()
            .filter(|o| {
                o["kind"] == "UnsealRequest" && o["metadata"]["namespace"] == self.world.system.as_str()
            })
            .collect();
        let unsealed = status["unsealedReplicas"].as_u64().unwrap_or_default();
        if asking.is_empty() {
            self.waiting = None;
            let all = u64::try_from(self.operators.len()).unwrap();
            return match unsealed == all {
                true => Ok(()),
                false => Err(Amiss::Pending(format!("{unsealed} of {all} replicas unsealed: {status}"))),
            };
        }
        let since = *self.waiting.get_or_insert_with(Instant::now);
        let ready = |request: &&&Value| {
            request["status"]["proof"].is_string() && request["spec"]["release"].is_null()
        };
        if unsealed == 0 || since.elapsed() > HAND_OVER {
            for request in asking.iter().filter(ready) {
                // Another may have been quicker.
                if self.world.try_release(request, &self.keyring, "alice", 1).is_ok() {
                    self.diary.note(format_args!("{} is unsealed", request["spec"]["pod"]));
                    self.unseals += 1;
                    self.waiting = None;
                }
            }
        }
        Err(Amiss::Pending(format!("{} replicas ask to be unsealed", asking.len())))
    }

    /// Releases the keyring to whoever asks now, without waiting for anything.
    pub fn unseal_now(&mut self) -> bool {
        let Ok(found) = self.world.cluster.get(&["unsealrequests.touchseal.dev", "-n", &self.world.system])
        else {
            return false;
        };
        let requests = found["items"].as_array().cloned().unwrap_or_default();
        let ready = |r: &&Value| r["status"]["proof"].is_string() && r["spec"]["release"].is_null();
        let released = requests
            .iter()
            .filter(ready)
            .filter(|request| self.world.try_release(request, &self.keyring, "alice", 1).is_ok());
        let released = u32::try_from(released.count()).unwrap();
        self.unseals += released;
        released > 0
    }

    /// A storm of its own begins, everywhere.
    pub fn blow(&mut self) -> Blowing {
        self.blow_outside("")
    }

    /// A storm of its own begins that leaves a namespace alone.
    pub fn blow_outside(&mut self, namespace: &str) -> Blowing {
        let mut storm = self.storm.clone();
        storm.names.retain(|key| key.0 != namespace);
        storm.drawn = Drawn::new(self.drawn.seed());
        storm.blow()
    }

    /// What people asked for.
    pub fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Secrets of others: one that has nothing to do with us, one that bears our label, and one that an EncryptedSecret wants.
    fn make_foreign(&mut self) {
        let (namespace, system) = (self.world.apps.clone(), self.world.system.clone());
        let labels = json!({ "app.kubernetes.io/managed-by": "touchseal" });
        let secret = |namespace: &str, name: &str, labels: &Value| {
            json!({ "apiVersion": "v1", "kind": "Secret", "stringData": { "password": "theirs" },
                    "metadata": { "namespace": namespace, "name": name, "labels": labels } })
        };
        let contested: Key = (namespace.clone(), "contested".to_owned());
        let foreign = [
            secret(&namespace, "plain", &Value::Null),
            secret(&namespace, "labelled", &labels),
            secret(&namespace, &contested.1, &Value::Null),
            secret(&system, "beside-the-ledger", &Value::Null),
        ];
        self.storm.apply(&foreign);
        for made in &foreign {
            let key = model::key(made);
            let found = self.world.cluster.get(&["secret", &key.1, "-n", &key.0]).unwrap();
            self.model().foreign.insert(key, found);
        }
        let wanted = self.storm.change(&contested);
        self.storm.apply(&[wanted]);
        self.model().objects.get_mut(&contested).unwrap().conflict = true;
    }
}
