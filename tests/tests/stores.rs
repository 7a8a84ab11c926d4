//! Stores that are wrong, empty or restored: refused or healed, nothing lost, nothing done twice.

use chassis::{Wire, reserved_port};
use serde_json::json;
use std::{
    fs::File,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};
use system_tests::{
    Failure, audit,
    audit::{SKU, checks, evidence},
    client::{Api, text},
    scenarios::{LATE, PROCESS_ORDER, Pace, Scenario, Told, Way},
    stack::{Stack, binary, root},
    until,
};

const SERVICES: [&str; 5] = ["order", "payment", "warehouse", "delivery", "notification"];

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
async fn a_copy_of_a_service_is_refused_beside_it_and_takes_its_place_when_it_sleeps()
-> Result<(), Failure> {
    let mut stack = Stack::start(&[]).await?;
    let api = stack.api().clone();
    for service in SERVICES {
        stack.stop(service).await?;
        copy(&stack, service, "copy")?;
        stack.spawn(service)?;
        stack.ready(service).await?;
        let log = format!("{service}.copy");
        let (mut second, _) = beside(&stack, service, &log)?;
        let ended = second.ended(api.patience()).await?;
        let said = second.said()?;
        assert_eq!(ended, Some(78), "{said}");
        assert!(said.contains(&format!("another {service} (process ")), "{said}");
        assert!(said.contains("stop that one"), "{said}");
        stack.ready(service).await?;

        stack.signal(service, libc::SIGSTOP)?;
        let (mut second, address) = beside(&stack, service, &log)?;
        let ready = format!("http://{address}/readyz");
        let serves = async || api.get(&ready).await.map(drop);
        until("the copy serves", api.patience(), serves).await?;
        stack.signal(service, libc::SIGCONT)?;
        assert_eq!(stack.ended(service).await?, Some(78), "{}", stack.end_of_log(service));
        assert!(stack.end_of_log(service).contains("begun to use a copy"), "it says why");
        assert!(!second.has_ended()?, "the one that took its place goes on");
        drop(second);
        stack.spawn(service)?;
        stack.ready(service).await?;
        std::fs::remove_dir_all(stack.dir().join("copy")).map_err(|err| err.to_string())?;
    }
    Ok(())
}

/// A second process of a name, over the directory `copy`. It ends with this.
struct Second {
    child: Child,
    log: PathBuf,
}

impl Second {
    async fn ended(&mut self, within: Duration) -> Result<Option<i32>, Failure> {
        let ended = tokio::time::timeout(within, async {
            while !self.has_ended()? {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            self.child.wait().map_err(|err| err.to_string())
        });
        ended.await.map_err(|_| "it runs".to_owned())?.map(|it| it.code())
    }

    fn has_ended(&mut self) -> Result<bool, Failure> {
        self.child.try_wait().map(|it| it.is_some()).map_err(|err| err.to_string())
    }

    fn said(&self) -> Result<String, Failure> {
        std::fs::read_to_string(&self.log).map_err(|err| err.to_string())
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        // It may be dead already.
        let _dead = self.child.kill();
        let _dead = self.child.wait();
    }
}

/// A copy takes the place of a service whose network is gone. When that is back, the first one must
/// look whose the requests are before it takes any.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_was_replaced_while_it_was_cut_off_takes_nothing_when_it_is_back()
-> Result<(), Failure> {
    const ORDERS: u64 = 10;
    let mut stack = Stack::start(&[]).await?;
    let api = stack.api().clone();
    let process = "warehouse";
    stack.stop(process).await?;
    copy(&stack, process, "copy")?;
    let url = stack.env()["WAREHOUSE_NATS_URL"].clone();
    let (head, broker) = url.rsplit_once(':').ok_or("no port")?;
    let broker = broker.parse().map_err(|_| "no port")?;
    let wire = Wire::to(broker).await.map_err(|err| err.to_string())?;
    let through = format!("{head}:{}", wire.port());
    stack.spawn_with(process, &[("WAREHOUSE_NATS_URL", &through)])?;
    stack.ready(process).await?;
    wire.cut();
    let _second = replaced(&stack, process).await?;
    wire.mend();
    let orders = placed(&api, ORDERS).await?;
    assert_eq!(stack.ended(process).await?, Some(78), "{}", stack.end_of_log(process));
    all_complete(&api, &orders).await
}

/// The same while it stood still: requests lie in its socket.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_was_replaced_while_it_stood_still_answers_nothing_when_it_goes_on()
-> Result<(), Failure> {
    const ORDERS: u64 = 20;
    let mut stack = Stack::start(&[]).await?;
    let api = stack.api().clone();
    let process = "warehouse";
    stack.stop(process).await?;
    copy(&stack, process, "copy")?;
    stack.spawn(process)?;
    stack.ready(process).await?;
    stack.signal(process, libc::SIGSTOP)?;
    let _second = replaced(&stack, process).await?;
    let orders = placed(&api, ORDERS).await?;
    stack.signal(process, libc::SIGCONT)?;
    assert_eq!(stack.ended(process).await?, Some(78), "{}", stack.end_of_log(process));
    all_complete(&api, &orders).await
}

/// A copy of the service, once it has its place.
async fn replaced(stack: &Stack, service: &str) -> Result<Second, Failure> {
    let api = stack.api();
    let (second, address) = beside(stack, service, &format!("{service}.copy"))?;
    let ready = format!("http://{address}/readyz");
    let serves = async || api.get(&ready).await.map(drop);
    until("the copy serves", api.patience(), serves).await?;
    Ok(second)
}

async fn placed(api: &Api, orders: u64) -> Result<Vec<String>, Failure> {
    let mut placed = Vec::new();
    for _ in 0..orders {
        placed.push(Scenario::Normal.place(api).await?);
    }
    Ok(placed)
}

async fn all_complete(api: &Api, orders: &[String]) -> Result<(), Failure> {
    for order in orders {
        Scenario::Normal.play(api, order, &mut Pace::at_once()).await?;
        api.order_is(order, "completed").await?;
    }
    Ok(())
}

/// Starts it, and gives where it listens.
fn beside(stack: &Stack, service: &str, log: &str) -> Result<(Second, String), Failure> {
    let failed = |err: std::io::Error| err.to_string();
    let address = format!("127.0.0.1:{}", reserved_port());
    let log = stack.dir().join(log);
    let file = File::create(&log).map_err(failed)?;
    let mut command = Command::new(binary(service)?);
    command.current_dir(root()).env_clear().envs(stack.env());
    let prefix = service.to_uppercase();
    command.env(format!("{prefix}_DATA_DIR"), stack.dir().join("copy"));
    command.env(format!("{prefix}_HTTP_ADDR"), &address);
    command.stdin(Stdio::null()).stdout(file.try_clone().map_err(failed)?).stderr(file);
    let child = command.spawn().map_err(failed)?;
    Ok((Second { child, log }, address))
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
        api.saga_is(PROCESS_ORDER, &way.order_id, saga).await?;
        api.order_is(&way.order_id, way.scenario.ends().0).await?;
    }
    audit::check(&api, &stack.spool(), shelf, &ways).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_runtime_did_after_its_backup_happens_again_and_each_effect_once()
-> Result<(), Failure> {
    lost_hour(false).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runtime_that_is_restored_while_every_service_is_down_does_everything_once()
-> Result<(), Failure> {
    lost_hour(true).await
}

/// Orders in every state at the copy, more of them and their ends afterwards, and then the copy
/// again. `is_alone`: while the services are down.
async fn lost_hour(is_alone: bool) -> Result<(), Failure> {
    let mut stack = Stack::start(&[]).await?;
    let api = stack.api().clone();
    let shelf = api.stock(SKU).await?;
    let mut hour = Hour { api: api.clone(), ways: Vec::new(), asked_again: Vec::new() };
    hour.whole(Scenario::Normal).await?;
    let asked = hour.begun(Scenario::Approved, "awaiting_approval").await?;
    let paying = hour.begun(Scenario::Normal, "awaiting_payment").await?;
    let cancelled = hour.begun(Scenario::PaidAfterCancel, "awaiting_payment").await?;
    let under_way = hour.begun(Scenario::Normal, "awaiting_payment").await?;
    let mut told = hour.pay(&under_way).await?;

    stack.stop("fermata").await?;
    copy(&stack, "fermata", "backup")?;
    stack.spawn("fermata")?;
    stack.ready("fermata").await?;

    told.push(hour.deliver(&under_way).await?);
    hour.ended(Scenario::Normal, under_way, told).await?;
    hour.play(Scenario::Normal, paying).await?;
    hour.play(Scenario::PaidAfterCancel, cancelled).await?;
    hour.play(Scenario::Approved, asked).await?;
    for scenario in [
        Scenario::Normal,
        Scenario::Approved,
        Scenario::Rejected,
        Scenario::PaymentFailed,
        Scenario::PaidAfterCancel,
        Scenario::DeliveryFailed,
    ] {
        hour.whole(scenario).await?;
    }
    let late = hour.begun(Scenario::Normal, "awaiting_payment").await?;
    let mut told = hour.pay(&late).await?;

    stack.stop("fermata").await?;
    if is_alone {
        for service in SERVICES {
            stack.stop(service).await?;
        }
    }
    std::fs::remove_dir_all(stack.dir().join("fermata")).map_err(|err| err.to_string())?;
    copy(&stack, "backup", "fermata")?;
    stack.spawn("fermata")?;
    stack.ready("fermata").await?;
    if is_alone {
        for service in SERVICES {
            stack.spawn(service)?;
        }
        for service in SERVICES {
            stack.ready(service).await?;
        }
    }
    // What people decided is lost with the copy, and they are asked again.
    hour.decide_again().await?;
    told.push(hour.deliver(&late).await?);
    hour.ended(Scenario::Normal, late, told).await?;
    for way in &mut hour.ways {
        way.is_late = way.scenario.check(&api, &way.order_id).await?;
    }
    let is_quiet = "every saga has ended, and all is as if nothing had been lost";
    let (spool, ways) = (stack.spool(), &hour.ways);
    until(is_quiet, api.patience(), || audit::check(&api, &spool, shelf, ways)).await
}

/// Those that act through others: the provider, the courier, the customer's mailbox.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_restored_does_nothing_twice_at_those_who_act_for_it()
-> Result<(), Failure> {
    let mut stack = Stack::start(&[]).await?;
    let api = stack.api().clone();
    let mut hour = Hour { api: api.clone(), ways: Vec::new(), asked_again: Vec::new() };
    for service in ["payment", "delivery", "notification"] {
        let paying = hour.begun(Scenario::Normal, "awaiting_payment").await?;
        stack.stop(service).await?;
        copy(&stack, service, "backup")?;
        stack.spawn(service)?;
        stack.ready(service).await?;

        let late = hour.begun(Scenario::Normal, "awaiting_payment").await?;
        let under_way = hour.begun(Scenario::Normal, "awaiting_payment").await?;
        for order_id in [&paying, &under_way] {
            hour.pay(order_id).await?;
        }
        hour.deliver(&paying).await?;
        api.order_is(&paying, "completed").await?;

        stack.stop(service).await?;
        std::fs::remove_dir_all(stack.dir().join(service)).map_err(|err| err.to_string())?;
        std::fs::rename(stack.dir().join("backup"), stack.dir().join(service))
            .map_err(|err| err.to_string())?;
        stack.spawn(service)?;
        stack.ready(service).await?;
        assert!(stack.end_of_log(service).contains("the store is OLDER"), "{service} says so");

        hour.pay(&late).await?;
        let after = hour.begun(Scenario::Normal, "awaiting_payment").await?;
        hour.pay(&after).await?;
        for order_id in [&late, &under_way, &after] {
            hour.deliver(order_id).await?;
        }
        for order_id in [&paying, &late, &under_way, &after] {
            let what = format!("{order_id} after {service} was restored");
            api.order_is(order_id, "completed").await.map_err(|why| format!("{what}: {why}"))?;
            let effects = api.effects(order_id).await?;
            let counts =
                ["sessions", "sessionsPaid", "refunds", "shipments"].map(|it| effects[it].as_u64());
            assert_eq!(counts, [Some(1), Some(1), Some(0), Some(1)], "{what}: {effects}");
        }
        for order_id in [paying, late, under_way, after] {
            hour.ended(Scenario::Normal, order_id, Vec::new()).await?;
        }
    }
    let (spool, ways) = (stack.spool(), &hour.ways);
    until("each mail stands there once", api.patience(), || async {
        let faults = checks::mails(&evidence::gather(&api, &spool, ways).await?, ways);
        if faults.is_empty() { Ok(()) } else { Err(faults.join("\n")) }
    })
    .await
}

/// Its session was made after the copy, the customer paid in it, and no webhook tells of that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_paid_in_a_session_that_a_restored_payment_service_has_forgotten_is_found()
-> Result<(), Failure> {
    let mut stack = Stack::start(&[("PROCESS_ORDER_PAYMENT_MS", "15000")]).await?;
    let api = stack.api().clone();
    let hour = Hour { api: api.clone(), ways: Vec::new(), asked_again: Vec::new() };
    let shelf = api.stock(SKU).await?;
    stack.stop("payment").await?;
    copy(&stack, "payment", "backup")?;
    stack.spawn("payment")?;
    stack.ready("payment").await?;

    let cancelled = hour.begun(Scenario::Normal, "awaiting_payment").await?;
    let goes_on = hour.begun(Scenario::Normal, "awaiting_payment").await?;
    stack.stop("payment").await?;
    for order_id in [&cancelled, &goes_on] {
        let session = text(&api.order(order_id).await?, "/paymentSessionId")?;
        // It would come in ten minutes.
        api.customer(&session, "pay", json!({ "delayMs": 600_000 })).await?;
    }
    let saga = text(&api.saga(PROCESS_ORDER, &cancelled).await?, "/id")?;
    api.make_move(&saga, "cancel").await?.expect(202)?;
    std::fs::remove_dir_all(stack.dir().join("payment")).map_err(|err| err.to_string())?;
    std::fs::rename(stack.dir().join("backup"), stack.dir().join("payment"))
        .map_err(|err| err.to_string())?;
    stack.spawn("payment")?;
    stack.ready("payment").await?;
    assert!(stack.end_of_log("payment").contains("the store is OLDER"), "it says so");

    // One is found when the session is to be closed, and one before its order is given up.
    api.saga_is(PROCESS_ORDER, &cancelled, "cancelled").await?;
    api.order_is(&goes_on, "shipped").await?;
    hour.deliver(&goes_on).await?;
    api.order_is(&goes_on, "completed").await?;
    for (order_id, [refunds, refunded, shipments]) in
        [(&cancelled, [1, 10_000, 0]), (&goes_on, [0, 0, 1])]
    {
        until("each effect is there once", api.patience(), || async {
            let effects = api.effects(order_id).await?;
            let names = ["sessions", "sessionsPaid", "refunds", "refundedMinor", "shipments"];
            let counts = names.map(|it| effects[it].as_u64());
            let wanted = [1, 1, refunds, refunded, shipments].map(Some);
            if counts == wanted { Ok(()) } else { Err(format!("{order_id}: {effects}")) }
        })
        .await?;
    }
    api.saga_is(LATE, &cancelled, "completed").await?;
    api.saga_is(PROCESS_ORDER, &goes_on, "completed").await?;
    let (pieces, (available, reserved, shipped)) = (Scenario::Normal.pieces(), shelf);
    let pieces = u64::from(pieces);
    let left = (available - pieces, reserved, shipped + pieces);
    assert_eq!(api.stock(SKU).await?, left, "the pieces of one order have left");
    Ok(())
}

/// Orders, and how each one went.
struct Hour {
    api: Api,
    ways: Vec<Way>,
    /// Orders about which somebody decides after the copy, and how.
    asked_again: Vec<(String, bool)>,
}

impl Hour {
    async fn begun(&self, scenario: Scenario, status: &str) -> Result<String, Failure> {
        let order_id = scenario.place(&self.api).await?;
        self.api.order_is(&order_id, status).await?;
        Ok(order_id)
    }

    async fn whole(&mut self, scenario: Scenario) -> Result<(), Failure> {
        let order_id = scenario.place(&self.api).await?;
        self.play(scenario, order_id).await
    }

    async fn play(&mut self, scenario: Scenario, order_id: String) -> Result<(), Failure> {
        let way = scenario.play(&self.api, &order_id, &mut Pace::at_once()).await?;
        match scenario {
            Scenario::Approved => self.asked_again.push((order_id, true)),
            Scenario::Rejected => self.asked_again.push((order_id, false)),
            _ => (),
        }
        self.ways.push(way);
        Ok(())
    }

    async fn pay(&self, order_id: &str) -> Result<Vec<Told>, Failure> {
        let order = self.api.order(order_id).await?;
        let session = text(&order, "/paymentSessionId")?;
        let told = self.api.customer(&session, "pay", json!({})).await?;
        self.api.order_is(order_id, "shipped").await?;
        Ok(told.into_iter().map(Told::Payment).collect())
    }

    async fn deliver(&self, order_id: &str) -> Result<Told, Failure> {
        self.api.courier(order_id, "delivered", json!({})).await?;
        Ok(Told::Parcel("delivered".to_owned()))
    }

    async fn ended(
        &mut self,
        scenario: Scenario,
        order_id: String,
        told: Vec<Told>,
    ) -> Result<(), Failure> {
        let is_late = scenario.check(&self.api, &order_id).await?;
        self.ways.push(Way { order_id, scenario, is_late, told });
        Ok(())
    }

    async fn decide_again(&self) -> Result<(), Failure> {
        for (order_id, approved) in &self.asked_again {
            until("the manager is asked again", self.api.patience(), || async {
                let answer = self.api.approve(order_id, *approved).await?;
                let is_taken = matches!(answer.status.as_u16(), 200 | 202);
                if is_taken { Ok(()) } else { Err(answer.to_string()) }
            })
            .await?;
        }
        Ok(())
    }
}

fn copy(stack: &Stack, from: &str, to: &str) -> Result<(), Failure> {
    let (from, to) = (stack.dir().join(from), stack.dir().join(to));
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status();
    match copied.map_err(|err| err.to_string())?.success() {
        true => Ok(()),
        false => Err("cp has failed".to_owned()),
    }
}
