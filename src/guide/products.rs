//! Which 免密 or 代扣 product do you have?
//!
//! WeChat Pay has several products in which a user agrees once and is not asked again. Their paths and fields look alike, but
//! the contract of one cannot be used in another. Compare the ids that Tencent gave you with the product, and the paths in
//! your documentation:
//!
//! | id | path | product | in this crate |
//! |---|---|---|---|
//! | `service_id` 免密支付服务ID | `/v3/password-exempt-contract/contracts/…` | **免密支付** | all calls: [`ecommerce`](crate::ecommerce), [`normal`](crate::normal), [`service_provider`](crate::service_provider), [`qs`](crate::qs), [`QueryContract`](crate::QueryContract), [`TerminateContract`](crate::TerminateContract) |
//! | `password_free_contract_id` 免密协议ID of a signed contract | `/v3/pay/transactions/jsapi-with-contract`, with `partner` for partners | the order of 免密支付 | all calls: [`order`](crate::order) |
//! | `plan_id` 委托代扣模板ID | `/v3/papay/…`, or `/papay/…` in APIv2 | 委托代扣 | notifications as [`ContractEvent`](crate::ContractEvent), APIv3 calls by [`Client::execute`](crate::Client::execute) |
//! | `plan_id`, and combined orders | notifications `ECOMMERCE_ENTRUST.…` | 收付通合单代扣 | the same |
//! | `token` 扣费服务预授权token | `/v3/pay/transactions/jsapi-with-contract` | a pre-authorized deduction service 扣费服务 | the order, as [`ContractInfo::Token`](crate::order::ContractInfo::Token) |
//! | `out_contract_code` of an applicant, no service and no plan | `/v3/ecommerce/individual-contracts/…` | 收付通个人收款, by which persons receive money | by [`Client::execute`](crate::Client::execute) |
//!
//! # Traps
//!
//! - **A debit without the user** is 委托代扣. In 免密支付 the merchant places the order, and the user starts the payment but
//!   enters no password. No call of this product debits by itself.
//! - **`pre-entrust-sign`** is the last part of a path in 免密支付, in 委托代扣 and in 个人收款. A `plan_id` sent as
//!   `service_id` is refused.
//! - **`jsapi-with-contract`** serves 免密支付, 扣费服务 and signing while paying (签约 and 支付 in one, of 委托代扣), by
//!   different fields of `contract_info`. Only `password_free_contract_id` is for 免密支付.
//! - **`contract_id`** is in the notifications of 委托代扣 too. There it does not name a contract of 免密支付.
//! - **Refunds of a platform** are under `/v3/ecommerce/refunds/`, those of a service provider under
//!   `/v3/refund/domestic/refunds`: [`CreatePlatformRefund`](crate::order::CreatePlatformRefund) and
//!   [`CreateRefund`](crate::order::CreateRefund).
//!
//! Sources: the pages of the calls, for 委托代扣 <https://pay.weixin.qq.com/doc/v3/merchant/4012978414>. That no
//! product accepts the ids of another is inferred.
