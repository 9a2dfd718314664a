//! placeholder while the crates are written
fn main() {}
