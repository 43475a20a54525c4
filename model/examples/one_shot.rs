//! One picture, two sentences: the picture is looked at once.
//!
//! `cargo run --release -p sam3i --example one_shot -- photo.jpg sam3i.safetensors`

use sam3i::picture::DecodeOptions;
use sam3i::{CpuOptions, Device, Level, Model, Picture, Prompt, ResizeMode, SegmentOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [photo, weights] = &arguments[..] else { return Err("give a picture and a model".into()) };

    let device = Device::cpu(&CpuOptions::default())?;
    let model = Model::load(weights.as_ref(), &device)?;
    let picture = Picture::open(photo.as_ref(), &DecodeOptions::default())?;
    let image = model.encode_image(&picture.view(), ResizeMode::default())?; // once
    for text in ["the mug left of the laptop", "the largest chair"] {
        let prompt = Prompt::text(text).level(Level::Simple); // any number of times
        for found in model.segment(&image, &prompt, &SegmentOptions::default())?.instances {
            println!("{text}: {:.2} at {:?}, {} pixels", found.score, found.box_xyxy, found.area);
        }
    }
    Ok(())
}
