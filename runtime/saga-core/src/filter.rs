//! Filters are data: recorded with the wait, matched by the core, shown to whoever asks why.

use crate::{
    exact::{self, Tree},
    payload::Payload,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};
use std::{cmp::Ordering, fmt, marker::PhantomData, sync::Arc};

/// A conjunction of tests; an empty one lets every event of the lane through.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Filter(pub Vec<Test>);

/// One comparison of a field of the event with a value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Test {
    /// JSON pointer (RFC 6901) into the body of the event.
    pub pointer: String,
    /// The comparison.
    pub op: Op,
    /// What the field is compared with.
    pub value: Literal,
}

/// A JSON value with all of its digits; equal to another one when it says the same.
#[derive(Clone)]
pub struct Literal(Arc<RawValue>);

impl Literal {
    /// The JSON form of a value. What has none equals nothing, and shows as `null` to whoever asks
    /// why.
    pub fn of(value: &impl Serialize) -> Literal {
        let raw = to_raw_value(value).unwrap_or_else(|_| RawValue::NULL.to_owned());
        Literal(Arc::from(raw))
    }

    /// The JSON text.
    pub fn text(&self) -> &str {
        self.0.get()
    }

    /// The same as a body.
    pub fn to_payload(&self) -> Payload {
        Payload::from_raw(self.0.clone())
    }
}

impl Serialize for Literal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.as_ref().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Literal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Literal, D::Error> {
        Box::<RawValue>::deserialize(deserializer).map(|it| Literal(Arc::from(it)))
    }
}

impl PartialEq for Literal {
    fn eq(&self, other: &Literal) -> bool {
        self.text() == other.text()
            || exact::canonical(self.text()) == exact::canonical(other.text())
    }
}

impl fmt::Debug for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// How a field is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// Equal; numbers compare by value, so 5 equals 5.0.
    Eq,
    /// Present and not equal.
    Ne,
    /// Equal to one of the values of an array.
    In,
    /// Less than.
    Lt,
    /// Less than or equal.
    Le,
    /// Greater than.
    Gt,
    /// Greater than or equal.
    Ge,
    /// Present (`true`) or absent (`false`).
    Exists,
}

impl Filter {
    /// Whether every test holds for this body.
    pub fn holds(&self, body: &Tree<'_>) -> bool {
        self.0.iter().all(|test| test.holds(body))
    }

    /// The same for a body that may have to be read; one that no tree can hold passes no test.
    pub(crate) fn passes(&self, body: &Payload) -> bool {
        self.0.is_empty() || body.tree().is_ok_and(|it| self.holds(&it))
    }

    /// The first test that does not hold, for whoever asks why an event was not taken.
    pub fn refusal<'a>(&'a self, body: &Tree<'_>) -> Option<&'a Test> {
        self.0.iter().find(|test| !test.holds(body))
    }
}

impl Test {
    /// What is absent, or of another type, satisfies no comparison, not even `ne`.
    fn holds(&self, body: &Tree<'_>) -> bool {
        let found = body.at(&self.pointer);
        let Ok(value) = Tree::read(self.value.text()) else { return false };
        if self.op == Op::Exists {
            return Tree::Bool(found.is_some()) == value;
        }
        let Some(found) = found else { return false };
        let order = compare(found, &value);
        match self.op {
            Op::Eq => *found == value,
            Op::Ne => is_same_type(found, &value) && *found != value,
            Op::In => matches!(value, Tree::List(any) if any.contains(found)),
            Op::Lt => order.is_some_and(Ordering::is_lt),
            Op::Le => order.is_some_and(Ordering::is_le),
            Op::Gt => order.is_some_and(Ordering::is_gt),
            Op::Ge => order.is_some_and(Ordering::is_ge),
            Op::Exists => false,
        }
    }
}

fn is_same_type(a: &Tree<'_>, b: &Tree<'_>) -> bool {
    std::mem::discriminant(a) == std::mem::discriminant(b)
}

fn compare(a: &Tree<'_>, b: &Tree<'_>) -> Option<Ordering> {
    match (a, b) {
        (Tree::Text(a), Tree::Text(b)) => Some(a.cmp(b)),
        (Tree::Number(a), Tree::Number(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

/// A field of event `E` with values of type `T`: a comparison with the wrong type, or in a wait for
/// another event, does not compile.
pub struct Field<E, T> {
    pointer: &'static str,
    of: PhantomData<(E, T)>,
}

/// A test that belongs to event `E`.
pub struct Where<E> {
    pub(crate) test: Test,
    of: PhantomData<E>,
}

impl<E, T: Serialize> Field<E, T> {
    /// Names the field by its JSON pointer.
    pub const fn at(pointer: &'static str) -> Self {
        Field { pointer, of: PhantomData }
    }

    /// The field equals the value.
    pub fn eq(self, value: &T) -> Where<E> {
        self.test(Op::Eq, value)
    }

    /// The field is there and differs from the value.
    pub fn ne(self, value: &T) -> Where<E> {
        self.test(Op::Ne, value)
    }

    /// The field equals one of the values.
    pub fn one_of(self, values: &[T]) -> Where<E> {
        self.test(Op::In, values)
    }

    /// The field is at least the value.
    pub fn at_least(self, value: &T) -> Where<E> {
        self.test(Op::Ge, value)
    }

    /// The field is at most the value.
    pub fn at_most(self, value: &T) -> Where<E> {
        self.test(Op::Le, value)
    }

    fn test(self, op: Op, value: impl Serialize) -> Where<E> {
        let (pointer, value) = (self.pointer.to_owned(), Literal::of(&value));
        Where { test: Test { pointer, op, value }, of: PhantomData }
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let op = match self.op {
            Op::Eq => "eq",
            Op::Ne => "ne",
            Op::In => "in",
            Op::Lt => "lt",
            Op::Le => "le",
            Op::Gt => "gt",
            Op::Ge => "ge",
            Op::Exists => "exists",
        };
        write!(f, "{} {op} {}", self.pointer, self.value.text())
    }
}
