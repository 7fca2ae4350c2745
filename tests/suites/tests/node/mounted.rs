//! A rotation as applications see it: mounted files change under them, and what was read at the start stays until a
//! restart, which is told.

use serde_json::{Value, json};
use touchseal_suites::world::condition;

use crate::app::{App, Use};
use crate::world::on_the_node;

fn counts(object: &Value, current: i64, stale: i64) -> bool {
    let counts = &object["status"]["consumers"];
    counts["current"] == current && counts["stale"] == stale
}

#[test]
#[ignore = "run by on_a_real_node"]
fn mounted_files_follow_and_what_was_read_at_the_start_is_stale_until_restarted() {
    let namespace = "mounted";
    on_the_node(namespace, |world| {
        // Pods may be there before their Secret.
        let [files, sub_path, env] =
            [Use::Files, Use::SubPath, Use::Env].map(|how| App::deploy(world, namespace, how));
        world.apply_password(namespace, "first");
        for app in [&files, &sub_path, &env] {
            app.wait_for("first");
        }
        world.wait_for_app(namespace, "three pods", |object| counts(object, 3, 0));

        let before = files.run();
        world.apply_password(namespace, "second");
        files.wait_for("second");
        assert_eq!(files.run(), before, "the application was restarted");

        let object = world.wait_for_app(namespace, "two stale", |object| counts(object, 1, 2));
        let draining = condition(&object, "Draining");
        assert_eq!((&draining["status"], &draining["reason"]), (&json!("True"), &json!("StaleConsumers")));
        let stale = object["status"]["consumers"]["staleWorkloads"].as_array().unwrap();
        let told: Vec<_> = stale.iter().map(|w| (&w["kind"], &w["name"], &w["uses"], &w["pods"])).collect();
        let expected = [(json!("env"), json!(["env"])), (json!("sub-path"), json!(["subPath"]))];
        let (kind, one) = (json!("Deployment"), json!(1));
        assert_eq!(told, expected.each_ref().map(|(name, uses)| (&kind, name, uses, &one)));
        // It is so: they were not restarted, and answer with what is to be revoked.
        assert_eq!((sub_path.answer().as_deref(), env.answer().as_deref()), (Some("first"), Some("first")));

        sub_path.restart();
        sub_path.wait_for("second");
        let object = world.wait_for_app(namespace, "one stale", |object| counts(object, 2, 1));
        assert_eq!(object["status"]["consumers"]["staleWorkloads"][0]["name"], "env");
        env.restart();
        env.wait_for("second");
        world.wait_for_app(namespace, "drained", |object| {
            let draining = condition(object, "Draining");
            counts(object, 3, 0) && draining["status"] == "False" && draining["reason"] == "Drained"
        });
        assert_eq!(files.run(), before, "the application was restarted");
    });
}
