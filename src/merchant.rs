//! A merchant, which signs requests and verifies and reads responses without any I/O.

use std::borrow::Cow;
use std::fmt;
use std::time::SystemTime;

use serde::de::DeserializeOwned;

use crate::error::{Error, KeyError};
use crate::json::{self, DecodeError};
use crate::keys::PublicKey;
use crate::request::{Endpoint, Method, Request};
use crate::signer::{Signer, check_nonce_str, request_message};
use crate::time::unix_seconds;
use crate::verifier::{SignatureHeaders, Verifier};

/// The value of `User-Agent`, without which WeChat Pay's gateway refuses a request.
pub(crate) const USER_AGENT: &str = concat!("wechatpay-contract/", env!("CARGO_PKG_VERSION"));

/// A merchant's signer and verifier, which sign requests and verify responses without any I/O.
///
/// Use it with an HTTP stack of your own, blocking or async: [`prepare`](Self::prepare) a request, send it, and
/// [`accept`](Self::accept) the response, or [`accept_for`](Self::accept_for) the response to a typed request. Time and
/// nonce are arguments: nothing is read from the clock, the network or a random source. Cloning is cheap, and the
/// clones share the keys.
///
/// ```
/// use std::time::SystemTime;
/// use wechatpay_contract::{Endpoint, Error, Merchant, SignedRequest, ecommerce};
///
/// /// `http` sends method, target, headers and body as they are, and returns status, headers and raw body.
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
    /// Creates a merchant from its signer and the platform keys.
    ///
    /// # Errors
    ///
    /// [`KeyError::OwnKey`] if the merchant's own certificate or public key is among the platform keys. The key of a
    /// signer [from a function](Signer::from_function) is only recognized by its serial number.
    pub fn new(signer: Signer, verifier: Verifier) -> Result<Self, KeyError> {
        for key in verifier.keys().current().iter() {
            refuse_own(&signer, key)?;
        }
        Ok(Self { signer, verifier })
    }

    /// Returns the merchant's signer.
    pub fn signer(&self) -> &Signer {
        &self.signer
    }

    /// Returns the verifier, which holds the platform keys.
    pub fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// Replaces the platform certificates of this merchant's verifier and its clones with downloaded ones, see
    /// [`certificates::accept`](crate::certificates::accept). Public keys are kept.
    ///
    /// # Errors
    ///
    /// [`KeyError`] if there is no certificate, if one occurs twice, or if the merchant's own is among them. The old
    /// certificates are then kept.
    pub fn replace_certificates(
        &self,
        certificates: impl IntoIterator<Item = PublicKey>,
    ) -> Result<(), KeyError> {
        let certificates: Vec<_> = certificates.into_iter().collect();
        for certificate in &certificates {
            refuse_own(&self.signer, certificate)?;
        }
        self.verifier
            .keys()
            .replace(certificates, PublicKey::is_certificate)
    }

    /// Signs `request`. Send it within 5 minutes of `now`.
    ///
    /// `nonce_str` is 1 to 32 ASCII letters and digits from a cryptographic random source, new for each request.
    ///
    /// The header `Wechatpay-Serial` names the WeChat Pay public key if the verifier holds one (the last of several),
    /// otherwise the valid certificate that expires last. Without any valid key, only the download of the platform
    /// certificates is signed. It has no such header, since there is no key to name.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidField`] if the nonce or the request is invalid, [`Error::NoPlatformKey`] if no platform key is
    /// valid, [`Error::Key`] if the merchant's own key is now among the platform keys, and [`Error::Sign`] if signing
    /// fails. The outcome of all of them is [`Outcome::NotSent`](crate::Outcome::NotSent).
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
            None => {
                return Err(Error::NoPlatformKey {
                    held: self.verifier.key_ids(),
                });
            }
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
            signed_text: message,
        })
    }

    /// Verifies a response and returns its value or an error.
    ///
    /// `headers` are all headers of the response as pairs of name and value. `body` is its raw bytes, not decoded in
    /// any way. An empty body, as with status 204, is read as JSON `null`, which `()`, `Option` and `serde_json::Value`
    /// accept. If the content of a response does not matter, let `R` be [`serde::de::IgnoredAny`]. An array is never
    /// read as a struct, except inside a type with serde's `flatten`, `untagged` or `tag`, for which serde buffers the
    /// JSON.
    ///
    /// The signature covers the body, but neither the `status` nor the request to which the response belongs:
    ///
    /// - An attacker inside the TLS connection can change the status of a signed error to 200. A type with required
    ///   fields of its own, as all responses of this crate are, cannot be read from an error's body: the result is
    ///   [`Error::Decode`]. `Value`, `IgnoredAny` and other types that take any object can. With them, success is only
    ///   as trustworthy as the TLS connection, so check that the expected fields are there.
    /// - A response to another request, signed within the last 5 minutes, is accepted too. Compare the fields that it
    ///   repeats with the request by [`Endpoint::check`](crate::Endpoint::check), as [`accept_for`](Self::accept_for)
    ///   does.
    ///
    /// # Errors
    ///
    /// | status | signature | error |
    /// |---|---|---|
    /// | any | wrong | [`Error::Unverified`] |
    /// | 2xx | missing, or made with an unknown key | [`Error::Unverified`] |
    /// | 202 | valid | [`Error::Accepted`] |
    /// | other 2xx | valid | [`Error::Decode`] if the body cannot be read as an `R` |
    /// | any but 2xx | valid, missing, or made with an unknown key | [`Error::Api`], whose [`authenticity`](crate::ApiError::authenticity) says which |
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

    /// Verifies the response to a typed request, see [`accept`](Self::accept), and compares it with the request, see
    /// [`Endpoint::check`].
    ///
    /// # Errors
    ///
    /// Those of [`accept`](Self::accept), and [`Error::Mismatch`] if it is the response to another request.
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

    /// Reads the response to a typed request. Returns an error if it is the response to another request.
    pub(crate) fn read_for<E: Endpoint + ?Sized>(
        &self,
        endpoint: &E,
        verified: Result<Verified<'_, '_>, Error>,
    ) -> Result<E::Response, Error> {
        let verified = verified.map_err(|mut error| {
            if let Error::Api(error) = &mut error {
                error.is_inconclusive = endpoint.is_inconclusive(error);
            }
            error
        })?;
        let request_id = verified.request_id;
        let response = verified.read()?;
        let checked = endpoint.check(&response, self.signer.mchid());
        checked.map_err(|source| Error::Mismatch {
            request_id: request_id.map(str::to_owned),
            source,
        })?;
        Ok(response)
    }

    /// Returns a verified success response, and an error for any other.
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
        let failure = checked.and_then(|()| match status {
            200..300 => self.verifier.verify(&headers, body, now).map(|()| None),
            _ => {
                let failure = self.verifier.read_failure(status, &headers, body, now);
                failure.map(Some)
            }
        });
        let request_id = || headers.request_id().map(str::to_owned);
        match failure {
            Ok(Some(error)) => Err(error.into()),
            Ok(None) if status == 202 => Err(Error::Accepted {
                request_id: request_id(),
            }),
            Ok(None) => Ok(Verified {
                status,
                request_id: headers.request_id(),
                body,
            }),
            Err(source) => Err(Error::Unverified {
                status,
                request_id: request_id(),
                source,
            }),
        }
    }
}

/// A verified success response. Only the code that reads it is compiled for each response type.
pub(crate) struct Verified<'h, 'b> {
    status: u16,
    request_id: Option<&'h str>,
    body: &'b [u8],
}

impl Verified<'_, '_> {
    pub(crate) fn read<R: DeserializeOwned>(self) -> Result<R, Error> {
        let result = match self.body {
            [] => json::from_str("null").map_err(|_| DecodeError::empty_body()),
            body => json::from_slice(body),
        };
        result.map_err(|source| Error::Decode {
            status: self.status,
            request_id: self.request_id.map(str::to_owned),
            source,
        })
    }
}

/// A signed request. Send exactly these bytes.
#[must_use = "nothing is sent by itself"]
pub struct SignedRequest<'r> {
    method: Method,
    target: Cow<'r, str>,
    body: Option<&'r [u8]>,
    authorization: String,
    /// `None` only for a download of certificates without a valid platform key.
    platform_key: Option<PublicKey>,
    signed_text: Vec<u8>,
}

impl SignedRequest<'_> {
    /// Returns the HTTP method.
    pub fn method(&self) -> Method {
        self.method
    }

    /// Returns path and query. Append them to `https://api.mch.weixin.qq.com`, and do not encode them again.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Returns the body, if there is one.
    pub fn body(&self) -> Option<&[u8]> {
        self.body
    }

    /// Returns the text that was signed. After `SIGN_ERROR`, compare it with the text that WeChat Pay returns in
    /// [`ApiError::detail`](crate::ApiError::detail) under `sign_information`. It holds the body, and so personal data:
    /// do not log it.
    ///
    /// For a request that a [`Client`](crate::Client) sends, prepare the same request with its
    /// [`merchant`](crate::Client::merchant).
    pub fn signed_text(&self) -> &[u8] {
        &self.signed_text
    }

    /// Returns the headers to send in addition to `Host` and `Content-Length`, as pairs of name and value.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let platform_key = self.platform_key.as_ref();
        [
            Some(("Authorization", self.authorization.as_str())),
            platform_key.map(|key| ("Wechatpay-Serial", key.id())),
            Some(("Accept", "application/json")),
            Some(("User-Agent", USER_AGENT)),
            // Also on requests without a body, as in Tencent's rules and SDKs.
            Some(("Content-Type", "application/json")),
        ]
        .into_iter()
        .flatten()
    }
}

/// Shows neither the `Authorization` header, with which anyone can send the request, nor target and body, which may hold
/// personal data.
impl fmt::Debug for SignedRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedRequest")
            .field("method", &self.method)
            .field("platform_key", &self.platform_key)
            .finish_non_exhaustive()
    }
}

/// Returns an error if the platform key is the merchant's own.
fn refuse_own(signer: &Signer, key: &PublicKey) -> Result<(), KeyError> {
    match signer.owns(key) {
        true => Err(KeyError::OwnKey {
            id: key.id().to_owned(),
        }),
        false => Ok(()),
    }
}
