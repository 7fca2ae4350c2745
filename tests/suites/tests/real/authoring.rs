//! Documents opened, edited and verified where authors keep them, with the real sops on the other side and a software
//! YubiKey (test equipment) behind the real pcscd.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};

use age::secrecy::ExposeSecret as _;
use serde_json::Value;
use touchseal_rig::poll::eventually;
use touchseal_rig::tools::Tool;
use touchseal_softkey::SoftKey;
use touchseal_suites::cli::{PIN, Said};
use touchseal_suites::{DEADLINE, Laptop, Sops};

const PLAIN: &str = "database:\n    user: shop\n    password: hunter2-before\n# kept\nport: 5432\n";

/// A laptop with a keyring, an author's own age key beside it, and a folder in memory for editors.
struct Desk {
    laptop: Laptop,
    key: SoftKey,
    sops: Sops,
    own: age::x25519::Identity,
    memory: Memory,
}

impl Desk {
    fn new() -> Desk {
        let laptop = Laptop::new(Path::new("/dev/null"));
        let key = laptop.key(0, 4_711);
        laptop.create_keyring("prod", "alice");
        let own = age::x25519::Identity::generate();
        Desk { laptop, key, sops: Sops::new(), own, memory: Memory::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.laptop.home.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// The recipients of namespaces, in their order.
    fn recipients(&self, namespaces: &str) -> Vec<String> {
        let arguments = ["recipients", "-f", "prod.keyring.yaml", "--for", namespaces, "-o", "json"];
        let rows: Value = serde_json::from_str(&self.laptop.run(&arguments, PIN).ok().out).unwrap();
        rows.as_array().unwrap().iter().map(|row| row["recipient"].as_str().unwrap().to_owned()).collect()
    }

    /// A document of namespace shop that the author's own key opens, too.
    fn document(&self) -> String {
        let recipients = [self.recipients("shop").remove(0), self.own.to_public().to_string()].join(",");
        self.sops.encrypt("app.yaml", PLAIN, &recipients)
    }

    /// What the real sops makes of a document, with the author's own key.
    fn stock(&self, name: &str, document: &str) -> String {
        let file = self.path(&format!("stock/{name}"));
        self.write(&format!("stock/{name}"), document);
        let mut sops = Tool::Sops.command().unwrap();
        sops.arg("decrypt").arg(&file).env("SOPS_AGE_KEY", self.own.to_string().expose_secret());
        let output = sops.env("SOPS_DISABLE_VERSION_CHECK", "1").output().unwrap();
        assert!(output.status.success(), "sops: {}", String::from_utf8_lossy(&output.stderr));
        fs::remove_dir_all(self.path("stock")).unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// Starts an edit by a shell script that gets the copy's path as `$1`.
    fn start_edit(&self, script: &str, arguments: &[&str]) -> Child {
        let mut command = self.laptop.with_pin(&[&["edit"], arguments].concat(), PIN);
        command.envs(self.environment(script).iter().map(|(name, value)| (name, value)));
        command.spawn().unwrap()
    }

    fn environment(&self, script: &str) -> [(&'static str, String); 3] {
        self.write("editor.sh", script);
        [
            ("EDITOR", format!("sh {}", self.path("editor.sh").display())),
            ("SOPS_EDITOR", String::new()),
            ("XDG_RUNTIME_DIR", self.memory.0.display().to_string()),
        ]
    }

    fn edit(&self, script: &str, arguments: &[&str]) -> Said {
        let said = Said::from(self.start_edit(script, arguments).wait_with_output().unwrap());
        self.memory.assert_empty();
        said
    }

    /// Agreements with the key of a slot that the card's log shows since `from` entries.
    fn operations(&self, from: usize) -> usize {
        let log = self.key.log();
        log[from..].iter().filter(|entry| entry.ins == 0x87 && (0x82..=0x95).contains(&entry.p2)).count()
    }
}

/// A folder in memory, as a session's runtime folder is.
struct Memory(PathBuf);

impl Memory {
    fn new() -> Memory {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = PathBuf::from(format!("/dev/shm/touchseal-authoring-{}-{number}", std::process::id()));
        fs::DirBuilder::new().mode(0o700).create(&path).unwrap();
        Memory(path)
    }

    fn assert_empty(&self) {
        let left: Vec<_> = fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A manifest as people keep them: comments, a second object, a style of their own.
fn manifest(document: &str) -> String {
    let block: String = document.lines().map(|line| format!("            {line}\n")).collect();
    format!(
        "# shop, since 2024\n---\napiVersion: v1\nkind: Namespace\nmetadata: {{ name: shop }}\n---\n\
         apiVersion: touchseal.dev/v1alpha1\nkind: EncryptedSecret\nmetadata:\n    name:   app   # spaced\n    namespace: \"shop\"\n\
         spec:\n    documents:\n        - name: 'app.yaml'\n          sops: | # from sops\n{block}\n        # the end\n    deletionPolicy: Retain\n"
    )
}

/// The lines that differ between texts of equally many.
fn changed<'t>(before: &'t str, after: &'t str) -> Vec<(&'t str, &'t str)> {
    assert_eq!(before.lines().count(), after.lines().count(), "\n{after}");
    before.lines().zip(after.lines()).filter(|(before, after)| before != after).collect()
}

#[test]
fn an_edit_in_a_manifest_changes_the_lines_of_the_value_alone() {
    let desk = Desk::new();
    let before = manifest(&desk.document());
    desk.write("shop.yaml", &before);
    let mode = desk.path("shop.yaml").metadata().unwrap().mode();

    // Nothing changed: not a byte, and the file is not even written.
    let inode = desk.path("shop.yaml").metadata().unwrap().ino();
    let said = desk.edit("grep -q hunter2-before \"$1\"", &["shop.yaml"]).ok();
    assert!(said.err.contains("no change"), "{}", said.err);
    assert_eq!(desk.read("shop.yaml"), before);
    assert_eq!(desk.path("shop.yaml").metadata().unwrap().ino(), inode);

    // One value: its line, the MAC's and, a second later, the time's.
    let entries = desk.key.log().len();
    // Saved as many editors do: a new file, renamed over the old one.
    let script = "sed s/hunter2-before/hunter2-after/ \"$1\" > \"$1.new\" && cp \"$1\" \"$1~\" && mv \"$1.new\" \"$1\"";
    desk.edit(script, &["shop.yaml"]).ok();
    assert_eq!(desk.operations(entries), 1, "one operation of the YubiKey");
    let after = desk.read("shop.yaml");
    for (_, line) in changed(&before, &after) {
        let key = line.trim().split(':').next().unwrap();
        assert!(["password", "mac", "lastmodified"].contains(&key), "{line}");
    }
    assert!(changed(&before, &after).iter().any(|(_, line)| line.trim().starts_with("password: ENC[")));
    assert_eq!(desk.path("shop.yaml").metadata().unwrap().mode(), mode);

    // The real sops opens what came out, taken from the manifest by another YAML reader.
    let object = after.split("\n---\n").find(|object| object.contains("EncryptedSecret")).unwrap();
    let object: Value = serde_norway::from_str(object).unwrap();
    let document = object.pointer("/spec/documents/0/sops").unwrap();
    let expected = PLAIN.replace("hunter2-before", "hunter2-after");
    assert_eq!(desk.stock("app.yaml", document.as_str().unwrap()), expected);
    let said = desk.laptop.run(&["decrypt", "shop.yaml"], PIN).ok();
    assert_eq!(said.out, expected);
    let said = desk.laptop.run(&["decrypt", "shop.yaml", "--extract", "database.password"], PIN).ok();
    assert_eq!(said.out, "hunter2-after");
}

#[test]
fn nothing_is_left_however_an_edit_ends() {
    let desk = Desk::new();
    let before = desk.document();
    desk.write("shop/app.yaml", &before);
    let litter = "cp \"$1\" \"$1~\"; cp \"$1\" \"$(dirname \"$1\")/.swap\"; mkdir \"$(dirname \"$1\")/undo\"; cp \"$1\" \"$(dirname \"$1\")/undo/x\"";

    desk.edit(&format!("{litter}; exit 3"), &["shop/app.yaml"])
        .refused(1, &["exit code 3", "nothing was changed"]);
    desk.edit(&format!("{litter}; kill -9 $$"), &["shop/app.yaml"]).refused(1, &["a signal"]);
    desk.edit("rm \"$1\"", &["shop/app.yaml"]).refused(1, &["read the editor's copy"]);
    // A result that is no YAML, and nobody at a terminal to correct it; the message quotes nothing of it.
    let said =
        desk.edit("echo 'hunter2: [' >> \"$1\"", &["shop/app.yaml"]).refused(1, &["line ", "not valid yaml"]);
    assert!(!said.err.contains("hunter2"), "{}", said.err);

    // Told to end from elsewhere: passed on to the editor, which takes a while to go.
    let waits = format!("{litter}; trap 'exit 0' TERM; touch \"$0.ready\"; while :; do sleep 0.05; done");
    for signal in ["-TERM", "-HUP"] {
        let child = desk.start_edit(&waits, &["shop/app.yaml"]);
        desk.wait_for_editor();
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        let said = Said::from(child.wait_with_output().unwrap());
        said.refused(1, &["cancelled"]);
        desk.memory.assert_empty();
    }

    // Ctrl-C in a terminal goes to the editor and to us.
    let environment = desk.environment(&format!("{litter}; echo editing; exec sleep 1000"));
    let environment: Vec<(&str, &str)> =
        environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let answers = [("PIN", PIN), ("editing", "\x03")];
    let said = desk.laptop.in_terminal_with(&environment, &["edit", "shop/app.yaml"], &answers);
    assert_eq!(said.code, 1, "{}", said.out);
    assert!(said.out.contains("nothing was changed"), "{}", said.out);
    desk.memory.assert_empty();

    assert_eq!(desk.read("shop/app.yaml"), before);
    for (path, bytes) in desk.laptop.files() {
        assert!(!path.ends_with("editor.sh") || !bytes.is_empty());
        assert!(!String::from_utf8_lossy(&bytes).contains("hunter2-before"), "{}", path.display());
    }
}

impl Desk {
    fn wait_for_editor(&self) {
        let ready = self.path("editor.sh.ready");
        eventually(DEADLINE, "the editor", || ready.exists().then_some(()).ok_or("it has not started"))
            .unwrap();
        fs::remove_file(ready).unwrap();
    }
}

#[test]
fn a_wrong_edit_can_be_corrected_and_none_is_lost() {
    let desk = Desk::new();
    desk.write("shop/app.yaml", &desk.document());
    // The first round breaks the file, the second finds it as it was left and mends it.
    let script = "if grep -q '^\\[' \"$1\"; then sed -i '/^\\[/d; s/hunter2-before/hunter2-after/' \"$1\"; else echo '[' >> \"$1\"; fi";
    let environment = desk.environment(script);
    let environment: Vec<(&str, &str)> =
        environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let before = desk.read("shop/app.yaml");
    let edit = |answer| {
        let answers = [("PIN", PIN), ("edit it again?", answer)];
        let said = desk.laptop.in_terminal_with(&environment, &["edit", "shop/app.yaml"], &answers);
        desk.memory.assert_empty();
        said
    };
    let said = edit("no");
    assert_eq!((said.code, desk.read("shop/app.yaml")), (1, before), "{}", said.out);
    let said = edit("\x03");
    assert_eq!(said.code, 1, "{}", said.out);
    edit("y").ok();
    assert_eq!(
        desk.stock("app.yaml", &desk.read("shop/app.yaml")),
        PLAIN.replace("hunter2-before", "hunter2-after")
    );

    // Somebody else writes the file meanwhile: an edit of the same document goes beside it, as ciphertext.
    let other = desk.document();
    desk.write("other.yaml", &other);
    let script = format!(
        "cp {} {}; sed -i s/hunter2-after/mine/ \"$1\"",
        desk.path("other.yaml").display(),
        desk.path("shop/app.yaml").display()
    );
    desk.edit(&script, &["shop/app.yaml"]).refused(1, &["meanwhile", "app.yaml.edited"]);
    assert_eq!(desk.read("shop/app.yaml"), other);
    assert_eq!(
        desk.stock("app.yaml", &desk.read("shop/app.yaml.edited")),
        PLAIN.replace("hunter2-before", "mine")
    );

    // The next one that comes too late finds that name taken.
    let first = desk.read("shop/app.yaml.edited");
    desk.write("other.yaml", &desk.document());
    let script = script.replace("hunter2-after/mine", "hunter2-before/mine-too");
    desk.edit(&script, &["shop/app.yaml"]).refused(1, &["meanwhile", "app.yaml.edited.2"]);
    assert_eq!(desk.read("shop/app.yaml.edited"), first);
    let kept = desk.stock("app.yaml", &desk.read("shop/app.yaml.edited.2"));
    assert_eq!(kept, PLAIN.replace("hunter2-before", "mine-too"));
}

#[test]
fn what_is_added_to_a_document_is_not_put_into_git_in_plain_text_unasked() {
    let desk = Desk::new();
    // Somebody without a key has the document encrypt no more than the keys it has: it still opens.
    let selector = ("unencrypted_suffix: _unencrypted", "encrypted_regex: ^(database|port)$");
    let swapped = desk.document().replace(selector.0, selector.1);
    assert!(swapped.contains(selector.1));
    for (file, text) in [("shop/app.yaml", swapped.clone()), ("shop.yaml", manifest(&swapped))] {
        desk.write(file, &text);
        let said = desk.edit("echo 'api_key: hunter2-new' >> \"$1\"", &[file]);
        let said = said.refused(3, &["api_key", "encrypted_regex", "plain text", "--accept-plain"]);
        assert!(!said.err.contains("hunter2"), "{}", said.err);
        assert_eq!(desk.read(file), text);
    }
    // What was encrypted stays so, and asks for nothing.
    desk.edit("sed -i s/hunter2-before/hunter2-after/ \"$1\"", &["shop/app.yaml"]).ok();

    // On a terminal, and with the flag.
    let environment = desk.environment("echo 'api_key: hunter2-new' >> \"$1\"");
    let environment: Vec<(&str, &str)> =
        environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let answers = [("PIN", PIN), ("meant to be?", "no")];
    let said = desk.laptop.in_terminal_with(&environment, &["edit", "shop/app.yaml"], &answers);
    assert_eq!(said.code, 3, "{}", said.out);
    desk.memory.assert_empty();
    desk.edit("echo 'api_key: told' >> \"$1\"", &["shop/app.yaml", "--accept-plain"]).ok();
    assert!(desk.read("shop/app.yaml").contains("api_key: told\n"));

    // The rule of the file says the same: that is how it is wanted.
    let rules =
        format!("creation_rules:\n- encrypted_regex: ^(database|port)$\n  age: {}\n", desk.own.to_public());
    desk.write(".sops.yaml", &rules);
    desk.edit("echo 'host: told' >> \"$1\"", &["shop/app.yaml"]).ok();
    assert!(desk.read("shop/app.yaml").contains("host: told\n"));
}

#[test]
fn an_edit_can_give_the_document_a_new_data_key() {
    let desk = Desk::new();
    let before = desk.document();
    desk.write("shop/app.yaml", &before);
    let script = "sed -i s/5432/5433/ \"$1\"";
    // What cannot be wrapped anew is told before the editor opens.
    let entry = "    pgp:\n        - created_at: \"2026-01-01T00:00:00Z\"\n          enc: x\n          fp: ABCD\n    age:\n";
    desk.write("pgp.yaml", &before.replacen("    age:\n", entry, 1));
    desk.edit("touch \"$0.ran\"", &["pgp.yaml", "--rotate-data-key"])
        .refused(1, &["new data key", "pgp", "--drop-others"]);
    assert!(!desk.path("editor.sh.ran").exists());
    // The author's own key is not at hand: nothing but the document says whose it is.
    let edit = ["shop/app.yaml", "--rotate-data-key"];
    desk.edit(script, &edit).refused(3, &["not confirmed", &desk.own.to_public().to_string()]);
    assert_eq!(desk.read("shop/app.yaml"), before);
    desk.edit(script, &[&edit[..], &["--accept-others"]].concat()).ok();
    let after = desk.read("shop/app.yaml");
    assert_eq!(desk.stock("app.yaml", &after), PLAIN.replace("5432", "5433"));
    let values =
        |text: &str| text.lines().filter(|line| line.contains("ENC[")).map(str::to_owned).collect::<Vec<_>>();
    assert!(values(&after).len() > 4 && values(&after).iter().all(|line| !before.contains(line)), "{after}");
}

#[test]
fn a_whole_tree_is_verified_with_one_operation_of_the_yubikey() {
    let desk = Desk::new();
    let namespaces = ["shop", "chat", "mail"];
    let recipients = desk.recipients(&namespaces.join(","));
    for (namespace, recipient) in namespaces.iter().zip(&recipients) {
        for (name, plain) in [
            ("a.yaml", PLAIN),
            ("b.json", "{\"token\": \"hunter2\"}"),
            ("c.env", "TOKEN=hunter2\n"),
            ("d.ini", "[x]\ntoken = hunter2\n"),
            ("e.bin", "hunter2"),
        ] {
            desk.write(&format!("tree/{namespace}/{name}"), &desk.sops.encrypt(name, plain, recipient));
        }
        let document = desk.sops.encrypt("app.yaml", PLAIN, recipient);
        desk.write(
            &format!("tree/{namespace}/secret.yaml"),
            &manifest(&document).replace("\"shop\"", namespace),
        );
        desk.write(&format!("tree/{namespace}/README.md"), "nothing of interest\n");
    }
    let verify = ["verify", "--decrypt", "tree", "-o", "json"];
    let entries = desk.key.log().len();
    let said = desk.laptop.run(&verify, PIN).ok();
    let rows: Value = serde_json::from_str(&said.out).unwrap();
    let rows = rows.as_array().unwrap();
    assert_eq!(rows.len(), 18);
    assert!(
        rows.iter().all(|row| row["opened"] == true && row["problems"] == serde_json::json!([])),
        "{rows:?}"
    );
    // Files on their own, too: whose they are is told by the keys that open them.
    let told = rows.iter().filter(|row| row["namespace"].is_string() && row["keyGeneration"] == 1);
    assert_eq!(told.count(), 18);
    assert_eq!(desk.operations(entries), 1, "{:?}", &desk.key.log()[entries..]);

    // Without a key at hand: everything but what only a key tells.
    desk.laptop.reader.pull(0).unwrap();
    let said = desk.laptop.run_plain(&["verify", "tree", "--keyring", "prod.keyring.yaml"]).ok();
    assert_eq!(said.out.matches("well-formed").count(), 18, "{}", said.out);
    // A keyring that lies beside them and is known here needs no flag, and says nothing of another one's documents.
    let said = desk.laptop.run_plain(&["verify", "tree", "-o", "json"]).ok();
    let rows: Value = serde_json::from_str(&said.out).unwrap();
    let held = |row: &&Value| row["recipientsChecked"] == true && row["keyGeneration"] == 1;
    assert_eq!(rows.as_array().unwrap().iter().filter(held).count(), 18, "{rows:#}");
    let theirs = desk.sops.encrypt("app.yaml", PLAIN, &desk.own.to_public().to_string());
    desk.write("theirs/secret.yaml", &manifest(&theirs));
    let said = desk.laptop.run_plain(&["verify", "theirs"]).ok();
    assert!(said.err.contains("could not be checked"), "{}", said.err);
    desk.laptop.run_plain(&["verify", "theirs", "--keyring", "prod.keyring.yaml"]).refused(1, &["not right"]);
    assert_eq!(desk.operations(entries), 1);
    desk.laptop.reader.insert(0, &desk.key).unwrap();

    // One byte of a value, a document of a neighbour, a field that does not exist: each is told, on its line.
    let mut tampered = desk.read("tree/chat/a.yaml");
    let value = tampered.find("user: ENC[AES256_GCM,data:").unwrap() + "user: ENC[AES256_GCM,data:".len();
    let other = if tampered[value..].starts_with('A') { "B" } else { "A" };
    tampered.replace_range(value..=value, other);
    desk.write("tree/chat/a.yaml", &tampered);
    desk.write(
        "tree/mail/secret.yaml",
        &desk.read("tree/shop/secret.yaml").replace("namespace: shop", "namespace: mail"),
    );
    desk.write(
        "tree/shop/secret.yaml",
        &desk.read("tree/shop/secret.yaml").replace("deletionPolicy", "deletePolicy"),
    );
    let said = desk.laptop.run(&verify, PIN).refused(1, &["not right: 3 of 19"]);
    let rows: Value = serde_json::from_str(&said.out).unwrap();
    let wrong: Vec<String> = rows
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["problems"] != serde_json::json!([]))
        .map(|row| format!("{} {}", row["file"].as_str().unwrap(), row["problems"]))
        .collect();
    for (file, word) in [
        ("tree/chat/a.yaml", "database.user"),
        ("tree/mail/secret.yaml", "not encrypted for namespace mail"),
        ("tree/shop/secret.yaml", "deletePolicy"),
    ] {
        assert!(wrong.iter().any(|line| line.starts_with(file) && line.contains(word)), "{file}: {wrong:#?}");
    }
    assert!(!said.out.contains("hunter2") && !said.err.contains("hunter2"));
    desk.laptop.run(&["decrypt", "tree/chat/a.yaml"], PIN).refused(3, &["database.user", "history in git"]);
    let said = desk.laptop.run(&["decrypt", "tree/mail/secret.yaml"], PIN).refused(1, &["app.yaml"]);
    assert!(said.out.is_empty());
}

#[test]
fn an_authors_own_key_opens_what_sops_opens() {
    let desk = Desk::new();
    desk.laptop.reader.pull(0).unwrap();
    let own = desk.own.to_public().to_string();
    let keys = desk.path("keys.txt");
    fs::write(&keys, format!("# mine\n{}\n", desk.own.to_string().expose_secret())).unwrap();
    let decrypt = |arguments: &[&str]| -> Said {
        let mut command = desk.laptop.with_pin(&[&["decrypt"], arguments].concat(), PIN);
        command.env("SOPS_AGE_KEY_FILE", &keys).output().unwrap().into()
    };
    for (name, plain) in [
        ("a.yaml", PLAIN),
        ("b.json", "{\n\t\"z\": [1, 2.5, null],\n\t\"a\": \"ü\"\n}"),
        ("c.env", "# comment\nB=2\nA=one two\n"),
        ("d.ini", "[x]\n; comment\ntoken = hunter2\n"),
        ("e.crt", "-----BEGIN\u{0}\n"),
    ] {
        let document = desk.sops.encrypt(name, plain, &own);
        desk.write(name, &document);
        assert_eq!(decrypt(&[name]).ok().out, desk.stock(name, &document), "{name}");
    }
    decrypt(&["a.yaml", "--to", "plain.yaml"]).ok();
    assert_eq!(desk.read("plain.yaml"), PLAIN);
    assert_eq!(desk.path("plain.yaml").metadata().unwrap().mode() & 0o777, 0o600);
    decrypt(&["a.yaml", "--to", "plain.yaml"]).refused(1, &["exists", "--force"]);
    decrypt(&["a.yaml", "--extract", "database"]).refused(1, &["a map or a list"]);
    assert_eq!(decrypt(&["b.json", "--extract", "[\"z\"][1]"]).ok().out, "2.5");

    // A manifest of two documents: edited in turn, or one of them.
    let document = desk.sops.encrypt("app.yaml", PLAIN, &own);
    let second = manifest(&document).replace("'app.yaml'", "'old.yaml'");
    desk.write(
        "two.yaml",
        &format!("{}---\n{second}", manifest(&document).replace("name:   app", "name:   new")),
    );
    decrypt(&["two.yaml"]).refused(2, &["several documents", "shop/new/app.yaml, shop/app/old.yaml"]);
    assert_eq!(decrypt(&["two.yaml", "--document", "old.yaml"]).ok().out, PLAIN);
    let before = desk.read("two.yaml");
    let edit = |arguments: &[&str]| -> Said {
        let mut command: Command = desk.laptop.with_pin(&[&["edit", "two.yaml"], arguments].concat(), PIN);
        let script = "sed -i s/5432/5433/ \"$1\"; basename \"$1\" >> \"$0.seen\"";
        command.envs(desk.environment(script)).env("SOPS_AGE_KEY_FILE", &keys).output().unwrap().into()
    };
    edit(&["--document", "app/old.yaml"]).ok();
    let (first_half, second_half) = before.split_at(before.len() - second.len());
    let after = desk.read("two.yaml");
    assert!(after.starts_with(first_half) && !after.ends_with(second_half));
    edit(&[]).ok();
    assert_eq!(desk.read("editor.sh.seen"), "old.yaml\napp.yaml\nold.yaml\n");
    for name in ["app.yaml", "old.yaml"] {
        assert_eq!(decrypt(&["two.yaml", "--document", name, "--extract", "port"]).ok().out, "5433");
    }
    desk.memory.assert_empty();
}
