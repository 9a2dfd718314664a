//! The port: TLS, HTTP/1.1, and websockets upgraded from it.

mod certificate;
mod listener;
mod wire;

pub(crate) use certificate::Certificate;
pub(crate) use listener::{Connection, listen};
