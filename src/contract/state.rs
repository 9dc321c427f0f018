//! The states of a contract and the ways in which it ends.

use crate::open_enum::open_enum;

open_enum! {
    /// The state of a contract 协议状态.
    ///
    /// Only `SIGNED` is documented for password-exempt contracts. The other names are those of WeChat Pay's sister
    /// products.
    ContractState {
        /// The contract is in force. Documented.
        Signed = "SIGNED",
        /// The contract has ended. Known from sister products.
        Terminated = "TERMINATED",
        /// The signing failed. Known from sister products.
        SignFailed = "SIGN_FAILED",
        /// The contract must be signed again. Known from sister products.
        ToBeRenewed = "TO_BE_RENEWED",
        /// The termination is under way. Known from sister products.
        TerminatePending = "TERMINATE_PENDING",
    }
}

open_enum! {
    /// The way in which a contract was ended 协议解约方式.
    ///
    /// Only `USER_TERMINATE` is documented for password-exempt contracts. The other names are those of WeChat Pay's sister
    /// products.
    TerminationMode {
        /// By the user. Documented.
        UserTerminate = "USER_TERMINATE",
        /// By the merchant through the API. Known from sister products.
        MchApiTerminate = "MCH_API_TERMINATE",
        /// Through the API. Known from sister products.
        Api = "API",
        /// On WeChat Pay's merchant platform. Known from sister products.
        WepayWebTerminate = "WEPAY_WEB_TERMINATE",
        /// By WeChat Pay's customer service. Known from sister products.
        CustomerServiceTerminate = "CUSTOMER_SERVICE_TERMINATE",
        /// By WeChat Pay's system. Known from sister products.
        SystemTerminate = "SYSTEM_TERMINATE",
    }
}
