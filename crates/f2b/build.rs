//! Links `f2b-client` statically where the C library can be, and the compiler's support library into every program.
//!
//! Scripts and exporters start the client all the time, and to load three shared libraries takes longer than to ask the
//! server. Cargo knows static linking for a whole build only, and the server must not be: it looks names up through the C
//! library's plug-ins and opens libsystemd. So the client's linker is told to make a static program, and finds the
//! archives of the libraries that the standard library asks for in a directory of their own before it finds the shared
//! ones. Without the feature `static-client`, where an archive is missing, or with flags of one's own for where code lies and what
//! links it, all programs are linked as usual.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The name under which the standard library asks for a library, the archives that stand for it, and the programs that
/// have it inside. What the C library needs of the compiler's comes with it.
const LIBRARIES: &[(&str, &[&str], &[&str])] = &[
    ("libc.a", &["libc.a", "libgcc_eh.a", "libgcc.a"], &["f2b-client"]),
    ("libm.a", &["libm.a"], &["f2b-client"]),
    ("libgcc_s.a", &["libgcc_eh.a"], &["f2b-client", "f2b-server", "f2b-regex"]),
];

/// The beginning of a static program that may lie anywhere in memory.
const STARTUP: &str = "rcrt1.o";

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    let Some(libraries) = libraries() else { return Ok(()) };
    let root = PathBuf::from(env::var_os("OUT_DIR").expect("cargo names a directory")).join("archives");
    // What an earlier build has left there may be of another C library.
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    for (name, archives, programs) in libraries {
        for program in programs {
            let directory = root.join(program);
            fs::create_dir_all(&directory)?;
            // Linkers read a text in the place of an archive as a script.
            fs::write(directory.join(name), format!("GROUP ( {archives} )\n"))?;
            println!("cargo::rustc-link-arg-bin={program}=-L{}", directory.display());
        }
    }
    println!("cargo::rustc-link-arg-bin=f2b-client=-static-pie");
    Ok(())
}

/// The libraries with the paths of their archives, if all of these are there, wanted and of use.
fn libraries() -> Option<Vec<(&'static str, String, &'static [&'static str])>> {
    let is = |name, value: &str| env::var(name).is_ok_and(|it| it == value);
    let features = env::var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
    let is_native = env::var("HOST") == env::var("TARGET");
    let is_wanted = env::var_os("CARGO_FEATURE_STATIC_CLIENT").is_some();
    let is_static_anyway = features.split(',').any(|feature| feature == "crt-static");
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let is_elsewhere = flags.contains("relocation-model") || flags.contains("linker=");
    let is_glibc = is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu");
    if !is_native || !is_wanted || is_static_anyway || is_elsewhere || !is_glibc {
        return None;
    }
    let linker = env::var_os("RUSTC_LINKER").unwrap_or_else(|| "cc".into());
    let find = |file: &str| {
        let printed = Command::new(&linker).arg(format!("-print-file-name={file}")).output().ok()?;
        let path = String::from_utf8(printed.stdout).ok()?.trim().to_owned();
        let found = Path::new(&path).is_absolute().then_some(path)?;
        println!("cargo::rerun-if-changed={found}");
        Some(found)
    };
    find(STARTUP)?;
    let found = |archives: &[&str]| {
        archives.iter().map(|file| Some(format!("\"{}\"", find(file)?))).collect::<Option<Vec<_>>>()
    };
    LIBRARIES
        .iter()
        .map(|&(name, archives, programs)| Some((name, found(archives)?.join(" "), programs)))
        .collect()
}
