//! Each planted fault can be put back into the tree as it is, and says who finds it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

fn patches() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("planted");
    let entries = fs::read_dir(folder).expect("there are planted faults");
    entries.map(|it| it.expect("the folder can be read").path()).collect()
}

#[test]
fn each_planted_fault_applies_and_names_its_checker_and_its_cases() {
    let checks = ["checks.rs", "blame.rs", "world/offers.rs", "world/people.rs", "world/search.rs"];
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let sources: String =
        checks.iter().map(|it| fs::read_to_string(source.join(it)).expect("it is there")).collect();
    for patch in patches() {
        let text = fs::read_to_string(&patch).expect("a patch can be read");
        let field = |name: &str| {
            let head = text.lines().take_while(|line| !line.starts_with("diff "));
            let value = head.filter_map(|line| line.strip_prefix(name)).next();
            value.unwrap_or_else(|| panic!("{} lacks {name}", patch.display())).trim().to_owned()
        };
        let checker = field("Checker:");
        assert!(sources.contains(&format!("\"{checker}\"")), "there is no checker {checker}");
        assert!(field("Cases:").parse().is_ok_and(|it: u64| 0 < it), "{}", patch.display());
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
