use super::streams::differences;
use super::watch::{echo_number, is_new_enough, repeated_answer};
use super::*;

#[test]
fn versions_are_compared_as_numbers() {
    for good in ["2.12.0", "2.15.1", "3.0.0", "v2.12.1-RC.1"] {
        assert!(is_new_enough(good), "{good}");
    }
    for bad in ["2.9.10", "2.11.99", "1.99.0", "", "latest"] {
        assert!(!is_new_enough(bad), "{bad}");
    }
}

#[test]
fn prefixes_that_overlap_or_are_no_names_are_refused() {
    let subjects = trigger_subjects(&["shop".into()]).expect("a new prefix");
    assert_eq!(subjects.last().map(String::as_str), Some("shop.trigger.>"));
    for bad in ["orders", "*", "a.b", "", "x>"] {
        assert!(trigger_subjects(&[bad.into()]).is_err(), "{bad}");
    }
    assert!(trigger_subjects(&["a".into(), "a".into()]).is_err());
}

#[test]
fn each_setting_that_differs_is_named() {
    let wanted = triggers_stream(vec!["a.trigger.>".into()], 1024, 1);
    let mut applied = wanted.clone();
    assert!(differences(&wanted, &applied).is_empty());
    applied.max_bytes = 2048;
    applied.subjects.clear();
    let lines = differences(&wanted, &applied);
    assert!(lines.contains(&"max_bytes: asked for 1024, is 2048".to_owned()), "{lines:?}");
    assert!(lines.iter().any(|line| line.starts_with("subjects: asked for")), "{lines:?}");
}

#[test]
fn a_refused_echo_is_told_from_other_refusals() {
    let text = "Permissions Violation for Publish to \"_INBOX_order.echo.7f.17\"";
    let number = |text| echo_number(text, "_INBOX_order.echo.7f.");
    assert_eq!(number(text), Some(17));
    let text = "Permissions Violation for Publish to \"payments.trigger.completed\"";
    assert_eq!(number(text), None);
    let text = "Permissions Violation for Publish to \"x.echo.7f.17\"";
    assert_eq!(number(text), None, "somebody else's");
}

#[test]
fn an_answer_that_was_given_before_is_no_subject_that_is_refused() {
    let refusal = |subject: &str| format!("Permissions Violation for Publish to \"{subject}\"");
    assert!(repeated_answer(&refusal("fermata.reply.saga.1.0.undo")));
    for subject in ["fermata.receipt.order", "payments.trigger.completed", "fermata.reply"] {
        assert!(!repeated_answer(&refusal(subject)), "{subject}");
    }
    assert!(!repeated_answer("Permissions Violation for Subscription to \"fermata.reply.>\""));
}
