//! Carries a fault out: changes an answer before it is signed, and the reply after that.

use super::answer::{Answer, Draft, error_body};
use super::faults::Fault;
use super::http::{Delivery, HttpResponse};
use super::signing::Signing;

const HTML: &str = "<html>\r\n<head><title>Error</title></head>\r\n<body>not what you wanted</body>\r\n</html>\r\n";

/// The longest body that is made, in bytes, and the deepest: whoever orders more wants a very large one.
const LARGEST: usize = 128 * 1024 * 1024;
const DEEPEST: usize = 1_000_000;

impl Fault {
    /// Changes the answer before it is signed. `truth` is the answer without this fault, or an empty draft if the
    /// request was not carried out.
    pub(super) fn spoil(&self, truth: Draft) -> Draft {
        if truth.has_no_body() && self.is_of_the_body() {
            return truth;
        }
        if let Some(delivery) = self.delivery(&truth.body) {
            return truth.delivered(delivery);
        }
        match self {
            Self::Redirect { status, location } => redirect(*status, location),
            Self::Error {
                status,
                code,
                signing,
                ..
            } => refusal(*status, code, *signing),
            Self::HtmlPage { status, .. } => html_page(*status),
            Self::EmptyBody { status, .. } => Draft::empty(*status),
            Self::Accepted => Draft {
                status: 202,
                ..truth
            },
            Self::Signature(signing) => Draft {
                signing: *signing,
                ..truth
            },
            Self::LargeBody { .. }
            | Self::InvalidUtf8
            | Self::DeepJson { .. }
            | Self::DuplicateKeys
            | Self::Body(_) => {
                let body = self.spoil_body(&truth.body);
                Draft { body, ..truth }
            }
            // The rest is delivered in another way, or done to the reply.
            _ => truth,
        }
    }

    /// How the answer is delivered, for the faults that are of the delivery.
    fn delivery(&self, body: &[u8]) -> Option<Delivery> {
        Some(match self {
            Self::Close { .. } => Delivery::CloseBeforeResponse,
            Self::CloseAfterHead => Delivery::CloseAfterHead,
            Self::CutBody => Delivery::CutBody {
                after: body.len() / 2,
            },
            Self::SlowBody { every } => Delivery::Drip { every: *every },
            Self::Late(time) => Delivery::After(*time),
            Self::CloseAfterAnswer => Delivery::WholeThenClose,
            Self::Informational(status) => Delivery::Informational(*status),
            Self::Chunked => Delivery::Chunked,
            Self::Raw(bytes) => Delivery::Raw(bytes.clone()),
            _ => return None,
        })
    }

    /// Whether it needs a body: bytes after an answer that has none would belong to the next one.
    fn is_of_the_body(&self) -> bool {
        matches!(
            self,
            Self::Chunked
                | Self::LargeBody { .. }
                | Self::Gzip
                | Self::InvalidUtf8
                | Self::DeepJson { .. }
                | Self::DuplicateKeys
                | Self::Body(_)
        )
    }

    fn spoil_body(&self, body: &[u8]) -> Vec<u8> {
        match self {
            Self::LargeBody { length } => {
                let mut body = body.to_vec();
                body.resize(body.len().max((*length).min(LARGEST)), b' ');
                body
            }
            Self::InvalidUtf8 => with_invalid_utf8(body),
            Self::DeepJson { depth } => {
                let depth = (*depth).min(DEEPEST);
                let mut deep = b"{\"sandbox\":".to_vec();
                deep.extend("[".repeat(depth).bytes());
                deep.extend("]".repeat(depth).bytes());
                deep.push(b',');
                deep.extend(after_brace(body));
                deep
            }
            Self::DuplicateKeys => {
                let mut twice = body.strip_suffix(b"}").unwrap_or(body).to_vec();
                twice.push(b',');
                twice.extend(after_brace(body));
                twice
            }
            Self::Body(other) => other.clone(),
            _ => body.to_vec(),
        }
    }

    /// Changes the reply after it was signed.
    pub(super) fn spoil_reply(&self, reply: &mut HttpResponse) {
        match self {
            Self::DuplicateHeader(name) => {
                let same = |(known, _): &&(String, Vec<u8>)| known.eq_ignore_ascii_case(name);
                let again = reply.headers.iter().find(same).cloned();
                reply.headers.extend(again);
            }
            Self::Header { name, value } => {
                let headers = &mut reply.headers;
                headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
                headers.push((name.clone(), value.clone()));
            }
            Self::Gzip if !reply.body.is_empty() => {
                reply.body = gzip(&reply.body);
                let encoding = ("Content-Encoding".to_owned(), b"gzip".to_vec());
                reply.headers.push(encoding);
            }
            _ => {}
        }
    }
}

impl Draft {
    /// Whether HTTP allows this answer no body. Status 0 is no answer at all.
    fn has_no_body(&self) -> bool {
        matches!(self.status, 0 | 204 | 304)
    }

    fn delivered(self, delivery: Delivery) -> Self {
        Self { delivery, ..self }
    }
}

fn refusal(status: u16, code: &str, signing: Signing) -> Draft {
    let answer = Answer {
        status,
        body: Some(error_body(code, "ordered as a fault of the sandbox")),
    };
    Draft {
        signing,
        ..Draft::new(answer)
    }
}

fn html_page(status: u16) -> Draft {
    let mut page = Draft::empty(status);
    page.set_body("text/html", HTML);
    page
}

fn redirect(status: u16, location: &str) -> Draft {
    let mut redirect = Draft::empty(status);
    redirect
        .headers
        .push(("Location".to_owned(), location.into()));
    redirect.signing = Signing::Missing;
    redirect
}

fn after_brace(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"{").unwrap_or(body)
}

/// Puts a byte that never occurs in UTF-8 at the start of the first text that is a value.
fn with_invalid_utf8(body: &[u8]) -> Vec<u8> {
    let marker = b":\"";
    let found = body.windows(marker.len()).position(|here| here == marker);
    let at = found.map_or(0, |position| position + marker.len());
    let (before, after) = body.split_at_checked(at).unwrap_or((body, &[]));
    [before, &[0xFF], after].concat()
}

/// RFC 1952, with the content in stored blocks of RFC 1951: any reader of gzip can unpack it.
fn gzip(content: &[u8]) -> Vec<u8> {
    let mut packed = vec![0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 255];
    for block in content.chunks(usize::from(u16::MAX)) {
        let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
        packed.push(0);
        packed.extend(length.to_le_bytes());
        packed.extend((!length).to_le_bytes());
        packed.extend(block);
    }
    packed.extend([1, 0, 0, 0xFF, 0xFF]);
    packed.extend(crc32(content).to_le_bytes());
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
    packed.extend(length.to_le_bytes());
    packed
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ if crc & 1 == 1 { 0xEDB8_8320 } else { 0 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_the_specification() {
        // The check value that is published for CRC-32.
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn bodies_are_spoiled_as_they_say() {
        let spoiled = |fault: Fault| {
            let bytes = fault.spoil_body(br#"{"a":1,"b":"c"}"#);
            String::from_utf8_lossy(&bytes).into_owned()
        };
        for (fault, body) in [
            (Fault::InvalidUtf8, "{\"a\":1,\"b\":\"\u{FFFD}c\"}"),
            (
                Fault::DeepJson { depth: 3 },
                r#"{"sandbox":[[[]]],"a":1,"b":"c"}"#,
            ),
            (Fault::DuplicateKeys, r#"{"a":1,"b":"c","a":1,"b":"c"}"#),
            (Fault::LargeBody { length: 18 }, r#"{"a":1,"b":"c"}   "#),
            (Fault::Body(b"x".to_vec()), "x"),
        ] {
            assert_eq!(spoiled(fault.clone()), body, "{fault:?}");
        }
    }

    #[test]
    fn bodies_are_as_large_and_deep_as_ordered_up_to_a_limit() {
        let length = |fault: Fault| fault.spoil_body(b"{}").len();
        for (wanted, ordered) in [
            (LARGEST - 1, LARGEST - 1),
            (LARGEST, LARGEST),
            (LARGEST, LARGEST + 1),
            (LARGEST, usize::MAX),
        ] {
            assert_eq!(length(Fault::LargeBody { length: ordered }), wanted);
        }
        let around = length(Fault::DeepJson { depth: 0 });
        for (wanted, ordered) in [
            (DEEPEST - 1, DEEPEST - 1),
            (DEEPEST, DEEPEST),
            (DEEPEST, DEEPEST + 1),
            (DEEPEST, usize::MAX),
        ] {
            let deep = length(Fault::DeepJson { depth: ordered });
            assert_eq!(deep, around + 2 * wanted);
        }
    }
}
