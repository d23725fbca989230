//! Running foreign programs from tests: skipped where they are not installed, ended by handle.
#![allow(dead_code, clippy::disallowed_types, clippy::disallowed_methods)]

use std::io::Write as _;
use std::process::{Child, Command, Stdio};

/// Whether all `tools` are installed. If not, says so, or panics where they are demanded.
pub(crate) fn installed(test: &str, tools: &[&str]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories: Vec<_> = std::env::split_paths(&path).collect();
    for tool in tools {
        if !directories
            .iter()
            .any(|directory| directory.join(tool).is_file())
        {
            let demanded = std::env::var("TURNFLEET_REQUIRE_TOOLS").is_ok_and(|value| value == "1");
            assert!(!demanded, "{tool} is not installed");
            println!("SKIP {test}: {tool} not installed");
            return false;
        }
    }
    true
}

/// What a program writes to its standard output when given `input`.
pub(crate) fn output(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(input).expect("the program reads");
    drop(stdin);
    let output = child.wait_with_output().expect("the program ends");
    assert!(output.status.success(), "{program} {arguments:?}");
    output.stdout
}

/// A program in the background, killed when the test is done with it.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
