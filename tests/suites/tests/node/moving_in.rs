//! From settings in plain files to the file that an application mounts, as the page says it.

use touchseal_suites::cli::PIN;
use touchseal_suites::{Page, Reading};

use crate::world::on_the_node;

#[test]
#[ignore = "run by on_a_real_node"]
fn a_plain_settings_file_becomes_a_mounted_file() {
    on_the_node("shop", |world| {
        world.node.call_busybox("docker.io/library/busybox:1").unwrap();
        world.laptop.git(&["init", "-q"]);
        let rule = ["recipients", "-f", "prod.keyring.yaml", "--for", "shop", "--sops-yaml"];
        world.laptop.run(&rule, PIN).ok();
        Reading::at(&world.laptop).follow(&Page::of("docs/moving-in.md").section("From plain text"));
    });
}
