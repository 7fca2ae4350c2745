//! After `seal` nothing of the keys is left in the operator's memory: not the master, not what was derived from it, not the
//! session that received it. The same search finds them before.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use age::secrecy::ExposeSecret as _;
use serde_json::json;
use touchseal_rig::poll::eventually;
use touchseal_rig::process;
use touchseal_rig::scratch::Scratch;
use touchseal_suites::search::{derived, find, secret_of};
use touchseal_suites::{DEADLINE, Laptop, Needle, Operator, SoftHolder, World, binaries};

/// How many EncryptedSecrets are reconciled just before the keys are dropped.
const BUSY: usize = 30;

#[test]
fn sealing_leaves_no_key_in_memory() {
    let mut world = World::new("memory");
    let holder = SoftHolder::generate("alice", 1);
    let master: [u8; 32] = rand::random();
    let (spec, open) = holder.create_keyring_of(&master);
    world.apply_keyring("prod", &spec);
    let operator = world.operator();

    let info = |what: &str| derived(&master, open.id(), what);
    let other = world.system.clone();
    let namespaces = [&world.apps, &other];
    let mut needles = Needle::halves("the master", &master).to_vec();
    for namespace in namespaces {
        let identity = info(&format!("touchseal/v1/namespace/{namespace}"));
        needles.extend(Needle::halves(&format!("the identity of {namespace}"), &identity));
        let digest = info(&format!("touchseal/v1/digest/{namespace}"));
        needles.extend(Needle::halves(&format!("the digest key of {namespace}"), &digest));
        let text = open.namespace(namespace).unwrap()[0].1.identity().to_string();
        needles.push(Needle::raw(
            format!("the age identity of {namespace}"),
            &text.expose_secret().as_bytes()[16..],
        ));
    }
    needles.extend(Needle::halves("the manifest key", &info("touchseal/v1/manifest")));
    needles.extend(Needle::halves("the wrapping key", &info("touchseal/v1/previous")));
    let in_memory = |operator: &Operator| -> Vec<String> {
        let regions = operator.memory();
        regions
            .iter()
            .flat_map(|(from, bytes)| {
                find(&needles, bytes).into_iter().map(move |found| format!("{found} of {from:#x}"))
            })
            .collect()
    };
    assert_eq!(in_memory(&operator), [""; 0], "before any unseal");

    let recipient = open.recipient_spec(&world.apps).unwrap().recipient;
    for round in 1..=3 {
        let request = world.requests(1).remove(0);
        let session = session_secret(&operator, request["status"]["sessionKey"].as_str().unwrap());
        world.release(&request, &open, "alice", 1);
        world.wait_for_replicas("prod", 1);
        reconcile_many(&world, round, &recipient);

        // The control: the search finds what is there.
        let found = in_memory(&operator);
        for wanted in ["first half of the master", "second half of the master", "the identity of memory-apps"]
        {
            assert!(found.iter().any(|f| f.contains(wanted)), "{wanted} is not in {found:?}");
        }

        match round {
            1 => world.seal("prod", "round-1"),
            2 => {
                let mut tampered = spec.clone();
                tampered.revision += 1;
                world.apply_keyring("prod", &tampered);
            }
            _ => {
                world.cluster.kubectl_stdout(&["delete", "keyring", "prod"]).unwrap();
            }
        }
        // Of a keyring that is gone nothing is said.
        eventually(DEADLINE, "the keys dropped", || {
            let page = operator.metrics();
            page.contains("touchseal_leads 1")
                && !page.contains("touchseal_keyring_unsealed{keyring=\"prod\"} 1")
        })
        .unwrap();
        assert_eq!(in_memory(&operator), [""; 0], "after sealing, round {round}");
        let left: Vec<String> = operator
            .memory()
            .iter()
            .flat_map(|(_, bytes)| find(&Needle::halves("the session", &session), bytes))
            .collect();
        assert_eq!(left, [""; 0], "after sealing, round {round}");
        if round == 2 {
            world.apply_keyring("prod", &spec);
        }
    }
}

#[test]
fn memory_is_kept_from_dumps_and_from_other_processes() {
    // An API server that never answers: the operator has started and waits.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let scratch = Scratch::new("hardened").unwrap();
    let kubeconfig = scratch.path().join("kubeconfig");
    let server = format!("http://{}", listener.local_addr().unwrap());
    fs::write(
        &kubeconfig,
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "x",
            "clusters": [{ "name": "x", "cluster": { "server": server } }],
            "users": [{ "name": "x", "user": { "token": "x" } }],
            "contexts": [{ "name": "x", "context": { "cluster": "x", "user": "x" } }],
        })
        .to_string(),
    )
    .unwrap();
    let powerless = |program: &Path| {
        let mut command = process::command("setpriv");
        command.args(["--bounding-set=-all", "--inh-caps=-all", "--"]).arg(program);
        command
    };
    let mut command = powerless(&binaries::operator());
    command.arg("--kubeconfig").arg(&kubeconfig);
    let mut operator = process::spawn("operator", command, &scratch.path().join("operator.log")).unwrap();
    let _connection = listener.accept().unwrap();

    let limits = fs::read_to_string(format!("/proc/{}/limits", operator.pid())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"]);

    // Another process of the same user, as powerful as the operator itself: it can read a neighbour, not the operator.
    let mut command = powerless(Path::new("/bin/sleep"));
    command.arg("1000");
    let neighbour = process::spawn("sleep", command, &scratch.path().join("sleep.log")).unwrap();
    let reads = |pid: u32| {
        let mut cat = powerless(Path::new("/bin/cat"));
        cat.arg(format!("/proc/{pid}/environ")).output().unwrap().status.success()
    };
    eventually(DEADLINE, "the neighbour to be readable", || reads(neighbour.pid())).unwrap();
    assert!(!reads(operator.pid()), "the operator's memory is open to other processes of its user");
    assert!(operator.exited().is_none(), "nothing can be said of an operator that ended");
}

/// Kilobytes of memory that the kernel may not swap out.
fn locked(operator: &Operator) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", operator.process.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmLck:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn keys_are_locked_in_memory_where_the_limit_allows_it_and_told_where_not() {
    let mut world = World::new("locked");
    let master: [u8; 32] = rand::random();
    let (spec, open) = SoftHolder::generate("alice", 1).create_keyring_of(&master);
    world.apply_keyring("prod", &spec);
    let operator = world.operator();
    world.unseal("prod", &open, 1);
    assert!(locked(&operator) >= 4, "{} kB", locked(&operator));

    // The master lies on the page that is locked, and nowhere else.
    let found = operator.memory_holds(&master);
    assert_eq!(found.len(), 1, "{found:x?}");
    let smaps = fs::read_to_string(format!("/proc/{}/smaps", operator.process.pid())).unwrap();
    assert!(is_locked(&smaps, found[0]), "{:x} is not in locked memory", found[0]);
    eventually(DEADLINE, "the metric", || operator.metrics().contains("touchseal_memory_not_locked 0"))
        .unwrap();

    let powerless = Operator::start_without_locked_memory(&world.cluster, &world.system, "powerless");
    world.wait_for_replicas("prod", 2);
    assert_eq!(locked(&powerless), 0);
    eventually(DEADLINE, "the metric", || powerless.metrics().contains("touchseal_memory_not_locked 1"))
        .unwrap();
    assert!(powerless.process.log().contains("cannot be locked in memory"));
    let laptop = Laptop::new(&world.cluster.admin_kubeconfig());
    let said = laptop.run_plain(&["doctor", "--operator-namespace", &world.system]);
    let told = "prod: keys are not locked in the memory of powerless";
    assert!(said.out.contains(told), "{}", said.out);
}

/// Whether an address lies in a region that is locked as a whole.
fn is_locked(smaps: &str, address: u64) -> bool {
    let mut inside = false;
    for line in smaps.lines() {
        let first = line.split_whitespace().next().unwrap_or_default();
        if let Some((from, to)) = first.split_once('-') {
            let (from, to) = (u64::from_str_radix(from, 16), u64::from_str_radix(to, 16));
            inside = matches!((from, to), (Ok(from), Ok(to)) if (from..to).contains(&address));
        } else if inside && first == "Locked:" {
            return line.split_whitespace().nth(1).is_some_and(|size| size != "0");
        }
    }
    false
}

/// Changes every one of many EncryptedSecrets and waits until all are served.
fn reconcile_many(world: &World, round: usize, recipient: &str) {
    let document = world.sops.encrypt("app.yaml", &format!("password: round-{round}-of-it\n"), recipient);
    let objects: Vec<_> = (0..BUSY)
        .map(|number| {
            json!({
                "apiVersion": "touchseal.dev/v1alpha1", "kind": "EncryptedSecret",
                "metadata": { "name": format!("app-{number}"), "namespace": world.apps },
                "spec": { "documents": [{ "sops": document }] },
            })
        })
        .collect();
    world
        .cluster
        .apply(&json!({ "apiVersion": "v1", "kind": "List", "items": objects }).to_string())
        .unwrap();
    for number in 0..BUSY {
        world.wait_for_generation(&format!("app-{number}"), i64::try_from(round).unwrap());
    }
}

/// The secret key of a session, found in the memory of the process that holds it by its public key, in base64.
fn session_secret(operator: &Operator, public: &str) -> [u8; 32] {
    use base64::Engine as _;
    let public = base64::engine::general_purpose::STANDARD.decode(public).unwrap().try_into().unwrap();
    let found = operator.memory().iter().find_map(|(_, bytes)| secret_of(&public, bytes));
    found.expect("the session's key was not found, so nothing can be said of it after sealing")
}
