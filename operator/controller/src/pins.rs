//! Pins: which manifest of each keyring was accepted last, in ConfigMaps of the operator's namespace, where git writers
//! do not reach. A person who accepts another keyring of the same name deletes the ConfigMap.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use touchseal_crds::names::{FIELD_MANAGER, MANAGED_BY, MANAGED_BY_LABEL};
use touchseal_keyring::{Fingerprint, Pin};

/// The one key in the ConfigMap's data.
const PIN: &str = "pin.json";
/// Label that tells pins from the ledger.
const PURPOSE_LABEL: &str = "touchseal.dev/purpose";
/// Annotation: which keyring.
const KEYRING_ANNOTATION: &str = "touchseal.dev/keyring";

/// Selects the pins.
pub fn selector() -> String {
    format!("{MANAGED_BY_LABEL}={MANAGED_BY},{PURPOSE_LABEL}=pin")
}

/// Name of a keyring's ConfigMap.
pub fn name(keyring: &str) -> String {
    format!("touchseal-pin-{keyring}")
}

/// Keyring and pin of a ConfigMap; None for the pin where it is not one.
pub fn read(map: &ConfigMap) -> Option<(String, Option<Pin>)> {
    let keyring = map.metadata.annotations.as_ref()?.get(KEYRING_ANNOTATION)?.clone();
    let text = map.data.as_ref().and_then(|d| d.get(PIN));
    Some((keyring, text.and_then(|text| serde_json::from_str(text).ok())))
}

/// The pin that binds a keyring: of all pins of its line, whatever Keyring they were made for, the newest. A manifest's
/// name is not signed, so a git writer could apply an older revision under another name; its line is already pinned.
///
/// `line` is the fingerprint of the manifest, used where the keyring has no pin of its own. The outer None says that nothing
/// is pinned, `Some(None)` that what is pinned cannot be read.
pub fn binding<'p>(
    pins: &'p BTreeMap<String, Option<Pin>>,
    keyring: &str,
    line: Option<&Fingerprint>,
) -> Option<Option<&'p Pin>> {
    let own = pins.get(keyring);
    if matches!(own, Some(None)) {
        return Some(None);
    }
    let line = own.and_then(Option::as_ref).map(|pin| &pin.fingerprint).or(line)?;
    pins.values().flatten().filter(|pin| pin.fingerprint == *line).max_by_key(|pin| pin.revision).map(Some)
}

/// What came of storing a pin.
pub enum Stored {
    /// It is stored.
    Done,
    /// Something else is stored, which it cannot follow.
    Other(Pin),
    /// What is stored cannot be read: it is not overwritten.
    Unreadable,
}

/// Stores `pin` if it follows what is stored: the same line, at a higher revision, or nothing at all.
///
/// # Errors
/// The API server failed, or somebody else wrote meanwhile.
pub async fn store(
    client: &Client,
    namespace: &str,
    keyring: &str,
    pin: &Pin,
) -> Result<Stored, kube::Error> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let name = name(keyring);
    let present = api.get_opt(&name).await?;
    match present.as_ref().map(|map| read(map).and_then(|(_, found)| found)) {
        None => {}
        Some(None) => return Ok(Stored::Unreadable),
        Some(Some(found)) if found == *pin => return Ok(Stored::Done),
        Some(Some(found)) if found.fingerprint == pin.fingerprint && found.revision < pin.revision => {}
        Some(Some(found)) => return Ok(Stored::Other(found)),
    }
    let text = serde_json::to_string(pin).map_err(kube::Error::SerdeError)?;
    let map = ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            labels: Some(
                [
                    (MANAGED_BY_LABEL.to_owned(), MANAGED_BY.to_owned()),
                    (PURPOSE_LABEL.to_owned(), "pin".to_owned()),
                ]
                .into(),
            ),
            annotations: Some([(KEYRING_ANNOTATION.to_owned(), keyring.to_owned())].into()),
            resource_version: present.as_ref().and_then(|p| p.metadata.resource_version.clone()),
            ..ObjectMeta::default()
        },
        data: Some([(PIN.to_owned(), text)].into()),
        ..ConfigMap::default()
    };
    let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
    match present {
        Some(_) => api.replace(&name, &params, &map).await.map(|_| Stored::Done),
        None => api.create(&params, &map).await.map(|_| Stored::Done),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pin(start: u8, revision: i64) -> Pin {
        let id = touchseal_keyring::KeyringId::parse(&"ab".repeat(16)).unwrap();
        Pin {
            fingerprint: Fingerprint::of(&id, &[start; 32]),
            generation: 1,
            verify_key: String::new(),
            revision,
            digest: String::new(),
        }
    }

    /// An older revision under another name meets the pin of the line it belongs to.
    #[test]
    fn a_line_is_bound_by_its_newest_pin_under_any_name() {
        let pins: BTreeMap<String, Option<Pin>> =
            [("prod".to_owned(), Some(pin(1, 7))), ("copy".to_owned(), Some(pin(1, 3)))].into();
        let line = pin(1, 0).fingerprint;
        assert_eq!(binding(&pins, "aaa", Some(&line)), Some(Some(&pin(1, 7))));
        assert_eq!(binding(&pins, "copy", Some(&line)), Some(Some(&pin(1, 7))));
        assert_eq!(binding(&pins, "prod", None), Some(Some(&pin(1, 7))));
    }

    #[test]
    fn another_line_is_not_bound_and_a_swapped_keyring_meets_its_own_pin() {
        let pins: BTreeMap<String, Option<Pin>> =
            [("prod".to_owned(), Some(pin(1, 7))), ("broken".to_owned(), None)].into();
        let other = pin(2, 0).fingerprint;
        assert_eq!(binding(&pins, "second", Some(&other)), None);
        assert_eq!(binding(&pins, "second", None), None);
        assert_eq!(binding(&pins, "prod", Some(&other)), Some(Some(&pin(1, 7))));
        assert_eq!(binding(&pins, "broken", Some(&other)), Some(None));
    }
}
