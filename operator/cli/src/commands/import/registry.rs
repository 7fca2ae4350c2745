//! The docker configuration: credentials of registries, for pulling images. Its commonest fault is that they are not in it, but in
//! the store of the desktop it was copied from.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::error::ImportError;

/// Key and type of the Secret that nodes pull with.
pub const CURRENT: (&str, &str) = (".dockerconfigjson", "kubernetes.io/dockerconfigjson");
/// Those of the form before it.
pub const LEGACY: (&str, &str) = (".dockercfg", "kubernetes.io/dockercfg");

/// Whether a file is one.
pub fn is_one(name: &str, bytes: &[u8]) -> bool {
    name == LEGACY.0 || name == CURRENT.0 || object(bytes).is_some_and(|object| object.contains_key("auths"))
}

/// Checks that credentials are in it; which key and type it has.
pub fn check(from: &str, name: &str, bytes: &[u8]) -> Result<(&'static str, &'static str), ImportError> {
    let problem = |problem: String, elsewhere: bool| ImportError::Registry {
        from: from.to_owned(),
        problem,
        elsewhere,
    };
    let object = object(bytes).ok_or_else(|| problem("it is not a JSON object".to_owned(), false))?;
    let form = if name == LEGACY.0 && !object.contains_key("auths") { LEGACY } else { CURRENT };
    let registries = match object.get("auths") {
        Some(Value::Object(auths)) => auths,
        None if form == LEGACY => &object,
        _ => return Err(problem("it has no auths".to_owned(), false)),
    };
    let stored = object.contains_key("credsStore") || object.contains_key("credHelpers");
    let of_registry = |(registry, entry): (&String, &Value)| match credentials(entry) {
        Ok(true) => Ok(()),
        Ok(false) if stored => Err(problem(
            format!(
                "the credentials of {registry} are not in it, but in the store of the machine it comes from"
            ),
            true,
        )),
        Ok(false) => Err(problem(format!("it has no credentials of {registry}"), true)),
        Err(()) => Err(problem(format!("auth of {registry} is not base64 of USER:PASSWORD"), false)),
    };
    if registries.is_empty() {
        return Err(problem("it has credentials of no registry".to_owned(), true));
    }
    registries.iter().try_for_each(of_registry)?;
    Ok(form)
}

fn object(bytes: &[u8]) -> Option<Map<String, Value>> {
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(object)) => Some(object),
        _ => None,
    }
}

/// Whether an entry holds any; an error for what no node could use.
fn credentials(entry: &Value) -> Result<bool, ()> {
    let text = |field: &str| entry.get(field).and_then(Value::as_str).filter(|text| !text.is_empty());
    if let Some(auth) = text("auth") {
        let bytes = STANDARD.decode(auth.trim()).map_err(drop)?;
        return if bytes.contains(&b':') { Ok(true) } else { Err(()) };
    }
    Ok(text("identitytoken").is_some()
        || text("registrytoken").is_some()
        || (text("username").is_some() && text("password").is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(name: &str, text: &str) -> Result<&'static str, String> {
        check("x", name, text.as_bytes()).map(|(key, _)| key).map_err(|error| error.to_string())
    }

    #[test]
    fn credentials_must_be_in_it() {
        let good = [
            ("config.json", r#"{"auths":{"r.example":{"auth":"dTpw"}},"credHelpers":{"x":"y"}}"#),
            ("config.json", r#"{"auths":{"r.example":{"username":"u","password":"p"}}}"#),
            (".dockerconfigjson", r#"{"auths":{"r.example":{"auth":"PHRva2VuPjo=","identitytoken":"t"}}}"#),
        ];
        for (name, text) in good {
            assert_eq!(said(name, text), Ok(".dockerconfigjson"), "{text}");
        }
        assert_eq!(said(".dockercfg", r#"{"r.example":{"auth":"dTpw"}}"#), Ok(".dockercfg"));
        for (text, words) in [
            (r#"{"auths":{"r.example":{}},"credsStore":"desktop"}"#, "in the store of the machine"),
            (r#"{"auths":{"r.example":{}}}"#, "no credentials of r.example"),
            (r#"{"auths":{}}"#, "of no registry"),
            (r#"{"auths":[]}"#, "no auths"),
            (r#"{"auths":{"r.example":{"auth":"hunter2!"}}}"#, "auth of r.example is not base64"),
            (r#"{"auths":{"r.example":{"auth":"aHVudGVyMg=="}}}"#, "auth of r.example is not base64"),
            ("{", "not a JSON object"),
        ] {
            let error = said("config.json", text).unwrap_err();
            assert!(error.contains(words) && !error.contains("hunter2"), "{text}: {error}");
        }
    }
}
