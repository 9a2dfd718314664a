//! greekd
fn main() {}
