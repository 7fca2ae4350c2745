//! The EncryptedSecrets, while this process leads: counted when it is asked for, from the objects the watch has in memory
//! anyway. A replica that does not lead knows of none and says nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Unit;
use touchseal_crds::keyring::GenerationState;
use touchseal_plan::tally::{Place, Tally};

use super::page::Pen;
use crate::clock;
use crate::keys::Keys;
use crate::objects::Objects;

/// The objects to count; cheap to clone.
#[derive(Clone, Default)]
pub struct Documents(Arc<Mutex<Option<Arc<Objects>>>>);

impl Documents {
    /// From now on these. They must be complete: what is not there yet would count as gone.
    pub fn follow(&self, objects: Arc<Objects>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(objects);
    }

    /// None any more.
    pub fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn all(&self) -> Option<Arc<Objects>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The collector.
pub struct Collected {
    keys: Arc<Keys>,
    documents: Documents,
}

impl Collected {
    /// Of these objects, by the generations of these keyrings.
    pub fn new(keys: &Arc<Keys>, documents: Documents) -> Collected {
        Collected { keys: Arc::clone(keys), documents }
    }
}

impl fmt::Debug for Collected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Collected")
    }
}

impl Collector for Collected {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let Some(objects) = self.documents.all() else { return Ok(()) };
        let (mut tally, now) = (Tally::default(), Time(clock::now()));
        objects.each().for_each(|object| tally.add(&object, &now));
        let mut pen = Pen(encoder);
        write_places(&mut pen, &tally.namespaces)?;
        self.write_generations(&mut pen, &tally)
    }
}

fn write_places(pen: &mut Pen<'_>, places: &BTreeMap<String, Place>) -> fmt::Result {
    let states = places.iter().flat_map(|(namespace, place)| {
        let labels = |state: &'static str| [("exported_namespace", namespace.as_str()), ("state", state)];
        place.states.iter().map(move |(state, count)| (labels(state), i64::from(*count)))
    });
    pen.gauges(("encrypted_secrets", "EncryptedSecrets by state: Ready's reason, or Pending"), None, states)?;
    let pods = places.iter().flat_map(|(namespace, place)| {
        [("current", place.current_pods), ("stale", place.stale_pods)].map(|(state, count)| {
            ([("exported_namespace", namespace.as_str()), ("state", state)], i64::from(count))
        })
    });
    pen.gauges(("consumer_pods", "Pods that use Secrets of ours, by what they hold"), None, pods)?;
    let count = |what: fn(&Place) -> u32| {
        places.iter().map(move |(namespace, place)| {
            ([("exported_namespace", namespace.as_str())], i64::from(what(place)))
        })
    };
    pen.gauges(
        ("secret_values_overdue", "Values whose maxAge has ended"),
        None,
        count(|place| place.overdue),
    )?;
    let draining = ("encrypted_secrets_draining", "EncryptedSecrets an older value of which pods hold");
    pen.gauges(draining, None, count(|place| place.draining))?;
    let time = |what: fn(&Place) -> Option<i64>| {
        places.iter().filter_map(move |(namespace, place)| {
            Some(([("exported_namespace", namespace.as_str())], what(place)?))
        })
    };
    let seconds = || Some(Unit::Seconds);
    let oldest =
        ("oldest_value_timestamp", "Since when the value has been served that was not rotated for longest");
    pen.gauges(oldest, seconds(), time(|place| place.oldest_value))?;
    let due = ("next_rotation_due_timestamp", "When the first maxAge ends, or has ended");
    pen.gauges(due, seconds(), time(|place| place.next_due))?;
    let drain = (
        "oldest_drain_timestamp",
        "Since when pods have held an older value, of the drain that lasts longest",
    );
    pen.gauges(drain, seconds(), time(|place| place.oldest_drain))
}

impl Collected {
    /// Each generation of each keyring, also where nothing needs it: then it may be retired.
    fn write_generations(&self, pen: &mut Pen<'_>, tally: &Tally) -> fmt::Result {
        let mut series = Vec::new();
        self.keys.each(|keyring, state| {
            for entry in state.manifest().into_iter().flat_map(|manifest| &manifest.spec().generations) {
                let needed = tally.needed(keyring, entry.number);
                let word = match entry.state {
                    GenerationState::Active => "Active",
                    GenerationState::Retiring => "Retiring",
                    GenerationState::Retired if needed == 0 => continue,
                    GenerationState::Retired => "Retired",
                };
                let labels = [
                    ("keyring", keyring.to_owned()),
                    ("key_generation", entry.number.to_string()),
                    ("generation_state", word.to_owned()),
                ];
                series.push((labels, i64::from(needed)));
            }
        });
        let needed = (
            "keyring_encrypted_secrets",
            "EncryptedSecrets that need a key generation, as their statuses tell",
        );
        pen.gauges(needed, None, series)?;
        let unclear = (
            "encrypted_secrets_unclear",
            "EncryptedSecrets of which it cannot be told which key generation they need",
        );
        pen.gauge(unclear, i64::from(tally.unclear))
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use kube::runtime::watcher::Event;
    use serde_json::json;
    use touchseal_crds::EncryptedSecret;

    use super::super::{Format, Metrics, page, process};
    use super::*;
    use crate::places::Told;

    fn tell(objects: &Objects, event: Event<EncryptedSecret>) {
        objects.take(Told { place: None, event });
    }

    const OBJECTS: usize = 5_000;
    const NAMESPACES: usize = 500;
    /// Set in the process that measures itself.
    const MEASURE: &str = "TOUCHSEAL_MEASURE_METRICS";
    /// What the pages may leave taken, in KiB; the operator with as many objects has 40 MiB in all.
    const MOST: u64 = 4096;
    /// What they may take for a moment.
    const MOST_AT_ONCE: u64 = 16 * 1024;

    fn object(number: usize) -> EncryptedSecret {
        let key = |name: &str| json!({ "name": name, "since": "2026-01-01T00:00:00Z", "due": "2026-04-01T00:00:00Z" });
        let told = |type_: &str, reason: &str| json!({ "type": type_, "status": "True", "reason": reason, "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z" });
        serde_json::from_value(json!({
            "metadata": { "name": format!("app-{number}"), "namespace": format!("ns-{}", number % NAMESPACES), "generation": 1 },
            "spec": { "documents": [{ "sops": "x".repeat(1024) }] },
            "status": {
                "observedGeneration": 1, "keyring": "prod", "keyGeneration": 1,
                "conditions": [told("Ready", "Materialised"), told("Draining", "StaleConsumers")],
                "keys": [key("user"), key("password"), key("token")],
                "consumers": { "known": true, "current": 1, "stale": 1 },
            },
        }))
        .unwrap()
    }

    #[test]
    fn who_does_not_lead_says_nothing_of_objects_and_who_does_ends_with_its_term() {
        let (metrics, registry) = Metrics::new(&Arc::default(), &[]);
        let says = || page(&registry, Format::Text).unwrap().contains("touchseal_encrypted_secrets");
        assert!(!says());
        let objects = Arc::new(Objects::new(Arc::default()));
        tell(&objects, Event::Apply(object(1)));
        metrics.documents.follow(Arc::clone(&objects));
        assert!(says());
        tell(&objects, Event::Delete(object(1)));
        assert!(!page(&registry, Format::Text).unwrap().contains("exported_namespace"));
        tell(&objects, Event::Apply(object(1)));
        metrics.led();
        assert!(!says());
    }

    /// In a process of its own, by its resident memory: whatever is allocated counts.
    #[test]
    fn pages_of_thousands_of_objects_take_next_to_no_memory() {
        if std::env::var_os(MEASURE).is_some() {
            return measure();
        }
        let name = std::thread::current().name().unwrap().to_owned();
        let mut again = Command::new(std::env::current_exe().unwrap());
        let output = again.args(["--exact", &name, "--nocapture"]).env(MEASURE, "1").output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let figure = text.lines().find_map(|line| line.split("KiB for pages: ").nth(1));
        let taken: u64 = figure.unwrap_or_else(|| panic!("no figure in {text}")).trim().parse().unwrap();
        eprintln!("{text}");
        assert!(taken <= MOST, "{taken} KiB");
    }

    /// Highest resident memory of this process so far, in KiB.
    fn peak() -> u64 {
        let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF).unwrap();
        usage.max_rss().try_into().unwrap()
    }

    fn measure() {
        let objects = Arc::new(Objects::new(Arc::default()));
        (0..OBJECTS).for_each(|number| tell(&objects, Event::Apply(object(number))));
        let (metrics, registry) = Metrics::new(&Arc::default(), &[]);
        metrics.documents.follow(Arc::clone(&objects));
        let (before, peak) = (process::resident().unwrap(), peak());
        let began = std::time::Instant::now();
        let sizes: Vec<usize> = (0..20).map(|_| page(&registry, Format::Text).unwrap().len()).collect();
        let each = began.elapsed() / 20;
        let taken = || process::resident().unwrap().saturating_sub(before) / 1024;
        // What is free is given back after a second.
        let given_back = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while taken() > MOST && std::time::Instant::now() < given_back {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        let at_once = self::peak().saturating_sub(peak);
        assert!(at_once <= MOST_AT_ONCE, "{at_once} KiB at once");
        println!("{} series a namespace in {} bytes, {each:?} a page", 9, sizes[0]);
        println!("KiB for pages: {}", taken());
    }
}
