//! Floating point numbers as text, in the forms sops uses: the plain decimal it authenticates and the shortest
//! forms the YAML, JSON and dotenv emitters print. All are the shortest digits that read back as the same number.

/// Where a form switches to an exponent, and how it writes one.
pub(crate) struct Style {
    low: i32,
    high: i32,
    letter: char,
    min_exponent_digits: usize,
}

/// YAML (C's `%g`): exponent below 1e-4 and from 1e6.
pub(crate) const YAML: Style = Style { low: -4, high: 6, letter: 'e', min_exponent_digits: 2 };
/// JSON (ECMAScript's rule): exponent below 1e-6 and from 1e21.
pub(crate) const JSON: Style = Style { low: -6, high: 21, letter: 'e', min_exponent_digits: 1 };
/// dotenv and ini.
pub(crate) const FLAT: Style = Style { low: -4, high: 6, letter: 'E', min_exponent_digits: 2 };

/// The text sops authenticates and encrypts: never an exponent.
pub(crate) fn decimal(value: f64) -> String {
    if value.is_nan() {
        "NaN".into()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf".into() } else { "-Inf".into() }
    } else {
        format!("{value}")
    }
}

/// The text a store prints. The caller deals with infinities and NaN.
pub(crate) fn shortest(value: f64, style: &Style) -> String {
    let scientific = format!("{value:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if value == 0.0 || (style.low..style.high).contains(&exponent) {
        return decimal(value);
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    let width = style.min_exponent_digits;
    format!("{digits}{}{sign}{:0width$}", style.letter, exponent.unsigned_abs())
}
