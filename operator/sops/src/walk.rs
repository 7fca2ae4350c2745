//! The one walk over a tree, for both directions: selects what is encrypted, has it turned (opened or sealed), and
//! computes the MAC over the plain values in document order.

mod look;
mod open;
mod rule;
mod seal;

use sha2::{Digest, Sha512};

use crate::error::Path;
use crate::metadata::Selector;
use crate::text::Text;
use crate::tree::{Entry, Item, Kind, Map, Pair, Scalar, Value};

pub use look::{Exposure, Inspection};
pub(crate) use open::decrypt;
use rule::Rule;
pub(crate) use rule::RuleError;
pub(crate) use seal::{Kept, encrypt};

/// What is done to the values that are encrypted, or are to be.
trait Turn {
    type Error: From<RuleError>;

    /// A scalar other than the empty string, which sops leaves as it is.
    fn scalar(&mut self, scalar: &Scalar, place: &Place<'_>) -> Result<Scalar, Self::Error>;

    /// A comment of a map, or one of a list that is marked as such.
    fn comment(&mut self, text: &Text, place: &Place<'_>) -> Result<Text, Self::Error>;

    /// A comment of a list. It is encrypted to a string among the values, told by its type.
    fn list_comment(&mut self, text: &Text, place: &Place<'_>) -> Result<Item, Self::Error>;

    /// A string of a list that is such a comment.
    fn disguised(&mut self, scalar: &Scalar, place: &Place<'_>) -> Result<Option<Item>, Self::Error>;

    /// Checks what a comment became. `spent` is the rule's budget.
    fn check(
        &self,
        rule: &Rule<'_>,
        turned: &Text,
        place: &Place<'_>,
        spent: &mut usize,
    ) -> Result<(), Self::Error>;

    /// Told of comments that the rule leaves as they are.
    fn clear_comment(&mut self, _text: &Text, _place: &Place<'_>) {}

    /// Told of values that it leaves.
    fn clear_value(&mut self, _text: &Text, _place: &Place<'_>) {}

    /// Which of the two the MAC covers.
    fn plain<'t>(before: &'t Scalar, after: &'t Scalar) -> &'t Scalar;
}

/// Where in the document the walk is.
struct Place<'a> {
    /// `key1:key2:`, the additional data of a value.
    path: Vec<u8>,
    keys: Vec<&'a str>,
    line: u32,
}

impl Place<'_> {
    /// For messages.
    fn shown(&self) -> Path {
        Path::new(self.keys.iter().copied(), self.line)
    }

    /// The additional data of a comment, which may stand at the top.
    fn of_comment(&self) -> &[u8] {
        if self.path.is_empty() { b":" } else { &self.path }
    }
}

/// Walks over all branches. Gives them turned, and the hash of the plain values.
fn walk<T: Turn>(
    branches: &[Map],
    selector: &Selector,
    mac_only_encrypted: bool,
    turn: T,
) -> Result<(Vec<Map>, [u8; HASH]), T::Error> {
    let mut walk = Walk {
        turn,
        rule: Rule::compile(selector)?,
        mac: Sha512::new(),
        mac_only_encrypted,
        matched_bytes: 0,
        place: Place { path: Vec::new(), keys: Vec::new(), line: 0 },
    };
    if mac_only_encrypted {
        walk.mac.update(MAC_ONLY_ENCRYPTED);
    }
    let start = State { matched: false };
    let turned = branches.iter().map(|branch| walk.map(branch, start)).collect::<Result<_, _>>()?;
    let mut hash = [0; HASH];
    for (digits, byte) in hash.chunks_exact_mut(2).zip(walk.mac.finalize()) {
        const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
        digits.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
    Ok((turned, hash))
}

/// SHA-512 in hexadecimal digits, which is what is encrypted as the MAC.
const HASH: usize = 128;

/// SHA-256 of `sops`: what a MAC over encrypted values only starts with, so that the two kinds never agree.
const MAC_ONLY_ENCRYPTED: [u8; 32] = [
    0x8a, 0x3f, 0xd2, 0xad, 0x54, 0xce, 0x66, 0x52, 0x7b, 0x10, 0x34, 0xf3, 0xd1, 0x47, 0xbe, 0x0b, 0x0b,
    0x97, 0x5b, 0x3b, 0xf4, 0x4f, 0x72, 0xc6, 0xfd, 0xad, 0xec, 0x81, 0x76, 0xf2, 0x7d, 0x69,
];

/// Whether something on the way down matched the rule: a key of the path, or an active comment of a level above.
#[derive(Clone, Copy)]
struct State {
    matched: bool,
}

struct Walk<'a, T> {
    turn: T,
    rule: Rule<'a>,
    mac: Sha512,
    mac_only_encrypted: bool,
    matched_bytes: usize,
    place: Place<'a>,
}

impl<'a, T: Turn> Walk<'a, T> {
    fn map(&mut self, entries: &'a Map, above: State) -> Result<Map, T::Error> {
        let mut turned = Vec::with_capacity(entries.len());
        let mut level = above;
        for entry in entries {
            turned.push(match entry {
                Entry::Comment(text) if self.comment_is_encrypted(text, &mut level)? => {
                    let comment = self.turn.comment(text, &self.place)?;
                    self.turn.check(&self.rule, &comment, &self.place, &mut self.matched_bytes)?;
                    Entry::Comment(comment)
                }
                Entry::Comment(text) => {
                    self.turn.clear_comment(text, &self.place);
                    Entry::Comment(text.duplicate())
                }
                Entry::Pair(pair) => {
                    let matched =
                        level.matched || self.rule.matches_key(&pair.key, &mut self.matched_bytes)?;
                    level = above;
                    let length = self.place.path.len();
                    self.place.path.extend_from_slice(pair.key.as_bytes());
                    self.place.path.push(b':');
                    self.place.keys.push(&pair.key);
                    self.place.line = pair.line;
                    let value = self.value(&pair.value, State { matched })?;
                    self.place.keys.pop();
                    self.place.path.truncate(length);
                    Entry::Pair(Pair { key: pair.key.clone(), line: pair.line, value })
                }
            });
        }
        Ok(turned)
    }

    fn value(&mut self, value: &'a Value, state: State) -> Result<Value, T::Error> {
        Ok(match value {
            Value::Null => Value::Null,
            Value::Scalar(scalar) => Value::Scalar(self.scalar(scalar, state)?),
            Value::Map(entries) => Value::Map(self.map(entries, state)?),
            Value::List(items) => Value::List(self.list(items, state)?),
        })
    }

    fn list(&mut self, items: &'a [Item], state: State) -> Result<Vec<Item>, T::Error> {
        let mut turned = Vec::with_capacity(items.len());
        let mut level = state;
        for item in items {
            turned.push(match item {
                Item::Comment(text) if self.comment_is_encrypted(text, &mut level)? => {
                    let item = self.turn.list_comment(text, &self.place)?;
                    if let Item::Comment(text) | Item::Value(Value::Scalar(Scalar { text, .. })) = &item {
                        self.turn.check(&self.rule, text, &self.place, &mut self.matched_bytes)?;
                    }
                    item
                }
                Item::Comment(text) => {
                    self.turn.clear_comment(text, &self.place);
                    Item::Comment(text.duplicate())
                }
                Item::Value(value) => {
                    let level = std::mem::replace(&mut level, state);
                    self.item(value, level)?
                }
            });
        }
        Ok(turned)
    }

    fn item(&mut self, value: &'a Value, state: State) -> Result<Item, T::Error> {
        if let Value::Scalar(scalar) = value
            && scalar.kind == Kind::Str
            && self.rule.encrypts(state.matched)
            && let Some(comment) = self.turn.disguised(scalar, &self.place)?
        {
            return Ok(comment);
        }
        self.value(value, state).map(Item::Value)
    }

    fn scalar(&mut self, scalar: &Scalar, state: State) -> Result<Scalar, T::Error> {
        let encrypted = self.rule.encrypts(state.matched);
        let empty = scalar.kind == Kind::Str && scalar.text.is_empty();
        let turned = if encrypted && !empty {
            self.turn.scalar(scalar, &self.place)?
        } else {
            if !encrypted {
                self.turn.clear_value(&scalar.text, &self.place);
            }
            Scalar { kind: scalar.kind, text: scalar.text.duplicate() }
        };
        if encrypted || !self.mac_only_encrypted {
            self.mac.update(T::plain(scalar, &turned).text.as_bytes());
        }
        Ok(turned)
    }

    /// Comments are no part of the MAC. One that makes the rule encrypt what follows is not encrypted itself.
    fn comment_is_encrypted(&mut self, text: &Text, level: &mut State) -> Result<bool, RuleError> {
        let before = level.matched;
        level.matched |= self.rule.matches_comment(text, &mut self.matched_bytes)?;
        let matched = if matches!(self.rule, Rule::EncryptedComment(_)) { before } else { level.matched };
        Ok(self.rule.encrypts(matched))
    }
}
