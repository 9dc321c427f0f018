//! Deserialization of verified JSON. Errors name fields, types and positions, but never a value. An array is not read
//! as a struct.

use std::cell::Cell;
use std::error::Error as StdError;
use std::fmt;
use std::str::Utf8Error;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{
    self, DeserializeSeed, Deserializer, Expected, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;

/// The reason why JSON could not be read: the problem and its position.
///
/// Responses and notifications hold personal data, such as the user's name and openid, and errors are logged. So this
/// error names fields, types and positions, but shows no value and no unknown name of the JSON: `amount.total: invalid
/// type: string, expected u64 at line 1 column 20`. The part after `expected` is the type's own description. If a type
/// of the caller's rejects a value with a message of its own, the message is left out, since it may repeat the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeError(
    /// Boxed to keep the `Result` of a call small.
    Box<Problem>,
);

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Problem {
    field: String,
    problem: String,
    line: usize,
    column: usize,
}

impl DecodeError {
    /// Returns the field that could not be read, as a path from the outermost object: `goods_detail[0].quantity`. A
    /// name that the type does not know is `*`. Empty if the problem is not in a field, or its position is not known.
    pub fn field(&self) -> &str {
        &self.0.field
    }

    /// Returns the line of the JSON, from 1, or 0 if the position is not known.
    pub fn line(&self) -> usize {
        self.0.line
    }

    /// Returns the column in that line, in bytes from 1, or 0 if nothing of the line was read or the position is not
    /// known.
    pub fn column(&self) -> usize {
        self.0.column
    }

    pub(crate) fn not_utf8(error: Utf8Error) -> Self {
        Self::without_place(error.to_string())
    }

    pub(crate) fn empty_body() -> Self {
        Self::without_place("the body is empty".to_owned())
    }

    fn without_place(problem: String) -> Self {
        Self(Box::new(Problem {
            problem,
            ..Problem::default()
        }))
    }

    fn of(error: &serde_json::Error, found: Option<Problem>) -> Self {
        let (line, column) = (error.line(), error.column());
        // The type may have replaced the value of an earlier problem, and an error of the syntax ended the reading.
        let found = found.filter(|_| error.is_data());
        let found = found.unwrap_or_else(|| Problem {
            problem: match error.is_data() {
                true => REFUSED.to_owned(),
                // Without the position, these texts of serde_json are constant.
                false => without_place(&error.to_string(), line, column),
            },
            ..Problem::default()
        });
        Self(Box::new(Problem {
            line,
            column,
            ..found
        }))
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Problem {
            field,
            problem,
            line,
            column,
        } = &*self.0;
        if !field.is_empty() {
            write!(f, "{field}: ")?;
        }
        match line {
            0 => f.write_str(problem),
            line => write!(f, "{problem} at line {line} column {column}"),
        }
    }
}

impl StdError for DecodeError {}

const REFUSED: &str = "a value was refused by the type that reads it";

fn without_place(text: &str, line: usize, column: usize) -> String {
    let place = format!(" at line {line} column {column}");
    text.strip_suffix(&place).unwrap_or(text).to_owned()
}

/// Reads `json` as a `T`.
pub(crate) fn from_slice<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, DecodeError> {
    // Checks the UTF-8 once for the whole JSON. serde_json would check each string separately.
    from_str(std::str::from_utf8(json).map_err(DecodeError::not_utf8)?)
}

/// Reads `json` as a `T`.
pub(crate) fn from_str<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, DecodeError> {
    let problem = Cell::new(None);
    let place = Place::new(None, &[]);
    let context = Context::new(&place, &problem);
    let mut parser = serde_json::Deserializer::from_str(json);
    context
        .settle(T::deserialize(context.strict(&mut parser)))
        .and_then(|value| parser.end().map(|()| value))
        .map_err(|error| DecodeError::of(&error, problem.take()))
}

/// An error of the parser, or of the type being read. The text of the latter is built here, to leave out the values.
#[derive(Debug)]
enum Fault<E> {
    Parser(E),
    Type(String),
}

impl<E: fmt::Display> fmt::Display for Fault<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parser(error) => error.fmt(f),
            Self::Type(problem) => f.write_str(problem),
        }
    }
}

impl<E: StdError> StdError for Fault<E> {}

impl<E: StdError> de::Error for Fault<E> {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::Type(REFUSED.to_owned())
    }

    fn invalid_type(found: Unexpected<'_>, wanted: &dyn Expected) -> Self {
        Self::Type(format!("invalid type: {}, expected {wanted}", kind(&found)))
    }

    fn invalid_value(found: Unexpected<'_>, wanted: &dyn Expected) -> Self {
        let found = kind(&found);
        Self::Type(format!("invalid value: {found}, expected {wanted}"))
    }

    fn invalid_length(length: usize, wanted: &dyn Expected) -> Self {
        Self::Type(format!("invalid length {length}, expected {wanted}"))
    }

    fn unknown_variant(_: &str, known: &'static [&'static str]) -> Self {
        Self::Type(format!("unknown variant, expected {}", one_of(known)))
    }

    fn unknown_field(_: &str, known: &'static [&'static str]) -> Self {
        Self::Type(format!("unknown field, expected {}", one_of(known)))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::Type(format!("missing field `{field}`"))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::Type(format!("duplicate field `{field}`"))
    }
}

fn one_of(names: &[&str]) -> String {
    format!("one of `{}`", names.join("`, `"))
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

/// An object or array, and the member or element of it that is being read.
struct Place<'p, 'de> {
    /// `None` for the outermost value.
    outer: Option<&'p Self>,
    /// The field names of the type. Others are not shown.
    fields: &'static [&'static str],
    key: Cell<&'de str>,
    index: Cell<Option<usize>>,
}

impl<'p, 'de> Place<'p, 'de> {
    fn new(outer: Option<&'p Self>, fields: &'static [&'static str]) -> Self {
        Self {
            outer,
            fields,
            key: Cell::new(""),
            index: Cell::new(None),
        }
    }

    fn path(&self) -> String {
        let Some(outer) = self.outer else {
            return String::new();
        };
        let (mut path, key) = (outer.path(), self.key.get());
        if let Some(index) = self.index.get() {
            return path + &format!("[{index}]");
        }
        if !path.is_empty() {
            path.push('.');
        }
        path + if self.fields.contains(&key) { key } else { "*" }
    }
}

#[derive(Clone, Copy)]
struct Context<'p, 'de> {
    at: &'p Place<'p, 'de>,
    /// The problem, without line and column.
    problem: &'p Cell<Option<Problem>>,
    /// True while the key of a member is read.
    is_key: bool,
    /// The fields or variants, if the expected type is a struct, map or enum. An array is not read as one of these.
    fields: Option<&'static [&'static str]>,
}

impl<'p, 'de> Context<'p, 'de> {
    fn new(at: &'p Place<'p, 'de>, problem: &'p Cell<Option<Problem>>) -> Self {
        Self {
            at,
            problem,
            is_key: false,
            fields: None,
        }
    }

    fn strict<T>(self, inner: T) -> Strict<'p, 'de, T> {
        Strict {
            inner,
            context: self,
        }
    }

    /// Stores a problem with its field. The parser's error then only ends the parsing, and supplies line and column.
    fn settle<T, E: de::Error>(self, result: Result<T, Fault<E>>) -> Result<T, E> {
        result.map_err(|fault| self.end(fault))
    }

    // Out of line, since every type has many of these calls.
    #[cold]
    fn end<E: de::Error>(self, fault: Fault<E>) -> E {
        match fault {
            Fault::Parser(error) => error,
            Fault::Type(problem) => {
                let at = self.at.outer.filter(|_| self.is_key).unwrap_or(self.at);
                self.problem.set(Some(Problem {
                    field: at.path(),
                    problem,
                    ..Problem::default()
                }));
                E::custom(REFUSED)
            }
        }
    }
}

/// A deserializer, visitor, seed or access that wraps another. It rejects an array in place of a struct and records
/// where a type rejects a value.
struct Strict<'p, 'de, T> {
    inner: T,
    context: Context<'p, 'de>,
}

macro_rules! pass {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
            let visitor = self.context.strict(visitor);
            self.inner.$method(visitor).map_err(Fault::Parser)
        }
    )*};
}

macro_rules! numbers {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
            if !self.context.is_key {
                return self.deserialize_any(visitor);
            }
            // As a key, it is in quotes.
            let visitor = self.context.strict(visitor);
            self.inner.$method(visitor).map_err(Fault::Parser)
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Strict<'_, 'de, D> {
    type Error = Fault<D::Error>;

    numbers! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128 deserialize_u8
        deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128 deserialize_f32 deserialize_f64
    }

    // With `deserialize_string` and the like, the parser itself would reject another type and quote the value.
    forward_to_deserialize_any! {
        char str string bytes byte_buf unit unit_struct seq tuple tuple_struct identifier
    }

    pass! { deserialize_any deserialize_option deserialize_ignored_any }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        let visitor = self.context.strict(visitor);
        self.inner
            .deserialize_newtype_struct(name, visitor)
            .map_err(Fault::Parser)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        self.deserialize_struct("", &[], visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        mut self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        self.context.fields = Some(fields);
        self.deserialize_any(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        self.deserialize_struct(name, variants, Variant(visitor))
    }
}

macro_rules! visit {
    ($($method:ident($($value:ident: $type:ty)?))*) => {$(
        fn $method<E: de::Error>(self, $($value: $type)?) -> Result<V::Value, E> {
            self.context.settle(self.inner.$method($($value)?))
        }
    )*};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Strict<'_, 'de, V> {
    type Value = V::Value;

    visit! {
        visit_unit() visit_none() visit_bool(value: bool) visit_i64(value: i64) visit_u64(value: u64)
        visit_f64(value: f64) visit_str(value: &str)
    }

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    fn visit_borrowed_str<E: de::Error>(self, value: &'de str) -> Result<V::Value, E> {
        if self.context.is_key {
            self.context.at.key.set(value);
        }
        self.context.settle(self.inner.visit_borrowed_str(value))
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        let inner = self.context.strict(inner);
        self.context.settle(self.inner.visit_some(inner))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        let inner = self.context.strict(inner);
        self.context.settle(self.inner.visit_newtype_struct(inner))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, array: A) -> Result<V::Value, A::Error> {
        let Context { at, problem, .. } = self.context;
        if self.context.fields.is_some() {
            let fault = de::Error::invalid_type(Unexpected::Seq, &self.inner);
            return self.context.settle(Err(fault));
        }
        let place = Place::new(Some(at), &[]);
        let array = Context::new(&place, problem).strict(array);
        self.context.settle(self.inner.visit_seq(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<V::Value, A::Error> {
        let Context { at, problem, .. } = self.context;
        let place = Place::new(Some(at), self.context.fields.unwrap_or_default());
        let object = Context::new(&place, problem).strict(object);
        self.context.settle(self.inner.visit_map(object))
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Strict<'_, 'de, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        let deserializer = self.context.strict(deserializer);
        self.context.settle(self.inner.deserialize(deserializer))
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Strict<'_, 'de, A> {
    type Error = Fault<A::Error>;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Self::Error> {
        let mut seed = self.context.strict(seed);
        seed.context.is_key = true;
        self.context.at.key.set("");
        self.inner.next_key_seed(seed).map_err(Fault::Parser)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<S::Value, Self::Error> {
        let seed = self.context.strict(seed);
        self.inner.next_value_seed(seed).map_err(Fault::Parser)
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Strict<'_, 'de, A> {
    type Error = Fault<A::Error>;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Self::Error> {
        let index = &self.context.at.index;
        index.set(Some(index.get().map_or(0, |index| index + 1)));
        let seed = self.context.strict(seed);
        self.inner.next_element_seed(seed).map_err(Fault::Parser)
    }
}

/// Reads an enum from the name of a variant, or from an object with the variant as its only member.
struct Variant<V>(V);

impl<'de, V: Visitor<'de>> Visitor<'de> for Variant<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<V::Value, E> {
        self.0.visit_enum(name.into_deserializer())
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<V::Value, A::Error> {
        self.0.visit_enum(MapAccessDeserializer::new(object))
    }
}

/// Reads a number that may be written as a string of digits. Other clients have received `service_id` in both forms.
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

/// Reads `null` as the default value of the type.
pub(crate) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
