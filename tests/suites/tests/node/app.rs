//! Applications that use a Secret in one way each, and answer with the password as they hold it.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use touchseal_rig::node::BUSYBOX_IMAGE;
use touchseal_rig::poll::eventually;
use touchseal_suites::DEADLINE;

use crate::world::World;

/// How an application uses the Secret `app`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Files of a volume.
    Files,
    /// One of these files, mounted by itself.
    SubPath,
    /// A variable.
    Env,
}

impl Use {
    pub fn name(self) -> &'static str {
        match self {
            Use::Files => "files",
            Use::SubPath => "sub-path",
            Use::Env => "env",
        }
    }

    /// A Deployment of an application that answers with its password, as it holds it, on port 8080.
    pub fn deployment(self, namespace: &str) -> Value {
        const SERVE: &str = "exec /bin/busybox httpd -f -p 8080 -h /www";
        let read = "/bin/busybox mkdir /www && /bin/busybox printf %s \"$PASSWORD\" >/www/password";
        let (script, more) = match self {
            Use::Files => {
                (SERVE.to_owned(), json!({ "volumeMounts": [{ "name": "secret", "mountPath": "/www" }] }))
            }
            Use::SubPath => (
                SERVE.to_owned(),
                json!({ "volumeMounts": [{ "name": "secret", "mountPath": "/www/password", "subPath": "password" }] }),
            ),
            Use::Env => (
                format!("{read} && {SERVE}"),
                json!({ "env": [{ "name": "PASSWORD", "valueFrom": { "secretKeyRef": { "name": "app", "key": "password" } } }] }),
            ),
        };
        let mut container = more;
        container["name"] = json!("main");
        container["image"] = json!(BUSYBOX_IMAGE);
        container["imagePullPolicy"] = json!("Never");
        container["command"] = json!(["/bin/busybox", "sh", "-c", script]);
        let mut pod = json!({ "terminationGracePeriodSeconds": 0, "containers": [container] });
        if self != Use::Env {
            pod["volumes"] = json!([{ "name": "secret", "secret": { "secretName": "app" } }]);
        }
        let labels = json!({ "app": self.name() });
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": self.name(), "namespace": namespace },
            "spec": {
                "selector": { "matchLabels": labels },
                "template": { "metadata": { "labels": labels }, "spec": pod },
            },
        })
    }
}

/// The one pod of an application.
pub struct App<'w> {
    world: &'w World,
    namespace: &'w str,
    how: Use,
}

impl<'w> App<'w> {
    /// Deploys it and waits until it answers.
    pub fn deploy(world: &'w World, namespace: &'w str, how: Use) -> App<'w> {
        world.cluster.apply(&how.deployment(namespace).to_string()).unwrap();
        App { world, namespace, how }
    }

    /// Its pod, once there is one and no other.
    pub fn pod(&self) -> Value {
        let label = format!("app={}", self.how.name());
        eventually(DEADLINE, &format!("the one pod of {}", self.how.name()), || {
            let list = self.world.cluster.get(&["pods", "-n", self.namespace, "-l", &label]).unwrap();
            let pods = list["items"].as_array().unwrap();
            match &pods[..] {
                [pod] if pod["status"]["podIP"].is_string() => Ok(pod.clone()),
                others => Err(format!("{} pods", others.len())),
            }
        })
        .unwrap()
    }

    /// What the application answers, if it does.
    pub fn answer(&self) -> Option<String> {
        ask(self.pod()["status"]["podIP"].as_str()?)
    }

    /// Asks it all the time while `work` is done, and returns all that it answered.
    pub fn meanwhile(&self, work: impl FnOnce()) -> BTreeSet<String> {
        let pod = self.pod();
        let address = pod["status"]["podIP"].as_str().unwrap();
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let asked = scope.spawn(|| {
                let mut answers = BTreeSet::new();
                loop {
                    // The last answer is of after the work.
                    let last = done.load(Ordering::Acquire);
                    answers.insert(ask(address).unwrap_or_else(|| "no answer".into()));
                    if last {
                        return answers;
                    }
                    thread::sleep(Duration::from_millis(20));
                }
            });
            let outcome = catch_unwind(AssertUnwindSafe(work));
            done.store(true, Ordering::Release);
            let answers = asked.join().unwrap();
            outcome.map_or_else(|panic| resume_unwind(panic), |()| answers)
        })
    }

    /// Waits until it answers with this password.
    pub fn wait_for(&self, password: &str) {
        eventually(DEADLINE, &format!("{} to hold {password}", self.how.name()), || {
            let answer = self.answer();
            if answer.as_deref() == Some(password) { Ok(()) } else { Err(format!("{answer:?}")) }
        })
        .unwrap();
    }

    /// What is another after a restart: pod, container and time of start.
    pub fn run(&self) -> String {
        let pod = self.pod();
        let container = &pod["status"]["containerStatuses"][0];
        format!("{} {} {}", pod["metadata"]["uid"], container["containerID"], container["restartCount"])
    }

    /// Restarts it as people do.
    pub fn restart(&self) {
        let deployment = format!("deployment/{}", self.how.name());
        self.world.kubectl(&["rollout", "restart", &deployment, "-n", self.namespace]);
        self.world.kubectl(&["rollout", "status", &deployment, "-n", self.namespace, "--timeout=50s"]);
    }
}

/// What the application at this address answers, if it does.
fn ask(address: &str) -> Option<String> {
    let address = format!("{address}:8080").parse().ok()?;
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream.write_all(b"GET /password HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.contains(" 200 ").then(|| body.to_owned())
}
