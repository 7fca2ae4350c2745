//! Templates: Secret keys composed of the values that the documents give. minijinja parses and renders; what a template
//! could do and cost is judged before any of it runs (`judge`), so that whoever may write one can ask for no more than that.
//!
//! A message holds names, lines and words of the template, never a value.

mod error;
mod filters;
mod judge;
mod outline;
mod parse;
mod render;
mod serving;

use std::collections::{BTreeMap, BTreeSet};

use touchseal_crds::encrypted_secret::{MergePolicy, Template};

pub use self::error::{TemplateError, Wrong};
use self::judge::{Judge, Known};
pub use self::outline::{Outline, outline};
use self::parse::MAX_TEXT;
use self::render::{Show, Values};
pub use self::serving::Serving;
use crate::content::Content;
use crate::mapping::{self, MAX_SECRET_BYTES};

/// Most composed keys of one Secret, and most bytes of their templates. The schema says so too, but an object may have
/// been stored under an older one.
const MAX_COMPOSED: usize = 64;
const MAX_TEXTS: usize = 256 * 1024;
/// What all templates of one Secret may come to: bytes that are read, made or written. Some hundredths of a second.
const MAX_COST: u64 = 8 * 1024 * 1024;

/// A Secret's content with what templates made of it.
#[derive(Debug)]
pub struct Composed {
    /// All keys of the Secret.
    pub content: Content,
    /// For each composed key the documents' keys that it is made of.
    pub made_of: BTreeMap<String, BTreeSet<String>>,
}

/// Composes. Nothing is given out unless every template comes to its end.
///
/// # Errors
/// A template that does not parse, asks for what there is not, or costs too much.
pub fn compose(content: Content, template: &Template) -> Result<Composed, TemplateError> {
    let judged = judge_all(&content, template)?;
    let values = Values::of(&content, &judged.values().flatten().cloned().collect());
    let mut composed = BTreeMap::new();
    for (key, text) in &template.data {
        let bytes =
            render::render(text, &values, Show::Values, MAX_SECRET_BYTES).map_err(|wrong| wrong.of(key))?;
        composed.insert(key, bytes);
    }
    let mut whole = match template.merge_policy.unwrap_or_default() {
        MergePolicy::Merge => content,
        MergePolicy::Replace => Content { type_: content.type_.clone(), ..Content::default() },
    };
    for (key, bytes) in composed {
        whole.take(key);
        mapping::put(&mut whole, key, bytes).map_err(|error| TemplateError::of_key(key, error))?;
    }
    Ok(Composed { content: whole, made_of: judged })
}

/// What the composed keys look like with a mask in the place of whatever is put in. Conditions are followed as they are.
///
/// # Errors
/// As [`compose`].
pub fn masked(content: &Content, template: &Template) -> Result<BTreeMap<String, String>, TemplateError> {
    let judged = judge_all(content, template)?;
    let values = Values::of(content, &judged.values().flatten().cloned().collect());
    let masked = |(key, text): (&String, &String)| {
        // A mask may be longer than the value it stands for.
        let bytes = render::render(text, &values, Show::Masks, 2 * MAX_SECRET_BYTES);
        let bytes = bytes.map_err(|wrong| wrong.of(key))?;
        Ok((key.clone(), String::from_utf8_lossy(&bytes).into_owned()))
    };
    template.data.iter().map(masked).collect()
}

/// What is wrong with templates that can be seen without a key: with each one, by the names that the documents give. Without
/// `names` any name counts as given.
pub fn check(template: &Template, names: Option<&BTreeSet<String>>) -> Vec<TemplateError> {
    let known = Known::without_values(names);
    let mut found: Vec<TemplateError> = bounds(template).err().into_iter().collect();
    for (key, text) in &template.data {
        let judged = parse::parse(text).and_then(|parsed| {
            let mut judge = Judge::new(&known, MAX_COST);
            judge.template(&parsed)
        });
        found.extend(judged.err().map(|wrong| wrong.of(key)));
        found.extend(mapping::check_key(key).err().map(|error| TemplateError::of_key(key, error)));
    }
    found
}

/// The documents' keys that each template uses.
fn judge_all(
    content: &Content,
    template: &Template,
) -> Result<BTreeMap<String, BTreeSet<String>>, TemplateError> {
    bounds(template)?;
    let known = Known::of(content);
    let mut left = MAX_COST;
    let mut all = BTreeMap::new();
    for (key, text) in &template.data {
        let parsed = parse::parse(text).map_err(|wrong| wrong.of(key))?;
        let mut judge = Judge::new(&known, left);
        judge.template(&parsed).map_err(|wrong| wrong.of(key))?;
        left = judge.left();
        all.insert(key.clone(), judge.into_used().names);
    }
    Ok(all)
}

fn bounds(template: &Template) -> Result<(), TemplateError> {
    let texts: usize = template.data.values().map(String::len).sum();
    let first = template.data.keys().next().map(String::as_str).unwrap_or_default();
    if template.data.len() > MAX_COMPOSED || texts > MAX_TEXTS {
        return Err(TemplateError { key: first.to_owned(), line: None, wrong: Wrong::TooManyTemplates });
    }
    let long = template.data.iter().find(|(_, text)| text.len() > MAX_TEXT);
    match long {
        Some((key, _)) => Err(TemplateError { key: key.clone(), line: None, wrong: Wrong::LongText }),
        None => Ok(()),
    }
}

#[cfg(test)]
#[path = "template_tests.rs"]
mod tests;
