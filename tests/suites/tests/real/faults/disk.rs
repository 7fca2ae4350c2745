//! A full disk is no fault: the operator writes no file. It runs here where it could not: its folder and the one for temporary files
//! are full, and the kernel ends it (SIGXFSZ) should it write one byte into any file.

use std::fs;
use std::os::unix::fs::FileTypeExt as _;

use touchseal_suites::{Launch, Ordeal};

/// Fills a file system in memory and becomes the operator there. Log lines leave through a pipe to somebody who may write.
const FULL: &str = r#"
set -e
mount -t tmpfs -o size=64k tmpfs "$0"
cd "$0"
! cat /dev/zero >full 2>/dev/null
! (echo x >more) 2>/dev/null
export TMPDIR=$0 HOME=$0 XDG_CACHE_HOME=$0 XDG_CONFIG_HOME=$0
exec prlimit --fsize=0 -- "$@" > >(exec cat) 2>&1
"#;

#[test]
fn full_it_changes_nothing_for_nothing_is_written() {
    let mut ordeal = Ordeal::with("disk-full", 81, 1, |world, _| {
        let folder = world.cluster.dir().join("full");
        fs::create_dir(&folder).unwrap();
        let folder = folder.display().to_string();
        let wrapper = ["unshare", "-m", "bash", "-c", FULL, &folder].map(str::to_owned).to_vec();
        Launch { wrapper, ..Launch::default() }
    });
    ordeal.storm.strokes(3);
    ordeal.settle();
    let pid = ordeal.operators[0].process.pid();
    let of = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
    let limits = of("limits");
    let limit = limits.lines().find(|line| line.starts_with("Max file size")).unwrap();
    assert_eq!(limit.split_whitespace().nth(3), Some("0"), "{limit}");
    // What is open for writing is no file, and no byte was on its way to a disk since the process began.
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let (Ok(target), Ok(open)) = (fs::read_link(&path), fs::metadata(&path)) else { continue };
        let info = of(&format!("fdinfo/{name}"));
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap().trim().to_owned();
        let writable = u32::from_str_radix(&flags, 8).unwrap() & 3 != 0;
        let kind = open.file_type();
        let is_file = !(kind.is_socket() || kind.is_fifo() || kind.is_char_device()) && target.is_absolute();
        assert!(!(writable && is_file), "descriptor {name} is {} and open for writing", target.display());
    }
    let io = of("io");
    assert!(io.contains("\nwrite_bytes: 0\n"), "{io}");
    assert!(
        io.lines().any(|line| line.starts_with("wchar: ") && line != "wchar: 0"),
        "nothing is counted: {io}"
    );
}
