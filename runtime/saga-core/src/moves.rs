//! The table of moves: which command an operator may give to a saga in which state.

use crate::{
    effect::{Refusal, RefusalKind},
    fold::{End, Problem, State},
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
pub enum Phase {
    /// Before its pivot.
    Forward,
    /// After its pivot.
    Committed,
    /// Its undos run.
    Compensating,
    /// Its code has succeeded, and what it left behind is being tidied up.
    Closing,
    /// Its turn cannot be made.
    Stuck,
    /// The same, after its pivot.
    StuckAfterCommit,
    /// A call is not asked again by itself.
    CallExhausted,
    /// The same, after its pivot.
    CallExhaustedAfterCommit,
    /// A compensation failed.
    UndoFailed,
    /// It gave up after its pivot.
    FailedAfterCommit,
    /// Nothing more happens.
    Ended,
}

impl Phase {
    /// All of them, for tests and documents.
    pub const ALL: [Phase; 11] = [
        Phase::Forward,
        Phase::Committed,
        Phase::Compensating,
        Phase::Closing,
        Phase::Stuck,
        Phase::StuckAfterCommit,
        Phase::CallExhausted,
        Phase::CallExhaustedAfterCommit,
        Phase::UndoFailed,
        Phase::FailedAfterCommit,
        Phase::Ended,
    ];

    /// The phase of a saga.
    pub fn of(state: &State) -> Phase {
        if state.ended_at.is_some() {
            return Phase::Ended;
        }
        match (state.attention().map(|it| it.problem), &state.end) {
            (Some(Problem::UndoFailed), _) => Phase::UndoFailed,
            (Some(Problem::FailedAfterCommit), _) => Phase::FailedAfterCommit,
            (Some(Problem::Stuck), _) if state.committed => Phase::StuckAfterCommit,
            (Some(Problem::Stuck), _) => Phase::Stuck,
            (Some(Problem::CallExhausted), _) if state.committed => Phase::CallExhaustedAfterCommit,
            (Some(Problem::CallExhausted), _) => Phase::CallExhausted,
            (None, Some(End::Completed(_))) => Phase::Closing,
            (None, Some(_)) => Phase::Compensating,
            (None, None) if state.committed => Phase::Committed,
            (None, None) => Phase::Forward,
        }
    }
}

/// The table.
///
/// # Errors
/// The move is not open in this state; the refusal names those that are.
pub fn allowed(phase: Phase, paused: bool, action: Action) -> Result<Move, Refusal> {
    use Phase as P;
    let no = |why: &str| Err(refusal(phase, paused, why));
    match (action, phase) {
        (_, P::Ended) => no("it has ended"),
        (Action::Pause, _) if paused => Ok(Move::Already),
        (Action::Pause, _) => Ok(Move::Do),
        (Action::Resume, _) if paused => Ok(Move::Do),
        (Action::Resume, _) => Ok(Move::Already),
        (Action::Cancel, P::Forward | P::Stuck | P::CallExhausted) => Ok(Move::Do),
        (Action::Cancel, P::Compensating | P::UndoFailed) => Ok(Move::Already),
        (Action::Cancel, P::Closing) => no("it has succeeded"),
        (
            Action::Cancel,
            P::Committed | P::StuckAfterCommit | P::CallExhaustedAfterCommit | P::FailedAfterCommit,
        ) => no("it has passed its commit"),
        (Action::Terminate, _) => Ok(Move::Do),
        (
            Action::Retry,
            P::Stuck
            | P::StuckAfterCommit
            | P::CallExhausted
            | P::CallExhaustedAfterCommit
            | P::UndoFailed,
        ) => Ok(Move::Do),
        (Action::Retry, P::FailedAfterCommit) => no("its code has ended"),
        (Action::Retry, P::Forward | P::Committed | P::Compensating | P::Closing) => {
            no("nothing of it has failed")
        }
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
    let is_open = |action: Action| match (action, phase) {
        (_, Phase::Ended) => false,
        (Action::Pause, _) => !paused,
        (Action::Resume, _) => paused,
        (Action::Terminate, _) => true,
        (Action::Cancel, _) => {
            matches!(phase, Phase::Forward | Phase::Stuck | Phase::CallExhausted)
        }
        (Action::Retry, _) => matches!(
            phase,
            Phase::Stuck
                | Phase::StuckAfterCommit
                | Phase::CallExhausted
                | Phase::CallExhaustedAfterCommit
                | Phase::UndoFailed
        ),
    };
    let all = [Action::Pause, Action::Resume, Action::Cancel, Action::Terminate, Action::Retry];
    all.into_iter().filter(|it| is_open(*it)).map(Action::as_str).collect()
}

impl Action {
    /// As the API spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Pause => "pause",
            Action::Resume => "resume",
            Action::Cancel => "cancel",
            Action::Terminate => "terminate",
            Action::Retry => "retry",
        }
    }
}
