//! What outlives a restart, what waiting costs, and when it is over.

use super::{
    awaiting_approval, awaiting_payment, journal, mails_are, of_kind, session_of, shipped, tickets,
};
use futures::future::join_all;
use serde_json::{Value, json};
use std::{fs, time::Duration};
use system_tests::{
    Failure,
    client::{As, order_of, text},
    scenarios::PROCESS_ORDER,
    shared::system,
    stack::{PROCESSES, Stack},
    until,
    wire::{StandIn, Wire},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn line_08_paused_orders_resume_after_every_process_of_the_host_has_died()
-> Result<(), Failure> {
    let mut stack = Stack::start(&[]).await?;
    let api = stack.api().clone();
    let for_manager = awaiting_approval(&api).await?;
    let (for_money, session) = awaiting_payment(&api).await?;
    let for_courier = shipped(&api).await?;
    let mut before = Vec::new();
    for order_id in [&for_manager, &for_money, &for_courier] {
        before.push((
            order_id,
            api.saga(PROCESS_ORDER, order_id).await?,
            journal(&api, order_id).await?,
        ));
    }
    for process in PROCESSES {
        stack.kill(process)?;
    }
    for process in PROCESSES {
        stack.spawn(process)?;
    }
    for process in PROCESSES {
        stack.ready(process).await?;
    }
    for (order_id, saga, journal_before) in before {
        assert_eq!(api.saga(PROCESS_ORDER, order_id).await?, saga, "as it was, deadline and all");
        assert_eq!(journal(&api, order_id).await?, journal_before);
    }
    api.approve(&for_manager, true).await?.expect(202)?;
    api.customer(&session, "pay", json!({})).await?;
    api.courier(&for_courier, "delivered", json!({})).await?;
    session_of(&api, &for_manager).await?;
    api.order_is(&for_money, "shipped").await?;
    api.order_is(&for_courier, "completed").await?;
    Ok(())
}

/// What a process holds, as the system counts it.
#[derive(Debug)]
struct Holds {
    threads: u64,
    files: usize,
    memory_bytes: u64,
}

fn holds(stack: &Stack) -> Result<Holds, Failure> {
    let process = format!("/proc/{}", stack.pid("fermata")?);
    let status = fs::read_to_string(format!("{process}/status")).map_err(|err| err.to_string())?;
    let number = |name: &str| {
        let line = status.lines().find_map(|it| it.strip_prefix(name));
        let number = line.and_then(|it| it.split_whitespace().next()?.parse::<u64>().ok());
        number.ok_or_else(|| format!("no {name} in {process}/status"))
    };
    let files = fs::read_dir(format!("{process}/fd")).map_err(|err| err.to_string())?.count();
    Ok(Holds { threads: number("Threads:")?, files, memory_bytes: number("VmRSS:")? * 1024 })
}

/// A saga that holds is rows in a store: with thousands of them the runtime has the threads and the
/// files that it had with none. `deploy/bench w2` measures the memory at a hundred thousand.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn line_08_a_paused_saga_holds_no_thread_no_file_and_little_memory() -> Result<(), Failure> {
    const PARKED: usize = 2000;
    /// Beside the saga itself this has to hold what the allocator and the store's cache keep.
    const BYTES_EACH_MAX: u64 = 48 << 10;
    let stack = Stack::with_runtime("own-saga", &[]).await?;
    let api = stack.api().clone();
    let developer = Wire::of(&stack, "developer").await?;
    let wrapped = StandIn::Says(json!({ "paper": "red" }));
    let _wrapping = developer.stand_in("own.wrap-parcel", wrapped).await?;
    let park = async |from: usize, to: usize| {
        for numbers in (from..to).collect::<Vec<_>>().chunks(200) {
            let published = numbers.iter().map(|number| {
                let (id, number) = (format!("left/{number}"), format!("P-{number}"));
                let developer = &developer;
                async move {
                    let parcel = json!({ "number": number });
                    developer.publish("notifications.trigger.parcel-left", &id, &parcel).await
                }
            });
            join_all(published).await.into_iter().collect::<Result<Vec<()>, Failure>>()?;
        }
        let last = format!("P-{}", to - 1);
        api.saga_is("thank-you", &last, "waiting").await.map(|_| ())
    };
    // The first hundred grow whatever grows once.
    park(0, 100).await?;
    let few = holds(&stack)?;
    park(100, PARKED).await?;
    let url = format!("{}/api/sagas?status=waiting", api.urls().runtime);
    let waiting = until("all of them wait", Duration::from_secs(60), || async {
        let waiting = api.list(&url, "&definition=thank-you").await?.len();
        if waiting == PARKED { Ok(waiting) } else { Err(format!("{waiting} of them wait")) }
    })
    .await?;
    let many = holds(&stack)?;
    let grown = many.memory_bytes.saturating_sub(few.memory_bytes);
    let each = grown / (waiting as u64 - 100);
    println!("{waiting} parked: {few:?} before, {many:?} after; {each} bytes each");
    assert!(
        many.threads <= few.threads + 1,
        "{few:?}, {many:?}: a pool may add a thread, sagas none"
    );
    assert!(many.files <= few.files + 8, "{few:?}, {many:?}: the store may, sagas do not");
    assert!(each <= BYTES_EACH_MAX, "{each} bytes of memory for each parked saga");
    let opened = json!({ "number": "P-7" });
    developer.publish("notifications.trigger.parcel-opened", "opened/7", &opened).await?;
    api.saga_is("thank-you", "P-7", "completed").await?;
    Ok(())
}

fn waits(saga: &Value) -> Result<chrono::TimeDelta, Failure> {
    let time = |pointer| {
        let text = text(saga, pointer)?;
        text.parse::<chrono::DateTime<chrono::Utc>>().map_err(|err| format!("{text}: {err}"))
    };
    Ok(time("/waits/0/until")? - time("/waits/0/since")?)
}

#[tokio::test]
async fn line_20_an_approval_and_a_payment_have_a_day_and_the_courier_has_two_weeks()
-> Result<(), Failure> {
    let (_, api) = system().await?;
    let day = chrono::TimeDelta::hours(24);
    let (for_money, _) = awaiting_payment(&api).await?;
    let orders =
        [(awaiting_approval(&api).await?, day), (for_money, day), (shipped(&api).await?, day * 14)];
    for (order_id, time) in orders {
        let saga = api.saga_is(PROCESS_ORDER, &order_id, "waiting").await?;
        let off = (waits(&saga)? - time).abs();
        // The courier's time runs from when the goods left, a moment before the wait.
        assert!(off < chrono::TimeDelta::minutes(1), "off by {off}: {saga}");
        if time == day {
            assert_eq!(waits(&saga)?, day, "{saga}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn line_20_time_out_cancels_and_closes_the_session_and_an_overdue_parcel_opens_a_ticket()
-> Result<(), Failure> {
    let settings = [
        ("PROCESS_ORDER_APPROVAL_MS", "1500"),
        ("PROCESS_ORDER_PAYMENT_MS", "6000"),
        ("PROCESS_ORDER_DELIVERY_MS", "2000"),
    ];
    let stack = Stack::start(&settings).await?;
    let api = stack.api();
    let unapproved = api.place(&order_of(1000, true, "ann")).await?;
    let undelivered = api.place(&order_of(2, false, "bob")).await?;
    let unpaid = api.place(&order_of(2, false, "bob")).await?;
    let session =
        text(&api.order_is(&undelivered, "awaiting_payment").await?, "/paymentSessionId")?;
    api.customer(&session, "pay", json!({})).await?;

    for (order_id, why) in [(&unapproved, "nobody approved"), (&unpaid, "did not come in time")] {
        let order = api.order_is(order_id, "cancelled").await?;
        assert!(order["history"].to_string().contains(why), "{order}");
        let saga = api.saga_is(PROCESS_ORDER, order_id, "cancelled").await?;
        assert!(saga["reason"].to_string().contains(why), "{saga}");
        let fired = journal(api, order_id).await?;
        assert_eq!(fired.iter().filter(|it| it["kind"] == "timer_fired").count(), 1);
    }
    let effects = api.effects(&unpaid).await?;
    assert_eq!(effects["sessionsExpired"], 1, "nobody can pay it any more: {effects}");
    let kinds = ["order_cancelled", "order_confirmed"];
    mails_are(api, &stack.spool(), &unpaid, &kinds).await?;
    let session = text(&api.order(&unpaid).await?, "/paymentSessionId")?;
    let url = format!("{}/sandbox/sessions/{session}/pay", api.urls().sandbox);
    api.post(As::Anyone, &url, &json!({})).await?.expect(409)?;

    let order = api.order_is(&undelivered, "delivery_failed").await?;
    assert!(order["history"].to_string().contains("overdue"), "{order}");
    let tickets = tickets(api, &undelivered).await?;
    assert_eq!(tickets.len(), 1, "{tickets:?}");
    let calls = of_kind(&journal(api, &undelivered).await?, "call", "subject");
    assert!(!calls.contains(&"payments.refund".to_owned()), "{calls:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn line_20_a_session_that_expires_at_the_provider_cancels_its_order() -> Result<(), Failure> {
    let (_, api) = system().await?;
    let (order_id, session) = awaiting_payment(&api).await?;
    api.customer(&session, "expire", json!({})).await?;
    api.order_is(&order_id, "cancelled").await?;
    api.saga_is(PROCESS_ORDER, &order_id, "cancelled").await?;
    Ok(())
}
