//! Reads JSON that was verified, with errors that say what did not fit and where, but never a value that was read.

use std::error::Error as StdError;
use std::fmt;
use std::str::Utf8Error;

use serde::Deserialize;
use serde::de::{Deserializer, Unexpected, Visitor};
use serde_json::error::Category;

/// Why JSON could not be read: what did not fit, and where.
///
/// Answers and notifications hold personal data, such as the user's name and openid, and errors end in logs. So this
/// names fields, types and places, and no value and no name that came with the JSON: `invalid type: string, expected
/// u64 at line 1 column 20`. Where a type of the caller's refuses a value in words of its own, the words are left out
/// too, since they may repeat the value; only what such a type names as expected is shown.
#[derive(Clone, PartialEq, Eq)]
pub struct DecodeError(
    /// Boxed, since every result of a call has room for its error.
    Box<Problem>,
);

#[derive(Clone, PartialEq, Eq)]
struct Problem {
    category: Category,
    text: String,
    line: usize,
    column: usize,
}

impl DecodeError {
    /// The line of the JSON, from 1; 0 when the place is not known.
    pub fn line(&self) -> usize {
        self.0.line
    }

    /// The column in that line, in bytes from 1; 0 when nothing of the line was read, or the place is not known.
    pub fn column(&self) -> usize {
        self.0.column
    }

    pub(crate) fn not_utf8(error: Utf8Error) -> Self {
        Self(Box::new(Problem {
            category: Category::Syntax,
            text: error.to_string(),
            line: 0,
            column: 0,
        }))
    }

    fn of(error: &serde_json::Error) -> Self {
        let (category, line, column) = (error.classify(), error.line(), error.column());
        let text = error.to_string();
        let place = format!(" at line {line} column {column}");
        let problem = text.strip_suffix(&place).unwrap_or(&text);
        let problem = match category {
            // Fixed texts of serde_json.
            Category::Syntax | Category::Eof | Category::Io => problem.to_owned(),
            Category::Data => without_values(problem),
        };
        Self(Box::new(Problem {
            category,
            text: problem,
            line,
            column,
        }))
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Problem {
            text, line, column, ..
        } = &*self.0;
        match line {
            0 => f.write_str(text),
            line => write!(f, "{text} at line {line} column {column}"),
        }
    }
}

impl fmt::Debug for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DecodeError")
            .field("category", &self.0.category)
            .field("problem", &self.0.text)
            .field("line", &self.0.line)
            .field("column", &self.0.column)
            .finish()
    }
}

impl StdError for DecodeError {}

/// Reads `json` as a `T`.
pub(crate) fn from_slice<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, DecodeError> {
    // Checked once for all of it: serde_json would check each text by itself.
    from_str(std::str::from_utf8(json).map_err(DecodeError::not_utf8)?)
}

/// Reads `json` as a `T`.
pub(crate) fn from_str<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, DecodeError> {
    serde_json::from_str(json).map_err(|error| DecodeError::of(&error))
}

/// Reads a number that may be written as a text of digits: peers have received `service_id` in both forms.
pub(crate) fn number_or_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    struct NumberOrText;

    impl Visitor<'_> for NumberOrText {
        type Value = u64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a whole number, or a text of digits")
        }

        fn visit_u64<E>(self, value: u64) -> Result<u64, E> {
            Ok(value)
        }

        fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<u64, E> {
            let digits = value.bytes().all(|byte| byte.is_ascii_digit());
            match value.parse() {
                Ok(number) if digits => Ok(number),
                // Not `Unexpected::Str`, which would repeat the value in the error.
                _ => Err(E::invalid_value(Unexpected::Other("string"), &self)),
            }
        }
    }

    deserializer.deserialize_any(NumberOrText)
}

/// Reads `null` as an empty value.
pub(crate) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Defines an enumeration of texts on the wire that keeps a value it does not know as text.
macro_rules! open_enum {
    (
        $(#[$doc:meta])*
        $name:ident {
            $($(#[$variant_doc:meta])* $variant:ident = $text:literal $(| $also:literal)*,)+
        }
    ) => {
        $(#[$doc])*
        ///
        /// The list is open: a value that this crate does not know is [`Other`](Self::Other), and may get a variant of its
        /// own in a later version, so compare texts with [`as_str`](Self::as_str).
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $(
                #[doc = concat!("`", $text, "`")]
                $(#[$variant_doc])*
                $variant,
            )+
            /// Any other value, as received.
            Other(String),
        }

        impl $name {
            /// Returns the value as on the wire.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)+
                    Self::Other(text) => text,
                }
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                match text {
                    $($text $(| $also)* => Self::$variant,)+
                    other => Self::Other(other.to_owned()),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer).map(|text| Self::from(text.as_str()))
            }
        }
    };
}
pub(crate) use open_enum;

/// What a message of serde says without quoting what was read: names of fields that the type has, kinds and what is
/// expected stay, all else goes.
fn without_values(problem: &str) -> String {
    is_of_known_names(problem)
        .then(|| problem.to_owned())
        .or_else(|| without_what_came(problem))
        .unwrap_or_else(|| "a value was refused by the type that reads it".to_owned())
}

/// Whether it names a field of the type and nothing else.
fn is_of_known_names(problem: &str) -> bool {
    ["missing field `", "duplicate field `"]
        .iter()
        .any(|start| {
            problem
                .strip_prefix(start)
                .is_some_and(|name| name.find('`').is_some_and(|end| end + 1 == name.len()))
        })
}

/// `invalid type: string "...", expected u64` becomes `invalid type: string, expected u64`; `None` when it is not of
/// such a form.
fn without_what_came(problem: &str) -> Option<String> {
    // What is expected comes last; the value before it may hold the same words.
    let (start, expected) = problem.rsplit_once(", expected ")?;
    let is_quoted = |text: &str| text.starts_with('`') && text.ends_with('`');
    for what in ["unknown field", "unknown variant"] {
        if start
            .strip_prefix(what)
            .is_some_and(|came| is_quoted(came.trim_start()))
        {
            return Some(format!("{what}, expected {expected}"));
        }
    }
    for what in ["invalid type", "invalid value"] {
        if let Some(came) = start
            .strip_prefix(what)
            .and_then(|rest| rest.strip_prefix(": "))
        {
            return Some(format!("{what}: {}, expected {expected}", kind_of(came)?));
        }
    }
    let length = start.strip_prefix("invalid length ")?;
    length.parse::<usize>().ok()?;
    Some(format!("invalid length {length}, expected {expected}"))
}

/// The kind alone of `string "..."`, `integer `5``, `map` and the like.
fn kind_of(came: &str) -> Option<&'static str> {
    const KINDS: [&str; 18] = [
        "boolean",
        "integer",
        "floating point",
        "number",
        "character",
        "string",
        "byte array",
        "null",
        "unit value",
        "Option value",
        "newtype struct",
        "sequence",
        "map",
        "enum",
        "unit variant",
        "newtype variant",
        "tuple variant",
        "struct variant",
    ];
    KINDS
        .into_iter()
        .find(|kind| match came.strip_prefix(kind) {
            Some("") => true,
            Some(value) => value.starts_with([' ']) && value.ends_with(['"', '`']),
            None => false,
        })
}
