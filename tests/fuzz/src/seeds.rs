//! Writes the inputs that the fuzzer begins from to `corpus/TARGET/` of the current folder.

use std::fs;
use std::path::Path;

fn main() -> std::io::Result<()> {
    for (number, (target, input)) in why502_fuzz::inputs().into_iter().enumerate() {
        let folder = Path::new("corpus").join(target);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(format!("seed-{number}")), input)?;
    }
    Ok(())
}
