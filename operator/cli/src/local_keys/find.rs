//! The Keyring manifest that belongs to a tree: beside the files, in a folder above, else below a folder that was named.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::error::LocalKeysError;
use crate::error::Failure;
use crate::files;
use crate::manifest_file::{ManifestFile, ManifestFileError};

/// Folders above a file that are looked into, and levels below a named folder.
const MAX_LEVELS: usize = 64;
const MAX_BYTES: u64 = 3 * 1024 * 1024;

type Found = BTreeMap<PathBuf, ManifestFile>;

/// The one manifest, with its path; `None` without any. One that is known comes before one that is not, however near that
/// lies; else the nearest. A damaged one is an error, not an absence.
pub fn manifest(
    places: &[PathBuf],
    is_known: &dyn Fn(&ManifestFile) -> bool,
) -> Result<Option<(PathBuf, ManifestFile)>, Failure> {
    let (mut known, mut others) = (Found::new(), Found::new());
    for place in places {
        let place = place.canonicalize().unwrap_or_else(|_| place.clone());
        let (ours, unknown) = of_place(&place, is_known)?;
        known.extend(ours);
        others.extend(unknown);
    }
    let mut found = if known.is_empty() { others } else { known };
    match found.len() {
        0 | 1 => Ok(found.pop_first()),
        _ => Err(LocalKeysError::SeveralKeyrings(found.into_keys().collect()).into()),
    }
}

/// The known ones nearest to a place, and the unknown ones nearest to it.
fn of_place(place: &Path, is_known: &dyn Fn(&ManifestFile) -> bool) -> Result<(Found, Found), Failure> {
    let folder = if place.is_dir() { Some(place) } else { place.parent() };
    let mut nearest = Found::new();
    for folder in folder.into_iter().flat_map(Path::ancestors).take(MAX_LEVELS) {
        let (known, others) = divided(manifests_in(folder)?, is_known);
        if !known.is_empty() {
            return Ok((known, Found::new()));
        }
        if nearest.is_empty() {
            nearest = others;
        }
        if folder.join(".git").exists() {
            break;
        }
    }
    if place.is_dir() {
        let mut here = Vec::new();
        below(place, MAX_LEVELS, &mut here)?;
        let (known, others) = divided(here, is_known);
        if !known.is_empty() {
            return Ok((known, Found::new()));
        }
        if nearest.is_empty() {
            nearest = others;
        }
    }
    Ok((Found::new(), nearest))
}

fn divided(found: Vec<(PathBuf, ManifestFile)>, is_known: &dyn Fn(&ManifestFile) -> bool) -> (Found, Found) {
    found.into_iter().partition(|(_, file)| is_known(file))
}

fn manifests_in(folder: &Path) -> Result<Vec<(PathBuf, ManifestFile)>, Failure> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found = Vec::new();
    for path in entries.map(|entry| entry.path()).filter(|path| is_candidate(path)) {
        let Ok(text) = files::read_text(&path, MAX_BYTES) else { continue };
        if !(text.contains("touchseal.dev/") && text.contains("Keyring")) {
            continue;
        }
        match ManifestFile::parse(&text, &path.display().to_string()) {
            Ok(manifest) => found.push((path, manifest)),
            Err(ManifestFileError::Yaml { .. } | ManifestFileError::NotAKeyring { .. }) => {}
            Err(other) => return Err(other.into()),
        }
    }
    Ok(found)
}

fn is_candidate(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str());
    matches!(ending, Some("yaml" | "yml" | "json")) && path.is_file()
}

fn below(folder: &Path, levels: usize, found: &mut Vec<(PathBuf, ManifestFile)>) -> Result<(), Failure> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| {
        entry.file_type().is_ok_and(|kind| kind.is_dir())
            && !entry.file_name().to_string_lossy().starts_with('.')
    });
    for folder in folders.map(|entry| entry.path()) {
        found.extend(manifests_in(&folder)?);
        if levels > 0 {
            below(&folder, levels - 1, found)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::card::testing::holder;
    use crate::manifest_file::render;
    use std::fs;
    use touchseal_keyring::manifest as keyring;

    fn text(name: &str) -> String {
        render(name, &keyring::create(vec![holder("anna", 1)], "2026-01-01T00:00:00Z").unwrap().0).unwrap()
    }

    #[test]
    fn the_nearest_manifest_beside_or_above_is_the_one() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let deep = root.join("a/b");
        fs::create_dir_all(&deep).unwrap();
        fs::create_dir_all(root.join(".git")).unwrap();
        fs::write(deep.join("app.yaml"), "x: 1\n").unwrap();
        let found =
            |place: &Path| manifest(&[place.to_owned()], &|_| false).map(|found| found.map(|(path, _)| path));
        assert_eq!(found(&deep.join("app.yaml")), Ok(None));
        fs::write(root.join("ring.yaml"), text("main")).unwrap();
        assert_eq!(found(&deep.join("app.yaml")), Ok(Some(root.join("ring.yaml"))));
        fs::write(root.join("a/near.yml"), text("near")).unwrap();
        assert_eq!(found(&deep), Ok(Some(root.join("a/near.yml"))));
        fs::write(root.join("a/second.yaml"), text("second")).unwrap();
        assert!(found(&deep).unwrap_err().what().contains("several"));
    }

    #[test]
    fn nothing_above_the_repository_counts_and_a_folders_inside_does() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("repo/.git")).unwrap();
        fs::create_dir_all(root.join("repo/cluster/prod")).unwrap();
        fs::write(root.join("ring.yaml"), text("outside")).unwrap();
        let repo = root.join("repo");
        assert!(manifest(std::slice::from_ref(&repo), &|_| false).unwrap().is_none());
        fs::write(repo.join("cluster/prod/ring.yaml"), text("inside")).unwrap();
        assert_eq!(manifest(std::slice::from_ref(&repo), &|_| false).unwrap().unwrap().1.name(), "inside");
        let damaged = text("inside").replace("revision: 1", "revision: 2");
        fs::write(repo.join("cluster/prod/ring.yaml"), damaged).unwrap();
        assert!(manifest(&[repo], &|_| false).is_err(), "a damaged manifest is no absence");
    }

    #[test]
    fn a_known_keyring_comes_before_one_that_lies_nearer() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs::create_dir_all(root.join(".git")).unwrap();
        fs::create_dir_all(root.join("shop/below")).unwrap();
        for (path, name) in [("ring.yaml", "ours"), ("shop/x.yaml", "theirs"), ("shop/below/y.yaml", "more")]
        {
            fs::write(root.join(path), text(name)).unwrap();
        }
        let found = |place: &str, known: &str| {
            let found = manifest(&[root.join(place)], &|file| file.name() == known).unwrap();
            found.unwrap().1.name().to_owned()
        };
        assert_eq!(found("shop/app.yaml", "ours"), "ours");
        assert_eq!(found("shop", "ours"), "ours");
        assert_eq!(found("shop", "more"), "more", "below a folder, too");
        assert_eq!(found("shop/app.yaml", "nobody"), "theirs");
        let both = manifest(&[root.join("shop/app.yaml"), root.clone()], &|file| file.name() == "ours");
        assert_eq!(both.unwrap().unwrap().1.name(), "ours");
    }
}
