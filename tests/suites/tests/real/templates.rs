//! Secret keys composed of what documents give: what is served, what it counts as, and what happens where that fails.

use std::fs;

use serde_json::{Value, json};
use touchseal_suites::cli::PIN;
use touchseal_suites::world::{condition, value};
use touchseal_suites::{Apps, Laptop, Page, Reading, World};

const URL: &str = "postgres://{{ user | urlencode }}:{{ password | urlencode }}@{{ host }}/shop";

/// Documents of a database whose password is a file of its own.
struct Database {
    apps: Apps,
    place: String,
    password: String,
}

impl Database {
    fn new(test: &str) -> Database {
        let apps = Apps::new(test);
        let place = apps.encrypt("place.yaml", "host: db.shop.svc\nuser: app\n");
        let password = apps.encrypt("password.yaml", "password: hunter2@first\n");
        Database { apps, place, password }
    }

    fn apply(&self, template: &Value) {
        let documents = json!([{ "name": "place.yaml", "sops": self.place }, { "name": "password.yaml", "sops": self.password }]);
        self.apps.apply_secret("db", json!({ "documents": documents, "target": { "template": template } }));
    }

    fn rotate(&mut self, password: &str) {
        self.apps.next_second();
        self.password = self.apps.encrypt("password.yaml", &format!("password: {password}\n"));
    }

    fn secret(&self) -> Value {
        self.apps.secret("db").unwrap()
    }

    fn text(&self, key: &str) -> Option<String> {
        value(&self.secret(), key).map(|bytes| String::from_utf8(bytes).unwrap())
    }
}

fn since(object: &Value, key: &str) -> String {
    let keys = object["status"]["keys"].as_array().unwrap();
    keys.iter().find(|one| one["name"] == key).unwrap()["since"].as_str().unwrap().to_owned()
}

fn version(secret: &Value) -> &Value {
    &secret["metadata"]["resourceVersion"]
}

#[test]
fn composed_keys_are_served_and_dated_by_what_they_come_to() {
    let mut database = Database::new("composed");
    let ini = "[db]\nhost = {{ host }}\n{% for key in [\"user\"] %}\n{{ key }} = {{ data[key] | tojson }}\n{% endfor %}\n";
    let template = |url: &str| json!({ "data": { "DATABASE_URL": url, "settings.ini": ini } });
    database.apply(&template(URL));
    let first = database.apps.wait_for_generation("db", 1);
    assert_eq!(database.text("DATABASE_URL").unwrap(), "postgres://app:hunter2%40first@db.shop.svc/shop");
    assert_eq!(database.text("settings.ini").unwrap(), "[db]\nhost = db.shop.svc\nuser = \"app\"\n");
    let served = database.secret();
    assert_eq!(served["data"].as_object().unwrap().len(), 2, "the documents' own keys stay out of it");

    // Another text that comes to the same changes nothing.
    database.apply(&template(&format!("{{# the shop's #}}{URL}")));
    let same = database.apps.reconcile("db", "same");
    assert_eq!(same["status"]["secretGeneration"], 1);
    assert_eq!(same["status"]["keys"], first["status"]["keys"]);
    assert_eq!(database.secret(), served);

    // A value changes what it is in, and nothing else.
    database.rotate("hunter2@second");
    database.apply(&template(URL));
    let second = database.apps.wait_for_generation("db", 2);
    assert!(since(&second, "DATABASE_URL") > since(&first, "DATABASE_URL"));
    assert_eq!(since(&second, "settings.ini"), since(&first, "settings.ini"));
    assert_eq!(second["status"]["generations"][0]["changed"], json!(["DATABASE_URL"]));

    // So does a template that comes to something else; the documents' keys come with it where that is asked for.
    let mut merged = template(&format!("{URL}?sslmode=require"));
    merged["mergePolicy"] = json!("Merge");
    database.apply(&merged);
    let third = database.apps.wait_for_generation("db", 3);
    assert_eq!(
        third["status"]["generations"][0]["changed"],
        json!(["DATABASE_URL", "host", "password", "user"])
    );
    assert_eq!(database.text("password").unwrap(), "hunter2@second");

    // While sealed nobody knows what a new template comes to, and the Secret stays.
    let before = database.secret();
    database.apps.restart_operator();
    database.apply(&template(URL));
    database.apps.wait_for("db", "False", "Sealed");
    assert_eq!(version(&database.secret()), version(&before));
    database.apps.unseal_again();
    database.apps.wait_for_generation("db", 4);
}

#[test]
fn a_template_that_fails_changes_nothing_and_tells_no_value() {
    let database = Database::new("template-fails");
    let good = json!({ "data": { "DATABASE_URL": URL } });
    database.apply(&good);
    database.apps.wait_for_generation("db", 1);
    let served = database.secret();
    let loops = "{% for a in [1,1,1,1,1,1,1,1,1,1] %}".repeat(9) + &"{% endfor %}".repeat(9);
    for (template, said) in [
        (
            "\n{{ pasword }}",
            "target.template.data: DATABASE_URL, line 2: no document gives the key \"pasword\"; they give host, password, user",
        ),
        ("{{ password", "line 1: it does not parse"),
        ("{{ data[password] }}", "put together"),
        ("{{ password | b64decode }}", "not base64"),
        ("{{ password * 9 }}", "arithmetic"),
        ("{% include password %}", "no statement \"include\""),
        (&loops, "more work"),
    ] {
        database.apply(&json!({ "data": { "DATABASE_URL": template } }));
        let object = database.apps.reconcile("db", said);
        let (ready, stalled) = (condition(&object, "Ready"), condition(&object, "Stalled"));
        assert_eq!(
            (&ready["status"], &ready["reason"]),
            (&json!("False"), &json!("TemplateFailed")),
            "{template}"
        );
        assert_eq!((&stalled["status"], &stalled["message"]), (&json!("True"), &ready["message"]));
        let message = ready["message"].as_str().unwrap();
        assert!(message.contains(said), "{template}: {message}");
        assert!(message.ends_with("; Secret db keeps generation 1"), "{message}");
        assert_eq!(object["status"]["secretGeneration"], 1);
        assert_eq!(database.secret(), served, "{template}");
    }
    assert!(database.apps.events("db").contains(&"TemplateFailed".to_owned()));
    database.apply(&good);
    let healed = database.apps.wait_for("db", "True", "Materialised");
    assert_eq!(healed["status"]["secretGeneration"], 1);
    assert_eq!(database.secret(), served);

    let said = database.apps.kubectl(&["get", "events,encryptedsecrets", "-o", "json"]);
    assert!(said.contains("TemplateFailed") && !said.contains("hunter2"), "a value is told");
    let log = database.apps.operator.process.log();
    assert!(log.contains("db") && !log.contains("hunter2"), "a value is logged");
}

#[test]
fn an_image_pull_secret_is_composed_as_the_api_server_wants_it() {
    let apps = Apps::new("pull-secret");
    let document =
        apps.encrypt("registry.yaml", "server: registry.example.com\nuser: robot\npassword: 'hun\"ter2'\n");
    let spec = |text: &str| {
        json!({ "documents": [{ "name": "registry.yaml", "sops": document }],
            "target": { "type": "kubernetes.io/dockerconfigjson", "template": { "data": { ".dockerconfigjson": text } } } })
    };
    // What the API server refuses is told by it, without what it refused.
    apps.apply_secret("pull", spec("{{ password }}"));
    let refused = apps.wait_for("pull", "False", "ApiError");
    assert!(!refused.to_string().contains("ter2"));
    apps.apply_secret(
        "pull",
        spec("{{ {\"auths\": {server: {\"username\": user, \"password\": password, \"auth\": (user ~ \":\" ~ password) | b64encode}}} | tojson }}"),
    );
    apps.wait_for("pull", "True", "Materialised");
    let secret = apps.secret("pull").unwrap();
    assert_eq!(secret["type"], "kubernetes.io/dockerconfigjson");
    let config: Value = serde_json::from_slice(&value(&secret, ".dockerconfigjson").unwrap()).unwrap();
    let entry = json!({ "username": "robot", "password": "hun\"ter2", "auth": "cm9ib3Q6aHVuInRlcjI=" });
    assert_eq!(config, json!({ "auths": { "registry.example.com": entry } }));
}

/// The page as its reader follows it, then values in a real terminal: one PIN for the documents, one question.
#[test]
fn the_page_about_templates_can_be_followed() {
    let mut world = World::documented();
    let laptop = Laptop::new(&world.cluster.admin_kubeconfig());
    let _key = laptop.key(0, 4_711);
    laptop.create_keyring("prod", "alice");
    laptop.run(&["recipients", "-f", "prod.keyring.yaml", "--for", "shop", "--sops-yaml"], PIN).ok();
    let _operator = world.operator();
    world.cluster.apply(&fs::read_to_string(laptop.folder().join("prod.keyring.yaml")).unwrap()).unwrap();
    world.requests(1);
    laptop.run(&["unseal", "--yes"], PIN).ok();
    Reading::at(&laptop).follow(&Page::of("docs/templates.md"));
    let secret = world.secret("db").unwrap();
    let settings = "[db]\nhost = db.shop.svc\nuser = shop\npassword = \"correct horse\"\npool = 10\n";
    assert_eq!(value(&secret, "settings.ini").unwrap(), settings.as_bytes());

    let show = ["render", "shop/db.esec.yaml", "--show-values"];
    let said = laptop.in_terminal(&show, &[("PIN", PIN), ("plain text?", "no")]);
    assert!(said.code == 3 && !said.out.contains("correct horse"), "{}", said.out);
    let said = laptop.in_terminal(&show, &[("PIN", PIN), ("Show 2 values", "yes")]).ok();
    assert!(said.out.contains("    password = \"correct horse\""), "{}", said.out);
}
