//! Five thousand objects that are served: what they cost while nothing happens, how long a change takes, what the operator
//! holds in memory, and how it comes back.

use std::time::{Duration, Instant};

use serde_json::json;

use super::bare::Ask;
use super::follow::Follow;
use super::stage::{Requests, Stage, difference};
use super::{Fault, block_on, process};
use crate::Outcome;
use crate::contest::median;
use crate::report::{Budget, Report};

const OBJECTS: usize = 5_000;
const CHANGES: usize = 200;
const STORM: usize = 500;
const IDLE: Duration = Duration::from_secs(30);
const FOREIGN: (usize, usize) = (20_000, 1024);
const PODS: usize = 20_000;
/// Of which medians are told, as another guest of the machine may slow one of them down, and of writes, memory and the new object's
/// wait the worst; odd.
const RESTARTS: usize = 3;
/// Writes for one new object: ours of it, then the ledger, the Secret, the status and the Event.
const NEW_OBJECT: f64 = 5.0;
const AT_ONCE: usize = 32;

/// # Errors
/// When the cluster does not do what it should.
pub fn run(report: &mut Report) -> Outcome {
    block_on(async {
        let mut stage = Stage::new().await?;
        stage.start_waiting().await?;
        eprintln!("bench: {OBJECTS} objects ...");
        stage.fill(0, OBJECTS).await?;
        stage.lead().await?;
        stage.wait_until_ready(OBJECTS).await?;
        latency(report, &stage).await?;
        storm(report, &stage).await?;
        idle(report, &stage).await?;
        memory(report, &stage).await?;
        restart(report, &mut stage).await?;
        pods(report, &stage).await
    })
}

/// Time from the answer to a change until a watch shows its Secret, less what a bare write and the same watch take.
async fn latency(report: &mut Report, stage: &Stage) -> Outcome {
    eprintln!("bench: {CHANGES} changes, one after the other ...");
    let mut follow = Follow::start(stage).await?;
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for turn in 0..CHANGES {
        let index = turn * 17 % OBJECTS;
        let (namespace, name) = stage.fleet.key(index);
        let changed = stage.bare.send(stage.fleet.change(index)?);
        changed.await?;
        let began = Instant::now();
        ours.push(follow.until(namespace, &name).await?.duration_since(began));
        let own = format!("own-{index}");
        let began = Instant::now();
        stage.bare.send(own_secret(namespace, &own)).await?;
        bare.push(follow.until(namespace, &own).await?.duration_since(began));
    }
    let (ours, bare) = (Spread::of(ours), Spread::of(bare));
    let beyond = |ours: Duration, bare: Duration| ours.saturating_sub(bare).as_secs_f64() * 1000.0;
    report.value("latency.p50", ours.p50.as_secs_f64() * 1000.0, "ms");
    report.value("latency.p99", ours.p99.as_secs_f64() * 1000.0, "ms");
    report.value("latency.bare.p50", bare.p50.as_secs_f64() * 1000.0, "ms");
    report.value("latency.bare.p99", bare.p99.as_secs_f64() * 1000.0, "ms");
    report.ratio("latency.p50-of-10ms", beyond(ours.p50, bare.p50) / 10.0, Budget::AtMost(1.0));
    report.ratio("latency.p99-of-50ms", beyond(ours.p99, bare.p99) / 50.0, Budget::AtMost(1.0));
    Ok(())
}

/// The same while hundreds change at once.
async fn storm(report: &mut Report, stage: &Stage) -> Outcome {
    eprintln!("bench: {STORM} changes at once ...");
    let mut follow = Follow::start(stage).await?;
    let chosen: Vec<usize> = (0..STORM).map(|turn| (turn * 7 + 3) % OBJECTS).collect();
    let asks = chosen.iter().map(|index| stage.fleet.change(*index)).collect::<Result<Vec<_>, _>>()?;
    let began = Instant::now();
    let (_, sending) = stage.bare.all(asks, AT_ONCE).await?;
    let mut times = Vec::new();
    for index in chosen {
        let (namespace, name) = stage.fleet.key(index);
        times.push(follow.until(namespace, &name).await?.duration_since(began));
    }
    let spread = Spread::of(times);
    report.value("storm.sent", sending.as_secs_f64(), "s");
    report.value("storm.p50", spread.p50.as_secs_f64(), "s");
    report.value("storm.p99", spread.p99.as_secs_f64(), "s");
    Ok(())
}

async fn idle(report: &mut Report, stage: &Stage) -> Outcome {
    eprintln!("bench: nothing for {} s ...", IDLE.as_secs());
    // What is told late: Events, and the count of documents.
    stage.wait_for_events().await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (pid, before) = (stage.pid()?, stage.requests().await?);
    let (began, cpu) = (Instant::now(), process::cpu_seconds(stage.pid()?)?);
    tokio::time::sleep(IDLE).await;
    let used = process::cpu_seconds(pid)? - cpu;
    report.value("idle.cpu-per-hour", used * 3600.0 / began.elapsed().as_secs_f64(), "s");
    let after = stage.requests().await?;
    report.raw("idle.requests", difference(&before, &after));
    Ok(())
}

async fn memory(report: &mut Report, stage: &Stage) -> Outcome {
    let pid = stage.pid()?;
    let now = |what: &'static str| process::memory_mib(pid, what);
    report.value("memory.objects", now("VmRSS")?, "MiB");
    let (count, size) = FOREIGN;
    eprintln!("bench: {count} foreign Secrets of {size} bytes ...");
    let data = json!({ "blob": base64(&vec![b'x'; size]) });
    let namespaces: Vec<&str> = stage.fleet.namespaces().collect();
    let asks = (0..count).map(|index| {
        let namespace = namespaces[index % namespaces.len()];
        let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": format!("foreign-{index}") }, "data": data });
        Ask { verb: "POST", path: format!("/api/v1/namespaces/{namespace}/secrets"), body: secret.to_string().into_bytes() }
    });
    stage.bare.all(asks.collect(), AT_ONCE).await?;
    report.value("memory.foreign", now("VmRSS")?, "MiB");
    report.value("memory.peak", now("VmHWM")?, "MiB");
    report.ratio("memory.of-40mib", now("VmRSS")? / 40.0, Budget::AtMost(1.0));
    Ok(())
}

/// What pods that use the Secrets take.
async fn pods(report: &mut Report, stage: &Stage) -> Outcome {
    let pid = stage.pid()?;
    let now = |what: &'static str| process::memory_mib(pid, what);
    eprintln!("bench: {PODS} pods ...");
    let before = now("VmRSS")?;
    let asks = (0..PODS).map(|index| {
        let (namespace, name) = stage.fleet.key(index % OBJECTS);
        let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": format!("pod-{index}") }, "spec": {
            "containers": [{ "name": "app", "image": "example.org/app:1", "volumeMounts": [{ "name": "secret", "mountPath": "/secret" }] }],
            "volumes": [{ "name": "secret", "secret": { "secretName": name } }],
        }});
        Ask { verb: "POST", path: format!("/api/v1/namespaces/{namespace}/pods"), body: pod.to_string().into_bytes() }
    });
    stage.bare.all(asks.collect(), AT_ONCE).await?;
    // Statuses follow within a second or two; what is asked about is what stays.
    tokio::time::sleep(Duration::from_secs(10)).await;
    report.value("memory.pods", now("VmRSS")?, "MiB");
    report.value("memory.pod", (now("VmRSS")? - before) * 1024.0 * 1024.0 / PODS as f64, "B");
    Ok(())
}

/// Everything is in place and the operator is another process.
async fn restart(report: &mut Report, stage: &mut Stage) -> Outcome {
    let mut rounds = Vec::new();
    for round in 0..RESTARTS {
        eprintln!("bench: restart {} ...", round + 1);
        rounds.push(one_restart(stage, OBJECTS + round).await?);
    }
    let of = |figure: fn(&Restart) -> f64| median(rounds.iter().map(figure));
    let most = |figure: fn(&Restart) -> f64| rounds.iter().map(figure).fold(0.0, f64::max);
    report.value("restart.list", of(|restart| restart.list), "s");
    report.value("restart.caught-up", of(|restart| restart.took), "s");
    report.ratio("restart.vs-list", of(|restart| restart.took / restart.list), Budget::AtMost(3.0));
    report.value("restart.cpu-per-1000", of(|restart| restart.cpu) * 1000.0 / OBJECTS as f64, "s");
    report.value("restart.peak", most(|restart| restart.peak), "MiB");
    report.ratio("restart.new-object-of-1s", most(|restart| restart.served), Budget::AtMost(1.0));
    report.value("restart.writes", most(|restart| restart.writes), "");
    let beyond = most(|restart| restart.writes) / NEW_OBJECT;
    report.ratio("restart.writes-beyond-the-new-object", beyond, Budget::AtMost(1.0));
    Ok(())
}

/// Seconds, MiB, and writes of any kind.
struct Restart {
    list: f64,
    took: f64,
    cpu: f64,
    peak: f64,
    served: f64,
    writes: f64,
}

/// A restart during which one object more is made: there are `count` before.
async fn one_restart(stage: &mut Stage, count: usize) -> Result<Restart, Fault> {
    stage.stop().await?;
    stage.start_waiting().await?;
    let list = "/apis/touchseal.dev/v1alpha1/encryptedsecrets";
    let mut lists = Vec::new();
    for _ in 0..5 {
        let began = Instant::now();
        stage.bare.send(Ask { verb: "GET", path: list.into(), body: Vec::new() }).await?;
        lists.push(began.elapsed());
    }
    let list = Spread::of(lists).p50;
    let (before, pid) = (stage.requests().await?, stage.pid()?);
    let cpu = process::cpu_seconds(pid)?;
    let began = stage.lead().await?;
    // One that is new is not kept waiting by those that are not.
    let (namespace, name) = stage.fleet.key(count);
    let mut follow = Follow::start(stage).await?;
    let made = Instant::now();
    stage.fill(count, count + 1).await?;
    let served = follow.until(namespace, &name).await?.duration_since(made);
    let took = stage.wait_for_reconciles(count as u64 + 1, began + list * 2).await?.duration_since(began);
    let cpu = process::cpu_seconds(pid)? - cpu;
    let writes = writes(&before, &stage.requests().await?) as f64;
    let (list, took, served) = (list.as_secs_f64(), took.as_secs_f64(), served.as_secs_f64());
    Ok(Restart { list, took, cpu, peak: process::memory_mib(pid, "VmHWM")?, served, writes })
}

/// A Secret of the bench's own that the same watch shows.
fn own_secret(namespace: &str, name: &str) -> Ask {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": { "name": name, "labels": { "app.kubernetes.io/managed-by": "touchseal" } },
        "data": { "a": base64(&[b'x'; 300]) },
    });
    let path = format!("/api/v1/namespaces/{namespace}/secrets");
    Ask { verb: "POST", path, body: secret.to_string().into_bytes() }
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// Writes of anything but what leadership and the ceremony write.
fn writes(before: &Requests, after: &Requests) -> u64 {
    let theirs = ["leases", "keyrings/status", "unsealrequests", "unsealrequests/status", "tokenreviews"];
    let new = after.iter().filter(|((verb, resource), _)| {
        ["POST", "PUT", "PATCH", "APPLY", "DELETE"].contains(&verb.as_str())
            && !theirs.contains(&resource.as_str())
    });
    new.map(|(key, count)| count - before.get(key).copied().unwrap_or_default()).sum()
}

struct Spread {
    p50: Duration,
    p99: Duration,
}

impl Spread {
    fn of(mut times: Vec<Duration>) -> Spread {
        times.sort_unstable();
        let at = |part: f64| times[((times.len() - 1) as f64 * part).round() as usize];
        Spread { p50: at(0.5), p99: at(0.99) }
    }
}
