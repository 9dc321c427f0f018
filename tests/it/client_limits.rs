//! The limits of a client for targets, plain http and relays, with values on both sides of each limit.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use serde_json::Value;
use wechatpay_contract::sandbox::Sandbox;
use wechatpay_contract::{Client, Error, Outcome, Request};

use crate::client_faults::told;
use crate::pre_sign::PRE_SIGN;
use crate::raw_client::content_length;
use crate::support::{merchant_signer, verifier};

#[test]
fn plain_http_does_not_go_through_a_proxy() {
    let (http, https) = ("http://127.0.0.1:8080", "https://127.0.0.1:8080");
    let build = |host: &str, backup, proxy: Option<&str>| {
        let builder = Client::builder(merchant_signer(), verifier());
        let builder = builder.host(host).backup_host(backup);
        match proxy {
            Some(proxy) => builder.proxy(proxy).build(),
            None => builder.build(),
        }
    };
    let proxy = Some("http://proxy.example:3128");
    let refused = "setting: proxy: found with a plain http host: wanted https hosts, since plain http must not leave \
        this machine";
    for (host, backup, proxy, wanted) in [
        (http, None, proxy, refused),
        (https, Some(http), proxy, refused),
        (http, Some(https), proxy, refused),
        (https, None, proxy, "success"),
        (https, Some(https), proxy, "success"),
        (http, Some(http), None, "success"),
    ] {
        let result = build(host, backup, proxy);
        assert_eq!(told(&result), wanted, "{host} {backup:?} {proxy:?}");
    }
}

#[test]
fn a_target_has_8_kib_at_most() {
    let sandbox = Sandbox::start().unwrap();
    let client = sandbox.client();
    let ask = |length: usize| {
        let start = "/v3/x?q=";
        let value = "a".repeat(length - start.len());
        let request = Request::get("/v3/x").query("q", value);
        assert_eq!(request.target().unwrap().len(), length);
        client.execute::<Value>(request)
    };
    let error = ask(8 * 1024 + 1).unwrap_err();
    assert_eq!(error.outcome(), Outcome::NotSent);
    let Error::InvalidField(error) = error else {
        panic!("{error:?}");
    };
    assert_eq!(error.field(), "path");
    assert_eq!(error.problem(), "found 8193 bytes: wanted at most 8192");
    assert_eq!(sandbox.connections_accepted(), 0);

    let answer = ask(8 * 1024);
    assert_eq!(told(&answer), "api: 404 RESOURCE_NOT_EXISTS signed");
    let requests = sandbox.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].target.len(), 8 * 1024);
}

/// Passes one request on to `gateway`, with the gateway's `Host` and without the relay's own path, and returns the
/// response.
fn relay(listener: &TcpListener, gateway: &str, prefix: &str) -> io::Result<String> {
    let (mut downstream, _) = listener.accept()?;
    let mut request = Vec::new();
    let (head, body) = loop {
        let mut bytes = [0; 4096];
        let read = downstream.read(&mut bytes)?;
        request.extend_from_slice(&bytes[..read]);
        let text = String::from_utf8_lossy(&request).into_owned();
        match text.split_once("\r\n\r\n") {
            Some((head, body)) if body.len() == content_length(head) => {
                break (head.to_owned(), body.to_owned());
            }
            _ => assert!(read > 0, "the request is cut: {text}"),
        }
    };
    let mut upstream = TcpStream::connect(gateway)?;
    let own = listener.local_addr()?.to_string();
    let passed_on = head.replacen(prefix, "", 1).replacen(&own, gateway, 1);
    write!(upstream, "{passed_on}\r\nConnection: close\r\n\r\n{body}")?;
    io::copy(&mut upstream, &mut downstream)?;
    Ok(head)
}

#[test]
fn the_path_of_a_relay_is_sent_and_not_signed() {
    let sandbox = Sandbox::start().unwrap();
    let gateway = sandbox.url().strip_prefix("http://").unwrap();
    for (path, prefix) in [
        ("/wechatpay", "/wechatpay"),
        ("/a/b.c/", "/a/b.c"),
        ("/", ""),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}{path}", listener.local_addr().unwrap());
        let client = sandbox.client_builder().host(url).build().unwrap();
        let head = thread::scope(|scope| {
            let relay = scope.spawn(|| relay(&listener, gateway, prefix).unwrap());
            client.send(&PRE_SIGN).unwrap();
            relay.join().unwrap()
        });
        let begin = format!("POST {prefix}/v3/password-exempt-contract/");
        assert!(head.starts_with(&begin), "{head}");
    }
    // Without the relay the gateway finds another path than the signed one.
    let url = format!("{}/wechatpay", sandbox.url());
    let client = sandbox.client_builder().host(url).build().unwrap();
    client.send(&PRE_SIGN).unwrap_err();
}
