//! Upgrades, as far as nothing has to run for it: what every release left opens, reads and means what it meant, and today's
//! definitions take all of it. What today's operator does with it is in `real/upgrade`.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use touchseal_crds::{EncryptedSecret, Incident, Keyring, KeyringSpec, Recipient};
use touchseal_keyring::{OpenKeyring, Pin, PinCheck, manifest};
use touchseal_plan::{Content, LedgerEntry, mapping, template};
use touchseal_sops::{Document, Format, Opener};
use touchseal_suites::crd_changes;
use touchseal_suites::upgrade::{Release, definitions, releases};
use touchseal_suites::world::repository;

/// What takes other things than it took, on purpose, and why nobody misses one.
const CHANGED: [(&str, &str); 4] = [
    (
        "enrolments.touchseal.dev: version v1alpha1: .spec.holder.slot: pattern was \"^(8[2-9a-f]|9[0-5])$\", is \"^(8[2-9a-f]|9[0-5]|OpenPGP)$\"",
        "it takes one more",
    ),
    (
        "keyrings.touchseal.dev: version v1alpha1: .spec.holders[].slot: pattern was \"^(8[2-9a-f]|9[0-5])$\", is \"^(8[2-9a-f]|9[0-5]|OpenPGP)$\"",
        "it takes one more",
    ),
    (
        "enrolments.touchseal.dev: version v1alpha1: .spec: a new rule: \"oldSelf.hasValue() || !has(self.answer)\"",
        "every shipped policy refused it",
    ),
    (
        "enrolments.touchseal.dev: version v1alpha1: .spec: a new rule: \"self.keyring == oldSelf.keyring && \
         self.revision == oldSelf.revision && self.holder == oldSelf.holder && self.reason == oldSelf.reason && \
         self.requestedBy == oldSelf.requestedBy\"",
        "every shipped policy refused it",
    ),
];

#[test]
fn definitions_take_what_those_of_every_release_took() {
    let today = definitions(&repository().join("crds"));
    let mut broken = Vec::new();
    for release in releases() {
        for (name, released) in definitions(&release.folder.join("crds")) {
            match today.get(&name) {
                None => broken.push(format!("{}: {name} is gone", release.name())),
                Some(today) => {
                    let found = crd_changes::breaks(&released, today);
                    broken.extend(found.into_iter().map(|what| format!("{}: {what}", release.name())));
                }
            }
        }
    }
    for (changed, why) in CHANGED {
        assert!(broken.iter().any(|what| what.ends_with(changed)), "{changed} ({why}): not so");
    }
    broken.retain(|what| !CHANGED.iter().any(|(changed, _)| what.ends_with(changed)));
    assert!(
        broken.is_empty(),
        "clusters and git repositories have objects that would break: add a field, a value or a version instead\n{}",
        broken.join("\n")
    );
}

fn spec_of(keyring: &Value) -> KeyringSpec {
    serde_json::from_value(keyring["spec"].clone()).unwrap()
}

#[test]
fn keyrings_verify_open_and_are_the_pinned_ones() {
    for release in releases() {
        let pins = pins(&release);
        let mut states = BTreeSet::new();
        for (name, keyring) in release.keyrings() {
            let spec = spec_of(&keyring);
            let verified = manifest::verify(&spec).unwrap();
            let pin = &pins[&name];
            assert_eq!(pin.check(&verified), PinCheck::Same, "{name}");
            let open = release.open(&spec);
            assert_eq!(Some(pin.generation), open.generations().next(), "{name}");
            states.extend(spec.generations.iter().map(|generation| format!("{:?}", generation.state)));
        }
        assert_eq!(states.into_iter().collect::<Vec<_>>(), ["Active", "Retired", "Retiring"]);
        for (name, keyring) in release.replaced() {
            let older = manifest::verify(&spec_of(&keyring)).unwrap();
            assert!(matches!(pins[&name].check(&older), PinCheck::Refused(_)), "{name}");
        }
    }
}

/// What the operator pinned, by keyring.
fn pins(release: &Release) -> BTreeMap<String, Pin> {
    let maps = release.stored_of("ConfigMap").into_iter();
    let pins: BTreeMap<String, Pin> = maps
        .filter_map(|map| {
            let pin = serde_json::from_str(map["data"]["pin.json"].as_str()?).unwrap();
            Some((map["metadata"]["annotations"]["touchseal.dev/keyring"].as_str()?.to_owned(), pin))
        })
        .collect();
    assert_eq!(pins.len(), release.keyrings().len());
    pins
}

#[test]
fn documents_open_to_what_the_secrets_hold() {
    for release in releases() {
        let keyrings = release.keyrings();
        let main = keyrings.iter().find(|(name, _)| name == "main").unwrap();
        let open = release.open(&spec_of(&main.1));
        let (mut formats, mut served) = (BTreeSet::new(), 0);
        for manifest in release.manifests().iter().filter(|one| one["kind"] == "EncryptedSecret") {
            let name = manifest["metadata"]["name"].as_str().unwrap();
            let object: EncryptedSecret = serde_json::from_value(manifest.clone()).unwrap();
            let content = content(&release, &open, &object, &mut formats);
            let stored = release.stored_of("EncryptedSecret").into_iter();
            let status = stored.map(|one| one["status"].clone()).zip(release.stored_of("EncryptedSecret"));
            let of_name = |(_, one): &(Value, Value)| one["metadata"]["name"] == name;
            let secret_name = status.into_iter().find(of_name).unwrap().0["secretName"].clone();
            let secrets = release.stored_of("Secret").into_iter();
            let secret = secrets.into_iter().find(|one| one["metadata"]["name"] == secret_name).unwrap();
            let secret: Secret = serde_json::from_value(secret).unwrap();
            let data: BTreeMap<_, _> =
                secret.data.unwrap().into_iter().map(|(key, value)| (key, value.0)).collect();
            let content: BTreeMap<_, _> =
                content.data.iter().map(|(key, value)| (key.clone(), value.to_vec())).collect();
            assert_eq!(content, data, "{}: {name}", release.name());
            served += 1;
        }
        assert!(served >= 10, "hardly anything was served");
        assert_eq!(formats.into_iter().collect::<Vec<_>>(), ["binary", "dotenv", "ini", "json", "yaml"]);
    }
}

/// Opens the documents as the operator does.
fn content(
    release: &Release,
    open: &OpenKeyring,
    object: &EncryptedSecret,
    formats: &mut BTreeSet<&'static str>,
) -> Content {
    let opener = open
        .namespace("shop")
        .unwrap()
        .iter()
        .fold(Opener::new(), |opener, (_, identity)| opener.with_x25519(identity.identity().clone()));
    let mut content = Content::default();
    for source in &object.spec.documents {
        let text = source.sops.clone().unwrap_or_else(|| {
            let reference = source.config_map_key_ref.as_ref().unwrap();
            let maps = release.manifests();
            let map = maps.iter().find(|map| map["metadata"]["name"] == reference.name.as_str()).unwrap();
            map["data"][&reference.key].as_str().unwrap().to_owned()
        });
        let name = source.name.as_deref().unwrap_or("app.yaml");
        let (format, word) = match name.rsplit('.').next() {
            Some("yaml") => (Format::Yaml, "yaml"),
            Some("json") => (Format::Json, "json"),
            Some("env") => (Format::Dotenv, "dotenv"),
            Some("ini") => (Format::Ini, "ini"),
            _ => (Format::Binary, "binary"),
        };
        formats.insert(word);
        let plain = Document::parse(text.as_bytes(), format).unwrap().decrypt_with(&opener).unwrap();
        mapping::add(&mut content, &plain, source.mapping.as_ref(), source.name.as_deref()).unwrap();
    }
    match object.spec.target.as_ref().and_then(|target| target.template.as_ref()) {
        Some(template) => template::compose(content, template).unwrap().content,
        None => content,
    }
}

/// Read by today's types and written again, what is stored is what it was: no field is unknown, none is taken for another.
#[test]
fn stored_objects_go_through_todays_types_unchanged() {
    fn through<T: DeserializeOwned + Serialize>(stored: &Value) -> Value {
        json!(serde_json::from_value::<T>(stored.clone()).unwrap())
    }
    for release in releases() {
        let mut kinds = BTreeSet::new();
        for stored in release.stored() {
            let kind = stored["kind"].as_str().unwrap();
            let again = match kind {
                "EncryptedSecret" => through::<EncryptedSecret>(&stored),
                "Incident" => through::<Incident>(&stored),
                "Keyring" => through::<Keyring>(&stored),
                "Recipient" => through::<Recipient>(&stored),
                "ConfigMap" => through::<ConfigMap>(&stored),
                "Secret" => through::<Secret>(&stored),
                other => panic!("{other} is nothing that is stored"),
            };
            for part in ["spec", "status", "data"] {
                assert_eq!(
                    again[part],
                    stored[part],
                    "{} {kind} {}",
                    release.name(),
                    stored["metadata"]["name"]
                );
            }
            kinds.insert(kind.to_owned());
        }
        let all = ["ConfigMap", "EncryptedSecret", "Incident", "Keyring", "Recipient", "Secret"];
        assert!(all.iter().all(|kind| kinds.contains(*kind)), "{kinds:?}");
    }
}

#[test]
fn ledgers_are_read_and_would_be_written_as_they_are() {
    for release in releases() {
        let (mut names, mut fields) = (BTreeSet::new(), BTreeSet::new());
        for map in release.stored_of("ConfigMap") {
            let Some(text) = map["data"]["entries.json"].as_str() else { continue };
            let entries: BTreeMap<String, LedgerEntry> = serde_json::from_str(text).unwrap();
            let (stored, again) = (serde_json::from_str::<Value>(text).unwrap(), json!(entries));
            assert_eq!(again, stored, "{}: {}", release.name(), map["metadata"]["name"]);
            let gone = &entries.get("shop/gone");
            assert!(gone.is_none_or(|entry| entry.ended.is_some() && entry.generation == 1));
            fields.extend(
                stored
                    .as_object()
                    .unwrap()
                    .values()
                    .flat_map(|entry| entry.as_object().unwrap().keys().cloned().collect::<Vec<_>>()),
            );
            names.extend(entries.into_keys());
        }
        assert!(names.contains("shop/gone") && names.contains("shop/previous"), "{names:?}");
        for field in ["ended", "gone", "history", "leftMain", "leftSingle", "newestModified", "previous"] {
            assert!(fields.contains(field), "{}: no entry has {field}", release.name());
        }
    }
}
