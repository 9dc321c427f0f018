//! One exchange with WeChat Pay: its attempts, the hosts they go to, and the report of each to the observer.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use ureq::http::{self, HeaderMap, HeaderName, HeaderValue, header};

use super::host::{Host, Hosts};
use super::observer::{Exchange, Observer};
use crate::error::{Cause, Error, InvalidField, Outcome};
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

/// The HTTP side of a client: hosts, connections and settings. It holds no merchant's keys.
#[derive(Clone)]
pub(super) struct Http {
    pub(super) hosts: Arc<Hosts>,
    pub(super) transport: Transport,
    /// The timeout of a call, including a second attempt.
    pub(super) timeout: Duration,
    /// The time since the start of a call within which a `GET` whose connection broke is retried.
    pub(super) retry_until: Duration,
    pub(super) accept_language: Option<String>,
    pub(super) clock: Arc<Clock>,
    pub(super) observer: Option<Arc<Observer>>,
}

impl Http {
    /// Sends a request and returns the response, which is not verified yet. Makes a second attempt if the request cannot
    /// take effect twice. Reports each attempt without a response.
    pub(super) fn exchange<'h>(
        &'h self,
        merchant: &'h Merchant,
        request: &Request,
    ) -> Result<Response<'h>, Error> {
        let first = self.first_attempt(merchant);
        let error = match self.run(first, request) {
            Ok(response) => return Ok(response),
            Err(error) => error,
        };
        let Some(second) = self.second_attempt(request, first, &error) else {
            return Err(error);
        };
        match (error, self.run(second, request)) {
            (Error::Connect { host, source }, Err(second)) => {
                Err(with_first_host(&host, &source, second))
            }
            // A second attempt that was not sent does not change the outcome of the first.
            (first, Err(second)) if is_not_sent(&second) && !is_not_sent(&first) => Err(first),
            (_, second) => second,
        }
    }

    /// Ends an exchange with a response. Keeps the connection if the response belongs to the request, and calls the
    /// observer.
    pub(super) fn finish<R>(
        &self,
        request: &Request,
        mut response: Response<'_>,
        mut result: Result<R, Error>,
    ) -> Result<R, Error> {
        // In any other case the response, and all later ones on the connection, may belong to other requests.
        if matches!(result, Ok(_) | Err(Error::Api(_))) {
            response.received.keep_connection();
        }
        let may_be_anothers = match &result {
            Ok(_) => request.is_unrepeated(),
            // A refusal contains nothing that shows which request it belongs to.
            Err(error) => error.outcome() == Outcome::Refused,
        };
        if may_be_anothers && response.received.is_followed() {
            let problem = "a second response followed, so that either may be another request's";
            result = Err(response.attempt.failed(Failure::Exchange(problem.into())));
        }
        self.observe(
            request,
            &response.attempt,
            Some(&response),
            result.as_ref().err(),
        );
        result
    }

    fn first_attempt<'h>(&'h self, merchant: &'h Merchant) -> Attempt<'h> {
        let began = Instant::now();
        Attempt {
            merchant,
            host: self.hosts.first(began),
            number: 1,
            began,
        }
    }

    /// Returns the attempt that may follow a failed one: at the other host if no connection could be made, at the same
    /// host if the connection of a `GET` broke.
    fn second_attempt<'h>(
        &'h self,
        request: &Request,
        first: Attempt<'h>,
        error: &Error,
    ) -> Option<Attempt<'h>> {
        let began = Instant::now();
        let host = match error {
            // Without a time limit: only a DNS lookup can have exceeded the connect timeout, and the other host may be fast.
            Error::Connect { .. } => self.hosts.second(first.host, began)?,
            Error::Transport { source, .. }
                if request.method() == Method::Get
                    && is_broken(source)
                    && first.began.elapsed() <= self.retry_until =>
            {
                first.host
            }
            _ => return None,
        };
        Some(Attempt {
            host,
            number: 2,
            began,
            ..first
        })
    }

    fn run<'h>(&self, attempt: Attempt<'h>, request: &Request) -> Result<Response<'h>, Error> {
        let result = self.send(attempt, request);
        match &result {
            Ok(_) | Err(Error::Transport { .. }) => attempt.host.set_up(),
            Err(Error::Connect { .. }) => attempt.host.set_down(attempt.began, Instant::now()),
            Err(_) => {}
        }
        result.inspect_err(|error| self.observe(request, &attempt, None, Some(error)))
    }

    /// Signs a request with a new nonce, sends it and reads the response.
    fn send<'h>(&self, attempt: Attempt<'h>, request: &Request) -> Result<Response<'h>, Error> {
        let nonce = random_nonce().map_err(Error::Sign)?;
        let signed = attempt.merchant.prepare(request, (self.clock)(), &nonce)?;
        let http_request = self.http_request(&signed, attempt)?;
        let number = match attempt.number {
            1 => transport::Attempt::First,
            _ => transport::Attempt::Second,
        };
        let received =
            self.transport
                .exchange(http_request, signed.body(), number, request.is_unrepeated());
        let received = received.map_err(|failure| attempt.failed(failure))?;
        Ok(Response { attempt, received })
    }

    fn http_request(
        &self,
        signed: &SignedRequest<'_>,
        attempt: Attempt<'_>,
    ) -> Result<http::Request<()>, Error> {
        // A longer head would not fit into the transport's buffer, and the gateway would not take it.
        if signed.target().len() > MAX_TARGET {
            let problem = format!(
                "found {} bytes: wanted at most {MAX_TARGET}",
                signed.target().len()
            );
            return Err(InvalidField::new("path", problem).into());
        }
        // Allocated with the exact length, so that it becomes a URI without a copy.
        let uri = [attempt.host.url.as_str(), signed.target()].concat();
        let request = http::Request::builder()
            .method(signed.method().as_str())
            .uri(uri)
            .body(());
        let mut request = request.map_err(|error| InvalidField::new("path", error.to_string()))?;
        let headers = request.headers_mut();
        // Leaves room for the headers that ureq adds, so that the map never grows.
        headers.reserve(12);
        let language = self.accept_language.as_deref();
        let language = language.map(|language| ("Accept-Language", language));
        for (name, value) in signed.headers().chain(language) {
            // Constant values need no copy. The other values were checked when they were set.
            let value = match name {
                "User-Agent" => HeaderValue::from_static(attempt.host.user_agent),
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

    fn observe(
        &self,
        request: &Request,
        attempt: &Attempt<'_>,
        response: Option<&Response<'_>>,
        error: Option<&Error>,
    ) {
        let Some(observer) = &self.observer else {
            return;
        };
        let headers = response
            .map(Response::signature_headers)
            .unwrap_or_default();
        observer(&Exchange {
            mchid: attempt.merchant.signer().mchid(),
            method: request.method(),
            template: request.template(),
            host: &attempt.host.name,
            attempt: attempt.number,
            status: response.map(Response::status),
            request_id: headers.request_id(),
            serial: headers.serial(),
            date: response.and_then(Response::date),
            elapsed: attempt.began.elapsed(),
            error,
        });
    }
}

/// One attempt: its merchant, its host and its number.
#[derive(Clone, Copy)]
struct Attempt<'h> {
    merchant: &'h Merchant,
    host: &'h Host,
    number: u8,
    began: Instant,
}

impl Attempt<'_> {
    fn failed(&self, failure: Failure) -> Error {
        let host = self.host.name.clone();
        match failure {
            Failure::Connect(source) => Error::Connect { host, source },
            Failure::Exchange(source) => Error::Transport { host, source },
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
        SignatureHeaders::read(self.headers().iter()).0
    }

    fn date(&self) -> Option<SystemTime> {
        let date = self.headers().get(header::DATE)?.to_str().ok()?;
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(parse_http_date(date)?))
    }
}

/// Adds the first host's error to the second host's. A firewall may allow only one of the hosts, so both are needed.
fn with_first_host(first_host: &str, first: &Cause, second: Error) -> Error {
    match second {
        Error::Connect { host, source } => {
            let io = source.downcast_ref::<io::Error>();
            let kind = io.map_or(io::ErrorKind::Other, io::Error::kind);
            let reason = format!("{source}; before that {first_host}: {first}");
            Error::Connect {
                host,
                source: Box::new(io::Error::new(kind, reason)),
            }
        }
        other => other,
    }
}

fn is_not_sent(error: &Error) -> bool {
    error.outcome() == Outcome::NotSent
}

/// Returns `true` if the connection broke, as opposed to a timeout or an unreadable response.
fn is_broken(source: &Cause) -> bool {
    source
        .downcast_ref::<io::Error>()
        .is_some_and(transport::is_closed)
}
