//! Every route of every process, as their documents list them: wrong methods, tokens, roles, ids,
//! pages. A route that is added is in the table by itself.

use super::table::{Row, row};
use std::collections::BTreeMap;
use system_tests::{Failure, client::As, fingerprint::STORES, stack::Stack};

/// Methods that are tried where they are not documented.
const METHODS: &[&str] = &["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"];

/// What needs more than a viewer. A write that is documented with a token must stand here.
const ROLES: &[(&str, As)] = &[
    ("order POST /api/orders/approve", As::Approver),
    ("fermata POST /api/tasks/{id}/decision", As::Approver),
    ("fermata POST /api/sagas/{id}/{action}", As::Operator),
    ("fermata POST /api/definitions/{name}/sagas", As::Operator),
    ("fermata POST /api/events/{position}/offer", As::Operator),
    ("fermata POST /api/clock/accept", As::Operator),
];

/// What is no id of anything, as it stands in a path.
const NO_IDS: &[(&str, &str)] = &[
    ("a word", "nope"),
    ("a percent sign alone", "%"),
    ("half an escape", "%4"),
    ("an escape that is none", "%zz"),
    ("an escaped NUL", "%00"),
    ("bytes that are no UTF-8", "%ff%fe"),
    ("overlong dots", "%c0%ae%c0%ae"),
    ("escaped dots", "%2e%2e"),
    ("an escaped slash", "..%2f..%2fetc%2fpasswd"),
    ("an escaped line feed", "a%0d%0aX-Evil:1"),
    ("quotes", "%27%20OR%20%271%27=%271"),
    ("a negative number", "-1"),
    ("a number beyond 64 bits", "99999999999999999999"),
    ("an id that nothing has", "00000000-0000-7000-8000-000000000000"),
    ("other letters", "%F0%9F%92%A5"),
];

/// Headers that hold no token that we know.
const NO_TOKENS: &[(&str, &str)] = &[
    ("an unknown token", "Bearer nonsense"),
    ("an empty token", "Bearer "),
    ("another scheme", "Basic YTpi"),
    ("a token without its scheme", "nonsense"),
    ("two tokens", "Bearer a b"),
];

/// Paths that are none, at every process.
const NO_PATHS: &[&str] =
    &["/", "/api", "/api/", "/nothing", "//", "/API/ORDERS", "/.env", "/api/../etc/passwd"];

/// A documented operation.
pub(crate) struct Operation {
    process: &'static str,
    method: String,
    /// With names in braces.
    path: String,
    needs_token: bool,
    parameters: Vec<String>,
}

/// What stands for the names in paths.
pub(crate) struct Known {
    pub(crate) order_id: String,
    pub(crate) saga_id: String,
    pub(crate) task_id: String,
}

impl Operation {
    fn name(&self) -> String {
        format!("{} {} {}", self.process, self.method, self.path)
    }

    fn role(&self) -> As {
        let name = self.name();
        ROLES.iter().find(|it| it.0 == name).map_or(As::Viewer, |it| it.1)
    }

    fn names(&self) -> Vec<&str> {
        self.path.split('/').filter(|it| it.starts_with('{')).collect()
    }

    /// With what exists in the place of each name, but this one.
    fn door(&self, known: &Known, other: Option<(&str, &str)>) -> String {
        let place = |part: &str| match part {
            it if other.is_some_and(|(name, _)| name == it) => other.unwrap_or_default().1.into(),
            "{id}" if self.path.starts_with("/api/sagas") => known.saga_id.clone(),
            "{id}" if self.path.starts_with("/api/tasks") => known.task_id.clone(),
            "{id}" => known.order_id.clone(),
            "{action}" => "pause".to_owned(),
            "{name}" => "process-order".to_owned(),
            "{position}" => "1".to_owned(),
            "{sku}" => "WIDGET-001".to_owned(),
            it => it.to_owned(),
        };
        let path: Vec<String> = self.path.split('/').map(place).collect();
        format!("{} {} {}", self.process, self.method, path.join("/"))
    }
}

/// All operations of all processes.
pub(crate) async fn operations(stack: &Stack) -> Result<Vec<Operation>, Failure> {
    let mut operations = Vec::new();
    for process in STORES {
        let address = &stack.env()[&format!("{}_HTTP_ADDR", process.to_uppercase())];
        let document = stack.api().get(&format!("http://{address}/openapi.json")).await?;
        let paths = document["paths"].as_object().ok_or_else(|| format!("{process}: no paths"))?;
        for (path, item) in paths {
            for (method, operation) in item.as_object().into_iter().flatten() {
                let parameters = operation["parameters"].as_array().into_iter().flatten();
                let in_query = parameters.filter(|it| it["in"] == "query");
                let names = in_query.filter_map(|it| it["name"].as_str());
                operations.push(Operation {
                    process,
                    method: method.to_uppercase(),
                    path: path.clone(),
                    needs_token: operation["security"].as_array().is_some_and(|it| !it.is_empty()),
                    parameters: names.map(str::to_owned).collect(),
                });
            }
        }
    }
    let is_stray =
        |name: &&&(&str, As)| !operations.iter().any(|it: &Operation| it.name() == name.0);
    if let Some(stray) = ROLES.iter().find(|it| is_stray(&it)) {
        return Err(format!("{} is documented nowhere", stray.0));
    }
    let is_write = |it: &&Operation| it.needs_token && it.method != "GET";
    let is_missing = |it: &&Operation| !ROLES.iter().any(|role| role.0 == it.name());
    match operations.iter().filter(is_write).find(is_missing) {
        Some(it) => Err(format!("{} has no role in this table", it.name())),
        None => Ok(operations),
    }
}

pub(crate) fn rows(operations: &[Operation], known: &Known) -> Vec<Row> {
    let mut rows = methods(operations, known);
    for operation in operations {
        if operation.needs_token {
            rows.extend(tokens(operation, known));
        }
        rows.extend(ids(operation, known));
        if operation.parameters.iter().any(|it| it == "limit") {
            rows.extend(pages(operation, known));
        }
    }
    for process in STORES {
        let none = |path: &&str| row("a path that is none", format!("{process} GET {path}"), 404);
        rows.extend(NO_PATHS.iter().map(none));
        rows.extend(heads(process));
    }
    rows
}

fn methods(operations: &[Operation], known: &Known) -> Vec<Row> {
    let mut has = BTreeMap::<String, Vec<&str>>::new();
    for operation in operations {
        let door = operation.door(known, None);
        let (process, rest) = door.split_once(' ').unwrap_or_default();
        let path = rest.split_once(' ').unwrap_or_default().1;
        has.entry(format!("{process} {path}")).or_default().push(&operation.method);
    }
    let mut rows = Vec::new();
    for (place, has) in has {
        let (process, path) = place.split_once(' ').unwrap_or_default();
        for method in METHODS.iter().filter(|it| !has.contains(it)) {
            let what = format!("the method {method}");
            rows.push(row(what, format!("{process} {method} {path}"), 405).by(As::Operator));
        }
    }
    rows
}

fn tokens(operation: &Operation, known: &Known) -> Vec<Row> {
    let at = |what: &str, status| {
        let row = row(what, operation.door(known, None), status);
        if operation.method == "GET" { row } else { row.body("{}") }
    };
    let mut rows = vec![
        at("no token", 401),
        at("a token of 8,000 letters", 401)
            .with("Authorization", format!("Bearer {}", "x".repeat(8_000))),
    ];
    for (what, header) in NO_TOKENS {
        rows.push(at(what, 401).with("Authorization", header));
    }
    // Of two tokens a proxy in front may look at the other one.
    let two = at("a good token and another", 401).by(operation.role());
    rows.push(two.with("Authorization", "Bearer nonsense").says("twice"));
    let two = at("the same token twice", 401).with("Authorization", "Bearer nonsense");
    rows.push(two.with("authorization", "Bearer nonsense").says("twice"));
    let lower: &[As] = match operation.role() {
        As::Operator => &[As::Viewer, As::Approver],
        As::Approver => &[As::Viewer],
        As::Viewer | As::Anyone => &[],
    };
    rows.extend(lower.iter().map(|who| at(&format!("a mere {who:?}"), 403).by(*who)));
    rows
}

fn ids(operation: &Operation, known: &Known) -> Vec<Row> {
    let mut rows = Vec::new();
    for name in &operation.names() {
        let long = "x".repeat(4_000);
        for (what, id) in NO_IDS.iter().chain(&[("4,000 letters", &*long)]) {
            let what = format!("{what} for {name}");
            let is_text = !id.starts_with("%ff") && !id.starts_with("%c0") && id.len() < 1_000;
            let is_audited = match operation.path.as_str() {
                "/api/definitions/{name}/sagas" => is_text,
                "/api/sagas/{id}/{action}" => *name == "{id}" && id.starts_with("00000000-"),
                _ => false,
            };
            let row = row(what, operation.door(known, Some((name, id))), 404)
                .by(operation.role())
                .audited(is_audited);
            let reason = r#"{"reason":"test"}"#;
            rows.push(match (operation.method.as_str(), operation.path.as_str()) {
                ("GET", _) => row,
                (_, "/api/tasks/{id}/decision") => row.body(r#"{"approved":true}"#),
                (_, "/api/definitions/{name}/sagas") => row.body(r#"{"input":{}}"#),
                _ => row.body(reason),
            });
        }
    }
    rows
}

fn pages(operation: &Operation, known: &Known) -> Vec<Row> {
    let at = |query: &str, pointer: &str| {
        // What a list cannot do without.
        let needed = match operation.path.as_str() {
            "/api/tickets" => "orderId=ORD-1&",
            _ => "",
        };
        let door = format!("{}?{needed}{query}", operation.door(known, None));
        row("a wrong page", door, 422).by(operation.role()).blames(pointer)
    };
    let mut rows: Vec<Row> = ["0", "201", "-1", "1.5", "many", "", "99999999999999999999", "%ff"]
        .iter()
        .map(|limit| at(&format!("limit={limit}"), "/limit"))
        .collect();
    rows.push(at("colour=red", "/colour"));
    rows.push(at("limit=5&limit=6", "/limit"));
    rows
}

/// Heads of requests that are too large, or no HTTP.
fn heads(process: &str) -> Vec<Row> {
    let at = |what: &str, status| row(what, format!("{process} GET /livez"), status);
    let many =
        (0..200).fold(at("two hundred headers", 431), |row, it| row.with(&format!("X-{it}"), "1"));
    let long = "a".repeat(100_000);
    let get = |rest: &str| format!("GET /livez HTTP/1.1\r\nHost: x\r\n{rest}\r\n\r\n");
    vec![
        many.bare(),
        at("a header of 100,000 letters", 431).with("X-Long", &long).says("head"),
        at("a path of 100,000 letters", 414).raw(format!("GET /{long} HTTP/1.1\r\n\r\n")),
        at("a header without a colon", 400).raw(get("nonsense")),
        at("a header with NUL", 400).raw(get("X-Nul: a\0b")),
        at("a header with a blank in its name", 400).raw(get("X Nul: a")),
        at("a path with a bare blank", 400).raw("GET /a b HTTP/1.1\r\n\r\n"),
        at("another version", 400).raw("GET /livez HTTP/9.9\r\n\r\n"),
        at("a greeting of TLS", 400).raw(b"\x16\x03\x01\x02\x00\x01\r\n\r\n"),
        at("two lengths that differ", 400).raw(get("Content-Length: 1\r\nContent-Length: 2")),
        at("a length that is none", 400).raw(get("Content-Length: -1")),
    ]
}
