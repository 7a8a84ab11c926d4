//! Kills everything again and again while orders of all ways are in flight, and checks that nothing
//! was lost or done twice. `deploy/kills` builds what it needs and runs it.
#![allow(clippy::print_stdout, reason = "a run is there to be read")]

use std::{process::ExitCode, sync::Arc};
use system_tests::{
    Failure, asked_to_stop,
    kills::{Run, plan::Size},
    stack::root,
};
use uuid::Uuid;

const USAGE: &str = "usage: deploy/kills [--orders 500] [--seed N] [--open 100] \
                     [--runtime-kills 100] [--service-kills 20] [--broker-kills 10] [--release]";

/// Fewer orders in flight are killed less often, so that there are some to every kill.
fn read(arguments: &[String]) -> Result<Run, Failure> {
    let mut seed = Uuid::new_v4().as_u64_pair().0 % 1_000_000;
    let mut size = Size { orders: 500, open_min: 100, runtime: 100, service: 20, broker: 10 };
    let mut rest = arguments.iter();
    while let Some(name) = rest.next() {
        let value = rest.next().and_then(|it| it.parse::<u64>().ok());
        let value = value.ok_or_else(|| format!("{name} takes a number\n{USAGE}"))?;
        let count = usize::try_from(value).map_err(|err| err.to_string())?;
        match name.as_str() {
            "--seed" => seed = value,
            "--orders" => size.orders = count,
            "--open" => size.open_min = count,
            "--runtime-kills" => size.runtime = count,
            "--service-kills" => size.service = count,
            "--broker-kills" => size.broker = count,
            _ => return Err(format!("there is no option {name}\n{USAGE}")),
        }
    }
    if size.open_min == 0 || size.runtime == 0 {
        return Err(format!("there has to be something to kill, and an open saga\n{USAGE}"));
    }
    Ok(Run::long(seed, size))
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let run = match read(&arguments) {
        Ok(run) => run,
        Err(why) => {
            println!("kills: {why}");
            return ExitCode::from(2);
        }
    };
    let parent = root().join("target/kills");
    let res = tokio::select! {
        res = run.run(&parent, Arc::new(|line: &str| println!("{line}"))) => res,
        res = asked_to_stop() => res.and(Err(format!("seed {}: stopped", run.seed))),
    };
    match res {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            println!("kills: {why}");
            ExitCode::FAILURE
        }
    }
}
