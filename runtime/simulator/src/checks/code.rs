//! What `Looks` saw is what its journal says, whenever it looked.

use crate::world::World;
use saga_core::{
    fold::Status,
    id::Path,
    journal::{Entry, Fact},
};
use serde_json::{Value, json};

pub(crate) fn sees_what_its_journal_says(world: &World) {
    for head in world.heads() {
        if head.definition != "Looks" || head.status != Status::Completed {
            continue;
        }
        let journal = world.journal(head.id);
        let expected = json!([0, 1, 2].map(|step| outcome(&journal, step)));
        assert_eq!(head.output.map(|it| it.to_value()), Some(expected));
    }
}

fn outcome(journal: &[Entry], step: u32) -> Value {
    let step = Path::root().child(step);
    let of_step = journal.iter().find_map(|it| match &it.fact {
        Fact::Received { step: it, body, .. } if *it == step => Some(body.to_value()),
        Fact::TimerFired { step: it } if *it == step => Some(Value::Null),
        _ => None,
    });
    let body = of_step.unwrap_or_default();
    body.get("status").or(body.get("session")).cloned().unwrap_or_default()
}
