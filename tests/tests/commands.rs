//! The command line, as a person types it and as a program reads it: the real binary against a real
//! system.

use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    process::{Command, Stdio},
    time::Duration,
};
use system_tests::{
    Failure,
    client::{Api, order_of, text},
    scenarios::PROCESS_ORDER,
    stack::{Stack, binary},
    until,
    wire::{StandIn, Wire},
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, BufReader, Lines},
    process::{Child, ChildStderr, ChildStdout},
    time::timeout,
};

/// How long something may take that takes no time.
const SOON: Duration = Duration::from_secs(30);
/// How long a saga may take for a thousand turns.
const LATER: Duration = Duration::from_secs(180);
/// Events that a lane keeps: what the runtime keeps by default.
const LANE: usize = 1_000;

const COMMANDS: [&str; 19] = [
    "serve",
    "sagas",
    "show",
    "start",
    "pause",
    "resume",
    "cancel",
    "terminate",
    "retry",
    "tasks",
    "approve",
    "reject",
    "events",
    "event",
    "offer",
    "clock",
    "definitions",
    "completions",
    "man",
];

/// Somebody at a terminal, with an environment.
struct Shell {
    program: &'static str,
    env: BTreeMap<String, String>,
}

/// What came of a command.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Shell {
    /// Without any token, and without a runtime.
    fn bare(program: &'static str) -> Shell {
        let path = std::env::var("PATH").unwrap_or_default();
        Shell { program, env: BTreeMap::from([("PATH".to_owned(), path)]) }
    }

    fn at(stack: &Stack) -> Shell {
        let mut shell = Shell::bare("fermata").with("FERMATA_URL", &stack.api().urls().runtime);
        let tokens = stack.env().iter().filter(|it| it.0.ends_with("_TOKEN"));
        shell.env.extend(tokens.map(|(name, value)| (name.clone(), value.clone())));
        shell
    }

    fn with(mut self, name: &str, value: &str) -> Shell {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    fn without(mut self, name: &str) -> Shell {
        self.env.remove(name);
        self
    }

    fn command(&self, words: &[&str]) -> Result<Command, Failure> {
        let mut command = Command::new(binary(self.program)?);
        command.args(words).env_clear().envs(&self.env).stdin(Stdio::null());
        Ok(command)
    }

    fn run(&self, words: &[&str]) -> Result<Ran, Failure> {
        self.run_with_input(words, "")
    }

    fn run_with_input(&self, words: &[&str], input: &str) -> Result<Ran, Failure> {
        let mut command = self.command(words)?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|err| format!("no {}: {err}", self.program))?;
        if let Some(mut stdin) = child.stdin.take() {
            // Whoever does not read it has closed it.
            let _closed = stdin.write_all(input.as_bytes());
        }
        let output = child.wait_with_output().map_err(|err| err.to_string())?;
        Ok(Ran {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// What it prints, if it does what was asked and complains of nothing.
    fn says(&self, words: &[&str]) -> Result<String, Failure> {
        let ran = self.run(words)?;
        if ran.code == Some(0) && ran.err.is_empty() {
            Ok(ran.out)
        } else {
            Err(format!("{ran:?}"))
        }
    }

    /// As a program reads it.
    fn json(&self, words: &[&str]) -> Result<Value, Failure> {
        let said = self.says(&[words, &["--json"]].concat())?;
        serde_json::from_str(&said).map_err(|err| format!("{words:?} printed {said}: {err}"))
    }

    /// It must end with this status, print nothing, and complain with all of these words.
    fn fails(&self, words: &[&str], code: i32, names: &[&str]) -> Result<(), Failure> {
        let ran = self.run(words)?;
        let is_told = names.iter().all(|it| ran.err.contains(it));
        if ran.code == Some(code) && ran.out.is_empty() && is_told {
            return Ok(());
        }
        Err(format!("{words:?}: expected {code} and {names:?}, got {ran:?}"))
    }

    fn watch(&self, words: &[&str]) -> Result<Watching, Failure> {
        Watching::of(self.command(words)?)
    }
}

/// A command that goes on and on.
struct Watching {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    complaints: Lines<BufReader<ChildStderr>>,
    seen: Vec<String>,
    complained: Vec<String>,
}

impl Watching {
    fn of(command: Command) -> Result<Watching, Failure> {
        let mut command = tokio::process::Command::from(command);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().map_err(|err| format!("it does not start: {err}"))?;
        let stdout = child.stdout.take().ok_or("no standard output")?;
        let stderr = child.stderr.take().ok_or("no standard error")?;
        let (lines, complaints) = (BufReader::new(stdout).lines(), BufReader::new(stderr).lines());
        Ok(Watching { child, lines, complaints, seen: Vec::new(), complained: Vec::new() })
    }

    /// Reads on to a line with these words.
    async fn reaches(&mut self, words: &str) -> Result<String, Failure> {
        let found = timeout(SOON, reach(&mut self.lines, &mut self.seen, words)).await;
        let found = found.unwrap_or_else(|_| Err("it never came".to_owned()));
        found.map_err(|why| format!("{words}: {why}: {:#?}", self.seen))
    }

    /// Reads on to a complaint with these words.
    async fn complains(&mut self, words: &str) -> Result<(), Failure> {
        let found = timeout(SOON, reach(&mut self.complaints, &mut self.complained, words)).await;
        let found = found.unwrap_or_else(|_| Err("it never came".to_owned()));
        found.map(|_| ()).map_err(|why| format!("{words}: {why}: {:#?}", self.complained))
    }

    /// Reads on to its end; gives all lines, the exit status, and all that it complained about.
    async fn ends(mut self) -> Result<(Vec<String>, Option<i32>, Vec<String>), Failure> {
        let ended = async {
            // No line has a line break, so both are read to their ends.
            let _end = reach(&mut self.lines, &mut self.seen, "\n").await;
            let _end = reach(&mut self.complaints, &mut self.complained, "\n").await;
            self.child.wait().await.map_err(|err| err.to_string())
        };
        let status = timeout(SOON, ended).await;
        let status = status.map_err(|_| format!("it does not end: {:#?}", self.seen))??;
        Ok((self.seen, status.code(), self.complained))
    }

    fn interrupt(&self) -> Result<(), Failure> {
        let pid = self.child.id().and_then(|it| libc::pid_t::try_from(it).ok());
        let pid = pid.ok_or("it has ended")?;
        #[allow(unsafe_code, reason = "the standard library has no way to send SIGINT")]
        // SAFETY: the process is our child and not yet waited for, so the id is its own.
        let res = unsafe { libc::kill(pid, libc::SIGINT) };
        if res == 0 { Ok(()) } else { Err("failed to send SIGINT".to_owned()) }
    }

    /// Ctrl-C: it ends at once, without a word.
    async fn left_alone(self) -> Result<(), Failure> {
        self.interrupt()?;
        let (_, code, complained) = self.ends().await?;
        assert_eq!((code, complained), (Some(130), Vec::new()));
        Ok(())
    }
}

async fn reach(
    lines: &mut Lines<BufReader<impl AsyncRead + Unpin>>,
    seen: &mut Vec<String>,
    words: &str,
) -> Result<String, Failure> {
    while let Some(line) = lines.next_line().await.map_err(|err| err.to_string())? {
        seen.push(line.clone());
        if line.contains(words) {
            return Ok(line);
        }
    }
    Err("it ended before".to_owned())
}

fn values(lines: &[String]) -> Result<Vec<Value>, Failure> {
    lines.iter().map(|it| serde_json::from_str(it).map_err(|err| format!("{it}: {err}"))).collect()
}

fn has(said: &str, parts: &[&str]) -> Result<(), Failure> {
    match parts.iter().find(|it| !said.contains(**it)) {
        None => Ok(()),
        Some(part) => Err(format!("`{part}` is not in:\n{said}")),
    }
}

#[test]
fn help_completions_and_manual_name_each_command_and_the_binary() -> Result<(), Failure> {
    for program in ["fermata", "own-saga"] {
        let shell = Shell::bare(program);
        let help = shell.says(&["--help"])?;
        let manual = shell.says(&["man"])?;
        let mut texts = vec![help, manual];
        for other in ["bash", "zsh", "fish", "elvish", "powershell"] {
            texts.push(shell.says(&["completions", other])?);
        }
        for text in &texts {
            has(text, &COMMANDS)?;
            has(text, &[program])?;
            assert!(program == "fermata" || !text.contains("fermata"), "the name of another");
        }
        checked("bash", &["-n"], &texts[2])?;
    }
    Ok(())
}

#[test]
fn each_manual_page_is_one_that_man_can_read() -> Result<(), Failure> {
    let shell = Shell::bare("own-saga");
    let folder = tempfile::tempdir().map_err(|err| err.to_string())?;
    let path = folder.path().join("man1");
    shell.says(&["man", "--out", &path.display().to_string()])?;
    let pages = COMMANDS.iter().map(|it| format!("own-saga-{it}.1")).chain(["own-saga.1".into()]);
    for page in pages {
        let text = fs::read_to_string(path.join(&page)).map_err(|err| format!("{page}: {err}"))?;
        // Debian's smallest images have no man.
        if Command::new("groff").arg("--version").output().is_ok() {
            checked("groff", &["-man", "-ww", "-Tutf8", "-"], &text)?;
        }
        has(&text, &["own\\-saga", ".SH NAME", ".SH SYNOPSIS"])?;
    }
    let page = shell.says(&["man", "sagas"])?;
    has(&page, &["older\\-than", "own\\-saga sagas"])?;
    shell.fails(&["man", "nothing"], 2, &["no command nothing", "--help"])
}

/// The program must take the text without a word.
fn checked(program: &str, words: &[&str], text: &str) -> Result<(), Failure> {
    let mut command = Command::new(program);
    command.args(words).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|err| format!("no {program}: {err}"))?;
    let mut stdin = child.stdin.take().ok_or("no standard input")?;
    stdin.write_all(text.as_bytes()).map_err(|err| err.to_string())?;
    drop(stdin);
    let output = child.wait_with_output().map_err(|err| err.to_string())?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    match output.status.success() && complaint.is_empty() {
        true => Ok(()),
        false => Err(format!("{program} says: {complaint}")),
    }
}

#[test]
fn what_was_typed_wrongly_is_said_with_what_is_possible() -> Result<(), Failure> {
    let shell = Shell::bare("own-saga").with("FERMATA_TOKEN", "any");
    shell.fails(&[], 2, &["Usage: own-saga"])?;
    shell.fails(&["explode"], 2, &["explode", "own-saga"])?;
    shell.fails(&["sagas", "--status", "asleep"], 2, &["asleep", "attention", "terminated"])?;
    shell.fails(&["events", "--verdict", "lost"], 2, &["lost", "dead_letter", "unclaimed"])?;
    shell.fails(&["sagas", "--older-than", "soon"], 2, &["--older-than", "1h30m"])?;
    shell.fails(&["sagas", "--url", "localhost"], 2, &["--url localhost", "http://host:port"])?;
    shell.fails(&["pause", "ORD-1"], 2, &["--reason"])?;
    shell.fails(&["reject", "task"], 2, &["--reason"])?;
    shell.fails(&["start", "thank-you", "--input", "{"], 2, &["--input", "not JSON"])?;
    shell.fails(&["start", "thank-you", "--input", "@/nonexistent"], 2, &["/nonexistent"])
}

#[test]
fn no_token_and_no_runtime_are_said_with_what_to_do() -> Result<(), Failure> {
    let bare = Shell::bare("own-saga").with("FERMATA_URL", "http://127.0.0.1:9");
    bare.fails(&["sagas"], 4, &["own-saga: no token", "FERMATA_TOKEN", "FERMATA_VIEWER_TOKEN"])?;
    bare.fails(&["pause", "x", "--reason", "y"], 4, &["FERMATA_OPERATOR_TOKEN"])?;
    bare.fails(&["approve", "x"], 4, &["FERMATA_APPROVER_TOKEN"])?;
    let shell = bare.with("FERMATA_TOKEN", "any");
    let away = ["cannot reach", "127.0.0.1:9", "--url"];
    shell.fails(&["sagas"], 3, &away)?;
    shell.fails(&["sagas", "--watch"], 3, &away)?;
    shell.fails(&["show", "ORD-1", "--watch"], 3, &away)?;
    let shell = shell.without("FERMATA_TOKEN").with("FERMATA_TOKEN_FILE", "/nonexistent/token");
    shell.fails(&["sagas"], 4, &["FERMATA_TOKEN_FILE", "/nonexistent/token"])
}

/// One system for all of it, as it takes long to start: what changes it comes last.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_command_does_what_it_says_in_text_and_in_json() -> Result<(), Failure> {
    let mut stack = Stack::start(&[]).await?;
    let shell = Shell::at(&stack);
    let api = stack.api().clone();
    let bob = api.place(&order_of(2, false, "bob")).await?;
    let ann = api.place(&order_of(1000, true, "ann")).await?;
    api.order_is(&bob, "awaiting_payment").await?;
    api.saga_is(PROCESS_ORDER, &bob, "waiting").await?;
    api.saga_is(PROCESS_ORDER, &ann, "waiting").await?;

    tokens(&stack, &shell, &ann)?;
    sagas(&shell, &bob, &ann)?;
    events(&stack, &shell, &bob).await?;
    shown(&api, &shell, &bob).await?;
    terminals(&shell, &bob).await?;
    tasks(&api, &shell, &ann).await?;
    followed(&api, &shell, &bob).await?;
    lists_followed(&api, &shell).await?;
    started(&stack, &shell)?;
    moved(&api, &shell).await?;
    away_and_back(&mut stack, &shell).await
}

fn tokens(stack: &Stack, shell: &Shell, ann: &str) -> Result<(), Failure> {
    let wrong = Shell::at(stack).with("FERMATA_TOKEN", "nobody-has-this-one");
    let error = ["not known", "FERMATA_TOKEN"];
    wrong.fails(&["sagas"], 4, &error)?;
    wrong.fails(&["show", ann, "--watch"], 4, &error)?;
    let viewer = Shell::at(stack).with("FERMATA_TOKEN", &stack.env()["FERMATA_VIEWER_TOKEN"]);
    let task = text(&shell.json(&["tasks"])?, "/items/0/id")?;
    viewer.fails(&["approve", &task], 4, &["approver", "viewer", "FERMATA_TOKEN"])?;
    let file = stack.dir().join("token");
    let written = fs::write(&file, format!("{}\n", stack.env()["FERMATA_VIEWER_TOKEN"]));
    written.map_err(|err| err.to_string())?;
    let from_file = Shell::bare("fermata")
        .with("FERMATA_URL", &stack.api().urls().runtime)
        .with("FERMATA_TOKEN_FILE", &file.display().to_string());
    from_file.says(&["sagas"]).map(|_| ())
}

fn sagas(shell: &Shell, bob: &str, ann: &str) -> Result<(), Failure> {
    let table = shell.says(&["sagas"])?;
    has(&table, &["SAGA ", "DEFINITION", "KEY", "STATUS", "AGE", bob, ann, "process-order"])?;
    has(&table, &["waiting", "payments.trigger.completed"])?;
    let found = |words: &[&str]| -> Result<Vec<String>, Failure> {
        let page = shell.json(&[&["sagas"], words].concat())?;
        let items = page["items"].as_array().ok_or("no items")?;
        items.iter().map(|it| text(it, "/key")).collect()
    };
    assert_eq!(found(&["--key", bob])?, [bob]);
    assert_eq!(found(&["--search", "BOB@example.com"])?, [bob], "by the customer's mail");
    assert_eq!(found(&["--status", "waiting", "--definition", PROCESS_ORDER])?.len(), 2);
    assert_eq!(found(&["--newer-than", "1h", "--key", ann])?, [ann]);
    assert!(found(&["--older-than", "1h"])?.is_empty());
    assert_eq!(shell.says(&["sagas", "--older-than", "1h"])?, "no sagas\n");
    let first = shell.json(&["sagas", "--limit", "1"])?;
    assert!(first["next"].is_string() && first["items"].as_array().is_some_and(|it| it.len() == 1));
    let definitions = shell.json(&["definitions"])?.to_string();
    has(&definitions, &[PROCESS_ORDER, "orders.trigger.created", "\"starts\":true"])?;
    has(&shell.says(&["definitions"])?, &["STARTED BY", PROCESS_ORDER, "orders.trigger.created"])
}

async fn events(stack: &Stack, shell: &Shell, bob: &str) -> Result<(), Failure> {
    let has_started = ["events", "--verdict", "started"];
    has(&shell.says(&has_started)?, &["POSITION", "VERDICT", "orders.trigger.created", bob])?;
    let started = shell.json(&has_started)?["items"][0].clone();
    let position = started["position"].to_string();
    let event = shell.says(&["event", &position])?;
    has(&event, &["event       orders.trigger.created", "verdict     started", "body "])?;
    assert_eq!(shell.json(&["event", &position])?["id"], started["id"]);
    shell.fails(&["event", "999999999"], 5, &["999999999", "`fermata events` lists them"])?;

    let fails = |position: &str, code, names: &[&str]| {
        shell.fails(&["offer", position, "--reason", "mended"], code, names)
    };
    fails("999999999", 5, &["999999999", "`fermata events`"])?;
    fails(&position, 6, &["only what is dead or unclaimed", "`fermata event "])?;
    let broken = json!({ "orderId": bob, "amount": "a lot" }).to_string();
    publish(stack, "payments.trigger.completed", broken).await?;
    let is_dead = ["events", "--verdict", "dead-letter"];
    let dead = until("the dead letter is listed", SOON, || async {
        let list = shell.json(&is_dead)?;
        list["items"].get(0).cloned().ok_or_else(|| list.to_string())
    });
    let dead = dead.await?["position"].to_string();
    let told = shell.says(&["event", &dead])?;
    has(&told, &["dead_letter", &format!("unblock     fermata offer {dead} --reason")])?;
    fails(&dead, 1, &["/"])
}

async fn publish(stack: &Stack, subject: &str, body: String) -> Result<(), Failure> {
    let url = &stack.env()["NATS_URL"];
    let login = url.strip_prefix("nats://").and_then(|it| it.split_once('@'));
    let (user, password) = login.and_then(|it| it.0.split_once(':')).ok_or("no login")?;
    let options = async_nats::ConnectOptions::with_user_and_password(user.into(), password.into());
    let client = options.connect(url).await;
    let client = client.map_err(|err| format!("failed to connect: {err}"))?;
    let sent = client.publish(subject.to_owned(), body.into()).await;
    sent.map_err(|err| format!("failed to publish: {err}"))?;
    client.flush().await.map_err(|err| format!("failed to flush: {err}"))
}

async fn shown(api: &Api, shell: &Shell, bob: &str) -> Result<(), Failure> {
    let saga = api.saga(PROCESS_ORDER, bob).await?;
    let id = text(&saga, "/id")?;
    let told = shell.says(&["show", bob])?;
    has(&told, &[&format!("saga        {id}\n")])?;
    has(&shell.says(&["show", &id])?, &[&format!("key         {bob}\n")])?;
    let waits = ["waits for   payments.trigger.completed", "  since ", "  until ", " (in "];
    has(&told, &waits)?;
    has(&told, &["  unblock   an event on payments.trigger.completed", " < started "])?;
    has(&told, &["> 2 call orders.calculate-risk", "wait payments.trigger.completed or "])?;
    let json = shell.json(&["show", bob])?;
    assert_eq!(json["journal"].as_array(), Some(&api.journal(&id).await?));
    assert_eq!(json["saga"]["id"], saga["id"]);
    shell.fails(&["show", "ORD-none"], 5, &["no saga", "ORD-none", "`fermata sagas` lists them"])
}

/// A terminal of 60 columns and 6 rows, by the `script` of util-linux.
fn terminal(shell: &Shell, command: &str, variable: (&str, &str)) -> Result<Command, Failure> {
    let program = binary("fermata")?;
    let folder = program.parent().ok_or("no folder")?.display();
    let mut script = Command::new("script");
    let line = format!("stty cols 60 rows 6; PATH={folder}:$PATH; {command}");
    script.args(["-qec", &line, "/dev/null"]).env_clear().envs(&shell.env);
    script.env("TERM", "xterm").env(variable.0, variable.1).stdin(Stdio::null());
    Ok(script)
}

async fn terminals(shell: &Shell, bob: &str) -> Result<(), Failure> {
    let (plain, coloured) = (("NO_COLOR", "1"), ("LANG", "C"));
    let shows = |command: &str, variable| {
        let said = terminal(shell, command, variable)?.output();
        let said = said.map_err(|err| format!("no script: {err}"))?;
        Ok::<String, Failure>(String::from_utf8_lossy(&said.stdout).into_owned())
    };
    let sagas = format!("fermata sagas --key {bob}");
    let table = shows(&sagas, plain)?;
    has(&table, &["SAGA", "…"])?;
    assert!(!table.contains('\u{1b}'), "{table:?}");
    has(&shows(&sagas, coloured)?, &["\u{1b}["])?;
    let journal = shows(&format!("fermata show {bob}"), plain)?;
    let records = journal.lines().filter(|it| it.contains(" < ") || it.contains(" > "));
    let records: Vec<&str> = records.map(str::trim_end).collect();
    assert!(5 < records.len() && records.iter().all(|it| it.chars().count() <= 60), "{journal}");
    let piped = shell.says(&["sagas", "--key", bob])?;
    assert!(!piped.contains('…') && !piped.contains('\u{1b}'), "{piped}");
    // It draws over what it drew, with lines that do not wrap, and wraps again in between.
    let mut watched = Watching::of(terminal(shell, "fermata sagas --watch", plain)?)?;
    watched.reaches("\u{1b}[?7l\u{1b}[0JSAGA").await?;
    watched.reaches("\u{1b}[?7h\u{1b}[?7l\u{1b}[3A\u{1b}[0JSAGA").await.map(|_| ())
}

async fn tasks(api: &Api, shell: &Shell, ann: &str) -> Result<(), Failure> {
    has(&shell.says(&["tasks"])?, &["TASK", "DEADLINE", ann, "in ", "Approve order", "riskScore"])?;
    let task = text(&shell.json(&["tasks"])?, "/items/0/id")?;
    has(&shell.says(&["show", ann])?, &[&format!("  unblock   fermata approve {task}")])?;
    shell.fails(&["approve", "no-task"], 5, &["no-task", "`fermata tasks` lists them"])?;
    has(&shell.says(&["approve", &task, "--reason", "looked at it"])?, &["approved; saga "])?;
    has(&shell.says(&["approve", &task, "--reason", "again"])?, &["was approved before"])?;
    shell.fails(&["reject", &task, "--reason", "too late"], 6, &["approved"])?;
    api.order_is(ann, "awaiting_payment").await?;
    assert_eq!(shell.says(&["tasks"])?, "nothing waits for a person\n");
    let eve = api.place(&order_of(1000, true, "eve")).await?;
    api.order_is(&eve, "awaiting_approval").await?;
    api.saga_is(PROCESS_ORDER, &eve, "waiting").await?;
    let task = text(&shell.json(&["tasks"])?, "/items/0/id")?;
    assert_eq!(shell.json(&["reject", &task, "-r", "looks like fraud"])?["approved"], false);
    api.saga_is(PROCESS_ORDER, &eve, "cancelled").await.map(|_| ())
}

/// A saga until it completes, by a person and by a program; and by two who do not stay so long.
async fn followed(api: &Api, shell: &Shell, bob: &str) -> Result<(), Failure> {
    let holds = "payments.trigger.completed or payments.trigger.failed";
    let mut people = shell.watch(&["show", bob, "--watch"])?;
    let mut programs = shell.watch(&["show", bob, "--watch", "--json"])?;
    people.reaches(holds).await?;
    programs.reaches("payments.trigger.completed").await?;

    let mut head = shell.watch(&["show", bob, "--watch"])?;
    head.reaches(holds).await?;
    let Watching { mut child, lines, mut complaints, mut complained, .. } = head;
    drop(lines);
    let status = timeout(SOON, child.wait()).await.map_err(|_| "it waits for a reader")?;
    assert_eq!(status.map_err(|err| err.to_string())?.code(), Some(0));
    let _end = reach(&mut complaints, &mut complained, "\n").await;
    assert!(complained.is_empty(), "nobody reads any more, so nothing is said: {complained:?}");
    let mut left = shell.watch(&["show", bob, "--watch"])?;
    left.reaches(holds).await?;
    left.left_alone().await?;

    let session = text(&api.order(bob).await?, "/paymentSessionId")?;
    api.customer(&session, "pay", json!({})).await?;
    people.reaches("received payments.trigger.completed").await?;
    api.order_is(bob, "shipped").await?;
    api.courier(bob, "delivered", json!({})).await?;
    let (lines, code, complained) = people.ends().await?;
    assert_eq!((code, complained), (Some(0), Vec::new()), "{lines:#?}");
    has(lines.last().ok_or("no lines")?, &["completed after "])?;
    let (lines, code, complained) = programs.ends().await?;
    assert_eq!((code, complained), (Some(0), Vec::new()), "{lines:#?}");
    let mut records = values(&lines)?;
    let saga = records.pop().ok_or("no lines")?;
    assert_eq!(saga["status"], "completed");
    assert_eq!(records, api.journal(&text(&saga, "/id")?).await?, "each record once, in order");
    Ok(())
}

async fn lists_followed(api: &Api, shell: &Shell) -> Result<(), Failure> {
    let mut sagas = shell.watch(&["sagas", "--watch", "--json"])?;
    let mut tasks = shell.watch(&["tasks", "--watch"])?;
    let mut events = shell.watch(&["events", "--watch", "--limit", "1"])?;
    sagas.reaches("process-order").await?;
    events.reaches("POSITION").await?;
    let joe = api.place(&order_of(1000, true, "joe")).await?;
    let line = sagas.reaches(&joe).await?;
    let first: Value = serde_json::from_str(&line).map_err(|err| err.to_string())?;
    events.reaches(&joe).await?;
    let task = tasks.reaches(&joe).await?;
    let task = task.split_whitespace().next().ok_or("no task")?.to_owned();
    shell.says(&["reject", &task, "--reason", "a test"])?;
    let last = sagas.reaches("\"status\":\"cancelled\"").await?;
    assert_eq!(first["key"], joe.as_str());
    assert_eq!(values(&[last])?[0]["id"], first["id"], "it is told again when it has changed");
    sagas.left_alone().await?;
    tasks.left_alone().await?;
    events.left_alone().await
}

fn started(stack: &Stack, shell: &Shell) -> Result<(), Failure> {
    let input = |id: &str| {
        let mut order = order_of(2, false, "zoe");
        order["orderId"] = id.into();
        order["currency"] = "USD".into();
        order["newCustomer"] = false.into();
        order.to_string()
    };
    let start = ["start", PROCESS_ORDER, "--input"];
    let with = |more: &[&'static str]| [&start, more].concat();
    let given = input("ORD-by-hand-1");
    let typed = [&start[..], &[&given]].concat();
    has(&shell.says(&typed)?, &["started; saga ", "ORD-by-hand-1"])?;
    has(&shell.says(&typed)?, &["was started before; saga "])?;
    let file = stack.dir().join("input.json");
    fs::write(&file, input("ORD-by-hand-2")).map_err(|err| err.to_string())?;
    let at_file = format!("@{}", file.display());
    let saga = shell.json(&[&start[..], &[&at_file]].concat())?;
    assert_eq!(saga["key"], "ORD-by-hand-2");
    let ran = shell.run_with_input(&with(&["-"]), &input("ORD-by-hand-3"))?;
    has(&ran.out, &["started; saga ", "ORD-by-hand-3"])?;

    let other = given.replace("zoe", "moe");
    shell.fails(&[&start[..], &[&other]].concat(), 6, &["another input", "--key"])?;
    shell.fails(&with(&["{\"orderId\":\"ORD-x\"}"]), 1, &["/input"])?;
    let unknown = ["start", "nothing", "--input", "{}"];
    shell.fails(&unknown, 5, &["nothing", "`fermata definitions` lists them"])
}

async fn moved(api: &Api, shell: &Shell) -> Result<(), Failure> {
    let kim = api.place(&order_of(2, false, "kim")).await?;
    api.order_is(&kim, "awaiting_payment").await?;
    let saga = text(&api.saga_is(PROCESS_ORDER, &kim, "waiting").await?, "/id")?;
    let run = |name: &str| shell.says(&[name, &kim, "--reason", "a test"]);
    has(&run("pause")?, &["paused; saga ", &saga, "waiting, paused"])?;
    has(&run("pause")?, &["was paused already; saga "])?;
    let unblock = format!("unblock     fermata resume {saga} --reason");
    has(&shell.says(&["show", &kim])?, &["status      waiting, paused", &unblock])?;
    assert_eq!(shell.json(&["resume", &saga, "--reason", "a test"])?["paused"], false);
    shell.fails(
        &["retry", &kim, "--reason", "x"],
        6,
        &["nothing of it has failed or is under way", "open moves"],
    )?;
    shell.fails(&["retry", "ORD-none", "--reason", "x"], 5, &["ORD-none"])?;
    shell.fails(&["cancel", &kim, "--reason", ""], 1, &["/reason"])?;
    let mut watching = shell.watch(&["show", &kim, "--watch"])?;
    watching.reaches("wait payments").await?;
    has(&run("cancel")?, &["cancel asked; saga "])?;
    let (lines, code, complained) = watching.ends().await?;
    assert_eq!((code, complained), (Some(1), Vec::new()), "it has not completed: {lines:#?}");
    has(lines.last().ok_or("no lines")?, &["cancelled after ", "a test"])?;
    shell.fails(&["cancel", &kim, "--reason", "x"], 6, &["it has ended", "`fermata show "])?;

    let max = api.place(&order_of(2, false, "max")).await?;
    api.saga_is(PROCESS_ORDER, &max, "waiting").await?;
    let ended = shell.says(&["terminate", &max, "--reason", "a test"])?;
    has(&ended, &["terminated; saga ", " is terminated"])
}

/// What follows goes on when the runtime is back, and says so once.
async fn away_and_back(stack: &mut Stack, shell: &Shell) -> Result<(), Failure> {
    let api = stack.api().clone();
    let ida = api.place(&order_of(2, false, "ida")).await?;
    api.order_is(&ida, "awaiting_payment").await?;
    let saga = text(&api.saga_is(PROCESS_ORDER, &ida, "waiting").await?, "/id")?;
    let mut records = shell.watch(&["show", &ida, "--watch", "--json"])?;
    let mut sagas = shell.watch(&["sagas", "--watch", "--key", &ida])?;
    records.reaches("payments.trigger.completed").await?;
    sagas.reaches(&ida).await?;
    stack.kill("fermata")?;
    shell.fails(&["sagas"], 3, &["cannot reach", &api.urls().runtime])?;
    for watching in [&mut records, &mut sagas] {
        watching.complains("trying until it is back").await?;
    }
    stack.spawn("fermata")?;
    stack.ready("fermata").await?;
    for watching in [&mut records, &mut sagas] {
        watching.complains("is back").await?;
    }
    shell.says(&["cancel", &saga, "--reason", "a test"])?;
    has(&sagas.reaches("cancelled").await?, &[&ida])?;
    sagas.interrupt()?;
    let (_, _, complained) = sagas.ends().await?;
    assert_eq!(complained.len(), 2, "once when it is lost, once when it is back: {complained:?}");
    let (mut lines, code, complained) = records.ends().await?;
    assert_eq!(code, Some(1), "it was cancelled");
    assert_eq!(complained.len(), 2, "{complained:?}");
    lines.pop();
    assert_eq!(values(&lines)?, api.journal(&saga).await?, "each record once, across the restart");
    Ok(())
}

/// What can be mended from outside, mended, and then moved on from the command line.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_stuck_goes_on_when_it_is_offered_or_tried_again() -> Result<(), Failure> {
    let mut stack = Stack::start(&[]).await?;
    let shell = Shell::at(&stack);
    offered(&stack, &shell).await?;
    tried_again(&mut stack, &shell).await
}

/// Two events for which their lane had no room are taken in when there is some.
async fn offered(stack: &Stack, shell: &Shell) -> Result<(), Failure> {
    let api = stack.api();
    let ann = api.place(&order_of(1000, true, "ann")).await?;
    api.order_is(&ann, "awaiting_approval").await?;
    let courier = Wire::of(stack, "delivery").await?;
    let subject = "delivery.trigger.status-updated";
    for number in 0..LANE + 2 {
        let body = json!({ "orderId": ann, "status": "picked_up", "number": number });
        courier.publish(subject, &format!("picked-up-{number}"), &body).await?;
    }
    let is_dead = ["events", "--verdict", "dead-letter"];
    let dead = until("two dead letters are listed", SOON, || async {
        let items = shell.json(&is_dead)?["items"].take();
        let positions = items.as_array().map(|it| it.iter().map(|it| it["position"].to_string()));
        let positions: Vec<String> = positions.into_iter().flatten().collect();
        <[String; 2]>::try_from(positions).map_err(|other| format!("{other:?}"))
    });
    let [first, second] = dead.await?;
    has(&shell.says(&is_dead)?, &["POSITION", subject, &first, &second, "dead_letter", "is full"])?;
    let offer = |position: &str| ["offer", position, "-r", "there is room"].map(str::to_owned);
    let (first_offer, second_offer) = (offer(&first), offer(&second));
    let first_offer = first_offer.each_ref().map(String::as_str);
    let second_offer = second_offer.each_ref().map(String::as_str);
    shell.fails(&first_offer, 1, &["is full with 1000 events"])?;

    api.approve(&ann, true).await?.expect(202)?;
    let order = api.order_is(&ann, "awaiting_payment").await?;
    api.customer(&text(&order, "/paymentSessionId")?, "pay", json!({})).await?;
    // Its saga then takes one of the kept after the other.
    let told = until("the lane has room", SOON, || async { shell.says(&first_offer) }).await?;
    let event = format!("event       {subject}\nposition    {first}\n");
    has(&told, &["offered again\n", &event])?;
    has(&told, &["\nverdict     ", " by operator: there is room; it is at "])?;
    assert!(!told.contains("dead_letter") && !told.contains("unblock"), "{told}");
    let told = shell.says(&first_offer)?;
    has(&told, &["was offered again before\n", &event])?;
    let event = until("there is room again", SOON, || async { shell.json(&second_offer) }).await?;
    assert_eq!(event["position"].to_string(), second);
    assert_eq!(event["offered"]["reason"], "there is room");
    assert_ne!(event["verdicts"][0]["outcome"], "dead_letter", "{event}");
    assert_eq!(shell.says(&is_dead)?, "no events\n");
    until("both are used", LATER, || async {
        for position in [&first, &second] {
            let event = shell.json(&["event", position])?;
            if event["verdicts"][0]["outcome"] != "consumed" {
                return Err(event.to_string());
            }
        }
        Ok(())
    })
    .await
}

/// Two sagas whose courier talked rubbish go on when it is back.
async fn tried_again(stack: &mut Stack, shell: &Shell) -> Result<(), Failure> {
    let api = stack.api().clone();
    stack.kill("delivery")?;
    let courier = Wire::of(stack, "delivery").await?;
    let babbling = courier.stand_in("delivery.create-shipment", StandIn::Babbles).await?;
    let mut stuck = Vec::new();
    for name in ["bob", "joe"] {
        let id = api.place(&order_of(2, false, name)).await?;
        let order = api.order_is(&id, "awaiting_payment").await?;
        api.customer(&text(&order, "/paymentSessionId")?, "pay", json!({})).await?;
        let saga = text(&api.saga_is(PROCESS_ORDER, &id, "attention").await?, "/id")?;
        stuck.push((id, saga));
    }
    drop(babbling);
    stack.spawn("delivery")?;
    stack.ready("delivery").await?;
    let [(bob, first), (joe, second)] = &stuck[..] else { return Err("two orders".to_owned()) };
    has(&shell.says(&["sagas", "--status", "attention"])?, &[bob, joe, "attention"])?;
    let unblock = format!("unblock     fermata retry {first} --reason");
    has(&shell.says(&["show", bob])?, &["status      attention", &unblock])?;
    let mut watching = shell.watch(&["show", bob, "--watch"])?;
    let told = shell.says(&["retry", bob, "--reason", "the courier is back"])?;
    has(&told, &["tried again; saga ", first, " is "])?;
    assert!(!told.contains("attention"), "{told}");
    let saga = shell.json(&["retry", second, "-r", "the courier is back"])?;
    assert_eq!((&saga["id"], &saga["key"]), (&json!(second), &json!(joe)));
    assert_ne!(saga["status"], "attention", "{saga}");
    for id in [bob, joe] {
        api.order_is(id, "shipped").await?;
        assert_eq!(api.effects(id).await?["shipments"], 1);
        api.courier(id, "delivered", json!({})).await?;
        api.order_is(id, "completed").await?;
    }
    watching.reaches("the courier is back").await?;
    let (lines, code, complained) = watching.ends().await?;
    assert_eq!((code, complained), (Some(0), Vec::new()), "{lines:#?}");
    assert_eq!(shell.says(&["sagas", "--status", "attention"])?, "no sagas\n");
    Ok(())
}
