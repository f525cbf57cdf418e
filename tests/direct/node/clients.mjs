// What a direct caller needs of a Redis client: commands whose replies are bytes.
import { Redis } from "ioredis";
import { createClient, RESP_TYPES } from "redis";

export const CLIENTS = {
  async ioredis(url) {
    const client = new Redis(url, { protocol: 2 });
    return { run: (command) => client.callBuffer(...command), close: () => client.quit() };
  },

  async "node-redis"(url) {
    const client = createClient({ url, RESP: 2 });
    await client.connect();
    const bytes = client.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });
    return { run: (command) => bytes.sendCommand(command), close: () => client.close() };
  },
};
