//! age identities where sops 3.11 looks for them: SOPS_AGE_KEY, SOPS_AGE_KEY_FILE and `sops/age/keys.txt` in the person's
//! configuration folder (sops, `age/keysource.go`). X25519 identities are used; other kinds are named where they matter.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use touchseal_sops::{Document, KeyGroup, Opener};
use zeroize::Zeroizing;

const MAX_BYTES: usize = 256 * 1024;
/// Places sops reads and this does not.
const NOT_READ: [&str; 2] = ["SOPS_AGE_KEY_CMD", "SOPS_AGE_SSH_PRIVATE_KEY_FILE"];

/// The identities at hand.
#[derive(Default)]
pub struct Stock {
    identities: Vec<age::x25519::Identity>,
    opener: Rc<Opener>,
    notes: Vec<String>,
}

impl Stock {
    /// Reads every place; one that is missing or odd keeps the others from nothing.
    pub fn read() -> Self {
        Self::of(&|name| std::env::var_os(name).map(PathBuf::from))
    }

    fn of(variable: &dyn Fn(&str) -> Option<PathBuf>) -> Self {
        let mut stock = Self::default();
        if let Some(text) = variable("SOPS_AGE_KEY") {
            let text = Zeroizing::new(text.to_string_lossy().into_owned());
            stock.take("SOPS_AGE_KEY", &text);
        }
        if let Some(path) = variable("SOPS_AGE_KEY_FILE") {
            stock.take_file("SOPS_AGE_KEY_FILE", &path);
        }
        if let Some(path) = default_file(variable).filter(|path| path.exists()) {
            stock.take_file(&path.display().to_string(), &path);
        }
        for name in NOT_READ.into_iter().filter(|name| variable(name).is_some()) {
            stock.notes.push(format!("{name} is not supported"));
        }
        let opener = stock.identities.iter().fold(Opener::new(), |all, one| all.with_x25519(one.clone()));
        stock.opener = Rc::new(opener);
        stock
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.identities.is_empty()
    }

    /// Whether these identities alone open the document, going by the recipients it names.
    pub fn suffices(&self, document: &Document) -> bool {
        let metadata = document.metadata();
        metadata.groups().iter().filter(|group| self.covers(group)).count() >= metadata.threshold()
    }

    /// Whether one of these identities is for this key group.
    pub fn covers(&self, group: &KeyGroup) -> bool {
        group.age().iter().any(|key| self.opener.recipients().any(|own| own == key.recipient()))
    }

    /// All of them.
    pub fn opener(&self) -> Rc<Opener> {
        Rc::clone(&self.opener)
    }

    /// The same behind others.
    pub fn add_to(&self, opener: Opener) -> Opener {
        self.identities.iter().fold(opener, |all, one| all.with_x25519(one.clone()))
    }

    /// What was found where, for a message.
    pub fn looked(&self) -> String {
        let found = match self.identities.len() {
            0 => "no age identity is at hand".to_owned(),
            1 => "the one age identity at hand is not among them".to_owned(),
            several => format!("none of the {several} age identities at hand is among them"),
        };
        std::iter::once(&found).chain(&self.notes).map(String::as_str).collect::<Vec<_>>().join("; ")
    }

    fn take_file(&mut self, place: &str, path: &Path) {
        match read(path) {
            Ok(text) => self.take(place, &text),
            Err(error) => self.notes.push(format!("{place} cannot be read ({error})")),
        }
    }

    /// One identity a line; empty lines and comments are passed over.
    fn take(&mut self, place: &str, text: &str) {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        for (index, line) in lines.enumerate() {
            let kind = if line.starts_with("AGE-SECRET-KEY-1") {
                match line.parse() {
                    Ok(identity) => {
                        self.identities.push(identity);
                        continue;
                    }
                    Err(_) => "damaged",
                }
            } else if line.starts_with("AGE-PLUGIN-") {
                "of an age plugin, which is not supported"
            } else if index == 0 && line.starts_with("-----BEGIN AGE")
                || line.starts_with("age-encryption.org/")
            {
                self.notes.push(format!("{place} is encrypted with a passphrase, which is not supported"));
                return;
            } else {
                "of an unknown kind"
            };
            self.notes.push(format!("{place} holds an identity {kind}"));
        }
    }
}

/// `sops/age/keys.txt`: below `$XDG_CONFIG_HOME`, else where the system keeps configuration.
fn default_file(variable: &dyn Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let set = |name: &str| variable(name).filter(|value| !value.as_os_str().is_empty());
    let folder = if cfg!(windows) {
        set("APPDATA")
    } else if cfg!(target_os = "macos") {
        set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join("Library/Application Support")))
    } else {
        set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")))
    };
    folder.map(|folder| folder.join("sops/age/keys.txt"))
}

/// The text of a file of private keys, in one buffer that never grows and is wiped.
fn read(path: &Path) -> std::io::Result<Zeroizing<String>> {
    let mut file = std::fs::File::open(path)?.take(MAX_BYTES as u64 + 1);
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_BYTES + 1));
    file.read_to_end(&mut bytes)?;
    let text = std::str::from_utf8(&bytes).ok().filter(|_| bytes.len() <= MAX_BYTES);
    let text = text.ok_or_else(|| std::io::Error::other("it is no file of age identities"))?;
    Ok(Zeroizing::new(text.to_owned()))
}

#[cfg(test)]
impl Stock {
    /// As if `SOPS_AGE_KEY` were all there is.
    pub(super) fn of_text(text: &str) -> Self {
        Self::of(&|name| (name == "SOPS_AGE_KEY").then(|| PathBuf::from(text)))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use age::secrecy::ExposeSecret;
    use std::collections::HashMap;

    const KEY: &str = "AGE-SECRET-KEY-1";

    /// An identity as a key file has it.
    pub fn text_of(identity: &age::x25519::Identity) -> String {
        identity.to_string().expose_secret().to_owned()
    }

    fn identity() -> (String, String) {
        let identity = age::x25519::Identity::generate();
        (text_of(&identity), identity.to_public().to_string())
    }

    fn stock(variables: &[(&str, &Path)]) -> Stock {
        let variables: HashMap<_, _> =
            variables.iter().map(|(name, value)| (*name, value.to_path_buf())).collect();
        Stock::of(&|name| variables.get(name).cloned())
    }

    #[test]
    fn all_places_are_read_and_an_odd_one_costs_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let ((one, first), (two, second), (three, third)) = (identity(), identity(), identity());
        let file = dir.path().join("keys");
        std::fs::write(&file, format!("# comment\r\n\r\n{two}\r\n")).unwrap();
        let home = dir.path().join("sops/age");
        std::fs::create_dir_all(&home).unwrap();
        std::fs::write(home.join("keys.txt"), format!("{three}\n")).unwrap();
        let all = stock(&[
            ("SOPS_AGE_KEY", Path::new(&one)),
            ("SOPS_AGE_KEY_FILE", &file),
            ("XDG_CONFIG_HOME", dir.path()),
        ]);
        assert_eq!(all.opener.recipients().collect::<Vec<_>>(), [first, second.clone(), third]);
        assert!(all.notes.is_empty(), "{:?}", all.notes);
        let missing = stock(&[
            ("SOPS_AGE_KEY_FILE", Path::new("/nonexistent/keys")),
            ("SOPS_AGE_KEY", Path::new(&two)),
        ]);
        assert_eq!(missing.opener.recipients().collect::<Vec<_>>(), [second]);
        assert!(missing.looked().contains("SOPS_AGE_KEY_FILE cannot be read"), "{}", missing.looked());
    }

    #[test]
    fn what_is_not_used_is_named_and_never_shown() {
        for (text, word) in [
            ("AGE-PLUGIN-YUBIKEY-1HUNTER", "age plugin"),
            ("AGE-SECRET-KEY-1HUNTER", "damaged"),
            ("HUNTER", "unknown kind"),
            ("-----BEGIN AGE ENCRYPTED FILE-----\nHUNTER\n", "passphrase"),
        ] {
            let looked = stock(&[("SOPS_AGE_KEY", Path::new(text))]).looked();
            assert!(looked.contains(word) && !looked.contains("HUNTER") && !looked.contains(KEY), "{looked}");
        }
    }
}
