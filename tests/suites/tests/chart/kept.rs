//! What is said of the chart elsewhere: its version, its CRDs, the flags it gives, the files it carries.

use std::fs;
use std::process::Command;

use serde_json::Value;
use touchseal_rig::scratch::Scratch;
use touchseal_suites::binaries;
use touchseal_suites::chart::{RELEASE, folder, helm, objects, render, template, words};
use touchseal_suites::world::repository;

use crate::files;

fn yaml(file: &str) -> Value {
    serde_norway::from_str(&fs::read_to_string(repository().join(file)).unwrap()).unwrap()
}

#[test]
fn its_version_is_that_of_the_programs() {
    let chart = yaml("charts/touchseal/Chart.yaml");
    assert_eq!(chart["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
}

/// The files in the chart are compared with the types by crdgen; here, that they arrive unchanged.
#[test]
fn its_definitions_are_those_of_the_types_and_survive_an_uninstall() {
    let kind = |object: &Value| object["kind"] == "CustomResourceDefinition";
    let kept: Vec<Value> = render("touchseal-system", &[]).into_iter().filter(kind).collect();
    let loose: Vec<Value> =
        render("touchseal-system", &["crds.keep=false"]).into_iter().filter(kind).collect();
    let generated = touchseal_crds::all();
    assert_eq!((kept.len(), loose.len()), (generated.len(), generated.len()));
    assert!(!render("touchseal-system", &["crds.install=false"]).iter().any(kind));
    for (file, _) in &generated {
        let plain = yaml(&format!("crds/{file}"));
        for (rendered, policy) in [(&kept, Some("keep")), (&loose, None)] {
            let mut rendered = rendered
                .iter()
                .find(|object| object["metadata"]["name"] == plain["metadata"]["name"])
                .unwrap()
                .clone();
            assert_eq!(rendered["metadata"]["annotations"]["helm.sh/resource-policy"].as_str(), policy);
            assert_eq!(rendered["metadata"]["labels"]["app.kubernetes.io/component"], "crds");
            rendered["metadata"].as_object_mut().unwrap().retain(|field, _| field == "name");
            assert!(rendered == plain, "{file} does not arrive as it is");
        }
    }
    let listed = yaml("charts/touchseal/Chart.yaml")["annotations"]["artifacthub.io/crds"].clone();
    let listed: Vec<Value> = serde_norway::from_str(listed.as_str().unwrap()).unwrap();
    let names = |of: &[Value], pointer: &str| {
        let mut names: Vec<String> =
            of.iter().map(|one| one.pointer(pointer).unwrap().as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&listed, "/name"), names(&kept, "/metadata/name"));
}

/// Whoever reads values.yaml has seen all that can be set, but for what is said there in a comment.
#[test]
fn every_value_that_is_allowed_stands_in_the_values() {
    const ELSEWHERE: [&str; 2] = ["/global", "/podDisruptionBudget/minAvailable"];
    let schema = fs::read_to_string(folder().join("values.schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let values = yaml("charts/touchseal/values.yaml");
    let mut missing = Vec::new();
    let mut todo = vec![(String::new(), schema["properties"].clone())];
    while let Some((at, properties)) = todo.pop() {
        for (name, property) in properties.as_object().unwrap() {
            let path = format!("{at}/{name}");
            if values.pointer(&path).is_none() && !ELSEWHERE.contains(&path.as_str()) {
                missing.push(path);
            } else if property["properties"].is_object() {
                todo.push((path, property["properties"].clone()));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:?}");
}

/// What is shipped is a package: nothing that the chart needs is left out of it.
#[test]
fn packed_it_renders_the_same() {
    let place = Scratch::new("chart-package").unwrap();
    let chart = folder();
    let into = place.path().to_str().unwrap();
    let said = helm(&["package", chart.to_str().unwrap(), "--destination", into]);
    assert!(said.status.success(), "{}", words(&said));
    let package = place.path().join(format!("touchseal-{}.tgz", env!("CARGO_PKG_VERSION")));
    let values = repository().join("tests/chart/values/everything.yaml");
    let rest = ["-n", "touchseal-system", "-f", values.to_str().unwrap()];
    let packed = helm(&[&["template", RELEASE, package.to_str().unwrap()], &rest[..]].concat());
    assert!(packed.status.success(), "{}", words(&packed));
    assert!(String::from_utf8_lossy(&packed.stdout) == template(&rest), "the package renders something else");
}

/// What a release packs names the image that the release built; the workflow hands on where that is.
#[test]
fn a_released_chart_names_the_image_of_its_release() {
    let place = Scratch::new("chart-released").unwrap();
    let chart = place.path().join("touchseal");
    let copied = Command::new("cp").arg("-r").arg(folder()).arg(&chart).status().unwrap();
    assert!(copied.success());
    let (repository_, digest) =
        ("ghcr.io/somebody/touchseal/touchseal-operator", format!("sha256:{}", "a1".repeat(32)));
    let pin = |digest: &str| {
        let mut command = Command::new(repository().join("charts/pin-image.sh"));
        command.arg(&chart).args([repository_, digest]).status().unwrap().success()
    };
    assert!(!pin("") && !pin("latest"), "nothing else than a digest");
    assert!(pin(&digest));
    let values = repository().join("tests/chart/values/everything.yaml");
    let plain = helm(&["template", RELEASE, chart.to_str().unwrap()]);
    let image = format!("image: {repository_}@{digest}\n");
    assert_eq!(String::from_utf8_lossy(&plain.stdout).matches(&image).count(), 1, "{}", words(&plain));
    // Whoever names another one gets that one, and the node's image is not the operator's.
    let theirs = helm(&["template", RELEASE, chart.to_str().unwrap(), "-f", values.to_str().unwrap()]);
    let theirs = String::from_utf8_lossy(&theirs.stdout).into_owned();
    assert!(theirs.contains("image: touchseal:") && !theirs.contains(&image), "{theirs}");

    let workflow = fs::read_to_string(repository().join(".github/workflows/release.yaml")).unwrap();
    let workflow: Value = serde_norway::from_str(&workflow).unwrap();
    let jobs = &workflow["jobs"];
    assert_eq!(jobs["index"]["outputs"]["digest"], "${{ steps.index.outputs.digest }}");
    let script = |job: &str| -> String {
        let steps = jobs[job]["steps"].as_array().unwrap().iter();
        steps.filter_map(|step| step["run"].as_str()).collect::<Vec<_>>().join("\n")
    };
    assert!(script("index").contains("\"digest=$(cat digest)\" >>\"$GITHUB_OUTPUT\""));
    let steps = script("chart");
    let pin = "charts/pin-image.sh charts/touchseal \"$IMAGE\" \"${{ needs.index.outputs.digest }}\"\n";
    let (pinned, packed) = (steps.find(pin).unwrap(), steps.find("helm package").unwrap());
    assert!(pinned < packed && jobs["chart"]["needs"] == "index");
}

fn arguments(objects: &[Value], deployment: &str) -> Vec<String> {
    let found = objects
        .iter()
        .find(|object| object["kind"] == "Deployment" && object["metadata"]["name"] == deployment)
        .unwrap_or_else(|| panic!("no Deployment {deployment}"));
    let container = &found["spec"]["template"]["spec"]["containers"][0];
    ["command", "args"]
        .iter()
        .flat_map(|field| container[*field].as_array().into_iter().flatten())
        .map(|argument| argument.as_str().unwrap().to_owned())
        .collect()
}

/// Flags that no value of the chart is for.
const NOT_OF_THE_CHART: [&str; 4] = ["--operator-namespace", "--kubeconfig", "--help", "--version"];

/// The programs themselves read them: a flag that is misspelt or no longer exists ends here, and a new one is missed.
#[test]
fn the_programs_take_every_flag_and_the_chart_has_a_value_for_each() {
    let mut given: Vec<String> = Vec::new();
    for (name, path) in files("values") {
        let all = objects(&template(&["-n", "touchseal-system", "-f", path.to_str().unwrap()]));
        let operator =
            arguments(&all, if name == "external" { "keys-operator" } else { "touchseal-operator" });
        accepted(binaries::operator(), &operator);
        given.extend(operator);
        if name == "everything" {
            let node = arguments(&all, "touchseal-node-key");
            accepted(binaries::touchseal(), &node[1..]);
        }
    }
    let help = Command::new(binaries::operator()).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let flags: Vec<&str> = help
        .split_whitespace()
        .filter(|word| word.starts_with("--"))
        .map(|word| word.split(|c: char| !(c == '-' || c.is_ascii_alphanumeric())).next().unwrap())
        .collect();
    assert!(flags.len() > 10, "{help}");
    for flag in flags {
        let of_the_chart = given.iter().any(|argument| argument.split('=').next() == Some(flag));
        assert!(of_the_chart || NOT_OF_THE_CHART.contains(&flag), "no value of the chart sets {flag}");
    }
}

/// Whether a program understands its arguments: asked for help last, it reads all that come before.
fn accepted(program: std::path::PathBuf, arguments: &[String]) {
    let said = Command::new(program).args(arguments).arg("--help").output().unwrap();
    assert!(said.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&said.stderr));
}

/// Alerts and dashboard are carried as they are, but for the place of the runbooks.
#[test]
fn alerts_and_dashboard_arrive_as_they_were_written() {
    let settings = [
        "prometheusRule.enabled=true",
        "prometheusRule.runbookUrl=https://example.com/runbooks",
        "grafanaDashboard.enabled=true",
    ];
    let all = render("touchseal-system", &settings);
    let of = |kind: &str, name: &str| {
        all.iter()
            .find(|object| object["kind"] == kind && object["metadata"]["name"] == name)
            .unwrap()
            .clone()
    };
    let alerts = fs::read_to_string(folder().join("files/alerts.yaml")).unwrap();
    let alerts: Value =
        serde_norway::from_str(&alerts.replace("docs/runbooks.md", "https://example.com/runbooks")).unwrap();
    assert!(!alerts["groups"].as_array().unwrap().is_empty());
    assert_eq!(of("PrometheusRule", "touchseal-operator")["spec"], alerts);
    let dashboard = fs::read_to_string(folder().join("files/dashboard.json")).unwrap();
    let carried = of("ConfigMap", "touchseal-dashboard")["data"]["touchseal.json"].clone();
    let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    assert_eq!(read(carried.as_str().unwrap()), read(&dashboard));
}
