//! What holds for all public types: they can be sent to and shared among threads, and those that are returned or kept
//! by the thousand are small.

use std::error::Error as StdError;
use std::mem::size_of;
use std::ptr;

use wechatpay_contract::sandbox::{
    DeliveryAttempt, Fault, FaultInjection, Forgery, Platform, RecordedRequest, Sandbox,
    SandboxError, SentNotification, Signing, SignsWith, UserError,
};
use wechatpay_contract::{
    Advice, ApiError, ApiV3Key, Authenticity, CertificateError, Client, ClientBuilder, Contract,
    ContractEvent, ContractId, ContractState, DecodeError, Error, Event, EventKind, Exchange,
    InvalidField, InvalidSetting, KeyError, LaunchExtraData, LaunchParameters, Merchant, Method,
    MiniProgramSession, Mismatch, Notification, NotificationError, NotificationReceiver,
    NotificationReply, Outcome, PrivateKey, PublicKey, QueryContract, RefundEvent, Request,
    SignatureHeaders, SignedRequest, Signer, TerminateContract, TerminateInfo, TerminationMode,
    Validity, Verifier, VerifyError, ecommerce, normal, order, qs, self_test, service_provider,
};

const LISTING: &str = include_str!("../public-api.txt");

/// Compiles only if the bounds hold for each type. Returns the types' names.
macro_rules! hold {
    ([$($bounds:tt)*] $($checked:ty,)*) => {{
        fn hold<T: $($bounds)*>() {}
        $(hold::<$checked>();)*
        [$(stringify!($checked)),*]
    }};
}

#[test]
fn all_types_can_be_shared_among_threads() {
    let mut shareable = hold![
        [Send + Sync + Unpin]
        Advice,
        ApiError,
        ApiV3Key,
        Authenticity,
        CertificateError,
        Client,
        ClientBuilder,
        Contract,
        ContractEvent,
        ContractId,
        ContractState,
        DecodeError,
        DeliveryAttempt,
        Error,
        Event,
        EventKind,
        Exchange<'_>,
        Fault,
        FaultInjection,
        Forgery,
        InvalidField,
        InvalidSetting,
        KeyError,
        LaunchExtraData<'_>,
        LaunchParameters<'_>,
        Merchant,
        Method,
        MiniProgramSession,
        Mismatch,
        Notification<ContractEvent>,
        NotificationError,
        NotificationReceiver,
        NotificationReply,
        Outcome,
        Platform,
        PrivateKey,
        PublicKey,
        QueryContract<'_>,
        RecordedRequest,
        RefundEvent,
        Request,
        Sandbox,
        SentNotification,
        SignatureHeaders<'_>,
        SignedRequest<'_>,
        Signer,
        Signing,
        SignsWith,
        TerminateContract<'_>,
        TerminateInfo,
        TerminationMode,
        SandboxError,
        UserError,
        Validity,
        Verifier,
        VerifyError,
        ecommerce::MiniProgramPreSign<'_>,
        ecommerce::PayRedirectPreSign<'_>,
        normal::MiniProgramPreSign<'_>,
        normal::PayRedirectPreSign<'_>,
        order::AcceptedRefund,
        order::Amount<'_>,
        order::CloseOrder<'_>,
        order::ContractInfo<'_>,
        order::CreatePlatformRefund<'_>,
        order::CreateRefund<'_>,
        order::Detail<'_>,
        order::GoodsDetail<'_>,
        order::JsapiOrder<'_>,
        order::OrderNumber<'_>,
        order::OrderOptions<'_>,
        order::OwnOrder<'_>,
        order::PartnerJsapiOrder<'_>,
        order::PartnerPayer<'_>,
        order::PayParameters,
        order::Payee<'_>,
        order::Payer<'_>,
        order::Prepay,
        order::Promotion,
        order::PromotionGoods,
        order::QueryOrder<'_>,
        order::QueryPlatformRefund<'_>,
        order::QueryRefund<'_>,
        order::Refund,
        order::RefundAmount<'_>,
        order::RefundChannel,
        order::RefundGoods<'_>,
        order::RefundNumber<'_>,
        order::RefundOptions<'_>,
        order::RefundSource<'_>,
        order::RefundStatus,
        order::RefundedAmount,
        order::RefundedFrom,
        order::RefundedGoods,
        order::RefundedPromotion,
        order::SceneInfo<'_>,
        order::SettleInfo,
        order::StoreInfo<'_>,
        order::TradeState,
        order::TradeType,
        order::Transaction,
        order::TransactionAmount,
        order::TransactionPayer,
        order::TransactionScene,
        qs::MiniProgramPreSign<'_>,
        qs::PayRedirectPreSign<'_>,
        qs::User<'_>,
        self_test::Check,
        self_test::Finding,
        self_test::Report,
        self_test::Verdict,
        service_provider::MiniProgramPreSign<'_>,
        service_provider::PayRedirectPreSign<'_>,
    ]
    .map(|name| name.split_once('<').map_or(name, |(name, _)| name));
    shareable.sort_unstable();
    let mut listed: Vec<&str> = LISTING.lines().filter_map(listed_type).collect();
    listed.sort_unstable();
    assert_eq!(
        shareable.as_slice(),
        listed,
        "left: those asserted here, right: those of tests/public-api.txt"
    );
}

/// The name of the type that a line of the listing declares, as it is imported above.
fn listed_type(line: &str) -> Option<&str> {
    let line = line.strip_prefix("#[non_exhaustive] ").unwrap_or(line);
    let path = line
        .strip_prefix("pub struct wechatpay_contract::")
        .or_else(|| line.strip_prefix("pub enum wechatpay_contract::"))?;
    let path = path.strip_prefix("sandbox::").unwrap_or(path);
    path.split(['<', '(']).next()
}

#[test]
fn all_errors_can_be_boxed_and_sent_among_threads() {
    let errors = hold![
        [StdError + Send + Sync + 'static]
        ApiError,
        CertificateError,
        DecodeError,
        Error,
        InvalidField,
        InvalidSetting,
        KeyError,
        Mismatch,
        NotificationError,
        SandboxError,
        UserError,
        VerifyError,
    ];
    let listed = LISTING
        .lines()
        .filter(|line| line.starts_with("impl core::error::Error for"))
        .count();
    assert_eq!(errors.len(), listed, "asserted here, and listed");
}

#[test]
#[cfg(target_pointer_width = "64")]
fn errors_are_small() {
    // Each result is at least as large as its error, and is moved through every `?`. Clippy warns from 128 bytes on.
    let sizes = [
        size_of::<Error>(),
        size_of::<NotificationError>(),
        size_of::<VerifyError>(),
        size_of::<KeyError>(),
        size_of::<InvalidField>(),
        size_of::<InvalidSetting>(),
        size_of::<Mismatch>(),
    ];
    assert!(sizes.iter().all(|size| *size <= 96), "{sizes:?}");
    // `Ok(())` is stored in a niche of the error, so that the result is no larger.
    assert_eq!(size_of::<Result<(), Error>>(), size_of::<Error>());
}

#[test]
fn clients_are_cheap_to_clone() {
    let sandbox = Sandbox::start().unwrap();
    let client = sandbox.client();
    let clone = client.clone();
    assert!(size_of::<Client>() <= 3 * size_of::<usize>());
    assert!(
        ptr::eq(client.merchant(), clone.merchant()),
        "the clone has keys of its own"
    );
}

#[test]
fn a_merchants_clone_shares_its_keys() {
    let sandbox = Sandbox::start().unwrap();
    let merchant = Merchant::new(sandbox.signer(), sandbox.verifier()).unwrap();
    let clone = merchant.clone();
    let other_id = "PUB_KEY_ID_1";
    let other_key = PublicKey::from_pem(other_id, Sandbox::PUBLIC_KEY_PEM).unwrap();
    assert_ne!(clone.verifier().key_ids(), [other_id]);
    merchant.verifier().replace([other_key]).unwrap();
    assert_eq!(clone.verifier().key_ids(), [other_id]);
}
