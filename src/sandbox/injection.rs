//! Injects a fault into a response, before and after it is signed.

use super::faults::Fault;
use super::http::HttpResponse;
use super::response::Response;
use super::signing::Signing;

const HTML: &str = "<html>\r\n<head><title>Error</title></head>\r\n<body>not what you wanted</body>\r\n</html>\r\n";

/// The limits of [`Fault::LargeBody`] in bytes, and of [`Fault::DeepJson`] in arrays. A larger number is reduced.
const LARGEST: usize = 128 * 1024 * 1024;
const DEEPEST: usize = 1_000_000;

impl Fault {
    /// Changes a response before it is signed. Status 0 means that the request was not carried out.
    pub(super) fn apply(&self, response: &mut HttpResponse, signing: &mut Signing) {
        if matches!(response.status, 0 | 204 | 304) && self.needs_body() {
            return;
        }
        self.apply_to_delivery(response);
        if let Some(replaced) = self.replacement() {
            (*response, *signing) = replaced;
        }
        match self {
            Self::Accepted => response.status = 202,
            Self::Signature(other) => *signing = *other,
            _ => self.apply_to_body(&mut response.body),
        }
    }

    /// Changes a response after it was signed.
    pub(super) fn apply_after_signing(&self, response: &mut HttpResponse) {
        let headers = &mut response.headers;
        match self {
            Self::DuplicateHeader(name) => {
                let is_same = |(known, _): &&(String, Vec<u8>)| known.eq_ignore_ascii_case(name);
                let again = headers.iter().find(is_same).cloned();
                headers.extend(again);
            }
            Self::Header { name, value } => {
                headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
                headers.push((name.clone(), value.clone()));
            }
            Self::Gzip if !response.body.is_empty() => {
                response.body = gzip(&response.body);
                headers.push(("Content-Encoding".to_owned(), b"gzip".to_vec()));
            }
            _ => {}
        }
    }

    fn apply_to_delivery(&self, response: &mut HttpResponse) {
        let delivery = &mut response.delivery;
        match self {
            Self::Close { .. } => delivery.raw = Some(Vec::new()),
            Self::Raw(bytes) => delivery.raw = Some(bytes.clone()),
            Self::CloseAfterHead => delivery.cut = Some(0),
            Self::CutBody => delivery.cut = Some(response.body.len() / 2),
            Self::CloseAfterResponse => {}
            Self::SlowBody { every } => return delivery.every = *every,
            Self::Late(time) => return delivery.delay = *time,
            Self::Informational(status) => return delivery.informational = Some(*status),
            Self::Chunked => return delivery.chunked = true,
            _ => return,
        }
        delivery.close = true;
    }

    /// Returns the response that replaces the real one, and how it is signed.
    fn replacement(&self) -> Option<(HttpResponse, Signing)> {
        let unsigned = |response| Some((response, Signing::Missing));
        match self {
            Self::Redirect { status, location } => {
                unsigned(HttpResponse::new(*status, "").header("Location", location.as_str()))
            }
            Self::Error {
                status,
                code,
                signing,
                ..
            } => {
                let message = "ordered as a fault of the sandbox";
                let response = Response::error(*status, code, message);
                Some((response.into_http(), *signing))
            }
            Self::HtmlPage { status, .. } => {
                unsigned(HttpResponse::new(*status, HTML).header("Content-Type", "text/html"))
            }
            Self::EmptyBody { status, .. } => unsigned(HttpResponse::new(*status, "")),
            _ => None,
        }
    }

    /// Checks whether the fault changes the body. In a response without a body, the client would read these bytes as the
    /// start of the next response.
    fn needs_body(&self) -> bool {
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

    fn apply_to_body(&self, body: &mut Vec<u8>) {
        match self {
            Self::LargeBody { length } => {
                body.resize(body.len().max((*length).min(LARGEST)), b' ');
            }
            Self::InvalidUtf8 => {
                // The byte 0xFF never occurs in UTF-8. It is inserted into the first string that is a value.
                let found = body.windows(2).position(|here| here == b":\"");
                body.insert(found.map_or(0, |position| position + 2), 0xFF);
            }
            Self::DeepJson { depth } => {
                let depth = (*depth).min(DEEPEST);
                let (open, close) = ("[".repeat(depth), "]".repeat(depth));
                let start = format!("{{\"sandbox\":{open}{close},").into_bytes();
                *body = [&start, after_brace(body)].concat();
            }
            Self::DuplicateKeys => {
                let members = body.strip_suffix(b"}").unwrap_or(body);
                *body = [members, b",", after_brace(body)].concat();
            }
            Self::Body(other) => body.clone_from(other),
            _ => {}
        }
    }
}

fn after_brace(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"{").unwrap_or(body)
}

/// Returns the content as gzip (RFC 1952), in uncompressed blocks (RFC 1951).
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
    fn a_fault_changes_the_body_as_it_says() {
        let changed = |fault: &Fault| {
            let mut body = br#"{"a":1,"b":"c"}"#.to_vec();
            fault.apply_to_body(&mut body);
            String::from_utf8_lossy(&body).into_owned()
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
            assert_eq!(changed(&fault), body, "{fault:?}");
        }
    }

    #[test]
    fn bodies_are_as_large_and_deep_as_ordered_up_to_a_limit() {
        let length = |fault: Fault| {
            let mut body = b"{}".to_vec();
            fault.apply_to_body(&mut body);
            body.len()
        };
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
