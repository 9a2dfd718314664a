//! The command line explains itself, on stdout, without a configuration.
#![allow(clippy::expect_used)]

use std::process::{Command, Output};

fn greekd(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_greekd"))
        .args(args)
        .env_clear()
        .current_dir(std::env::temp_dir())
        .output()
        .expect("greekd runs")
}

#[test]
fn help_names_every_command() {
    let output = greekd(&["--help"]);
    assert!(output.status.success() && output.stderr.is_empty());
    let text = String::from_utf8(output.stdout).unwrap();
    for command in ["run", "demo", "check", "positions", "snapshots", "sim", "db"] {
        assert!(text.lines().any(|line| line.trim_start().starts_with(command)), "{command} is missing:\n{text}");
        assert!(greekd(&[command, "--help"]).status.success(), "{command} --help");
    }
}

#[test]
fn version_is_that_of_the_package() {
    let output = greekd(&["--version"]);
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), concat!("greekd ", env!("CARGO_PKG_VERSION")));
}

#[test]
fn mistakes_on_the_command_line_are_2_on_stderr() {
    for args in
        [&["--frobnicate"][..], &["demo", "--rate", "-1"], &["demo", "--positions", "0"], &["snapshots", "-o", "xml"]]
    {
        let output = greekd(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{args:?}");
    }
}
