//! `bench-core orders SAGAS | steps CALLS | fan CALLS`: the core alone with the store in memory, to
//! be counted under valgrind. Prints what it gave to the store as one JSON object.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark is there to be read")]

use std::process::ExitCode;
use system_tests::bench::alone;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let told = match args[..] {
        ["orders", sagas] => sagas.parse().map(|it| alone::orders(it, alone::IN_FLIGHT)),
        ["steps", calls] => calls.parse().map(alone::steps),
        ["fan", calls] => calls.parse().map(alone::fan),
        _ => {
            eprintln!("bench-core: expected `orders SAGAS`, `steps CALLS` or `fan CALLS`");
            return ExitCode::from(2);
        }
    };
    let line = told.map_err(|err| err.to_string()).flatten();
    match line.and_then(|it| serde_json::to_string(&it).map_err(|err| err.to_string())) {
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
