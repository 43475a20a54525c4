//! Many pictures on all cores, with progress, and a way to stop: the model is shared by threads.
//!
//! `cargo run --release -p sam3i --example batch -- examples/*.png`

use sam3i::picture::DecodeOptions;
use sam3i::watch::Step;
use sam3i::{
    Checkpoint, CpuOptions, Device, Error, Level, Model, Picture, Prompt, ResizeMode, SegmentOptions,
};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let device = Device::cpu(&CpuOptions::default())?;
    let model = Model::from_checkpoint(Checkpoint::nano()?, &device)?; // the small model that is built in

    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match answer(&model, file, &stop) {
                        Ok(found) => println!("{}: {found} found", file.display()),
                        Err(Error::Stopped) => return,
                        Err(error) => eprintln!("{}: {error}", file.display()), // the others go on
                    }
                }
            });
        }
    });
    Ok(())
}

/// How many cats a picture shows. `stop` may be set by anybody, a signal handler for instance.
fn answer(model: &Model, file: &Path, stop: &AtomicBool) -> sam3i::Result<usize> {
    let watch = |step: Step| {
        eprintln!("{}: {:?}, {} of {}", file.display(), step.stage, step.done, step.of);
        if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let picture = Picture::open(file, &DecodeOptions::default())?;
    let image = model.encode_image_watched(&picture.view(), ResizeMode::default(), watch)?;
    let prompt = Prompt::text("cat").level(Level::Concept);
    let options = SegmentOptions::default().threshold(0.4).top_k(10);
    Ok(model.segment_watched(&image, &prompt, &options, watch)?.instances.len())
}
