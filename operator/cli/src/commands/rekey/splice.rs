//! Documents that sops was told to indent otherwise keep their lines: only the `sops` blocks are exchanged. Where the
//! document is laid out as sops does it by itself, or the blocks cannot be told, the whole document is printed.

use touchseal_sops::{Document, Format};

/// The old text with the new document's metadata; `None` if it is to be printed as a whole.
pub fn metadata(before: &str, old: &Document, new: &Document) -> Option<String> {
    if old.format() != Format::Yaml || old.emit() == before.as_bytes() {
        return None;
    }
    let printed = String::from_utf8(new.emit()).ok()?;
    let (mut places, fresh) = (blocks(before), blocks(&printed));
    if places.len() != fresh.len() || !before.ends_with('\n') {
        return None;
    }
    let mut after = before.to_owned();
    while let (Some(place), Some(block)) = (places.pop(), fresh.get(places.len())) {
        after.replace_range(place, printed.get(block.clone())?);
    }
    // What stands there now must be the new document, to the last value.
    let same = Document::parse(after.as_bytes(), Format::Yaml).is_ok_and(|again| again.emit() == new.emit());
    same.then_some(after)
}

/// Where the top-level `sops` maps are, whole lines each.
fn blocks(text: &str) -> Vec<std::ops::Range<usize>> {
    let mut found: Vec<std::ops::Range<usize>> = Vec::new();
    let (mut at, mut inside) = (0, false);
    for line in text.split_inclusive('\n') {
        let end = at + line.len();
        if line.trim_end() == "sops:" {
            found.push(at..end);
            inside = true;
        } else if inside && line.starts_with(' ') {
            if let Some(last) = found.last_mut() {
                last.end = end;
            }
        } else {
            inside = false;
        }
        at = end;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_whole_lines_of_every_document() {
        let text = "a: |\n  sops:\nsops:\n  x: y\n  z:\n    - 1\nb: c\n---\nsops:\n  x: y\n";
        let found: Vec<&str> = blocks(text).into_iter().map(|range| &text[range]).collect();
        assert_eq!(found, ["sops:\n  x: y\n  z:\n    - 1\n", "sops:\n  x: y\n"]);
    }
}
