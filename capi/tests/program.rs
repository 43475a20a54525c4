//! The C program of `examples/`, compiled and run as a host would, against the library called from Rust.
//!
//! Nothing else of sam3i needs a C compiler. Without one the first test says so in a line and is passed over.
#![cfg(all(unix, feature = "embedded-nano"))]

mod common;

use common::{Folder, scene};
use sam3i::{
    Checkpoint, CpuOptions, Device, Level, Mask, Model, Picture, Prompt, ResizeMode, SegmentOptions,
    Segmentation,
};
use sam3i_capi::*;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

/// The folder with the library as it was built for this test: beside the test itself.
fn libraries() -> PathBuf {
    let test = std::env::current_exe().expect("this test's own path");
    let folder = test.parent().expect("a folder").to_owned();
    assert!(folder.join("libsam3i_capi.a").is_file(), "no library in {}", folder.display());
    folder
}

/// A compiler, if this machine has it.
fn compiler(name: &str) -> Option<Command> {
    let there = Command::new(name).arg("--version").output().is_ok_and(|run| run.status.success());
    if !there {
        eprintln!("SKIPPED: this machine has no `{name}`; the C interface was not compiled with it");
    }
    there.then(|| {
        let mut command = Command::new(name);
        command.current_dir(root()).args(["-Wall", "-Wextra", "-Werror", "-pedantic", "-Icapi/include"]);
        command
    })
}

fn succeeds(command: &mut Command) -> Output {
    let run = command.output().expect("it runs");
    let told = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{command:?} ends with {}:\n{told}", run.status);
    run
}

/// The program, linked with the shared or the static library.
fn built(folder: &Folder, kind: &str) -> Option<PathBuf> {
    let (program, libraries) = (folder.0.join(kind), libraries());
    let mut cc = compiler("cc")?;
    cc.args(["-std=c99", "-D_POSIX_C_SOURCE=200809L", "capi/examples/segment.c", "-o"]).arg(&program);
    match kind {
        "shared" => {
            cc.arg("-L").arg(&libraries).arg("-lsam3i_capi");
            cc.arg(format!("-Wl,-rpath,{}", libraries.display()));
        }
        _ => {
            cc.arg(libraries.join("libsam3i_capi.a"));
            let system: &[&str] = match cfg!(target_os = "linux") {
                true => &["-lgcc_s", "-lutil", "-lrt", "-lpthread", "-lm", "-ldl"], // as the header says
                false => &["-framework", "CoreFoundation", "-lm"],
            };
            cc.args(system);
        }
    }
    succeeds(&mut cc);
    Some(program)
}

fn write_ppm(picture: &Picture, path: &Path) {
    let mut bytes = format!("P6\n{} {}\n255\n", picture.width, picture.height).into_bytes();
    bytes.extend(&picture.rgb);
    fs::write(path, bytes).expect("written");
}

fn read_pgm(path: &Path, width: usize, height: usize) -> Mask {
    let bytes = fs::read(path).expect("a mask");
    let head = format!("P5\n{width} {height}\n255\n");
    let pixels = bytes.strip_prefix(head.as_bytes()).expect("its head");
    assert!(pixels.iter().all(|&pixel| pixel == 0 || pixel == 255));
    Mask::new(width, height, pixels.to_vec()).expect("all pixels")
}

fn in_rust(picture: &Picture, text: &str, level: Level) -> Segmentation {
    let device = Device::cpu(&CpuOptions::default()).expect("starts");
    let model = Model::from_checkpoint(Checkpoint::nano().expect("nano"), &device).expect("loads");
    let image = model.encode_image(&picture.view(), ResizeMode::default()).expect("it encodes");
    let prompt = Prompt::text(text).level(level);
    model.segment(&image, &prompt, &SegmentOptions::default()).expect("it answers")
}

#[test]
fn a_c_program_finds_to_the_last_bit_what_rust_finds() {
    let folder = Folder::new("program");
    let picture = scene("dogs.png");
    let ppm = folder.0.join("dogs.ppm");
    write_ppm(&picture, &ppm);
    let mut found = 0;
    for (kind, text, level) in [
        ("shared", "the dogs", Level::Concept),
        ("static", "something to kick into the goal", Level::Complex),
    ] {
        let Some(program) = built(&folder, kind) else { return };
        let run = succeeds(Command::new(&program).arg(&ppm).args([text, &level.to_string()]));
        assert!(run.stderr.is_empty(), "{}", String::from_utf8_lossy(&run.stderr));
        let told = String::from_utf8(run.stdout).expect("UTF-8");
        let expected = in_rust(&picture, text, level).instances;
        assert_eq!(told.lines().count(), expected.len(), "{told}");
        for (i, (line, one)) in told.lines().zip(&expected).enumerate() {
            let words: Vec<_> = line.split(' ').collect();
            let numbers = words[..5].iter().map(|word| word.parse::<f32>().expect("a number").to_bits());
            let [x0, y0, x1, y1] = one.box_xyxy;
            assert_eq!(numbers.collect::<Vec<_>>(), [one.score, x0, y0, x1, y1].map(f32::to_bits), "{line}");
            assert_eq!(words[5..], [&one.area.to_string(), &*one.rle.counts]);
            let mask = read_pgm(&folder.0.join(format!("dogs.ppm.{i}.pgm")), picture.width, picture.height);
            assert_eq!(mask, one.mask().expect("a mask"));
        }
        found += expected.len();
    }
    assert!(found >= 3, "{found} finds compare little");
}

#[test]
fn a_c_program_says_what_is_wrong_and_ends() {
    let folder = Folder::new("wrong");
    let Some(program) = built(&folder, "shared") else { return };
    let ppm = folder.0.join("grey.ppm");
    write_ppm(&Picture::new(8, 8, vec![128; 192]).expect("a picture"), &ppm);
    for (arguments, words) in [
        (&["cat", "simple", "nothing.pt"][..], "nothing.pt: no model here"),
        (&[" ", "simple"], "the prompt is empty"),
    ] {
        let run = Command::new(&program).arg(&ppm).args(arguments).output().expect("it runs");
        let told = String::from_utf8_lossy(&run.stderr);
        assert!(run.status.code() == Some(2) && told.contains(words), "{arguments:?}: {told}");
        assert!(run.stdout.is_empty());
    }
}

#[test]
fn the_header_is_c_and_cpp_of_every_standard_since_1999() {
    let header = root().join("capi/include/sam3i.h");
    for (name, language, standards) in
        [("cc", "c", &["c99", "c11", "c17"][..]), ("c++", "c++", &["c++98", "c++11", "c++17"])]
    {
        for standard in standards {
            let Some(mut compiler) = compiler(name) else { break };
            succeeds(
                compiler
                    .args([&format!("-std={standard}"), "-fsyntax-only", "-x", language])
                    .args(["-Wno-long-long", "-Wno-pragma-once-outside-header"])
                    .arg(&header),
            );
        }
    }
}

/// The README's own line, with this build's folder in place of the release's.
#[test]
fn the_line_in_the_readme_compiles() {
    let text = fs::read_to_string(root().join("README.md")).expect("the README");
    let line = text.lines().find(|line| line.starts_with("cc ")).expect("a line with cc");
    if compiler("cc").is_none() {
        return;
    }
    let (folder, libraries) = (Folder::new("readme"), libraries());
    let program = folder.0.join("segment");
    let line = line
        .replace("target/release", &libraries.display().to_string())
        .replace("-o segment", &format!("-o {}", program.display()));
    succeeds(Command::new("sh").args(["-ec", &line]).current_dir(root()));
    assert!(program.is_file(), "{line}");
}

/// The bytes of a value without padding.
fn bytes<T: Copy>(value: T) -> Vec<u8> {
    // SAFETY: the value is that long, and the structs of the interface leave no gaps on 64-bit systems, so that
    // each byte is set.
    unsafe { std::slice::from_raw_parts((&raw const value).cast(), size_of::<T>()) }.to_vec()
}

#[cfg(target_pointer_width = "64")]
#[test]
fn structs_begin_in_c_as_they_do_in_rust() {
    let Some(mut cc) = compiler("cc") else { return };
    let folder = Folder::new("init");
    let (source, program) = (folder.0.join("init.c"), folder.0.join("init"));
    let names = ["device_options", "encode_options", "prompt", "segment_options", "summary", "instance"];
    let show = |name: &str| {
        let upper = name.to_uppercase();
        format!("{{ sam3i_{name} value = SAM3I_{upper}_INIT; fwrite(&value, sizeof value, 1, stdout); }}\n")
    };
    let body: String = names.iter().map(|name| show(name)).collect();
    let text = format!("#include \"sam3i.h\"\n#include <stdio.h>\nint main(void) {{\n{body}return 0; }}\n");
    fs::write(&source, text).expect("written");
    succeeds(cc.args(["-std=c99", "-o"]).args([&program, &source]));
    let zero = |size: usize| [&size.to_ne_bytes()[..], &vec![0; size - size_of::<usize>()]].concat();
    let expected = [
        bytes(sam3i_device_options::default()),
        bytes(sam3i_encode_options::default()),
        bytes(sam3i_prompt::default()),
        bytes(sam3i_segment_options::default()),
        zero(size_of::<sam3i_summary>()),
        zero(size_of::<sam3i_instance>()),
    ];
    assert_eq!(succeeds(&mut Command::new(program)).stdout, expected.concat());
}
