//! Whose token a command takes: from the environment, as every argument can be seen by all users.

use super::problem::CliError;
use std::ffi::OsString;

/// The least role that a command takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    Viewer,
    Approver,
    Operator,
}

/// A token, and the variable that gave it.
#[derive(PartialEq, Eq)]
pub(super) struct Token {
    pub(super) value: String,
    pub(super) variable: String,
}

impl Token {
    pub(super) fn from_process(needs: Needs) -> Result<Token, CliError> {
        // What is no text is no token either, and must not make way for another one.
        let lossy = |it: OsString| it.to_string_lossy().into_owned();
        Token::find(needs, |name| std::env::var_os(name).map(lossy))
    }

    /// The one that was set for this, else that of the least role that suffices.
    fn find(needs: Needs, env: impl Fn(&str) -> Option<String>) -> Result<Token, CliError> {
        let (role, names) = match needs {
            Needs::Viewer => ("viewer", ["VIEWER", "APPROVER", "OPERATOR", "ADMIN"].as_slice()),
            Needs::Approver => ("approver", ["APPROVER", "OPERATOR", "ADMIN"].as_slice()),
            Needs::Operator => ("operator", ["OPERATOR", "ADMIN"].as_slice()),
        };
        let roles = names.iter().map(|it| format!("FERMATA_{it}_TOKEN"));
        for name in std::iter::once("FERMATA_TOKEN".to_owned()).chain(roles) {
            if let Some(token) = Token::of(&name, &env)? {
                return Ok(token);
            }
        }
        Err(CliError::NoToken { role })
    }

    /// As the runtime reads its own: in `name`, or in the file that `name_FILE` names.
    fn of(name: &str, env: &impl Fn(&str) -> Option<String>) -> Result<Option<Token>, CliError> {
        if let Some(value) = env(name).and_then(|it| first_of(&it)) {
            return Token::usable(value, name.to_owned()).map(Some);
        }
        let variable = format!("{name}_FILE");
        let Some(path) = env(&variable).filter(|it| !it.is_empty()) else { return Ok(None) };
        let text = std::fs::read_to_string(&path).map_err(|error| {
            CliError::TokenUnusable(format!("cannot read {path} of {variable}: {error}"))
        })?;
        // Some editors begin a file with a byte order mark.
        match first_of(text.trim_start_matches('\u{feff}').trim()) {
            Some(value) => Token::usable(value, variable).map(Some),
            None => Err(CliError::TokenUnusable(format!("{path} of {variable} holds no token"))),
        }
    }

    fn usable(value: String, variable: String) -> Result<Token, CliError> {
        if value.bytes().all(|it| it.is_ascii_graphic()) {
            return Ok(Token { value, variable });
        }
        let why = "holds characters that no token has: spaces, line breaks or letters with accents";
        Err(CliError::TokenUnusable(format!("{variable} {why}")))
    }
}

/// Of a list, the first that is no hash.
fn first_of(list: &str) -> Option<String> {
    let entries = list.split(',').map(str::trim).filter(|it| !it.contains("sha256:"));
    let tokens = entries.map(|it| it.split_once(':').map_or(it, |(_, token)| token));
    tokens.filter(|it| !it.is_empty()).map(str::to_owned).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(needs: Needs, set: &[(&str, &str)]) -> Result<(String, String), CliError> {
        let env =
            |name: &str| set.iter().find(|it| it.0 == name).map(|(_, value)| (*value).to_owned());
        Token::find(needs, env).map(|it| (it.value, it.variable))
    }

    #[test]
    fn a_command_takes_the_token_of_the_least_role_that_suffices() {
        let set =
            [("FERMATA_VIEWER_TOKEN", "v"), ("FERMATA_APPROVER_TOKEN", "alice:sha256:00,bob:a")];
        assert_eq!(find(Needs::Viewer, &set).expect("a token").0, "v");
        assert_eq!(find(Needs::Approver, &set).expect("a token").0, "a");
        let error = find(Needs::Operator, &set).expect_err("none suffices");
        assert!(error.to_string().contains("FERMATA_OPERATOR_TOKEN"), "{error}");
        assert_eq!(error.exit_code(), 4);
        let set = [set[0], ("FERMATA_TOKEN", "mine")];
        let (value, variable) = find(Needs::Viewer, &set).expect("a token");
        assert_eq!((value.as_str(), variable.as_str()), ("mine", "FERMATA_TOKEN"));
    }

    #[test]
    fn a_token_may_stand_in_a_file() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("token");
        std::fs::write(&path, "\u{feff}from-a-file\r\n").expect("written");
        let path = path.display().to_string();
        let (value, variable) =
            find(Needs::Operator, &[("FERMATA_TOKEN_FILE", &path)]).expect("a token");
        assert_eq!((value.as_str(), variable.as_str()), ("from-a-file", "FERMATA_TOKEN_FILE"));
        let error = find(Needs::Viewer, &[("FERMATA_TOKEN_FILE", "/nonexistent/token")]);
        let error = error.expect_err("no such file");
        assert!(error.to_string().contains("FERMATA_TOKEN_FILE"), "{error}");
        assert_eq!(error.exit_code(), 4);
    }

    #[test]
    fn a_token_that_no_header_carries_is_not_shown() {
        let error = find(Needs::Viewer, &[("FERMATA_TOKEN", "secret words")]).expect_err("no");
        let told = error.to_string();
        assert!(told.contains("FERMATA_TOKEN") && !told.contains("secret"), "{told}");
    }
}
