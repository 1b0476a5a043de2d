// Sends events with the stock Optimizely JavaScript SDK (npm install @optimizely/optimizely-sdk) to Millrace.
//
//     source millrace-data/demo.env
//     node examples/send_events.js path/to/datafile.json
//
// The SDK's own dispatcher is kept; only the address changes. The data file's accountId must be the account of the key.
const { readFileSync } = require('node:fs');
const sdk = require('@optimizely/optimizely-sdk');

const url = `${process.env.MILLRACE_API}/v1/events?access_token_query=${process.env.MILLRACE_API_KEY}`;
const eventDispatcher = { dispatchEvent: (event) => sdk.eventDispatcher.dispatchEvent({ ...event, url }) };

async function main() {
  const client = sdk.createInstance({
    projectConfigManager: sdk.createStaticProjectConfigManager({ datafile: readFileSync(process.argv[2], 'utf8') }),
    eventProcessor: sdk.createBatchEventProcessor({ eventDispatcher }),
  });
  await client.onReady();
  const visitor = client.createUserContext('visitor-1');
  for (const key of Object.keys(client.getOptimizelyConfig().featuresMap)) {
    console.log(key, visitor.decide(key).variationKey);
  }
  visitor.trackEvent('purchase', { revenue: 4200 });
  await client.close();
}

main();
