//! Which values of an opened document were ciphertext in it: what its key keeps, and not what anybody could read anyway.

use crate::cipher;
use crate::document::Document;
use crate::lookup::PathSegment;
use crate::plain::{Node, Plain};
use crate::tree::{Item, Map, Value, pairs};

/// A value that was encrypted, and its place.
#[derive(Clone, Debug)]
pub struct Sealed<'p> {
    /// Which YAML document of the file, 0-based; 0 in every other format.
    pub document: usize,
    pub path: Vec<PathSegment<'p>>,
    pub node: Node<'p>,
}

impl Document {
    /// The encrypted values of a document, as they are in the `plain` that it was opened to, in order. Comments do not count.
    pub fn sealed<'p>(&self, plain: &'p Plain) -> Vec<Sealed<'p>> {
        let mut found = Vec::new();
        for (document, (cipher, plain)) in self.branches().iter().zip(plain.branches()).enumerate() {
            let mut walk = Walk { document, path: Vec::new(), found: &mut found };
            walk.map(cipher, plain);
        }
        found
    }
}

struct Walk<'f, 'p> {
    document: usize,
    path: Vec<PathSegment<'p>>,
    found: &'f mut Vec<Sealed<'p>>,
}

/// As deep as the limits let a document be.
impl<'p> Walk<'_, 'p> {
    fn map(&mut self, cipher: &Map, plain: &'p Map) {
        for (cipher, plain) in pairs(cipher).zip(pairs(plain)) {
            self.below(PathSegment::Key(&plain.key), &cipher.value, &plain.value);
        }
    }

    fn below(&mut self, step: PathSegment<'p>, cipher: &Value, plain: &'p Value) {
        self.path.push(step);
        match (cipher, plain) {
            (Value::Map(cipher), Value::Map(plain)) => self.map(cipher, plain),
            (Value::List(cipher), Value::List(plain)) => self.list(cipher, plain),
            (Value::Scalar(cipher), Value::Scalar(_)) if cipher::is_ciphertext(cipher.text.as_bytes()) => {
                let (document, path, node) = (self.document, self.path.clone(), Node::new(plain));
                self.found.push(Sealed { document, path, node });
            }
            _ => {}
        }
        self.path.pop();
    }

    /// What was a comment before it was encrypted looks like a value where it is ciphertext.
    fn list(&mut self, cipher: &[Item], plain: &'p [Item]) {
        let mut index = 0;
        for (cipher, plain) in cipher.iter().zip(plain) {
            let Item::Value(plain) = plain else { continue };
            if let Item::Value(cipher) = cipher {
                self.below(PathSegment::Index(index), cipher, plain);
            }
            index += 1;
        }
    }
}
