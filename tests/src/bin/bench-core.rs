//! `bench-core LOAD COUNT`: the core alone with the store in memory, to be counted under valgrind.
//! Prints what it gave to the store as one JSON object.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark is there to be read")]

use std::process::ExitCode;
use system_tests::bench::budget::{Load, ORDERS, SHAPES};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let known = || match args[..] {
        [name, count] => Some((Load::named(name)?, count)),
        _ => None,
    };
    let Some((load, count)) = known() else {
        let names: Vec<&str> = [ORDERS].iter().chain(&SHAPES).map(|it| it.name).collect();
        eprintln!("bench-core: expected a load and a count; loads are {}", names.join(", "));
        return ExitCode::from(2);
    };
    let told = count.parse().map_err(|_| format!("{count} is no count"));
    let told = told.and_then(|count| load.written(count));
    match told.and_then(|it| serde_json::to_string(&it).map_err(|err| err.to_string())) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("bench-core: {why}");
            ExitCode::FAILURE
        }
    }
}
