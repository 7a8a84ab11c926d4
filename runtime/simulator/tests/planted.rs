//! Each planted fault can be put back into the tree as it is, and says who finds it.

use simulator::kinds::KINDS;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// More than these are not looked at: a fault that is found later is not found.
const CASES_MAX: u64 = 2_000;

fn patches() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("planted");
    let entries = fs::read_dir(folder).expect("there are planted faults");
    entries.map(|it| it.expect("the folder can be read").path()).collect()
}

#[test]
fn each_planted_fault_applies_and_names_its_checker_and_its_cases() {
    let world = ["world/answers.rs", "world/offers.rs", "world/people.rs", "world/search.rs"];
    let checks = ["checks.rs", "blame.rs"].into_iter().chain(world);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let sources: String =
        checks.map(|it| fs::read_to_string(source.join(it)).expect("it is there")).collect();
    for patch in patches() {
        let text = fs::read_to_string(&patch).expect("a patch can be read");
        let field = |name: &str| {
            let head = text.lines().take_while(|line| !line.starts_with("diff "));
            let value = head.filter_map(|line| line.strip_prefix(name)).next();
            value.unwrap_or_else(|| panic!("{} lacks {name}", patch.display())).trim().to_owned()
        };
        let checker = field("Checker:");
        assert!(sources.contains(&format!("\"{checker}\"")), "there is no checker {checker}");
        let kind = field("Kind:");
        assert!(KINDS.iter().any(|it| it.name == kind), "there is no kind {kind}");
        let cases = field("Cases:").parse::<u64>();
        assert!(cases.is_ok_and(|it| (1..=CASES_MAX).contains(&it)), "{}", patch.display());
        let applies = Command::new("git")
            .args(["apply", "--check"])
            .arg(&patch)
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
            .output()
            .expect("git is needed to look at patches");
        let why = String::from_utf8_lossy(&applies.stderr);
        assert!(applies.status.success(), "bring {} up to date: {why}", patch.display());
    }
}
