//! A user who is named by one of two identifiers, or by both.

/// Defines an enumeration of one identifier, the other, or both, which is serialized as one or two fields. `max` is the
/// length of an identifier, `within` the object on the wire, with a dot, that errors name before a field.
macro_rules! one_identifier_of_two {
    (
        $(#[$doc:meta])*
        $name:ident, max: $max:expr, within: $within:literal,
        $(#[$first_doc:meta])* $First:ident: $first:ident,
        $(#[$second_doc:meta])* $Second:ident: $second:ident,
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name<'a> {
            $(#[$first_doc])*
            $First(&'a str),
            $(#[$second_doc])*
            $Second(&'a str),
            /// Both of them.
            Both {
                $(#[$first_doc])*
                $first: &'a str,
                $(#[$second_doc])*
                $second: &'a str,
            },
        }

        impl<'a> $name<'a> {
            fn identifiers(self) -> (Option<&'a str>, Option<&'a str>) {
                match self {
                    Self::$First(first) => (Some(first), None),
                    Self::$Second(second) => (None, Some(second)),
                    Self::Both { $first, $second } => (Some($first), Some($second)),
                }
            }

            fn check(self) -> Result<(), $crate::error::InvalidField> {
                let (first, second) = self.identifiers();
                let (first, second) = (first.into_iter(), second.into_iter());
                first.map(|id| (concat!($within, stringify!($first)), id))
                    .chain(second.map(|id| (concat!($within, stringify!($second)), id)))
                    .try_for_each(|(field, id)| $crate::rules::id(field, id, $max))
            }
        }

        /// From two nullable columns of a database, in the order of the variants.
        impl<'a> TryFrom<(Option<&'a str>, Option<&'a str>)> for $name<'a> {
            type Error = $crate::error::InvalidField;

            fn try_from(columns: (Option<&'a str>, Option<&'a str>)) -> Result<Self, Self::Error> {
                match columns {
                    (Some(first), None) => Ok(Self::$First(first)),
                    (None, Some(second)) => Ok(Self::$Second(second)),
                    (Some($first), Some($second)) => Ok(Self::Both { $first, $second }),
                    (None, None) => Err($crate::error::InvalidField::new(
                        concat!($within, stringify!($first)),
                        concat!("is absent: wanted it or ", $within, stringify!($second)),
                    )),
                }
            }
        }

        impl serde::Serialize for $name<'_> {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeMap as _;
                let (first, second) = self.identifiers();
                let mut fields = serializer.serialize_map(None)?;
                if let Some(first) = first {
                    fields.serialize_entry(stringify!($first), first)?;
                }
                if let Some(second) = second {
                    fields.serialize_entry(stringify!($second), second)?;
                }
                fields.end()
            }
        }
    };
}
pub(crate) use one_identifier_of_two;
