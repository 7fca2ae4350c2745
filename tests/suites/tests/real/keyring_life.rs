//! People, YubiKeys and keys come and go, at the command line on software YubiKeys (test equipment), with an operator that
//! serves all along: enrol by public key, remove, rotate, rekey, retire.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use touchseal_crds::keyring::{Holder, KeyringSpec, PinPolicy, TouchPolicy};
use touchseal_keyring::{PivPublicKey, UnwrapError, holder, manifest};
use touchseal_rig::poll::eventually;
use touchseal_rig::scratch::Scratch;
use touchseal_softkey::{Reader, SoftKey, Touch};
use touchseal_suites::cli::{PIN, Said};
use touchseal_suites::world::{condition, value};
use touchseal_suites::{DEADLINE, Laptop, Sops, World};
use zeroize::Zeroizing;

const FILE: &str = "prod.keyring.yaml";
const ALICE: u32 = 4_711;
const BOB: u32 = 815;

/// A tree with a keyring of Alice's.
struct Team {
    folder: Scratch,
    laptop: Laptop,
    alice: SoftKey,
}

impl Team {
    fn new(kubeconfig: &Path) -> Team {
        let folder = Scratch::new("team").unwrap();
        fs::create_dir(folder.path().join(".git")).unwrap();
        let laptop = Laptop::at(folder.path(), kubeconfig);
        let alice = laptop.key(0, ALICE);
        laptop.create_keyring("prod", "alice");
        Team { folder, laptop, alice }
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    fn text(&self) -> String {
        fs::read_to_string(self.folder.path().join(FILE)).unwrap()
    }

    fn spec(&self) -> KeyringSpec {
        self.laptop.manifest("prod")
    }

    fn holders(&self) -> Vec<String> {
        self.spec().holders.into_iter().map(|holder| holder.name).collect()
    }

    fn run(&self, arguments: &str) -> Said {
        self.laptop.run(&arguments.split(' ').collect::<Vec<_>>(), PIN)
    }
}

/// Bob's YubiKey, elsewhere, with a key that stock tools generated in slot 82.
struct Elsewhere {
    key: SoftKey,
    _reader: Reader,
    folder: Scratch,
}

impl Elsewhere {
    fn new(serial: u32) -> Elsewhere {
        let key = SoftKey::builder(serial).firmware(5, 4, 3).pin(PIN).build().unwrap();
        let reader = Reader::start().unwrap();
        reader.insert(0, &key).unwrap();
        let folder = Scratch::new("elsewhere").unwrap();
        let ykman = |arguments: &[&str]| {
            let mut command = Command::new("ykman");
            command.args(["--device", &serial.to_string(), "piv"]).args(arguments);
            command.env("PCSCLITE_CSOCK_NAME", reader.socket()).current_dir(folder.path());
            let output = command.stdin(Stdio::null()).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        };
        let policies = ["--pin-policy", "ONCE", "--touch-policy", "CACHED"];
        let management = "010203040506070801020304050607080102030405060708";
        let generate = ["keys", "generate", "-P", PIN, "-m", management, "-a", "ECCP256"];
        ykman(&[&generate[..], &policies, &["82", "public.pem"]].concat());
        ykman(&["certificates", "generate", "-P", PIN, "-m", management, "-s", "CN=bob", "82", "public.pem"]);
        ykman(&["keys", "attest", "82", "slot.pem"]);
        ykman(&["certificates", "export", "f9", "root.pem"]);
        let here = Elsewhere { key, _reader: reader, folder };
        let both = format!("{}{}", here.read("slot.pem"), here.read("root.pem"));
        fs::write(here.path("attestation.pem"), both).unwrap();
        here
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn recipient(&self) -> String {
        PivPublicKey::from_sec1(&self.key.public_key(0x82).unwrap()).unwrap().to_recipient()
    }
}

fn operations(key: &SoftKey) -> u64 {
    key.counters().private_key_operations
}

/// What a YubiKey makes of a manifest's newest generation, whatever the manifest says of holders.
fn opens(key: &SoftKey, recipient: &str, spec: &KeyringSpec) -> bool {
    let verified = manifest::verify(spec).unwrap();
    let secret = p256::SecretKey::from_slice(&key.private_scalar(0x82).unwrap()).unwrap();
    let public: PivPublicKey = recipient.parse().unwrap();
    let mut ecdh = |point: &[u8; 33]| {
        let peer = p256::PublicKey::from_sec1_bytes(point).unwrap();
        let shared = p256::ecdh::diffie_hellman(secret.to_nonzero_scalar(), peer.as_affine());
        Ok::<_, std::convert::Infallible>(Zeroizing::new((*shared.raw_secret_bytes()).into()))
    };
    match holder::unwrap(verified.active_wrapped(), &public, &mut ecdh) {
        Ok(_) => true,
        Err(UnwrapError::NotAHolder) => false,
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn a_yubikey_that_is_elsewhere_is_enrolled_by_its_public_key() {
    let team = Team::new(Path::new("/nonexistent/kubeconfig"));
    let bob = Elsewhere::new(BOB);
    let before = team.text();
    let (at_alice, at_bob) = (operations(&team.alice), operations(&bob.key));
    let (attestation, root) = (bob.path("attestation.pem"), bob.path("root.pem"));

    // Test equipment is not Yubico's; a chain that is cut, and words that contradict it, count for nothing either.
    let enrol = format!("keyring enrol -f {FILE} --holder bob --attestation {attestation}");
    team.run(&enrol).refused(3, &["known authority", "--attestation-root"]);
    let enrol = format!("{enrol} --attestation-root {root}");
    team.run(&format!("{enrol} --serial 816")).refused(3, &["815", "816"]);
    team.run(&format!("{enrol} --slot 83")).refused(3, &["82", "83"]);
    let alices = team.spec().holders[0].recipient.clone();
    team.run(&format!("{enrol} --recipient {alices}")).refused(3, &["the key"]);
    let swapped = Elsewhere::new(816);
    let mixed = format!("{}{}", swapped.read("slot.pem"), bob.read("root.pem"));
    let mixed = team.file("mixed.pem", &mixed).display().to_string();
    let forged =
        format!("keyring enrol -f {FILE} --holder bob --attestation {mixed} --attestation-root {root}");
    team.run(&forged).refused(3, &["attestation"]);
    assert_eq!(operations(&team.alice), at_alice, "nobody touches for what is refused");

    // A dry run does all but write.
    let said = team.run(&format!("{enrol} --dry-run")).ok();
    assert!(
        said.out.contains("+holder bob: YubiKey 815, slot 82, PIN once, touch cached, age1yubikey1")
            && said.err.contains("as it was"),
        "{}{}",
        said.out,
        said.err
    );
    assert_eq!((team.text(), operations(&team.alice)), (before.clone(), at_alice + 1));

    let said = team.run(&enrol).ok();
    assert!(
        said.err.contains("cannot leave it") && !said.out.contains("BEGIN AGE"),
        "{}{}",
        said.out,
        said.err
    );
    let spec = team.spec();
    let expected = Holder {
        name: "bob".to_owned(),
        recipient: bob.recipient(),
        serial: BOB,
        pin_policy: Some(PinPolicy::Once),
        touch_policy: Some(TouchPolicy::Cached),
        ..spec.holders[0].clone()
    };
    assert_eq!((spec.revision, &spec.holders[1]), (2, &expected));
    assert_eq!(
        (operations(&team.alice), operations(&bob.key)),
        (at_alice + 2, at_bob),
        "one of Alice's, none of Bob's"
    );
    team.run(&format!(
        "keyring enrol -f {FILE} --holder ben --recipient {} --serial {BOB} --slot 82",
        bob.recipient()
    ))
    .refused(1, &["holder bob already"]);

    // By the bare recipient it says what nothing proves.
    let carl = Elsewhere::new(99);
    let said = team
        .run(&format!(
            "keyring enrol -f {FILE} --holder carl --recipient {} --serial 99 --slot 82",
            carl.recipient()
        ))
        .ok();
    assert!(said.err.contains("nothing proves"), "{}", said.err);
    assert_eq!(team.holders(), ["alice", "bob", "carl"]);

    // Bob opens it at his own laptop, with one operation.
    let laptop = Laptop::at(team.folder.path(), Path::new("/nonexistent/kubeconfig"));
    laptop.reader.insert(0, &bob.key).unwrap();
    let shop = ["recipients", "-f", FILE, "--for", "shop", "--yes"];
    let theirs = laptop.run(&shop, PIN).ok();
    assert_eq!(operations(&bob.key), at_bob + 1);
    assert_eq!(theirs.out, team.laptop.run(&shop, PIN).ok().out);
}

#[test]
fn what_would_lock_everybody_out_or_write_over_somebody_is_refused() {
    let team = Team::new(Path::new("/nonexistent/kubeconfig"));
    let before = (team.text(), operations(&team.alice));
    team.run(&format!("keyring remove-holder alice -f {FILE}")).refused(3, &["only holder", "enrol"]);
    team.run(&format!("keyring retire 1 -f {FILE} --no-tree --no-cluster")).refused(1, &["active", "rotate"]);
    assert_eq!((team.text(), operations(&team.alice)), before);

    // An older revision, put back by a git writer, is not edited.
    team.run(&format!("keyring rotate -f {FILE}")).ok();
    let rotated = team.text();
    team.file(FILE, &before.0);
    team.run(&format!("keyring rotate -f {FILE}")).refused(3, &["HAS CHANGED"]);
    assert_eq!(team.text(), before.0);

    // Two years on: dry runs change nothing, and each generation is endorsed by the one before.
    team.file(FILE, &rotated);
    team.run(&format!("keyring rotate -f {FILE} --dry-run")).ok();
    assert_eq!(team.text(), rotated);
    team.run(&format!("keyring rotate -f {FILE}")).ok();
    let numbers: Vec<u32> = team.spec().generations.iter().map(|entry| entry.number).collect();
    assert_eq!(numbers, [1, 2, 3]);

    // Somebody else edits while the YubiKey waits for its touch: theirs stays.
    let read = team.text();
    team.alice.set_touch(Touch::Late(Duration::from_secs(2)));
    let child = team.laptop.start(&["keyring", "rotate", "-f", FILE], PIN);
    eventually(DEADLINE, "the YubiKey to wait", || team.alice.waits_for_touch().then_some(())).unwrap();
    team.file(FILE, &rotated);
    team.alice.set_touch(Touch::Yes);
    Said::from(child.wait_with_output().unwrap()).refused(1, &["somebody else"]);
    assert_eq!(team.text(), rotated);
    team.file(FILE, &read);

    // A file that tells nothing of its namespace is judged once somebody names it.
    let said = team.run(&format!("recipients -f {FILE} --for warehouse -o json")).ok();
    let rows: Value = serde_json::from_str(&said.out).unwrap();
    let oldest = rows[0]["generations"][2]["recipient"].as_str().unwrap();
    let odd = team.file("odd.yaml", &Sops::new().encrypt("odd.yaml", "x: 1\n", oldest));
    fs::remove_file(team.laptop.home.path().join("touchseal/known_recipients")).unwrap();
    let retire = format!("keyring retire 1 -f {FILE} --tree . --no-cluster");
    team.run(&retire).refused(3, &["of 1 it cannot be told", "--try-namespace"]);
    let said =
        team.run(&format!("{retire} --try-namespace warehouse --accept-unclear")).refused(3, &["1 need it"]);
    assert!(said.out.contains("namespace warehouse"), "{}", said.out);
    fs::remove_file(odd).unwrap();
    // So is one that is damaged: what cannot be read cannot be judged.
    let damaged = team.file(
        "damaged.yaml",
        "x: ENC[AES256_GCM,data:AA==,iv:AA==,tag:AA==,type:str]\nsops: {lastmodified: x}\n",
    );
    team.run(&retire).refused(3, &["of 1 it cannot be told"]);
    fs::remove_file(damaged).unwrap();

    // The one in the middle goes first; the oldest still opens afterwards.
    let sops = Sops::new();
    team.run(&format!("keyring retire 2 -f {FILE} --no-tree --no-cluster")).ok();
    let said = team.run(&format!("recipients -f {FILE} --for shop -o json")).ok();
    let rows: Value = serde_json::from_str(&said.out).unwrap();
    let recipients: Vec<&str> = rows[0]["generations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["recipient"].as_str().unwrap())
        .collect();
    assert_eq!(recipients.len(), 2);
    for recipient in recipients {
        let text = sops.encrypt("app.yaml", "password: x\n", recipient);
        team.file("shop/app.yaml", &text);
        let said = team.run("decrypt shop/app.yaml").ok();
        assert!(said.out.contains("password: x"), "{}", said.out);
    }

    // Who goes with a rotation at once never had the new generation, even where they did the rotating.
    let bob = Elsewhere::new(BOB);
    let recipient = bob.recipient();
    team.run(&format!(
        "keyring enrol -f {FILE} --holder bob --recipient {recipient} --serial {BOB} --slot 82"
    ))
    .ok();
    let (before, used) = (team.spec(), operations(&team.alice));
    let said = team.run(&format!("keyring remove-holder alice -f {FILE} --rotate")).ok();
    assert!(said.err.contains("keyring retire 3") && !said.err.contains("un-knows"), "{}", said.err);
    let after = team.spec();
    assert_eq!((operations(&team.alice), after.revision), (used + 1, before.revision + 2));
    assert_eq!((team.holders(), after.generations.len()), (vec!["bob".to_owned()], 4));
    let alices = &before.holders[0].recipient;
    assert!(opens(&team.alice, alices, &before) && !opens(&team.alice, alices, &after));
    assert!(opens(&bob.key, &recipient, &after));
}

#[test]
fn a_team_and_its_keys_change_while_the_operator_serves() {
    let mut world = World::new("keyring-life");
    let team = Team::new(&world.cluster.admin_kubeconfig());
    let bob = Elsewhere::new(BOB);
    let (system, apps) = (world.system.clone(), world.apps.clone());
    world.apply_keyring("prod", &team.spec());
    let operator = world.operator();
    let unseal = |serial: u32| {
        world.requests(1);
        team.run(&format!("unseal --yes --timeout 20s --operator-namespace {system} --serial {serial}")).ok();
        world.wait_for_replicas("prod", 1);
    };
    unseal(ALICE);

    // A tree of a manifest that is applied, and of a file under creation rules.
    let namespaced = format!("recipients -f {FILE} --for {apps} --sops-yaml");
    team.run(&namespaced).ok();
    let document = world.sops.encrypt("app.yaml", "password: hunter2\n", &world.recipient(&apps, "prod"));
    let plain = team.file(&format!("{apps}/app.yaml"), &document);
    let wrapped =
        team.laptop.run_plain(&["wrap", plain.to_str().unwrap(), "--name", "app", "--namespace", &apps]).ok();
    let object = team.file("manifests/app.esec.yaml", &wrapped.out);
    let apply = || world.cluster.apply(&fs::read_to_string(&object).unwrap()).unwrap();
    apply();
    let first = world.wait_for("app", "True", "Materialised");
    assert_eq!(first["status"]["keyGeneration"], 1);
    let uid = world.secret("app").unwrap()["metadata"]["uid"].clone();
    let serves = |when: &str| {
        let secret = world.secret("app").unwrap();
        assert_eq!(secret["metadata"]["uid"], uid, "{when}");
        assert_eq!(value(&secret, "password").as_deref(), Some(&b"hunter2"[..]), "{when}");
        assert_eq!(condition(&world.encrypted_secret("app"), "Ready")["status"], "True", "{when}");
    };

    // Bob comes, by his public key, and Alice goes. The operator follows both edits with the keys it has.
    let alices = team.spec().holders[0].recipient.clone();
    let recipient = bob.recipient();
    team.run(&format!(
        "keyring enrol -f {FILE} --holder bob --recipient {recipient} --serial {BOB} --slot 82"
    ))
    .ok();
    world.apply_keyring("prod", &team.spec());
    world.seal("prod", "lunch");
    team.laptop.reader.insert(1, &bob.key).unwrap();
    let at_bob = operations(&bob.key);
    unseal(BOB);
    assert_eq!(operations(&bob.key), at_bob + 1);
    let listed = team.laptop.run_plain(&["keyring", "holders", "prod"]).ok();
    let line = |name: &str| listed.out.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    assert!(line("bob").ends_with("ago") && line("alice").ends_with("ago"), "{}", listed.out);

    let said = team.run(&format!("keyring remove-holder alice -f {FILE} --serial {BOB}")).ok();
    assert!(said.err.contains("un-knows nothing") && said.err.contains("keyring rotate"), "{}", said.err);
    assert!(said.out.contains("-holder alice: YubiKey 4711"), "{}", said.out);
    assert!(said.err.contains("warning: only YubiKey 815 opens"), "{}", said.err);
    world.apply_keyring("prod", &team.spec());
    let revision = team.spec().revision;
    follows(&world, revision);
    world.wait_for_replicas("prod", 1);
    serves("after the removal");
    assert_eq!(team.holders(), ["bob"]);
    assert!(!opens(&team.alice, &alices, &team.spec()) && opens(&bob.key, &recipient, &team.spec()));

    // A new generation: wrapped to holders only, so the operator drops its keys and needs one of them; Secrets stay.
    let said = team.run(&format!("keyring rotate -f {FILE}")).ok();
    assert!(said.err.contains("keyring retire 1"), "{}", said.err);
    let rotated = team.spec();
    assert!(!opens(&team.alice, &alices, &rotated) && opens(&bob.key, &recipient, &rotated));
    world.apply_keyring("prod", &rotated);
    world.wait_for_replicas("prod", 0);
    world.requests(1);
    eventually(DEADLINE, "an Event that says why", || {
        let events = world.cluster.get(&["events", "--all-namespaces"]).unwrap().to_string();
        events.contains("key generation 2 became active and needs a holder").then_some(())
    })
    .unwrap();
    serves("between apply and unseal");
    team.run(&format!("unseal --yes --operator-namespace {system} --serial {ALICE}"))
        .refused(1, &["4711 is not a holder"]);
    unseal(BOB);
    serves("after the unseal");

    // What generation 1 encrypted goes on opening, changed content as well.
    let again = world.sops.encrypt("more.yaml", "x: old\n", &first_recipient(&world));
    world.apply_secret("more", json!({ "documents": [{ "sops": again }] }));
    assert_eq!(world.wait_for("more", "True", "Materialised")["status"]["keyGeneration"], 1);
    world.cluster.kubectl_stdout(&["delete", "encryptedsecret", "more", "-n", &apps]).unwrap();

    // It is not retired while the cluster needs it, nor while the tree does; what needs it is named.
    let retire = format!("keyring retire 1 -f {FILE} --tree .");
    let before = (team.text(), operations(&bob.key));
    let tree = ["app.esec.yaml", "/app.yaml", ".sops.yaml"];
    let object = format!("EncryptedSecret {apps}/app");
    for (no_cluster, count, places) in
        [("", "4 need it", &[&tree[..], &[&object]].concat()[..]), (" --no-cluster", "3 need it", &tree[..])]
    {
        let said = team.run(&format!("{retire}{no_cluster}")).refused(3, &[count, "rekey"]);
        for place in places {
            assert!(said.out.contains(place), "{}", said.out);
        }
        assert_eq!((team.text(), operations(&bob.key)), before, "nobody touches for what is refused");
    }

    // Rules and tree move; the content does not change, so its generation stays.
    team.run(&namespaced).ok();
    team.run("rekey .").ok();
    apply();
    let moved = eventually(DEADLINE, "the document to be opened with generation 2", || {
        let object = world.encrypted_secret("app");
        if object["status"]["keyGeneration"] == 2 { Ok(object) } else { Err(object["status"].to_string()) }
    })
    .unwrap();
    assert_eq!(moved["status"]["secretGeneration"], first["status"]["secretGeneration"]);
    serves("after rekey");

    // A file of whom nobody knows anything stands in the way until somebody says that it does not matter.
    let stranger = age::x25519::Identity::generate().to_public().to_string();
    let odd = team.file("odd.yaml", &world.sops.encrypt("odd.yaml", "x: 1\n", &stranger));
    let said = team.run(&retire).refused(3, &["cannot be told", "--accept-unclear"]);
    assert!(said.out.contains("odd.yaml") && said.out.contains("unclear"), "{}", said.out);
    team.run(&format!("{retire} --accept-unclear --dry-run")).ok();
    assert_eq!(team.text(), before.0);
    fs::remove_file(odd).unwrap();

    // Nothing needs it: it goes, and the operator drops its master without a YubiKey.
    team.run(&retire).ok();
    let spec = team.spec();
    assert!(spec.generations[0].wrapped.is_none());
    world.apply_keyring("prod", &spec);
    follows(&world, spec.revision);
    eventually(DEADLINE, "one recipient to be published", || {
        let list = world.cluster.get(&["recipient", "prod", "-n", &apps]).unwrap();
        let count = list["spec"]["generations"].as_array().map(Vec::len);
        if count == Some(1) { Ok(()) } else { Err(list["spec"].to_string()) }
    })
    .unwrap();
    world.wait_for_replicas("prod", 1);
    serves("after retirement");
    world.apply_secret("late", json!({ "documents": [{ "sops": document }] }));
    world.wait_for("late", "False", "NoMatchingRecipient");

    // Another keyring of the same name is not judged by this cluster.
    let others = Team::new(&world.cluster.admin_kubeconfig());
    others.run(&format!("keyring rotate -f {FILE}")).ok();
    others
        .run(&format!("keyring retire 1 -f {FILE} --no-tree --yes"))
        .refused(3, &["another one", "--no-cluster"]);
    drop(operator);
}

/// Waits until the operator has pinned a revision.
fn follows(world: &World, revision: i64) {
    eventually(DEADLINE, "the edit to be accepted", || {
        let pin = world.cluster.get(&["configmap", "touchseal-pin-prod", "-n", &world.system]).unwrap();
        let text = pin["data"].to_string();
        if text.contains(&format!("\\\"revision\\\":{revision},")) { Ok(()) } else { Err(text) }
    })
    .unwrap();
}

/// The recipient of the test's namespace under generation 1.
fn first_recipient(world: &World) -> String {
    let object = eventually(DEADLINE, "recipients of two generations", || {
        let object = world.cluster.get(&["recipient", "prod", "-n", &world.apps]).unwrap();
        let count = object["spec"]["generations"].as_array().map(Vec::len);
        if count == Some(2) { Ok(object) } else { Err(object["spec"].to_string()) }
    })
    .unwrap();
    let mut all = object["spec"]["generations"].as_array().unwrap().iter();
    all.find(|one| one["generation"] == 1).unwrap()["recipient"].as_str().unwrap().to_owned()
}
