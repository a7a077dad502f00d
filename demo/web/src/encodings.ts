import type { types } from 'mediasoup-client';

/** Where a stream comes from. */
export type Source = 'microphone' | 'camera' | 'screen';

/** How a camera or a screen is encoded: several sizes next to each other, or one stream of layers. */
export function encodings(source: Source, mimeType: string, firefox: boolean): types.RtpEncodingParameters[] {
  // Firefox has no layers within a stream.
  if (/vp9|av1/i.test(mimeType) && firefox) {
    return [{ maxBitrate: source === 'screen' ? 2_500_000 : 1_500_000, dtx: source === 'screen' }];
  }
  if (/vp9|av1/i.test(mimeType)) {
    return source === 'screen'
      ? [{ scalabilityMode: 'L1T3', maxBitrate: 2_500_000, dtx: true }]
      : [{ scalabilityMode: 'L3T3_KEY', maxBitrate: 1_500_000 }];
  }
  const layers = firefox ? {} : { scalabilityMode: 'L1T3' };
  if (source === 'screen') {
    return [
      { scaleResolutionDownBy: 2, maxBitrate: 500_000, dtx: true, ...layers },
      { scaleResolutionDownBy: 1, maxBitrate: 2_500_000, dtx: true, ...layers },
    ];
  }
  return [
    { scaleResolutionDownBy: 4, maxBitrate: 150_000, ...layers },
    { scaleResolutionDownBy: 2, maxBitrate: 500_000, ...layers },
    { scaleResolutionDownBy: 1, maxBitrate: 1_200_000, ...layers },
  ];
}
