//! Writes manual pages and shell completions of both programs, from their command lines: `manuals FOLDER`. It stands here
//! so that neither program carries what makes them.

use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap_complete::Shell;

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1) else {
        eprintln!("manuals: tell the folder to write to");
        return ExitCode::from(2);
    };
    match write_all(Path::new(&folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("manuals: {}: {error}", Path::new(&folder).display());
            ExitCode::FAILURE
        }
    }
}

fn write_all(folder: &Path) -> io::Result<()> {
    for command in [why502::cli::command(), why502_agent::cli::command()] {
        let name = command.get_name().to_owned();
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let place = folder.join(shell.to_string());
            fs::create_dir_all(&place)?;
            clap_complete::generate_to(shell, &mut command.clone(), &name, place)?;
        }
        let place = folder.join("man");
        fs::create_dir_all(&place)?;
        clap_mangen::generate_to(command, place)?;
    }
    Ok(())
}
