//! The report as JSON, and the JSON Schema that describes it.

use std::io::{self, Write};

use schemars::generate::SchemaSettings;
use whyslow_analysis::report::Report;

/// Writes `report`, indented, with a newline at the end.
///
/// # Errors
/// When `out` cannot be written.
pub(crate) fn report(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, report)?;
    out.write_all(b"\n")
}

/// Writes the schema of [`report`].
///
/// # Errors
/// When `out` cannot be written.
pub(crate) fn schema(out: &mut dyn Write) -> io::Result<()> {
    // As written: a field that is `null` when unknown is still always there.
    let generator = SchemaSettings::default().for_serialize().into_generator();
    serde_json::to_writer_pretty(&mut *out, &generator.into_root_schema_for::<Report>())?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{FIXTURES, assert_file, fixture, repository, written};

    #[test]
    fn the_schema_is_the_one_checked_in() {
        let path = repository().join("schema/whyslow.report.1.json");
        assert_file(&path, &written(schema));
    }

    #[test]
    fn every_report_is_valid_and_reads_back() {
        let schema: serde_json::Value = serde_json::from_slice(&written(super::schema)).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        for name in FIXTURES {
            let original = fixture(name);
            let bytes = written(|out| report(&original, out));
            let value = serde_json::from_slice(&bytes).unwrap();
            assert!(validator.is_valid(&value), "{name}");
            assert_eq!(serde_json::from_value::<Report>(value).unwrap(), original, "{name}");
        }
        assert!(!validator.is_valid(&serde_json::json!({ "schema": "whyslow.report/1" })));
    }
}
