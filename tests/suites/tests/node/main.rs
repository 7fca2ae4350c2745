//! Touchseal on a real node: the operator runs from its image as a Deployment, with what a kubelet gives its pods, and
//! applications mount the Secrets. It needs root. Where it cannot run it says so, and in CI that is a failure.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod app;
mod installed;
mod mounted;
mod moving_in;
mod outages;
mod update;
mod world;

use touchseal_rig::node::isolated;
use touchseal_suites::binaries;
use touchseal_suites::image::Image;

/// All the others, in a network, processes and mounts of their own; they share one node and take turns.
#[test]
fn on_a_real_node() {
    if !isolated::possible() {
        return;
    }
    // Built out here: inside there is no network to fetch crates from.
    let image = Image::built().folder;
    let programs = binaries::touchseal().parent().unwrap().to_owned();
    let environment = [("TOUCHSEAL_IMAGE", image.as_path()), ("TOUCHSEAL_PROGRAMS", &programs)];
    let status = isolated::run(&["--ignored", "--test-threads=1", "--nocapture"], &environment).unwrap();
    assert!(status.success(), "on the node: {status}; what failed stands above");
}
