//! One store per format: bytes to tree, tree to bytes. A store knows nothing of keys; where the metadata stands is all
//! it knows of encryption.

pub(crate) mod dotenv;
pub(crate) mod flat;
pub(crate) mod ini;
pub(crate) mod json;
pub(crate) mod yaml;

use crate::error::ParseError;
use crate::format::Format;
use crate::limits::{Budget, MAX_BYTES};
use crate::tree::{Entry, Map, Pair, Value, pairs};

/// The key, section or prefix the metadata is kept under.
pub(crate) const SOPS: &str = "sops";

/// An encrypted file taken apart: the data, and the metadata as a tree of its own.
pub(crate) struct Loaded {
    pub(crate) branches: Vec<Map>,
    pub(crate) metadata: Value,
    pub(crate) layout: Layout,
}

/// What of a document's looks sops leaves open.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layout {
    /// The names of the metadata's flat fields in ini, which sops writes in any order.
    pub(crate) fields: Vec<String>,
    /// Columns a level where sops was told so (`stores.yaml.indent`, `stores.json.indent`): it stays.
    pub(crate) indent: Option<usize>,
}

/// Parses an encrypted file.
pub(crate) fn load(text: &str, format: Format) -> Result<Loaded, ParseError> {
    let budget = &mut Budget::new();
    match format {
        Format::Yaml => {
            Budget::check_flow_signs(text)?;
            let mut loaded = nested(yaml::parse(text, budget)?, false)?;
            loaded.layout.indent = yaml::indentation(text);
            Ok(loaded)
        }
        Format::Json | Format::Binary => {
            let mut loaded = nested(vec![json::parse(text, budget)?], false)?;
            loaded.layout.indent = json::indentation(text);
            Ok(loaded)
        }
        Format::Ini => nested(vec![ini::parse(text, budget)?], true).and_then(|mut loaded| {
            if let Value::Map(map) = &loaded.metadata {
                loaded.layout.fields = pairs(map).map(|pair| pair.key.clone()).collect();
            }
            loaded.metadata = flat::unflatten(loaded.metadata)?;
            Ok(loaded)
        }),
        Format::Dotenv => dotenv::load(text, budget),
    }
}

/// Parses a plaintext file. `None` if it holds metadata, or what would be taken for it.
pub(crate) fn load_plain(bytes: &[u8], format: Format) -> Result<Option<Vec<Map>>, ParseError> {
    if bytes.len() > MAX_BYTES {
        return Err(ParseError::TooLarge { size: bytes.len() });
    }
    if format == Format::Binary {
        return Ok(Some(vec![json::envelope(bytes)]));
    }
    let text = text(bytes)?;
    let budget = &mut Budget::new();
    let branches = match format {
        Format::Yaml => {
            Budget::check_flow_signs(text)?;
            yaml::parse(text, budget)?
        }
        Format::Dotenv => vec![dotenv::parse(text, budget)?],
        Format::Ini => vec![ini::parse(text, budget)?],
        Format::Json | Format::Binary => vec![json::parse(text, budget)?],
    };
    if branches.is_empty() {
        return Err(ParseError::Empty);
    }
    branches.iter().try_for_each(|branch| crate::door::check(branch, format == Format::Ini))?;
    let taken = |key: &str| match format {
        Format::Dotenv => key.starts_with(dotenv::PREFIX),
        _ => key == SOPS,
    };
    let metadata = branches.iter().flat_map(pairs).any(|pair| taken(&pair.key));
    Ok((!metadata).then_some(branches))
}

/// The text of a file, without its byte order mark.
pub(crate) fn text(bytes: &[u8]) -> Result<&str, ParseError> {
    let text = std::str::from_utf8(bytes).map_err(|e| ParseError::NotUtf8 { offset: e.valid_up_to() })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// Prints an encrypted tree with its metadata. `None` if the tree does not fit the format.
pub(crate) fn emit_sealed(
    branches: &[Map],
    metadata: Value,
    layout: &Layout,
    format: Format,
) -> Option<Vec<u8>> {
    let sops = |value| Entry::Pair(Pair { key: SOPS.to_owned(), line: 0, value });
    let with = |branch: &Map, more: Map| -> Map { branch.iter().map(Entry::duplicate).chain(more).collect() };
    match format {
        Format::Yaml => {
            let whole: Vec<Map> =
                branches.iter().map(|branch| with(branch, vec![sops(metadata.duplicate())])).collect();
            Some(yaml::emit_indented(&whole, layout.indent))
        }
        Format::Json | Format::Binary => {
            let text = json::emit(&with(branches.first()?, vec![sops(json::with_nulls(metadata))]))?;
            Some(match layout.indent {
                Some(columns) => json::indented(&text, columns),
                None => text,
            })
        }
        Format::Dotenv => {
            let fields = flat::flatten(&metadata, dotenv::PREFIX)?;
            dotenv::emit(&with(branches.first()?, fields))
        }
        Format::Ini => {
            let mut fields = flat::flatten(&metadata, "")?;
            let place = |name: &str| {
                layout.fields.iter().position(|known| known == name).unwrap_or(layout.fields.len())
            };
            fields.sort_by_cached_key(|entry| match entry {
                Entry::Pair(pair) => place(&pair.key),
                Entry::Comment(_) => 0,
            });
            ini::emit(&with(branches.first()?, vec![sops(Value::Map(ini::on_one_line(fields)))]))
        }
    }
}

/// Prints a plaintext tree as `sops -d` prints it.
pub(crate) fn emit(branches: &[Map], format: Format) -> Option<Vec<u8>> {
    match format {
        Format::Yaml => Some(yaml::emit(branches)),
        Format::Json => json::emit(branches.first()?),
        Format::Dotenv => dotenv::emit(branches.first()?),
        Format::Ini => ini::emit(branches.first()?),
        Format::Binary => json::emit_binary(branches.first()?),
    }
}

/// Takes the metadata out of every branch. sops writes it to each and reads the first branch's.
fn nested(mut branches: Vec<Map>, sections_repeat: bool) -> Result<Loaded, ParseError> {
    let mut metadata = None;
    for (index, branch) in branches.iter_mut().enumerate() {
        crate::door::check(branch, sections_repeat)?;
        let mut blocks =
            branch.extract_if(.., |entry| matches!(entry, Entry::Pair(pair) if pair.key == SOPS));
        if let Some(Entry::Pair(pair)) = blocks.next()
            && index == 0
        {
            metadata = Some(pair.value);
        }
        if blocks.next().is_some() {
            return Err(ParseError::Metadata { field: SOPS.to_owned(), problem: "stands twice" });
        }
    }
    match metadata {
        Some(Value::Null) | None => Err(ParseError::NotEncrypted),
        Some(metadata) => Ok(Loaded { branches, metadata, layout: Layout::default() }),
    }
}
