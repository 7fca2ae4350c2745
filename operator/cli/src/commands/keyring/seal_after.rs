//! `touchseal keyring seal-after`: how long after a holder's release the operator drops its keys by itself.

use touchseal_crds::duration;
use touchseal_keyring::manifest;

use super::change::{Change, ChangeArgs, ChangeError};
use crate::args::Global;
use crate::error::{Explain, Failure};
use crate::output;
use crate::secret_input::PinSource;
use crate::terminal;

#[derive(clap::Args, Debug)]
pub struct SealAfterArgs {
    /// A span such as 12h or 7d; never: no end
    #[arg(value_name = "SPAN", value_parser = span)]
    span: Span,
    #[command(flatten)]
    change: ChangeArgs,
}

/// `None`: no end.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Span(Option<String>);

fn span(text: &str) -> Result<Span, String> {
    match (text, duration::seconds(text)) {
        ("never", _) => Ok(Span(None)),
        (_, Some(1..)) => Ok(Span(Some(text.to_owned()))),
        _ => Err("not a span such as 12h or 7d, nor never".to_owned()),
    }
}

/// It is so already.
#[derive(Debug, thiserror::Error)]
#[error("the keyring's time is {0} already")]
struct Same(String);

impl Explain for Same {
    fn hint(&self) -> String {
        "nothing was changed".to_owned()
    }
}

/// Runs it.
pub fn run(args: &SealAfterArgs, global: &Global) -> Result<(), Failure> {
    output::allow(global.output, &[])?;
    let change = Change::begin(&args.change.file, args.change.yes, args.change.dry_run)?;
    let Span(wanted) = args.span.clone();
    if change.manifest().spec().seal_after == wanted {
        return Err(Same(wanted.unwrap_or_else(|| "without end".to_owned())).into());
    }
    let open = change.open(args.change.serial, &mut PinSource::new(&args.change.pin))?;
    let spec = manifest::set_seal_after(change.manifest(), &open, wanted).map_err(ChangeError::Edit)?;
    open.seal();
    let file = change.path().display().to_string();
    if change.end(&spec)? {
        terminal::say(&format!(
            "{file} rewritten: commit it and apply it; it counts from the release that unsealed each replica"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_at_least_a_second_or_without_end() {
        assert_eq!(span("12h"), Ok(Span(Some("12h".to_owned()))));
        assert_eq!(span("never"), Ok(Span(None)));
        for wrong in ["", "0s", "12", "soon"] {
            assert!(span(wrong).is_err(), "{wrong:?}");
        }
    }
}
