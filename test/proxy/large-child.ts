import { startHarness } from './harness.ts';

/* A public server in a process of its own, so that its memory can be measured. Asked for anything, it tells its peak. */
const harness = await startHarness({ upstream: process.argv[2] ?? '', accessLog: false });
let peak = 0;
const timer = setInterval(() => (peak = Math.max(peak, process.memoryUsage.rss())), 20);
process.on('message', () => {
  process.send?.({ peak, now: process.memoryUsage.rss() });
  peak = 0;
});
process.on('disconnect', () => {
  clearInterval(timer);
  process.exit();
});
process.send?.({ port: harness.port, cookie: await harness.signIn() });
