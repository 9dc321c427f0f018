//! The raw bytes of a response, received by the real client over loopback. After the server has read the request, no
//! outcome is `NotSent`. A call succeeds only if the bytes contain a status of success and a signature, and an API
//! error has a status that they contain.
#![no_main]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::LazyLock;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use wechatpay_contract::{Client, Error, Outcome, Request};
use wechatpay_contract_fuzz::{SIGNATURE, assert_printable, now, signer, verifier};

static WORLD: LazyLock<World> = LazyLock::new(World::new);

struct World {
    client: Client,
    /// The bytes for the next connection.
    responses: Mutex<Sender<Vec<u8>>>,
    /// Receives `true` when the server has read the request, or `false` if the connection ended before.
    requests: Mutex<Receiver<bool>>,
}

impl World {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = format!("http://{}", listener.local_addr().unwrap());
        let (responses, next) = channel::<Vec<u8>>();
        let (served, requests) = channel();
        thread::spawn(move || {
            while let Ok(response) = next.recv() {
                let (stream, _) = listener.accept().unwrap();
                served.send(serve(stream, &response)).unwrap();
            }
        });
        let client = Client::builder(signer(), verifier())
            .host(host)
            .backup_host(None)
            .clock(now)
            .timeout(Duration::from_secs(5))
            .build()
            .unwrap();
        Self {
            client,
            responses: Mutex::new(responses),
            requests: Mutex::new(requests),
        }
    }

    fn call(&self, response: &[u8]) -> Result<Value, Error> {
        self.responses
            .lock()
            .unwrap()
            .send(response.to_vec())
            .unwrap();
        // Not a GET, so that it is never sent twice.
        let result = self.client.execute(Request::post("/v3/x").json(&1));
        assert!(
            self.requests.lock().unwrap().recv().unwrap(),
            "no request came"
        );
        result
    }
}

/// Reads the request, sends the response and closes the connection.
fn serve(mut stream: TcpStream, response: &[u8]) -> bool {
    let (mut received, mut chunk) = (Vec::new(), [0; 4096]);
    while !received.ends_with(b"\r\n\r\n1") {
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => return false,
            Ok(read) => received.extend_from_slice(&chunk[..read]),
        }
    }
    // The client may have seen enough before the end.
    let _ = stream.write_all(response);
    true
}

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    match WORLD.call(data) {
        Ok(_) => {
            assert!(text.contains(SIGNATURE), "accepted without a signature");
            assert!(has_status(&text, |status| (200..300).contains(&status)
                && status != 202));
        }
        Err(error) => {
            assert_ne!(error.outcome(), Outcome::NotSent, "{error:?}");
            if let Error::Api(api) = &error {
                assert!(
                    has_status(&text, |status| status == api.status),
                    "{error:?}"
                );
            }
            assert_printable(&error);
        }
    }
});

/// Checks that a status line of the input has such a status. Provisional responses may come before it.
fn has_status(text: &str, is_wanted: impl Fn(u16) -> bool) -> bool {
    text.split("HTTP/1.")
        .filter_map(|rest| rest.get(2..5)?.parse().ok())
        .any(is_wanted)
}
