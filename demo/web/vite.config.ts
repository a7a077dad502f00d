import { defineConfig } from 'vite';

// `npm run dev` serves the page with reloading; signalling goes on to a demo server, which is told by SLUICE_SERVER.
const server = process.env['SLUICE_SERVER'] ?? 'https://localhost:4443';

export default defineConfig({
  build: { target: 'es2022', chunkSizeWarningLimit: 700, modulePreload: { polyfill: false } },
  server: { proxy: { '^/\\?roomId=.*&peerId=': { target: server, ws: true, secure: false } } },
});
