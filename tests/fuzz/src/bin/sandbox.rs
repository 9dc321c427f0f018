//! Raw bytes to the sandbox, on a connection of their own. Whatever comes, it still serves its own client.
#![no_main]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use wechatpay_contract::sandbox::Sandbox;
use wechatpay_contract::{Error, QueryContract};

static SANDBOX: LazyLock<Sandbox> = LazyLock::new(|| Sandbox::start().unwrap());
static INPUTS: AtomicU32 = AtomicU32::new(0);

fuzz_target!(|data: &[u8]| {
    let address = SANDBOX.url().strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    // The sandbox may have seen enough before the end.
    let _ = stream.write_all(data);
    let _ = stream.shutdown(Shutdown::Write);
    let mut response = Vec::new();
    if let Err(error) = stream.read_to_end(&mut response) {
        assert!(
            error.kind() == std::io::ErrorKind::ConnectionReset,
            "{error:?}"
        );
    }
    assert!(
        response.is_empty() || response.starts_with(b"HTTP/1.1 "),
        "{response:?}"
    );
    if INPUTS.fetch_add(1, Ordering::Relaxed).is_multiple_of(256) {
        SANDBOX.clear_faults();
        let query = QueryContract {
            service_id: 12535,
            out_contract_code: "nosuchcontract",
        };
        let error = SANDBOX.client().send(&query).unwrap_err();
        assert!(
            matches!(&error, Error::Api(api) if api.status == 404),
            "{error:?}"
        );
    }
});
