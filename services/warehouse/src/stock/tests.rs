use super::*;
use chassis::db::DbOptions;
use proptest::{
    prelude::{Strategy, TestCaseError, any, prop_assert, prop_assert_eq, prop_oneof},
    test_runner::TestRunner,
};
use std::{cell::RefCell, collections::BTreeSet};

const SHELF: u64 = 20;

struct Shop {
    tx: Tx,
    _dir: tempfile::TempDir,
}

impl Shop {
    fn with(units: &[&str]) -> Shop {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(dir.path(), DbOptions::default()).unwrap();
        let mut tx = Tx::over(&db);
        for sku in units {
            open(&mut tx, sku, SHELF).unwrap();
        }
        Shop { tx, _dir: dir }
    }

    /// As the kit does it: a refused procedure changes nothing.
    fn apply(&mut self, run: impl FnOnce(&mut Tx) -> Outcome<Moved>) -> Outcome<Moved> {
        let before = self.tx.savepoint();
        let outcome = run(&mut self.tx);
        if outcome.is_err() {
            self.tx.roll_back(before);
        }
        outcome
    }

    fn reserve(&mut self, order: &str, items: &[(&str, u32)]) -> Outcome<Moved> {
        let items: Vec<_> = items.iter().map(|(sku, quantity)| pieces(sku, *quantity)).collect();
        self.apply(|tx| reserve(tx, &id(order), &items))
    }

    fn release(&mut self, order: &str) -> Outcome<Moved> {
        self.apply(|tx| release(tx, &id(order), true))
    }

    fn ship(&mut self, order: &str) -> Outcome<Moved> {
        self.apply(|tx| ship(tx, &id(order)))
    }

    fn counts(&self, sku: &str) -> (u64, u64, u64) {
        let Counts { available, reserved, shipped } = counts(&self.tx, sku).unwrap().unwrap();
        (available, reserved, shipped)
    }
}

fn id(text: &str) -> OrderId {
    text.parse().unwrap()
}

fn pieces(sku: &str, quantity: u32) -> Pieces {
    Pieces { sku: sku.to_owned(), quantity }
}

#[track_caller]
fn code(outcome: Outcome<Moved>) -> String {
    match outcome {
        Err(Refusal::Rejected(rejection)) => rejection.code().to_owned(),
        other => panic!("no rejection: {other:?}"),
    }
}

#[test]
fn all_pieces_are_held_or_none() {
    let mut shop = Shop::with(&["A", "B"]);
    assert_eq!(code(shop.reserve("o1", &[("A", 5), ("B", 21)])), "out_of_stock");
    assert_eq!(code(shop.reserve("o1", &[("A", 5), ("C", 1)])), "unknown_sku");
    assert_eq!(code(shop.reserve("o1", &[("A", 15), ("A", 6)])), "out_of_stock");
    assert_eq!(shop.counts("A"), (20, 0, 0));
    shop.reserve("o1", &[("A", 5), ("B", 20), ("A", 1)]).unwrap();
    assert_eq!(shop.counts("A"), (14, 6, 0));
    assert_eq!(shop.counts("B"), (0, 20, 0));
}

#[test]
fn a_rejection_names_the_unit() {
    let mut shop = Shop::with(&["A"]);
    let Err(Refusal::Rejected(rejection)) = shop.reserve("o1", &[("A", 21)]) else {
        panic!("oversold");
    };
    assert_eq!(rejection.reason(), "21 of A are wanted and 20 are available");
}

#[test]
fn an_order_holds_its_pieces_once() {
    let mut shop = Shop::with(&["A"]);
    let held = shop.reserve("o1", &[("A", 5)]).unwrap();
    assert_eq!(shop.reserve("o1", &[("A", 3), ("A", 2)]).unwrap(), held);
    assert_eq!(code(shop.reserve("o1", &[("A", 6)])), "already_reserved");
    assert_eq!(shop.counts("A"), (15, 5, 0));
    assert_eq!(shop.release("o1").unwrap(), held);
    assert_eq!(shop.release("o1").unwrap().items, []);
    assert_eq!(shop.counts("A"), (20, 0, 0));
}

#[test]
fn an_order_ships_once_and_only_what_it_holds() {
    let mut shop = Shop::with(&["A"]);
    assert_eq!(code(shop.ship("o1")), "not_reserved");
    let held = shop.reserve("o1", &[("A", 5)]).unwrap();
    assert_eq!(shop.ship("o1").unwrap(), held);
    assert_eq!(shop.ship("o1").unwrap(), held);
    assert_eq!(code(shop.reserve("o1", &[("A", 5)])), "already_shipped");
    assert_eq!(shop.counts("A"), (15, 0, 5));
}

#[test]
fn only_an_undo_takes_back_what_was_shipped() {
    let mut shop = Shop::with(&["A"]);
    shop.reserve("o1", &[("A", 5)]).unwrap();
    shop.ship("o1").unwrap();
    assert_eq!(code(shop.apply(|tx| release(tx, &id("o1"), false))), "already_shipped");
    shop.release("o1").unwrap();
    assert_eq!(shop.counts("A"), (20, 0, 0));
    assert_eq!(code(shop.ship("o1")), "not_reserved");
}

#[test]
fn availability_counts_lines_together() {
    let shop = Shop::with(&["A"]);
    let ask = |items: &[Pieces]| availability(&shop.tx, items).unwrap();
    assert!(ask(&[pieces("A", 20)]).available);
    assert!(!ask(&[pieces("A", 19), pieces("A", 2)]).available);
    let unknown = ask(&[pieces("A", 1), pieces("C", 1)]);
    assert!(!unknown.available);
    assert_eq!(unknown.items[1].available, 0);
}

#[derive(Clone, Debug)]
enum Move {
    Reserve(u8, Vec<(bool, u32)>),
    Release(u8),
    Ship(u8),
}

fn any_move() -> impl Strategy<Value = Move> {
    let lines = proptest::collection::vec((any::<bool>(), 1_u32..25), 1..4);
    prop_oneof![
        (0_u8..5, lines).prop_map(|(order, lines)| Move::Reserve(order, lines)),
        (0_u8..5).prop_map(Move::Release),
        (0_u8..5).prop_map(Move::Ship),
    ]
}

#[test]
fn no_piece_appears_or_vanishes() {
    // Opening a store costs more than sixty moves: all cases share one, and begin where it began.
    let shop = RefCell::new(Shop::with(&["A", "B"]));
    let start = shop.borrow().tx.savepoint();
    let moves = proptest::collection::vec(any_move(), 0..60);
    let run = |moves: Vec<Move>| {
        let mut shop = shop.borrow_mut();
        shop.tx.roll_back(start);
        let mut shipped = BTreeSet::new();
        for step in moves {
            make(&mut shop, step, &mut shipped)?;
            for sku in ["A", "B"] {
                let (available, reserved, shipped) = shop.counts(sku);
                prop_assert_eq!(available + reserved + shipped, SHELF);
                prop_assert_eq!(reserved, held(&shop.tx, sku, State::Reserved));
                prop_assert_eq!(shipped, held(&shop.tx, sku, State::Shipped));
            }
        }
        Ok(())
    };
    TestRunner::default().run(&moves, run).unwrap();
}

/// One move. An order that was shipped gets no pieces until an undo took them back.
fn make(shop: &mut Shop, step: Move, shipped: &mut BTreeSet<u8>) -> Result<(), TestCaseError> {
    let name = |order: u8| format!("o{order}");
    match step {
        Move::Reserve(order, lines) => {
            let sku = |is_a: bool| if is_a { "A" } else { "B" };
            let lines: Vec<_> = lines.iter().map(|(a, n)| (sku(*a), *n)).collect();
            let outcome = shop.reserve(&name(order), &lines);
            prop_assert!(outcome.is_err() || !shipped.contains(&order));
        }
        Move::Release(order) => {
            shop.release(&name(order)).unwrap();
            shipped.remove(&order);
        }
        Move::Ship(order) => {
            if shop.ship(&name(order)).is_ok() {
                shipped.insert(order);
            }
        }
    }
    Ok(())
}

/// What all orders in this state have of a unit.
fn held(tx: &Tx, sku: &str, state: State) -> u64 {
    let orders = tx.scan(&[ORDER], None, 100).unwrap();
    let holdings = orders.iter().map(|(key, _)| tx.get_json::<Holding>(key).unwrap().unwrap());
    let items = holdings.filter(|it| it.state == state).flat_map(|it| it.items);
    items.filter(|item| item.sku == sku).map(|item| item.quantity).sum()
}
