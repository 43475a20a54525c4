//! One picture, two sentences: the picture is looked at once.
//!
//! In a folder with `photo.jpg` and `sam3i.safetensors`: `cargo run --release -p sam3i --example one_shot`

use sam3i::picture::DecodeOptions;
use sam3i::{CpuOptions, Device, Level, Model, Picture, Prompt, ResizeMode, SegmentOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = Device::cpu(&CpuOptions::default())?;
    let model = Model::load("sam3i.safetensors".as_ref(), &device)?;
    let picture = Picture::open("photo.jpg".as_ref(), &DecodeOptions::default())?;
    let image = model.encode_image(&picture.view(), ResizeMode::default())?; // once
    for text in ["the mug left of the laptop", "the largest chair"] {
        let prompt = Prompt::text(text).level(Level::Simple); // any number of times
        for found in model.segment(&image, &prompt, &SegmentOptions::default())?.instances {
            println!("{text}: {:.2} at {:?}, {} pixels", found.score, found.box_xyxy, found.area);
        }
    }
    Ok(())
}
