//! What became of each value: where in the history it stands, since when, and who has that history. Names and places, never
//! a value.

use std::collections::{BTreeMap, HashMap};

use gix::ObjectId;
use jiff::Timestamp;
use serde::Serialize;

use super::history::{Held, History, Place};
use super::repository::{Hit, Repository};
use super::values::Key;
use crate::error::one_line;

/// A value that is public to readers of the repository.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// `shop/app:PASSWORD`.
    pub key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encrypted_secret: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secret_keys: Vec<String>,
    pub file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<String>,
    pub path: String,
    pub last_modified: String,
    /// All of the value was found.
    pub whole: bool,
    /// The lines of the value that were found, if not all of it was.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<usize>,
    /// The first commit that holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Since>,
    /// The oldest first.
    pub places: Vec<Where>,
    /// Branches and tags whose history holds it.
    pub references: Vec<String>,
    /// Those of them whose files hold it now.
    pub still_in: Vec<String>,
}

/// A commit, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Since {
    pub commit: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date: Option<Timestamp>,
    pub author: String,
    pub email: String,
}

/// A place.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Where {
    pub kind: Kind,
    /// Of a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// From 1; of a message with its headers.
    pub line: usize,
    pub object: String,
    /// The first commit that has it there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<Since>,
    #[serde(skip)]
    order: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    File,
    /// A commit's own text.
    Commit,
    /// A tag's own text.
    Tag,
    /// An object that no commit has: staged once, or what a deleted branch left.
    Object,
}

/// What a text that was looked for is of.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    /// The value's number.
    pub value: u32,
    /// The piece of it; `None`: all of it.
    pub piece: Option<usize>,
}

/// A value as it was looked for: the line of each piece.
pub struct Asked<'k> {
    pub key: &'k Key,
    pub lines: Vec<usize>,
    /// All pieces together are the value.
    pub pieces_are_all: bool,
    /// It was looked for.
    pub judged: bool,
}

impl Where {
    /// In a table.
    pub fn shown(&self) -> String {
        let short = &self.object[..self.object.len().min(10)];
        match (self.kind, &self.path) {
            (Kind::File, Some(path)) => format!("{}:{}", one_line(path), self.line),
            (Kind::Commit, _) => format!("message of commit {short}"),
            (Kind::Tag, _) => format!("message of tag {short}"),
            _ => format!("object {short}, in no commit"),
        }
    }
}

/// Which values each object holds.
pub fn held(hits: &[Hit], sources: &[Source]) -> HashMap<ObjectId, Held> {
    let mut values: HashMap<ObjectId, Vec<u32>> = HashMap::new();
    for (hit, source) in hits.iter().filter_map(|hit| Some((hit, source(sources, hit)?))) {
        values.entry(hit.object).or_default().push(source.value);
    }
    let sorted = |mut values: Vec<u32>| {
        values.sort_unstable();
        values.dedup();
        Held::from(values)
    };
    values.into_iter().map(|(object, values)| (object, sorted(values))).collect()
}

/// Puts it together, in the order of the keys' names.
pub fn findings(
    repository: &Repository,
    history: &History,
    hits: &[Hit],
    sources: &[Source],
    asked: &[Asked<'_>],
) -> Vec<Finding> {
    let mut by_value: BTreeMap<u32, Vec<(&Hit, Option<usize>)>> = BTreeMap::new();
    for (hit, source) in hits.iter().filter_map(|hit| Some((hit, source(sources, hit)?))) {
        by_value.entry(source.value).or_default().push((hit, source.piece));
    }
    let mut places: HashMap<ObjectId, Vec<&Place>> = HashMap::new();
    for place in &history.places {
        places.entry(place.object).or_default().push(place);
    }
    let numbers = history.commits.iter().enumerate().map(|(number, commit)| (commit.id, number)).collect();
    let teller = Teller { local: repository.local(), history, places, numbers };
    let mut findings: Vec<Finding> = by_value
        .into_iter()
        .filter_map(|(value, hits)| {
            let asked = asked.get(usize::try_from(value).ok()?)?;
            Some(teller.finding(value, asked, &hits))
        })
        .collect();
    findings.sort_by(|a, b| (&a.key, &a.file).cmp(&(&b.key, &b.file)));
    findings
}

fn source(sources: &[Source], hit: &Hit) -> Option<Source> {
    sources.get(usize::try_from(hit.text).ok()?).copied()
}

struct Teller<'h> {
    local: gix::Repository,
    history: &'h History,
    places: HashMap<ObjectId, Vec<&'h Place>>,
    numbers: HashMap<ObjectId, usize>,
}

impl Teller<'_> {
    fn finding(&self, value: u32, asked: &Asked<'_>, hits: &[(&Hit, Option<usize>)]) -> Finding {
        let found = |piece: usize| hits.iter().any(|(_, of)| *of == Some(piece));
        let all_pieces = asked.pieces_are_all && (0..asked.lines.len()).all(found);
        let whole = all_pieces || hits.iter().any(|(_, piece)| piece.is_none());
        let mut lines: Vec<usize> = match whole {
            true => Vec::new(),
            false => {
                (0..asked.lines.len()).filter(|piece| found(*piece)).map(|piece| asked.lines[piece]).collect()
            }
        };
        lines.dedup();
        let places = self.of_hits(hits);
        let names = |of: fn(&super::history::Reference) -> &Held| {
            let holds = self.history.references.iter().filter(|one| of(one).binary_search(&value).is_ok());
            holds.map(|one| one.name.clone()).collect()
        };
        let Key { namespace, object, secret_keys, file, document, path, last_modified, .. } =
            asked.key.clone();
        Finding {
            key: asked.key.name(),
            namespace,
            encrypted_secret: object,
            secret_keys,
            file,
            document,
            path,
            last_modified,
            whole,
            lines,
            since: places.first().and_then(|place| place.commit.clone()),
            places,
            references: names(|one| &one.history),
            still_in: names(|one| &one.tip),
        }
    }

    /// Each path once, where it began.
    fn of_hits(&self, hits: &[(&Hit, Option<usize>)]) -> Vec<Where> {
        let mut found: BTreeMap<(Kind, String), Where> = BTreeMap::new();
        let mut add = |name: String, place: Where| {
            let known = found.entry((place.kind, name)).or_insert_with(|| place.clone());
            if (place.order, place.line) < (known.order, known.line) {
                *known = place;
            }
        };
        for (hit, _) in hits {
            let (object, line) = (hit.object.to_string(), hit.line);
            let at = |kind, path, order: usize| {
                let commit = self.history.commits.get(order).map(|commit| self.tell(commit.id));
                Where { kind, path, line, object: object.clone(), commit, order }
            };
            if let Some(number) = self.numbers.get(&hit.object) {
                add(object.clone(), at(Kind::Commit, None, *number));
                continue;
            }
            let files = self.places.get(&hit.object).map(Vec::as_slice).unwrap_or_default();
            for place in files {
                let path = place.path.to_string();
                add(path.clone(), at(Kind::File, Some(path), place.commit));
            }
            if files.is_empty() {
                let header = self.local.try_find_header(hit.object).ok().flatten();
                let is_tag = header.is_some_and(|header| header.kind() == gix::objs::Kind::Tag);
                let kind = if is_tag { Kind::Tag } else { Kind::Object };
                add(object.clone(), at(kind, None, usize::MAX));
            }
        }
        let mut places: Vec<Where> = found.into_values().collect();
        places.sort_by_key(|place| place.order);
        places
    }

    fn tell(&self, id: ObjectId) -> Since {
        let (mut author, mut email, mut date) = (String::new(), String::new(), None);
        if let Ok(commit) = self.local.find_commit(id)
            && let Ok(signature) = commit.author()
        {
            let signature = signature.trim();
            author = one_line(&signature.name.to_string());
            email = one_line(&signature.email.to_string());
            date = signature.time().ok().and_then(|time| Timestamp::from_second(time.seconds).ok());
        }
        Since { commit: id.to_string(), date, author, email }
    }
}
