//! Pictures of runs: PNG with four colours and no letters, so that nothing has to be installed for them.

use super::figures::Sample;
use super::links::Scenario;

const WIDTH: usize = 600;
const HEIGHT: usize = 160;
/// Colours: paper, the link, the estimate, what arrives.
const PALETTE: [[u8; 3]; 4] = [[255, 255, 255], [190, 190, 190], [30, 90, 200], [220, 60, 40]];

/// A picture of a flow: capacity in grey, estimate in blue and what arrives in red, from 0 to 1.3 times of the widest
/// that the link is, over the whole run.
pub fn flow(scenario: &Scenario, samples: &[Sample]) -> Vec<u8> {
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
    for two in samples.windows(2) {
        let (from, to) = (row(two[0].estimate as f64), row(two[1].estimate as f64));
        line(&mut pixels, column(two[0].at), column(two[1].at), from, to, 2);
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

/// A PNG of two bits for each pixel, not compressed.
fn png(pixels: &[u8]) -> Vec<u8> {
    let mut raw = Vec::new();
    for row in pixels.chunks(WIDTH) {
        raw.push(0);
        let packed = row
            .chunks(4)
            .map(|four| four.iter().fold(0, |byte, pixel| byte << 2 | pixel));
        raw.extend(packed);
    }
    // Deflate in stored blocks.
    let mut data = vec![0x78, 0x01];
    let blocks = raw.chunks(65_535);
    let last = blocks.len() - 1;
    for (index, block) in blocks.enumerate() {
        let length = block.len() as u16;
        data.push(u8::from(index == last));
        data.extend(length.to_le_bytes());
        data.extend((!length).to_le_bytes());
        data.extend(block);
    }
    let (low, high) = raw.iter().fold((1_u32, 0_u32), |(low, high), byte| {
        let low = (low + u32::from(*byte)) % 65_521;
        (low, (high + low) % 65_521)
    });
    data.extend((high << 16 | low).to_be_bytes());
    let mut header = Vec::new();
    header.extend((WIDTH as u32).to_be_bytes());
    header.extend((HEIGHT as u32).to_be_bytes());
    header.extend([2, 3, 0, 0, 0]);
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    for (name, content) in [
        (b"IHDR", header),
        (b"PLTE", PALETTE.concat()),
        (b"IDAT", data),
        (b"IEND", Vec::new()),
    ] {
        file.extend((content.len() as u32).to_be_bytes());
        let start = file.len();
        file.extend(name);
        file.extend(content);
        file.extend(crc(&file[start..]).to_be_bytes());
    }
    file
}

/// CRC-32 (ISO 3309), as PNG has it.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            crc >> 1 ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_standard() {
        assert_eq!(crc(b"123456789"), 0xcbf4_3926);
        let file = png(&vec![0; WIDTH * HEIGHT]);
        assert!(file.starts_with(b"\x89PNG") && file.ends_with(&[0xae, 0x42, 0x60, 0x82]));
    }
}
