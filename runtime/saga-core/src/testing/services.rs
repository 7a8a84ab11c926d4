//! Services that answer as those over the kit do: once for each key.

use crate::{effect::Request, input::Answer, payload::Payload};
use serde_json::Value;
use std::collections::BTreeMap;

type Rule = Box<dyn Fn(&Value) -> Result<Value, &'static str>>;

/// Every service at once. A call acts once for its key. An undo of a call that acted acts once as
/// well; one of a call that was refused, or never came, acts never, and from then on that call is
/// refused with `undone`. An undo that is refused leaves no trace.
#[derive(Default)]
pub struct Services {
    rules: BTreeMap<String, Rule>,
    known: BTreeMap<String, Known>,
    ledger: Ledger,
}

enum Known {
    Answered(Answer),
    Undone,
}

/// What services really did, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ledger(pub Vec<Act>);

/// Something that a service did.
#[derive(Clone, Debug, PartialEq)]
pub struct Act {
    /// What it was asked.
    pub subject: String,
    /// The idempotency key.
    pub key: String,
    /// The body.
    pub body: Value,
    /// For an undo, `kind: reason` of its abort.
    pub why: Option<String>,
}

impl Ledger {
    /// How often a subject was acted on.
    pub fn count(&self, subject: &str) -> usize {
        self.0.iter().filter(|it| it.subject == subject).count()
    }

    /// The subjects, in order.
    pub fn subjects(&self) -> Vec<&str> {
        self.0.iter().map(|it| it.subject.as_str()).collect()
    }

    /// The bodies with which a subject was acted on, in order.
    pub fn bodies(&self, subject: &str) -> Vec<&Value> {
        self.0.iter().filter(|it| it.subject == subject).map(|it| &it.body).collect()
    }
}

impl Services {
    /// Services that do everything they are asked, and answer `null`.
    pub fn new() -> Services {
        Services::default()
    }

    /// How this subject answers: with a body, or by refusing with a code.
    pub fn on(
        mut self,
        subject: &str,
        rule: impl Fn(&Value) -> Result<Value, &'static str> + 'static,
    ) -> Services {
        self.rules.insert(subject.to_owned(), Box::new(rule));
        self
    }

    /// What was done so far.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Whether a request with this key was answered, or its call undone.
    pub fn knows(&self, request: &Request) -> bool {
        self.known.contains_key(&request.key)
    }

    /// A request arrives, for the first time or again.
    pub fn ask(&mut self, request: &Request) -> Answer {
        if let Some(Known::Answered(answer)) = self.known.get(&request.key) {
            return answer.clone();
        }
        let call = request.undo.as_ref().map(|it| it.call_key.clone());
        let acts = match (&call, self.known.get(&request.key)) {
            (_, Some(_)) => return refusal("undone"),
            (Some(Some(call)), None) => match self.known.get(call) {
                Some(Known::Answered(Answer::Ok(_))) => true,
                Some(Known::Answered(_) | Known::Undone) | None => false,
            },
            (Some(None) | None, None) => true,
        };
        let answer = if acts { self.act(request) } else { Answer::Ok(Payload::null()) };
        match call {
            Some(_) if !matches!(answer, Answer::Ok(_)) => return answer,
            Some(Some(call)) => drop(self.known.insert(call, Known::Undone)),
            Some(None) | None => (),
        }
        self.known.insert(request.key.clone(), Known::Answered(answer.clone()));
        answer
    }

    /// Refuses a call for good, without acting.
    pub fn refuse(&mut self, request: &Request, code: &'static str) -> Answer {
        self.known.insert(request.key.clone(), Known::Answered(refusal(code)));
        refusal(code)
    }

    fn act(&mut self, request: &Request) -> Answer {
        let body: Value = request.body.to_value();
        let rule = self.rules.get(&request.subject);
        match rule.map_or(Ok(Value::Null), |rule| rule(&body)) {
            Ok(reply) => {
                self.ledger.0.push(Act {
                    subject: request.subject.clone(),
                    key: request.key.clone(),
                    body,
                    why: request.undo.as_ref().map(|it| it.abort.to_string()),
                });
                Answer::Ok(Payload::of(&reply).expect("a value has a JSON form"))
            }
            Err(code) => refusal(code),
        }
    }
}

pub(super) fn refusal(code: &str) -> Answer {
    Answer::Rejected { code: code.to_owned(), reason: code.replace('_', " ") }
}
