//! The timeline: a lane for each secret, a bar for each of its generations, and below it how long pods went on using the
//! one before. Drawn as SVG in the page.

use jiff::Timestamp;

use super::page::text;

const WIDTH: f64 = 1040.0;
const LEFT: f64 = 250.0;
const RIGHT: f64 = 1024.0;
const TOP: f64 = 46.0;
const LANE: f64 = 38.0;
const BAR: f64 = 15.0;
/// Between the moment of an exposure and now, so that the words above them do not meet.
const APART: f64 = 130.0;
/// Characters of a name that fit beside the lanes.
const LABEL: usize = 34;

/// What a bar says of the content served in its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// Exposed.
    Exposed,
    /// Some of it is exposed.
    Partly,
    /// Not exposed.
    Clean,
    /// Nothing is said of it.
    Plain,
    /// Nothing is recorded.
    Unrecorded,
}

/// One bar.
#[derive(Clone, Debug)]
pub struct Bar {
    pub from: Timestamp,
    pub to: Timestamp,
    pub fill: Fill,
    /// In the bar, where it fits.
    pub label: String,
    /// All of it, for the pointer and for those who hear the page.
    pub title: String,
}

/// One secret.
#[derive(Clone, Debug, Default)]
pub struct Lane {
    pub name: String,
    /// Below the name.
    pub note: String,
    pub bars: Vec<Bar>,
    /// From when to when pods used the generation before; what it is, in words.
    pub stale: Vec<(Timestamp, Timestamp, String)>,
    /// Moments when a value is due; what it is, in words.
    pub due: Vec<(Timestamp, String)>,
}

/// Lanes over one span of time.
#[derive(Clone, Debug)]
pub struct Timeline {
    pub from: Timestamp,
    pub to: Timestamp,
    pub now: Timestamp,
    /// The moment everything is about.
    pub exposure: Option<Timestamp>,
    pub lanes: Vec<Lane>,
}

impl Timeline {
    /// The drawing; nothing without lanes.
    #[expect(clippy::cast_precision_loss, reason = "places on a page")]
    pub fn svg(&self) -> String {
        if self.lanes.is_empty() {
            return String::new();
        }
        let height = TOP + LANE * self.lanes.len() as f64 + 8.0;
        let mut out = format!(
            "<svg class=\"timeline\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"timeline of {} secrets\">\n",
            self.lanes.len()
        );
        out.push_str(PATTERNS);
        self.axis(&mut out, height);
        for (number, lane) in self.lanes.iter().enumerate() {
            self.lane(&mut out, lane, TOP + LANE * number as f64);
        }
        self.moments(&mut out, height);
        out.push_str("</svg>\n");
        out
    }

    #[expect(clippy::cast_precision_loss, reason = "places on a page")]
    fn x(&self, at: Timestamp) -> f64 {
        let whole = (self.to.as_second() - self.from.as_second()).max(1) as f64;
        let part = (at.as_second() - self.from.as_second()) as f64;
        LEFT + (RIGHT - LEFT) * (part / whole).clamp(0.0, 1.0)
    }

    fn axis(&self, out: &mut String, height: f64) {
        let span = self.to.as_second() - self.from.as_second();
        let step = STEPS.into_iter().find(|step| span / step <= 7).unwrap_or(span.max(1));
        let format = match (step < 86_400, span > 300 * 86_400) {
            (true, _) if span < 86_400 && step < 60 => "%H:%M:%S",
            (true, _) if span < 86_400 => "%H:%M",
            (true, _) => "%b %-d %H:%M",
            (false, false) => "%b %-d",
            (false, true) => "%b %Y",
        };
        let mut second = (self.from.as_second().div_euclid(step) + 1) * step;
        while second < self.to.as_second() {
            if let Ok(at) = Timestamp::from_second(second) {
                let x = self.x(at);
                out.push_str(&format!(
                    "<line x1=\"{x:.1}\" y1=\"{y:.0}\" x2=\"{x:.1}\" y2=\"{height:.0}\" stroke=\"#e4e8ec\"/>\
                     <text class=\"soft\" x=\"{x:.1}\" y=\"34\" text-anchor=\"middle\">{}</text>\n",
                    at.strftime(format),
                    y = TOP - 6.0,
                ));
            }
            second += step;
        }
    }

    fn lane(&self, out: &mut String, lane: &Lane, y: f64) {
        let (bar, below) = (y + 6.0, y + 6.0 + BAR + 2.0);
        out.push_str(&format!(
            "<g><line x1=\"0\" y1=\"{y:.0}\" x2=\"{RIGHT}\" y2=\"{y:.0}\" stroke=\"#e4e8ec\"/>\
             <text x=\"0\" y=\"{:.0}\">{}<title>{}</title></text><text class=\"soft\" x=\"0\" y=\"{:.0}\">{}</text>\n",
            y + 16.0,
            text(&short(&lane.name)),
            text(&lane.name),
            y + 31.0,
            text(&short(&lane.note)),
        ));
        for piece in lane.bars.iter().filter(|piece| piece.to >= self.from && piece.from <= self.to) {
            let (x, end) = (self.x(piece.from), self.x(piece.to));
            let width = (end - x - 1.0).max(1.5);
            out.push_str(&format!(
                "<rect x=\"{x:.1}\" y=\"{bar:.1}\" width=\"{width:.1}\" height=\"{BAR}\" rx=\"2\" {}><title>{}</title></rect>\n",
                fill(piece.fill),
                text(&piece.title),
            ));
            #[expect(clippy::cast_precision_loss, reason = "places on a page")]
            let needed = 8.0 * piece.label.chars().count() as f64 + 8.0;
            if width >= needed && piece.fill != Fill::Unrecorded {
                out.push_str(&format!(
                    "<text class=\"on\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n",
                    x + width / 2.0,
                    bar + 11.5,
                    text(&piece.label),
                ));
            }
        }
        for (from, to, title) in &lane.stale {
            let (x, end) = (self.x(*from), self.x(*to));
            out.push_str(&format!(
                "<rect x=\"{x:.1}\" y=\"{below:.1}\" width=\"{:.1}\" height=\"6\" fill=\"url(#stale)\" stroke=\"#a8650a\" stroke-width=\"0.8\"><title>{}</title></rect>\n",
                (end - x).max(2.0),
                text(title),
            ));
        }
        for (at, title) in lane.due.iter().filter(|(at, _)| *at >= self.from && *at <= self.to) {
            let x = self.x(*at);
            out.push_str(&format!(
                "<path d=\"M{x:.1} {:.1}l5 6l-5 6l-5-6z\" fill=\"#fff\" stroke=\"#1c2127\" stroke-width=\"1.4\"><title>{}</title></path>\n",
                bar + 1.5,
                text(title),
            ));
        }
        out.push_str("</g>\n");
    }

    fn moments(&self, out: &mut String, height: f64) {
        // Where both words would meet, each stands on its own side.
        let close = self.exposure.is_some_and(|at| self.x(self.now) - self.x(at) < APART);
        if self.now >= self.from && self.now <= self.to {
            let x = self.x(self.now);
            out.push_str(&format!(
                "<line class=\"now\" x1=\"{x:.1}\" y1=\"20\" x2=\"{x:.1}\" y2=\"{height:.0}\" stroke=\"#59636e\" stroke-dasharray=\"2 3\"/>\
                 <text class=\"soft\" x=\"{:.1}\" y=\"14\" text-anchor=\"{}\">now</text>\n",
                if close { x + 4.0 } else { x },
                if close { "start" } else { "end" },
            ));
        }
        if let Some(at) = self.exposure {
            let x = self.x(at);
            out.push_str(&format!(
                "<line class=\"exposure\" x1=\"{x:.1}\" y1=\"20\" x2=\"{x:.1}\" y2=\"{height:.0}\" stroke=\"#b3362b\" stroke-width=\"2\"/>\
                 <text class=\"at\" x=\"{:.1}\" y=\"14\" text-anchor=\"{}\">exposed {}</text>\n",
                if close { x - 4.0 } else { x },
                if close { "end" } else { "middle" },
                at.strftime("%b %-d, %H:%M UTC"),
            ));
        }
    }
}

/// What the marks mean, each with its look.
pub fn legend(fills: &[(Fill, &str)], stale: bool, due: bool) -> String {
    let swatch = |look: &str, words: &str| {
        format!(
            "<span><svg width=\"22\" height=\"12\" aria-hidden=\"true\">{look}</svg>{}</span>",
            text(words)
        )
    };
    let mut out = String::from("<div class=\"legend\">");
    for (of, words) in fills {
        out.push_str(&swatch(&format!("<rect width=\"22\" height=\"12\" rx=\"2\" {}/>", fill(*of)), words));
    }
    if stale {
        let look = "<rect y=\"3\" width=\"22\" height=\"6\" fill=\"url(#stale)\" stroke=\"#a8650a\" stroke-width=\"0.8\"/>";
        out.push_str(&swatch(look, "pods still used the content before"));
    }
    if due {
        let look = "<path d=\"M11 0l5 6l-5 6l-5-6z\" fill=\"#fff\" stroke=\"#1c2127\" stroke-width=\"1.4\"/>";
        out.push_str(&swatch(look, "a value is due"));
    }
    out.push_str("</div>\n");
    out
}

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// Distances between the marks of the axis, in seconds.
const STEPS: [i64; 17] = [
    10,
    30,
    MINUTE,
    5 * MINUTE,
    15 * MINUTE,
    HOUR,
    3 * HOUR,
    6 * HOUR,
    12 * HOUR,
    DAY,
    2 * DAY,
    7 * DAY,
    14 * DAY,
    30 * DAY,
    91 * DAY,
    182 * DAY,
    365 * DAY,
];

/// Shown without colour, too: stripes for what is partly exposed, for what is stale, and dots for what is not recorded.
const PATTERNS: &str = "<defs>\
<pattern id=\"stale\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\"><rect width=\"6\" height=\"6\" fill=\"#fff\"/><rect width=\"3\" height=\"6\" fill=\"#d9962f\"/></pattern>\
<pattern id=\"partly\" width=\"8\" height=\"8\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\"><rect width=\"8\" height=\"8\" fill=\"#c98279\"/><rect width=\"4\" height=\"8\" fill=\"#b3362b\"/></pattern>\
<pattern id=\"unrecorded\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\"><rect width=\"6\" height=\"6\" fill=\"#fff\"/><circle cx=\"3\" cy=\"3\" r=\"1\" fill=\"#9aa4ae\"/></pattern>\
</defs>\n";

const fn fill(fill: Fill) -> &'static str {
    match fill {
        Fill::Exposed => "fill=\"#b3362b\"",
        Fill::Partly => "fill=\"url(#partly)\"",
        Fill::Clean => "fill=\"#34704a\"",
        Fill::Plain => "fill=\"#7489a0\"",
        Fill::Unrecorded => "fill=\"url(#unrecorded)\" stroke=\"#c5ccd3\" stroke-width=\"0.8\"",
    }
}

fn short(name: &str) -> String {
    if name.chars().count() <= LABEL {
        return name.to_owned();
    }
    name.chars().take(LABEL - 1).chain(['\u{2026}']).collect()
}
