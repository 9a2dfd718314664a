//! What a gateway tells of contracts, and when it does not.

use super::*;

#[tokio::test]
async fn a_contract_that_is_not_told_now_hides_no_other_and_does_not_vanish() {
    for (path, status) in
        [("/iserver/contract", 503), ("/iserver/contract", 0), ("/trsrv/secdef", 502), ("/trsrv/secdef", 0)]
    {
        let fixture = Fixture::new(Knowledge {
            cached: vec![unnamed(1), spy(2, "2")],
            definitions: HashMap::from([(1, r#""multiplier":100"#)]),
            infos: HashMap::from([(1, r#"{"local_symbol":"SPY   270115C00440000"}"#)]),
            failing: HashMap::from([(path, status)]),
            ..Knowledge::default()
        })
        .await;
        let told = fixture.look().await.unwrap();
        let whole = told.holdings.iter().filter(|it| !it.quantity.is_nan()).map(|it| it.conid.get());
        assert_eq!((whole.collect::<Vec<_>>(), told.skipped), (vec![2], 1), "{path} {status}");
        // Told at the next look, it stays when nothing is told again.
        fixture.know(|it| it.failing.clear());
        let expected = ["1 SPY   270115C00440000 x100 on SPY", "2 SPY   270115C00440000 x100 on SPY"];
        assert_eq!(fixture.told().await, expected, "{path} {status}");
        fixture.know(|it| {
            it.failing = HashMap::from([(path, status)]);
            it.cached[0] = r#"{"conid":1,"assetClass":"OPT","position":1}"#.into();
        });
        assert_eq!(fixture.told().await, expected, "{path} {status}");
    }
}

#[tokio::test]
async fn a_gateway_that_tells_nothing_of_contracts_is_not_asked_about_each() {
    let fixture = Fixture::new(Knowledge {
        cached: (1..=50).map(unnamed).collect(),
        failing: HashMap::from([("/iserver/contract", 0), ("/trsrv/secdef", 0)]),
        ..Knowledge::default()
    })
    .await;
    for _ in 0..2 {
        assert_eq!(fixture.look().await.unwrap().skipped, 50);
        assert_eq!(fixture.questions().len(), 3);
    }
}

/// A row that lacks what only its definition tells.
fn short(conid: i64) -> String {
    spy(conid, "1").replace(",\"multiplier\":100,", ",").replace("00440000 100]", "00440000]")
}

#[tokio::test]
async fn definitions_are_asked_for_by_the_hundreds() {
    let fixture = Fixture::new(Knowledge {
        cached: (1..=401).map(short).collect(),
        definitions: (1..=401).map(|conid| (conid, r#""multiplier":100"#)).collect(),
        ..Knowledge::default()
    })
    .await;
    assert_eq!(fixture.look().await.unwrap().skipped, 0);
    let sizes: Vec<_> = fixture.questions().iter().map(|line| line.split("%2C").count()).collect();
    assert_eq!(sizes, [200, 200, 1]);
}

#[tokio::test]
async fn a_bad_contract_spoils_no_other_definition() {
    let fixture = Fixture::new(Knowledge {
        cached: (1..=200).map(short).collect(),
        definitions: (1..=200).map(|conid| (conid, r#""multiplier":100"#)).collect(),
        bad: vec![77],
        ..Knowledge::default()
    })
    .await;
    let skipped = async || fixture.look().await.unwrap().skipped;
    assert_eq!(skipped().await, 1);
    let asked = fixture.questions().len();
    assert!(asked <= 1 + 2 * 8, "{asked}");
    assert_eq!((skipped().await, fixture.questions().len()), (1, 0), "it is known to be bad");
    // New ones are defined all the same.
    fixture.know(|it| {
        it.cached.push(short(300));
        it.definitions.insert(300, r#""multiplier":100"#);
    });
    assert_eq!((skipped().await, fixture.questions()), (1, vec!["GET /trsrv/secdef?conids=300".to_owned()]));
    tokio::time::pause();
    tokio::time::advance(std::time::Duration::from_secs(600)).await;
    tokio::time::resume();
    fixture.know(|it| it.bad.clear());
    assert_eq!((skipped().await, fixture.questions().len()), (0, 1));
}

#[tokio::test]
async fn a_gateway_that_defines_nothing_is_not_searched_for_bad_contracts_again_and_again() {
    let cached = (1..=200).map(short).collect();
    let failing = HashMap::from([("/trsrv/secdef", 500)]);
    let fixture = Fixture::new(Knowledge { cached, failing, ..Knowledge::default() }).await;
    assert_eq!(fixture.look().await.unwrap().skipped, 200);
    let asked = fixture.questions().len();
    assert!(asked <= 1 + 2 * 16, "{asked}");
    fixture.look().await.unwrap();
    assert_eq!(fixture.questions().len(), 1);
    // Not one of them passes for bad.
    fixture.know(|it| {
        it.failing.clear();
        it.definitions = (1..=200).map(|conid| (conid, r#""multiplier":100"#)).collect();
    });
    assert_eq!(fixture.look().await.unwrap().skipped, 0);
}

#[tokio::test]
async fn an_underlying_that_no_definition_tells_is_told_by_the_exchanges_names() {
    let orphan = spy(1, "1").replace("\"undConid\":756733,", "");
    let fixture = Fixture::new(Knowledge {
        cached: vec![orphan.clone(), spy(2, "1")],
        infos: HashMap::from([(1, r#"{"underlying_con_id":756733,"symbol":"SPY"}"#)]),
        bad: vec![1],
        ..Knowledge::default()
    })
    .await;
    let underlying = async || fixture.look().await.unwrap().holdings[0].underlying_conid.map(Conid::get);
    assert_eq!(underlying().await, Some(756_733));
    assert_eq!(fixture.questions(), ["GET /trsrv/secdef?conids=1", "GET /iserver/contract/1/info"]);
    assert_eq!(underlying().await, Some(756_733));
    assert_eq!(fixture.questions(), ["GET /trsrv/secdef?conids=1"]);
    // One that was known needs no answer.
    fixture.know(|it| {
        it.cached = vec![orphan.replace("\"conid\":1,", "\"conid\":2,")];
    });
    assert_eq!(underlying().await, Some(756_733));
    assert_eq!(fixture.questions(), ["GET /trsrv/secdef?conids=2"]);

    // One that is not told there either is not asked for with every look.
    let fixture = Fixture::new(Knowledge { cached: vec![orphan], ..Knowledge::default() }).await;
    for asked in [2, 1] {
        assert_eq!(fixture.look().await.unwrap().holdings[0].underlying_conid, None);
        assert_eq!(fixture.questions().len(), asked);
    }
}
