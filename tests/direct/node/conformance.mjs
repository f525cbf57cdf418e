// Runs every conformance case by one client: `node conformance.mjs ioredis|node-redis URL FOLDER`, with the
// scripts' names and SHA-1s as JSON on standard input. It prints how many cases held, or ends at the first that didn't.
import { deepStrictEqual } from "node:assert";
import { readdirSync, readFileSync } from "node:fs";
import { decode } from "@msgpack/msgpack";
import { CLIENTS } from "./clients.mjs";

const [, , name, url, folder] = process.argv;
const sha1 = JSON.parse(readFileSync(0));
const client = await CLIENTS[name](url);

const argument = (value) => (value?.hex === undefined ? String(value) : Buffer.from(value.hex, "hex"));
const evaluate = (script, keys, args) =>
  client.run(["EVALSHA", sha1[script], String(keys.length), ...keys, ...args.map(argument)]);

/** Integers and text compare as text. */
function text(value) {
  if (Array.isArray(value)) return value.map(text);
  if (value !== null && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, text(part)]));
  }
  return String(value);
}

/** A reply in the form that `expected` has. */
function like(expected, got) {
  if (Array.isArray(expected) && Array.isArray(got)) return got.map((part, i) => like(expected[i], part));
  if (expected?.msgpack !== undefined && Buffer.isBuffer(got)) return { msgpack: decode(got) };
  if (expected?.json !== undefined && Buffer.isBuffer(got)) return { json: JSON.parse(got) };
  if (expected?.hex !== undefined && Buffer.isBuffer(got)) return { hex: got.toString("hex") };
  return String(got);
}

const pairs = (flat) => flat.flatMap((field, i) => (i % 2 ? [] : [[String(field), flat[i + 1]]]));
const fields = (expected, flat) =>
  Object.fromEntries(pairs(flat).map(([field, value]) => [field, like(expected?.[field], value)]));

/** A key's value, read as what it must be; another type is an error of the server's. */
async function read(key, expected) {
  const [kind] = Object.keys(expected);
  const value = expected[kind];
  switch (kind) {
    case "hash":
      return { hash: fields(value, await client.run(["HGETALL", key])) };
    case "zset":
      return { zset: fields(value, await client.run(["ZRANGE", key, "0", "-1", "WITHSCORES"])) };
    case "stream": {
      const entries = await client.run(["XRANGE", key, "-", "+"]);
      return { stream: entries.map(([id, flat], i) => [String(id), fields(value[i]?.[1], flat)]) };
    }
    default:
      return { string: like(value, await client.run(["GET", key])) };
  }
}

async function hold(found) {
  await client.run(["FLUSHALL"]);
  for (const [command, ...rest] of found.setup) {
    await (command === "SCRIPT" ? evaluate(...rest) : client.run([command, ...rest.map(String)]));
  }
  const reply = await evaluate(found.call.script, found.call.keys, found.call.args);
  deepStrictEqual(text(like(found.reply, reply)), text(found.reply), `${found.name}: reply`);
  const keys = (await client.run(["KEYS", "sq:{*"])).map(String).sort();
  deepStrictEqual(keys, Object.keys(found.keys).sort(), `${found.name}: keys`);
  for (const key of keys) {
    deepStrictEqual(text(await read(key, found.keys[key])), text(found.keys[key]), `${found.name}: ${key}`);
  }
}

let held = 0;
for (const file of readdirSync(folder).filter((each) => each.endsWith(".json"))) {
  for (const found of JSON.parse(readFileSync(`${folder}/${file}`))) {
    await hold(found);
    held += 1;
  }
}
console.log(held);
await client.close();
