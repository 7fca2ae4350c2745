//! Which namespaces a file on its own may be of: those its folders are named after, and those that the rules written by
//! `touchseal recipients` name. Hints only: the keys decide.

use std::path::Path;

use crate::{creation_rules, files};

const MAX_FOLDERS: usize = 64;
const MAX_RULES_BYTES: u64 = 1024 * 1024;

/// Namespaces in the order of likelihood, none twice.
pub fn namespaces(path: &Path, keyring: &str) -> Vec<String> {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let mut found: Vec<String> = Vec::new();
    let mut add = |name: String| {
        if is_label(&name) && !found.contains(&name) {
            found.push(name);
        }
    };
    let folders: Vec<&Path> = path.ancestors().skip(1).take(MAX_FOLDERS).collect();
    let repository = folders.iter().position(|folder| folder.join(".git").exists());
    let folders = &folders[..repository.map_or(folders.len(), |last| last + 1)];
    for folder in folders {
        add(folder.file_name().unwrap_or_default().to_string_lossy().into_owned());
    }
    for folder in folders {
        let Ok(text) = files::read_text(&folder.join(".sops.yaml"), MAX_RULES_BYTES) else { continue };
        creation_rules::namespaces(&text, keyring).into_iter().for_each(&mut add);
    }
    found
}

/// RFC 1123 label: nothing else can be a namespace.
fn is_label(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&name.len())
        && name.bytes().all(inner)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn folders_come_first_then_the_rules() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("repo/shop/Settings");
        fs::create_dir_all(&deep).unwrap();
        fs::create_dir_all(dir.path().join("repo/.git")).unwrap();
        fs::write(deep.join("app.yaml"), "").unwrap();
        let rules = "creation_rules:\n  # touchseal: keyring main, namespace chat\n  - age: x\n  # touchseal: keyring other, namespace no\n";
        fs::write(dir.path().join("repo/.sops.yaml"), rules).unwrap();
        assert_eq!(namespaces(&deep.join("app.yaml"), "main"), ["shop", "repo", "chat"]);
    }
}
