//! What callers filter lists by, for the parameters of the API and for the command line alike.

use clap::ValueEnum;
use schemars::JsonSchema;
use serde::Deserialize;

/// Where a saga can stand.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub(crate) enum StatusName {
    Running,
    Waiting,
    Compensating,
    Attention,
    Completed,
    Cancelled,
    Failed,
    Terminated,
}

/// What can become of an event that is kept.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub(crate) enum VerdictName {
    Consumed,
    Started,
    Kept,
    Late,
    Ignored,
    Unclaimed,
    Unrouted,
    Conflict,
    #[value(alias = "duplicate-start")]
    DuplicateStart,
    #[value(alias = "conflicting-start")]
    ConflictingStart,
    Refused,
    #[value(alias = "dead-letter")]
    DeadLetter,
}

/// A name as the API spells it.
pub(crate) fn spelt(name: impl ValueEnum) -> String {
    name.to_possible_value().map(|it| it.get_name().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::de::value::{Error, StrDeserializer};

    #[test]
    fn the_command_line_spells_names_as_the_api_reads_them() {
        for name in StatusName::value_variants() {
            let read = StatusName::deserialize(StrDeserializer::<Error>::new(&spelt(*name)));
            assert_eq!(read.map(spelt), Ok(spelt(*name)));
        }
        for name in VerdictName::value_variants() {
            let read = VerdictName::deserialize(StrDeserializer::<Error>::new(&spelt(*name)));
            assert_eq!(read.map(spelt), Ok(spelt(*name)));
        }
    }
}
