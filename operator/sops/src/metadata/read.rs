//! Reads the block. The flat formats are unflattened to the same shape first, and have nothing but strings.

use super::{AgeKey, KeyGroup, Metadata, OtherKey, PgpKey, Selector};
use crate::error::ParseError;
use crate::limits::{MAX_GROUPS, MAX_PATTERN, MAX_RECIPIENTS, MAX_WRAPPED_KEY};
use crate::tree::{Item, Kind, Map, Scalar, Value, pairs};

/// Reads the metadata. `flat` formats have nothing but strings.
pub(crate) fn read(block: &Value, flat: bool) -> Result<Metadata, ParseError> {
    let Value::Map(map) = block else { return Err(wrong("sops", "not a map")) };
    let root = Fields { map, name: String::new() };
    let groups = groups(&root)?;
    let threshold = match root.integer("shamir_threshold", flat)? {
        _ if groups.len() == 1 => 1,
        None | Some(0) => groups.len(),
        Some(n) if n >= 2 && n <= groups.len() => n,
        Some(_) => return Err(wrong("shamir_threshold", "does not fit the number of key groups")),
    };
    let last_modified = root.text("lastmodified")?.ok_or_else(|| wrong("lastmodified", "missing"))?;
    if !crate::time::is_rfc3339(last_modified) {
        return Err(wrong("lastmodified", "not an RFC 3339 time"));
    }
    Ok(Metadata {
        groups,
        threshold,
        last_modified: last_modified.to_owned(),
        mac: root.text("mac")?.unwrap_or_default().into(),
        selector: selector(&root)?,
        mac_only_encrypted: root.boolean("mac_only_encrypted", flat)?,
        version: root.text("version")?.unwrap_or_default().to_owned(),
    })
}

fn wrong(field: &str, problem: &'static str) -> ParseError {
    ParseError::Metadata { field: field.to_owned(), problem }
}

fn selector(root: &Fields<'_>) -> Result<Selector, ParseError> {
    let mut found = None;
    for (field, rule) in Selector::ALL {
        let Some(text) = root.text(field)?.filter(|text| !text.is_empty()) else { continue };
        if text.len() > MAX_PATTERN {
            return Err(wrong(field, "too long"));
        }
        if found.replace(rule(text.to_owned())).is_some() {
            return Err(wrong(field, "more than one rule for what is encrypted"));
        }
    }
    Ok(found.unwrap_or_default())
}

fn groups(root: &Fields<'_>) -> Result<Vec<KeyGroup>, ParseError> {
    let mut left = MAX_RECIPIENTS;
    let top = group(root, &mut left)?;
    let listed = root.list("key_groups")?;
    if !top.age.is_empty() || !top.others.is_empty() {
        return Ok(vec![top]);
    }
    if listed.len() > MAX_GROUPS {
        return Err(wrong("key_groups", "too many"));
    }
    let groups = listed.iter().map(|fields| group(fields, &mut left)).collect::<Result<Vec<_>, _>>()?;
    if groups.is_empty() {
        return Err(wrong("sops", "no keys are listed"));
    }
    Ok(groups)
}

fn group(fields: &Fields<'_>, left: &mut usize) -> Result<KeyGroup, ParseError> {
    let mut take = |field: &str, count: usize| {
        *left = left.checked_sub(count).ok_or_else(|| wrong(&fields.named(field), "too many keys"))?;
        Ok(())
    };
    let mut group = KeyGroup::default();
    for kind in OtherKey::ALL {
        let listed = fields.list(kind.field())?;
        take(kind.field(), listed.len())?;
        group.others.extend(std::iter::repeat_n(kind, listed.len()));
        if kind == OtherKey::Pgp {
            group.pgp.extend(listed.iter().filter_map(pgp));
        }
    }
    let listed = fields.list("age")?;
    take("age", listed.len())?;
    for key in listed {
        let recipient = key.text("recipient")?.unwrap_or_default();
        let wrapped = key.text("enc")?.ok_or_else(|| wrong(&key.named("enc"), "missing"))?;
        if recipient.len() > MAX_WRAPPED_KEY || wrapped.len() > MAX_WRAPPED_KEY {
            return Err(wrong(&key.named("enc"), "too long"));
        }
        group.age.push(AgeKey { recipient: recipient.to_owned(), wrapped: wrapped.to_owned() });
    }
    Ok(group)
}

/// An entry that is not whole is one that nobody here can open, and no reason to refuse the document.
fn pgp(key: &Fields<'_>) -> Option<PgpKey> {
    let text = |field| key.text(field).ok().flatten().filter(|text| text.len() <= MAX_WRAPPED_KEY);
    Some(PgpKey { fingerprint: text("fp")?.to_owned(), message: text("enc")?.to_owned() })
}

/// A whole number, which old versions of sops wrote as a floating point one.
pub(super) fn whole(text: &str) -> Option<usize> {
    let digits = match text.split_once('.') {
        Some((digits, fraction)) if fraction.bytes().all(|b| b == b'0') => digits,
        Some(_) => return None,
        None => text,
    };
    digits.parse().ok()
}

/// A map of the metadata and its name for messages.
struct Fields<'a> {
    map: &'a Map,
    name: String,
}

impl<'a> Fields<'a> {
    fn named(&self, field: &str) -> String {
        if self.name.is_empty() { field.to_owned() } else { format!("{}.{field}", self.name) }
    }

    fn wrong(&self, field: &str, problem: &'static str) -> ParseError {
        wrong(&self.named(field), problem)
    }

    fn get(&self, field: &str) -> Option<&'a Value> {
        pairs(self.map).find(|pair| pair.key == field).map(|pair| &pair.value)
    }

    fn scalar(&self, field: &str, problem: &'static str) -> Result<Option<&'a Scalar>, ParseError> {
        match self.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Scalar(scalar)) => Ok(Some(scalar)),
            Some(_) => Err(self.wrong(field, problem)),
        }
    }

    fn text(&self, field: &str) -> Result<Option<&'a str>, ParseError> {
        const PROBLEM: &str = "not a string";
        let Some(scalar) = self.scalar(field, PROBLEM)? else { return Ok(None) };
        match scalar.kind {
            // A time is a string that a formatter took the quotes from.
            Kind::Str | Kind::Time => {
                scalar.text.as_str().map(Some).ok_or_else(|| self.wrong(field, PROBLEM))
            }
            _ => Err(self.wrong(field, PROBLEM)),
        }
    }

    fn boolean(&self, field: &str, flat: bool) -> Result<bool, ParseError> {
        const PROBLEM: &str = "not true or false";
        let Some(scalar) = self.scalar(field, PROBLEM)? else { return Ok(false) };
        match (scalar.kind, scalar.text.as_bytes()) {
            (Kind::Bool, text) => Ok(text == b"True"),
            (Kind::Str, b"true") if flat => Ok(true),
            (Kind::Str, b"false") if flat => Ok(false),
            _ => Err(self.wrong(field, PROBLEM)),
        }
    }

    fn integer(&self, field: &str, flat: bool) -> Result<Option<usize>, ParseError> {
        const PROBLEM: &str = "not a whole number";
        let Some(scalar) = self.scalar(field, PROBLEM)? else { return Ok(None) };
        let numeric = matches!(scalar.kind, Kind::Int | Kind::Float) || (flat && scalar.kind == Kind::Str);
        let number = scalar.text.as_str().filter(|_| numeric).and_then(whole);
        number.map(Some).ok_or_else(|| self.wrong(field, PROBLEM))
    }

    fn list(&self, field: &str) -> Result<Vec<Fields<'a>>, ParseError> {
        let items = match self.get(field) {
            None | Some(Value::Null) => return Ok(Vec::new()),
            Some(Value::List(items)) => items,
            Some(_) => return Err(self.wrong(field, "not a list")),
        };
        let values = items.iter().filter_map(|item| match item {
            Item::Value(value) => Some(value),
            Item::Comment(_) => None,
        });
        values
            .enumerate()
            .map(|(index, value)| match value {
                Value::Map(map) => Ok(Fields { map, name: self.named(&format!("{field}[{index}]")) }),
                _ => Err(self.wrong(field, "not a list of maps")),
            })
            .collect()
    }
}
