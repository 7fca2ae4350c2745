//! `touchseal render`: the Secrets that a manifest makes, as the operator would make them, with a mask in the place of each
//! value. Values are shown where a person says so on a terminal.

mod show;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::Value;
use touchseal_crds::encrypted_secret::{DocumentSource, EncryptedSecretSpec, Template};
use touchseal_plan::mapping::{self, MappingError};
use touchseal_plan::template::{self, Composed, TemplateError};
use touchseal_plan::{Content, content};

use crate::args::Global;
use crate::documents::{Candidate, DocumentFile};
use crate::error::{Exit, Explain, Failure, one_line};
use crate::local_keys::{Identities, KeyArgs};
use crate::output::{self, Format};
use crate::terminal;

#[derive(clap::Args, Debug)]
pub struct RenderArgs {
    /// A manifest with EncryptedSecrets in it
    file: PathBuf,
    /// The one of this name alone
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Show the values, too; asks first
    #[arg(long)]
    show_values: bool,
    #[command(flatten)]
    keys: KeyArgs,
}

/// Why there is nothing to show. Names objects, documents and keys, never a value.
#[derive(Debug, thiserror::Error)]
enum RenderError {
    #[error("{0} holds no EncryptedSecret{1}")]
    None(String, String),
    #[error("EncryptedSecret {0}: it does not fit the schema")]
    Spec(String),
    #[error("EncryptedSecret {0}: its document {1} is in a ConfigMap")]
    Elsewhere(String, String),
    #[error("EncryptedSecret {0}: document {1}: {2}")]
    Mapping(String, String, MappingError),
    #[error("EncryptedSecret {0}: {1}")]
    Template(String, TemplateError),
    #[error("showing the values was not confirmed")]
    Unconfirmed,
    #[error("write to stdout")]
    Stdout(#[source] std::io::Error),
}

impl Explain for RenderError {
    fn hint(&self) -> String {
        match self {
            Self::None(..) => "give the manifest that touchseal wrap made".to_owned(),
            Self::Spec(_) => "touchseal verify says what is wrong with it".to_owned(),
            Self::Elsewhere(..) => "only what is in the manifest itself can be rendered".to_owned(),
            Self::Mapping(..) => "correct its mapping; crds/encryptedsecret.md shows each kind".to_owned(),
            Self::Template(..) => "correct the template; docs/templates.md says what there is".to_owned(),
            Self::Unconfirmed => {
                "nothing was shown; confirm on a terminal, or leave --show-values out".to_owned()
            }
            Self::Stdout(_) => "look at where stdout goes".to_owned(),
        }
    }

    fn exit(&self) -> Exit {
        if matches!(self, Self::Unconfirmed) { Exit::Refused } else { Exit::Failed }
    }
}

/// A Secret as it would be.
#[derive(Debug)]
struct Rendered {
    namespace: Option<String>,
    name: String,
    type_: String,
    content: Content,
    /// What is shown of composed keys in the place of their values, and the documents' keys that they are made of.
    composed: BTreeMap<String, (String, BTreeSet<String>)>,
}

/// Runs it.
pub fn run(args: &RenderArgs, global: &Global) -> Result<(), Failure> {
    let machine: &[Format] = if args.show_values { &[] } else { &[Format::Json, Format::Yaml] };
    output::allow(global.output, machine)?;
    let file = Candidate::named(&args.file).read_documents(None)?;
    let objects = objects(&file, args.name.as_deref())?;
    let mut keys = Identities::new(&args.keys, global, std::slice::from_ref(&args.file));
    let mut rendered = Vec::new();
    for object in &objects {
        rendered.push(render(&file, object, &mut keys, global.namespace.as_deref())?);
    }
    if args.show_values {
        let count: usize = rendered.iter().map(|one| one.content.data.len()).sum();
        let question = format!("Show {count} values of {} in plain text?", args.file.display());
        return match terminal::confirm(&question) {
            Ok(true) => Ok(output::print_secret(&show::values(&rendered)).map_err(RenderError::Stdout)?),
            Ok(false) | Err(_) => Err(RenderError::Unconfirmed.into()),
        };
    }
    output::print(&match global.output {
        Format::Table => show::masked(&rendered),
        format => output::machine(format, &show::report(&rendered))?,
    })
}

/// An EncryptedSecret of the manifest.
struct Object {
    namespace: Option<String>,
    name: String,
    spec: EncryptedSecretSpec,
}

fn objects(file: &DocumentFile, wanted: Option<&str>) -> Result<Vec<Object>, Failure> {
    let text = file.text()?;
    let stream = crate::yaml::all_from_str(&text).unwrap_or_default();
    let mut found = Vec::new();
    for value in stream.iter().flat_map(listed) {
        let text = |path: &str| value.pointer(path).and_then(Value::as_str).unwrap_or_default();
        let ours = text("/kind") == "EncryptedSecret" && text("/apiVersion").starts_with("touchseal.dev/");
        let name = text("/metadata/name");
        if !ours || wanted.is_some_and(|wanted| wanted != name) {
            continue;
        }
        let spec = serde_json::from_value(value.get("spec").cloned().unwrap_or_default());
        let spec = spec.map_err(|_| RenderError::Spec(one_line(name)))?;
        let namespace = Some(text("/metadata/namespace")).filter(|name| !name.is_empty()).map(str::to_owned);
        found.push(Object { namespace, name: name.to_owned(), spec });
    }
    if found.is_empty() {
        let named = wanted.map(|name| format!(" {}", one_line(name))).unwrap_or_default();
        return Err(RenderError::None(file.path().display().to_string(), named).into());
    }
    Ok(found)
}

fn listed(object: &Value) -> Vec<&Value> {
    match (object.get("kind").and_then(Value::as_str), object.get("items").and_then(Value::as_array)) {
        (Some("List"), Some(items)) => items.iter().collect(),
        _ => vec![object],
    }
}

/// Opens an object's documents, maps and composes.
fn render(
    file: &DocumentFile,
    object: &Object,
    keys: &mut Identities,
    namespace: Option<&str>,
) -> Result<Rendered, Failure> {
    let shown = one_line(&object.name);
    let mut content = Content::default();
    for (index, document) in object.spec.documents.iter().enumerate() {
        let title = document.name.clone().unwrap_or_else(|| format!("documents[{index}]"));
        let title = one_line(&title);
        let place = place(file, object, document)
            .ok_or_else(|| RenderError::Elsewhere(shown.clone(), title.clone()))?;
        let opened = file.open(place, keys, namespace)?;
        mapping::add(&mut content, &opened.plain, document.mapping.as_ref(), document.name.as_deref())
            .map_err(|error| RenderError::Mapping(shown.clone(), title, error))?;
    }
    let target = object.spec.target.as_ref();
    let (content, composed) = match target.and_then(|target| target.template.as_ref()) {
        Some(template) => {
            compose(content, template).map_err(|error| RenderError::Template(shown.clone(), error))?
        }
        None => (content, BTreeMap::new()),
    };
    let type_ = target.and_then(|target| target.type_.clone()).or_else(|| content.type_.clone());
    Ok(Rendered {
        namespace: object.namespace.clone().or_else(|| namespace.map(str::to_owned)),
        name: target.and_then(|target| target.name.clone()).unwrap_or_else(|| object.name.clone()),
        type_: type_.unwrap_or_else(|| content::OPAQUE.to_owned()),
        content,
        composed,
    })
}

type Shapes = BTreeMap<String, (String, BTreeSet<String>)>;

fn compose(content: Content, template: &Template) -> Result<(Content, Shapes), TemplateError> {
    let mut masked = template::masked(&content, template)?;
    let Composed { content, made_of } = template::compose(content, template)?;
    let shape = |(key, names): (String, BTreeSet<String>)| {
        let text = masked.remove(&key).unwrap_or_default();
        (key, (text, names))
    };
    Ok((content, made_of.into_iter().map(shape).collect()))
}

/// Where in the file a document of an object stands.
fn place(file: &DocumentFile, object: &Object, document: &DocumentSource) -> Option<usize> {
    let text = document.sops.as_ref()?;
    let is_it = |one: &crate::documents::InPlace| one.text == *text && one.namespace == object.namespace;
    file.documents().iter().position(is_it)
}

#[cfg(test)]
#[path = "render/tests.rs"]
mod tests;
