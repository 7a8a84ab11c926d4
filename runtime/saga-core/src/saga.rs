//! What a definition declares, and the registry of all of them.

use crate::{
    abort::Abort,
    ctx::Ctx,
    id::{SagaId, Time},
    message::Event,
    payload::Payload,
    replay::{Code, code, guarded, reads_input},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::collections::{BTreeMap, BTreeSet};

/// A definition: the code that a saga follows.
#[allow(async_fn_in_trait, reason = "sagas are polled on one thread: no Send bound is wanted")]
pub trait Saga: 'static {
    /// Its name.
    const NAME: &'static str;
    /// Its version; a running saga keeps to the one with which it began.
    const VERSION: u32 = 1;
    /// What it starts from: the body of its start event.
    type Input: DeserializeOwned;
    /// What it leaves behind.
    type Output: Serialize + DeserializeOwned + PartialEq;
    /// Read from configuration once, when a saga starts, and recorded with the start.
    type Settings: Serialize + DeserializeOwned;

    /// The events that it starts from and waits for, and what a late one means.
    fn events() -> Vec<Declared>;

    /// One run. `?` on a rejected call aborts and unwinds.
    async fn run(ctx: Ctx<Self::Settings>, input: Self::Input) -> Result<Self::Output, Abort>;
}

/// An event name as a definition declares it.
#[derive(Clone, Debug)]
pub struct Declared {
    /// The subject.
    pub name: &'static str,
    /// JSON pointer to the key in the body.
    pub key: &'static str,
    /// It starts sagas of the definition.
    pub starts: bool,
    /// A person's decision, which only the runtime makes.
    pub is_decision: bool,
    /// JSON pointers to the personal fields by which a saga is found that the event starts.
    pub found_by: Vec<&'static str>,
    /// Who takes it when several sagas hold for it.
    pub route: Route,
    /// What it means when nobody holds for it any more.
    pub late: Late,
    /// Whether a body is of the event's type.
    pub check: fn(&str, &str) -> Result<(), String>,
}

impl Declared {
    fn wrong_found_by(&self) -> Option<(&'static str, &'static str)> {
        let why = |pointer: &&'static str| match *pointer {
            it if !it.starts_with('/') => Some("a JSON pointer begins with /"),
            it if it == self.key => Some("the business key stands in clear in keys and subjects"),
            _ if !self.starts => Some("the event does not start sagas of it"),
            _ => None,
        };
        self.found_by.iter().find_map(|it| why(it).map(|why| (*it, why)))
    }
}

/// Who takes an event of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// The oldest open wait whose filter holds.
    Oldest,
    /// Every open wait whose filter holds takes a copy, and nothing is kept.
    Each,
}

/// What an event means that comes after its saga ended, or that nobody took before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Late {
    /// A saga of this definition handles it, with [`LateInput`] as its input.
    Run(&'static str),
    /// It means nothing.
    Ignore,
    /// It is shown as unclaimed.
    Unclaimed,
}

/// The declaration of an event type, for all of its subjects.
pub fn event<E: Event>() -> Declaration {
    let declared = |name: &&'static str| Declared {
        name,
        key: E::KEY,
        starts: false,
        found_by: Vec::new(),
        is_decision: E::DECISION,
        route: Route::Oldest,
        late: Late::Unclaimed,
        check: |name, body| guarded(|| E::decode(name, body)),
    };
    Declaration(E::SUBJECTS.iter().map(declared).collect())
}

/// A declaration being made; becomes a list of [`Declared`].
#[derive(Clone, Debug)]
pub struct Declaration(Vec<Declared>);

impl Declaration {
    /// It starts sagas of the definition: one for each key.
    pub fn starts(mut self) -> Self {
        self.0.iter_mut().for_each(|it| it.starts = true);
        self
    }

    /// Its sagas are found by this personal field, a mail address say: the pointer leads to a text
    /// in the body. The search index holds a keyed hash of it, never the text.
    pub fn found_by(mut self, pointer: &'static str) -> Self {
        self.0.iter_mut().for_each(|it| it.found_by.push(pointer));
        self
    }

    /// Every open wait takes a copy.
    pub fn each(mut self) -> Self {
        self.0.iter_mut().for_each(|it| it.route = Route::Each);
        self
    }

    /// What a late one means, on each of its subjects.
    pub fn late(mut self, late: Late) -> Self {
        self.0.iter_mut().for_each(|it| it.late = late);
        self
    }

    /// What a late one means on this subject.
    pub fn late_on(mut self, name: &str, late: Late) -> Self {
        self.0.iter_mut().filter(|it| it.name == name).for_each(|it| it.late = late);
        self
    }
}

/// All declarations of a definition, in one list.
pub fn events<const N: usize>(declarations: [Declaration; N]) -> Vec<Declared> {
    declarations.into_iter().flat_map(|it| it.0).collect()
}

/// What a late arm starts from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LateInput {
    /// The saga that ended.
    pub ended: Ended,
    /// The event that came too late for it.
    pub event: LateEvent,
}

/// A saga that has ended, as its late arm sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ended {
    /// Its id.
    pub id: SagaId,
    /// Its business key.
    pub key: String,
    /// `completed`, `cancelled`, `failed` or `terminated`.
    pub outcome: String,
    /// When it ended.
    pub ended_at: Time,
    /// Whether it had passed its pivot: what it did then stands, however it ended.
    #[serde(default)]
    pub committed: bool,
    /// Its output, if it completed; read it with [`Payload::decode`].
    pub output: Option<Payload>,
    /// Why it ended, if it did not complete.
    pub reason: Option<String>,
}

/// The late event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LateEvent {
    /// Its subject.
    pub name: String,
    /// Its id.
    pub id: String,
    /// Its body; read it with [`Payload::decode`].
    pub body: Payload,
}

/// A registered definition.
#[derive(Clone, Debug)]
pub struct Definition {
    /// Its name.
    pub name: &'static str,
    /// Its version.
    pub version: u32,
    /// Its events.
    pub events: Vec<Declared>,
    /// The settings that a saga records when it starts.
    pub settings: Payload,
    /// Its code.
    pub code: Code,
    /// Whether a body is what it starts from.
    pub check_input: fn(&Payload) -> Result<(), String>,
}

impl Definition {
    /// The declaration of this event name.
    pub fn declared(&self, name: &str) -> Option<&Declared> {
        self.events.iter().find(|it| it.name == name)
    }

    /// The personal fields of its input by which its sagas are found, in order.
    pub(crate) fn found_by(&self) -> BTreeSet<&'static str> {
        self.events.iter().flat_map(|it| it.found_by.iter().copied()).collect()
    }
}

/// All definitions that a binary links.
#[derive(Clone, Debug)]
pub struct Registry {
    build: String,
    definitions: BTreeMap<&'static str, Definition>,
}

/// Longest name of a definition.
const NAME_BYTES_MAX: usize = 200;

/// Why a registry cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum RegistryError {
    /// No list, row or log has room for such a name.
    #[error(
        "the name {name:.40?} of a definition has {bytes} bytes: it may have 1 to {NAME_BYTES_MAX}"
    )]
    Name { name: &'static str, bytes: usize },
    /// Two definitions have one name.
    #[error("definition {name} is registered twice")]
    Twice { name: &'static str },
    /// One definition declares a name twice.
    #[error("definition {name} declares event {event} twice")]
    DeclaredTwice { name: &'static str, event: &'static str },
    /// A late arm is missing.
    #[error("definition {name} gives late {event} to {arm}, which is not registered")]
    NoArm { name: &'static str, event: &'static str, arm: &'static str },
    /// A field by which sagas are found makes no sense.
    #[error("definition {name} is found by {pointer} of {event}: {why}")]
    FoundBy { name: &'static str, event: &'static str, pointer: &'static str, why: &'static str },
    /// The settings have no JSON form.
    #[error("the settings of definition {name} cannot be recorded: {error}")]
    Settings { name: &'static str, error: String },
}

impl Registry {
    /// An empty one; `build` names the binary in the journals of the sagas that it starts.
    pub fn new(build: impl Into<String>) -> Registry {
        Registry { build: build.into(), definitions: BTreeMap::new() }
    }

    /// Adds a definition with the settings that its new sagas record.
    ///
    /// # Errors
    /// The name is empty, too long or taken, an event is declared twice, a field by which sagas are
    /// found makes no sense, or the settings have no JSON form.
    pub fn register<S: Saga>(&mut self, settings: &S::Settings) -> Result<(), RegistryError> {
        let (name, events) = (S::NAME, S::events());
        if !(1..=NAME_BYTES_MAX).contains(&name.len()) {
            return Err(RegistryError::Name { name, bytes: name.len() });
        }
        let twice = |at: &usize| events[..*at].iter().any(|it| it.name == events[*at].name);
        if let Some(at) = (0..events.len()).find(twice) {
            return Err(RegistryError::DeclaredTwice { name, event: events[at].name });
        }
        for declared in &events {
            if let Some((pointer, why)) = declared.wrong_found_by() {
                let event = declared.name;
                return Err(RegistryError::FoundBy { name, event, pointer, why });
            }
        }
        let settings = Payload::of(settings)
            .map_err(|err| RegistryError::Settings { name, error: err.to_string() })?;
        let definition = Definition {
            name,
            version: S::VERSION,
            events,
            settings,
            code: code::<S>(),
            check_input: reads_input::<S>,
        };
        match self.definitions.insert(name, definition) {
            None => Ok(()),
            Some(_) => Err(RegistryError::Twice { name }),
        }
    }

    /// Checks what only the whole registry can tell.
    ///
    /// # Errors
    /// A late arm is not registered.
    pub fn check(&self) -> Result<(), RegistryError> {
        for definition in self.definitions.values() {
            for it in &definition.events {
                if let Late::Run(arm) = it.late
                    && !self.definitions.contains_key(arm)
                {
                    return Err(RegistryError::NoArm {
                        name: definition.name,
                        event: it.name,
                        arm,
                    });
                }
            }
        }
        Ok(())
    }

    /// The definition of this name.
    pub fn get(&self, name: &str) -> Option<&Definition> {
        self.definitions.get(name)
    }

    /// All definitions, by name.
    pub fn all(&self) -> impl Iterator<Item = &Definition> {
        self.definitions.values()
    }

    /// The definitions that declare this event name.
    pub fn declaring(&self, name: &str) -> Vec<&Definition> {
        self.definitions.values().filter(|it| it.declared(name).is_some()).collect()
    }

    /// The binary.
    pub fn build(&self) -> &str {
        &self.build
    }
}
