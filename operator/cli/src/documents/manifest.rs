//! Where manifests hold documents: `spec.documents[].sops` of every EncryptedSecret in the stream, and the values of
//! ConfigMaps that are sops documents; also inside a `kind: List`.

use touchseal_sops::{Document, Format};

use super::nodes::{Node, Scalar, Twice};

/// One inline document.
#[derive(Debug)]
pub struct Site<'n> {
    /// `metadata.namespace`.
    pub namespace: Option<&'n str>,
    /// `metadata.name`.
    pub object: Option<&'n str>,
    /// The document's own name, or its place.
    pub name: String,
    pub format: Format,
    /// `None` for an alias.
    pub scalar: Option<&'n Scalar>,
}

/// How many objects there are that hold documents, or could, and their inline documents in order.
#[derive(Debug, Default)]
pub struct Sites<'n> {
    pub objects: usize,
    pub documents: Vec<Site<'n>>,
}

/// Finds them.
pub fn sites(stream: &[Node]) -> Result<Sites<'_>, Twice> {
    let mut found = Sites::default();
    for node in stream {
        object(node, &mut found, true)?;
    }
    Ok(found)
}

fn object<'n>(node: &'n Node, found: &mut Sites<'n>, list: bool) -> Result<(), Twice> {
    let text = |node: &'n Node, key| Ok::<_, Twice>(node.get(key)?.and_then(Node::as_str));
    let (version, kind) = (text(node, "apiVersion")?.unwrap_or_default(), text(node, "kind")?);
    if list && version == "v1" && kind == Some("List") {
        for item in node.get("items")?.map(Node::items).unwrap_or_default() {
            object(item, found, false)?;
        }
    }
    let metadata = node.get("metadata")?;
    let of_metadata = |key| metadata.map_or(Ok(None), |node| text(node, key));
    let owner = Owner { namespace: of_metadata("namespace")?, name: of_metadata("name")? };
    match kind {
        Some("EncryptedSecret") if version.starts_with("touchseal.dev/") => {
            owner.encrypted_secret(node, found)
        }
        Some("ConfigMap") if version == "v1" => owner.config_map(node, found),
        _ => Ok(()),
    }
}

#[derive(Clone, Copy)]
struct Owner<'n> {
    namespace: Option<&'n str>,
    name: Option<&'n str>,
}

impl<'n> Owner<'n> {
    fn encrypted_secret(self, node: &'n Node, found: &mut Sites<'n>) -> Result<(), Twice> {
        found.objects += 1;
        let documents = match node.get("spec")? {
            Some(spec) => spec.get("documents")?.map(Node::items).unwrap_or_default(),
            None => &[],
        };
        for (index, document) in documents.iter().enumerate() {
            let scalar = match document.get("sops")? {
                Some(Node::Scalar(scalar)) => Some(scalar),
                Some(Node::Alias) => None,
                _ => continue,
            };
            let of_document = |key| Ok::<_, Twice>(document.get(key)?.and_then(Node::as_str));
            let own_name = of_document("name")?;
            let told = of_document("format")?.and_then(|word| word.parse().ok());
            let format = told.or_else(|| own_name.and_then(Format::from_file_name));
            let name = own_name.map_or_else(|| format!("documents[{index}]"), str::to_owned);
            found.documents.push(self.site(name, format, scalar));
        }
        Ok(())
    }

    /// Of a ConfigMap only what is a document counts: it may hold anything else besides.
    fn config_map(self, node: &'n Node, found: &mut Sites<'n>) -> Result<(), Twice> {
        let Some(Node::Map(data)) = node.get("data")? else { return Ok(()) };
        let before = found.documents.len();
        for (key, value) in data {
            let (Some(key), Node::Scalar(scalar)) = (key.as_str(), value) else { continue };
            let site = self.site(key.to_owned(), Format::from_file_name(key), Some(scalar));
            if Document::parse(scalar.text.as_bytes(), site.format).is_ok() {
                found.documents.push(site);
            }
        }
        found.objects += usize::from(found.documents.len() > before);
        Ok(())
    }

    fn site(self, name: String, format: Option<Format>, scalar: Option<&'n Scalar>) -> Site<'n> {
        let detected = || Format::detect(scalar.map_or(&[], |scalar| scalar.text.as_bytes()));
        let format = format.unwrap_or_else(detected);
        Site { namespace: self.namespace, object: self.name, name, format, scalar }
    }
}
