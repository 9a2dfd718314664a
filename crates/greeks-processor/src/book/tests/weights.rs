//! Betas and the benchmark.

use super::*;

fn beta(symbol: &str, beta: f64, as_of: UnixNanos) -> Reference {
    let mut reference = Reference::new(symbol.into(), as_of);
    reference.beta = Some(beta);
    reference
}

fn price(symbol: &str, price: f64, as_of: UnixNanos) -> Reference {
    let mut reference = Reference::new(symbol.into(), as_of);
    reference.price = Some(price);
    reference
}

fn used(book: &LiveBook) -> Vec<(String, f64, BetaSource)> {
    let portfolio = book.portfolio(GroupBy::Underlying, TEN);
    portfolio.betas.into_iter().map(|used| (used.symbol.to_string(), used.beta, used.source)).collect()
}

fn weighted(book: &LiveBook) -> Figure {
    book.portfolio(GroupBy::Underlying, TEN).total.figures.beta_weighted_delta_dollars
}

#[test]
fn an_unknown_beta_is_said_and_never_assumed() {
    let book = streaming(BookConfig::default());
    for line in three() {
        accept(&book, row(&line, TEN, 1.0, 0.5));
    }
    let portfolio = book.portfolio(GroupBy::Underlying, TEN);
    assert_eq!(portfolio.unknown_betas, ["AAPL".into()]);
    assert_eq!(used(&book), [("SPY".to_owned(), 1.0, BetaSource::Benchmark)]);
    assert_eq!(weighted(&book), Figure { value: Some(20_000.0), lines: 2 });
    let before = book.version();
    book.reference(&beta("AAPL", 1.5, TEN), &source("two"));
    assert_eq!(weighted(&book), Figure { value: Some(35_000.0), lines: 3 });
    assert_eq!(book.changed_since(before, TEN).lines.len(), 1);
    assert_eq!(book.portfolio(GroupBy::Underlying, TEN).unknown_betas, []);
    // Of what is not held nothing is said.
    book.accept(&[positions("two", "B1", &[])]);
    assert_eq!(used(&book).len(), 1);
}

#[test]
fn the_newest_word_counts_after_the_configuration() {
    let config = BookConfig { betas: [("AAPL".into(), 2.0), ("X".into(), f64::NAN)].into(), ..BookConfig::default() };
    let configured = streaming(config);
    let told = streaming(BookConfig::default());
    for book in [&configured, &told] {
        accept(book, row(&three()[2], TEN, 1.0, 0.5));
        book.reference(&beta("AAPL", 1.5, later(5)), &source("one"));
    }
    assert_eq!(used(&configured), [("AAPL".to_owned(), 2.0, BetaSource::Configured)]);
    let by = |name, at| BetaSource::Source { source: source(name), as_of: at };
    assert_eq!(used(&told), [("AAPL".to_owned(), 1.5, by("one", later(5)))]);
    told.reference(&beta("AAPL", 1.25, later(4)), &source("two"));
    assert_eq!(used(&told)[0].1, 1.5);
    told.reference(&beta("AAPL", 1.25, later(6)), &source("two"));
    assert_eq!(used(&told), [("AAPL".to_owned(), 1.25, by("two", later(6)))]);
    // That another source does not know it takes nothing away; that the same one does not know it any more does.
    told.reference(&beta("AAPL", f64::NAN, later(7)), &source("one"));
    assert_eq!(used(&told)[0].1, 1.25);
    told.reference(&beta("AAPL", f64::NAN, later(7)), &source("two"));
    assert_eq!(used(&told), []);
    assert_eq!(weighted(&told), Figure { value: None, lines: 0 });
}

#[test]
fn what_follows_the_index_of_the_benchmark_needs_no_beta_and_yields_to_one() {
    let book = streaming(BookConfig::default());
    accept(&book, row(&series("one", "A1", "SPXW  261218P06500000", "SPX"), TEN, 1.0, 0.5));
    accept(&book, row(&series("one", "A1", "NDXP  261218P25000000", "NDX"), TEN, 1.0, 0.5));
    assert_eq!(used(&book), [("SPX".to_owned(), 1.0, BetaSource::SameIndex)]);
    assert_eq!(book.portfolio(GroupBy::Broker, TEN).unknown_betas, ["NDX".into()]);
    book.reference(&beta("SPX", 0.98, TEN), &source("two"));
    assert_eq!(used(&book)[0].1, 0.98);
    let other = streaming(BookConfig { benchmark: "QQQ".into(), ..BookConfig::default() });
    accept(&other, row(&series("one", "A1", "SPXW  261218P06500000", "SPX"), TEN, 1.0, 0.5));
    assert_eq!(used(&other), []);
}

#[test]
fn a_future_has_its_own_beta_or_that_of_its_product() {
    let config = BookConfig { betas: [("/ES".into(), 1.0)].into(), ..BookConfig::default() };
    let book = streaming(config);
    accept(&book, row(&series("one", "A1", "/ESZ26 261127P5000", "/ESZ26"), TEN, 1.0, 0.5));
    accept(&book, row(&series("one", "A1", "/CLF27 261216P60", "/CLF27"), TEN, 1.0, 0.5));
    assert_eq!(used(&book), [("/ESZ26".to_owned(), 1.0, BetaSource::Configured)]);
    book.reference(&beta("/CL", 0.5, TEN), &source("two"));
    assert_eq!(used(&book).iter().map(|used| used.1).collect::<Vec<_>>(), [0.5, 1.0]);
    book.reference(&beta("/CLF27", 0.75, TEN), &source("two"));
    book.reference(&beta("/ESZ26", 0.75, TEN), &source("two"));
    assert_eq!(used(&book).iter().map(|used| used.1).collect::<Vec<_>>(), [0.75, 1.0]);
}

#[test]
fn the_price_of_the_benchmark_is_the_newest_and_has_an_age() {
    let book = streaming(BookConfig { benchmark_price: Some(500.0), ..BookConfig::default() });
    let [spy, _, aapl] = three();
    accept(&book, row(&aapl, later(9), 1.0, 0.5));
    let benchmark = |now| book.portfolio(GroupBy::Underlying, now).benchmark_price;
    let seen = benchmark(TEN).unwrap();
    assert_eq!((seen.price, seen.age, seen.source), (500.0, None, PriceSource::Configured));

    accept(&book, row(&spy, later(1), 1.0, 0.5));
    let seen = benchmark(later(4)).unwrap();
    assert_eq!((seen.price, seen.as_of, seen.source), (200.0, Some(later(1)), PriceSource::Source(source("one"))));
    assert_eq!(seen.age, Some(std::time::Duration::from_secs(3)));
    let figures = book.portfolio(GroupBy::Underlying, TEN).total.figures;
    assert_eq!(figures.beta_weighted_delta, Figure { value: Some(50.0), lines: 1 });

    let before = book.version();
    book.reference(&price("SPY", 400.0, later(2)), &source("two"));
    assert_eq!(benchmark(TEN).map(|price| price.price), Some(400.0));
    assert!(book.version() > before);
    assert_eq!(book.portfolio(GroupBy::Underlying, TEN).total.figures.beta_weighted_delta.value, Some(25.0));
    for (worse, at) in [(300.0, later(1)), (f64::NAN, later(3)), (0.0, later(3)), (-1.0, later(3))] {
        book.reference(&price("SPY", worse, at), &source("two"));
        assert_eq!(benchmark(TEN).map(|price| price.price), Some(400.0), "{worse}");
    }
    book.reference(&price("AAPL", 300.0, later(3)), &source("two"));
    assert_eq!(benchmark(TEN).map(|price| price.price), Some(400.0));
}

#[test]
fn without_a_price_there_are_dollars_and_no_shares() {
    let book = streaming(BookConfig { benchmark: "SPX".into(), ..BookConfig::default() });
    accept(&book, row(&three()[2], TEN, 1.0, 0.5));
    book.reference(&beta("AAPL", 1.5, TEN), &source("two"));
    let portfolio = book.portfolio(GroupBy::Underlying, TEN);
    assert_eq!((&*portfolio.benchmark, portfolio.benchmark_price), ("SPX", None));
    assert_eq!(portfolio.total.figures.beta_weighted_delta_dollars, Figure { value: Some(15_000.0), lines: 1 });
    assert_eq!(portfolio.total.figures.beta_weighted_delta, Figure { value: None, lines: 0 });
}
