//! Parts that error messages share: causes, the `Request-ID`, and text from the network, sanitized for a log.

use std::error::Error as StdError;
use std::fmt::{self, Write as _};

/// Writes the causes of an error for `{:#}`, each after a colon, and nothing for `{}`.
pub(crate) fn write_causes(f: &mut fmt::Formatter<'_>, error: &dyn StdError) -> fmt::Result {
    let mut cause = error.source().filter(|_| f.alternate());
    while let Some(error) = cause {
        write!(f, ": {error}")?;
        cause = error.source();
    }
    Ok(())
}

/// Writes the `Request-ID` for `{:#}`, if there is one.
pub(super) fn write_request_id(f: &mut fmt::Formatter<'_>, id: Option<&str>) -> fmt::Result {
    match id {
        Some(id) => write!(f, "; Request-ID {}", Shown::id(id)),
        None => Ok(()),
    }
}

/// The longest id shown, in characters, such as a serial number or a `Request-ID`.
pub(crate) const ID: usize = 64;
/// The longest sentence shown, in characters.
pub(crate) const SENTENCE: usize = 512;

/// Text from the network, which may be unsigned, sanitized for one line of a log: line breaks and invisible characters
/// are escaped, and long text is truncated. In a [`sentence`](Self::sentence), white space and control characters
/// become spaces.
#[derive(Clone, Copy)]
pub(crate) struct Shown<'a> {
    text: &'a str,
    longest: usize,
}

impl<'a> Shown<'a> {
    pub(crate) fn id(text: &'a str) -> Self {
        Self { text, longest: ID }
    }

    pub(crate) fn excerpt(text: &'a str) -> Self {
        Self { text, longest: 160 }
    }

    pub(crate) fn sentence(text: &'a str) -> Self {
        let longest = SENTENCE;
        Self { text, longest }
    }
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.text.chars().take(self.longest) {
            match c {
                '"' | '\'' | '\\' => f.write_char(c)?,
                c if self.longest == SENTENCE && (c.is_whitespace() || c.is_control()) => {
                    f.write_char(' ')?;
                }
                // Escapes characters that are invisible or change how their neighbours look, such as U+202E.
                c => write!(f, "{}", c.escape_debug())?,
            }
        }
        match self.text.chars().nth(self.longest) {
            Some(_) => f.write_str("..."),
            None => Ok(()),
        }
    }
}
