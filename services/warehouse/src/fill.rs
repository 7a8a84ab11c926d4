//! The first stock, for a store that has none.

use crate::stock;
use chassis::{config::Source, db::Tx};
use proto_schemas::is_sku;
use service_kit::Outcome;
use std::{collections::BTreeMap, fs, str::FromStr};

/// Names the file with the first stock.
const FILE_VARIABLE: &str = "WAREHOUSE_STOCK_FILE";
const FILE_EXPECTED: &str = "a file with a JSON object of pieces by unit, {\"WIDGET-001\": 100}";

/// What this service needs to be told beside what all services are told.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// What an empty store is filled with; nothing: it stays empty.
    pub fill: Fill,
}

/// Pieces by stock keeping unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fill(BTreeMap<String, u64>);

impl Settings {
    /// Reads the settings, and the file that they name.
    pub fn read(source: &mut Source) -> Option<Settings> {
        let Some(path) = source.optional::<String>(FILE_VARIABLE, FILE_EXPECTED)? else {
            return Some(Settings::default());
        };
        let fill = fs::read_to_string(&path).map_err(|error| error.to_string());
        match fill.and_then(|text| text.parse()) {
            Ok(fill) => Some(Settings { fill }),
            Err(why) => {
                source.fault(FILE_VARIABLE, format!("found {path:?}: {why}"), FILE_EXPECTED)
            }
        }
    }
}

impl FromStr for Fill {
    type Err = String;

    fn from_str(text: &str) -> Result<Fill, String> {
        let units: BTreeMap<String, u64> =
            serde_json::from_str(text).map_err(|error| error.to_string())?;
        match units.keys().find(|sku| !is_sku(sku)) {
            Some(sku) => Err(format!("{sku:?} cannot name a unit")),
            None => Ok(Fill(units)),
        }
    }
}

/// Fills a store that has no unit at all; any other is left alone.
pub(crate) fn fill_empty(tx: &mut Tx, Fill(units): Fill) -> Outcome<()> {
    if !stock::is_empty(tx)? {
        return Ok(());
    }
    for (sku, available) in &units {
        stock::open(tx, sku, *available)?;
    }
    tracing::info!(units = units.len(), "filled the empty store");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use chassis::db::{Db, DbOptions};

    fn read(text: &str) -> Result<Settings, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        let mut source = Source::from_pairs([(FILE_VARIABLE, file.path().to_str().unwrap())]);
        let settings = Settings::read(&mut source);
        source.finish(|| settings).map_err(|error| error.to_string())
    }

    #[test]
    fn the_stock_of_the_development_set_up_reads() {
        let settings = read(include_str!("../../../deploy/dev-stock.json")).unwrap();
        let units = [("GADGET-002", 1_000_000), ("WIDGET-001", 1_000_000)];
        let units = units.map(|(sku, pieces)| (sku.to_owned(), pieces));
        assert_eq!(settings.fill, Fill(units.into()));
    }

    #[test]
    fn a_file_that_cannot_be_used_is_a_fault_of_the_settings() {
        for text in
            ["", "[]", "{\"A\":-1}", "{\"A\":1.5}", "{\"A\":\"1\"}", "{\"A/B\":1}", "{\"\":1}"]
        {
            assert!(read(text).unwrap_err().contains(FILE_VARIABLE), "{text}");
        }
        let mut source = Source::from_pairs([(FILE_VARIABLE, "/no/such/file")]);
        assert!(Settings::read(&mut source).is_none());
    }

    #[test]
    fn only_an_empty_store_is_filled() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(dir.path(), DbOptions::default()).unwrap();
        let mut tx = Tx::over(&db);
        fill_empty(&mut tx, "{\"A\":5}".parse().unwrap()).unwrap();
        fill_empty(&mut tx, "{\"A\":7,\"B\":7}".parse().unwrap()).unwrap();
        db.commit(tx.into_batch(), 1).unwrap();
        let stock = stock::list(&db, None, 10).unwrap();
        assert_eq!(stock.len(), 1);
        assert_eq!(stock[0].available, 5);
    }
}
