use std::io::Write;

use super::*;

const HEADER: &str = "underlying,underlying_last, exchange,optionroot,optionext,type,expiration,quotedate,strike,last,bid,ask,volume,openinterest,impliedvol,delta,gamma,theta,vega,optionalias";

fn file(lines: &[&str]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    write!(file, "\u{feff}{HEADER}\n{}\n", lines.join("\n")).unwrap();
    file
}

fn row(kind: &str, date: &str, strike: &str, spot: &str, volatility: &str, greeks: &str) -> String {
    let letter = if kind == "call" { "C" } else { "P" };
    format!(
        "ZZZW,{spot},W,ZZZW190315{letter}00100000,,{kind},03/15/2019,{date},{strike},0,1,2,0,7,{volatility},{greeks},x"
    )
}

fn read(lines: &[String], carry: CarrySource) -> Result<Chain, SimError> {
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    Chain::read(file(&lines).path(), carry)
}

#[test]
fn byte_order_mark_and_blanks_in_the_header_do_no_harm() {
    let flat = "0.5,0.01,-9,3";
    let lines = [
        row("call", "03/05/2019", "100", "101.5", "0.2", flat),
        row("put", "03/05/2019", "100", "101.5", "0.25", flat),
        row("call", "03/04/2019", "100", "99.25", "0.3", flat),
        row("call", "03/05/2019", "102.5", "101.5", "0.1", flat),
    ];
    let chain = read(&lines, CarrySource::Fixed(Carry { rate: 0.01, dividend_yield: 0.02 })).unwrap();
    let keys: Vec<String> = chain.contracts.iter().map(|listing| listing.contract.to_string()).collect();
    assert_eq!(keys, ["ZZZW  190315C00100000", "ZZZW  190315P00100000", "ZZZW  190315C00102500"]);
    assert_eq!(chain.underlyings, ["ZZZW"]);
    let dates: Vec<String> = chain.days.iter().map(|day| day.date.to_string()).collect();
    assert_eq!(dates, ["2019-03-04", "2019-03-05"], "days in order, whatever the order of rows");
    assert_eq!(chain.days[0].spots[&0], 99.25);
    let second: Vec<(usize, f64)> = chain.days[1].quotes.iter().map(|q| (q.contract, q.volatility)).collect();
    assert_eq!(second, [(0, 0.2), (1, 0.25), (2, 0.1)]);
    assert_eq!(chain.days[1].quotes[0].carry, Carry { rate: 0.01, dividend_yield: 0.02 });
}

#[test]
fn an_index_root_leads_to_its_index() {
    let line = "SPXW,2700,W,SPXW190315C02700000,,call,03/15/2019,03/05/2019,2700,0,1,2,0,7,0.2,0.5,0.1,-9,3,x";
    let chain = Chain::read(file(&[line]).path(), CarrySource::File).unwrap();
    assert_eq!(chain.underlyings, ["SPX"]);
    assert_eq!(chain.contracts[0].underlying, "SPX");
    assert_eq!(chain.contracts[0].streamer_symbol, ".SPXW190315C2700");
    assert_eq!(chain.days[0].quotes[0].carry, Carry::default(), "a file that does not tell means none");
}

#[test]
fn carry_is_that_of_the_day_or_the_nearest_that_tells() {
    let years = years_from_close("2019-03-05".parse().unwrap(), "2019-03-15".parse().unwrap());
    assert!((years * 365.0 - (9.0 + 1.0 / 3.0)).abs() < 1e-12, "from 16:00 to the first minute of the last day");
    let (rate, spot) = (0.02, 101.5);
    let deep = |strike: f64| format!("1,0,{:.4},0", -rate * strike * (-rate * years).exp());
    let lines = [
        row("call", "03/04/2019", "100", "99.25", "0.3", "0.5,0.01,-9,3"),
        row("call", "03/05/2019", "20", "101.5", "0.2", &deep(20.0)),
        row("call", "03/05/2019", "60", "101.5", "0.2", &deep(60.0)),
        row("call", "03/06/2019", "100", "99.25", "0.3", "0.5,0.01,-9,3"),
    ];
    let chain = read(&lines, CarrySource::File).unwrap();
    for day in &chain.days {
        let carry = day.quotes[0].carry;
        assert!((carry.rate - rate).abs() < 2e-6, "{}: {carry:?}", day.date);
        assert!(carry.dividend_yield.abs() < 1e-5 * spot, "{carry:?}");
    }
}

#[test]
fn nonsense_is_named_with_its_line() {
    let good = row("call", "03/05/2019", "100", "101.5", "0.2", "0.5,0.01,-9,3");
    for (line, reason) in [
        (good.replace("03/05/2019", "2019-03-05"), "is no date"),
        (good.replace("03/05/2019", "13/05/2019"), "is no date"),
        (good.replace("call", "warrant"), "neither call nor put"),
        (good.replace("101.5", "0"), "a spot of 0"),
        (good.replace(",0.2,", ",-0.2,"), "volatility of -0.2"),
        (good.replace(",0.2,", ",NaN,"), "is no number"),
        (good.replace(",100,", ",-1,"), "is not a contract"),
        (good.replace("101.5", "101.6"), "a second spot"),
        (good.clone(), "a second row"),
    ] {
        let error = read(&[good.clone(), line], CarrySource::File).unwrap_err();
        assert!(matches!(&error, SimError::ChainRow { line: 3, .. }), "{error:?}");
        assert!(error.to_string().contains(reason), "{error}");
    }
    assert!(matches!(read(&[], CarrySource::File), Err(SimError::ChainRow { .. })));
    let mut other = tempfile::NamedTempFile::new().unwrap();
    other.write_all(b"a,b\n1,2\n").unwrap();
    let error = Chain::read(other.path(), CarrySource::File).unwrap_err();
    assert!(error.to_string().contains("no column \"underlying\""), "{error}");
    let missing = Chain::read(Path::new("/nonexistent/chain.csv"), CarrySource::File).unwrap_err();
    assert!(matches!(missing, SimError::ChainFile { .. }));
}
