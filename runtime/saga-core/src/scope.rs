//! `join` and `race`: several things at once. Each arm is a scope, and none is left open.

use crate::{abort::Abort, ctx::Ctx, engine::Engine, id::Path};
use std::{
    cell::RefCell,
    collections::BTreeMap,
    future::{Future, IntoFuture, poll_fn},
    mem,
    pin::Pin,
    task::{Context, Poll},
};

/// Which of two arms won.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Either<A, B> {
    /// The first declared.
    First(A),
    /// The second declared.
    Second(B),
}

type Arm<'a> = Pin<Box<dyn Future<Output = Result<(), Abort>> + 'a>>;

impl<T> Ctx<T> {
    /// Both, or the first error: then the sibling goes no further, its waits end at once, and its
    /// calls are let settle.
    ///
    /// # Errors
    /// That of the arm which failed first.
    pub async fn join<A, B, X, Y, E, F>(&self, a: A, b: B) -> Result<(X, Y), Abort>
    where
        A: IntoFuture<Output = Result<X, E>>,
        B: IntoFuture<Output = Result<Y, F>>,
        E: Into<Abort>,
        F: Into<Abort>,
    {
        let (x, y) = (RefCell::new(None), RefCell::new(None));
        join_arms(&self.engine, vec![arm(a, &x), arm(b, &y)]).await?;
        match (x.take(), y.take()) {
            (Some(x), Some(y)) => Ok((x, y)),
            // Not reached: a join without an error has polled every arm to its end.
            _ => std::future::pending().await,
        }
    }

    /// The first to finish; in a tie, the first declared. The other is undone behind the saga.
    ///
    /// # Errors
    /// That of the arm which finished first, if it failed.
    pub async fn race<A, B, X, Y, E, F>(&self, a: A, b: B) -> Result<Either<X, Y>, Abort>
    where
        A: IntoFuture<Output = Result<X, E>>,
        B: IntoFuture<Output = Result<Y, F>>,
        E: Into<Abort>,
        F: Into<Abort>,
    {
        let (x, y) = (RefCell::new(None), RefCell::new(None));
        race_arms(&self.engine, vec![arm(a, &x), arm(b, &y)]).await?;
        match (x.take(), y.take()) {
            (Some(x), _) => Ok(Either::First(x)),
            (None, Some(y)) => Ok(Either::Second(y)),
            // Not reached: a race without an error has a winner.
            (None, None) => std::future::pending().await,
        }
    }

    /// All of them in order, or the first error, as [`join`](Ctx::join).
    ///
    /// # Errors
    /// That of the arm which failed first.
    pub async fn join_all<A, X, E>(
        &self,
        arms: impl IntoIterator<Item = A>,
    ) -> Result<Vec<X>, Abort>
    where
        A: IntoFuture<Output = Result<X, E>>,
        E: Into<Abort>,
    {
        let arms: Vec<(A, RefCell<Option<X>>)> =
            arms.into_iter().map(|it| (it, RefCell::new(None))).collect();
        let (arms, outputs): (Vec<A>, Vec<RefCell<Option<X>>>) = arms.into_iter().unzip();
        let futures = arms.into_iter().zip(&outputs).map(|(it, output)| arm(it, output)).collect();
        join_arms(&self.engine, futures).await?;
        Ok(outputs.into_iter().filter_map(RefCell::into_inner).collect())
    }

    /// The first to finish, with its number, as [`race`](Ctx::race).
    ///
    /// # Errors
    /// That of the arm which finished first, if it failed.
    pub async fn race_all<A, X, E>(
        &self,
        arms: impl IntoIterator<Item = A>,
    ) -> Result<(usize, X), Abort>
    where
        A: IntoFuture<Output = Result<X, E>>,
        E: Into<Abort>,
    {
        let output = RefCell::new(None);
        let futures = arms.into_iter().map(|it| arm(it, &output)).collect();
        let winner = race_arms(&self.engine, futures).await?;
        match output.into_inner() {
            Some(output) => Ok((winner, output)),
            // A race without arms is never won: the engine sees that nothing is open.
            None => std::future::pending().await,
        }
    }
}

fn arm<'a, A, X, E>(arm: A, output: &'a RefCell<Option<X>>) -> Arm<'a>
where
    A: IntoFuture<Output = Result<X, E>> + 'a,
    E: Into<Abort>,
{
    Box::pin(async move {
        let res = arm.into_future().await.map_err(Into::into)?;
        output.replace(Some(res));
        Ok(())
    })
}

/// The open arms of a join or a race, by scope: in the order in which they were declared.
struct Arms<'a> {
    open: BTreeMap<Path, Arm<'a>>,
    are_new: bool,
}

impl<'a> Arms<'a> {
    fn named(step: &Path, arms: Vec<Arm<'a>>) -> Arms<'a> {
        let open = (0..).map(|it| step.child(it)).zip(arms).collect();
        Arms { open, are_new: true }
    }

    /// Those that can go on: all of them at first, then the one that awaits what the fact tells.
    /// So a turn of one of a thousand arms costs as much as one of two.
    fn awake(&mut self, engine: &Engine) -> Vec<Path> {
        let woken = if mem::take(&mut self.are_new) { None } else { engine.woken() };
        let Some(woken) = woken else { return self.open.keys().cloned().collect() };
        let before = self.open.range(..=&woken).next_back();
        before.map(|it| it.0.clone()).filter(|it| it.contains(&woken)).into_iter().collect()
    }

    fn poll(
        &mut self,
        engine: &Engine,
        scope: &Path,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Abort>> {
        let Some(arm) = self.open.get_mut(scope) else { return Poll::Pending };
        let polled = engine.within(scope, || arm.as_mut().poll(cx));
        if polled.is_ready() {
            self.open.remove(scope);
        }
        polled
    }
}

async fn join_arms(engine: &Engine, arms: Vec<Arm<'_>>) -> Result<(), Abort> {
    let mut arms = Arms::named(&engine.name(), arms);
    let failed = poll_fn(|cx| {
        for scope in arms.awake(engine) {
            if let Poll::Ready(Err(abort)) = arms.poll(engine, &scope, cx) {
                return Poll::Ready(Some(abort));
            }
        }
        if arms.open.is_empty() { Poll::Ready(None) } else { Poll::Pending }
    })
    .await;
    let Some(abort) = failed else { return Ok(()) };
    let siblings: Vec<Path> = arms.open.keys().cloned().collect();
    engine.settle(&siblings).await;
    Err(abort)
}

async fn race_arms(engine: &Engine, arms: Vec<Arm<'_>>) -> Result<usize, Abort> {
    let mut arms = Arms::named(&engine.name(), arms);
    let (winner, res) = poll_fn(|cx| {
        for scope in arms.awake(engine) {
            if let Poll::Ready(res) = arms.poll(engine, &scope, cx) {
                return Poll::Ready((scope, res));
            }
        }
        Poll::Pending
    })
    .await;
    arms.open.keys().for_each(|it| engine.lose(it));
    let number = winner.numbers().last().and_then(|it| usize::try_from(it).ok());
    res.map(|()| number.unwrap_or_default())
}
