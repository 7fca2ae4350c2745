//! From objects to history: under which path, since which commit and in which branches and tags something stands. Trees are
//! looked through once each, whatever number of commits has them; commits are taken parents first.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};
use std::rc::Rc;

use gix::bstr::BString;
use gix::objs::{Find as _, Kind, TagRef, TreeRefIter};
use gix::{ObjectId, bstr};

use super::repository::{Commit, Repository, RepositoryError};

/// Deeper folders are not followed; git itself cannot check them out.
const DEPTH: usize = 2_048;

/// Values, by their numbers, in order, each once.
pub type Held = Rc<[u32]>;

/// A place where a blob stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub object: ObjectId,
    pub path: BString,
    /// The first commit that has it there: its place in [`History::commits`].
    pub commit: usize,
}

/// A branch, a tag or whatever else names a commit.
#[derive(Clone, Debug)]
pub struct Reference {
    pub name: String,
    /// What who has this reference can read: of all its history.
    pub history: Held,
    /// What its present files hold.
    pub tip: Held,
}

/// All of it.
pub struct History {
    /// Parents first.
    pub commits: Vec<Commit>,
    pub places: Vec<Place>,
    pub references: Vec<Reference>,
    /// Trees that a commit names and that are not there, or damaged.
    pub unreadable: Vec<ObjectId>,
}

/// Follows objects that hold something (`held`: which values, by object) to where they stand.
pub fn follow(
    repository: &Repository,
    commits: Vec<Commit>,
    held: &HashMap<ObjectId, Held>,
) -> Result<History, RepositoryError> {
    let commits = in_order(commits);
    let mut trees = Trees::new(repository, held);
    let mut places = Places::default();
    let mut reached: HashMap<ObjectId, Held> = HashMap::new();
    for (number, commit) in commits.iter().enumerate() {
        let root = trees.look(commit.tree, 0);
        let parents: Vec<Rc<Folder>> =
            commit.parents.iter().filter_map(|parent| trees.look(*trees.roots.get(parent)?, 0)).collect();
        trees.roots.insert(commit.id, commit.tree);
        if let Some(root) = &root {
            let parents: Vec<&Folder> = parents.iter().map(Rc::as_ref).collect();
            places.differ(&mut trees, root, &parents, &mut BString::default(), number);
        }
        let own = root.map(|root| Rc::clone(&root.values));
        let below = commit.parents.iter().filter_map(|parent| reached.get(parent)).cloned();
        let all = below.chain(own).chain(held.get(&commit.id).cloned()).reduce(union);
        reached.insert(commit.id, all.unwrap_or_default());
    }
    let references = references(repository, &mut trees, &reached, held)?;
    Ok(History { commits, places: places.found, references, unreadable: trees.unreadable })
}

/// Parents before their children, of several the older one first; equal input gives equal order.
fn in_order(commits: Vec<Commit>) -> Vec<Commit> {
    let numbers: HashMap<ObjectId, usize> =
        commits.iter().enumerate().map(|(number, commit)| (commit.id, number)).collect();
    let mut children: Vec<Vec<usize>> = vec![Vec::new(); commits.len()];
    let mut waits_for = vec![0_usize; commits.len()];
    for (number, commit) in commits.iter().enumerate() {
        for parent in commit.parents.iter().filter_map(|parent| numbers.get(parent)) {
            children[*parent].push(number);
            waits_for[number] += 1;
        }
    }
    let entry = |number: usize| Reverse((commits[number].time, commits[number].id, number));
    let mut ready: BinaryHeap<_> =
        (0..commits.len()).filter(|number| waits_for[*number] == 0).map(entry).collect();
    let mut order = Vec::with_capacity(commits.len());
    while let Some(Reverse((_, _, number))) = ready.pop() {
        order.push(number);
        for child in &children[number] {
            waits_for[*child] -= 1;
            if waits_for[*child] == 0 {
                ready.push(entry(*child));
            }
        }
    }
    order.into_iter().map(|number| commits[number].clone()).collect()
}

/// A folder that holds something, somewhere below.
#[derive(Debug)]
struct Folder {
    values: Held,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    name: BString,
    id: ObjectId,
    is_folder: bool,
}

struct Trees<'h> {
    local: gix::Repository,
    held: &'h HashMap<ObjectId, Held>,
    /// `None`: looked through, and nothing is in it.
    known: HashMap<ObjectId, Option<Rc<Folder>>>,
    /// The tree of each commit so far.
    roots: HashMap<ObjectId, ObjectId>,
    unreadable: Vec<ObjectId>,
}

impl<'h> Trees<'h> {
    fn new(repository: &Repository, held: &'h HashMap<ObjectId, Held>) -> Self {
        let (known, roots) = (HashMap::new(), HashMap::new());
        Self { local: repository.local(), held, known, roots, unreadable: Vec::new() }
    }

    /// What of a tree holds something.
    fn look(&mut self, id: ObjectId, depth: usize) -> Option<Rc<Folder>> {
        if let Some(known) = self.known.get(&id) {
            return known.clone();
        }
        let mut entries = Vec::new();
        let mut values: Option<Held> = None;
        for (name, child, is_folder) in self.entries(id, depth) {
            let below = match is_folder {
                true => self.look(child, depth + 1).map(|folder| Rc::clone(&folder.values)),
                false => self.held.get(&child).cloned(),
            };
            if let Some(below) = below {
                values =
                    Some(values.map_or_else(|| Rc::clone(&below), |values| union(values, Rc::clone(&below))));
                entries.push(Entry { name, id: child, is_folder });
            }
        }
        let folder = values.map(|values| Rc::new(Folder { values, entries }));
        self.known.insert(id, folder.clone());
        folder
    }

    /// Folders and those files that hold something.
    fn entries(&mut self, id: ObjectId, depth: usize) -> Vec<(BString, ObjectId, bool)> {
        let mut buffer = Vec::new();
        let tree = match self.local.objects.try_find(&id, &mut buffer) {
            Ok(Some(tree)) if tree.kind == Kind::Tree && depth < DEPTH => tree,
            _ => {
                self.unreadable.push(id);
                return Vec::new();
            }
        };
        let mut found = Vec::new();
        for entry in TreeRefIter::from_bytes(tree.data, id.kind()) {
            let Ok(entry) = entry else {
                self.unreadable.push(id);
                break;
            };
            let is_folder = entry.mode.is_tree();
            if is_folder || self.held.contains_key(entry.oid) {
                found.push((entry.filename.to_owned(), entry.oid.to_owned(), is_folder));
            }
        }
        found
    }
}

#[derive(Default)]
struct Places {
    found: Vec<Place>,
    known: HashSet<(ObjectId, BString)>,
}

impl Places {
    /// What is in a folder and was in none of the parents' folders of the same name.
    fn differ(
        &mut self,
        trees: &mut Trees<'_>,
        now: &Folder,
        before: &[&Folder],
        path: &mut BString,
        commit: usize,
    ) {
        for entry in &now.entries {
            let theirs =
                before.iter().filter_map(|folder| folder.entries.iter().find(|old| old.name == entry.name));
            let theirs: Vec<&Entry> = theirs.collect();
            if theirs.iter().any(|old| old.id == entry.id) {
                continue;
            }
            let length = path.len();
            if length > 0 {
                path.push(b'/');
            }
            path.extend_from_slice(&entry.name);
            if entry.is_folder {
                let old: Vec<Rc<Folder>> = theirs
                    .iter()
                    .filter(|old| old.is_folder)
                    .filter_map(|old| trees.look(old.id, 0))
                    .collect();
                if let Some(folder) = trees.look(entry.id, 0) {
                    let old: Vec<&Folder> = old.iter().map(Rc::as_ref).collect();
                    self.differ(trees, &folder, &old, path, commit);
                }
            } else if self.known.insert((entry.id, path.clone())) {
                self.found.push(Place { object: entry.id, path: path.clone(), commit });
            }
            path.truncate(length);
        }
    }
}

/// Every reference, and `HEAD` where it is on no branch.
fn references(
    repository: &Repository,
    trees: &mut Trees<'_>,
    reached: &HashMap<ObjectId, Held>,
    held: &HashMap<ObjectId, Held>,
) -> Result<Vec<Reference>, RepositoryError> {
    let failed = |error: gix::Error| RepositoryError::Read {
        path: repository.path.clone(),
        what: "references",
        source: error.into(),
    };
    let local = repository.local();
    let mut targets: BTreeMap<String, ObjectId> = BTreeMap::new();
    for reference in local.references().map_err(failed)?.all().map_err(failed)? {
        let reference = reference.map_err(failed)?;
        if let Some(id) = reference.target().try_id() {
            targets.insert(shortened(reference.name().as_bstr()), id.to_owned());
        }
    }
    let head = local.head().map_err(failed)?;
    if let Some(id) = head.id().filter(|_| head.is_detached()) {
        targets.insert("HEAD".to_owned(), id.detach());
    }
    let mut found = Vec::new();
    for (name, target) in targets {
        let mut history = Held::default();
        let (mut id, mut tip) = (target, Held::default());
        // A tag may name a tag.
        for _ in 0..DEPTH {
            history = union(history, held.get(&id).cloned().unwrap_or_default());
            match target_of(&local, id) {
                Some(next) => id = next,
                None => break,
            }
        }
        if let Some(reached) = reached.get(&id) {
            history = union(history, Rc::clone(reached));
        }
        let tree = trees.roots.get(&id).copied().unwrap_or(id);
        if is_tree(&local, tree)
            && let Some(folder) = trees.look(tree, 0)
        {
            tip = Rc::clone(&folder.values);
            history = union(history, Rc::clone(&tip));
        }
        found.push(Reference { name, history, tip });
    }
    Ok(found)
}

fn shortened(name: &bstr::BStr) -> String {
    let name = name.to_string();
    let short = ["refs/heads/", "refs/tags/", "refs/remotes/", "refs/"];
    short.iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(&name).to_owned()
}

fn target_of(local: &gix::Repository, id: ObjectId) -> Option<ObjectId> {
    let object = local.try_find_object(id).ok()??;
    let data = (object.kind == Kind::Tag).then_some(&object.data)?;
    TagRef::from_bytes(data, id.kind()).ok().map(|tag| tag.target())
}

fn is_tree(local: &gix::Repository, id: ObjectId) -> bool {
    local.try_find_header(id).is_ok_and(|header| header.is_some_and(|header| header.kind() == Kind::Tree))
}

/// Shares what is there already wherever nothing is added.
fn union(a: Held, b: Held) -> Held {
    let is_in = |one: &Held, other: &Held| one.iter().all(|value| other.binary_search(value).is_ok());
    if Rc::ptr_eq(&a, &b) || is_in(&b, &a) {
        return a;
    }
    if is_in(&a, &b) {
        return b;
    }
    let mut all: Vec<u32> = a.iter().chain(b.iter()).copied().collect();
    all.sort_unstable();
    all.dedup();
    all.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> ObjectId {
        ObjectId::from_bytes_or_panic(&[number; 20])
    }

    #[test]
    fn parents_come_first_whatever_the_clocks_said() {
        let commit = |own: u8, parents: &[u8], time| Commit {
            id: id(own),
            tree: id(0),
            parents: parents.iter().map(|parent| id(*parent)).collect(),
            time,
        };
        // 9 is not there: a shallow clone.
        let order = in_order(vec![
            commit(4, &[2, 3], 1),
            commit(3, &[1], 5),
            commit(2, &[1], 7),
            commit(1, &[9], 9),
            commit(5, &[], 8),
        ]);
        let order: Vec<ObjectId> = order.into_iter().map(|commit| commit.id).collect();
        assert_eq!(order, [5, 1, 3, 2, 4].map(id));
    }

    #[test]
    fn values_are_joined_and_shared() {
        let (a, b): (Held, Held) = ([1, 3].into(), [2, 3].into());
        assert_eq!(*union(Rc::clone(&a), Rc::clone(&b)), [1, 2, 3]);
        assert!(Rc::ptr_eq(&union(Rc::clone(&a), [3].into()), &a));
        assert!(Rc::ptr_eq(&union(Held::default(), Rc::clone(&a)), &a));
    }
}
