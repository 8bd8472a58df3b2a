//! Parses the command line, runs one command, says why it failed.

use std::process::ExitCode;

use clap::Parser;
use projectord::cli::{self, Cli};

fn main() -> ExitCode {
    // A wrong command line ends here, with exit code 2 and what to try.
    match cli::main(Cli::parse()) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            eprintln!("error: {failure}");
            failure.exit.into()
        }
    }
}
