//! One merchant's side of the exchange without any I/O: a request becomes signed bytes, an answer becomes a value or
//! an error.

use std::borrow::Cow;
use std::fmt;
use std::time::SystemTime;

use serde::de::DeserializeOwned;

use crate::error::{ApiError, Authenticity, Error, KeyError};
use crate::json;
use crate::keys::{PublicKey, is_same_id};
use crate::request::{Endpoint, Method, Request};
use crate::signer::{Signer, check_nonce_str, request_message};
use crate::time::unix_seconds;
use crate::verifier::{SignatureHeaders, Verifier};

/// The value of `User-Agent`, without which WeChat Pay's gateway refuses a request.
pub(crate) const USER_AGENT: &str = concat!("wechatpay-contract/", env!("CARGO_PKG_VERSION"));

/// A signer and a verifier that belong together.
///
/// For services that bring their own HTTP stack, an async one too: [`prepare`](Self::prepare) a request, send it,
/// [`accept`](Self::accept) the answer, or [`accept_for`](Self::accept_for) a typed one. Time and nonce are arguments;
/// nothing is read from the clock, the network or a random source. Cheap to clone; the clones share the keys.
///
/// ```
/// use std::time::SystemTime;
/// use wechatpay_contract::{Endpoint, Error, Merchant, SignedRequest, ecommerce};
///
/// /// `http` sends method, target, headers and body as they are, and gives status, headers and raw body.
/// fn send<E: Endpoint>(
///     merchant: &Merchant,
///     endpoint: &E,
///     nonce_str: &str,
///     http: impl Fn(&SignedRequest) -> (u16, Vec<(String, String)>, Vec<u8>),
/// ) -> Result<E::Response, Error> {
///     let request = endpoint.request()?;
///     let signed = merchant.prepare(&request, SystemTime::now(), nonce_str)?;
///     let (status, headers, body) = http(&signed);
///     let headers = headers.iter().map(|(name, value)| (name, value));
///     merchant.accept_for(endpoint, status, headers, &body, SystemTime::now())
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Merchant {
    signer: Signer,
    verifier: Verifier,
}

impl Merchant {
    /// Puts the two together.
    ///
    /// # Errors
    ///
    /// [`KeyError::OwnCertificate`] if the merchant's own certificate is among the platform keys.
    pub fn new(signer: Signer, verifier: Verifier) -> Result<Self, KeyError> {
        for key in verifier.keys().current().iter() {
            refuse_own(&signer, key)?;
        }
        Ok(Self { signer, verifier })
    }

    /// The merchant's signer.
    pub fn signer(&self) -> &Signer {
        &self.signer
    }

    /// The platform keys.
    pub fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// Puts downloaded platform certificates, see [`certificates::accept`](crate::certificates::accept), in the place of
    /// those held until now, for this merchant's verifier and its clones. Public keys stay.
    ///
    /// # Errors
    ///
    /// [`KeyError`] if there is none, if one is there twice, or if the merchant's own is among them. Then the old ones
    /// stay.
    pub fn replace_certificates(
        &self,
        certificates: impl IntoIterator<Item = PublicKey>,
    ) -> Result<(), KeyError> {
        let certificates: Vec<_> = certificates.into_iter().collect();
        for certificate in &certificates {
            refuse_own(&self.signer, certificate)?;
        }
        self.verifier.keys().replace_certificates(certificates)
    }

    /// Makes the signed form of `request`, to be sent within 5 minutes of `now`.
    ///
    /// `nonce_str` is 1 to 32 ASCII letters and digits from a cryptographic random source, new for each request.
    ///
    /// The header `Wechatpay-Serial` names the WeChat Pay public key if the verifier holds one (of several the last),
    /// else the certificate that is valid and ends last. Without any valid key only the download of the platform
    /// certificates is prepared, and goes without that header: there is nothing yet that it could name.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidField`] for the nonce and for what is wrong with the request, [`Error::NoPlatformKey`],
    /// [`Error::Key`] if the merchant's own certificate is among the platform keys by now, [`Error::Sign`]: all of them are [`Outcome::NotSent`](crate::Outcome::NotSent).
    pub fn prepare<'r>(
        &self,
        request: &'r Request,
        now: SystemTime,
        nonce_str: &str,
    ) -> Result<SignedRequest<'r>, Error> {
        check_nonce_str(nonce_str)?;
        let target = request.target()?;
        let platform_key = self.verifier.keys().preferred(now);
        match &platform_key {
            // Keys can be replaced after construction.
            Some(key) => refuse_own(&self.signer, key)?,
            None if request.is_certificate_download() => {}
            None => return Err(Error::NoPlatformKey),
        }
        let timestamp = unix_seconds(now);
        let message = request_message(
            request.method().as_str(),
            &target,
            timestamp,
            nonce_str,
            request.body().unwrap_or_default(),
        );
        let authorization = self.signer.authorize(&message, timestamp, nonce_str)?;
        Ok(SignedRequest {
            method: request.method(),
            target,
            body: request.body(),
            authorization,
            platform_key,
        })
    }

    /// Verifies an answer and turns it into a value or an error: the one gate that every answer passes.
    ///
    /// `headers` are all the answer's headers as pairs of name and value, `body` its raw bytes, not decoded in any
    /// way. An empty body, as with status 204, is `()`, `None` or a JSON `null`; for an answer whose content does not
    /// matter, let `R` be [`serde::de::IgnoredAny`].
    ///
    /// WeChat Pay signs the body, not the `status`, nor what the answer belongs to:
    ///
    /// - Whoever can write into the TLS connection can put 200 on an error that WeChat Pay signed. A type with required
    ///   fields of its own, as all answers of this crate are, does not come out of an error's body: the result is
    ///   [`Error::Decode`]. `Value`, `IgnoredAny` and whatever else takes any object do: with them, success is only as
    ///   trustworthy as the TLS connection, so look for what the answer should say.
    /// - An answer to another request, signed within the last 5 minutes, passes too. Compare what it repeats of the
    ///   request with [`Endpoint::check`](crate::Endpoint::check), as `Client::send` does.
    ///
    /// # Errors
    ///
    /// | status | signature | error |
    /// |---|---|---|
    /// | any | wrong, or 2xx without one | [`Error::Unverified`] |
    /// | 202 | right | [`Error::Accepted`] |
    /// | other 2xx | right | [`Error::Decode`] when the body is not an `R` |
    /// | any but 2xx | right or none | [`Error::Api`], which says which of the two |
    pub fn accept<'a, R, N, V>(
        &self,
        status: u16,
        headers: impl IntoIterator<Item = (&'a N, &'a V)>,
        body: &[u8],
        now: SystemTime,
    ) -> Result<R, Error>
    where
        R: DeserializeOwned,
        N: AsRef<str> + ?Sized + 'a,
        V: AsRef<[u8]> + ?Sized + 'a,
    {
        self.verify(status, headers, body, now)?.read()
    }

    /// [`accept`](Self::accept) for the answer to a typed request, which is compared with the request as well; see
    /// [`Endpoint::check`].
    ///
    /// # Errors
    ///
    /// As for [`accept`](Self::accept), and [`Error::Mismatch`] for the answer to another request.
    pub fn accept_for<'a, E, N, V>(
        &self,
        endpoint: &E,
        status: u16,
        headers: impl IntoIterator<Item = (&'a N, &'a V)>,
        body: &[u8],
        now: SystemTime,
    ) -> Result<E::Response, Error>
    where
        E: Endpoint + ?Sized,
        N: AsRef<str> + ?Sized + 'a,
        V: AsRef<[u8]> + ?Sized + 'a,
    {
        self.read_for(endpoint, self.verify(status, headers, body, now))
    }

    /// Reads the response to a typed request, and refuses the response to another request.
    pub(crate) fn read_for<E: Endpoint + ?Sized>(
        &self,
        endpoint: &E,
        verified: Result<Verified<'_, '_>, Error>,
    ) -> Result<E::Response, Error> {
        let verified = verified.map_err(|error| match error {
            Error::Api(error) if endpoint.is_inconclusive(&error) => error.inconclusive().into(),
            error => error,
        })?;
        let request_id = verified.request_id;
        let response = verified.read()?;
        match endpoint.check(&response, self.signer.mchid()) {
            Ok(()) => Ok(response),
            Err(source) => Err(Error::Mismatch {
                request_id: request_id.map(str::to_owned),
                source,
            }),
        }
    }

    /// The gate itself: verified success comes through, all else is an error.
    pub(crate) fn verify<'h, 'b, N, V>(
        &self,
        status: u16,
        headers: impl IntoIterator<Item = (&'h N, &'h V)>,
        body: &'b [u8],
        now: SystemTime,
    ) -> Result<Verified<'h, 'b>, Error>
    where
        N: AsRef<str> + ?Sized + 'h,
        V: AsRef<[u8]> + ?Sized + 'h,
    {
        let (headers, checked) = SignatureHeaders::read(headers);
        let is_success = (200..300).contains(&status);
        let verified = checked.and_then(|()| {
            if !is_success && !headers.is_signed() {
                return Ok(Authenticity::Unsigned);
            }
            self.verifier.verify(&headers, body, now)?;
            Ok(Authenticity::Signed)
        });
        let request_id = || headers.request_id().map(str::to_owned);
        match verified {
            Ok(_) if status == 202 => Err(Error::Accepted {
                request_id: request_id(),
            }),
            Ok(_) if is_success => Ok(Verified {
                status,
                request_id: headers.request_id(),
                body,
            }),
            Ok(authenticity) => {
                Err(ApiError::from_response(status, body, request_id(), authenticity).into())
            }
            Err(source) => Err(Error::Unverified {
                status,
                request_id: request_id(),
                source,
            }),
        }
    }
}

/// An answer of success that passed the gate. Only this part of accepting an answer is built once for each type of
/// answer.
pub(crate) struct Verified<'h, 'b> {
    status: u16,
    request_id: Option<&'h str>,
    body: &'b [u8],
}

impl Verified<'_, '_> {
    pub(crate) fn read<R: DeserializeOwned>(self) -> Result<R, Error> {
        let json = match self.body {
            [] => b"null",
            body => body,
        };
        json::from_slice(json).map_err(|source| Error::Decode {
            status: self.status,
            request_id: self.request_id.map(str::to_owned),
            source,
        })
    }
}

/// A request as it goes over the wire: send exactly these bytes.
#[must_use = "nothing is sent by itself"]
pub struct SignedRequest<'r> {
    method: Method,
    target: Cow<'r, str>,
    body: Option<&'r [u8]>,
    authorization: String,
    /// Absent only for the first download of certificates.
    platform_key: Option<PublicKey>,
}

impl SignedRequest<'_> {
    /// The HTTP method.
    pub fn method(&self) -> Method {
        self.method
    }

    /// Path and query, to be appended to `https://api.mch.weixin.qq.com` and not to be encoded again.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The body, if there is one.
    pub fn body(&self) -> Option<&[u8]> {
        self.body
    }

    /// The headers to be sent, as pairs of name and value, beside `Host` and `Content-Length`.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let platform_key = self.platform_key.as_ref();
        [
            Some(("Authorization", self.authorization.as_str())),
            platform_key.map(|key| ("Wechatpay-Serial", key.id())),
            Some(("Accept", "application/json")),
            Some(("User-Agent", USER_AGENT)),
            self.body.map(|_| ("Content-Type", "application/json")),
        ]
        .into_iter()
        .flatten()
    }
}

/// Whoever reads the `Authorization` header can send the request, and target and body may hold personal data: none of
/// them is shown.
impl fmt::Debug for SignedRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedRequest")
            .field("method", &self.method)
            .field("platform_key", &self.platform_key)
            .finish_non_exhaustive()
    }
}

/// Refuses the merchant's own certificate among the platform keys.
fn refuse_own(signer: &Signer, key: &PublicKey) -> Result<(), KeyError> {
    if !is_same_id(signer.serial_no(), key.id()) {
        return Ok(());
    }
    Err(KeyError::OwnCertificate {
        serial_no: signer.serial_no().to_owned(),
    })
}
