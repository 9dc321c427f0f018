//! A strict reader of DER elements: bounds-checked, definite and minimal lengths only, no recursion.

pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const NULL: u8 = 0x05;
pub(super) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(super) const UTC_TIME: u8 = 0x17;
pub(super) const GENERALIZED_TIME: u8 = 0x18;
pub(super) const SEQUENCE: u8 = 0x30;
/// `[0]`, constructed.
pub(super) const CONTEXT_0: u8 = 0xA0;

/// Reads the elements of a constructed element's content in order. The methods return `None` if the bytes are not the
/// requested element.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(content: &'a [u8]) -> Self {
        Self { rest: content }
    }

    /// Returns a reader of the content of the single element in `input`, or `None` if other bytes follow it.
    pub(super) fn whole(tag: u8, input: &'a [u8]) -> Option<Self> {
        let mut outer = Self::new(input);
        let content = outer.element(tag)?;
        outer.at_end().then_some(Self::new(content))
    }

    pub(super) fn at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// Returns the tag of the next element.
    pub(super) fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// Returns the next element's content, if it has this tag.
    pub(super) fn element(&mut self, tag: u8) -> Option<&'a [u8]> {
        match self.any()? {
            (found, content) if found == tag => Some(content),
            _ => None,
        }
    }

    /// Returns a reader of the next element, a sequence.
    pub(super) fn sequence(&mut self) -> Option<Self> {
        self.element(SEQUENCE).map(Self::new)
    }

    /// Returns the next element's tag and content.
    pub(super) fn any(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.rest.split_first()?;
        // Tags of more than one byte occur in none of the formats read here.
        if tag & 0x1F == 0x1F {
            return None;
        }
        let (len, rest) = length(rest)?;
        let (content, rest) = rest.split_at_checked(len)?;
        self.rest = rest;
        Some((tag, content))
    }

    /// Returns the next element as a non-negative integer: big-endian, without the leading zero byte of its sign.
    pub(super) fn unsigned(&mut self) -> Option<&'a [u8]> {
        match self.element(INTEGER)? {
            [] => None,
            content @ [0] => Some(content),
            [0, rest @ ..] => rest
                .first()
                .is_some_and(|first| *first >= 0x80)
                .then_some(rest),
            content @ [first, ..] => (*first < 0x80).then_some(content),
        }
    }

    /// Returns the next element as a bit string of whole bytes.
    pub(super) fn bytes_of_bit_string(&mut self) -> Option<&'a [u8]> {
        match self.element(BIT_STRING)? {
            [0, bytes @ ..] => Some(bytes),
            _ => None,
        }
    }
}

/// Returns the length at the start of `input`, and the bytes after it. Lengths above 65535 are refused, since keys and
/// certificates are shorter.
fn length(input: &[u8]) -> Option<(usize, &[u8])> {
    match input {
        [short @ ..=0x7F, rest @ ..] => Some((usize::from(*short), rest)),
        [0x81, len @ 0x80..=0xFF, rest @ ..] => Some((usize::from(*len), rest)),
        [0x82, high @ 1..=0xFF, low, rest @ ..] => {
            Some((usize::from(u16::from_be_bytes([*high, *low])), rest))
        }
        _ => None,
    }
}
