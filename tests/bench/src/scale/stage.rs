//! A cluster of its own with Touchseal installed, and one unsealed operator that does not lead yet: the bench holds the
//! Lease until it gives it up. So the operator's start as a leader, from fresh lists, can be timed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use touchseal_keyring::OpenKeyring;
use touchseal_suites::{Operator, SHIPPED_LEASE, SoftHolder, World};

use super::Fault;
use super::bare::{Ask, Bare};
use super::fleet::Fleet;

pub const KEYRING: &str = "bench";
/// Requests at a time, where nobody looks at the clock.
const AT_ONCE: usize = 32;
/// Between two looks, which cost whoever is looked at something: of the operator's metrics as much as tens of objects.
const GLANCE: Duration = Duration::from_millis(150);
const CLOSE: Duration = Duration::from_millis(30);
/// Of the series of `touchseal_encrypted_secrets`.
const READY: &str = "state=\"Materialised\"";
const PATIENCE: Duration = Duration::from_secs(600);

/// Requests by verb and resource.
pub type Requests = BTreeMap<(String, String), u64>;

pub struct Stage {
    pub operator: Option<Operator>,
    pub world: World,
    pub bare: Bare,
    pub keyring: OpenKeyring,
    pub fleet: Fleet,
}

impl Stage {
    pub async fn new() -> Result<Stage, Fault> {
        let world = World::alone("bench");
        let (spec, keyring) = SoftHolder::generate("alice", 1).create_keyring();
        world.apply_keyring(KEYRING, &spec);
        let bare = Bare::connect(&world.cluster.admin_kubeconfig()).await?;
        let fleet = Fleet::new(&keyring)?;
        for namespace in fleet.namespaces() {
            let body = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } });
            bare.send(Ask {
                verb: "POST",
                path: "/api/v1/namespaces".into(),
                body: body.to_string().into_bytes(),
            })
            .await?;
        }
        Ok(Stage { operator: None, world, bare, keyring, fleet })
    }

    /// Makes the objects `from..to`; gives them as stored.
    pub async fn fill(&self, from: usize, to: usize) -> Result<Vec<Value>, Fault> {
        let asks = (from..to).map(|index| {
            let (namespace, _) = self.fleet.key(index);
            let path = format!("/apis/touchseal.dev/v1alpha1/namespaces/{namespace}/encryptedsecrets");
            Ok(Ask { verb: "POST", path, body: self.fleet.object(index)? })
        });
        let (answers, _) = self.bare.all(asks.collect::<Result<_, Fault>>()?, AT_ONCE).await?;
        Ok(answers.iter().map(|answer| serde_json::from_slice(answer)).collect::<Result<_, _>>()?)
    }

    fn lease(&self) -> String {
        format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases", self.world.system)
    }

    /// Ends the operator as a crash would.
    pub async fn stop(&mut self) -> Result<(), Fault> {
        let mut operator = self.operator.take().ok_or("no operator runs")?;
        operator.process.kill();
        let path = format!(
            "/api/v1/namespaces/{}/pods/{}?gracePeriodSeconds=0",
            self.world.system, operator.pod.name
        );
        self.bare.send(Ask { verb: "DELETE", path, body: Vec::new() }).await?;
        let path = format!("{}/touchseal-operator", self.lease());
        self.bare.send(Ask { verb: "DELETE", path, body: Vec::new() }).await?;
        Ok(())
    }

    /// Waits until the operator has finished so many reconciles; that it does so no earlier than `earliest` is known, so nobody
    /// looks until then, and often afterwards.
    pub async fn wait_for_reconciles(&self, count: u64, earliest: Instant) -> Result<Instant, Fault> {
        tokio::time::sleep_until(earliest.into()).await;
        let enough = |sum: f64| sum as u64 >= count;
        self.wait_until("touchseal_reconciles_total{", "", CLOSE, enough).await
    }

    /// Starts an operator that waits for the Lease, and unseals it.
    pub async fn start_waiting(&mut self) -> Result<(), Fault> {
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.000000Z").to_string();
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": "touchseal-operator" },
            "spec": { "holderIdentity": "bench", "leaseDurationSeconds": 36000, "renewTime": now },
        });
        let body = lease.to_string().into_bytes();
        self.bare.send(Ask { verb: "POST", path: self.lease(), body }).await?;
        // The suites' shorter lease would be lost on a machine that is busy with a bench.
        let flags = [&SHIPPED_LEASE[..], &["--log-level=info"]].concat();
        self.operator = Some(self.world.operator_with(&flags));
        self.world.unseal(KEYRING, &self.keyring, 1);
        Ok(())
    }

    /// Gives the Lease up: the operator takes it at once.
    pub async fn lead(&self) -> Result<Instant, Fault> {
        let path = format!("{}/touchseal-operator", self.lease());
        let began = Instant::now();
        self.bare.send(Ask { verb: "DELETE", path, body: Vec::new() }).await?;
        Ok(began)
    }

    pub fn operator(&self) -> Result<&Operator, Fault> {
        self.operator.as_ref().ok_or_else(|| "no operator runs".into())
    }

    pub fn pid(&self) -> Result<u32, Fault> {
        Ok(self.operator()?.process.pid())
    }

    /// Waits until so many Secrets are there, and the operator counts as many objects as ready; what it counts is looked at
    /// afterwards. Asking it costs it something, so that is done at the end.
    pub async fn wait_until_ready(&self, count: usize) -> Result<Instant, Fault> {
        let deadline = Instant::now() + PATIENCE;
        while self.secrets().await? < count && Instant::now() < deadline {
            tokio::time::sleep(GLANCE).await;
        }
        self.wait_for("touchseal_encrypted_secrets{", READY, count).await
    }

    /// Waits until no Event was written for two seconds.
    pub async fn wait_for_events(&self) -> Result<(), Fault> {
        let events = ("POST".to_owned(), "events".to_owned());
        let mut before = self.requests().await?.get(&events).copied();
        loop {
            tokio::time::sleep(Duration::from_secs(2)).await;
            let now = self.requests().await?.get(&events).copied();
            if std::mem::replace(&mut before, now) == now {
                return Ok(());
            }
        }
    }

    /// How many Secrets there are.
    async fn secrets(&self) -> Result<usize, Fault> {
        let first = self.bare.get("/api/v1/secrets?limit=1").await?;
        let more = first["metadata"]["remainingItemCount"].as_u64().unwrap_or_default();
        Ok(usize::try_from(more)? + first["items"].as_array().map_or(0, Vec::len))
    }

    /// How many Secrets the operator has written.
    pub fn secret_writes(&self) -> Result<u64, Fault> {
        Ok(self.operator()?.metric("touchseal_secret_writes_total"))
    }

    /// Waits until it has written so many.
    pub async fn wait_for_secret_writes(&self, count: u64) -> Result<Instant, Fault> {
        self.wait_for("touchseal_secret_writes_total", "", count as usize).await
    }

    /// Waits until it counts no object as ready.
    pub async fn wait_until_none_is_ready(&self) -> Result<Instant, Fault> {
        self.wait_until("touchseal_encrypted_secrets{", READY, GLANCE, |sum| sum == 0.0).await
    }

    /// Waits until the series of a metric come to so much.
    async fn wait_for(&self, metric: &str, label: &str, wanted: usize) -> Result<Instant, Fault> {
        self.wait_until(metric, label, GLANCE, |sum| sum as usize >= wanted).await
    }

    /// Waits until the sum of a metric's series is right.
    async fn wait_until(
        &self,
        metric: &str,
        label: &str,
        pause: Duration,
        right: impl Fn(f64) -> bool,
    ) -> Result<Instant, Fault> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let page = self.operator()?.metrics();
            let now = Instant::now();
            let series = page.lines().filter(|line| line.starts_with(metric) && line.contains(label));
            let values = series.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
            let sum: f64 = values.sum();
            if right(sum) {
                return Ok(now);
            }
            if now > deadline {
                return Err(format!("{metric} is {sum} after {PATIENCE:?}:\n{page}").into());
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Every EncryptedSecret, and the Secrets of ours.
    pub async fn lists(&self) -> Result<(Vec<Value>, Vec<Value>), Fault> {
        let items = |mut list: Value| match list["items"].take() {
            Value::Array(items) => items,
            _ => Vec::new(),
        };
        let objects = self.bare.get("/apis/touchseal.dev/v1alpha1/encryptedsecrets").await?;
        let ours = "/api/v1/secrets?labelSelector=app.kubernetes.io/managed-by%3Dtouchseal";
        Ok((items(objects), items(self.bare.get(ours).await?)))
    }

    /// How many requests the API server has had so far, by verb and resource; without watches and the bench's own reads.
    pub async fn requests(&self) -> Result<Requests, Fault> {
        let page = self.bare.send(Ask { verb: "GET", path: "/metrics".into(), body: Vec::new() }).await?;
        let mut counts = BTreeMap::new();
        for line in String::from_utf8(page)?.lines() {
            let Some(labels) = line.strip_prefix("apiserver_request_total{") else { continue };
            let Some((labels, value)) = labels.split_once("} ") else { continue };
            let label = |name: &str| {
                let (_, rest) = labels.split_once(&format!("{name}=\""))?;
                rest.split_once('"').map(|(value, _)| value.to_owned())
            };
            let (Some(verb), Some(mut resource)) = (label("verb"), label("resource")) else { continue };
            if let Some(sub) = label("subresource").filter(|sub| !sub.is_empty()) {
                resource = format!("{resource}/{sub}");
            }
            *counts.entry((verb, resource)).or_insert(0) += value.parse::<f64>()? as u64;
        }
        Ok(counts)
    }
}

/// What came in between, for the file of raw numbers.
pub fn difference(before: &Requests, after: &Requests) -> Value {
    let new = after.iter().filter_map(|(key, count)| {
        let new = count - before.get(key).copied().unwrap_or_default();
        (new > 0).then(|| (format!("{} {}", key.0, key.1), json!(new)))
    });
    Value::Object(new.collect())
}

/// Whether an object's condition Ready is True.
pub fn is_ready(object: &Value) -> bool {
    let conditions = object["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|c| c["type"] == "Ready" && c["status"] == "True")
}
