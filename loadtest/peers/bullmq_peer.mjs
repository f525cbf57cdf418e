// BullMQ: addBulk of 500; one worker of concurrency 200, completed jobs removed.
import { createRequire } from "node:module";

const [mode, url, jobs] = [process.argv[2], new URL(process.argv[3]), Number(process.argv[4])];
// The package lies in the cache folder, not beside this file.
const { Queue, Worker } = createRequire(`${process.env.PEER_FOLDER}/`)("bullmq");
const connection = { host: url.hostname, port: Number(url.port), maxRetriesPerRequest: null };
const argument = "x".repeat(200);

function tell(count, since, cpu) {
  const used = process.cpuUsage(cpu);
  const result = {
    jobs: count,
    seconds: (performance.now() - since) / 1000,
    cpu: (used.user + used.system) / 1e6,
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
