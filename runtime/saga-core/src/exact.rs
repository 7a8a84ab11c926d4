//! JSON as a tree that loses nothing: numbers keep their digits and compare by value, and what no
//! tree can hold is refused with its place. Other readers make of a long number the nearest that
//! they know, and of two names the last.

mod number;
mod reader;

pub use number::Number;
pub use reader::{Unreadable, Why};

use std::{borrow::Cow, collections::BTreeMap};

/// A JSON value; equal to another one when it says the same.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the kinds of JSON")]
pub enum Tree<'a> {
    Null,
    Bool(bool),
    Number(Number<'a>),
    Text(Cow<'a, str>),
    List(Vec<Tree<'a>>),
    Object(BTreeMap<Cow<'a, str>, Tree<'a>>),
}

impl<'a> Tree<'a> {
    /// Reads one JSON value.
    ///
    /// # Errors
    /// It is no JSON, or no tree can hold it.
    pub fn read(text: &'a str) -> Result<Tree<'a>, Unreadable> {
        reader::read(text)
    }

    /// What a JSON pointer (RFC 6901) leads to.
    pub fn at(&self, pointer: &str) -> Option<&Tree<'a>> {
        if pointer.is_empty() {
            return Some(self);
        }
        let names = pointer.strip_prefix('/')?.split('/');
        names.map(|it| it.replace("~1", "/").replace("~0", "~")).try_fold(self, |tree, name| {
            match tree {
                Tree::Object(fields) => fields.get(name.as_str()),
                Tree::List(items) => items.get(index(&name)?),
                _ => None,
            }
        })
    }

    /// A text or a number as a business key; equal numbers are equal keys.
    pub fn key(&self) -> Option<Cow<'a, str>> {
        match self {
            Tree::Text(text) => Some(text.clone()),
            Tree::Number(number) => Some(number.plain().into()),
            _ => None,
        }
    }

    /// The same text for whatever says the same: names in order, no white space, each number in one
    /// form.
    pub fn canonical(&self) -> String {
        let mut text = String::new();
        self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) {
        match self {
            Tree::Null => text.push_str("null"),
            Tree::Bool(it) => text.push_str(if *it { "true" } else { "false" }),
            Tree::Number(number) => text.push_str(&number.to_string()),
            Tree::Text(it) => quote(text, it),
            Tree::List(items) => {
                text.push('[');
                for (number, it) in items.iter().enumerate() {
                    text.push_str(if number > 0 { "," } else { "" });
                    it.write(text);
                }
                text.push(']');
            }
            Tree::Object(fields) => {
                text.push('{');
                for (number, (name, it)) in fields.iter().enumerate() {
                    text.push_str(if number > 0 { "," } else { "" });
                    quote(text, name);
                    text.push(':');
                    it.write(text);
                }
                text.push('}');
            }
        }
    }
}

/// The canonical form of a text, or the text itself when no tree can hold it: what cannot be read
/// is the same as nothing but itself.
pub fn canonical(text: &str) -> Cow<'_, str> {
    match Tree::read(text) {
        Ok(tree) => tree.canonical().into(),
        Err(_) => text.into(),
    }
}

fn quote(text: &mut String, it: &str) {
    text.push('"');
    for char in it.chars() {
        match char {
            '"' | '\\' => text.extend(['\\', char]),
            ..' ' => text.push_str(&format!("\\u{:04x}", u32::from(char))),
            _ => text.push(char),
        }
    }
    text.push('"');
}

/// A pointer's name as the place in a list: `01` is none.
fn index(name: &str) -> Option<usize> {
    let number: usize = name.parse().ok()?;
    (number.to_string() == name).then_some(number)
}
