//! Stores that are wrong, empty or restored: refused or healed, nothing lost, nothing done twice.

use std::process::Command;
use system_tests::{
    Failure, audit,
    audit::SKU,
    scenarios::{Pace, Scenario},
    stack::Stack,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_process_once_without_its_volume_is_refused_and_loses_nothing() -> Result<(), Failure>
{
    let mut stack = Stack::start(&[]).await?;
    let api = stack.api().clone();
    let shelf = api.stock(SKU).await?;
    let mut ways = Vec::new();
    for process in ["fermata", "order", "payment", "warehouse", "delivery", "notification"] {
        let order_id = Scenario::Normal.place(&api).await?;
        api.order_is(&order_id, "awaiting_payment").await?;
        stack.stop(process).await?;
        // The customer pays while nobody, or the wrong one, is there.
        let mut pace = Pace::at_once();
        let (way, back) = tokio::join!(Scenario::Normal.play(&api, &order_id, &mut pace), async {
            for _ in 0..2 {
                let said = stack.refused(process, "empty").await?;
                assert!(said.contains("as the store of"), "{said}");
            }
            stack.spawn(process)?;
            stack.ready(process).await
        });
        back?;
        ways.push(way?);
        std::fs::remove_dir_all(stack.dir().join("empty")).map_err(|err| err.to_string())?;
    }
    audit::check(&api, &stack.spool(), shelf, &ways).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_the_runtime_that_is_restored_gets_again_what_it_lost() -> Result<(), Failure> {
    let mut stack = Stack::start(&[]).await?;
    let api = stack.api().clone();
    let shelf = api.stock(SKU).await?;
    let mut ways = Vec::new();
    let mut play = async |scenario: Scenario, order_id: &str| {
        let way = scenario.play(&api, order_id, &mut Pace::at_once()).await?;
        ways.push(way);
        Ok::<_, Failure>(())
    };
    let before = Scenario::Normal.place(&api).await?;
    play(Scenario::Normal, &before).await?;
    let across = Scenario::Normal.place(&api).await?;
    api.order_is(&across, "awaiting_payment").await?;

    stack.stop("fermata").await?;
    copy(&stack, "fermata", "backup")?;
    stack.spawn("fermata")?;
    stack.ready("fermata").await?;
    play(Scenario::Normal, &across).await?;

    stack.stop("fermata").await?;
    std::fs::remove_dir_all(stack.dir().join("fermata")).map_err(|err| err.to_string())?;
    copy(&stack, "backup", "fermata")?;
    stack.spawn("fermata")?;
    stack.ready("fermata").await?;
    assert!(stack.end_of_log("fermata").contains("the store is OLDER"), "it says so");
    for way in &ways {
        let (_, saga) = way.scenario.ends();
        api.saga_is(system_tests::scenarios::PROCESS_ORDER, &way.order_id, saga).await?;
        api.order_is(&way.order_id, way.scenario.ends().0).await?;
    }
    audit::check(&api, &stack.spool(), shelf, &ways).await
}

fn copy(stack: &Stack, from: &str, to: &str) -> Result<(), Failure> {
    let (from, to) = (stack.dir().join(from), stack.dir().join(to));
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status();
    match copied.map_err(|err| err.to_string())?.success() {
        true => Ok(()),
        false => Err("cp has failed".to_owned()),
    }
}
