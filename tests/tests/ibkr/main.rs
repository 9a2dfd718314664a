//! greekd at a Client Portal gateway. These tests wait for most of their time, as a gateway wants it: `cargo xtask test`
//! runs them many at a time, after the others.

mod patient {
    mod accounts;
    mod day;
    mod gateway;
    mod ledger;
    mod positions;
    mod sessions;
    mod shortages;
}
