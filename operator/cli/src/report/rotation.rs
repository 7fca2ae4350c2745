//! The page of all rotations: what is due, what is under way, what may be revoked, and how old everything is.

use jiff::Timestamp;
use touchseal_crds::EncryptedSecret;

use super::page::{Cell, Tone, moment, page, table, text, tiles};
use super::timeline::{Bar, Fill, Lane, Timeline, legend};
use crate::commands::rotation::{Row, Word, rows, stale, when};
use crate::duration::age;

/// Secrets the timeline shows; the table names all.
const LANES: usize = 60;
/// How far back the timeline goes at most, in seconds.
const BACK: i64 = 400 * 86_400;

/// The page.
pub fn rotation(objects: &[EncryptedSecret], namespace: Option<&str>, now: Timestamp) -> String {
    let mut rows = rows(objects, now);
    rows.sort_by(|a, b| (&a.namespace, &a.secret, &a.key).cmp(&(&b.namespace, &b.secret, &b.key)));
    let title = match namespace {
        Some(namespace) => format!("Rotations in namespace {namespace}"),
        None => "Rotations".to_owned(),
    };
    let mut body = format!(
        "<h1>{}</h1>\n<p class=\"soft\">As of {}: {} secrets with {} keys.</p>\n",
        text(&title),
        moment(now),
        objects.len(),
        rows.iter().filter(|row| row.key.is_some()).count(),
    );
    body.push_str(&counts(&rows));
    body.push_str(&steps(&rows, now));
    body.push_str(&timeline(objects, now));
    body.push_str(&all(&rows, now));
    page(&title, &body, now)
}

fn counts(rows: &[Row]) -> String {
    let count = |words: &[Word]| rows.iter().filter(|row| words.contains(&row.state)).count();
    let ageless = rows.iter().filter(|row| row.key.is_some() && row.due.is_none()).count();
    tiles(&[
        (count(&[Word::Overdue]), "keys overdue", Tone::Red),
        (count(&[Word::DueSoon]), "keys due soon", Tone::Amber),
        (
            count(&[Word::Draining, Word::Refreshing, Word::Unknown]),
            "keys whose old value is still in use",
            Tone::Amber,
        ),
        (
            rows.iter().filter(|row| row.may_be_revoked()).count(),
            "old values that may be revoked",
            Tone::Green,
        ),
        (count(&[Word::NotServed, Word::RolledBack]), "not served as asked", Tone::Red),
        (ageless, "keys without a longest age", Tone::Blue),
    ])
}

const fn tone(word: Word) -> Tone {
    match word {
        Word::NotServed | Word::RolledBack | Word::Overdue => Tone::Red,
        Word::Draining | Word::Refreshing | Word::Unknown | Word::DueSoon => Tone::Amber,
        Word::Drained => Tone::Green,
        Word::Current => Tone::None,
    }
}

fn steps(rows: &[Row], now: Timestamp) -> String {
    let mut open: Vec<&Row> = rows.iter().filter(|row| !row.next_step.is_empty()).collect();
    open.sort_by_key(|row| row.state);
    let cells: Vec<Vec<Cell>> = open
        .iter()
        .map(|row| {
            vec![
                Cell::text(&row.namespace),
                Cell::text(&row.secret),
                Cell::text(row.key.as_deref().unwrap_or_default()),
                Cell::word(format!("{:?}", row.state), tone(row.state)),
                Cell::text(row.due.as_ref().map(|due| when(due.0, now)).unwrap_or_default()),
                Cell::text(&row.next_step),
            ]
        })
        .collect();
    if cells.is_empty() {
        return "<h2>What to do</h2>\n<p>Nothing: no key is due, and no old value is in use.</p>\n"
            .to_owned();
    }
    table("What to do", &["Namespace", "Secret", "Key", "State", "Due", "Next step"], &cells)
}

fn all(rows: &[Row], now: Timestamp) -> String {
    let cells: Vec<Vec<Cell>> = rows
        .iter()
        .map(|row| {
            vec![
                Cell::text(&row.namespace),
                Cell::text(&row.secret),
                Cell::text(row.key.as_deref().unwrap_or_default()),
                Cell::number(row.generation.map(|number| number.to_string()).unwrap_or_default()),
                Cell::number(age(row.since.as_ref().map(|time| time.0), now)),
                Cell::text(row.due.as_ref().map(|due| when(due.0, now)).unwrap_or_default()),
                Cell::number(stale(row)),
                Cell::word(format!("{:?}", row.state), tone(row.state)),
            ]
        })
        .collect();
    let columns = ["Namespace", "Secret", "Key", "Generation", "Age", "Due", "Stale pods", "State"];
    table("Every key", &columns, &cells)
}

fn timeline(objects: &[EncryptedSecret], now: Timestamp) -> String {
    let mut served: Vec<&EncryptedSecret> =
        objects.iter().filter(|o| o.status.as_ref().is_some_and(|s| !s.generations.is_empty())).collect();
    if served.is_empty() {
        return String::new();
    }
    let name = |o: &EncryptedSecret| (o.metadata.namespace.clone(), o.metadata.name.clone());
    served.sort_by_key(|o| name(o));
    let more = served.len().saturating_sub(LANES);
    served.truncate(LANES);
    let lanes: Vec<Lane> = served.iter().map(|object| lane(object, now)).collect();
    let first = lanes.iter().flat_map(|lane| &lane.bars).map(|bar| bar.from.as_second()).min();
    let back = (now.as_second() - first.unwrap_or(now.as_second())).clamp(600, BACK);
    let last_due = lanes.iter().flat_map(|lane| &lane.due).map(|(at, _)| at.as_second()).max();
    // Room for what is due next, but the past has most of the page.
    let ahead = (last_due.unwrap_or(0) - now.as_second()).clamp(back / 20, back / 2);
    let place = |second: i64| Timestamp::from_second(second).unwrap_or(now);
    let drawn = Timeline {
        from: place(now.as_second() - back),
        to: place(now.as_second() + ahead),
        now,
        exposure: None,
        lanes,
    };
    let more = match more {
        0 => String::new(),
        more => {
            format!("<p class=\"soft\">{more} more secrets are not drawn; the table below names all.</p>\n")
        }
    };
    let fills = [
        (Fill::Plain, "one generation of content"),
        (Fill::Clean, "the present one"),
        (Fill::Exposed, "past its longest age"),
    ];
    format!("<h2>Generations over time</h2>\n{}{}{more}", legend(&fills, true, true), drawn.svg())
}

fn lane(object: &EncryptedSecret, now: Timestamp) -> Lane {
    let metadata = &object.metadata;
    let name = format!(
        "{}/{}",
        metadata.namespace.as_deref().unwrap_or_default(),
        metadata.name.as_deref().unwrap_or_default()
    );
    let Some(status) = &object.status else { return Lane { name, ..Lane::default() } };
    let mut lane = Lane {
        name,
        note: match status.keys.len() {
            1 => "1 key".to_owned(),
            many => format!("{many} keys"),
        },
        ..Lane::default()
    };
    let due = status.keys.iter().filter_map(|key| key.due.as_ref()).map(|due| due.0).min();
    let mut next: Option<Timestamp> = None;
    for generation in &status.generations {
        let (from, to) = (generation.since.0, next.unwrap_or(now));
        let label = generation.number.to_string();
        let title = |what: &str| format!("generation {label}{what}: {} to {}", moment(from), moment(to));
        let mut push = |from, to, fill, what: &str| {
            lane.bars.push(Bar { from, to, fill, label: label.clone(), title: title(what) });
        };
        match (next, due.filter(|due| *due < now)) {
            (None, Some(due)) => {
                let due = due.max(from);
                push(from, due, Fill::Clean, "");
                push(due, to, Fill::Exposed, ", past the longest age of a key");
            }
            (None, None) => push(from, to, Fill::Clean, ""),
            (Some(_), _) => push(from, to, Fill::Plain, ""),
        }
        if let Some(next) = next {
            let stale = status.consumers.as_ref().is_some_and(|c| !c.known || c.stale.unwrap_or(0) > 0);
            let end = match &generation.drained {
                Some(drained) => Some(drained.0),
                None => stale.then_some(now),
            };
            if let Some(end) = end.filter(|end| *end > next) {
                let title = format!("pods used generation {} until {}", generation.number, moment(end));
                lane.stale.push((next, end, title));
            }
        }
        next = Some(from);
    }
    lane.bars.reverse();
    for key in &status.keys {
        if let Some(due) = &key.due {
            lane.due.push((due.0, format!("{} is due {}", key.name, moment(due.0))));
        }
    }
    lane
}
