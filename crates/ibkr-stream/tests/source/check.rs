//! What a check tells apart.

use std::time::Duration;

use crate::fake::*;
use greeks_model::{OperatorReason, Retry, UnixNanos};
use ibkr_stream::{Brokerage, CheckReport, Error, IbkrConfig, MarketData, check};

async fn checked(config: IbkrConfig) -> Result<CheckReport, Error> {
    check(&config, &no_trust(), UnixNanos::from_millis(1_767_225_600_000)).await
}

fn quick(gateway: &Gateway) -> IbkrConfig {
    let mut config = gateway.config();
    config.first_frame_after = Duration::from_millis(200);
    config
}

/// A check against a gateway that says these fields of the option, and quotes the underlying.
async fn with_market_data(fields: &str) -> (CheckReport, Vec<String>) {
    with_frames(&[&quote(SPY), &frame(SPY_CALL, fields)][..1 + usize::from(!fields.is_empty())]).await
}

async fn with_frames(frames: &[&String]) -> (CheckReport, Vec<String>) {
    let gateway = Gateway::start().await;
    let config = quick(&gateway);
    let task = tokio::spawn(checked(config));
    let mut wire = gateway.authenticate().await;
    wire.expect_subscriptions(&[SPY, SPY_CALL]).await;
    for frame in frames {
        wire.say(frame).await;
    }
    let heard = wire.until_closed().await.expect("no close frame");
    gateway.assert_clean();
    (task.await.unwrap().unwrap(), heard)
}

#[tokio::test]
async fn a_healthy_gateway_is_told_in_full() {
    let (report, heard) = with_market_data(r#""7308":"0.5","6509":"RpB""#).await;
    assert_eq!(
        report.to_string().split_once("\n").unwrap().1,
        "brokerage session: open\naccounts: ··0001\noption positions: 2, not understood: 0\nmarket data: live"
    );
    // A source that runs beside may stream the same contract.
    assert!(!heard.iter().any(|text| text.starts_with("umd")), "{heard:?}");
}

#[tokio::test]
async fn every_kind_of_market_data_is_told_apart() {
    for (fields, expected) in [
        (r#""84":"5.1","6509":"RpB""#, MarketData::Live),
        (r#""84":"5.1","6509":"DpB""#, MarketData::Delayed),
        (r#""84":"5.1","6509":"ZpB""#, MarketData::Frozen),
        (r#""6509":"N""#, MarketData::NotPermitted),
        (r#""6509":"O""#, MarketData::NotAcknowledged),
        ("", MarketData::Silent),
    ] {
        let (report, _) = with_market_data(fields).await;
        assert_eq!(report.market_data, expected, "{fields}");
    }
    let (report, _) = with_frames(&[&quote(SPY_CALL)]).await;
    assert_eq!(report.market_data, MarketData::UnderlyingSilent);
}

#[tokio::test]
async fn a_brokerage_session_is_opened_but_never_taken() {
    let gateway = Gateway::start().await;
    gateway.change(|state| {
        state.hold(Vec::new());
        state.authenticated = false;
    });
    let report = checked(quick(&gateway)).await.unwrap();
    assert_eq!((report.brokerage, report.market_data), (Brokerage::Opened, MarketData::NotTried));
    assert_eq!(report.option_positions, 0);
    gateway.state().lose_session();
    gateway.state().taken = true;
    let error = checked(quick(&gateway)).await.unwrap_err();
    assert_eq!(error.retry(), Retry::Operator(OperatorReason::SessionTaken), "{error}");
    // Even where a source may.
    let mut config = quick(&gateway);
    config.compete = true;
    let report = checked(config).await.unwrap();
    assert!(matches!(report.brokerage, Brokerage::InUseElsewhere { .. }), "{report}");
    assert!(gateway.state().taken, "it was taken away");
    assert!(!gateway.state().requests.iter().any(|it| it.body.contains(r#""compete":true"#)));
}

/// What a future is only the brokerage session tells, and without leave to take it there is none to ask.
#[tokio::test]
async fn positions_that_need_the_brokerage_session_are_not_looked_at_without_one() {
    let gateway = Gateway::start().await;
    gateway.change(|state| {
        state.lose_session();
        state.taken = true;
        state.accounts = vec![ACCOUNT.into(), OTHER.into()];
        state.hold(vec![spy_call(OTHER, 1.0)]);
    });
    gateway.answer(
        "/U0000001/positions/0",
        Reply::ok(
            r#"[{"acctId":"U0000001","conid":700001,"contractDesc":"ES","assetClass":"FOP","position":1,"expiry":"20270115","putOrCall":"C","strike":"6000","multiplier":50,"undConid":495512572}]"#,
        ),
    );
    gateway.answer("/iserver/contract", Reply::status(400, r#"{"error":"Bad Request: no bridge","statusCode":400}"#));
    let mut config = quick(&gateway);
    config.compete = true;
    let report = checked(config).await.unwrap();
    assert!(matches!(report.brokerage, Brokerage::InUseElsewhere { .. }), "{report}");
    assert_eq!((report.option_positions, report.skipped_positions), (1, 0));
    let line = "positions not looked at: ··0001, for which the brokerage session is needed";
    assert!(report.to_string().lines().any(|told| told == line), "{report}");
    gateway.assert_clean();
}

#[tokio::test]
async fn each_fault_has_its_own_words() {
    let gateway = Gateway::start().await;
    gateway.state().logged_in = false;
    let error = checked(quick(&gateway)).await.unwrap_err();
    assert!(matches!(error, Error::LoginRequired { .. }), "{error}");
    assert_eq!(gateway.take_calls(), ["POST /tickle"]);
    gateway.change(|state| {
        (state.logged_in, state.authenticated, state.init_fails) = (true, false, true);
    });
    let error = checked(quick(&gateway)).await.unwrap_err();
    assert!(matches!(error, Error::NoBrokerageSession { .. }), "{error}");
    gateway.answer("/", Reply::status(503, ""));
    let error = checked(quick(&gateway)).await.unwrap_err();
    assert!(matches!(error, Error::Maintenance { .. }), "{error}");
    gateway.recover();
    gateway.answer("/", Reply::status(403, "access denied"));
    let error = checked(quick(&gateway)).await.unwrap_err();
    assert!(matches!(error, Error::Forbidden { .. }), "{error}");
    let config = quick(&gateway);
    drop(gateway);
    tokio::task::yield_now().await;
    let error = checked(config).await.unwrap_err();
    assert!(matches!(error, Error::NotRunning { .. }), "{error}");
}
