//! Writes `docs/bwe.md` and the pictures beside it: how well links are used (`make bwe`). `-- held-out [links]` prints
//! figures of seeds that no test uses instead, of links with these words in their names, else of all steady ones.

use std::fmt::Write as _;
use std::path::Path;

use tests::bandwidth::figures::{Figures, measure, queue};
use tests::bandwidth::foreign::{self, Rhythm};
use tests::bandwidth::layers::watch;
use tests::bandwidth::links::{self, Scenario};
use tests::bandwidth::{Run, on_all_cores, oracle, plot, run};

const SEED: u64 = 1;
/// How many seeds no test uses and nothing was tuned with, and the first of them.
const HELD_OUT: (u64, u64) = (20, 100_000);

fn time(time: Option<f64>) -> String {
    time.map_or("never".to_owned(), |seconds| format!("{seconds:.1} s"))
}

/// A row of the table.
fn row(name: &str, who: &str, figures: &Figures, switches: &str) -> String {
    let falls: Vec<_> = figures.back_off.iter().map(|fall| time(*fall)).collect();
    let rises: Vec<_> = figures.rise.iter().map(|(_, rise)| time(*rise)).collect();
    format!(
        "| {name} | {who} | {:.0} % | {} | {} | {} | {:.0} ms | {:.1} % | {switches} |",
        figures.used * 100.0,
        time(figures.ramp),
        falls.join(", "),
        rises.join(", "),
        figures.queue,
        figures.loss * 100.0
    )
}

/// A link in the table, and its picture.
struct Compared {
    rows: String,
    picture: Vec<u8>,
}

/// Everybody on a link.
fn compare(scenario: &Scenario) -> Compared {
    let ours = run(scenario, SEED);
    let (sizes, frames) = watch(scenario, SEED).per_minute();
    let layers = format!("{sizes:.0}, {frames:.0}");
    let even = foreign::run(scenario, Rhythm::Even, SEED);
    let row = |name: &str, who: &str, run: &Run, layers: &str| row(name, who, &measure(scenario, run), layers) + "\n";
    let rows = [
        row(&scenario.name, "Sluice", &ours, &layers),
        row("", "str0m, even", &even, ""),
        row("", "str0m, frames", &foreign::run(scenario, Rhythm::Frames, SEED), ""),
        row("", "oracle", &oracle::run(scenario, SEED), ""),
    ];
    Compared {
        rows: rows.concat(),
        picture: plot::flow(scenario, &ours.flows[0], &even.flows[0]),
    }
}

/// Measured by hand: it needs a quiet machine, and a release of the worker.
const COST: &str = "
## What it costs

CPU of the worker for each packet that it forwards, and memory for each consumer, to 50 consumers in the clear that report
arrivals, beside such that do not (AMD EPYC, 2 CPUs, loopback, 3 x 2 s; single rounds differ by a fifth):

| | no reports | reports |
|---|---|---|
| frames of 10 | 1.64 us, 26 KiB | 1.84 us, 79 KiB |
| evenly spaced | 9.07 us, 26 KiB | 8.62 us, 68 KiB |

These paths take all that is wanted, so frames leave whole. On one that does not they leave in two or three parts, with as many
system calls. Half of the memory is for packets that wait: without pacing (`--maxPacingDelay=0`) it is 39 KiB, in one run of 2 s.

`target/release/bench --worker target/release/worker --rounds 3 --seconds 2 --variants burst-clear,burst-reports,spaced-clear,spaced-reports`
";

const HELD_OUT_HEAD: &str = "\
    | Link | Used | 85 % after | Queue, p95 | of all together | Lost |\n\
    |---|---|---|---|---|---|\n";

/// Median and worst of seeds that are held out.
fn held_out(scenario: &Scenario) -> String {
    let (count, first) = HELD_OUT;
    let seeds: Vec<_> = (first..first + count).collect();
    let runs = on_all_cores(&seeds, |seed| run(scenario, *seed));
    let figures: Vec<_> = runs.iter().map(|run| measure(scenario, run)).collect();
    // From the best to the worst.
    let ranked = |value: &dyn Fn(&Figures) -> f64| {
        let mut values: Vec<_> = figures.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        (values[values.len() / 2], values[values.len() - 1])
    };
    let (used, least) = ranked(&|figures| -100.0 * figures.used);
    let (ramp, slowest) = ranked(&|figures| figures.ramp.unwrap_or(f64::INFINITY));
    let (waits, longest) = ranked(&|figures| figures.queue);
    let (lost, most) = ranked(&|figures| 100.0 * figures.loss);
    format!(
        "| {} | {:.0} %, {:.0} % | {}, {} | {waits:.0} ms, {longest:.0} ms | {:.0} ms | {lost:.1} %, {most:.1} % |",
        scenario.name,
        -used,
        -least,
        time(Some(ramp).filter(|ramp| ramp.is_finite())),
        time(Some(slowest).filter(|ramp| ramp.is_finite())),
        queue(scenario, &runs),
    )
}

fn main() -> anyhow::Result<()> {
    let words: Vec<_> = std::env::args().skip(1).collect();
    if let Some(("held-out", words)) = words.split_first().map(|(first, words)| (first.as_str(), words)) {
        print!("{HELD_OUT_HEAD}");
        let name = if words.is_empty() {
            "steady".to_owned()
        } else {
            words.join(" ")
        };
        for scenario in links::all().iter().filter(|scenario| scenario.name.contains(&name)) {
            println!("{}", held_out(scenario));
        }
        return Ok(());
    }
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    std::fs::create_dir_all(docs.join("bwe"))?;
    let mut page = String::from(
        "# How links are used\n\n\
        Made by `make bwe`: video through the engine over simulated links, in virtual time, with seed 1. The source sends\n\
        what is estimated, 30 frames a second. Queues hold 200 ms unless said otherwise; the way takes 25 ms, reports come\n\
        every 100 ms. Times after falls are until the estimate was below the new capacity, after rises until it was 90 % of\n\
        it. Layers: on the same link a viewer watches a source in three sizes of 150, 500 and 1,500 kbit/s, each in three\n\
        rates of frames; how often a minute the size changed, and the rate of frames alone.\n\n\
        - The oracle knows the link and sends 95 % of what it can take, evenly spaced.\n\
        - str0m: two peers of str0m 0.25 over the same link, in RTP mode, with its pacer, probes and reports every 50 ms,\n\
        \x20 from the same 600 kbit/s on, wishing for 100 Mbit/s as we do. Its estimate counts payloads alone, so the source\n\
        \x20 leaves 5 % to headers. It is read from the statistics: the event `EgressBitrateEstimate` tells the mean of three\n\
        \x20 seconds, and who follows that fills queues. Once the source sends packets evenly spaced (\"even\"), as str0m's own\n\
        \x20 tests do, once whole frames at a time, as ours does (\"frames\"), which its detection of queues takes badly. A full\n\
        \x20 queue of 50 Mbit/s is more than the 1,000 sent packets that it remembers. Nobody repeats what was lost.\n\n\
        `tests/tests/bandwidth.rs` asserts figures with more seeds, `tests/tests/layers.rs` layers.\n\n\
        | Link | Who | Used | 85 % after | Below after falls | 90 % after rises | Queue, p95 | Lost | Layers a minute |\n\
        |---|---|---|---|---|---|---|---|---|\n",
    );
    let mut pictures = String::from(
        "\n## Pictures\n\nGrey: the link. Blue: the estimate. Red: what arrives. Green: what str0m estimates. Up to 1.3 times of the widest that the \
        link is.\n",
    );
    let all = links::all();
    for (index, (scenario, compared)) in all.iter().zip(on_all_cores(&all, compare)).enumerate() {
        page.push_str(&compared.rows);
        std::fs::write(docs.join(format!("bwe/{index}.png")), compared.picture)?;
        writeln!(pictures, "\n{}:\n\n![{0}](bwe/{index}.png)", scenario.name)?;
    }
    let (count, first) = HELD_OUT;
    write!(
        page,
        "\n## Seeds that no test uses\n\n\
        Median and worst of {count} seeds from {first} on (`cargo run -p tests --example bwe -- held-out`).\n\n{HELD_OUT_HEAD}"
    )?;
    for scenario in &links::steady() {
        writeln!(page, "{}", held_out(scenario))?;
    }
    page.push_str(COST);
    page.push_str(&pictures);
    std::fs::write(docs.join("bwe.md"), page)?;
    Ok(())
}
