//! What may happen in a world, one step at a time. The numbers choose among what is there, so that
//! any part of a script is a script.

use proptest::{
    collection::vec,
    prelude::{Just, Strategy, any},
    strategy::{BoxedStrategy, Union},
};
use saga_core::input::Action;

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the numbers are explained where they choose")]
pub enum Step {
    /// A saga is started by hand.
    Start(u8),
    /// An event comes, for the first time or again.
    Event { name: u8, key: u8, id: u8, body: u8 },
    /// A service does what it is asked, and answers.
    Serve(u8),
    /// A service does it, and the answer is lost.
    Lose(u8),
    /// A service refuses.
    Refuse(u8),
    /// A service does it, and its answer is of no use.
    Useless(u8),
    /// A request that was sent some time ago arrives again, and is answered.
    Again(u8),
    /// A service of this kind answers nothing for a while, or answers again.
    Silence(u8),
    /// The broker has all that is being published, and gives it back as events.
    Publish,
    /// The broker takes a subject no more that is being published, or takes it again.
    RefuseSubject(u8),
    /// So many times six hours pass.
    Pass(u8),
    /// The clock is set back by a second.
    Fall,
    /// The clock is set wrong, or right.
    Jump(u8),
    /// A person says that the clock is right.
    AcceptClock,
    /// Intake does not keep up, or has caught up.
    Behind(bool),
    /// An operator makes a move.
    Move(u8, Action),
    /// A person answers a question: which, yes or no, and named in which way.
    Decide(u8, bool, u8),
    /// The last decision is sent again, as a client does that had no answer.
    DecideAgain,
    /// One that nobody wanted, or any other, is offered again.
    Offer(u8),
    /// A message that is no event.
    Unreadable { key: u8, id: u8, body: u8 },
    /// One of those is offered again; a build may read it by now.
    OfferUnreadable(u8, bool),
    /// Somebody looks for sagas: by mail, key, id, or age.
    Search(u8, u8),
    /// An operator gives up an undo.
    Waive(u8),
    /// The process dies, and another one opens its store.
    Restart,
    /// A binary with all definitions, or one that lacks some.
    Deploy(u8),
    /// Somebody copies the store while the process stands still.
    Copy,
    /// The copy is put back.
    Restore,
    /// A store of another instance has the place of the first one, or the first one comes back.
    OtherStore,
    /// A publisher sends what it owes.
    Resend(u8),
}

/// How often each kind of step happens; those with 0 never do.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "each is named after its steps")]
pub struct Weights {
    pub start: u32,
    pub event: u32,
    pub serve: u32,
    pub lose: u32,
    pub refuse: u32,
    pub useless: u32,
    pub again: u32,
    pub silence: u32,
    pub publish: u32,
    pub refuse_subject: u32,
    pub pass: u32,
    pub fall: u32,
    pub jump: u32,
    pub accept_clock: u32,
    pub behind: u32,
    pub moves: u32,
    pub terminate: u32,
    pub decide: u32,
    pub decide_again: u32,
    pub offer: u32,
    pub unreadable: u32,
    pub search: u32,
    pub waive: u32,
    pub restart: u32,
    pub deploy: u32,
    pub copy: u32,
    pub restore: u32,
    pub other_store: u32,
    pub resend: u32,
}

impl Weights {
    /// Nothing ever happens.
    pub const NONE: Weights = Weights {
        start: 0,
        event: 0,
        serve: 0,
        lose: 0,
        refuse: 0,
        useless: 0,
        again: 0,
        silence: 0,
        publish: 0,
        refuse_subject: 0,
        pass: 0,
        fall: 0,
        jump: 0,
        accept_clock: 0,
        behind: 0,
        moves: 0,
        terminate: 0,
        decide: 0,
        decide_again: 0,
        offer: 0,
        unreadable: 0,
        search: 0,
        waive: 0,
        restart: 0,
        deploy: 0,
        copy: 0,
        restore: 0,
        other_store: 0,
        resend: 0,
    };
}

/// How many names, keys, ids and bodies the events of a world have.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the sentence above says all")]
pub struct Sizes {
    pub names: u8,
    pub keys: u8,
    pub ids: u8,
    pub bodies: u8,
}

/// Scripts of at most so many steps.
pub(crate) fn scripts(
    weights: &Weights,
    sizes: Sizes,
    steps_max: usize,
) -> impl Strategy<Value = Vec<Step>> + use<> {
    let choices = choices(weights, sizes).into_iter().filter(|it| it.0 != 0).collect();
    vec(Union::new_weighted(choices), 1..=steps_max)
}

fn choices(weights: &Weights, sizes: Sizes) -> Vec<(u32, BoxedStrategy<Step>)> {
    let Sizes { names, keys, ids, bodies } = sizes;
    let number = any::<u8>;
    vec![
        (weights.start, number().prop_map(Step::Start).boxed()),
        (
            weights.event,
            (0..names, 0..keys, 0..ids, 0..bodies)
                .prop_map(|(name, key, id, body)| Step::Event { name, key, id, body })
                .boxed(),
        ),
        (weights.serve, number().prop_map(Step::Serve).boxed()),
        (weights.lose, number().prop_map(Step::Lose).boxed()),
        (weights.refuse, number().prop_map(Step::Refuse).boxed()),
        (weights.useless, number().prop_map(Step::Useless).boxed()),
        (weights.again, number().prop_map(Step::Again).boxed()),
        (weights.silence, number().prop_map(Step::Silence).boxed()),
        (weights.publish, Just(Step::Publish).boxed()),
        (weights.refuse_subject, number().prop_map(Step::RefuseSubject).boxed()),
        (weights.pass, (0..4u8).prop_map(Step::Pass).boxed()),
        (weights.fall, Just(Step::Fall).boxed()),
        (weights.jump, number().prop_map(Step::Jump).boxed()),
        (weights.accept_clock, Just(Step::AcceptClock).boxed()),
        (weights.behind, any::<bool>().prop_map(Step::Behind).boxed()),
        (weights.moves, moves(weights.terminate).boxed()),
        (
            weights.decide,
            (number(), any::<bool>(), number())
                .prop_map(|(which, yes, how)| Step::Decide(which, yes, how))
                .boxed(),
        ),
        (weights.decide_again, Just(Step::DecideAgain).boxed()),
        (weights.offer, number().prop_map(Step::Offer).boxed()),
        (
            weights.unreadable,
            (0..keys, 0..ids, 0..bodies)
                .prop_map(|(key, id, body)| Step::Unreadable { key, id, body })
                .boxed(),
        ),
        (
            weights.unreadable,
            (number(), any::<bool>())
                .prop_map(|(which, is_read)| Step::OfferUnreadable(which, is_read))
                .boxed(),
        ),
        (
            weights.search,
            (number(), number()).prop_map(|(what, which)| Step::Search(what, which)).boxed(),
        ),
        (weights.waive, number().prop_map(Step::Waive).boxed()),
        (weights.restart, Just(Step::Restart).boxed()),
        (weights.deploy, number().prop_map(Step::Deploy).boxed()),
        (weights.copy, Just(Step::Copy).boxed()),
        (weights.restore, Just(Step::Restore).boxed()),
        (weights.other_store, Just(Step::OtherStore).boxed()),
        (weights.resend, number().prop_map(Step::Resend).boxed()),
    ]
}

fn moves(terminate: u32) -> impl Strategy<Value = Step> {
    use Action::{Cancel, Pause, Resume, Retry, Terminate};
    let moves = [(6, Pause), (8, Resume), (6, Retry), (2, Cancel), (terminate, Terminate)];
    let moves = moves.into_iter().filter(|it| it.0 != 0);
    let action = Union::new_weighted(moves.map(|it| (it.0, Just(it.1))).collect());
    (any::<u8>(), action).prop_map(|(saga, action)| Step::Move(saga, action))
}
