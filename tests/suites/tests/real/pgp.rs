//! Documents that sops encrypted to PGP keys, in files and on a YubiKey: real gpg, gpg-agent and scdaemon. They get their namespace's
//! age recipient; no byte of a value changes, and who could open them still can, unless told otherwise.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use touchseal_rig::scratch::Scratch;
use touchseal_rig::tools::Tool;
use touchseal_softkey::SoftKey;
use touchseal_suites::cli::{PIN, Said};
use touchseal_suites::{Gnupg, Laptop, Page, Reading};

const KEYRING: &str = "prod.keyring.yaml";
/// A file of each format.
const FILES: [(&str, &str); 5] = [
    ("app.yaml", "# of the shop\npassword: hunter2\nlist:\n    - 1\n    - two\n"),
    ("db.json", "{\"password\": \"hunter2\", \"port\": 5432}\n"),
    ("chat.env", "# bot\nTOKEN=hunter2\n"),
    ("old.ini", "[db]\npassword = hunter2\n"),
    ("tls.key", "hunter2 and more\n"),
];

/// A tree, a laptop with a keyring's YubiKey, and GnuPG at the same reader.
struct Tree {
    folder: Scratch,
    laptop: Laptop,
    key: SoftKey,
    gnupg: Gnupg,
    /// What authors of namespace shop encrypt to.
    recipient: String,
}

impl Tree {
    fn new() -> Tree {
        let folder = Scratch::new("pgp").unwrap();
        fs::create_dir(folder.path().join(".git")).unwrap();
        let laptop = Laptop::at(folder.path(), Path::new("/nonexistent/kubeconfig"));
        let key = laptop.key(0, 9_200);
        laptop.create_keyring("prod", "alice");
        let said = laptop.run(&["recipients", "-f", KEYRING, "--for", "shop", "-o", "json"], PIN).ok();
        let listed: Value = serde_json::from_str(&said.out).unwrap();
        let recipient = listed[0]["recipient"].as_str().unwrap().to_owned();
        let gnupg = Gnupg::new(&laptop.reader.socket());
        Tree { folder, laptop, key, gnupg, recipient }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// A file of each format in folder shop, encrypted by sops under the rules there are.
    fn files(&self) {
        for (name, plain) in FILES {
            let file = format!("shop/{name}");
            self.write(&file, plain);
            self.sops(&["encrypt", "--in-place", &file], &[]).ok();
        }
    }

    /// `before` in manifests: one document each.
    fn manifest(&self, name: &str, text: &str) {
        let indented: String = text.lines().map(|line| format!("        {line}\n")).collect();
        self.write(
            name,
            &format!(
                "apiVersion: touchseal.dev/v1alpha1\nkind: EncryptedSecret\nmetadata:\n  name: app\n  namespace: shop\nspec:\n  \
                 documents:\n    - name: app.yaml\n      sops: |\n{indented}"
            ),
        );
    }

    /// All files below shop.
    fn texts(&self) -> BTreeMap<String, String> {
        let entries = fs::read_dir(self.path("shop")).unwrap().map(|entry| entry.unwrap());
        let text = |path: PathBuf| fs::read_to_string(path).unwrap();
        entries.map(|entry| (entry.file_name().into_string().unwrap(), text(entry.path()))).collect()
    }

    fn sops(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Said {
        let mut sops = Tool::Sops.command().unwrap();
        sops.args(arguments).current_dir(self.folder.path()).env("SOPS_DISABLE_VERSION_CHECK", "1");
        sops.env("GNUPGHOME", self.gnupg.home()).env("XDG_CONFIG_HOME", "/nonexistent");
        sops.envs(environment.iter().copied()).output().unwrap().into()
    }

    /// What stock sops prints by the PGP key alone.
    fn by_pgp(&self, file: &str) -> Said {
        self.sops(&["decrypt", file], &[])
    }

    /// What stock sops prints by the namespace's age identity alone: the keyring is opened with the YubiKey's scalar.
    fn by_age(&self, file: &str) -> Said {
        let identity = crate::rekey::identity(&self.laptop.manifest("prod"), &self.key, "shop");
        self.sops(&["decrypt", file], &[("SOPS_AGE_KEY", &identity), ("GNUPGHOME", "/nonexistent")])
    }

    fn rekey(&self, arguments: &[&str]) -> Said {
        let mut command = self.laptop.with_pin(&[&["rekey"], arguments].concat(), PIN);
        self.with_gnupg(&mut command).output().unwrap().into()
    }

    fn with_gnupg<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command.env("GNUPGHOME", self.gnupg.home())
    }
}

/// The lines of a document above its metadata: every value, key and comment.
fn values(text: &str) -> Vec<&str> {
    let is_metadata = |line: &str| {
        let line = line.trim();
        ["sops:", "\"sops\": {", "[sops]"].contains(&line) || line.starts_with("sops_")
    };
    let lines: Vec<&str> = text.lines().take_while(|line| !is_metadata(line)).collect();
    assert!(lines.iter().any(|line| line.contains("ENC[AES256_GCM,data:")), "no value in {text}");
    lines
}

/// Neither values, nor the MAC, nor what is wrapped for PGP keys changed.
fn same(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) {
    assert_eq!(before.len(), after.len());
    for (name, text) in before {
        assert_eq!(values(text), values(&after[name]), "{name}");
        let kept = text
            .lines()
            .filter(|line| line.contains("mac") || line.contains("PGP MESSAGE") || line.contains("fp"));
        for line in kept {
            let line = line.trim_end_matches(',');
            assert!(after[name].contains(line), "{name} lost {line}");
        }
    }
}

#[test]
fn every_format_gets_the_namespaces_recipient_and_keeps_every_byte_of_its_values() {
    let tree = Tree::new();
    let fingerprint = tree.gnupg.generate("alice");
    tree.write(".sops.yaml", &format!("creation_rules:\n- pgp: {fingerprint}\n"));
    tree.files();
    let before = tree.texts();
    let operations = tree.key.counters().private_key_operations;

    // The namespace's recipient is asked about: that a PGP key of ours opens a document tells nothing of whose it is.
    tree.rekey(&["shop", "-n", "shop"]).refused(3, &["not confirmed", "a key of your own", &tree.recipient]);
    assert_eq!((tree.texts(), tree.gnupg.asked()), (before.clone(), Vec::new()));
    let said = tree.rekey(&["shop", "-n", "shop", "--accept-others"]).ok();
    assert!(said.err.contains("gpg opens 5 documents") && said.err.contains("5 rekeyed"), "{}", said.err);
    assert!(said.err.contains(&format!("pgp {fingerprint}")), "what stays is named: {}", said.err);

    let after = tree.texts();
    same(&before, &after);
    assert_eq!(tree.gnupg.asked(), ["passphrase"], "once for the tree");
    assert_eq!(tree.key.counters().private_key_operations, operations, "the keyring was not needed");
    for (name, plain) in FILES {
        let file = format!("shop/{name}");
        let (age, pgp) = (tree.by_age(&file).ok().out, tree.by_pgp(&file).ok().out);
        assert_eq!(age, pgp, "{name}");
        assert!(age.contains("hunter2") && (name != "tls.key" || age == plain), "{name}: {age}");
    }
    let again = tree.rekey(&["shop", "-n", "shop"]).ok();
    assert!(again.out.is_empty() && again.err.contains("5 up to date"), "{}", again.err);
}

#[test]
fn one_pin_of_a_yubikey_for_a_tree_of_files_and_manifests() {
    let tree = Tree::new();
    let fingerprint = tree.gnupg.generate_on_card("alice");
    tree.write(".sops.yaml", &format!("creation_rules:\n- pgp: {fingerprint}\n"));
    tree.files();
    let text = tree.read("shop/app.yaml");
    for number in 0..4 {
        tree.manifest(&format!("shop/app{number}.esec.yaml"), &text);
    }
    let before = tree.texts();
    let counted = tree.key.counters();
    let said = tree.rekey(&["shop", "-n", "shop", "--accept-others"]).ok();
    assert!(said.err.contains("9 rekeyed"), "{}", said.err);

    let counters = tree.key.counters();
    assert_eq!(counters.openpgp_pin_attempts - counted.openpgp_pin_attempts, 1, "one PIN in all");
    assert_eq!(counters.decipherments - counted.decipherments, 9, "one operation of the PGP key a document");
    assert_eq!(counters.private_key_operations, counted.private_key_operations, "none of the PIV key");
    assert_eq!(tree.gnupg.asked(), ["pin"]);
    same(&before, &tree.texts());
    tree.by_age("shop/old.ini").ok();
    tree.by_pgp("shop/chat.env").ok();

    // What is in the cluster opens with the keyring; the manifest is a document of the namespace now.
    let wrap = ["wrap", "shop/app.yaml", "--name", "app", "-n", "shop"];
    let wrapped = tree.laptop.run_plain(&wrap).ok();
    assert!(!wrapped.err.contains("no age recipient"), "{}", wrapped.err);
}

#[test]
fn a_pin_that_nobody_types_is_asked_for_once_and_nothing_is_written() {
    let tree = Tree::new();
    let fingerprint = tree.gnupg.generate_on_card("alice");
    tree.write(".sops.yaml", &format!("creation_rules:\n- pgp: {fingerprint}\n"));
    tree.files();
    let before = tree.texts();
    tree.gnupg.answer("pin", None);
    let rekey = ["shop", "-n", "shop", "--accept-others"];
    tree.rekey(&rekey).refused(1, &["gpg did not use the key", "gpg --card-status"]);
    assert_eq!((tree.texts(), tree.gnupg.asked()), (before.clone(), vec!["pin".to_owned()]));

    // No GnuPG, and one without the key: nobody is asked for anything.
    let without = |name: &str, value: &Path| -> Said {
        let mut command = tree.laptop.with_pin(&[&["rekey"], &rekey[..]].concat(), PIN);
        tree.with_gnupg(&mut command).env(name, value).output().unwrap().into()
    };
    without("SOPS_GPG_EXEC", Path::new("/nonexistent/gpg")).refused(1, &["run /nonexistent/gpg"]);
    let other = Gnupg::new(&tree.laptop.reader.socket());
    without("GNUPGHOME", other.home()).refused(1, &["no secret key of its PGP recipient", &fingerprint]);
    assert_eq!((tree.texts(), tree.gnupg.asked().len()), (before, 1));
}

#[test]
fn a_message_that_was_never_encrypted_gives_no_data_key() {
    let tree = Tree::new();
    let fingerprint = tree.gnupg.generate("alice");
    tree.write(".sops.yaml", &format!("creation_rules:\n- pgp: {fingerprint}\n"));
    tree.write("shop/app.yaml", "password: hunter2\n");
    tree.sops(&["encrypt", "--in-place", "shop/app.yaml"], &[]).ok();
    // The right data key, but anybody could have put it there: gpg prints what is merely packed, too.
    let text = tree.read("shop/app.yaml");
    let begin = text.find("-----BEGIN PGP").unwrap();
    let end = text.find("-----END PGP MESSAGE-----").unwrap();
    let message: String = text[begin..end].lines().map(|line| format!("{}\n", line.trim_start())).collect();
    let gpg = |arguments: &[&str], input: &[u8]| {
        let mut gpg = Command::new("gpg")
            .arg("--batch")
            .args(arguments)
            .env("GNUPGHOME", tree.gnupg.home())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        gpg.stdin.take().unwrap().write_all(input).unwrap();
        gpg.wait_with_output().unwrap().stdout
    };
    let data_key = gpg(&["--decrypt"], format!("{message}-----END PGP MESSAGE-----\n").as_bytes());
    assert_eq!(data_key.len(), 32);
    let packed = String::from_utf8(gpg(&["--armor", "--store"], &data_key)).unwrap();
    let packed =
        packed.trim_end().trim_end_matches("-----END PGP MESSAGE-----").replace('\n', "\n            ");
    let forged = format!("{}{}{}", &text[..begin], packed, &text[end..]);
    tree.write("shop/app.yaml", &forged);
    let said = tree.rekey(&["shop", "-n", "shop", "--accept-others"]);
    assert!(said.code == 1 && said.err.contains("nothing in it is encrypted"), "{}{}", said.out, said.err);
    assert_eq!(tree.read("shop/app.yaml"), forged);
}

#[test]
fn pgp_recipients_go_if_they_are_told_to() {
    let tree = Tree::new();
    let fingerprint = tree.gnupg.generate("alice");
    tree.write(".sops.yaml", &format!("creation_rules:\n- pgp: {fingerprint}\n"));
    tree.files();
    let before = tree.texts();
    let drop = ["shop", "-n", "shop", "--accept-others", "--drop-others"];

    // The same data key: no value changes, and who kept a copy of the file has it.
    tree.rekey(&[&drop[..], &["--keep-data-key"]].concat()).ok();
    for (name, text) in &before {
        let after = tree.read(&format!("shop/{name}"));
        assert_eq!(values(text), values(&after), "{name}");
        assert!(!after.contains("PGP") && tree.by_pgp(&format!("shop/{name}")).code != 0, "{name}");
        tree.by_age(&format!("shop/{name}")).ok();
    }

    // A new one, as for everybody who goes.
    for (name, text) in &before {
        tree.write(&format!("shop/{name}"), text);
    }
    let said = tree.rekey(&drop).ok();
    assert!(said.err.contains("5 encrypted anew"), "{}", said.err);
    for (name, text) in &before {
        assert_ne!(values(text), values(&tree.read(&format!("shop/{name}"))), "{name}");
        tree.by_age(&format!("shop/{name}")).ok();
    }
}

#[test]
fn a_rule_may_name_pgp_keys_that_are_there() {
    let tree = Tree::new();
    let fingerprint = tree.gnupg.generate("alice");
    let rule = |pgp: &str, age: &str| format!("creation_rules:\n- pgp: {pgp}\n{age}");
    tree.write(".sops.yaml", &rule(&fingerprint, ""));
    tree.files();
    let refused = |words: &str, arguments: &[&str]| {
        let said = tree.rekey(&[&["shop", "--accept-others"], arguments].concat());
        assert!(said.code == 1 && said.err.contains(words), "{}", said.err);
        said.err
    };
    assert!(refused("names PGP keys alone", &[]).contains("--namespace"));
    let age = format!("  age: {}\n", tree.recipient);
    tree.write(".sops.yaml", &rule("0123456789ABCDEF0123456789ABCDEF01234567", &age));
    refused("not encrypted to that", &[]);
    tree.write(".sops.yaml", &rule(&fingerprint, &age));
    refused("PGP recipients are to go", &["--drop-others"]);
    let before = tree.texts();
    tree.rekey(&["shop", "--accept-others"]).ok();
    same(&before, &tree.texts());
}

#[test]
fn of_several_key_groups_gpg_opens_what_it_holds() {
    let tree = Tree::new();
    let (alice, bob) = (tree.gnupg.generate("alice"), tree.gnupg.generate("bob"));
    let groups = |first: &str| {
        format!(
            "creation_rules:\n- shamir_threshold: 2\n  key_groups:\n  - pgp: [{alice}]\n{first}  - pgp: [{bob}]\n    age: [{0}]\n",
            tree.recipient
        )
    };
    tree.write(".sops.yaml", &groups(""));
    tree.write("shop/app.yaml", "password: hunter2\n");
    tree.sops(&["encrypt", "--in-place", "shop/app.yaml"], &[]).ok();
    let before = tree.texts();
    // By its namespace it is right as it is; its rule gives the first group a second key.
    let stranger = age::x25519::Identity::generate().to_public().to_string();
    tree.write(".sops.yaml", &groups(&format!("    age: [{stranger}]\n")));
    tree.rekey(&["shop", "--accept-others"]).ok();
    same(&before, &tree.texts());
    assert!(tree.read("shop/app.yaml").contains(&stranger));
    assert_eq!(tree.by_pgp("shop/app.yaml").ok().out, "password: hunter2\n");
}

#[test]
fn the_page_can_be_followed() {
    let laptop = Laptop::new(Path::new("/nonexistent/kubeconfig"));
    let key = laptop.key(0, 9_201);
    let gnupg = Gnupg::new(&laptop.reader.socket());
    let fingerprint = gnupg.generate_on_card("alice");
    let fleet = laptop.folder().join("fleet");
    let home = gnupg.home().to_str().unwrap();
    Reading::at(&laptop).with("GNUPGHOME", home).follow_with(&Page::of("docs/pgp.md"), |act| {
        assert_eq!(act, "sops encrypts the files of shop to alice's PGP key, which is on her YubiKey");
        laptop.git(&["init", "-q", "fleet"]);
        let rules = fs::read_to_string(fleet.join(".sops.yaml")).unwrap().replace("ALICE", &fingerprint);
        fs::write(fleet.join(".sops.yaml"), rules).unwrap();
        fs::create_dir(fleet.join("shop")).unwrap();
        for (name, text) in &FILES[..2] {
            fs::write(fleet.join("shop").join(name), text).unwrap();
            let mut sops = Tool::Sops.command().unwrap();
            sops.args(["encrypt", "--in-place"]).arg(fleet.join("shop").join(name)).current_dir(&fleet);
            assert!(sops.env("GNUPGHOME", home).status().unwrap().success());
        }
    });
    let counters = key.counters();
    assert_eq!(
        (counters.decipherments, gnupg.asked().len()),
        (4, 2),
        "gpg asked once before the keyring was made, and once after"
    );
}

#[test]
fn one_document_is_read_and_edited_by_the_same_key() {
    let tree = Tree::new();
    let fingerprint = tree.gnupg.generate("alice");
    tree.write(".sops.yaml", &format!("creation_rules:\n- pgp: {fingerprint}\n"));
    tree.files();
    let mut decrypt = tree.laptop.command(&["decrypt", "shop/app.yaml", "--extract", "password"]);
    let said: Said = tree.with_gnupg(&mut decrypt).output().unwrap().into();
    assert_eq!(said.ok().out, "hunter2");
    let mut edit = tree.laptop.command(&["edit", "shop/app.yaml"]);
    let said: Said =
        tree.with_gnupg(&mut edit).env("EDITOR", "sed -i s/hunter2/hunter3/").output().unwrap().into();
    said.ok();
    assert!(tree.by_pgp("shop/app.yaml").ok().out.contains("hunter3"));
}
