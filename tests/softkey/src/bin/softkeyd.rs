//! `touchseal-softkey`: plugs one or two software keys into a private pcscd to play with, until standard input closes.
//!
//! Test equipment: it protects nothing.

use std::{error::Error, io, process::ExitCode};

use touchseal_softkey::{Reader, SoftKey};

const USAGE: &str = "\
usage: touchseal-softkey [SERIAL[@MAJOR.MINOR.PATCH]] [SERIAL[@MAJOR.MINOR.PATCH]]

Plugs one or two software YubiKeys into a pcscd of their own. TEST EQUIPMENT: it protects nothing.
Prints the environment variable clients need, and ends when standard input closes.
Firmware 5.4.3 has a 3DES management key, 5.7.0 and later AES-192. PIN 123456, PUK 12345678.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    if arguments.len() > 2 || arguments.iter().any(|argument| argument.starts_with('-')) {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    }
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("touchseal-softkey: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let factory = [String::from("10000001")];
    let wanted = if arguments.is_empty() { &factory } else { arguments };
    let reader = Reader::start()?;
    eprintln!("TEST EQUIPMENT: software YubiKeys, they protect nothing");
    for (slot, description) in wanted.iter().enumerate() {
        reader.insert(slot, &key(description)?)?;
        eprintln!("slot {slot}: serial and firmware {description}");
    }
    println!("PCSCLITE_CSOCK_NAME={}", reader.socket().display());
    io::copy(&mut io::stdin().lock(), &mut io::sink())?;
    Ok(())
}

fn key(description: &str) -> Result<SoftKey, Box<dyn Error>> {
    let (serial, firmware) = description.split_once('@').unwrap_or((description, "5.4.3"));
    let numbers: Vec<u8> = firmware.split('.').map(str::parse).collect::<Result<_, _>>()?;
    let &[major, minor, patch] = numbers.as_slice() else {
        return Err("a firmware version has three numbers".into());
    };
    Ok(SoftKey::builder(serial.parse()?).firmware(major, minor, patch).build()?)
}
