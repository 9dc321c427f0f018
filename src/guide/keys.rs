//! The keys of both sides, the files that they come in, and their rotation.
//!
//! | side | key | type |
//! |---|---|---|
//! | merchant | private key 商户API证书私钥, `apiclient_key.pem` | [`PrivateKey`](crate::PrivateKey) |
//! | merchant | serial number of its certificate 商户API证书序列号 | [`Signer`](crate::Signer) |
//! | merchant | APIv3 key APIv3密钥, 32 bytes, decrypts notifications and platform certificates | [`ApiV3Key`](crate::ApiV3Key) |
//! | WeChat Pay | public key 微信支付公钥, `pub_key.pem` with its id `PUB_KEY_ID_…` | [`PublicKey`](crate::PublicKey) |
//! | WeChat Pay | or platform certificates 平台证书, which rotate | [`PublicKey`](crate::PublicKey) |
//!
//! All of them are set or downloaded in the merchant platform, menu 账户中心 › API安全, except the platform certificates,
//! which the client downloads. A *platform key* is a key of WeChat Pay's, in either form. A
//! [`Verifier`](crate::Verifier) holds platform keys of both forms, and verifies each message with the key that its
//! `Wechatpay-Serial` names.
//!
//! `Signer::from_certificate` reads the serial number from `apiclient_cert.pem` and refuses a private key that does not belong to
//! it. A wrong pair is the most common cause of HTTP 401.
//!
//! # A merchant with the public key
//!
//! New merchants have only this form. It does not expire. [`Client::new`](crate::Client::new) takes a verifier with
//! this key.
//!
//! # A merchant with platform certificates
//!
//! [`Client::with_certificates`](crate::Client::with_certificates) downloads them at the first call, and again when
//! they are 10 hours old or a response names an unknown one. If a notification names an unknown one, call
//! [`Client::refresh_for`](crate::Client::refresh_for). No thread is started for the downloads.
//!
//! # Moving from certificates to the public key
//!
//! For about a week WeChat Pay signs with either. Give the verifier the public key, and the builder the APIv3 key:
//!
//! ```no_run
//! use wechatpay_contract::{ApiV3Key, Client, PublicKey, Signer, Verifier};
//!
//! fn client(signer: Signer, public_key: PublicKey, secret: &str) -> Result<Client, Box<dyn std::error::Error>> {
//!     let client = Client::builder(signer, Verifier::new([public_key])?)
//!         .platform_certificates(ApiV3Key::new(secret)?)
//!         .build()?;
//!     Ok(client)
//! }
//! ```
//!
//! In a running service, [`Verifier::replace_public_keys`](crate::Verifier::replace_public_keys) sets the public key and keeps
//! the certificates.
//!
//! # A new public key
//!
//! Give the verifier the old and the new key, the new one last. Requests then ask for responses signed with the new key. Remove
//! the old key when no message names it any more.
//!
//! # Renewing the merchant's certificate
//!
//! [`Client::with_signer`](crate::Client::with_signer) returns a client that signs with the new certificate and shares
//! everything else. Calls in progress keep the old certificate. Both are valid in the meantime, so no call fails.
//!
//! # A private key in an HSM or a key service
//!
//! [`Signer::from_function`](crate::Signer::from_function) calls any function to sign, such as one that asks an HSM.
