//! README is true: its commands run, and its code is the code.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Output},
    time::Duration,
};
use system_tests::{
    Failure,
    stack::{Stack, binary, python, root},
    until,
};

/// A fenced block: what stands behind the fence, and the text.
type Block = (String, String);

fn blocks() -> Vec<Block> {
    let readme = fs::read_to_string(root().join("README.md")).expect("README.md is there");
    let mut parts = readme.split("\n```");
    let mut blocks = Vec::new();
    while let (Some(_), Some(block)) = (parts.next(), parts.next()) {
        let (kind, text) = block.split_once('\n').expect("a block has lines");
        blocks.push((kind.to_owned(), text.to_owned()));
    }
    blocks
}

fn of_kind(kind: &str) -> Vec<String> {
    blocks().into_iter().filter(|it| it.0 == kind).map(|it| it.1).collect()
}

/// The usual ports and files, moved to where this system has them.
fn moved(stack: &Stack, script: &str) -> Result<String, Failure> {
    let settings = stack.dir().join("settings");
    let lines = stack.env().iter().map(|(name, value)| format!("{name}='{value}'\n"));
    fs::write(&settings, lines.collect::<String>()).map_err(|err| err.to_string())?;
    let urls = stack.api().urls();
    let ports = [
        ("localhost:3000", &urls.runtime),
        ("localhost:3001", &urls.order),
        ("localhost:3090", &urls.sandbox),
    ];
    let script = script.replace("deploy/dev.env", &settings.display().to_string());
    Ok(ports.iter().fold(script, |script, (usual, url)| script.replace(usual, url)))
}

fn bash(stack: &Stack, script: &str) -> Result<String, Failure> {
    let binaries = binary("fermata")?;
    let target = binaries.ancestors().nth(2).map(Path::to_owned).unwrap_or_default();
    let script = format!("set -euo pipefail\n{}", moved(stack, script)?);
    let mut command = Command::new("timeout");
    command.args(["120", "bash", "-c", &script]).current_dir(root());
    command
        .env("CARGO_TARGET_DIR", relative(&target))
        .env("FERMATA_URL", &stack.api().urls().runtime);
    said(command.output().map_err(|err| format!("failed to run bash: {err}"))?)
}

/// The README says `$PWD/${CARGO_TARGET_DIR:-target}`: as a path below the checkout.
fn relative(target: &Path) -> String {
    let ups = "../".repeat(root().canonicalize().map_or(0, |it| it.components().count()));
    format!("{ups}{}", target.display())
}

fn said(output: Output) -> Result<String, Failure> {
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.success() { Ok(out.into_owned()) } else { Err(format!("{out}\n{err}")) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_orders_by_hand_go_as_it_tells() -> Result<(), Failure> {
    let stack = Stack::start(&[]).await?;
    let said = bash(&stack, &of_kind("bash").join("\n"))?;
    for expected in ["completed", "awaiting_approval", "\"status\":\"cancelled\"", "undone"] {
        assert!(said.contains(expected), "`{expected}` is not in:\n{said}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_saga_of_ones_own_runs_and_a_python_client_resumes_it() -> Result<(), Failure> {
    let stack = Stack::with_runtime("own-saga", &[]).await?;
    let (setup, own) = (of_kind("bash").swap_remove(0), of_kind("bash own-saga").join("\n"));
    let said_first = bash(&stack, &format!("{setup}\n{own}"))?;
    assert!(said_first.contains("thank-you"), "{said_first}");
    let script = of_kind("python").swap_remove(0);
    let mut command = Command::new(python()?);
    command.args(["-c", &script]).envs(stack.env());
    said(command.output().map_err(|err| err.to_string())?)?;
    until("the parcel's saga has completed", Duration::from_secs(20), || async {
        let saga = stack.api().saga("thank-you", "P-1").await?;
        if saga["status"] == "completed" { Ok(()) } else { Err(saga.to_string()) }
    })
    .await
}

#[test]
fn its_code_is_the_code() {
    let rust = of_kind("rust");
    let saga = fs::read_to_string(root().join("sagas/src/process_order.rs")).unwrap();
    assert!(saga.ends_with(&format!("{}\n", rust[0].trim_end())), "the order saga has changed");
    let own = fs::read_to_string(root().join("tests/own-saga/src/main.rs")).unwrap();
    assert_eq!(rust[1].trim_end(), own.trim_end(), "the saga of one's own has changed");
}

#[test]
fn a_crate_of_ones_own_compiles_as_it_tells() -> Result<(), Failure> {
    let dir = tempfile::tempdir().map_err(|err| err.to_string())?;
    let checkout = root().canonicalize().map_err(|err| err.to_string())?;
    let manifest = of_kind("toml").swap_remove(0);
    let manifest = manifest.replace("../fermata", &checkout.display().to_string());
    let files: BTreeMap<&str, String> = BTreeMap::from([
        ("Cargo.toml", format!("{manifest}\n[workspace]\n")),
        ("Cargo.lock", fs::read_to_string(checkout.join("Cargo.lock")).unwrap()),
        ("src/main.rs", of_kind("rust").swap_remove(1)),
    ]);
    fs::create_dir(dir.path().join("src")).map_err(|err| err.to_string())?;
    for (name, text) in files {
        fs::write(dir.path().join(name), text).map_err(|err| err.to_string())?;
    }
    let mut command = Command::new(env!("CARGO"));
    command.args(["check", "--quiet", "--offline"]).current_dir(dir.path());
    let target = binary("fermata")?;
    let target = target.ancestors().nth(2).map(|it| it.join("own-crate"));
    command.env("CARGO_TARGET_DIR", target.unwrap_or_default());
    said(command.output().map_err(|err| err.to_string())?).map(|_| ())
}

#[test]
fn its_two_commands_and_its_links_are_there() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    for command in of_kind("console").iter().flat_map(|it| it.lines()) {
        let script = command.trim_start_matches("$ ").split_whitespace().next().unwrap();
        assert!(root().join(script).is_file(), "{script} is not there");
    }
    for link in readme.split("](").skip(1).map(|it| it.split(')').next().unwrap()) {
        assert!(root().join(link).exists(), "{link} is not there");
    }
}
