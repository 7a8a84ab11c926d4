//! What a divergence differs in, told in a line: places, kinds and sizes. Bodies are personal and
//! may be long, and the line stands in lists.

use crate::{exact::Tree, journal::Decision, text::cut};
use std::{collections::BTreeSet, fmt};

/// Places that are named; the first ones say enough.
const PLACES_MAX: usize = 3;
/// Of a business key, a name of an author's.
const WORD_CHARS_MAX: usize = 80;

/// What was recorded, and what was asked instead.
pub(crate) struct Difference<'a> {
    pub(crate) recorded: Option<&'a Decision>,
    pub(crate) asked: Option<&'a Decision>,
}

impl fmt::Display for Difference<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = |it: Option<&Decision>| it.map_or("nothing".to_owned(), brief);
        let (recorded, asked) = (told(self.recorded), told(self.asked));
        write!(f, "recorded: {recorded}; asked: ")?;
        match (self.recorded, self.asked) {
            (Some(one), Some(other)) if recorded == asked => {
                write!(f, "the same with other {}", places(one, other))
            }
            _ => f.write_str(&asked),
        }
    }
}

/// A decision without what it carries.
fn brief(decision: &Decision) -> String {
    let word = |it: &str| cut(it, WORD_CHARS_MAX).into_owned();
    match decision {
        Decision::Call { step, command, undo, .. } => {
            let undo = undo.as_ref().map(|it| format!(", undo {}", word(&it.subject)));
            format!("{step} call {}{}", word(&command.subject), undo.unwrap_or_default())
        }
        Decision::Wait { step, events, key, ask, .. } => {
            let verb = if ask.is_some() { "ask" } else { "wait" };
            format!("{step} {verb} {} of {}", word(&events.join(" or ")), word(key))
        }
        Decision::Publish { step, command, key } => {
            format!("{step} publish {} of {}", word(&command.subject), word(key))
        }
        Decision::Undo { step, command } => format!("{step} undo {}", word(&command.subject)),
        Decision::Patch { id } => format!("patch {}", word(id)),
        Decision::Complete { .. } => "complete".to_owned(),
        Decision::Abort { abort, .. } => format!("abort, {}", abort.kind.as_str()),
        Decision::Sleep { .. }
        | Decision::Commit
        | Decision::Close { .. }
        | Decision::Abandoned { .. } => decision.to_string(),
    }
}

/// The places at which two decisions differ, with what stands there.
fn places(recorded: &Decision, asked: &Decision) -> String {
    let mut places = Vec::new();
    let (mut one, mut other) = (recorded.clone(), asked.clone());
    let bodies = [one.take_bodies(), other.take_bodies()];
    let frame = [&one, &other].map(|it| serde_json::to_string(it).unwrap_or_default());
    let [one, other] = frame.each_ref().map(|it| Tree::read(it).unwrap_or(Tree::Null));
    differ("", Some(&one), Some(&other), &mut places);
    let [ones, others] = &bodies;
    for (one, other) in ones.iter().zip(others) {
        let tree = |it| Tree::read(it).unwrap_or(Tree::Null);
        differ("", Some(&tree(one.text())), Some(&tree(other.text())), &mut places);
    }
    places.truncate(PLACES_MAX);
    places.join(", ")
}

fn differ(
    pointer: &str,
    recorded: Option<&Tree<'_>>,
    asked: Option<&Tree<'_>>,
    places: &mut Vec<String>,
) {
    if recorded == asked || PLACES_MAX <= places.len() {
        return;
    }
    let inner = |name: &str| format!("{pointer}/{}", cut(name, WORD_CHARS_MAX));
    match (recorded, asked) {
        (Some(Tree::Object(one)), Some(Tree::Object(other))) => {
            let names: BTreeSet<_> = one.keys().chain(other.keys()).collect();
            for name in names {
                differ(&inner(name), one.get(name), other.get(name), places);
            }
        }
        (Some(Tree::List(one)), Some(Tree::List(other))) if one.len() == other.len() => {
            for (number, (one, other)) in one.iter().zip(other).enumerate() {
                differ(&inner(&number.to_string()), Some(one), Some(other), places);
            }
        }
        _ => {
            let place = if pointer.is_empty() { "body" } else { pointer };
            places.push(format!("{place} ({}, recorded: {})", kind(asked), kind(recorded)));
        }
    }
}

fn kind(tree: Option<&Tree<'_>>) -> String {
    match tree {
        None => "nothing".to_owned(),
        Some(Tree::Null) => "null".to_owned(),
        Some(Tree::Bool(_)) => "a boolean".to_owned(),
        Some(Tree::Number(it)) => format!("a number of {} characters", it.plain().len()),
        Some(Tree::Text(it)) => format!("a text of {} characters", it.chars().count()),
        Some(Tree::List(it)) => format!("a list of {}", it.len()),
        Some(Tree::Object(it)) => format!("an object of {} fields", it.len()),
    }
}
