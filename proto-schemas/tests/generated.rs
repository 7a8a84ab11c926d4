//! The committed documents are those that the types make.

use proto_schemas::documents;
use std::{collections::BTreeMap, fs, path::Path};

#[test]
fn committed_documents_are_those_of_the_types() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let made = documents();
    if std::env::var_os("UPDATE").is_some() {
        fs::remove_dir_all(root.join("schemas")).ok();
        fs::create_dir_all(root.join("schemas")).expect("the folder can be made");
        for (path, text) in &made {
            fs::write(root.join(path), text).expect("the file can be written");
        }
    }
    let found = committed(root);
    let stale = |path: &&String| made.get(*path) != found.get(*path);
    let stale: Vec<_> = made.keys().chain(found.keys()).filter(stale).collect();
    assert!(
        stale.is_empty(),
        "not as the types say: {stale:?}; to write them anew: \
         UPDATE=1 cargo test -p proto-schemas --test generated"
    );
}

fn committed(root: &Path) -> BTreeMap<String, String> {
    let schemas = fs::read_dir(root.join("schemas")).into_iter().flatten();
    let names = schemas.filter_map(|file| file.ok()?.file_name().into_string().ok());
    let paths = names.map(|name| format!("schemas/{name}"));
    let pages = ["asyncapi.json", "SUBJECTS.md"].map(str::to_owned);
    let read = |path: String| Some((path.clone(), fs::read_to_string(root.join(path)).ok()?));
    paths.chain(pages).filter_map(read).collect()
}
