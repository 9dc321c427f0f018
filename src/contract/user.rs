//! A user who is named by one of two identifiers, or by both.

/// Defines an enumeration with three variants: the first identifier, the second, or both. It is serialized as one or
/// two fields. `within` is the prefix of both fields in errors: the enclosing JSON object and a dot.
macro_rules! one_identifier_of_two {
    (
        $(#[$doc:meta])*
        $name:ident, within: $within:literal,
        $(#[$first_doc:meta])* $First:ident: $first:ident,
        $(#[$second_doc:meta])* $Second:ident: $second:ident,
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name<'a> {
            $(#[$first_doc])*
            $First(&'a str),
            $(#[$second_doc])*
            $Second(&'a str),
            /// Both of them.
            #[serde(untagged)]
            Both {
                $(#[$first_doc])*
                $first: &'a str,
                $(#[$second_doc])*
                $second: &'a str,
            },
        }

        impl $name<'_> {
            fn check(self, max: usize) -> Result<(), $crate::error::InvalidField> {
                let (first, second) = match self {
                    Self::$First(first) => (Some(first), None),
                    Self::$Second(second) => (None, Some(second)),
                    Self::Both { $first, $second } => (Some($first), Some($second)),
                };
                $crate::rules::optional_id(concat!($within, stringify!($first)), first, max)?;
                $crate::rules::optional_id(concat!($within, stringify!($second)), second, max)
            }
        }

        /// Converts two nullable database columns, in the order of the variants.
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
    };
}
pub(crate) use one_identifier_of_two;
