//! The objects of the cluster, brought down to what a person wants to know.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use serde::Serialize;
use touchseal_crds::keyring::{ReplicaState, ReplicaStatus, UnsealRecord};
use touchseal_crds::{ConditionType, EncryptedSecret, Keyring, UnsealRequest};
use touchseal_keyring::manifest::single_holder;

use crate::ceremony::progress;
use crate::commands::keyring::refused;
use crate::duration::age;
use crate::output::Table;
use crate::seal_wait::Live;

/// Everything `touchseal status` shows.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct View {
    keyrings: Vec<KeyringView>,
    requests: Vec<RequestView>,
    /// EncryptedSecrets there are.
    secrets: usize,
    not_ready: Vec<SecretView>,
    /// What the view cannot tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

/// Which of the replicas that a status names still exist.
#[derive(Clone, Copy, Debug)]
pub struct Replicas<'a> {
    /// `None` when pods may not be listed: then every replica counts as it reported last.
    pub live: Option<&'a Live>,
    /// The operator's.
    pub namespace: &'a str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct KeyringView {
    name: String,
    state: State,
    unsealed_replicas: usize,
    replicas: usize,
    /// Each replica that still exists, as it reported.
    each: Vec<ReplicaStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_unseal: Option<UnsealRecord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fingerprint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    /// The way out, when the operator refuses it.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    /// That one YubiKey's loss would be the loss of everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
enum State {
    /// Its manifest is refused.
    Tampered,
    /// No replica that still exists has spoken.
    Unknown,
    /// No replica holds the keys.
    Sealed,
    /// Some do.
    Partly,
    /// All do.
    Unsealed,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RequestView {
    keyring: String,
    pod: String,
    namespace: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
    /// With a quorum, how far it has come.
    #[serde(skip_serializing_if = "Option::is_none")]
    released: Option<String>,
}

#[derive(Debug, Serialize)]
struct SecretView {
    namespace: String,
    name: String,
    reason: String,
    message: String,
}

impl View {
    /// Brings the objects down. Sorted by name, whatever the order they came in.
    pub fn new(
        keyrings: &[Keyring],
        replicas: Replicas<'_>,
        requests: &[UnsealRequest],
        secrets: &[EncryptedSecret],
    ) -> Self {
        let unseen = || {
            format!(
                "you may not list pods in namespace {}: replicas are shown as they reported last, and may be gone",
                replicas.namespace
            )
        };
        let mut view = Self {
            keyrings: keyrings.iter().map(|object| keyring(object, replicas)).collect(),
            requests: requests.iter().map(|one| request(one, keyrings)).collect(),
            secrets: secrets.len(),
            not_ready: secrets.iter().filter_map(not_ready).collect(),
            note: replicas.live.is_none().then(unseen),
        };
        view.keyrings.sort_by(|a, b| a.name.cmp(&b.name));
        view.requests.sort_by(|a, b| (&a.keyring, &a.pod).cmp(&(&b.keyring, &b.pod)));
        view.not_ready.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        view
    }

    /// For people.
    pub fn text(&self, now: Timestamp, wide: bool) -> String {
        let mut out = String::new();
        if self.keyrings.is_empty() {
            out.push_str("no keyring on this cluster\n");
        }
        let headings: &[_] = if wide {
            &["KEYRING", "STATE", "REPLICAS", "LAST UNSEAL BY", "YUBIKEY", "AGO", "MESSAGE", "FINGERPRINT"]
        } else {
            &["KEYRING", "STATE", "REPLICAS", "LAST UNSEAL BY", "YUBIKEY", "AGO", "MESSAGE"]
        };
        let mut table = Table::new(headings);
        for keyring in &self.keyrings {
            let unseal = keyring.last_unseal.as_ref();
            let mut row = vec![
                keyring.name.clone(),
                format!("{:?}", keyring.state),
                format!("{}/{}", keyring.unsealed_replicas, keyring.replicas),
                unseal.map(holders).unwrap_or_default(),
                unseal.map(|unseal| unseal.serial.to_string()).unwrap_or_default(),
                age(unseal.map(|unseal| unseal.at.0), now),
                keyring.message.clone().unwrap_or_default(),
            ];
            if wide {
                row.push(keyring.fingerprint.clone().unwrap_or_default());
            }
            table.cells(row);
        }
        out.push_str(&table.render());
        for keyring in &self.keyrings {
            if let Some(hint) = &keyring.hint {
                out.push_str(&format!("\nkeyring {} is refused: {hint}\n", keyring.name));
            }
        }
        for keyring in &self.keyrings {
            if let Some(warning) = &keyring.warning {
                out.push_str(&format!("\nwarning: keyring {}: {warning}\n", keyring.name));
            }
        }
        if let Some(note) = &self.note {
            out.push_str(&format!("\n{note}\n"));
        }
        let each =
            self.keyrings.iter().flat_map(|keyring| keyring.each.iter().map(move |one| (keyring, one)));
        let mut table = Table::new(&["KEYRING", "REPLICA", "IS", "SINCE", "RELEASED BY"]);
        for (keyring, replica) in each {
            let (name, pod) = (keyring.name.clone(), replica.pod.clone());
            let since = age(Some(replica.since.0), now);
            table.row([name, pod, format!("{:?}", replica.state), since, released_by(replica)]);
        }
        if self.keyrings.iter().any(|keyring| keyring.replicas > 1) {
            out.push_str(&format!("\n{}", table.render()));
        }
        if !self.requests.is_empty() {
            let quorum = self.requests.iter().any(|request| request.released.is_some());
            let mut headings = vec!["WAITS FOR", "POD", "AGE", "REFUSED"];
            headings.extend(quorum.then_some("QUORUM"));
            let mut table = Table::new(&headings);
            for request in &self.requests {
                let since = age(request.since.as_ref().map(|time| time.0), now);
                let refused = request.refused.clone().unwrap_or_default();
                let mut row = vec![request.keyring.clone(), request.pod.clone(), since, refused];
                row.extend(quorum.then(|| request.released.clone().unwrap_or_default()));
                table.cells(row);
            }
            out.push_str(&format!("\n{}", table.render()));
        }
        match (self.secrets, self.not_ready.len()) {
            (0, _) => out.push_str("\nno EncryptedSecret\n"),
            (all, 0) => out.push_str(&format!("\n{all} of {all} EncryptedSecrets are ready\n")),
            (all, not) => {
                out.push_str(&format!("\n{} of {all} EncryptedSecrets are ready; the others:\n", all - not));
                let mut table = Table::new(&["NAMESPACE", "NAME", "REASON", "MESSAGE"]);
                for secret in &self.not_ready {
                    let SecretView { namespace, name, reason, message } = secret;
                    table.row([namespace.clone(), name.clone(), reason.clone(), message.clone()]);
                }
                out.push_str(&table.render());
            }
        }
        if !self.requests.is_empty() {
            out.push_str("\nto unseal: touchseal unseal\n");
        }
        out
    }

    /// Names as kubectl takes them: keyrings, requests, and the secrets that are not ready.
    pub fn names(&self) -> String {
        let keyrings =
            self.keyrings.iter().map(|keyring| format!("keyring.touchseal.dev/{}\n", keyring.name));
        let requests =
            self.requests.iter().map(|request| format!("unsealrequest.touchseal.dev/{}\n", request.name));
        let secrets =
            self.not_ready.iter().map(|secret| format!("encryptedsecret.touchseal.dev/{}\n", secret.name));
        keyrings.chain(requests).chain(secrets).collect()
    }
}

fn keyring(object: &Keyring, known: Replicas<'_>) -> KeyringView {
    let status = object.status.clone().unwrap_or_default();
    let exists = |pod: &str| known.live.is_none_or(|live| live.holds(pod));
    let each: Vec<ReplicaStatus> =
        status.replicas.into_iter().filter(|replica| exists(&replica.pod)).collect();
    let replicas = each.len();
    let unsealed = each.iter().filter(|replica| replica.state == ReplicaState::Unsealed).count();
    let nobody = replicas == 0 && known.live.is_some_and(|live| live.operators.is_empty());
    let nobody = nobody.then(|| format!("no running operator pod in {}", known.namespace));
    let tampered = refused(object, known.namespace);
    let state = match (tampered.is_some(), unsealed) {
        (true, _) => State::Tampered,
        (false, _) if replicas == 0 => State::Unknown,
        (false, 0) => State::Sealed,
        (false, some) if some < replicas => State::Partly,
        (false, _) => State::Unsealed,
    };
    KeyringView {
        name: object.metadata.name.clone().unwrap_or_default(),
        state,
        unsealed_replicas: unsealed,
        replicas,
        each,
        last_unseal: status.last_unseal,
        fingerprint: status.fingerprint,
        message: tampered.as_ref().map(|refused| refused.message.clone()).or(nobody),
        // A manifest that is refused says nothing of who opens the right one.
        warning: (tampered.is_none())
            .then(|| single_holder(&object.spec))
            .flatten()
            .map(|(_, message)| message),
        hint: tampered.map(|refused| refused.hint),
    }
}

/// Everybody whose release it took.
fn holders(record: &UnsealRecord) -> String {
    let with = record.with.iter().map(|with| with.holder.as_str());
    with.chain([record.holder.as_str()]).collect::<Vec<_>>().join(", ")
}

/// Whose release a replica holds its keys by.
fn released_by(replica: &ReplicaStatus) -> String {
    match &replica.unsealed_by {
        None => String::new(),
        Some(record) => match &record.handed_over_by {
            None => format!("{} (YubiKey {})", record.holder, record.serial),
            Some(pod) => format!("hand-over from {pod}"),
        },
    }
}

fn request(object: &UnsealRequest, keyrings: &[Keyring]) -> RequestView {
    let of = keyrings.iter().find(|one| one.metadata.name.as_deref() == Some(&object.spec.keyring));
    let needed = of.and_then(|one| one.spec.quorum).and_then(|quorum| usize::try_from(quorum).ok());
    let released = object.status.as_ref().map(|status| status.released.as_slice()).unwrap_or_default();
    let conditions = object.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let refused = condition(conditions, ConditionType::ReleaseRefused).filter(|c| c.status == "True");
    RequestView {
        keyring: object.spec.keyring.clone(),
        pod: object.spec.pod.clone(),
        namespace: object.metadata.namespace.clone().unwrap_or_default(),
        name: object.metadata.name.clone().unwrap_or_default(),
        since: object.metadata.creation_timestamp.clone(),
        refused: refused.map(|condition| condition.message.clone()),
        released: needed.map(|needed| progress(released, needed)),
    }
}

/// `None` when it is ready at the generation it has now: an old Ready says nothing about a new spec.
fn not_ready(object: &EncryptedSecret) -> Option<SecretView> {
    let status = object.status.clone().unwrap_or_default();
    let ready = condition(&status.conditions, ConditionType::Ready);
    let current = status.observed_generation == object.metadata.generation;
    let (reason, message) = match ready {
        Some(ready) if ready.status == "True" && current => return None,
        Some(ready) if current => (ready.reason.clone(), ready.message.clone()),
        _ => ("Progressing".to_owned(), "the operator has not worked on its present state yet".to_owned()),
    };
    Some(SecretView {
        namespace: object.metadata.namespace.clone().unwrap_or_default(),
        name: object.metadata.name.clone().unwrap_or_default(),
        reason,
        message,
    })
}

fn condition(conditions: &[Condition], wanted: ConditionType) -> Option<&Condition> {
    conditions.iter().find(|condition| condition.type_ == wanted.as_str())
}

#[cfg(test)]
mod tests;
