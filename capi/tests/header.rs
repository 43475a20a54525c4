//! `sam3i.h` is written by hand. Here it is held against the functions, structs and constants of Rust, word by word.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn header() -> String {
    fs::read_to_string(folder().join("include/sam3i.h")).expect("the header")
}

/// The header without its remarks.
fn declarations() -> String {
    let text = header();
    let mut code = String::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once("/*") {
        code += before;
        rest = after.split_once("*/").expect("a remark ends").1;
    }
    code + rest
}

/// All of the crate's code, without the tests in it.
fn sources() -> String {
    let mut code = String::new();
    for file in fs::read_dir(folder().join("src")).expect("the sources") {
        let text = fs::read_to_string(file.expect("a file").path()).expect("a source");
        code += text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    }
    code
}

/// Words with one space between them, and none around signs.
fn squeezed(text: &str) -> String {
    let mut out = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for sign in ["*", "(", ")", ",", ";", "{", "}", ":", "=", "->", "&"] {
        out = out.replace(&format!(" {sign}"), sign).replace(&format!("{sign} "), sign);
    }
    out
}

/// A Rust type as it is written in C, up to the name that follows it.
fn in_c(rust: &str) -> String {
    if let Some(to) = rust.strip_prefix("*const ") {
        return match to.starts_with('*') {
            true => format!("{}*const", in_c(to)),
            false => format!("const {}*", in_c(to)),
        };
    }
    if let Some(to) = rust.strip_prefix("*mut ") {
        return format!("{}*", in_c(to));
    }
    let names = [
        ("usize", "size_t"),
        ("u8", "uint8_t"),
        ("u32", "uint32_t"),
        ("u64", "uint64_t"),
        ("i32", "int32_t"),
        ("f32", "float"),
        ("c_char", "char"),
        ("c_void", "void"),
    ];
    let known = names.iter().find(|(name, _)| *name == rust).map(|(_, c)| *c);
    known.or(rust.starts_with("sam3i_").then_some(rust)).unwrap_or_else(|| panic!("{rust} in C?")).to_owned()
}

/// `name: type` as C's `type name`.
fn declared(parameter: &str) -> String {
    let (name, kind) = parameter.split_once(':').expect("a name and a type");
    let kind = in_c(&kind.replace("*const", "*const ").replace("*mut", "*mut ").replace("  ", " "));
    if kind.ends_with('*') { format!("{kind}{name}") } else { format!("{kind} {name}") }
}

/// What Rust exports, by name: what it returns, and its parameters, as C writes them.
fn exported() -> BTreeMap<String, String> {
    let sources = squeezed(&sources());
    let mut found = BTreeMap::new();
    for one in sources.split("#[unsafe(no_mangle)]").skip(1) {
        let one = one.split_once("extern \"C\" fn ").expect("an exported function").1;
        let (name, rest) = one.split_once('(').expect("parameters");
        let (parameters, rest) = rest.split_once(')').expect("they end");
        let result = rest.strip_prefix("->").map(|rest| rest.split_once('{').expect("a body").0);
        let result = result.map_or("void".to_owned(), |kind| declared(&format!(":{kind}")));
        let parameters: Vec<_> = parameters.split(',').filter(|one| !one.is_empty()).map(declared).collect();
        let parameters = if parameters.is_empty() { "void".to_owned() } else { parameters.join(",") };
        let gap = if result.ends_with('*') { "" } else { " " };
        found.insert(name.to_owned(), format!("{}{gap}{name}({parameters});", result.trim_end()));
    }
    found
}

#[test]
fn every_function_is_declared_as_it_is() {
    let (header, exported) = (squeezed(&declarations()), exported());
    assert!(exported.len() >= 17, "{exported:?}");
    for prototype in exported.values() {
        assert!(header.contains(prototype.as_str()), "the header lacks\n{prototype}");
    }
    let declared: Vec<_> = header
        .split("sam3i_")
        .skip(1)
        .filter_map(|rest| rest.split_once('('))
        .filter(|(name, _)| name.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
        .map(|(name, _)| format!("sam3i_{name}"))
        .collect();
    for name in &declared {
        assert!(exported.contains_key(name), "{name} is declared, but not there");
    }
    assert_eq!(declared.len(), exported.len(), "{declared:?}");
}

#[test]
fn the_watcher_is_declared_as_it_is() {
    let alias = squeezed(&sources());
    let alias = alias.split_once("pub type sam3i_watch=Option<unsafe extern \"C\" fn(").expect("an alias").1;
    let (parameters, rest) = alias.split_once(")->").expect("a result");
    let result = in_c(rest.split_once('>').expect("its end").0);
    let parameters: Vec<_> = parameters.split(',').map(declared).collect();
    let expected = format!("typedef {result}(*sam3i_watch)({});", parameters.join(","));
    assert!(squeezed(&declarations()).contains(&expected), "the header lacks\n{expected}");
}

#[test]
fn structs_have_the_same_members_in_the_same_order() {
    let (header, sources) = (squeezed(&declarations()), sources());
    let mut seen = 0;
    for one in sources.split("#[repr(C)]\n").skip(1) {
        let one = one.split_once("pub struct ").expect("a struct").1;
        let (name, rest) = one.split_once(" {").expect("members");
        let body = rest.split_once("\n}").expect("they end").0;
        let members = body.lines().filter_map(|line| line.trim().strip_prefix("pub "));
        let members: String =
            members.map(|line| declared(&line.trim_end_matches(',').replace(": ", ":")) + ";").collect();
        let expected = format!("typedef struct {name}{{{members}}}{name};");
        assert!(header.contains(&expected), "the header lacks\n{expected}");
        seen += 1;
    }
    let with_members = header
        .split("typedef struct ")
        .skip(1)
        .filter(|rest| rest.find('{').is_some_and(|brace| brace < rest.find(';').expect("an end")));
    assert_eq!(with_members.count(), seen);
}

/// Names and values of constants: `NAME = 3` of C's enums, `#define NAME 3`, and `pub const NAME: type = 3;` of Rust.
fn constants(text: &str, read: impl Fn(&str) -> Option<(&str, &str)>) -> BTreeMap<String, i64> {
    let found = text.lines().filter_map(|line| read(line.trim()));
    found
        .filter(|(name, _)| name.starts_with("SAM3I_"))
        .map(|(name, value)| (name.to_owned(), value.parse().unwrap_or_else(|_| panic!("{name} is {value}"))))
        .collect()
}

#[test]
fn constants_have_the_same_values() {
    let in_header = constants(&declarations(), |line| match line.strip_prefix("#define ") {
        Some(define) => define.split_once(' ').filter(|(name, _)| !name.ends_with("_INIT")),
        None => line.trim_end_matches(',').split_once(" = "),
    });
    let in_rust = constants(&sources(), |line| {
        let (name, rest) = line.strip_prefix("pub const ")?.split_once(": ")?;
        Some((name, rest.split_once(" = ")?.1.trim_end_matches(';')))
    });
    assert!(in_header.len() >= 24, "{in_header:?}");
    assert_eq!(in_header, in_rust);
}

#[test]
fn every_declaration_is_preceded_by_a_remark() {
    let text = header();
    let body = text.split_once("extern \"C\" {").expect("the declarations").1;
    let lines: Vec<_> = body.lines().collect();
    for (number, line) in lines.iter().enumerate() {
        let begins = ["typedef ", "enum ", "sam3i_status ", "const char *", "void ", "uint32_t "];
        let counted = line.ends_with("_count;");
        let member =
            line.starts_with("    ") && line.ends_with([';', ',']) && !line.trim().starts_with(['*', '/']);
        if begins.iter().any(|start| line.starts_with(start)) || (member && !counted && !line.contains(')')) {
            assert!(lines[number - 1].ends_with("*/"), "{line}: say what it is");
        }
    }
}
