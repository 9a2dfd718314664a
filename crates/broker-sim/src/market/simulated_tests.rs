use std::collections::{HashMap, HashSet};

use super::*;
use crate::market::{Holding, SimPosition, SymbolId};

fn settings(seed: u64, positions: usize) -> SimulatedMarket {
    let opened = Some("2026-11-23T14:30:00Z".parse().unwrap());
    SimulatedMarket { seed, positions, rate: 1000.0, underlying_rate: 50.0, opened }
}

fn market(seed: u64, positions: usize) -> (Simulated, Book, Hub) {
    let hub = Hub::new();
    let (market, book) = Simulated::new(&settings(seed, positions), &hub).unwrap();
    (market, book, hub)
}

/// Events of the first `millis` milliseconds, called every `step`.
fn run(market: &mut Simulated, millis: u64, step: u64) -> Vec<Event> {
    let mut out = Vec::new();
    market.opening(1_000, &mut out);
    for at in (step..=millis).step_by(usize::try_from(step).unwrap()) {
        market.advance(Duration::from_millis(at), 1_000 + i64::try_from(at).unwrap(), &mut out);
    }
    out
}

fn figures(events: &[Event]) -> Vec<(SymbolId, [u64; 7])> {
    let bits = |event: &Event| match event.body {
        Body::Greeks(v) => {
            let all = [v.price, v.volatility, v.delta, v.gamma, v.theta, v.rho, v.vega];
            Some((event.symbol, all.map(f64::to_bits)))
        }
        _ => None,
    };
    events.iter().filter_map(bits).collect()
}

#[test]
fn same_seed_same_book_and_values_whatever_the_pace_of_the_clock() {
    let (mut one, book, _) = market(7, 60);
    let (mut two, same_book, _) = market(7, 60);
    let (mut other, other_book, _) = market(8, 60);
    assert_eq!(book.positions, same_book.positions);
    assert_ne!(book.positions, other_book.positions);
    // 5 ms and 50 ms steps draw the same numbers: the same events in larger batches.
    let (fine, coarse) = (figures(&run(&mut one, 2000, 5)), figures(&run(&mut two, 2000, 50)));
    assert_eq!(fine, coarse);
    assert_ne!(fine, figures(&run(&mut other, 2000, 5)));
}

#[test]
fn book_holds_every_kind_of_contract() {
    let (_, book, _) = market(3, 20);
    let listings: Vec<&Listing> = book.positions.iter().filter_map(SimPosition::listing).collect();
    let roots: HashSet<&str> = listings.iter().map(|listing| listing.contract.root()).collect();
    assert_eq!(roots, ["AAPL", "SPXW", "ES", "F", "BRKB", "6J", "AAPL1", "6E"].into());
    let contracts: HashSet<String> = listings.iter().map(|listing| listing.contract.to_string()).collect();
    assert_eq!(contracts.len(), 21, "twenty contracts and the one that was closed");
    assert_eq!(listings.len(), 22, "one contract is held twice");
    assert!(book.positions.iter().any(|position| position.holding == Holding::Stock("AAPL".to_owned())));
    let zero: Vec<_> = book.positions.iter().filter(|position| position.quantity == 0).collect();
    assert_eq!(zero.len(), 1);
    assert!(book.positions.iter().any(|position| position.quantity > 0 && position.listing().is_some()));
    assert!(book.positions.iter().any(|position| position.quantity < 0));
    let fractional = listings.iter().filter(|listing| !listing.contract.strike().is_integer()).count();
    assert!(fractional >= 6, "{fractional}");
    let accounts: HashSet<&str> = book.positions.iter().map(|position| position.account.as_str()).collect();
    assert_eq!(accounts, ["5WT00001", "5WT00002"].into());
    let twice = listings.iter().filter(|listing| listing.contract == listings[0].contract).count();
    assert_eq!(twice, 2);
}

#[test]
fn large_books_are_distinct_and_impossible_ones_are_refused() {
    for count in [0, 1, 500, 4_000, 100_000] {
        let (_, book, _) = market(1, count);
        let distinct: HashSet<String> = book
            .positions
            .iter()
            .filter(|p| p.is_open_option())
            .map(|p| p.listing().unwrap().contract.to_string())
            .collect();
        assert_eq!(distinct.len(), count);
    }
    let hub = Hub::new();
    assert!(matches!(Simulated::new(&settings(1, 100_001), &hub), Err(SimError::Config(_))));
    for underlying_rate in [-1.0, f64::NAN, 1e12] {
        let config = SimulatedMarket { underlying_rate, ..settings(1, 1) };
        assert!(matches!(Simulated::new(&config, &hub), Err(SimError::Config(_))));
    }
    for rate in [0.0, -1.0, f64::NAN, 1e9] {
        assert!(matches!(Simulated::new(&SimulatedMarket { rate, ..settings(1, 1) }, &hub), Err(SimError::Config(_))));
    }
}

#[test]
fn stamps_rise_strictly_per_symbol_and_kind() {
    let (mut market, _, _) = market(5, 3);
    let mut last: HashMap<(SymbolId, u8), Stamp> = HashMap::new();
    let events = run(&mut market, 3000, 7);
    for event in &events {
        let before = last.insert((event.symbol, event.kind() as u8), event.stamp);
        assert!(before.is_none_or(|before| before < event.stamp && before.index() < event.stamp.index()));
    }
    assert!(events.iter().any(|event| event.stamp.sequence > 0), "some share a millisecond");
}

#[test]
fn rate_is_kept_from_a_trickle_to_a_flood() {
    for (rate, seconds, expected) in [(5.0, 60, 300), (500.0, 10, 5000), (20_000.0, 5, 100_000)] {
        let hub = Hub::new();
        let config = SimulatedMarket { rate, underlying_rate: 2.0, ..settings(1, 40) };
        let (mut market, _) = Simulated::new(&config, &hub).unwrap();
        let mut out = Vec::new();
        let mut at = Duration::ZERO;
        let end = Duration::from_secs(seconds);
        while at < end {
            let Due::At(next) = market.advance(at, 0, &mut out) else { panic!("a simulated market has no end") };
            assert!(next >= at + Duration::from_millis(3), "it wakes no more than every few milliseconds");
            at = next.min(end);
        }
        market.advance(end, 0, &mut out);
        let greeks = out.iter().filter(|event| event.kind() == Kind::Greeks).count();
        let quotes = out.iter().filter(|event| event.kind() == Kind::Quote).count();
        assert!(greeks.abs_diff(expected) <= 1, "{greeks} at {rate}/s");
        assert!(quotes.abs_diff(usize::try_from(2 * seconds).unwrap()) <= 1, "{quotes} quotes");
    }
}

#[test]
fn a_stalled_machine_is_not_answered_with_an_avalanche() {
    let (mut market, _, _) = market(1, 10);
    let mut out = Vec::new();
    market.advance(Duration::from_secs(3600), 0, &mut out);
    let greeks = out.iter().filter(|event| event.kind() == Kind::Greeks).count();
    assert_eq!(greeks, 1000);
}

/// Every figure stays inside what no-arbitrage allows, and moves.
#[test]
fn figures_are_coherent() {
    let (mut market, book, hub) = market(11, 80);
    let events = run(&mut market, 20_000, 10);
    let listings: HashMap<SymbolId, &Listing> = book
        .positions
        .iter()
        .filter_map(SimPosition::listing)
        .map(|listing| (hub.lookup(&listing.streamer_symbol).unwrap(), listing))
        .collect();
    let mut unsolved = 0;
    let mut distinct: HashMap<SymbolId, HashSet<u64>> = HashMap::new();
    for event in &events {
        let Body::Greeks(v) = event.body else { continue };
        let listing = listings[&event.symbol];
        distinct.entry(event.symbol).or_default().insert(v.price.to_bits());
        assert!(v.price.is_finite() && v.price >= 0.0);
        if v.volatility.is_nan() {
            unsolved += 1;
            assert!([v.delta, v.gamma, v.theta, v.rho, v.vega].iter().all(|figure| figure.is_nan()));
            continue;
        }
        let call = listing.contract.option_type() == greeks_model::OptionType::Call;
        let bounds = if call { 0.0..=1.0 } else { -1.0..=0.0 };
        assert!(bounds.contains(&v.delta), "{listing:?} {v:?}");
        assert!(v.gamma >= 0.0 && v.vega >= 0.0 && v.volatility > 0.0);
        // What futures options call rho is the discounting alone, never positive.
        assert_eq!(v.rho > 0.0, call && listing.option_code.is_none() && v.rho != 0.0, "{listing:?} {v:?}");
    }
    assert!(unsolved > 0, "the illiquid contract has no volatility now and then");
    assert!(unsolved < 400, "and has one otherwise, as do all others");
    let moving = distinct.values().filter(|prices| prices.len() > 50).count();
    assert!(moving > 70, "{moving} contracts move");
}

/// Put and call of one strike differ by the discounted forward less the discounted strike.
#[test]
fn puts_and_calls_hold_parity() {
    let (mut market, _, hub) = market(2, 0);
    let pairs = [("SPXW  261130C06650000", "SPXW  261130P06650000"), ("/ESZ26 261204C6650", "/ESZ26 261204P6650")];
    for (call, put) in pairs {
        for key in [call, put] {
            let (_, listing) = class_of(&key.parse().unwrap()).unwrap();
            assert!(market.list(&listing, &hub));
            assert!(market.list(&listing, &hub), "twice is once");
        }
    }
    assert_eq!(market.options.len(), 4);
    run(&mut market, 500, 50);
    for pair in market.options.clone().chunks(2) {
        let [call, put] = pair else { panic!("pairs") };
        let price = |option: &Priced| market.value(option).unwrap().price;
        let years = (call.expiry - market.clock) / YEAR_MILLIS;
        let underlying = market.underlying_price(call.asset, call.price).unwrap();
        let discount = (-RATE * years).exp();
        let forward = if call.futures_style {
            underlying
        } else {
            underlying * ((RATE - ASSETS[call.asset].dividend_yield) * years).exp()
        };
        let parity = discount * (forward - call.strike);
        assert!((price(call) - price(put) - parity).abs() < 1e-9 * underlying, "{}", price(call) - price(put) - parity);
    }
}

#[test]
fn time_passes_and_the_dead_are_silent() {
    let (mut market, _, hub) = market(2, 0);
    let (_, listing) = class_of(&"SPXW  261125C06650000".parse().unwrap()).unwrap();
    market.list(&listing, &hub);
    let option = market.options[0];
    let before = market.value(&option).unwrap();
    market.clock += 86_400_000.0;
    let after = market.value(&option).unwrap();
    let decay = after.price - before.price;
    assert!(decay < 0.5 * before.theta && decay > 2.0 * before.theta, "{decay} with theta {}", before.theta);
    market.clock = option.expiry;
    let mut out = Vec::new();
    market.advance(Duration::from_secs(1), 0, &mut out);
    assert!(out.iter().all(|event| event.kind() != Kind::Greeks), "expired");
}
