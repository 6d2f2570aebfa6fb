// The npm packages ai and @ai-sdk/openai-compatible: Vercel's AI SDK.
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { APICallError, embedMany, generateText, jsonSchema, streamText, tool } from 'ai';
import { assert, callArguments, callMessage, check, city, echo, isEmbedding, ledger, left, model, one, other, picture, reached, settled, spy, thrown, token } from './pool.mjs';

const provider = (node, more) => createOpenAICompatible({ name: 'pool', baseURL: `${node}/v1`, apiKey: token, includeUsage: true, ...more });
const say = (node, scene, more) => ({ model: provider(node, more)(model(scene)), prompt: 'hello', maxRetries: 0 });
const whole = (node, scene, more) => generateText(say(node, scene, more));

// stream reads a stream to its end; an error in it, which the library hands over as a part of it, is thrown.
async function stream(ask, seen = () => {}) {
  const parts = [];
  for await (const part of streamText({ ...ask, onError() {} }).fullStream) {
    if (part.type === 'error') throw part.error;
    parts.push(part);
    seen(part);
  }
  return parts;
}

const text = (parts) => parts.filter((p) => p.type === 'text-delta').map((p) => p.text).join('');
const finish = (parts) => parts.find((p) => p.type === 'finish');

// failed wants a call that the API has refused.
const failed = (e, status, words) => {
  assert.ok(APICallError.isInstance(e), e);
  assert.equal(e.statusCode, status, e.message);
  assert.match(e.message, words);
};

await check('a text is generated', async () => {
  const seen = spy();
  const got = await whole(one, 'good', { fetch: seen.fetch });
  assert.equal(got.text, echo('hello'));
  assert.equal(got.finishReason, 'stop');
  assert.equal(got.usage.totalTokens, 3);
  assert.ok(got.response.headers['x-request-id']);
  await reached('good', seen.calls[0].body);
});

await check('a text is streamed', async () => {
  const parts = await stream(say(other, 'good'));
  assert.equal(text(parts), echo('hello'));
  assert.equal(finish(parts).finishReason, 'stop');
  assert.equal(finish(parts).totalUsage.totalTokens, 3);
});

const weather = tool({ description: 'tells it', inputSchema: jsonSchema(city), execute: async () => 'sun' });
const calling = (node) => ({ ...say(node, 'good'), prompt: callMessage, tools: { weather } });

await check('a tool is called', async () => {
  const got = await generateText(calling(other));
  assert.equal(got.finishReason, 'tool-calls');
  assert.deepEqual([got.toolCalls[0].toolName, got.toolCalls[0].input], ['weather', callArguments]);
  assert.equal(got.toolResults[0].output, 'sun');
});

await check('a tool call is streamed', async () => {
  const parts = await stream(calling(one));
  const call = parts.find((p) => p.type === 'tool-call');
  assert.deepEqual([call.toolName, call.input], ['weather', callArguments]);
  assert.equal(finish(parts).finishReason, 'tool-calls');
});

await check('a picture passes as it is', async () => {
  const seen = spy();
  const { prompt, ...ask } = say(one, 'good', { fetch: seen.fetch });
  const content = [{ type: 'text', text: 'what is this?' }, { type: 'image', image: Buffer.from(picture, 'base64'), mediaType: 'image/png' }];
  const got = await generateText({ ...ask, messages: [{ role: 'user', content }] });
  assert.equal(got.text, echo('what is this?'));
  assert.ok(seen.calls[0].body.includes(picture));
  await reached('good', seen.calls[0].body);
});

await check('values are embedded', async () => {
  const got = await embedMany({ model: provider(other).embeddingModel(model('good')), values: ['a', 'b'], maxRetries: 0 });
  assert.ok(got.embeddings.length === 2 && got.embeddings.every(isEmbedding));
  assert.notDeepEqual(got.embeddings[0], got.embeddings[1]);
});

await check('a text is completed, whole and as a stream', async () => {
  const ask = (node) => ({ model: provider(node).completionModel(model('good')), prompt: 'once', maxRetries: 0 });
  assert.match((await generateText(ask(one))).text, /^echo: [^]*once/);
  assert.match(text(await stream(ask(other))), /^echo: [^]*once/);
});

await check('who leaves before the answer ends the attempt', async () => {
  const e = await left('silent', (signal) => generateText({ ...say(one, 'silent'), abortSignal: signal }));
  assert.equal(e.name, 'AbortError');
});

await check('who leaves a stream ends it at the upstream', async () => {
  const leave = new AbortController();
  const parts = await stream({ ...say(other, 'slow'), abortSignal: leave.signal }, (part) => part.type === 'text-delta' && leave.abort());
  assert.equal(parts.at(-1).type, 'abort');
  await settled('slow', 'canceled');
});

await check('a wrong token is refused', async () => {
  for (const node of [one, other]) failed(await thrown(whole(node, 'good', { apiKey: 'sk-pool-nonsense' })), 401, /API key/);
});

await check('a model that nobody has is not found', async () => {
  failed(await thrown(whole(one, 'gone')), 404, /model/);
  failed(await thrown(stream(say(other, 'gone'))), 404, /model/);
  failed(await thrown(generateText({ ...say(one, 'good'), model: provider(one)('no/such') })), 404, /model/);
});

await check('a refused request is told in the upstream\'s words', async () => {
  failed(await thrown(whole(one, 'refused')), 400, /Bad Request/);
  failed(await thrown(stream(say(other, 'refused'))), 400, /Bad Request/);
  assert.equal((await ledger('refused')).length, 2);
});

await check('limited keys are worth another try', async () => {
  for (const e of [await thrown(whole(one, 'limited')), await thrown(stream(say(other, 'limited')))]) {
    failed(e, 429, /limited/);
    assert.ok(e.isRetryable);
    const wait = Number(e.responseHeaders['retry-after']);
    assert.ok(wait >= 1 && wait <= 60, `Retry-After: ${wait}`);
  }
});

await check('dead keys are no fault of the client', async () => {
  failed(await thrown(whole(one, 'dead')), 503, /upstream key/);
});

await check('a cut answer is no success', async () => {
  failed(await thrown(whole(one, 'cut')), 502, /broken|cut/);
  await thrown(stream(say(other, 'cut')));
});

await check('an answer that ends early is no success', async () => {
  failed(await thrown(whole(other, 'early')), 502, /broken/);
  await thrown(stream(say(one, 'early')));
});

await check('a stream that breaks is an error in the upstream\'s words', async () => {
  const e = await thrown(stream(say(one, 'breaks')));
  assert.match(String(e?.message ?? e), /rate limit exceeded/);
});

await check('a dead key is passed over unseen', async () => {
  assert.equal((await whole(one, 'failover')).text, echo('hello'));
  assert.deepEqual((await ledger('failover')).map((e) => e.status), [401, 200]);
});

await check('a stream that begins with an error is made good unseen', async () => {
  assert.equal(text(await stream(say(other, 'stumbles'))), echo('hello'));
  assert.deepEqual((await ledger('stumbles')).map((e) => e.outcome), ['broken', 'completed']);
});
