//! Reads DER elements strictly: bounds-checked, definite and minimal lengths only, no recursion.

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

/// The tag and the content of an element.
pub(super) type Element<'a> = (u8, &'a [u8]);

/// Returns the elements of the sequence that the input consists of, or an empty list if the input is anything else.
pub(super) fn sequence(input: &[u8]) -> Vec<Element<'_>> {
    match first(input) {
        Some(((SEQUENCE, content), [])) => elements(content),
        _ => Vec::new(),
    }
}

/// Returns the elements in the content of a constructed element, or an empty list if one of them is malformed.
pub(super) fn elements(mut content: &[u8]) -> Vec<Element<'_>> {
    let mut elements = Vec::new();
    while let Some((element, rest)) = first(content) {
        elements.push(element);
        content = rest;
    }
    match content {
        [] => elements,
        _ => Vec::new(),
    }
}

/// Returns the first element, and the bytes after it. Lengths above 65535 are refused, since keys and certificates are
/// shorter. So are tags of more than one byte, which occur in none of the formats read here.
pub(super) fn first(input: &[u8]) -> Option<(Element<'_>, &[u8])> {
    let (tag, len, rest) = match *input {
        [tag, ..] if tag & 0x1F == 0x1F => return None,
        [tag, len @ ..=0x7F, ref rest @ ..] => (tag, usize::from(len), rest),
        [tag, 0x81, len @ 0x80..=0xFF, ref rest @ ..] => (tag, usize::from(len), rest),
        [tag, 0x82, high @ 1..=0xFF, low, ref rest @ ..] => {
            (tag, usize::from(u16::from_be_bytes([high, low])), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(len)?;
    Some(((tag, content), rest))
}

/// Returns the big-endian bytes of a non-negative integer, without the zero byte that only marks it as non-negative.
pub(super) fn unsigned(element: Element<'_>) -> Option<&[u8]> {
    match element {
        (INTEGER, [0, number @ ..]) if number.first() >= Some(&0x80) => Some(number),
        (INTEGER, number @ ([0] | [1..=0x7F, ..])) => Some(number),
        _ => None,
    }
}
