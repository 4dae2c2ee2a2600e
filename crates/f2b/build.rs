//! Links `f2b-client` statically where the C library can be.
//!
//! Scripts and exporters start the client all the time, and to load three shared libraries takes longer than to ask the
//! server. Cargo knows static linking for a whole build only, and the server must not be: it looks names up through the C
//! library's plug-ins and opens libsystemd. So the client's linker is told to make a static program, and finds the
//! archives of the libraries that the standard library asks for in a directory of their own before it finds the shared
//! ones. Without the feature `static-client`, or where an archive is missing, the client is linked like the others.

use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

/// The names under which the standard library asks for a library, and the archive that stands for it.
const ARCHIVES: &[(&str, &str)] =
    &[("libc.a", "libc.a"), ("libm.a", "libm.a"), ("libgcc_s.a", "libgcc_eh.a")];

/// The beginning of a static program that may lie anywhere in memory.
const STARTUP: &str = "rcrt1.o";

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    let Some(archives) = archives() else { return Ok(()) };
    let directory = PathBuf::from(env::var_os("OUT_DIR").expect("cargo names a directory")).join("archives");
    // What an earlier build has left there may be of another C library.
    if directory.exists() {
        fs::remove_dir_all(&directory)?;
    }
    fs::create_dir(&directory)?;
    for (name, archive) in archives {
        symlink(archive, directory.join(name))?;
    }
    println!("cargo::rustc-link-arg-bin=f2b-client=-L{}", directory.display());
    println!("cargo::rustc-link-arg-bin=f2b-client=-static-pie");
    Ok(())
}

/// Where the archives are, if all of them are there, wanted and of use.
fn archives() -> Option<Vec<(&'static str, PathBuf)>> {
    let is = |name, value: &str| env::var(name).is_ok_and(|it| it == value);
    let is_native = env::var("HOST") == env::var("TARGET");
    let is_wanted = env::var_os("CARGO_FEATURE_STATIC_CLIENT").is_some();
    let is_static_anyway =
        env::var("CARGO_CFG_TARGET_FEATURE").is_ok_and(|it| it.split(',').any(|it| it == "crt-static"));
    if !(is_native
        && is_wanted
        && !is_static_anyway
        && is("CARGO_CFG_TARGET_OS", "linux")
        && is("CARGO_CFG_TARGET_ENV", "gnu"))
    {
        return None;
    }
    let linker = env::var_os("RUSTC_LINKER").unwrap_or_else(|| "cc".into());
    let find = |file: &str| {
        let printed = Command::new(&linker).arg(format!("-print-file-name={file}")).output().ok()?;
        let path = PathBuf::from(String::from_utf8(printed.stdout).ok()?.trim());
        (path.is_absolute() && path.exists()).then_some(path)
    };
    find(STARTUP)?;
    ARCHIVES.iter().map(|&(name, archive)| Some((name, find(archive)?))).collect()
}
