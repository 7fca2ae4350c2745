//! What a template could do, by its syntax tree: the names it asks for, and how many bytes it could read, make and write at
//! most, of values as long as they are. What is not listed here there is not.
//!
//! With that sum bounded, so are time and memory, whoever wrote it: loops go over the documents' keys and over lists that
//! are written out, nothing is assigned, and nothing calls itself.

use std::collections::{BTreeMap, BTreeSet};

use minijinja::machinery::ast::{
    BinOp, BinOpKind, Expr, Filter, ForLoop, GetAttr, GetItem, IfExpr, List, Map, Stmt, UnaryOp, UnaryOpKind,
};

use super::error::{Misplaced, Wrong, shown};
use super::filters;
use crate::content::Content;

/// What a step costs besides the bytes it is about.
const STEP: u64 = 64;
/// Longest name of a key.
const NAME: u64 = 253;

/// The keys that the documents give, and how long their values are.
pub struct Known {
    /// None where the names are not known: any may be given.
    keys: Option<BTreeMap<String, Length>>,
}

#[derive(Clone, Copy)]
enum Length {
    Text(u64),
    NotText,
}

impl Known {
    pub fn of(content: &Content) -> Known {
        let length = |value: &[u8]| match std::str::from_utf8(value) {
            Ok(text) => Length::Text(text.len() as u64),
            Err(_) => Length::NotText,
        };
        let keys = content.data.iter().map(|(key, value)| (key.clone(), length(value))).collect();
        Known { keys: Some(keys) }
    }

    /// Where only names are known, values count as empty.
    pub fn without_values(names: Option<&BTreeSet<String>>) -> Known {
        let keys = names.map(|names| names.iter().map(|name| (name.clone(), Length::Text(0))).collect());
        Known { keys }
    }

    fn length(&self, name: &str) -> Result<u64, Wrong> {
        let Some(keys) = &self.keys else { return Ok(0) };
        match keys.get(name) {
            Some(Length::Text(length)) => Ok(*length),
            Some(Length::NotText) => Err(Wrong::NotText(vec![name.to_owned()])),
            None => Err(Wrong::NoKey { name: shown(name), there: keys.keys().cloned().collect() }),
        }
    }

    fn each(&self) -> impl Iterator<Item = (&String, Length)> {
        self.keys.iter().flatten().map(|(name, length)| (name, *length))
    }

    fn count(&self) -> u64 {
        self.keys.as_ref().map_or(1, |keys| keys.len() as u64)
    }
}

/// What an expression comes to.
#[derive(Clone, Copy)]
struct Shape {
    kind: Kind,
    /// Most bytes of it.
    size: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A text, a number, a truth value.
    Plain,
    List,
    Map,
    /// All keys of the documents.
    Data,
    Loop,
}

impl Kind {
    const fn word(self) -> &'static str {
        match self {
            Kind::Plain => "this",
            Kind::List => "a list",
            Kind::Map => "a map",
            Kind::Data => "data",
            Kind::Loop => "loop",
        }
    }
}

const fn plain(size: u64) -> Shape {
    Shape { kind: Kind::Plain, size }
}

/// The documents' keys that a template uses.
#[derive(Debug, Default)]
pub struct Used {
    pub names: BTreeSet<String>,
    /// All keys there are, or one whose name is put together.
    any: bool,
}

impl Used {
    pub fn everything() -> Used {
        Used { any: true, ..Used::default() }
    }

    pub fn has(&self, name: &str) -> bool {
        self.any || self.names.contains(name)
    }
}

/// Walks one template.
pub struct Judge<'k> {
    known: &'k Known,
    used: Used,
    /// What may still be spent.
    left: u64,
    /// How often what is looked at runs.
    times: u64,
    /// Loops around it: the name of each item.
    scopes: Vec<(String, Shape)>,
}

type Judged<T> = Result<T, Misplaced>;

impl<'k> Judge<'k> {
    pub fn new(known: &'k Known, left: u64) -> Judge<'k> {
        Judge { known, used: Used::default(), left, times: 1, scopes: Vec::new() }
    }

    pub const fn left(&self) -> u64 {
        self.left
    }

    pub fn into_used(self) -> Used {
        self.used
    }

    pub fn template(&mut self, root: &Stmt<'_>) -> Judged<()> {
        match root {
            Stmt::Template(template) => self.statements(&template.children),
            other => self.statement(other),
        }
    }

    fn spend(&mut self, size: u64, line: usize) -> Judged<()> {
        let cost = size.saturating_add(STEP).saturating_mul(self.times);
        match self.left.checked_sub(cost) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(Wrong::TooMuch.at(line)),
        }
    }

    fn statements(&mut self, statements: &[Stmt<'_>]) -> Judged<()> {
        statements.iter().try_for_each(|one| self.statement(one))
    }

    fn statement(&mut self, statement: &Stmt<'_>) -> Judged<()> {
        match statement {
            Stmt::EmitRaw(raw) => self.spend(raw.raw.len() as u64, usize::from(raw.span().start_line)),
            Stmt::EmitExpr(emit) => {
                let size = self.plain(&emit.expr)?;
                self.spend(size, line(&emit.expr))
            }
            Stmt::IfCond(condition) => {
                self.plain(&condition.expr)?;
                self.statements(&condition.true_body)?;
                self.statements(&condition.false_body)
            }
            Stmt::ForLoop(each) => self.each(each, usize::from(each.span().start_line)),
            // `parse` has refused these by their names.
            Stmt::Template(_)
            | Stmt::WithBlock(_)
            | Stmt::Set(_)
            | Stmt::SetBlock(_)
            | Stmt::AutoEscape(_)
            | Stmt::FilterBlock(_)
            | Stmt::Do(_) => Err(Wrong::Operation("this statement").somewhere()),
        }
    }

    fn each(&mut self, each: &ForLoop<'_>, at: usize) -> Judged<()> {
        if each.recursive {
            return Err(Wrong::Operation("a recursive loop").at(at));
        }
        let Expr::Var(target) = &each.target else {
            return Err(Wrong::Operation("a loop over several names").at(at));
        };
        let (count, item) = match &each.iter {
            Expr::List(list) => {
                let mut largest = 0;
                for item in &list.items {
                    largest = largest.max(self.plain(item)?);
                }
                (list.items.len() as u64, plain(largest))
            }
            other if self.expression(other)?.kind == Kind::Data => (self.known.count(), plain(NAME)),
            _ => return Err(Wrong::Operation("a loop over anything but data or a list in brackets").at(at)),
        };
        let outside = self.times;
        self.times = outside.saturating_mul(count);
        self.spend(item.size, at)?;
        self.scopes.push((target.id.to_owned(), item));
        let inside = match &each.filter_expr {
            Some(filter) => self.plain(filter).map(drop),
            None => Ok(()),
        };
        inside.and_then(|()| self.statements(&each.body))?;
        self.scopes.pop();
        self.times = outside;
        self.statements(&each.else_body)
    }

    /// An expression that must be one text, number or truth value; its size.
    fn plain(&mut self, expression: &Expr<'_>) -> Judged<u64> {
        let shape = self.expression(expression)?;
        match shape.kind {
            Kind::Plain => Ok(shape.size),
            other => Err(Wrong::NotPlain(other.word()).at(line(expression))),
        }
    }

    /// Small steps: a template may take these as deep as `parse` lets it.
    fn expression(&mut self, expression: &Expr<'_>) -> Judged<Shape> {
        let shape = match expression {
            Expr::Var(name) => self.variable(name.id).map_err(|wrong| wrong.at(line(expression))),
            Expr::Const(constant) => Ok(plain(constant.value.as_str().map_or(40, str::len) as u64)),
            Expr::List(list) => self.list(list),
            Expr::Map(map) => self.map(map),
            Expr::UnaryOp(unary) => self.unary(unary, line(expression)),
            Expr::BinOp(both) => self.binary(both, line(expression)),
            Expr::IfExpr(choice) => self.choice(choice, line(expression)),
            Expr::Filter(filter) => self.filter(filter, line(expression)),
            Expr::GetAttr(part) => self.part(part, line(expression)),
            Expr::GetItem(item) => self.item(item, line(expression)),
            Expr::Compare(_) => refused("a chain of comparisons", line(expression)),
            Expr::Slice(_) => refused("cutting out a piece", line(expression)),
            Expr::Test(_) => refused("a test (is)", line(expression)),
            Expr::Call(_) => refused("a call", line(expression)),
        }?;
        self.spend(shape.size, line(expression))?;
        Ok(shape)
    }

    fn list(&mut self, list: &List<'_>) -> Judged<Shape> {
        let mut size = 0;
        for item in &list.items {
            size = u64::saturating_add(size, self.expression(item)?.size).saturating_add(STEP);
        }
        Ok(Shape { kind: Kind::List, size })
    }

    fn map(&mut self, map: &Map<'_>) -> Judged<Shape> {
        let mut size = 0;
        for (key, value) in map.keys.iter().zip(&map.values) {
            let both = self.plain(key)?.saturating_add(self.expression(value)?.size);
            size = u64::saturating_add(size, both).saturating_add(STEP);
        }
        Ok(Shape { kind: Kind::Map, size })
    }

    fn unary(&mut self, unary: &UnaryOp<'_>, at: usize) -> Judged<Shape> {
        match unary.op {
            UnaryOpKind::Not => self.plain(&unary.expr).map(|_| plain(8)),
            UnaryOpKind::Neg => refused("arithmetic", at),
        }
    }

    fn binary(&mut self, both: &BinOp<'_>, at: usize) -> Judged<Shape> {
        let (left, right) = (self.plain(&both.left)?, self.plain(&both.right)?);
        match both.op {
            BinOpKind::Concat => Ok(plain(left.saturating_add(right))),
            BinOpKind::Eq | BinOpKind::Ne => Ok(plain(8)),
            BinOpKind::ScAnd | BinOpKind::ScOr => Ok(plain(left.max(right).max(8))),
            BinOpKind::In => refused("in", at),
            BinOpKind::Lt | BinOpKind::Lte | BinOpKind::Gt | BinOpKind::Gte => {
                refused("comparing by order", at)
            }
            BinOpKind::Add
            | BinOpKind::Sub
            | BinOpKind::Mul
            | BinOpKind::Div
            | BinOpKind::FloorDiv
            | BinOpKind::Rem
            | BinOpKind::Pow => refused("arithmetic", at),
        }
    }

    fn choice(&mut self, choice: &IfExpr<'_>, at: usize) -> Judged<Shape> {
        self.plain(&choice.test_expr)?;
        match &choice.false_expr {
            Some(otherwise) => Ok(plain(self.plain(&choice.true_expr)?.max(self.plain(otherwise)?))),
            None => refused("an if without an else in an expression", at),
        }
    }

    fn filter(&mut self, filter: &Filter<'_>, at: usize) -> Judged<Shape> {
        let Some(inner) = &filter.expr else { return refused("a filter of nothing", at) };
        let given = self.expression(inner)?;
        let growth = filters::judge(filter.name, &filter.args).map_err(|wrong| wrong.at(at))?;
        let size = match given.kind {
            Kind::Plain => given.size,
            Kind::List | Kind::Map if growth.takes_all() => given.size,
            Kind::Data if growth.takes_all() => self.every_key().map_err(|wrong| wrong.at(at))?.1,
            other => return Err(Wrong::NotPlain(other.word()).at(at)),
        };
        Ok(plain(growth.of(size)))
    }

    fn part(&mut self, part: &GetAttr<'_>, at: usize) -> Judged<Shape> {
        match (self.expression(&part.expr)?.kind, part.name) {
            (Kind::Data, name) => self.key(name).map_err(|wrong| wrong.at(at)),
            (Kind::Loop, "index" | "index0" | "first" | "last" | "length") => Ok(plain(20)),
            (Kind::Loop, name) => Err(Wrong::NoSuchPart(shown(name)).at(at)),
            _ => refused("a dot behind anything but data or loop", at),
        }
    }

    fn item(&mut self, item: &GetItem<'_>, at: usize) -> Judged<Shape> {
        if self.expression(&item.expr)?.kind != Kind::Data {
            return refused("picking out of anything but data", at);
        }
        if let Expr::Const(name) = &item.subscript_expr {
            return self.key(name.value.as_str().unwrap_or_default()).map_err(|wrong| wrong.at(at));
        }
        self.plain(&item.subscript_expr)?;
        self.every_key().map(|(largest, _)| plain(largest)).map_err(|wrong| wrong.at(at))
    }

    fn variable(&mut self, name: &str) -> Result<Shape, Wrong> {
        if let Some((_, item)) = self.scopes.iter().rev().find(|(bound, _)| bound == name) {
            return Ok(*item);
        }
        match name {
            "loop" if !self.scopes.is_empty() => Ok(Shape { kind: Kind::Loop, size: 0 }),
            "data" => Ok(Shape { kind: Kind::Data, size: 0 }),
            name => self.key(name),
        }
    }

    fn key(&mut self, name: &str) -> Result<Shape, Wrong> {
        let length = self.known.length(name)?;
        self.used.names.insert(name.to_owned());
        Ok(plain(length))
    }

    /// All keys, or one whose name is put together: the length of the largest value, and of all names and values.
    fn every_key(&mut self) -> Result<(u64, u64), Wrong> {
        self.used.any = true;
        let (mut largest, mut sum) = (0, 0);
        let mut not_text = Vec::new();
        for (name, length) in self.known.each() {
            match length {
                Length::Text(length) => {
                    largest = length.max(largest);
                    sum = length.saturating_add(name.len() as u64).saturating_add(STEP).saturating_add(sum);
                }
                Length::NotText => not_text.push(shown(name)),
            }
            self.used.names.insert(name.clone());
        }
        if not_text.is_empty() { Ok((largest, sum)) } else { Err(Wrong::NotText(not_text)) }
    }
}

fn refused(what: &'static str, line: usize) -> Judged<Shape> {
    Err(Wrong::Operation(what).at(line))
}

fn line(expression: &Expr<'_>) -> usize {
    usize::from(expression.span().start_line)
}
