//! tasty-dxlink
