//! Metrics: they follow the objects and end with them, promtool and a real Prometheus read them, every query of alerts and
//! dashboard comes to something on them, and beyond loopback only who may reads them. And the lines of a reconcile.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use touchseal_rig::poll::eventually;
use touchseal_rig::tools::Tool;
use touchseal_suites::monitoring::{Prometheus, documented, expressions, selectors};
use touchseal_suites::pods::{env, spec};
use touchseal_suites::{Apps, DEADLINE, Operator, SoftHolder, binaries};

use crate::incident::touchseal;

/// Value of one series of a page.
fn series(page: &str, name: &str) -> Option<f64> {
    page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

fn wait_for(operator: &Operator, name: &str, value: f64) {
    eventually(DEADLINE, &format!("{name} {value}"), || {
        let page = operator.metrics();
        if series(&page, name) == Some(value) { Ok(()) } else { Err(page) }
    })
    .unwrap();
}

/// A series of the test's namespace.
fn of(apps: &Apps, metric: &str, more: &str) -> String {
    format!("touchseal_{metric}{{exported_namespace=\"{}\"{more}}}", apps.apps)
}

fn wait_until_gone(operator: &Operator, word: &str) {
    eventually(DEADLINE, &format!("nothing of {word}"), || {
        let page = operator.metrics();
        let left: Vec<_> = page.lines().filter(|line| line.contains(word)).collect();
        if left.is_empty() && page.contains("touchseal_leads 1\n") { Ok(()) } else { Err(left.join("\n")) }
    })
    .unwrap();
}

/// A world that has something of everything: values overdue and not, a drain, objects that fail, wait and are served, a
/// sealed keyring besides the open one, an incident.
fn busy(apps: &Apps) {
    let (other, closed) = SoftHolder::generate("bob", 2).create_keyring();
    apps.apply_keyring("other", &other);
    let recipient = closed.recipient_spec(&apps.apps).unwrap().recipient;
    let document = apps.sops.encrypt("app.yaml", "password: first\n", &recipient);
    apps.apply_secret("waiting", json!({ "documents": [{ "sops": document }] }));
    apps.wait_for("waiting", "False", "Sealed");
    apps.serve_yaml("app", "password: first\nuser: app\n");
    apps.run_pod("web", &spec(&env("app", "password")));
    apps.wait_for_consumers("app", 1, 0);
    let now = Timestamp::now().to_string();
    touchseal(apps, &["incident", "open", "leak", "--exposed-at", &now, "--description", "x"]).ok();
    apps.next_second();
    let document = apps.encrypt("app.yaml", "password: second\nuser: app\n");
    let spec = json!({ "documents": [{ "sops": document }], "rotation": { "maxAge": "1s" } });
    apps.apply_secret("app", spec);
    apps.wait_for_consumers("app", 0, 1);
    let missing = json!({ "documents": [{ "configMapKeyRef": { "name": "none", "key": "a.yaml" } }] });
    apps.apply_secret("broken", missing);
    apps.wait_for("broken", "False", "SourceNotFound");
    let document = apps.encrypt("app.yaml", "password: first\n");
    let labels = json!({ "a": "not a label!" });
    apps.apply_secret(
        "refused",
        json!({ "documents": [{ "sops": document }], "target": { "labels": labels } }),
    );
    apps.wait_for("refused", "False", "ApiError");
}

#[test]
fn series_follow_their_objects_and_every_query_comes_to_something() {
    let apps = Apps::new("metrics");
    busy(&apps);
    let operator = &apps.operator;
    for (metric, labels, value) in [
        ("encrypted_secrets", ",state=\"Materialised\"", 1.0),
        ("encrypted_secrets", ",state=\"SourceNotFound\"", 1.0),
        ("encrypted_secrets", ",state=\"ApiError\"", 1.0),
        ("encrypted_secrets", ",state=\"Sealed\"", 1.0),
        ("consumer_pods", ",state=\"stale\"", 1.0),
        ("consumer_pods", ",state=\"current\"", 0.0),
        ("encrypted_secrets_draining", "", 1.0),
        ("secret_values_overdue", "", 2.0),
    ] {
        wait_for(operator, &of(&apps, metric, labels), value);
    }
    let needed = "touchseal_keyring_encrypted_secrets{keyring=\"prod\",key_generation=\"1\",generation_state=\"Active\"}";
    wait_for(operator, needed, 1.0);
    wait_for(operator, "touchseal_encrypted_secrets_unclear", 3.0);
    wait_for(operator, "touchseal_keyring_unsealed{keyring=\"other\"}", 0.0);
    wait_for(operator, "touchseal_keyring_holders{keyring=\"prod\"}", 1.0);
    wait_for(operator, "touchseal_incident_keys{incident=\"leak\",state=\"draining\"}", 1.0);

    // Times are those of the status.
    let object = apps.encrypted_secret("app");
    let second = |text: &Value| text.as_str().unwrap().parse::<Timestamp>().unwrap().as_second() as f64;
    let keys = object["status"]["keys"].as_array().unwrap();
    let least = |field: &str| keys.iter().map(|key| second(&key[field])).fold(f64::MAX, f64::min);
    let page = operator.metrics();
    let told = |metric: &str| series(&page, &of(&apps, metric, "")).unwrap();
    assert_eq!(told("oldest_value_timestamp_seconds"), least("since"));
    assert_eq!(told("next_rotation_due_timestamp_seconds"), least("due"));
    let draining = touchseal_suites::world::condition(&object, "Draining");
    assert_eq!(told("oldest_drain_timestamp_seconds"), second(&draining["lastTransitionTime"]));

    read_by_promtool_and_prometheus(&apps);

    // And everything goes with what it was about.
    touchseal(&apps, &["incident", "close", "leak", "--force"]).ok();
    wait_until_gone(operator, "incident=\"leak\"");
    apps.end_pod("web");
    wait_for(operator, &of(&apps, "consumer_pods", ",state=\"stale\""), 0.0);
    eventually(DEADLINE, "no drain", || {
        let page = operator.metrics();
        series(&page, &of(&apps, "oldest_drain_timestamp_seconds", "")).is_none()
    })
    .unwrap();
    apps.kubectl(&["delete", "encryptedsecret", "broken"]);
    wait_until_gone(operator, "state=\"SourceNotFound\"");
    apps.kubectl(&["delete", "encryptedsecret", "app", "waiting", "refused"]);
    wait_until_gone(operator, &format!("exported_namespace=\"{}\"", apps.apps));
    wait_for(operator, needed, 0.0);
    apps.cluster.kubectl_stdout(&["delete", "keyring", "other"]).unwrap();
    wait_until_gone(operator, "keyring=\"other\"");
    wait_for(operator, "touchseal_reconcile_queue_length", 0.0);
    wait_for(operator, "touchseal_reconciles_running", 0.0);
}

/// What legitimately comes to nothing here, by the metric's selector, and why.
const NOTHING: [(&str, &str); 3] = [
    ("touchseal_encrypted_secrets{state=\"Pending\"}", "the operator has looked at everything"),
    ("touchseal_api_requests_total{code=~\"5..|429|none\"}", "the API server answers"),
    ("touchseal_keyring_seals_timestamp_seconds{namespace=~\".*\", keyring=~\".*\"}", "no sealAfter"),
];

fn read_by_promtool_and_prometheus(apps: &Apps) {
    let folder = apps.cluster.dir();
    let page = apps.operator.metrics();
    let body = page.split_once("\r\n\r\n").unwrap().1;
    let mut promtool = Tool::Promtool.command().unwrap();
    let child = promtool
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = child.spawn().unwrap();
    child.stdin.take().unwrap().write_all(body.as_bytes()).unwrap();
    let said = child.wait_with_output().unwrap();
    let words = String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned();
    assert!(said.status.success() && words.is_empty(), "{words}\n{body}");

    // The page has what is documented and nothing else, but for what does not happen here.
    let names: BTreeSet<String> = body
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split(['{', ' ']).next().unwrap().to_owned())
        .collect();
    let documented = documented();
    let unknown: Vec<_> = names.difference(&documented).collect();
    assert!(unknown.is_empty(), "not in docs/metrics.md: {unknown:?}");
    let absent: Vec<_> = documented
        .difference(&names)
        .filter(|name| !NOTHING.iter().any(|(selector, _)| selector.starts_with(name.as_str())))
        .collect();
    assert!(absent.is_empty(), "documented, but not on the page: {absent:?}");

    let prometheus = Prometheus::start(folder, apps.operator.metrics_port(), &json!({}));
    eventually(DEADLINE, "some scrapes", || {
        let scrapes = prometheus.query("count_over_time(touchseal_build_info[1m])");
        scrapes.first().is_some_and(|one| one["value"][1].as_str().unwrap().parse::<u32>().unwrap() >= 4)
    })
    .unwrap();
    let mut empty = BTreeSet::new();
    for (who, query) in expressions() {
        let found = prometheus.query(&query);
        // An alert comes to something when there is something wrong; a panel has something to show.
        if who.starts_with("panel ") && found.is_empty() {
            let why =
                selectors(&query).into_iter().any(|one| NOTHING.iter().any(|(known, _)| one.text == *known));
            assert!(why || query.ends_with("> 0"), "{who} shows nothing: {query}");
        }
        empty.extend(selectors(&query).into_iter().filter(|one| prometheus.query(&one.text).is_empty()));
    }
    for (selector, why) in NOTHING {
        assert!(prometheus.query(selector).is_empty(), "{selector} is not empty although {why}");
    }
    let unexplained: Vec<_> =
        empty.iter().filter(|one| !NOTHING.iter().any(|(known, _)| one.text == *known)).collect();
    assert!(unexplained.is_empty(), "{unexplained:?}");
}

#[test]
fn sealed_or_not_it_answers_and_says_which() {
    let mut apps = Apps::new("metrics-sealed");
    let unsealed = "touchseal_keyring_unsealed{keyring=\"prod\"}";
    wait_for(&apps.operator, unsealed, 1.0);
    apps.serve_yaml("app", "password: first\n");
    apps.restart_operator();
    wait_for(&apps.operator, unsealed, 0.0);
    for probe in ["/healthz", "/readyz"] {
        assert!(apps.operator.probe(probe).starts_with("HTTP/1.1 200 "), "{probe} while sealed");
    }
    apps.apply_yaml("late", "password: second\n");
    wait_for(&apps.operator, &of(&apps, "encrypted_secrets", ",state=\"Sealed\""), 1.0);
    wait_for(&apps.operator, &of(&apps, "encrypted_secrets", ",state=\"Materialised\""), 1.0);
    let accepted = "touchseal_audit_total{keyring=\"prod\",action=\"release\",outcome=\"accepted\"}";
    assert_eq!(series(&apps.operator.metrics(), accepted), Some(0.0), "a rate has a beginning");
    apps.unseal_again();
    wait_for(&apps.operator, unsealed, 1.0);
    wait_for(&apps.operator, accepted, 1.0);
    wait_for(&apps.operator, &of(&apps, "encrypted_secrets", ",state=\"Materialised\""), 2.0);
    let page = apps.operator.metrics();
    assert!(series(&page, "touchseal_keyring_released_timestamp_seconds{keyring=\"prod\"}").is_some());

    // A replica that does not lead tells of itself only.
    let second = apps.world.operator();
    wait_for(&second, unsealed, 1.0);
    let page = second.metrics();
    assert_eq!(series(&page, "touchseal_leads"), Some(0.0));
    assert!(!page.contains("exported_namespace=") && page.contains("touchseal_build_info{"), "{page}");

    apps.seal("prod", "enough");
    for replica in [&apps.operator, &second] {
        wait_for(replica, unsealed, 0.0);
        assert!(!replica.metrics().contains("touchseal_keyring_released_timestamp_seconds{"));
    }
    // The leader goes; what it said of objects is said by the other now.
    apps.operator.process.kill();
    wait_for(&second, &of(&apps, "encrypted_secrets", ",state=\"Materialised\""), 2.0);
}

/// A ServiceAccount that may read the metrics: what it shows.
pub fn scraper(apps: &Apps) -> String {
    apps.kubectl(&["create", "serviceaccount", "scraper"]);
    let subject = format!("--serviceaccount={}:scraper", apps.apps);
    let role = format!("--clusterrole=touchseal-metrics-reader.{}", apps.system);
    apps.cluster.kubectl_stdout(&["create", "clusterrolebinding", "scraper", &role, &subject]).unwrap();
    bearer(apps, "scraper", None)
}

fn bearer(apps: &Apps, account: &str, audience: Option<&str>) -> String {
    format!("Bearer {}", apps.cluster.token(&apps.apps, account, None, audience).unwrap())
}

/// One request over TLS, as Python makes it: status and body.
pub fn get(operator: &Operator, authorization: Option<&str>) -> (u16, String) {
    const ASK: &str = "
import ssl, sys, urllib.error, urllib.request
context = ssl._create_unverified_context()
request = urllib.request.Request(sys.argv[1], headers={'Authorization': sys.argv[2]} if sys.argv[2:] else {})
try:
    answer = urllib.request.urlopen(request, context=context, timeout=20)
except urllib.error.HTTPError as error:
    answer = error
print(answer.status)
print(answer.read().decode())
";
    let url = format!("https://127.0.0.1:{}/metrics", operator.metrics_port());
    let output = Command::new("python3").args(["-c", ASK, &url]).args(authorization).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    let (status, body) = said.split_once('\n').unwrap();
    (status.parse().unwrap(), body.to_owned())
}

#[test]
fn who_may_get_the_path_reads_the_metrics_and_nobody_else() {
    let apps = Apps::with("metrics-auth", &["--metrics-auth=kubernetes"]);
    apps.upgrade(&["metrics.enabled=true"]);
    apps.kubectl(&["create", "serviceaccount", "nosy"]);
    let scraper = scraper(&apps);
    apps.serve_yaml("app", "password: first\n");
    // The API server needs a moment to know new rights; an answer of before holds ten seconds.
    let page = eventually(DEADLINE, "the scraper to be let in", || {
        let (status, body) = get(&apps.operator, Some(&scraper));
        if status == 200 { Ok(body) } else { Err(status.to_string()) }
    })
    .unwrap();
    assert!(page.contains("touchseal_leads 1\n") && page.contains("features=\"leader-elect,metrics-auth\""));
    assert_eq!(get(&apps.operator, None).0, 401);
    assert_eq!(get(&apps.operator, Some("Bearer nonsense")).0, 401);
    assert_eq!(get(&apps.operator, Some(&bearer(&apps, "nosy", None))).0, 403);
    let elsewhere = bearer(&apps, "scraper", Some("somebody-else"));
    assert_eq!(get(&apps.operator, Some(&elsewhere)).0, 401, "a token for somebody else is none for us");

    // A known token is not asked about again and again, and strangers cannot make the operator ask without end.
    let asked = apps.requests_about("subjectaccessreviews");
    for _ in 0..5 {
        assert_eq!(get(&apps.operator, Some(&scraper)).0, 200);
    }
    assert_eq!(apps.requests_about("subjectaccessreviews"), asked);
    let before = apps.requests_about("tokenreviews");
    let began = std::time::Instant::now();
    let answers: Vec<u16> = std::thread::scope(|scope| {
        let operator = &apps.operator;
        let one = |number: usize| move || get(operator, Some(&format!("Bearer stranger-{number}"))).0;
        let all: Vec<_> = (0..40).map(|number| scope.spawn(one(number))).collect();
        all.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let more = apps.requests_about("tokenreviews") - before;
    let allowed = 11 + began.elapsed().as_secs() as usize;
    assert!(more <= allowed && more < 40, "{more} reviews, {allowed} allowed");
    assert!(
        answers.contains(&429) && answers.iter().all(|status| matches!(status, 401 | 429)),
        "{answers:?}"
    );
    assert_eq!(get(&apps.operator, Some(&scraper)).0, 200);

    // A real Prometheus comes in, and no line of the log, which holds all there is to say, has the token.
    let token = scraper.strip_prefix("Bearer ").unwrap();
    let more = json!({
        "scheme": "https", "tls_config": { "insecure_skip_verify": true }, "authorization": { "credentials": token },
    });
    let prometheus = Prometheus::start(apps.cluster.dir(), apps.operator.metrics_port(), &more);
    eventually(DEADLINE, "a scrape", || !prometheus.query("up == 1").is_empty()).unwrap();
    let log = apps.operator.process.log();
    assert!(log.contains("reconcile_id") && !log.contains(token) && !log.contains("stranger-"));
}

#[test]
fn without_a_word_who_may_read_it_does_not_start_beyond_loopback() {
    let output = Command::new(binaries::operator())
        .args(["--metrics-bind-address=0.0.0.0:0", "--health-probe-bind-address=127.0.0.1:0"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("--metrics-auth kubernetes"), "{said}");
}

#[test]
fn a_line_of_a_reconcile_names_object_generation_and_reconcile() {
    let apps = Apps::new("log-lines");
    apps.serve_yaml("app", "password: first\n");
    apps.serve_yaml("app", "password: second\n");
    apps.wait_for_generation("app", 2);
    let log = apps.operator.process.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let decided: Vec<Value> = lines.filter(|line| line["fields"]["message"] == "decided").collect();
    let span = |line: &Value, field: &str| line["span"][field].clone();
    assert!(decided.iter().all(|line| span(line, "object") == format!("{}/app", apps.apps)));
    let of = |generation: i64| decided.iter().find(|line| span(line, "generation") == generation).unwrap();
    let (first, second) = (of(1), of(2));
    let id = |line: &Value| line["span"]["reconcile_id"].as_str().unwrap().to_owned();
    assert!(id(first).len() == 16 && id(first) != id(second), "{first} {second}");
    assert_eq!(second["fields"]["outcome"], "Materialised");
}

/// How much of the machine's memory a process has, in KiB.
fn resident(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// A kubelet that is not answered kills the operator, and its keys with it: nobody may be able to see to that.
#[test]
fn a_crowd_at_the_probes_neither_starves_the_kubelet_nor_fills_the_memory() {
    let apps = Apps::new("probes");
    let process = apps.operator.process.pid();
    let before = resident(process);
    let mut crowd = Vec::new();
    for number in 0..4_000 {
        let mut stream = apps.operator.connect_to_probes();
        // Some say nothing, some begin to speak.
        if number % 2 == 0 {
            // It may be gone already.
            let _ = stream.write_all(b"GET /healthz HTTP/1.1\r\nX: ");
        }
        crowd.push(stream);
        if number % 500 == 499 {
            let began = std::time::Instant::now();
            assert!(apps.operator.probe("/healthz").starts_with("HTTP/1.1 200 "), "after {number}");
            assert!(began.elapsed().as_secs() < 1, "after {number} it took {:?}", began.elapsed());
        }
    }
    let files = std::fs::read_dir(format!("/proc/{process}/fd")).unwrap().count();
    assert!(files < 400, "{files} files are open");
    // Of those that were pushed out the allocator keeps the pages for a second. All 4,000 at a time come to 75 MiB.
    let more = || resident(process).saturating_sub(before);
    assert!(more() < 48 * 1024, "{} KiB more", more());
    eventually(DEADLINE, "the crowd's memory to be given back", || {
        if more() < 12 * 1024 { Ok(()) } else { Err(format!("{} KiB more", more())) }
    })
    .unwrap();
    // The operator works on meanwhile.
    apps.serve_yaml("app", "password: first\n");
    drop(crowd);
}
