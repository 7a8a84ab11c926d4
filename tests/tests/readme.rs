//! README is true: its commands run, and its code is the code.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::{Child, Command, Output},
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
    command.env("CARGO_TARGET_DIR", target).env("FERMATA_URL", &stack.api().urls().runtime);
    said(command.output().map_err(|err| format!("failed to run bash: {err}"))?)
}

fn said(output: Output) -> Result<String, Failure> {
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.success() { Ok(out.into_owned()) } else { Err(format!("{out}\n{err}")) }
}

/// The blocks of this kind, each with the block of text after it, which says what is to be seen.
fn with_what_one_sees(kind: &str) -> Vec<(String, Option<String>)> {
    let blocks = blocks();
    let after = blocks.iter().skip(1).map(Some).chain([None]);
    let of_kind = blocks.iter().zip(after).filter(|(block, _)| block.0 == kind);
    of_kind
        .map(|(block, after)| {
            let seen = after.filter(|it| it.0 == "text").map(|it| it.1.clone());
            (block.1.clone(), seen)
        })
        .collect()
}

/// The text that says what one sees after the text that begins so.
fn seen_after(intro: &str) -> String {
    let readme = fs::read_to_string(root().join("README.md")).expect("README.md is there");
    let rest = readme.split_once(intro).expect("README says so").1;
    let text = rest.split_once("\n```text\n").expect("it shows what one sees").1;
    text.split_once("\n```").expect("a block ends").0.to_owned()
}

/// Each piece between `…` and line ends must be there, in this order.
fn assert_shows(said: &str, expected: &str) {
    let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let printed = plain(said);
    let mut rest = printed.as_str();
    for piece in expected.lines().flat_map(|line| line.split('…')).map(plain) {
        let Some(at) = rest.find(&piece) else {
            panic!("README promises `{piece}`, and it is not where it should be in:\n{said}")
        };
        rest = &rest[at + piece.len()..];
    }
}

/// Runs the blocks as one script, and looks whether each prints what README says one sees.
fn run_and_look(stack: &Stack, blocks: &[(String, Option<String>)]) -> Result<(), Failure> {
    const END: &str = "-- end of block --";
    let scripts = blocks.iter().map(|(script, _)| format!("{script}\nprintf '\\n%s\\n' '{END}'\n"));
    let said = bash(stack, &scripts.collect::<String>())?;
    let said: Vec<&str> = said.split(END).collect();
    assert_eq!(said.len(), blocks.len() + 1, "each block ends once: {said:?}");
    for ((_, expected), said) in blocks.iter().zip(said) {
        assert_shows(said, expected.as_deref().unwrap_or_default());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_orders_by_hand_show_what_it_tells() -> Result<(), Failure> {
    let stack = Stack::start(&[]).await?;
    let blocks = with_what_one_sees("bash");
    assert!(blocks.iter().filter(|it| it.1.is_some()).count() >= 4, "it tells what one sees");
    run_and_look(&stack, &blocks)
}

/// A script of README, as somebody runs it who has saved it in this directory.
fn own_python(stack: &Stack, name: &str, script: &str) -> Result<Command, Failure> {
    let path = stack.dir().join(name);
    fs::create_dir_all(stack.dir().join("target")).map_err(|err| err.to_string())?;
    fs::write(&path, script).map_err(|err| err.to_string())?;
    let mut command = Command::new(python()?);
    command.arg(path).current_dir(stack.dir()).envs(stack.env());
    Ok(command)
}

/// Kills the process when the test ends, however it does.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // What has ended already cannot be killed; either way it is gone afterwards.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Asks the service again as the runtime does when an answer has got lost.
async fn ask_again(stack: &Stack, key: &str) -> Result<String, Failure> {
    let url = stack.env().get("FERMATA_NATS_URL").ok_or("no FERMATA_NATS_URL")?;
    let text = |err: &dyn std::fmt::Display| err.to_string();
    let login = url.trim_start_matches("nats://").split(['@', ':']).collect::<Vec<_>>();
    let options = async_nats::ConnectOptions::new()
        .user_and_password(login[0].to_owned(), login[1].to_owned())
        .custom_inbox_prefix("_INBOX_fermata");
    let client = options.connect(url).await.map_err(|err| text(&err))?;
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Idempotency-Key", key);
    let body = r#"{"number":"P-1"}"#.into();
    let answer = client.request_with_headers("own.wrap-parcel", headers, body).await;
    let answer = answer.map_err(|err| text(&err))?;
    Ok(String::from_utf8_lossy(&answer.payload).into_owned())
}

/// How often the service has done its work.
fn parcels_wrapped(stack: &Stack) -> Result<String, Failure> {
    let script = "import sqlite3; db = sqlite3.connect('target/wrapped.db')\n\
        print(db.execute('select count(*) from wrapped').fetchone()[0])";
    let counted = own_python(stack, "count.py", script)?.output();
    said(counted.map_err(|err| err.to_string())?).map(|it| it.trim().to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_saga_of_ones_own_is_served_and_resumed_from_python() -> Result<(), Failure> {
    let stack = Stack::with_runtime("own-saga", &[]).await?;
    let setup = (of_kind("bash").swap_remove(0), None);
    let own: Vec<_> = [setup].into_iter().chain(with_what_one_sees("bash own-saga")).collect();
    run_and_look(&stack, &own)?;
    let waited = Duration::from_secs(20);
    let asked_again = || async {
        let saga = stack.api().saga("thank-you", "P-1").await?;
        let attempts = saga["calls"][0]["attempts"].as_u64().unwrap_or_default();
        if attempts > 1 { Ok(()) } else { Err(saga.to_string()) }
    };
    until("silence is asked again", waited, asked_again).await?;

    let scripts = of_kind("python");
    let mut service = own_python(&stack, "wrap.py", &scripts[0])?;
    let _service = Running(service.spawn().map_err(|err| err.to_string())?);
    let waiting = || async {
        let saga = stack.api().saga("thank-you", "P-1").await?;
        let event = saga["waits"][0]["event"].clone();
        if event == "notifications.trigger.parcel-opened" { Ok(()) } else { Err(saga.to_string()) }
    };
    until("the service has wrapped the parcel", waited, waiting).await?;

    let saga = stack.api().saga("thank-you", "P-1").await?;
    let journal = stack.api().journal(saga["id"].as_str().unwrap_or_default()).await?;
    let call = journal.iter().find(|it| it["kind"] == "call").ok_or("there is no call")?;
    let key = call["key"].as_str().unwrap_or_default().to_owned();
    assert_eq!(ask_again(&stack, &key).await?, r#"{"paper":"red"}"#);
    assert_eq!(parcels_wrapped(&stack)?, "1", "the same key has its effect once");

    let own = format!("{}\n{}", of_kind("bash")[0], with_what_one_sees("bash own-saga")[0].0);
    bash(&stack, &own.replace("P-1", "LOST-1"))?;
    let refused = || async {
        let saga = stack.api().saga("thank-you", "LOST-1").await?;
        if saga["status"] == "cancelled" { Ok(saga) } else { Err(saga.to_string()) }
    };
    let refused = until("the service has said no", waited, refused).await?;
    assert!(refused.to_string().contains("there is no such parcel"), "it says why: {refused}");

    let opened = own_python(&stack, "opened.py", &scripts[1])?.output();
    said(opened.map_err(|err| err.to_string())?)?;
    let completed = || async {
        let saga = stack.api().saga("thank-you", "P-1").await?;
        if saga["status"] == "completed" { Ok(()) } else { Err(saga.to_string()) }
    };
    until("the parcel's saga has completed", waited, completed).await?;
    let shown = bash(&stack, &format!("{}\nown-saga show P-1", of_kind("bash")[0]))?;
    assert_shows(&shown, &seen_after("`own-saga show P-1`."));
    Ok(())
}

#[test]
fn its_code_is_the_code() {
    let rust = of_kind("rust");
    let saga = fs::read_to_string(root().join("sagas/src/process_order.rs")).unwrap();
    assert!(saga.ends_with(&format!("{}\n", rust[0].trim_end())), "the order saga has changed");
    let own = fs::read_to_string(root().join("tests/own-saga/src/main.rs")).unwrap();
    assert_eq!(rust[1].trim_end(), own.trim_end(), "the saga of one's own has changed");
    for (script, name) in of_kind("python").iter().zip(["wrap.py", "opened.py"]) {
        let file = fs::read_to_string(root().join("tests/own-saga").join(name)).unwrap();
        assert_eq!(script.trim_end(), file.trim_end(), "{name} has changed");
        let lines = file.lines().filter(|it| !it.is_empty()).count();
        assert!(lines <= 15, "{name} has {lines} lines: it shall be read at a glance");
    }
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

/// What runs each command of the `console` blocks.
const CONSOLE: [(&str, &str); 6] = [
    ("deploy/up", "tests/python/test_up.py"),
    ("deploy/test", ".ci/run"),
    ("deploy/up --runtime own-saga", "tests/python/test_up.py"),
    // The packages of the suite have it, at the version that it pins.
    (
        "python3 -m venv target/own && target/own/bin/pip install nats-py",
        "tests/python/requirements.txt",
    ),
    ("target/own/bin/python tests/own-saga/wrap.py", "tests/tests/readme.rs"),
    ("target/own/bin/python tests/own-saga/opened.py", "tests/tests/readme.rs"),
];

#[test]
fn each_command_has_what_runs_it() {
    let console = of_kind("console");
    let commands = console.iter().flat_map(|it| it.lines()).map(|line| {
        let command = line.split(" #").next().unwrap_or_default();
        command.trim_start_matches("$ ").trim()
    });
    let commands: Vec<&str> = commands.collect();
    assert_eq!(commands, CONSOLE.map(|it| it.0), "a command has come or gone: see CONSOLE");
    for (command, runner) in CONSOLE {
        let runner_text = fs::read_to_string(root().join(runner)).unwrap();
        let last = command.split(['/', ' ']).next_back().unwrap();
        assert!(runner_text.contains(last), "{runner} does not run {command}");
    }
    let known = ["bash", "bash own-saga", "console", "python", "rust", "text", "toml"];
    for (kind, text) in blocks() {
        assert!(known.contains(&kind.as_str()), "nothing runs a block of {kind:?}: {text}");
    }
}

#[test]
fn its_table_of_commands_is_the_command_line() -> Result<(), Failure> {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let table = readme.split_once("| command | what it does |\n").expect("it has the table").1;
    let rows = table.split("\n\n").next().unwrap_or_default().lines().skip(1);
    let cells = rows.map(|row| row.split('|').nth(1).unwrap_or_default());
    let names = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    let told: BTreeSet<&str> = names.map(|it| it.split(' ').next().unwrap_or_default()).collect();
    let help = Command::new(binary("fermata")?).arg("--help").output();
    let help = said(help.map_err(|err| err.to_string())?)?;
    let commands = help.split_once("Commands:\n").expect("it lists them").1;
    let commands = commands.split("\n\n").next().unwrap_or_default().lines();
    let known: BTreeSet<&str> = commands.filter_map(|it| it.split_whitespace().next()).collect();
    let told: BTreeSet<&str> = told.into_iter().chain(["help"]).collect();
    assert_eq!(told, known, "README's table has what `fermata --help` lists");
    Ok(())
}

#[test]
fn its_links_and_scripts_are_there() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    for link in readme.split("](").skip(1).map(|it| it.split(')').next().unwrap()) {
        assert!(root().join(link).exists(), "{link} is not there");
    }
    for name in fs::read_dir(root().join("deploy")).unwrap().map(|it| it.unwrap().path()) {
        let is_script = fs::read(&name).unwrap().starts_with(b"#!");
        let name = format!("deploy/{}", name.file_name().unwrap().display());
        assert!(!is_script || readme.contains(&format!("| `{name}` |")), "{name} is not listed");
    }
}

/// What git keeps below a folder, as paths from the root.
fn kept(folder: &str) -> Vec<String> {
    let mut command = Command::new("git");
    command.args(["ls-files", "--cached", "--others", "--exclude-standard", folder]);
    let listed = command.current_dir(root()).output().expect("git says which files belong here");
    let listed = said(listed).expect("git knows this folder");
    listed.lines().map(str::to_owned).collect()
}

/// The first names of these paths below a folder, which are its rooms.
fn rooms(folder: &str) -> Vec<String> {
    let mut rooms: Vec<String> = kept(folder)
        .iter()
        .filter_map(|path| path.strip_prefix(folder)?.split('/').next().map(str::to_owned))
        .filter(|name| name != "Cargo.toml" && name != "tests.rs" && name != "lib.rs")
        .collect();
    rooms.dedup();
    rooms
}

#[test]
fn every_room_is_on_the_map() {
    let map = fs::read_to_string(root().join("runtime/ARCHITECTURE.md")).unwrap();
    let mut missing = Vec::new();
    for (folder, prefix) in [
        ("runtime/", "runtime/"),
        ("services/", ""),
        ("deploy/", ""),
        ("runtime/saga-host/src/", ""),
        ("runtime/chassis/src/", ""),
        ("tests/src/", "src/"),
        ("tests/tests/", "tests/"),
        ("tests/python/", "python/"),
    ] {
        for room in rooms(folder) {
            let is_module = folder.contains("src/");
            let name = if is_module { room.trim_end_matches(".rs") } else { room.as_str() };
            let is_page = folder == "runtime/" && name == "ARCHITECTURE.md";
            if !is_page && !map.contains(&format!("`{prefix}{name}`")) {
                missing.push(format!("{folder}{room}: `{prefix}{name}`"));
            }
        }
    }
    missing.dedup();
    assert!(missing.is_empty(), "give each a line in runtime/ARCHITECTURE.md: {missing:#?}");
}
