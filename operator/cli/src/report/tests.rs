//! Reports over a made-up cluster, read as text and as a real browser makes of them.

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use touchseal_crds::{EncryptedSecret, Incident};
use touchseal_rig::browser::Browser;

use super::*;

const NOW: &str = "2026-06-01T12:00:00Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn condition(type_: &str, status: &str, reason: &str) -> Value {
    json!({ "type": type_, "status": status, "reason": reason, "message": "m",
        "lastTransitionTime": "2026-05-01T00:00:00Z" })
}

/// One EncryptedSecret: generations as (since, drained), newest first, keys as (name, since, due).
fn object(
    name: (&str, &str),
    class: &str,
    generations: &[(&str, Option<&str>)],
    keys: &[(&str, &str, Option<&str>)],
    stale: i32,
) -> EncryptedSecret {
    let count = generations.len();
    let first = generations.last().map(|(since, _)| since);
    let generations: Vec<Value> = generations
        .iter()
        .enumerate()
        .map(|(place, (since, drained))| {
            let mut one = json!({ "number": count - place, "since": since, "changedCount": 1 });
            if let Some(drained) = drained {
                one["drained"] = json!(drained);
            }
            one
        })
        .collect();
    let keys: Vec<Value> = keys
        .iter()
        .map(|(name, since, due)| {
            // What came with the first generation replaced nothing.
            let replaced = Some(since) != first;
            json!({ "name": name, "since": since, "replaced": replaced, "due": due })
        })
        .collect();
    let mut conditions = vec![condition("Ready", "True", "Materialised")];
    if stale > 0 {
        conditions.push(condition("Draining", "True", "StaleConsumers"));
    }
    serde_json::from_value(json!({
        "apiVersion": "touchseal.dev/v1alpha1", "kind": "EncryptedSecret",
        "metadata": { "name": name.1, "namespace": name.0, "generation": 1 },
        "spec": { "documents": [], "rotation": { "class": class } },
        "status": {
            "observedGeneration": 1, "secretGeneration": count, "conditions": conditions, "keys": keys,
            "generations": generations, "consumers": { "known": true, "current": 2, "stale": stale },
        },
    }))
    .unwrap()
}

fn objects() -> Vec<EncryptedSecret> {
    vec![
        object(
            ("shop", "payment"),
            "dualKey",
            &[
                ("2026-05-29T09:00:00Z", None),
                ("2026-05-27T08:00:00Z", Some("2026-05-29T20:00:00Z")),
                ("2025-11-02T10:00:00Z", Some("2026-05-28T18:00:00Z")),
            ],
            &[
                ("api-key", "2026-05-27T08:00:00Z", Some("2026-08-25T08:00:00Z")),
                ("webhook-secret", "2026-05-29T09:00:00Z", Some("2026-08-27T09:00:00Z")),
            ],
            0,
        ),
        object(
            ("shop", "database"),
            "switchOver",
            &[("2026-05-30T16:00:00Z", None), ("2026-01-12T10:00:00Z", None)],
            &[
                ("password", "2026-05-30T16:00:00Z", Some("2026-08-28T16:00:00Z")),
                ("username", "2026-05-30T16:00:00Z", None),
            ],
            3,
        ),
        object(
            ("shop", "mail"),
            "inPlaceReset",
            &[("2025-09-01T00:00:00Z", None)],
            &[("smtp-password", "2025-09-01T00:00:00Z", Some("2026-03-01T00:00:00Z"))],
            0,
        ),
        object(
            ("billing", "erp"),
            "deployBeforeRevoke",
            &[("2026-05-28T07:30:00Z", None), ("2026-02-20T00:00:00Z", Some("2026-05-30T02:00:00Z"))],
            &[
                ("tls.crt", "2026-05-28T07:30:00Z", None),
                ("tls.key", "2026-02-20T00:00:00Z", Some("2026-06-10T00:00:00Z")),
            ],
            0,
        ),
        object(
            ("billing", "new"),
            "dualKey",
            &[("2026-05-29T00:00:00Z", None)],
            &[("token", "2026-05-29T00:00:00Z", None)],
            0,
        ),
    ]
}

fn leak() -> Incident {
    let entry = |namespace: &str, name: &str, key: &str, state: &str, since: &str| json!({ "namespace": namespace, "name": name, "key": key, "state": state, "since": since });
    serde_json::from_value(json!({
        "apiVersion": "touchseal.dev/v1alpha1", "kind": "Incident",
        "metadata": { "name": "ci-leak", "generation": 1, "creationTimestamp": "2026-05-26T20:10:00Z" },
        "spec": {
            "exposedAt": "2026-05-26T13:30:00Z",
            "description": "The CI service lost its tokens; whoever has them could read the private repositories.",
            "accepted": [{ "namespace": "test", "name": "sandbox", "reason": "throw-away accounts of the test system" }],
        },
        "status": {
            "observedGeneration": 1,
            "conditions": [{ "type": "Closed", "status": "False", "reason": "Exposed",
                "message": "4 exposed, 2 draining, 3 safe, 1 accepted as not affected; first: old/legacy:token",
                "lastTransitionTime": "2026-05-26T20:10:00Z" }],
            "totals": { "exposed": 4, "draining": 2, "safe": 3, "accepted": 1 },
            "remaining": [
                entry("old", "legacy", "token", "Removed", "2025-01-01T00:00:00Z"),
                entry("billing", "erp", "tls.key", "Exposed", "2026-02-20T00:00:00Z"),
                entry("billing", "new", "token", "Exposed", "2026-05-29T00:00:00Z"),
                entry("shop", "mail", "smtp-password", "Exposed", "2025-09-01T00:00:00Z"),
                entry("shop", "database", "password", "Draining", "2026-05-30T16:00:00Z"),
                entry("shop", "database", "username", "Draining", "2026-05-30T16:00:00Z"),
            ],
        },
    }))
    .unwrap()
}

fn incident_page(incident: &Incident, objects: &[EncryptedSecret]) -> String {
    super::incident(incident, objects, now())
}

/// Without its policy, so that a script of the test may run in it; every other would run, too.
fn open(page: &str) -> String {
    let start = page.find("<meta http-equiv").expect("the page has no policy");
    let end = start + page[start..].find(">\n").unwrap() + 2;
    format!("{}{}", &page[..start], &page[end..])
}

#[test]
fn a_page_needs_nothing_but_itself() {
    for page in [incident_page(&leak(), &objects()), rotation(&objects(), None, now())] {
        assert!(page.contains("default-src 'none'"));
        for foreign in ["http:", "https:", "src=", "href=", "@import", "<script", "<link", "<img", "<iframe"]
        {
            assert!(!page.contains(foreign), "{foreign}");
        }
        // The only url() are its own patterns.
        assert_eq!(page.matches("url(").count(), page.matches("url(#").count());
    }
}

/// What an attacker who can name things would write into every text there is.
const EVIL: &str = "\"'><script>document.title='pwned'</script><img src=x onerror=\"document.title='pwned'\"></title></style><svg onload=x>\u{202e}\u{1b}[31m";

fn evil() -> (Incident, Vec<EncryptedSecret>) {
    let mut incident = leak();
    incident.metadata.name = Some(EVIL.to_owned());
    incident.spec.description = Some(EVIL.to_owned());
    incident.spec.accepted[0].reason = EVIL.to_owned();
    incident.spec.accepted[0].name = EVIL.to_owned();
    let mut objects = objects();
    objects[0].metadata.name = Some(EVIL.to_owned());
    if let Some(status) = incident.status.as_mut() {
        status.conditions[0].message = EVIL.to_owned();
        for entry in &mut status.remaining {
            entry.key = EVIL.to_owned();
        }
        status.remaining[1].namespace = EVIL.to_owned();
    }
    for object in &mut objects {
        object.metadata.namespace = Some(EVIL.to_owned());
        let status = object.status.as_mut().unwrap();
        status.keys[0].name = EVIL.to_owned();
        status.conditions[0].reason = EVIL.to_owned();
    }
    // Not ready: its reason is shown.
    objects[1].status.as_mut().unwrap().conditions[0].status = "False".to_owned();
    (incident, objects)
}

#[test]
fn markup_in_names_and_words_stays_text_in_a_real_browser() {
    let browser = Browser::new().unwrap();
    let (incident, objects) = evil();
    for page in [incident_page(&incident, &objects), rotation(&objects, Some(EVIL), now())] {
        assert!(page.matches("&lt;script&gt;").count() > 5, "the names are not in the page");
        let facts = browser
            .evaluate(
                &open(&page),
                "({ title: document.title.startsWith('pwned'), images: document.images.length, \
                   scripts: document.scripts.length, handlers: document.querySelectorAll('[onerror],[onload]').length, \
                   text: document.body.textContent.includes('<script>document.title'), \
                   odd: /[\\u202e\\u001b]/.test(document.documentElement.outerHTML) })",
                1100,
            )
            .unwrap();
        let wanted =
            json!({ "title": false, "images": 0, "scripts": 1, "handlers": 0, "text": true, "odd": false });
        assert_eq!(facts, wanted);
    }
}

/// Layout as a browser measures it: what overlaps, what is cut off, what asks for the network.
const MEASURE: &str = "(() => {
  const box = e => e.getBoundingClientRect();
  const svg = document.querySelector('svg.timeline');
  const view = svg.viewBox.baseVal;
  const texts = [...svg.querySelectorAll('text')].map(t => ({ t: t.firstChild.textContent, b: t.getBBox() }));
  const out = texts.filter(x => x.b.x < -1 || x.b.x + x.b.width > view.width + 1 || x.b.y < -1 || x.b.y + x.b.height > view.height + 1);
  const over = [];
  texts.forEach((a, i) => texts.slice(i + 1).forEach(c => {
    if (a.b.x < c.b.x + c.b.width && c.b.x < a.b.x + a.b.width && a.b.y + 2 < c.b.y + c.b.height && c.b.y + 2 < a.b.y + a.b.height)
      over.push(a.t + ' / ' + c.t);
  }));
  return {
    wide: document.documentElement.scrollWidth > innerWidth,
    out: out.map(x => x.t), over,
    tiles: [...document.querySelectorAll('.tile b')].map(b => b.textContent),
    headings: [...document.querySelectorAll('h2')].map(h => h.textContent),
    rows: [...document.querySelectorAll('tbody')].map(t => t.rows.length),
    lanes: svg.querySelectorAll('g').length,
    exposure: svg.querySelectorAll('line.exposure').length,
    bars: svg.querySelectorAll('g rect').length,
    titled: [...svg.querySelectorAll('g rect')].every(r => r.querySelector('title')),
    drawn: box(svg).height > 100 && box(svg).width > 300,
    fetched: performance.getEntriesByType('resource').length,
    red: getComputedStyle(document.querySelector('.tile')).borderTopColor,
  };
})()";

#[test]
fn a_real_browser_shows_the_incident_as_it_is_meant() {
    let browser = Browser::new().unwrap();
    let page = incident_page(&leak(), &objects());
    for width in [1100, 600] {
        let facts = browser.evaluate(&open(&page), MEASURE, width).unwrap();
        assert_eq!(facts["tiles"], json!(["4", "2", "3", "1"]));
        assert_eq!(
            facts["headings"],
            json!([
                "What happened when",
                "What remains",
                "Replaced since, and left by every pod",
                "Accepted as not affected",
                "What the words mean"
            ])
        );
        assert_eq!(facts["rows"], json!([6, 3, 1]));
        assert_eq!((&facts["lanes"], &facts["exposure"]), (&json!(6), &json!(1)));
        assert!(facts["bars"].as_i64().unwrap() >= 12 && facts["titled"] == true, "{facts}");
        let nothing_wrong = json!({ "wide": false, "out": [], "over": [], "drawn": true, "fetched": 0 });
        for (fact, wanted) in nothing_wrong.as_object().unwrap() {
            assert_eq!(&facts[fact], wanted, "{fact} at {width}: {facts}");
        }
        assert_eq!(facts["red"], "rgb(179, 54, 43)");
    }
    let picture = std::fs::read(browser.picture(&page, "incident", 1160, 1500).unwrap()).unwrap();
    assert!(picture.len() > 50_000, "the picture is as good as empty: {} bytes", picture.len());
}

#[test]
fn a_real_browser_shows_the_rotations_as_they_are_meant() {
    let browser = Browser::new().unwrap();
    let page = rotation(&objects(), None, now());
    for width in [1100, 600] {
        let facts = browser.evaluate(&open(&page), MEASURE, width).unwrap();
        assert_eq!(facts["tiles"], json!(["1", "1", "2", "3", "0", "3"]));
        assert_eq!(facts["headings"], json!(["What to do", "Generations over time", "Every key"]));
        assert_eq!(facts["rows"], json!([7, 8]));
        let nothing_wrong =
            json!({ "lanes": 5, "wide": false, "out": [], "over": [], "drawn": true, "fetched": 0 });
        for (fact, wanted) in nothing_wrong.as_object().unwrap() {
            assert_eq!(&facts[fact], wanted, "{fact} at {width}: {facts}");
        }
    }
    let picture = std::fs::read(browser.picture(&page, "rotation", 1160, 1500).unwrap()).unwrap();
    assert!(picture.len() > 50_000, "the picture is as good as empty: {} bytes", picture.len());
}

#[test]
fn soon_after_the_exposure_no_word_hides_another() {
    let browser = Browser::new().unwrap();
    for ago in [0, 60, 200, 600] {
        let mut incident = leak();
        incident.spec.exposed_at.0 = now() - k8s_openapi::jiff::SignedDuration::from_secs(ago);
        let facts = browser.evaluate(&open(&incident_page(&incident, &objects())), MEASURE, 1100).unwrap();
        assert_eq!((&facts["over"], &facts["out"]), (&json!([]), &json!([])), "{ago} s: {facts}");
    }
    for span in [60, 200, 700, 4000] {
        let from = now() - k8s_openapi::jiff::SignedDuration::from_secs(span);
        let lanes = vec![timeline::Lane::default()];
        let svg = timeline::Timeline { from, to: now(), now: now(), exposure: None, lanes }.svg();
        let marks: Vec<&str> = svg.split("y=\"34\" text-anchor=\"middle\">").skip(1).collect();
        let marks: Vec<&str> = marks.iter().map(|mark| mark.split('<').next().unwrap()).collect();
        let different: std::collections::BTreeSet<&str> = marks.iter().copied().collect();
        assert!(!marks.is_empty() && different.len() == marks.len(), "{span} s: {marks:?}");
    }
}

#[test]
fn a_cluster_with_nothing_in_it_has_a_page_too() {
    let empty = rotation(&[], None, now());
    assert!(empty.contains("0 secrets with 0 keys") && empty.contains("Nothing: no key is due"));
    let mut incident = leak();
    incident.status = None;
    incident.spec.accepted.clear();
    let page = incident_page(&incident, &[]);
    assert!(page.contains("not looked at yet") && page.contains("not judged it yet"), "{page}");
    assert!(!page.contains("class=\"timeline\""), "{page}");
}

#[test]
fn what_is_not_told_is_not_called_safe() {
    const CLEAN: &str = ", new content:";
    const LEFT: &str = "left by every pod";
    let whole = incident_page(&leak(), &objects());
    assert!(whole.contains(CLEAN) && whole.contains(LEFT) && whole.contains("nothing remains"));

    // Not judged since its spec changed, or never.
    let mut unseen = leak();
    unseen.metadata.generation = Some(2);
    let mut never = leak();
    never.status = None;
    // More is draining, or exposed, than is listed.
    let mut cut = leak();
    cut.status.as_mut().unwrap().totals.as_mut().unwrap().draining += 1;
    let mut cut_more = leak();
    cut_more.status.as_mut().unwrap().totals.as_mut().unwrap().exposed += 100;
    for (incident, clean, more) in [
        (unseen, false, None),
        (never, false, None),
        (cut, true, Some("1 more remain")),
        (cut_more, false, Some("100 more remain")),
    ] {
        let page = incident_page(&incident, &objects());
        assert!(!page.contains(LEFT) && !page.contains("nothing remains"), "{more:?}");
        assert_eq!(page.contains(CLEAN), clean, "{more:?}");
        assert!(more.is_none_or(|more| page.contains(more)), "{more:?}");
    }
}

#[test]
fn of_keys_it_is_not_about_an_incident_says_nothing() {
    let mut incident = leak();
    let status = incident.status.as_mut().unwrap();
    status.remaining.clear();
    status.totals = Some(
        serde_json::from_value(json!({ "exposed": 0, "draining": 0, "safe": 1, "accepted": 0 })).unwrap(),
    );
    incident.spec.selector = Some(serde_json::from_value(json!({ "keys": ["api-key"] })).unwrap());
    let page = incident_page(&incident, &objects());
    let left = page.split("left by every pod").nth(1).unwrap();
    // Pods hold an older value of the password.
    // Of a dualKey credential.
    assert!(left.contains("<td>delete the first key at the service if that is not done</td>"), "{left}");
    assert!(left.contains("<td>api-key</td>") && !left.contains("<td>password</td>"), "{left}");
}

#[test]
fn a_closed_incident_ends_when_it_was_closed() {
    let mut incident = leak();
    let status = incident.status.as_mut().unwrap();
    status.remaining.clear();
    status.closed_at =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time("2026-05-31T13:30:00Z".parse().unwrap()));
    "AllSafe".clone_into(&mut status.conditions[0].reason);
    let page = incident_page(&incident, &objects());
    assert!(
        page.contains("closed: nothing exposed is in use") && page.contains("5d after the exposure"),
        "{page}"
    );
}

#[test]
fn closed_by_hand_is_no_sign_that_nothing_remains() {
    let mut incident = leak();
    let status = incident.status.as_mut().unwrap();
    status.closed_at =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time("2026-05-31T13:30:00Z".parse().unwrap()));
    "ClosedByHand".clone_into(&mut status.conditions[0].reason);
    assert!(incident_page(&incident, &objects()).contains("closed by hand: something remained"));
    // It never matched anything.
    incident.status.as_mut().unwrap().remaining.clear();
    let page = incident_page(&incident, &objects());
    assert!(page.contains("badge amber\">closed by hand<") && !page.contains("closed: nothing"), "{page}");
}

#[test]
fn a_report_goes_where_it_is_asked_to() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("report.html");
    write(&place, "one").unwrap();
    write(&place, "two").unwrap();
    assert_eq!(std::fs::read_to_string(&place).unwrap(), "two");
    assert!(write(&folder.path().join("no/report.html"), "three").is_err());
}
