//! Text → tree.

use super::{Number, Tree};
use std::{borrow::Cow, collections::BTreeMap, fmt};

/// Levels of arrays and objects that are read: as deep as any reader of JSON goes.
const DEPTH_MAX: usize = 127;

/// Where and why a text is no tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// JSON pointer to the value.
    pub pointer: String,
    /// From 1.
    pub line: usize,
    /// In bytes, from 1.
    pub column: usize,
    /// What is wrong there.
    pub why: Why,
}

/// What is wrong with a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It breaks the grammar of JSON.
    NoJson,
    /// An escape that names half of a character, which no text can hold.
    HalfCharacter,
    /// An object with two values for one name: readers differ in which one they take.
    TwiceNamed,
    /// Nested deeper than readers of JSON go.
    TooDeep,
    /// A number whose exponent has no end.
    NoNumber,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Why::NoJson => "it is not JSON",
            Why::HalfCharacter => "half of a character (a surrogate without its pair)",
            Why::TwiceNamed => "a name that its object has twice",
            Why::TooDeep => "nested too deep",
            Why::NoNumber => "a number beyond all measure",
        })
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Unreadable { pointer, line, column, why } = self;
        let pointer = if pointer.is_empty() { "the top" } else { pointer };
        write!(f, "at {pointer} (line {line} column {column}): {why}")
    }
}

impl std::error::Error for Unreadable {}

pub(super) fn read(text: &str) -> Result<Tree<'_>, Unreadable> {
    let mut reader = Reader { text, at: 0, depth: 0 };
    let read = reader.value().and_then(|tree| {
        reader.blanks();
        if reader.at == text.len() { Ok(tree) } else { Err(reader.fault(Why::NoJson)) }
    });
    read.map_err(|fault| fault.placed(text))
}

struct Reader<'a> {
    text: &'a str,
    /// The next byte.
    at: usize,
    depth: usize,
}

/// A fault on its way up: each level adds its name to the pointer.
struct Fault {
    why: Why,
    at: usize,
    /// The innermost first.
    names: Vec<String>,
}

impl Fault {
    fn in_field(mut self, name: &str) -> Fault {
        self.names.push(name.replace('~', "~0").replace('/', "~1"));
        self
    }

    fn placed(self, text: &str) -> Unreadable {
        /// A pointer is for people: names without end are cut.
        const POINTER_CHARS_MAX: usize = 200;
        let before = &text.as_bytes()[..self.at.min(text.len())];
        let line = 1 + before.iter().filter(|it| **it == b'\n').count();
        let column = 1 + before.iter().rev().take_while(|it| **it != b'\n').count();
        let pointer: String = self.names.iter().rev().flat_map(|it| ["/", it]).collect();
        let pointer = pointer.chars().take(POINTER_CHARS_MAX).collect();
        Unreadable { pointer, line, column, why: self.why }
    }
}

type Read<T> = Result<T, Fault>;

impl<'a> Reader<'a> {
    fn fault(&self, why: Why) -> Fault {
        Fault { why, at: self.at, names: Vec::new() }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Whether this is next; then it is behind.
    fn take(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn expect(&mut self, byte: u8) -> Read<()> {
        if self.take(byte) { Ok(()) } else { Err(self.fault(Why::NoJson)) }
    }

    fn value(&mut self) -> Read<Tree<'a>> {
        self.blanks();
        match self.peek() {
            Some(b'{') => self.nested(Reader::object),
            Some(b'[') => self.nested(Reader::list),
            Some(b'"') => self.string().map(Tree::Text),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => self.word(),
        }
    }

    fn nested(&mut self, read: impl FnOnce(&mut Self) -> Read<Tree<'a>>) -> Read<Tree<'a>> {
        if self.depth == DEPTH_MAX {
            return Err(self.fault(Why::TooDeep));
        }
        self.at += 1;
        self.depth += 1;
        let tree = read(self)?;
        self.depth -= 1;
        Ok(tree)
    }

    fn word(&mut self) -> Read<Tree<'a>> {
        let words =
            [("null", Tree::Null), ("true", Tree::Bool(true)), ("false", Tree::Bool(false))];
        let rest = &self.text[self.at..];
        let Some((word, tree)) = words.into_iter().find(|it| rest.starts_with(it.0)) else {
            return Err(self.fault(Why::NoJson));
        };
        self.at += word.len();
        Ok(tree)
    }

    fn object(&mut self) -> Read<Tree<'a>> {
        let mut fields = BTreeMap::new();
        self.blanks();
        if self.take(b'}') {
            return Ok(Tree::Object(fields));
        }
        loop {
            self.blanks();
            let at = self.at;
            if self.peek() != Some(b'"') {
                return Err(self.fault(Why::NoJson));
            }
            let name = self.string()?;
            self.blanks();
            self.expect(b':')?;
            let value = self.value().map_err(|it| it.in_field(&name))?;
            if fields.contains_key(&name) {
                return Err(Fault { at, ..self.fault(Why::TwiceNamed) }.in_field(&name));
            }
            fields.insert(name, value);
            self.blanks();
            if self.take(b'}') {
                return Ok(Tree::Object(fields));
            }
            self.expect(b',')?;
        }
    }

    fn list(&mut self) -> Read<Tree<'a>> {
        let mut items = Vec::new();
        self.blanks();
        if self.take(b']') {
            return Ok(Tree::List(items));
        }
        loop {
            let item = self.value().map_err(|it| it.in_field(&items.len().to_string()))?;
            items.push(item);
            self.blanks();
            if self.take(b']') {
                return Ok(Tree::List(items));
            }
            self.expect(b',')?;
        }
    }

    fn number(&mut self) -> Read<Tree<'a>> {
        let began = self.at;
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            if !self.take(b'+') {
                self.take(b'-');
            }
            self.digits()?;
        }
        let number = Number::of(&self.text[began..self.at]);
        number.map(Tree::Number).ok_or_else(|| Fault { at: began, ..self.fault(Why::NoNumber) })
    }

    /// At least one.
    fn digits(&mut self) -> Read<()> {
        let began = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if began == self.at { Err(self.fault(Why::NoJson)) } else { Ok(()) }
    }

    fn string(&mut self) -> Read<Cow<'a, str>> {
        self.at += 1;
        let mut text = Cow::Borrowed("");
        loop {
            let rest = &self.text[self.at..];
            let plain = rest.find(|it| matches!(it, '"' | '\\' | ..' '));
            let plain = plain.unwrap_or(rest.len());
            if text.is_empty() {
                text = Cow::Borrowed(&rest[..plain]);
            } else {
                text.to_mut().push_str(&rest[..plain]);
            }
            self.at += plain;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => {
                    let char = self.escape()?;
                    text.to_mut().push(char);
                }
                _ => return Err(self.fault(Why::NoJson)),
            }
        }
    }

    fn escape(&mut self) -> Read<char> {
        let began = self.at;
        self.at += 1;
        let Some(byte) = self.peek() else { return Err(self.fault(Why::NoJson)) };
        self.at += 1;
        Ok(match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let unit = self.unit()?;
                let is_first = (0xd800..0xdc00).contains(&unit);
                let mut units = vec![unit];
                if is_first && self.text[self.at..].starts_with("\\u") {
                    self.at += 2;
                    units.push(self.unit()?);
                }
                let decoded = char::decode_utf16(units).next();
                return decoded
                    .and_then(Result::ok)
                    .ok_or(Fault { at: began, ..self.fault(Why::HalfCharacter) });
            }
            _ => return Err(self.fault(Why::NoJson)),
        })
    }

    fn unit(&mut self) -> Read<u16> {
        let digits = self.text.get(self.at..self.at + 4);
        let digits = digits.filter(|it| it.bytes().all(|it| it.is_ascii_hexdigit()));
        let unit = digits.and_then(|it| u16::from_str_radix(it, 16).ok());
        let unit = unit.ok_or_else(|| self.fault(Why::NoJson))?;
        self.at += 4;
        Ok(unit)
    }
}
