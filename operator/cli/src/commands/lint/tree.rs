//! Which files there are, read in parallel: those of the repository that the paths are in, because what a file should be is
//! told by others. Links are not followed, so nothing outside is read; a file is read up to a limit, one a thread.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::mpsc;

use ignore::{DirEntry, WalkBuilder, WalkState};

use super::LintError;

/// Larger files are not looked into. No API server takes a third of it.
pub const MAX_BYTES: u64 = 4 * 1024 * 1024;
const MAX_THREADS: usize = 8;

/// A file of the tree.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    /// Absolute.
    pub path: PathBuf,
    /// As messages name it: from the working directory on.
    pub shown: String,
    /// It is one of the paths, or below one: what is found in it is told.
    pub chosen: bool,
}

/// The files to look at.
#[derive(Debug)]
pub struct Tree {
    roots: Vec<PathBuf>,
    chosen: Vec<PathBuf>,
    here: PathBuf,
    /// The folder that names are told from to programs.
    root: PathBuf,
}

/// What came of reading.
pub struct Files<T> {
    pub results: Vec<T>,
    /// How many of the chosen ones there were.
    pub files: usize,
    /// Larger than the limit, and so not looked into.
    pub large: Vec<String>,
}

impl Tree {
    /// # Errors
    /// A path that is not there.
    pub fn of(paths: &[PathBuf]) -> Result<Tree, LintError> {
        let here = std::env::current_dir().and_then(|here| here.canonicalize());
        let here = here.map_err(|error| LintError::Path(PathBuf::from("."), error))?;
        let (mut chosen, mut roots) = (Vec::new(), BTreeSet::new());
        for path in paths {
            let whole = path.canonicalize().map_err(|error| LintError::Path(path.clone(), error))?;
            // A link in a folder may lead anywhere; a hook names all that is there.
            let is_link = path.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink());
            if is_link && whole.is_file() && !whole.starts_with(&here) {
                continue;
            }
            roots.insert(repository(&whole).unwrap_or_else(|| whole.clone()));
            chosen.push(whole);
        }
        let root = match roots.first() {
            Some(only) if roots.len() == 1 && only.is_dir() => only.clone(),
            _ => here.clone(),
        };
        // Those that are ignored where they lie are looked at all the same: somebody named them.
        roots.extend(chosen.iter().cloned());
        let inside = |path: &PathBuf| roots.iter().any(|root| path.starts_with(root) && path != root);
        let named: Vec<PathBuf> = roots.iter().filter(|path| inside(path)).cloned().collect();
        let roots = roots.iter().filter(|path| !inside(path)).cloned().chain(named).collect();
        Ok(Tree { roots, chosen, here, root })
    }

    /// A name as it is shown, from the root on.
    pub fn below_root(&self, shown: &str) -> String {
        let path = self.here.join(shown);
        path.strip_prefix(&self.root).unwrap_or(&path).display().to_string()
    }

    /// Has `look` look at every file and gives what it found. The order is by path, whichever thread was first.
    pub fn read<T, F>(&self, no_ignore: bool, look: F) -> Result<Files<T>, LintError>
    where
        T: Send,
        F: Fn(&Source, &[u8]) -> Option<T> + Sync,
    {
        let Some((first, more)) = self.roots.split_first() else {
            return Ok(Files { results: Vec::new(), files: 0, large: Vec::new() });
        };
        let mut walk = WalkBuilder::new(first);
        for root in more {
            walk.add(root);
        }
        walk.hidden(false).ignore(false).follow_links(false).filter_entry(|entry| !is_ours_or_gits(entry));
        walk.git_ignore(!no_ignore).git_exclude(!no_ignore).git_global(!no_ignore).parents(!no_ignore);
        walk.threads(std::thread::available_parallelism().map_or(2, |count| count.get().min(MAX_THREADS)));
        let (to, from) = mpsc::channel();
        let seen = Mutex::new(BTreeSet::new());
        walk.build_parallel().run(|| {
            let (to, look, seen) = (to.clone(), &look, &seen);
            let mut buffer = Vec::new();
            Box::new(move |entry| {
                let told = match entry {
                    Ok(entry) => self.entry(&entry, &mut buffer, look, seen),
                    Err(error) => Some(Err(LintError::Walk(error))),
                };
                match told.map(|told| to.send(told)) {
                    Some(Err(_)) => WalkState::Quit,
                    _ => WalkState::Continue,
                }
            })
        });
        drop(to);
        let mut read = Files { results: Vec::new(), files: 0, large: Vec::new() };
        for told in from {
            let (chosen, told) = told?;
            read.files += usize::from(chosen);
            match told {
                Looked::At(source, result) => read.results.push((source, result)),
                Looked::Large(shown) => read.large.extend(chosen.then_some(shown)),
                Looked::Nothing => {}
            }
        }
        read.large.sort();
        read.results.sort_by(|(a, _), (b, _)| a.cmp(b));
        let results = read.results.into_iter().map(|(_, result)| result).collect();
        Ok(Files { results, files: read.files, large: read.large })
    }

    fn entry<T>(
        &self,
        entry: &DirEntry,
        buffer: &mut Vec<u8>,
        look: &impl Fn(&Source, &[u8]) -> Option<T>,
        seen: &Mutex<BTreeSet<PathBuf>>,
    ) -> Option<Result<(bool, Looked<T>), LintError>> {
        // Neither links nor devices nor pipes.
        if !entry.file_type().is_some_and(|kind| kind.is_file()) {
            return None;
        }
        let path = entry.path();
        // Only with several roots can a file be met twice.
        if self.roots.len() > 1 && !seen.lock().ok()?.insert(path.to_owned()) {
            return None;
        }
        let chosen = self.chosen.iter().any(|one| path.starts_with(one));
        let shown = path.strip_prefix(&self.here).unwrap_or(path).display().to_string();
        let source = Source { path: path.to_owned(), shown, chosen };
        buffer.clear();
        let read = File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(buffer));
        Some(match read {
            // It went away meanwhile.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(error) => Err(LintError::Read(source.path, error)),
            Ok(length) if length as u64 > MAX_BYTES => Ok((chosen, Looked::Large(source.shown))),
            Ok(_) => {
                let found = look(&source, buffer);
                Ok((chosen, found.map_or(Looked::Nothing, |found| Looked::At(source, found))))
            }
        })
    }
}

enum Looked<T> {
    At(Source, T),
    Large(String),
    Nothing,
}

/// The folder with `.git`, a folder or in a worktree a file, that a path is in; without one the topmost with creation rules.
fn repository(path: &Path) -> Option<PathBuf> {
    let with = |name: &'static str| path.ancestors().filter(move |folder| folder.join(name).exists());
    with(".git").next().or_else(|| with(".sops.yaml").last()).map(Path::to_owned)
}

fn is_ours_or_gits(entry: &DirEntry) -> bool {
    entry.file_name() == ".git" || entry.file_name().to_string_lossy().starts_with(".touchseal-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn names(paths: &[PathBuf], no_ignore: bool) -> Vec<(String, bool)> {
        let tree = Tree::of(paths).unwrap();
        let read = tree.read(no_ignore, |source, _| {
            let name = source.path.file_name().unwrap().to_string_lossy().into_owned();
            Some((name, source.chosen))
        });
        read.unwrap().results
    }

    #[test]
    fn the_whole_repository_is_read_and_what_was_named_is_chosen() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        for (path, text) in [
            ("a/one.yaml", ""),
            ("b/two.yaml", ""),
            (".sops.yaml", ""),
            (".gitignore", "out\n"),
            ("out/x.yaml", ""),
        ] {
            fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            fs::write(root.join(path), text).unwrap();
        }
        fs::create_dir_all(root.join(".git")).unwrap();
        fs::write(root.join(".git/config"), "x").unwrap();
        let own = |names: &[&str]| -> Vec<(String, bool)> {
            names.iter().map(|name| ((*name).to_owned(), *name == "one.yaml")).collect()
        };
        let all = [".gitignore", ".sops.yaml", "one.yaml", "two.yaml"];
        assert_eq!(names(&[root.join("a")], false), own(&all));
        let more = [".gitignore", ".sops.yaml", "one.yaml", "two.yaml", "x.yaml"];
        assert_eq!(names(&[root.join("a")], true), own(&more));
        let named = names(&[root.join("out/x.yaml")], false);
        assert!(named.contains(&("x.yaml".to_owned(), true)) && named.len() == 5, "{named:?}");
    }

    #[cfg(unix)]
    #[test]
    fn links_and_pipes_are_left_alone_and_large_files_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret.yaml"), "kind: Secret").unwrap();
        for (link, to) in
            [("file.yaml", outside.path().join("secret.yaml")), ("folder", outside.path().into())]
        {
            std::os::unix::fs::symlink(to, root.join(link)).unwrap();
        }
        std::os::unix::fs::symlink("..", root.join("above")).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(root.join("pipe.yaml")).status().unwrap().success());
        fs::File::create(root.join("large.yaml")).unwrap().set_len(MAX_BYTES + 1).unwrap();
        let tree = Tree::of(std::slice::from_ref(&root)).unwrap();
        let read = tree.read(false, |source, _| Some(source.shown.clone())).unwrap();
        assert_eq!((read.results.len(), read.files, read.large.len()), (0, 1, 1), "{:?}", read.results);
        assert_eq!(names(&[root.join("file.yaml")], false), [], "a link that leads out, though named");
    }
}
