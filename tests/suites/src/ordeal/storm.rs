//! What people do to EncryptedSecrets and Secrets all day, many times as fast, as a seed draws it: new content, the same again, an
//! earlier one, objects deleted and made again, Secrets changed by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use k8s_openapi::jiff::{Timestamp, Unit};
use serde_json::{Value, json};
use touchseal_rig::cluster::ClusterError;
use touchseal_rig::drawn::Drawn;
use touchseal_rig::poll::eventually;
use touchseal_sops::{Document, Format, OsRng, Recipient, Recipients, Rules};

use super::diary::Diary;
use super::model::{EDITED, Key, Model, plaintext};
use crate::{DEADLINE, World};

/// Most objects of one stroke.
const STROKE: u32 = 6;

/// Everybody who applies manifests.
#[derive(Clone)]
pub struct Storm {
    pub(super) world: Arc<World>,
    pub(super) model: Arc<Mutex<Model>>,
    /// Recipient by namespace.
    pub(super) recipients: BTreeMap<String, String>,
    /// Objects that it may touch.
    pub names: Vec<Key>,
    pub(super) drawn: Drawn,
    /// Numbers contents, for all storms of a world.
    pub(super) contents: Arc<AtomicU64>,
    pub(super) diary: Diary,
}

/// A storm that goes on until it is told to stop.
pub struct Blowing {
    over: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Storm {
    /// A few things at once in one namespace; gives how many. Whatever the API server did not take is sent again until it does.
    pub fn stroke(&mut self) -> u64 {
        let Some((namespace, _)) = self.drawn.pick(&self.names).cloned() else { return 0 };
        let here: Vec<Key> = self.names.iter().filter(|key| key.0 == namespace).cloned().collect();
        let count = 1 + self.drawn.below(STROKE);
        let keys: BTreeSet<Key> = (0..count).filter_map(|_| self.drawn.pick(&here).cloned()).collect();
        let (mut gone, mut applied, mut edited, mut done) = (Vec::new(), Vec::new(), Vec::new(), 0);
        for key in keys {
            let there = self.model().objects.get(&key).is_some_and(|object| object.there);
            let act = if there { self.drawn.below(100) } else { self.drawn.below(80) };
            done += 1;
            match act {
                80..90 => gone.push(key),
                90..93 => {
                    gone.push(key.clone());
                    applied.push(key);
                }
                93.. => edited.push(key),
                _ => applied.push(key),
            }
        }
        self.delete(&gone);
        let manifests: Vec<Value> = applied.iter().map(|key| self.draw(key)).collect();
        self.apply(&manifests);
        edited.iter().for_each(|key| self.edit(key));
        done
    }

    /// So many of them; gives how many things were done.
    pub fn strokes(&mut self, count: u32) -> u64 {
        (0..count).map(|_| self.stroke()).sum()
    }

    /// Strokes without a pause in a thread of its own.
    pub fn blow(mut self) -> Blowing {
        let over = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            let mut done = 0;
            while !stop.load(Ordering::SeqCst) {
                done += self.stroke();
            }
            done
        });
        Blowing { over, thread }
    }

    /// New content for every object it may touch, at once.
    pub fn change_all(&mut self) {
        let manifests: Vec<Value> = self.names.clone().iter().map(|key| self.change(key)).collect();
        self.apply(&manifests);
    }

    /// The same content for every object, encrypted anew, at once.
    pub fn nudge(&mut self) {
        let manifests: Vec<Value> = self.names.clone().iter().map(|key| self.same(key)).collect();
        self.apply(&manifests);
    }

    /// A manifest with new content.
    pub fn change(&mut self, key: &Key) -> Value {
        let content = self.contents.fetch_add(1, Ordering::SeqCst);
        self.ask(key, content)
    }

    /// A manifest with the newest content, encrypted anew.
    pub fn same(&mut self, key: &Key) -> Value {
        let newest = self.model().objects.get(key).and_then(|object| object.contents.last().copied());
        match newest {
            Some(content) => self.ask(key, content),
            None => self.change(key),
        }
    }

    /// A manifest with content that is new, the same, or an earlier one.
    fn draw(&mut self, key: &Key) -> Value {
        let earlier = self.model().objects.get(key).map(|object| object.contents.clone()).unwrap_or_default();
        let content = match self.drawn.below(100) {
            0..15 => earlier.last().copied(),
            15..25 => self.drawn.pick(&earlier).copied(),
            _ => None,
        };
        match content {
            Some(content) => self.ask(key, content),
            None => self.change(key),
        }
    }

    /// Notes what is asked for, before anybody can see it, and encrypts it.
    fn ask(&mut self, key: &Key, content: u64) -> Value {
        self.model().ask(key, content);
        self.diary.note(format_args!("{}/{} is to hold content {content}", key.0, key.1));
        manifest(key, &encrypt(&plaintext(key, content), &self.recipients[&key.0]))
    }

    /// Applies manifests.
    pub fn apply(&self, manifests: &[Value]) {
        if manifests.is_empty() {
            return;
        }
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": manifests }).to_string();
        insist("manifests to be taken", || self.world.cluster.apply(&list));
    }

    /// Deletes EncryptedSecrets.
    pub fn delete(&self, keys: &[Key]) {
        let Some((namespace, _)) = keys.first() else { return };
        for key in keys {
            if let Some(object) = self.model().objects.get_mut(key) {
                object.there = false;
            }
            self.diary.note(format_args!("{}/{} is deleted", key.0, key.1));
        }
        let names = keys.iter().map(|key| key.1.as_str());
        let delete = ["delete", "encryptedsecret", "--ignore-not-found", "--wait=false", "-n", namespace];
        let delete: Vec<&str> = delete.into_iter().chain(names).collect();
        insist("a deletion to be taken", || self.world.cluster.kubectl_stdout(&delete));
    }

    /// Changes a Secret by hand, or deletes it.
    fn edit(&mut self, key: &Key) {
        let delete = self.drawn.below(3) == 0;
        self.touch(key, delete);
    }

    /// The same, and which of both is said; a Secret that is not there cannot be changed.
    pub fn touch(&self, key: &Key, delete: bool) {
        self.diary.note(format_args!("Secret {}/{} is changed by hand", key.0, key.1));
        let patch = json!({ "stringData": { "password": EDITED, "planted": "x" } }).to_string();
        let arguments: &[&str] = match delete {
            true => &["delete", "secret", &key.1, "-n", &key.0, "--wait=false"],
            false => &["patch", "secret", &key.1, "-n", &key.0, "-p", &patch],
        };
        let _ = self.world.cluster.kubectl(arguments).unwrap();
    }

    fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Blowing {
    /// Ends it; gives how many things were done.
    pub fn stop(self) -> u64 {
        self.over.store(true, Ordering::SeqCst);
        self.thread.join().unwrap()
    }
}

/// The API server may be away for a while.
fn insist<T>(what: &str, act: impl Fn() -> Result<T, ClusterError>) {
    eventually(DEADLINE * 2, what, || act().map_err(|error| error.to_string())).unwrap();
}

/// An EncryptedSecret of one document.
pub fn manifest(key: &Key, document: &str) -> Value {
    json!({
        "apiVersion": "touchseal.dev/v1alpha1", "kind": "EncryptedSecret",
        "metadata": { "namespace": key.0, "name": key.1 },
        "spec": { "documents": [{ "name": "app.yaml", "sops": document }] },
    })
}

/// A document by our own library, which is quicker than a start of sops; that sops makes the same is shown elsewhere.
fn encrypt(plaintext: &str, recipient: &str) -> String {
    let recipients = Recipients::new(vec![Recipient::from_str(recipient).unwrap()]).unwrap();
    let now = Timestamp::now().round(Unit::Second).unwrap().to_string();
    let (format, rules) = (Format::Yaml, Rules::default());
    let made = Document::encrypt(plaintext.as_bytes(), format, &recipients, &rules, &now, &mut OsRng);
    String::from_utf8(made.unwrap().emit()).unwrap()
}
