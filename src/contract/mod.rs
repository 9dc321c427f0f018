//! The calls for password-exempt contracts 免密支付签约: pre-sign, query and terminate. Each call refuses a response about
//! another contract, by [`Endpoint::check`](crate::Endpoint::check).

pub mod ecommerce;
mod id;
pub mod normal;
mod pre_sign;
pub mod qs;
mod query;
pub mod service_provider;
mod session;
mod terminate;
mod user;

pub use id::ContractId;
pub(crate) use id::check_optional;
pub use query::{Contract, ContractState, QueryContract, TerminateInfo, TerminationMode};
pub use session::{LaunchExtraData, LaunchParameters, MiniProgramSession};
pub use terminate::TerminateContract;
pub(crate) use user::one_identifier_of_two;
