//! Each way as text, in `sagas/goldens`. `UPDATE=1` writes them anew; the diff is the review.

use super::paths::WAYS;
use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("goldens")
}

#[test]
fn every_way_reads_as_its_golden_file() {
    let is_update = env::var_os("UPDATE").is_some();
    let mut other = Vec::new();
    for (name, go) in WAYS {
        let (file, actual) = (folder().join(format!("{name}.txt")), go().text());
        if is_update {
            fs::write(&file, &actual).unwrap();
        }
        let golden = fs::read_to_string(&file).unwrap_or_default();
        if golden != actual {
            other.push(format!("{name}, {}", first_difference(&golden, &actual)));
        }
    }
    assert!(other.is_empty(), "{}\nUPDATE=1 writes them anew", other.join("\n"));
}

#[test]
fn every_golden_file_has_its_way() {
    let names: BTreeSet<String> = WAYS.iter().map(|it| format!("{}.txt", it.0)).collect();
    let files = fs::read_dir(folder()).unwrap();
    let files = files.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(names, files);
    assert_eq!(names.len(), WAYS.len(), "no name twice");
}

fn first_difference(golden: &str, actual: &str) -> String {
    let lines = golden.lines().zip(actual.lines());
    let same = lines.take_while(|(a, b)| a == b).count();
    let line = |text: &str| text.lines().nth(same).unwrap_or("nothing").to_owned();
    format!("line {}:\n  golden: {}\n  now:    {}", same + 1, line(golden), line(actual))
}
