//! What is shown, and what is not.

use zeroize::Zeroizing;

use super::*;

fn rendered() -> Vec<Rendered> {
    let mut given = Content::default();
    for (key, value) in [("user", "app"), ("password", "hunter2"), ("binary", "")] {
        given.data.insert(key.to_owned(), Zeroizing::new(value.as_bytes().to_vec()));
    }
    given.data.insert("binary".to_owned(), Zeroizing::new(vec![0xff, 0xfe]));
    let spec = serde_json::json!({ "mergePolicy": "Merge", "data": {
        "conf": "user = {{ user }}\n\u{1b}[2J{{ password }}\n", "fixed": "x",
    } });
    let template: Template = serde_json::from_value(spec).unwrap();
    let (content, composed) = compose(given, &template).unwrap();
    let (name, type_) = ("db".to_owned(), "Opaque".to_owned());
    vec![Rendered { namespace: Some("shop".to_owned()), name, type_, content, composed }]
}

#[test]
fn without_being_asked_no_value_is_shown() {
    let shown = show::masked(&rendered());
    assert_eq!(
        shown,
        "Secret shop/db (Opaque), 5 keys\n  binary: 2 bytes\n    ***\n  conf: 23 bytes, a template of password, user\n    \
         user = ***\n    \u{fffd}[2J***\n  fixed: 1 byte, a template of nothing\n    x\n  password: 7 bytes\n    ***\n  \
         user: 3 bytes\n    ***\n"
    );
    let report = serde_json::to_string(&show::report(&rendered())).unwrap();
    assert!(report.contains(r#""madeOf":["password","user"]"#) && !report.contains("hunter2"), "{report}");
}

#[test]
fn when_asked_values_are_shown_and_steer_no_terminal() {
    let shown = show::values(&rendered());
    let text = String::from_utf8(shown.to_vec()).unwrap();
    assert!(
        text.contains("    user = app\n    \u{fffd}[2Jhunter2\n") && text.contains("(not text)"),
        "{text}"
    );
    let room = shown.capacity();
    assert!(room >= shown.len() && room < 4 * shown.len(), "it grew: {room}");
}
