//! Bitrates of the spatial and temporal layers of one stream.

use std::collections::BTreeMap;

use crate::rtp::rate::RateCounter;

/// Window of the rates in milliseconds, and its parts.
const WINDOW: (u32, u32) = (2500, 100);

/// A spatial layer that more pictures in a row had nothing of has been turned off, unless a higher one goes on.
const MISSED: u8 = 5;

/// A rate for each pair of a spatial and a temporal layer.
#[derive(Debug)]
pub struct LayerRates {
    temporal_layers: u8,
    /// By spatial layer, pictures in a row that had nothing of it.
    missed: Box<[u8]>,
    /// Spatial layer by spatial layer. What is never used holds no memory beyond its place.
    cells: Box<[RateCounter]>,
}

impl LayerRates {
    /// For so many layers; none counts as one.
    pub fn new(spatial_layers: u8, temporal_layers: u8) -> Self {
        let temporal_layers = temporal_layers.max(1);
        let count = usize::from(spatial_layers.max(1)) * usize::from(temporal_layers);
        let cells = (0..count).map(|_| RateCounter::new(WINDOW.0, WINDOW.1)).collect();
        Self {
            temporal_layers,
            missed: vec![0; spatial_layers.max(1).into()].into_boxed_slice(),
            cells,
        }
    }

    fn spatial(&mut self) -> impl Iterator<Item = &mut [RateCounter]> {
        self.cells.chunks_mut(self.temporal_layers.into())
    }

    /// Takes a packet of `size` bytes; layers above the highest count as the highest.
    pub fn update(&mut self, spatial: u8, temporal: u8, size: usize, now: u64) {
        let temporal = usize::from(temporal.min(self.temporal_layers.saturating_sub(1)));
        let highest = self.cells.len() / usize::from(self.temporal_layers) - 1;
        let spatial = usize::from(spatial).min(highest);
        if let Some(missed) = self.missed.get_mut(spatial) {
            *missed = 0;
        }
        if let Some(cell) = self
            .cells
            .get_mut(spatial * usize::from(self.temporal_layers) + temporal)
        {
            cell.update(now, size);
        }
    }

    /// A picture is complete, of which the last packet is yet to be counted. True: a spatial layer has been missing for
    /// too long.
    pub fn picture(&mut self) -> bool {
        let before = self.present();
        for missed in &mut self.missed {
            *missed = missed.saturating_add(1);
        }
        self.present() < before
    }

    /// Spatial layers up to the highest that was there of late.
    fn present(&self) -> usize {
        let highest = self.missed.iter().rposition(|missed| *missed <= MISSED);
        highest.map_or(0, |highest| highest + 1)
    }

    /// Bit i: spatial layer i carries something. Layers above 127 are not told.
    pub fn active_spatial_layers(&mut self, now: u64) -> u128 {
        let mut active = 0;
        let present = self.present().min(128);
        for (spatial, cells) in self.spatial().enumerate().take(present) {
            if cells.iter_mut().any(|cell| cell.bitrate(now) > 0) {
                active |= 1 << spatial;
            }
        }
        active
    }

    /// Bits per second of one layer alone.
    pub fn rate(&mut self, spatial: u8, temporal: u8, now: u64) -> u32 {
        let index = usize::from(spatial) * usize::from(self.temporal_layers) + usize::from(temporal);
        let exists = temporal < self.temporal_layers;
        let cell = self.cells.get_mut(index).filter(|_| exists);
        cell.map_or(0, |cell| cell.bitrate(now))
    }

    /// Bits per second by "spatial.temporal", each with all that it depends on; 0 if it carries nothing itself.
    pub fn by_layer(&mut self, now: u64) -> BTreeMap<String, u32> {
        let (mut rates, mut below) = (BTreeMap::new(), 0_u32);
        for (spatial, cells) in self.spatial().enumerate() {
            let mut sum = below;
            for (temporal, cell) in cells.iter_mut().enumerate() {
                let rate = cell.bitrate(now);
                sum = sum.saturating_add(rate);
                rates.insert(format!("{spatial}.{temporal}"), if rate > 0 { sum } else { 0 });
            }
            below = sum;
        }
        rates
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_includes_those_below_it() {
        let mut rates = LayerRates::new(2, 2);
        for (spatial, temporal, size) in [(0, 0, 2500), (0, 1, 1250), (1, 1, 5000), (9, 9, 5000)] {
            rates.update(spatial, temporal, size, 1_000_000);
        }
        let by_layer: Vec<_> = rates.by_layer(1_000_000).into_iter().collect();
        let expected = [("0.0", 8000), ("0.1", 12_000), ("1.0", 0), ("1.1", 44_000)];
        assert_eq!(by_layer, expected.map(|(layer, rate)| (layer.to_owned(), rate)));
        assert_eq!(rates.active_spatial_layers(1_000_000), 3);
        let each = [(0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (2, 0)].map(|(s, t)| rates.rate(s, t, 1_000_000));
        assert_eq!(each, [8000, 4000, 0, 32_000, 0, 0]);
        for picture in 1..=20 {
            assert_eq!(rates.picture(), picture == 6, "{picture}");
            rates.update(0, 0, 100, 1_000_000);
            let expected = if picture < 6 { 3 } else { 1 };
            assert_eq!(rates.active_spatial_layers(1_000_000), expected, "{picture}");
        }
        rates.update(1, 0, 100, 1_000_000);
        assert_eq!(rates.active_spatial_layers(1_000_000), 3, "it is back");
        for _ in 1..=20 {
            assert!(!rates.picture(), "a lower one may be slower");
            rates.update(1, 0, 100, 1_000_000);
        }
        assert_eq!(rates.active_spatial_layers(1_000_000), 3);
        rates.update(0, 0, 100, 4_000_000);
        assert_eq!(rates.active_spatial_layers(4_000_000), 1);
    }
}
