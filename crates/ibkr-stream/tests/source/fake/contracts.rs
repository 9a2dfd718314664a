//! What is held, and what is said of it.

use super::ACCOUNT;

/// An open position as the gateway's list of positions shows it.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) account: String,
    pub(crate) conid: i64,
    pub(crate) quantity: f64,
    /// With the OSI symbol.
    description: String,
    strike: String,
    put_or_call: char,
}

pub(crate) const SPY: i64 = 756_733;
pub(crate) const SPY_CALL: i64 = 584_891_614;
pub(crate) const SPY_PUT: i64 = 584_891_615;
/// In the order of subscription: heavier positions first, each after what it is written on.
pub(crate) const ALL: [i64; 3] = [SPY, SPY_CALL, SPY_PUT];

pub(crate) fn spy_call(account: &str, quantity: f64) -> Held {
    spy_option(account, SPY_CALL, quantity, 440, 'C')
}

pub(crate) fn spy_put(account: &str, quantity: f64) -> Held {
    spy_option(account, SPY_PUT, quantity, 400, 'P')
}

pub(crate) fn spy_option(account: &str, conid: i64, quantity: f64, strike: u32, put_or_call: char) -> Held {
    let osi = format!("SPY   270115{put_or_call}{:08} 100", strike * 1000);
    Held {
        account: account.into(),
        conid,
        quantity,
        description: format!("SPY    JAN2027 {strike} {put_or_call} [{osi}]"),
        strike: strike.to_string(),
        put_or_call,
    }
}

impl Held {
    /// The row of the list of positions.
    pub(crate) fn row(&self) -> String {
        let Self { account, conid, quantity, description, strike, put_or_call } = self;
        format!(
            r#"{{"acctId":"{account}","conid":{conid},"contractDesc":"{description}","assetClass":"OPT","position":{quantity},"mktPrice":95.707,"mktValue":9570.71,"avgCost":5801.0401,"avgPrice":58.010401,"currency":"USD","expiry":"20270115","lastTradingDay":"20270115","putOrCall":"{put_or_call}","strike":"{strike}","multiplier":100,"ticker":"SPY","undConid":{SPY},"undSym":"SPY","fullName":"SPY Jan15'27 {strike}","exerciseStyle":null,"pageSize":100}}"#
        )
    }
}

/// A stock, which is of no interest.
pub(crate) fn stock_row() -> String {
    format!(
        r#"{{"acctId":"{ACCOUNT}","conid":{SPY},"contractDesc":"SPY","position":10.0,"mktPrice":100.0,"assetClass":"STK","exchs":null,"expiry":null,"putOrCall":null,"multiplier":null,"strike":0.0,"undConid":0}}"#
    )
}

pub(crate) const HEARTBEAT: &str = r#"{"topic":"system","hb":1594677336001}"#;

/// A first frame of a contract.
pub(crate) fn quote(conid: i64) -> String {
    frame(conid, r#""31":"5.20","84":"5.15","86":"5.25","7308":"0.500","6509":"RpB""#)
}

/// A frame with one delta.
pub(crate) fn delta_frame(conid: i64, delta: f64) -> String {
    frame(conid, &format!(r#""7308":"{delta:?}""#))
}

/// A frame of market data, its topic last.
pub(crate) fn frame(conid: i64, fields: &str) -> String {
    format!(
        r#"{{"server_id":"q0","conidEx":"{conid}","conid":{conid},"_updated":1767225600000,"6119":"q0",{fields},"topic":"smd+{conid}"}}"#
    )
}
