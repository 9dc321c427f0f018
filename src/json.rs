//! Reads verified JSON. Errors name fields, types and places, and never a value. An array is no object.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::str::Utf8Error;
use std::vec;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{
    self, DeserializeSeed, Deserializer, Expected, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;
use serde_json::value::RawValue;

/// The reason why JSON could not be read, and the place in it.
///
/// Responses and notifications hold personal data, such as the user's name and openid, and errors end in logs. This error
/// names fields, types and places, and no value and no name that came with the JSON: `amount.total: invalid type: string,
/// expected u64 at line 1 column 20`. If a caller's type refuses a value with a message of its own, the message is left
/// out, since it may repeat the value. Only what such a type names as expected is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeError(
    /// Boxed, since every result of a call has room for its error.
    Box<Problem>,
);

impl DecodeError {
    /// Returns the path of the field that did not fit, from the outermost object: `goods_detail[0].quantity`. A name that
    /// the type does not know is `*`. The path is empty if the problem is not in a field.
    pub fn field(&self) -> &str {
        &self.0.field
    }

    /// Returns the line of the JSON, from 1, or 0 if the place is not known.
    pub fn line(&self) -> usize {
        self.0.line
    }

    /// Returns the column in that line, in bytes from 1, or 0 if nothing of the line was read or the place is not known.
    pub fn column(&self) -> usize {
        self.0.column
    }

    pub(crate) fn not_utf8(error: Utf8Error) -> Self {
        Problem::new(error.to_string()).into()
    }

    pub(crate) fn empty_body() -> Self {
        Problem::new("the body is empty").into()
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for DecodeError {}

impl From<Problem> for DecodeError {
    fn from(problem: Problem) -> Self {
        Self(Box::new(problem))
    }
}

/// Reads `json` as a `T`.
pub(crate) fn from_slice<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, DecodeError> {
    from_str(std::str::from_utf8(json).map_err(DecodeError::not_utf8)?)
}

/// Reads `json` as a `T`.
pub(crate) fn from_str<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, DecodeError> {
    let text: &RawValue = serde_json::from_str(json).map_err(|error| Problem {
        line: error.line(),
        column: error.column(),
        ..error.into()
    })?;
    let part = Part {
        whole: json,
        text: text.get(),
        depth: 0,
        is_key: false,
    };
    T::deserialize(part).map_err(|problem| problem.at(part).into())
}

/// A [`DecodeError`] while it is made.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Problem {
    field: String,
    problem: String,
    line: usize,
    column: usize,
}

impl Problem {
    fn new(problem: impl Into<String>) -> Self {
        Self {
            field: String::new(),
            problem: problem.into(),
            line: 0,
            column: 0,
        }
    }

    /// Adds the place, which is the end of `part`, unless there is a place.
    fn at(mut self, part: Part<'_>) -> Self {
        if self.line == 0 {
            let end = part.text.as_ptr().addr() + part.text.len() - part.whole.as_ptr().addr();
            let before = part.whole.get(..end).unwrap_or_default();
            self.line = before.matches('\n').count() + 1;
            self.column = end - before.rfind('\n').map_or(0, |position| position + 1);
        }
        self
    }

    /// Puts the name of an outer field or index in front of the path.
    fn inside(mut self, name: &str) -> Self {
        if !self.field.is_empty() && !self.field.starts_with('[') {
            self.field.insert(0, '.');
        }
        self.field.insert_str(0, name);
        self
    }
}

impl From<serde_json::Error> for Problem {
    /// Makes it without the place, which is one in a part.
    fn from(error: serde_json::Error) -> Self {
        // Without its place, the message of a syntax error is fixed text.
        let place = format!(" at line {} column {}", error.line(), error.column());
        let message = error.to_string();
        Self::new(message.strip_suffix(&place).unwrap_or(&message))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.problem)?;
        match self.line {
            0 => Ok(()),
            line => write!(f, " at line {line} column {}", self.column),
        }
    }
}

impl StdError for Problem {}

/// Each message is made of its parts, to leave out the values.
impl de::Error for Problem {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::new("a value was refused by the type that reads it")
    }

    fn invalid_type(found: Unexpected<'_>, wanted: &dyn Expected) -> Self {
        Self::new(format!("invalid type: {}, expected {wanted}", kind(&found)))
    }

    fn invalid_value(found: Unexpected<'_>, wanted: &dyn Expected) -> Self {
        let found = kind(&found);
        Self::new(format!("invalid value: {found}, expected {wanted}"))
    }

    fn invalid_length(length: usize, wanted: &dyn Expected) -> Self {
        Self::new(format!("invalid length {length}, expected {wanted}"))
    }

    fn unknown_variant(_: &str, known: &'static [&'static str]) -> Self {
        let known = known.join("`, `");
        Self::new(format!("unknown variant, expected one of `{known}`"))
    }

    fn unknown_field(_: &str, known: &'static [&'static str]) -> Self {
        let known = known.join("`, `");
        Self::new(format!("unknown field, expected one of `{known}`"))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(format!("missing field `{field}`"))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::new(format!("duplicate field `{field}`"))
    }
}

fn kind(found: &Unexpected<'_>) -> &'static str {
    match found {
        Unexpected::Bool(_) => "boolean",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) => "integer",
        Unexpected::Float(_) => "floating point",
        Unexpected::Str(_) | Unexpected::Char(_) => "string",
        Unexpected::Unit | Unexpected::Option => "null",
        Unexpected::Seq => "sequence",
        Unexpected::Map => "map",
        _ => "value",
    }
}

/// One value in a JSON text that is known to be well-formed, as a deserializer. Unlike serde_json's, it has an error type
/// that keeps no value, and refuses an array in the place of a struct.
#[derive(Clone, Copy)]
struct Part<'de> {
    whole: &'de str,
    text: &'de str,
    depth: u8,
    /// True for the name of a member, which is a number or boolean in quotes if the type wants one.
    is_key: bool,
}

impl<'de> Part<'de> {
    fn starts_with(self, first: char) -> bool {
        self.text.starts_with(first)
    }

    fn string(self) -> Result<Cow<'de, str>, Problem> {
        match self.text.contains('\\') {
            true => Ok(Cow::Owned(serde_json::from_str(self.text)?)),
            false => Ok(Cow::Borrowed(self.text.trim_matches('"'))),
        }
    }

    fn members(self, fields: &'static [&'static str]) -> Result<Members<'de>, Problem> {
        // A limit against stack overflow, the same as serde_json's.
        if self.depth == 127 {
            return Err(Problem::new("recursion limit exceeded"));
        }
        let Pairs(pairs) = serde_json::from_str(self.text)?;
        Ok(Members {
            outer: self,
            fields,
            pairs: pairs.into_iter(),
            index: 0,
        })
    }
}

/// Numbers and booleans, which may be in quotes as the name of a member.
macro_rules! scalars {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
            let unquoted = self.text.trim_matches('"');
            match self.is_key && serde_json::from_str::<&RawValue>(unquoted).is_ok() {
                true => Self { text: unquoted, ..self }.deserialize_any(visitor),
                false => self.deserialize_any(visitor),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Part<'de> {
    type Error = Problem;

    forward_to_deserialize_any! {
        char str string bytes byte_buf unit unit_struct seq tuple tuple_struct identifier
    }

    scalars! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128 deserialize_f32
        deserialize_f64
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.text.as_bytes().first() {
            Some(b'{') => visitor.visit_map(self.members(&[])?),
            Some(b'[') => {
                let mut elements = self.members(&[])?;
                let value = visitor.visit_seq(&mut elements)?;
                match elements.pairs.len() {
                    0 => Ok(value),
                    _ => Err(Problem::new("more elements than expected")),
                }
            }
            Some(b'"') => match self.string()? {
                Cow::Borrowed(text) => visitor.visit_borrowed_str(text),
                Cow::Owned(text) => visitor.visit_string(text),
            },
            Some(b'n') => visitor.visit_unit(),
            Some(b't') => visitor.visit_bool(true),
            Some(b'f') => visitor.visit_bool(false),
            _ => visit_number(self.text, visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.text {
            "null" => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        if name.starts_with("$serde_json::private::") {
            // Such as `RawValue`, which fits any value.
            let raw = serde_json::Deserializer::from_str(self.text)
                .deserialize_newtype_struct(name, visitor);
            return raw.map_err(de::Error::custom);
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        if self.starts_with('{') {
            return visitor.visit_map(self.members(fields)?);
        }
        self.deserialize_map(visitor)
    }

    /// Reads a map, a struct with flattened fields, or the fields of an enum's variant.
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.starts_with('[') {
            true => Err(de::Error::invalid_type(Unexpected::Seq, &visitor)),
            false => self.deserialize_any(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        if self.starts_with('"') {
            return visitor.visit_enum(self.string()?.into_deserializer());
        }
        if self.starts_with('{') {
            let members = self.members(&[])?;
            if members.pairs.len() == 1 {
                return visitor.visit_enum(MapAccessDeserializer::new(members));
            }
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_unit()
    }
}

fn visit_number<'de, V: Visitor<'de>>(text: &str, visitor: V) -> Result<V::Value, Problem> {
    if let Ok(number) = text.parse() {
        return visitor.visit_u64(number);
    }
    if let Ok(number) = text.parse() {
        return visitor.visit_i64(number);
    }
    match text.parse() {
        Ok(number) if f64::is_finite(number) => visitor.visit_f64(number),
        _ => Err(Problem::new("number out of range")),
    }
}

/// The names and values of an object, or the values of an array with empty names, each as its JSON text.
struct Pairs<'de>(Vec<(&'de str, &'de str)>);

impl<'de> Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'de> Visitor<'de> for Collect {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object or array")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                // One allocation for most objects.
                let mut pairs = Vec::with_capacity(16);
                while let Some((name, value)) = map.next_entry::<&RawValue, &RawValue>()? {
                    pairs.push((name.get(), value.get()));
                }
                Ok(Pairs(pairs))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(value) = array.next_element::<&RawValue>()? {
                    pairs.push(("", value.get()));
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_any(Collect)
    }
}

/// The members of an object, or the elements of an array, that are still to be read.
struct Members<'de> {
    outer: Part<'de>,
    /// The names that the type knows. Others are not shown in errors.
    fields: &'static [&'static str],
    pairs: vec::IntoIter<(&'de str, &'de str)>,
    index: usize,
}

impl<'de> Members<'de> {
    fn read<S: DeserializeSeed<'de>>(
        &self,
        text: &'de str,
        is_key: bool,
        seed: S,
    ) -> Result<S::Value, Problem> {
        let part = Part {
            text,
            is_key,
            depth: self.outer.depth + 1,
            ..self.outer
        };
        seed.deserialize(part).map_err(|problem| problem.at(part))
    }
}

impl<'de> MapAccess<'de> for Members<'de> {
    type Error = Problem;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Problem> {
        match self.pairs.as_slice().first() {
            Some((name, _)) => self.read(name, true, seed).map(Some),
            None => Ok(None),
        }
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Problem> {
        let (name, value) = self.pairs.next().unwrap_or_default();
        let name = name.trim_matches('"');
        self.read(value, false, seed).map_err(|problem| {
            problem.inside(if self.fields.contains(&name) {
                name
            } else {
                "*"
            })
        })
    }
}

impl<'de> SeqAccess<'de> for Members<'de> {
    type Error = Problem;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Problem> {
        let Some((_, value)) = self.pairs.next() else {
            return Ok(None);
        };
        let index = self.index;
        self.index += 1;
        let value = self.read(value, false, seed);
        value
            .map(Some)
            .map_err(|problem| problem.inside(&format!("[{index}]")))
    }
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

        fn visit_str<E: de::Error>(self, value: &str) -> Result<u64, E> {
            let digits = value.bytes().all(|byte| byte.is_ascii_digit());
            match value.parse() {
                Ok(number) if digits => Ok(number),
                _ => Err(E::invalid_value(Unexpected::Str(value), &self)),
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
