use std::io::Write;

use super::*;
use crate::market::Carry;
use crate::market::chain::{CarrySource, years_from_close};

const CARRY: Carry = Carry { rate: 0.02, dividend_yield: 0.01 };

/// Two expiries over three days around a weekend; the first expires on the last day.
fn config() -> (ChainMarket, tempfile::NamedTempFile) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "underlying,underlying_last,optionroot,type,expiration,quotedate,strike,impliedvol").unwrap();
    let days = [("02/02/2018", 2760.0, 0.15), ("02/05/2018", 2649.0, 0.30), ("02/06/2018", 2695.0, 0.25)];
    for (date, spot, volatility) in days {
        for (letter, kind) in [("C", "call"), ("P", "put")] {
            for (expiration, code) in [("02/06/2018", "180206"), ("02/28/2018", "180228")] {
                let root = format!("SPXW{code}{letter}02700000");
                writeln!(file, "SPXW,{spot},{root},{kind},{expiration},{date},2700,{volatility}").unwrap();
            }
        }
    }
    let config = ChainMarket {
        day: Duration::from_secs(1),
        night: Duration::from_millis(200),
        rate: 50.0,
        underlying_rate: 10.0,
        carry: CarrySource::Fixed(CARRY),
        ..ChainMarket::new(file.path())
    };
    (config, file)
}

fn play(replay: &mut Replay) -> Vec<(Duration, Event)> {
    let mut events = Vec::new();
    let mut at = Duration::ZERO;
    loop {
        let mut out = Vec::new();
        let due = replay.advance(at, 0, &mut out);
        events.extend(out.into_iter().map(|event| (at, event)));
        match due {
            Due::At(next) => {
                assert!(next > at);
                at = next;
            }
            Due::Finished => return events,
        }
    }
}

fn close_of(day: &str) -> i64 {
    millis(&new_york(), day.parse::<jiff::civil::Date>().unwrap().to_datetime(CLOSE))
}

#[test]
fn every_contract_gets_every_close_exactly_as_the_file_has_it() {
    let hub = Hub::new();
    let (config, _file) = config();
    let (mut replay, book) = Replay::new(&config, &hub).unwrap();
    assert_eq!(book.positions.len(), 4);
    let events = play(&mut replay);
    for (day, spot, volatility) in
        [("2018-02-02", 2760.0, 0.15), ("2018-02-05", 2649.0, 0.30), ("2018-02-06", 2695.0, 0.25)]
    {
        let time = close_of(day);
        for listing in book.positions.iter().filter_map(|position| position.listing()) {
            let symbol = hub.lookup(&listing.streamer_symbol).unwrap();
            let at_close: Vec<_> = events
                .iter()
                .filter(|(_, event)| event.symbol == symbol && event.stamp.time == time)
                .map(|(_, event)| event.body)
                .collect();
            let years = years_from_close(day.parse().unwrap(), listing.contract.expiration());
            let Carry { rate, dividend_yield } = CARRY;
            let model = BlackScholes { spot, strike: 2700.0, rate, dividend_yield, years };
            let expected = GreekValues::of(volatility, &model.greeks(listing.kind(), volatility));
            assert_eq!(at_close, [Body::Greeks(expected)], "{listing:?} on {day}");
        }
        let spx = hub.lookup("SPX").unwrap();
        let level = |event: &&(Duration, Event)| event.1.symbol == spx && event.1.stamp.time == time;
        let levels: Vec<_> = events.iter().filter(level).map(|(_, event)| event.body).collect();
        assert!(
            matches!(levels.as_slice(), [Body::Quote { bid, .. }, Body::Trade { price, .. }] if *bid == spot && *price == spot)
        );
    }
}

#[test]
fn days_take_their_time_and_nights_are_silent() {
    let hub = Hub::new();
    let (config, _file) = config();
    let (mut replay, _) = Replay::new(&config, &hub).unwrap();
    let events = play(&mut replay);
    let friday = close_of("2018-02-02");
    let monday_open = close_of("2018-02-05") - 6 * 3_600_000 - 1_800_000;
    for (at, event) in &events {
        let time = event.stamp.time;
        if time <= friday {
            assert!(*at <= Duration::from_millis(1010), "{at:?}");
        } else {
            assert!(*at >= Duration::from_millis(1200), "a night of 200 ms: {at:?}");
            assert!(time >= monday_open, "nothing happens over a weekend");
        }
    }
    let intraday = events.iter().filter(|(_, event)| event.kind() == Kind::Greeks && event.stamp.time < friday).count();
    assert!(intraday.abs_diff(50) <= 1, "{intraday}");
    let mut last: HashMap<(SymbolId, u8), Stamp> = HashMap::new();
    for (_, event) in &events {
        let before = last.insert((event.symbol, event.kind() as u8), event.stamp);
        assert!(before.is_none_or(|before| before < event.stamp));
    }
}

#[test]
fn between_two_closes_everything_lies_between_them() {
    let hub = Hub::new();
    let (config, _file) = config();
    let (mut replay, _) = Replay::new(&config, &hub).unwrap();
    let spx = hub.lookup("SPX").unwrap();
    let (friday, monday) = (close_of("2018-02-02"), close_of("2018-02-05"));
    let mut seen = 0;
    for (_, event) in
        play(&mut replay).into_iter().filter(|(_, event)| event.stamp.time > friday && event.stamp.time < monday)
    {
        match event.body {
            Body::Trade { price, .. } if event.symbol == spx => {
                assert!((2649.0..=2760.0).contains(&price), "{price}");
                seen += usize::from((2680.0..2730.0).contains(&price));
            }
            Body::Greeks(values) => assert!((0.15..=0.30).contains(&values.volatility), "{values:?}"),
            _ => {}
        }
    }
    assert!(seen > 2, "some are really in between");
}

#[test]
fn on_its_last_day_an_option_is_worth_its_intrinsic_value() {
    let hub = Hub::new();
    let (config, _file) = config();
    let (mut replay, _) = Replay::new(&config, &hub).unwrap();
    let events = play(&mut replay);
    let put = hub.lookup(".SPXW180206P2700").unwrap();
    let last = events.iter().rev().find(|(_, event)| event.symbol == put).unwrap();
    let Body::Greeks(values) = last.1.body else { panic!("Greeks") };
    assert_eq!((values.price, values.delta, values.gamma, values.vega), (5.0, -1.0, 0.0, 0.0));
}
