//! One release as it is kept, and its parts.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use touchseal_crds::KeyringSpec;
use touchseal_keyring::{OpenKeyring, Share, manifest};
use touchseal_softkey::SoftKey;

use super::{name_of, read_yaml};
use crate::cli::{Laptop, PIN};
use crate::{SoftHolder, World};

/// The API server in what the laptop remembered: every cluster has another address.
pub(super) const SERVER: &str = "https://cluster.invalid:6443";

/// A folder of `tests/vectors/compat`.
pub struct Release {
    /// Where it is.
    pub folder: PathBuf,
}

/// A software YubiKey (test equipment) with everything that was on it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct YubiKey {
    /// Serial number.
    pub serial: u32,
    /// Private scalars by slot, hexadecimal both.
    pub slots: Vec<(String, String)>,
    /// Data objects by tag, hexadecimal both.
    pub objects: Vec<(String, String)>,
}

impl Release {
    /// Its name, as `v0.1.0`.
    pub fn name(&self) -> String {
        name_of(&self.folder)
    }

    /// Manifests of keyrings, as the command line wrote them, by their file's name without ending.
    pub fn keyrings(&self) -> Vec<(String, Value)> {
        self.files("keyrings").iter().map(|path| (stem(path), read_yaml(path))).collect()
    }

    /// A manifest that was replaced by the one of its name under `keyrings`.
    pub fn replaced(&self) -> Vec<(String, Value)> {
        self.files("replaced").iter().map(|path| (stem(path), read_yaml(path))).collect()
    }

    /// EncryptedSecrets and ConfigMaps as they were in git.
    pub fn manifests(&self) -> Vec<Value> {
        self.files("manifests").iter().map(|path| read_yaml(path)).collect()
    }

    /// Every object the operator had stored or served from, as the API server had it.
    pub fn stored(&self) -> Vec<Value> {
        let lists = self.files("stored");
        let read = |path: &PathBuf| -> Vec<Value> {
            serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
        };
        lists.iter().flat_map(read).collect()
    }

    /// Those of one kind.
    pub fn stored_of(&self, kind: &str) -> Vec<Value> {
        self.stored().into_iter().filter(|object| object["kind"] == kind).collect()
    }

    /// The holders' YubiKeys.
    pub fn yubikeys(&self) -> Vec<YubiKey> {
        serde_json::from_str(&fs::read_to_string(self.folder.join("yubikeys.json")).unwrap()).unwrap()
    }

    /// Puts everything stored into a world's cluster, as it was there. Owners first: the garbage collector deletes what has an
    /// owner that is not there.
    pub fn store(&self, world: &World) {
        let mut objects = self.stored();
        objects.sort_by_key(|object| object["metadata"]["ownerReferences"].is_array());
        for object in objects {
            world.cluster.put_stored(&storage_key(&object), &object).unwrap();
        }
    }

    /// The laptop at which the keyrings were made, with what it remembers, the manifests and the YubiKeys; before this
    /// world's API server.
    pub fn laptop(&self, world: &World) -> (Laptop, Vec<SoftKey>) {
        let laptop = Laptop::new(&world.cluster.admin_kubeconfig());
        let remembered = laptop.home.path().join("touchseal");
        fs::create_dir(&remembered).unwrap();
        for path in self.files("laptop") {
            let text = fs::read_to_string(&path).unwrap().replace(SERVER, &world.cluster.url());
            fs::write(remembered.join(name_of(&path)), text).unwrap();
        }
        for path in self.files("keyrings") {
            fs::copy(&path, laptop.folder().join(name_of(&path))).unwrap();
        }
        let yubikeys = self.yubikeys();
        let keys = yubikeys.iter().map(YubiKey::made).collect::<Vec<_>>();
        for (slot, key) in keys.iter().enumerate() {
            laptop.reader.insert(slot, key).unwrap();
        }
        (laptop, keys)
    }

    /// Opens one of its keyrings, with as many YubiKeys as it takes.
    pub fn open(&self, spec: &KeyringSpec) -> OpenKeyring {
        let manifest = manifest::verify(spec).unwrap();
        let yubikeys = self.yubikeys();
        let mut holders = spec.holders.iter().map(|entry| {
            let of = yubikeys.iter().find(|key| key.serial == entry.serial).unwrap();
            SoftHolder::known(entry.clone(), &of.scalar(&entry.slot).unwrap())
        });
        if spec.quorum.is_none() {
            return holders.next().unwrap().open(spec);
        }
        let active = spec.generations.last().unwrap();
        let shares = holders.zip(&active.shares).map(|(holder, share)| {
            Share::recognise(&manifest, holder.entry.serial, holder.unwrap(&share.wrapped)).unwrap()
        });
        OpenKeyring::open_with_shares(&manifest, shares.collect()).unwrap()
    }

    fn files(&self, what: &str) -> Vec<PathBuf> {
        let folder = self.folder.join(what);
        let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        assert!(!files.is_empty(), "{} is empty", folder.display());
        files
    }
}

impl YubiKey {
    /// What is on a key.
    pub fn of(key: &SoftKey) -> YubiKey {
        let slots = (0x82..=0x95)
            .filter_map(|slot| Some((format!("{slot:02x}"), hex::encode(key.private_scalar(slot)?))));
        let objects = key
            .object_tags()
            .into_iter()
            .map(|tag| (hex::encode(tag), hex::encode(key.object(tag).unwrap())));
        YubiKey { serial: key.serial(), slots: slots.collect(), objects: objects.collect() }
    }

    /// That key again.
    pub fn made(&self) -> SoftKey {
        let key = SoftKey::builder(self.serial).firmware(5, 7, 1).pin(PIN).build().unwrap();
        for (slot, scalar) in &self.slots {
            let slot = u8::from_str_radix(slot, 16).unwrap();
            assert!(key.put_private_scalar(slot, &bytes(scalar).try_into().unwrap()));
        }
        for (tag, content) in &self.objects {
            key.set_object(bytes(tag).try_into().unwrap(), &bytes(content));
        }
        key
    }

    /// The scalar of a slot.
    pub fn scalar(&self, slot: &str) -> Option<Vec<u8>> {
        self.slots.iter().find(|(of, _)| of == slot).map(|(_, scalar)| bytes(scalar))
    }
}

fn bytes(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap()
}

/// `main` of `main.keyring.yaml`.
fn stem(path: &Path) -> String {
    name_of(path).split('.').next().unwrap().to_owned()
}

/// The API server's key for an object.
fn storage_key(object: &Value) -> String {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap();
    let group = text("/apiVersion").split_once('/').map_or(String::new(), |(group, _)| format!("{group}/"));
    let resource = format!("{}s", text("/kind").to_lowercase());
    let namespace = object["metadata"]["namespace"].as_str().map_or(String::new(), |name| format!("{name}/"));
    format!("{group}{resource}/{namespace}{}", text("/metadata/name"))
}
