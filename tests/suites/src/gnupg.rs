//! GnuPG as a person has it: real gpg, gpg-agent and scdaemon in a home of their own, at a laptop's reader. The pinentry is a script
//! that knows the answers and counts how often it was asked: test equipment.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use touchseal_rig::scratch::Scratch;

use crate::cli::Said;

/// What protects keys that are on no card.
const PASSPHRASE: &str = "correct horse";
/// A software key's OpenPGP PINs, as from the factory.
const PINS: [(&str, &str); 2] = [("pin", "123456"), ("admin", "12345678")];

/// Answers are files; without the file of what is asked for, the person cancels.
const PINENTRY: &str = r#"#!/bin/sh
here=$(dirname "$0")
what=passphrase
echo "OK test equipment"
while read -r command rest; do
    case $command in
    SETPROMPT)
        case $rest in *Admin*) what=admin ;; *PIN*) what=pin ;; esac
        echo OK ;;
    GETPIN)
        echo "$what" >> "$here/asked"
        if [ -f "$here/$what" ]; then echo "D $(cat "$here/$what")"; echo OK; else echo "ERR 83886179 cancelled"; fi ;;
    BYE) echo OK; exit ;;
    *) echo OK ;;
    esac
done
"#;

/// A home of GnuPG. Its daemons end with it.
pub struct Gnupg {
    home: Scratch,
}

impl Gnupg {
    /// An empty one, at the reader with this socket.
    pub fn new(reader: &Path) -> Gnupg {
        let gnupg = Gnupg { home: Scratch::new("gpg").unwrap() };
        let pinentry = gnupg.path("pinentry");
        fs::write(&pinentry, PINENTRY).unwrap();
        fs::set_permissions(&pinentry, fs::Permissions::from_mode(0o700)).unwrap();
        for (name, answer) in PINS.into_iter().chain([("passphrase", PASSPHRASE)]) {
            gnupg.answer(name, Some(answer));
        }
        // The count saves seconds of making passphrases of test keys hard to guess.
        let agent = format!("pinentry-program {}\ns2k-count 65536\n", pinentry.display());
        fs::write(gnupg.path("gpg-agent.conf"), agent).unwrap();
        // Its own driver for readers would look for one at the USB, past pcscd.
        fs::write(gnupg.path("scdaemon.conf"), "disable-ccid\n").unwrap();
        // The daemons get the environment of whoever needs them first, and keep it.
        let start = gnupg
            .command("gpgconf")
            .args(["--launch", "gpg-agent"])
            .env("PCSCLITE_CSOCK_NAME", reader)
            .status();
        assert!(start.unwrap().success());
        gnupg
    }

    /// Its folder, for `GNUPGHOME`.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Makes a key for this person, its decryption key protected by a passphrase, and says its fingerprint.
    pub fn generate(&self, name: &str) -> String {
        self.make(name, PASSPHRASE)
    }

    /// Makes one and puts its decryption key onto the card that is plugged in.
    pub fn generate_on_card(&self, name: &str) -> String {
        let fingerprint = self.make(name, "");
        let edit = ["--batch", "--command-fd", "0", "--edit-key", &fingerprint];
        self.gpg(&edit, b"key 1\nkeytocard\n2\nsave\n");
        let listed = self.gpg(&["--with-colons", "--list-secret-keys"], b"").out;
        let subkey = listed.lines().find(|line| line.starts_with("ssb:")).unwrap();
        assert!(subkey.contains(":D276000124"), "the key is on no card: {subkey}");
        fs::remove_file(self.path("asked")).unwrap();
        fingerprint
    }

    fn make(&self, name: &str, passphrase: &str) -> String {
        let quiet = ["--batch", "--pinentry-mode", "loopback", "--passphrase", passphrase];
        let user = format!("{name}@example.invalid");
        self.gpg(&[&quiet[..], &["--quick-gen-key", &user, "nistp256", "sign", "never"]].concat(), b"");
        let listed = self.gpg(&["--with-colons", "--list-keys", &user], b"").out;
        let line = listed.lines().find(|line| line.starts_with("fpr:")).unwrap();
        let fingerprint = line.split(':').nth(9).unwrap().to_owned();
        self.gpg(
            &[&quiet[..], &["--quick-add-key", &fingerprint, "nistp256", "encr", "never"]].concat(),
            b"",
        );
        // What was typed just now is to be asked for again.
        assert!(
            self.command("gpg-connect-agent")
                .args(["RELOADAGENT", "/bye"])
                .output()
                .unwrap()
                .status
                .success()
        );
        fingerprint
    }

    /// gpg as it will be in many years, by its own switch for that.
    pub fn later(&self) -> std::path::PathBuf {
        let program = self.path("later");
        fs::write(&program, "#!/bin/sh\nexec gpg --faked-system-time 20990101T000000 \"$@\"\n").unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
        program
    }

    /// What the person answers from now on; without an answer they cancel.
    pub fn answer(&self, what: &str, answer: Option<&str>) {
        match answer {
            Some(answer) => fs::write(self.path(what), answer).unwrap(),
            None => fs::remove_file(self.path(what)).unwrap(),
        }
    }

    /// What the person was asked for so far.
    pub fn asked(&self) -> Vec<String> {
        let asked = fs::read_to_string(self.path("asked")).unwrap_or_default();
        asked.lines().map(str::to_owned).collect()
    }

    /// Runs gpg, which must succeed.
    pub fn gpg(&self, arguments: &[&str], input: &[u8]) -> Said {
        let mut gpg = self.command("gpg");
        let piped = gpg.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        Said::from(child.wait_with_output().unwrap()).ok()
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("GNUPGHOME", self.home());
        command
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.home().join(name)
    }
}

impl Drop for Gnupg {
    fn drop(&mut self) {
        let _ = self.command("gpgconf").args(["--kill", "all"]).output();
    }
}
