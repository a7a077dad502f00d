//! Writes `docs/bwe.md` and the pictures beside it: how well links are used (`make bwe`).

use std::fmt::Write as _;
use std::path::Path;

use tests::bandwidth::figures::{Figures, measure};
use tests::bandwidth::{links, oracle, plot, run};

const SEED: u64 = 1;

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

fn main() -> anyhow::Result<()> {
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
    page.push_str(&pictures);
    std::fs::write(docs.join("bwe.md"), page)?;
    Ok(())
}
