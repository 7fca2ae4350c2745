//! Looks at every state of every Secret of ours while it lasts, by a watch of its own: what holds at rest must have held on the way.

use std::io::BufReader;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;
use touchseal_rig::cluster::Cluster;
use touchseal_rig::process;
use touchseal_rig::tools::Tool;

use super::model::{Eyes, Model, key};

/// A watch that goes on until it is dropped, whatever becomes of the API server.
pub struct Witness {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    watch: Mutex<Option<Child>>,
    over: AtomicBool,
    seen: AtomicU64,
    wrong: Mutex<Option<String>>,
}

impl Witness {
    /// Starts to look.
    pub fn start(cluster: &Cluster, model: &Arc<Mutex<Model>>) -> Witness {
        let (shared, model) = (Arc::new(Shared::default()), Arc::clone(model));
        let kubeconfig = cluster.admin_kubeconfig();
        let kubectl = Tool::Kubectl.path().unwrap();
        let thread = {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || {
                let mut eyes = Eyes::default();
                while !shared.over.load(Ordering::SeqCst) {
                    let mut command = process::command(&kubectl);
                    command
                        .arg("--kubeconfig")
                        .arg(&kubeconfig)
                        .args(["get", "secrets", "-A", "-o=json", "-w"]);
                    command.args(["-l", "app.kubernetes.io/managed-by=touchseal"]);
                    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
                    shared.follow(command.spawn().unwrap(), &model, &mut eyes);
                    // The API server is away; lists are of now, so what was missed is not seen the wrong way round.
                    std::thread::sleep(Duration::from_millis(50));
                }
            })
        };
        Witness { shared, thread: Some(thread) }
    }

    /// How many states it has seen.
    pub fn seen(&self) -> u64 {
        self.shared.seen.load(Ordering::SeqCst)
    }

    /// The first thing that it saw and that must never be.
    pub fn wrong(&self) -> Option<String> {
        self.shared.wrong.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Shared {
    fn follow(&self, mut child: Child, model: &Mutex<Model>, eyes: &mut Eyes) {
        let told = child.stdout.take().unwrap();
        *self.watch.lock().unwrap_or_else(PoisonError::into_inner) = Some(child);
        for secret in serde_json::Deserializer::from_reader(BufReader::new(told)).into_iter::<Value>() {
            let Ok(secret) = secret else { break };
            self.seen.fetch_add(1, Ordering::SeqCst);
            let mut model = model.lock().unwrap_or_else(PoisonError::into_inner);
            // Another test's namespaces may still be going.
            if !model.objects.keys().any(|object| object.0 == key(&secret).0) {
                continue;
            }
            if let Err(wrong) = model.look(&secret, eyes) {
                self.wrong.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(wrong);
            }
        }
        self.end();
    }

    fn end(&self) {
        if let Some(mut child) = self.watch.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            // Whether it is between two watches or in one.
            while !thread.is_finished() {
                self.shared.end();
                std::thread::sleep(Duration::from_millis(10));
            }
            let _ = thread.join();
        }
    }
}
