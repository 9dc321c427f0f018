//! The product: password-exempt contracts 免密支付签约, pre-signed, queried and terminated.

pub mod ecommerce;
mod session;

pub(crate) use session::number_or_text;
pub use session::{LaunchExtraData, LaunchParameters, MiniProgramSession};
