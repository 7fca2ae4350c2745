//! The command line on a machine that has nothing but it: a root folder with the program and what it asks for when it starts
//! (of the static one that is nothing, see operator/cli/static), a kubeconfig, the socket of the smart card service, and `/proc`.

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use touchseal_rig::scratch::Scratch;
use touchseal_suites::cli::{PIN, Said};
use touchseal_suites::world::repository;
use touchseal_suites::{Laptop, World, binaries};

/// One of the names that the API server's certificate is for.
const NAME: &str = "kubernetes.default.svc";
/// What is mounted is so for this process only.
const ENTER: &str =
    r#"mount -t proc proc "$0/proc" && exec chroot "$0" /touchseal "$@" --pin-fd 3 3<"$PIN_FILE""#;

/// The ceremony, from making the keyring on; the API server is found by its name.
#[test]
fn the_program_a_kubeconfig_and_the_card_service_are_all_it_takes() {
    let mut world = World::new("alone");
    let root = Scratch::new("alone").unwrap();
    let laptop = Laptop::at(root.path(), &world.cluster.admin_kubeconfig());
    let _key = laptop.key(0, 4_711);
    let (names, asked) = name_server();
    furnish(root.path(), &laptop, &world.cluster.admin_kubeconfig(), names);

    run(root.path(), &["keyring", "create", "prod", "--holder", "alice"]).ok();
    world.apply_keyring("prod", &laptop.manifest("prod"));
    let _operator = world.operator();
    world.requests(1);
    assert_eq!(asked.load(Ordering::SeqCst), 0, "somebody else asks for the API server's name");
    let said =
        run(root.path(), &["unseal", "--yes", "--timeout", "20s", "--operator-namespace", &world.system])
            .ok();
    assert_eq!(said.out.matches("Unsealed").count(), 1, "{}", said.out);
    world.wait_for_replicas("prod", 1);
    assert!(asked.load(Ordering::SeqCst) > 0, "the API server's name was not asked for");
}

/// What `make static` takes for a static program.
#[test]
fn a_program_that_asks_for_libraries_is_not_static() {
    let check = |program: &Path| -> Said {
        let mut script = Command::new(repository().join("operator/cli/static/build.sh"));
        script.arg("check").arg(program).output().unwrap().into()
    };
    let said = check(&std::env::current_exe().unwrap());
    assert_eq!(said.code, 1, "{said:?}");
    for asked in ["ld-linux", "libpcsclite.so.1", "libc.so.6"] {
        assert!(said.err.contains(asked), "no {asked} in {}", said.err);
    }

    let scratch = Scratch::new("static").unwrap();
    let (source, program) = (scratch.path().join("nothing.rs"), scratch.path().join("nothing"));
    fs::write(&source, "fn main() {}").unwrap();
    let mut rustc = Command::new("rustc");
    rustc.args(["-C", "target-feature=+crt-static", "-o"]).args([&program, &source]);
    assert!(rustc.status().unwrap().success());
    assert_eq!(check(&program).ok().err, "");
    assert_eq!(check(Path::new("/nonexistent")).code, 1, "no program at all is not static");
}

/// Fills the root folder.
fn furnish(root: &Path, laptop: &Laptop, kubeconfig: &Path, names: Ipv4Addr) {
    let program = binaries::touchseal();
    for library in libraries(&program) {
        let place = root.join(library.strip_prefix("/").unwrap());
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::copy(library, place).unwrap();
    }
    fs::copy(program, root.join("touchseal")).unwrap();
    fs::hard_link(laptop.reader.socket(), root.join("pcscd.comm")).unwrap();

    let text = fs::read_to_string(kubeconfig).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&text).unwrap();
    let cluster = &mut config["clusters"][0]["cluster"];
    fs::copy(cluster["certificate-authority"].as_str().unwrap(), root.join("ca.crt")).unwrap();
    cluster["certificate-authority"] = "/ca.crt".into();
    cluster["server"] = cluster["server"].as_str().unwrap().replace("127.0.0.1", NAME).into();
    fs::write(root.join("kubeconfig"), config.to_string()).unwrap();

    // As desktops have it. A C library that looks up names by modules finds none here, and one of another version elsewhere.
    for folder in ["etc", "proc"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    fs::write(root.join("etc/nsswitch.conf"), "hosts: files mdns4_minimal [NOTFOUND=return] dns\n").unwrap();
    fs::write(root.join("etc/resolv.conf"), format!("nameserver {names}\n")).unwrap();
}

/// What the dynamic loader would find for it.
fn libraries(program: &Path) -> Vec<PathBuf> {
    let listed = Command::new("ldd").arg(program).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    listed.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect()
}

/// Runs the command line in that root folder, the PIN at hand.
fn run(root: &Path, arguments: &[&str]) -> Said {
    let pin = Scratch::new("pin").unwrap();
    let file = pin.path().join("pin");
    fs::write(&file, format!("{PIN}\n")).unwrap();
    let mut shell = Command::new("unshare");
    shell.args(["--mount", "/bin/sh", "-c", ENTER]).arg(root).args(arguments);
    shell.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("PIN_FILE", &file);
    shell
        .env("KUBECONFIG", "/kubeconfig")
        .env("PCSCLITE_CSOCK_NAME", "/pcscd.comm")
        .env("XDG_CONFIG_HOME", "/config");
    shell.stdin(Stdio::null()).output().unwrap().into()
}

/// A name server to which every name is this machine, and how often it was asked. It ends with the tests.
fn name_server() -> (Ipv4Addr, Arc<AtomicUsize>) {
    let [.., high, low] = std::process::id().to_be_bytes();
    let address = Ipv4Addr::new(127, 53, high, low);
    let socket = UdpSocket::bind((address, 53)).unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    std::thread::spawn(move || {
        let mut query = [0; 512];
        while let Ok((length, client)) = socket.recv_from(&mut query) {
            counter.fetch_add(1, Ordering::SeqCst);
            socket.send_to(&answer(&query[..length]), client).unwrap();
        }
    });
    (address, asked)
}

/// The answer to a query: the address of this machine to who asks for an IPv4 address, else none (RFC 1035, 4.1).
fn answer(query: &[u8]) -> Vec<u8> {
    let end = 12 + query[12..].iter().position(|byte| *byte == 0).unwrap() + 5;
    let is_ipv4 = query[end - 4..end - 2] == [0, 1];
    let header = [query[0], query[1], 0x81, 0x80, 0, 1, 0, u8::from(is_ipv4), 0, 0, 0, 0];
    let record = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1];
    [&header[..], &query[12..end], if is_ipv4 { &record } else { &[] }].concat()
}
