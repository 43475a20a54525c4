//! `sam3i completions`: scripts that complete commands, from the same definitions as the help.

use crate::args::Cli;
use crate::terminal::print;
use anyhow::Result;
use clap::CommandFactory;
use clap_complete::Shell;

/// Arguments of `sam3i completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sam3i completions bash > ~/.local/share/bash-completion/completions/sam3i
  sam3i completions zsh > ~/.zfunc/_sam3i      # with ~/.zfunc in fpath
  sam3i completions fish > ~/.config/fish/completions/sam3i.fish")]
pub struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Runs `sam3i completions`.
pub fn run(args: &Args) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "sam3i", &mut script);
    print(&String::from_utf8(script)?)
}
