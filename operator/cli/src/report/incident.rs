//! The page of one incident: what was exposed, what was done about it, what remains.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use touchseal_crds::incident::{Incident, IncidentTotals, Remaining, RemainingState};
use touchseal_crds::rotation::GenerationStatus;
use touchseal_crds::{ConditionType, EncryptedSecret, EncryptedSecretStatus, Reason};

use super::page::{Cell, Tone, moment, page, share, table, text, tiles};
use super::timeline::{Bar, Fill, Lane, Timeline, legend};
use crate::commands::incident::{Advice, Scope, revocation, state, subject, word};
use crate::duration::{age, span};

/// Secrets the timeline shows; the tables name all.
const LANES: usize = 40;

/// The page.
pub fn incident(incident: &Incident, objects: &[EncryptedSecret], now: Timestamp) -> String {
    let view = View::new(incident, objects, now);
    let name = incident.metadata.name.as_deref().unwrap_or_default();
    let mut body = view.head(name);
    body.push_str(&view.counts());
    body.push_str(&view.timeline());
    body.push_str(&view.remains(&Advice::new(objects, incident.spec.exposed_at.0, now)));
    body.push_str(&view.rotated(objects));
    body.push_str(&view.accepted());
    body.push_str(WORDS);
    page(&format!("Incident {name}"), &body, now)
}

const WORDS: &str = "<h2>What the words mean</h2>\n\
<p><b>Exposed</b>: the value that is in use existed at the moment of the exposure, or nobody can say that it did not. It is to be replaced.</p>\n\
<p><b>Draining</b>: it was replaced, but running programs still hold the old value, so that it cannot be revoked yet.</p>\n\
<p><b>Safe</b>: it was replaced, and the last program that held the old value is gone. The old value can be revoked without harm.</p>\n\
<p><b>Accepted</b>: a person declared that it is not affected, and why.</p>\n";

struct View<'a> {
    incident: &'a Incident,
    scope: Scope<'a>,
    remaining: &'a [Remaining],
    /// EncryptedSecrets it is about, by namespace and name.
    objects: BTreeMap<(String, String), &'a EncryptedSecret>,
    /// The end of the story so far: when it was closed, or now.
    until: Timestamp,
    now: Timestamp,
}

impl<'a> View<'a> {
    fn new(incident: &'a Incident, objects: &'a [EncryptedSecret], now: Timestamp) -> Self {
        let scope = Scope::new(incident);
        let key = |object: &EncryptedSecret| {
            (
                object.metadata.namespace.clone().unwrap_or_default(),
                object.metadata.name.clone().unwrap_or_default(),
            )
        };
        Self {
            incident,
            scope,
            remaining: scope.remaining,
            objects: objects.iter().filter(|o| scope.concerns(o)).map(|o| (key(o), o)).collect(),
            until: scope.until(now),
            now,
        }
    }

    fn at(&self) -> Timestamp {
        self.scope.at()
    }

    fn head(&self, name: &str) -> String {
        let status = self.incident.status.as_ref();
        let (closed, all_safe) = (ConditionType::Closed.as_str(), Reason::AllSafe.as_str());
        let mut conditions = status.into_iter().flat_map(|status| &status.conditions);
        let by_itself = conditions.any(|c| c.type_ == closed && c.reason == all_safe);
        let (tone, badge) = match (state(self.incident), by_itself) {
            ("Closed", true) => (Tone::Green, "closed: nothing exposed is in use"),
            ("Closed", false) if self.remaining.is_empty() => (Tone::Amber, "closed by hand"),
            ("Closed", false) => (Tone::Amber, "closed by hand: something remained"),
            ("Open", _) => (Tone::Red, "open"),
            _ => (Tone::Amber, "not looked at yet"),
        };
        let mut out = format!(
            "<h1>Incident {} <span class=\"badge {}\">{badge}</span></h1>\n",
            text(name),
            tone.class()
        );
        if let Some(description) = &self.incident.spec.description {
            out.push_str(&format!("<p class=\"lead\">{}</p>\n", text(description)));
        }
        let mut facts = vec![format!("Exposed {}", moment(self.at()))];
        if let Some(opened) = &self.incident.metadata.creation_timestamp {
            facts.push(format!("incident opened {}", moment(opened.0)));
        }
        if let Some(closed) = status.and_then(|status| status.closed_at.as_ref()) {
            let took = closed.0.as_second() - self.at().as_second();
            facts.push(format!(
                "closed {}, {} after the exposure",
                moment(closed.0),
                span(took.unsigned_abs())
            ));
        }
        out.push_str(&format!("<p class=\"soft\">{}.</p>\n", text(&facts.join("; "))));
        if let Some(selector) =
            self.incident.spec.selector.as_ref().map(subject).filter(|words| !words.is_empty())
        {
            out.push_str(&format!("<p class=\"soft\">It is about {}.</p>\n", text(&selector)));
        }
        // Where something remains, the counts and the tables say the same, and more.
        if let Some(word) = word(self.incident).filter(|_| self.remaining.is_empty()) {
            out.push_str(&format!("<p>The operator says: {}.</p>\n", text(&word)));
        }
        out
    }

    fn counts(&self) -> String {
        let Some(totals) = self.incident.status.as_ref().and_then(|status| status.totals) else {
            return "<p>The operator has not judged it yet: how much is exposed is not known.</p>\n"
                .to_owned();
        };
        let count = |number: i32| usize::try_from(number).unwrap_or(0);
        let parts = [
            (count(totals.exposed), "exposed: not replaced yet", Tone::Red),
            (count(totals.draining), "draining: replaced, old value still in use", Tone::Amber),
            (count(totals.safe), "safe: old value may be revoked", Tone::Green),
            (count(totals.accepted), "accepted as not affected", Tone::Blue),
        ];
        format!("{}{}", tiles(&parts), share(&parts))
    }

    fn timeline(&self) -> String {
        let worst = |key: &(String, String)| {
            self.remaining
                .iter()
                .filter(|e| (&e.namespace, &e.name) == (&key.0, &key.1))
                .map(|e| e.state)
                .min()
        };
        let mut names: BTreeSet<(String, String)> = self.objects.keys().cloned().collect();
        names.extend(self.remaining.iter().map(|entry| (entry.namespace.clone(), entry.name.clone())));
        let mut names: Vec<_> = names.into_iter().map(|key| (worst(&key), key)).collect();
        // What remains before what does not.
        names.sort_by(|a, b| (a.0.is_none(), a.0, &a.1).cmp(&(b.0.is_none(), b.0, &b.1)));
        if names.is_empty() {
            return String::new();
        }
        let after = (self.until.as_second() - self.at().as_second()).max(600);
        let place = |second: i64| Timestamp::from_second(second).unwrap_or(self.now);
        let drawn = Timeline {
            from: place(self.at().as_second() - after / 4),
            to: place(self.until.as_second() + after / 25),
            now: self.now,
            exposure: Some(self.at()),
            lanes: names.iter().take(LANES).map(|(state, key)| self.lane(*state, key)).collect(),
        };
        let more = match names.len().saturating_sub(LANES) {
            0 => String::new(),
            more => format!(
                "<p class=\"soft\">{more} more secrets are not drawn; the tables below name all that remains.</p>\n"
            ),
        };
        let fills = [
            (Fill::Plain, "before the exposure, or not told"),
            (Fill::Exposed, "exposed content in use"),
            (Fill::Partly, "some of its keys exposed"),
            (Fill::Clean, "new content"),
            (Fill::Unrecorded, "not recorded"),
        ];
        format!("<h2>What happened when</h2>\n{}{}{more}", legend(&fills, true, false), drawn.svg())
    }

    fn lane(&self, state: Option<RemainingState>, key: &(String, String)) -> Lane {
        let mut lane = Lane { name: format!("{}/{}", key.0, key.1), ..Lane::default() };
        lane.note = match state {
            Some(RemainingState::Exposed) => "exposed",
            Some(RemainingState::Removed) => "removed before it was rotated",
            Some(RemainingState::Draining) => "rotated, still in use",
            Some(RemainingState::Unknown) => "rotated, use unknown",
            None if self.scope.tells_all() => "nothing remains",
            None => "state not listed",
        }
        .to_owned();
        let Some(status) = self.objects.get(key).and_then(|object| object.status.as_ref()) else {
            return lane;
        };
        let generations: Vec<&GenerationStatus> = status.generations.iter().rev().collect();
        if let Some(first) = generations.first().filter(|first| first.since.0 > self.at()) {
            let (from, to) = (Timestamp::UNIX_EPOCH, first.since.0);
            let title = "nothing is recorded of this time".to_owned();
            lane.bars.push(Bar { from, to, fill: Fill::Unrecorded, label: String::new(), title });
        }
        for (number, generation) in generations.iter().enumerate() {
            let next = generations.get(number + 1).map(|next| next.since.0);
            self.bars(&mut lane, key, status, generation, next.unwrap_or(self.until));
            if let Some(next) = next {
                let to = generation.drained.as_ref().map_or(self.until, |drained| drained.0);
                if to > next && self.has_pods(status, generation) {
                    let end =
                        generation.drained.as_ref().map_or("now".to_owned(), |drained| moment(drained.0));
                    lane.stale.push((
                        next,
                        to,
                        format!("pods used generation {} until {end}", generation.number),
                    ));
                }
            }
        }
        lane
    }

    /// An old generation without an end may have none because nobody knows who uses it.
    fn has_pods(&self, status: &EncryptedSecretStatus, generation: &GenerationStatus) -> bool {
        generation.drained.is_some()
            || status.consumers.as_ref().is_some_and(|c| !c.known || c.stale.unwrap_or(0) > 0)
    }

    /// One generation: plain until the exposure, then by how many of its keys are exposed.
    fn bars(
        &self,
        lane: &mut Lane,
        key: &(String, String),
        status: &EncryptedSecretStatus,
        generation: &GenerationStatus,
        to: Timestamp,
    ) {
        let from = generation.since.0;
        let label = generation.number.to_string();
        let title = |what: &str| format!("generation {label}, {what}: {} to {}", moment(from), moment(to));
        let mut push = |from, to, fill, what: &str| {
            lane.bars.push(Bar { from, to, fill, label: label.clone(), title: title(what) });
        };
        if from <= self.at() {
            push(from, self.at().min(to), Fill::Plain, "before the exposure");
            if to > self.at() {
                push(self.at(), to, Fill::Exposed, "exposed");
            }
            return;
        }
        let keys: Vec<_> = status.keys.iter().filter(|key| self.scope.selects(&key.name)).collect();
        let is_exposed = |name: &str| {
            self.remaining.iter().any(|e| {
                (&e.namespace, &e.name, e.key.as_str()) == (&key.0, &key.1, name)
                    && e.state == RemainingState::Exposed
            })
        };
        let exposed = keys.iter().filter(|k| k.since.0 > from || is_exposed(&k.name)).count();
        match exposed {
            _ if !self.scope.tells_exposed() => push(from, to, Fill::Plain, "not judged, or not listed"),
            0 => push(from, to, Fill::Clean, "new content"),
            some if some < keys.len() => {
                push(from, to, Fill::Partly, &format!("{some} of {} keys exposed", keys.len()));
            }
            _ => push(from, to, Fill::Exposed, "exposed"),
        }
    }

    fn remains(&self, advice: &Advice<'_>) -> String {
        let rows: Vec<Vec<Cell>> = self
            .remaining
            .iter()
            .map(|entry| {
                let tone = match entry.state {
                    RemainingState::Exposed | RemainingState::Removed => Tone::Red,
                    RemainingState::Draining | RemainingState::Unknown => Tone::Amber,
                };
                vec![
                    Cell::text(&entry.namespace),
                    Cell::text(&entry.name),
                    Cell::text(&entry.key),
                    Cell::word(format!("{:?}", entry.state), tone),
                    Cell::number(age(Some(entry.since.0), self.until)),
                    Cell::text(advice.next_step(entry)),
                ]
            })
            .collect();
        let listed = table(
            "What remains",
            &["Namespace", "Secret", "Key", "State", "Age of value", "Next step"],
            &rows,
        );
        let all = |totals: &IncidentTotals| totals.exposed.saturating_add(totals.draining);
        let totals = self.incident.status.as_ref().and_then(|status| status.totals.as_ref());
        let all = totals.map_or(0, |totals| usize::try_from(all(totals)).unwrap_or(0));
        match all.saturating_sub(self.remaining.len()) {
            0 => listed,
            more => format!("{listed}<p class=\"soft\">{more} more remain and are not listed.</p>\n"),
        }
    }

    /// Keys that were replaced since and do not remain.
    fn rotated(&self, objects: &[EncryptedSecret]) -> String {
        let safe = self.scope.safe(objects, self.now);
        let rows: Vec<Vec<Cell>> = safe
            .iter()
            .map(|safe| {
                vec![
                    Cell::text(safe.namespace),
                    Cell::text(safe.name),
                    Cell::text(safe.key),
                    Cell::word(moment(safe.since), Tone::None),
                    Cell::text(revocation(safe)),
                ]
            })
            .collect();
        table(
            "Replaced since, and left by every pod",
            &["Namespace", "Secret", "Key", "New value served since", "Old value, if it is still valid"],
            &rows,
        )
    }

    fn accepted(&self) -> String {
        let rows: Vec<Vec<Cell>> = self
            .incident
            .spec
            .accepted
            .iter()
            .map(|accepted| {
                vec![
                    Cell::text(&accepted.namespace),
                    Cell::text(&accepted.name),
                    Cell::text(accepted.key.as_deref().unwrap_or("all keys")),
                    Cell::text(&accepted.reason),
                ]
            })
            .collect();
        table("Accepted as not affected", &["Namespace", "Secret", "Key", "Reason"], &rows)
    }
}
