//! `sam3i man`: manual pages, from the same definitions as the help.

use crate::args::Cli;
use crate::terminal::print;
use anyhow::{Context, Result};
use clap::{Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};
use std::fs;
use std::path::{Path, PathBuf};

/// Arguments of `sam3i man`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sam3i man | man -l -
  sam3i man --dir ~/.local/share/man/man1      # sam3i.1 and a page a verb; then: man sam3i-segment")]
pub struct Args {
    /// Write a page for each verb here, instead of the first one to stdout
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Runs `sam3i man`.
pub fn run(args: &Args) -> Result<()> {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let Some(dir) = &args.dir else { return print(&page(&command)?.1) };
    let place = || format!("cannot write manual pages to {}; name another directory", dir.display());
    fs::create_dir_all(dir).with_context(place)?;
    write_all(&command, dir).with_context(place)
}

/// The pages of a command and of all below it.
fn write_all(command: &Command, dir: &Path) -> Result<()> {
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        write_all(below, dir)?;
    }
    let (name, text) = page(command)?;
    Ok(fs::write(dir.join(name), text)?)
}

/// A page's file name and its text. What the help ends with comes line by line, so that a reader can copy it.
fn page(command: &Command) -> Result<(String, String)> {
    let program = format!("sam3i {}", env!("CARGO_PKG_VERSION"));
    let page = Man::new(command.clone()).source(program).manual("sam3i manual");
    let mut text = Vec::new();
    page.render(&mut text)?;
    let text = String::from_utf8(text)?;
    let Some((before, extra)) = text.split_once(EXTRA) else { return Ok((page.get_filename(), text)) };
    let after = extra.find("\n.SH ").map_or("", |at| &extra[at + 1..]);
    let ending = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    Ok((page.get_filename(), format!("{before}{}{after}", sections(&ending))))
}

/// Where clap's page has what the help ends with, in one paragraph.
const EXTRA: &str = ".SH EXTRA\n";

/// The end of a help text as sections: examples, exit codes, notes.
fn sections(ending: &str) -> String {
    let mut page = Roff::new();
    let mut heading = "";
    for line in ending.lines().filter(|line| !line.is_empty()) {
        let (next, text) = match line {
            "Examples:" => ("EXAMPLES", None),
            _ if line.starts_with("Exit codes: ") => ("EXIT STATUS", line.strip_prefix("Exit codes: ")),
            _ if heading == "EXAMPLES" && !line.starts_with(' ') => ("NOTES", Some(line)),
            _ => (heading, Some(line)),
        };
        if next != heading {
            if heading == "EXAMPLES" {
                page.control("fi", []);
            }
            page.control("SH", [next]);
            if next == "EXAMPLES" {
                page.control("nf", []);
            }
            heading = next;
        }
        if let Some(text) = text {
            page.text([roman(text.strip_prefix("  ").unwrap_or(text))]);
        }
    }
    if heading == "EXAMPLES" {
        page.control("fi", []);
    }
    page.render()
        .lines()
        .skip_while(|line| !line.starts_with(".SH"))
        .map(|line| line.to_owned() + "\n")
        .collect()
}
