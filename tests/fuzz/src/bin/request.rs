//! A request as lines: its path template, then variables `name=value` and query parameters `?name=value`. If a target
//! is returned, HTTP stacks send it unchanged, and its path has as many segments as the template.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wechatpay_contract::Request;
use wechatpay_contract_fuzz::assert_printable;

fuzz_target!(|text: &str| {
    let mut lines = text.split('\n');
    let template = lines.next().unwrap_or_default().to_owned();
    let mut request = Request::get(template.clone());
    let mut queries = 0;
    for line in lines {
        let Some((name, value)) = line.split_once('=') else {
            continue;
        };
        request = match name.strip_prefix('?') {
            Some(name) => {
                queries += 1;
                request.query(name.to_owned(), value)
            }
            None => request.path(name.to_owned(), value),
        };
    }
    let target = match request.target() {
        Ok(target) => target,
        Err(error) => return assert_printable(&error),
    };
    assert!(
        target
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'#'),
        "{target}"
    );
    assert!(
        target.starts_with('/') && !target.starts_with("//"),
        "{target}"
    );
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    assert_eq!(
        query.split('&').filter(|pair| pair.contains('=')).count(),
        queries,
        "{target}"
    );
    assert_eq!(
        path.split('/').count(),
        template.split('/').count(),
        "{target}"
    );
    for segment in path.split('/') {
        let decoded = decode(segment);
        assert!(!matches!(decoded.as_slice(), b"." | b".."), "{target}");
    }
});

/// Every `%` starts an escape of two digits.
fn decode(segment: &str) -> Vec<u8> {
    let mut parts = segment.split('%');
    let mut decoded = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let digits = part.get(..2).expect(segment);
        decoded.push(u8::from_str_radix(digits, 16).expect(segment));
        decoded.extend_from_slice(part[2..].as_bytes());
    }
    decoded
}
