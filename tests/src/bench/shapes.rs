//! Shapes in which much is stored: what twice as much costs is held against what once costs. Each
//! is the core alone, as in [`alone`](super::alone).

use super::{
    alone::{Desk, Written},
    definitions::{
        ALL, Begin, Call, Called, CalledAll, CopyBegins, FanBegins, GoOn, KeysBegin, SeatBegins,
        StepsBegin, Turned,
    },
};
use crate::Failure;
use saga_core::{
    core::{HeadQuery, Limits},
    fold::Status,
};

/// Runs one saga of so many calls, one after the other: one more of them is one more plain turn.
///
/// # Errors
/// The saga does not end.
pub fn steps(count: u32) -> Result<Written, Failure> {
    let mut desk = Desk::new()?;
    desk.events(&names("alone", 1), StepsBegin::SUBJECT, begin(count))?;
    answer_all(&mut desk, count)?;
    desk.written(1)
}

/// One saga of so many calls beside each other, whose answers come one by one.
///
/// # Errors
/// The saga does not end.
pub fn fan(count: u32) -> Result<Written, Failure> {
    let mut desk = Desk::new()?;
    desk.events(&names("alone", 1), FanBegins::SUBJECT, begin(count))?;
    for request in desk.take_asked() {
        desk.answer_to(&request)?;
    }
    desk.written(1)
}

/// One saga that waits for so many keys, one after the other.
///
/// # Errors
/// The saga does not end.
pub fn keys(count: u32) -> Result<Written, Failure> {
    let mut desk = Desk::new()?;
    desk.events(&names("alone", 1), KeysBegin::SUBJECT, begin(count))?;
    for key in names("alone-0", count) {
        desk.events(&[key], Turned::SUBJECT, |key| GoOn { key })?;
    }
    desk.written(1)
}

/// The first answer of a saga with so many entries comes so many times again, while the saga is not
/// in memory.
///
/// # Errors
/// The store cannot be read.
pub fn repeats(count: u32) -> Result<Written, Failure> {
    let mut desk = Desk::new()?;
    desk.events(&names("alone", 1), StepsBegin::SUBJECT, begin(count + 1))?;
    let first = desk.asked().first().cloned().ok_or("nothing is asked")?;
    answer_all(&mut desk, count)?;
    let mut desk = desk.reopened(Limits { states_max: 0, futures_max: 0, ..Limits::default() })?;
    for _ in 0..count {
        desk.answer_to(&first)?;
    }
    desk.written(0)
}

/// A saga with so many entries is not in memory, and its last answer comes.
///
/// # Errors
/// The saga does not end.
pub fn wake(count: u32) -> Result<Written, Failure> {
    const PIECE: u32 = 64;
    let mut desk = Desk::new()?;
    desk.events(&names("alone", 1), StepsBegin::SUBJECT, begin(count))?;
    answer_all(&mut desk, count - 1)?;
    let last = desk.asked().last().cloned().ok_or("nothing is asked")?;
    let mut desk = desk.reopened(Limits { wake_at_once: PIECE, ..Limits::default() })?;
    desk.answer_to(&last)?;
    desk.go_on()?;
    desk.written(1)
}

/// A saga of so many calls while as many others, which came later, are parked, and few states have
/// room in memory.
///
/// # Errors
/// The saga does not end.
pub fn busy(count: u32) -> Result<Written, Failure> {
    let mut desk = Desk::with(Limits { states_max: 16, ..Limits::default() })?;
    desk.events(&names("alone", 1), StepsBegin::SUBJECT, begin(count))?;
    desk.events(&names("parked", count), KeysBegin::SUBJECT, begin(1))?;
    answer_all(&mut desk, count)?;
    desk.written(1)
}

/// So many sagas hold on one lane, each for a seat of its own; the youngest is called first.
///
/// # Errors
/// A saga does not end.
pub fn lane(count: u32) -> Result<Written, Failure> {
    let mut desk = Desk::new()?;
    for seat in 0..count {
        desk.events(&[format!("seat-{seat}")], SeatBegins::SUBJECT, begin(seat))?;
    }
    for seat in (0..count).rev() {
        desk.event(&format!("call-{seat}"), Called::SUBJECT, &Call { key: ALL.to_owned(), seat })?;
        desk.commit()?;
    }
    desk.written(count)
}

/// One event of which so many sagas get a copy.
///
/// # Errors
/// A saga does not end.
pub fn copies(count: u32) -> Result<Written, Failure> {
    let mut desk = Desk::new()?;
    desk.events(&names("copy", count), CopyBegins::SUBJECT, begin(1))?;
    desk.events(&[ALL.to_owned()], CalledAll::SUBJECT, |key| GoOn { key })?;
    desk.go_on()?;
    desk.written(count)
}

/// A start while so many sagas wait for an answer, until all is asked again.
///
/// # Errors
/// Not all is asked again.
pub fn start(count: u32) -> Result<Written, Failure> {
    let mut desk = Desk::new()?;
    desk.events(&names("alone", count), StepsBegin::SUBJECT, begin(2))?;
    desk.answer()?;
    let mut desk = desk.reopened(Limits::default())?;
    desk.go_on()?;
    match desk.asked().len() {
        asked if asked == count as usize => desk.written(0),
        asked => Err(format!("{asked} of {count} calls are asked again")),
    }
}

/// So many looks at the few sagas that have completed, among as many that wait.
///
/// # Errors
/// The store cannot be read.
pub fn lists(count: u32) -> Result<Written, Failure> {
    const FEW: u32 = 8;
    let mut desk = Desk::new()?;
    desk.events(&names("parked", count), KeysBegin::SUBJECT, begin(1))?;
    desk.events(&names("done", FEW), KeysBegin::SUBJECT, begin(0))?;
    let status = Some(Status::Completed);
    for _ in 0..count {
        desk.look(&HeadQuery { status, limit: FEW as usize, ..HeadQuery::default() })?;
    }
    desk.written(FEW)
}

fn names(prefix: &str, count: u32) -> Vec<String> {
    (0..count).map(|it| format!("{prefix}-{it}")).collect()
}

fn begin(steps: u32) -> impl Fn(String) -> Begin {
    move |key| Begin { key, steps }
}

fn answer_all(desk: &mut Desk, count: u32) -> Result<(), Failure> {
    (0..count).try_for_each(|_| desk.answer())
}
