//! Cold start: EncryptedSecrets are there, Secrets are not, and an unsealed operator begins to lead; against a bare writer
//! that leaves the same objects in a cluster of its own. Other guests of a machine make either of the two slower by a quarter for some
//! seconds; so up to the size of the main budgets each runs several times, in turn, and medians are told.

use std::time::Duration;

use serde_json::{Value, json};

use super::bare::Ask;
use super::stage::{self, Stage, is_ready};
use super::{Fault, block_on, process};
use crate::Outcome;
use crate::contest::median;
use crate::report::{Budget, Report};

const SIZES: [usize; 3] = [1_000, 5_000, 20_000];
/// The one with the budgets.
const MAIN: usize = 5_000;
/// How often that one runs, and smaller ones; odd, so that one of them is in the middle.
const ROUNDS: usize = 3;
/// Requests at a time that the floor is tried with, and on how many objects each.
const TRIALS: ([usize; 4], usize) = ([8, 16, 32, 64], 400);

/// # Errors
/// When the cluster does not do what it should.
pub fn run(report: &mut Report) -> Outcome {
    block_on(async {
        let (mut wall, mut resident) = (Vec::new(), Vec::new());
        for size in sizes() {
            let (took, mib) = compare(report, size).await?;
            wall.push((size, took));
            resident.push((size, mib));
        }
        if let [(few, less), .., (many, more)] = resident[..] {
            report.value("object", (more - less) * 1024.0 * 1024.0 / (many - few) as f64, "B");
        }
        if let ([(few, short), .., (many, long)], true) = (&wall[..], wall.len() > 1) {
            let growth = (long / *many as f64) / (short / *few as f64);
            report.ratio("growth", growth, Budget::AtMost(1.2));
        }
        Ok(())
    })
}

/// One size against its floor; how long it took, and how much memory the operator held at the end.
async fn compare(report: &mut Report, size: usize) -> Result<(f64, f64), Fault> {
    let (mut rounds, mut floors) = (Vec::new(), Vec::new());
    let count = if size <= MAIN { ROUNDS } else { 1 };
    for round in 1..=count {
        eprintln!("bench: cold start of {size} (round {round}) ...");
        let (ours, objects, secrets) = ours(size).await?;
        eprintln!("bench: the floor of {size} ({:.1} s) ...", ours.took);
        let (floor, at_once) = floor(size, &objects, &secrets).await?;
        report.raw(&format!("{size}.round-{round}"), json!({
            "ours": ours.took, "cpu": ours.cpu, "floor": floor, "floor-at-once": at_once, "requests": ours.requests,
        }));
        rounds.push(ours);
        floors.push(floor);
    }
    let of = |figure: fn(&Ours) -> f64| median(rounds.iter().map(figure));
    let (took, cpu, mib) = (of(|ours| ours.took), of(|ours| ours.cpu), of(|ours| ours.resident));
    report.value(&format!("{size}.ours"), took, "s");
    report.value(&format!("{size}.cpu"), cpu, "s");
    let peak = rounds.iter().map(|ours| ours.peak).fold(0.0, f64::max);
    report.value(&format!("{size}.peak"), peak, "MiB");
    report.value(&format!("{size}.resident"), mib, "MiB");
    let ratio = median(rounds.iter().zip(&floors).map(|(ours, floor)| ours.took / floor));
    report.value(&format!("{size}.floor"), median(floors), "s");
    if size == MAIN {
        // Of a core of any machine: seconds per 3 seconds.
        report.ratio(&format!("{size}.cpu-of-3s"), cpu / 3.0, Budget::AtMost(1.0));
        report.ratio(&format!("{size}.vs-floor"), ratio, Budget::AtMost(1.25));
    } else {
        report.value(&format!("{size}.vs-floor"), ratio, "x");
    }
    Ok((took, mib))
}

/// `TOUCHSEAL_BENCH_SIZES=1000,5000` says otherwise.
fn sizes() -> Vec<usize> {
    let chosen = std::env::var("TOUCHSEAL_BENCH_SIZES").ok();
    let chosen = chosen.map(|text| text.split(',').filter_map(|size| size.parse().ok()).collect());
    chosen.unwrap_or_else(|| SIZES.to_vec())
}

/// What an operator took: seconds, and MiB at most and at the end.
struct Ours {
    took: f64,
    cpu: f64,
    peak: f64,
    resident: f64,
    requests: Value,
}

/// The figures, the objects and the Secrets that are there then.
async fn ours(size: usize) -> Result<(Ours, Vec<Value>, Vec<Value>), Fault> {
    let mut stage = Stage::new().await?;
    stage.start_waiting().await?;
    stage.fill(0, size).await?;
    let before = stage.requests().await?;
    let pid = stage.pid()?;
    let cpu = process::cpu_seconds(pid)?;
    let began = stage.lead().await?;
    let took = stage.wait_until_ready(size).await?.duration_since(began).as_secs_f64();
    let cpu = process::cpu_seconds(pid)? - cpu;
    let (objects, secrets) = stage.lists().await?;
    let ready = objects.iter().filter(|object| is_ready(object)).count();
    if (ready, secrets.len()) != (size, size) {
        return Err(format!("{ready} are ready and {} Secrets exist of {size}", secrets.len()).into());
    }
    let (peak, resident) = (process::memory_mib(pid, "VmHWM")?, process::memory_mib(pid, "VmRSS")?);
    let requests = stage::difference(&before, &stage.requests().await?);
    Ok((Ours { took, cpu, peak, resident, requests }, objects, secrets))
}

/// The same objects by the cheapest verbs at the best number of requests at a time.
async fn floor(size: usize, objects: &[Value], secrets: &[Value]) -> Result<(f64, usize), Fault> {
    let stage = Stage::new().await?;
    let (trials, count) = TRIALS;
    let more = size + trials.len() * count;
    let stored = stage.fill(0, more).await?;
    let mut chains = Vec::with_capacity(more);
    for (index, stored) in stored.into_iter().enumerate() {
        let like = index % objects.len();
        chains.push(chain(stored, &objects[like], secrets)?);
    }
    let mut rest = chains.split_off(size);
    let mut best: Option<(Duration, usize)> = None;
    for at_once in trials {
        let trial = rest.split_off(rest.len() - count);
        let took = stage.bare.chains(trial, at_once).await?;
        if best.is_none_or(|(least, _)| took < least) {
            best = Some((took, at_once));
        }
    }
    let (_, at_once) = best.ok_or("no trials")?;
    Ok((stage.bare.chains(chains, at_once).await?.as_secs_f64(), at_once))
}

/// POST of the Secret and PUT of the status that `like` has, for another object.
fn chain(mut stored: Value, like: &Value, secrets: &[Value]) -> Result<Vec<Ask>, Fault> {
    let of = |object: &Value| (object["metadata"]["namespace"].clone(), object["metadata"]["name"].clone());
    // Lists are in the order of names.
    let key = |s: &Value| {
        let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        (text(&s["metadata"]["namespace"]), text(&s["metadata"]["name"]))
    };
    let at = secrets.binary_search_by_key(&key(like), key).map_err(|_| "no Secret of that name")?;
    let (namespace, name) = of(&stored);
    let mut secret = secrets[at].clone();
    let metadata = secret["metadata"].as_object_mut().ok_or("no metadata")?;
    for field in ["uid", "resourceVersion", "creationTimestamp", "managedFields"] {
        metadata.remove(field);
    }
    metadata.insert("name".into(), name.clone());
    metadata.insert("namespace".into(), namespace.clone());
    secret["metadata"]["ownerReferences"][0]["uid"] = stored["metadata"]["uid"].clone();
    secret["metadata"]["ownerReferences"][0]["name"] = name.clone();
    let (namespace, name) = (namespace.as_str().unwrap_or_default(), name.as_str().unwrap_or_default());
    let post = format!("/api/v1/namespaces/{namespace}/secrets");
    let put = format!("/apis/touchseal.dev/v1alpha1/namespaces/{namespace}/encryptedsecrets/{name}/status");
    stored["status"] = like["status"].clone();
    Ok(vec![
        Ask { verb: "POST", path: post, body: secret.to_string().into_bytes() },
        Ask { verb: "PUT", path: put, body: stored.to_string().into_bytes() },
    ])
}
