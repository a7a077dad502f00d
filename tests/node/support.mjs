// What the tests with the Node client share.
import dgram from 'node:dgram';
import { once } from 'node:events';

const LIMIT = 10_000;
export const mediaCodecs = [
  { kind: 'audio', mimeType: 'audio/opus', clockRate: 48000, channels: 2 },
  { kind: 'video', mimeType: 'video/VP8', clockRate: 90000 },
];
export const capabilities = (router) => router.rtpCapabilities;
export const audio = (ssrc = 1111) => ({
  kind: 'audio',
  rtpParameters: {
    mid: 'a',
    codecs: [{ mimeType: 'audio/opus', payloadType: 111, clockRate: 48000, channels: 2 }],
    encodings: [{ ssrc }],
    rtcp: { cname: 'test' },
  },
});
export const video = (ssrc = 2222) => ({
  kind: 'video',
  rtpParameters: {
    mid: 'v',
    codecs: [{
      mimeType: 'video/VP8', payloadType: 96, clockRate: 90000,
      rtcpFeedback: [{ type: 'nack' }, { type: 'nack', parameter: 'pli' }],
    }],
    encodings: [{ ssrc }],
    rtcp: { cname: 'test' },
  },
});

export function rtp({ payloadType = 111, sequence, ssrc = 1111, payload }) {
  const header = Buffer.alloc(12);
  header[0] = 0x80;
  header[1] = payloadType;
  header.writeUInt16BE(sequence, 2);
  header.writeUInt32BE(sequence * 960, 4);
  header.writeUInt32BE(ssrc, 8);
  return Buffer.concat([header, Buffer.from(payload)]);
}

// The payload behind the header and its extensions.
export function payloadOf(packet) {
  let offset = 12 + (packet[0] & 15) * 4;
  if (packet[0] & 0x10) offset += 4 + packet.readUInt16BE(offset + 2) * 4;
  return packet.subarray(offset).toString();
}

export async function within(promise, what) {
  let timer;
  const limit = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} did not happen`)), LIMIT);
  });
  try { return await Promise.race([promise, limit]); } finally { clearTimeout(timer); }
}
export const event = (emitter, name) => within(once(emitter, name), name);

export async function socket() {
  const opened = dgram.createSocket('udp4');
  opened.bind(0, '127.0.0.1');
  await event(opened, 'listening');
  return opened;
}

// Sends until a packet with that payload arrives, as UDP may lose some.
export async function sendUntilReceived(send, received, expected) {
  let sequence = 100;
  const sending = setInterval(() => send(sequence++), 20);
  try {
    await within((async () => {
      for (;;) {
        const packet = await received();
        if (payloadOf(packet) === expected) return;
      }
    })(), `arrival of ${expected}`);
  } finally { clearInterval(sending); }
}
