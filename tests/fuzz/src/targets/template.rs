//! Templates of any text: they end soon, make no more than fits into a Secret, and no value is in what is said of them.

use std::collections::BTreeSet;

use touchseal_crds::encrypted_secret::{MergePolicy, Template};
use touchseal_plan::template::{check, compose, masked, outline};
use touchseal_plan::{Content, mapping::MAX_SECRET_BYTES};
use zeroize::Zeroizing;

use super::Target;

pub const TEMPLATE: Target = Target { name: "template", run, vectors };

/// Values that nobody writes into a template.
const VALUES: [(&str, &str); 5] = [
    ("host", "QmqvVxhost"),
    ("user", "QmqvVx\"user"),
    ("password", "QmqvVx:/@%\\password"),
    ("name", "host"),
    ("tls.crt", "QmqvVx\nQmqvVx\n"),
];
const MARKER: &str = "QmqvVx";

fn run(input: &[u8]) {
    let text = String::from_utf8_lossy(input).into_owned();
    let _ = outline(&text);
    let template =
        Template { merge_policy: Some(MergePolicy::Merge), data: [("out".to_owned(), text)].into() };
    let names: BTreeSet<String> = VALUES.iter().map(|(name, _)| (*name).to_owned()).collect();
    let checked = check(&template, Some(&names));
    match compose(content(), &template) {
        Ok(composed) => {
            assert!(checked.is_empty(), "what can be composed is found right without a key");
            let out = &composed.content.data["out"];
            assert!(out.len() <= MAX_SECRET_BYTES, "it is too large");
            assert!(composed.made_of["out"].is_subset(&names), "it is made of what there is");
            let shape = masked(&content(), &template).expect("what can be composed can be shown");
            assert!(!shape["out"].contains(MARKER), "a value is shown");
            let holds_one = String::from_utf8_lossy(out).contains(MARKER);
            assert!(!holds_one || !composed.made_of["out"].is_empty(), "a value comes from nowhere");
        }
        Err(error) => {
            let words = error.to_string();
            assert!(words.len() < 1000 && !words.contains(MARKER), "{words}");
        }
    }
}

fn content() -> Content {
    let mut content = Content::default();
    for (key, value) in VALUES {
        content.data.insert(key.to_owned(), Zeroizing::new(value.as_bytes().to_vec()));
    }
    content.data.insert("binary".to_owned(), Zeroizing::new(vec![0xff]));
    content
}

fn vectors() -> Vec<Vec<u8>> {
    [
        "postgres://{{ user | urlencode }}:{{ password | urlencode }}@{{ host }}/shop",
        "{{ {\"auths\": {host: {\"auth\": (user ~ \":\" ~ password) | b64encode}}} | tojson }}",
        "[db]\n{% for key in [\"user\", \"host\"] %}\n{{ key }} = {{ data[key] | tojson }}\n{% endfor %}\n",
        "{% for k in data %}{{ loop.index }}{% if not loop.last %},{% endif %}{% else %}x{% endfor %}",
        "{% if user == \"a\" and host != \"b\" or name %}{{ data.user }}{% elif 1 %}{{ data[name] }}{% else %}{% endif %}",
        "{{ data[\"tls.crt\"] | indent(4) | trim | upper | lower | replace(\"\\n\", \"\\u00e4\") }}",
        "{{ \"aG9zdA==\" | b64decode }}{# c #}{% raw %}{{ x }}{% endraw %}{{- 'a' -}} {%- if 1 -%} b {%- endif +%}",
        "{{ user if user == 'x' else [1, 2.5, none, true] | tojson }}{{ binary }}",
        "{% set a = a ~ a %}{% macro m() %}{{ m() }}{% endmacro %}{% include \"x\" %}{{ range(9) * 9 ** 9 }}",
        "{% for a in data recursive %}{{ loop(data) }}{% endfor %}{{ -user[1:2] in data is defined }}",
        "{{ (((((user))))) }}{{ not not not 1 }}{{ a | b(c=1, *d, **e) }}",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into()
}
