//! JSON in one pass, borrowed from the body: what is asked for is decoded, the rest is checked and kept as a slice.
//!
//! serde reads into types or fails; an event with one wrong field must be taken apart further, kept as sent, and must not
//! take its neighbours with it. So this reader hands out every value together with its place. It accepts exactly
//! RFC 8259, nested at most [`DEPTH_MAX`] deep. One thing it cannot keep: half of a surrogate pair, which UTF-8 has no
//! bytes for, reads as U+FFFD.

use bumpalo::Bump;

use crate::limits::DEPTH_MAX;

/// A cursor over one JSON text.
pub(crate) struct Json<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    /// Holds the strings that have escapes.
    arena: &'a Bump,
}

/// Why a text could not be read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Byte offset.
    pub(crate) at: usize,
    pub(crate) what: Wrong,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// This was expected there.
    Expected(&'static str),
    /// One level more than allowed.
    Deep,
}

/// What stands at the cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Object,
    Array,
    Scalar,
}

/// A value. Objects and arrays are their JSON text, numbers are as written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Value<'a> {
    Null,
    Bool(bool),
    Number(&'a str),
    Text(&'a str),
    Object(&'a str),
    Array(&'a str),
}

/// The inside of a string literal.
#[derive(Clone, Copy)]
struct Quoted<'a> {
    inside: &'a str,
    escaped: bool,
}

impl<'a> Json<'a> {
    pub(crate) fn new(text: &'a str, arena: &'a Bump) -> Self {
        Self { text, at: 0, depth: 0, arena }
    }

    /// Where the next value begins.
    pub(crate) fn mark(&mut self) -> usize {
        self.skip_white();
        self.at
    }

    /// The text from a mark to the cursor.
    pub(crate) fn since(&self, mark: usize) -> &'a str {
        &self.text[mark..self.at]
    }

    /// What stands next; nothing is read.
    pub(crate) fn kind(&mut self) -> Kind {
        self.skip_white();
        match self.byte() {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            _ => Kind::Scalar,
        }
    }

    /// Reads a value of any kind.
    pub(crate) fn value(&mut self) -> Result<Value<'a>, Fault> {
        let mark = self.mark();
        match self.byte() {
            Some(b'"') => self.quoted().map(|quoted| Value::Text(self.decode(quoted))),
            Some(b'{') => self.skip().map(|()| Value::Object(self.since(mark))),
            Some(b'[') => self.skip().map(|()| Value::Array(self.since(mark))),
            Some(b'-' | b'0'..=b'9') => self.number().map(Value::Number),
            Some(b't') => self.word("true").map(|()| Value::Bool(true)),
            Some(b'f') => self.word("false").map(|()| Value::Bool(false)),
            Some(b'n') => self.word("null").map(|()| Value::Null),
            _ => self.expected("a value"),
        }
    }

    /// Reads an object: `member` is called with each name, and must read the value.
    pub(crate) fn object<E: From<Fault>>(
        &mut self,
        mut member: impl FnMut(&mut Self, &'a str) -> Result<(), E>,
    ) -> Result<(), E> {
        self.members(|json, name| {
            let name = json.decode(name);
            member(json, name)
        })
    }

    /// Reads an array: `item` is called at each item, and must read it.
    pub(crate) fn array<E: From<Fault>>(&mut self, mut item: impl FnMut(&mut Self) -> Result<(), E>) -> Result<(), E> {
        self.enter(b'[', "an array")?;
        if self.left(b']') {
            return Ok(());
        }
        loop {
            item(self)?;
            if self.left(b']') {
                return Ok(());
            }
            self.take(b',', "a comma or the end of the array")?;
        }
    }

    /// Nothing but white space may follow.
    pub(crate) fn end(&mut self) -> Result<(), Fault> {
        self.skip_white();
        if self.at == self.text.len() { Ok(()) } else { self.expected("the end") }
    }

    fn members<E: From<Fault>>(
        &mut self,
        mut member: impl FnMut(&mut Self, Quoted<'a>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.enter(b'{', "an object")?;
        if self.left(b'}') {
            return Ok(());
        }
        loop {
            self.skip_white();
            let name = self.quoted()?;
            self.take(b':', "a colon")?;
            member(self, name)?;
            if self.left(b'}') {
                return Ok(());
            }
            self.take(b',', "a comma or the end of the object")?;
        }
    }

    /// Checks a value and goes past it. Recursion is bounded by [`DEPTH_MAX`].
    fn skip(&mut self) -> Result<(), Fault> {
        self.skip_white();
        match self.byte() {
            Some(b'{') => self.members(|json, _| json.skip()),
            Some(b'[') => self.array(Self::skip),
            Some(b'"') => self.quoted().map(|_| ()),
            _ => self.value().map(|_| ()),
        }
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_white(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.byte() {
            self.at += 1;
        }
    }

    fn expected<T>(&self, what: &'static str) -> Result<T, Fault> {
        Err(Fault { at: self.at, what: Wrong::Expected(what) })
    }

    fn enter(&mut self, opening: u8, what: &'static str) -> Result<(), Fault> {
        self.skip_white();
        if self.byte() != Some(opening) {
            return self.expected(what);
        }
        if self.depth == DEPTH_MAX {
            return Err(Fault { at: self.at, what: Wrong::Deep });
        }
        self.at += 1;
        self.depth += 1;
        Ok(())
    }

    fn left(&mut self, closing: u8) -> bool {
        let left = self.took(closing);
        self.depth -= usize::from(left);
        left
    }

    fn took(&mut self, byte: u8) -> bool {
        self.skip_white();
        let there = self.byte() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn take(&mut self, byte: u8, what: &'static str) -> Result<(), Fault> {
        if self.took(byte) { Ok(()) } else { self.expected(what) }
    }

    fn word(&mut self, word: &'static str) -> Result<(), Fault> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return self.expected("a value");
        }
        self.at += word.len();
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Fault> {
        let from = self.at;
        while let Some(b'0'..=b'9') = self.byte() {
            self.at += 1;
        }
        if self.at == from { self.expected("a digit") } else { Ok(()) }
    }

    fn number(&mut self) -> Result<&'a str, Fault> {
        let from = self.at;
        self.at += usize::from(self.byte() == Some(b'-'));
        if self.byte() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.byte() {
            self.at += 1;
            self.at += usize::from(matches!(self.byte(), Some(b'+' | b'-')));
            self.digits()?;
        }
        Ok(self.since(from))
    }

    fn quoted(&mut self) -> Result<Quoted<'a>, Fault> {
        if self.byte() != Some(b'"') {
            return self.expected("a string");
        }
        self.at += 1;
        let from = self.at;
        let mut escaped = false;
        loop {
            match self.byte() {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(0..=0x1f) => return self.expected("no control character inside a string"),
                Some(_) => self.at += 1,
                None => return self.expected("the end of the string"),
            }
        }
        let inside = self.since(from);
        self.at += 1;
        Ok(Quoted { inside, escaped })
    }

    fn escape(&mut self) -> Result<(), Fault> {
        let rest = &self.text.as_bytes()[self.at..];
        self.at += match rest.get(1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
            Some(b'u') if rest.len() >= 6 && rest[2..6].iter().all(u8::is_ascii_hexdigit) => 6,
            _ => return self.expected("an escape like \\n or \\u00e9"),
        };
        Ok(())
    }

    fn decode(&self, quoted: Quoted<'a>) -> &'a str {
        if !quoted.escaped {
            return quoted.inside;
        }
        let mut text = String::with_capacity(quoted.inside.len());
        let mut rest = quoted.inside;
        while let Some(at) = rest.find('\\') {
            text.push_str(&rest[..at]);
            let (character, length) = unescape(&rest[at..]);
            text.push(character);
            rest = &rest[at + length..];
        }
        text.push_str(rest);
        self.arena.alloc_str(&text)
    }
}

/// The character of a checked escape, and how many bytes it takes: twelve for a pair of surrogates.
fn unescape(escape: &str) -> (char, usize) {
    let simple = match escape.as_bytes()[1] {
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => {
            let high = code_unit(escape);
            if (0xd800..0xdc00).contains(&high) && escape.as_bytes().get(6..8) == Some(b"\\u") {
                let low = code_unit(&escape[6..]);
                if (0xdc00..0xe000).contains(&low) {
                    let code = 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                    return (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 12);
                }
            }
            return (char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER), 6);
        }
        // What is left stands for itself: a quote, a backslash, a slash.
        itself => char::from(itself),
    };
    (simple, 2)
}

/// The number in `\uXXXX`.
fn code_unit(escape: &str) -> u32 {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).unwrap_or_default();
    escape.as_bytes()[2..6].iter().fold(0, |number, byte| number << 4 | digit(byte))
}

/// Line and column of a byte offset, from 1; columns in characters.
pub(crate) fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

#[cfg(test)]
mod tests;
