//! A merchant at a sandbox with a signed contract, for the tests of an order's life.

use std::time::SystemTime;

use wechatpay_contract::order::{
    Amount, CloseOrder, ContractInfo, CreatePlatformRefund, CreateRefund, JsapiOrder, OrderNumber,
    OrderOptions, OwnOrder, PartnerJsapiOrder, PartnerPayer, Payee, Payer, Prepay, QueryOrder,
    QueryPlatformRefund, QueryRefund, Refund, RefundAmount, RefundNumber, RefundOptions,
    Transaction,
};
use wechatpay_contract::sandbox::Sandbox;
use wechatpay_contract::{
    ApiV3Key, Client, Error, Event, NotificationReceiver, SignatureHeaders, ecommerce,
};

pub(crate) const APPID: &str = "wxd678efh567hg6787";
pub(crate) const OPENID: &str = "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o";
pub(crate) const SUB_MCHID: &str = "1900000110";
pub(crate) const DIRECT: Payee<'static> = Payee::Merchant {
    mchid: Sandbox::MCHID,
};
pub(crate) const PARTNER: Payee<'static> = Payee::SubMerchant {
    sp_mchid: Sandbox::MCHID,
    sub_mchid: SUB_MCHID,
};
pub(crate) const TOTAL: u64 = 100;

/// A contract that can be pre-signed.
pub(crate) fn contract(out_contract_code: &str) -> ecommerce::MiniProgramPreSign<'_> {
    ecommerce::MiniProgramPreSign {
        appid: APPID,
        service_id: 12535,
        out_contract_code,
        notify_url: "https://yourapp.com/notify",
        contract_display_account: "微信代扣用户A",
        openid: OPENID,
    }
}

pub(crate) struct Shop {
    pub(crate) sandbox: Sandbox,
    pub(crate) client: Client,
    pub(crate) contract_id: String,
    receiver: NotificationReceiver,
}

impl Shop {
    pub(crate) fn open() -> Self {
        let sandbox = Sandbox::start().unwrap();
        let client = sandbox.client();
        client.send(&contract("code1")).unwrap();
        let key = ApiV3Key::new(Sandbox::API_V3_KEY).unwrap();
        Self {
            contract_id: sandbox.user_signs("code1").unwrap(),
            receiver: NotificationReceiver::new(sandbox.verifier(), key),
            client,
            sandbox,
        }
    }

    pub(crate) fn order<'a>(&'a self, out_trade_no: &'a str) -> JsapiOrder<'a> {
        JsapiOrder {
            appid: APPID,
            mchid: Sandbox::MCHID,
            description: "Image形象店",
            out_trade_no,
            notify_url: "https://yourapp.com/paid",
            amount: Amount::fen(TOTAL),
            payer: Payer { openid: OPENID },
            contract_info: ContractInfo::PasswordFreeContractId(&self.contract_id),
            options: OrderOptions::default(),
        }
    }

    pub(crate) fn partner_order<'a>(&'a self, out_trade_no: &'a str) -> PartnerJsapiOrder<'a> {
        PartnerJsapiOrder {
            sp_appid: APPID,
            sp_mchid: Sandbox::MCHID,
            sub_appid: None,
            sub_mchid: SUB_MCHID,
            description: "Image形象店",
            out_trade_no,
            notify_url: "http://10.0.0.1/paid",
            amount: Amount::fen(TOTAL),
            payer: PartnerPayer::SpOpenid(OPENID),
            contract_info: ContractInfo::PasswordFreeContractId(&self.contract_id),
            options: OrderOptions::default(),
        }
    }

    /// Places an order for this kind of merchant.
    pub(crate) fn place(&self, payee: Payee<'_>, out_trade_no: &str) -> Result<Prepay, Error> {
        match payee {
            Payee::Merchant { .. } => self.client.send(&self.order(out_trade_no)),
            Payee::SubMerchant { .. } => self.client.send(&self.partner_order(out_trade_no)),
        }
    }

    /// Places an order that the user pays.
    pub(crate) fn paid(&self, payee: Payee<'_>, out_trade_no: &str) -> String {
        self.place(payee, out_trade_no).unwrap();
        self.sandbox.user_pays(out_trade_no).unwrap()
    }

    pub(crate) fn query(&self, payee: Payee<'_>, order: OrderNumber<'_>) -> Transaction {
        self.client.send(&QueryOrder { payee, order }).unwrap()
    }

    pub(crate) fn query_refund(&self, out_refund_no: &str) -> Result<Refund, Error> {
        let sub_mchid = None;
        let query = QueryRefund {
            sub_mchid,
            out_refund_no,
        };
        self.client.send(&query)
    }

    pub(crate) fn query_platform_refund(&self, refund: RefundNumber<'_>) -> Result<Refund, Error> {
        let sub_mchid = SUB_MCHID;
        self.client.send(&QueryPlatformRefund { sub_mchid, refund })
    }

    /// The newest notification, opened by the merchant's receiver.
    pub(crate) fn newest_event(&self) -> Event {
        let sent = self.sandbox.notifications().pop().unwrap();
        let headers = sent.headers.iter().map(|(name, value)| (name, value));
        let headers = SignatureHeaders::from_pairs(headers).unwrap();
        let opened = self.receiver.open(&headers, &sent.body, SystemTime::now());
        opened.unwrap().content
    }
}

pub(crate) fn own_order<'a>(payee: Payee<'static>, out_trade_no: &'a str) -> OwnOrder<'a> {
    OwnOrder {
        payee,
        appid: APPID,
        sub_appid: None,
        out_trade_no,
        total: TOTAL,
        currency: "CNY",
    }
}

pub(crate) fn refund_of<'a>(
    out_trade_no: &'a str,
    out_refund_no: &'a str,
    fen: u64,
) -> CreateRefund<'a> {
    CreateRefund {
        sub_mchid: None,
        order: OrderNumber::OutTradeNo(out_trade_no),
        out_refund_no,
        amount: RefundAmount::fen(fen, TOTAL),
        goods_detail: &[],
        options: RefundOptions::default(),
    }
}

pub(crate) fn platform_refund_of<'a>(
    out_trade_no: &'a str,
    out_refund_no: &'a str,
    fen: u64,
) -> CreatePlatformRefund<'a> {
    CreatePlatformRefund {
        sub_mchid: SUB_MCHID,
        sp_appid: APPID,
        sub_appid: None,
        order: OrderNumber::OutTradeNo(out_trade_no),
        out_refund_no,
        amount: RefundAmount::fen(fen, TOTAL),
        refund_account: None,
        options: RefundOptions::default(),
    }
}

pub(crate) fn close_of<'a>(payee: Payee<'a>, out_trade_no: &'a str) -> CloseOrder<'a> {
    CloseOrder {
        payee,
        out_trade_no,
    }
}
