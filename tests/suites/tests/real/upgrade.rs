//! Upgrades on real parts: everything a release had stored is in the cluster, its laptop and its YubiKeys are there, and
//! today's programs go on: with the same numbers, and without a write that nothing asks for. YubiKeys are test equipment.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use touchseal_rig::faults::FaultyServer;
use touchseal_rig::poll::eventually;
use touchseal_suites::cli::PIN;
use touchseal_suites::upgrade::{Release, keep, releases};
use touchseal_suites::world::{condition, value};
use touchseal_suites::{DEADLINE, Laptop, Operator, World};

const KINDS: &str = "encryptedsecrets,secrets,recipients,configmaps";

#[test]
#[ignore = "writes tests/vectors/compat"]
fn keep_this_version() {
    keep();
}

#[test]
fn todays_operator_goes_on_from_what_each_release_left() {
    for release in releases() {
        let stored = Stored::of(release);
        let mut world = World::documented();
        let before = stored.put_into(&world);
        let (laptop, _keys) = stored.release.laptop(&world);
        let writes = world.writes().len();
        let operator = world.operator();
        stored.take_up(&world, &operator, &laptop);
        stored.nothing_was_done(&world, &before, writes);

        stored.goes_on(&world);
        // Nor was anything done later to what nobody touched.
        let untouched = |versions: &BTreeMap<String, String>| -> BTreeMap<String, String> {
            let names = ["json", "dotenv", "ini", "binary", "manifest", "older", "reference", "from-single"];
            let of = |key: &String| names.iter().any(|name| key.ends_with(&format!("/\"{name}\"")));
            versions.iter().filter(|(key, _)| of(key)).map(|(key, at)| (key.clone(), at.clone())).collect()
        };
        let kept = untouched(&before);
        assert_eq!(kept.len(), 16, "{kept:?}");
        assert_eq!(untouched(&world.versions(KINDS)), kept);
        stored.keyring_goes_on(&world, &laptop);
    }
}

/// What is kept stands in git for years, and dates in it do not move: nothing of it may fall due by that.
#[test]
fn what_a_release_left_keeps_for_years() {
    for release in releases() {
        let stored = Stored::of(release);
        let world = World::documented();
        let before = stored.put_into(&world);
        let (laptop, _keys) = stored.release.laptop(&world);
        let writes = world.writes().len();
        let (cluster, account) = (&world.cluster, "touchseal-operator");
        let pod = cluster.stand_in_pod(&world.system, account, "operator-1").unwrap();
        let kubeconfig = cluster.kubeconfig_for_service_account(&world.system, account, Some(&pod)).unwrap();
        let server = FaultyServer::start(&kubeconfig, cluster.dir(), &world.system).unwrap();
        server.pass(Duration::from_secs(5 * 365 * 24 * 3600));
        let operator = Operator::start_through(cluster, &world.system, pod, server.kubeconfig(), &[]);
        stored.take_up(&world, &operator, &laptop);
        stored.nothing_was_done(&world, &before, writes);
    }
}

/// As the laptop remembers every keyring, nobody is asked anything: there is no `--yes`, and no terminal.
fn unseal(world: &World, laptop: &Laptop, keyrings: usize) {
    world.requests(keyrings);
    laptop.run(&["unseal", "--serial", "101"], PIN).ok();
    laptop.run(&["unseal", "--serial", "102", "--keyring", "quorum"], PIN).ok();
}

struct Stored {
    release: Release,
    objects: Vec<Value>,
}

impl Stored {
    fn of(release: Release) -> Stored {
        Stored { objects: release.stored_of("EncryptedSecret"), release }
    }

    /// The versions of everything, after it was put there.
    fn put_into(&self, world: &World) -> BTreeMap<String, String> {
        self.release.store(world);
        let before = world.versions(KINDS);
        assert!(before.len() > 40, "hardly anything is there: {before:?}");
        before
    }

    /// Sealed first, then unsealed, the operator looks at every object.
    fn take_up(&self, world: &World, operator: &Operator, laptop: &Laptop) {
        operator.wait_for_reconciles(self.objects.len() as u64);
        unseal(world, laptop, self.release.keyrings().len());
        operator.wait_for_reconciles(2 * self.objects.len() as u64);
        for (name, _) in self.release.keyrings() {
            world.wait_for_replicas(&name, 1);
        }
    }

    /// But what says that this process is there, and that it was unsealed.
    fn nothing_was_done(&self, world: &World, before: &BTreeMap<String, String>, writes: usize) {
        let now = world.versions(KINDS);
        let changed = before.iter().filter(|(key, at)| now.get(*key) != Some(at)).map(|(key, _)| key);
        let new = now.keys().filter(|key| !before.contains_key(*key));
        let changed: Vec<&String> = changed.chain(new).collect();
        let statuses = || world.cluster.get(&["encryptedsecrets", "-n", "shop"]).unwrap().to_string();
        assert!(changed.is_empty(), "nothing was to be done, but {changed:?} changed:\n{}", statuses());
        let own = ["unsealrequests", "unsealrequests/status", "keyrings/status", "serviceaccounts/token"];
        for write in &world.writes()[writes..] {
            let about_itself =
                own.contains(&write.resource.as_str()) || write.resource == "selfsubjectreviews";
            let told = write.resource == "events" && self.is_keyring(&write.name);
            assert!(about_itself || told, "{write:?}");
        }
    }

    fn is_keyring(&self, event: &str) -> bool {
        self.release.keyrings().iter().any(|(name, _)| event.starts_with(&format!("{name}.")))
    }

    fn generation(&self, name: &str) -> i64 {
        let object = self.objects.iter().find(|object| object["metadata"]["name"] == name).unwrap();
        object["status"]["secretGeneration"].as_i64().unwrap()
    }

    /// A rotation after the upgrade: the next number, and everything that was known is known still.
    fn goes_on(&self, world: &World) {
        let recipient = world.recipient("shop", "main");
        let document = |password: &str| {
            let plain = format!("user: shop\npassword: {password}\n");
            world.sops.encrypt("app.yaml", &plain, &recipient)
        };
        let manifest = |name: &str| {
            let manifests = self.release.manifests();
            manifests.into_iter().find(|one| one["metadata"]["name"] == name).unwrap()["spec"].clone()
        };
        for (name, key) in
            [("yaml", "flat"), ("rotated", "flat"), ("previous", "flat"), ("immutable", "flat")]
        {
            let mut spec = manifest(name);
            spec["documents"] = json!([{ "sops": document("third"), "mapping": { key: {} } }]);
            world.apply_secret(name, spec);
            let next = self.generation(name) + 1;
            let object = world.wait_for_generation(name, next);
            let keys = object["status"]["keys"].as_array().unwrap().clone();
            let password = keys.iter().find(|key| key["name"] == "password").unwrap();
            assert_eq!(password["replaced"], true, "{name}: what it replaced is known");
            let user = keys.iter().find(|key| key["name"] == "user").unwrap();
            let stored = self.objects.iter().find(|one| one["metadata"]["name"] == name).unwrap();
            let since = |keys: &Value| {
                let keys = keys.as_array().unwrap().clone();
                keys.into_iter().find(|key| key["name"] == "user").unwrap()["since"].clone()
            };
            assert_eq!(user["since"], since(&stored["status"]["keys"]), "{name}: this value did not change");
        }
        // What a person would go back to is there, and holds what was served before.
        let previous = world.secret("previous-previous").unwrap();
        assert_eq!(value(&previous, "password").unwrap(), b"second");
        for (number, password) in [(1, "first"), (2, "second"), (3, "third")] {
            let secret = world.secret(&format!("immutable-g{number}")).unwrap();
            assert_eq!(value(&secret, "password").unwrap(), password.as_bytes());
        }
        // A value that comes back is recognised.
        let mut spec = manifest("rotated");
        spec["documents"] = json!([{ "sops": document("second") }]);
        world.apply_secret("rotated", spec);
        let object = world.wait_for_generation("rotated", self.generation("rotated") + 2);
        let keys = object["status"]["keys"].as_array().unwrap().clone();
        assert_eq!(keys.iter().find(|key| key["name"] == "password").unwrap()["returned"], true);
        // Numbers of what was deleted under the release are not given out again.
        world.apply_secret("gone", json!({ "documents": [{ "sops": document("again") }] }));
        world.wait_for_generation("gone", 2);
        // A document under the older key generation still opens, encrypted anew or not.
        assert_eq!(world.encrypted_secret("older")["status"]["keyGeneration"], 2);
    }

    /// The pin of the release binds: what it replaced is refused. The command line remembers, too.
    fn keyring_goes_on(&self, world: &World, laptop: &Laptop) {
        let refused = |replaced: &Value| {
            let folder = laptop.folder().join("replaced.keyring.yaml");
            std::fs::write(&folder, serde_norway::to_string(replaced).unwrap()).unwrap();
            laptop.run(&["keyring", "rotate", "-f", "replaced.keyring.yaml", "--serial", "101"], PIN)
        };
        for (name, replaced) in self.release.replaced() {
            refused(&replaced).refused(3, &["HAS CHANGED"]);
            world.cluster.apply(&replaced.to_string()).unwrap();
            eventually(DEADLINE, "the older manifest to be refused", || {
                let keyring = world.cluster.get(&["keyring", &name]).unwrap();
                let tampered = condition(&keyring, "Tampered");
                let right =
                    tampered["reason"] == "ManifestRolledBack" || tampered["reason"] == "ManifestForked";
                if right && tampered["status"] == "True" {
                    Ok(())
                } else {
                    Err(keyring["status"].to_string())
                }
            })
            .unwrap();
        }
    }
}
