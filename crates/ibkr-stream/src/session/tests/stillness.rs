//! Streams that end without a word, and markets that rest.

use super::*;

const STEP: f64 = 0.1;
const LIQUID: f64 = 0.5;
/// When an answer's frames come after the question, as many as there are.
const ANSWERS: [f64; 3] = [0.2, 2.0, 4.9];

/// A gateway with its contracts; times are seconds since the start.
struct Market {
    bench: Bench,
    contracts: Vec<Contract>,
    /// Nothing trades.
    rests: bool,
    answers: usize,
    /// How long a subscription lasts.
    life: f64,
    /// Nothing is read on this side: frames wait.
    unread: Option<Vec<i64>>,
    beat: f64,
    lost: Vec<Lost>,
}

struct Contract {
    number: i64,
    /// Seconds between two frames, and how much that varies.
    every: f64,
    varies: f64,
    next: f64,
    asked: Vec<f64>,
    ends: f64,
    answers: Vec<f64>,
    frames: Vec<f64>,
}

/// A gap: what the driver tells, until the next frame.
#[derive(Clone, Copy, Debug)]
struct Lost {
    since: f64,
    told: f64,
}

impl Market {
    fn open(liquid: i64, slow: i64) -> Self {
        let mut bench = Bench::open(Settings { quiet_after: secs(45.0), ..settings() });
        bench.want_options(1..=liquid + slow);
        let contract = |number| Contract {
            number,
            every: if number <= liquid { LIQUID } else { 70.0 },
            varies: if number <= liquid { 0.0 } else { 0.7 },
            next: 0.0,
            asked: Vec::new(),
            ends: 0.0,
            answers: Vec::new(),
            frames: Vec::new(),
        };
        let contracts = (1..=liquid + slow).map(contract).collect();
        let life = f64::INFINITY;
        Self { bench, contracts, rests: false, answers: 1, life, unread: None, beat: 0.0, lost: Vec::new() }
    }

    fn now(&self) -> f64 {
        (self.bench.now - self.bench.start).as_secs_f64()
    }

    fn play(&mut self, seconds: f64) {
        let end = self.now() + seconds;
        while self.now() < end {
            self.step();
            self.bench.now += secs(STEP);
        }
    }

    fn step(&mut self) {
        let now = self.now();
        let mut speakers = Vec::new();
        for contract in &mut self.contracts {
            contract.speak(now, self.rests, &mut speakers);
        }
        match &mut self.unread {
            Some(waiting) => waiting.extend(speakers),
            None => self.deliver(speakers),
        }
        self.bench.session.on_tick(self.bench.now, self.unread.is_none()).unwrap();
        if let Some(text) = self.bench.output() {
            let number = target(&text);
            if let Some(contract) = self.contracts.iter_mut().find(|contract| contract.number == number) {
                contract.asked.push(now);
                contract.ends = now + self.life;
                contract.answers = ANSWERS[..self.answers].iter().map(|after| now + after).collect();
            }
        }
        if let Some(since) = self.bench.session.take_signals().lost {
            // The wall clock of a sleep is not in these tests' time.
            let since = since.saturating_since(WALL).as_secs_f64() - self.bench.slept.as_secs_f64();
            self.lost.push(Lost { since, told: now });
        }
    }

    fn deliver(&mut self, speakers: Vec<i64>) {
        let now = self.now();
        if now >= self.beat {
            self.bench.frame(HEARTBEAT).unwrap();
            self.beat = now + 10.0;
        }
        for number in speakers {
            self.bench.data([number]);
            let contract = self.contracts.iter_mut().find(|contract| contract.number == number).unwrap();
            contract.frames.push(now);
        }
        while self.bench.session.next_event().is_some() {}
    }

    fn read_again(&mut self) {
        let waiting = self.unread.take().unwrap();
        self.deliver(waiting);
    }

    fn end_all(&mut self) {
        let now = self.now();
        self.contracts.iter_mut().for_each(|contract| contract.ends = now);
    }

    fn rest(&mut self, seconds: f64) {
        self.rests = true;
        self.play(seconds);
        self.rests = false;
    }

    /// The silences of at least so many seconds of the contracts with such numbers.
    fn silences(&self, numbers: std::ops::RangeInclusive<i64>, least: f64) -> Vec<(i64, f64, f64)> {
        let of = |contract: &Contract| {
            let pairs = contract.frames.windows(2).filter(|pair| pair[1] - pair[0] >= least);
            pairs.map(|pair| (contract.number, pair[0], pair[1])).collect::<Vec<_>>()
        };
        self.contracts.iter().filter(|contract| numbers.contains(&contract.number)).flat_map(of).collect()
    }

    /// Of these silences, those that no gap covers.
    fn unknown(&self, silences: &[(i64, f64, f64)]) -> Vec<(i64, f64, f64)> {
        let covers = |lost: &Lost, from: f64, to: f64| lost.since <= from + 45.0 / 8.0 && lost.told >= to - 1.0;
        let known = |(_, from, to): &(i64, f64, f64)| self.lost.iter().any(|lost| covers(lost, *from, *to));
        silences.iter().filter(|silence| !known(silence)).copied().collect()
    }
}

impl Contract {
    fn speak(&mut self, now: f64, rests: bool, speakers: &mut Vec<i64>) {
        let due = self.answers.iter().filter(|at| **at <= now).count();
        self.answers.drain(..due);
        let mut flows = false;
        if now >= self.next {
            let turn = (now * 7.3 + self.number as f64 * 0.618).fract() - 0.5;
            self.next = now + self.every * (1.0 + turn * 2.0 * self.varies);
            flows = !rests;
        }
        if now < self.ends && (flows || due > 0) {
            speakers.push(self.number);
        }
    }
}

#[test]
fn subscriptions_that_end_all_at_once_leave_a_gap() {
    for (liquid, slow) in [(1, 0), (2, 0), (10, 0), (150, 0), (1, 9), (20, 200)] {
        for answers in 1..=3 {
            let mut market = Market::open(liquid, slow);
            market.answers = answers;
            market.play(180.0);
            assert!(market.lost.is_empty(), "{:?}", market.lost);
            let ended = market.now();
            market.end_all();
            market.play(180.0);
            let case =
                format!("{liquid} liquid and {slow} slow ones, {answers} frames to a question: {:?}", market.lost);
            let silences = market.silences(1..=liquid, 30.0);
            assert!(!silences.is_empty() && market.unknown(&silences).is_empty(), "{case}");
            assert!(market.lost.iter().all(|lost| (ended - 1.0..=ended).contains(&lost.since)), "{case}");
            assert!(market.lost.iter().all(|lost| lost.since == market.lost[0].since), "one gap: {case}");
            // What was slow before has been asked at once as well, and until then may have been missed.
            let last = market.lost.last().unwrap().told;
            for contract in &market.contracts {
                assert!(contract.asked.iter().any(|at| (ended..=last).contains(at)), "{}: {case}", contract.number);
            }
            assert!(last <= ended + 90.0 && market.lost.len() < 8, "{case}");
            market.play(600.0);
            assert_eq!(market.lost.last().unwrap().told, last, "told once");
        }
    }
}

#[test]
fn subscriptions_that_end_one_by_one_leave_gaps() {
    for (life, liquid) in [(300.0, 1), (300.0, 5), (300.0, 40), (400.0, 40), (120.0, 10)] {
        let mut market = Market::open(liquid, 0);
        market.life = life;
        market.play(2_000.0);
        let mut silences = market.silences(1..=liquid, 25.0);
        // Those of the last moments are not judged yet.
        silences.retain(|(_, _, to)| *to < 1_980.0);
        assert!(!silences.is_empty());
        assert_eq!(market.unknown(&silences), [], "{life}, {liquid}: {:?}", market.lost);
    }
}

#[test]
fn a_market_that_closes_for_twelve_hours_and_opens_again_is_no_gap() {
    for contracts in [1, 10, 100] {
        for answers in 1..=3 {
            let mut market = Market::open(contracts, contracts / 4);
            market.answers = answers;
            market.play(300.0);
            let closed = market.now();
            market.rest(if contracts > 10 { 7_200.0 } else { 43_200.0 });
            let hours = (market.now() - closed) / 3_600.0;
            for contract in &market.contracts {
                let asked = contract.asked.iter().filter(|at| **at > closed).count() as f64;
                assert!(asked <= 6.0 + hours * 15.0, "{asked} questions to {}", contract.number);
                assert!(asked >= hours * 7.0, "{asked} questions to {}", contract.number);
            }
            market.play(900.0);
            assert!(market.lost.is_empty(), "{contracts}, {answers}: {:?}", market.lost);
            // And from then on as ever.
            let ended = market.now();
            market.end_all();
            market.play(180.0);
            assert!(market.lost.iter().all(|lost| (ended - 1.0..=ended).contains(&lost.since)));
            assert!(!market.lost.is_empty());
        }
    }
}

#[test]
fn a_market_that_halts_and_goes_on_by_itself_is_no_gap() {
    for contracts in [1, 10, 300] {
        for halt in [20.0, 40.0, 60.0, 75.0, 100.0, 300.0, 1_000.0] {
            let mut market = Market::open(contracts, 3);
            market.answers = 2;
            market.play(200.0);
            for _ in 0..3 {
                market.rest(halt);
                market.play(70.0);
            }
            assert!(market.lost.is_empty(), "{contracts}, {halt}: {:?}", market.lost);
        }
    }
}

#[test]
fn a_contract_that_is_quiet_by_nature_proves_nothing() {
    for contracts in [1, 30] {
        for every in [10.0, 40.0, 70.0, 200.0] {
            let mut market = Market::open(0, contracts);
            market.answers = 3;
            market.contracts.iter_mut().for_each(|contract| contract.every = every);
            market.play(7_200.0);
            assert!(market.lost.is_empty(), "{contracts}, {every}: {:?}", market.lost);
        }
    }
}

#[test]
fn what_was_not_read_or_slept_through_is_not_judged() {
    for pause in [30.0, 60.0, 120.0, 300.0] {
        let mut market = Market::open(10, 2);
        market.play(200.0);
        market.unread = Some(Vec::new());
        market.play(pause);
        market.read_again();
        market.play(100.0);
        assert!(market.lost.is_empty(), "{pause}: {:?}", market.lost);

        let mut market = Market::open(10, 2);
        market.play(200.0);
        market.bench.slept = secs(pause);
        market.play(100.0);
        assert!(market.lost.is_empty(), "{pause}: {:?}", market.lost);

        // Subscriptions end, and before they are asked for again the machine sleeps: whose fault is it?
        let mut market = Market::open(10, 2);
        market.play(200.0);
        market.end_all();
        market.play(20.0);
        market.bench.slept = secs(pause);
        market.play(200.0);
        assert!(market.lost.is_empty(), "{pause}: {:?}", market.lost);
    }
}
