//! Keeps a release: a life of several weeks in one go, on real parts with the programs as they are now, and then everything
//! that is stored. Software YubiKeys are test equipment.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use touchseal_rig::poll::eventually;
use touchseal_rig::scratch::Scratch;
use touchseal_softkey::SoftKey;

use super::release::SERVER;
use super::{YubiKey, folder};
use crate::cli::{Laptop, PIN};
use crate::world::{condition, repository};
use crate::{DEADLINE, Operator, World};

const ALICE: u32 = 101;
const BOB: u32 = 102;
/// Keyrings of one holder, and the command that makes each special.
const KEYRINGS: [(&str, &str); 6] = [
    ("plain", ""),
    ("main", ""),
    ("no-hand-over", "hand-over deny"),
    ("timed", "seal-after 12h"),
    ("left-in-a-node", "on-key-removal seal"),
    ("emergency", "emergency-enrolment allow"),
];

/// What is kept must not fall due while nobody looks.
const LONG: &str = "36500d";

struct Life {
    operator: Operator,
    laptop: Laptop,
    yubikeys: [SoftKey; 2],
    world: World,
}

/// Writes the folder of this version.
pub fn keep() {
    let mut life = Life::begin();
    let partial = Scratch::new("compat").unwrap();
    let to = partial.path().to_owned();
    for part in ["crds", "keyrings", "replaced", "manifests", "stored", "laptop"] {
        fs::create_dir_all(to.join(part)).unwrap();
    }
    life.make_keyrings(&to);
    life.unseal();
    life.serve(&to);
    life.lose_and_follow();
    life.operator.process.kill();
    life.write(&to);
    // As a whole or not at all.
    let place = folder().join(format!("v{}", env!("CARGO_PKG_VERSION")));
    let _ = fs::remove_dir_all(&place);
    assert!(Command::new("cp").arg("-r").args([&to, &place]).status().unwrap().success());
}

impl Life {
    fn begin() -> Life {
        let mut world = World::documented();
        let laptop = Laptop::new(&world.cluster.admin_kubeconfig());
        let yubikeys = [laptop.key(0, ALICE), laptop.key(1, BOB)];
        let operator = world.operator_with(&["--mount-refresh=1s"]);
        Life { operator, laptop, yubikeys, world }
    }

    fn touchseal(&self, arguments: &str) -> String {
        let words: Vec<&str> = arguments.split(' ').collect();
        self.laptop.run(&words, PIN).ok().out
    }

    fn recipient(&self) -> String {
        let said = self.touchseal(&format!("recipients -f main.keyring.yaml --for shop --serial {ALICE}"));
        said.split_whitespace().find(|word| word.starts_with("age1")).unwrap().to_owned()
    }

    /// Every kind there is. `main` has three generations: one of each state; what is served comes under it.
    fn make_keyrings(&self, to: &Path) {
        for (name, special) in KEYRINGS {
            self.touchseal(&format!("keyring create {name} --holder alice --serial {ALICE}"));
            if !special.is_empty() {
                self.touchseal(&format!("keyring {special} -f {name}.keyring.yaml --serial {ALICE}"));
            }
        }
        let both =
            format!("keyring create quorum --holder alice --serial {ALICE} --and-holder bob --quorum 2");
        self.touchseal(&both);
        let rotate = format!("keyring rotate -f main.keyring.yaml --serial {ALICE}");
        self.touchseal(&rotate);
        let older = self.world.sops.encrypt("app.yaml", "password: of-generation-2\n", &self.recipient());
        self.touchseal(&rotate);
        fs::copy(self.laptop.folder().join("main.keyring.yaml"), to.join("replaced/main.keyring.yaml"))
            .unwrap();
        self.touchseal(&format!(
            "keyring retire 1 -f main.keyring.yaml --tree . --no-cluster --serial {ALICE}"
        ));
        for (name, _) in KEYRINGS.into_iter().chain([("quorum", "")]) {
            let file = format!("{name}.keyring.yaml");
            let from = self.laptop.folder().join(&file);
            self.world.cluster.apply(&fs::read_to_string(&from).unwrap()).unwrap();
            fs::copy(from, to.join("keyrings").join(file)).unwrap();
        }
        self.apply_and_keep(to, "older", &json!({ "documents": [{ "name": "app.yaml", "sops": older }] }));
    }

    fn unseal(&self) {
        self.world.requests(KEYRINGS.len() + 1);
        self.touchseal(&format!("unseal --yes --serial {ALICE}"));
        self.touchseal(&format!("unseal --yes --serial {BOB} --keyring quorum"));
        for (name, _) in KEYRINGS.into_iter().chain([("quorum", "")]) {
            self.world.wait_for_replicas(name, 1);
        }
    }

    fn apply_and_keep(&self, to: &Path, name: &str, spec: &Value) {
        self.world.apply_secret(name, spec.clone());
        let manifest = json!({
            "apiVersion": "touchseal.dev/v1alpha1", "kind": "EncryptedSecret",
            "metadata": { "name": name, "namespace": "shop" }, "spec": spec,
        });
        write_manifest(to, name, &manifest);
    }

    /// An EncryptedSecret of every format, mapping and delivery; some rotated.
    fn serve(&self, to: &Path) {
        let recipient = self.recipient();
        let encrypt = |name: &str, plain: &str| self.world.sops.encrypt(name, plain, &recipient);
        let one = |name: &str, plain: &str, mapping: Value| json!({ "documents": [{ "name": name, "sops": encrypt(name, plain), "mapping": mapping }] });
        let secret = "apiVersion: v1\nkind: Secret\nmetadata: { name: x }\ntype: kubernetes.io/basic-auth\nstringData: { username: shop, password: p }\n";
        let plain = [
            ("yaml", one("app.yaml", "user: shop\npassword: first\nport: 5432\n", json!({ "flat": {} }))),
            (
                "json",
                one(
                    "app.json",
                    "{\"db\": {\"passwords\": [\"one\", \"two\"]}}\n",
                    json!({ "paths": [{ "path": "db.passwords[1]", "key": "password" }] }),
                ),
            ),
            ("dotenv", one("chat.env", "CHAT_TOKEN=token\n", json!({ "file": { "key": ".env" } }))),
            ("ini", one("db.ini", "[db]\nuser = shop\npassword = of-ini\n", json!({ "flat": {} }))),
            (
                "binary",
                one("tls.key", "-----BEGIN PRIVATE KEY-----\nkey\n", json!({ "file": { "key": "tls.key" } })),
            ),
            ("manifest", one("secret.yaml", secret, json!({ "manifest": {} }))),
        ];
        let mut composed = one("db.yaml", "user: shop\npassword: 'a:b'\n", json!({ "flat": {} }));
        let url = "//{{ user }}:{{ password | urlencode }}@db{% for key in data %}, {{ key }}{% endfor %}";
        composed["target"] = json!({ "template": { "mergePolicy": "Merge", "data": { "url": url } } });
        for (name, spec) in plain.into_iter().chain([("composed", composed)]) {
            self.apply_and_keep(to, name, &spec);
            self.world.wait_for(name, "True", "Materialised");
        }
        let kept = json!({ "period": LONG });
        for (name, rotation) in [
            ("rotated", json!({ "class": "dualKey", "maxAge": LONG })),
            ("previous", json!({ "delivery": "Previous", "retention": kept })),
            ("immutable", json!({ "delivery": "Immutable", "retention": kept, "class": "switchOver" })),
        ] {
            for (number, password) in ["first", "second"].into_iter().enumerate() {
                self.world.next_second();
                let document = encrypt("app.yaml", &format!("user: shop\npassword: {password}\n"));
                let target = json!({ "name": name, "labels": { "team": "shop" }, "annotations": { "example.com/a": "b" } });
                let spec =
                    json!({ "documents": [{ "sops": document }], "rotation": rotation, "target": target });
                self.apply_and_keep(to, name, &spec);
                self.world.wait_for_generation(name, number as i64 + 1);
            }
            self.wait_for(name, "its old content to be left", |object| {
                condition(object, "Draining")["reason"] == "Drained"
            });
        }
        self.change(to, &encrypt);
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "documents", "namespace": "shop" },
            "data": { "app.yaml": encrypt("app.yaml", "password: by-reference\n") },
        });
        self.world.cluster.apply(&map.to_string()).unwrap();
        write_manifest(to, "documents.configmap", &map);
        let reference = json!({ "configMapKeyRef": { "name": "documents", "key": "app.yaml" } });
        self.apply_and_keep(
            to,
            "reference",
            &json!({ "documents": [reference], "deletionPolicy": "Retain" }),
        );
        self.world.wait_for("reference", "True", "Materialised");
        self.world.wait_for("older", "True", "Materialised");
    }

    /// What makes the ledger remember more: a key that went, a value that came back, another delivery than before.
    fn change(&self, to: &Path, encrypt: &dyn Fn(&str, &str) -> String) {
        let contents = [
            ("user: shop\npassword: first\nextra: x\n", "InPlace"),
            ("user: shop\npassword: second\n", "InPlace"),
            ("user: shop\npassword: first\n", "InPlace"),
        ];
        let to_single = [("password: first\n", "InPlace"), ("password: second\n", "Immutable")];
        let from_single = [("password: first\n", "Immutable"), ("password: second\n", "InPlace")];
        for (name, steps) in
            [("changed", &contents[..]), ("to-single", &to_single), ("from-single", &from_single)]
        {
            for (number, (plain, delivery)) in steps.iter().enumerate() {
                self.world.next_second();
                let document = json!({ "sops": encrypt("app.yaml", plain) });
                let rotation = json!({ "delivery": delivery, "retention": { "period": LONG } });
                self.apply_and_keep(to, name, &json!({ "documents": [document], "rotation": rotation }));
                self.world.wait_for_generation(name, number as i64 + 1);
            }
            self.wait_for(name, "its old content to be left", |object| {
                condition(object, "Draining")["reason"] == "Drained"
            });
        }
    }

    /// One that was served and is gone, and an Incident that follows everything.
    fn lose_and_follow(&self) {
        let document = self.world.sops.encrypt("app.yaml", "password: gone\n", &self.recipient());
        self.world.apply_secret("gone", json!({ "documents": [{ "sops": document }] }));
        self.world.wait_for("gone", "True", "Materialised");
        self.world.cluster.kubectl_stdout(&["delete", "encryptedsecret", "gone", "-n", "shop"]).unwrap();
        eventually(DEADLINE, "its Secret to be gone", || self.world.secret("gone").is_none()).unwrap();
        let incident = json!({
            "apiVersion": "touchseal.dev/v1alpha1", "kind": "Incident", "metadata": { "name": "leak" },
            "spec": {
                "exposedAt": "2026-05-26T13:30:00Z", "description": "CI tokens leaked",
                "accepted": [{ "namespace": "shop", "name": "ini", "reason": "a test account" }],
            },
        });
        self.world.cluster.apply(&incident.to_string()).unwrap();
        eventually(DEADLINE, "the incident to know what is gone", || {
            let incident = self.world.cluster.get(&["incident", "leak"]).unwrap();
            let remaining = incident["status"]["remaining"].as_array().cloned().unwrap_or_default();
            let gone = remaining.iter().any(|one| one["name"] == "gone" && one["state"] == "Removed");
            if gone { Ok(()) } else { Err(incident["status"].to_string()) }
        })
        .unwrap();
        // The census of the keyrings is as it will stay.
        eventually(DEADLINE, "the census", || {
            let keyring = self.world.cluster.get(&["keyring", "main"]).unwrap();
            let count = |number: u64| {
                let counts = keyring["status"]["documents"].as_array().into_iter().flatten();
                counts.clone().find(|one| one["generation"] == number).map(|one| one["objects"].clone())
            };
            let right = count(2) == Some(json!(1)) && count(3) == Some(json!(13));
            if right { Ok(()) } else { Err(keyring["status"].to_string()) }
        })
        .unwrap();
    }

    fn wait_for(&self, name: &str, what: &str, right: impl Fn(&Value) -> bool) {
        eventually(DEADLINE, &format!("{name}: {what}"), || {
            let object = self.world.encrypted_secret(name);
            if right(&object) { Ok(()) } else { Err(object["status"].to_string()) }
        })
        .unwrap();
    }

    fn write(&self, to: &Path) {
        for entry in fs::read_dir(repository().join("crds")).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "yaml") {
                fs::copy(&path, to.join("crds").join(path.file_name().unwrap())).unwrap();
            }
        }
        let yubikeys: Vec<YubiKey> = self.yubikeys.iter().map(YubiKey::of).collect();
        fs::write(to.join("yubikeys.json"), serde_json::to_string_pretty(&yubikeys).unwrap() + "\n").unwrap();
        for file in ["known_keyrings", "known_recipients"] {
            let text = fs::read_to_string(self.laptop.home.path().join("touchseal").join(file)).unwrap();
            fs::write(to.join("laptop").join(file), text.replace(&self.world.cluster.url(), SERVER)).unwrap();
        }
        let ours = "app.kubernetes.io/managed-by=touchseal";
        for (file, arguments) in [
            ("keyrings", &["keyrings"][..]),
            ("incidents", &["incidents"]),
            ("recipients", &["recipients", "-A"]),
            ("encryptedsecrets", &["encryptedsecrets", "-n", "shop"]),
            ("secrets", &["secrets", "-n", "shop", "-l", ours]),
            ("configmaps", &["configmaps", "-n", "shop"]),
            ("configmaps-of-the-operator", &["configmaps", "-n", "touchseal-system", "-l", ours]),
        ] {
            let all = [&["get", "-o=json", "--show-managed-fields"], arguments].concat();
            let list: Value =
                serde_json::from_str(&self.world.cluster.kubectl_stdout(&all).unwrap()).unwrap();
            let objects = list["items"].as_array().unwrap().iter();
            let given = |object: &&Value| object["metadata"]["name"] == "kube-root-ca.crt";
            let objects: Vec<Value> = objects.filter(|object| !given(object)).map(in_etcd).collect();
            let text = serde_json::to_string_pretty(&objects).unwrap() + "\n";
            fs::write(to.join("stored").join(format!("{file}.json")), text).unwrap();
        }
    }
}

/// Without its version, which is where it stands in etcd.
fn in_etcd(object: &Value) -> Value {
    let mut object = object.clone();
    object["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    object
}

fn write_manifest(to: &Path, name: &str, manifest: &Value) {
    fs::write(to.join(format!("manifests/{name}.yaml")), serde_norway::to_string(manifest).unwrap()).unwrap();
}
