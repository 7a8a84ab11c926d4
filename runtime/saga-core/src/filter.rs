//! Filters are data: recorded with the wait, matched by the core, shown to whoever asks why.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{cmp::Ordering, fmt, marker::PhantomData};

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
    pub value: Value,
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
    pub fn holds(&self, body: &Value) -> bool {
        self.0.iter().all(|test| test.holds(body))
    }

    /// The first test that does not hold, for whoever asks why an event was not taken.
    pub fn refusal<'a>(&'a self, body: &Value) -> Option<&'a Test> {
        self.0.iter().find(|test| !test.holds(body))
    }
}

impl Test {
    /// What is absent, or of another type, satisfies no comparison, not even `ne`.
    fn holds(&self, body: &Value) -> bool {
        let found = body.pointer(&self.pointer);
        if self.op == Op::Exists {
            return Value::Bool(found.is_some()) == self.value;
        }
        let Some(found) = found else { return false };
        let order = compare(found, &self.value);
        match self.op {
            Op::Eq => equal(found, &self.value),
            Op::Ne => is_same_type(found, &self.value) && !equal(found, &self.value),
            Op::In => {
                self.value.as_array().is_some_and(|any| any.iter().any(|it| equal(found, it)))
            }
            Op::Lt => order.is_some_and(Ordering::is_lt),
            Op::Le => order.is_some_and(Ordering::is_le),
            Op::Gt => order.is_some_and(Ordering::is_gt),
            Op::Ge => order.is_some_and(Ordering::is_ge),
            Op::Exists => false,
        }
    }
}

fn equal(a: &Value, b: &Value) -> bool {
    a == b || compare(a, b).is_some_and(Ordering::is_eq)
}

fn is_same_type(a: &Value, b: &Value) -> bool {
    std::mem::discriminant(a) == std::mem::discriminant(b)
}

fn compare(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        (Value::Number(a), Value::Number(b)) => match (a.as_i128(), b.as_i128()) {
            (Some(a), Some(b)) => Some(a.cmp(&b)),
            _ => a.as_f64()?.partial_cmp(&b.as_f64()?),
        },
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
        // A value that has no JSON form equals nothing, and shows as `null` to whoever asks why.
        let value = serde_json::to_value(value).unwrap_or(Value::Null);
        Where { test: Test { pointer: self.pointer.to_owned(), op, value }, of: PhantomData }
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
        write!(f, "{} {op} {}", self.pointer, self.value)
    }
}
