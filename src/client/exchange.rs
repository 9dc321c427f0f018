//! One exchange with WeChat Pay: its attempts, the hosts they go to, and the report of each to the observers.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use ureq::http::{self, HeaderMap, HeaderName, HeaderValue, header};

use super::host::{Host, Hosts};
use crate::error::{Error, InvalidField, Outcome};
use crate::keys::random_nonce;
use crate::merchant::{Merchant, SignedRequest};
use crate::request::{Method, Request};
use crate::time::parse_http_date;
use crate::transport::{self, Failure, Transport};
use crate::verifier::SignatureHeaders;

const WECHATPAY_SERIAL: HeaderName = HeaderName::from_static("wechatpay-serial");

/// The maximum length of an encoded path with its query, in bytes.
const MAX_TARGET: usize = 8 * 1024;

pub(super) type Clock = dyn Fn() -> SystemTime + Send + Sync;

pub(super) type Observer = dyn Fn(&Exchange<'_>) + Send + Sync;

/// The HTTP side of a client: hosts, connections and settings. It holds no merchant's keys.
#[derive(Clone)]
pub(super) struct Http {
    pub(super) hosts: Arc<Hosts>,
    pub(super) transport: Transport,
    /// The timeout of a call, including a second attempt.
    pub(super) timeout: Duration,
    /// A `GET` whose connection broke is retried only within this time after the start of the call.
    pub(super) retry_until: Duration,
    pub(super) accept_language: Option<&'static str>,
    pub(super) clock: Arc<Clock>,
    pub(super) observers: Vec<Arc<Observer>>,
}

impl Http {
    /// Sends a request and returns the response, which is not verified yet. Makes a second attempt after some failures,
    /// but never one that could make the request take effect twice. Reports an attempt to the observers if it has no
    /// response. [`Response::finish`] reports the others.
    pub(super) fn exchange<'h>(
        &'h self,
        merchant: &'h Merchant,
        request: &'h Request,
    ) -> Result<Response<'h>, Error> {
        let began = Instant::now();
        let first = Attempt {
            http: self,
            merchant,
            request,
            host: self.hosts.first(began),
            is_second: false,
            began,
        };
        first.run().or_else(|error| match first.next(&error) {
            Some(second) => second.run().map_err(|second| of_both(error, second)),
            None => Err(error),
        })
    }
}

/// Returns the error of a call whose two attempts failed.
fn of_both(first: Error, second: Error) -> Error {
    match (first, second) {
        // A firewall may allow only one of the hosts, so the errors of both are needed.
        (
            Error::Connect {
                host: first_host,
                source: first,
            },
            Error::Connect { host, source },
        ) => {
            let kind = source
                .downcast_ref()
                .map_or(io::ErrorKind::Other, io::Error::kind);
            let reason = format!("{source}; before that {first_host}: {first}");
            let source = io::Error::new(kind, reason).into();
            Error::Connect { host, source }
        }
        // A second attempt that was not sent does not change the outcome of the first.
        (first @ Error::Transport { .. }, second) if second.outcome() == Outcome::NotSent => first,
        (_, second) => second,
    }
}

/// One attempt to send a request.
#[derive(Clone, Copy)]
struct Attempt<'h> {
    http: &'h Http,
    merchant: &'h Merchant,
    request: &'h Request,
    host: &'h Host,
    is_second: bool,
    began: Instant,
}

impl<'h> Attempt<'h> {
    /// Returns the attempt that may follow this failed one: at the other host if no connection could be made, at the
    /// same host if the connection of a `GET` broke.
    fn next(self, error: &Error) -> Option<Self> {
        let began = Instant::now();
        let host = match error {
            // Needs no time limit. Connecting takes longer than its timeout only because of a slow DNS lookup, and the
            // lookup of the other host may be fast.
            Error::Connect { .. } => self.http.hosts.second(self.host, began)?,
            Error::Transport { source, .. }
                if self.request.method() == Method::Get
                    // Excludes a timeout and a response that cannot be read.
                    && source.downcast_ref().is_some_and(transport::is_closed)
                    && self.began.elapsed() <= self.http.retry_until =>
            {
                self.host
            }
            _ => return None,
        };
        Some(Self {
            host,
            is_second: true,
            began,
            ..self
        })
    }

    fn run(self) -> Result<Response<'h>, Error> {
        let result = self.send();
        match &result {
            Ok(_) | Err(Error::Transport { .. }) => self.host.set_up(),
            Err(Error::Connect { .. }) => self.host.set_down(self.began, Instant::now()),
            Err(_) => {}
        }
        result.inspect_err(|error| self.report(None, Some(error)))
    }

    /// Signs the request with a new nonce, sends it and reads the response.
    fn send(self) -> Result<Response<'h>, Error> {
        let nonce = random_nonce().map_err(Error::Sign)?;
        let now = (self.http.clock)();
        let signed = self.merchant.prepare(self.request, now, &nonce)?;
        let received = self.http.transport.exchange(
            self.http_request(&signed)?,
            signed.body(),
            self.is_second,
            self.request.is_uncorrelated(),
        );
        let received = received.map_err(|failure| {
            let host = self.host.name.clone();
            match failure {
                Failure::Connect(source) => Error::Connect { host, source },
                Failure::Exchange(source) => Error::Transport { host, source },
            }
        })?;
        Ok(Response {
            attempt: self,
            received,
        })
    }

    fn http_request(&self, signed: &SignedRequest<'_>) -> Result<http::Request<()>, InvalidField> {
        let target = signed.target();
        // A longer head would not fit into the transport's buffer, and the gateway would not take it.
        if target.len() > MAX_TARGET {
            let problem = format!("found {} bytes: wanted at most {MAX_TARGET}", target.len());
            return Err(InvalidField::new("path", problem));
        }
        let mut request = http::Request::builder()
            .method(signed.method().as_str())
            // Allocated with the exact length, so that it becomes a URI without a copy.
            .uri([&self.host.url, target].concat())
            .body(())
            .map_err(|error| InvalidField::new("path", error.to_string()))?;
        let headers = request.headers_mut();
        // Leaves room for the headers that ureq adds, so that the map never grows.
        headers.reserve(12);
        let language = self.http.accept_language;
        let language = language.map(|language| ("Accept-Language", language));
        for (name, value) in signed.headers().chain(language) {
            // Constant values need no copy. The other values were checked when they were set.
            let value = match name {
                "User-Agent" => HeaderValue::from_static(self.host.user_agent),
                "Accept" | "Content-Type" => HeaderValue::from_static("application/json"),
                _ => HeaderValue::from_str(value)
                    .map_err(|error| InvalidField::new(name, error.to_string()))?,
            };
            match name {
                "Wechatpay-Serial" => headers.insert(WECHATPAY_SERIAL, value),
                _ => headers.insert(name, value),
            };
        }
        Ok(request)
    }

    /// Calls the observers.
    fn report(&self, response: Option<&Response<'_>>, error: Option<&Error>) {
        let headers = response.map(Response::signature_headers);
        let headers = headers.unwrap_or_default();
        let exchange = Exchange {
            mchid: self.merchant.signer().mchid(),
            method: self.request.method(),
            template: self.request.template(),
            host: &self.host.name,
            attempt: 1 + u8::from(self.is_second),
            status: response.map(Response::status),
            request_id: headers.request_id(),
            serial: headers.serial(),
            date: response.and_then(Response::date),
            elapsed: self.began.elapsed(),
            error,
        };
        for observer in &self.http.observers {
            observer(&exchange);
        }
    }
}

/// A response that was read to its end and is not verified yet.
pub(super) struct Response<'h> {
    attempt: Attempt<'h>,
    received: transport::Response,
}

impl Response<'_> {
    pub(super) fn status(&self) -> u16 {
        self.received.head.status.as_u16()
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        &self.received.head.headers
    }

    pub(super) fn body(&self) -> &[u8] {
        &self.received.body
    }

    pub(super) fn request_id(&self) -> Option<&str> {
        self.signature_headers().request_id()
    }

    fn signature_headers(&self) -> SignatureHeaders<'_> {
        SignatureHeaders::read(self.headers()).0
    }

    fn date(&self) -> Option<SystemTime> {
        let date = self.headers().get(header::DATE)?.to_str().ok()?;
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(parse_http_date(date)?))
    }

    /// Ends the exchange with the value that was read from the response, or with an error. Keeps the connection if the
    /// response belongs to the request, and calls the observers.
    pub(super) fn finish<R>(mut self, mut result: Result<R, Error>) -> Result<R, Error> {
        // After any other error the response, and all later ones on the connection, may belong to other requests.
        if matches!(result, Ok(_) | Err(Error::Api(_))) {
            self.received.keep_connection();
        }
        let may_be_anothers = match &result {
            Ok(_) => self.attempt.request.is_uncorrelated(),
            // A refusal contains nothing that shows which request it belongs to.
            Err(error) => error.outcome() == Outcome::Refused,
        };
        if may_be_anothers && self.received.is_followed {
            let problem = "a second response followed, so that either may be another request's";
            result = Err(Error::Transport {
                host: self.attempt.host.name.clone(),
                source: problem.into(),
            });
        }
        self.attempt.report(Some(&self), result.as_ref().err());
        result
    }
}

/// The report of one exchange to [`ClientBuilder::on_exchange`](crate::ClientBuilder::on_exchange). It never contains a
/// body, a value of the path or a secret.
///
/// The only exception is [`error`](Self::error). It may quote the value of one field, in WeChat Pay's error message or
/// if the response names another value than the request.
#[derive(Debug)]
#[non_exhaustive]
pub struct Exchange<'a> {
    /// The merchant id 商户号 of the client.
    pub mchid: &'a str,
    /// The HTTP method.
    pub method: Method,
    /// The path's template, without values.
    pub template: &'a str,
    /// The host, and the port if one was set.
    pub host: &'a str,
    /// 1, or 2 for the second attempt of a call.
    pub attempt: u8,
    /// The HTTP status, if there was a complete response. Not signed.
    pub status: Option<u16>,
    /// `Request-ID` of the response, which identifies the exchange for WeChat Pay's support. Not signed.
    pub request_id: Option<&'a str>,
    /// `Wechatpay-Serial` of the response, the id of the platform key that signed it. The id is verified only if
    /// [`error`](Self::error) is `None`.
    pub serial: Option<&'a str>,
    /// `Date` of the response, the time by the server's clock. Not signed.
    pub date: Option<SystemTime>,
    /// The duration from the start of signing to the end of verifying.
    pub elapsed: Duration,
    /// The error of the exchange, if it failed. The call may return another error: a second attempt may follow, and if
    /// neither host can be reached, the call's error names both.
    pub error: Option<&'a Error>,
}

impl Exchange<'_> {
    /// Returns the outcome of a failed exchange, or `None` for a success.
    pub fn outcome(&self) -> Option<Outcome> {
        self.error.map(Error::outcome)
    }
}
