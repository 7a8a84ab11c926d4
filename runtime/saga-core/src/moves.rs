//! The table of moves: which command an operator may give to a saga in which state.

use crate::{
    effect::{Refusal, RefusalKind},
    fold::{Attention, End, Problem, State},
    head::{Head, HeadCall},
    input::Action,
};

/// What a move is, in a state in which it is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// It is a fact from now on.
    Do,
    /// The saga is there already.
    Already,
}

/// Where a saga stands, as far as moves are concerned. `paused` lies over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phase {
    /// How far it is.
    pub stage: Stage,
    /// Something of it has failed or is under way, and can be tried now: a turn, a call, an undo or
    /// a publish.
    pub retries: bool,
    /// An undo of it fails or is not answered, and can be given up.
    pub waives: bool,
}

/// How far a saga is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Before its pivot.
    Forward,
    /// After its pivot.
    Committed,
    /// It gave up after its pivot: a person mends what is to be mended, and terminates it.
    FailedAfterCommit,
    /// Its undos run.
    Compensating,
    /// Its code has succeeded, and what it left behind is being tidied up.
    Closing,
    /// Nothing more happens.
    Ended,
}

impl Stage {
    /// All of them, for tests and documents.
    pub const ALL: [Stage; 6] = [
        Stage::Forward,
        Stage::Committed,
        Stage::FailedAfterCommit,
        Stage::Compensating,
        Stage::Closing,
        Stage::Ended,
    ];
}

impl Phase {
    /// That of every saga that has ended.
    pub const ENDED: Phase = Phase { stage: Stage::Ended, retries: false, waives: false };

    /// The phase of a saga.
    pub fn of(state: &State) -> Phase {
        let stage = match &state.end {
            _ if state.ended_at.is_some() => return Phase::ENDED,
            Some(End::Completed(_)) => Stage::Closing,
            Some(_) if state.committed => Stage::FailedAfterCommit,
            Some(_) => Stage::Compensating,
            None if state.committed => Stage::Committed,
            None => Stage::Forward,
        };
        let owed = state.owed.iter().any(|it| it.is_asked);
        let retries = state.stuck.is_some()
            || owed
            || !(state.calls.is_empty() && state.publishes.is_empty());
        Phase { stage, retries, waives: state.waivable().next().is_some() }
    }

    /// The same, as its head tells.
    pub fn of_head(head: &Head) -> Phase {
        let stage = match head.aborted {
            _ if head.ended_at.is_some() => return Phase::ENDED,
            _ if head.output.is_some() => Stage::Closing,
            true if head.committed => Stage::FailedAfterCommit,
            true => Stage::Compensating,
            false if head.committed => Stage::Committed,
            false => Stage::Forward,
        };
        let is_stuck = |it: &Attention| matches!(it.problem, Problem::Stuck | Problem::SetAside);
        let is_stuck = head.attention.as_ref().is_some_and(is_stuck);
        let needs_a_person = |it: &HeadCall| it.stopped.is_some() || it.warned.is_some();
        let waives = head.calls.iter().any(|it| it.is_undo && needs_a_person(it));
        Phase { stage, retries: is_stuck || !head.calls.is_empty(), waives }
    }
}

/// The table.
///
/// # Errors
/// The move is not open in this state; the refusal names those that are.
pub fn allowed(phase: Phase, paused: bool, action: Action) -> Result<Move, Refusal> {
    let no = |why: &str| Err(refusal(phase, paused, why));
    match (action, phase.stage) {
        (_, Stage::Ended) => no("it has ended"),
        (Action::Pause, _) if paused => Ok(Move::Already),
        (Action::Resume, _) if !paused => Ok(Move::Already),
        (Action::Pause | Action::Resume | Action::Terminate, _) => Ok(Move::Do),
        (Action::Cancel, Stage::Forward) => Ok(Move::Do),
        (Action::Cancel, Stage::Compensating) => Ok(Move::Already),
        (Action::Cancel, Stage::Closing) => no("it has succeeded"),
        (Action::Cancel, Stage::Committed | Stage::FailedAfterCommit) => {
            no("it has passed its commit")
        }
        (Action::Retry, _) if phase.retries => Ok(Move::Do),
        (Action::Retry, Stage::FailedAfterCommit) => no("its code has ended"),
        (Action::Retry, _) => no("nothing of it has failed or is under way"),
        (Action::Waive, _) if phase.waives => Ok(Move::Do),
        (Action::Waive, _) => no("no undo of it fails, or is without an answer for long"),
    }
}

fn refusal(phase: Phase, paused: bool, why: &str) -> Refusal {
    let detail = match open_moves(phase, paused) {
        open if open.is_empty() => why.to_owned(),
        open => format!("{why}; open moves: {}", open.join(", ")),
    };
    Refusal { kind: RefusalKind::Conflict, detail }
}

/// The moves that would do something.
pub fn open_moves(phase: Phase, paused: bool) -> Vec<&'static str> {
    let is_open = |action: Action| match action {
        _ if phase.stage == Stage::Ended => false,
        Action::Pause => !paused,
        Action::Resume => paused,
        Action::Terminate => true,
        Action::Cancel => phase.stage == Stage::Forward,
        Action::Retry => phase.retries,
        Action::Waive => phase.waives,
    };
    Action::ALL.into_iter().filter(|it| is_open(*it)).map(Action::as_str).collect()
}

impl Action {
    /// All of them, in the order in which people think of them.
    pub const ALL: [Action; 6] = [
        Action::Pause,
        Action::Resume,
        Action::Cancel,
        Action::Terminate,
        Action::Retry,
        Action::Waive,
    ];

    /// As the API spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Pause => "pause",
            Action::Resume => "resume",
            Action::Cancel => "cancel",
            Action::Terminate => "terminate",
            Action::Retry => "retry",
            Action::Waive => "waive",
        }
    }
}
