//! What happens inside namespaces stays there.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::Command;

use touchseal_rig::node::isolated;

const MARK: &str = "/run/touchseal-rig-mark";
const SETTING: &str = "/proc/sys/vm/overcommit_memory";

#[test]
fn nothing_done_inside_reaches_the_machine() {
    if !isolated::possible() {
        return;
    }
    let setting = fs::read_to_string(SETTING).unwrap();
    let arguments = ["--exact", "inside", "--ignored", "--nocapture"];
    assert!(isolated::run(&arguments, &[("BEFORE", Path::new(setting.trim()))]).unwrap().success());
    assert!(!Path::new(MARK).exists(), "a file is left");
    assert_eq!(fs::read_to_string(SETTING).unwrap(), setting);
}

#[test]
#[ignore = "run by the test above, in namespaces of its own"]
fn inside() {
    assert!(isolated::inside(), "run by the test above");
    assert_eq!(std::process::id(), 1);
    let links = Command::new("ip").args(["-brief", "link"]).output().unwrap();
    let links = String::from_utf8(links.stdout).unwrap();
    let mut names: Vec<_> = links.lines().filter_map(|line| line.split_whitespace().next()).collect();
    names.retain(|name| !name.starts_with("ifb")); // which some kernels put into every network
    assert_eq!(names, ["lo", "node0"]);

    fs::write(MARK, "").unwrap();
    let other = if std::env::var("BEFORE").unwrap() == "1" { "0" } else { "1" };
    fs::write(SETTING, other).unwrap();
    assert_eq!(fs::read_to_string(SETTING).unwrap().trim(), other, "kubelets read what they wrote");
}
