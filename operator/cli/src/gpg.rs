//! The person's own GnuPG: which secret keys it has, and what is in one message. Its agent asks for PIN or passphrase, and keeps
//! it as it is configured to; none passes through here. What is in a message comes by a pipe into memory that is wiped.

use std::ffi::OsString;
use std::io::{ErrorKind, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use zeroize::Zeroizing;

use crate::error::{Explain, one_line};

/// Longer than a data key, a share of one, or an age identity, so that a longer payload is seen to be none of them.
const MAX_PAYLOAD: usize = 128;
/// What is kept of gpg's messages, and how much of one is shown.
const MAX_SAID: u64 = 64 << 10;
const SHOWN: usize = 200;
const STATUS: &str = "[GNUPG:] ";

/// A GnuPG on this machine.
pub struct Gpg {
    program: OsString,
}

/// Why GnuPG gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum GpgError {
    /// It cannot be run.
    #[error("run {}", .0.display())]
    Run(PathBuf, #[source] std::io::Error),
    /// The secret key is there and was not used: cancelled, a wrong PIN, a card that is gone or was not touched.
    #[error("open a PGP message: gpg did not use the key: {0}")]
    Key(String),
    /// It made no message.
    #[error("encrypt to a PGP key: gpg cannot: {0}")]
    Encrypt(String),
    /// The key could not be handed to it.
    #[error("hand a public key to gpg")]
    File(#[source] std::io::Error),
    /// It is the message's fault.
    #[error("open a PGP message: gpg cannot: {0}")]
    Message(String),
}

impl GpgError {
    /// Whether the next message would fare no better.
    pub const fn is_of_the_key(&self) -> bool {
        !matches!(self, Self::Message(_))
    }
}

impl Explain for GpgError {
    fn hint(&self) -> String {
        match self {
            Self::Run(..) => {
                "install GnuPG, or name it in SOPS_GPG_EXEC as for sops".to_owned()
            }
            Self::Key(_) => {
                "nobody is asked again by itself; see gpg --card-status (is the YubiKey plugged in, are PIN tries left), then run \
                 it again; after gpgconf --kill scdaemon gpg needs five seconds"
                    .to_owned()
            }
            Self::Encrypt(_) => "look at the key: gpg --list-keys (has it run out, can it encrypt)".to_owned(),
            Self::File(_) => "look at the folder for temporary files (TMPDIR)".to_owned(),
            Self::Message(_) => "use its last version from git that stock sops opens".to_owned(),
        }
    }
}

impl Gpg {
    /// The one that sops would run.
    pub fn of_environment() -> Self {
        let named = std::env::var_os("SOPS_GPG_EXEC").filter(|program| !program.is_empty());
        Self { program: named.unwrap_or_else(|| "gpg".into()) }
    }

    /// The fingerprints of all secret keys it knows, of subkeys, too; those on cards it has seen among them.
    ///
    /// # Errors
    /// It cannot be run.
    pub fn secret_keys(&self) -> Result<Vec<String>, GpgError> {
        let listed = self.quietly(&["--with-subkey-fingerprint", "--with-colons", "--list-secret-keys"])?;
        let listed = String::from_utf8_lossy(&listed);
        let fingerprints = listed.lines().filter(|line| line.starts_with("fpr:"));
        Ok(fingerprints.filter_map(|line| line.split(':').nth(9)).map(str::to_owned).collect())
    }

    /// What is in a message. `secret` are [`Gpg::secret_keys`], to tell a key that failed from a message that did.
    ///
    /// # Errors
    /// Nobody let the key be used, or the message is none that it opens.
    pub fn open(&self, message: &str, secret: &[String]) -> Result<Zeroizing<Vec<u8>>, GpgError> {
        let mut child = self.start()?;
        let telling = child.stderr.take().map(|stderr| std::thread::spawn(move || told(stderr)));
        let payload = exchange(&mut child, message);
        let ended = child.wait().map_err(|error| self.not_run(error))?;
        let said = telling.and_then(|thread| thread.join().ok()).unwrap_or_default();
        let status = Said::of(&said);
        match payload.map_err(|error| self.not_run(error))? {
            // Without the last word, what came may never have been encrypted.
            Some(payload) if ended.success() && status.opened => Ok(payload),
            Some(_) if ended.success() => Err(GpgError::Message("nothing in it is encrypted".to_owned())),
            None => Err(GpgError::Message("there is more in it than a key".to_owned())),
            Some(_) if status.failed_with_one_of(secret) => Err(GpgError::Key(status.words)),
            Some(_) => Err(GpgError::Message(status.words)),
        }
    }

    /// The public key of a fingerprint, armored, without what others certified of it; `None` if it has none.
    ///
    /// # Errors
    /// It cannot be run.
    pub fn public_key(&self, fingerprint: &str) -> Result<Option<String>, GpgError> {
        let export = ["--armor", "--export-options", "export-minimal", "--export", fingerprint];
        let output = self.quietly(&export)?;
        Ok(String::from_utf8(output).ok().filter(|key| !key.is_empty()))
    }

    /// Where this key's decryption keys are that are in force, each place once: the serial number of a YubiKey, `None` for any
    /// other place. gpg encrypts to one of them of its own choice.
    ///
    /// # Errors
    /// It cannot be run.
    pub fn cards_of(&self, fingerprint: &str) -> Result<Vec<Option<u32>>, GpgError> {
        let listed = self.quietly(&["--with-colons", "--list-secret-keys", fingerprint])?;
        Ok(places(&String::from_utf8_lossy(&listed)))
    }

    /// The fingerprints of the primary keys in a public key: one, if it is no bundle.
    ///
    /// # Errors
    /// It cannot be run.
    pub fn primaries_of(&self, public_key: &str) -> Result<Vec<String>, GpgError> {
        let file = key_file(public_key)?;
        let mut command = self.command(&["--with-colons", "--show-keys"]);
        let output = command.arg(file.path()).stdin(Stdio::null()).output();
        let listed = output.map_err(|error| self.not_run(error))?.stdout;
        Ok(primaries(&String::from_utf8_lossy(&listed)))
    }

    /// Encrypts to this public key alone, whatever the person's configuration adds elsewhere.
    ///
    /// # Errors
    /// It makes no message.
    pub fn encrypt_to(&self, public_key: &str, plaintext: &[u8]) -> Result<String, GpgError> {
        let file = key_file(public_key)?;
        let mut command = self.command(&["--armor", "--no-encrypt-to", "--no-default-recipient"]);
        command.args(["--trust-model", "always", "--recipient-file"]).arg(file.path()).arg("--encrypt");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| self.not_run(error))?;
        if let Some(mut stdin) = child.stdin.take() {
            // Who does not read it all says why.
            let _ = stdin.write_all(plaintext);
        }
        let output = child.wait_with_output().map_err(|error| self.not_run(error))?;
        let message = String::from_utf8(output.stdout).ok().filter(|_| output.status.success());
        message.ok_or_else(|| {
            let said = Said::of(&String::from_utf8_lossy(&output.stderr));
            GpgError::Encrypt(said.words)
        })
    }

    fn quietly(&self, arguments: &[&str]) -> Result<Vec<u8>, GpgError> {
        let output = self.command(arguments).stdin(Stdio::null()).output();
        Ok(output.map_err(|error| self.not_run(error))?.stdout)
    }

    fn start(&self) -> Result<Child, GpgError> {
        let mut command = self.command(&["--status-fd", "2", "--decrypt"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().map_err(|error| self.not_run(error))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--batch").args(arguments);
        // A pinentry on this terminal needs its name, and gpg finds none: its stdin is a pipe.
        #[cfg(unix)]
        if std::env::var_os("GPG_TTY").is_none()
            && let Ok(name) = rustix::termios::ttyname(std::io::stderr(), Vec::new())
            && let Ok(name) = name.into_string()
        {
            command.env("GPG_TTY", name);
        }
        command
    }

    fn not_run(&self, error: std::io::Error) -> GpgError {
        GpgError::Run(PathBuf::from(&self.program), error)
    }
}

/// A public key where gpg reads it; gone with what is returned.
fn key_file(public_key: &str) -> Result<tempfile::NamedTempFile, GpgError> {
    let mut file = tempfile::NamedTempFile::new().map_err(GpgError::File)?;
    file.write_all(public_key.as_bytes()).and_then(|()| file.flush()).map_err(GpgError::File)?;
    Ok(file)
}

/// The message in, the payload out; `None` if there is more than a payload may be.
fn exchange(child: &mut Child, message: &str) -> std::io::Result<Option<Zeroizing<Vec<u8>>>> {
    if let Some(mut stdin) = child.stdin.take() {
        // Who does not read it all says why.
        let _ = stdin.write_all(message.as_bytes());
    }
    let Some(mut stdout) = child.stdout.take() else { return Ok(None) };
    let mut payload = Zeroizing::new(vec![0; MAX_PAYLOAD + 1]);
    let mut length = 0;
    while length < payload.len() {
        match stdout.read(&mut payload[length..]) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    payload.truncate(length);
    Ok((length <= MAX_PAYLOAD).then_some(payload))
}

/// All that is said is read, so that nobody waits for us; not all is kept.
fn told(mut stderr: impl Read) -> String {
    let mut said = Vec::new();
    let _ = stderr.by_ref().take(MAX_SAID).read_to_end(&mut said);
    let _ = std::io::copy(&mut stderr, &mut std::io::sink());
    String::from_utf8_lossy(&said).into_owned()
}

/// What gpg said, for programs and for people.
#[derive(Default)]
struct Said {
    opened: bool,
    /// A secret key gave the session key.
    unlocked: bool,
    /// Key IDs the message is encrypted to.
    recipients: Vec<String>,
    words: String,
}

impl Said {
    fn of(text: &str) -> Self {
        let mut said = Self::default();
        for status in text.lines().filter_map(|line| line.strip_prefix(STATUS)) {
            let mut words = status.split(' ');
            match (words.next(), words.next()) {
                (Some("DECRYPTION_OKAY"), _) => said.opened = true,
                (Some("DECRYPTION_KEY"), _) => said.unlocked = true,
                (Some("ENC_TO"), Some(id)) => said.recipients.push(id.to_owned()),
                _ => {}
            }
        }
        let words = text.lines().filter_map(|line| line.strip_prefix("gpg: "));
        // The last two: the second of them is a generality.
        let words: Vec<&str> = words.collect();
        let last = words[words.len().saturating_sub(2)..].join("; ");
        said.words = one_line(&last).chars().take(SHOWN).collect();
        if said.words.is_empty() {
            "it does not say why".clone_into(&mut said.words);
        }
        said
    }

    /// A recipient that is not named (`throw-keyids`) is any of them: gpg tried each.
    fn failed_with_one_of(&self, secret: &[String]) -> bool {
        let unnamed = |id: &str| id.bytes().all(|digit| digit == b'0');
        let ours = |id: &String| secret.iter().any(|key| unnamed(id) || is_of(key, id));
        !self.unlocked && self.recipients.iter().any(ours)
    }
}

/// The places of the decryption keys in a listing of secret keys. The second field of a key's line is its validity, the 12th what
/// it can do, the 15th its card. What is revoked or expired nobody encrypts to.
fn places(listed: &str) -> Vec<Option<u32>> {
    let mut places = Vec::new();
    for fields in listed.lines().map(|line| line.split(':').collect::<Vec<_>>()) {
        let field = |index: usize| fields.get(index).copied().unwrap_or_default();
        let decrypts = matches!(field(0), "sec" | "ssb") && field(11).contains('e');
        let place = yubikey(field(14));
        if decrypts && !matches!(field(1), "r" | "e") && !places.contains(&place) {
            places.push(place);
        }
    }
    places
}

/// The serial number of a YubiKey, out of an OpenPGP card's number.
fn yubikey(card: &str) -> Option<u32> {
    const YUBICO: &str = "0006";
    let card = card.strip_prefix("D276000124")?;
    card.get(10..18).filter(|_| card.get(6..10) == Some(YUBICO))?.parse().ok()
}

/// The first fingerprint after each primary key of a listing; subkeys have theirs after them.
fn primaries(listed: &str) -> Vec<String> {
    let mut lines = listed.lines();
    let mut found = Vec::new();
    while lines.any(|line| line.starts_with("pub:")) {
        let fingerprint = lines.find(|line| line.starts_with("fpr:")).and_then(|line| line.split(':').nth(9));
        found.extend(fingerprint.map(str::to_owned));
    }
    found
}

/// Whether a fingerprint or key ID, as somebody wrote it, is of the key with this whole fingerprint.
pub fn is_of(fingerprint: &str, written: &str) -> bool {
    const SHORTEST: usize = 16;
    let mut written: String = written.chars().filter(|c| !c.is_whitespace()).collect();
    written.make_ascii_uppercase();
    let written = written.strip_prefix("0X").unwrap_or(&written).trim_end_matches('!');
    written.len() >= SHORTEST && fingerprint.ends_with(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "34B6B6011955739227F1E44D698A4420F3D14075";

    #[test]
    fn a_key_is_found_by_whatever_people_write() {
        for written in [
            KEY,
            "698A4420F3D14075",
            "0x698a4420f3d14075!",
            "34B6 B601 1955 7392 27F1  E44D 698A 4420 F3D1 4075",
        ] {
            assert!(is_of(KEY, written), "{written}");
        }
        for other in ["F3D14075", "", "F05FFEC4AA57C593A6B02DAE857482AED0123943"] {
            assert!(!is_of(KEY, other), "{other}");
        }
    }

    #[test]
    fn a_decryption_key_is_where_its_line_says() {
        let line = |kind: &str, validity: &str, can: &str, card: &str| {
            format!("{kind}:{validity}:256:18:A30E1FA8D46C1035:1796039740::::::{can}:::{card}::nistp256::\n")
        };
        let card = "D2760001240103040006200000010000";
        let on = |kind, can, card| places(&line(kind, "u", can, card));
        assert_eq!(on("ssb", "e", card), [Some(20_000_001)]);
        assert_eq!((on("ssb", "s", card), on("fpr", "e", card)), (vec![], vec![]));
        for other in ["+", "#", "D2760001240103040005200000010000", "D2760001240103040006"] {
            assert_eq!(on("ssb", "e", other), [None], "{other}");
        }
        // gpg encrypts to the newest that is in force: all of them count, and no other.
        let with = |more: &str| places(&(line("ssb", "u", "e", card) + more));
        assert_eq!(with(&line("ssb", "u", "e", "+")), [Some(20_000_001), None]);
        assert_eq!(with(&line("ssb", "u", "e", card)), [Some(20_000_001)]);
        for gone in ["r", "e"] {
            assert_eq!(with(&line("ssb", gone, "e", "+")), [Some(20_000_001)], "{gone}");
            assert_eq!(places(&line("ssb", gone, "e", card)), [], "{gone}");
        }
    }

    #[test]
    fn a_public_keys_fingerprint_is_its_primary_keys() {
        let key = |primary: &str, sub: &str| {
            format!(
                "pub:u:255:22:1:2::::::scESC:\nfpr:::::::::{primary}:\nuid:u::::x::\nsub:u:255:18:3:4::::::e:\nfpr:::::::::{sub}:\n"
            )
        };
        assert_eq!(primaries(&key("AA", "BB")), ["AA"]);
        assert_eq!(primaries(&(key("AA", "BB") + &key("CC", "DD"))), ["AA", "CC"]);
        assert!(primaries("").is_empty());
    }

    #[test]
    fn a_key_that_failed_is_told_from_a_message_that_did() {
        let cancelled = "[GNUPG:] ENC_TO 698A4420F3D14075 18 0\ngpg: encrypted with ECDH key\n      \"alice\"\n\
            gpg: public key decryption failed: Operation cancelled\n[GNUPG:] BEGIN_DECRYPTION\n[GNUPG:] DECRYPTION_FAILED\n\
            gpg: decryption failed: No secret key\n";
        let said = Said::of(cancelled);
        assert!(said.failed_with_one_of(&[KEY.to_owned()]) && !said.failed_with_one_of(&[]));
        assert_eq!(
            said.words,
            "public key decryption failed: Operation cancelled; decryption failed: No secret key"
        );
        let damaged =
            Said::of("[GNUPG:] ENC_TO 698A4420F3D14075 18 0\n[GNUPG:] DECRYPTION_KEY 34B6 F05F u\n");
        assert!(!damaged.failed_with_one_of(&[KEY.to_owned()]) && !damaged.opened);
        let unnamed = Said::of(&cancelled.replace("698A4420F3D14075", "0000000000000000"));
        assert!(unnamed.failed_with_one_of(&[KEY.to_owned()]) && !unnamed.failed_with_one_of(&[]));
        let elses = Said::of(&cancelled.replace("698A4420F3D14075", "0000000000000001"));
        assert!(!elses.failed_with_one_of(&[KEY.to_owned()]));
        assert_eq!(Said::of("").words, "it does not say why");
    }
}
