//! In a host that has its own pictures: no picture files, no built-in model, no GPU. Depend on the library like this:
//!
//! ```toml
//! sam3i = { version = "0.1", default-features = false }
//! ```
//!
//! `cargo run --release -p sam3i --no-default-features --example embedded -- sam3i.safetensors`

use sam3i::{CpuOptions, Device, ImageView, Level, Model, Prompt, ResizeMode, SegmentOptions};

/// A frame of a camera: RGB rows that are longer than the picture is wide.
struct Frame {
    bytes: Vec<u8>,
    width: usize,
    height: usize,
    stride: usize,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let weights = std::env::args_os().nth(1).ok_or("give a model")?;
    let device = Device::cpu(&CpuOptions::default().threads(2))?;
    let model = Model::load(weights.as_ref(), &device)?;

    let frame = Frame { bytes: vec![128; 2048 * 480], width: 640, height: 480, stride: 2048 };
    let view = ImageView::new(&frame.bytes, frame.width, frame.height, frame.stride)?; // borrowed, never copied whole
    let image = model.encode_image(&view, ResizeMode::default())?;

    let prompt = Prompt::text("the red button").level(Level::Simple).exclude_box([0.0, 0.0, 64.0, 64.0]);
    let answer = model.segment(&image, &prompt, &SegmentOptions::default().top_k(1))?;
    for found in &answer.instances {
        let mask = found.mask()?; // one byte a pixel
        let polygons = mask.to_polygons(1.0); // rings with holes, within a pixel
        println!(
            "{:.2}: {:?}, {} pieces, as RLE {}",
            found.score,
            mask.bounds(),
            polygons.len(),
            found.rle.counts
        );
    }
    println!("presence {:.2}; {} bytes of tensors at most", answer.presence, device.memory().peak);
    Ok(())
}
