//! Plays a folder of cases over clusters of its own: `conformance FOLDER`.
//!
//! Prints the steps of every case that fails, and how many passed and failed;
//! ends with status 1 if any failed, and 2 if there is nothing to be played.

use std::path::Path;
use std::process::ExitCode;

use tests::cases::{self, Outcome};

#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [place] = args.as_slice() else {
        println!("usage: conformance FOLDER");
        return ExitCode::from(2);
    };
    let found = match cases::read(Path::new(place)) {
        Ok(found) => found,
        Err(error) => {
            println!("{error}");
            return ExitCode::from(2);
        }
    };
    for file in &found.others {
        println!("{} holds no cases of a known form.", file.display());
    }
    if found.cases.is_empty() && found.misskey.is_empty() {
        println!("There is nothing to play in {place}.");
        return ExitCode::from(2);
    }
    let mut outcomes: Vec<(&str, Outcome)> = Vec::new();
    for (case, outcome) in cases::play_all(&found.cases).await {
        outcomes.push((&case.id, outcome));
    }
    for file in &found.misskey {
        for (case, outcome) in file.play().await {
            outcomes.push((&case.id, outcome));
        }
    }
    let (mut passed, mut failed, mut skipped) = (0, 0, Vec::new());
    for (id, outcome) in outcomes {
        match outcome {
            Outcome::Passed => passed += 1,
            Outcome::Skipped => skipped.push(id),
            Outcome::Failed(story) => {
                failed += 1;
                println!("{story}\n");
            }
        }
    }
    if !skipped.is_empty() {
        let skipped = skipped.join(", ");
        println!("Not played here, because they drive the real client: {skipped}.");
    }
    println!("{passed} passed, {failed} failed");
    ExitCode::from(u8::from(failed > 0))
}
