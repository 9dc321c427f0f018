//! Checks the fields of a request's JSON body as WeChat Pay's pages describe them; written apart from the client's own
//! checks, so that each shows the other's mistakes.

use serde_json::Value;

use super::answer::Refusal;

/// The text `field`, required, of at most `max` characters.
pub(super) fn text<'a>(body: &'a Value, field: &str, max: usize) -> Result<&'a str, Refusal> {
    let value = body.get(field).unwrap_or(&Value::Null);
    let refuse = |issue: &str| Refusal::param_error(field, value, issue);
    match value {
        Value::Null => Err(refuse("is required")),
        Value::String(text) if text.is_empty() => Err(refuse("is empty")),
        Value::String(text) if text.chars().count() > max => Err(refuse("is too long")),
        Value::String(text) if text.chars().any(|c| c > '\u{FFFF}') => {
            Err(refuse("has a character of four UTF-8 bytes"))
        }
        Value::String(text) => Ok(text),
        _ => Err(refuse("is not a string")),
    }
}

/// The positive whole number `field`, required.
pub(super) fn number(body: &Value, field: &str) -> Result<u64, Refusal> {
    let value = body.get(field).unwrap_or(&Value::Null);
    value.as_u64().ok_or_else(|| {
        let issue = if value.is_null() {
            "is required"
        } else {
            "is not a whole number"
        };
        Refusal::param_error(field, value, issue)
    })
}

/// `out_contract_code`: up to 32 ASCII digits and letters.
pub(super) fn out_contract_code(body: &Value) -> Result<&str, Refusal> {
    let field = "out_contract_code";
    let code = text(body, field, 32)?;
    if code
        .chars()
        .all(|c| matches!(c, '0'..='9' | 'a'..='z' | 'A'..='Z'))
    {
        return Ok(code);
    }
    Err(Refusal::param_error(
        field,
        &code.into(),
        "has characters other than digits and letters",
    ))
}

/// `notify_url`: HTTPS, with a path, without a query.
pub(super) fn notify_url(body: &Value, max: usize) -> Result<&str, Refusal> {
    let field = "notify_url";
    let url = text(body, field, max)?;
    let after_host = url
        .strip_prefix("https://")
        .and_then(|rest| rest.find('/').map(|slash| rest.split_at(slash)));
    match after_host {
        Some((host, path)) if !host.is_empty() && !path.contains('?') => Ok(url),
        _ => Err(Refusal::param_error(
            field,
            &url.into(),
            "is not an https URL with a path and without a query",
        )),
    }
}
