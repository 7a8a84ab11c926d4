//! What the command line prints of what strangers have sent; the rest is in `tests/`.

use crate::world::{World, text};
use serde_json::{Value, json};
use std::fs;

/// Of a child process of the tests, without what the test's own frame prints.
fn said(world: &World, args: &[&str]) -> String {
    let output = world.cli(args);
    assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
    let said = text(&output.stdout);
    said.split_once("running 1 test\n").map_or(said.clone(), |it| it.1.to_owned())
}

#[tokio::test]
async fn a_stored_body_with_line_breaks_is_one_line_for_programs_and_forges_none_for_people() {
    let world = World::with_runtime().await;
    let name = "t1\nstatus      failed\u{9b}2J\u{202e}";
    let input = json!({ "name": name, "turns": 0, "asides": 1, "bytes": 1 });
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(&file, format!("{input:#}\n")).expect("written");
    let given = format!("@{}", file.path().display());
    let started = said(&world, &["start", "chat", "--key", "t1", "--input", &given]);
    assert!(started.contains("with the key t1"), "{started}");
    // What was started, and where: the key's line break made no line.
    assert_eq!(started.lines().count(), 2, "{started:?}");
    assert!(started.lines().nth(1).is_some_and(|it| it.starts_with("at http://")), "{started:?}");
    let list: Value = serde_json::from_str(&said(&world, &["sagas", "--json"])).expect("one value");
    let saga = list["items"][0]["id"].as_str().expect("an id").to_owned();

    let lines = said(&world, &["show", &saga, "--watch", "--json"]);
    let lines: Vec<Value> = lines
        .lines()
        .map(|it| serde_json::from_str(it).unwrap_or_else(|err| panic!("{it}: {err}")))
        .collect();
    assert_eq!(lines[0]["input"], input, "a program gets what was sent");
    assert_eq!(lines.last().expect("its end")["status"], "completed");
    for args in [&["show", &*saga][..], &["show", &saga, "--watch"], &["sagas"]] {
        let told = said(&world, args);
        assert!(!told.contains(['\u{9b}', '\u{202e}']), "{told:?}");
        assert!(!told.lines().any(|it| it.starts_with("status      failed")), "{told}");
    }
}
