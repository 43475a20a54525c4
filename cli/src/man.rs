//! `sam3i man`: manual pages, from the same definitions as the help.

use crate::args::Cli;
use crate::terminal::print;
use anyhow::{Context, Result};
use clap::CommandFactory;
use clap_mangen::Man;
use std::fs;
use std::path::PathBuf;

/// Arguments of `sam3i man`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sam3i man | man -l -
  sam3i man --dir ~/.local/share/man/man1      (sam3i.1 and a page a verb; then: man sam3i-segment)")]
pub struct Args {
    /// Write a page for each verb here, instead of the first one to stdout
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Runs `sam3i man`.
pub fn run(args: &Args) -> Result<()> {
    let Some(dir) = &args.dir else {
        let mut page = Vec::new();
        Man::new(Cli::command()).render(&mut page)?;
        return print(&String::from_utf8(page)?);
    };
    let place = || format!("cannot write manual pages to {}; name another directory", dir.display());
    fs::create_dir_all(dir).with_context(place)?;
    clap_mangen::generate_to(Cli::command(), dir).with_context(place)
}
