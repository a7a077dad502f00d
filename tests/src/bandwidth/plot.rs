//! Pictures of runs: PNG with five colours and no letters, so that nothing has to be installed for them.

use super::figures::Sample;
use super::links::Scenario;

const WIDTH: usize = 600;
const HEIGHT: usize = 160;
/// Two pixels are a byte, and each row begins with one of its own.
const _: () = assert!(WIDTH.is_multiple_of(2));
/// Colours: paper, the link, the estimate, what arrives, the estimate of another.
const PALETTE: [[u8; 3]; 5] = [
    [255, 255, 255],
    [190, 190, 190],
    [30, 90, 200],
    [220, 60, 40],
    [0, 110, 60],
];

/// A picture of a flow: capacity in grey, estimate in blue, what arrives in red and the estimate of another in green, from
/// 0 to 1.3 times of the widest that the link is, over the whole run.
pub fn flow(scenario: &Scenario, samples: &[Sample], other: &[Sample]) -> Vec<u8> {
    let mut pixels = vec![0_u8; WIDTH * HEIGHT];
    let widest = scenario.narrow.capacity.0.iter().map(|(_, rate)| *rate).max();
    let top = widest.unwrap_or(1) as f64 * 1.3;
    let row = |rate: f64| ((1.0 - (rate / top).min(1.0)) * (HEIGHT - 1) as f64) as usize;
    for column in 0..WIDTH {
        let at = column as u64 * scenario.duration / WIDTH as u64;
        let capacity = row(scenario.narrow.capacity.at(at) as f64);
        for pixel in (capacity..HEIGHT).map(|row| row * WIDTH + column) {
            pixels[pixel] = 1;
        }
    }
    let column = |at: u64| (at * (WIDTH - 1) as u64 / scenario.duration.max(1)) as usize;
    // Over half a second.
    for two in samples.windows(6) {
        let bits = (two[5].bytes - two[0].bytes) as f64 * 8.0;
        let arrives = bits * 1e6 / (two[5].at - two[0].at).max(1) as f64;
        line(
            &mut pixels,
            column(two[4].at),
            column(two[5].at),
            row(arrives),
            row(arrives),
            3,
        );
    }
    for (samples, colour) in [(other, 4), (samples, 2)] {
        for two in samples.windows(2) {
            let (from, to) = (row(two[0].estimate as f64), row(two[1].estimate as f64));
            line(&mut pixels, column(two[0].at), column(two[1].at), from, to, colour);
        }
    }
    png(&pixels)
}

fn line(pixels: &mut [u8], left: usize, right: usize, from: usize, to: usize, colour: u8) {
    for column in left..=right {
        pixels[to * WIDTH + column] = colour;
    }
    for row in from.min(to)..=from.max(to) {
        pixels[row * WIDTH + right] = colour;
    }
}

/// A PNG of four bits for each pixel.
fn png(pixels: &[u8]) -> Vec<u8> {
    let packed: Vec<u8> = pixels.chunks(2).map(|two| two[0] << 4 | two[1]).collect();
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, WIDTH as u32, HEIGHT as u32);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Four);
    encoder.set_palette(PALETTE.concat());
    let written = encoder
        .write_header()
        .and_then(|mut writer| writer.write_image_data(&packed));
    written.expect("a picture of this size");
    file
}
