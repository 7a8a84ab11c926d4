//! Which command does what.

use super::{
    args::{Command, Options, Which},
    changes,
    client::Client,
    follow, lists,
    problem::CliError,
    screen::Screen,
    shell, show,
    token::Needs,
    watch,
};
use crate::names::spelt;
use chrono::Utc;

/// Who asks: what every command needs to know.
pub(super) struct Asker {
    /// How the binary was called.
    pub(super) program: String,
    pub(super) options: Options,
    pub(super) screen: Screen,
}

impl Asker {
    /// Does what was asked for, and prints what came of it.
    pub(super) async fn run(&self, command: Command) -> Result<(), CliError> {
        match command {
            // The process itself and its store, and no question to one.
            Command::Serve | Command::TakeOver { .. } => Ok(()),
            Command::Sagas(which) => {
                self.list(lists::sagas(&which, Utc::now())?, &which.which).await
            }
            Command::Tasks { which } => self.list(lists::tasks(), &which).await,
            Command::Events { verdict, which } => {
                self.list(lists::events(verdict.map(spelt)), &which).await
            }
            Command::Definitions => {
                let client = self.client(Needs::Viewer)?;
                watch::once(self, &client, &lists::definitions(), usize::MAX).await
            }
            Command::Show { saga, watch: true } => {
                follow::follow(self, &self.client(Needs::Viewer)?, &saga).await
            }
            Command::Show { saga, watch: false } => {
                show::show(self, &self.client(Needs::Viewer)?, &saga).await
            }
            Command::Clock { what: None, .. } => {
                changes::show_clock(self, &self.client(Needs::Viewer)?).await
            }
            Command::Event { position } => {
                changes::show_event(self, &self.client(Needs::Viewer)?, position).await
            }
            Command::Completions { shell } => shell::completions(&self.program, shell),
            Command::Man { out: Some(folder), .. } => shell::manuals(&self.program, &folder),
            Command::Man { command, .. } => shell::manual(&self.program, command.as_deref()),
            change => self.change(change).await,
        }
    }

    /// What takes more than looking.
    async fn change(&self, command: Command) -> Result<(), CliError> {
        let (moving, what, step) = match command {
            Command::Pause(what) => (changes::PAUSE, what, None),
            Command::Resume(what) => (changes::RESUME, what, None),
            Command::Cancel(what) => (changes::CANCEL, what, None),
            Command::Terminate(what) => (changes::TERMINATE, what, None),
            Command::Retry(what) => (changes::RETRY, what, None),
            Command::Waive { of, step } => (changes::WAIVE, of, step),
            Command::Start { definition, input, key } => {
                let client = self.client(Needs::Operator)?;
                return changes::start(self, &client, &definition, &input, key.as_deref()).await;
            }
            Command::Offer { position, reason } => {
                let client = self.client(Needs::Operator)?;
                return changes::offer(self, &client, position, &reason).await;
            }
            Command::Clock { reason: Some(reason), .. } => {
                let client = self.client(Needs::Operator)?;
                return changes::accept_clock(self, &client, &reason).await;
            }
            Command::Approve { task, reason, seen } => {
                let decision = changes::Decision { approved: true, reason, seen };
                return changes::decide(self, &self.client(Needs::Approver)?, &task, &decision)
                    .await;
            }
            Command::Reject { task, seen, reason } => {
                let decision = changes::Decision { approved: false, reason: Some(reason), seen };
                return changes::decide(self, &self.client(Needs::Approver)?, &task, &decision)
                    .await;
            }
            _ => return Ok(()),
        };
        let client = self.client(Needs::Operator)?;
        changes::make_move(self, &client, &moving, &what, step.as_deref()).await
    }

    async fn list(&self, list: lists::List, which: &Which) -> Result<(), CliError> {
        let client = self.client(Needs::Viewer)?;
        let limit = usize::from(which.limit);
        match which.watch {
            true => watch::on_and_on(self, &client, &list, limit).await,
            false => watch::once(self, &client, &list, limit).await,
        }
    }

    fn client(&self, needs: Needs) -> Result<Client, CliError> {
        Client::new(&self.options.url(), needs)
    }
}
