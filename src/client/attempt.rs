//! One call: its attempts, where they go, and what is tried again.

use std::io;
use std::time::{Duration, Instant};

use ureq::Agent;
use ureq::http::uri::InvalidUri;
use ureq::http::{self, HeaderName, HeaderValue, response};

use super::Inner;
use super::answer::Answer;
use super::host::Host;
use super::observer::Exchange;
use crate::error::{Cause, Error, InvalidField, Outcome};
use crate::keys::random_nonce;
use crate::merchant::{SignedRequest, USER_AGENT};
use crate::request::{Method, Request};
use crate::transport::{self, Failure};

/// Tells WeChat Pay that the main host could not be reached.
const BACKUP_USER_AGENT: &str = concat!(
    "wechatpay-contract/",
    env!("CARGO_PKG_VERSION"),
    " (backup-host)"
);

/// The longest path with query, in bytes, as encoded.
const MAX_TARGET: usize = 8 * 1024;

/// Answers are small; a larger one is not WeChat Pay's.
const MAX_BODY: usize = 1024 * 1024;

impl Inner {
    /// One call: what comes back is accepted, and the exchange reported.
    pub(super) fn call<R>(
        &self,
        request: &Request,
        accept: impl FnOnce(&Answer<'_>) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let answer = self.answer_to(request)?;
        let result = accept(&answer);
        self.report(
            request,
            &answer.attempt,
            Some(&answer),
            result.as_ref().err(),
        );
        result
    }

    /// Sends a request and gives the answer, which is not verified yet: a second attempt follows a first where that
    /// cannot carry anything out twice.
    fn answer_to(&self, request: &Request) -> Result<Answer<'_>, Error> {
        let first = self.first_attempt();
        let began = first.began;
        let first = self.make(first, request);
        let Err(error) = first else {
            return first;
        };
        let Some(second) = self.second_attempt(request, &error, began.elapsed()) else {
            return Err(error);
        };
        match (error, self.make(second, request)) {
            (Error::Connect { host, source }, Err(second)) => Err(after(&host, &source, second)),
            // That the second attempt was not sent says nothing about the first.
            (first, Err(second)) if was_not_sent(&second) && !was_not_sent(&first) => Err(first),
            (_, second) => second,
        }
    }

    fn first_attempt(&self) -> Attempt<'_> {
        Attempt {
            agent: &self.agent,
            host: &self.host,
            user_agent: USER_AGENT,
            number: 1,
            began: Instant::now(),
        }
    }

    /// Where to try again, if that cannot carry anything out twice: at the backup host when no connection could be
    /// made, at the same host, with the addresses kept from the first, when the connection of a GET broke.
    fn second_attempt(
        &self,
        request: &Request,
        error: &Error,
        elapsed: Duration,
    ) -> Option<Attempt<'_>> {
        let (host, user_agent) = match error {
            // However late: only a look-up can have taken longer than its time, and that says nothing of the backup.
            Error::Connect { .. } => (self.backup.as_ref()?, BACKUP_USER_AGENT),
            Error::Transport { source, .. }
                if request.method() == Method::Get
                    && is_broken(source)
                    && elapsed <= self.repeat_until =>
            {
                (&self.host, USER_AGENT)
            }
            _ => return None,
        };
        Some(Attempt {
            agent: &self.second_agent,
            host,
            user_agent,
            number: 2,
            began: Instant::now(),
        })
    }

    /// One exchange, reported here if there is no answer.
    fn make<'c>(&self, attempt: Attempt<'c>, request: &Request) -> Result<Answer<'c>, Error> {
        match self.exchange(&attempt, request) {
            Ok((head, body)) => Ok(Answer {
                attempt,
                status: head.status.as_u16(),
                headers: head.headers,
                body,
            }),
            Err(error) => {
                self.report(request, &attempt, None, Some(&error));
                Err(error)
            }
        }
    }

    fn report(
        &self,
        request: &Request,
        attempt: &Attempt<'_>,
        answer: Option<&Answer<'_>>,
        error: Option<&Error>,
    ) {
        let Some(observer) = &self.observer else {
            return;
        };
        observer(&Exchange {
            method: request.method(),
            template: request.template(),
            host: &attempt.host.name,
            attempt: attempt.number,
            status: answer.map(|answer| answer.status),
            request_id: answer.and_then(Answer::request_id),
            elapsed: attempt.began.elapsed(),
            error,
        });
    }

    /// Signs a request afresh, sends it and reads what comes back.
    fn exchange(
        &self,
        attempt: &Attempt<'_>,
        request: &Request,
    ) -> Result<(response::Parts, Vec<u8>), Error> {
        let nonce = random_nonce().map_err(Error::Sign)?;
        let signed = self.merchant.prepare(request, (self.clock)(), &nonce)?;
        let request = self.http_request(&signed, attempt)?;
        let failed = |failure| match failure {
            Failure::Connect(source) => Error::Connect {
                host: attempt.host.name.clone(),
                source,
            },
            Failure::Exchange(source) => Error::Transport {
                host: attempt.host.name.clone(),
                source,
            },
        };
        let response = attempt
            .agent
            .run(request)
            .map_err(|error| failed(error.into()))?;
        let (head, mut body) = response.into_parts();
        let body = transport::read_body(&mut body, MAX_BODY).map_err(failed)?;
        Ok((head, body))
    }

    fn http_request<'s>(
        &self,
        signed: &'s SignedRequest<'_>,
        attempt: &Attempt<'_>,
    ) -> Result<http::Request<&'s [u8]>, Error> {
        // Longer than the transport's buffer it could not be sent, and the gateway would not take it.
        if signed.target().len() > MAX_TARGET {
            let problem = format!(
                "found {} bytes: wanted at most {MAX_TARGET}",
                signed.target().len()
            );
            return Err(InvalidField::new("path", problem).into());
        }
        let uri = format!("{}{}", attempt.host.url, signed.target());
        // Not with the builder, which brings a conversion of its own for each type that it is given.
        let mut request = http::Request::new(signed.body().unwrap_or_default());
        *request.method_mut() = http_method(signed.method());
        *request.uri_mut() = uri
            .try_into()
            .map_err(|error: InvalidUri| InvalidField::new("path", error.to_string()))?;
        let language = self.accept_language.as_deref();
        let headers = signed.headers().map(|header| match header {
            ("User-Agent", _) => ("User-Agent", attempt.user_agent),
            other => other,
        });
        for (name, value) in headers.chain(language.map(|value| ("Accept-Language", value))) {
            // Neither can fail: the names are ours, and the values were checked when they were set.
            let wrong = |error: http::Error| InvalidField::new(name, error.to_string());
            let value = HeaderValue::from_str(value).map_err(|error| wrong(error.into()))?;
            let name =
                HeaderName::from_bytes(name.as_bytes()).map_err(|error| wrong(error.into()))?;
            request.headers_mut().append(name, value);
        }
        Ok(request)
    }
}

/// How one attempt is made.
pub(super) struct Attempt<'c> {
    agent: &'c Agent,
    pub(super) host: &'c Host,
    user_agent: &'static str,
    number: u8,
    began: Instant,
}

fn http_method(method: Method) -> http::Method {
    match method {
        Method::Get => http::Method::GET,
        Method::Post => http::Method::POST,
        Method::Put => http::Method::PUT,
        Method::Patch => http::Method::PATCH,
        Method::Delete => http::Method::DELETE,
    }
}

/// Says of two hosts that could not be reached why it was neither: a firewall may know but one of them.
fn after(first_host: &str, first: &Cause, second: Error) -> Error {
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

/// Whether an attempt ended before anything was sent.
fn was_not_sent(error: &Error) -> bool {
    error.outcome() == Outcome::NotSent
}

/// Whether the connection broke, as opposed to a time-out or an answer that cannot be read.
fn is_broken(source: &Cause) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    source.downcast_ref::<io::Error>().is_some_and(|error| {
        matches!(
            error.kind(),
            BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof
        )
    })
}
