//! The documents of an EncryptedSecret as bytes: inline, or from a ConfigMap of the same namespace.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use sha2::{Digest as _, Sha256};
use touchseal_crds::Reason;
use touchseal_crds::encrypted_secret::{
    ConfigMapKeyRef, DocumentFormat, DocumentSource, EncryptedSecretSpec,
};
use touchseal_plan::Trouble;
use touchseal_sops::Format;

/// One document's bytes and what is known of its format.
pub struct Source {
    /// How messages call it: its name, or its place in the list.
    pub title: String,
    /// The sops file.
    pub bytes: Vec<u8>,
    /// Its store.
    pub format: Format,
}

/// Fetches every document.
///
/// # Errors
/// A [`Trouble`] where a reference leads nowhere; the client's error where the API server did not answer.
pub async fn fetch(
    client: &Client,
    namespace: &str,
    spec: &EncryptedSecretSpec,
) -> Result<Result<Vec<Source>, Trouble>, kube::Error> {
    let mut sources = Vec::with_capacity(spec.documents.len());
    for (index, document) in spec.documents.iter().enumerate() {
        let bytes = match (&document.sops, &document.config_map_key_ref) {
            (Some(text), None) => text.clone().into_bytes(),
            (None, Some(reference)) => match from_config_map(client, namespace, reference).await? {
                Ok(bytes) => bytes,
                Err(trouble) => return Ok(Err(trouble)),
            },
            _ => {
                return Ok(Err(Trouble::new(
                    Reason::InvalidDocument,
                    format!("documents[{index}]: give exactly one of sops and configMapKeyRef"),
                )));
            }
        };
        let title = document.name.clone().unwrap_or_else(|| format!("documents[{index}]"));
        let format = format(document, &bytes);
        sources.push(Source { title, bytes, format });
    }
    Ok(Ok(sources))
}

/// SHA-256 over what decides the content, apart from the key: bytes, formats, mappings and templates (lower-case hexadecimal).
/// All of it is ciphertext or public.
pub fn digest(spec: &EncryptedSecretSpec, sources: &[Source]) -> String {
    let mut hash = Sha256::new();
    for (document, source) in spec.documents.iter().zip(sources) {
        let mapping = serde_json::to_string(&document.mapping).unwrap_or_default();
        let name = document.name.clone().unwrap_or_default();
        for part in [
            source.bytes.as_slice(),
            source.format.to_string().as_bytes(),
            mapping.as_bytes(),
            name.as_bytes(),
        ] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
    }
    // Without one the digest is what it was before there were any.
    if let Some(template) = spec.target.as_ref().and_then(|target| target.template.as_ref()) {
        hash.update(serde_json::to_string(template).unwrap_or_default());
    }
    hex::encode(hash.finalize())
}

fn format(document: &DocumentSource, bytes: &[u8]) -> Format {
    let named = document.name.as_deref().or(document.config_map_key_ref.as_ref().map(|r| r.key.as_str()));
    match document.format {
        Some(DocumentFormat::Yaml) => Format::Yaml,
        Some(DocumentFormat::Json) => Format::Json,
        Some(DocumentFormat::Dotenv) => Format::Dotenv,
        Some(DocumentFormat::Ini) => Format::Ini,
        Some(DocumentFormat::Binary) => Format::Binary,
        None => named.and_then(Format::from_file_name).unwrap_or_else(|| Format::detect(bytes)),
    }
}

async fn from_config_map(
    client: &Client,
    namespace: &str,
    reference: &ConfigMapKeyRef,
) -> Result<Result<Vec<u8>, Trouble>, kube::Error> {
    let ConfigMapKeyRef { name, key } = reference;
    let missing = |what: String| {
        Ok(Err(Trouble::new(Reason::SourceNotFound, format!("{what}; it is taken up as soon as it appears"))))
    };
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let Some(mut map) = api.get_opt(name).await? else {
        return missing(format!("ConfigMap {name} does not exist"));
    };
    let text = map.data.as_mut().and_then(|d| d.remove(key)).map(String::into_bytes);
    match text.or_else(|| map.binary_data.as_mut().and_then(|d| d.remove(key)).map(|b| b.0)) {
        Some(bytes) => Ok(Ok(bytes)),
        None => missing(format!("ConfigMap {name} has no key {key}")),
    }
}

#[cfg(test)]
mod tests {
    use touchseal_crds::encrypted_secret::{Mapping, MergePolicy, PathKey, Target, Template};

    use super::*;

    fn document() -> DocumentSource {
        DocumentSource { name: Some("app.yaml".to_owned()), ..DocumentSource::default() }
    }

    fn digest_of(documents: &[(DocumentSource, &str)]) -> String {
        let sources: Vec<Source> = documents
            .iter()
            .map(|(document, text)| Source {
                title: "title".to_owned(),
                bytes: text.as_bytes().to_vec(),
                format: format(document, text.as_bytes()),
            })
            .collect();
        let documents = documents.iter().map(|(document, _)| document.clone()).collect();
        digest(&EncryptedSecretSpec { documents, ..EncryptedSecretSpec::default() }, &sources)
    }

    #[test]
    fn the_digest_covers_all_that_decides_the_content() {
        let same = digest_of(&[(document(), "x")]);
        assert_eq!(same, digest_of(&[(document(), "x")]));
        assert_eq!(same.len(), 64);
        let paths = |path: &str| {
            let key = "k".to_owned();
            Some(Mapping::Paths(vec![PathKey { path: path.to_owned(), key }]))
        };
        let others = [
            ("bytes", vec![(document(), "y")]),
            ("format", vec![(DocumentSource { format: Some(DocumentFormat::Json), ..document() }, "x")]),
            ("name", vec![(DocumentSource { name: Some("b.yaml".to_owned()), ..document() }, "x")]),
            ("mapping", vec![(DocumentSource { mapping: paths("a"), ..document() }, "x")]),
            ("other mapping", vec![(DocumentSource { mapping: paths("b"), ..document() }, "x")]),
            ("one more", vec![(document(), "x"), (document(), "x")]),
            ("none", vec![]),
        ];
        for (index, (what, other)) in others.iter().enumerate() {
            assert_ne!(same, digest_of(other), "{what}");
            for (_, another) in &others[index + 1..] {
                assert_ne!(digest_of(other), digest_of(another), "{what}");
            }
        }
    }

    #[test]
    fn the_digest_covers_templates_and_is_as_before_without_one() {
        let of = |target: Option<Target>| {
            digest(&EncryptedSecretSpec { target, ..EncryptedSecretSpec::default() }, &[])
        };
        let template = |text: &str, merge_policy| {
            let data = [("url".to_owned(), text.to_owned())].into();
            Some(Target { template: Some(Template { merge_policy, data }), ..Target::default() })
        };
        assert_eq!(of(None), of(Some(Target::default())));
        assert_eq!(of(None), digest_of(&[]));
        let others =
            [template("a", None), template("b", None), template("a", Some(MergePolicy::Merge)), None];
        for (index, other) in others.iter().enumerate() {
            for another in &others[index + 1..] {
                assert_ne!(of(other.clone()), of(another.clone()));
            }
        }
    }

    #[test]
    fn where_one_document_ends_and_the_next_begins_counts() {
        let split = |a: &str, b: &str| digest_of(&[(document(), a), (document(), b)]);
        assert_ne!(split("ab", "c"), split("a", "bc"));
    }

    #[test]
    fn the_format_is_told_then_named_then_detected() {
        let reference = ConfigMapKeyRef { name: "map".to_owned(), key: "a.env".to_owned() };
        let cases = [
            (Some(DocumentFormat::Ini), Some("a.yaml"), None, "", Format::Ini),
            (None, Some("a.json"), None, "", Format::Json),
            (None, Some("a.env"), None, "", Format::Dotenv),
            (None, Some("a.ini"), None, "", Format::Ini),
            (None, None, Some(reference.clone()), "", Format::Dotenv),
            (None, Some("a.yaml"), Some(reference), "", Format::Yaml),
            (None, None, None, "a: ENC[x]\nsops:\n  version: 3\n", Format::Yaml),
        ];
        for (told, name, config_map_key_ref, text, expected) in cases {
            let document = DocumentSource {
                name: name.map(str::to_owned),
                format: told,
                config_map_key_ref,
                ..DocumentSource::default()
            };
            assert_eq!(format(&document, text.as_bytes()), expected, "{document:?}");
        }
    }
}
