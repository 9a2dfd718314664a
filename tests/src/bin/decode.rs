//! `decode dxlink|ibkr PASSES`: turns the same 2,000 events' frames into events so many times, and does nothing else.
//!
//! Run under callgrind, two numbers of passes tell what an event costs in instructions, whatever the start costs.

use std::hint::black_box;
use std::process::ExitCode;

use greekd_tests::frames::{self, dxlink_session, ibkr_session};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match *args {
        ["dxlink", passes] => dxlink(passes),
        ["ibkr", passes] => ibkr(passes),
        _ => return ExitCode::from(2),
    };
    if done.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn dxlink(passes: &str) -> Result<()> {
    let frames = frames::dxlink(frames::EVENTS, 1);
    let mut session = dxlink_session();
    let (passes, mut events) = (passes.parse()?, 0);
    for _ in 0..passes {
        for frame in &frames {
            session.read(frame)?;
            while let Some(event) = session.next_event() {
                black_box(&event);
                events += 1;
            }
        }
    }
    all(events, passes)
}

fn ibkr(passes: &str) -> Result<()> {
    let frames = frames::ibkr(frames::EVENTS);
    let mut session = ibkr_session();
    let (passes, mut events) = (passes.parse()?, 0);
    for _ in 0..passes {
        for frame in &frames {
            session.read(frame.as_bytes())?;
            while let Some(event) = session.next_event() {
                black_box(&event);
                events += 1;
            }
        }
    }
    all(events, passes)
}

/// What was not decoded is not counted either.
fn all(events: u32, passes: u32) -> Result<()> {
    if events == passes * frames::EVENTS { Ok(()) } else { Err(format!("{events} events").into()) }
}
