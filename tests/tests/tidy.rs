//! The rules of the house, as a test: each failure names the place and says what to do.
//!
//! What rustfmt and clippy already hold is not repeated here.

#![allow(clippy::unwrap_used, reason = "a file that cannot be read fails the test")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const TOP_LEVEL: [&str; 11] = [
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "deploy",
    "proto-schemas",
    "runtime",
    "sagas",
    "services",
    "tests",
];
const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;
/// How many functions outside tests are longer than that. It only ever goes down.
const LONG_FUNCTIONS: usize = 0;
const LINE_CHARS_MAX: usize = 100;
/// With these the core cannot ask a clock, a file or chance for anything.
const CORE_DEPENDENCIES: [&str; 6] = ["hmac", "serde", "serde_json", "sha2", "thiserror", "uuid"];
const PURITY_LINTS: [&str; 3] = ["disallowed_macros", "disallowed_methods", "disallowed_types"];
/// A definition combines futures by `ctx` alone: any other way is not in the journal.
const COMBINATORS: [&str; 7] =
    ["async-std", "futures", "futures-lite", "futures-util", "smol", "tokio", "tokio-util"];
/// This file names what it looks for.
const THIS: &str = "tests/tests/tidy.rs";

/// A file of the tree by its path from the root.
struct Source {
    path: String,
    text: String,
}

impl Source {
    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Outside `src`, or named as the tests of a module.
    fn is_test(&self) -> bool {
        let parts: Vec<_> = self.path.split('/').collect();
        let folder = parts.iter().any(|part| ["tests", "benches", "examples"].contains(part));
        folder || self.path.ends_with("/tests.rs")
    }

    /// The lines that go into the product, with their numbers: all but the tests of a file, which
    /// are at its end or in a file of their own.
    fn product_lines(&self) -> Vec<(usize, &str)> {
        let mut product = Vec::new();
        let mut lines = self.numbered().into_iter().peekable();
        while let Some((number, line)) = lines.next().filter(|_| !self.is_test()) {
            if line == "#[cfg(test)]" {
                let is_elsewhere = |(_, next): &(usize, &str)| next.ends_with(';');
                if lines.next_if(is_elsewhere).is_none() {
                    break;
                }
            } else {
                product.push((number, line));
            }
        }
        product
    }

    /// The lines that only tests run.
    fn test_lines(&self) -> Vec<(usize, &str)> {
        let product: BTreeSet<_> = self.product_lines().into_iter().collect();
        self.numbered().into_iter().filter(|line| !product.contains(line)).collect()
    }

    fn numbered(&self) -> Vec<(usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line)).collect()
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every path that git keeps or would keep.
fn paths() -> Vec<String> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git is needed to know which files belong to the tree");
    assert!(listed.status.success(), "git ls-files: {}", String::from_utf8_lossy(&listed.stderr));
    String::from_utf8(listed.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// Every file of text.
fn sources() -> Vec<Source> {
    let read = |path: String| {
        let text = fs::read_to_string(root().join(&path)).ok()?;
        Some(Source { path, text })
    };
    paths().into_iter().filter_map(read).collect()
}

fn rust_sources() -> Vec<Source> {
    sources().into_iter().filter(Source::is_rust).collect()
}

fn read(path: &str) -> String {
    let hint = "the rule about it needs another place, or the file is missing";
    fs::read_to_string(root().join(path)).unwrap_or_else(|fault| panic!("{path}: {fault}; {hint}"))
}

fn assert_none(faults: &[String], what_to_do: &str) {
    assert!(faults.is_empty(), "\n{}\n\n{what_to_do}\n", faults.join("\n"));
}

/// Calls `fault` for each numbered line and gathers what it finds.
fn line_faults<'a>(
    path: &str,
    lines: impl IntoIterator<Item = (usize, &'a str)>,
    is_fault: impl Fn(&str) -> bool,
) -> Vec<String> {
    let bad = lines.into_iter().filter(|(_, line)| is_fault(line));
    bad.map(|(number, line)| format!("{path}:{number}: {}", line.trim())).collect()
}

/// A function of a formatted file: its name, and the lines from `fn` to its closing brace.
struct Function<'a> {
    name: &'a str,
    first_line: usize,
    lines: Vec<&'a str>,
}

/// rustfmt puts the brace that closes a function where the line of its `fn` begins.
fn functions<'a>(lines: &[(usize, &'a str)]) -> Vec<Function<'a>> {
    let begin = |(index, &(number, line)): (usize, &(usize, &'a str))| {
        let name = function_name(line)?;
        let indent = &line[..line.len() - line.trim_start().len()];
        let closes = |line: &str| line.strip_prefix(indent).is_some_and(|rest| rest == "}");
        let rest = &lines[index..];
        let heading = rest.iter().position(|(_, line)| line.ends_with(['{', '}', ';']))?;
        let length = match rest[heading].1.ends_with('{') {
            true => rest.iter().position(|(_, line)| closes(line))? + 1,
            false => heading + 1,
        };
        let lines = rest[..length].iter().map(|(_, line)| *line).collect();
        Some(Function { name, first_line: number, lines })
    };
    lines.iter().enumerate().filter_map(begin).collect()
}

fn function_name(line: &str) -> Option<&str> {
    let (before, after) = line.split_once("fn ")?;
    let is_modifier = |word: &str| {
        ["async", "const", "unsafe", "extern", "\"C\"", "pub"].contains(&word)
            || word.starts_with("pub(")
    };
    if !before.split_whitespace().all(is_modifier) {
        return None;
    }
    let end = after.find(|c: char| !c.is_alphanumeric() && c != '_')?;
    Some(&after[..end])
}

fn contains_word(text: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        !text[..at].ends_with(is_part) && !text[at + word.len()..].starts_with(is_part)
    })
}

fn code_of(line: &str) -> &str {
    if line.trim_start().starts_with("//") { "" } else { line }
}

/// A manifest's dependencies by section: `dependencies`, `dev-dependencies`.
fn dependencies(manifest: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut section = String::new();
    for line in manifest.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name.to_owned();
            if let Some((kind, name)) = name.split_once("dependencies.") {
                let kind = format!("{kind}dependencies");
                found.entry(kind).or_default().insert(name.to_owned());
            }
        } else if section.ends_with("dependencies") && !line.starts_with('#') {
            let name = line.split(['.', '=', ' ']).next().unwrap_or_default();
            if line.contains('=') && !name.is_empty() {
                found.entry(section.clone()).or_default().insert(name.to_owned());
            }
        }
    }
    found
}

fn manifests() -> Vec<Source> {
    let is_member = |source: &Source| source.path.ends_with("/Cargo.toml");
    sources().into_iter().filter(is_member).collect()
}

#[test]
fn the_top_level_holds_what_belongs_there() {
    let top: BTreeSet<String> =
        paths().iter().map(|path| path.split('/').next().unwrap().to_owned()).collect();
    let belongs = |name: &str| name.starts_with('.') || TOP_LEVEL.contains(&name);
    let faults: Vec<_> = top.into_iter().filter(|name| !belongs(name)).collect();
    assert_none(&faults, "put it into one of the folders; the top level is fixed");
}

#[test]
fn no_file_is_longer_than_one_can_hold_in_mind() {
    let fault = |source: &Source| {
        let lines = source.product_lines().len();
        let is_code = source.is_rust() || source.path.starts_with("deploy/");
        let is_long = is_code && lines > FILE_LINES_MAX;
        is_long.then(|| format!("{}: {lines} lines", source.path))
    };
    let faults: Vec<_> = sources().iter().filter_map(fault).collect();
    assert_none(&faults, &format!("split it by purpose into files of at most {FILE_LINES_MAX}"));
}

#[test]
fn long_functions_do_not_become_more() {
    let mut long = Vec::new();
    for source in rust_sources() {
        let lines = source.product_lines();
        for it in functions(&lines).iter().filter(|it| it.lines.len() > FUNCTION_LINES_MAX) {
            let (path, length) = (&source.path, it.lines.len());
            long.push(format!("{path}:{}: {} has {length} lines", it.first_line, it.name));
        }
    }
    let limit = format!("split what is longer than {FUNCTION_LINES_MAX} lines");
    let more = if long.len() > LONG_FUNCTIONS { &long[..] } else { &[] };
    assert_none(more, &format!("{limit}: there may be {LONG_FUNCTIONS} such functions"));
    assert_eq!(long.len(), LONG_FUNCTIONS, "there are fewer now: lower LONG_FUNCTIONS in {THIS}");
}

#[test]
fn no_line_is_longer_than_the_screen() {
    let is_code = |source: &Source| {
        let is_script = source.text.starts_with("#!") || source.path == "deploy/tools";
        is_script || source.is_rust() || source.path.ends_with(".py")
    };
    // A row of a table in a comment cannot be broken.
    let is_row = |line: &str| line.starts_with("//! |") || line.trim().starts_with("/// |");
    let is_long = |line: &str| line.chars().count() > LINE_CHARS_MAX && !is_row(line);
    let numbered = |source: Source| line_faults(&source.path, source.numbered(), is_long);
    let faults: Vec<_> = sources().into_iter().filter(is_code).flat_map(numbered).collect();
    assert_none(&faults, &format!("break it before {LINE_CHARS_MAX} characters"));
}

#[test]
fn the_core_depends_on_nothing_impure() {
    let manifest = read("runtime/saga-core/Cargo.toml");
    let found = dependencies(&manifest).remove("dependencies").unwrap_or_default();
    let impure = |name: &String| !CORE_DEPENDENCIES.contains(&name.as_str());
    let faults: Vec<_> = found.into_iter().filter(impure).collect();
    let advice = "the core asks no clock, no chance, no file: give it what it needs as an input";
    assert_none(&faults, advice);
    let own_lints = read("runtime/saga-core/clippy.toml");
    for lint in ["disallowed-methods", "disallowed-types"] {
        assert!(
            own_lints.contains(lint),
            "runtime/saga-core/clippy.toml lacks {lint}: put it back"
        );
    }
}

#[test]
fn the_core_never_allows_a_purity_lint() {
    let is_fault = |line: &str| PURITY_LINTS.iter().any(|lint| contains_word(line, lint));
    let in_core = |source: &Source| source.path.starts_with("runtime/saga-core/src/");
    let found = |source: Source| line_faults(&source.path, source.product_lines(), is_fault);
    let faults: Vec<_> = rust_sources().into_iter().filter(in_core).flat_map(found).collect();
    assert_none(&faults, "remove the exception: what needs it belongs into saga-host");
}

#[test]
fn definitions_combine_futures_by_ctx_alone() {
    let found = dependencies(&read("sagas/Cargo.toml")).remove("dependencies").unwrap_or_default();
    let combines = |name: &String| COMBINATORS.contains(&name.as_str());
    let faults: Vec<_> = found.into_iter().filter(combines).collect();
    assert_none(&faults, "use ctx.join, ctx.race and ctx.sleep: only these are in the journal");
}

#[test]
fn the_sandbox_shares_no_code_with_the_services() {
    let workspace = read("Cargo.toml");
    let is_ours = |name: &str| {
        let line = workspace.lines().find(|line| line.starts_with(&format!("{name} ")));
        line.is_some_and(|line| line.contains("path"))
    };
    let manifest = read("services/sandbox/Cargo.toml");
    let all = dependencies(&manifest).into_values().flatten();
    let faults: Vec<_> = all.filter(|name| is_ours(name) || manifest.contains("path =")).collect();
    assert_none(&faults, "write it again: a shared mistake would not be seen");
}

#[test]
fn every_dependency_is_used() {
    let sources = rust_sources();
    let mut faults = Vec::new();
    for manifest in manifests() {
        let folder = manifest.path.strip_suffix("Cargo.toml").unwrap();
        let own: Vec<_> = sources.iter().filter(|it| it.path.starts_with(folder)).collect();
        for (section, names) in dependencies(&manifest.text) {
            for name in names {
                let ident = name.replace('-', "_");
                let uses = |line: &str| contains_word(code_of(line), &ident);
                let is_used = |source: &&Source| match section.as_str() {
                    "dev-dependencies" => source.test_lines().iter().any(|(_, line)| uses(line)),
                    // The packages below tests are test code through and through.
                    _ if folder.starts_with("tests/") => source.text.lines().any(uses),
                    _ => source.product_lines().iter().any(|(_, line)| uses(line)),
                };
                if !own.iter().any(is_used) {
                    faults.push(format!("{}: {name} of [{section}]", manifest.path));
                }
            }
        }
    }
    assert_none(&faults, "remove the line, or move it to [dev-dependencies] if only tests use it");
}

#[test]
fn no_test_is_ignored() {
    let is_fault = |line: &str| line.trim_start().starts_with("#[ignore");
    let found = |source: Source| line_faults(&source.path, source.test_lines(), is_fault);
    let faults: Vec<_> = rust_sources().into_iter().flat_map(found).collect();
    assert_none(&faults, "repair the test or remove it");
}

#[test]
fn no_test_sleeps_for_luck() {
    let mut faults = Vec::new();
    // A load keeps its pace by the clock.
    let is_load = |path: &str| path.starts_with("tests/src/bench/");
    for source in rust_sources().iter().filter(|it| it.path != THIS && !is_load(&it.path)) {
        let lines = source.test_lines();
        for (index, (number, line)) in lines.iter().enumerate() {
            if sleeps(line) && !is_in_loop(&lines[..=index]) {
                faults.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    let advice = "wait for the condition itself: a sleep may only part two looks at it";
    assert_none(&faults, &format!("{advice}, in a `loop` or a `while`"));
}

/// Whether one of the blocks around the last line is a `loop` or a `while`.
fn is_in_loop(lines: &[(usize, &str)]) -> bool {
    let indent_of = |line: &str| line.len() - line.trim_start().len();
    let mut indent = usize::MAX;
    for (_, line) in lines.iter().rev().filter(|(_, line)| !line.trim().is_empty()) {
        if indent_of(line) >= indent {
            continue;
        }
        indent = indent_of(line);
        let text = line.trim();
        if text.ends_with("loop {") || text.starts_with("while ") {
            return true;
        }
        if function_name(line).is_some() {
            return false;
        }
    }
    false
}

/// `ctx.sleep` is a step of a saga, and `sleeps` a word.
fn sleeps(line: &str) -> bool {
    let line = code_of(line);
    line.match_indices("sleep(").any(|(at, _)| {
        let before = &line[..at];
        !before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '.')
            && !before.ends_with("fn ")
    })
}

#[test]
fn nothing_is_left_for_later() {
    let is_fault = |line: &str| {
        let markers = ["TODO", "FIXME"].iter().any(|word| contains_word(line, word));
        markers || line.contains("todo!(") || line.contains("unimplemented!(")
    };
    let is_code = |source: &Source| {
        let is_script = source.path.starts_with("deploy/") || source.path.ends_with(".py");
        (source.is_rust() || is_script) && source.path != THIS
    };
    let numbered = |source: Source| line_faults(&source.path, source.numbered(), is_fault);
    let faults: Vec<_> = sources().into_iter().filter(is_code).flat_map(numbered).collect();
    assert_none(&faults, "do it now, or say in the documents that it is not there");
}

#[test]
fn every_exception_has_its_reason() {
    let mut faults = Vec::new();
    for source in rust_sources().iter().filter(|source| source.path != THIS) {
        for kind in ["allow(", "expect("] {
            for opening in [format!("#[{kind}"), format!("#![{kind}")] {
                for (at, _) in source.text.match_indices(&opening) {
                    let attribute = source.text[at..].split(")]").next().unwrap();
                    if !attribute.contains("reason") {
                        let line = source.text[..at].lines().count();
                        faults.push(format!("{}:{line}: {attribute})]", source.path));
                    }
                }
            }
        }
    }
    assert_none(&faults, "add reason = \"…\", or do without the exception");
}

#[test]
fn every_decision_is_linked_from_the_architecture() {
    let page = read("runtime/ARCHITECTURE.md");
    let is_decision = |path: &String| path.starts_with("runtime/adr/") && path.ends_with(".md");
    let name = |path: &String| path.strip_prefix("runtime/").unwrap().to_owned();
    let decisions: Vec<_> = paths().iter().filter(|path| is_decision(path)).map(name).collect();
    assert!(!decisions.is_empty(), "runtime/adr has no decisions");
    let faults: Vec<_> = decisions.into_iter().filter(|path| !page.contains(path)).collect();
    assert_none(&faults, "link it from runtime/ARCHITECTURE.md: nobody finds it otherwise");
}

#[test]
fn secrets_stand_in_one_file() {
    let settings = read("deploy/dev.env");
    let is_secret = |name: &str| {
        ["_SECRET", "_TOKEN", "_PASSWORD", "_API_KEY"].iter().any(|end| name.ends_with(end))
    };
    let secrets: Vec<_> = settings
        .lines()
        .filter_map(|line| line.split_once('='))
        .filter(|(name, _)| is_secret(name))
        .collect();
    assert!(secrets.len() > 10, "deploy/dev.env has lost its secrets, or this test its way");
    let mut faults = Vec::new();
    for source in sources().iter().filter(|source| source.path != "deploy/dev.env") {
        let repeated = secrets.iter().filter(|(_, value)| source.text.contains(value));
        faults.extend(repeated.map(|(name, _)| format!("{}: {name}", source.path)));
    }
    assert_none(&faults, "read it from deploy/dev.env: production knows and refuses its values");
}

#[test]
fn every_script_stops_at_its_first_fault() {
    let fault = |source: &Source| {
        let is_script =
            source.text.starts_with("#!") && source.text.lines().next()?.contains("bash");
        let stops = source.text.lines().any(|line| line == "set -euo pipefail");
        (is_script && !stops).then(|| source.path.clone())
    };
    let faults: Vec<_> = sources().iter().filter_map(fault).collect();
    assert_none(&faults, "begin it with `set -euo pipefail`");
}

/// The rows of the tables of a page whose first cell is a number: the number, and the tests that
/// the last cell names.
fn numbered_rows(page: &str) -> Vec<(u32, Vec<String>)> {
    let row = |line: &str| {
        let cells: Vec<_> = line.strip_prefix('|')?.trim_end_matches('|').split('|').collect();
        let number = cells[0].trim().parse().ok()?;
        let named = cells.last()?.split('`').skip(1).step_by(2);
        Some((number, named.map(str::to_owned).collect()))
    };
    page.lines().filter_map(row).collect()
}

/// Every test of the tree, in Rust and in Python.
fn tests() -> BTreeSet<String> {
    let mut tests = BTreeSet::new();
    for source in sources() {
        let lines: Vec<_> = source.text.lines().map(str::trim).collect();
        for (index, line) in lines.iter().enumerate() {
            let is_rust = source.is_rust()
                && (line.starts_with("#[test]") || line.starts_with("#[tokio::test"));
            let named = match is_rust {
                true => lines[index..].iter().find_map(|line| function_name(line)),
                false if source.path.ends_with(".py") => {
                    let name = line.trim_start_matches("async ").strip_prefix("def ");
                    name.and_then(|it| it.split('(').next()).filter(|it| it.starts_with("test_"))
                }
                false => None,
            };
            tests.extend(named.map(str::to_owned));
        }
    }
    tests
}

/// What is wrong with a table that says which test shows what.
fn table_faults(path: &str, page: &str, numbers: &[u32], prefix: &str) -> Vec<String> {
    let (rows, tests) = (numbered_rows(page), tests());
    let mut faults = Vec::new();
    let listed: Vec<u32> = rows.iter().map(|it| it.0).collect();
    if listed != numbers {
        faults.push(format!("{path}: the rows are {listed:?}, and should be {numbers:?}"));
    }
    for (number, named) in &rows {
        if named.is_empty() {
            faults.push(format!("{path}: row {number} names no test"));
        }
        let gone = named.iter().filter(|it| !tests.contains(*it));
        faults.extend(gone.map(|it| format!("{path}: row {number}: there is no test {it}")));
        // Each test that has the number of a row stands in that row.
        let own = format!("{prefix}{number:02}_");
        let unlisted = tests.iter().filter(|it| it.starts_with(&own) && !named.contains(it));
        faults.extend(unlisted.map(|it| format!("{path}: row {number} lacks {it}")));
    }
    faults
}

#[test]
fn every_line_of_the_acceptance_has_its_tests() {
    const PAGE: &str = "tests/ACCEPTANCE.md";
    let lines: Vec<u32> = (1..=25).filter(|it| *it != 23).collect();
    let page = read(PAGE);
    let mut faults = table_faults(PAGE, &page, &lines, "line_");
    for (number, named) in numbered_rows(&page) {
        let own = format!("line_{number:02}_");
        if !named.iter().any(|it| it.starts_with(&own)) {
            faults.push(format!("{PAGE}: row {number} has no test named {own}…"));
        }
    }
    assert_none(&faults, "name the test after its line, and list it there");
}

#[test]
fn every_promise_has_tests_that_try_to_break_it() {
    const PAGE: &str = "runtime/ARCHITECTURE.md";
    let page = read(PAGE);
    let promises = page.split("\n## ").find(|it| it.starts_with("What we promise\n"));
    let promises = promises.expect("the architecture says what we promise");
    let numbers: Vec<u32> = (1..=11).collect();
    let faults = table_faults(PAGE, promises, &numbers, "promise_");
    assert_none(&faults, "list the tests that try to break the promise beside it");
}
