//! The command line.
//!
//! Foreign libraries send `--name=value`, some with abbreviated names (`--logTag`), so any unambiguous prefix and one
//! dash instead of two are understood, as `getopt_long_only` does.

use std::path::PathBuf;

use channel_proto::command::LogLevel;
use clap::Parser;
use clap::error::ErrorKind;

/// What the parent wants of this process.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "worker",
    version,
    infer_long_args = true,
    about = "The Sluice worker: forwards real-time audio, video and data on one core.",
    after_help = "It is started by a library, which drives it over file descriptors 3 to 6 and sets MEDIASOUP_VERSION."
)]
pub struct Settings {
    /// Least serious log lines that are sent: debug, warn, error or none
    #[arg(long = "logLevel", require_equals = true, value_parser = log_level, default_value = "error", overrides_with = "log_level")]
    pub log_level: LogLevel,
    /// Subject of debug and warning lines, once for each: info ice dtls rtp srtp rtcp rtx bwe score simulcast svc sctp message
    #[arg(long = "logTags", require_equals = true)]
    pub log_tags: Vec<String>,
    /// Lowest port of transports
    #[arg(long = "rtcMinPort", require_equals = true, value_parser = port, default_value = "10000", overrides_with = "rtc_min_port")]
    pub rtc_min_port: u16,
    /// Highest port of transports
    #[arg(long = "rtcMaxPort", require_equals = true, value_parser = port, default_value = "59999", overrides_with = "rtc_max_port")]
    pub rtc_max_port: u16,
    /// DTLS certificate, PEM
    #[arg(
        long = "dtlsCertificateFile",
        value_parser = path,
        require_equals = true,
        overrides_with = "dtls_certificate_file",
        num_args = 1
    )]
    pub dtls_certificate_file: Option<PathBuf>,
    /// Private key of that certificate, PEM
    #[arg(
        long = "dtlsPrivateKeyFile",
        value_parser = path,
        require_equals = true,
        overrides_with = "dtls_private_key_file",
        num_args = 1
    )]
    pub dtls_private_key_file: Option<PathBuf>,
    /// Longest time in ms that a packet of a key frame waits so as not to overrun its receiver's link; 0: none waits
    #[arg(
        long = "maxPacingDelay",
        require_equals = true,
        default_value = "100",
        overrides_with = "max_pacing_delay"
    )]
    pub max_pacing_delay: u32,
    /// Ignored
    #[arg(hide = true)]
    _ignored: Vec<String>,
}

/// What the command line came to.
#[derive(Debug)]
pub enum Parsed {
    /// Run with these.
    Run(Box<Settings>),
    /// Print this and end well: `--help` or `--version`.
    Print(String),
    /// It was wrong, and why.
    Wrong(String),
}

impl Settings {
    /// Reads the arguments behind the program's name.
    pub fn parse_from_args(arguments: impl Iterator<Item = String>) -> Parsed {
        let mut rest_is_positional = false;
        let arguments = arguments.map(|argument| {
            rest_is_positional |= argument == "--";
            let one_dash = argument.starts_with('-') && !argument.starts_with("--") && argument.len() > 2;
            if one_dash && !rest_is_positional {
                format!("-{argument}")
            } else {
                argument
            }
        });
        let settings = match Self::try_parse_from(std::iter::once("worker".to_owned()).chain(arguments)) {
            Ok(settings) => settings,
            Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
                return Parsed::Print(error.to_string());
            }
            Err(error) => return Parsed::Wrong(error.to_string().trim().replace('\n', " ")),
        };
        match settings.check() {
            Ok(settings) => Parsed::Run(Box::new(settings)),
            Err(reason) => Parsed::Wrong(reason),
        }
    }

    fn check(mut self) -> Result<Self, String> {
        if self.rtc_max_port < self.rtc_min_port {
            return Err("rtcMaxPort cannot be less than rtcMinPort".to_owned());
        }
        for file in [&mut self.dtls_certificate_file, &mut self.dtls_private_key_file] {
            *file = file.take().filter(|file| !file.as_os_str().is_empty());
        }
        if self.dtls_certificate_file.is_some() != self.dtls_private_key_file.is_some() {
            return Err("dtlsCertificateFile and dtlsPrivateKeyFile must be given together".to_owned());
        }
        for file in [&self.dtls_certificate_file, &self.dtls_private_key_file]
            .into_iter()
            .flatten()
        {
            if !file.is_file() || std::fs::File::open(file).is_err() {
                return Err(format!("cannot read {}", file.display()));
            }
        }
        Ok(self)
    }
}

fn log_level(value: &str) -> Result<LogLevel, String> {
    LogLevel::from_name(value).ok_or_else(|| format!("invalid value '{value}' for logLevel"))
}

/// Empty is a value too: it means "not given".
fn path(value: &str) -> Result<PathBuf, std::convert::Infallible> {
    Ok(PathBuf::from(value))
}

/// Leading blanks, a sign and trailing text are tolerated; what does not fit a port is an error.
fn port(value: &str) -> Result<u16, String> {
    let number = value.trim_start();
    let (sign, digits) = match number.strip_prefix(['-', '+']) {
        Some(digits) => (if number.starts_with('-') { "-" } else { "" }, digits),
        None => ("", number),
    };
    let end = digits.bytes().take_while(u8::is_ascii_digit).count();
    let digits = digits.get(..end).unwrap_or_default();
    let number: i32 = format!("{sign}{digits}")
        .parse()
        .map_err(|_| format!("'{value}' is not a port"))?;
    // Wraps as clients know it: 65536 is 0, which is then below the minimum.
    Ok(number as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Parsed {
        Settings::parse_from_args(arguments.iter().map(|argument| (*argument).to_owned()))
    }

    #[track_caller]
    fn accepted(arguments: &[&str]) -> Settings {
        match parse(arguments) {
            Parsed::Run(settings) => *settings,
            other => panic!("{arguments:?}: {other:?}"),
        }
    }

    #[test]
    fn both_libraries_are_understood() {
        let node = [
            "--logLevel=warn",
            "--logTag=info",
            "--logTag=ice",
            "--rtcMinPort=40000",
            "--rtcMaxPort=49999",
        ];
        let go = [
            "--logLevel=WARN",
            "--logTags=info",
            "--logTags=ice",
            "-rtcMinPort=40000",
            "--rtcMaxP=49999",
        ];
        for arguments in [node, go] {
            let settings = accepted(&arguments);
            assert_eq!(settings.log_level, LogLevel::Warn);
            assert_eq!(settings.log_tags, ["info", "ice"]);
            assert_eq!((settings.rtc_min_port, settings.rtc_max_port), (40000, 49999));
        }
    }

    #[test]
    fn the_last_value_wins_and_positional_arguments_are_ignored() {
        let settings = accepted(&[
            "here",
            "--rtcMinPort=1",
            "--rtcMinPort= 2x",
            "--dtlsCertificateFile=",
            "--",
            "-x",
        ]);
        assert_eq!(settings.rtc_min_port, 2);
        assert_eq!(settings.dtls_certificate_file, None);
    }

    #[test]
    fn wrong_settings_are_told() {
        for arguments in [
            &["--logLevel=chicken"][..],
            &["--rtcMinPort=1000", "--rtcMaxPort=999"],
            &["--rtcMinPort=1000", "--rtcMaxPort=65536"],
            &["--rtcMinPort=x"],
            &["--rtcMinPort=99999999999"],
            &["--rtcMinPort"],
            &["--unknown=1"],
            &["--dtlsCertificateFile=/nowhere.pem"],
            &[
                "--dtlsCertificateFile=/nowhere.pem",
                "--dtlsPrivateKeyFile=/nowhere.pem",
            ],
        ] {
            assert!(matches!(parse(arguments), Parsed::Wrong(_)), "{arguments:?}");
        }
    }
}
