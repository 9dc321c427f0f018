//! Raw bytes to the sandbox, on a new connection. `@HOST` in them stands for the sandbox's address, and the signature
//! `fuzzing` is right. The sandbox responds in HTTP or closes the connection, whatever it receives. After a reset it
//! still serves its own client.
#![no_main]

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::LazyLock;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use wechatpay_contract::sandbox::Sandbox;
use wechatpay_contract::{Client, Error, QueryContract};
use wechatpay_contract_fuzz::now;

static SANDBOX: LazyLock<Sandbox> = LazyLock::new(|| {
    let sandbox = Sandbox::start().unwrap();
    sandbox.set_clock(now);
    sandbox
});
static CLIENT: LazyLock<Client> = LazyLock::new(|| {
    let builder = SANDBOX.client_builder().clock(now).backup_host(None);
    builder.build().unwrap()
});

fuzz_target!(|data: &[u8]| {
    let address = SANDBOX.url().strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(2)))
        .unwrap();
    // The sandbox may have seen enough before the end.
    let _ = stream.write_all(&replaced(data, b"@HOST", address.as_bytes()));
    let _ = stream.shutdown(Shutdown::Write);
    let mut response = Vec::new();
    match stream.read_to_end(&mut response) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            let is_ordered = contains(data, b"/sandbox/fault");
            assert!(is_ordered, "no response within 2 seconds");
        }
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        Ok(_) => {}
    }
    // The bytes may have injected a fault that breaks the response.
    let is_http = response.is_empty() || response.starts_with(b"HTTP/1.1 ");
    assert!(is_http || contains(data, b"/sandbox/fault"), "{response:?}");

    SANDBOX.reset();
    SANDBOX.set_clock(now);
    SANDBOX.refuse_connections(false).unwrap();
    let query = QueryContract {
        service_id: 12535,
        out_contract_code: "nosuchcontract",
    };
    let error = CLIENT.send(&query).unwrap_err();
    let is_not_found = matches!(&error, Error::Api(api) if api.status == 404);
    assert!(is_not_found, "{error:?}");
});

fn replaced(data: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut rest = data;
    let mut all = Vec::new();
    while let Some(at) = rest.windows(from.len()).position(|window| window == from) {
        all.extend_from_slice(&rest[..at]);
        all.extend_from_slice(to);
        rest = &rest[at + from.len()..];
    }
    all.extend_from_slice(rest);
    all
}

fn contains(data: &[u8], part: &[u8]) -> bool {
    data.windows(part.len()).any(|window| window == part)
}
