use super::*;

fn faults(source: Source) -> String {
    source.finish(|| Some(())).expect_err("faults were expected").to_string()
}

#[test]
fn all_faults_are_listed_at_once_with_name_found_and_expected() {
    let mut source = Source::from_pairs([("ORDER_HTTP_ADDR", "localhost"), ("LIMIT", "-1")]);
    source.listen_addr("ORDER_HTTP_ADDR", ([127, 0, 0, 1], 3001).into());
    source.or::<u32>("LIMIT", 5, "a number of requests");
    source.directory("ORDER_DATA_DIR");
    let text = faults(source);
    assert_eq!(
        text,
        "cannot use 3 of the settings:\
         \n  ORDER_HTTP_ADDR: found \"localhost\"; expected an address and a port such as \
         127.0.0.1:3001\
         \n  LIMIT: found \"-1\"; expected a number of requests\
         \n  ORDER_DATA_DIR: not set; expected the path of a directory"
    );
}

#[test]
fn a_secrets_value_is_never_shown() {
    let mut source = Source::from_pairs([("KEY", "hunter2-dev-x"), ("LIST", "a-secret,,b-secret")]);
    assert!(source.secret("KEY", "a key").is_none());
    assert!(source.secrets("LIST", "secrets").is_none());
    assert!(!format!("{source:?}").contains("secret,"));
    let text = faults(source);
    assert!(!text.contains("hunter2") && !text.contains("a-secret"), "{text}");
}

#[test]
fn production_is_the_default_and_refuses_development_secrets() {
    for value in ["dev-viewer", "whsec_dev_x", "nats://order:dev-order@127.0.0.1:4222"] {
        let mut source = Source::from_pairs([("KEY", value)]);
        assert_eq!(source.environment(), Environment::Production);
        assert!(source.secret("KEY", "a key").is_none(), "{value}");
        assert!(faults(source).contains("development set-up (hidden)"));
        let mut source = Source::from_pairs([("KEY", value), ("FERMATA_ENV", "development")]);
        assert_eq!(source.secret("KEY", "a key").expect("allowed").expose(), value);
    }
    for value in ["bootdev-1", "devel_2", "s3cr3t", "nats://order:s3cr3t@dev-1.example:4222"] {
        let mut source = Source::from_pairs([("KEY", value)]);
        assert!(source.secret("KEY", "a key").is_some(), "{value}");
    }
}

#[test]
fn an_unknown_environment_is_a_fault() {
    let source = Source::from_pairs([("FERMATA_ENV", "staging")]);
    assert!(faults(source).contains("FERMATA_ENV: found \"staging\"; expected production or"));
}

#[test]
fn a_secret_can_stand_in_a_file_but_not_in_both_places() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("secret");
    std::fs::write(&path, "s3cr3t\n").expect("written");
    let path = path.display().to_string();
    let mut source = Source::from_pairs([("KEY_FILE", path.as_str())]);
    assert_eq!(source.secret("KEY", "a key").expect("read").expose(), "s3cr3t");
    let mut source = Source::from_pairs([("KEY_FILE", path.as_str()), ("KEY", "other")]);
    assert!(source.secret("KEY", "a key").is_none());
    assert!(faults(source).contains("KEY: set both here and in KEY_FILE; expected one of the two"));
    let mut source = Source::from_pairs([("KEY_FILE", "/nonexistent/key")]);
    assert!(source.secret("KEY", "a key").is_none());
    assert!(faults(source).contains("KEY_FILE: cannot read"));
}

#[test]
fn what_stands_around_a_secret_is_no_part_of_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("secret");
    let file = path.display().to_string();
    for text in ["s3cr3t", "s3cr3t\n", "s3cr3t\r\n", "\u{feff}s3cr3t\r\n", " \ts3cr3t \n\n"] {
        std::fs::write(&path, text).expect("written");
        for set in [("KEY", text), ("KEY_FILE", &file)] {
            let mut source = Source::from_pairs([set]);
            assert_eq!(source.secret("KEY", "a key").expect("read").expose(), "s3cr3t", "{text:?}");
            let mut source = Source::from_pairs([set]);
            let list = source.secrets("KEY", "keys").expect("read");
            assert_eq!(list[0].expose(), "s3cr3t", "{text:?}");
        }
    }
    for text in ["s3c\nr3t", "s3c\r\nr3t\n", "s3c\0r3t", "one,\ntwo"] {
        std::fs::write(&path, text).expect("written");
        for set in [("KEY", text), ("KEY_FILE", &file)] {
            let mut source = Source::from_pairs([set]);
            assert!(source.secrets("KEY", "keys").is_none(), "{text:?}");
            let said = faults(source);
            assert!(said.contains("KEY: found a line break") && !said.contains("r3t"), "{said}");
        }
    }
    for text in ["\n", "\u{feff}", " \r\n"] {
        let mut source = Source::from_pairs([("KEY", text)]);
        assert!(source.secret("KEY", "a key").is_none(), "{text:?}");
    }
}

#[test]
fn a_file_of_another_system_is_read_as_well() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("settings");
    std::fs::write(&path, "\u{feff}# of an editor\r\nA=1\r\nB=two words\r\n").expect("written");
    let mut faults = Vec::new();
    let settings = file::read(&path, &mut faults);
    assert_eq!((settings["A"].as_str(), settings["B"].as_str()), ("1", "two words"));
    assert_eq!(faults, []);
}

#[test]
fn a_list_of_secrets_is_split_at_commas() {
    let mut source = Source::from_pairs([("KEYS", "one, two")]);
    let list = source.secrets("KEYS", "keys").expect("a list");
    assert_eq!(list.iter().map(Secret::expose).collect::<Vec<_>>(), ["one", "two"]);
}

#[test]
fn the_file_is_read_line_by_line_and_its_faults_hide_the_content() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("settings");
    let text = "# comment\n\nA=1\nB = \"two words\"\nC='x'\nA=2\nnonsense s3cr3t\n1X=3\n";
    std::fs::write(&path, text).expect("written");
    let mut faults = Vec::new();
    let settings = file::read(&path, &mut faults);
    assert_eq!(settings["B"], "two words");
    assert_eq!(settings["C"], "x");
    let text = ConfigError { faults }.to_string();
    assert!(text.contains(":6: A is set twice"), "{text}");
    assert!(text.contains(":7: the line is not KEY=value"), "{text}");
    assert!(text.contains(":8: the line is not KEY=value"), "{text}");
    assert!(!text.contains("s3cr3t"), "{text}");
}

#[test]
fn a_duration_of_zero_is_a_fault_and_the_default_is_kept_otherwise() {
    let mut source = Source::from_pairs([("A_MS", "0")]);
    assert_eq!(source.milliseconds("B_MS", Duration::from_secs(2)), Some(Duration::from_secs(2)));
    assert!(source.milliseconds("A_MS", Duration::from_secs(2)).is_none());
    assert!(faults(source).contains("A_MS: found 0; expected a number of milliseconds"));
}

#[test]
fn production_refuses_every_secret_of_the_checked_in_development_file() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/dev.env");
    let mut faults = Vec::new();
    let settings = file::read(path.as_ref(), &mut faults);
    assert_eq!(faults, [], "the file is well-formed");
    let is_secret = |name: &str| {
        ["_SECRET", "_TOKEN", "_PASSWORD", "_API_KEY", "NATS_URL"]
            .iter()
            .any(|it| name.ends_with(it))
    };
    let secrets: Vec<_> = settings.iter().filter(|(name, _)| is_secret(name)).collect();
    assert!(secrets.len() > 10, "they are there: {settings:?}");
    for (name, value) in secrets {
        let mut source = Source::from_pairs([(name, value)]);
        assert!(source.secret(name, "a secret").is_none(), "{name}");
    }
}
