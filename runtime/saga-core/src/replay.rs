//! Journal + code → decisions. No clock, no I/O, no threads.

use crate::{
    ctx::Ctx,
    engine::Engine,
    fold::State,
    id::{Path, Time},
    journal::{Decision, Ends, Entry, Fact, Start, Turn},
    message::Request,
    payload::Payload,
    saga::Saga,
    text::masked,
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Wake, Waker},
};

/// Why a saga cannot go on without a person. The journal stays as it is and nothing is sent.
#[derive(Clone, Debug, PartialEq)]
pub enum ReplayError {
    /// The code asked for more, less or other than this stored turn holds.
    Diverged {
        /// The number of the turn, from 0.
        turn: usize,
        /// What the journal holds at that place; nothing, when the code asked for more.
        recorded: Option<Box<Decision>>,
        /// What the code asked for; nothing, when it asked for less.
        asked: Option<Box<Decision>>,
    },
    /// A start, an answer or an event that today's type cannot read.
    Unreadable {
        /// What it is: with its subject, and the key of the step that it settles.
        what: String,
        /// In the words of the decoder.
        error: String,
    },
    /// An answer that the call's type does not read. It was not taken: the call is open as before.
    UselessAnswer {
        /// In the words of the decoder.
        error: String,
    },
    /// What the code asks for has no JSON form.
    Unwritable {
        /// What it is, with its subject where it has one.
        what: String,
        /// In the words of the encoder.
        error: String,
    },
    /// The saga awaits something that is not ours and that kept our waker.
    ForeignFuture,
    /// The saga awaits something, but nothing is open that could wake it.
    Stalled,
    /// Its code panicked.
    Panicked(String),
    /// A subject to which the broker takes nothing, from nobody.
    BadSubject {
        /// The subject.
        subject: String,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// A turn that asks for more than one record of the store holds.
    TooMuch {
        /// What its decisions weigh.
        bytes: usize,
    },
    /// Something is larger, or there is more of it, than may be.
    OverLimit {
        /// What, and of what.
        what: String,
        /// How large it is, or how many there are.
        size: usize,
        /// What is allowed.
        max: usize,
    },
    /// A wait that no event could ever end: its definition does not declare the event, or not so.
    Undeclared {
        /// How it waits for which event, and what helps.
        message: String,
    },
    /// Its code has ended the process too often: nothing of it runs until a person says so.
    Quarantined {
        /// What happened, how often.
        message: String,
    },
    /// The journal has as many entries as it may have.
    Full,
    /// No definition of this name and version is in the binary.
    NotLinked {
        /// The name.
        definition: String,
        /// The version.
        version: u32,
    },
    /// The journal does not begin with a start, or its entries do not follow each other.
    Torn {
        /// The number of the entry.
        entry: usize,
    },
}

/// What became of a fact.
#[derive(Clone, Debug, PartialEq)]
pub enum Applied {
    /// The code saw it and decided this.
    Decided(Vec<Decision>),
    /// What it would have settled was closed before the code could see it.
    NotOpen,
}

/// Makes a saga's future from the bytes of its start, live as in a replay.
pub type Code = fn(&CodeCtx, &Start) -> serde_json::Result<Run>;

/// What author code runs on.
#[derive(Clone, Default)]
pub struct CodeCtx(pub(crate) Engine);

/// The future of a saga: its end is already told to the engine when it is ready.
pub struct Run(Pin<Box<dyn Future<Output = ()>>>);

/// The code of a saga type.
pub fn code<S: Saga>() -> Code {
    |ctx, start| {
        let (settings, input) = (start.settings.decode()?, start.input.decode()?);
        let engine = ctx.0.clone();
        let run = S::run(Ctx::new(engine.clone(), settings), input);
        Ok(Run(Box::pin(async move { engine.end(run.await, Ends::Cancelled) })))
    }
}

/// A saga whose future stays in memory between turns, so that a turn costs the same at any journal
/// length. It is a cache of the replay, made by the same code: dropping it loses nothing, and after
/// an error it must be dropped.
pub struct Live {
    ctx: CodeCtx,
    code: Code,
    run: Option<Run>,
    probe: Arc<WakerProbe>,
    waker: Waker,
}

impl Live {
    /// Each stored turn must ask for exactly what it asked for then, the last one too. Held facts
    /// are not applied.
    ///
    /// # Errors
    /// The code does not fit the journal, or cannot go on.
    pub fn replay(code: Code, journal: &[Entry]) -> Result<Live, ReplayError> {
        Live::replay_watched(code, journal, || ())
    }

    /// The same, for one who watches: `goes_on` is called after each turn.
    pub(crate) fn replay_watched(
        code: Code,
        journal: &[Entry],
        mut goes_on: impl FnMut(),
    ) -> Result<Live, ReplayError> {
        // Nothing behind it is for the code; what is held before it, the code will never see.
        let end = journal.iter().position(ends_without_code).unwrap_or_default();
        let mut live = Live::asleep(code);
        for (number, entry) in journal.iter().enumerate() {
            live.replay_entry(number, entry, end)?;
            goes_on();
        }
        Ok(live)
    }

    /// One that has seen nothing of its journal.
    pub(crate) fn asleep(code: Code) -> Live {
        let probe = Arc::new(WakerProbe::default());
        let waker = Waker::from(probe.clone());
        Live { ctx: CodeCtx::default(), code, run: None, probe, waker }
    }

    /// Takes the next entry of the journal; `end` is the number of the one behind which nothing is
    /// for the code.
    pub(crate) fn replay_entry(
        &mut self,
        number: usize,
        entry: &Entry,
        end: usize,
    ) -> Result<(), ReplayError> {
        if (number == 0) != matches!(entry.fact, Fact::Started(_)) {
            return Err(ReplayError::Torn { entry: number });
        }
        match &entry.turn {
            Turn::Done { at, decisions } => {
                self.apply(entry.at, *at, &entry.fact, Some(decisions))?;
            }
            // It has settled its step, where it stands: later facts may tell of what it opened.
            Turn::Held(_) if number < end => self.ctx.0.learn(entry.at, &entry.fact),
            Turn::Held(_) => (),
        }
        Ok(())
    }

    /// A fact in, its decisions out: to be appended before anything of them is sent.
    ///
    /// `at` is the time of the fact, `turn_at` the time from which its deadlines count; they differ
    /// for a fact that was held.
    ///
    /// # Errors
    /// The code cannot go on; drop it.
    pub fn turn(&mut self, at: Time, turn_at: Time, fact: &Fact) -> Result<Applied, ReplayError> {
        self.apply(at, turn_at, fact, None)
    }

    /// Whether there is a future whose drop would run author code.
    pub(crate) fn has_code(&self) -> bool {
        self.run.is_some()
    }

    /// Waits that took an event at which the code has not looked.
    pub(crate) fn unseen(&self) -> Vec<Path> {
        self.ctx.0.unseen()
    }

    /// The state that it keeps beside the future.
    pub fn state(&self) -> State {
        self.ctx.0.read(Clone::clone)
    }

    fn apply(
        &mut self,
        at: Time,
        turn_at: Time,
        fact: &Fact,
        stored: Option<&[Decision]>,
    ) -> Result<Applied, ReplayError> {
        let engine = &self.ctx.0;
        // In a stored turn the answer has counted.
        if stored.is_none()
            && let Some(error) = engine.unreadable(fact)
        {
            return Err(ReplayError::UselessAnswer { error });
        }
        if !engine.begin(at, turn_at, fact, stored) {
            // A stored fact that settled nothing decided nothing.
            return engine.finish().map(|_| Applied::NotOpen);
        }
        if fact.is_for_code() {
            self.poll(fact)?;
        } else {
            self.ctx.0.decide_without_code(fact);
        }
        if self.ctx.0.read(|it| it.end.is_some()) && self.run.is_some() {
            self.drop_code();
        }
        let decisions = self.ctx.0.finish()?;
        if fact.is_for_code() && self.run.is_some() && self.ctx.0.read(State::is_idle) {
            return Err(ReplayError::Stalled);
        }
        Ok(Applied::Decided(decisions))
    }

    fn poll(&mut self, fact: &Fact) -> Result<(), ReplayError> {
        let (code, ctx, waker) = (self.code, &self.ctx, &self.waker);
        let run = &mut self.run;
        let polled = catch_unwind(AssertUnwindSafe(|| -> serde_json::Result<()> {
            if let Fact::Started(start) = fact {
                *run = Some(code(ctx, start)?);
            }
            let mut cx = Context::from_waker(waker);
            let is_over = run.as_mut().is_some_and(|it| it.0.as_mut().poll(&mut cx).is_ready());
            if is_over {
                *run = None;
            }
            Ok(())
        }));
        match polled {
            Err(panic) => Err(ReplayError::Panicked(panic_message(panic.as_ref()))),
            Ok(Err(err)) => {
                let what = "the start, its input or its settings,".to_owned();
                Err(ReplayError::Unreadable { what, error: masked(&err.to_string()) })
            }
            Ok(Ok(())) if self.probe.was_touched() => Err(ReplayError::ForeignFuture),
            Ok(Ok(())) => Ok(()),
        }
    }
}

impl Live {
    /// Author code may do something on drop: it has no say any more, and a panic in it is ours.
    fn drop_code(&mut self) {
        self.ctx.0.detach();
        let run = self.run.take();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(run)));
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.drop_code();
    }
}

fn ends_without_code(entry: &Entry) -> bool {
    let Turn::Done { decisions, .. } = &entry.turn else { return false };
    let aborts = decisions.iter().any(|it| matches!(it, Decision::Abort { .. }));
    !entry.fact.is_for_code() && (aborts || matches!(entry.fact, Fact::Terminated { .. }))
}

/// Author code that only reads a body runs outside of turns: a panic in it says that the body
/// cannot be used, and ends nothing else. Otherwise the event would end the process again each time
/// that it is delivered.
pub(crate) fn guarded<T, E: ToString>(read: impl FnOnce() -> Result<T, E>) -> Result<(), String> {
    let read = || read().map(drop).map_err(|err| masked(&err.to_string()));
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(read) => read,
        Err(panic) => {
            Err(format!("reading it panicked: {}", masked(&panic_message(panic.as_ref()))))
        }
    }
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|it| (*it).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

/// Our futures are polled in every turn and so never keep a waker.
/// Whoever keeps or wakes this one is foreign; one that keeps none can only be seen to stall.
#[derive(Default)]
struct WakerProbe {
    woken: AtomicBool,
}

impl WakerProbe {
    fn was_touched(self: &Arc<Self>) -> bool {
        // Two owners are expected: the caller's handle and the waker itself.
        2 < Arc::strong_count(self) || self.woken.load(Ordering::Relaxed)
    }
}

impl Wake for WakerProbe {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::Relaxed);
    }
}

/// Checks that a body is what a saga type starts from.
pub(crate) fn reads_input<S: Saga>(input: &Payload) -> Result<(), String> {
    guarded(|| input.decode::<S::Input>())
}

/// Checks that a body is what a call is answered with.
pub(crate) fn reads_reply<R: Request>(body: &Payload) -> Result<(), String> {
    guarded(|| body.decode::<R::Reply>())
}
