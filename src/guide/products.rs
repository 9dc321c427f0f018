//! The 免密 and 代扣 products of WeChat Pay, and how to tell them apart.
//!
//! In several products of WeChat Pay a user agrees once and is not asked again. Their paths and fields resemble each other, but
//! the contract of one cannot be used in another. Compare the ids that Tencent assigned to you, and the paths in your
//! documentation:
//!
//! - **免密支付** has a `service_id` 免密支付服务ID and the paths `/v3/password-exempt-contract/contracts/…`. This crate has all its
//!   calls: [`ecommerce`](crate::ecommerce), [`normal`](crate::normal), [`service_provider`](crate::service_provider),
//!   [`qs`](crate::qs), [`QueryContract`](crate::QueryContract) and [`TerminateContract`](crate::TerminateContract).
//! - **Orders of 免密支付** name the `password_free_contract_id` 免密协议ID of a signed contract. Their paths are
//!   `/v3/pay/transactions/jsapi-with-contract` and `/v3/pay/partner/transactions/jsapi-with-contract`. All calls are in
//!   [`order`](crate::order).
//! - **委托代扣** has a `plan_id` 委托代扣模板ID and the paths `/v3/papay/…`, or `/papay/…` in APIv2. Its notifications are read as
//!   [`ContractEvent`](crate::ContractEvent), and its APIv3 calls go through [`Client::execute`](crate::Client::execute).
//! - **收付通合单代扣** has a `plan_id`, combined orders and the notifications `ECOMMERCE_ENTRUST.…`. This crate supports it
//!   in the same way as 委托代扣.
//! - **扣费服务**, a pre-authorized deduction service, has a `token` 扣费服务预授权token and the path
//!   `/v3/pay/transactions/jsapi-with-contract`. Its order is made with
//!   [`ContractInfo::Token`](crate::order::ContractInfo::Token).
//! - **收付通个人收款**, by which persons receive money, has no `service_id` and no `plan_id`. It has the `out_contract_code`
//!   of an applicant and the paths `/v3/ecommerce/individual-contracts/…`. Its calls go through
//!   [`Client::execute`](crate::Client::execute).
//!
//! # Traps
//!
//! - **A debit without the user** is 委托代扣. In 免密支付 the merchant places the order, and the user starts the payment but
//!   enters no password. No call of this product debits by itself.
//! - **`pre-entrust-sign`** is a part of paths in 免密支付, in 委托代扣 and in 个人收款. Do not send a `plan_id` as `service_id`.
//! - **`jsapi-with-contract`** serves 免密支付, 扣费服务, and the signing during a payment of 委托代扣. Each uses its own field of
//!   `contract_info`. Only `password_free_contract_id` is for 免密支付.
//! - **`contract_id`** is in the notifications of 委托代扣 too. There it does not name a contract of 免密支付.
//! - **Refunds of a platform** are under `/v3/ecommerce/refunds/`, those of a service provider under
//!   `/v3/refund/domestic/refunds`: [`CreatePlatformRefund`](crate::order::CreatePlatformRefund) and
//!   [`CreateRefund`](crate::order::CreateRefund).
//!
//! Sources: the pages of the calls, for 委托代扣 <https://pay.weixin.qq.com/doc/v3/merchant/4012978414>. Inferred:
//! no product accepts the ids of another.
