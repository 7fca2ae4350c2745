//! `touchseal encrypt` beside sops: what one writes the other opens, and both choose the same rule.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use touchseal_rig::scratch::Scratch;
use touchseal_rig::tools::Tool;
use touchseal_suites::cli::PIN;
use touchseal_suites::{Laptop, World};

/// Something of every format, with what each is good at.
const FILES: [(&str, &str); 5] = [
    (
        "app.yaml",
        "# the shop's\nname: shöp\npassword: hunter2\nports: [80, 443]\nratio: 0.5\ndebug_unencrypted: true\n",
    ),
    (
        "app.json",
        "{\n\t\"password\": \"hunter2\",\n\t\"retries\": 3,\n\t\"hosts\": [\n\t\t\"a\",\n\t\t\"b\"\n\t]\n}",
    ),
    ("app.env", "# comment\nPASSWORD=hunter2\nEMPTY=\n"),
    ("app.ini", "[database]\npassword = hunter2\n"),
    ("tls.key", "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n"),
];

fn identity() -> (String, String) {
    use age::secrecy::ExposeSecret as _;
    let identity = age::x25519::Identity::generate();
    (identity.to_string().expose_secret().to_owned(), identity.to_public().to_string())
}

/// sops in a folder, with an identity; its exit code and what it said.
fn sops(folder: &Path, identity: &str, arguments: &[&str]) -> (bool, String, String) {
    let mut sops = Tool::Sops.command().unwrap();
    sops.args(arguments).env("SOPS_AGE_KEY", identity).env("XDG_CONFIG_HOME", folder.join("nothing"));
    let output = sops.stdin(Stdio::null()).current_dir(folder).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

fn folder() -> Scratch {
    let folder = Scratch::new("encrypt").unwrap();
    fs::create_dir(folder.path().join(".git")).unwrap();
    folder
}

#[test]
fn sops_opens_what_was_encrypted_in_every_format() {
    let folder = folder();
    let laptop = Laptop::at(folder.path(), Path::new("/nonexistent/kubeconfig"));
    let (secret, public) = identity();
    for (name, plaintext) in FILES {
        let file = folder.path().join(name);
        fs::write(&file, plaintext).unwrap();
        let printed = laptop.run_plain(&["encrypt", name, "--age", &public]).ok().out;
        assert!(!printed.contains("hunter2"), "{printed}");
        assert_eq!(fs::read_to_string(&file).unwrap(), plaintext, "only --in-place changes the file");
        let said = laptop.run_plain(&["encrypt", "--in-place", name, "--age", &public]).ok();
        assert!(said.out.is_empty(), "{}", said.out);
        let (ok, opened, why) = sops(folder.path(), &secret, &["decrypt", name]);
        assert!(ok, "{name}: {why}");
        let (_, formatted, _) = {
            fs::write(folder.path().join(format!("sops-{name}")), plaintext).unwrap();
            let theirs = format!("sops-{name}");
            assert!(sops(folder.path(), &secret, &["encrypt", "--in-place", "--age", &public, &theirs]).0);
            sops(folder.path(), &secret, &["decrypt", &theirs])
        };
        assert_eq!(opened, formatted, "{name}: as sops prints what it encrypted itself");
        let again = laptop.run_plain(&["encrypt", name, "--age", &public]);
        again.refused(1, &["encrypted", "touchseal edit", "touchseal rekey"]);
    }
}

#[test]
fn a_namespaces_recipient_costs_one_touch_and_then_none() {
    let folder = folder();
    let laptop = Laptop::at(folder.path(), Path::new("/nonexistent/kubeconfig"));
    let key = laptop.key(0, 9_001);
    laptop.create_keyring("prod", "alice");
    fs::create_dir(folder.path().join("apps")).unwrap();
    for name in ["one.yaml", "two.yaml"] {
        fs::write(folder.path().join("apps").join(name), "password: hunter2\n").unwrap();
    }
    let before = key.counters().private_key_operations;
    laptop.run(&["encrypt", "-i", "apps/one.yaml", "-n", "shop"], PIN).ok();
    assert_eq!(key.counters().private_key_operations, before + 1);
    laptop.run_plain(&["encrypt", "-i", "apps/two.yaml", "-n", "shop"]).ok();
    assert_eq!(key.counters().private_key_operations, before + 1, "the recipient is remembered");
    let recipients = laptop.run(&["recipients", "-f", "prod.keyring.yaml", "--for", "shop"], PIN).ok().out;
    for name in ["one.yaml", "two.yaml"] {
        let text = fs::read_to_string(folder.path().join("apps").join(name)).unwrap();
        assert!(text.contains(recipients.trim()) && !text.contains("hunter2"), "{text}");
    }
    laptop
        .run(&["encrypt", "apps/one.yaml", "--keyring", "prod.keyring.yaml"], PIN)
        .refused(2, &["--namespace"]);
}

#[test]
fn what_is_encrypted_to_a_published_recipient_becomes_a_secret_without_a_yubikey() {
    let mut world = World::new("encrypt");
    let laptop = Laptop::new(&world.cluster.admin_kubeconfig());
    let key = laptop.key(0, 9_002);
    let spec = laptop.create_keyring("prod", "alice");
    world.apply_keyring("prod", &spec);
    let _operator = world.operator();
    world.requests(1);
    laptop.run(&["unseal", "--yes", "--operator-namespace", &world.system], PIN).ok();
    world.wait_for_replicas("prod", 1);
    world.recipient(&world.apps, "prod");

    let operations = key.counters().private_key_operations;
    fs::write(laptop.home.path().join("app.yaml"), "password: hunter2\n").unwrap();
    laptop.run_plain(&["encrypt", "-i", "app.yaml", "-n", &world.apps, "--keyring", "prod"]).ok();
    let wrapped = laptop.run_plain(&["wrap", "app.yaml", "--name", "app", "-n", &world.apps]).ok();
    world.cluster.apply(&wrapped.out).unwrap();
    world.wait_for("app", "True", "Materialised");
    let secret = world.secret("app").unwrap();
    assert_eq!(touchseal_suites::world::value(&secret, "password").unwrap(), b"hunter2");
    assert_eq!(key.counters().private_key_operations, operations);
}

#[test]
fn nothing_is_replaced_unless_all_can_be() {
    let folder = folder();
    let laptop = Laptop::at(folder.path(), Path::new("/nonexistent/kubeconfig"));
    let (_, public) = identity();
    fs::write(folder.path().join("good.yaml"), "a: b\n").unwrap();
    fs::write(folder.path().join("bad.yaml"), "a: [\n").unwrap();
    laptop.run_plain(&["encrypt", "-i", "good.yaml", "bad.yaml", "--age", &public]).refused(1, &["bad.yaml"]);
    assert_eq!(fs::read_to_string(folder.path().join("good.yaml")).unwrap(), "a: b\n");
    laptop.run_plain(&["encrypt", "good.yaml", "bad.yaml", "--age", &public]).refused(2, &["--in-place"]);
    laptop.run_plain(&["encrypt", "good.yaml"]).refused(1, &["--namespace"]);
}

/// Rules as they are found in the wild: A, B and C stand for recipients.
const RULES: [&str; 12] = [
    "creation_rules:\n- age: A\n",
    "creation_rules:\n- path_regex: ^shop/.*\n  age: A\n- path_regex: \\.yaml$\n  age: 'B,C'\n",
    "creation_rules:\n- path_regex: shop\n  age: [A, B]\n- age: C\n",
    "creation_rules:\n- path_regex: (?i)SHOP/\n  encrypted_regex: ^(data|password)$\n  age: >-\n    A,\n    B\n- unencrypted_regex: ^name\n  age: C\n",
    "keys:\n- &a A\n- &b B\ncreation_rules:\n- path_regex: (shop|chat)/[^/]+\\.yaml$\n  key_groups:\n  - age: [*a, *b]\n- path_regex: .*\n  key_groups:\n  - age: [*b]\n  - age: [C]\n",
    "creation_rules:\n- shamir_threshold: 2\n  key_groups:\n  - age: [A]\n  - age: [B]\n  - age: [C]\n",
    "creation_rules:\n- encrypted_suffix: word\n  mac_only_encrypted: true\n  age: A\n",
    "creation_rules:\n- unencrypted_suffix: _plain\n  path_regex: ''\n  age: B\n",
    "creation_rules:\n- unencrypted_comment_regex: clear\n  age: C\n",
    "creation_rules:\n- encrypted_comment_regex: secret\n  age: C\n",
    "creation_rules:\n- path_regex: ^nowhere$\n  age: A\n",
    "creation_rules:\n- path_regex: '^chat/|deep/.*/app'\n  key_groups:\n  - merge:\n    - age: [A]\n    age: ['B,C']\n",
];

#[test]
fn the_same_rule_is_chosen_as_by_sops() {
    let folder = folder();
    let laptop = Laptop::at(folder.path(), Path::new("/nonexistent/kubeconfig"));
    let recipients = [identity().1, identity().1, identity().1];
    let paths = ["shop/app.yaml", "chat/app.json", "deep/er/app.yaml", "top.yaml"];
    for path in paths {
        let file = folder.path().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        let text = if path.ends_with("json") {
            "{\"password\": \"x\", \"name\": \"y\"}"
        } else {
            "password: x\n# clear\nname: y\n# secret\nmore_plain: z\n"
        };
        fs::write(file, text).unwrap();
    }
    let (mut chosen, mut unselected) = (0, 0);
    for rules in RULES {
        let rules =
            rules.replace('A', &recipients[0]).replace('B', &recipients[1]).replace('C', &recipients[2]);
        fs::write(folder.path().join(".sops.yaml"), &rules).unwrap();
        for path in paths {
            let (theirs_ok, theirs, why) = sops(folder.path(), "", &["encrypt", path]);
            let ours = laptop.run_plain(&["encrypt", path]);
            if theirs_ok && !theirs.replace("\"mac\": \"ENC[", "").replace("mac: ENC[", "").contains("ENC[") {
                ours.refused(3, &["fits none"]);
                unselected += 1;
                continue;
            }
            assert_eq!(ours.code == 0, theirs_ok, "{rules}\n{path}: sops: {why}, here: {}", ours.err);
            if theirs_ok {
                assert_eq!(shape(&ours.out), shape(&theirs), "{rules}\n{path}");
                chosen += 1;
            }
        }
    }
    assert!(chosen > 35 && unselected > 0, "only {chosen} were compared, {unselected} not");
}

/// Expressions people write, and some that Go and Rust could read differently.
const PATHS: [&str; 20] = [
    "shop",
    "^shop/",
    "^/shop/",
    "^\\./shop/",
    "\\.ya?ml$",
    "^shop/.*\\.(yaml|json)$",
    "(^|/)er/",
    "[^/]+/[^/]+\\.yaml$",
    "(?i)^SHOP/APP",
    "(?P<where>shop|deep)/",
    "(?:deep)/er",
    "^[[:alpha:]]+/app",
    "\\bapp\\b",
    "^\\w+\\.yaml\\z",
    "\\x73hop",
    "sho{1}p",
    "(?s)^.+$",
    "^(?!shop)",
    "shop(",
    "*shop",
];

#[test]
fn paths_are_matched_as_by_sops() {
    let folder = folder();
    let laptop = Laptop::at(folder.path(), Path::new("/nonexistent/kubeconfig"));
    let recipients = [identity().1, identity().1];
    let paths = ["shop/app.yaml", "deep/er/app.json", "top.yaml"];
    for path in paths {
        fs::create_dir_all(folder.path().join(path).parent().unwrap()).unwrap();
        fs::write(folder.path().join(path), "{\"a\": \"b\"}").unwrap();
    }
    let (mut first, mut second, mut refused) = (0, 0, 0);
    for pattern in PATHS {
        let [one, other] = &recipients;
        let rules = format!("creation_rules:\n- path_regex: '{pattern}'\n  age: {one}\n- age: {other}\n");
        fs::write(folder.path().join(".sops.yaml"), &rules).unwrap();
        for path in paths {
            let (theirs_ok, theirs, _) = sops(folder.path(), "", &["encrypt", path]);
            let ours = laptop.run_plain(&["encrypt", path]);
            assert_eq!(ours.code == 0, theirs_ok, "{pattern} {path}: {}", ours.err);
            assert_eq!(ours.out.contains(one), theirs.contains(one), "{pattern} {path}");
            match (theirs_ok, theirs.contains(one)) {
                (true, true) => first += 1,
                (true, false) => second += 1,
                (false, _) => refused += 1,
            }
        }
    }
    assert!(first > 15 && second > 10 && refused > 5, "{first} {second} {refused}");
}

/// What a rule decides: recipients by group, threshold, selector, and which values are encrypted.
fn shape(text: &str) -> Value {
    let mut document: Value = serde_norway::from_str(text).unwrap();
    let sops = document.as_object_mut().unwrap().remove("sops").unwrap();
    let mut kept = serde_json::Map::new();
    let names = |group: &Value| -> Value {
        group["age"]
            .as_array()
            .map(|keys| keys.iter().map(|key| key["recipient"].clone()).collect())
            .unwrap_or_default()
    };
    kept.insert("age".to_owned(), names(&sops));
    let groups: Vec<Value> = sops["key_groups"].as_array().into_iter().flatten().map(names).collect();
    kept.insert("groups".to_owned(), groups.into());
    for (field, value) in sops.as_object().unwrap() {
        if !["age", "key_groups", "mac", "lastmodified"].contains(&field.as_str()) {
            kept.insert(field.clone(), value.clone());
        }
    }
    for (name, value) in document.as_object().unwrap() {
        kept.insert(
            format!("value {name}"),
            value.as_str().is_some_and(|text| text.starts_with("ENC[")).into(),
        );
    }
    kept.into()
}

#[test]
fn files_are_indented_as_by_sops() {
    let folder = folder();
    let laptop = Laptop::at(folder.path(), Path::new("/nonexistent/kubeconfig"));
    let public = identity().1;
    fs::write(folder.path().join("a.yaml"), "# top\nm:\n    n:\n        - 1\n        # in\n        - o: p\n          q:\n            - r\ns: |\n    two\n    lines\n").unwrap();
    fs::write(
        folder.path().join("a.json"),
        "{\"m\": {\"n\": [1, {\"o\": \"tab\\tand\\nline\"}], \"e\": []}}",
    )
    .unwrap();
    fs::write(folder.path().join("a.bin"), "bytes").unwrap();
    for columns in [-1, 0, 1, 2, 3, 4, 5, 9, 12] {
        let stores: String = ["yaml", "json", "json_binary"]
            .into_iter()
            .filter(|store| *store != "yaml" || columns >= 0)
            .map(|store| format!("  {store}: {{indent: {columns}}}\n"))
            .collect();
        let rules = format!("stores:\n{stores}creation_rules:\n- age: {public}\n");
        fs::write(folder.path().join(".sops.yaml"), rules).unwrap();
        for file in ["a.yaml", "a.json", "a.bin"] {
            let (ok, theirs, why) = sops(folder.path(), "", &["encrypt", file]);
            assert!(ok, "{columns} {file}: {why}");
            let ours = laptop.run_plain(&["encrypt", file]).ok().out;
            assert_eq!(blanked(&ours), blanked(&theirs), "{columns} {file}");
        }
    }
}

/// The text without what differs each time: ciphertext, what is wrapped, and the time.
fn blanked(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines().filter(|line| !line.contains("lastmodified")) {
        let inner = line.trim_start();
        let wrapped = inner.len() >= 40 && !inner.contains(' ') && !inner.contains("ENC[");
        let end = line.find("ENC[").or_else(|| line.find("-----BEGIN")).unwrap_or(line.len());
        out.push_str(if wrapped { &line[..line.len() - inner.len()] } else { &line[..end] });
        out.push('\n');
    }
    out
}

#[test]
fn a_config_named_elsewhere_counts_instead() {
    let folder = folder();
    let laptop = Laptop::at(folder.path(), Path::new("/nonexistent/kubeconfig"));
    let (near, far) = (identity().1, identity().1);
    fs::write(folder.path().join(".sops.yaml"), format!("creation_rules:\n- age: {near}\n")).unwrap();
    fs::create_dir(folder.path().join("conf")).unwrap();
    fs::write(folder.path().join("conf/rules.yaml"), format!("creation_rules:\n- age: {far}\n")).unwrap();
    fs::write(folder.path().join("app.yaml"), "a: b\n").unwrap();
    assert!(laptop.run_plain(&["encrypt", "app.yaml"]).ok().out.contains(&near));
    assert!(
        laptop.run_plain(&["encrypt", "app.yaml", "--config", "conf/rules.yaml"]).ok().out.contains(&far)
    );
    let by_variable = Command::new(touchseal_suites::binaries::touchseal())
        .args(["encrypt", "app.yaml"])
        .env("SOPS_CONFIG", "conf/rules.yaml")
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(String::from_utf8(by_variable.stdout).unwrap().contains(&far));
}

/// A repository with keyring prod of this laptop, its rules for shop, and a plain file of the shop.
fn shop(folder: &Path) -> Laptop {
    let laptop = Laptop::at(folder, Path::new("/nonexistent/kubeconfig"));
    let _key = laptop.key(0, 9_003);
    laptop.create_keyring("prod", "alice");
    laptop.run(&["recipients", "-f", "prod.keyring.yaml", "--for", "shop", "--sops-yaml"], PIN).ok();
    fs::create_dir(folder.join("shop")).unwrap();
    fs::write(folder.join("shop/app.yaml"), PLAIN).unwrap();
    laptop
}

const PLAIN: &str = "user: alice\npassword: hunter2\n";

#[test]
fn a_stranger_in_a_rule_of_ours_is_named_and_asked_about() {
    let folder = folder();
    let laptop = shop(folder.path());
    let (rules, app) = (folder.path().join(".sops.yaml"), folder.path().join("shop/app.yaml"));
    let ours = fs::read_to_string(&rules).unwrap();
    let own = ours.lines().find_map(|line| line.trim().strip_prefix("age: ")).unwrap().to_owned();
    let said = laptop.run_plain(&["encrypt", "shop/app.yaml"]).ok();
    assert!(said.err.contains(&own), "recipients are told in full: {}", said.err);

    let stranger = identity().1;
    let beside = ours.replace(&own, &format!("{own},{stranger}"));
    let instead = ours.replace(&own, &stranger);
    for rules_of_theirs in [&beside, &instead] {
        fs::write(&rules, rules_of_theirs).unwrap();
        let said =
            laptop.run_plain(&["encrypt", "-i", "shop/app.yaml"]).refused(3, &[&stranger, "--accept-others"]);
        assert!(!said.err.contains(&format!("  {own}\n")), "{}", said.err);
        assert_eq!(fs::read_to_string(&app).unwrap(), PLAIN);
    }
    // Rules that lie deeper are no way round those of the root, with a mark of their own or without.
    fs::write(&rules, &ours).unwrap();
    let nested = folder.path().join("shop/.sops.yaml");
    for rules_of_theirs in [format!("creation_rules:\n- age: {stranger}\n"), instead.replace("shop", "evil")]
    {
        fs::write(&nested, rules_of_theirs.replace("(^|/)evil/", "")).unwrap();
        let said = laptop.run_plain(&["encrypt", "-i", "shop/app.yaml"]).refused(3, &[&stranger]);
        assert!(said.err.contains("the rules of shop/.sops.yaml count"), "{}", said.err);
    }
    fs::remove_file(&nested).unwrap();
    // Nobody is known any more: a rule of ours names one recipient alone all the same.
    fs::write(&rules, &beside).unwrap();
    laptop.forget_keyrings();
    laptop.run_plain(&["encrypt", "-i", "shop/app.yaml"]).refused(3, &[&stranger]);

    let said = laptop.run_plain(&["encrypt", "-i", "shop/app.yaml", "--accept-others"]).ok();
    assert!(said.err.contains(&own) && said.err.contains(&stranger), "{}", said.err);
    for rules_of in [&beside, &ours] {
        fs::write(&rules, rules_of).unwrap();
        let said = laptop.run_plain(&["verify", "shop"]).ok();
        assert!(said.err.contains(&stranger), "{}", said.err);
        let said = laptop.run_plain(&["verify", "--strict", "shop"]).refused(1, &["not right"]);
        assert!(said.out.contains(&stranger), "{}", said.out);
    }
}

#[test]
fn yes_is_said_to_a_keyring_that_was_named_only() {
    let folder = folder();
    let laptop = shop(folder.path());
    let theirs = Laptop::new(Path::new("/nonexistent/kubeconfig"));
    let _key = theirs.key(0, 9_004);
    theirs.create_keyring("x", "mallory");
    fs::copy(theirs.home.path().join("x.keyring.yaml"), folder.path().join("shop/x.keyring.yaml")).unwrap();
    let encrypt = ["encrypt", "shop/app.yaml", "-n", "shop", "--yes"];
    let said = laptop.run_plain(&encrypt).ok();
    assert!(said.err.contains("keyring prod"), "the known one comes first: {}", said.err);
    laptop.forget_keyrings();
    let said = laptop.run_plain(&encrypt).refused(3, &["not confirmed"]);
    assert!(said.out.is_empty(), "{}", said.out);
    laptop.run(&[&encrypt[..], &["--keyring", "prod.keyring.yaml"]].concat(), PIN).ok();
}

#[test]
fn a_rule_that_selects_nothing_encrypts_nothing() {
    let folder = folder();
    let laptop = Laptop::at(folder.path(), Path::new("/nonexistent/kubeconfig"));
    let app = folder.path().join("app.yaml");
    fs::write(&app, PLAIN).unwrap();
    for (selector, left) in [("^pasword$", None), ("^password$", Some("1 value in the clear"))] {
        let rules = format!("creation_rules:\n- age: {}\n  encrypted_regex: {selector}\n", identity().1);
        fs::write(folder.path().join(".sops.yaml"), rules).unwrap();
        let said = laptop.run_plain(&["encrypt", "-i", "app.yaml"]);
        match left {
            None => {
                said.refused(3, &["none of its 2 values"]);
                assert_eq!(fs::read_to_string(&app).unwrap(), PLAIN);
            }
            Some(words) => assert!(said.ok().err.contains(words)),
        }
    }
}

const OBJECT: &str = "# ours
apiVersion: touchseal.dev/v1alpha1
kind: EncryptedSecret
metadata: {name: app, namespace: shop}
spec:
  documents:
    - name: app.yaml # the app's
      sops: |
        user: alice
        password: hunter2
";

#[test]
fn a_tree_is_encrypted_where_it_lies_and_a_second_run_does_nothing() {
    let folder = folder();
    let laptop = shop(folder.path());
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    let service = "apiVersion: v1\nkind: Service\n";
    fs::create_dir(folder.path().join("shop/deep")).unwrap();
    write("shop/deep/tls.key", "hunter2");
    write("shop/app.esec.yaml", OBJECT);
    write("shop/service.yaml", service);
    write("shop/kustomization.yaml", "resources: [service.yaml]\n");
    write("README.md", "no rule is for this\n");
    let all = ["shop/app.yaml", "shop/deep/tls.key", "shop/app.esec.yaml"];

    laptop.run_plain(&["encrypt", "."]).refused(2, &["--in-place"]);
    let said = laptop.run_plain(&["encrypt", "-i", "--dry-run", "."]).ok();
    for name in all {
        assert!(said.err.contains(&format!("{name} would be encrypted to")), "{name}: {}", said.err);
        assert!(read(name).contains("hunter2"), "{name}");
    }
    laptop.run_plain(&["encrypt", "-i", "."]).ok();
    for name in all {
        assert!(!read(name).contains("hunter2"), "{name}");
    }
    assert_eq!(read("shop/service.yaml"), service);
    assert_eq!(read("README.md"), "no rule is for this\n");
    let object = read("shop/app.esec.yaml");
    let kept = OBJECT.split("        user").next().unwrap();
    assert!(object.starts_with(kept) && object.contains("        user: ENC["), "{object}");
    for name in all {
        let extract = if name.ends_with("yaml") { vec!["--extract", "password"] } else { Vec::new() };
        let opened = laptop.run(&[&["decrypt", name, "-n", "shop"][..], &extract].concat(), PIN).ok();
        assert_eq!(opened.out, "hunter2", "{name}");
    }
    let before = all.map(read);
    for place in [".", "shop/app.esec.yaml"] {
        let said = laptop.run_plain(&["encrypt", "-i", place]).ok();
        assert_eq!(said.err, "nothing is to be encrypted\n");
    }
    assert_eq!(all.map(read), before);

    // A manifest that does not say its namespace needs to be told; one that cannot be encrypted keeps all from being written.
    write("shop/other.esec.yaml", &OBJECT.replace(", namespace: shop", ""));
    write("shop/more.yaml", PLAIN);
    laptop.run_plain(&["encrypt", "-i", "."]).refused(1, &["other.esec.yaml", "--namespace"]);
    assert_eq!(read("shop/more.yaml"), PLAIN);
    laptop.run_plain(&["encrypt", "-i", "shop/other.esec.yaml", "-n", "shop"]).ok();
    assert!(!read("shop/other.esec.yaml").contains("hunter2"));
}
