//! One template and the values it may see -> bytes. The engine is given nothing but those: no loader, no function, no
//! global, no filter but ours. Judged before; the fuel and the size of the output bound it once more.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use minijinja::value::{Enumerator, Object};
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior, Value};
use zeroize::Zeroizing;

use super::error::{Misplaced, Wrong};
use super::filters::{self, NotBase64};
use super::parse::WHITESPACE;
use crate::content::Content;

/// Most instructions of one template. What was judged to fit its budget needs fewer.
const FUEL: u64 = 2 * 1024 * 1024;
/// What stands for a value.
const MASK: &str = "***";

/// What becomes of a value that is put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    Values,
    Masks,
}

/// What a template can see.
#[derive(Clone)]
pub struct Values(Arc<Data>);

impl Values {
    /// The values of these keys, and the names of all.
    pub fn of(content: &Content, used: &BTreeSet<String>) -> Values {
        let text = |name: &String| {
            let value = content.data.get(name)?;
            Some((name.clone(), Value::from(std::str::from_utf8(value).ok()?)))
        };
        let values = used.iter().filter_map(text).collect();
        let names = content.data.keys().cloned().collect();
        Values(Arc::new(Data { names, values, missed: AtomicBool::new(false) }))
    }
}

/// Renders into at most `limit` bytes.
pub fn render(
    text: &str,
    values: &Values,
    show: Show,
    limit: usize,
) -> Result<Zeroizing<Vec<u8>>, Misplaced> {
    let mut engine = Environment::empty();
    engine.set_keep_trailing_newline(WHITESPACE.keep_trailing_newline);
    engine.set_lstrip_blocks(WHITESPACE.lstrip_blocks);
    engine.set_trim_blocks(WHITESPACE.trim_blocks);
    engine.set_undefined_behavior(UndefinedBehavior::Strict);
    engine.set_fuel(Some(FUEL));
    filters::add(&mut engine);
    if show == Show::Masks {
        engine.set_formatter(|out, _, _| out.write_str(MASK).map_err(Error::from));
    }
    let mut out = Bounded { bytes: Zeroizing::new(Vec::new()), limit, full: false };
    values.0.missed.store(false, Ordering::Relaxed);
    let root = Value::from_object(Root(Arc::clone(&values.0)));
    let template = engine.template_from_str(text).map_err(|error| told(&error, false))?;
    let rendered = template.render_captured_to(root, &mut out).map(drop);
    if values.0.missed.load(Ordering::Relaxed) {
        return Err(Wrong::NoSuchKey.somewhere());
    }
    match rendered {
        Ok(()) => Ok(out.bytes),
        Err(error) => Err(told(&error, out.full)),
    }
}

/// Our own words for an error of the engine's, which may quote values: of it nothing is used but its kind. What goes wrong while
/// values are there has no line, either: with a condition on each line it would tell which one a value fulfils.
fn told(error: &Error, full: bool) -> Misplaced {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    let mut not_base64 = false;
    while let Some(one) = cause {
        not_base64 |= one.is::<NotBase64>();
        cause = one.source();
    }
    let wrong = match error.kind() {
        _ if full => Wrong::TooLarge,
        _ if not_base64 => Wrong::NotBase64,
        ErrorKind::OutOfFuel => Wrong::TooMuch,
        _ => Wrong::Engine,
    };
    wrong.somewhere()
}

/// The names at the top: the documents' keys, and `data` for all of them.
struct Root(Arc<Data>);

struct Data {
    names: Vec<String>,
    values: BTreeMap<String, Value>,
    /// A name was asked for that is not there.
    missed: AtomicBool,
}

impl Object for Root {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match key.as_str() {
            Some("data") => Some(Value::from_dyn_object(Arc::clone(&self.0))),
            _ => self.0.get_value(key),
        }
    }
}

impl Object for Data {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let value = key.as_str().and_then(|name| self.values.get(name)).cloned();
        if value.is_none() {
            self.missed.store(true, Ordering::Relaxed);
        }
        value
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.names.iter().map(|name| Value::from(name.as_str())).collect())
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Root")
    }
}

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Data")
    }
}

/// So many bytes and no more; what it outgrows is wiped.
struct Bounded {
    bytes: Zeroizing<Vec<u8>>,
    limit: usize,
    full: bool,
}

impl io::Write for Bounded {
    fn write(&mut self, more: &[u8]) -> io::Result<usize> {
        let needed = self.bytes.len().saturating_add(more.len());
        if needed > self.limit {
            self.full = true;
            return Err(io::ErrorKind::WriteZero.into());
        }
        if needed > self.bytes.capacity() {
            let mut larger = Zeroizing::new(Vec::with_capacity(needed.max(256).next_power_of_two()));
            larger.extend_from_slice(&self.bytes);
            self.bytes = larger;
        }
        self.bytes.extend_from_slice(more);
        Ok(more.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
