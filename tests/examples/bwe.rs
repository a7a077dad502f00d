//! Writes `docs/bwe.md` and the pictures beside it: how well links are used (`make bwe`). `-- held-out [links]` prints
//! figures of seeds that no test uses instead, of links with these words in their names, else of all steady ones.

use std::fmt::Write as _;
use std::path::Path;

use tests::bandwidth::figures::{Figures, measure, queue};
use tests::bandwidth::links::{self, Scenario};
use tests::bandwidth::{on_all_cores, oracle, plot, run};

const SEED: u64 = 1;
/// How many seeds no test uses and nothing was tuned with, and the first of them.
const HELD_OUT: (u64, u64) = (20, 1000);

fn time(time: Option<f64>) -> String {
    time.map_or("never".to_owned(), |seconds| format!("{seconds:.1} s"))
}

fn row(name: &str, who: &str, figures: &Figures) -> String {
    let falls: Vec<_> = figures.back_off.iter().map(|fall| time(*fall)).collect();
    let rises: Vec<_> = figures.rise.iter().map(|(_, rise)| time(*rise)).collect();
    format!(
        "| {name} | {who} | {:.0} % | {} | {} | {} | {:.0} ms | {:.1} % |",
        figures.used * 100.0,
        time(figures.ramp),
        falls.join(", "),
        rises.join(", "),
        figures.queue,
        figures.loss * 100.0
    )
}

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
        what is estimated, 30 frames a second. Beside it an oracle that knows the link and sends 95 % of what it can take,\n\
        evenly spaced. Queues hold 200 ms unless said otherwise; the way takes 25 ms, reports come every 100 ms.\n\
        Times after falls are until the estimate was below the new capacity, after rises until it was 90 % of it.\n\
        `tests/tests/bandwidth.rs` asserts figures with more seeds (queues over all of them together), `tests/tests/layers.rs`\n\
        layers. There is no comparison with other estimators yet.\n\n\
        | Link | Who | Used | 85 % after | Below after falls | 90 % after rises | Queue, p95 | Lost |\n\
        |---|---|---|---|---|---|---|---|\n",
    );
    let mut pictures = String::from(
        "\n## Pictures\n\nGrey: the link. Blue: the estimate. Red: what arrives. Up to 1.3 times of the widest that the \
        link is.\n",
    );
    for (index, scenario) in links::all().iter().enumerate() {
        let ours = run(scenario, SEED);
        let best = oracle::run(scenario, SEED);
        writeln!(page, "{}", row(&scenario.name, "Sluice", &measure(scenario, &ours)))?;
        writeln!(page, "{}", row("", "oracle", &measure(scenario, &best)))?;
        std::fs::write(
            docs.join(format!("bwe/{index}.png")),
            plot::flow(scenario, &ours.flows[0]),
        )?;
        writeln!(pictures, "\n{}:\n\n![{0}](bwe/{index}.png)", scenario.name)?;
    }
    let (count, first) = HELD_OUT;
    write!(
        page,
        "\n## Seeds that no test uses\n\n\
        Median and worst of {count} seeds from {first} on, for nothing was tuned with them \
        (`cargo run -p tests --example bwe -- held-out`).\n\n{HELD_OUT_HEAD}"
    )?;
    for scenario in &links::steady() {
        writeln!(page, "{}", held_out(scenario))?;
    }
    page.push_str(&pictures);
    std::fs::write(docs.join("bwe.md"), page)?;
    Ok(())
}
