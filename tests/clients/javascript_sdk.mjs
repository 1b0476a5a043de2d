// Sends decisions and conversions with the stock Optimizely JavaScript SDK.
//
// Usage: node javascript_sdk.mjs VISITOR...
// Needs MILLRACE_API, MILLRACE_API_KEY and MILLRACE_ACCOUNT. Prints, per visitor, the variation the SDK gave it.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

// The packages stand in tests/.cache, not beside this file.
const require = createRequire(process.env.MILLRACE_NODE_MODULES + '/');
const sdk = require('@optimizely/optimizely-sdk');

const url = `${process.env.MILLRACE_API}/v1/events?access_token_query=${process.env.MILLRACE_API_KEY}`;
const failures = [];
// The SDK's own dispatcher, with only the address changed.
const eventDispatcher = {
  async dispatchEvent(event) {
    const response = await sdk.eventDispatcher.dispatchEvent({ ...event, url });
    if (response.statusCode !== 204) failures.push(`status ${response.statusCode}`);
    return response;
  },
};

const datafile = JSON.parse(readFileSync(new URL('datafile.json', import.meta.url), 'utf8'));
datafile.accountId = process.env.MILLRACE_ACCOUNT;
const client = sdk.createInstance({
  projectConfigManager: sdk.createStaticProjectConfigManager({ datafile: JSON.stringify(datafile) }),
  eventProcessor: sdk.createBatchEventProcessor({ eventDispatcher, batchSize: 10, flushInterval: 1000 }),
  logger: sdk.createLogger({ level: sdk.ERROR }),
});
await client.onReady({ timeout: 5000 });

const given = {};
for (const visitor of process.argv.slice(2)) {
  const user = client.createUserContext(visitor, { plan: 'gold' });
  given[visitor] = user.decide('checkout').variationKey;
  user.trackEvent('purchase', { revenue: 4200, value: 1.5, colour: 'red' });
  user.trackEvent('add:to:cart');
}
await client.close();

if (failures.length > 0) {
  console.error(`the SDK's requests failed: ${failures.join(', ')}`);
  process.exit(1);
}
console.log(JSON.stringify(given));
