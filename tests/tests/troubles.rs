//! First errors of `deploy/TROUBLESHOOTING.md` that nobody can bring about from outside. The others
//! are in `tests/python/test_troubleshooting.py`, which also sees that each heading has its test.

use std::{fs, process::Command, time::Duration};
use system_tests::{
    Failure,
    stack::{Stack, binary, root},
};

/// The segment size of our stores: sled refuses to open them with another.
const SEGMENT_BYTES: usize = 2 << 20;
/// The row in which a store says what it is; it begins with the format.
const META: [u8; 2] = [0, b'm'];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_is_of_another_version() -> Result<(), Failure> {
    let mut stack = Stack::start(&[]).await?;
    for process in ["order", "fermata"] {
        stack.signal(process, libc::SIGTERM)?;
        assert_eq!(stack.ended(process).await?, Some(0), "{process} stops");
        let dir = stack.dir().join(process);
        let store = dir.join("store");
        let tree = sled::Config::new().path(&store).segment_size(SEGMENT_BYTES).open();
        let tree = tree.map_err(|err| err.to_string())?;
        let mut meta = tree.get(META).ok().flatten().ok_or("the store has no row of its own")?;
        meta[..4].copy_from_slice(&2_u32.to_be_bytes());
        tree.insert(META, meta).map_err(|err| err.to_string())?;
        drop(tree);

        let mut command = Command::new("timeout");
        let seconds = Duration::from_secs(30).as_secs().to_string();
        command.arg(seconds).arg(binary(process)?).env_clear().envs(stack.env());
        command.args((process == "fermata").then_some("serve")).current_dir(root());
        let ended = command.output().map_err(|err| err.to_string())?;
        assert_ne!(ended.status.code(), Some(0), "{process} does not serve it");
        assert_ne!(ended.status.code(), Some(124), "{process} does not serve it");
        let said = String::from_utf8_lossy(&[ended.stdout, ended.stderr].concat()).into_owned();
        let sentence = format!(
            "the store in {} has format 2, this program reads format 1: use the release that \
             wrote it",
            dir.display()
        );
        assert!(said.contains(&sentence), "{process} says `{sentence}`: {said}");
    }
    let page = fs::read_to_string(root().join("deploy/TROUBLESHOOTING.md"));
    let page = page.map_err(|err| err.to_string())?.replace("\n> ", " ");
    let promised = "has format 2, this program reads format 1: use the release that wrote it";
    assert!(page.contains(promised), "the page tells of it");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_is_not_the_one_that_is_known() -> Result<(), Failure> {
    let mut stack = Stack::start(&[]).await?;
    let second = stack.dir().join("second");
    let page = fs::read_to_string(root().join("deploy/TROUBLESHOOTING.md"));
    let page = page.map_err(|err| err.to_string())?.replace("\n> ", " ");

    let mut command = Command::new("timeout");
    command.arg("30").arg(binary("fermata")?).arg("serve").env_clear().envs(stack.env());
    command.env("FERMATA_DATA_DIR", &second).env("FERMATA_HTTP_ADDR", "127.0.0.1:0");
    let ended = command.current_dir(root()).output().map_err(|err| err.to_string())?;
    assert_eq!(ended.status.code(), Some(78), "a second runtime is refused");
    let said = String::from_utf8_lossy(&[ended.stdout, ended.stderr].concat()).into_owned();
    for part in [
        "another fermata (process ",
        "is at work at this broker: only one may be",
        "and nothing was taken or sent by this one; stop that one, or give this one a broker of",
    ] {
        assert!(said.contains(part) && page.contains(part), "{part} is not in {said}");
    }

    for process in ["payment", "fermata"] {
        stack.stop(process).await?;
        let said = stack.refused(process, "empty").await?;
        for part in [
            "and ends at position 0, but the broker knows",
            "this is the wrong directory, or an empty one where a disk should be; start it with",
            "the right one. To give that store up for this one:",
            "--reason WHY`, and start it again",
        ] {
            assert!(said.contains(part) && page.contains(part), "{part} is not in {said}");
        }
        let typed = said.split_once('`').and_then(|it| it.1.split_once('`'));
        let typed = typed.ok_or("no command is named")?.0;
        let words: Vec<&str> = typed.split(' ').collect();
        let mut command = Command::new(binary(words[0])?);
        command.args(&words[1..]).env_clear().envs(stack.env());
        let name = format!("{}_DATA_DIR", process.to_uppercase());
        let ended = command.env(name, stack.dir().join("empty")).output();
        let ended = ended.map_err(|err| err.to_string())?;
        assert!(ended.status.success(), "`{typed}`: {}", String::from_utf8_lossy(&ended.stderr));
        let name = format!("{}_DATA_DIR", process.to_uppercase());
        let empty = stack.dir().join("empty").display().to_string();
        stack.spawn_with(process, &[(&name, &empty)])?;
        stack.ready(process).await?;
        fs::rename(stack.dir().join("empty"), stack.dir().join(format!("new-{process}")))
            .map_err(|err| err.to_string())?;
    }
    Ok(())
}
