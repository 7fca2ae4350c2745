//! Requests to the API server, by what was asked about what. Every word comes from a fixed list, whatever the path or the
//! answer holds.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use http::{Method, StatusCode, Uri};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

const BUCKETS: [f64; 10] = [0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

/// What the operator has to do with; anything else is `other`.
const RESOURCES: [&str; 27] = [
    "configmaps",
    "cronjobs",
    "daemonsets",
    "deployments",
    "encryptedsecrets",
    "encryptedsecrets/status",
    "enrolments",
    "enrolments/status",
    "events",
    "incidents",
    "incidents/status",
    "jobs",
    "keyrings",
    "keyrings/status",
    "leases",
    "namespaces",
    "pods",
    "recipients",
    "replicasets",
    "secrets",
    "selfsubjectreviews",
    "serviceaccounts/token",
    "statefulsets",
    "subjectaccessreviews",
    "tokenreviews",
    "unsealrequests",
    "unsealrequests/status",
];

const CODES: [(u16, &str); 17] = [
    (200, "200"),
    (201, "201"),
    (202, "202"),
    (204, "204"),
    (400, "400"),
    (401, "401"),
    (403, "403"),
    (404, "404"),
    (405, "405"),
    (409, "409"),
    (410, "410"),
    (422, "422"),
    (429, "429"),
    (500, "500"),
    (502, "502"),
    (503, "503"),
    (504, "504"),
];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Label {
    verb: &'static str,
    resource: &'static str,
    code: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct VerbLabel {
    verb: &'static str,
}

/// Shared; cheap to clone.
#[derive(Clone)]
pub struct Calls {
    requests: Family<Label, Counter<u64, AtomicU64>>,
    durations: Family<VerbLabel, Histogram, fn() -> Histogram>,
}

impl Default for Calls {
    fn default() -> Calls {
        let histogram: fn() -> Histogram = || Histogram::new(BUCKETS);
        Calls { requests: Family::default(), durations: Family::new_with_constructor(histogram) }
    }
}

impl Calls {
    /// Names them.
    pub fn register(&self, registry: &mut Registry) {
        let requests = "Requests to the API server; code is none where no answer came";
        registry.register("api_requests", requests, self.requests.clone());
        let durations = "Time until an answer of the API server begins";
        registry.register_with_unit("api_request_duration", durations, Unit::Seconds, self.durations.clone());
    }

    /// One more, with its answer if one came.
    pub fn made(&self, asked: Asked, code: Option<StatusCode>, took: Duration) {
        let Asked { verb, resource } = asked;
        self.requests.get_or_create(&Label { verb, resource, code: word(code) }).inc();
        self.durations.get_or_create(&VerbLabel { verb }).observe(took.as_secs_f64());
    }
}

/// What a request asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    verb: &'static str,
    resource: &'static str,
}

impl Asked {
    /// As the API server would call it.
    pub fn of(method: &Method, uri: &Uri) -> Asked {
        let path = Path::of(uri.path());
        let watches = uri
            .query()
            .is_some_and(|query| query.split('&').any(|one| matches!(one, "watch=1" | "watch=true")));
        let verb = match (method.as_str(), path.named) {
            ("GET", false) if watches => "watch",
            ("GET", true) => "get",
            ("GET", false) => "list",
            ("POST", _) => "create",
            ("PUT", _) => "update",
            ("PATCH", _) => "patch",
            ("DELETE", true) => "delete",
            ("DELETE", false) => "deletecollection",
            _ => "other",
        };
        Asked { verb, resource: path.resource }
    }
}

struct Path {
    resource: &'static str,
    named: bool,
}

impl Path {
    /// `/api/v1/...` and `/apis/GROUP/VERSION/...`, within a namespace or not, with a subresource or without.
    fn of(path: &str) -> Path {
        let mut parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let prefix = match parts.first() {
            Some(&"api") => 2,
            Some(&"apis") => 3,
            _ => return Path { resource: "other", named: true },
        };
        parts.drain(..prefix.min(parts.len()));
        if parts.len() > 2 && parts.first() == Some(&"namespaces") {
            parts.drain(..2);
        }
        let wanted = match parts[..] {
            [resource] | [resource, _] => resource.to_owned(),
            [resource, _, sub] => format!("{resource}/{sub}"),
            _ => String::new(),
        };
        let resource = RESOURCES.iter().find(|known| **known == wanted).copied().unwrap_or("other");
        Path { resource, named: parts.len() > 1 }
    }
}

fn word(code: Option<StatusCode>) -> &'static str {
    let Some(code) = code else { return "none" };
    CODES.iter().find(|(known, _)| *known == code.as_u16()).map_or("other", |(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: &str, path: &str) -> (&'static str, &'static str) {
        let asked = Asked::of(&method.parse().unwrap(), &path.parse().unwrap());
        (asked.verb, asked.resource)
    }

    #[test]
    fn requests_are_called_as_the_api_server_calls_them() {
        for (method, path, verb, resource) in [
            ("GET", "/api/v1/secrets?labelSelector=a%3Db&watch=true", "watch", "secrets"),
            ("GET", "/api/v1/secrets?limit=500", "list", "secrets"),
            ("GET", "/api/v1/namespaces/shop/secrets/app", "get", "secrets"),
            ("GET", "/api/v1/namespaces", "list", "namespaces"),
            ("GET", "/api/v1/namespaces/shop", "get", "namespaces"),
            ("PATCH", "/api/v1/namespaces/shop/secrets/app?force=true", "patch", "secrets"),
            (
                "PATCH",
                "/apis/touchseal.dev/v1alpha1/namespaces/shop/encryptedsecrets/app/status?",
                "patch",
                "encryptedsecrets/status",
            ),
            ("PATCH", "/apis/touchseal.dev/v1alpha1/keyrings/prod/status", "patch", "keyrings/status"),
            ("POST", "/api/v1/namespaces/sys/serviceaccounts/op/token", "create", "serviceaccounts/token"),
            ("POST", "/apis/authentication.k8s.io/v1/tokenreviews", "create", "tokenreviews"),
            (
                "DELETE",
                "/apis/touchseal.dev/v1alpha1/namespaces/sys/unsealrequests/a",
                "delete",
                "unsealrequests",
            ),
            ("PUT", "/apis/coordination.k8s.io/v1/namespaces/sys/leases/a", "update", "leases"),
        ] {
            assert_eq!(asked(method, path), (verb, resource), "{method} {path}");
        }
    }

    #[test]
    fn nothing_of_a_path_or_an_answer_becomes_a_word() {
        for path in
            ["/", "/api", "/apis/a", "/version", "/api/v1/namespaces/shop/hunter2", "/api/v1/a/b/c/d/e"]
        {
            assert_eq!(asked("GET", path).1, "other", "{path}");
        }
        assert_eq!(asked("BREW", "/api/v1/pods").0, "other");
        assert_eq!(word(StatusCode::from_u16(299).ok()), "other");
        assert_eq!(word(Some(StatusCode::CONFLICT)), "409");
        assert_eq!(word(None), "none");
        assert!(RESOURCES.is_sorted());
    }
}
