//! Alerts, dashboard and documented metrics as the repository has them, and a real Prometheus that scrapes an operator.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;

use serde_json::{Value, json};
use touchseal_rig::poll::eventually;
use touchseal_rig::ports::Port;
use touchseal_rig::process::{self, Process};
use touchseal_rig::tools::Tool;

use crate::DEADLINE;
use crate::world::repository;

/// The alerts, as written.
pub fn alerts() -> Vec<Value> {
    let text = fs::read_to_string(repository().join("charts/touchseal/files/alerts.yaml")).unwrap();
    let file: Value = serde_norway::from_str(&text).unwrap();
    let groups = file["groups"].as_array().unwrap().iter();
    groups.flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

fn dashboard() -> Value {
    let text = fs::read_to_string(repository().join("charts/touchseal/files/dashboard.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The dashboard's panels.
pub fn panels() -> Vec<Value> {
    dashboard()["panels"].as_array().unwrap().clone()
}

/// Every expression of alerts and dashboard, as Prometheus is given it, with the name of what asks.
pub fn expressions() -> Vec<(String, String)> {
    let alerts = alerts().into_iter().map(|alert| {
        (format!("alert {}", alert["alert"].as_str().unwrap()), alert["expr"].as_str().unwrap().to_owned())
    });
    let panels = panels().into_iter().flat_map(|panel| {
        let title = panel["title"].as_str().unwrap().to_owned();
        let targets = panel["targets"].as_array().cloned().unwrap_or_default();
        targets.into_iter().map(move |target| {
            let query = target["expr"].as_str().unwrap().to_owned();
            (format!("panel {title} {}", target["refId"].as_str().unwrap()), query)
        })
    });
    let mut all: Vec<_> = alerts.chain(panels).collect();
    let variables = dashboard()["templating"]["list"].as_array().unwrap().clone();
    for (_, query) in &mut all {
        *query = query.replace("$__rate_interval", "1m");
        for variable in &variables {
            *query = query.replace(&format!("\"${}\"", variable["name"].as_str().unwrap()), "\".*\"");
        }
        assert!(!query.contains('$'), "{query} has a variable the dashboard does not have");
    }
    all
}

/// A metric in an expression with what is asked of its labels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Selector {
    /// Its name.
    pub metric: String,
    /// The selector as it is written, braces included.
    pub text: String,
}

/// The selectors of an expression.
pub fn selectors(query: &str) -> Vec<Selector> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut found = Vec::new();
    let mut rest = query;
    while let Some(at) = ["touchseal_", "process_"].iter().filter_map(|prefix| rest.find(prefix)).min() {
        let begin = &rest[at..];
        let name = begin.find(|c| !is_name(c)).unwrap_or(begin.len());
        let end = match begin[name..].strip_prefix('{') {
            Some(labels) => name + labels.find('}').unwrap() + 2,
            None => name,
        };
        found.push(Selector { metric: begin[..name].to_owned(), text: begin[..end].to_owned() });
        rest = &begin[end..];
    }
    found
}

/// The metrics that docs/metrics.md lists; of a histogram, its series.
pub fn documented() -> BTreeSet<String> {
    let page = fs::read_to_string(repository().join("docs/metrics.md")).unwrap();
    let rows =
        page.lines().filter(|line| line.starts_with("| `touchseal_") || line.starts_with("| `process_"));
    let mut all = BTreeSet::new();
    for row in rows {
        let names = row.trim_matches('|').split('|').next().unwrap().split(',');
        for name in names.map(|name| name.trim().trim_matches('`').to_owned()) {
            if row.contains("histogram") {
                all.extend(["_bucket", "_sum", "_count"].map(|part| format!("{name}{part}")));
            } else {
                all.insert(name);
            }
        }
    }
    all
}

/// A Prometheus on a loopback port that scrapes every second.
pub struct Prometheus {
    process: Process,
    port: Port,
}

impl Prometheus {
    /// Scrapes this target as the job `touchseal`; `more` is added to its configuration.
    pub fn start(folder: &Path, target: u16, more: &Value) -> Prometheus {
        let port = Port::claim().unwrap();
        let mut job = json!({
            "job_name": "touchseal", "scrape_interval": "1s", "scrape_timeout": "1s",
            "static_configs": [{ "targets": [format!("127.0.0.1:{target}")] }],
        });
        job.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let home = folder.join(format!("prometheus-{}", port.number()));
        fs::create_dir_all(&home).unwrap();
        // JSON is YAML.
        let config = home.join("prometheus.json");
        fs::write(&config, json!({ "scrape_configs": [job] }).to_string()).unwrap();
        let mut command = process::command(Tool::Prometheus.path().unwrap());
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", home.join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{}", port.number()));
        let process = process::spawn("prometheus", command, &home.join("log")).unwrap();
        let prometheus = Prometheus { process, port };
        eventually(DEADLINE, "prometheus", || prometheus.try_query("1").ok()).unwrap();
        prometheus
    }

    /// What a query comes to now: labels and value of each series, or Prometheus's complaint.
    pub fn try_query(&self, query: &str) -> Result<Vec<Value>, String> {
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        // HTTP/1.0, so that a long answer does not come in chunks.
        let request = format!("GET /api/v1/query?query={encoded} HTTP/1.0\r\nHost: localhost\r\n\r\n");
        let mut answer = String::new();
        TcpStream::connect(("127.0.0.1", self.port.number()))
            .and_then(|mut stream| {
                stream.write_all(request.as_bytes())?;
                stream.read_to_string(&mut answer)
            })
            .map_err(|error| error.to_string())?;
        let body = answer.split_once("\r\n\r\n").ok_or("no body")?.1;
        let told: Value = serde_json::from_str(body).map_err(|error| format!("{error}: {body}"))?;
        match told["status"].as_str() {
            Some("success") => Ok(match told["data"]["resultType"].as_str() {
                Some("vector") => told["data"]["result"].as_array().unwrap().clone(),
                _ => vec![told["data"]["result"].clone()],
            }),
            _ => Err(told["error"].to_string()),
        }
    }

    /// The same; it must be a query Prometheus understands.
    pub fn query(&self, query: &str) -> Vec<Value> {
        self.try_query(query)
            .unwrap_or_else(|problem| panic!("{query}: {problem}\n{}", self.process.tail(20)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_found_with_their_labels() {
        let found =
            selectors("sum(rate(touchseal_a_total{b=\"c\"}[5m])) / process_d and on (job) touchseal_e");
        let texts: Vec<&str> = found.iter().map(|selector| &*selector.text).collect();
        assert_eq!(texts, ["touchseal_a_total{b=\"c\"}", "process_d", "touchseal_e"]);
        assert_eq!(found[0].metric, "touchseal_a_total");
        assert!(selectors("vector(1)").is_empty());
    }
}
