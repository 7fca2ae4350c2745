//! Words for what the client and the watches report, for logs, statuses and errors.
//!
//! The errors' own texts quote bodies of requests and answers, and those can be Secrets: nothing of a body is repeated
//! here, and of an API server's refusal only what cannot hold a value where the object is a Secret.

use kube::core::Status;
use kube::runtime::watcher;

/// Longest sentence taken over from the API server, in characters.
const MAX_SENTENCE: usize = 512;
/// Most field names taken over from a refusal.
const MAX_FIELDS: usize = 4;

/// What went wrong with a request that carries no Secret, in the API server's own words where it answered.
pub fn of(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => {
            format!("{} ({})", status.message.chars().take(MAX_SENTENCE).collect::<String>(), status.code)
        }
        other => of_secret(other),
    }
}

/// What went wrong with a request or answer that carries a Secret: the API server's reason and the names of the fields
/// it complains of, never its message.
pub fn of_secret(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => refusal(status),
        kube::Error::Service(_) | kube::Error::HyperError(_) | kube::Error::ReadEvents(_) => {
            "the API server does not answer".to_owned()
        }
        kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) => {
            "the API server's answer could not be read".to_owned()
        }
        kube::Error::Auth(_) => "the operator's credentials cannot be read".to_owned(),
        _ => "the request failed".to_owned(),
    }
}

/// What went wrong with a watch.
pub fn of_watch(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => of_secret(error),
        watcher::Error::WatchError(status) => refusal(status),
        watcher::Error::NoResourceVersion => "the API server gave no resourceVersion".to_owned(),
    }
}

/// Whether a watch failed for want of a right.
pub fn is_denied(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status)) => status.code == 403,
        watcher::Error::WatchError(status) => status.code == 403,
        _ => false,
    }
}

fn refusal(status: &Status) -> String {
    let causes = status.details.iter().flat_map(|d| &d.causes);
    let fields: Vec<String> = causes
        .map(|cause| cause.field.chars().filter(in_a_path).take(128).collect())
        .filter(|field: &String| !field.is_empty())
        .take(MAX_FIELDS)
        .collect();
    let reason: String = status.reason.chars().filter(char::is_ascii_alphanumeric).take(64).collect();
    let about = if fields.is_empty() { String::new() } else { format!(": {}", fields.join(", ")) };
    format!("the API server refused it ({} {reason}{about})", status.code)
}

fn in_a_path(c: &char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '[' | ']' | '-' | '_' | '/')
}

#[cfg(test)]
mod tests {
    use kube::core::response::{StatusCause, StatusDetails};

    use super::*;

    fn refused() -> kube::Error {
        let cause = StatusCause {
            reason: "FieldValueInvalid".to_owned(),
            message: "Invalid value: \"hunter2\"".to_owned(),
            field: "data[tls.crt]".to_owned(),
        };
        let details = StatusDetails {
            name: "app".to_owned(),
            group: String::new(),
            kind: "Secret".to_owned(),
            uid: String::new(),
            causes: vec![cause],
            retry_after_seconds: 0,
        };
        let message = "Secret \"app\" is invalid: data[tls.crt]: Invalid value: \"hunter2\"";
        kube::Error::Api(Status::failure(message, "Invalid").with_code(422).with_details(details).boxed())
    }

    #[test]
    fn a_refused_secret_is_told_by_reason_and_field_alone() {
        assert_eq!(of_secret(&refused()), "the API server refused it (422 Invalid: data[tls.crt])");
    }

    #[test]
    fn a_watch_never_repeats_a_message() {
        let errors = [
            watcher::Error::InitialListFailed(refused()),
            watcher::Error::WatchStartFailed(refused()),
            watcher::Error::WatchFailed(refused()),
            watcher::Error::WatchError(Status::failure("quoted hunter2", "Expired").with_code(410).boxed()),
        ];
        for error in errors {
            let words = of_watch(&error);
            assert!(!words.contains("hunter2") && words.contains("the API server refused it"), "{words}");
        }
    }

    #[test]
    fn an_answer_that_cannot_be_read_is_not_quoted() {
        let error = serde_json::from_str::<Vec<u8>>("\"hunter2\"").unwrap_err();
        assert!(error.to_string().contains("hunter2"), "serde quotes values: {error}");
        assert_eq!(of(&kube::Error::SerdeError(error)), "the API server's answer could not be read");
    }

    #[test]
    fn where_no_secret_is_involved_the_api_server_speaks_for_itself() {
        let status =
            Status::failure("configmaps is forbidden: User \"x\" cannot create", "Forbidden").with_code(403);
        assert_eq!(
            of(&kube::Error::Api(status.boxed())),
            "configmaps is forbidden: User \"x\" cannot create (403)"
        );
    }
}
