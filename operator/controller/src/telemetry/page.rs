//! The page of metrics, as OpenMetrics for those who ask for it and in Prometheus's older text format for everybody else,
//! and the pen of the collectors.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

/// How the page is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus's text format 0.0.4.
    Text,
}

impl Format {
    /// What an Accept header asks for.
    pub fn asked(accept: &str) -> Format {
        if accept.contains("application/openmetrics-text") { Format::OpenMetrics } else { Format::Text }
    }

    /// Its content type.
    pub const fn content_type(self) -> &'static str {
        match self {
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// Writes the page.
///
/// # Errors
/// A metric cannot be put into words.
pub fn page(registry: &Registry, format: Format) -> Result<String, fmt::Error> {
    let mut page = String::new();
    prometheus_client::encoding::text::encode(&mut page, registry)?;
    Ok(match format {
        Format::OpenMetrics => page,
        Format::Text => older(&page),
    })
}

/// OpenMetrics names a counter's family without `_total`, has a type for information and states units; the older format
/// names families as their series are called.
fn older(page: &str) -> String {
    let mut out = String::with_capacity(page.len());
    let mut help = None;
    for line in page.lines() {
        if let Some(text) = line.strip_prefix("# HELP ") {
            help = text.split_once(' ');
        } else if let Some((name, type_)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let (suffix, type_) = match type_ {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                other => ("", other),
            };
            let words = help.take().map_or("", |(_, words)| words);
            out.push_str(&format!("# HELP {name}{suffix} {words}\n# TYPE {name}{suffix} {type_}\n"));
        } else if !line.starts_with('#') {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

/// Writes what a collector found.
pub struct Pen<'a>(pub DescriptorEncoder<'a>);

impl Pen<'_> {
    /// One gauge for each set of labels; nothing at all where there is none.
    ///
    /// # Errors
    /// The page cannot be written.
    pub fn gauges<L: EncodeLabelSet>(
        &mut self,
        (name, help): (&str, &str),
        unit: Option<Unit>,
        series: impl IntoIterator<Item = (L, i64)>,
    ) -> fmt::Result {
        self.family((name, help, MetricType::Gauge), unit, series, |value, encoder| {
            ConstGauge::new(value).encode(encoder)
        })
    }

    /// One gauge without labels.
    ///
    /// # Errors
    /// As [`Pen::gauges`].
    pub fn gauge(&mut self, (name, help): (&str, &str), value: i64) -> fmt::Result {
        let gauge = self.0.encode_descriptor(name, &format!("{help}."), None, MetricType::Gauge)?;
        ConstGauge::new(value).encode(gauge)
    }

    /// One counter for each set of labels.
    ///
    /// # Errors
    /// As [`Pen::gauges`].
    pub fn counters<L: EncodeLabelSet>(
        &mut self,
        (name, help): (&str, &str),
        series: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        self.family((name, help, MetricType::Counter), None, series, |value, encoder| {
            ConstCounter::new(value).encode(encoder)
        })
    }

    fn family<L: EncodeLabelSet, V>(
        &mut self,
        (name, help, type_): (&str, &str, MetricType),
        unit: Option<Unit>,
        series: impl IntoIterator<Item = (L, V)>,
        write: impl Fn(V, prometheus_client::encoding::MetricEncoder<'_>) -> fmt::Result,
    ) -> fmt::Result {
        let mut series = series.into_iter().peekable();
        if series.peek().is_none() {
            return Ok(());
        }
        let mut family = self.0.encode_descriptor(name, &format!("{help}."), unit.as_ref(), type_)?;
        for (labels, value) in series {
            write(value, family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::Metrics;
    use super::*;

    #[test]
    fn openmetrics_is_for_those_who_ask_for_it() {
        let prometheus =
            "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(Format::asked(prometheus), Format::OpenMetrics);
        for other in ["", "*/*", "text/plain;version=0.0.4"] {
            assert_eq!(Format::asked(other), Format::Text);
        }
    }

    #[test]
    fn in_the_older_format_families_are_called_as_their_series_are() {
        let (metrics, registry) = Metrics::new(&Arc::default(), &["leader-elect"]);
        metrics.secret_writes.inc();
        metrics.locked_memory.set(4096);
        let new = page(&registry, Format::OpenMetrics).unwrap();
        assert!(new.contains("# TYPE touchseal_secret_writes counter\n") && new.ends_with("# EOF\n"));
        let old = page(&registry, Format::Text).unwrap();
        for line in [
            "# HELP touchseal_secret_writes_total Secrets written.\n# TYPE touchseal_secret_writes_total counter\ntouchseal_secret_writes_total 1\n",
            "# TYPE touchseal_build_info gauge\ntouchseal_build_info{",
            "# TYPE touchseal_locked_memory_bytes gauge\ntouchseal_locked_memory_bytes 4096\n",
            "# TYPE touchseal_reconcile_duration_seconds histogram\n",
            ",features=\"leader-elect\"} 1\n",
        ] {
            assert!(old.contains(line), "{line}\n{old}");
        }
        assert!(!old.contains("# EOF") && !old.contains("# UNIT") && new.contains("# UNIT"));
        let series = |page: &str| page.lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!(series(&old), series(&new));
    }
}
