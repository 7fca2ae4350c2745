//! What every report is made of: the page around it, escaped text, tables, counts.

use jiff::Timestamp;

/// Nothing is loaded and no script runs, whatever may get into a page.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

const STYLE: &str = "\
:root { --ink: #1c2127; --soft: #59636e; --line: #d8dde3; --paper: #fff; --shade: #f5f7f9;
  --red: #b3362b; --amber: #a8650a; --green: #34704a; --blue: #35567f; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 32px 28px 56px; max-width: 1100px; background: var(--paper); color: var(--ink);
  font: 15px/1.5 -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', 'DejaVu Sans', sans-serif; }
h1 { font-size: 26px; line-height: 1.25; margin: 0 0 4px; font-weight: 650; overflow-wrap: anywhere; }
h2 { font-size: 17px; margin: 36px 0 8px; font-weight: 650; }
p { margin: 6px 0; max-width: 78ch; overflow-wrap: anywhere; }
.soft { color: var(--soft); }
.lead { font-size: 17px; margin: 14px 0; }
.badge { display: inline-block; padding: 1px 10px; border-radius: 10px; font-size: 13px; font-weight: 600;
  vertical-align: 4px; margin-left: 8px; border: 1px solid currentColor; }
.tiles { display: flex; flex-wrap: wrap; gap: 12px; margin: 18px 0 8px; }
.tile { flex: 1 1 130px; border: 1px solid var(--line); border-top: 4px solid var(--line); border-radius: 4px;
  padding: 10px 14px; }
.tile b { display: block; font-size: 28px; line-height: 1.2; font-weight: 650; font-variant-numeric: tabular-nums; }
.tile span { color: var(--soft); font-size: 13px; display: block; line-height: 1.35; }
.red { color: var(--red); } .amber { color: var(--amber); } .green { color: var(--green); } .blue { color: var(--blue); }
.tile.red, .tile.amber, .tile.green, .tile.blue { border-top-color: currentColor; }
.tile.none b { color: var(--soft); }
.share { display: flex; height: 12px; border-radius: 3px; overflow: hidden; margin: 14px 0 4px; background: var(--line); }
.share i { display: block; background: currentColor; }
.rows { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; margin: 8px 0; }
th { text-align: left; font-weight: 600; color: var(--soft); border-bottom: 2px solid var(--line); padding: 5px 12px 5px 0; }
td { border-bottom: 1px solid var(--line); padding: 5px 12px 5px 0; vertical-align: top; overflow-wrap: anywhere; }
td.n, th.n { text-align: right; padding-right: 20px; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.w { white-space: nowrap; }
td b { font-weight: 600; }
thead { display: table-header-group; }
tr { break-inside: avoid; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 20px; font-size: 13px; color: var(--soft); margin: 6px 0; }
.legend svg { vertical-align: -2px; margin-right: 6px; }
svg.timeline { display: block; width: 100%; height: auto; margin: 8px 0; }
svg text { font: 12px -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', 'DejaVu Sans', sans-serif; fill: var(--ink); }
svg text.soft { fill: var(--soft); } svg text.on { fill: #fff; font-weight: 600; font-size: 11px; }
svg text.at { fill: var(--red); font-weight: 600; }
footer { margin-top: 40px; padding-top: 10px; border-top: 1px solid var(--line); color: var(--soft); font-size: 13px; }
@page { margin: 14mm; }
@media print { body { padding: 0; max-width: none; font-size: 12px; } h2 { break-after: avoid; }
  * { -webkit-print-color-adjust: exact; print-color-adjust: exact; } }
";

/// How a number or a word is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Red,
    Amber,
    Green,
    Blue,
    None,
}

impl Tone {
    /// Its class in the style sheet.
    pub const fn class(self) -> &'static str {
        match self {
            Self::Red => "red",
            Self::Amber => "amber",
            Self::Green => "green",
            Self::Blue => "blue",
            Self::None => "none",
        }
    }
}

/// The whole page. `body` is HTML.
pub fn page(title: &str, body: &str, now: Timestamp) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n<title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n\
         <body>\n{body}<footer>Made by touchseal {} at {}. It shows names, times and counts; it holds no secret value.</footer>\n\
         </body>\n</html>\n",
        text(title),
        env!("CARGO_PKG_VERSION"),
        moment(now),
    )
}

/// Text from outside as HTML, in content as well as in a quoted attribute. Controls, and what reorders text, are shown.
pub fn text(outside: &str) -> String {
    let mut html = String::with_capacity(outside.len());
    for c in outside.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            '\n' | '\t' => html.push(' '),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => html.push('\u{fffd}'),
            c if c.is_control() => html.push('\u{fffd}'),
            c => html.push(c),
        }
    }
    html
}

/// A time for people: UTC, to the minute.
pub fn moment(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// Counts in a row.
pub fn tiles(tiles: &[(usize, &str, Tone)]) -> String {
    let tile = |(count, label, tone): &(usize, &str, Tone)| {
        // A count of nothing calls for nothing.
        let tone = if *count == 0 { Tone::None } else { *tone };
        format!("<div class=\"tile {}\"><b>{count}</b><span>{}</span></div>", tone.class(), text(label))
    };
    format!("<div class=\"tiles\">{}</div>\n", tiles.iter().map(tile).collect::<String>())
}

/// One bar, divided as the counts are.
pub fn share(parts: &[(usize, &str, Tone)]) -> String {
    let all: usize = parts.iter().map(|(count, ..)| count).sum();
    if all == 0 {
        return String::new();
    }
    let part = |(count, label, tone): &(usize, &str, Tone)| {
        #[expect(clippy::cast_precision_loss, reason = "a width on a page")]
        let width = 100.0 * *count as f64 / all as f64;
        format!(
            "<i class=\"{}\" style=\"width:{width:.3}%\" title=\"{count} {}\"></i>",
            tone.class(),
            text(label)
        )
    };
    let said: Vec<String> = parts.iter().map(|(count, label, _)| format!("{count} {label}")).collect();
    let bars: String = parts.iter().filter(|(count, ..)| *count > 0).map(part).collect();
    format!("<div class=\"share\" role=\"img\" aria-label=\"{}\">{bars}</div>\n", text(&said.join(", ")))
}

/// One cell of a table; everything in it is text.
pub struct Cell {
    text: String,
    class: &'static str,
    tone: Tone,
}

impl Cell {
    /// Text.
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), class: "", tone: Tone::None }
    }

    /// Text that stays on one line.
    pub fn word(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: text.into(), class: "w", tone }
    }

    /// A number.
    pub fn number(text: impl Into<String>) -> Self {
        Self { text: text.into(), class: "n", tone: Tone::None }
    }

    fn html(&self) -> String {
        let text = text(if self.text.is_empty() { "\u{2013}" } else { &self.text });
        let text = match self.tone {
            Tone::None => text,
            tone => format!("<b class=\"{}\">{text}</b>", tone.class()),
        };
        match self.class {
            "" => format!("<td>{text}</td>"),
            class => format!("<td class=\"{class}\">{text}</td>"),
        }
    }
}

/// A table under its heading; nothing without rows.
pub fn table(heading: &str, columns: &[&str], rows: &[Vec<Cell>]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    // A column of numbers has its heading above them.
    let class = |column: usize| rows.first().and_then(|row| row.get(column)).filter(|cell| cell.class == "n");
    let head: String = columns
        .iter()
        .enumerate()
        .map(|(number, name)| match class(number) {
            Some(_) => format!("<th class=\"n\" scope=\"col\">{}</th>", text(name)),
            None => format!("<th scope=\"col\">{}</th>", text(name)),
        })
        .collect();
    let row = |row: &Vec<Cell>| format!("<tr>{}</tr>\n", row.iter().map(Cell::html).collect::<String>());
    format!(
        "<h2>{}</h2>\n<div class=\"rows\"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{}</tbody>\n</table></div>\n",
        text(heading),
        rows.iter().map(row).collect::<String>()
    )
}
