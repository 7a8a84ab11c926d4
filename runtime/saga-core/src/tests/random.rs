//! Random worlds. The desk checks after each input that replay, fold, rows, indexes and a reopened
//! core agree; at the end every event is accounted for, and batches made no difference.

use super::fixtures::{
    Approved, CancelOrder, DAY, Mail, OpenSession, Order, Paid, Refund, RefundLate, Release,
    Reserve, Tracked, VoidSession, holds_for, poll_once, saga,
};
use crate::{
    abort::Abort,
    codec::{EventRecord, NoteRecord, decode, decode_entry},
    core::{Core, HeadQuery, Limits, Seen},
    ctx::Ctx,
    effect::{Outcome, Refusal, Reply, Verdict},
    fold::{Status, fold},
    head::Head,
    id::{Path, Position, SagaId, Time},
    input::{Action, Answer, Arrival, Command, Input, Unreadable},
    journal::{Entry, Fact, Turn},
    payload::Payload,
    saga::{Declared, Late, Registry, Saga, event, events},
    scope::Either,
    store::{Kind, MemoryStore, Slot, Store, Table},
    testing::{Desk, admin},
};
use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};
use std::{collections::BTreeMap, future::IntoFuture};

saga!(
    /// Opens three waits, and looks at them in another order, between calls.
    Looks(ctx) -> Vec<Option<String>> {
        let mut first = ctx.when::<Tracked>("k1").within(DAY);
        let mut second = ctx.when::<Tracked>("k1").within(2 * DAY);
        let mut third = ctx.when::<Paid>("k1").within(3 * DAY);
        poll_once(&mut first).await;
        poll_once(&mut second).await;
        poll_once(&mut third).await;
        ctx.call(Mail::of("k1")).undo(CancelOrder::of("k1")).await?;
        let second = second.await?.map(|it| it.status);
        ctx.call(Mail::of("k1")).await?;
        let third = third.await?.map(|it| it.session);
        let first = first.await?.map(|it| it.status);
        Ok(vec![first, second, third])
    }
);

/// Races and joins, over and over.
struct Busy;
impl Saga for Busy {
    const NAME: &'static str = "Busy";
    type Input = ();
    type Output = usize;
    type Settings = ();

    fn events() -> Vec<Declared> {
        let tracked = event::<Tracked>().late(Late::Run("Busy late"));
        events([event::<Approved>(), event::<Paid>().each(), tracked])
    }

    async fn run(ctx: Ctx, (): ()) -> Result<usize, Abort> {
        ctx.undo(CancelOrder::of("k1"));
        let mut firsts = 0;
        for _ in 0..3 {
            let calls = async {
                ctx.call(Reserve::of("k1")).undo(Release::of("k1")).await?;
                ctx.join(ctx.call(Mail::of("k1")), ctx.call(Refund::of("k1"))).await?;
                Ok::<_, Abort>(())
            };
            let waits = async {
                let tracked = ctx.when::<Tracked>("k1").within(DAY);
                ctx.race(tracked, ctx.when::<Paid>("k2").forever()).await
            };
            match ctx.race(calls, waits).await? {
                Either::First(()) => firsts += 1,
                Either::Second(_) => ctx.publish("shop.told", "k1", &firsts),
            }
        }
        let open = ["a", "b"].map(|it| ctx.call(OpenSession::of(it)).undo(VoidSession::of(it)));
        ctx.join_all(open).await?;
        poll_once(&mut ctx.call(Reserve::of("k1")).undo(Release::of("k1")).into_future()).await;
        Ok(firsts)
    }
}

/// Takes what comes late for [`Busy`], and holds for more.
struct BusyLate;
impl Saga for BusyLate {
    const NAME: &'static str = "Busy late";
    type Input = crate::saga::LateInput;
    type Output = ();
    type Settings = ();

    fn events() -> Vec<Declared> {
        holds_for()
    }

    async fn run(ctx: Ctx, it: crate::saga::LateInput) -> Result<(), Abort> {
        ctx.when::<Tracked>(&it.ended.key).within(DAY).await?;
        Ok(())
    }
}

fn registry() -> Registry {
    let mut registry = Registry::new("test");
    registry.register::<Order>(&()).unwrap();
    registry.register::<RefundLate>(&()).unwrap();
    registry.register::<Looks>(&()).unwrap();
    registry.register::<Busy>(&()).unwrap();
    registry.register::<BusyLate>(&()).unwrap();
    registry
}

/// Something that happens; the numbers choose among what is there.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Start(u8),
    Event {
        name: u8,
        key: u8,
        id: u8,
        body: u8,
    },
    Reply(u8),
    Reject(u8),
    Useless(u8),
    AnswerAgain(u8),
    Publish,
    Pass(u8),
    Fall,
    Behind(bool),
    Move(u8, Action),
    Decide(u8, bool),
    Offer(u8),
    /// A message that is no event.
    Unreadable {
        key: u8,
        id: u8,
        body: u8,
    },
    /// One of those is offered again; a build may read it by now.
    OfferUnreadable(u8, bool),
    /// Somebody looks for sagas: by mail, key, id, or age.
    Search(u8, u8),
    Restart,
    /// The binary loses some of its definitions, or has them all again.
    Deploy(bool),
}

fn deed() -> impl Strategy<Value = Deed> {
    use Action::{Cancel, Pause, Resume, Retry, Terminate};
    let moves = prop_oneof![
        6 => Just(Pause),
        8 => Just(Resume),
        6 => Just(Retry),
        1 => Just(Cancel),
        1 => Just(Terminate),
    ];
    prop_oneof![
        40 => (0..3u8).prop_map(Deed::Start),
        120 => (0..5u8, 0..2u8, 0..40u8, 0..2u8)
            .prop_map(|(name, key, id, body)| Deed::Event { name, key, id, body }),
        300 => any::<u8>().prop_map(Deed::Reply),
        8 => any::<u8>().prop_map(Deed::Reject),
        6 => any::<u8>().prop_map(Deed::Useless),
        30 => any::<u8>().prop_map(Deed::AnswerAgain),
        30 => Just(Deed::Publish),
        30 => (0..4u8).prop_map(Deed::Pass),
        10 => Just(Deed::Fall),
        10 => any::<bool>().prop_map(Deed::Behind),
        60 => (any::<u8>(), moves).prop_map(|(saga, action)| Deed::Move(saga, action)),
        60 => (any::<u8>(), any::<bool>()).prop_map(|(saga, yes)| Deed::Decide(saga, yes)),
        40 => any::<u8>().prop_map(Deed::Offer),
        20 => (0..2u8, 0..40u8, 0..2u8)
            .prop_map(|(key, id, body)| Deed::Unreadable { key, id, body }),
        20 => (any::<u8>(), any::<bool>())
            .prop_map(|(which, is_read)| Deed::OfferUnreadable(which, is_read)),
        30 => (any::<u8>(), any::<u8>()).prop_map(|(what, which)| Deed::Search(what, which)),
        10 => Just(Deed::Restart),
        10 => any::<bool>().prop_map(Deed::Deploy),
    ]
}

struct World {
    desk: Desk,
    /// Requests that were ever seen.
    seen: Vec<crate::effect::Request>,
    starts: u32,
    /// Messages that were no events, as a later build reads them.
    dead: Vec<(Position, Arrival)>,
    /// Some definitions were missing for a while.
    was_cut: bool,
}

impl World {
    fn does(&mut self, deed: Deed) {
        match deed {
            Deed::Start(which) => self.start(which),
            Deed::Event { name, key, id, body } => self.event(name, key, id, body),
            Deed::Reply(at) => self.answer(at, |subject| {
                let session = json!({ "session": "s1" });
                let body = if subject == "pay.open" { session } else { Value::Null };
                Answer::Ok(Payload::of(&body).unwrap())
            }),
            Deed::Reject(at) => self.answer(at, |_| Answer::Rejected {
                code: "no".to_owned(),
                reason: "no".to_owned(),
            }),
            Deed::Useless(at) => {
                self.answer(at, |_| Answer::Useless { reason: "too large".to_owned() });
            }
            Deed::AnswerAgain(at) => {
                if let Some(request) = choose(&self.seen, at) {
                    self.desk.answer(&request.id.clone(), Answer::Ok(Payload::null()));
                }
            }
            Deed::Publish => self.desk.publish_all(),
            Deed::Pass(hours) => self.desk.wait_s(u64::from(hours) * 6 * 3600),
            Deed::Fall => self.desk.clock_steps_back(1_000),
            Deed::Behind(is_behind) => self.desk.intake_is_behind(is_behind),
            Deed::Move(saga, action) => {
                if self.look_at(saga) {
                    _ = self.desk.make(action);
                }
            }
            Deed::Decide(saga, yes) => {
                if self.look_at(saga) && self.desk.waits().iter().any(|it| it.ask.is_some()) {
                    _ = self.desk.decide(yes, "because");
                }
            }
            Deed::Offer(which) => self.offer(which),
            Deed::Unreadable { key, id, body } => self.unreadable(key, id, body),
            Deed::OfferUnreadable(which, is_read) => self.offer_unreadable(which, is_read),
            Deed::Search(what, which) => self.search(what, which),
            Deed::Restart => self.desk.restart(),
            Deed::Deploy(is_whole) => self.deploy(is_whole),
        }
        for request in self.desk.requests() {
            if !self.seen.contains(&request) {
                self.seen.push(request);
            }
        }
    }

    /// One that nobody wanted, or any other; twice, as a program does that had no answer.
    fn offer(&mut self, which: u8) {
        let is_left = |it: &Verdict| matches!(it.outcome, Outcome::Unclaimed | Outcome::DeadLetter);
        let of = |seen: &Seen| seen.identity.iter().flat_map(|it| &it.verdicts).any(is_left);
        let (left, taken): (Vec<Seen>, Vec<Seen>) = self.desk.events().into_iter().partition(of);
        let from = if left.is_empty() || which.is_multiple_of(4) { &taken } else { &left };
        let Some(position) = choose(from, which / 4).map(|it| it.position) else { return };
        let (first, again) = self.offer_twice(position, None);
        match first {
            Ok(Reply::Taken(_) | Reply::TakenBefore(_)) => {
                // Nobody took it back to where nobody wants it.
                if again != Ok(Reply::TakenBefore(position)) {
                    assert!(self.desk.events().iter().any(|it| it.position == position && of(it)));
                }
            }
            Err(refusal) => assert_eq!(again, Err(refusal), "a refusal changes nothing"),
            other => panic!("{other:?}"),
        }
    }

    fn offer_twice(
        &mut self,
        position: Position,
        reread: Option<Result<Arrival, String>>,
    ) -> (Result<Reply, Refusal>, Result<Reply, Refusal>) {
        let (reason, reread) = ("again".to_owned(), reread.map(Box::new));
        let offer = Command::Offer { position, reason, reread };
        let first = self.desk.ask(admin(), offer.clone());
        let rows = |desk: &Desk| desk.store().all_rows().map(|it| it.1.clone()).collect::<Vec<_>>();
        let before = rows(&self.desk);
        let again = self.desk.ask(admin(), offer);
        if again_is_quiet(&again) {
            assert!(before == rows(&self.desk), "what is not taken in changes no row");
        }
        (first, again)
    }

    fn unreadable(&mut self, key: u8, id: u8, body: u8) {
        let (key, id) = (format!("k{}", key + 1), format!("id {id}"));
        let status = json!({ "order": key, "status": format!("at {body}") });
        let (name, source) = ("courier.status".to_owned(), "courier".to_owned());
        let body = Payload::of(&status).unwrap();
        self.desk.input(Input::Unreadable(Unreadable {
            ticket: 0,
            name: name.clone(),
            id: id.clone(),
            body: body.text().to_owned(),
            is_base64: false,
            headers: BTreeMap::new(),
            published_at: Time(5),
            reason: "an older build could not read it".to_owned(),
        }));
        let at = self.desk.store().position();
        let event = Arrival { ticket: 0, name, id, source, key: None, body, at: Time(5) };
        self.dead.push((at, event));
    }

    fn offer_unreadable(&mut self, which: u8, is_read: bool) {
        let Some((position, event)) = choose(&self.dead, which).cloned() else { return };
        let events = self.desk.events().len();
        let was_offered = self.desk.core().offered(position).unwrap().is_some();
        let reread = if is_read { Ok(event) } else { Err("it is not JSON".to_owned()) };
        let (first, again) = self.offer_twice(position, Some(reread));
        let offered = self.desk.core().offered(position).unwrap();
        assert_eq!(first.is_ok(), offered.is_some(), "{first:?}");
        match first {
            Ok(Reply::Taken(_)) => {
                assert!(!was_offered && is_read);
                let event = self.desk.core().event(offered.unwrap().event).unwrap().unwrap();
                assert!(event.identity.is_some(), "what it became is in force");
            }
            Ok(reply) => assert!(was_offered && reply == Reply::TakenBefore(position)),
            Err(refusal) => {
                assert_eq!(again, Err(refusal));
                assert_eq!(self.desk.events().len(), events, "nothing was taken in");
                return;
            }
        }
        assert_eq!(again, Ok(Reply::TakenBefore(position)));
    }

    /// What the index finds is what a look at every saga finds, page by page.
    fn search(&mut self, what: u8, which: u8) {
        let heads = self.heads();
        let mut query = HeadQuery { limit: 1 + usize::from(which % 5), ..HeadQuery::default() };
        let started = |at: u8| choose(&heads, at).map(|it| it.started_at);
        let mail = format!("m{}@example.com", which % 2);
        match what % 4 {
            0 => query.search = Some(mail.to_uppercase()),
            1 => query.search = choose(&heads, which).map(|it| it.key.clone()),
            2 => query.search = choose(&heads, which).map(|it| it.id.to_string()),
            _ => {
                query.started_from = started(which);
                query.started_before = started(what).filter(|_| what >= 128);
            }
        }
        let fits = |head: &Head| match &query.search {
            Some(_) if what.is_multiple_of(4) => {
                self.mail_of(head).is_some_and(|it| it.as_str().unwrap().to_lowercase() == mail)
            }
            Some(search) => head.key == *search || head.id.to_string() == *search,
            None => {
                query.started_from.is_none_or(|it| it <= head.started_at)
                    && query.started_before.is_none_or(|it| head.started_at < it)
            }
        };
        let expected: Vec<SagaId> = heads.iter().filter(|it| fits(it)).map(|it| it.id).collect();
        let mut found = Vec::new();
        loop {
            let page = self.desk.core().page(&query).unwrap();
            found.extend(page.heads.iter().map(|it| it.id));
            query.before = page.next;
            if query.before.is_none() {
                break;
            }
        }
        assert_eq!(found, expected, "{query:?}");
    }

    /// The mail of the order from which the saga comes, as far as its definition is there.
    fn mail_of(&self, head: &Head) -> Option<Value> {
        let mut first = head.id;
        loop {
            let journal = self.desk.core().journal(first).unwrap();
            let Fact::Started(start) = &journal[0].fact else { panic!("a start comes first") };
            match start.origin {
                Some(origin) => first = origin,
                None => {
                    self.desk.registry().get("order").filter(|it| it.name == start.definition)?;
                    return start.input.to_value().get("mail").cloned();
                }
            }
        }
    }

    fn deploy(&mut self, is_whole: bool) {
        let some = || {
            let mut some = Registry::new("some");
            some.register::<Busy>(&()).unwrap();
            some.register::<BusyLate>(&()).unwrap();
            some
        };
        self.desk.deploy(if is_whole { registry() } else { some() });
        self.was_cut |= !is_whole;
    }

    fn start(&mut self, which: u8) {
        let which = if self.desk.registry().get("Looks").is_none() { 1 } else { which };
        self.starts += 1;
        let key = format!("by hand {}", self.starts);
        match which {
            0 => self.desk.start("Looks", &key, Value::Null),
            1 => self.desk.start("Busy", &key, Value::Null),
            _ => {
                let mail = format!("M{}@Example.com", self.starts % 2);
                let input = json!({ "order": "k1", "risky": true, "mail": mail });
                self.desk.start("order", &key, input)
            }
        };
    }

    fn event(&mut self, name: u8, key: u8, id: u8, body: u8) {
        let key = format!("k{}", key + 1);
        let (name, body) = match name {
            0 => {
                let mail = format!("m{body}@example.com");
                ("shop.placed", json!({ "order": key, "risky": body == 0, "mail": mail }))
            }
            1 => ("pay.completed", json!({ "order": key, "session": format!("s{body}") })),
            2 => ("pay.failed", json!({ "order": key, "session": format!("s{body}") })),
            3 => ("courier.status", json!({ "order": key, "status": format!("at {body}") })),
            _ => ("shop.approved", json!({ "order": key, "approved": true, "by": "nobody" })),
        };
        self.desk.event_again(&format!("id {id}"), name, body);
    }

    fn answer(&mut self, at: u8, answer: impl Fn(&str) -> Answer) {
        let requests = self.desk.requests();
        if let Some(request) = choose(&requests, at) {
            self.desk.answer(&request.id, answer(&request.subject));
        }
    }

    fn heads(&self) -> Vec<Head> {
        let query = HeadQuery { limit: usize::MAX, ..HeadQuery::default() };
        self.desk.core().heads(&query).unwrap()
    }

    fn look_at(&mut self, saga: u8) -> bool {
        let open: Vec<SagaId> =
            self.heads().iter().filter(|it| !it.status.is_ended()).map(|it| it.id).collect();
        let Some(saga) = choose(&open, saga) else { return false };
        self.desk.look_at(*saga);
        true
    }
}

fn again_is_quiet(reply: &Result<Reply, Refusal>) -> bool {
    !matches!(reply, Ok(Reply::Taken(_)))
}

fn choose<T>(from: &[T], at: u8) -> Option<&T> {
    from.get(usize::from(at) % from.len().max(1))
}

/// Each definition gives each event one verdict, and a journal holds it where the verdict says.
fn every_event_is_accounted_for(world: &World) {
    let mut taken: BTreeMap<(u64, String), Vec<SagaId>> = BTreeMap::new();
    for head in world.heads() {
        let journal = world.desk.core().journal(head.id).unwrap();
        for (number, entry) in journal.iter().enumerate() {
            if let Fact::Received { event_at, .. } = &entry.fact
                && *event_at > 0
                && !is_given_back(&journal, number)
            {
                taken.entry((*event_at, head.definition.clone())).or_default().push(head.id);
            }
        }
    }
    for seen in world.desk.events() {
        let Some(identity) = &seen.identity else {
            // It is known by the row of the one that came first.
            let outcomes: Vec<Outcome> = seen.event.verdicts.iter().map(|it| it.outcome).collect();
            assert_eq!(outcomes, [Outcome::Conflict]);
            continue;
        };
        let declaring = world.desk.registry().declaring(&seen.event.name);
        let is_decision = seen.event.name == "shop.approved";
        let expected: Vec<Option<&str>> = match is_decision {
            true => vec![None],
            false => declaring.iter().map(|it| Some(it.name)).collect(),
        };
        let given: Vec<Option<&str>> =
            identity.verdicts.iter().map(|it| it.definition.as_deref()).collect();
        if world.was_cut {
            // A definition that was missing, and had no saga that held for it, did not see it.
            assert!(given.iter().all(|it| it.is_none() || expected.contains(it)), "{given:?}");
            assert!(given.is_sorted() && !given.is_empty(), "{given:?}");
        } else {
            assert_eq!(given, expected, "one verdict of each definition");
        }
        for verdict in &identity.verdicts {
            let Some(definition) = verdict.definition.clone() else { continue };
            let is_copied = definition == "Busy" && seen.event.name.starts_with("pay.");
            let takers = taken.remove(&(seen.position, definition)).unwrap_or_default();
            match verdict.outcome {
                Outcome::Consumed if is_copied => (),
                Outcome::Consumed => assert_eq!(takers, [verdict.saga.unwrap()]),
                _ => assert_eq!(takers, [], "{verdict:?}"),
            }
        }
    }
    assert_eq!(taken, BTreeMap::new(), "a journal has an event that no verdict gives to it");
}

/// The verdicts that stand in rows follow from the log alone.
fn verdicts_follow_from_the_log(world: &World) {
    let store = world.desk.store();
    let definition = |saga| world.desk.head_of(saga).unwrap().definition;
    let mut verdicts: BTreeMap<u64, Vec<Verdict>> = BTreeMap::new();
    let rule = |verdicts: &mut BTreeMap<u64, Vec<Verdict>>, event: u64, new: Verdict| {
        let all = verdicts.entry(event).or_default();
        all.retain(|it| it.definition.is_some() && it.definition != new.definition);
        all.push(new);
        all.sort_by(|a, b| a.definition.cmp(&b.definition));
    };
    for record in store.read(1, usize::MAX).unwrap() {
        match record.slot {
            Slot::At(Kind::Event) => {
                let event: EventRecord = decode(&record.bytes).unwrap();
                verdicts.insert(record.position, event.verdicts);
            }
            Slot::At(Kind::Note) => {
                if let NoteRecord::Ruled { event, verdict } = decode(&record.bytes).unwrap() {
                    rule(&mut verdicts, event, verdict);
                }
            }
            Slot::At(Kind::Audit) => (),
            Slot::Entry { saga, seq } => {
                let stored = store.slice(saga, seq).unwrap().remove(0);
                let entry = decode_entry(&stored).unwrap();
                let Fact::Received { event, event_at, .. } = entry.fact else { continue };
                // A copy is not ruled on again: the first taker is named on arrival.
                let is_copied = definition(saga) == "Busy" && event.starts_with("pay.");
                if event_at > 0 && !is_copied {
                    let (definition, outcome) = (Some(definition(saga)), Outcome::Consumed);
                    let consumed = Verdict { definition, outcome, saga: Some(saga), detail: None };
                    rule(&mut verdicts, event_at, consumed);
                }
            }
        }
    }
    for seen in world.desk.events() {
        if let Some(identity) = seen.identity {
            assert_eq!(Some(&identity.verdicts), verdicts.get(&seen.position));
        }
    }
}

/// A verdict says that an event is kept exactly as long as a lane keeps it.
fn what_is_said_to_be_kept_is_kept(world: &World) {
    let rows = world.desk.store().all_rows().filter(|it| it.0.0 == Table::Kept);
    let position = |key: &[u8]| u64::from_be_bytes(*key.last_chunk().unwrap());
    let mut kept: Vec<u64> = rows.map(|it| position(&it.0.1)).collect();
    let said = |seen: &Seen| {
        let verdicts = seen.identity.iter().flat_map(|it| &it.verdicts);
        vec![seen.position; verdicts.filter(|it| it.outcome == Outcome::Kept).count()]
    };
    let mut said: Vec<u64> = world.desk.events().iter().flat_map(said).collect();
    kept.sort_unstable();
    said.sort_unstable();
    assert_eq!(said, kept);
}

/// A fact that was held when its saga was cancelled or terminated, or whose wait was closed by a
/// fact that was held before it, has gone back.
fn is_given_back(journal: &[Entry], number: usize) -> bool {
    let ended = fold(journal).end.is_some();
    match journal[number].turn {
        Turn::Held(_) => ended,
        Turn::Done { .. } => !fold(&journal[..number]).accepts(&journal[number].fact),
    }
}

/// What [`Looks`] saw is what its journal says, whenever it looked.
fn code_saw_what_its_journal_says(world: &World) {
    for head in world.heads() {
        if head.definition != "Looks" || head.status != Status::Completed {
            continue;
        }
        let journal = world.desk.core().journal(head.id).unwrap();
        let outcome = |step: u32| {
            let step = Path::root().child(step);
            let fact = journal.iter().find(|it| settles(&it.fact, &step));
            match fact.map(|it| &it.fact) {
                Some(Fact::Received { body, .. }) => {
                    let body = body.to_value();
                    let it = body.get("status").or(body.get("session")).cloned();
                    it.unwrap_or_default()
                }
                _ => Value::Null,
            }
        };
        let expected = json!([outcome(0), outcome(1), outcome(2)]);
        assert_eq!(head.output.unwrap().to_value(), expected);
    }
}

fn settles(fact: &Fact, of: &Path) -> bool {
    match fact {
        Fact::Received { step, .. } | Fact::TimerFired { step } => step == of,
        _ => false,
    }
}

/// The same inputs in other batches make the same store.
fn batches_make_no_difference(world: &World, size: usize) {
    let inputs = world.desk.inputs();
    let store = MemoryStore::new(world.desk.store().instance());
    let opened_at = inputs.first().map_or(world.desk.now(), |it| it.0);
    let mut core = Core::open(store, registry(), Limits::default(), opened_at).unwrap();
    for batch in inputs.chunks(size) {
        for (now, input) in batch {
            core.handle(*now, input.clone()).unwrap();
        }
        core.commit().unwrap();
    }
    let (one, many) = (world.desk.store(), core.store());
    assert_eq!(one.read(0, usize::MAX), many.read(0, usize::MAX), "batches of {size}");
    assert!(one.all_rows().eq(many.all_rows()), "batches of {size}");
}

/// So few that everybody runs them; `FERMATA_RANDOM_CASES` asks for more.
#[expect(clippy::disallowed_methods, reason = "how much is tried, not what comes of it")]
fn cases() -> u32 {
    let asked = std::env::var("FERMATA_RANDOM_CASES").ok();
    asked.map_or(32, |it| it.parse().expect("FERMATA_RANDOM_CASES is a number"))
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: cases(),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_happens_every_invariant_holds(
        deeds in vec(deed(), 20..150),
        size in 1..20usize,
    ) {
        let (desk, seen) = (Desk::new(registry()), Vec::new());
        let mut world = World { desk, seen, starts: 0, dead: Vec::new(), was_cut: false };
        for deed in deeds {
            world.does(deed);
        }
        world.deploy(true);
        // By the start of each saga: a late arm is younger than its id tells.
        for which in 0..=u8::MAX {
            world.search(3, which);
        }
        every_event_is_accounted_for(&world);
        verdicts_follow_from_the_log(&world);
        what_is_said_to_be_kept_is_kept(&world);
        code_saw_what_its_journal_says(&world);
        if !world.was_cut {
            batches_make_no_difference(&world, size);
        }
    }
}
