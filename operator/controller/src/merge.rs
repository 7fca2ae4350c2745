//! A JSON merge patch (RFC 7396) that leaves exactly the new status: fields it lacks are removed.

use serde::Serialize;
use serde_json::Value;

/// The new status, with null for every field that only the old one has.
///
/// # Errors
/// A status that is no JSON.
pub fn status(before: &impl Serialize, after: &impl Serialize) -> Result<Value, serde_json::Error> {
    let mut fields = serde_json::to_value(after)?;
    if let (Value::Object(new), Value::Object(old)) = (&mut fields, serde_json::to_value(before)?) {
        for (field, _) in old {
            new.entry(field).or_insert(Value::Null);
        }
    }
    Ok(fields)
}
