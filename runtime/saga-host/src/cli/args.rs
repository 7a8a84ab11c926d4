//! What can be typed.

use crate::names::{StatusName, VerdictName};
use clap::{Args, Parser, Subcommand, ValueHint};
use clap_complete::Shell;
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

/// Items of a list at most; more than that is not read by people.
const LIST_ITEMS_MAX: i64 = 10_000;

/// Where a runtime is that nobody has said anything of.
const URL: &str = "http://127.0.0.1:3000";
/// Says where the runtime listens.
const LISTENS_AT: &str = "FERMATA_HTTP_ADDR";

const AFTER_HELP: &str = "\
Exit status: 0 done, 1 failed, 2 wrong usage, 3 the runtime cannot be reached,
4 the token is missing or its role too low, 5 no such thing, 6 its state does not allow it,
130 interrupted. Of `serve`: 78 its settings or the broker cannot be used, 74 its store failed,
70 a defect.

`serve` is set up by the environment, and by the file that FERMATA_CONFIG names. The other commands
talk to a running runtime, with the token of FERMATA_TOKEN or of the file FERMATA_TOKEN_FILE, else
with that of the role that the command takes: FERMATA_VIEWER_TOKEN, FERMATA_APPROVER_TOKEN, and so
on. A token is never an argument, as all users of a machine see those.";

/// That of the binary is its author's: here it is that of what it is made of.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (of the runtime)");

/// Runs sagas, and asks a running runtime about them.
#[derive(Debug, Parser)]
#[command(version, long_version = VERSION, after_help = AFTER_HELP, arg_required_else_help = true)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
    #[command(flatten)]
    pub(super) options: Options,
}

/// What every question to a runtime takes.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Where the runtime is: without it at FERMATA_HTTP_ADDR, else at http://127.0.0.1:3000.
    #[arg(
        long,
        global = true,
        env = "FERMATA_URL",
        hide_env_values = true,
        value_hint = ValueHint::Url
    )]
    url: Option<String>,
    /// Where the runtime of these settings listens.
    #[arg(skip = std::env::var(LISTENS_AT).ok())]
    listens_at: Option<String>,
    /// Print JSON, as the API gives it; with --watch one line for each thing.
    #[arg(long, global = true)]
    pub(super) json: bool,
}

impl Options {
    /// Where the runtime is.
    pub(super) fn url(&self) -> String {
        match (&self.url, self.listens_at.as_deref().map(str::trim)) {
            (Some(url), _) => url.clone(),
            (None, Some(address)) if !address.is_empty() => at(address),
            (None, _) => URL.to_owned(),
        }
    }
}

/// How to reach what listens there; on all addresses is on this machine's own as well.
fn at(address: &str) -> String {
    match address.parse::<SocketAddr>() {
        Ok(it) if it.ip().is_unspecified() => {
            let own: IpAddr = match it {
                SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            };
            format!("http://{}", SocketAddr::new(own, it.port()))
        }
        _ => format!("http://{address}"),
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the runtime until SIGINT or SIGTERM.
    ///
    /// Needs FERMATA_DATA_DIR (the store) and FERMATA_NATS_URL (nats://user:password@host:4222).
    /// May have FERMATA_HTTP_ADDR (127.0.0.1:3000), the tokens FERMATA_VIEWER_TOKEN,
    /// FERMATA_APPROVER_TOKEN, FERMATA_OPERATOR_TOKEN and FERMATA_ADMIN_TOKEN,
    /// FERMATA_NATS_CA_FILE, FERMATA_EVENT_PREFIXES (shop,depot), FERMATA_STREAM_BYTES_MAX,
    /// FERMATA_STREAM_REPLICAS, FERMATA_CACHE_BYTES, FERMATA_TURN_SECONDS_MAX,
    /// FERMATA_UNDO_PATIENCE_MS, FERMATA_PUBLISH_PATIENCE_MS, FERMATA_LOG, FERMATA_LOG_FORMAT,
    /// FERMATA_HTTP_BODY_BYTES_MAX, FERMATA_HTTP_REQUESTS_PER_S, FERMATA_HTTP_TIMEOUT_MS, and
    /// FERMATA_ENV=development where it is no production.
    Serve,
    /// Let this store take the place of another one
    ///
    /// It is the store of FERMATA_DATA_DIR, from its next start on.
    ///
    /// A runtime whose store is not the one that the broker or the services know does not start,
    /// and names the other one. Look first whether it was started with the wrong directory: what
    /// the other store holds, and this one does not, is given up by this.
    TakeOver {
        /// The instance that is given up, as the refused start names it.
        #[arg(long, value_name = "INSTANCE")]
        from: uuid::Uuid,
        /// Why; it is kept beside the store, and logged.
        #[arg(long, short)]
        reason: String,
    },
    /// List sagas, newest first.
    Sagas(Sagas),
    /// Show a saga: what it waits for, how to unblock it, and its journal.
    Show {
        /// Its id; or its business key, which shows the newest saga with that key.
        saga: String,
        /// Follow the journal until the saga ends: 0 when it completes, 1 when it ends otherwise.
        #[arg(long, short)]
        watch: bool,
    },
    /// Start a saga by hand.
    Start {
        /// Its definition, as `definitions` lists it.
        definition: String,
        /// What it is about: JSON, or @FILE, or - for standard input.
        #[arg(long, value_name = "JSON|@FILE|-")]
        input: String,
        /// Its business key; read from the input when it is absent.
        #[arg(long)]
        key: Option<String>,
    },
    /// Hold a saga: what comes is kept, and its code goes on when it is resumed.
    Pause(Move),
    /// Let a paused saga go on.
    Resume(Move),
    /// End a saga and undo what it did.
    Cancel(Move),
    /// End a saga and undo nothing.
    Terminate(Move),
    /// Try now what failed, or waits to be tried again.
    Retry(Move),
    /// Give up an undo that fails or is not answered
    ///
    /// The saga goes on with the rest, and ends failed.
    Waive {
        #[command(flatten)]
        of: Move,
        /// The step of the undo, as `show` gives it; needed where more than one needs a person.
        #[arg(long)]
        step: Option<String>,
    },
    /// List what waits for people.
    Tasks {
        #[command(flatten)]
        which: Which,
    },
    /// Say yes to a task.
    Approve {
        /// The task's id, as `tasks` gives it.
        task: String,
        /// Why.
        #[arg(long, short)]
        reason: Option<String>,
        /// What `show` gives for the task: the decision is then about what it showed.
        #[arg(long)]
        seen: Option<String>,
    },
    /// Say no to a task.
    Reject {
        /// The task's id, as `tasks` gives it.
        task: String,
        /// What `show` gives for the task: the decision is then about what it showed.
        #[arg(long)]
        seen: Option<String>,
        /// Why; it goes into the journal.
        #[arg(long, short)]
        reason: String,
    },
    /// List events and what became of them, newest first.
    Events {
        /// Only those with this verdict.
        #[arg(long, value_enum, ignore_case = true)]
        verdict: Option<VerdictName>,
        #[command(flatten)]
        which: Which,
    },
    /// Show an event, with its body.
    Event {
        /// Its place in the log, as `events` gives it.
        position: u64,
    },
    /// Offer a dead letter, or an event that nobody claimed, again.
    Offer {
        /// Its place in the log, as `events` gives it.
        position: u64,
        /// Why; it goes into the audit.
        #[arg(long, short)]
        reason: String,
    },
    /// Show the believed time, or say that a doubted clock is right
    Clock {
        /// Say so.
        #[arg(value_enum)]
        what: Option<ClockAction>,
        /// Why it is right; it goes into the audit.
        #[arg(long, short, required_if_eq("what", "accept"), requires = "what")]
        reason: Option<String>,
    },
    /// List the definitions of the runtime, and the events that they take.
    Definitions,
    /// Print what makes a shell complete these commands.
    Completions {
        /// Which shell.
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Print the manual page, or that of one command; or write all of them.
    Man {
        /// The command; without it, the page of the whole.
        command: Option<String>,
        /// Write every page into this folder instead.
        #[arg(
            long,
            value_name = "FOLDER",
            conflicts_with = "command",
            value_hint = ValueHint::DirPath
        )]
        out: Option<PathBuf>,
    },
}

/// What to do about the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum ClockAction {
    /// Believe it.
    Accept,
}

/// How much of a list.
#[derive(Debug, Args)]
pub(super) struct Which {
    /// Items at most.
    #[arg(long, short = 'n', default_value_t = 50,
        value_parser = clap::value_parser!(u16).range(1..=LIST_ITEMS_MAX))]
    pub(super) limit: u16,
    /// Look again every second until Ctrl-C. A terminal shows the newest; into a pipe go those that
    /// are new or have changed, the newest last.
    #[arg(long, short)]
    pub(super) watch: bool,
}

/// Which sagas; all filters together are an AND.
#[derive(Debug, Args)]
pub(super) struct Sagas {
    /// Only those that stand here.
    #[arg(long, value_enum, ignore_case = true)]
    pub(super) status: Option<StatusName>,
    /// Only those of this definition.
    #[arg(long)]
    pub(super) definition: Option<String>,
    /// Only those with this business key.
    #[arg(long)]
    pub(super) key: Option<String>,
    /// Only those with this id, this business key, or this mail address of the customer.
    #[arg(long, value_name = "WHAT")]
    pub(super) search: Option<String>,
    /// Only those that started longer ago than that: 90s, 2h, 1h30m, 7d.
    #[arg(long, value_name = "AGE", value_parser = age)]
    pub(super) older_than: Option<Duration>,
    /// Only those that started since then: 90s, 2h, 1h30m, 7d.
    #[arg(long, value_name = "AGE", value_parser = age)]
    pub(super) newer_than: Option<Duration>,
    #[command(flatten)]
    pub(super) which: Which,
}

/// A move of an operator.
#[derive(Debug, Args)]
pub(super) struct Move {
    /// The saga's id; or its business key, when that names one saga that has not ended.
    pub(super) saga: String,
    /// Why; it goes into the journal.
    #[arg(long, short)]
    pub(super) reason: String,
}

fn age(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}; say 90s, 2h, 1h30m or 7d"))
}

/// The commands under the name of the binary, with examples that can be typed as they stand.
pub(super) fn named(command: clap::Command, program: &str) -> clap::Command {
    let examples: [(&str, &[&str]); 9] = [
        ("sagas", &["--status waiting --older-than 2h", "--search ann@example.com --json"]),
        ("show", &["ORD-1", "ORD-1 --watch"]),
        ("start", &[r#"thank-you --input '{"number":"P-1"}'"#, "thank-you --input @parcel.json"]),
        ("cancel", &["ORD-1 --reason 'the customer asked'"]),
        ("waive", &["ORD-1 --reason 'refunded by hand'", "ORD-1 --step 3 --reason 'refunded'"]),
        ("tasks", &["--watch"]),
        ("events", &["--verdict dead_letter", "--watch --json"]),
        ("completions", &["bash > ~/.local/share/bash-completion/completions/PROGRAM"]),
        ("man", &["| man -l -", "--out ~/.local/share/man/man1"]),
    ];
    let command = command.name(program.to_owned()).bin_name(program.to_owned());
    let command = usages(command);
    examples.into_iter().fold(command, |command, (name, lines)| {
        let line = |it: &&str| format!("\n  {program} {name} {}", it.replace("PROGRAM", program));
        let lines: String = lines.iter().map(line).collect();
        command.mut_subcommand(name, |it| it.after_help(format!("Examples:{lines}")))
    })
}

/// A complaint shows how the command is used, and by itself would show each option there that is
/// set, as if it had to be: also one that the environment sets.
fn usages(command: clap::Command) -> clap::Command {
    let mut built = command.clone();
    built.build();
    let usage = |it: &mut clap::Command| (it.get_name().to_owned(), it.render_usage().to_string());
    let usages: Vec<_> = built.get_subcommands_mut().map(usage).collect();
    let usages = usages.into_iter().filter(|(name, _)| command.find_subcommand(name).is_some());
    let usages: Vec<_> = usages.collect();
    usages.into_iter().fold(command, |command, (name, usage)| {
        let usage = usage.trim_start_matches("Usage: ").to_owned();
        command.mut_subcommand(name, |it| it.override_usage(usage))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::spelt;
    use clap::{CommandFactory as _, FromArgMatches as _};

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        let words = std::iter::once("own-saga").chain(line.split_whitespace());
        let matches = named(Cli::command(), "own-saga").try_get_matches_from(words)?;
        Cli::from_arg_matches(&matches)
    }

    #[test]
    fn the_arguments_fit_each_other() {
        named(Cli::command(), "own-saga").debug_assert();
    }

    #[test]
    fn what_has_a_default_is_never_shown_as_required() {
        for (line, usage) in [
            ("show --url http://localhost:1", "Usage: own-saga show [OPTIONS] <SAGA>\n"),
            ("show --json --watch", "Usage: own-saga show [OPTIONS] <SAGA>\n"),
            ("cancel o-1 --json", "Usage: own-saga cancel [OPTIONS] --reason <REASON> <SAGA>\n"),
            ("sagas --url http://localhost:1 --bogus", "Usage: own-saga sagas [OPTIONS]\n"),
        ] {
            let refused = parse(line).expect_err(line).to_string();
            assert!(refused.contains(usage), "{line}: {refused}");
        }
    }

    #[test]
    fn a_wrong_filter_is_refused_with_what_is_possible() {
        for (line, named) in [
            ("sagas --status asleep", "attention"),
            ("events --verdict lost", "dead_letter"),
            ("sagas --older-than soon", "1h30m"),
            ("sagas --limit 0", "1..=10000"),
            ("cancel ORD-1", "--reason"),
            ("start thank-you", "--input"),
            ("event first", "<POSITION>"),
            ("clock accept", "--reason"),
            ("clock set", "accept"),
            ("completions cmd", "bash"),
        ] {
            let error = parse(line).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}");
            assert!(error.to_string().contains(named), "{line}: {error}");
        }
    }

    #[test]
    fn filters_are_read_as_people_type_them() {
        let cli = parse("sagas --status WAITING --older-than 1h30m -n 7 --json").expect("right");
        let Command::Sagas(sagas) = cli.command else { panic!("it lists sagas") };
        assert_eq!(sagas.status.map(spelt).as_deref(), Some("waiting"));
        assert_eq!(sagas.older_than, Some(Duration::from_secs(5400)));
        assert!(sagas.which.limit == 7 && cli.options.json);
        let cli = parse("events --verdict dead-letter").expect("right");
        let Command::Events { verdict, .. } = cli.command else { panic!("it lists events") };
        assert_eq!(verdict.map(spelt).as_deref(), Some("dead_letter"));
    }

    #[test]
    fn the_runtime_is_where_it_was_said_to_be() {
        let options = |url: Option<&str>, listens_at: Option<&str>| Options {
            url: url.map(str::to_owned),
            listens_at: listens_at.map(str::to_owned),
            json: false,
        };
        for (url, listens_at, expected) in [
            (None, None, "http://127.0.0.1:3000"),
            (None, Some(""), "http://127.0.0.1:3000"),
            (None, Some("127.0.0.1:4000"), "http://127.0.0.1:4000"),
            (None, Some("0.0.0.0:4000"), "http://127.0.0.1:4000"),
            (None, Some("[::1]:4000"), "http://[::1]:4000"),
            (None, Some("[::]:4000\n"), "http://[::1]:4000"),
            (Some("http://10.0.0.1:80"), Some("127.0.0.1:4000"), "http://10.0.0.1:80"),
        ] {
            assert_eq!(options(url, listens_at).url(), expected);
        }
    }

    #[test]
    fn help_carries_the_name_of_the_binary_and_no_other() {
        for line in ["--help", "show --help", "sagas --help", "completions --help", "man --help"] {
            let help = parse(line).expect_err("help ends it").to_string();
            assert!(help.contains("own-saga"), "{help}");
            assert!(!help.contains("fermata"), "{help}");
        }
    }
}
