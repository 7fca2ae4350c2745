//! Asks about recipients that a creation rule names beside, or instead of, the one of the namespace it was written for:
//! whoever can write to the repository can add a line to it, and every file encrypted from then on is theirs to read.

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::{Exit, Failure, one_line};
use crate::terminal;

/// What was found, over all files.
#[derive(Default)]
pub struct Consent {
    /// Why each is doubtful, and the first file it would read.
    doubtful: BTreeMap<String, (String, String)>,
}

impl Consent {
    pub fn add(&mut self, recipients: &[String], why: &str, file: &Path) {
        for recipient in recipients {
            let of_file = || (why.to_owned(), file.display().to_string());
            self.doubtful.entry(recipient.clone()).or_insert_with(of_file);
        }
    }

    /// Asks once; `accepted` answers beforehand.
    pub fn ask(&self, accepted: bool) -> Result<(), Failure> {
        if self.doubtful.is_empty() || accepted {
            return Ok(());
        }
        terminal::say(&format!(
            "Nothing vouches for these recipients, and they will be able to read what is encrypted:\n{}",
            self.lines().trim_end()
        ));
        match terminal::confirm("Do you know whose they are?") {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(Failure::new(
                Exit::Refused,
                format!("encrypt to {} not confirmed", super::counted(self.doubtful.len(), "recipient")),
                "nothing was written; compare them with touchseal recipients, then confirm on a terminal or with \
                 --accept-others",
            )),
        }
    }

    /// Names may hold what moves the cursor: a line that was printed stays printed.
    fn lines(&self) -> String {
        let line = |(recipient, (why, file)): (&String, &(String, String))| {
            format!("  {}\n    {}: {}\n", one_line(recipient), one_line(file), one_line(why))
        };
        self.doubtful.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_named_once_in_full_and_on_lines_of_its_own() {
        let mut consent = Consent::default();
        for file in ["a\u{1b}[1A.yaml", "b.yaml"] {
            consent.add(&["age1x".to_owned(), "age1y\nall is well".to_owned()], "because", Path::new(file));
        }
        let lines = consent.lines();
        assert_eq!(lines.lines().count(), 4, "{lines}");
        assert!(lines.starts_with("  age1x\n    a\u{fffd}[1A.yaml: because\n"), "{lines}");
        assert!(consent.ask(true).is_ok());
    }
}
