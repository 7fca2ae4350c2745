//! A document exchanged in a manifest changes its own lines and no others.

use super::*;
use crate::documents::{Candidate, Reading};

const OLD: &str = "a: ENC[AES256_GCM,data:x]\nsops:\n    lastmodified: then\n    mac: one\n";
const NEW: &str = "a: ENC[AES256_GCM,data:x]\nb: 2\nsops:\n    lastmodified: now\n    mac: two\n";

fn indented(text: &str, pad: &str) -> String {
    text.lines().map(|line| format!("{pad}{line}\n")).collect()
}

fn file(text: &str) -> DocumentFile {
    DocumentFile::manifest("x.yaml".into(), text.to_owned()).unwrap().unwrap()
}

fn exchanged(text: &str, index: usize, new: &str) -> String {
    let mut file = file(text);
    file.replace(index, new.as_bytes()).unwrap();
    assert_eq!(file.documents()[index].text, new);
    let after = file.text().unwrap().into_owned();
    let again = self::file(&after);
    assert_eq!(again.documents()[index].text, new, "it reads back\n{after}");
    let ((objects, mut documents), now) = (norway(text), norway(&after));
    new.clone_into(&mut documents[index]);
    assert_eq!((objects, documents), now, "another reader agrees\n{after}");
    after
}

/// The objects and their documents as the reader sees them that most tools of this ecosystem descend from (libyaml).
fn norway(text: &str) -> (Vec<serde_json::Value>, Vec<String>) {
    use serde::Deserialize;
    let stream = serde_norway::Deserializer::from_str(text);
    let mut objects: Vec<_> = stream.map(|object| serde_json::Value::deserialize(object).unwrap()).collect();
    let mut documents = Vec::new();
    for object in &mut objects {
        let listed = object.get("items").is_some();
        let items = if listed {
            object["items"].as_array_mut().unwrap().as_mut_slice()
        } else {
            std::slice::from_mut(object)
        };
        for item in items {
            for document in
                item.pointer_mut("/spec/documents").and_then(|list| list.as_array_mut()).into_iter().flatten()
            {
                documents.push(document["sops"].take().as_str().unwrap().to_owned());
            }
        }
    }
    (objects, documents)
}

fn manifest(block: &str) -> String {
    format!(
        "# why\napiVersion: touchseal.dev/v1alpha1\nkind: EncryptedSecret # yes\nmetadata: {{name: app, namespace: \"shop\"}}\nspec:\n  \
         documents:\n    - name: 'app.yaml'\n      sops: {block}\n  # last words  \n  suspend:   false\n"
    )
}

#[test]
fn only_the_lines_of_the_block_change() {
    for header in ["|", "| # as sops wrote it | or not", "|\t", "|\t# tab", "|2"] {
        let pad = if header == "|2" { "          " } else { "         " };
        // An indentation indicator counts from the parent, whose column is 6.
        let pad = if header == "|2" { &pad[2..] } else { pad };
        let block = |text: &str| manifest(&format!("{header}\n{}", indented(text, pad).trim_end()));
        let text = block(OLD);
        assert_eq!(file(&text).documents()[0].text, OLD, "{text}");
        assert_eq!(exchanged(&text, 0, NEW), block(NEW), "{header}");
        assert_eq!(exchanged(&text, 0, OLD), text, "{header}");
    }
}

#[test]
fn chomping_follows_the_text_and_blank_lines_stay() {
    let text = manifest(&format!("|\n{}\n", indented(OLD, "        ")));
    let after = exchanged(&text, 0, NEW.trim_end());
    assert_eq!(after, manifest(&format!("|-\n{}\n", indented(NEW, "        "))));
    assert_eq!(exchanged(&after, 0, OLD), text);
    let kept = exchanged(&text, 0, &format!("{NEW}\n\n"));
    assert!(kept.contains("sops: |+\n") && kept.contains("mac: two\n\n\n  # last"), "{kept}");
    assert_eq!(exchanged(&kept, 0, OLD), text.replace("one\n\n\n", "one\n"));
}

#[test]
fn what_a_block_cannot_hold_is_quoted_in_its_place() {
    let text = manifest(&format!("|\n{}", indented(OLD, "        ").trim_end()));
    let after = exchanged(&text, 0, "  lead: ENC[]\r\nsops: \u{2028}\n");
    assert_eq!(after, manifest("\"  lead: ENC[]\\r\\nsops: \\u2028\\n\""));
    assert_eq!(exchanged(&after, 0, OLD), manifest(&format!("{:?}", OLD)));
    let single = manifest("'{\"a\": 1, \"sops\": {}}'");
    assert_eq!(exchanged(&single, 0, "{}"), manifest("\"{}\""));
}

#[test]
fn line_ends_and_foreign_text_are_kept() {
    let block = |text: &str| manifest(&format!("|\n{}", indented(text, "        ").trim_end()));
    let windows = block(OLD).replace('\n', "\r\n").replace("# why", "\u{feff}# wärum \u{1f600}");
    assert_eq!(
        exchanged(&windows, 0, NEW),
        windows.replace(
            &indented(OLD, "        ").replace('\n', "\r\n"),
            &indented(NEW, "        ").replace('\n', "\r\n")
        )
    );
    let end = block(OLD).split("  # last").next().unwrap().trim_end().to_owned();
    assert_eq!(
        exchanged(&end, 0, NEW),
        format!(
            "{}\n",
            end.replace(indented(OLD, "        ").trim_end(), indented(NEW, "        ").trim_end())
        )
    );
}

#[test]
fn folded_text_becomes_a_block() {
    let text = manifest(">-\n        {\"a\": 1,\n        \"sops\": {}}");
    assert_eq!(
        exchanged(&text, 0, "{\n\t\"b\": 1\n}\n"),
        manifest("|\n        {\n        \t\"b\": 1\n        }")
    );
}

#[test]
fn json_stays_json() {
    let text = "{\n\t\"apiVersion\": \"touchseal.dev/v1alpha1\", \"kind\": \"EncryptedSecret\",\n\t\"spec\": {\"documents\":[{\"sops\":\"a\\n\"},{\"sops\" : \"b\"}]}}";
    let after = exchanged(text, 1, "x: \"\u{7f}\"\n");
    assert_eq!(after, text.replace("\"b\"", "\"x: \\\"\\u007f\\\"\\n\""));
    let value: serde_json::Value = serde_json::from_str(&after).unwrap();
    assert_eq!(value.pointer("/spec/documents/1/sops").unwrap(), "x: \"\u{7f}\"\n");
}

#[test]
fn streams_and_lists_name_their_documents_apart() {
    let one = manifest(&format!("|\n{}", indented(OLD, "        ").trim_end()));
    let text = format!("{one}---\n{}", one.replace("name: app,", "name: chat,").replace("\"shop\"", "talk"));
    let both = file(&text);
    let names: Vec<_> = both.documents().iter().map(|document| document.name.as_str()).collect();
    assert_eq!(names, ["shop/app/app.yaml", "talk/chat/app.yaml"]);
    assert_eq!(both.choose_one(Some("chat/app.yaml")).unwrap(), 1);
    assert!(matches!(both.choose_one(Some("app.yaml")), Err(DocumentsError::Several { .. })));
    assert!(matches!(both.choose_one(Some("p.yaml")), Err(DocumentsError::NoSuch { .. })));
    assert!(matches!(both.choose_one(None), Err(DocumentsError::Several { .. })));
    assert_eq!(both.namespace(1, None).unwrap(), Some("talk"));
    assert!(matches!(both.namespace(1, Some("shop")), Err(DocumentsError::Namespace { .. })));
    let after = exchanged(&text, 1, NEW);
    assert!(after.starts_with(&one) && after.len() > text.len());
    let list = format!(
        "apiVersion: v1\nkind: List\nitems:\n- {}",
        indented(&one, "  ").trim_start().trim_start_matches("# why\n  ")
    );
    assert_eq!(file(&list).documents()[0].text, OLD);
}

#[test]
fn an_anchor_would_change_more_than_the_document() {
    for sops in [format!("&x |\n{}", indented(OLD, "        ").trim_end()), "*x".to_owned()] {
        let text = format!("x: &x 1\n---\n{}", manifest(&sops)).replace("---\n", "");
        assert!(matches!(DocumentFile::manifest("x".into(), text), Err(DocumentsError::Shared { .. })));
    }
}

#[test]
fn a_file_is_written_whole_and_only_over_what_was_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.yaml");
    let text = manifest(&format!("|\n{}", indented(OLD, "        ").trim_end()));
    std::fs::write(&path, &text).unwrap();
    let read = || Candidate::named(&path).read_documents(None).unwrap();
    let mut file = read();
    assert_eq!(file.write(false).unwrap(), Written::Unchanged);
    file.replace(0, NEW.as_bytes()).unwrap();
    assert_eq!(file.write(true).unwrap(), Written::Changed);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "a dry run writes nothing");
    assert_eq!(file.write(false).unwrap(), Written::Changed);
    assert_eq!(read().documents()[0].text, NEW);
    let mut late = read();
    late.replace(0, OLD.as_bytes()).unwrap();
    std::fs::write(&path, &text).unwrap();
    assert!(matches!(late.write(false), Err(DocumentsError::Changed(_))));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

const SOPS: &str = include_str!("../../../../../tests/cli/wrap.in/app.yaml");

#[test]
fn a_tree_is_searched_for_documents_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    put(".git/app.yaml", SOPS);
    put("b/app.yaml", SOPS);
    put("a/secret", SOPS);
    put("a/plain.yaml", "a: 1\n");
    put("a/README.md", &format!("A file of sops:\n\n{}", indented(SOPS, "  ")));
    put("a/damaged.yaml", &SOPS.replace("lastmodified", "lastmodifried"));
    put(
        "c/config.yaml",
        &format!("apiVersion: v1\nkind: ConfigMap\ndata:\n  a: b\n  app.yaml: |\n{}", indented(SOPS, "    ")),
    );
    put("c/secret.yaml", &manifest(&format!("|\n{}", indented(SOPS, "        ").trim_end())));
    put(
        "c/crd.yaml",
        "kind: CustomResourceDefinition\nspec: {group: touchseal.dev/x, names: {kind: EncryptedSecret}}\n",
    );
    put("c/template.yaml", "{{ if x }}\napiVersion: touchseal.dev/v1alpha1\nkind: EncryptedSecret\n");
    let paths = [folder.path().to_owned(), folder.path().join("b/app.yaml")];
    let found: Vec<String> = crate::documents::find(&paths)
        .unwrap()
        .iter()
        .map(|candidate| {
            let path = candidate.path.strip_prefix(folder.path()).unwrap().display().to_string();
            let what = match candidate.read(None) {
                Ok(Reading::Documents(file)) => {
                    format!("{} {:?}", file.documents().len(), file.documents()[0].format)
                }
                Ok(Reading::Other) => "other".to_owned(),
                Ok(Reading::Doubtful) => "doubtful".to_owned(),
                Err(_) => "error".to_owned(),
            };
            format!("{path}: {what}")
        })
        .collect();
    let expected = [
        "a/README.md: doubtful",
        "a/damaged.yaml: error",
        "a/plain.yaml: other",
        "a/secret: 1 Yaml",
        "b/app.yaml: 1 Yaml",
        "c/config.yaml: 1 Yaml",
        "c/crd.yaml: other",
        "c/secret.yaml: 1 Yaml",
        "c/template.yaml: error",
    ];
    assert_eq!(found, expected);
    let named = |name: &str| Candidate::named(&folder.path().join(name)).read_documents(None);
    assert!(matches!(named("a/plain.yaml"), Err(DocumentsError::Neither(_))));
    assert!(matches!(named("a/README.md"), Err(DocumentsError::NotSops { .. })));
}

/// Every way to write a document down, with every text that may come to stand there.
#[test]
fn all_styles_take_all_texts() {
    let texts = [
        OLD,
        NEW,
        "{\n\t\"a\": \"ENC[]\",\n\n\t\"sops\": {}\n}\n",
        "A=ENC[]\nsops_mac=x",
        "[x]\na = ENC[]\n\n[sops]\nmac = x\n\n\n",
        "\u{e4}: \u{1f600}\nsops: |\n    x\n",
        " lead: x\nsops: {}\n",
        "trail:  \nsops: 'it''s \"x\" \\\\'\n",
        "#c\n--- # x\na: 1\n...\n",
    ];
    let tails =
        ["", "\n", "# comment\n\n", "    suspend: true\n", "        -   sops: b\n\n", "---\n# next\na: 1\n"];
    let mut count = 0;
    for text in texts {
        for style in ["|", "|2", "'", "\"", "plain"] {
            let Some(scalar) = written(text, style) else { continue };
            let kept = scalar.lines().next().is_some_and(|header| header.contains('+'));
            // A blank line behind such a block is a line of it.
            for tail in tails.into_iter().filter(|tail| !(kept && *tail == "\n")) {
                let manifest = format!(
                    "%YAML 1.2\n---\napiVersion: touchseal.dev/v1alpha1\nkind:   EncryptedSecret\nspec:\n    documents:\n        -   sops: {scalar}{tail}"
                );
                assert_eq!(file(&manifest).documents()[0].text, text, "\n{manifest}");
                for new in texts {
                    let after = exchanged(&manifest, 0, new);
                    assert!(
                        after.ends_with(tail) && (new != text || after == manifest),
                        "{new:?}\n{manifest}\n{after}"
                    );
                    count += 1;
                }
            }
        }
    }
    assert!(count > 1000, "{count}");
}

/// A text as a person or program may have written it, with its line end; `None` where the style cannot hold it.
fn written(text: &str, style: &str) -> Option<String> {
    let body = text.trim_end_matches('\n');
    Some(match style {
        "|" => crate::yaml::block(text, 16)?,
        "|2" => {
            let block = crate::yaml::block(text, 14)?;
            let (header, lines) = block.split_once('\n')?;
            format!("{}2{} # as indented\n{lines}", &header[..1], &header[1..])
        }
        "'" if !text.contains('\n') => format!("'{}'\n", text.replace('\'', "''")),
        "\"" => format!("{}\n", crate::yaml::quoted(text)),
        "plain" if body == text && !text.contains('\n') => format!("{text}\n"),
        _ => return None,
    })
}

#[test]
fn a_second_byte_order_mark_is_no_obstacle() {
    let block = |text: &str| manifest(&format!("|\n{}", indented(text, "        ").trim_end()));
    let mut both = file(&format!("{}...\n\u{feff}{}", block(OLD), block(OLD)));
    both.replace(1, NEW.as_bytes()).unwrap();
    assert_eq!(both.text().unwrap(), format!("{}...\n\u{feff}{}", block(OLD), block(NEW)));
}

/// No layout is known that the exchange gets wrong; should there be one, this is what keeps the file.
#[test]
fn only_what_was_meant_may_differ() {
    let text = "a: x\nb: [old, 2]\nc: *d\n".replace("*d", "d");
    let before = nodes::parse(&text).unwrap();
    let Ok(Some(Node::List(items))) = before[0].get("b") else { panic!() };
    let Node::Scalar(old) = &items[0] else { panic!() };
    let meant = Meant::from([(std::ptr::from_ref(old).addr(), "new")]);
    assert!(reads_back(&before, &text.replace("old", "new"), &meant));
    for wrong in [
        text.clone(),
        text.replace("old", "newer"),
        text.replace("old", "new").replace("x", "y"),
        text.replace("old", "new").replace("2", "'2'"),
        text.replace("old", "new, 3"),
        text.replace("old", "new").replace("c:", "d:"),
        text.replace("old", "new") + "---\ne: 1\n",
        text.replace("[old", "[new").replace("]", ""),
    ] {
        assert!(!reads_back(&before, &wrong, &meant), "{wrong}");
    }
}

/// However many documents a file holds, exchanging all of them reads it twice, not once each.
#[test]
fn many_documents_in_one_file_are_exchanged_together() {
    let one = manifest(&format!("|\n{}", indented(OLD, "        ").trim_end()));
    let text = vec![one.as_str(); 2_000].join("---\n");
    let mut file = file(&text);
    assert_eq!(file.documents().len(), 2_000);
    let began = std::time::Instant::now();
    for index in 0..2_000 {
        file.replace(index, NEW.as_bytes()).unwrap();
    }
    let after = file.text().unwrap();
    // A reading takes about a tenth of a second; one for each document would take minutes.
    assert!(began.elapsed() < std::time::Duration::from_secs(20), "{:?}", began.elapsed());
    let expected = manifest(&format!("|\n{}", indented(NEW, "        ").trim_end()));
    assert_eq!(after, vec![expected.as_str(); 2_000].join("---\n"));
}

/// Whatever a scalar's exchange does wrong must not get into a file.
#[test]
fn an_edit_that_reaches_too_far_is_not_taken() {
    let text = "a: x\nb: old\nc: d\n";
    let before = nodes::parse(text).unwrap();
    let Ok(Some(Node::Scalar(old))) = before[0].get("b") else { panic!() };
    let meant = Meant::from([(std::ptr::from_ref(old).addr(), "new")]);
    let spliced = |place, with: &str| spliced(text, vec![(place, with.to_owned())], &before, &meant);
    assert_eq!(spliced(8..11, "new").as_deref(), Some("a: x\nb: new\nc: d\n"));
    assert_eq!(spliced(8..17, "new\nc: e"), None, "a neighbour changed");
    assert_eq!(spliced(8..18, "new\n"), None, "a neighbour is gone");
    assert_eq!(spliced(8..99, "new\n"), None);
}
