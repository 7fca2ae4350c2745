//! `touchseal audit git` on repositories made by the real git: every form in which a value can have become public is found, where
//! and since when, with one operation of the YubiKey; and nothing else is.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use touchseal_suites::cli::{PIN, Said};
use touchseal_suites::{Laptop, Page, Reading, World};

use super::guides::commit;

const AUDIT: [&str; 4] = ["audit", "git", "-o", "json"];
/// Keys of the document, and their values: what is public, how, is told by the test.
const PLAIN: [(&str, &str); 18] = [
    ("packed", "packed-Value-01"),
    ("loose", "loose-Value-02"),
    ("branch", "branch-Value-03"),
    ("tagged", "tagged-Value-04"),
    ("stashed", "stashed-Value-05"),
    ("renamed", "renamed-Value-06"),
    ("manifest", "manifest-Value-07"),
    ("json", "json\"<&>\\Value 08"),
    ("url", "url/+&=?Value 09"),
    ("quoted", "quoted'Value'10"),
    ("message", "message-Value-11"),
    ("annotation", "annotation-Value-12"),
    ("deleted", "deleted-Value-13"),
    ("staged", "staged-Value-14"),
    ("never", "never-Value-15"),
    ("port", "5432"),
    ("stage", "production"),
    ("everywhere", "everywhere-Value-16"),
];
const BODY: [&str; 3] = [
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgevZzL1gdAFr88hb2",
    "OF/2NxApJCzGCEDdfSp6VQO30hyhRANCAAQRWz+jn65BtOMvdyHKcvjBeBSDZH2r",
    "1RTwjmYSi9R/zpBnuQ4EiMnCqfMPWiZqB4QdbAd0E7oH50VpuZ1P087G",
];

struct Tree {
    laptop: Laptop,
    key: touchseal_softkey::SoftKey,
}

impl Tree {
    /// A keyring, and a repository with nothing but ciphertext: an EncryptedSecret of shop, a file of chat.
    fn new() -> Tree {
        let laptop = Laptop::new(Path::new("/nonexistent/kubeconfig"));
        let key = laptop.key(0, 4_711);
        laptop.create_keyring("prod", "alice");
        let recipients =
            ["recipients", "-f", "prod.keyring.yaml", "--for", "shop", "--for", "chat", "--sops-yaml"];
        laptop.run(&recipients, PIN).ok();
        let mut plain: String =
            PLAIN.iter().map(|(key, value)| format!("{key}: {}\n", Value::from(*value))).collect();
        plain.push_str(&format!("tls.key: |\n  {}\n", pem("\n").trim().replace('\n', "\n  ")));
        let tree = Tree { laptop, key };
        tree.put("chat/bot.env", "TOKEN=chat-Value-17\n");
        tree.laptop.run_plain(&["encrypt", "--in-place", "chat/bot.env"]).ok();
        commit(&tree.laptop, &[("app", &plain)]);
        tree.git(&["branch", "-M", "main"]);
        tree.commit("chat/bot.env");
        fs::remove_file(tree.laptop.folder().join("shop/app.yaml")).unwrap();
        tree.git(&["commit", "-qam", "The manifest is enough"]);
        tree
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.laptop.folder().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn git(&self, arguments: &[&str]) {
        self.laptop.git(arguments);
    }

    fn commit(&self, path: &str) {
        self.git(&["add", path]);
        self.git(&["commit", "-qm", &format!("Change {path}")]);
    }

    /// Commits a file with this text, and then without it.
    fn leak(&self, path: &str, text: &str) {
        self.put(path, text);
        self.commit(path);
        self.put(path, "nothing\n");
        self.commit(path);
    }

    fn audit(&self) -> Said {
        let said = self.laptop.run(&AUDIT, PIN);
        for (_, value) in PLAIN.iter().filter(|(_, value)| value.len() > 10) {
            assert!(!said.out.contains(value) && !said.err.contains(value), "a value was shown: {said:?}");
        }
        assert!(!said.out.contains(BODY[1]) && !said.err.contains(BODY[1]));
        said
    }
}

fn pem(end: &str) -> String {
    let lines = [&["-----BEGIN PRIVATE KEY-----"], &BODY[..], &["-----END PRIVATE KEY-----", ""]].concat();
    lines.join(end)
}

fn report(said: &Said) -> Value {
    serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {said:?}"))
}

/// Where each key was found: its places, and the references whose history has it.
fn found(report: &Value) -> BTreeMap<String, (Vec<String>, Vec<String>)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let texts = |list: &Value| list.as_array().unwrap().iter().map(text).collect();
    let place = |place: &Value| match &place["path"] {
        Value::String(path) => format!("{path}:{}", place["line"]),
        _ => text(&place["kind"]),
    };
    let finding = |one: &Value| {
        let places = one["places"].as_array().unwrap().iter().map(place).collect();
        (text(&one["key"]), (places, texts(&one["references"])))
    };
    report["findings"].as_array().unwrap().iter().map(finding).collect()
}

#[test]
fn every_form_is_found_and_nothing_else_with_one_operation_of_the_yubikey() {
    let tree = Tree::new();
    let clean = tree.audit().ok();
    let clean = report(&clean);
    assert_eq!(found(&clean), BTreeMap::new(), "ciphertext is no finding");
    assert_eq!(clean["judged"], 18, "of 20 values, but for port and stage");

    tree.leak("settings.py", "DEBUG = True\nPASSWORD = 'packed-Value-01'\n");
    tree.put("old/name.cfg", "x=renamed-Value-06\n");
    tree.commit("old/name.cfg");
    fs::create_dir(tree.laptop.folder().join("new")).unwrap();
    tree.git(&["mv", "old/name.cfg", "new/name.cfg"]);
    tree.git(&["commit", "-qm", "Another name"]);
    let secret = format!("kind: Secret\ndata:\n  a: {}\n", STANDARD.encode("manifest-Value-07\n"));
    tree.leak("secret.yaml", &secret);
    tree.leak(
        "a.json",
        &format!("{{\n \"a\": {}}}\n", Value::from(PLAIN[7].1).to_string().replace('<', "\\u003c")),
    );
    tree.leak("url.txt", "\nhttps://example.com/?a=url%2F%2B%26%3D%3FValue+09\n");
    tree.leak("quoted.yaml", "a: 'quoted''Value''10'\n");
    tree.leak("tls.yaml", &format!("a: b\nkey: |\n    {}\n", pem("\n    ")));
    tree.leak("account.json", &format!("{{\"private_key\": \"{}\"}}\n", pem("\\n")));
    tree.git(&["commit", "-q", "--allow-empty", "-m", "The token is message-Value-11"]);
    tree.git(&["tag", "-am", "annotation-Value-12", "v1"]);
    tree.git(&["gc", "-q"]);
    // From here on objects are loose.
    tree.leak("loose.txt", "loose-Value-02");
    for (branch, text) in
        [("side", "branch-Value-03"), ("gone", "deleted-Value-13"), ("late", "tagged-Value-04")]
    {
        tree.git(&["checkout", "-qb", branch]);
        tree.put("b.txt", text);
        tree.commit("b.txt");
        tree.git(&["checkout", "-q", "-"]);
    }
    tree.git(&["tag", "v2", "late"]);
    tree.git(&["branch", "-qD", "gone", "late"]);
    tree.put("settings.py", "stashed-Value-05\n");
    tree.git(&["stash", "-q"]);
    tree.put("staged.txt", "staged-Value-14\n");
    tree.git(&["add", "staged.txt"]);
    tree.git(&["reset", "-q"]);
    tree.put("chat/old.env", "everywhere-Value-16 chat-Value-17");
    tree.commit("chat/old.env");

    let before = tree.key.counters().private_key_operations;
    tree.laptop.forget_keyrings();
    let said = tree.laptop.run(&[&AUDIT[..], &["--keyring", "prod.keyring.yaml", "--yes"]].concat(), PIN);
    assert_eq!(tree.key.counters().private_key_operations, before + 1, "one operation for two namespaces");
    assert_eq!(said.code, 5, "{said:?}");
    let report = report(&said);
    let mut found = found(&report);
    let expected: &[(&str, &[&str], &[&str])] = &[
        ("packed", &["settings.py:2"], &["main", "side", "stash", "v1", "v2"]),
        ("loose", &["loose.txt:1"], &["main", "side", "stash", "v2"]),
        ("branch", &["b.txt:1"], &["side"]),
        ("tagged", &["b.txt:1"], &["v2"]),
        ("stashed", &["settings.py:1"], &["stash"]),
        ("renamed", &["old/name.cfg:1", "new/name.cfg:1"], &["main", "side", "stash", "v1", "v2"]),
        ("manifest", &["secret.yaml:3"], &["main", "side", "stash", "v1", "v2"]),
        ("json", &["a.json:2"], &["main", "side", "stash", "v1", "v2"]),
        ("url", &["url.txt:2"], &["main", "side", "stash", "v1", "v2"]),
        ("quoted", &["quoted.yaml:1"], &["main", "side", "stash", "v1", "v2"]),
        ("tls.key", &["tls.yaml:4", "account.json:1"], &["main", "side", "stash", "v1", "v2"]),
        ("message", &["commit"], &["main", "side", "stash", "v1", "v2"]),
        ("annotation", &["tag"], &["v1"]),
        ("deleted", &["b.txt:1"], &[]),
        ("staged", &["object"], &[]),
        ("everywhere", &["chat/old.env:1"], &["main"]),
    ];
    for (key, places, references) in expected {
        let name = format!("shop/app:{key}");
        let (found_in, of) =
            found.remove(&name).unwrap_or_else(|| panic!("{name} was not found: {report:#}"));
        assert_eq!((&found_in[..], &of[..]), (&owned(places)[..], &owned(references)[..]), "{name}");
    }
    let (_, (places, _)) = found.pop_first().unwrap();
    assert_eq!(
        (places, found),
        (owned(&["chat/old.env:1"]), BTreeMap::new()),
        "the token of chat, and no more"
    );

    let finding = |key: &str| {
        let all = report["findings"].as_array().unwrap();
        all.iter()
            .find(|one| one["secretKeys"] == serde_json::json!([key]) && one["namespace"] == "shop")
            .unwrap()
            .clone()
    };
    assert_eq!(finding("renamed")["stillIn"], serde_json::json!(["main", "side", "stash", "v1", "v2"]));
    assert_eq!(finding("packed")["stillIn"], serde_json::json!([]), "it was taken out again");
    assert_eq!(finding("packed")["since"]["author"], "alice");
    assert_eq!(finding("packed")["since"]["commit"], first_commit_of(&tree, "settings.py"));
    let why = |key: &str| {
        let all = report["notJudged"].as_array().unwrap();
        all.iter().find(|one| one["key"] == format!("shop/app:{key}")).unwrap()["why"].clone()
    };
    assert_eq!((why("port"), why("stage")), ("too short to judge".into(), "too simple to judge".into()));
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn first_commit_of(tree: &Tree, path: &str) -> String {
    let mut git = Command::new("git");
    git.args(["log", "--reverse", "--format=%H", "main", "--", path]).current_dir(tree.laptop.folder());
    String::from_utf8(git.output().unwrap().stdout).unwrap().lines().next().unwrap().to_owned()
}

#[test]
fn a_clone_that_lacks_something_is_refused_unless_a_person_says_so() {
    let tree = Tree::new();
    tree.leak("settings.py", "PASSWORD = 'packed-Value-01'\n");
    tree.put("big.bin", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n");
    tree.commit("big.bin");
    let folder = tree.laptop.folder().to_owned();
    tree.git(&["config", "uploadpack.allowFilter", "true"]);
    tree.git(&["config", "uploadpack.allowAnySHA1InWant", "true"]);
    let from = format!("file://{}", folder.display());
    let home = tree.laptop.home.path().join("clones");
    for (name, how, what) in [
        ("shallow", &["--depth=1"][..], "shallow clone"),
        ("partial", &["--filter=blob:none"], "partial clone"),
    ] {
        let clone = home.join(name);
        let clone = clone.to_str().unwrap();
        tree.git(&[&["clone", "-q"], how, &[&from, clone]].concat());
        let audit = ["audit", "git", ".", "--repository", clone];
        let before = tree.key.counters().private_key_operations;
        tree.laptop.run(&audit, PIN).refused(3, &[what, "--incomplete"]);
        assert_eq!(tree.key.counters().private_key_operations, before, "before anybody is asked for a PIN");
        let said = tree.laptop.run(&[&audit[..], &["--incomplete"]].concat(), PIN);
        assert!(said.err.contains("has not the whole history"), "{said:?}");
        assert_eq!(said.code, 0, "what it does not have it cannot find: {said:?}");
    }
    // All of another one's objects, none of its own.
    let borrowed = home.join("borrowed");
    tree.git(&["clone", "-q", "--shared", &from.replace("file://", ""), borrowed.to_str().unwrap()]);
    let said = tree.laptop.run(&["audit", "git", ".", "--repository", borrowed.to_str().unwrap()], PIN);
    assert!(
        said.code == 5 && said.out.contains("shop/app:packed") && said.err.contains("git LFS"),
        "{said:?}"
    );
    // What another object is shown in the place of is looked at all the same.
    let blob = |spec: &str| {
        let output = Command::new("git").args(["rev-parse", spec]).current_dir(&folder).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    tree.git(&["replace", &blob("HEAD~2:settings.py"), &blob("HEAD:settings.py")]);
    assert!(tree.laptop.run(&AUDIT, PIN).out.contains("shop/app:packed"));
}

#[test]
fn the_page_about_the_audit_can_be_followed() {
    let world = World::documented();
    let laptop = Laptop::new(&world.cluster.admin_kubeconfig());
    let key = laptop.key(0, 4_711);
    laptop.create_keyring("prod", "alice");
    laptop.run(&["recipients", "-f", "prod.keyring.yaml", "--for", "shop", "--sops-yaml"], PIN).ok();
    Reading::at(&laptop).follow(&Page::of("docs/audit.md"));
    assert!(key.counters().private_key_operations > 0);
    let incident = world.cluster.get(&["incident", "history"]).unwrap();
    let selector = &incident["spec"]["selector"];
    assert_eq!(
        *selector,
        serde_json::json!({ "namespaces": ["shop"], "names": ["app"], "keys": ["password"] })
    );
    none_of_several_is_opened_where_one_exists(&world, &laptop);
}

fn none_of_several_is_opened_where_one_exists(world: &World, laptop: &Laptop) {
    let finding = |namespace: &str| serde_json::json!({ "key": "k", "namespace": namespace, "encryptedSecret": "app", "secretKeys": ["k"] });
    let report = serde_json::json!({ "auditedAt": "2026-05-01T00:00:00Z", "findings": [finding("chat"), finding("shop")] });
    fs::write(laptop.folder().join("two.json"), report.to_string()).unwrap();
    laptop.run_plain(&["incident", "open", "many-2", "--exposed-at", "1d"]).ok();
    let open = ["incident", "open", "many", "--from-audit", "two.json"];
    laptop.run_plain(&open).refused(1, &["many-2", "nothing was changed"]);
    let all = world.cluster.get(&["incidents"]).unwrap();
    let names: Vec<&Value> =
        all["items"].as_array().unwrap().iter().map(|one| &one["metadata"]["name"]).collect();
    assert_eq!(names, ["history", "many-2"], "nothing was");
    let said = laptop.run_plain(&[&open[..], &["-n", "shop"]].concat()).ok();
    assert!(said.out.contains("incident many is open"), "{said:?}");
    assert!(said.err.contains("of other namespaces are left out: 1"), "{said:?}");
}
