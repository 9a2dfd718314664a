//! A headless Chromium, driven over the DevTools protocol: what a person would see of the page.

mod launch;
mod page;
mod tasks;
mod wire;

pub use launch::Browser;
pub use page::Page;
