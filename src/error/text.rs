//! Text from the network in the form in which it may be shown.

use std::error::Error as StdError;
use std::fmt::{self, Write as _};

/// Writes the causes of an error, each after a colon.
pub(crate) fn write_causes(f: &mut fmt::Formatter<'_>, error: &dyn StdError) -> fmt::Result {
    let mut cause = error.source();
    while let Some(error) = cause {
        write!(f, ": {error}")?;
        cause = error.source();
    }
    Ok(())
}

/// The longest id shown, in characters: a serial number, a `Request-ID`, a code.
pub(crate) const ID: usize = 64;
/// The longest sentence shown, in characters.
pub(crate) const SENTENCE: usize = 512;

/// Text from the network, which may be unsigned, made fit for one line of a log: without line breaks and invisible
/// characters, and shortened. In a sentence a line break is a space.
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
        Self {
            text,
            longest: SENTENCE,
        }
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
                // Escapes what is invisible or changes how its neighbours look, such as U+202E.
                c => write!(f, "{}", c.escape_debug())?,
            }
        }
        match self.text.chars().nth(self.longest) {
            Some(_) => f.write_str("..."),
            None => Ok(()),
        }
    }
}
