//! What a file is, told from its first bytes.

/// The weight formats, and everything people hand over instead.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    /// A zip archive: a `.pt` file, if it holds a pickle.
    Zip,
    /// A safetensors file, as far as its first nine bytes tell.
    Safetensors,
    /// Something else: what it is, and what to do.
    Other(&'static str, &'static str),
}

const CONVERT: &str = "load it with its own tool and save the weights as .safetensors";
const FETCH: &str = "download the weights themselves";

/// First bytes -> what the file is. The first match counts.
const MAGIC: &[(&[u8], &str, &str)] = &[
    (
        b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19",
        "a torch file in the format of before 2020",
        RESAVE,
    ),
    (b"GGUF", "a GGUF file", CONVERT),
    (b"lmgg", "a GGML file", CONVERT),
    (b"\x89HDF", "an HDF5 file", CONVERT),
    (b"\x93NUMPY", "a NumPy array", CONVERT),
    (b"\x80", "a bare Python pickle", RESAVE),
    (b"\x1f\x8b", "a gzip archive", UNPACK),
    (b"\x28\xb5\x2f\xfd", "a zstd archive", UNPACK),
    (b"7z\xbc\xaf", "a 7z archive", UNPACK),
    (b"Rar!", "a RAR archive", UNPACK),
    (b"\x89PNG", "a picture", FETCH),
    (b"\xff\xd8\xff", "a picture", FETCH),
    (
        b"version https://git-lfs",
        "a Git LFS pointer, not the file it stands for",
        "run `git lfs pull` where it came from",
    ),
];
const RESAVE: &str = "load it in PyTorch and save it again with torch.save, or as .safetensors";
const UNPACK: &str = "unpack it and give the file inside";

/// Tells what the file that starts with `head` (its first 512 bytes, or all of a shorter one) is.
pub(super) fn sniff(head: &[u8]) -> Kind {
    if head.is_empty() {
        return Kind::Other("an empty file", "copy or download it again");
    }
    if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
        return Kind::Zip;
    }
    // The header's length comes first: the text that follows is JSON.
    if head.get(8) == Some(&b'{') && !is_text(&head[..8]) {
        return Kind::Safetensors;
    }
    if let Some((_, what, advice)) = MAGIC.iter().find(|(magic, ..)| head.starts_with(magic)) {
        return Kind::Other(what, advice);
    }
    if head.get(257..262) == Some(b"ustar") {
        return Kind::Other("a tar archive", UNPACK);
    }
    if is_text(head) { text(head) } else { Kind::Other("a file of no format we know", CONVERT) }
}

fn is_text(bytes: &[u8]) -> bool {
    bytes.iter().all(|&b| matches!(b, b'\t' | b'\n' | b'\r' | 0x20..=0x7e | 0x80..))
}

fn text(head: &[u8]) -> Kind {
    let start = head.trim_ascii_start().to_ascii_lowercase();
    if start.starts_with(b"<!doctype") || start.starts_with(b"<html") {
        return Kind::Other(
            "a web page",
            "the download was refused or redirected: open the link in a browser",
        );
    }
    if start.starts_with(b"{") || start.starts_with(b"[") {
        return Kind::Other(
            "a JSON text",
            "give the .safetensors or .pt file, or the directory that holds it",
        );
    }
    Kind::Other("a text file", FETCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_are_called_by_their_name() {
        let cases: &[(&[u8], &str)] = &[
            (b"", "an empty file"),
            (
                b"version https://git-lfs.github.com/spec/v1\noid sha256:00",
                "a Git LFS pointer, not the file it stands for",
            ),
            (b"\n<!DOCTYPE html><html>", "a web page"),
            (b"{\"architectures\": [\"Sam3Model\"]}", "a JSON text"),
            (b"hello\n", "a text file"),
            (b"GGUF\x03\0\0\0", "a GGUF file"),
            (b"\x80\x02}q\x00.", "a bare Python pickle"),
            (b"\x00\x01\x02", "a file of no format we know"),
        ];
        for (head, expected) in cases {
            let Kind::Other(what, _) = sniff(head) else { panic!("{expected} taken for weights") };
            assert_eq!(what, *expected);
        }
    }

    #[test]
    fn weight_files_are_told_apart() {
        assert_eq!(sniff(b"PK\x03\x04rest"), Kind::Zip);
        assert_eq!(sniff(b"\x10\0\0\0\0\0\0\0{\"a\""), Kind::Safetensors);
    }
}
