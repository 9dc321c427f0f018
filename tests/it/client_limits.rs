//! What a client refuses before anything is sent, next to what it takes.

use serde_json::Value;
use wechatpay_contract::sandbox::Sandbox;
use wechatpay_contract::{Client, Error, Outcome, Request};

use crate::faults::told;
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
    let refused = "setting: proxy: found together with a host of plain http, which is for loopback: \
        wanted https hosts";
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
