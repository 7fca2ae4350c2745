//! Made-up EncryptedSecrets: distinct documents of three keys and about 300 bytes, in fifty namespaces.

use std::fmt::Write as _;

use rand::Rng as _;
use rand::distributions::Alphanumeric;
use serde_json::json;
use touchseal_keyring::OpenKeyring;
use touchseal_sops::{Document, Format, OsRng, Recipients, Rules};

use super::Fault;
use super::bare::Ask;

const NAMESPACES: usize = 50;
const KEYS: [&str; 3] = ["username", "password", "endpoint"];
const VALUE: usize = 85;

/// What encrypts documents for each namespace.
pub struct Fleet {
    recipients: Vec<(String, Recipients)>,
}

impl Fleet {
    pub fn new(keyring: &OpenKeyring) -> Result<Fleet, Fault> {
        let recipients = (0..NAMESPACES).map(|number| {
            let namespace = format!("bench-{number:02}");
            let recipient = keyring.recipient_spec(&namespace)?.recipient.parse()?;
            Ok((namespace, Recipients::new(vec![recipient])?))
        });
        Ok(Fleet { recipients: recipients.collect::<Result<_, Fault>>()? })
    }

    pub fn namespaces(&self) -> impl Iterator<Item = &str> {
        self.recipients.iter().map(|(namespace, _)| namespace.as_str())
    }

    /// Namespace and name of one.
    pub fn key(&self, index: usize) -> (&str, String) {
        (&self.recipients[index % NAMESPACES].0, format!("app-{index:05}"))
    }

    /// A document of other values each time.
    pub fn document(&self, index: usize) -> Result<String, Fault> {
        let mut plain = String::new();
        for key in KEYS {
            let value: String =
                rand::thread_rng().sample_iter(Alphanumeric).take(VALUE).map(char::from).collect();
            writeln!(plain, "{key}: {value}")?;
        }
        let recipients = &self.recipients[index % NAMESPACES].1;
        let now = "2026-01-31T08:00:00Z";
        let made = Document::encrypt(
            plain.as_bytes(),
            Format::Yaml,
            recipients,
            &Rules::default(),
            now,
            &mut OsRng,
        )?;
        Ok(String::from_utf8(made.emit())?)
    }

    /// The object, as a manifest.
    pub fn object(&self, index: usize) -> Result<Vec<u8>, Fault> {
        let (namespace, name) = self.key(index);
        let object = json!({
            "apiVersion": "touchseal.dev/v1alpha1", "kind": "EncryptedSecret",
            "metadata": { "name": name, "namespace": namespace },
            "spec": { "documents": [{ "sops": self.document(index)? }] },
        });
        Ok(object.to_string().into_bytes())
    }

    /// Another document for one that is there.
    pub fn change(&self, index: usize) -> Result<Ask, Fault> {
        let (namespace, name) = self.key(index);
        let patch = json!({ "spec": { "documents": [{ "sops": self.document(index)? }] } });
        let path = format!("/apis/touchseal.dev/v1alpha1/namespaces/{namespace}/encryptedsecrets/{name}");
        Ok(Ask { verb: "PATCH", path, body: patch.to_string().into_bytes() })
    }
}
