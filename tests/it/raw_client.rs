//! A client made of a socket that sends the headers that it is given. It uses only the sandbox's signer from the crate.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use wechatpay_contract::Signer;
use wechatpay_contract::sandbox::Sandbox;

pub(crate) const PRE_SIGN_PATH: &str =
    "/v3/password-exempt-contract/contracts/ecommerce/pre-entrust-sign/mini-program";

/// One connection to a sandbox.
pub(crate) struct RawClient {
    stream: BufReader<TcpStream>,
    host: String,
    signer: Option<Signer>,
}

/// A response as received.
#[derive(Debug)]
pub(crate) struct RawResponse {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

impl RawResponse {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| std::str::from_utf8(value).unwrap())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Returns status and code.
    pub(crate) fn refusal(&self) -> (u16, String) {
        let code = self.json()["code"].as_str().unwrap_or_default().to_owned();
        (self.status, code)
    }
}

impl RawClient {
    /// Connects with the sandbox's signer.
    pub(crate) fn connect(sandbox: &Sandbox) -> Self {
        Self {
            signer: Some(sandbox.signer()),
            ..Self::connect_to(sandbox.url())
        }
    }

    /// Connects without a signer: each header is given.
    pub(crate) fn connect_to(url: &str) -> Self {
        let host = url.strip_prefix("http://").unwrap().to_owned();
        let stream = TcpStream::connect(&host).unwrap();
        stream.set_nodelay(true).unwrap();
        let raw = Self {
            stream: BufReader::new(stream),
            host,
            signer: None,
        };
        // So that a broken sandbox fails a test instead of blocking it.
        raw.set_patience(Duration::from_secs(30));
        raw
    }

    pub(crate) fn set_patience(&self, patience: Duration) {
        let stream = self.stream.get_ref();
        stream.set_read_timeout(Some(patience)).unwrap();
    }

    /// Sends an e-commerce pre-signing for a mini program.
    pub(crate) fn pre_sign(&mut self, code: &str) {
        let body = serde_json::to_vec(&pre_sign_body(code)).unwrap();
        self.request("POST", PRE_SIGN_PATH, &body);
    }

    /// Sends a correctly signed request.
    pub(crate) fn request(&mut self, method: &str, target: &str, body: &[u8]) {
        let authorization =
            authorization(self.signer.as_ref().unwrap(), method, target, now(), body);
        let headers = [
            ("Authorization", authorization.as_str()),
            ("Accept", "application/json"),
            ("User-Agent", "raw"),
            ("Content-Type", "application/json"),
        ];
        self.send(method, target, &headers, body);
    }

    /// Sends a request with these headers, `Content-Length`, and `Host` unless it is given.
    pub(crate) fn send(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) {
        let mut bytes = format!("{method} {target} HTTP/1.1\r\n");
        if !headers.iter().any(|(name, _)| *name == "Host") {
            bytes.push_str(&format!("Host: {}\r\n", self.host));
        }
        for (name, value) in headers {
            bytes.push_str(&format!("{name}: {value}\r\n"));
        }
        bytes.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        let mut bytes = bytes.into_bytes();
        bytes.extend_from_slice(body);
        self.stream.get_mut().write_all(&bytes).unwrap();
    }

    /// Reads a head as text, with replacement characters for bytes that are not UTF-8.
    pub(crate) fn head(&mut self) -> String {
        String::from_utf8_lossy(&self.head_bytes()).into_owned()
    }

    fn head_bytes(&mut self) -> Vec<u8> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let read = self.stream.read_until(b'\n', &mut head).unwrap();
            assert_ne!(read, 0, "closed after {:?}", String::from_utf8_lossy(&head));
        }
        head
    }

    /// Reads a response with `Content-Length`.
    pub(crate) fn response(&mut self) -> RawResponse {
        let head = self.head_bytes();
        let text = String::from_utf8_lossy(&head);
        let status = text.split(' ').nth(1).unwrap().parse().unwrap();
        let mut body = vec![0; content_length(&text)];
        let headers = head
            .split(|byte| *byte == b'\n')
            .skip(1)
            .filter_map(|line| {
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                let colon = line.iter().position(|byte| *byte == b':')?;
                let name = String::from_utf8(line[..colon].to_vec()).unwrap();
                Some((name, line[colon + 2..].to_vec()))
            })
            .collect();
        self.stream.read_exact(&mut body).unwrap();
        RawResponse {
            status,
            headers,
            body,
        }
    }

    pub(crate) fn try_byte(&mut self) -> io::Result<usize> {
        self.stream.get_mut().read(&mut [0])
    }

    /// Reads until the sandbox closes the connection.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).unwrap();
        rest
    }
}

/// Returns a valid body of a pre-signing.
pub(crate) fn pre_sign_body(code: &str) -> serde_json::Value {
    serde_json::json!({
        "appid": "wxd678efh567hg6787",
        "service_id": 12535,
        "out_contract_code": code,
        "notify_url": "https://yourapp.com/notify",
        "contract_display_account": "微信代扣用户A",
        "openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
    })
}

pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap().as_secs()
}

/// Returns a valid `Authorization` header, built here.
pub(crate) fn authorization(
    signer: &Signer,
    method: &str,
    target: &str,
    timestamp: u64,
    body: &[u8],
) -> String {
    let nonce = "593BEC0C930BF1AFEB40B4A08C8FB242";
    let head = format!("{method}\n{target}\n{timestamp}\n{nonce}\n");
    let message = [head.as_bytes(), body, b"\n"].concat();
    let signature = signer.sign(&message).unwrap();
    format!(
        "WECHATPAY2-SHA256-RSA2048 mchid=\"{}\",nonce_str=\"{nonce}\",signature=\"{signature}\",timestamp=\"{timestamp}\",serial_no=\"{}\"",
        signer.mchid(),
        signer.serial_no(),
    )
}

pub(crate) fn content_length(head: &str) -> usize {
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    length.map_or(0, |length| length.parse().unwrap())
}

/// Waits until another thread has made the condition true.
pub(crate) fn wait_until(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < deadline, "not within 30 s: {what}");
        std::thread::yield_now();
    }
}

/// A temporary folder of one test, removed when dropped.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        // Runs of the tests at the same time use different folders.
        let name = format!("{name}-{}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file and returns its path.
    pub(crate) fn write(&self, name: &str, content: &[u8]) -> String {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
