// What the scripts here share. Each of them is one client library in front of two data planes and a pretend upstream; the
// tests of test/system start these, run one script after the other, and demand its list of cases, line by line.
//
//   POOL_NODES     two base URLs, separated by a space: the data planes
//   POOL_TOKEN     the client token
//   POOL_UPSTREAM  where the pretend upstream's ledger is read: /ledger?model=…
//   POOL_CLIENT    the client's name, which the names of its models begin with
//
// A model's name says what happens to a request for it, because only the keys that behave so serve it: see the scenes in
// test/system/clients_scenes_test.go. A case that holds prints "ok" and its name; one that does not prints why, and the
// script goes on and ends with code 1.
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';

export { assert };
export const [one, other] = process.env.POOL_NODES.split(' ');
export const token = process.env.POOL_TOKEN;
export const model = (scene) => `${process.env.POOL_CLIENT}/${scene}`;

// What the pretend model makes of a message, and what it embeds as, which tests of its own hold it to.
export const echo = (message) => `echo: ${message}`;
export const isEmbedding = (vector) => vector.length === 8 && vector.every((v) => Number.isInteger(v * 128) && Math.abs(v) <= 1);

// A picture as clients send it: the smallest PNG.
export const picture =
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';

export const city = { type: 'object', required: ['city'], properties: { city: { type: 'string' } } };
export const callMessage = 'use the tool';
export const callArguments = { city: callMessage };

export async function check(name, body) {
  try {
    await body();
    console.log(`ok ${name}`);
  } catch (e) {
    console.log(`not ok ${name}`);
    console.error(`${name}: ${e?.stack ?? e}`);
    process.exitCode = 1;
  }
}

// thrown answers what a promise is rejected with.
export async function thrown(promise) {
  let value;
  try {
    value = await promise;
  } catch (e) {
    return e;
  }
  assert.fail(`it passed for success: ${JSON.stringify(value)}`);
}

// joined reads a stream to its end: pick answers the text in an event.
export async function joined(events, pick) {
  let text = '';
  for await (const event of events) text += pick(event) ?? '';
  return text;
}

// spy is a fetch that remembers what was sent, and the status and headers of what came back.
export function spy() {
  const calls = [];
  const through = async (url, init) => {
    const call = { url: String(url), body: init?.body };
    calls.push(call);
    const response = await fetch(url, init);
    call.status = response.status;
    call.headers = response.headers;
    return response;
  };
  return { calls, fetch: through };
}

// ledger answers the upstream's entries of a scene.
export async function ledger(scene) {
  const response = await fetch(`${process.env.POOL_UPSTREAM}/ledger?model=${encodeURIComponent(model(scene))}`);
  assert.equal(response.status, 200);
  return response.json();
}

// settled waits until the upstream's latest entry of a scene has an outcome, and wants it to be this one.
export async function settled(scene, outcome) {
  for (let tries = 0; tries < 200; tries++) {
    const last = (await ledger(scene)).at(-1);
    if (last?.outcome) return assert.equal(last.outcome, outcome);
    await sleep(25);
  }
  assert.fail(`the upstream still answers ${scene}`);
}

// reached wants the upstream to have got the latest request of a scene exactly as the client sent it.
export async function reached(scene, sent) {
  const last = (await ledger(scene)).at(-1);
  assert.equal(Buffer.from(last.body, 'base64').toString(), String(sent));
}

// left sends a request that is not answered, leaves when it has reached the upstream, and answers how the library ends it.
export async function left(scene, send) {
  const leave = new AbortController();
  const failed = thrown(send(leave.signal));
  failed.catch(() => {}); // it is told below, if it comes to that
  await begun(scene);
  leave.abort();
  const e = await failed;
  await settled(scene, 'canceled');
  return e;
}

// begun waits until the upstream has got a request of a scene that it does not answer.
async function begun(scene) {
  for (let tries = 0; tries < 200; tries++) {
    if ((await ledger(scene)).some((entry) => !entry.outcome)) return;
    await sleep(25);
  }
  assert.fail(`nothing reached the upstream: ${scene}`);
}
