//! Async services, logs, metrics, key rotation and pre-forking servers.
//!
//! # An async service
//!
//! Run the blocking client under `spawn_blocking`. It is cheap to clone:
//!
//! ```ignore
//! let client = client.clone();
//! let contract = tokio::task::spawn_blocking(move || {
//!     client.send(&QueryContract { service_id: 12535, out_contract_code: "wxwtdk20200910100000" })
//! })
//! .await??;
//! ```
//!
//! Or use an HTTP stack of your own: send the request that [`Merchant::prepare`](crate::Merchant::prepare) signed, and
//! pass the response to [`Merchant::accept_for`](crate::Merchant::accept_for). A
//! [`NotificationReceiver`](crate::NotificationReceiver) does no I/O and fits any framework. `tests/async` in the
//! repository is a service that uses `spawn_blocking`, hyper, and a receiver in axum.
//!
//! # One log line for each failure
//!
//! `{error:#}` writes an error, its causes, its outcome and the `Request-ID` for WeChat Pay's support in one line. It shows no
//! secret:
//!
//! ```
//! fn log_failure(error: &wechatpay_contract::Error) {
//!     eprintln!("wechat pay: {error:#}");
//! }
//! ```
//!
//! # Tracing and metrics
//!
//! [`ClientBuilder::on_exchange`](crate::ClientBuilder::on_exchange) takes a function that is called after each exchange. Its page
//! has examples for `log` and `tracing`. Label counters and histograms with the path's template, since there are only
//! a few of them:
//!
//! ```
//! use std::collections::BTreeMap;
//! use std::sync::{Arc, Mutex, PoisonError};
//! use std::time::Duration;
//! use wechatpay_contract::ClientBuilder;
//!
//! /// The number of exchanges and their total time, by path template and HTTP status.
//! type Metrics = Arc<Mutex<BTreeMap<(String, Option<u16>), (u64, Duration)>>>;
//!
//! fn with_metrics(builder: ClientBuilder, metrics: Metrics) -> ClientBuilder {
//!     builder.on_exchange(move |exchange| {
//!         let mut metrics = metrics.lock().unwrap_or_else(PoisonError::into_inner);
//!         let key = (exchange.template.to_owned(), exchange.status);
//!         let (count, elapsed) = metrics.entry(key).or_default();
//!         *count += 1;
//!         *elapsed += exchange.elapsed;
//!     })
//! }
//! ```
//!
//! # Rotation without a restart
//!
//! Clones of a [`Client`](crate::Client) and its receivers share the platform keys, so one replacement serves all of
//! them, as [`keys`](super::keys) shows. For a renewed merchant certificate, make a client that shares everything but
//! the signer, and let new calls use it. Calls in progress keep the old signer:
//!
//! ```
//! use std::sync::{PoisonError, RwLock};
//! use wechatpay_contract::{Client, Error, Signer};
//!
//! fn rotate(current: &RwLock<Client>, renewed: Signer) -> Result<(), Error> {
//!     let mut current = current.write().unwrap_or_else(PoisonError::into_inner);
//!     *current = current.with_signer(renewed)?;
//!     Ok(())
//! }
//!
//! fn client(current: &RwLock<Client>) -> Client {
//!     current.read().unwrap_or_else(PoisonError::into_inner).clone()
//! }
//! ```
//!
//! # A pre-forking server
//!
//! Make the client before the fork, so that all workers share the memory of the parsed keys. Each process opens its own
//! connections and never uses its parent's. If the parent has already called WeChat Pay, close its idle connections before the
//! fork, so that the workers do not keep those sockets open:
//!
//! ```
//! fn before_fork(client: &wechatpay_contract::Client) {
//!     client.close_idle_connections();
//! }
//! ```
//!
//! In certificate mode each worker downloads the certificates by itself, unless the parent has called
//! [`Client::refresh_certificates`](crate::Client::refresh_certificates) before the fork.
