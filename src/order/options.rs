//! The optional parts of an order, the same for direct merchants and partners.

use serde::Serialize;

use crate::error::InvalidField;
use crate::rules;

/// The optional fields of an order. `..OrderOptions::default()` leaves out the rest.
///
/// Sources: <https://pay.weixin.qq.com/doc/v3/merchant/4012526910>,
/// <https://pay.weixin.qq.com/doc/v3/partner/4012526951>. The lengths within `detail` and `scene_info` are inferred from
/// orders without a contract and not enforced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct OrderOptions<'a> {
    /// The payment deadline 支付结束时间, in the form of RFC 3339: `2018-06-08T10:34:56+08:00`, up to 64
    /// characters. It is 1 minute to 15 days after the order. WeChat Pay moves other times to these limits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_expire: Option<&'a str>,
    /// The merchant's own data 附加数据, which notification and query return, up to 128 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attach: Option<&'a str>,
    /// The tag that selects coupons 订单优惠标记, up to 32 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub goods_tag: Option<&'a str>,
    /// `true` to offer the user an electronic invoice 电子发票入口开放标识.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub support_fapiao: Option<bool>,
    /// The goods, for coupons 优惠功能.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<Detail<'a>>,
    /// The place of the order 场景信息.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scene_info: Option<SceneInfo<'a>>,
    /// The settlement 结算信息.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settle_info: Option<SettleInfo>,
}

impl OrderOptions<'_> {
    pub(super) fn check(&self) -> Result<(), InvalidField> {
        self.time_expire.map_or(Ok(()), rules::time_expire)?;
        rules::up_to("attach", self.attach.unwrap_or_default(), 128)?;
        rules::up_to("goods_tag", self.goods_tag.unwrap_or_default(), 32)?;
        self.detail.map_or(Ok(()), |detail| detail.check())?;
        self.scene_info.map_or(Ok(()), |scene| scene.check())
    }
}

/// The goods of an order, for coupons 优惠功能.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Detail<'a> {
    /// The price before any discount 订单原价, in fen 分.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_price: Option<u64>,
    /// The number of the merchant's receipt 商品小票ID, up to 32 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invoice_id: Option<&'a str>,
    /// The list of goods 单品列表: at least one entry.
    pub goods_detail: &'a [GoodsDetail<'a>],
}

impl Detail<'_> {
    fn check(&self) -> Result<(), InvalidField> {
        rules::ensure(!self.goods_detail.is_empty(), "detail.goods_detail", || {
            "is empty: wanted at least one entry, or no detail".to_owned()
        })?;
        let ids = self.goods_detail.iter().map(|item| item.merchant_goods_id);
        rules::goods_ids("detail.goods_detail", ids)
    }
}

/// One of an order's goods 单品.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct GoodsDetail<'a> {
    /// The merchant's code for the goods 商户侧商品编码, up to 32 characters. Required.
    pub merchant_goods_id: &'a str,
    /// WeChat Pay's code for the goods 微信支付商品编码, up to 32 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wechatpay_goods_id: Option<&'a str>,
    /// The name of the goods 商品名称, up to 256 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub goods_name: Option<&'a str>,
    /// The quantity 商品数量. Required.
    pub quantity: u64,
    /// The unit price 商品单价, in fen 分. Required.
    pub unit_price: u64,
}

/// The place of an order 场景信息.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct SceneInfo<'a> {
    /// The user's IP address 用户终端IP, version 4 or 6, up to 45 characters. Required.
    pub payer_client_ip: &'a str,
    /// The merchant's device number 商户端设备号, up to 32 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_id: Option<&'a str>,
    /// The shop 商户门店信息.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_info: Option<StoreInfo<'a>>,
}

impl SceneInfo<'_> {
    fn check(&self) -> Result<(), InvalidField> {
        rules::required("scene_info.payer_client_ip", self.payer_client_ip)?;
        self.store_info.map_or(Ok(()), |store| {
            rules::required("scene_info.store_info.id", store.id)
        })
    }
}

/// The shop in which an order is made 商户门店信息.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct StoreInfo<'a> {
    /// The merchant's shop number 门店编号, up to 32 characters. Required.
    pub id: &'a str,
    /// The shop's name 商户门店名称, up to 256 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'a str>,
    /// The code of the shop's region 地区编码, up to 32 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub area_code: Option<&'a str>,
    /// The shop's address 详细地址, up to 512 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<&'a str>,
}

/// The settlement of an order 结算信息.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct SettleInfo {
    /// `true` to mark the order for profit sharing 是否指定分账.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profit_sharing: Option<bool>,
}
