//! What can go wrong with the API server, told apart as far as a person can act on it.

use std::time::Duration;

use kube::config::KubeconfigError;

use crate::error::{Exit, Explain, chain, one_line};

/// An operation on the cluster that failed.
#[derive(Debug, thiserror::Error)]
#[error("{operation}: {}", .problem.text())]
pub struct ClusterError {
    operation: String,
    problem: Problem,
}

/// Why.
#[derive(Debug)]
pub enum Problem {
    /// The kubeconfig.
    Config(KubeconfigError),
    /// This computer.
    Local(std::io::Error),
    /// The API server said no, or did not answer.
    Api(kube::Error),
    /// It did not answer in time.
    TimedOut(Duration),
}

impl ClusterError {
    /// An error of `operation`, which reads "get keyring main".
    pub fn new(operation: &str, problem: Problem) -> Self {
        Self { operation: operation.to_owned(), problem }
    }

    /// What was asked for does not exist.
    pub fn is_not_found(&self) -> bool {
        self.code() == Some(404)
    }

    /// The person lacks the right.
    pub fn is_forbidden(&self) -> bool {
        self.code() == Some(403)
    }

    /// The object changed in between, or is another one by now.
    pub fn is_conflict(&self) -> bool {
        self.code() == Some(409)
    }

    /// Nobody answered, or not in a way that says anything: it may work again in a moment.
    pub fn is_transient(&self) -> bool {
        match &self.problem {
            Problem::Api(kube::Error::Api(status)) => matches!(status.code, 429 | 500..=599),
            Problem::Api(kube::Error::HyperError(_) | kube::Error::Service(_)) | Problem::TimedOut(_) => true,
            _ => false,
        }
    }

    fn code(&self) -> Option<u16> {
        match &self.problem {
            Problem::Api(kube::Error::Api(status)) => Some(status.code),
            _ => None,
        }
    }
}

impl Problem {
    fn text(&self) -> String {
        let text = match self {
            Self::Config(KubeconfigError::ReadConfig(error, path)) => {
                format!("read kubeconfig {}: {error}", path.display())
            }
            Self::Config(error) => chain(error),
            Self::Local(error) => error.to_string(),
            Self::Api(kube::Error::Api(status)) if status.message.is_empty() => {
                format!("status {}", status.code)
            }
            Self::Api(kube::Error::Api(status)) => status.message.clone(),
            Self::Api(kube::Error::Service(error)) => {
                format!("the API server cannot be reached: {}", chain(error.as_ref()))
            }
            Self::Api(kube::Error::HyperError(error)) => {
                format!("the API server went away: {}", chain(error))
            }
            Self::Api(error) => chain(error),
            Self::TimedOut(after) => {
                format!("the API server gave no answer within {} s", after.as_secs_f32())
            }
        };
        one_line(&text)
    }
}

impl Explain for ClusterError {
    fn hint(&self) -> String {
        const REACH: &str = "see whether the cluster can be reached: kubectl cluster-info, and --context";
        match &self.problem {
            Problem::Config(_) => "check --kubeconfig, --context and KUBECONFIG: kubectl config get-contexts".to_owned(),
            Problem::Local(_) => "this computer is short of something; try again".to_owned(),
            Problem::TimedOut(_) => format!("{REACH}; or allow more time with --request-timeout"),
            Problem::Api(kube::Error::Api(status)) => match status.code {
                401 => "log in to the cluster again, and try kubectl auth whoami".to_owned(),
                403 => forbidden(status.details.as_ref().map(|details| details.kind.as_str()).unwrap_or_default()),
                404 => "see whether Touchseal is installed on this cluster: touchseal doctor, and --context".to_owned(),
                409 => "it changed in between: run the command again".to_owned(),
                _ => "the API server refuses or fails: look at its message, then try again".to_owned(),
            },
            Problem::Api(kube::Error::SerdeError(_)) => {
                "the cluster has another version of Touchseal's kinds than this program: install the matching one".to_owned()
            }
            Problem::Api(kube::Error::Auth(_)) => {
                "the kubeconfig's way to log in failed: see whether kubectl auth whoami works".to_owned()
            }
            Problem::Api(_) => REACH.to_owned(),
        }
    }

    fn exit(&self) -> Exit {
        match self.problem {
            Problem::TimedOut(_) => Exit::TimedOut,
            _ => Exit::Failed,
        }
    }
}

/// Which right is missing, by the plural name of what was asked for.
fn forbidden(resource: &str) -> String {
    match resource {
        "encryptedsecrets" | "recipients" => {
            "name a namespace you may look into with -n, or ask a cluster administrator for the role touchseal-viewer"
        }
        "enrolments" => "ask a cluster administrator for the role touchseal-emergency-enroller",
        "incidents" => "ask a cluster administrator for the role touchseal-incident-manager",
        "keyrings" | "unsealrequests" | "tokenreviews" => {
            "ask a cluster administrator for the roles touchseal-unsealer; `touchseal doctor` lists what unsealing and sealing need"
        }
        _ => "ask a cluster administrator for that right",
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(code: u16, message: &str) -> ClusterError {
        let status =
            kube::core::Status { code, message: message.to_owned(), ..kube::core::Status::default() };
        ClusterError::new("get keyring main", Problem::Api(kube::Error::Api(Box::new(status))))
    }

    #[test]
    fn the_servers_own_words_are_kept_on_one_line() {
        let error = api(403, "keyrings is forbidden:\nUser \"x\"");
        assert_eq!(error.to_string(), "get keyring main: keyrings is forbidden: User \"x\"");
        assert!(error.hint().contains("administrator"));
        assert!(!error.is_transient());
    }

    #[test]
    fn a_missing_right_names_the_role_that_has_it() {
        let hint = |kind: &str| {
            let status = serde_json::json!({ "code": 403, "message": "no", "details": { "kind": kind } });
            let status: kube::core::Status = serde_json::from_value(status).unwrap();
            ClusterError::new("x", Problem::Api(kube::Error::Api(Box::new(status)))).hint()
        };
        for (kind, wanted) in [
            ("encryptedsecrets", "-n, or ask a cluster administrator for the role touchseal-viewer"),
            ("incidents", "touchseal-incident-manager"),
            ("keyrings", "roles touchseal-unsealer; `touchseal doctor`"),
            ("pods", "for that right"),
        ] {
            assert!(hint(kind).contains(wanted), "{kind}: {}", hint(kind));
            assert_eq!(
                hint(kind).contains("doctor"),
                kind == "keyrings",
                "doctor looks at unsealing and sealing only"
            );
        }
    }

    #[test]
    fn what_may_pass_is_told_from_what_will_not() {
        assert!(api(503, "").is_transient());
        assert!(!api(404, "").is_transient() && api(404, "").is_not_found());
        assert!(api(409, "").is_conflict());
        let late = ClusterError::new("x", Problem::TimedOut(Duration::from_secs(3)));
        assert!(late.is_transient());
        assert_eq!(
            (late.to_string().as_str(), late.exit()),
            ("x: the API server gave no answer within 3 s", Exit::TimedOut)
        );
    }
}
