//! `completions`: what a shell needs to complete our commands.

use clap::CommandFactory;

use crate::error::{Exit, Failure};

/// Print a shell's completion script
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  projectord completions bash > /etc/bash_completion.d/projectord")]
pub struct Args {
    shell: clap_complete::Shell,
}

pub fn run(args: &Args) -> Result<Exit, Failure> {
    clap_complete::generate(args.shell, &mut super::Cli::command(), "projectord", &mut std::io::stdout());
    Ok(Exit::Done)
}
