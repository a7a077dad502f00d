//! The worker process: arguments, environment, exit code. A library starts it and drives it over its pipes.

use std::process::ExitCode;

use worker::runtime::{EXIT_FAILED, EXIT_OK, EXIT_WRONG_SETTINGS, Parsed, Settings, complain, run};

fn main() -> ExitCode {
    let arguments = std::env::args_os()
        .skip(1)
        .map(|argument| argument.to_string_lossy().into_owned());
    let settings = match Settings::parse_from_args(arguments) {
        Parsed::Print(text) => {
            print!("{text}");
            return ExitCode::from(EXIT_OK);
        }
        // Told before the settings are judged: without a parent there is nobody to judge them for.
        _ if std::env::var_os("MEDIASOUP_VERSION").is_none() => {
            complain(format_args!(
                "MEDIASOUP_VERSION is not set: this process is started by a library; see --help"
            ));
            return ExitCode::from(EXIT_FAILED);
        }
        Parsed::Wrong(reason) => {
            complain(format_args!("settings error: {reason}"));
            return ExitCode::from(EXIT_WRONG_SETTINGS);
        }
        Parsed::Run(settings) => settings,
    };
    ExitCode::from(run(&settings))
}
