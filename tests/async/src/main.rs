//! An async service. axum receives notifications, and `NotificationReceiver`, which does no I/O, opens them. Requests
//! are sent in two ways: with the blocking client under `spawn_blocking`, and with hyper, which sends what `Merchant`
//! signed.
//!
//! It plays one contract against the sandbox, and ends.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::SystemTime;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Request, Response};
use axum::routing::post;
use http_body_util::{BodyExt, Limited};
use hyper_util::client::legacy::Client as Hyper;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use wechatpay_contract::sandbox::Sandbox;
use wechatpay_contract::{
    ApiV3Key, ContractState, Endpoint, Merchant, Notification, NotificationReceiver,
    NotificationReply, QueryContract, SignatureHeaders, ecommerce,
};

type Failure = Box<dyn StdError + Send + Sync>;

const CODE: &str = "wxwtdk20200910100000";
/// The longest body of a response that is read, in bytes.
const MAX_BODY: usize = 1 << 20;

struct Service {
    receiver: NotificationReceiver,
    /// Stands in for a database, which is where a real service stores the event before it replies.
    events: mpsc::Sender<Notification>,
}

/// Receives a notification. axum reads the body whole and limits it to 2 MB. The receiver's own limit is lower.
async fn notify(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response<String> {
    let event = SignatureHeaders::from_pairs(&headers)
        .map_err(Into::into)
        .and_then(|headers| service.receiver.open(&headers, &body, SystemTime::now()));
    let reply = match event {
        Ok(event) => match service.events.send(event).await {
            Ok(()) => NotificationReply::success(),
            Err(_) => NotificationReply::failure("the service stops"),
        },
        Err(error) => {
            // The whole failure in one line.
            eprintln!("notification refused: {error:#}");
            error.reply()
        }
    };
    let mut response = Response::builder().status(reply.status());
    for (name, value) in reply.headers() {
        response = response.header(name, value);
    }
    response.body(reply.body().to_owned()).unwrap_or_default()
}

/// Sends a request with an async HTTP client. `merchant` signs the request and verifies the response.
async fn send<E: Endpoint>(
    hyper: &Hyper<HttpConnector, Body>,
    host: &str,
    merchant: &Merchant,
    endpoint: &E,
    nonce: &str,
) -> Result<E::Response, Failure> {
    let request = endpoint.request()?;
    let signed = merchant.prepare(&request, SystemTime::now(), nonce)?;
    let mut outgoing = Request::builder()
        .method(signed.method().as_str())
        .uri(format!("{host}{}", signed.target()));
    for (name, value) in signed.headers() {
        outgoing = outgoing.header(name, value);
    }
    let body = Body::from(signed.body().unwrap_or_default().to_vec());
    let (head, body) = hyper.request(outgoing.body(body)?).await?.into_parts();
    let body = Limited::new(body, MAX_BODY).collect().await?.to_bytes();
    let status = head.status.as_u16();
    Ok(merchant.accept_for(endpoint, status, &head.headers, &body, SystemTime::now())?)
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let sandbox = Arc::new(spawn_blocking(Sandbox::start).await??);
    let (events, mut arrived) = mpsc::channel(8);
    let key = ApiV3Key::new(Sandbox::API_V3_KEY)?;
    let service = Service {
        receiver: NotificationReceiver::new(sandbox.verifier(), key),
        events,
    };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    sandbox.deliver_notifications_to(&format!("http://{}/notify", listener.local_addr()?))?;
    let router = Router::new()
        .route("/notify", post(notify))
        .with_state(Arc::new(service));
    tokio::spawn(async { axum::serve(listener, router).await });

    // The client blocks, so it runs on a thread of its own. It is cheap to clone.
    let client = sandbox.client();
    let session = spawn_blocking(move || {
        client.send(&ecommerce::MiniProgramPreSign {
            appid: "wxd678efh567hg6787",
            service_id: 12535,
            out_contract_code: CODE,
            notify_url: "https://yourapp.com/notify",
            contract_display_account: "微信代扣用户A",
            openid: "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
        })
    });
    println!("pre-signed {}", session.await??.out_contract_code);

    let user = Arc::clone(&sandbox);
    let contract_id = spawn_blocking(move || user.user_signs(CODE)).await??;
    let event = arrived.recv().await.ok_or("no notification arrived")?;
    println!("notified   {}", event.event_type);

    let hyper = Hyper::builder(TokioExecutor::new()).build_http();
    let merchant = sandbox.client().merchant().clone();
    let query = QueryContract {
        service_id: 12535,
        out_contract_code: CODE,
    };
    // A real service makes a random nonce of 32 characters for each request.
    let contract = send(
        &hyper,
        sandbox.url(),
        &merchant,
        &query,
        "593BEC0C930BF1AFEB40B4A08C8FB242",
    )
    .await?;
    println!("queried    {}", contract.contract_state);
    if (contract.contract_state, contract.contract_id) != (ContractState::Signed, contract_id) {
        return Err("wanted the contract that was signed".into());
    }
    Ok(())
}
