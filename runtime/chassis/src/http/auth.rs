//! Bearer tokens with ordered roles.
//!
//! A token setting is a comma-separated list. An entry is the token itself, or `sha256:` with the
//! 64 hex digits of its hash, so that the setting need not hold the token; before either may
//! stand `name:`, the actor that audits show. Only hashes stay in memory.

use std::sync::Arc;

use aide::OperationInput;
use aide::generate::GenContext;
use aide::openapi::{Operation, Response, StatusCode as ApiStatus};
use axum::extract::FromRequestParts;
use axum::http::{HeaderValue, StatusCode, request::Parts};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use super::document::{early, require_bearer};
use super::single::single;
use crate::config::{Environment, Secret, Source};
use crate::problem::Problem;

/// Shortest token that production takes: 128 bits in base64 are 22 characters.
const TOKEN_CHARS_MIN: usize = 22;
/// Longest `Authorization` header that is hashed at all.
const AUTHORIZATION_BYTES_MAX: usize = 4096;
const TOKENS_EXPECTED: &str = "a comma-separated list of tokens, each [name:]token or \
     [name:]sha256:<64 hex digits>, of at least 22 characters in production";

/// What a caller may do; each role may do all that the ones before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Reads.
    Viewer,
    /// Decides tasks: what documents call a manager.
    Approver,
    /// Moves sagas: pause, resume, cancel, retry.
    Operator,
    /// Everything.
    Admin,
}

impl Role {
    /// All roles, lowest first.
    pub const ALL: [Role; 4] = [Role::Viewer, Role::Approver, Role::Operator, Role::Admin];

    /// The lower-case name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Approver => "approver",
            Role::Operator => "operator",
            Role::Admin => "admin",
        }
    }

    /// The setting that holds its tokens.
    #[must_use]
    pub fn variable(self) -> &'static str {
        match self {
            Role::Viewer => "FERMATA_VIEWER_TOKEN",
            Role::Approver => "FERMATA_APPROVER_TOKEN",
            Role::Operator => "FERMATA_OPERATOR_TOKEN",
            Role::Admin => "FERMATA_ADMIN_TOKEN",
        }
    }
}

/// Who calls: an actor with a role, never the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The name that audits show; the role's name when the setting gives none.
    pub actor: String,
    /// What the caller may do.
    pub role: Role,
}

#[derive(Clone)]
struct Entry {
    hash: [u8; 32],
    caller: Caller,
}

/// The tokens that a process knows, as hashes.
#[derive(Clone, Default)]
pub struct Tokens {
    entries: Vec<Entry>,
}

impl Tokens {
    /// Reads `FERMATA_{VIEWER,APPROVER,OPERATOR,ADMIN}_TOKEN`. A role without a setting has no
    /// token.
    pub fn read(source: &mut Source) -> Option<Tokens> {
        let mut tokens = Tokens::default();
        let mut whole = true;
        for role in Role::ALL {
            match source.optional_secret(role.variable(), TOKENS_EXPECTED) {
                Some(Some(list)) => whole &= tokens.add_list(source, role, &list).is_some(),
                Some(None) => (),
                None => whole = false,
            }
        }
        whole.then_some(tokens)
    }

    /// Adds one token.
    #[must_use]
    pub fn with(mut self, role: Role, actor: &str, token: &str) -> Tokens {
        self.push(role, actor, Sha256::digest(token).into());
        self
    }

    /// Who holds this token. Takes the same time whichever entry matches, and when none does.
    #[must_use]
    pub fn caller(&self, token: &str) -> Option<Caller> {
        let hash: [u8; 32] = Sha256::digest(token).into();
        let mut found = Choice::from(0);
        let mut at = 0_u64;
        for (index, entry) in (0_u64..).zip(&self.entries) {
            let same = entry.hash.ct_eq(&hash);
            at.conditional_assign(&index, same);
            found |= same;
        }
        let entry = self.entries.get(usize::try_from(at).ok()?)?;
        bool::from(found).then(|| entry.caller.clone())
    }

    fn add_list(&mut self, source: &mut Source, role: Role, list: &Secret) -> Option<()> {
        for entry in list.expose().split(',').map(str::trim) {
            let (actor, token) = named(entry, role);
            match hash_of(token, source.environment()) {
                Ok(hash) => self.push(role, actor, hash),
                Err(found) => {
                    return source.fault(role.variable(), found.into(), TOKENS_EXPECTED);
                }
            }
        }
        Some(())
    }

    fn push(&mut self, role: Role, actor: &str, hash: [u8; 32]) {
        self.entries.push(Entry { hash, caller: Caller { actor: actor.into(), role } });
    }
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.entries.iter().map(|entry| &entry.caller)).finish()
    }
}

fn named(entry: &str, role: Role) -> (&str, &str) {
    match entry.split_once(':') {
        Some((name, rest)) if name != "sha256" => (name, rest),
        _ => (role.name(), entry),
    }
}

fn hash_of(token: &str, environment: Environment) -> Result<[u8; 32], &'static str> {
    if let Some(digits) = token.strip_prefix("sha256:") {
        let mut hash = [0; 32];
        hex::decode_to_slice(digits, &mut hash).map_err(|_| "found a hash that is not 64 hex")?;
        return Ok(hash);
    }
    if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic() && b != b':') {
        return Err("found a token that is empty or holds characters that no header can carry");
    }
    if environment == Environment::Production && token.len() < TOKEN_CHARS_MIN {
        return Err("found a token that is too short to be safe");
    }
    Ok(Sha256::digest(token).into())
}

/// The bearer token of a request, whose header must be well-formed and the only one.
fn bearer(parts: &Parts) -> Result<&str, Problem> {
    let value = single(&parts.headers, "Authorization")
        .map_err(|repeated| Problem::unauthorized(repeated.to_string()))?;
    value.and_then(token_in).ok_or_else(no_token)
}

fn token_in(value: &HeaderValue) -> Option<&str> {
    if value.len() > AUTHORIZATION_BYTES_MAX {
        return None;
    }
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

fn authorize(parts: &Parts, at_least: Role) -> Result<Caller, Problem> {
    let token = bearer(parts)?;
    let tokens = parts.extensions.get::<Arc<Tokens>>();
    let Some(caller) = tokens.and_then(|tokens| tokens.caller(token)) else {
        return Err(Problem::unauthorized("the token is not known here"));
    };
    if caller.role < at_least {
        let (has, needs) = (caller.role.name(), at_least.name());
        tracing::warn!(actor = caller.actor, has, needs, path = parts.uri.path(), "forbidden");
        return Err(Problem::forbidden(format!(
            "this needs the role {needs}, the token has {has}"
        )));
    }
    Ok(caller)
}

macro_rules! role_extractor {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $name(pub Caller);

        impl<S: Send + Sync> FromRequestParts<S> for $name {
            type Rejection = Problem;

            async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
                authorize(parts, Role::$name).map($name)
            }
        }

        impl OperationInput for $name {
            fn operation_input(_: &mut GenContext, operation: &mut Operation) {
                require_bearer(operation);
            }

            fn inferred_early_responses(
                ctx: &mut GenContext,
                _: &mut Operation,
            ) -> Vec<(Option<ApiStatus>, Response)> {
                early(ctx, &[StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN])
            }
        }
    };
}

role_extractor!(
    /// Lets in viewers and higher.
    Viewer
);
role_extractor!(
    /// Lets in approvers and higher.
    Approver
);
role_extractor!(
    /// Lets in operators and higher.
    Operator
);
role_extractor!(
    /// Lets in admins.
    Admin
);

/// The caller's own token, unchecked: for a process that forwards it to the one who checks it.
#[derive(Clone, Debug)]
pub struct Bearer(pub Secret);

impl<S: Send + Sync> FromRequestParts<S> for Bearer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        bearer(parts).map(|token| Bearer(Secret::new(token.to_owned())))
    }
}

impl OperationInput for Bearer {
    fn operation_input(_: &mut GenContext, operation: &mut Operation) {
        require_bearer(operation);
    }

    fn inferred_early_responses(
        ctx: &mut GenContext,
        _: &mut Operation,
    ) -> Vec<(Option<ApiStatus>, Response)> {
        early(ctx, &[StatusCode::UNAUTHORIZED])
    }
}

fn no_token() -> Problem {
    Problem::unauthorized("this needs a token: send the header Authorization: Bearer <token>")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Tokens, String> {
        let mut source = Source::from_pairs(pairs.iter().copied());
        let tokens = Tokens::read(&mut source);
        source.finish(|| tokens).map_err(|error| error.to_string())
    }

    #[test]
    fn a_token_is_known_by_its_hash_and_names_its_actor() {
        let hash = hex::encode(Sha256::digest("a-token-of-somebody-else"));
        let list = format!("alice:a-token-that-is-long-enough,bob:sha256:{hash}");
        let tokens = read(&[("FERMATA_APPROVER_TOKEN", &list)]).expect("both are taken");
        let alice = tokens.caller("a-token-that-is-long-enough").expect("known");
        assert_eq!(alice, Caller { actor: "alice".into(), role: Role::Approver });
        let bob = tokens.caller("a-token-of-somebody-else").expect("known");
        assert_eq!(bob.actor, "bob");
        assert_eq!(tokens.caller("alice:a-token-that-is-long-enough"), None);
        assert_eq!(tokens.caller(&hash), None);
        assert_eq!(tokens.caller(""), None);
        assert!(!format!("{tokens:?}").contains("long-enough"));
    }

    #[test]
    fn a_token_without_a_name_acts_under_its_role() {
        let tokens = read(&[("FERMATA_ENV", "development"), ("FERMATA_ADMIN_TOKEN", "dev-admin")]);
        let caller = tokens.expect("taken").caller("dev-admin").expect("known");
        assert_eq!(caller, Caller { actor: "admin".into(), role: Role::Admin });
    }

    #[test]
    fn short_and_malformed_tokens_are_refused_and_not_shown() {
        for bad in ["short-token", "sha256:abcd", "alice:", "one,,two"] {
            let error = read(&[("FERMATA_VIEWER_TOKEN", bad)]).expect_err(bad);
            assert!(error.contains("FERMATA_VIEWER_TOKEN: found a"), "{error}");
            assert!(!error.contains("short-token"), "{error}");
        }
    }

    #[test]
    fn roles_are_ordered() {
        assert!(Role::ALL.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
