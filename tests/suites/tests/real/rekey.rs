//! `touchseal rekey`: a tree moves to a new key generation with one operation of the YubiKey, and with none if it has.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use age::secrecy::ExposeSecret as _;
use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};
use serde_json::{Value, json};
use touchseal_crds::keyring::KeyringSpec;
use touchseal_keyring::{OpenKeyring, PivPublicKey, holder, manifest};
use touchseal_rig::scratch::Scratch;
use touchseal_rig::tools::Tool;
use touchseal_softkey::SoftKey;
use touchseal_suites::cli::{PIN, Said};
use touchseal_suites::{Laptop, Sops};
use zeroize::Zeroizing;

const NAMESPACES: [&str; 3] = ["shop", "chat", "pay"];
const KEYRING: &str = "prod.keyring.yaml";

/// A tree of documents of three namespaces under the first key generation, and the keyring's second one beside it.
struct Tree {
    folder: Scratch,
    laptop: Laptop,
    key: SoftKey,
    sops: Sops,
    first: OpenKeyring,
    second: OpenKeyring,
    rotated: KeyringSpec,
}

impl Tree {
    fn new() -> Tree {
        let folder = Scratch::new("tree").unwrap();
        fs::create_dir(folder.path().join(".git")).unwrap();
        let laptop = Laptop::at(folder.path(), Path::new("/nonexistent/kubeconfig"));
        let key = laptop.key(0, 9_100);
        let spec = laptop.create_keyring("prod", "alice");
        let first = open(&spec, &key);
        let verified = manifest::verify(&spec).unwrap();
        let (rotated, second) = manifest::rotate(&verified, &first, "2026-02-03T04:05:06Z").unwrap();
        Tree { folder, laptop, key, sops: Sops::new(), first, second, rotated }
    }

    /// 20 documents: plain files of shop under a rule, manifests of chat (one document each) and of pay (two each).
    fn of_twenty() -> Tree {
        let tree = Tree::new();
        tree.rules();
        for number in 0..8 {
            tree.file(&format!("shop/app{number}.yaml"), &tree.document("shop", number));
        }
        for number in 0..6 {
            tree.file(&format!("chat/app{number}.yaml"), &tree.manifest("chat", &[number]));
        }
        for number in 0..3 {
            tree.file(&format!("pay/app{number}.yaml"), &tree.manifest("pay", &[number, number + 10]));
        }
        tree
    }

    fn file(&self, path: &str, text: &str) {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Rules of shop, as `touchseal recipients` writes them.
    fn rules(&self) {
        let recipients = ["recipients", "-f", KEYRING, "--for", "shop", "--sops-yaml"];
        self.laptop.run(&recipients, PIN).ok();
    }

    /// A document of a namespace under the first key generation, encrypted by sops.
    fn document(&self, namespace: &str, number: u32) -> String {
        let text = format!(
            "# of {namespace}\npassword: hunter{number}\nnested:\n    list:\n        - 1\n        - two\n"
        );
        self.sops.encrypt("app.yaml", &text, &recipient(&self.first, namespace))
    }

    /// A manifest with documents, and a comment and another object that are to stay.
    fn manifest(&self, namespace: &str, numbers: &[u32]) -> String {
        let indented = |text: &str| text.lines().map(|line| format!("        {line}\n")).collect::<String>();
        let documents: String = numbers
            .iter()
            .map(|number| {
                let text = indented(&self.document(namespace, *number));
                format!("    - name: app{number}.yaml\n      sops: |\n{text}")
            })
            .collect();
        format!(
            "# by hand\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}}}\n---\napiVersion: touchseal.dev/v1alpha1\n\
             kind: EncryptedSecret\nmetadata:\n  name: app{0}\n  namespace: {namespace} # here\nspec:\n  documents:\n{documents}",
            numbers[0]
        )
    }

    /// The second key generation becomes the active one.
    fn rotate(&self) {
        let object = json!({
            "apiVersion": "touchseal.dev/v1alpha1", "kind": "Keyring", "metadata": { "name": "prod" }, "spec": self.rotated,
        });
        self.file(KEYRING, &object.to_string());
    }

    /// Private-key operations of the card so far; making the keyring took one.
    fn operations(&self) -> u32 {
        u32::try_from(self.key.counters().private_key_operations).unwrap()
    }

    /// Every file of the tree but the rules.
    fn texts(&self) -> BTreeMap<PathBuf, String> {
        let mut found = BTreeMap::new();
        for namespace in NAMESPACES {
            for entry in fs::read_dir(self.folder.path().join(namespace)).into_iter().flatten() {
                let path = entry.unwrap().path();
                found.insert(path.clone(), fs::read_to_string(path).unwrap());
            }
        }
        found
    }

    /// The passwords that sops finds in a file's documents with the identity of one namespace and generation.
    fn opened(&self, text: &str, keyring: &OpenKeyring, namespace: &str) -> Vec<String> {
        let (_, identity) = keyring.namespace(namespace).unwrap().remove(0);
        let identity = identity.identity().to_string().expose_secret().to_owned();
        documents(text).iter().filter_map(|text| self.password(text, &identity)).collect()
    }

    fn password(&self, text: &str, identity: &str) -> Option<String> {
        let file = self.folder.path().join(".git/document.yaml");
        fs::write(&file, text).unwrap();
        let mut sops = Tool::Sops.command().unwrap();
        sops.args(["decrypt", "--extract", "[\"password\"]"]).arg(file).env("SOPS_AGE_KEY", identity);
        let output = sops.env("XDG_CONFIG_HOME", "/nonexistent").stdin(Stdio::null()).output().unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    }
}

fn open(spec: &KeyringSpec, key: &SoftKey) -> OpenKeyring {
    let verified = manifest::verify(spec).unwrap();
    let secret = p256::SecretKey::from_slice(&key.private_scalar(0x82).unwrap()).unwrap();
    let public = PivPublicKey::from_recipient(&spec.holders[0].recipient).unwrap();
    let mut ecdh = |point: &[u8; 33]| {
        let peer = p256::PublicKey::from_sec1_bytes(point).unwrap();
        let shared = p256::ecdh::diffie_hellman(secret.to_nonzero_scalar(), peer.as_affine());
        Ok::<_, std::convert::Infallible>(Zeroizing::new((*shared.raw_secret_bytes()).into()))
    };
    let master = holder::unwrap(verified.active_wrapped(), &public, &mut ecdh).unwrap();
    OpenKeyring::open(&verified, master).unwrap()
}

/// The newest age identity of a namespace, as sops takes it.
pub fn identity(spec: &KeyringSpec, key: &SoftKey, namespace: &str) -> String {
    let (_, identity) = open(spec, key).namespace(namespace).unwrap().remove(0);
    identity.identity().to_string().expose_secret().to_owned()
}

fn recipient(keyring: &OpenKeyring, namespace: &str) -> String {
    keyring.recipient_spec(namespace).unwrap().recipient
}

/// The sops documents of a file.
fn documents(text: &str) -> Vec<String> {
    if !text.contains("EncryptedSecret") {
        return vec![text.to_owned()];
    }
    let object: Value = serde_norway::from_str(text.split("\n---\n").nth(1).unwrap()).unwrap();
    let listed = object["spec"]["documents"].as_array().unwrap();
    listed.iter().map(|document| document["sops"].as_str().unwrap().to_owned()).collect()
}

/// The text without the lines of its age recipients.
fn without_recipients(text: &str) -> String {
    let mut inside = false;
    let mut kept = String::new();
    for line in text.lines() {
        inside |= line.trim_start().starts_with("- recipient:");
        if !inside {
            kept.push_str(line);
            kept.push('\n');
        }
        inside &= !line.contains("-----END AGE");
    }
    kept
}

fn rows(said: &str) -> Vec<Value> {
    serde_json::from_str(said).unwrap()
}

#[test]
fn a_tree_moves_to_the_new_generation_with_one_operation_and_then_with_none() {
    let tree = Tree::of_twenty();
    let before = tree.texts();
    tree.rotate();
    tree.rules();
    let operations = tree.operations();
    let said = tree.laptop.run(&["rekey", ".", "-o", "json"], PIN).ok();
    assert_eq!(tree.operations(), operations + 1, "one operation for three namespaces and two generations");
    let rows = rows(&said.out);
    assert_eq!(rows.len(), 20);
    assert!(rows.iter().all(|row| row["action"] == "rekeyed"), "{}", said.out);

    let after = tree.texts();
    assert_eq!(before.len(), 17);
    for (path, text) in &after {
        let namespace = path.parent().unwrap().file_name().unwrap().to_str().unwrap();
        let documents = documents(text).len();
        assert_eq!(without_recipients(text), without_recipients(&before[path]), "only the metadata changes");
        assert_eq!(tree.opened(text, &tree.second, namespace).len(), documents, "{}", path.display());
        assert_eq!(tree.opened(text, &tree.first, namespace), [""; 0], "{}", path.display());
        assert_eq!(tree.opened(&before[path], &tree.first, namespace).len(), documents);
    }

    let again = tree.laptop.run_plain(&["rekey", "."]).ok();
    assert!(again.out.is_empty() && again.err.contains("20 up to date"), "{}{}", again.out, again.err);
    assert_eq!((tree.operations(), tree.texts()), (operations + 1, after));
}

#[test]
fn a_dry_run_says_all_and_writes_nothing() {
    let tree = Tree::of_twenty();
    tree.rotate();
    tree.rules();
    let before = tree.texts();
    let said = tree.laptop.run(&["rekey", ".", "--dry-run"], PIN).ok();
    assert!(said.err.contains("20 would change"), "{}", said.err);
    assert!(said.out.contains("shop/1") && said.out.contains("pay/2"), "{}", said.out);
    assert_eq!(tree.texts(), before);
}

#[test]
fn a_run_that_was_killed_is_completed_by_the_next() {
    const FILES: usize = 40;
    const LARGE: usize = 25;
    const LIMIT: u64 = 64 << 10;
    let tree = Tree::new();
    tree.file("rules", "");
    let text = format!("password: hunter7\nfiller: {}\n", "x".repeat(usize::try_from(LIMIT).unwrap()));
    let large = tree.sops.encrypt("app.yaml", &text, &recipient(&tree.first, "chat"));
    let one = tree.document("chat", 7);
    for number in 0..FILES {
        tree.file(&format!("chat/app{number:03}.yaml"), if number == LARGE { &large } else { &one });
    }
    tree.rotate();
    let before = tree.texts();
    let changed = || {
        let now = tree.texts();
        before.iter().filter(|(path, text)| now[*path] != **text).count()
    };

    // The kernel kills it while it writes the large one.
    let rekey = ["rekey", "chat", "-n", "chat"];
    let mut child = tree.laptop.start(&rekey, PIN);
    let limit = Rlimit { current: Some(LIMIT), maximum: Some(LIMIT) };
    prlimit(Some(Pid::from_child(&child)), Resource::Fsize, limit).unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(Signal::XFSZ.as_raw()));
    assert_eq!((changed(), tree.texts().len()), (LARGE, FILES + 1), "half a file lies beside the others");

    let said = tree.laptop.run(&[&rekey[..], &["-o", "json"]].concat(), PIN).ok();
    let rows = rows(&said.out);
    let count = |action: &str| rows.iter().filter(|row| row["action"] == action).count();
    assert_eq!((count("up-to-date"), count("rekeyed")), (LARGE, FILES - LARGE));
    assert_eq!(changed(), FILES);
    let texts = tree.texts();
    for path in [0, LARGE, FILES - 1].map(|number| before.keys().nth(number).unwrap()) {
        assert_eq!(tree.opened(&texts[path], &tree.second, "chat"), ["hunter7"]);
    }
}

#[test]
fn anothers_document_is_not_opened_to_a_namespace_it_was_copied_into() {
    let tree = Tree::new();
    let stolen = tree.manifest("pay", &[1]).replace("namespace: pay # here", "namespace: chat # here");
    tree.file("chat/stolen.yaml", &stolen);
    tree.file("chat/good.yaml", &tree.manifest("chat", &[2]));
    tree.file("pay/own.yaml", &tree.manifest("pay", &[1])); // so that the keys of pay are at hand
    tree.rotate();
    let said = tree.laptop.run(&["rekey", "."], PIN).refused(1, &["not encrypted for namespace chat"]);
    let texts = tree.texts();
    assert_eq!(texts[&tree.folder.path().join("chat/stolen.yaml")], stolen);
    assert_eq!(
        tree.opened(&texts[&tree.folder.path().join("chat/good.yaml")], &tree.second, "chat"),
        ["hunter2"]
    );
    assert!(said.out.contains("failed") && said.out.contains("rekeyed"), "{}", said.out);
}

#[test]
fn a_recipient_that_nothing_vouches_for_is_asked_about() {
    let tree = Tree::new();
    let stranger = age::x25519::Identity::generate();
    let public = stranger.to_public().to_string();
    let rules = format!("creation_rules:\n- age: {},{public}\n", recipient(&tree.first, "shop"));
    tree.file(".sops.yaml", &rules);
    let document = tree.document("shop", 1);
    tree.file("shop/app.yaml", &document);
    let rekey = ["rekey", "shop/app.yaml"];
    tree.laptop.run(&rekey, PIN).refused(3, &["not confirmed", "--accept-others", &public]);
    assert_eq!(tree.texts().into_values().collect::<Vec<_>>(), [document]);
    tree.laptop.run(&[&rekey[..], &["--accept-others"]].concat(), PIN).ok();
    let text = tree.texts().into_values().next().unwrap();
    let identity = stranger.to_string().expose_secret().to_owned();
    assert_eq!(tree.password(&text, &identity).as_deref(), Some("hunter1"));
}

#[test]
fn who_is_merely_listed_gets_no_new_data_key_unasked() {
    let tree = Tree::new();
    let stranger = age::x25519::Identity::generate();
    let public = stranger.to_public().to_string();
    let document = tree.document("shop", 4);
    // Somebody without any key wrote themselves into the document, above what is wrapped for shop.
    let (head, entries) = document.split_once("    age:\n").unwrap();
    let entry = &entries[..entries.find("    lastmodified").unwrap()];
    let forged = entry.replace(&recipient(&tree.first, "shop"), &public);
    let listed = format!("{head}    age:\n{forged}{entries}");
    let identity = stranger.to_string().expose_secret().to_owned();
    assert_eq!(tree.password(&listed, &identity), None);
    tree.file("shop/app.yaml", &listed);
    let rekey = ["rekey", "shop", "-n", "shop", "--rotate-data-key"];
    tree.laptop.run(&rekey, PIN).refused(3, &["not confirmed", &public]);
    assert_eq!(tree.texts().into_values().collect::<Vec<_>>(), [listed]);
    tree.laptop.run(&[&rekey[..], &["--drop-others"]].concat(), PIN).ok();
    let text = tree.texts().into_values().next().unwrap();
    assert_eq!(tree.opened(&text, &tree.first, "shop"), ["hunter4"], "a namespace's own is not asked about");
    assert_eq!(tree.password(&text, &identity), None);
}

#[test]
fn who_knows_the_recipient_says_so_in_the_terminal() {
    let tree = Tree::new();
    let (own, stranger) = (age::x25519::Identity::generate(), age::x25519::Identity::generate());
    let public = stranger.to_public().to_string();
    let document = tree.sops.encrypt("app.yaml", "password: hunter8\n", &own.to_public().to_string());
    tree.file("shop/app.yaml", &document);
    tree.file(".sops.yaml", &format!("creation_rules:\n- age: {},{public}\n", own.to_public()));
    let identity = own.to_string().expose_secret().to_owned();
    let operations = tree.operations();
    let rekey = |answer| {
        let environment = [("SOPS_AGE_KEY", identity.as_str())];
        let answers = [("whose they are", answer)];
        tree.laptop.in_terminal_with(&environment, &["rekey", "shop"], &answers)
    };
    let said = rekey("no");
    assert!(said.code == 3 && said.out.contains(&public), "{}", said.out);
    assert_eq!(tree.texts().into_values().collect::<Vec<_>>(), [document]);
    rekey("yes").ok();
    let text = tree.texts().into_values().next().unwrap();
    assert_eq!(tree.password(&text, stranger.to_string().expose_secret()).as_deref(), Some("hunter8"));
    assert_eq!(tree.operations(), operations, "no keyring was needed");
}

#[test]
fn of_several_key_groups_the_namespaces_moves() {
    let tree = Tree::new();
    let other = age::x25519::Identity::generate();
    let secret = other.to_string().expose_secret().to_owned();
    let groups = format!(
        "creation_rules:\n- key_groups:\n  - age: [{}]\n  - age: [{}]\n",
        recipient(&tree.first, "shop"),
        other.to_public()
    );
    tree.file(".git/groups/.sops.yaml", &groups);
    tree.file(".git/groups/app.yaml", "password: hunter9\n");
    let mut sops = Tool::Sops.command().unwrap();
    let output = sops
        .args(["encrypt", "app.yaml"])
        .current_dir(tree.folder.path().join(".git/groups"))
        .output()
        .unwrap();
    tree.file("shop/app.yaml", &String::from_utf8(output.stdout).unwrap());
    tree.rotate();
    let rekey = ["rekey", "shop", "-n", "shop", "--accept-others"];
    tree.laptop.run(&rekey, PIN).refused(1, &["2 key groups are needed, 1 can be opened"]);
    let mut command = tree.laptop.with_pin(&rekey, PIN);
    let said: Said = command.env("SOPS_AGE_KEY", &secret).output().unwrap().into();
    said.ok();
    let text = tree.texts().into_values().next().unwrap();
    let (_, identity) = tree.second.namespace("shop").unwrap().remove(0);
    let both = format!("{secret}\n{}", identity.identity().to_string().expose_secret());
    assert_eq!(tree.password(&text, &both).as_deref(), Some("hunter9"));
    assert_eq!(tree.password(&text, &secret), None);
}

#[test]
fn others_stay_unless_they_are_to_go_and_a_data_key_can_be_new() {
    let tree = Tree::new();
    let other = age::x25519::Identity::generate();
    let (public, identity) = (other.to_public().to_string(), other.to_string().expose_secret().to_owned());
    let both = format!("{public},{}", recipient(&tree.first, "shop"));
    tree.file("shop/app.yaml", &tree.sops.encrypt("app.yaml", "password: hunter3\n", &both));
    tree.rotate();
    let rekey = ["rekey", "shop", "-n", "shop"];
    let said = tree.laptop.run(&rekey, PIN).ok();
    assert!(
        said.err.contains(&format!("other recipients stay (--drop-others takes them away): {public}")),
        "{}",
        said.err
    );
    let text = || tree.texts().into_values().next().unwrap();
    let kept = text();
    assert_eq!(tree.password(&kept, &identity).as_deref(), Some("hunter3"));
    assert_eq!(tree.opened(&kept, &tree.second, "shop"), ["hunter3"]);

    tree.laptop.run(&[&rekey[..], &["--drop-others", "--rotate-data-key"]].concat(), PIN).ok();
    let anew = text();
    assert_eq!(tree.password(&anew, &identity), None);
    assert_eq!(tree.opened(&anew, &tree.second, "shop"), ["hunter3"]);
    assert_ne!(anew.lines().next(), kept.lines().next(), "every value is encrypted anew");
}

#[test]
fn a_recipient_that_somebody_put_into_the_laptops_memory_is_not_encrypted_to() {
    let tree = Tree::new();
    tree.rotate();
    tree.rules();
    let memory = tree.laptop.home.path().join("touchseal/known_recipients");
    let stranger = age::x25519::Identity::generate().to_public().to_string();
    let forged = fs::read_to_string(&memory).unwrap().replace(&recipient(&tree.second, "shop"), &stranger);
    assert!(forged.contains(&stranger));
    fs::write(&memory, forged).unwrap();
    let document = tree.document("shop", 6);
    tree.file("shop/app.yaml", &document);
    let said = tree.laptop.run(&["rekey", "shop", "-n", "shop"], PIN);
    said.refused(1, &["not the one the keyring derives"]);
    assert_eq!(tree.texts().into_values().collect::<Vec<_>>(), [document]);
}

#[test]
fn rules_of_an_older_generation_are_not_followed() {
    let tree = Tree::new();
    tree.rules();
    let document = tree.document("shop", 4);
    tree.file("shop/app.yaml", &document);
    tree.rotate();
    tree.laptop
        .run(&["rekey", "shop"], PIN)
        .refused(1, &["key generation 1 of namespace shop", "touchseal recipients"]);
    assert_eq!(tree.texts().into_values().collect::<Vec<_>>(), [document]);
}

#[test]
fn a_document_that_was_laid_out_otherwise_keeps_its_lines() {
    let tree = Tree::new();
    let text = "password: hunter5\nnested:\n  deep:\n    list:\n    - 1\n";
    tree.file(
        ".git/indent/.sops.yaml",
        &format!(
            "stores:\n  yaml:\n    indent: 2\ncreation_rules:\n- age: {}\n",
            recipient(&tree.first, "shop")
        ),
    );
    tree.file(".git/indent/app.yaml", text);
    let mut sops = Tool::Sops.command().unwrap();
    let output = sops
        .args(["encrypt", "app.yaml"])
        .current_dir(tree.folder.path().join(".git/indent"))
        .output()
        .unwrap();
    let before = String::from_utf8(output.stdout).unwrap();
    assert!(before.contains("nested:\n  deep:\n"), "{before}");
    tree.file("shop/app.yaml", &before);
    tree.rotate();
    tree.laptop.run(&["rekey", "shop", "-n", "shop"], PIN).ok();
    let after = tree.texts().into_values().next().unwrap();
    let body = |text: &str| text.split("sops:\n").next().unwrap().to_owned();
    assert_eq!(body(&after), body(&before));
    assert_eq!(tree.opened(&after, &tree.second, "shop"), ["hunter5"]);
}

#[test]
fn with_a_key_of_sops_the_laptops_memory_vouches_for_nobody() {
    let tree = Tree::new();
    tree.rotate();
    tree.rules();
    let (own, stranger) = (age::x25519::Identity::generate(), age::x25519::Identity::generate());
    let public = stranger.to_public().to_string();
    let memory = tree.laptop.home.path().join("touchseal/known_recipients");
    let forged = fs::read_to_string(&memory).unwrap().replace(&recipient(&tree.second, "shop"), &public);
    assert!(forged.contains(&public));
    fs::write(&memory, forged).unwrap();
    let document = tree.sops.encrypt("app.yaml", "password: hunter5\n", &own.to_public().to_string());
    tree.file("shop/app.yaml", &document);
    // The keyring is not opened, so it cannot say whose the recipient is.
    let mut command = tree.laptop.with_pin(&["rekey", "shop", "-n", "shop"], PIN);
    let said: Said = command.env("SOPS_AGE_KEY", own.to_string().expose_secret()).output().unwrap().into();
    said.refused(3, &["not confirmed", &public]);
    assert_eq!(tree.texts().into_values().collect::<Vec<_>>(), [document]);
}

/// A document of shop that another could read, too: that one, and the file.
fn shared(tree: &Tree) -> (age::x25519::Identity, String) {
    let other = age::x25519::Identity::generate();
    let both = format!("{},{}", other.to_public(), recipient(&tree.first, "shop"));
    let document = tree.sops.encrypt("app.yaml", "password: hunter3\n", &both);
    tree.file("shop/app.yaml", &document);
    (other, document)
}

/// The later document with the entry put back that somebody had in an earlier one.
fn put_back(earlier: &str, now: &str, who: &str) -> String {
    let (_, entries) = earlier.split_once("    age:\n").unwrap();
    let start = entries.find(&format!("        - recipient: {who}")).unwrap();
    let end = start + entries[start..].find("-----END AGE ENCRYPTED FILE-----\n").unwrap();
    let entry = format!("{}-----END AGE ENCRYPTED FILE-----\n", &entries[start..end]);
    now.replacen("    age:\n", &format!("    age:\n{entry}"), 1)
}

#[test]
fn who_goes_cannot_read_what_is_added_later() {
    let tree = Tree::new();
    let (other, before) = shared(&tree);
    let (public, identity) = (other.to_public().to_string(), other.to_string().expose_secret().to_owned());
    let text = || tree.texts().into_values().next().unwrap();
    let rekey = ["rekey", "shop", "-n", "shop", "--drop-others"];
    let said = tree.laptop.run(&rekey, PIN).ok();
    assert!(said.err.contains("1 encrypted anew"), "{}", said.err);
    assert_eq!(tree.opened(&text(), &tree.first, "shop"), ["hunter3"]);
    assert_eq!(tree.password(&put_back(&before, &text(), &public), &identity), None);

    // That this is what the old entry would have given: the same with the data key kept.
    tree.file("shop/app.yaml", &before);
    let said = tree.laptop.run(&[&rekey[..], &["--keep-data-key"]].concat(), PIN).ok();
    assert!(said.err.contains("1 rekeyed"), "{}", said.err);
    assert_eq!(tree.password(&text(), &identity), None);
    let with = put_back(&before, &text(), &public);
    assert_eq!(tree.password(&with, &identity).as_deref(), Some("hunter3"));
}

#[test]
fn pgp_entries_go_with_the_others() {
    let tree = Tree::new();
    let entry = "    pgp:\n        - created_at: \"2026-01-01T00:00:00Z\"\n          enc: x\n          fp: ABCD\n    age:\n";
    let document = tree.document("shop", 5).replacen("    age:\n", entry, 1);
    tree.file("shop/app.yaml", &document);
    let rekey = ["rekey", "shop", "-n", "shop", "--rotate-data-key"];
    tree.laptop.run(&rekey, PIN).refused(1, &["pgp", "--drop-others"]);
    assert_eq!(tree.texts().into_values().collect::<Vec<_>>(), [document]);
    tree.laptop.run(&[&rekey[..], &["--drop-others"]].concat(), PIN).ok();
    let text = tree.texts().into_values().next().unwrap();
    assert!(!text.contains("pgp:"), "{text}");
    assert_eq!(tree.opened(&text, &tree.first, "shop"), ["hunter5"]);
}
