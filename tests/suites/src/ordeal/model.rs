//! What people asked for, object by object, and what must hold of every Secret at any moment: it holds something that was asked for,
//! its number never goes back, and no number stands for two contents.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};

use crate::world::value;

/// Namespace and name.
pub type Key = (String, String);

/// What drift that people make begins with; no document says so.
pub const EDITED: &str = "edited by hand";

/// Everything that was asked for.
#[derive(Debug, Default)]
pub struct Model {
    /// EncryptedSecrets that are or were.
    pub objects: BTreeMap<Key, Object>,
    /// Secrets of others as they were made.
    pub foreign: BTreeMap<Key, Value>,
    /// Whether two count, each in a ledger of its own: each goes on from what the other has given out, so numbers are left out,
    /// and a status may tell the other's.
    pub two_ledgers: bool,
}

/// One EncryptedSecret.
#[derive(Debug, Default)]
pub struct Object {
    /// Contents in the order in which they were asked for; the last one is wanted.
    pub contents: Vec<u64>,
    /// Whether the EncryptedSecret is there.
    pub there: bool,
    /// Whether it waits for a foreign Secret to make way.
    pub conflict: bool,
    /// The number that was found when all was right, and of which of the contents.
    pub settled: Option<(i64, usize)>,
    /// The content of every number that was ever seen.
    pub numbers: BTreeMap<i64, u64>,
}

/// One who looks at Secrets in the order in which they change: numbers may not go back before these eyes.
#[derive(Debug, Default)]
pub struct Eyes(HashMap<Key, i64>);

impl Model {
    /// Asks for content under a name.
    pub fn ask(&mut self, key: &Key, content: u64) {
        let object = self.objects.entry(key.clone()).or_default();
        object.there = true;
        object.contents.push(content);
    }

    /// What must hold of this Secret whatever happens around it.
    ///
    /// # Errors
    /// What does not hold.
    pub fn look(&mut self, secret: &Value, eyes: &mut Eyes) -> Result<(), String> {
        let key = key(secret);
        let shown = format!("Secret {}/{}", key.0, key.1);
        if let Some(made) = self.foreign.get(&key) {
            return match made == secret {
                true => Ok(()),
                false => Err(format!("{shown} is somebody else's and was touched: {made} became {secret}")),
            };
        }
        let Some(number) = number(secret) else { return Ok(()) };
        let object = self.objects.get_mut(&key).ok_or_else(|| format!("{shown}: nobody asked for it"))?;
        let highest = eyes.0.entry(key.clone()).or_default();
        if number < *highest {
            return Err(format!("{shown}: number {number} after number {highest}"));
        }
        *highest = number;
        let held = value(secret, "password").unwrap_or_default();
        let held = String::from_utf8_lossy(&held);
        if held.starts_with(EDITED) || held.is_empty() {
            return Ok(()); // by hand, and about to be put right
        }
        let content = held.strip_prefix(&text(&key, "")).and_then(|rest| rest.parse::<u64>().ok());
        let content = content.filter(|content| object.contents.contains(content));
        let content = content.ok_or_else(|| format!("{shown} holds {held:?}, which nobody asked for"))?;
        match object.numbers.insert(number, content) {
            Some(before) if before != content => {
                Err(format!("{shown}: number {number} stands for content {before} and for content {content}"))
            }
            _ => Ok(()),
        }
    }
}

impl Object {
    /// The number that was found at rest, against the one before: each change of content adds at most one (or more, with gaps),
    /// none adds none, and content that is new has a new one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn settle(&mut self, number: i64, gaps: bool) -> Result<(), String> {
        let last = self.contents.len() - 1;
        let (before, at) = self.settled.unwrap_or((0, 0));
        let changes = self.contents[at..].windows(2).filter(|pair| pair[0] != pair[1]).count();
        let changes = i64::try_from(changes + usize::from(self.settled.is_none())).unwrap_or(i64::MAX);
        let same = self.settled.is_some() && self.contents[at] == self.contents[last];
        let most = if gaps { i64::MAX } else { before + changes };
        // Back to the content before: either nothing in between was served, or something was, and it is a new content again.
        let right = if same {
            number == before || (changes >= 2 && (before + 2..=most).contains(&number))
        } else {
            (before + 1..=most).contains(&number)
        };
        self.settled = Some((number, last));
        match right {
            true => Ok(()),
            false => {
                Err(format!("number {number} after number {before} and {changes} changes (the same: {same})"))
            }
        }
    }
}

/// Which object it is.
pub fn key(object: &Value) -> Key {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    (text("namespace"), text("name"))
}

/// The number that a Secret of ours bears.
pub fn number(secret: &Value) -> Option<i64> {
    secret["metadata"]["annotations"]["touchseal.dev/secret-generation"].as_str()?.parse().ok()
}

/// The value that differs from content to content, and from object to object.
pub fn text(key: &Key, content: impl std::fmt::Display) -> String {
    format!("{}/{} content {content}", key.0, key.1)
}

/// A document's plaintext.
pub fn plaintext(key: &Key, content: u64) -> String {
    format!("password: {}\nuser: {}\n", text(key, content), key.1)
}

/// The data of the Secret, and nothing else.
pub fn data(key: &Key, content: u64) -> Value {
    use base64::Engine as _;
    let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    json!({ "password": encode(&text(key, content)), "user": encode(&key.1) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(number: i64, content: u64) -> Value {
        let key = ("a".to_owned(), "app".to_owned());
        json!({ "metadata": { "namespace": "a", "name": "app",
                              "annotations": { "touchseal.dev/secret-generation": number.to_string() } },
                "data": data(&key, content) })
    }

    fn model(contents: &[u64]) -> Model {
        let mut model = Model::default();
        contents.iter().for_each(|content| model.ask(&("a".to_owned(), "app".to_owned()), *content));
        model
    }

    #[test]
    fn what_may_never_be_is_seen() {
        let (mut model, mut eyes) = (model(&[1, 2]), Eyes::default());
        model.look(&secret(1, 1), &mut eyes).unwrap();
        model.look(&secret(2, 2), &mut eyes).unwrap();
        let said = model.look(&secret(1, 1), &mut eyes).unwrap_err();
        assert!(said.contains("number 1 after number 2"), "{said}");
        let said = model.look(&secret(2, 1), &mut Eyes::default()).unwrap_err();
        assert!(said.contains("stands for content 2 and for content 1"), "{said}");
        let said = model.look(&secret(3, 7), &mut Eyes::default()).unwrap_err();
        assert!(said.contains("which nobody asked for"), "{said}");
        let mut other = secret(3, 2);
        other["metadata"]["name"] = json!("other");
        assert!(model.look(&other, &mut Eyes::default()).unwrap_err().contains("nobody asked for it"));
        model.foreign.insert(key(&other), other.clone());
        model.look(&other, &mut Eyes::default()).unwrap();
        other["metadata"]["resourceVersion"] = json!("2");
        assert!(model.look(&other, &mut Eyes::default()).unwrap_err().contains("was touched"));
    }

    #[test]
    fn numbers_at_rest_follow_the_changes() {
        let settle = |before: Option<(i64, usize)>, contents: &[u64], number: i64| {
            let contents = contents.to_vec();
            Object { contents, settled: before, ..Object::default() }.settle(number, false).is_ok()
        };
        // At first: as many as there were contents, at most.
        assert!(settle(None, &[1, 2, 3], 1) && settle(None, &[1, 2, 3], 3));
        assert!(!settle(None, &[1, 2, 3], 0) && !settle(None, &[1, 2, 3], 4) && !settle(None, &[1, 1], 2));
        // Equal content keeps its number, new content has a new one.
        assert!(settle(Some((5, 0)), &[1, 1, 1], 5) && !settle(Some((5, 0)), &[1, 1, 1], 6));
        assert!(settle(Some((5, 0)), &[1, 2], 6) && !settle(Some((5, 0)), &[1, 2], 5));
        assert!(!settle(Some((5, 0)), &[1, 2], 7) && !settle(Some((5, 0)), &[1, 2], 4));
        // There and back: both were served, or neither.
        assert!(settle(Some((5, 0)), &[1, 2, 1], 5) && settle(Some((5, 0)), &[1, 2, 1], 7));
        assert!(!settle(Some((5, 0)), &[1, 2, 1], 6) && !settle(Some((5, 0)), &[1, 2, 1], 8));
    }
}
