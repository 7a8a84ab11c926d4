//! What this binary runs.

use super::{App, view::Raw};
use crate::door::busy;
use axum::extract::State;
use chassis::http::{Json, Page, Problem, Viewer};
use saga_core::saga::{Declared, Definition, Late, Route};
use schemars::JsonSchema;
use serde::Serialize;

/// A definition with what it declares.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct DefinitionView {
    name: String,
    /// New sagas keep to this version.
    version: u32,
    /// What its new sagas record as their settings.
    settings: Raw,
    /// The events that it starts from and waits for.
    events: Vec<DeclaredView>,
}

/// An event as a definition declares it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeclaredView {
    /// Its subject.
    event: &'static str,
    /// JSON pointer to the business key in the body.
    key: &'static str,
    /// It starts sagas of the definition.
    starts: bool,
    /// JSON pointers to the personal fields by which these sagas are found.
    found_by: Vec<&'static str>,
    /// A person decides it: it is never taken from outside.
    decision: bool,
    /// Every saga that holds for it takes a copy, and nothing is kept.
    each: bool,
    /// What it means when nobody holds for it any more: `run`, `ignore` or `unclaimed`.
    late: &'static str,
    /// The definition that handles a late one, when `late` is `run`.
    #[serde(skip_serializing_if = "Option::is_none")]
    late_definition: Option<&'static str>,
}

/// They are few: one page holds them all.
pub(super) async fn list(
    State(app): State<App>,
    _: Viewer,
) -> Result<Json<Page<DefinitionView>>, Problem> {
    let items = app.engine.read(|core| core.registry().all().map(DefinitionView::of).collect());
    Ok(Json(Page { items: items.await.map_err(busy)?, next: None }))
}

impl DefinitionView {
    fn of(definition: &Definition) -> DefinitionView {
        DefinitionView {
            name: definition.name.to_owned(),
            version: definition.version,
            settings: Raw(definition.settings.clone()),
            events: definition.events.iter().map(DeclaredView::of).collect(),
        }
    }
}

impl DeclaredView {
    fn of(declared: &Declared) -> DeclaredView {
        let (late, late_definition) = match declared.late {
            Late::Run(definition) => ("run", Some(definition)),
            Late::Ignore => ("ignore", None),
            Late::Unclaimed => ("unclaimed", None),
        };
        DeclaredView {
            event: declared.name,
            key: declared.key,
            starts: declared.starts,
            found_by: declared.found_by.clone(),
            decision: declared.is_decision,
            each: declared.route == Route::Each,
            late,
            late_definition,
        }
    }
}
