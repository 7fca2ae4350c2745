//! What sops encrypted already, for Flux or KSOPS: wrapped as it is, byte for byte. Names, types and labels are in the clear
//! there; no key is needed, and none is asked for.

use std::path::Path;

use serde_json::Value;
use touchseal_crds::encrypted_secret::Mapping;
use touchseal_sops::{Document, Format};

use super::error::ImportError;
use super::manifests;
use super::material::{InCluster, Material, Part, Sops};

/// A Secret manifest whose values sops encrypted; `None` for what is no Secret by the look of it.
pub fn secret(
    from: &str,
    name: &str,
    text: &str,
    wanted: Option<&str>,
    folder: &Path,
) -> Result<Option<Material>, ImportError> {
    let format = Format::from_file_name(name).unwrap_or(Format::Yaml);
    let Ok(document) = Document::parse(text.as_bytes(), format) else { return Ok(None) };
    let stream: Vec<Value> = crate::yaml::all_from_str(text).unwrap_or_default();
    let Some(value) = stream.iter().find(|value| value["kind"] == "Secret" && value["apiVersion"] == "v1")
    else {
        return Ok(None);
    };
    let problem = |problem: String| ImportError::Wrapped { from: from.to_owned(), problem };
    if stream.len() > 1 {
        return Err(problem(format!("it holds {} manifests, and a document is one", stream.len())));
    }
    let mut object = manifests::head(value).map_err(problem)?;
    let is_encrypted = |text: &String| text.starts_with("ENC[AES256_GCM,");
    let hidden = [Some(&object.name), object.namespace.as_ref()].into_iter().flatten().any(is_encrypted)
        || object.labels.values().chain(object.annotations.values()).any(is_encrypted);
    if hidden {
        return Err(problem("its metadata is encrypted, too".to_owned()));
    }
    object.type_ = object.type_.filter(|type_| !is_encrypted(type_));
    let keys = ["data", "stringData"].into_iter().filter_map(|field| value[field].as_object());
    let mut keys: Vec<String> = keys.flat_map(|map| map.keys().cloned()).collect();
    keys.sort();
    keys.dedup();
    let part = Part::Sops(Sops {
        name: name.to_owned(),
        text: text.to_owned(),
        format,
        mapping: Some(Mapping::Manifest {}),
        recipients: document.age_recipients().map(str::to_owned).collect(),
        keys,
    });
    let mut material = object.into_material(from, wanted, InCluster::Perhaps, folder.to_owned())?;
    material.documents = vec![part];
    Ok(Some(material))
}

/// A file that goes under one key, or whose values go under their own: as a generator asks for it.
pub fn file(from: &str, name: &str, text: &str, key: Option<&str>) -> Result<Part, ImportError> {
    let format = Format::from_file_name(name).unwrap_or_else(|| Format::detect(text.as_bytes()));
    let document = Document::parse(text.as_bytes(), format).map_err(|_| ImportError::Wrapped {
        from: from.to_owned(),
        problem: "sops did not encrypt it".to_owned(),
    })?;
    let keys = match key {
        Some(key) => vec![key.to_owned()],
        None => document.top_level_keys().map(str::to_owned).collect(),
    };
    Ok(Part::Sops(Sops {
        name: name.to_owned(),
        text: text.to_owned(),
        format,
        mapping: key.map(|key| Mapping::File { key: key.to_owned() }),
        recipients: document.age_recipients().map(str::to_owned).collect(),
        keys,
    }))
}
