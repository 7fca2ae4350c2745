//! What templates make, what they cannot do, and what they cost at most, whoever wrote them.

use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use super::*;

/// Part of every value in these tests, and so to be found in no message.
const MARKER: &str = "hunter2";
/// As the fuzzer's.
const STACK: usize = 256 * 1024;

type Pairs<'a> = &'a [(&'a str, &'a [u8])];

fn content(pairs: Pairs<'_>) -> Content {
    let mut content = Content::default();
    for (key, value) in pairs {
        mapping::put(&mut content, key, Zeroizing::new(value.to_vec())).unwrap();
    }
    content
}

fn shop() -> Content {
    content(&[
        ("host", b"db.shop.svc"),
        ("user", b"app"),
        ("password", b"hunter2:/@%20\"\\"),
        ("tls.crt", b"-----BEGIN\nhunter2\n-----END\n"),
    ])
}

fn template(data: &[(&str, &str)], merge_policy: Option<MergePolicy>) -> Template {
    let data = data.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect();
    Template { merge_policy, data }
}

fn texts(content: &Content) -> BTreeMap<String, String> {
    let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
    content.data.iter().map(|(key, value)| (key.clone(), text(value))).collect()
}

/// What one template makes of the shop's content.
fn made(text: &str) -> Result<String, TemplateError> {
    made_of(shop(), text)
}

fn made_of(content: Content, text: &str) -> Result<String, TemplateError> {
    let composed = compose(content, &template(&[("out", text)], None))?;
    Ok(texts(&composed.content).remove("out").unwrap())
}

#[test]
fn texts_are_composed_of_values() {
    for (text, expected) in [
        (
            "postgres://{{ user }}:{{ password | urlencode }}@{{ host }}/shop",
            "postgres://app:hunter2%3A%2F%40%2520%22%5C@db.shop.svc/shop",
        ),
        ("{{ password | tojson }}", r#""hunter2:/@%20\"\\""#),
        ("{{ (user ~ \":\" ~ host) | b64encode }}", "YXBwOmRiLnNob3Auc3Zj"),
        ("{{ \"aG9zdA==\" | b64decode }}", "host"),
        (
            "cert: |\n  {{ data[\"tls.crt\"] | trim | indent(2) }}\n",
            "cert: |\n  -----BEGIN\n  hunter2\n  -----END\n",
        ),
        (
            "{{ {\"auths\": {host: {\"username\": user}}} | tojson }}",
            r#"{"auths":{"db.shop.svc":{"username":"app"}}}"#,
        ),
        ("{{ user | upper }} {{ \" x \" | trim }} {{ host | replace(\".\", \"-\") }}", "APP x db-shop-svc"),
        ("{% if user == \"app\" and not user != \"app\" %}yes{% else %}no{% endif %}", "yes"),
        ("{{ \"a\" if user == \"root\" else \"b\" }}{{ 5432 }}{{ \"\" or user }}", "b5432app"),
        ("{# a comment #}{% raw %}{{ kept }}{% endraw %}", "{{ kept }}"),
        // Lines of statements leave none behind, and the last one stays.
        (
            "[db]\n{% for key in [\"user\", \"host\"] %}\n{{ key }}={{ data[key] }}{{ \",\" if not loop.last else \";\" }}\n{% endfor %}\nend\n",
            "[db]\nuser=app,\nhost=db.shop.svc;\nend\n",
        ),
        ("{% for key in data %}{{ key }} {% endfor %}", "host password tls.crt user "),
        ("{% for key in [] %}x{% else %}none{% endfor %}", "none"),
        ("no tag at all \u{e4}\r\n", "no tag at all \u{e4}\r\n"),
        ("", ""),
    ] {
        assert_eq!(made(text).as_deref(), Ok(expected), "{text}");
    }
    let two = content(&[("a", b"1"), ("b", b"<&'>")]);
    assert_eq!(made_of(two, "{{ data | tojson }}").as_deref(), Ok(r#"{"a":"1","b":"<&'>"}"#));
}

#[test]
fn the_documents_own_keys_stay_only_where_they_are_asked_for() {
    let both = [("URL", "//{{ host }}"), ("user", "{{ user | upper }}")];
    let composed = |policy| texts(&compose(shop(), &template(&both, policy)).unwrap().content);
    let replaced = composed(None);
    assert_eq!(replaced, composed(Some(MergePolicy::Replace)));
    assert_eq!(replaced.keys().collect::<Vec<_>>(), ["URL", "user"]);
    let merged = composed(Some(MergePolicy::Merge));
    assert_eq!(merged.keys().collect::<Vec<_>>(), ["URL", "host", "password", "tls.crt", "user"]);
    assert_eq!((&*merged["user"], &*merged["host"]), ("APP", "db.shop.svc"));
}

#[test]
fn what_a_key_is_made_of_is_told() {
    let data =
        [("a", "{{ host }}{% if 1 == 2 %}{{ data.user }}{% endif %}"), ("b", "x"), ("c", "{{ data[user] }}")];
    let content = content(&[("host", b"h"), ("user", b"host"), ("more", b"m")]);
    let made_of = compose(content, &template(&data, None)).unwrap().made_of;
    let names = |key: &str| made_of[key].iter().map(String::as_str).collect::<Vec<_>>();
    assert_eq!(
        (names("a"), names("b"), names("c")),
        (vec!["host", "user"], vec![], vec!["host", "more", "user"])
    );
}

#[test]
fn a_type_stays_and_what_is_left_out_makes_room() {
    let mut large = content(&[("a", &[b'x'; MAX_SECRET_BYTES - 1])]);
    large.type_ = Some("kubernetes.io/tls".to_owned());
    let composed = compose(large, &template(&[("a", "{{ a }}")], Some(MergePolicy::Merge))).unwrap().content;
    assert_eq!((composed.type_.as_deref(), composed.data.len()), (Some("kubernetes.io/tls"), 1));
}

/// Whatever is wrong with a template, nothing of a value is in what is said, and the line is.
#[test]
fn every_mistake_is_named_with_its_line_and_without_a_value() {
    let password = "{{ password ~";
    for (text, line, said) in [
        (
            "\n{{ pasword }}",
            2,
            "no document gives the key \"pasword\"; they give host, password, tls.crt, user",
        ),
        ("{% if false %}{{ nope }}{% endif %}", 1, "\"nope\""),
        ("{{ data.nope }}", 1, "\"nope\""),
        ("{{ data[\"no.pe\"] }}", 1, "\"no.pe\""),
        ("{{ loop.index }}", 1, "\"loop\""),
        ("{% for k in data %}{{ loop.previtem }}{% endfor %}", 1, "\"previtem\""),
        ("\n\n{{ data[password] }}", 0, "put together is no key"),
        ("{{ data[password ~ user] | b64encode }}", 0, "put together is no key"),
        ("{{ password | b64decode }}", 0, "not base64"),
        ("{{ password | int }}", 1, "no filter \"int\"; there are b64decode, "),
        ("{{ password | indent(\"x\") }}", 1, "a number of columns"),
        ("{{ password | indent(65) }}", 1, "64 at most"),
        ("{{ password | replace(user, \"\") }}", 1, "two texts in quotes"),
        ("{{ password | replace(\"\", \"x\") }}", 1, "not empty"),
        ("{{ password | trim(1) }}", 1, "nothing in brackets"),
        ("{{ data }}", 1, "data is no text"),
        ("{{ [password] }}", 1, "a list is no text"),
        ("{{ [password] | urlencode }}", 1, "a list is no text"),
        ("{% for k in data %}{{ loop }}{% endfor %}", 1, "loop is no text"),
        ("{{ password.x }}", 1, "a dot behind anything"),
        ("{{ password[0] }}", 1, "picking out of anything but data"),
        ("{{ data[0] }}", 1, "\"\""),
        (password, 1, "it does not parse: unexpected end of input"),
        ("{{ password", 1, "it does not parse"),
        ("a\n{% if user %}", 2, "it does not parse"),
        ("{{ \"hunter2 }}", 1, "it does not parse"),
        ("{% endif %}", 1, "it does not parse"),
    ] {
        let error = made(text).expect_err(text);
        let words = error.to_string();
        assert!(words.contains(said), "{text}: {words}");
        // What depends on values has no line: it would tell which of many conditions they fulfil.
        let place = if line == 0 { "out: ".to_owned() } else { format!("out, line {line}: ") };
        assert!(words.starts_with(&format!("target.template.data: {place}")), "{text}: {words}");
        assert!(!words.contains(MARKER) && !format!("{error:?}").contains(MARKER), "{words}");
    }
    let binary = || content(&[("key.p12", b"\xffhunter2"), ("name", b"key.p12")]);
    for text in ["{{ data[\"key.p12\"] }}", "{{ data[name] }}", "{{ data | tojson }}"] {
        let words = made_of(binary(), text).unwrap_err().to_string();
        assert!(words.contains("key.p12 cannot be put into a text") && !words.contains(MARKER), "{words}");
    }
    assert!(made_of(binary(), "{{ name }}").is_ok(), "what is not used may be anything");
    let bad = compose(shop(), &template(&[("a/b", "x")], None)).unwrap_err();
    assert!(bad.to_string().contains("a/b: it is no Secret key"), "{bad}");
}

/// The words of the engine itself do quote values: none of them may be used.
#[test]
fn the_engines_words_are_not_ours() {
    let used = shop().data.keys().cloned().collect();
    let values = Values::of(&shop(), &used);
    for text in [
        "{{ password * user }}",
        "{{ password | indent(password) }}",
        "{{ password.x.y }}",
        "{{ password() }}",
    ] {
        let wrong = render::render(text, &values, Show::Values, 100).expect_err(text);
        assert_eq!(wrong.clone().of("k").wrong, Wrong::Engine, "{text}");
        assert!(!wrong.of("k").to_string().contains(MARKER));
    }
}

/// All that the engine could do besides putting texts together.
#[test]
fn there_is_nothing_else() {
    for text in [
        "{% include \"x\" %}",
        "{% import \"x\" as y %}",
        "{% from \"x\" import y %}",
        "{% extends \"x\" %}",
        "{% block a %}{% endblock %}",
        "{% macro a() %}{{ a() }}{% endmacro %}",
        "{% call a() %}{% endcall %}",
        "{% set a = user %}",
        "{% set a %}{{ user }}{% endset %}",
        "{% filter upper %}x{% endfilter %}",
        "{% with a = user %}{{ a }}{% endwith %}",
        "{% autoescape true %}{% endautoescape %}",
        "{% do user() %}",
        "{% for a in data recursive %}{{ loop(data) }}{% endfor %}",
        "{% for a, b in data %}{% endfor %}",
        "{% for a in user %}{% endfor %}",
        "{% for a in data[user] %}{% endfor %}",
        "{% for a in range(9) %}{% endfor %}",
        "{{ range(9) }}",
        "{{ dict() }}",
        "{{ debug() }}",
        "{{ user() }}",
        "{{ user.upper() }}",
        "{{ loop() }}",
        "{{ lipsum() }}",
        "{{ now() }}",
        "{{ env(\"PATH\") }}",
        "{{ self.x() }}",
        "{{ super() }}",
        "{{ get_env(\"A\") }}",
        "{{ 1 + 1 }}",
        "{{ \"x\" * 9 }}",
        "{{ 2 ** 9 }}",
        "{{ -1 }}",
        "{{ user[1:] }}",
        "{{ user is defined }}",
        "{{ \"a\" in user }}",
        "{{ 1 < 2 }}",
        "{{ 1 == 1 == 1 }}",
        "{{ user if user }}",
        "{{ user | default(\"x\") }}",
        "{{ user | safe }}",
        "{{ user | escape }}",
        "{{ user | pprint }}",
        "{{ [1, 2] | join }}",
        "{{ data | items }}",
        "{{ data.__class__ }}",
        "{{ user | map(\"upper\") }}",
        "{{ user | replace(*user) }}",
        "{{ user | indent(width=2) }}",
    ] {
        assert!(made(text).is_err(), "{text}");
    }
}

/// Each of these would take minutes, gigabytes or the stack if it were begun.
#[test]
fn what_would_never_end_is_not_begun() {
    let many: Vec<String> = (0..mapping::MAX_KEYS).map(|n| format!("k{n}")).collect();
    let many: Vec<(&str, &[u8])> = many.iter().map(|name| (name.as_str(), MARKER.as_bytes())).collect();
    let large = vec![b'\\'; 600 * 1024];
    let large: &[(&str, &[u8])] = &[("a", &large)];
    let nested = |depth: usize, with: &str| {
        format!("{}{with}{}", "{% for a in data %}".repeat(depth), "{% endfor %}".repeat(depth))
    };
    let list = format!("[{}]", "1,".repeat(120));
    let lists = format!("{}{}", format!("{{% for a in {list} %}}").repeat(8), "{% endfor %}".repeat(8));
    let joined = format!("{{{{ a{} }}}}", " ~ a".repeat(40));
    let grown = |filter: &str| format!("{{{{ a{} }}}}", format!(" | {filter}").repeat(40));
    let elifs = format!("{{% if 1 %}}{}{{% endif %}}", "{% elif 1 %}".repeat(5_000));
    let cases: Vec<(Pairs<'_>, String)> = vec![
        (&many, nested(3, "")),
        (&many, nested(10, "x")),
        (&many, nested(2, "{{ k0 | tojson }}")),
        (&[], lists),
        (large, joined.clone()),
        (large, joined.repeat(200)),
        (large, grown("tojson")),
        (large, grown("replace(\"\\\\\", \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\")")),
        (large, grown("indent(64)")),
        (large, "{{ a | tojson }}".repeat(4_000)),
        (large, "{{ a }}".repeat(2)),
        (large, format!("{{{{ [{}] | tojson }}}}", "a,".repeat(100))),
        (&[], format!("{{{{ {}1{} }}}}", "(".repeat(30_000), ")".repeat(30_000))),
        (&[], format!("{{{{ {}1 }}}}", "[".repeat(30_000))),
        (&[], format!("{{{{ {}1 }}}}", "{".repeat(30_000))),
        (&[], format!("{{{{ {}1 }}}}", "not ".repeat(15_000))),
        (&[], format!("{{{{ {}1 }}}}", "-".repeat(60_000))),
        (&[], format!("{{{{ 1{} }}}}", " ~ 1".repeat(15_000))),
        (&[], format!("{{{{ 1{} }}}}", " or 1".repeat(12_000))),
        (&[], format!("{{{{ 1{} }}}}", " == 1".repeat(12_000))),
        (&[], format!("{{{{ data{} }}}}", ".a".repeat(30_000))),
        (&[], format!("{{{{ data{} }}}}", "[1]".repeat(20_000))),
        (&[], format!("{{{{ 1{} }}}}", "|trim".repeat(12_000))),
        (&[], format!("{{{{ 1{} }}}}", "()".repeat(30_000))),
        (&[], format!("{{{{ 1{} }}}}", " if 1 else 1".repeat(5_000))),
        (&[], format!("{{{{ {} }}}}", "\"a\" ".repeat(15_000))),
        (&[], "{% if 1 %}".repeat(6_000)),
        (&[], elifs),
        (&[], "{% for a in data %}".repeat(3_000)),
        (&[], "x".repeat(MAX_TEXT + 1)),
        (&[], "{{ 99999999999999999999999999999999999999999999999999 }}".to_owned()),
        (&[], "{{ \"x\" * 1000000000 }}".to_owned()),
        (&[], "{{ 9 ** 9 ** 9 }}".to_owned()),
    ];
    for (pairs, text) in cases {
        let shown: String = text.chars().take(60).collect();
        let content = content(pairs);
        let began = Instant::now();
        let work = move || made_of(content, &text).map(|_| ());
        let end = std::thread::Builder::new().stack_size(STACK).spawn(work).unwrap().join().unwrap();
        let took = began.elapsed();
        assert!(end.is_err(), "{shown}: it was rendered");
        assert!(took < Duration::from_secs(5), "{shown}: {took:?}");
    }
}

/// The most that is begun ends soon, in little memory and on a small stack.
#[test]
fn what_is_just_allowed_ends_soon() {
    let names: Vec<String> = (0..mapping::MAX_KEYS).map(|n| format!("k{n}")).collect();
    let many: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), MARKER.as_bytes())).collect();
    let inner = "{{ k0 if k0 == k1 else k2 }}";
    let text = format!(
        "{{% for a in data %}}{{% for b in [{}] %}}{inner}{{% endfor %}}{{% endfor %}}",
        "1,".repeat(20)
    );
    let deep = format!(
        "{}{{{{ {}1{} }}}}{}",
        "{% if 1 %}".repeat(10),
        "(".repeat(6),
        ")".repeat(6),
        "{% endif %}".repeat(10)
    );
    let wide = format!("{{{{ k0{}{} }}}}", " ~ k0".repeat(24), " | trim".repeat(24));
    for text in [text, deep, wide] {
        let content = content(&many);
        let began = Instant::now();
        let work = move || made_of(content, &text).unwrap();
        std::thread::Builder::new().stack_size(STACK).spawn(work).unwrap().join().unwrap();
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    }
}

/// What was judged is bounded once more where it runs.
#[test]
fn fuel_and_size_bound_what_nobody_judged() {
    let many: Vec<String> = (0..mapping::MAX_KEYS).map(|n| format!("k{n}")).collect();
    let many: Vec<(&str, &[u8])> = many.iter().map(|name| (name.as_str(), MARKER.as_bytes())).collect();
    let values = Values::of(&content(&many), &BTreeSet::from(["k0".to_owned()]));
    let run =
        |text: &str| render::render(text, &values, Show::Values, 1000).map_err(|wrong| wrong.of("k").wrong);
    let endless = format!("{}{}", "{% for a in data %}".repeat(4), "{% endfor %}".repeat(4));
    assert_eq!(run(&endless), Err(Wrong::TooMuch));
    assert_eq!(run("{% for a in data %}{{ k0 }}{% endfor %}"), Err(Wrong::TooLarge));
    assert_eq!(run("{{ k0 }}").map(|bytes| bytes.to_vec()), Ok(MARKER.as_bytes().to_vec()));
    assert!(run(&"{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}".repeat(2)).is_err());
}

#[test]
fn all_templates_of_a_secret_share_one_budget() {
    let content = || content(&[("a", &[b'x'; 100 * 1024])]);
    let of = |count: usize| {
        let data: Vec<(String, String)> =
            (0..count).map(|n| (format!("k{n}"), "{{ a | b64encode }}".repeat(15))).collect();
        let data: Vec<(&str, &str)> = data.iter().map(|(key, text)| (key.as_str(), text.as_str())).collect();
        let template = template(&data, None);
        judge_all(&content(), &template).map(drop).map_err(|error| error.wrong)
    };
    assert_eq!(of(1), Ok(()));
    assert_eq!(of(2), Err(Wrong::TooMuch));
    let many: Vec<String> = (0..=MAX_COMPOSED).map(|n| format!("k{n}")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|key| (key.as_str(), "x")).collect();
    assert_eq!(compose(shop(), &template(&many, None)).unwrap_err().wrong, Wrong::TooManyTemplates);
    let text = "x".repeat(MAX_TEXT);
    let long: Vec<(&str, &str)> = ["a", "b", "c", "d", "e"].iter().map(|key| (*key, text.as_str())).collect();
    assert_eq!(compose(shop(), &template(&long, None)).unwrap_err().wrong, Wrong::TooManyTemplates);
}

#[test]
fn masks_show_the_shape_and_no_value() {
    let data =
        [("url", "//{{ user }}:{{ password | urlencode }}@db{% for k in data %}, {{ data[k] }}{% endfor %}")];
    let masked = masked(&shop(), &template(&data, None)).unwrap();
    assert_eq!(masked["url"], "//***:***@db, ***, ***, ***, ***");
}

#[test]
fn mistakes_are_found_without_a_key() {
    let names: BTreeSet<String> = ["host", "user"].map(str::to_owned).into();
    let data = [
        ("a", "{{ host }}"),
        ("b", "{{ password }}"),
        ("c", "{{ user"),
        ("d/e", "x"),
        ("f", "{{ data[user] }}"),
    ];
    let found = check(&template(&data, None), Some(&names));
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found[0].starts_with("target.template.data: b, line 1: no document gives the key \"password\""));
    assert!(found[1].contains(": c, line 1: it does not parse") && found[2].contains("d/e"));
    let unknown = check(&template(&data, None), None);
    assert_eq!(unknown.len(), 2, "{unknown:?}");
}

#[test]
fn what_is_written_out_is_told_on_its_line() {
    let text = "{# x #}a={{ user }}\n{% if user == \"root\" %}\npw={{ \"hunter2\" | trim }};{{ \"x\" ~ user }}\n{% endif %}\nend\n";
    let outline = outline(text).unwrap();
    let lines: Vec<&str> = outline.text.lines().collect();
    assert_eq!(
        (lines[0], lines[2], lines[4]),
        ("a=\u{fffc}", "pw=hunter2;\u{fffc}", "end"),
        "{:?}",
        outline.text
    );
    assert!(outline.puts_in);
    let constant = super::outline("a {{ \"b\" }}").unwrap();
    assert_eq!((&*constant.text, constant.puts_in), ("a b", false));
    assert_eq!(super::outline("{{ \"x"), None);
}

#[test]
fn a_documents_key_is_followed_to_every_key_that_may_hold_it() {
    let data = [
        ("url", "postgres://{{ user }}:{{ password | urlencode }}@db"),
        ("chosen", "{% if user == \"x\" %}{{ data[\"tls.crt\"] }}{% else %}{{ host }}{% endif %}"),
        ("all", "{% for key in data %}{{ key }}={{ data[key] }}{% endfor %}"),
        ("json", "{{ data | tojson }}"),
        ("fixed", "{% for password in [\"a\"] %}{{ password }}{% endfor %}"),
        ("wrong", "{{ user"),
        ("host", "another"),
    ];
    let keys = |policy, name: &str| {
        let of: Vec<String> = Serving::of(&template(&data, policy)).keys(name).into_iter().collect();
        of.join(" ")
    };
    for (name, composed) in [
        ("password", "all json url wrong"),
        ("user", "all chosen json url wrong"),
        ("tls.crt", "all chosen json wrong"),
        ("host", "all chosen json wrong"),
        ("other", "all json wrong"),
    ] {
        assert_eq!(keys(None, name), composed, "{name}");
        assert_eq!(keys(Some(MergePolicy::Replace), name), composed, "{name}");
    }
    assert_eq!(keys(Some(MergePolicy::Merge), "password"), "all json password url wrong");
    assert_eq!(keys(Some(MergePolicy::Merge), "host"), "all chosen json wrong", "the composed one counts");
}
