// BullMQ: addBulk of 500; one worker of concurrency 200, completed jobs removed.
import { createRequire } from "node:module";

const [mode, url, jobs] = [process.argv[2], new URL(process.argv[3]), Number(process.argv[4])];
// The package lies in the cache folder, not beside this file.
const { Queue, Worker } = createRequire(`${process.env.PEER_FOLDER}/`)("bullmq");
const connection = { host: url.hostname, port: Number(url.port), maxRetriesPerRequest: null };
const argument = "x".repeat(200);

const monotonic = () => Number(process.hrtime.bigint()) / 1e9;
const pause = () => new Promise((resolve) => setTimeout(resolve, 20));

function tell(count, since, cpu, more = {}) {
  const used = process.cpuUsage(cpu);
  const result = {
    jobs: count,
    seconds: (performance.now() - since) / 1000,
    cpu: (used.user + used.system) / 1e6,
    ...more,
  };
  process.stdout.write(`\nRESULT ${JSON.stringify(result)}\n`, () => process.exit(0));
}

if (mode === "enqueue") {
  const queue = new Queue("jobs", { connection });
  await queue.waitUntilReady();
  const [since, cpu] = [performance.now(), process.cpuUsage()];
  const some = Array.from({ length: 500 }, () => ({
    name: "job",
    data: { argument },
    opts: { removeOnComplete: true },
  }));
  for (let sent = 0; sent < jobs; sent += 500) await queue.addBulk(some);
  tell(jobs, since, cpu);
} else if (mode === "trickle") {
  const queue = new Queue("jobs", { connection });
  await queue.waitUntilReady();
  // As tally.py: some to get warm, then such that tell when they left.
  for (let sent = -100; sent < jobs; sent++) {
    await pause();
    const told = sent < 0 ? argument : `${monotonic()} ${argument}`;
    await queue.add("job", { argument: told }, { removeOnComplete: true });
  }
  process.exit(0);
} else if (mode === "wait") {
  const [since, cpu, latencies] = [performance.now(), process.cpuUsage(), []];
  new Worker(
    "jobs",
    async (job) => {
      if (job.data.argument === argument) return;
      latencies.push(monotonic() - Number(job.data.argument.split(" ")[0]));
      if (latencies.length < jobs) return;
      latencies.sort((a, b) => a - b);
      const share = (of) => 1000 * latencies[Math.floor(latencies.length * of)];
      tell(jobs, since, cpu, { p50_ms: share(0.5), p99_ms: share(0.99) });
    },
    { connection, concurrency: 200 },
  );
} else {
  let done = 0;
  let since, cpu;
  const worker = new Worker("jobs", async () => {}, { connection, concurrency: 200 });
  worker.on("active", () => {
    if (since === undefined) [since, cpu] = [performance.now(), process.cpuUsage()];
  });
  worker.on("completed", () => {
    if (++done === jobs) tell(jobs, since, cpu);
  });
}
