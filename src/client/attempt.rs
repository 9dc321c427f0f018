//! One call: its attempts, where they go, and what is tried again.

use std::io;
use std::time::{Duration, Instant};

use ureq::Agent;
use ureq::http;

use super::Inner;
use super::answer::Answer;
use super::host::Host;
use super::observer::Exchange;
use crate::endpoint::{Method, Request};
use crate::error::{Cause, Error, InvalidField, Outcome};
use crate::keys::random_nonce;
use crate::merchant::{SignedRequest, USER_AGENT};
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
    /// One call: a second attempt follows a first where that cannot carry anything out twice.
    pub(super) fn call<R>(
        &self,
        request: &Request,
        accept: impl Fn(&Answer<'_>) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let started = Instant::now();
        let first = self.attempt(request, &self.first_route(), &accept);
        let Err(error) = first else {
            return first;
        };
        let Some(route) = self.second_route(request, &error, started.elapsed()) else {
            return Err(error);
        };
        match self.attempt(request, &route, &accept) {
            // That the second attempt was not sent says nothing about the first.
            Err(second) if was_not_sent(&second) && !was_not_sent(&error) => Err(error),
            second => second,
        }
    }

    fn first_route(&self) -> Route<'_> {
        Route {
            agent: &self.agent,
            host: &self.host,
            user_agent: USER_AGENT,
            attempt: 1,
        }
    }

    /// Where to try again, if that cannot carry anything out twice: at the backup host when no connection could be
    /// made, at the same host when the connection of a GET broke.
    fn second_route(
        &self,
        request: &Request,
        error: &Error,
        elapsed: Duration,
    ) -> Option<Route<'_>> {
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
        Some(Route {
            agent: &self.second_agent,
            host,
            user_agent,
            attempt: 2,
        })
    }

    /// One exchange: signed afresh, sent, verified, and reported.
    fn attempt<R>(
        &self,
        request: &Request,
        route: &Route<'_>,
        accept: impl Fn(&Answer<'_>) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let began = Instant::now();
        let answer = self.exchange(request, route);
        let (answer, result) = match answer {
            Ok(answer) => {
                let result = accept(&answer);
                (Some(answer), result)
            }
            Err(error) => (None, Err(error)),
        };
        if let Some(observer) = &self.observer {
            observer(&Exchange {
                method: request.method(),
                template: request.template(),
                host: &route.host.name,
                attempt: route.attempt,
                status: answer.as_ref().map(|answer| answer.status),
                request_id: answer.as_ref().and_then(Answer::request_id),
                elapsed: began.elapsed(),
                error: result.as_ref().err(),
            });
        }
        result
    }

    /// Sends a request and reads the answer, which is not verified yet.
    fn exchange<'c>(&self, request: &Request, route: &Route<'c>) -> Result<Answer<'c>, Error> {
        let nonce = random_nonce().map_err(Error::Sign)?;
        let signed = self.merchant.prepare(request, (self.clock)(), &nonce)?;
        let request = self.http_request(&signed, route)?;
        let failed = |failure| match failure {
            Failure::Connect(source) => Error::Connect {
                host: route.host.name.clone(),
                source,
            },
            Failure::Exchange(source) => Error::Transport {
                host: route.host.name.clone(),
                source,
            },
        };
        let response = route
            .agent
            .run(request)
            .map_err(|error| failed(error.into()))?;
        let (head, mut body) = response.into_parts();
        Ok(Answer {
            host: &route.host.name,
            status: head.status.as_u16(),
            body: transport::read_body(&mut body, MAX_BODY).map_err(failed)?,
            headers: head.headers,
        })
    }

    fn http_request<'s>(
        &self,
        signed: &'s SignedRequest<'_>,
        route: &Route<'_>,
    ) -> Result<http::Request<&'s [u8]>, Error> {
        // Longer than the transport's buffer it could not be sent, and the gateway would not take it.
        if signed.target().len() > MAX_TARGET {
            let problem = format!(
                "found {} bytes: wanted at most {MAX_TARGET}",
                signed.target().len()
            );
            return Err(InvalidField::new("path", problem).into());
        }
        let mut builder = http::Request::builder()
            .method(signed.method().as_str())
            .uri(format!("{}{}", route.host.url, signed.target()));
        for (name, value) in signed.headers() {
            let value = if name == "User-Agent" {
                route.user_agent
            } else {
                value
            };
            builder = builder.header(name, value);
        }
        if let Some(language) = &self.accept_language {
            builder = builder.header("Accept-Language", language.as_str());
        }
        builder
            .body(signed.body().unwrap_or_default())
            .map_err(|error| InvalidField::new("path", error.to_string()).into())
    }
}

/// How one attempt is made.
struct Route<'c> {
    agent: &'c Agent,
    host: &'c Host,
    user_agent: &'static str,
    attempt: u8,
}

/// Whether an attempt ended before anything was sent. Not so when certificates came that cannot be used.
fn was_not_sent(error: &Error) -> bool {
    error.outcome() == Outcome::NotSent && !matches!(error, Error::Certificates(_))
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
